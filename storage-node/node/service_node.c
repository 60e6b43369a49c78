#include "node/service_node.h"

#include <stdlib.h>

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "node/call_codec.h"
#include "node/cluster_init.h"
#include "node/disk_watch.h"
#include "node/fiber_wait.h"
#include "node/node_private.h"
#include "node/reseeder.h"
#include "node/scrubber.h"
#include "node/topology_keeper.h"
#include "proto/mail.pb-c.h"
#include "proto/system.pb-c.h"
#include "state/mail_machine.h"

#define MESSAGE_MAX (256u << 10)
#define POOL_SIZE 4096
#define INIT_MS 30000 /* when the caller gives no deadline */

/* ---- Answers of one message, on the handler's fiber ---- */

struct simple {
    struct node *node;
    struct cq_pool *pool;
    struct cq_slice body; /* of the Call */
    uint64_t deadline_us;
    struct cq_slice reply;
    struct cq_err err;
};

static void run_simple(struct rpc_request *request, struct worker *worker, enum cq_rc (*fn)(struct simple *s))
{
    struct simple s = {.node = worker_node(worker), .pool = cq_pool_new(POOL_SIZE)};
    s.deadline_us = rpc_request_deadline_us(request);
    if (s.deadline_us == UINT64_MAX)
        s.deadline_us = io_loop_deadline(io_loop_self(), INIT_MS);
    enum cq_rc rc = call_body(rpc_request_message(request), s.pool, &s.body, &s.err);
    if (rc == CQ_OK)
        rc = fn(&s);
    struct cq_slice message = answer_pack(s.reply, rc == CQ_OK ? NULL : s.err.text, s.pool);
    rpc_reply(request, &(struct rpc_answer){.rc = rc, .message = message});
    cq_pool_free(&s.pool);
}

static enum cq_rc node_info(struct simple *s)
{
    Chasqui__System__NodeInfo info = CHASQUI__SYSTEM__NODE_INFO__INIT;
    Chasqui__System__Node node;
    Chasqui__System__Labels labels;
    node_describe(s->node, &node, &labels);
    info.node = &node;
    info.cluster = s->node->dir.cluster;
    info.epoch = topology_keeper_epoch(s->node->keeper);
    s->reply = message_pack(&info.base, s->pool);
    return CQ_OK;
}

static enum cq_rc init(struct simple *s)
{
    return cluster_init(s->node, s->body, s->deadline_us, s->pool, &s->reply, &s->err);
}

static enum cq_rc bootstrap(struct simple *s)
{
    return cluster_bootstrap_system(s->node, s->body, &s->err);
}

static enum cq_rc router_here(struct simple *s)
{
    Chasqui__System__RouterHere *m = chasqui__system__router_here__unpack(NULL, s->body.len, s->body.data);
    bool ok = m && m->id.len == ROUTER_ID_SIZE;
    if (ok)
        router_table_heard(&s->node->routers, m->id.data, cq_time_mono_us());
    if (m)
        chasqui__system__router_here__free_unpacked(m, NULL);
    return ok ? CQ_OK : CQ_FAIL(&s->err, CQ_E_PROTO, "RouterHere without an id of %d octets", ROUTER_ID_SIZE);
}

/* ---- The replicas of this node ---- */

struct look {
    struct apply_call call;
    struct fiber_wait wait;
    uint64_t applied;
    uint8_t digest[16];
    enum cq_rc rc;
};

static void look_run(struct apply_call *call, struct apply_group *group, struct machine *machine, enum cq_rc rc)
{
    (void)group;
    struct look *look = cq_containerof(call, struct look, call);
    look->rc = rc;
    if (machine) {
        look->applied = machine->ops->applied(machine);
        machine->ops->digest(machine, look->digest);
    }
    fiber_wait_signal(&look->wait);
}

static const char *role_name(const struct group *group)
{
    if (atomic_load(&group->quarantined))
        return "quarantined";
    if (atomic_load(&group->failed))
        return "failed";
    switch (atomic_load(&group->role)) {
    case RAFT_GROUP_LEADER:
        return "leader";
    case RAFT_GROUP_CANDIDATE:
        return "candidate";
    default:
        return "follower";
    }
}

