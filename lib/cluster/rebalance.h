/* Which replicas move when a node comes or goes: by the ring, so that only its share does. Pure; the system shard
 * carries these plans out, and chasquictl shows them before.
 *
 * What moves already (TOPOLOGY_MOVES) counts as moved, so that a plan can be made while another one runs, and made
 * again after a failure. */
#ifndef REBALANCE_H
#define REBALANCE_H

#include "cluster/topology.h"

struct planned_move {
    uint32_t group;
    uint64_t old; /* replica on `from` */
    uint32_t from, to;
};

/* What the node, which must be UP, takes over from others: of each shard whose place on the ring it is, the replica
 * that the ring does not name any more, if without it the replicas are in as many data centres and zones as before.
 * moves_r has room for one of each shard; returns how many there are. */
size_t rebalance_join(const struct topology *topology, uint32_t node, struct planned_move *moves_r);

/* Where the replicas of a node go: of each the next node of the ring that keeps replicas apart (placement.h).
 * CQ_E_NO_SPACE: a shard would find no node; or, unless `force`, its replicas would be in fewer data centres, or zones,
 * than now. The text names it. */
enum cq_rc rebalance_leave(const struct topology *topology, uint32_t node, bool force, struct planned_move *moves_r,
                           size_t *count_r, struct cq_err *err);

/* May one replica of a shard go from one node to another? CQ_E_NOT_FOUND: none is there; CQ_E_CONFLICT: it moves
 * already, or the target has one; CQ_E_DENIED: the target is not UP; CQ_E_NO_SPACE as above. */
enum cq_rc rebalance_one(const struct topology *topology, uint32_t group, uint32_t from, uint32_t to, bool force,
                         struct planned_move *move_r, struct cq_err *err);

#endif
