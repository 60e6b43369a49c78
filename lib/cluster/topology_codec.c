/* A topology as the message Topology of proto/system.proto. */
#include "base/cq_pool.h"
#include "cluster/topology.h"
#include "cluster/topology_message.h"
#include "proto/system.pb-c.h"

/* ---- To the message ---- */

/* The first one is the default, and left out. */
static uint32_t version_to_proto(uint32_t version)
{
    return version > 1 ? version : 0;
}

static Chasqui__System__Node **nodes_to_proto(const struct topology *t, struct cq_pool *pool)
{
    Chasqui__System__Node **list = cq_pool_calloc(pool, t->node_count + 1, sizeof(*list));
    for (size_t i = 0; i < t->node_count; i++) {
        const struct topology_node *node = &t->nodes[i];
        Chasqui__System__Labels *labels = cq_pool_alloc(pool, sizeof *labels);
        chasqui__system__labels__init(labels);
        labels->region = (char *)node->region;
        labels->dc = (char *)node->dc;
        labels->zone = (char *)node->zone;
        labels->host = (char *)node->host;
        list[i] = cq_pool_alloc(pool, sizeof *list[i]);
        chasqui__system__node__init(list[i]);
        list[i]->uuid = (ProtobufCBinaryData){TOPOLOGY_UUID_SIZE, (uint8_t *)node->uuid};
        list[i]->address = (char *)node->address;
        list[i]->version = (char *)node->version;
        list[i]->labels = labels;
        list[i]->state = (Chasqui__System__NodeState)node->state;
        list[i]->boot = node->boot;
        list[i]->leaving = node->leaving;
        list[i]->command_version = version_to_proto(node->command_version);
    }
    return list;
}

static Chasqui__System__Replica **replicas_to_proto(const struct topology *t, const struct topology_shard *shard,
                                                    struct cq_pool *pool)
{
    Chasqui__System__Replica **list = cq_pool_calloc(pool, shard->replica_count + 1, sizeof(*list));
    for (size_t i = 0; i < shard->replica_count; i++) {
        list[i] = cq_pool_alloc(pool, sizeof *list[i]);
        chasqui__system__replica__init(list[i]);
        list[i]->id = shard->replicas[i].id;
        list[i]->voter = shard->replicas[i].voter;
        list[i]->node = (ProtobufCBinaryData){TOPOLOGY_UUID_SIZE, (uint8_t *)t->nodes[shard->replicas[i].node].uuid};
    }
    return list;
}

static Chasqui__System__Shard **shards_to_proto(const struct topology *t, struct cq_pool *pool)
{
    Chasqui__System__Shard **list = cq_pool_calloc(pool, t->shard_count + 1, sizeof(*list));
    for (size_t i = 0; i < t->shard_count; i++) {
        list[i] = cq_pool_alloc(pool, sizeof *list[i]);
        chasqui__system__shard__init(list[i]);
        list[i]->group = t->shards[i].group;
        list[i]->home = (char *)t->shards[i].home;
        list[i]->preferred = t->shards[i].preferred;
        list[i]->moved = t->shards[i].moved;
        list[i]->n_replicas = t->shards[i].replica_count;
        list[i]->replicas = replicas_to_proto(t, &t->shards[i], pool);
    }
    return list;
}

static Chasqui__System__SlotRange **ranges_to_proto(const struct topology *t, struct cq_pool *pool)
{
    Chasqui__System__SlotRange **list = cq_pool_calloc(pool, t->range_count + 1, sizeof(*list));
    for (size_t i = 0; i < t->range_count; i++) {
        list[i] = cq_pool_alloc(pool, sizeof *list[i]);
        chasqui__system__slot_range__init(list[i]);
        list[i]->first = t->ranges[i].first;
        list[i]->last = t->ranges[i].last;
        list[i]->group = t->ranges[i].group;
    }
    return list;
}

static Chasqui__System__Override **overrides_to_proto(const struct topology *t, struct cq_pool *pool)
{
    Chasqui__System__Override **list = cq_pool_calloc(pool, t->override_count + 1, sizeof(*list));
    for (size_t i = 0; i < t->override_count; i++) {
        list[i] = cq_pool_alloc(pool, sizeof *list[i]);
        chasqui__system__override__init(list[i]);
        list[i]->account = t->overrides[i].account;
        list[i]->group = t->overrides[i].group;
    }
    return list;
}

