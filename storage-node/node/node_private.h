/* What node.c and node_groups.c share. */
#ifndef NODE_PRIVATE_H
#define NODE_PRIVATE_H

#include "node/node.h"

enum cq_rc node_group_load(struct node *node, const struct replica_record *record,
                           void (*added)(void *arg, enum cq_rc rc, const struct cq_err *err), void *arg,
                           struct cq_err *err);

/* All groups whose records the store has, at the start. */
enum cq_rc node_groups_load(struct node *node, struct cq_err *err);

#endif
