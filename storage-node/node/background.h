/* Work that nobody asked for: what a leader does for its group (the slots it owns, reclaiming, giving the
 * leadership to the replica that the map prefers, raising its command version), and what every replica
 * does for itself (removing the chunks of dead bodies). Driven from the control loop. */
#ifndef BACKGROUND_H
#define BACKGROUND_H

#include "base/cq_metrics.h"
#include "node/group.h"

struct node;
struct background;

#define BACKGROUND_TICK_MS 1000
#define DRAIN_TRY_MS 5000    /* one try of a drained node to give a leadership away */
#define PREFER_AFTER_S 5     /* a node that is connected for so long may get its leaderships back, */
#define PREFER_SETTLE_S 2    /* after this replica became the leader */
#define PREFER_EVERY_S 15    /* each offered so often */
#define PREFER_AT_ONCE 4     /* and so many in one tick */
#define RECLAIM_EFFECTS 1000 /* of one RECLAIM entry */
#define SWEEP_CHUNKS 1000    /* of one batch of removals */
#define SWEEP_EVERY_S 30     /* between two sweeps of a group whose log did not move */

struct background *background_new(struct node *node);
void background_start(struct background *background); /* on the control loop, before it runs */
void background_stop(struct background *background);  /* on the control loop: nothing new is begun */
void background_free(struct background **background); /* when nothing is under way any more */

/* The group's log begins later: dead bodies may go. Any thread. */
void background_trimmed(struct background *background, struct group *group);

/* Who leads has changed, or the map has: see to it soon. Any thread. */
void background_wake(struct background *background);

extern struct cq_metrics background_metrics;

#endif