static Chasqui__System__ReplicaState *replica_state(struct simple *s, struct group *group)
{
    struct look look = {.call = {.run = look_run}};
    Chasqui__System__ReplicaState *r = cq_pool_alloc(s->pool, sizeof *r);
    fiber_wait_begin(&look.wait);
    apply_call(group->apply, &look.call);
    fiber_wait(&look.wait);
    chasqui__system__replica_state__init(r);
    r->group = group->record.group;
    r->replica = group->record.replica;
    r->role = (char *)(uintptr_t)role_name(group);
    r->term = atomic_load(&group->term);
    r->first_index = atomic_load(&group->first_index);
    r->commit_index = atomic_load(&group->commit_index);
    r->applied_index = look.applied;
    r->reseed = (char *)(uintptr_t)reseeder_state_name(group);
    r->reseed_bytes = atomic_load(&group->reseed_bytes);
    r->reseed_chunks = atomic_load(&group->reseed_chunks);
    r->generation = group->record.generation;
    r->active_version = atomic_load(&group->active_version);
    if (group_leads(group))
        r->space = (char *)(uintptr_t)space_level_name((enum space_level)atomic_load(&group->space));
    r->digest = (ProtobufCBinaryData){.len = 16, .data = cq_pool_dup(s->pool, look.digest, 16)};
    return r;
}

static enum cq_rc groups(struct simple *s)
{
    Chasqui__System__NodeGroups message = CHASQUI__SYSTEM__NODE_GROUPS__INIT;
    struct disk_look disk;
    Chasqui__System__ReplicaState **rows = cq_pool_calloc(s->pool, GROUPS_MAX, sizeof *rows);
    for (uint32_t id = 0; id < GROUPS_MAX; id++) {
        struct group *group = groups_find(&s->node->groups, id);
        if (group)
            rows[message.n_replicas++] = replica_state(s, group);
    }
    message.replicas = rows;
    disk_watch_look(s->node->disk_watch, &disk);
    message.disk = (char *)(uintptr_t)disk_state_name(disk.state);
    message.space = (char *)(uintptr_t)space_level_name(disk.space);
    message.disk_free = disk.free_bytes;
    message.disk_size = disk.total_bytes;
    message.ballast_bytes = disk.ballast_bytes;
    message.node = (ProtobufCBinaryData){.len = 16, .data = s->node->dir.node};
    s->reply = message_pack(&message.base, s->pool);
    return CQ_OK;
}

/* ---- Checking a replica ---- */

static enum cq_rc find_replica(struct simple *s, uint32_t id, struct group **group_r)
{
    *group_r = groups_find(&s->node->groups, id);
    return *group_r ? CQ_OK : CQ_FAIL(&s->err, CQ_E_NOT_FOUND, "no replica of shard %u is here", id);
}

static enum cq_rc find_named(struct simple *s, struct group **group_r, bool *points_r)
{
    Chasqui__System__VerifyReplica *m = chasqui__system__verify_replica__unpack(NULL, s->body.len, s->body.data);
    if (!m)
        return CQ_FAIL(&s->err, CQ_E_PROTO, "the request does not decode");
    enum cq_rc rc = find_replica(s, m->group, group_r);
    *points_r = m->points;
    chasqui__system__verify_replica__free_unpacked(m, NULL);
    return rc;
}

static enum cq_rc verify(struct simple *s)
{
    struct group *group;
    bool points;
    enum cq_rc rc = find_named(s, &group, &points);
    if (rc == CQ_OK)
        scrubber_verify(s->node->scrubber, group);
    return rc;
}

struct points {
    struct apply_call call;
    struct fiber_wait wait;
    size_t count;
    struct apply_point at[APPLY_POINTS + 1];
};

static void points_run(struct apply_call *call, struct apply_group *group, struct machine *machine, enum cq_rc rc)
{
    (void)machine, (void)rc;
    struct points *points = cq_containerof(call, struct points, call);
    points->count = apply_group_points(group, points->at);
    fiber_wait_signal(&points->wait);
}

