/* Replicas that are here and that the shard map does not name any more: moved away, taken back, or on a disk that comes
 * back late. One is destroyed only on proof: its group's leader, confirmed by a majority, has a committed configuration
 * that does not hold it. Whoever is still a member and should not be asks to be removed first.
 *
 * On the re-seeding loop, so that a group is not copied and destroyed at the same time. Last, a node that has gone and
 * holds nothing marks its data directory, and starts no more. */
#include <stdlib.h>

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "node/call_codec.h"
#include "node/fiber_wait.h"
#include "node/node_private.h"
#include "node/reseeder_private.h"
#include "node/system_client.h"
#include "node/topology_keeper.h"
#include "node/watch.h"
#include "proto/system.pb-c.h"
#include "state/mail_machine.h"

#define LOOK_MS 500
#define RETRY_US (2 * CQ_US_PER_S) /* after a proof that could not be had */
#define CALL_MS 5000
#define POOL_SIZE 4096

/* ---- Who is one ---- */

/* A node that came back under another id is in the map with its old one for a while: then this one is the newer, also
 * as long as it has no id yet. */
static bool is_stray(const struct topology *t, const struct node *node, const struct group *group)
{
    const struct topology_shard *shard = topology_shard(t, group->record.group);
    uint32_t me = topology_node_index(t, node->dir.node);
    if (!shard || me == TOPOLOGY_NONE)
        return false;
    const struct topology_replica *mine = topology_replica_on(shard, me);
    return !mine || (group->record.replica && mine->id > group->record.replica);
}

/* ---- The proof ---- */

enum proof { PROOF_NONE, PROOF_NO_MEMBER, PROOF_MEMBER };

static enum proof judge(const struct node *node, const struct group *group,
                        const Chasqui__System__GroupMembersReply *reply)
{
    if (!reply->committed)
        return PROOF_NONE;
    for (size_t i = 0; i < reply->n_members; i++) {
        const Chasqui__System__Member *m = reply->members[i];
        bool here = m->node.len == 16 && memcmp(m->node.data, node->dir.node, 16) == 0;
        if (m->replica == group->record.replica || (here && !group->record.generation))
            return PROOF_MEMBER;
    }
    return PROOF_NO_MEMBER;
}

static enum proof ask(struct node *node, const struct group *group, const char *address, struct cq_err *err)
{
    Chasqui__System__GroupMembers message = CHASQUI__SYSTEM__GROUP_MEMBERS__INIT;
    struct cq_pool *pool = cq_pool_new(POOL_SIZE);
    enum proof proof = PROOF_NONE;
    struct cq_slice body;
    message.group = group->record.group;
    enum cq_rc rc = node_call(node, address, CHASQUI__SYSTEM__METHOD__GROUP_MEMBERS, message_pack(&message.base, pool),
                              io_loop_deadline(io_loop_self(), CALL_MS), pool, &body, err);
    Chasqui__System__GroupMembersReply *reply =
        rc == CQ_OK ? chasqui__system__group_members_reply__unpack(NULL, body.len, body.data) : NULL;
    if (reply) {
        proof = judge(node, group, reply);
        chasqui__system__group_members_reply__free_unpacked(reply, NULL);
    }
    cq_pool_free(&pool);
    return proof;
}

/* A node speaks for itself: nobody wants this replica, and its group still has it. */
static void ask_removal(struct node *node, const struct group *group, const struct topology *t, const char *address,
                        struct cq_err *err)
{
    Chasqui__System__ChangeMembers message = CHASQUI__SYSTEM__CHANGE_MEMBERS__INIT;
    struct cq_pool *pool = cq_pool_new(POOL_SIZE);
    struct cq_slice body;
    message.group = group->record.group;
    message.change = CHASQUI__SYSTEM__MEMBER_CHANGE__MEMBER_REMOVE;
    message.node = (ProtobufCBinaryData){.len = 16, .data = node->dir.node};
    message.epoch = t->epoch;
    node_call(node, address, CHASQUI__SYSTEM__METHOD__CHANGE_MEMBERS, message_pack(&message.base, pool),
              io_loop_deadline(io_loop_self(), CALL_MS), pool, &body, err);
    cq_pool_free(&pool);
}

