#include "node/member_step.h"

#include "base/cq_planted.h"

enum cq_rc member_step_look(const struct raft_host *host, uint32_t group, struct member_look *out)
{
    struct raft_group_status status;
    if (!host || raft_host_status(host, group, &status) != CQ_OK || status.failed)
        return CQ_E_UNAVAILABLE;
    out->count = raft_host_progress(host, group, out->members, RAFT_MEMBERS_MAX);
    out->term = status.term;
    out->last_index = status.last_index;
    out->committed = status.conf_committed;
    return out->count ? CQ_OK : CQ_E_NOT_LEADER;
}

/* ---- What a move wants ---- */

static size_t find(const struct member_wish *w, const struct member_look *look, bool by_node)
{
    size_t i = 0;
    while (i < look->count && (by_node ? !raft_node_eq(&look->members[i].member.node, &w->node)
                                       : look->members[i].member.replica != w->replica))
        i++;
    return i;
}

static enum cq_rc propose(struct raft_host *host, const struct member_wish *w, const struct member_look *after)
{
    struct raft_member members[RAFT_MEMBERS_MAX];
    for (size_t i = 0; i < after->count; i++)
        members[i] = after->members[i].member;
    enum cq_rc rc = raft_host_reconfigure(host, w->group, members, after->count);
    return rc == CQ_OK || rc == CQ_E_CONFLICT ? CQ_E_AGAIN : rc;
}

static enum cq_rc check_voters(const struct member_wish *w, const struct member_look *after, struct cq_err *err)
{
    if (raft_progress_has_majority(after->members, after->count, after->last_index, MEMBER_NEAR))
        return CQ_OK;
    return CQ_FAIL(err, CQ_E_UNAVAILABLE,
                   "shard %u: fewer than a majority of its voters would be connected and up to date", w->group);
}

static enum cq_rc propose_without(struct raft_host *host, const struct member_wish *w, struct member_look *look,
                                  size_t at, struct cq_err *err)
{
    memmove(look->members + at, look->members + at + 1, (look->count - at - 1) * sizeof *look->members);
    look->count--;
    enum cq_rc rc = check_voters(w, look, err);
    return rc == CQ_OK ? propose(host, w, look) : rc;
}

/* A replica without a vote that came before: of a move that was taken back while its node was being added. Nobody else
 * would take it out again. */
static bool is_left_over(const struct member_wish *w, const struct raft_member *member)
{
    return member->role != RAFT_MEMBER_VOTER && member->replica < w->replica;
}

static enum cq_rc add(struct raft_host *host, const struct member_wish *w, struct member_look *look, struct cq_err *err)
{
    size_t there = find(w, look, true);
    if (find(w, look, false) < look->count)
        return CQ_OK;
    if (there < look->count && is_left_over(w, &look->members[there].member))
        return propose_without(host, w, look, there, err);
    if (there < look->count)
        return CQ_FAIL(err, CQ_E_CONFLICT, "shard %u: that node is a member with another replica", w->group);
    if (look->count == RAFT_MEMBERS_MAX)
        return CQ_FAIL(err, CQ_E_LIMIT, "shard %u has %u members already", w->group, RAFT_MEMBERS_MAX);
    look->members[look->count++] =
        (struct raft_progress){.member = {.replica = w->replica, .node = w->node, .role = RAFT_MEMBER_STANDBY}};
    if (planted(PLANT_PROMOTE_EARLY))
        look->members[look->count - 1].member.role = RAFT_MEMBER_VOTER;
    return propose(host, w, look);
}

static enum cq_rc promote(struct raft_host *host, const struct member_wish *w, struct member_look *look,
                          struct cq_err *err)
{
    size_t at = find(w, look, false);
    if (at == look->count)
        return CQ_FAIL(err, CQ_E_NOT_FOUND, "shard %u: that replica is no member", w->group);
    struct raft_progress *p = &look->members[at];
    if (p->member.role == RAFT_MEMBER_VOTER)
        return CQ_OK;
    if ((p->behind || !p->connected || p->match == 0 || p->match + MEMBER_NEAR < look->last_index) &&
        !planted(PLANT_PROMOTE_EARLY))
        return CQ_FAIL(err, CQ_E_BEHIND, "shard %u: the replica lacks %llu entries", w->group,
                       (unsigned long long)(look->last_index - p->match));
    p->member.role = RAFT_MEMBER_VOTER;
    enum cq_rc rc = check_voters(w, look, err);
    return rc == CQ_OK ? propose(host, w, look) : rc;
}