static Chasqui__System__Move **moves_to_proto(const struct topology *t, struct cq_pool *pool)
{
    Chasqui__System__Move **list = cq_pool_calloc(pool, t->move_count + 1, sizeof(*list));
    for (size_t i = 0; i < t->move_count; i++) {
        list[i] = cq_pool_alloc(pool, sizeof *list[i]);
        topology_move_to_proto(t, &t->moves[i], list[i]);
    }
    return list;
}

void topology_move_to_proto(const struct topology *t, const struct topology_move *move, Chasqui__System__Move *out)
{
    chasqui__system__move__init(out);
    out->replica = move->replica;
    out->old = move->old;
    out->group = move->group;
    out->from = (ProtobufCBinaryData){TOPOLOGY_UUID_SIZE, (uint8_t *)(uintptr_t)t->nodes[move->from].uuid};
    out->to = (ProtobufCBinaryData){TOPOLOGY_UUID_SIZE, (uint8_t *)(uintptr_t)t->nodes[move->to].uuid};
    out->step = (Chasqui__System__MoveStep)move->step;
    out->cancelled = move->cancelled;
}

bool topology_encode(const struct topology *t, struct cq_buf *out)
{
    struct cq_pool *pool = cq_pool_new(4096);
    Chasqui__System__Topology msg = CHASQUI__SYSTEM__TOPOLOGY__INIT;
    msg.cluster = (char *)t->cluster;
    msg.epoch = t->epoch;
    msg.n_nodes = t->node_count;
    msg.nodes = nodes_to_proto(t, pool);
    msg.n_shards = t->shard_count;
    msg.shards = shards_to_proto(t, pool);
    msg.n_slots = t->range_count;
    msg.slots = ranges_to_proto(t, pool);
    msg.n_overrides = t->override_count;
    msg.overrides = overrides_to_proto(t, pool);
    msg.n_moves = t->move_count;
    msg.moves = moves_to_proto(t, pool);
    msg.finalized_version = version_to_proto(t->finalized_version);
    uint8_t *at = cq_buf_reserve(out, chasqui__system__topology__get_packed_size(&msg));
    if (at)
        cq_buf_commit(out, chasqui__system__topology__pack(&msg, at));
    cq_pool_free(&pool);
    return at != NULL;
}

/* ---- From the message ---- */

static enum cq_rc nodes_from_proto(const Chasqui__System__Topology *msg, struct cq_pool *pool, struct topology *t,
                                   struct cq_err *err)
{
    struct topology_node *nodes = cq_pool_calloc(pool, msg->n_nodes + 1, sizeof *nodes);
    for (size_t i = 0; i < msg->n_nodes; i++) {
        const Chasqui__System__Node *from = msg->nodes[i];
        if (from->uuid.len != TOPOLOGY_UUID_SIZE)
            return CQ_FAIL(err, CQ_E_PROTO, "node %zu: uuid of %zu bytes", i, from->uuid.len);
        memcpy(nodes[i].uuid, from->uuid.data, TOPOLOGY_UUID_SIZE);
        nodes[i].address = from->address;
        nodes[i].version = from->version;
        nodes[i].region = from->labels ? from->labels->region : "";
        nodes[i].dc = from->labels ? from->labels->dc : "";
        nodes[i].zone = from->labels ? from->labels->zone : "";
        nodes[i].host = from->labels ? from->labels->host : "";
        nodes[i].state = (enum topology_node_state)from->state;
        nodes[i].boot = from->boot;
        nodes[i].leaving = from->leaving;
        nodes[i].command_version = from->command_version;
    }
    t->nodes = nodes;
    t->node_count = msg->n_nodes;
    return CQ_OK;
}

static enum cq_rc shard_from_proto(const Chasqui__System__Shard *from, struct cq_pool *pool, const struct topology *t,
                                   struct topology_shard *shard, struct cq_err *err)
{
    if (from->n_replicas > TOPOLOGY_REPLICAS_MAX)
        return CQ_FAIL(err, CQ_E_LIMIT, "group %u: %zu replicas", from->group, from->n_replicas);
    struct topology_replica *replicas = cq_pool_calloc(pool, from->n_replicas + 1, sizeof *replicas);
    for (size_t i = 0; i < from->n_replicas; i++) {
        const Chasqui__System__Replica *replica = from->replicas[i];
        replicas[i].id = replica->id;
        replicas[i].voter = replica->voter;
        replicas[i].node =
            replica->node.len == TOPOLOGY_UUID_SIZE ? topology_node_index(t, replica->node.data) : TOPOLOGY_NONE;
    }
    *shard = (struct topology_shard){.group = from->group,
                                     .home = from->home,
                                     .replicas = replicas,
                                     .replica_count = from->n_replicas,
                                     .preferred = from->preferred,
                                     .moved = from->moved};
    return CQ_OK;
}