static bool is_proved(struct node *node, const struct group *group, const struct topology *t, struct cq_err *err)
{
    const struct topology_shard *shard = topology_shard(t, group->record.group);
    for (size_t i = 0; shard && i < shard->replica_count && !io_fiber_cancelled(); i++) {
        const char *address = t->nodes[shard->replicas[i].node].address;
        enum proof proof = ask(node, group, address, err);
        if (proof == PROOF_MEMBER)
            ask_removal(node, group, t, address, err);
        if (proof != PROOF_NONE)
            return proof == PROOF_NO_MEMBER;
    }
    return false;
}

/* The topology as a majority of the system shard has it now: not one that this disk remembers. */
static const struct topology *ask_topology(struct node *node, struct cq_err *err)
{
    Chasqui__System__GetTopology message = CHASQUI__SYSTEM__GET_TOPOLOGY__INIT;
    struct cq_pool *pool = cq_pool_new(POOL_SIZE);
    const struct topology *t = NULL;
    struct cq_slice body;
    enum cq_rc rc = system_call(node, NULL, 0, CHASQUI__SYSTEM__METHOD__GET_TOPOLOGY, message_pack(&message.base, pool),
                                io_loop_deadline(io_loop_self(), CALL_MS), pool, &body, err);
    if (rc == CQ_OK)
        topology_decode(body, &t, err);
    cq_pool_free(&pool);
    return t;
}

/* ---- Destroying ---- */

struct errand {
    struct node *node;
    struct group *group;
    struct fiber_wait wait;
};

static void on_take_out(struct raft_host *host, void *arg)
{
    struct errand *e = arg;
    if (host)
        raft_thread_take_out(e->node->raft, host, e->group);
    fiber_wait_signal(&e->wait);
}

static void on_detached(void *arg)
{
    fiber_wait_signal(&((struct errand *)arg)->wait);
}

static void leave_threads(struct node *node, struct group *group)
{
    struct errand e = {.node = node, .group = group};
    fiber_wait_begin(&e.wait);
    raft_thread_run(node->raft, on_take_out, &e);
    fiber_wait(&e.wait);
    fiber_wait_begin(&e.wait);
    apply_group_detach(group->apply, on_detached, &e);
    fiber_wait(&e.wait);
}

static void compact_range(struct store *store, enum store_family family, const struct state_key *from)
{
    struct state_key to;
    key_after_prefix(from, &to);
    store_rocksdb_compact(store, family, key_slice(from), key_slice(&to));
}

/* Its space comes back now, not when the store gets to it. */
static void compact(void *arg)
{
    struct attempt *a = arg;
    struct state_key group = {.len = 0}, chunks = {.len = 0};
    key_u32(&group, a->group->record.group);
    key_u64(&chunks, a->group->record.incarnation);
    compact_range(a->node->dir.store, STORE_STATE, &group);
    compact_range(a->node->dir.store, STORE_CHUNK, &chunks);
}

static void destroy(struct reseeder *r, struct group *group)
{
    struct attempt a = {.reseeder = r, .node = r->config.node, .group = group};
    struct store_batch *batch = store_batch_recorder_new();
    io_fiber_shield(true); /* it is not left in the middle */
    leave_threads(a.node, group);
    const struct replica_record record = group_replica_record(group);
    replica_erase(batch, &record);
    reseeder_write(&a, batch, true, NULL);
    store_batch_free(&batch);
    if (atomic_load(&group->quarantined)) /* it was this replica's; one that comes here later has a life of its own */
        apply_marks_release(a.node->marks, record.group, NULL);
    atomic_store(&group->reseed_wish, 0);
    reseeder_show(group, SHOW_NOTHING);
    group_set_absent(group, true);
    r->at[record.group].unfinished = false;
    io_fiber_shield(false);
    cq_log(CQ_INFO, "group.destroyed", CQ_F_U64("group", group->record.group),
           CQ_F_U64("replica", group->record.replica));
    io_pool_run(a.node->read_pool, compact, &a, UINT64_MAX);
    topology_keeper_again(a.node->keeper);
}

