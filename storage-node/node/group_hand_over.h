/* Leadership of one group handed over on purpose: before a drain, before a replica is removed, on an operator's word,
 * or because the leader is in trouble. Nothing is lost by it: proposals are refused as "not leader" for the moment that
 * it takes, and whoever made them asks the next leader.
 *
 * raft_thread_transfer() only begins one; this one chooses, says why it cannot be, and waits. */
#ifndef GROUP_HAND_OVER_H
#define GROUP_HAND_OVER_H

#include "base/cq_err.h"
#include "node/group.h"

struct node;

/* Entries that the next leader may lack when the hand-over begins: it gets them first, and proposals wait for it. */
#define HAND_OVER_NEAR 1024

/* On a fiber of any loop. `to`: uuid of the node whose replica is to lead; NULL: the voter that is furthest, on a node
 * that is neither drained nor has gone if there is one. Tries until the deadline (monotonic us).
 * CQ_OK: the other one leads (with `to` NULL: this one does not any more). CQ_E_NOT_LEADER: it was not led from here;
 * CQ_E_NOT_FOUND: no voter of the group is there; CQ_E_BEHIND: the voter lacks more than HAND_OVER_NEAR entries;
 * CQ_E_UNAVAILABLE: its node is not connected, or there is nobody, or another one was elected; CQ_E_TIMEOUT: it did not
 * take it; CQ_E_CANCELLED. */
enum cq_rc group_hand_over(struct node *node, struct group *group, const uint8_t *to, uint64_t deadline_us,
                           struct cq_err *err);

#endif
