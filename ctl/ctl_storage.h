/* What the requests to storage nodes share. */
#ifndef CTL_STORAGE_H
#define CTL_STORAGE_H

#include "cluster/topology.h"
#include "ctl.h"

#include <proto/mail.pb-c.h>
#include <proto/system.pb-c.h>

/* What all storage nodes together say; all 0 before. */
struct ctl_view {
    const struct topology *topology;
    Chasqui__System__NodeGroups **groups; /* by node index; NULL: did not answer */
    uint32_t shard;                       /* that is asked for */
};
/* Waits for an election (see ctl_wait_for_leader). quiet: without a word about what does not answer. */
enum ctl_exit ctl_look(struct ctl *ctl, bool quiet, struct ctl_view *view);
void ctl_view_release(struct ctl_view *view);
/* Who leads a group: the one that says so with the highest term. NULL: nobody. */
const Chasqui__System__ReplicaState *ctl_find_leader(const struct ctl_view *view, uint32_t group, size_t *node_r);
/* "up", "draining", "leaving" ... as the system shard has it. */
const char *ctl_node_state(const struct topology_node *node);

/* A message in the Call that every method of the shard has around it, in the pool. */
struct cq_slice ctl_wrap(struct ctl *ctl, const ProtobufCMessage *message);
/* To be freed; NULL: it does not decode. */
Chasqui__Mail__Answer *ctl_answer(const struct rpc_reply_in *reply);
/* Says on standard error what the node said, or why there is no answer. */
enum ctl_exit ctl_complain(const char *address, enum rpc_fate fate, const struct rpc_reply_in *reply,
                           const struct cq_err *err);
/* Nobody leads the system shard: is it worth while to ask again? After a pause, for so long, when a node is there that
 * knows the cluster: then somebody is being elected. */
#define CTL_ELECTION_US UINT64_C(20000000) /* some elections, also with a raft.election_timeout of seconds */
#define CTL_ELECTION_SAY_US UINT64_C(2000000)
#define CTL_ELECTION_PAUSE_MS 200
bool ctl_wait_for_leader(struct ctl *ctl, uint64_t began_us);
/* The topology from whoever leads the system shard, also when that is none of the nodes of the settings. */
enum ctl_exit ctl_topology(struct ctl *ctl, const struct topology **topology_r);
/* The same without a word when it cannot be had now. */
enum ctl_exit ctl_topology_quietly(struct ctl *ctl, const struct topology **topology_r);
/* 0 when it was not given, UINT32_MAX when it is no number. */
uint32_t ctl_number_field(const struct ctl_request *request, const char *name);

/* Texts of the pool. */
char *ctl_uuid_text(struct ctl *ctl, const uint8_t uuid[static 16]);
char *ctl_number(struct ctl *ctl, uint64_t value);

char **ctl_cells(struct ctl *ctl, const char *const *texts, size_t count);
#define CTL_ADD_ROW(ctl, rows, ...)                                                                                    \
    ctl_rows_add((ctl), (rows),                                                                                        \
                 ctl_cells((ctl), (const char *const[]){__VA_ARGS__},                                                  \
                           sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)))

/* A command of the system shard, at whichever node leads it; the answer is to be freed. Says what is wrong. */
enum ctl_exit ctl_tell_system(struct ctl *ctl, const struct topology *topology, uint16_t method,
                              const ProtobufCMessage *message, Chasqui__Mail__Answer **answer_r);
/* A question to one node; NULL: no answer. */
Chasqui__Mail__Answer *ctl_ask_node(struct ctl *ctl, const char *address, uint16_t method,
                                    const ProtobufCMessage *message);
void ctl_free_answer(Chasqui__Mail__Answer *answer); /* NULL is fine */

/* Which node can apply what, and finalizing a version (ctl_run_upgrade.c). */
bool ctl_is_upgrade_command(const struct ctl_request *request);
enum ctl_exit ctl_upgrade(struct ctl *ctl, const struct ctl_request *request, struct ctl_rows *rows);

/* Leaders, moves, nodes that come and go (ctl_run_member.c). The rows point into *topology_r, which the caller unrefs
 * when they are printed; it may be NULL. */
bool ctl_is_member_command(const struct ctl_request *request);
enum ctl_exit ctl_member(struct ctl *ctl, const struct ctl_request *request, struct ctl_rows *rows,
                         const struct topology **topology_r);

/* Checks all replicas of a shard, or of every shard with 0 (ctl_run_verify.c); rows even when something is wrong. */
enum ctl_exit ctl_verify(struct ctl *ctl, uint32_t shard, struct ctl_rows *rows);

/* What one node or shard is told to do about its own trouble (ctl_run_trouble.c). */
enum ctl_exit ctl_release_shard(struct ctl *ctl, uint32_t shard, struct ctl_rows *rows);
enum ctl_exit ctl_release_ballast(struct ctl *ctl, const struct ctl_request *request, struct ctl_rows *rows);

/* Replicas of the shard that have forgotten something take part again, for what they still have (ctl_run_recover.c). */
enum ctl_exit ctl_recover(struct ctl *ctl, uint32_t shard, bool accept_loss, struct ctl_rows *rows);

#endif