/* ---- One after the other ---- */

/* True: no attempt of re-seeding runs for the group, and none begins until let_on(). */
static bool keep_off(struct reseeder *r, uint32_t id)
{
    if (r->at[id].running) {
        io_fiber_cancel(r->at[id].fiber);
        return false;
    }
    r->at[id].running = true;
    r->running++;
    return true;
}

static void let_on(struct reseeder *r, uint32_t id)
{
    r->at[id].running = false;
    r->running--;
}

static void try_destroy(struct reseeder *r, struct group *group, const struct topology *fresh)
{
    struct cq_err err = {0};
    uint32_t id = group->record.group;
    if (!is_stray(fresh, r->config.node, group) || !keep_off(r, id))
        return;
    if (is_proved(r->config.node, group, fresh, &err))
        destroy(r, group);
    else
        cq_log_limited(1, CQ_INFO, "group.not_wanted", CQ_F_U64("group", id),
                       CQ_F_U64("replica", group->record.replica), CQ_F_ERR(&err));
    let_on(r, id);
}

/* The group, if a replica of it is here, or a part of one: a move brought it, the process stopped, and the move was
 * taken back meanwhile. Nobody else makes a place for that, so it would stay for ever. */
static struct group *find_here(struct reseeder *r, const struct topology *t, uint32_t id)
{
    struct node *node = r->config.node;
    struct group *group = groups_find(&node->groups, id);
    const struct topology_shard *shard = topology_shard(t, id);
    uint32_t me = topology_node_index(t, node->dir.node);
    if (group || !r->begun[id] || !shard || me == TOPOLOGY_NONE || topology_replica_on(shard, me))
        return group;
    node_group_unwanted(node, id, r->begun[id]);
    r->begun[id] = 0;
    return groups_find(&node->groups, id);
}

static void look(struct reseeder *r)
{
    struct node *node = r->config.node;
    const struct topology *known = topology_keeper_get(node->keeper), *fresh = NULL;
    uint64_t now = cq_time_mono_us();
    struct cq_err err = {0};
    for (uint32_t id = 0; known && known->epoch && id < GROUPS_MAX && !io_fiber_cancelled(); id++) {
        struct group *group = find_here(r, known, id);
        if (!group || now < r->stray_not_before_us[id] || !is_stray(known, node, group))
            continue;
        r->stray_not_before_us[id] = now + RETRY_US;
        if (!fresh)
            fresh = ask_topology(node, &err);
        if (fresh)
            try_destroy(r, group, fresh);
    }
    topology_unref(&fresh);
    topology_unref(&known);
}

/* ---- A node that has gone ---- */

static bool has_gone(struct node *node)
{
    const struct topology *t = topology_keeper_get(node->keeper);
    uint32_t me = t ? topology_node_index(t, node->dir.node) : TOPOLOGY_NONE;
    bool gone = me != TOPOLOGY_NONE && t->nodes[me].state == TOPOLOGY_NODE_GONE;
    for (uint32_t id = 0; id < GROUPS_MAX && gone; id++)
        gone = !groups_find(&node->groups, id);
    topology_unref(&t);
    return gone;
}

static void bury(struct node *node)
{
    struct cq_err err = {0};
    store_rocksdb_flush(node->dir.store, NULL); /* what is left of logs and tables goes, too */
    if (data_dir_bury(&node->dir, &err) != CQ_OK) {
        cq_log_limited(1, CQ_ERROR, "node.not_marked", CQ_F_ERR(&err));
        return;
    }
    atomic_store(&node->removed, true);
    cq_log(CQ_WARN, "node.removed", CQ_F_STR("data", node->dir.path),
           CQ_F_STR("action", "stop this process; its data directory is marked and starts no more"));
}

void reseeder_strays(void *arg)
{
    struct reseeder *r = arg;
    struct node *node = r->config.node;
    while (!io_fiber_cancelled()) {
        look(r);
        if (!atomic_load(&node->removed) && has_gone(node))
            bury(node);
        if (io_fiber_sleep(LOOK_MS) != CQ_OK)
            break;
    }
    r->straying = false;
}