static struct points *points_of(struct simple *s, struct group *group)
{
    struct points *points = cq_pool_calloc(s->pool, 1, sizeof *points);
    points->call.run = points_run;
    fiber_wait_begin(&points->wait);
    apply_call(group->apply, &points->call);
    fiber_wait(&points->wait);
    return points;
}

static void describe_points(struct simple *s, struct group *group, Chasqui__System__VerifyState *out)
{
    struct points *points = points_of(s, group);
    Chasqui__System__DigestPoint *list = cq_pool_calloc(s->pool, APPLY_POINTS + 1, sizeof *list);
    out->points = cq_pool_calloc(s->pool, APPLY_POINTS + 1, sizeof *out->points);
    for (; out->n_points < points->count; out->n_points++) {
        Chasqui__System__DigestPoint *point = out->points[out->n_points] = &list[out->n_points];
        chasqui__system__digest_point__init(point);
        point->index = points->at[out->n_points].index;
        point->digest = (ProtobufCBinaryData){.len = 16, .data = points->at[out->n_points].digest};
    }
}

static enum cq_rc verify_state(struct simple *s)
{
    Chasqui__System__VerifyState message = CHASQUI__SYSTEM__VERIFY_STATE__INIT;
    struct scrub_result result;
    struct group *group;
    bool points;
    enum cq_rc rc = find_named(s, &group, &points);
    if (rc != CQ_OK)
        return rc;
    scrubber_look(s->node->scrubber, group, &result);
    message.state = (char *)(uintptr_t)scrub_state_name(result.state);
    message.text = result.text;
    message.index = result.index;
    message.records = result.records;
    message.chunks = result.chunks;
    message.bytes = result.bytes;
    if (points)
        describe_points(s, group, &message);
    s->reply = message_pack(&message.base, s->pool);
    return CQ_OK;
}

static bool has_point(const struct points *points, const Chasqui__System__DigestPoint *own)
{
    for (size_t i = 0; i < points->count; i++)
        if (points->at[i].index == own->index && own->digest.len == 16 &&
            memcmp(points->at[i].digest, own->digest.data, 16) == 0)
            return true;
    return false;
}

/* Whoever says it must have seen this replica as it is: a message that comes late harms no copy that is right. */
static enum cq_rc distrust(struct simple *s)
{
    struct group *group = NULL;
    Chasqui__System__DistrustReplica *m = chasqui__system__distrust_replica__unpack(NULL, s->body.len, s->body.data);
    enum cq_rc rc =
        m && m->own ? find_replica(s, m->group, &group) : CQ_FAIL(&s->err, CQ_E_PROTO, "the request does not decode");
    if (rc == CQ_OK && !has_point(points_of(s, group), m->own))
        rc = CQ_FAIL(&s->err, CQ_E_CONFLICT, "the replica is not what it was taken for any more");
    if (rc == CQ_OK) {
        corruption_detected(CORRUPT_DIVERGENCE);
        cq_log(CQ_ERROR, "scrub.diverged", CQ_F_U64("group", m->group), CQ_F_U64("index", m->own->index));
        reseeder_distrust(s->node->reseeder, group, SUSPECT_STATE);
    }
    if (m)
        chasqui__system__distrust_replica__free_unpacked(m, NULL);
    return rc;
}

static enum cq_rc release_replica(struct simple *s)
{
    struct group *group = NULL;
    Chasqui__System__ReleaseReplica *m = chasqui__system__release_replica__unpack(NULL, s->body.len, s->body.data);
    enum cq_rc rc = m ? find_replica(s, m->group, &group) : CQ_FAIL(&s->err, CQ_E_PROTO, "the request does not decode");
    if (rc == CQ_OK)
        rc = node_group_release(s->node, group, &s->err);
    if (m)
        chasqui__system__release_replica__free_unpacked(m, NULL);
    return rc;
}

static void on_release_replica(struct rpc_request *request, void *ctx)
{
    run_simple(request, ctx, release_replica);
}

static enum cq_rc release_ballast(struct simple *s)
{
    enum cq_rc rc = disk_watch_release_ballast(s->node->disk_watch, &s->err);
    if (rc == CQ_OK)
        cq_log(CQ_WARN, "disk.ballast_released", CQ_F_STR("why", "an operator asked for it"));
    return rc;
}

