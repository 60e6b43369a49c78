/* One step towards another configuration of a group, at its leader: looks at the host, proposes at most one change, and
 * never waits. Functions of the Raft host, on its thread: the node waits around them (member_change.c,
 * service_reseed.c), the simulator lets its clock run. */
#ifndef MEMBER_STEP_H
#define MEMBER_STEP_H

#include "base/cq_err.h"
#include "proto/system.pb-c.h"
#include "raft/raft_host.h"

#define MEMBER_NEAR 64 /* entries that a replica may lack and be called up to date */

/* The members as the leader has them, with its term; `committed` tells whether their configuration is. */
struct member_look {
    struct raft_progress members[RAFT_MEMBERS_MAX];
    size_t count;
    uint64_t term, last_index;
    bool committed;
};
/* CQ_E_NOT_LEADER, CQ_E_UNAVAILABLE (no such group here, or it has failed; host may be NULL). */
enum cq_rc member_step_look(const struct raft_host *host, uint32_t group, struct member_look *look_r);

/* What a move wants: one member more, one vote more, or one member less. */
struct member_wish {
    uint32_t group;
    Chasqui__System__MemberChange what;
    uint64_t replica;
    struct raft_node node;
};
/* CQ_OK: it is so, and committed. CQ_E_AGAIN: something is on its way, look again soon. Errors as member_change(). */
enum cq_rc member_step(struct raft_host *host, const struct member_wish *wish, struct cq_err *err);

/* A node's wish to be a member with this replica and no other, with a vote or not yet. */
struct member_join {
    uint32_t group;
    uint64_t replica;
    bool vote;
    struct raft_node node;
};
/* CQ_OK, CQ_E_AGAIN as above. CQ_E_NOT_LEADER, CQ_E_UNAVAILABLE, CQ_E_LIMIT, CQ_E_CONFLICT (the replica is another
 * node's). */
enum cq_rc member_step_join(struct raft_host *host, const struct member_join *join);

#endif
