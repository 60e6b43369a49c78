/* The commands of the system shard. Each one looks at a->before and changes a->plain and a->header; whether the result
 * is a valid topology is judged after it, for all alike, by topology_new. */
#include "base/cq_assert.h"
#include "cluster/move_plan.h"
#include "cluster/placement.h"
#include "state/command_version.h"
#include "system/system_private.h"

#include <stdlib.h>

/* ---- Parts ---- */

enum cq_rc system_need_cluster(struct system_apply *a)
{
    return a->before->epoch ? CQ_OK : CQ_FAIL(a->err, CQ_E_UNAVAILABLE, "no cluster has been initialised");
}

static enum cq_rc need_epoch(struct system_apply *a, uint64_t if_epoch)
{
    enum cq_rc rc = system_need_cluster(a);
    if (rc == CQ_OK && if_epoch != a->before->epoch)
        rc = CQ_FAIL(a->err, CQ_E_CONFLICT, "the topology is at epoch %llu, the command is for %llu",
                     (unsigned long long)a->before->epoch, (unsigned long long)if_epoch);
    return rc;
}

static void take_labels(struct topology_node *node, const Chasqui__System__Labels *labels)
{
    node->region = labels ? labels->region : "";
    node->dc = labels ? labels->dc : "";
    node->zone = labels ? labels->zone : "";
    node->host = labels ? labels->host : "";
}

static enum cq_rc node_from_proto(struct system_apply *a, const Chasqui__System__Node *from, struct topology_node *node)
{
    if (!from || from->uuid.len != TOPOLOGY_UUID_SIZE)
        return CQ_FAIL(a->err, CQ_E_INVALID, "a node without a uuid of 16 bytes");
    *node = (struct topology_node){.address = from->address,
                                   .version = from->version,
                                   .boot = from->boot,
                                   .command_version = from->command_version ? from->command_version : 1};
    if (node->command_version > UINT16_MAX)
        return CQ_FAIL(a->err, CQ_E_INVALID, "command version %u", node->command_version);
    memcpy(node->uuid, from->uuid.data, TOPOLOGY_UUID_SIZE);
    take_labels(node, from->labels);
    return CQ_OK;
}

/* A copy of the node list that may be changed, with room for one more. */
struct topology_node *system_own_nodes(struct system_apply *a)
{
    struct topology_node *nodes = cq_pool_calloc(a->pool, a->plain.node_count + 1, sizeof *nodes);
    if (a->plain.node_count)
        memcpy(nodes, a->plain.nodes, a->plain.node_count * sizeof *nodes);
    a->plain.nodes = nodes;
    return nodes;
}

/* The node with that uuid in a list that may be changed; NULL and an error when there is none. */
static struct topology_node *own_node(struct system_apply *a, ProtobufCBinaryData uuid)
{
    uint32_t index = uuid.len == TOPOLOGY_UUID_SIZE ? topology_node_index(a->before, uuid.data) : TOPOLOGY_NONE;
    if (index != TOPOLOGY_NONE)
        return &system_own_nodes(a)[index];
    CQ_FAIL(a->err, CQ_E_NOT_FOUND, "no such node");
    return NULL;
}

static enum cq_rc replicas_from_proto(struct system_apply *a, const struct topology *nodes,
                                      Chasqui__System__Replica *const *from, size_t count, uint64_t below,
                                      const struct topology_replica **replicas_r)
{
    struct topology_replica *replicas = cq_pool_calloc(a->pool, count + 1, sizeof *replicas);
    for (size_t i = 0; i < count; i++) {
        uint32_t node =
            from[i]->node.len == TOPOLOGY_UUID_SIZE ? topology_node_index(nodes, from[i]->node.data) : TOPOLOGY_NONE;
        if (node == TOPOLOGY_NONE || from[i]->id >= below)
            return CQ_FAIL(a->err, CQ_E_INVALID, "replica %llu: no such node, or an id that was never given out",
                           (unsigned long long)from[i]->id);
        replicas[i] = (struct topology_replica){.id = from[i]->id, .node = node, .voter = from[i]->voter};
    }
    *replicas_r = replicas;
    return CQ_OK;
}

