#include "cluster/topology.h"

#include "base/cq_mem.h"
#include "base/cq_pool.h"

#include <stdlib.h>

/* What a topology really is. */
struct topology_box {
    struct topology topology; /* first: the public part */
    uint32_t refs;            /* atomic */
    struct cq_pool *pool;
};

static struct topology_box *box_of(const struct topology *topology)
{
    return cq_containerof((struct topology *)(uintptr_t)topology, struct topology_box, topology);
}

/* ---- Checks ---- */

static bool text_ok(const char *text, size_t max)
{
    return text && strlen(text) <= max;
}

static enum cq_rc check_node(const struct topology *t, size_t i, struct cq_err *err)
{
    const struct topology_node *node = &t->nodes[i];
    if (i && memcmp(t->nodes[i - 1].uuid, node->uuid, TOPOLOGY_UUID_SIZE) >= 0)
        return CQ_FAIL(err, CQ_E_INVALID, "node %zu: uuids do not rise", i);
    if (!text_ok(node->region, TOPOLOGY_LABEL_MAX) || !text_ok(node->dc, TOPOLOGY_LABEL_MAX) ||
        !text_ok(node->zone, TOPOLOGY_LABEL_MAX) || !text_ok(node->host, TOPOLOGY_LABEL_MAX) ||
        !text_ok(node->version, TOPOLOGY_LABEL_MAX))
        return CQ_FAIL(err, CQ_E_INVALID, "node %zu: a label is too long", i);
    if (!text_ok(node->address, TOPOLOGY_ADDRESS_MAX) || !node->address[0])
        return CQ_FAIL(err, CQ_E_INVALID, "node %zu: address is missing or too long", i);
    if (node->command_version > UINT16_MAX)
        return CQ_FAIL(err, CQ_E_INVALID, "node %zu: command version %u", i, node->command_version);
    if (node->state < TOPOLOGY_NODE_JOINING || node->state > TOPOLOGY_NODE_GONE)
        return CQ_FAIL(err, CQ_E_INVALID, "node %zu: state %d", i, (int)node->state);
    return CQ_OK;
}

static enum cq_rc check_replica(const struct topology *t, const struct topology_shard *shard, size_t r,
                                struct cq_err *err)
{
    const struct topology_replica *replica = &shard->replicas[r];
    if (replica->id == 0 || replica->node >= t->node_count)
        return CQ_FAIL(err, CQ_E_INVALID, "group %u: replica %zu has no id or no node", shard->group, r);
    for (size_t i = 0; i < r; i++)
        if (shard->replicas[i].id == replica->id || shard->replicas[i].node == replica->node)
            return CQ_FAIL(err, CQ_E_INVALID, "group %u: two replicas with one id or on one node", shard->group);
    return CQ_OK;
}

static enum cq_rc check_shard(const struct topology *t, size_t i, struct cq_err *err)
{
    const struct topology_shard *shard = &t->shards[i];
    enum cq_rc rc = CQ_OK;
    if (i && t->shards[i - 1].group >= shard->group)
        return CQ_FAIL(err, CQ_E_INVALID, "groups do not rise at %u", shard->group);
    if (!text_ok(shard->home, TOPOLOGY_LABEL_MAX))
        return CQ_FAIL(err, CQ_E_INVALID, "group %u: home is too long", shard->group);
    if (shard->replica_count > TOPOLOGY_REPLICAS_MAX)
        return CQ_FAIL(err, CQ_E_LIMIT, "group %u: %zu replicas", shard->group, shard->replica_count);
    for (size_t r = 0; r < shard->replica_count && rc == CQ_OK; r++)
        rc = check_replica(t, shard, r, err);
    if (rc == CQ_OK && shard->preferred && !topology_replica(shard, shard->preferred))
        rc = CQ_FAIL(err, CQ_E_INVALID, "group %u: preferred leader is none of its replicas", shard->group);
    return rc;
}

static bool holds_accounts(const struct topology *t, uint32_t group)
{
    return group != 0 && topology_shard(t, group);
}

static enum cq_rc check_ranges(const struct topology *t, struct cq_err *err)
{
    uint32_t next = 0;
    if (!t->range_count)
        return CQ_OK;
    for (size_t i = 0; i < t->range_count; i++) {
        const struct topology_range *range = &t->ranges[i];
        if (range->first != next || range->last < range->first || range->last >= TOPOLOGY_SLOTS)
            return CQ_FAIL(err, CQ_E_INVALID, "slots %u to %u do not follow on %u", range->first, range->last, next);
        if (!holds_accounts(t, range->group))
            return CQ_FAIL(err, CQ_E_INVALID, "slots %u to %u: no group %u", range->first, range->last, range->group);
        next = range->last + 1;
    }
    if (next != TOPOLOGY_SLOTS)
        return CQ_FAIL(err, CQ_E_INVALID, "slots from %u on are nobody's", next);
    return CQ_OK;
}

