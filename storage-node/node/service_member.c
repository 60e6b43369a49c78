#include "node/service_member.h"

#include "base/cq_log.h"
#include "node/call_codec.h"
#include "node/group_hand_over.h"
#include "node/member_change.h"
#include "node/node.h"
#include "node/reseeder.h"
#include "node/topology_keeper.h"
#include "state/state_key.h"

#define MESSAGE_MAX 4096
#define POOL_SIZE 4096
#define DEFAULT_MS 10000 /* when the caller gives no deadline */

/* One request, on its handler's fiber. */
struct ask {
    struct node *node;
    struct cq_pool *pool;
    struct cq_slice body;
    uint64_t deadline_us;
    struct cq_slice reply;
    struct cq_err err;
};

static void run(struct rpc_request *request, struct worker *worker, enum cq_rc (*fn)(struct ask *a))
{
    struct ask a = {.node = worker_node(worker), .pool = cq_pool_new(POOL_SIZE)};
    a.deadline_us = rpc_request_deadline_us(request);
    if (a.deadline_us == UINT64_MAX)
        a.deadline_us = io_loop_deadline(io_loop_self(), DEFAULT_MS);
    enum cq_rc rc = call_body(rpc_request_message(request), a.pool, &a.body, &a.err);
    if (rc == CQ_OK)
        rc = fn(&a);
    struct cq_slice message = answer_pack(a.reply, rc == CQ_OK ? NULL : a.err.text, a.pool);
    rpc_reply(request, &(struct rpc_answer){.rc = rc, .message = message});
    cq_pool_free(&a.pool);
}

static enum cq_rc find_group(struct ask *a, uint32_t id, struct group **group_r)
{
    struct group *group = groups_find(&a->node->groups, id);
    if (!group || atomic_load(&group->failed) || !group_leads(group))
        return CQ_FAIL(&a->err, CQ_E_NOT_LEADER, "shard %u is not led from here", id);
    *group_r = group;
    return CQ_OK;
}

static enum cq_rc bad(struct ask *a)
{
    return CQ_FAIL(&a->err, CQ_E_PROTO, "the request does not decode");
}

/* ---- Who they are ---- */

static void pack_members(struct ask *a, const struct group *group, const struct member_look *look)
{
    Chasqui__System__GroupMembersReply reply = CHASQUI__SYSTEM__GROUP_MEMBERS_REPLY__INIT;
    Chasqui__System__Member rows[RAFT_MEMBERS_MAX], *list[RAFT_MEMBERS_MAX];
    for (size_t i = 0; i < look->count; i++) {
        const struct raft_progress *p = &look->members[i];
        chasqui__system__member__init(&rows[i]);
        rows[i].replica = p->member.replica;
        rows[i].node = (ProtobufCBinaryData){.len = 16, .data = (uint8_t *)(uintptr_t)p->member.node.uuid};
        rows[i].role = p->member.role;
        rows[i].match = p->match;
        rows[i].connected = p->connected;
        list[i] = &rows[i];
    }
    reply.leader = group->record.replica;
    reply.term = look->term;
    reply.committed = look->committed;
    reply.last_index = look->last_index;
    reply.members = list;
    reply.n_members = look->count;
    a->reply = message_pack(&reply.base, a->pool);
}

static enum cq_rc members(struct ask *a)
{
    Chasqui__System__GroupMembers *m = chasqui__system__group_members__unpack(NULL, a->body.len, a->body.data);
    struct member_look look;
    struct group *group = NULL;
    enum cq_rc rc = m ? find_group(a, m->group, &group) : bad(a);
    if (rc == CQ_OK)
        rc = member_look(a->node, group, &look, &a->err);
    if (rc == CQ_OK)
        pack_members(a, group, &look);
    if (m)
        chasqui__system__group_members__free_unpacked(m, NULL);
    return rc;
}

/* ---- One change ---- */

/* Does this move want the change? */
static bool move_wants(const struct topology_move *move, const Chasqui__System__ChangeMembers *m, uint32_t node)
{
    bool copies = move->step == TOPOLOGY_MOVE_ADDING || move->step == TOPOLOGY_MOVE_COPYING;
    if (move->group != m->group)
        return false;
    if (m->change != CHASQUI__SYSTEM__MEMBER_CHANGE__MEMBER_REMOVE)
        return move->replica == m->replica && move->to == node && copies && !move->cancelled;
    return (move->from == node && move->step == TOPOLOGY_MOVE_REMOVING) ||
           (move->to == node && copies && move->cancelled);
}

static bool is_wanted(const struct topology *t, const Chasqui__System__ChangeMembers *m)
{
    const struct topology_shard *shard = topology_shard(t, m->group);
    uint32_t node = topology_node_index(t, m->node.data);
    bool wanted = m->change == CHASQUI__SYSTEM__MEMBER_CHANGE__MEMBER_REMOVE && shard &&
                  (node == TOPOLOGY_NONE || !topology_replica_on(shard, node));
    for (size_t i = 0; i < t->move_count && !wanted; i++)
        wanted = move_wants(&t->moves[i], m, node);
    return wanted;
}

/* Who plans with an older topology than this node knows has not seen what came after: then the change must still be
 * wanted by the later one. */
static enum cq_rc check_wanted(struct ask *a, const Chasqui__System__ChangeMembers *m)
{
    const struct topology *t = topology_keeper_get(a->node->keeper);
    enum cq_rc rc = CQ_OK;
    if (t && t->epoch > m->epoch && !is_wanted(t, m))
        rc =
            CQ_FAIL(&a->err, CQ_E_CONFLICT, "the topology is at epoch %llu and wants no such change, which is for %llu",
                    (unsigned long long)t->epoch, (unsigned long long)m->epoch);
    topology_unref(&t);
    return rc;
}

