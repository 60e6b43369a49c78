/* What the files node*.c share. */
#ifndef NODE_PRIVATE_H
#define NODE_PRIVATE_H

#include "node/node.h"

enum cq_rc node_group_load(struct node *node, const struct replica_record *record,
                           void (*added)(void *arg, enum cq_rc rc, const struct cq_err *err), void *arg,
                           struct cq_err *err);

/* Opens the group's replica again, as this record says: its machine is detached and no host has it. On a fiber. */
enum cq_rc node_group_reload(struct node *node, struct group *group, const struct replica_record *record,
                             struct cq_err *err);

/* Opens a replica again that was put aside because of an entry (group->quarantined). On a fiber. CQ_E_NOT_FOUND: it was
 * not. */
enum cq_rc node_group_release(struct node *node, struct group *group, struct cq_err *err);

/* The machine's active command version is the group's hint. On the group's apply thread, or before it has one. */
void node_group_note_version(struct group *group, const struct machine *machine);

/* All groups whose records the store has, at the start. */
enum cq_rc node_groups_load(struct node *node, struct cq_err *err);

/* The replica has stopped because its log does not read or contradicts its group: a new one takes its place, after a
 * restart too. Any thread. */
void node_group_withhold(struct node *node, struct group *group);

/* ---- node_links.c ---- */
struct writer_config node_links_writer(struct node *node);
enum cq_rc node_links_mark(struct node *node, struct cq_err *err);
struct apply_output node_links_apply(struct node *node);
void node_links_raft(struct node *node, struct raft_thread_config *config);
void node_peers_start(struct node *node); /* on the Raft thread, soon */
void node_peers_stop(struct node *node);

/* ---- node_checks.c ---- */
void node_checks_add(struct node *node);

/* ---- node_metrics.c ---- */
extern struct cq_metrics node_metrics;
void node_metrics_set(void *node); /* before each scrape */

#endif
