/* The routers that reach this node: each of their workers says so once a second (ROUTER_HERE). A leader that fewer of
 * them reach than another voter hands over (fitness.h): its peers hear it, so that no election would ever do it. */
#ifndef ROUTER_TABLE_H
#define ROUTER_TABLE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define ROUTER_ID_SIZE 16
#define ROUTER_FRESH_US 3000000 /* who has said nothing for so long does not reach us any more */
#define ROUTERS_MAX 1024        /* of which the last are known */

/* Any thread. Times are monotonic, in us. */
struct router_table {
    pthread_mutex_t lock;
    size_t count;
    struct router_row {
        uint8_t id[ROUTER_ID_SIZE];
        uint64_t at_us;
    } rows[ROUTERS_MAX];
};
void router_table_init(struct router_table *table);
void router_table_fini(struct router_table *table);
void router_table_heard(struct router_table *table, const uint8_t id[static ROUTER_ID_SIZE], uint64_t now_us);

/* Those that are fresh; the others are forgotten. */
size_t router_table_count(struct router_table *table, uint64_t now_us);

#endif
