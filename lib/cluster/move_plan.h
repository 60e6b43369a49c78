/* What comes next for moves of replicas: pure functions of the topology (what is intended, and which steps are
 * recorded) and of what a group's leader has just said. The committed configuration of the group is the only truth
 * about its members; a recorded step only says what was seen to be so. So whoever plans may die at any time: the next
 * one looks again and goes on. Who asks and acts is storage-node/node/mover.c. */
#ifndef MOVE_PLAN_H
#define MOVE_PLAN_H

#include "cluster/topology.h"

/* New replicas of queued moves that may begin now, oldest first: at most `per_node` moves at a time that come from or
 * go to one node, `total` in all, and one of a shard. Returns how many. */
size_t move_plan_begin(const struct topology *topology, unsigned per_node, unsigned total, uint64_t *replicas_r,
                       size_t max);

/* Does the move need anybody to do something? (A queued one waits for move_plan_begin(), unless it was cancelled.) */
static inline bool move_is_active(const struct topology_move *move)
{
    return move->step > TOPOLOGY_MOVE_QUEUED || move->cancelled;
}

enum move_member { MOVE_NO_MEMBER, MOVE_WITHOUT_VOTE, MOVE_VOTER };

/* What is known of the group and the old node at one moment. */
struct move_view {
    bool led;     /* a leader has answered, confirmed by a majority */
    bool settled; /* its latest configuration is committed */
    enum move_member new_member, old_member;
    bool old_leads;
    uint64_t lag;      /* entries that the new replica lacks */
    bool old_answers;  /* the old node does */
    bool old_is_there; /* and it still has a replica of the group that is not wanted any more */
};

#define MOVE_NEAR 64 /* entries that the new replica may lack when it gets its vote */

enum move_act {
    MOVE_ACT_WAIT,
    MOVE_ACT_ADD,     /* the new replica, without a vote */
    MOVE_ACT_PROMOTE, /* it gets its vote */
    MOVE_ACT_HAND_OVER,
    MOVE_ACT_REMOVE_OLD,
    MOVE_ACT_REMOVE_NEW,
    MOVE_ACT_STEP /* record it */
};
struct move_next {
    enum move_act act;
    enum topology_move_step to; /* with STEP; NONE: the move is over */
};
struct move_next move_plan_next(const struct topology_move *move, const struct move_view *view);

/* For people: "queued", "copying"... */
const char *move_step_name(enum topology_move_step step);

/* A node that leaves and that nothing holds any more: it has gone. */
bool move_plan_has_left(const struct topology *topology, uint32_t node);

#endif
