#include "node/version_raise.h"

#include "base/cq_log.h"
#include "node/group_proposal.h"
#include "node/member_change.h"
#include "node/node.h"
#include "node/topology_keeper.h"
#include "proto/mail.pb-c.h"
#include "state/command_version.h"

static enum cq_rc check_member(const struct topology *t, const struct raft_member *member, struct cq_err *err)
{
    uint32_t at = topology_node_index(t, member->node.uuid);
    if (at == TOPOLOGY_NONE)
        return CQ_FAIL(err, CQ_E_BEHIND, "the node of replica %llu is not known", (unsigned long long)member->replica);
    if (t->nodes[at].command_version < t->finalized_version)
        return CQ_FAIL(err, CQ_E_CONFLICT, "%s can apply versions up to %u", t->nodes[at].address,
                       t->nodes[at].command_version);
    return CQ_OK;
}

static enum cq_rc check_members(struct version_raise *r, const struct topology *t, struct cq_err *err)
{
    struct member_look look;
    enum cq_rc rc = member_look(r->node, r->group, &look, err);
    if (rc == CQ_OK && !look.committed)
        rc = CQ_FAIL(err, CQ_E_BEHIND, "its members are being changed");
    for (size_t i = 0; rc == CQ_OK && i < look.count; i++)
        rc = check_member(t, &look.members[i].member, err);
    return rc;
}

static void after(void *arg, enum cq_rc rc, struct cq_slice reply)
{
    (void)reply;
    struct version_raise *r = arg;
    r->under_way = false;
    cq_log(rc == CQ_OK ? CQ_INFO : CQ_WARN, "group.version_raised", CQ_F_U64("group", r->group->record.group),
           CQ_F_RC(rc));
}

static void run(void *arg)
{
    struct version_raise *r = arg;
    struct cq_err err = {0};
    Chasqui__Mail__RaiseVersion message = CHASQUI__MAIL__RAISE_VERSION__INIT;
    const struct topology *t = topology_keeper_get(r->node->keeper);
    enum cq_rc rc = check_members(r, t, &err);
    message.version = t->finalized_version;
    topology_unref(&t);
    if (rc == CQ_OK) {
        group_propose(r->node, r->group, CHASQUI__MAIL__METHOD__RAISE_VERSION, &message.base, after, r);
        return;
    }
    cq_log_limited(1, CQ_WARN, "group.version_not_raised", CQ_F_U64("group", r->group->record.group), CQ_F_ERR(&err));
    r->under_way = false;
}

void version_raise_look(struct version_raise *r, const struct topology *t)
{
    if (r->under_way || atomic_load(&r->group->active_version) >= t->finalized_version ||
        t->finalized_version > command_version_known)
        return;
    r->under_way = io_fiber_spawn(r->node->control, run, r, &r->fiber) == CQ_OK;
}

void version_raise_stop(struct version_raise *r)
{
    if (r->under_way)
        io_fiber_cancel(r->fiber);
}