static enum cq_rc check_overrides(const struct topology *t, struct cq_err *err)
{
    for (size_t i = 0; i < t->override_count; i++) {
        if (i && t->overrides[i - 1].account >= t->overrides[i].account)
            return CQ_FAIL(err, CQ_E_INVALID, "overrides do not rise at %zu", i);
        if (!holds_accounts(t, t->overrides[i].group))
            return CQ_FAIL(err, CQ_E_INVALID, "override %zu: no group %u", i, t->overrides[i].group);
    }
    return CQ_OK;
}

static enum cq_rc check_move(const struct topology *t, size_t i, struct cq_err *err)
{
    const struct topology_move *move = &t->moves[i];
    if (!move->replica || (i && t->moves[i - 1].replica >= move->replica))
        return CQ_FAIL(err, CQ_E_INVALID, "moves do not rise at %zu", i);
    if (!topology_shard(t, move->group) || move->from >= t->node_count || move->to >= t->node_count ||
        move->from == move->to)
        return CQ_FAIL(err, CQ_E_INVALID, "move %llu: no such shard or node", (unsigned long long)move->replica);
    if (move->step < TOPOLOGY_MOVE_QUEUED || move->step > TOPOLOGY_MOVE_CLEANING)
        return CQ_FAIL(err, CQ_E_INVALID, "move %llu: step %d", (unsigned long long)move->replica, (int)move->step);
    return CQ_OK;
}

static enum cq_rc check_moves(const struct topology *t, struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    if (t->move_count > TOPOLOGY_MOVES_MAX)
        return CQ_FAIL(err, CQ_E_LIMIT, "%zu moves, allowed are %u at a time", t->move_count, TOPOLOGY_MOVES_MAX);
    for (size_t i = 0; i < t->move_count && rc == CQ_OK; i++)
        rc = check_move(t, i, err);
    return rc;
}

static enum cq_rc check_topology(const struct topology *t, struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    if (t->node_count > TOPOLOGY_NODES_MAX || t->shard_count > TOPOLOGY_SHARDS_MAX + 1u ||
        t->range_count > TOPOLOGY_SLOTS || t->override_count > TOPOLOGY_OVERRIDES_MAX)
        return CQ_FAIL(err, CQ_E_LIMIT, "topology over its limits: %zu nodes, %zu shards, %zu ranges, %zu overrides",
                       t->node_count, t->shard_count, t->range_count, t->override_count);
    if (t->finalized_version > UINT16_MAX)
        return CQ_FAIL(err, CQ_E_INVALID, "finalized version %u", t->finalized_version);
    if (!text_ok(t->cluster, TOPOLOGY_LABEL_MAX))
        return CQ_FAIL(err, CQ_E_INVALID, "cluster id is too long");
    for (size_t i = 0; i < t->node_count && rc == CQ_OK; i++)
        rc = check_node(t, i, err);
    for (size_t i = 0; i < t->shard_count && rc == CQ_OK; i++)
        rc = check_shard(t, i, err);
    if (rc == CQ_OK)
        rc = check_ranges(t, err);
    if (rc == CQ_OK)
        rc = check_overrides(t, err);
    return rc == CQ_OK ? check_moves(t, err) : rc;
}

/* ---- Copying ---- */

static const char *copy_text(struct cq_pool *pool, const char *text)
{
    return cq_pool_cstr(pool, cq_slice_cstr(text));
}

static void *copy_array(struct cq_pool *pool, const void *items, size_t count, size_t size)
{
    return count ? cq_pool_dup(pool, items, count * size) : NULL;
}

static const struct topology_node *copy_nodes(struct cq_pool *pool, const struct topology *t)
{
    struct topology_node *nodes = copy_array(pool, t->nodes, t->node_count, sizeof *nodes);
    for (size_t i = 0; i < t->node_count; i++) {
        struct topology_node *node = &nodes[i];
        node->address = copy_text(pool, node->address);
        node->region = copy_text(pool, node->region);
        node->dc = copy_text(pool, node->dc);
        node->zone = copy_text(pool, node->zone);
        node->host = copy_text(pool, node->host);
        node->version = copy_text(pool, node->version);
        node->command_version = node->command_version ? node->command_version : 1;
    }
    return nodes;
}

static const struct topology_shard *copy_shards(struct cq_pool *pool, const struct topology *t)
{
    struct topology_shard *shards = copy_array(pool, t->shards, t->shard_count, sizeof *shards);
    for (size_t i = 0; i < t->shard_count; i++) {
        shards[i].home = copy_text(pool, shards[i].home);
        shards[i].replicas = copy_array(pool, shards[i].replicas, shards[i].replica_count, sizeof *shards[i].replicas);
    }
    return shards;
}