static enum cq_rc shards_from_proto(const Chasqui__System__Topology *msg, struct cq_pool *pool, struct topology *t,
                                    struct cq_err *err)
{
    struct topology_shard *shards = cq_pool_calloc(pool, msg->n_shards + 1, sizeof *shards);
    enum cq_rc rc = CQ_OK;
    for (size_t i = 0; i < msg->n_shards && rc == CQ_OK; i++)
        rc = shard_from_proto(msg->shards[i], pool, t, &shards[i], err);
    t->shards = shards;
    t->shard_count = msg->n_shards;
    return rc;
}

static void map_from_proto(const Chasqui__System__Topology *msg, struct cq_pool *pool, struct topology *t)
{
    struct topology_range *ranges = cq_pool_calloc(pool, msg->n_slots + 1, sizeof *ranges);
    struct topology_override *overrides = cq_pool_calloc(pool, msg->n_overrides + 1, sizeof *overrides);
    for (size_t i = 0; i < msg->n_slots; i++)
        ranges[i] = (struct topology_range){msg->slots[i]->first, msg->slots[i]->last, msg->slots[i]->group};
    for (size_t i = 0; i < msg->n_overrides; i++)
        overrides[i] = (struct topology_override){msg->overrides[i]->account, msg->overrides[i]->group};
    t->ranges = ranges;
    t->range_count = msg->n_slots;
    t->overrides = overrides;
    t->override_count = msg->n_overrides;
}

static uint32_t node_of(const struct topology *t, ProtobufCBinaryData uuid)
{
    return uuid.len == TOPOLOGY_UUID_SIZE ? topology_node_index(t, uuid.data) : TOPOLOGY_NONE;
}

static void moves_from_proto(const Chasqui__System__Topology *msg, struct cq_pool *pool, struct topology *t)
{
    struct topology_move *moves = cq_pool_calloc(pool, msg->n_moves + 1, sizeof *moves);
    for (size_t i = 0; i < msg->n_moves; i++) {
        const Chasqui__System__Move *from = msg->moves[i];
        moves[i] = (struct topology_move){.replica = from->replica,
                                          .old = from->old,
                                          .group = from->group,
                                          .from = node_of(t, from->from),
                                          .to = node_of(t, from->to),
                                          .step = (enum topology_move_step)from->step,
                                          .cancelled = from->cancelled};
    }
    t->moves = moves;
    t->move_count = msg->n_moves;
}

/* Bounds first: copying is linear, but the replicas are looked up among the nodes. */
static enum cq_rc from_proto(const Chasqui__System__Topology *msg, struct cq_pool *pool,
                             const struct topology **topology_r, struct cq_err *err)
{
    struct topology plain = {.cluster = msg->cluster, .epoch = msg->epoch, .finalized_version = msg->finalized_version};
    if (msg->n_nodes > TOPOLOGY_NODES_MAX || msg->n_shards > TOPOLOGY_SHARDS_MAX + 1u ||
        msg->n_moves > TOPOLOGY_MOVES_MAX)
        return CQ_FAIL(err, CQ_E_LIMIT, "%zu nodes, %zu shards, %zu moves", msg->n_nodes, msg->n_shards, msg->n_moves);
    enum cq_rc rc = nodes_from_proto(msg, pool, &plain, err);
    if (rc == CQ_OK)
        rc = shards_from_proto(msg, pool, &plain, err);
    if (rc != CQ_OK)
        return rc;
    map_from_proto(msg, pool, &plain);
    moves_from_proto(msg, pool, &plain);
    return topology_new(&plain, topology_r, err);
}

enum cq_rc topology_decode(struct cq_slice bytes, const struct topology **topology_r, struct cq_err *err)
{
    if (bytes.len > TOPOLOGY_ENCODED_MAX)
        return CQ_FAIL(err, CQ_E_TOO_BIG, "topology of %zu bytes", bytes.len);
    Chasqui__System__Topology *msg = chasqui__system__topology__unpack(NULL, bytes.len, bytes.data);
    if (!msg)
        return CQ_FAIL(err, CQ_E_PROTO, "topology does not decode");
    struct cq_pool *pool = cq_pool_new(4096);
    enum cq_rc rc = from_proto(msg, pool, topology_r, err);
    cq_pool_free(&pool);
    chasqui__system__topology__free_unpacked(msg, NULL);
    return rc;
}
