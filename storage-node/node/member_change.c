#include "node/member_change.h"

#include "base/cq_log.h"
#include "node/fiber_wait.h"
#include "node/node.h"

#define STEP_MS 20

/* ---- Does this replica lead, now? ---- */

struct confirm {
    struct raft_request base;
    struct fiber_wait wait;
    enum cq_rc rc;
};

static void on_not_confirmed(struct raft_request *base, enum cq_rc rc, bool not_run,
                             const struct machine_outcome *outcome)
{
    (void)not_run, (void)outcome;
    struct confirm *c = cq_containerof(base, struct confirm, base);
    c->rc = rc;
    fiber_wait_signal(&c->wait);
}

static void on_confirmed(struct apply_call *call, struct apply_group *group, struct machine *machine, enum cq_rc rc)
{
    (void)group, (void)machine;
    struct confirm *c = cq_containerof(call, struct confirm, base.call);
    c->rc = rc;
    fiber_wait_signal(&c->wait);
}

enum cq_rc member_confirm(struct node *node, struct group *group, struct cq_err *err)
{
    struct confirm c = {.base = {.group = group, .done = on_not_confirmed, .call = {.run = on_confirmed}}};
    fiber_wait_begin(&c.wait);
    raft_thread_read(node->raft, &c.base);
    fiber_wait(&c.wait);
    return c.rc == CQ_OK
               ? CQ_OK
               : CQ_FAIL(err, c.rc, "shard %u: no majority has confirmed its leader", (unsigned)group->record.group);
}

/* ---- Looking ---- */

struct look {
    struct fiber_wait wait;
    uint32_t group;
    struct member_look *out;
    enum cq_rc rc;
};

static enum cq_rc fill_look(const struct raft_host *host, uint32_t group, struct member_look *out)
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

static void on_look(struct raft_host *host, void *arg)
{
    struct look *look = arg;
    look->rc = fill_look(host, look->group, look->out);
    fiber_wait_signal(&look->wait);
}

enum cq_rc member_look(struct node *node, struct group *group, struct member_look *look_r, struct cq_err *err)
{
    struct look look = {.group = group->record.group, .out = look_r};
    uint64_t term = atomic_load(&group->term);
    enum cq_rc rc = member_confirm(node, group, err);
    if (rc != CQ_OK)
        return rc;
    fiber_wait_begin(&look.wait);
    raft_thread_run(node->raft, on_look, &look);
    fiber_wait(&look.wait);
    if (look.rc == CQ_OK && look_r->term != term) /* it leads again, and that has not been confirmed */
        look.rc = CQ_E_NOT_LEADER;
    return look.rc == CQ_OK ? CQ_OK : CQ_FAIL(err, look.rc, "shard %u is not led from here", look.group);
}

/* ---- Changing: on the Raft thread ---- */

struct change {
    struct fiber_wait wait;
    uint32_t group;
    Chasqui__System__MemberChange what;
    uint64_t replica;
    struct raft_node node;
    enum cq_rc rc; /* CQ_E_AGAIN: something is on its way */
    struct cq_err *err;
};

static size_t find(const struct change *c, const struct member_look *look, bool by_node)
{
    size_t i = 0;
    while (i < look->count && (by_node ? !raft_node_eq(&look->members[i].member.node, &c->node)
                                       : look->members[i].member.replica != c->replica))
        i++;
    return i;
}

static enum cq_rc propose(struct raft_host *host, struct change *c, const struct member_look *after)
{
    struct raft_member members[RAFT_MEMBERS_MAX];
    for (size_t i = 0; i < after->count; i++)
        members[i] = after->members[i].member;
    enum cq_rc rc = raft_host_reconfigure(host, c->group, members, after->count);
    return rc == CQ_OK || rc == CQ_E_CONFLICT ? CQ_E_AGAIN : rc;
}

static enum cq_rc check_voters(struct change *c, const struct member_look *after)
{
    if (raft_progress_has_majority(after->members, after->count, after->last_index, MEMBER_NEAR))
        return CQ_OK;
    return CQ_FAIL(c->err, CQ_E_UNAVAILABLE,
                   "shard %u: fewer than a majority of its voters would be connected and up to date", c->group);
}

static enum cq_rc propose_without(struct raft_host *host, struct change *c, struct member_look *look, size_t at)
{
    memmove(look->members + at, look->members + at + 1, (look->count - at - 1) * sizeof *look->members);
    look->count--;
    enum cq_rc rc = check_voters(c, look);
    return rc == CQ_OK ? propose(host, c, look) : rc;
}

/* A replica without a vote that came before: of a move that was taken back while its node was being added. Nobody else
 * would take it out again. */
