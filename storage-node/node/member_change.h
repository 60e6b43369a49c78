/* One change of a group's members, at its leader: the only way by which moves, removals and additions reach Raft. A
 * change is one member more, one less, or one vote more; it is proposed when the last one is committed, and never when
 * afterwards fewer than a majority of the voters would be connected and up to date. */
#ifndef MEMBER_CHANGE_H
#define MEMBER_CHANGE_H

#include "base/cq_err.h"
#include "node/group.h"
#include "node/member_step.h"

struct node;

/* On a fiber. Waits until a majority has confirmed that this replica leads, at a moment after the call.
 * CQ_E_NOT_LEADER, CQ_E_UNAVAILABLE. */
enum cq_rc member_confirm(struct node *node, struct group *group, struct cq_err *err);

/* The members as the confirmed leader has them. On a fiber. */
enum cq_rc member_look(struct node *node, struct group *group, struct member_look *look_r, struct cq_err *err);

/* On a fiber: begins the change unless it is so already, and waits until it is committed. Safe to repeat.
 * CQ_E_NOT_LEADER; CQ_E_BEHIND: who should vote lacks too much; CQ_E_UNAVAILABLE: too few voters are well;
 * CQ_E_CONFLICT: the leader itself would be removed, or the node is a member with another replica (one of a smaller
 * id that has no vote is removed first); CQ_E_NOT_FOUND: who
 * should vote is no member; CQ_E_LIMIT; CQ_E_CANCELLED. */
enum cq_rc member_change(struct node *node, struct group *group, Chasqui__System__MemberChange change, uint64_t replica,
                         const struct raft_node *member, struct cq_err *err);

#endif