static void on_release_ballast(struct rpc_request *request, void *ctx)
{
    run_simple(request, ctx, release_ballast);
}

static enum cq_rc recover(struct simple *s)
{
    struct group *group = NULL;
    enum replica_withheld why = REPLICA_KEPT;
    Chasqui__System__RecoverReplica *m = chasqui__system__recover_replica__unpack(NULL, s->body.len, s->body.data);
    enum cq_rc rc = m ? find_replica(s, m->group, &group) : CQ_FAIL(&s->err, CQ_E_PROTO, "the request does not decode");
    if (rc == CQ_OK)
        rc = replica_withheld_read(s->node->dir.store, m->group, &why, &s->err);
    if (rc == CQ_OK && why != REPLICA_FORGETS)
        rc = CQ_FAIL(&s->err, CQ_E_CONFLICT, "the replica of shard %u here has not forgotten anything", m->group);
    if (rc == CQ_OK)
        reseeder_want(s->node->reseeder, group, RESEED_RECOVER);
    if (m)
        chasqui__system__recover_replica__free_unpacked(m, NULL);
    return rc;
}

static void on_recover(struct rpc_request *request, void *ctx)
{
    run_simple(request, ctx, recover);
}

static void on_verify(struct rpc_request *request, void *ctx)
{
    run_simple(request, ctx, verify);
}

static void on_verify_state(struct rpc_request *request, void *ctx)
{
    run_simple(request, ctx, verify_state);
}

static void on_distrust(struct rpc_request *request, void *ctx)
{
    run_simple(request, ctx, distrust);
}

static void on_router_here(struct rpc_request *request, void *ctx)
{
    run_simple(request, ctx, router_here);
}

static void on_node_info(struct rpc_request *request, void *ctx)
{
    run_simple(request, ctx, node_info);
}

static void on_cluster_init(struct rpc_request *request, void *ctx)
{
    run_simple(request, ctx, init);
}

static void on_bootstrap(struct rpc_request *request, void *ctx)
{
    run_simple(request, ctx, bootstrap);
}

static void on_groups(struct rpc_request *request, void *ctx)
{
    run_simple(request, ctx, groups);
}

/* ---- The stream of the topology ---- */

#define LEADERS_MAX 256 /* in one item */

struct stream {
    struct topology_subscriber base;
    struct worker *worker;
    struct rpc_request *request;
    enum cq_rc end;
    bool all; /* the next item has everything: at the start, and after one that found no room */
};

static void send_item(struct stream *s, const struct topology *topology, Chasqui__System__GroupLeader **leaders,
                      size_t count)
{
    Chasqui__System__TopologyItem item = CHASQUI__SYSTEM__TOPOLOGY_ITEM__INIT;
    struct cq_pool *pool = cq_pool_new(POOL_SIZE);
    if (topology) {
        struct cq_buf encoded;
        cq_buf_init(&encoded, TOPOLOGY_ENCODED_MAX);
        if (topology_encode(topology, &encoded))
            item.topology = chasqui__system__topology__unpack(NULL, encoded.len, encoded.data);
        cq_buf_fini(&encoded);
    }
    item.leaders = leaders;
    item.n_leaders = count;
    if (rpc_stream_try(s->request, message_pack(&item.base, pool), NULL, 0) == CQ_E_AGAIN)
        s->all = true;
    if (item.topology)
        chasqui__system__topology__free_unpacked(item.topology, NULL);
    cq_pool_free(&pool);
}

static void describe_leader(const struct group *group, Chasqui__System__GroupLeader *out)
{
    chasqui__system__group_leader__init(out);
    out->group = group->record.group;
    out->term = atomic_load(&group->term);
    out->replica = atomic_load(&group->leader);
}