static enum cq_rc take_out(struct raft_host *host, const struct member_wish *w, struct member_look *look,
                           struct cq_err *err)
{
    size_t at = find(w, look, true);
    if (at == look->count)
        return CQ_OK;
    if (look->members[at].self)
        return CQ_FAIL(err, CQ_E_CONFLICT, "shard %u: the replica leads; leadership is handed over first", w->group);
    return propose_without(host, w, look, at, err);
}

enum cq_rc member_step(struct raft_host *host, const struct member_wish *w, struct cq_err *err)
{
    struct member_look look;
    enum cq_rc rc = member_step_look(host, w->group, &look);
    if (rc != CQ_OK)
        return CQ_FAIL(err, rc, "shard %u is not led from here", w->group);
    if (!look.committed)
        return CQ_E_AGAIN;
    switch (w->what) {
    case CHASQUI__SYSTEM__MEMBER_CHANGE__MEMBER_ADD:
        return add(host, w, &look, err);
    case CHASQUI__SYSTEM__MEMBER_CHANGE__MEMBER_PROMOTE:
        return promote(host, w, &look, err);
    case CHASQUI__SYSTEM__MEMBER_CHANGE__MEMBER_REMOVE:
        return take_out(host, w, &look, err);
    default:
        return CQ_FAIL(err, CQ_E_UNSUPPORTED, "change %d", (int)w->what);
    }
}

/* ---- What a node wants for itself ---- */

/* The place of a member that the node has besides the replica that it names; count: there is none. */
static size_t find_lost(const struct member_join *j, const struct raft_member *members, size_t count)
{
    size_t i = 0;
    while (i < count && (!raft_node_eq(&members[i].node, &j->node) || members[i].replica == j->replica))
        i++;
    return i;
}

static size_t find_replica(const struct member_join *j, const struct raft_member *members, size_t count)
{
    size_t i = 0;
    while (i < count && members[i].replica != j->replica)
        i++;
    return i;
}

static enum cq_rc change(struct raft_host *host, const struct member_join *j, const struct raft_member *members,
                         size_t count)
{
    enum cq_rc rc = raft_host_reconfigure(host, j->group, members, count);
    return rc == CQ_OK || rc == CQ_E_CONFLICT ? CQ_E_AGAIN : rc;
}

enum cq_rc member_step_join(struct raft_host *host, const struct member_join *j)
{
    struct raft_member members[RAFT_MEMBERS_MAX + 1];
    struct raft_group_status status;
    if (!host || raft_host_status(host, j->group, &status) != CQ_OK)
        return CQ_E_UNAVAILABLE;
    if (status.role != RAFT_GROUP_LEADER)
        return CQ_E_NOT_LEADER;
    if (!status.conf_committed)
        return CQ_E_AGAIN;
    size_t count = raft_host_members(host, j->group, members, RAFT_MEMBERS_MAX);
    size_t lost = find_lost(j, members, count), at = find_replica(j, members, count);
    if (lost < count) {
        memmove(members + lost, members + lost + 1, (count - lost - 1) * sizeof *members);
        return change(host, j, members, count - 1);
    }
    if (at == count) {
        members[count] = (struct raft_member){.replica = j->replica, .node = j->node, .role = RAFT_MEMBER_STANDBY};
        return count < RAFT_MEMBERS_MAX ? change(host, j, members, count + 1) : CQ_E_LIMIT;
    }
    if (!j->vote || members[at].role == RAFT_MEMBER_VOTER)
        return raft_node_eq(&members[at].node, &j->node) ? CQ_OK : CQ_E_CONFLICT;
    if (raft_host_match(host, j->group, j->replica) + MEMBER_NEAR < status.last_index && !planted(PLANT_PROMOTE_EARLY))
        return CQ_E_AGAIN;
    members[at].role = RAFT_MEMBER_VOTER;
    return change(host, j, members, count);
}
