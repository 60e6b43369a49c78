/* What storage nodes tell each other about themselves, beside Raft: a small one-way message on the control connection,
 * twice a second and at each change (docs/formats/rpc-frame.md). A leader goes by it when it looks for a replica that
 * can take its place, and when it judges whether its followers have room. */
#ifndef HEALTH_H
#define HEALTH_H

#include <pthread.h>

#include "base/cq_buf.h"
#include "node/disk_pulse.h"
#include "raft/raft_host.h"

#define HEALTH_SIZE 24
#define HEALTH_MESSAGE_MAX 1024
#define HEALTH_VERSION 1
#define HEALTH_FRESH_US 3000000 /* an older report says nothing any more */

struct health_report {
    enum disk_state disk;
    uint8_t space;    /* enum space_level */
    uint32_t sync_us; /* what a synced write takes */
    uint64_t free_bytes, total_bytes;
    bool counts_routers; /* older releases do not */
    uint8_t routers;     /* workers of routers heard lately; HEALTH_ROUTERS_MAX: as many or more */
};
#define HEALTH_ROUTERS_MAX 254

/* Pure. A report that is longer than we know is one of a newer release, whose beginning we understand. CQ_E_PROTO. */
void health_encode(const struct health_report *report, uint8_t out[static HEALTH_SIZE]);
enum cq_rc health_decode(struct cq_slice bytes, struct health_report *report_r);

/* The last report of each other node. Any thread. */
#define HEALTH_NODES_MAX 1024
struct health_table {
    pthread_mutex_t lock;
    size_t count;
    struct health_row {
        struct raft_node node;
        uint64_t at_us;
        struct health_report report;
    } rows[HEALTH_NODES_MAX];
};
void health_table_init(struct health_table *table);
void health_table_fini(struct health_table *table);
void health_table_set(struct health_table *table, const struct raft_node *node, const struct health_report *report,
                      uint64_t now_us);
/* False: no report, or none that is fresh. */
bool health_table_get(struct health_table *table, const struct raft_node *node, uint64_t now_us,
                      struct health_report *report_r);
/* The last one however old it is, and when it came (monotonic us). False: there was none. */
bool health_table_last(struct health_table *table, const struct raft_node *node, struct health_report *report_r,
                       uint64_t *at_us_r);

#endif