static bool is_left_over(const struct change *c, const struct raft_member *member)
{
    return member->role != RAFT_MEMBER_VOTER && member->replica < c->replica;
}

static enum cq_rc add(struct raft_host *host, struct change *c, struct member_look *look)
{
    size_t there = find(c, look, true);
    if (find(c, look, false) < look->count)
        return CQ_OK;
    if (there < look->count && is_left_over(c, &look->members[there].member))
        return propose_without(host, c, look, there);
    if (there < look->count)
        return CQ_FAIL(c->err, CQ_E_CONFLICT, "shard %u: that node is a member with another replica", c->group);
    if (look->count == RAFT_MEMBERS_MAX)
        return CQ_FAIL(c->err, CQ_E_LIMIT, "shard %u has %u members already", c->group, RAFT_MEMBERS_MAX);
    look->members[look->count++] =
        (struct raft_progress){.member = {.replica = c->replica, .node = c->node, .role = RAFT_MEMBER_STANDBY}};
    return propose(host, c, look);
}

static enum cq_rc promote(struct raft_host *host, struct change *c, struct member_look *look)
{
    size_t at = find(c, look, false);
    if (at == look->count)
        return CQ_FAIL(c->err, CQ_E_NOT_FOUND, "shard %u: that replica is no member", c->group);
    struct raft_progress *p = &look->members[at];
    if (p->member.role == RAFT_MEMBER_VOTER)
        return CQ_OK;
    if (p->behind || !p->connected || p->match == 0 || p->match + MEMBER_NEAR < look->last_index)
        return CQ_FAIL(c->err, CQ_E_BEHIND, "shard %u: the replica lacks %llu entries", c->group,
                       (unsigned long long)(look->last_index - p->match));
    p->member.role = RAFT_MEMBER_VOTER;
    enum cq_rc rc = check_voters(c, look);
    return rc == CQ_OK ? propose(host, c, look) : rc;
}

static enum cq_rc take_out(struct raft_host *host, struct change *c, struct member_look *look)
{
    size_t at = find(c, look, true);
    if (at == look->count)
        return CQ_OK;
    if (look->members[at].self)
        return CQ_FAIL(c->err, CQ_E_CONFLICT, "shard %u: the replica leads; leadership is handed over first", c->group);
    return propose_without(host, c, look, at);
}

static enum cq_rc change_step(struct raft_host *host, struct change *c)
{
    struct member_look look;
    enum cq_rc rc = fill_look(host, c->group, &look);
    if (rc != CQ_OK)
        return CQ_FAIL(c->err, rc, "shard %u is not led from here", c->group);
    if (!look.committed)
        return CQ_E_AGAIN;
    switch (c->what) {
    case CHASQUI__SYSTEM__MEMBER_CHANGE__MEMBER_ADD:
        return add(host, c, &look);
    case CHASQUI__SYSTEM__MEMBER_CHANGE__MEMBER_PROMOTE:
        return promote(host, c, &look);
    case CHASQUI__SYSTEM__MEMBER_CHANGE__MEMBER_REMOVE:
        return take_out(host, c, &look);
    default:
        return CQ_FAIL(c->err, CQ_E_UNSUPPORTED, "change %d", (int)c->what);
    }
}

static void on_change(struct raft_host *host, void *arg)
{
    struct change *c = arg;
    c->rc = change_step(host, c);
    fiber_wait_signal(&c->wait);
}

enum cq_rc member_change(struct node *node, struct group *group, Chasqui__System__MemberChange what, uint64_t replica,
                         const struct raft_node *member, struct cq_err *err)
{
    struct change c = {.group = group->record.group, .what = what, .replica = replica, .node = *member, .err = err};
    enum cq_rc rc = member_confirm(node, group, err);
    if (rc != CQ_OK)
        return rc;
    do {
        fiber_wait_begin(&c.wait);
        raft_thread_run(node->raft, on_change, &c);
        fiber_wait(&c.wait);
    } while (c.rc == CQ_E_AGAIN && io_fiber_sleep(STEP_MS) == CQ_OK);
    if (c.rc == CQ_E_AGAIN)
        c.rc = CQ_FAIL(err, CQ_E_CANCELLED, "shard %u: the change is not committed yet", c.group);
    static const char *const names[] = {"", "add", "promote", "remove"};
    cq_log(CQ_INFO, "group.members_changed", CQ_F_U64("group", c.group),
           CQ_F_STR("change", (unsigned)what < 4 ? names[what] : ""), CQ_F_U64("replica", replica), CQ_F_RC(c.rc));
    return c.rc != CQ_OK && err && !err->text[0] ? CQ_FAIL(err, c.rc, "shard %u: the change was refused", c.group)
                                                 : c.rc;
}
