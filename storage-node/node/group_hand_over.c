#include "node/group_hand_over.h"

#include "base/cq_log.h"
#include "node/fiber_wait.h"
#include "node/node.h"
#include "node/topology_keeper.h"

#define LOOK_MS 20

struct hand_over {
    struct fiber_wait wait;
    struct node *node;
    struct group *group;
    const struct topology *topology; /* may be NULL */
    const uint8_t *to;
    uint64_t chosen; /* replica that was asked; 0: nobody yet */
    enum cq_rc rc;
    struct cq_err *err;
};

static bool is_on(const struct raft_progress *p, const uint8_t *uuid)
{
    return memcmp(p->member.node.uuid, uuid, sizeof p->member.node.uuid) == 0;
}

static bool is_voter_there(const struct raft_progress *p)
{
    return p->member.role == RAFT_MEMBER_VOTER && !p->self && p->connected && !p->behind;
}

/* A node that is being emptied does not get what another one would have to take from it soon. */
static bool is_staying(const struct hand_over *h, const struct raft_progress *p)
{
    uint32_t at = h->topology ? topology_node_index(h->topology, p->member.node.uuid) : TOPOLOGY_NONE;
    return at == TOPOLOGY_NONE || h->topology->nodes[at].state == TOPOLOGY_NODE_UP;
}

static const struct raft_progress *choose(const struct hand_over *h, const struct raft_progress *all, size_t count)
{
    const struct raft_progress *best = NULL;
    for (int pass = 0; pass < 2 && !best; pass++)
        for (size_t i = 0; i < count; i++)
            if (is_voter_there(&all[i]) && (pass || is_staying(h, &all[i])) && (!best || all[i].match > best->match))
                best = &all[i];
    return best;
}

static enum cq_rc judge(struct hand_over *h, const struct raft_progress *all, size_t count, uint64_t last,
                        const struct raft_progress **to_r)
{
    unsigned group = h->group->record.group;
    *to_r = h->to ? NULL : choose(h, all, count);
    for (size_t i = 0; h->to && i < count; i++)
        if (is_on(&all[i], h->to))
            *to_r = &all[i];
    if (!*to_r && h->to)
        return CQ_FAIL(h->err, CQ_E_NOT_FOUND, "shard %u: that node has no replica of it", group);
    if (!*to_r)
        return CQ_FAIL(h->err, CQ_E_UNAVAILABLE, "shard %u: no other replica could lead now", group);
    if ((*to_r)->member.role != RAFT_MEMBER_VOTER)
        return CQ_FAIL(h->err, CQ_E_NOT_FOUND, "shard %u: that node's replica has no vote (yet)", group);
    if ((*to_r)->self)
        return CQ_OK;
    if (!(*to_r)->connected)
        return CQ_FAIL(h->err, CQ_E_UNAVAILABLE, "shard %u: that node is not connected to the leader", group);
    if ((*to_r)->behind || (*to_r)->match + HAND_OVER_NEAR < last)
        return CQ_FAIL(h->err, CQ_E_BEHIND, "shard %u: that replica is behind by %llu entries", group,
                       (unsigned long long)(last - (*to_r)->match));
    return CQ_OK;
}

/* Again and again: an attempt ends by itself after an election time-out. */
static void on_raft(struct raft_host *host, void *arg)
{
    struct hand_over *h = arg;
    struct raft_progress all[RAFT_MEMBERS_MAX];
    struct raft_group_status status;
    const struct raft_progress *to = NULL;
    uint32_t id = h->group->record.group;
    size_t count = host ? raft_host_progress(host, id, all, RAFT_MEMBERS_MAX) : 0;
    h->rc = CQ_E_NOT_LEADER;
    if (count && raft_host_status(host, id, &status) == CQ_OK)
        h->rc = judge(h, all, count, status.last_index, &to);
    if (h->rc == CQ_OK && !to->self)
        raft_host_transfer(host, id, &to->member.node);
    if (h->rc == CQ_OK)
        h->chosen = to->member.replica;
    fiber_wait_signal(&h->wait);
}

static void step(struct hand_over *h)
{
    fiber_wait_begin(&h->wait);
    raft_thread_run(h->node->raft, on_raft, h);
    fiber_wait(&h->wait);
}

/* Somebody else leads, or this replica always did not: what is that for who asked? CQ_E_AGAIN: not known yet. */
static enum cq_rc outcome(struct hand_over *h)
{
    uint64_t leader = atomic_load(&h->group->leader);
    if (h->chosen == h->group->record.replica && group_leads(h->group))
        return CQ_OK; /* it is this one that was meant */
    if (group_leads(h->group) || leader == 0 || leader == h->group->record.replica)
        return CQ_E_AGAIN;
    if (!h->to || leader == h->chosen)
        return CQ_OK;
    return CQ_FAIL(h->err, CQ_E_UNAVAILABLE, "shard %u: another replica was elected; try again",
                   (unsigned)h->group->record.group);
}

static enum cq_rc run(struct hand_over *h, uint64_t deadline_us)
{
    struct io_loop *loop = io_loop_self();
    if (!group_leads(h->group))
        return CQ_FAIL(h->err, CQ_E_NOT_LEADER, "shard %u is not led from here", (unsigned)h->group->record.group);
    while (io_loop_now_us(loop) < deadline_us) {
        if (group_leads(h->group)) {
            step(h);
            if (h->rc != CQ_OK && h->rc != CQ_E_NOT_LEADER)
                return h->rc;
        }
        enum cq_rc rc = outcome(h);
        if (rc != CQ_E_AGAIN)
            return rc;
        if (io_fiber_sleep(LOOK_MS) != CQ_OK)
            return CQ_FAIL(h->err, CQ_E_CANCELLED, "cancelled");
    }
    return CQ_FAIL(h->err, CQ_E_TIMEOUT, "shard %u: nobody took the leadership", (unsigned)h->group->record.group);
}

enum cq_rc group_hand_over(struct node *node, struct group *group, const uint8_t *to, uint64_t deadline_us,
                           struct cq_err *err)
{
    struct hand_over h = {.node = node, .group = group, .to = to, .err = err};
    h.topology = topology_keeper_get(node->keeper);
    enum cq_rc rc = run(&h, deadline_us);
    topology_unref(&h.topology);
    cq_log(CQ_INFO, "group.handed_over", CQ_F_U64("group", group->record.group), CQ_F_U64("to", h.chosen), CQ_F_RC(rc));
    return rc;
}