enum cq_rc topology_new(const struct topology *plain, const struct topology **topology_r, struct cq_err *err)
{
    enum cq_rc rc = check_topology(plain, err);
    if (rc != CQ_OK)
        return rc;
    struct topology_box *box = cq_new(struct topology_box);
    struct topology *t = &box->topology;
    box->refs = 1;
    box->pool = cq_pool_new(4096);
    *t = *plain;
    t->cluster = copy_text(box->pool, plain->cluster);
    t->nodes = copy_nodes(box->pool, plain);
    t->shards = copy_shards(box->pool, plain);
    t->ranges = copy_array(box->pool, plain->ranges, plain->range_count, sizeof *plain->ranges);
    t->overrides = copy_array(box->pool, plain->overrides, plain->override_count, sizeof *plain->overrides);
    t->moves = copy_array(box->pool, plain->moves, plain->move_count, sizeof *plain->moves);
    t->finalized_version = plain->finalized_version ? plain->finalized_version : 1;
    *topology_r = t;
    return CQ_OK;
}

const struct topology *topology_ref(const struct topology *topology)
{
    if (topology)
        __atomic_add_fetch(&box_of(topology)->refs, 1, __ATOMIC_RELAXED);
    return topology;
}

void topology_unref(const struct topology **topology)
{
    if (!topology || !*topology)
        return;
    struct topology_box *box = box_of(*topology);
    *topology = NULL;
    if (__atomic_sub_fetch(&box->refs, 1, __ATOMIC_ACQ_REL))
        return;
    cq_pool_free(&box->pool);
    free(box);
}

/* ---- Looking up ---- */

uint32_t topology_group_of_slot(const struct topology *t, uint32_t slot)
{
    size_t low = 0, high = t->range_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (t->ranges[middle].last < slot)
            low = middle + 1;
        else
            high = middle;
    }
    return low < t->range_count ? t->ranges[low].group : 0;
}

static int by_account(const void *account, const void *override)
{
    uint64_t a = *(const uint64_t *)account, b = ((const struct topology_override *) override)->account;
    return (a > b) - (a < b);
}

static int by_group(const void *group, const void *shard)
{
    uint32_t a = *(const uint32_t *)group, b = ((const struct topology_shard *)shard)->group;
    return (a > b) - (a < b);
}

static int by_uuid(const void *uuid, const void *node)
{
    return memcmp(uuid, ((const struct topology_node *)node)->uuid, TOPOLOGY_UUID_SIZE);
}

static int by_replica(const void *replica, const void *move)
{
    uint64_t a = *(const uint64_t *)replica, b = ((const struct topology_move *)move)->replica;
    return (a > b) - (a < b);
}

/* bsearch() of a list that may be NULL when it is empty. */
static const void *find(const void *key, const void *list, size_t count, size_t size,
                        int (*compare)(const void *, const void *))
{
    return count ? bsearch(key, list, count, size, compare) : NULL;
}

uint32_t topology_group_of(const struct topology *t, uint64_t account)
{
    const struct topology_override *found =
        find(&account, t->overrides, t->override_count, sizeof *t->overrides, by_account);
    return found ? found->group : topology_group_of_slot(t, topology_slot_of(account));
}

const struct topology_shard *topology_shard(const struct topology *t, uint32_t group)
{
    return find(&group, t->shards, t->shard_count, sizeof *t->shards, by_group);
}

uint32_t topology_node_index(const struct topology *t, const uint8_t uuid[static TOPOLOGY_UUID_SIZE])
{
    const struct topology_node *found = find(uuid, t->nodes, t->node_count, sizeof *t->nodes, by_uuid);
    return found ? (uint32_t)(found - t->nodes) : TOPOLOGY_NONE;
}

const struct topology_replica *topology_replica(const struct topology_shard *shard, uint64_t id)
{
    for (size_t i = 0; i < shard->replica_count; i++)
        if (shard->replicas[i].id == id)
            return &shard->replicas[i];
    return NULL;
}

const struct topology_replica *topology_replica_on(const struct topology_shard *shard, uint32_t node)
{
    for (size_t i = 0; i < shard->replica_count; i++)
        if (shard->replicas[i].node == node)
            return &shard->replicas[i];
    return NULL;
}

const struct topology_move *topology_move(const struct topology *t, uint64_t replica)
{
    return find(&replica, t->moves, t->move_count, sizeof *t->moves, by_replica);
}

void topology_versions(const struct topology *t, uint32_t *lowest_r, uint32_t *highest_r)
{
    *lowest_r = *highest_r = 0;
    for (size_t i = 0; i < t->node_count; i++) {
        uint32_t version = t->nodes[i].command_version ? t->nodes[i].command_version : 1;
        if (t->nodes[i].state == TOPOLOGY_NODE_GONE)
            continue;
        if (*lowest_r == 0 || version < *lowest_r)
            *lowest_r = version;
        if (version > *highest_r)
            *highest_r = version;
    }
}

bool topology_same(const struct topology *a, const struct topology *b)
{
    struct cq_buf left, right;
    struct topology plain = *a;
    cq_buf_init(&left, TOPOLOGY_ENCODED_MAX);
    cq_buf_init(&right, TOPOLOGY_ENCODED_MAX);
    plain.epoch = b->epoch;
    bool same = topology_encode(&plain, &left) && topology_encode(b, &right) &&
                cq_slice_eq(cq_buf_slice(&left), cq_buf_slice(&right));
    cq_buf_fini(&left);
    cq_buf_fini(&right);
    return same;
}
