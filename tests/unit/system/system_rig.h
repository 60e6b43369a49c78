/* What tests of the system shard's machine share: the machine over a store in memory, and the messages that most of
 * them begin with. A function that does not get what it asks for fails the test. */
#ifndef SYSTEM_RIG_H
#define SYSTEM_RIG_H

#include "system/system_machine.h"

#include "proto/mail.pb-c.h"
#include "proto/system.pb-c.h"

#include "unit/cq_cmocka.h"

#define M(name) CHASQUI__SYSTEM__METHOD__##name

struct sys_fixture {
    struct store *store;
    struct machine *machine;
    struct cq_pool *pool;
    uint64_t index, time;
    uint16_t known, version; /* of the build, of the entries; 0: 1 */
    struct machine_outcome last;
    Chasqui__Mail__Answer *answer; /* to the last entry */
};

/* *state is a struct sys_fixture then. */
int sys_setup(void **state);
int sys_teardown(void **state);
#define SYS_TEST(fn) cmocka_unit_test_setup_teardown(fn, sys_setup, sys_teardown)

void sys_flush(struct sys_fixture *f); /* takes all effects and writes them */
void sys_reopen(struct sys_fixture *f);

/* The next entry: bytes, a method with its body, a method with a message. The outcome is in f->last and f->answer too.
 */
enum cq_rc sys_apply_bytes(struct sys_fixture *f, struct cq_slice entry);
enum cq_rc sys_apply_body(struct sys_fixture *f, uint32_t method, struct cq_slice body);
enum cq_rc sys_apply(struct sys_fixture *f, uint32_t method, const ProtobufCMessage *message);

uint64_t sys_epoch(const struct sys_fixture *f);
void sys_digest_of(const struct sys_fixture *f, uint8_t out[16]);

ProtobufCBinaryData sys_uuid(unsigned n); /* of node n, below 16 */
const struct topology_node *sys_node_of(const struct topology *t, unsigned n);

/* An InitCluster of so many nodes, which a test may spoil; and one of three nodes that is applied. */
struct sys_init {
    Chasqui__System__InitCluster msg;
    Chasqui__System__Node nodes[16], *node_ptrs[16];
    Chasqui__System__Labels labels[16];
    Chasqui__System__Replica system[16], *system_ptrs[16];
};
void sys_init_fill(struct sys_init *init, unsigned nodes);
void sys_init_cluster(struct sys_fixture *f);

enum cq_rc sys_register_node(struct sys_fixture *f, unsigned n, char *address, uint64_t boot);
enum cq_rc sys_set_state(struct sys_fixture *f, unsigned n, int node_state);
enum cq_rc sys_decommission(struct sys_fixture *f, unsigned n, bool force);
void sys_add_node(struct sys_fixture *f, unsigned n); /* registers one more */
enum cq_rc sys_join(struct sys_fixture *f, unsigned n);
uint64_t sys_allocate(struct sys_fixture *f, uint32_t count); /* the first of so many ids of replicas; 0: refused */

#endif