static void send_all(struct stream *s)
{
    struct node *node = worker_node(s->worker);
    const struct topology *topology = topology_keeper_get(node->keeper);
    Chasqui__System__GroupLeader *rows = cq_calloc(GROUPS_MAX, sizeof *rows);
    Chasqui__System__GroupLeader **leaders = cq_calloc(GROUPS_MAX, sizeof *leaders);
    size_t count = 0;
    for (uint32_t id = 0; id < GROUPS_MAX; id++) {
        const struct group *group = groups_find(&node->groups, id);
        if (!group)
            continue;
        describe_leader(group, &rows[count]);
        leaders[count] = &rows[count];
        count++;
    }
    s->all = false;
    send_item(s, topology, leaders, count);
    topology_unref(&topology);
    free(leaders);
    free(rows);
}

static void on_changed(struct topology_subscriber *base, const struct topology *topology, const struct group *group)
{
    struct stream *s = cq_containerof(base, struct stream, base);
    if (s->all)
        return; /* it comes with everything, as soon as there is room */
    Chasqui__System__GroupLeader leader, *leaders[] = {&leader};
    if (group)
        describe_leader(group, &leader);
    send_item(s, topology, leaders, group != NULL);
}

static void on_writable(void *ctx)
{
    struct stream *s = ctx;
    if (s->all)
        send_all(s);
}

static void on_freed(struct topology_subscriber *base)
{
    struct stream *s = cq_containerof(base, struct stream, base);
    rpc_reply_rc(s->request, s->end);
    free(s);
}

static void on_gone(void *ctx, enum cq_rc why)
{
    struct stream *s = ctx;
    if (s->base.ended)
        return;
    s->end = why;
    topology_keeper_unsubscribe(worker_node(s->worker)->keeper, &s->base);
}

static void on_watch_topology(struct rpc_request *request, void *ctx)
{
    struct worker *worker = ctx;
    struct stream *s = cq_new(struct stream);
    s->base = (struct topology_subscriber){.loop = worker_loop(worker), .changed = on_changed, .freed = on_freed};
    s->worker = worker;
    s->request = request;
    rpc_request_on_gone(request, on_gone, s);
    rpc_request_on_writable(request, on_writable, s);
    topology_keeper_subscribe(worker_node(worker)->keeper, &s->base);
    send_all(s);
}

/* ---- The table ---- */

#define EVERYBODY (RPC_ROLE_STORAGE | RPC_ROLE_ROUTER | RPC_ROLE_ADMIN | RPC_ROLE_OPERATOR)
#define OPERATORS (RPC_ROLE_ADMIN | RPC_ROLE_OPERATOR)

#define ROW(name, roles, flags, handler)                                                                               \
    {                                                                                                                  \
        CHASQUI__SYSTEM__METHOD__##name, #name, roles, flags, MESSAGE_MAX, 0, handler                                  \
    }

static const struct rpc_method methods[] = {
    ROW(NODE_INFO, EVERYBODY, RPC_METHOD_READ, on_node_info),
    ROW(CLUSTER_INIT, OPERATORS, RPC_METHOD_COMMAND, on_cluster_init),
    ROW(BOOTSTRAP_SYSTEM, RPC_ROLE_STORAGE, RPC_METHOD_COMMAND, on_bootstrap),
    ROW(NODE_GROUPS, EVERYBODY, RPC_METHOD_READ, on_groups),
    ROW(VERIFY_REPLICA, OPERATORS, RPC_METHOD_COMMAND, on_verify),
    ROW(VERIFY_STATE, OPERATORS, RPC_METHOD_READ, on_verify_state),
    ROW(RECOVER_REPLICA, OPERATORS, RPC_METHOD_COMMAND, on_recover),
    ROW(DISTRUST_REPLICA, OPERATORS, RPC_METHOD_COMMAND, on_distrust),
    ROW(RELEASE_REPLICA, OPERATORS, RPC_METHOD_COMMAND, on_release_replica),
    ROW(RELEASE_BALLAST, OPERATORS, RPC_METHOD_COMMAND, on_release_ballast),
    ROW(ROUTER_HERE, RPC_ROLE_ROUTER, RPC_METHOD_READ, on_router_here),
    ROW(WATCH_TOPOLOGY, EVERYBODY, RPC_METHOD_READ | RPC_METHOD_STREAM | RPC_METHOD_INLINE, on_watch_topology),
};

struct rpc_service service_node(struct worker *worker)
{
    return (struct rpc_service){methods, sizeof methods / sizeof *methods, worker};
}
