/* Carries out the moves of replicas that the system shard has recorded (proto/system.proto, Move): on the node that
 * leads the system shard, a few at a time. It holds nothing that matters: it looks at the record and at what the
 * group's leader says (cluster/move_plan.h), does one thing, and looks again. So it may die at any moment, and another
 * node goes on.
 *
 * Copying is the new replica's own business (reseeder.h), destroying the old one's (reseeder_strays.c). */
#ifndef MOVER_H
#define MOVER_H

#include "base/cq_metrics.h"

struct node;
struct mover;

/* per_node: moves from or to one node at a time. */
struct mover *mover_new(struct node *node, unsigned per_node);
void mover_start(struct mover *mover); /* on the control loop, before it runs */
/* On the control loop; it must turn once more before free. */
void mover_stop(struct mover *mover);
void mover_free(struct mover **mover);

extern struct cq_metrics mover_metrics;

#endif
