#include "cluster/placement.h"

#include "base/cq_assert.h"
#include "base/cq_hash.h"
#include "base/cq_mem.h"

#include <stdlib.h>

/* Seeds of the two hashes of an address: fixed for ever. */
#define SEED_HOME UINT64_C(0x63686173717569)
#define SEED_SLOT UINT64_C(0x736c6f74)

struct ring *placement_ring(const struct topology_node *nodes, size_t node_count)
{
    uint8_t(*ids)[RING_ID_SIZE] = cq_calloc(node_count + 1, sizeof *ids);
    for (size_t i = 0; i < node_count; i++)
        memcpy(ids[i], nodes[i].uuid, RING_ID_SIZE);
    struct ring *ring = ring_new((const uint8_t(*)[RING_ID_SIZE])ids, node_count);
    free(ids);
    return ring;
}

/* ---- Replicas ---- */

struct chosen {
    const struct topology_node *nodes;
    const uint32_t *indexes;
    size_t count;
};

static bool same(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* Is the candidate apart from all chosen ones, at a level? A zone is one of its data centre, a host of its zone. */
static bool apart_dc(const struct topology_node *a, const struct topology_node *b)
{
    return !same(a->dc, b->dc);
}

static bool apart_zone(const struct topology_node *a, const struct topology_node *b)
{
    return !same(a->zone, b->zone) || apart_dc(a, b);
}

static bool apart_host(const struct topology_node *a, const struct topology_node *b)
{
    return !same(a->host, b->host) || apart_zone(a, b);
}

static bool apart_node(const struct topology_node *a, const struct topology_node *b)
{
    return a != b;
}

typedef bool apart_fn(const struct topology_node *a, const struct topology_node *b);

static bool fits(const struct chosen *chosen, const struct topology_node *node, apart_fn *apart)
{
    for (size_t i = 0; i < chosen->count; i++) {
        const struct topology_node *other = &chosen->nodes[chosen->indexes[i]];
        if (node == other || !apart(node, other))
            return false;
    }
    return node->state == TOPOLOGY_NODE_UP;
}

size_t placement_replicas(const struct topology_node *nodes, size_t node_count, const struct ring *ring, uint32_t group,
                          const char *home, size_t want, uint32_t *nodes_r)
{
    static apart_fn *const levels[] = {apart_dc, apart_zone, apart_host, apart_node};
    uint32_t *order = cq_calloc(node_count + 1, sizeof *order);
    struct chosen chosen = {nodes, nodes_r, 0};
    ring_order(ring, ring_hash_group(group), order);
    for (size_t i = 0; i < node_count && home[0] && want && chosen.count == 0; i++)
        if (same(nodes[order[i]].dc, home) && fits(&chosen, &nodes[order[i]], apart_node))
            nodes_r[chosen.count++] = order[i];
    for (size_t level = 0; level < sizeof levels / sizeof *levels; level++)
        for (size_t i = 0; i < node_count && chosen.count < want; i++)
            if (fits(&chosen, &nodes[order[i]], levels[level]))
                nodes_r[chosen.count++] = order[i];
    free(order);
    return chosen.count;
}

bool placement_one_more(const struct topology_node *nodes, size_t node_count, const struct ring *ring, uint32_t group,
                        const char *home, const uint32_t *kept, size_t kept_count, uint32_t *node_r)
{
    static apart_fn *const levels[] = {apart_dc, apart_zone, apart_host, apart_node};
    uint32_t *order = cq_calloc(node_count + 1, sizeof *order), *known = cq_calloc(kept_count + 1, sizeof *known);
    struct chosen chosen = {nodes, known, kept_count};
    bool home_missing = home[0] != '\0', found = false;
    for (size_t i = 0; i < kept_count; i++) {
        known[i] = kept[i];
        home_missing = home_missing && !same(nodes[kept[i]].dc, home);
    }
    ring_order(ring, ring_hash_group(group), order);
    for (size_t level = home_missing ? 0 : 1; level <= sizeof levels / sizeof *levels && !found; level++)
        for (size_t i = 0; i < node_count && !found; i++) {
            const struct topology_node *node = &nodes[order[i]];
            found =
                level ? fits(&chosen, node, levels[level - 1]) : same(node->dc, home) && fits(&chosen, node, apart_dc);
            if (found)
                *node_r = order[i];
        }
    free(known);
    free(order);
    return found;
}

/* ---- The first map ---- */

static int text_cmp(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts and removes what is there twice; returns how many are left. */
static size_t unique_texts(const char **texts, size_t count)
{
    size_t kept = 0;
    qsort(texts, count, sizeof *texts, text_cmp);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || !same(texts[kept - 1], texts[i]))
            texts[kept++] = texts[i];
    return kept;
}

static size_t data_centres(const struct topology_node *nodes, size_t node_count, struct cq_pool *pool,
                           const char ***texts_r)
{
    const char **texts = cq_pool_calloc(pool, node_count + 1, sizeof *texts);
    size_t count = 0;
    for (size_t i = 0; i < node_count; i++)
        if (nodes[i].state == TOPOLOGY_NODE_UP)
            texts[count++] = nodes[i].dc;
    *texts_r = texts;
    return unique_texts(texts, count);
}

/* The replica in the home data centre whose node leads the fewest; without one there, of all. */
static size_t choose_leader(const struct topology_node *nodes, const char *home, const uint32_t *chosen, size_t count,
                            const uint32_t *leads)
{
    size_t best = count;
    for (size_t pass = 0; pass < 2 && best == count; pass++)
        for (size_t i = 0; i < count; i++)
            if ((pass || same(nodes[chosen[i]].dc, home)) && (best == count || leads[chosen[i]] < leads[chosen[best]]))
                best = i;
    return best;
}

struct first_map {
    const struct topology_node *nodes;
    size_t node_count, replicas;
    struct ring *ring;
    uint32_t *leads; /* [node]: how many shards it leads so far */
    uint64_t *next_replica;
    struct cq_pool *pool;
};

static struct topology_shard first_shard(struct first_map *map, uint32_t group, const char *home)
{
    uint32_t chosen[TOPOLOGY_REPLICAS_MAX];
    size_t count = placement_replicas(map->nodes, map->node_count, map->ring, group, home, map->replicas, chosen);
    struct topology_replica *replicas = cq_pool_calloc(map->pool, count + 1, sizeof *replicas);
    for (size_t i = 0; i < count; i++)
        replicas[i] = (struct topology_replica){.id = (*map->next_replica)++, .node = chosen[i], .voter = true};
    size_t leader = choose_leader(map->nodes, home, chosen, count, map->leads);
    if (leader < count)
        map->leads[chosen[leader]]++;
    return (struct topology_shard){.group = group,
                                   .home = home,
                                   .replicas = replicas,
                                   .replica_count = count,
                                   .preferred = leader < count ? replicas[leader].id : 0};
}

void placement_first_map(const struct topology_node *nodes, size_t node_count, uint32_t shard_count, size_t replicas,
                         uint64_t *next_replica, struct cq_pool *pool, struct topology_shard **shards_r,
                         struct topology_range **ranges_r)
{
    const char **homes;
    size_t home_count = data_centres(nodes, node_count, pool, &homes);
    struct topology_shard *shards = cq_pool_calloc(pool, shard_count + 1, sizeof *shards);
    struct topology_range *ranges = cq_pool_calloc(pool, shard_count + 1, sizeof *ranges);
    struct first_map map = {.nodes = nodes,
                            .node_count = node_count,
                            .replicas = replicas,
                            .ring = placement_ring(nodes, node_count),
                            .leads = cq_pool_calloc(pool, node_count + 1, sizeof(uint32_t)),
                            .next_replica = next_replica,
                            .pool = pool};
    CQ_ASSERT(replicas <= TOPOLOGY_REPLICAS_MAX && shard_count <= TOPOLOGY_SHARDS_MAX && home_count);
    for (uint32_t i = 0; i < shard_count; i++) {
        shards[i] = first_shard(&map, i + 1, homes[i % home_count]);
        ranges[i] = (struct topology_range){.first = (uint32_t)((uint64_t)i * TOPOLOGY_SLOTS / shard_count),
                                            .last = (uint32_t)((i + 1ull) * TOPOLOGY_SLOTS / shard_count) - 1,
                                            .group = i + 1};
    }
    ring_free(&map.ring);
    *shards_r = shards;
    *ranges_r = ranges;
}

/* ---- New accounts ---- */

static const char *range_home(const struct topology *t, const struct topology_range *range)
{
    return topology_shard(t, range->group)->home;
}

const char *placement_home(const struct topology *t, struct cq_slice address)
{
    const char **homes = cq_calloc(t->range_count + 1, sizeof *homes);
    const char *home = NULL;
    for (size_t i = 0; i < t->range_count; i++)
        homes[i] = range_home(t, &t->ranges[i]);
    size_t count = unique_texts(homes, t->range_count);
    if (count)
        home = homes[cq_xxh3_64_seed(address, SEED_HOME) % count];
    free(homes);
    return home;
}

static uint32_t range_size(const struct topology_range *range)
{
    return range->last - range->first + 1;
}

bool placement_slot(const struct topology *t, const char *home, struct cq_slice address, uint32_t *slot_r)
{
    uint32_t count = 0;
    for (size_t i = 0; i < t->range_count; i++)
        count += same(range_home(t, &t->ranges[i]), home) ? range_size(&t->ranges[i]) : 0;
    if (!count)
        return false;
    uint32_t n = (uint32_t)(cq_xxh3_64_seed(address, SEED_SLOT) % count);
    for (size_t i = 0; i < t->range_count; i++) {
        if (!same(range_home(t, &t->ranges[i]), home))
            continue;
        if (n < range_size(&t->ranges[i])) {
            *slot_r = t->ranges[i].first + n;
            return true;
        }
        n -= range_size(&t->ranges[i]);
    }
    return false;
}

uint64_t placement_account_id(uint32_t slot, uint64_t random)
{
    uint64_t low = random & ((UINT64_C(1) << 48) - 1);
    CQ_ASSERT(slot < TOPOLOGY_SLOTS);
    return (uint64_t)slot << 48 | (low ? low : 1);
}
