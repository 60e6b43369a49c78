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

static void on_look(struct raft_host *host, void *arg)
{
    struct look *look = arg;
    look->rc = member_step_look(host, look->group, look->out);
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
    struct member_wish wish;
    enum cq_rc rc; /* CQ_E_AGAIN: something is on its way */
    struct cq_err *err;
};

static void on_change(struct raft_host *host, void *arg)
{
    struct change *c = arg;
    c->rc = member_step(host, &c->wish, c->err);
    fiber_wait_signal(&c->wait);
}

enum cq_rc member_change(struct node *node, struct group *group, Chasqui__System__MemberChange what, uint64_t replica,
                         const struct raft_node *member, struct cq_err *err)
{
    struct change c = {.wish = {group->record.group, what, replica, *member}, .err = err};
    enum cq_rc rc = member_confirm(node, group, err);
    if (rc != CQ_OK)
        return rc;
    do {
        fiber_wait_begin(&c.wait);
        raft_thread_run(node->raft, on_change, &c);
        fiber_wait(&c.wait);
    } while (c.rc == CQ_E_AGAIN && io_fiber_sleep(STEP_MS) == CQ_OK);
    if (c.rc == CQ_E_AGAIN)
        c.rc = CQ_FAIL(err, CQ_E_CANCELLED, "shard %u: the change is not committed yet", c.wish.group);
    static const char *const names[] = {"", "add", "promote", "remove"};
    cq_log(CQ_INFO, "group.members_changed", CQ_F_U64("group", c.wish.group),
           CQ_F_STR("change", (unsigned)what < 4 ? names[what] : ""), CQ_F_U64("replica", replica), CQ_F_RC(c.rc));
    return c.rc != CQ_OK && err && !err->text[0] ? CQ_FAIL(err, c.rc, "shard %u: the change was refused", c.wish.group)
                                                 : c.rc;
}