static enum cq_rc change(struct ask *a)
{
    Chasqui__System__ChangeMembers *m = chasqui__system__change_members__unpack(NULL, a->body.len, a->body.data);
    struct raft_node member = {0};
    struct group *group = NULL;
    enum cq_rc rc = m && m->node.len == sizeof member.uuid ? check_wanted(a, m) : bad(a);
    if (rc == CQ_OK)
        rc = find_group(a, m->group, &group);
    if (rc == CQ_OK) {
        memcpy(member.uuid, m->node.data, sizeof member.uuid);
        rc = member_change(a->node, group, m->change, m->replica, &member, &a->err);
    }
    if (m)
        chasqui__system__change_members__free_unpacked(m, NULL);
    return rc;
}

/* ---- Another leader ---- */

static enum cq_rc transfer(struct ask *a)
{
    Chasqui__System__TransferLeader *m = chasqui__system__transfer_leader__unpack(NULL, a->body.len, a->body.data);
    struct group *group = NULL;
    enum cq_rc rc = m && (m->node.len == 0 || m->node.len == 16) ? find_group(a, m->group, &group) : bad(a);
    uint64_t latest = io_loop_deadline(io_loop_self(), DEFAULT_MS);
    if (rc == CQ_OK)
        rc = group_hand_over(a->node, group, m->node.len ? m->node.data : NULL,
                             a->deadline_us < latest ? a->deadline_us : latest, &a->err);
    if (m)
        chasqui__system__transfer_leader__free_unpacked(m, NULL);
    return rc;
}

/* ---- What is here ---- */

static uint64_t range_bytes(struct store *store, enum store_family family, const struct state_key *from)
{
    struct state_key to;
    key_after_prefix(from, &to);
    return store_rocksdb_bytes(store, family, key_slice(from), key_slice(&to));
}

/* What the replica's state and bodies take here. */
static uint64_t bytes_of(struct node *node, const struct replica_record *record)
{
    struct state_key group = {.len = 0}, chunks = {.len = 0};
    key_u32(&group, record->group);
    key_u64(&chunks, record->incarnation);
    return range_bytes(node->dir.store, STORE_STATE, &group) + range_bytes(node->dir.store, STORE_CHUNK, &chunks);
}

static enum cq_rc here(struct ask *a)
{
    Chasqui__System__GroupMembers *m = chasqui__system__group_members__unpack(NULL, a->body.len, a->body.data);
    Chasqui__System__ReplicaState reply = CHASQUI__SYSTEM__REPLICA_STATE__INIT;
    if (!m)
        return bad(a);
    const struct group *group = groups_find(&a->node->groups, m->group);
    reply.group = m->group;
    if (group) {
        const struct replica_record record = group_replica_record(group);
        reply.replica = record.replica;
        reply.generation = record.generation;
        reply.applied_index = atomic_load(&group->applied);
        reply.bytes = bytes_of(a->node, &record);
        reply.reseed = (char *)(uintptr_t)reseeder_state_name(group);
        reply.reseed_bytes = atomic_load(&group->reseed_bytes);
        reply.reseed_chunks = atomic_load(&group->reseed_chunks);
    }
    a->reply = message_pack(&reply.base, a->pool);
    chasqui__system__group_members__free_unpacked(m, NULL);
    return CQ_OK;
}

static enum cq_rc known(struct ask *a)
{
    const struct topology *t = topology_keeper_get(a->node->keeper);
    struct cq_buf encoded;
    cq_buf_init(&encoded, TOPOLOGY_ENCODED_MAX);
    enum cq_rc rc = t && t->epoch && topology_encode(t, &encoded)
                        ? CQ_OK
                        : CQ_FAIL(&a->err, CQ_E_UNAVAILABLE, "this node knows no topology yet");
    a->reply = cq_pool_slice(a->pool, cq_buf_slice(&encoded));
    cq_buf_fini(&encoded);
    topology_unref(&t);
    return rc;
}

static void on_known(struct rpc_request *request, void *ctx)
{
    run(request, ctx, known);
}

static void on_members(struct rpc_request *request, void *ctx)
{
    run(request, ctx, members);
}

static void on_change(struct rpc_request *request, void *ctx)
{
    run(request, ctx, change);
}

static void on_transfer(struct rpc_request *request, void *ctx)
{
    run(request, ctx, transfer);
}

static void on_here(struct rpc_request *request, void *ctx)
{
    run(request, ctx, here);
}

/* ---- The table ---- */

#define LOOKERS (RPC_ROLE_STORAGE | RPC_ROLE_ADMIN | RPC_ROLE_OPERATOR)

#define ROW(name, roles, flags, handler)                                                                               \
    {                                                                                                                  \
        CHASQUI__SYSTEM__METHOD__##name, #name, roles, flags, MESSAGE_MAX, 0, handler                                  \
    }

static const struct rpc_method methods[] = {
    ROW(GROUP_MEMBERS, LOOKERS, RPC_METHOD_READ, on_members),
    ROW(CHANGE_MEMBERS, RPC_ROLE_STORAGE, RPC_METHOD_COMMAND, on_change),
    ROW(TRANSFER_LEADER, LOOKERS, RPC_METHOD_COMMAND, on_transfer),
    ROW(REPLICA_HERE, LOOKERS, RPC_METHOD_READ, on_here),
    ROW(TOPOLOGY_KNOWN, LOOKERS, RPC_METHOD_READ, on_known),
};

struct rpc_service service_member(struct worker *worker)
{
    return (struct rpc_service){methods, sizeof methods / sizeof *methods, worker};
}