/* ---- INIT_CLUSTER ---- */

static bool cluster_id_valid(const char *id)
{
    size_t len = strlen(id);
    return len >= 1 && len <= TOPOLOGY_LABEL_MAX && strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static int node_cmp(const void *a, const void *b)
{
    return memcmp(((const struct topology_node *)a)->uuid, ((const struct topology_node *)b)->uuid, TOPOLOGY_UUID_SIZE);
}

static enum cq_rc init_nodes(struct system_apply *a, const Chasqui__System__InitCluster *msg)
{
    struct topology_node *nodes = cq_pool_calloc(a->pool, msg->n_nodes + 1, sizeof *nodes);
    enum cq_rc rc = CQ_OK;
    for (size_t i = 0; i < msg->n_nodes && rc == CQ_OK; i++) {
        rc = node_from_proto(a, msg->nodes[i], &nodes[i]);
        nodes[i].state = TOPOLOGY_NODE_UP;
    }
    qsort(nodes, msg->n_nodes, sizeof *nodes, node_cmp);
    a->plain.nodes = nodes;
    a->plain.node_count = msg->n_nodes;
    return rc;
}

static enum cq_rc init_judge(struct system_apply *a, const Chasqui__System__InitCluster *msg)
{
    if (!cluster_id_valid(msg->cluster))
        return CQ_FAIL(a->err, CQ_E_INVALID, "a cluster id is 1 to 63 of a-z, 0-9 and -");
    if (msg->n_nodes < 1 || msg->n_nodes > TOPOLOGY_NODES_MAX)
        return CQ_FAIL(a->err, CQ_E_INVALID, "%zu nodes", msg->n_nodes);
    if (msg->shards < 1 || msg->shards > TOPOLOGY_SHARDS_MAX)
        return CQ_FAIL(a->err, CQ_E_INVALID, "%u shards, allowed are 1 to %u", msg->shards, TOPOLOGY_SHARDS_MAX);
    if (msg->replicas < 1 || msg->replicas > TOPOLOGY_REPLICAS_MAX || msg->replicas > msg->n_nodes)
        return CQ_FAIL(a->err, CQ_E_INVALID, "%u replicas on %zu nodes, allowed are at most %u", msg->replicas,
                       msg->n_nodes, TOPOLOGY_REPLICAS_MAX);
    if (msg->n_system < 1 || msg->n_system > TOPOLOGY_REPLICAS_MAX)
        return CQ_FAIL(a->err, CQ_E_INVALID, "%zu replicas of the system shard", msg->n_system);
    return CQ_OK;
}

/* Group 0 as it was bootstrapped: its ids are the first that are taken. */
static enum cq_rc init_system_shard(struct system_apply *a, const Chasqui__System__InitCluster *msg,
                                    struct topology_shard *shard)
{
    enum cq_rc rc = replicas_from_proto(a, &a->plain, msg->system, msg->n_system, UINT32_MAX, &shard->replicas);
    shard->group = SYSTEM_GROUP;
    shard->home = "";
    shard->replica_count = msg->n_system;
    for (size_t i = 0; i < msg->n_system; i++)
        if (msg->system[i]->id >= a->header.next_replica)
            a->header.next_replica = msg->system[i]->id + 1;
    return rc;
}

static enum cq_rc init_cluster(struct system_apply *a, const ProtobufCMessage *message, struct cq_slice *reply_r)
{
    const Chasqui__System__InitCluster *msg = (const Chasqui__System__InitCluster *)message;
    struct topology_shard *shards, *all, system = {0};
    struct topology_range *ranges;
    (void)reply_r;
    if (a->before->epoch && strcmp(a->before->cluster, msg->cluster) == 0)
        return CQ_OK; /* asked again */
    if (a->before->epoch)
        return CQ_FAIL(a->err, CQ_E_EXISTS, "this is cluster %s already", a->before->cluster);
    enum cq_rc rc = init_judge(a, msg);
    if (rc == CQ_OK)
        rc = init_nodes(a, msg);
    if (rc == CQ_OK)
        rc = init_system_shard(a, msg, &system);
    if (rc != CQ_OK)
        return rc;
    uint32_t lowest, highest;
    topology_versions(&a->plain, &lowest, &highest);
    a->plain.finalized_version = lowest;
    placement_first_map(a->plain.nodes, a->plain.node_count, msg->shards, msg->replicas, &a->header.next_replica,
                        a->pool, &shards, &ranges);
    all = cq_pool_calloc(a->pool, msg->shards + 1ul, sizeof *all);
    all[0] = system;
    memcpy(all + 1, shards, msg->shards * sizeof *all);
    a->plain.cluster = msg->cluster;
    a->plain.shards = all;
    a->plain.shard_count = msg->shards + 1ul;
    a->plain.ranges = ranges;
    a->plain.range_count = msg->shards;
    return CQ_OK;
}

/* ---- Nodes ---- */

/* A registration from before the last one comes late and counts for nothing. */
static enum cq_rc update_node(struct system_apply *a, struct topology_node *node, const struct topology_node *from)
{
    if (node->state == TOPOLOGY_NODE_GONE)
        return CQ_FAIL(a->err, CQ_E_DENIED, "the node was removed from the cluster");
    if (from->boot < node->boot)
        return CQ_OK;
    node->address = from->address;
    node->version = from->version;
    node->boot = from->boot;
    node->command_version = from->command_version;
    return CQ_OK;
}

static void insert_node(struct system_apply *a, const struct topology_node *node)
{
    struct topology_node *nodes = system_own_nodes(a);
    size_t at = a->plain.node_count++;
    nodes[at] = *node;
    nodes[at].state = TOPOLOGY_NODE_JOINING;
    qsort(nodes, at + 1, sizeof *nodes, node_cmp);
}

static void renumber_moves(struct system_apply *a)
{
    struct topology_move *moves = cq_pool_calloc(a->pool, a->plain.move_count + 1, sizeof *moves);
    for (size_t i = 0; i < a->plain.move_count; i++) {
        moves[i] = a->before->moves[i];
        moves[i].from = topology_node_index(&a->plain, a->before->nodes[moves[i].from].uuid);
        moves[i].to = topology_node_index(&a->plain, a->before->nodes[moves[i].to].uuid);
    }
    a->plain.moves = moves;
}

/* Replicas point to nodes by index: after an insertion the indexes of those behind it move. */
static void renumber_replicas(struct system_apply *a)
{
    struct topology_shard *shards = cq_pool_calloc(a->pool, a->plain.shard_count + 1, sizeof *shards);
    for (size_t s = 0; s < a->plain.shard_count; s++) {
        const struct topology_shard *old = &a->before->shards[s];
        struct topology_replica *replicas = cq_pool_calloc(a->pool, old->replica_count + 1, sizeof *replicas);
        shards[s] = *old;
        for (size_t r = 0; r < old->replica_count; r++) {
            replicas[r] = old->replicas[r];
            replicas[r].node = topology_node_index(&a->plain, a->before->nodes[old->replicas[r].node].uuid);
        }
        shards[s].replicas = replicas;
    }
    a->plain.shards = shards;
}

static enum cq_rc register_node(struct system_apply *a, const ProtobufCMessage *message, struct cq_slice *reply_r)
{
    const Chasqui__System__RegisterNode *msg = (const Chasqui__System__RegisterNode *)message;
    struct topology_node from;
    (void)reply_r;
    enum cq_rc rc = system_need_cluster(a);
    if (rc == CQ_OK)
        rc = node_from_proto(a, msg->node, &from);
    if (rc != CQ_OK)
        return rc;
    if (from.command_version < a->before->finalized_version)
        return command_version_too_new(a->before->finalized_version, from.command_version, a->err);
    uint32_t index = topology_node_index(a->before, from.uuid);
    if (index != TOPOLOGY_NONE)
        return update_node(a, &system_own_nodes(a)[index], &from);
    insert_node(a, &from);
    renumber_replicas(a);
    renumber_moves(a);
    return CQ_OK;
}

static enum cq_rc set_labels(struct system_apply *a, const ProtobufCMessage *message, struct cq_slice *reply_r)
{
    const Chasqui__System__SetLabels *msg = (const Chasqui__System__SetLabels *)message;
    struct topology_node *node = own_node(a, msg->uuid);
    (void)reply_r;
    if (!node)
        return CQ_E_NOT_FOUND;
    take_labels(node, msg->labels);
    return CQ_OK;
}

/* The planner says it of what it saw, and somebody may have taken it back since (DRAIN_NODE, undo). */
static enum cq_rc judge_gone(struct system_apply *a, uint32_t node)
{
    if (!a->before->nodes[node].leaving)
        return CQ_FAIL(a->err, CQ_E_CONFLICT, "the node does not leave; chasquictl node decommission begins that");
    if (!move_plan_has_left(a->before, node))
        return CQ_FAIL(a->err, CQ_E_CONFLICT, "the node still holds replicas, or has a part in a move");
    return CQ_OK;
}

static enum cq_rc set_node_state(struct system_apply *a, const ProtobufCMessage *message, struct cq_slice *reply_r)
{
    const Chasqui__System__SetNodeState *msg = (const Chasqui__System__SetNodeState *)message;
    struct topology_node *node = own_node(a, msg->uuid);
    (void)reply_r;
    if (!node)
        return CQ_E_NOT_FOUND;
    if (node->state == TOPOLOGY_NODE_GONE && msg->state != CHASQUI__SYSTEM__NODE_STATE__NODE_GONE)
        return CQ_FAIL(a->err, CQ_E_DENIED, "a node that is gone comes never back");
    if (msg->state == CHASQUI__SYSTEM__NODE_STATE__NODE_GONE && node->state != TOPOLOGY_NODE_GONE) {
        enum cq_rc rc = judge_gone(a, (uint32_t)(node - a->plain.nodes));
        if (rc != CQ_OK)
            return rc;
    }
    node->state = (enum topology_node_state)msg->state;
    node->leaving = node->leaving && node->state == TOPOLOGY_NODE_DRAINING;
    return CQ_OK;
}

/* ---- Versions ---- */

/* Addresses of the nodes that cannot apply a version; "" when all can. */
static const char *nodes_below(struct system_apply *a, uint32_t version)
{
    struct cq_buf names;
    cq_buf_init(&names, CQ_ERR_TEXT_SIZE / 2); /* what does not fit is left out */
    for (size_t i = 0; i < a->before->node_count; i++) {
        const struct topology_node *node = &a->before->nodes[i];
        if (node->state != TOPOLOGY_NODE_GONE && node->command_version < version)
            cq_buf_printf(&names, "%s%s", names.len ? ", " : "", node->address);
    }
    const char *text = cq_pool_cstr(a->pool, cq_buf_slice(&names));
    cq_buf_fini(&names);
    return text;
}

/* The nodes are judged first: all replicas alike, whatever their builds know. */
static enum cq_rc finalize_version(struct system_apply *a, const ProtobufCMessage *message, struct cq_slice *reply_r)
{
    const Chasqui__System__FinalizeVersion *msg = (const Chasqui__System__FinalizeVersion *)message;
    uint32_t lowest, highest;
    (void)reply_r;
    enum cq_rc rc = system_need_cluster(a);
    if (rc != CQ_OK || msg->version <= a->before->finalized_version)
        return rc;
    topology_versions(a->before, &lowest, &highest);
    if (msg->version > lowest)
        return CQ_FAIL(a->err, CQ_E_CONFLICT,
                       "these nodes cannot apply command version %u: %s; upgrade them, or decommission those that are "
                       "lost",
                       msg->version, nodes_below(a, msg->version));
    if (msg->version > a->m->config.known)
        return db_break(a->m->db, command_version_too_new(msg->version, a->m->config.known, a->err));
    a->plain.finalized_version = msg->version;
    return CQ_OK;
}

/* ---- The map ---- */

static void set_ranges(struct system_apply *a, const Chasqui__System__SetShardMap *msg)
{
    struct topology_range *ranges = cq_pool_calloc(a->pool, msg->n_slots, sizeof *ranges);
    for (size_t i = 0; i < msg->n_slots; i++)
        ranges[i] = (struct topology_range){msg->slots[i]->first, msg->slots[i]->last, msg->slots[i]->group};
    a->plain.ranges = ranges;
    a->plain.range_count = msg->n_slots;
}

static int override_cmp(const void *a_p, const void *b_p)
{
    const struct topology_override *a = a_p, *b = b_p;
    return a->account < b->account ? -1 : a->account > b->account;
}

static int account_cmp(const void *a_p, const void *b_p)
{
    const uint64_t *a = a_p, *b = b_p;
    return *a < *b ? -1 : *a > *b;
}

/* Old ones that are neither set nor cleared, and the set ones. An account that is set twice is refused later: the
 * overrides would not rise. */
static void set_overrides(struct system_apply *a, const Chasqui__System__SetShardMap *msg)
{
    size_t set = msg->n_overrides, count = 0;
    struct topology_override *all = cq_pool_calloc(a->pool, a->before->override_count + set + 1, sizeof *all);
    uint64_t *drop = cq_pool_calloc(a->pool, msg->n_clear + set + 1, sizeof *drop);
    for (size_t i = 0; i < msg->n_clear; i++)
        drop[i] = msg->clear[i];
    for (size_t i = 0; i < set; i++)
        drop[msg->n_clear + i] = msg->overrides[i]->account;
    qsort(drop, msg->n_clear + set, sizeof *drop, account_cmp);
    for (size_t i = 0; i < a->before->override_count; i++)
        if (!bsearch(&a->before->overrides[i].account, drop, msg->n_clear + set, sizeof *drop, account_cmp))
            all[count++] = a->before->overrides[i];
    for (size_t i = 0; i < set; i++)
        all[count++] = (struct topology_override){msg->overrides[i]->account, msg->overrides[i]->group};
    qsort(all, count, sizeof *all, override_cmp);
    a->plain.overrides = all;
    a->plain.override_count = count;
}

static enum cq_rc set_shard_map(struct system_apply *a, const ProtobufCMessage *message, struct cq_slice *reply_r)
{
    const Chasqui__System__SetShardMap *msg = (const Chasqui__System__SetShardMap *)message;
    enum cq_rc rc = need_epoch(a, msg->if_epoch);
    (void)reply_r;
    if (rc != CQ_OK)
        return rc;
    if (msg->n_slots)
        set_ranges(a, msg);
    if (msg->n_overrides || msg->n_clear)
        set_overrides(a, msg);
    return CQ_OK;
}

static int shard_cmp(const void *a_p, const void *b_p)
{
    const struct topology_shard *a = a_p, *b = b_p;
    return a->group < b->group ? -1 : a->group > b->group;
}

static bool same_ids(const struct topology_shard *a, const struct topology_shard *b)
{
    bool same = a->replica_count == b->replica_count;
    for (size_t i = 0; i < a->replica_count && same; i++)
        same = topology_replica(b, a->replicas[i].id) != NULL;
    return same;
}

static enum cq_rc set_shard(struct system_apply *a, const ProtobufCMessage *message, struct cq_slice *reply_r)
{
    const Chasqui__System__SetShard *msg = (const Chasqui__System__SetShard *)message;
    enum cq_rc rc = need_epoch(a, msg->if_epoch);
    (void)reply_r;
    if (rc == CQ_OK && !msg->shard)
        rc = CQ_FAIL(a->err, CQ_E_INVALID, "SET_SHARD without a shard");
    if (rc != CQ_OK)
        return rc;
    struct topology_shard *shards = cq_pool_calloc(a->pool, a->plain.shard_count + 1, sizeof *shards);
    size_t count = 0;
    for (size_t i = 0; i < a->plain.shard_count; i++)
        if (a->before->shards[i].group != msg->shard->group)
            shards[count++] = a->before->shards[i];
    struct topology_shard *shard = &shards[count++];
    *shard = (struct topology_shard){.group = msg->shard->group,
                                     .home = msg->shard->home,
                                     .replica_count = msg->shard->n_replicas,
                                     .preferred = msg->shard->preferred};
    rc = replicas_from_proto(a, a->before, msg->shard->replicas, msg->shard->n_replicas, a->header.next_replica,
                             &shard->replicas);
    const struct topology_shard *was = topology_shard(a->before, shard->group);
    if (rc == CQ_OK && was) {
        shard->moved = was->moved || !same_ids(was, shard);
        system_moves_follow(a, was, shard);
    }
    qsort(shards, count, sizeof *shards, shard_cmp);
    a->plain.shards = shards;
    a->plain.shard_count = count;
    return rc;
}

/* ---- Replica ids ---- */

static enum cq_rc allocate_replicas(struct system_apply *a, const ProtobufCMessage *message, struct cq_slice *reply_r)
{
    const Chasqui__System__AllocateReplicas *msg = (const Chasqui__System__AllocateReplicas *)message;
    Chasqui__System__AllocateReplicasReply reply = CHASQUI__SYSTEM__ALLOCATE_REPLICAS_REPLY__INIT;
    enum cq_rc rc = system_need_cluster(a);
    if (rc == CQ_OK && (msg->count < 1 || msg->count > SYSTEM_ALLOCATE_MAX))
        rc = CQ_FAIL(a->err, CQ_E_INVALID, "%u ids, allowed are 1 to %u", msg->count, SYSTEM_ALLOCATE_MAX);
    if (rc != CQ_OK)
        return rc;
    reply.first = a->header.next_replica;
    reply.count = msg->count;
    a->header.next_replica += msg->count;
    *reply_r = system_pack(a->pool, &reply.base);
    return CQ_OK;
}

/* ---- The table ---- */

static const struct {
    struct system_method method;
    const ProtobufCMessageDescriptor *message;
    system_command_fn *run;
} rows[] = {
#define COMMAND(name, type, run)                                                                                       \
    {                                                                                                                  \
        {CHASQUI__SYSTEM__METHOD__##name, #name, true}, &chasqui__system__##type##__descriptor, run                    \
    }
    COMMAND(INIT_CLUSTER, init_cluster, init_cluster),
    COMMAND(REGISTER_NODE, register_node, register_node),
    COMMAND(SET_LABELS, set_labels, set_labels),
    COMMAND(SET_NODE_STATE, set_node_state, set_node_state),
    COMMAND(SET_SHARD_MAP, set_shard_map, set_shard_map),
    COMMAND(SET_SHARD, set_shard, set_shard),
    COMMAND(ALLOCATE_REPLICAS, allocate_replicas, allocate_replicas),
    COMMAND(PREFER_LEADER, prefer_leader, system_prefer_leader),
    COMMAND(JOIN_NODE, join_node, system_join_node),
    COMMAND(DRAIN_NODE, drain_node, system_drain_node),
    COMMAND(DECOMMISSION_NODE, decommission_node, system_decommission_node),
    COMMAND(MOVE_SHARD, move_shard, system_move_shard),
    COMMAND(CANCEL_MOVES, cancel_moves, system_cancel_moves),
    COMMAND(STEP_MOVE, step_move, system_step_move),
    COMMAND(FINALIZE_VERSION, finalize_version, finalize_version),
#undef COMMAND
    {{CHASQUI__SYSTEM__METHOD__GET_TOPOLOGY, "GET_TOPOLOGY", false}, NULL, NULL},
};
#define ROWS (sizeof rows / sizeof *rows)

const struct system_method *system_method_find(uint32_t method)
{
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].method.method == method)
            return &rows[i].method;
    return NULL;
}

enum cq_rc system_command_run(struct system_apply *a, uint32_t method, struct cq_slice body, struct cq_slice *reply_r)
{
    ProtobufCAllocator allocator = system_allocator(a->pool);
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].method.method != method || !rows[i].run)
            continue;
        const ProtobufCMessage *message = protobuf_c_message_unpack(rows[i].message, &allocator, body.len, body.data);
        if (!message)
            return CQ_FAIL(a->err, CQ_E_PROTO, "%s does not decode", rows[i].method.name);
        return rows[i].run(a, message, reply_r);
    }
    return CQ_FAIL(a->err, CQ_E_UNSUPPORTED, "method %u", method);
}
