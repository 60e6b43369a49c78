#include "cluster/ring.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "base/cq_hash.h"
#include "base/cq_mem.h"

#include <stdlib.h>

struct point {
    uint64_t hash;
    uint32_t node;
};

struct ring {
    size_t node_count;
    size_t count;
    struct point points[];
};

static uint64_t point_hash(const uint8_t id[static RING_ID_SIZE], uint32_t number)
{
    uint8_t bytes[RING_ID_SIZE + 4];
    memcpy(bytes, id, RING_ID_SIZE);
    cq_put_be32(bytes + RING_ID_SIZE, number);
    return cq_xxh3_64(cq_slice_of(bytes, sizeof bytes));
}

uint64_t ring_hash_group(uint32_t group)
{
    uint8_t bytes[9] = {'g', 'r', 'o', 'u', 'p'};
    cq_put_be32(bytes + 5, group);
    return cq_xxh3_64(cq_slice_of(bytes, sizeof bytes));
}

/* Equal hashes are ordered by the nodes' ids, so that the order of the input never matters. */
static int point_cmp(const void *a_p, const void *b_p, void *ids_p)
{
    const struct point *a = a_p, *b = b_p;
    const uint8_t(*ids)[RING_ID_SIZE] = ids_p;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return memcmp(ids[a->node], ids[b->node], RING_ID_SIZE);
}

struct ring *ring_new(const uint8_t (*ids)[RING_ID_SIZE], size_t count)
{
    struct ring *ring = cq_calloc(1, sizeof *ring + count * RING_POINTS * sizeof ring->points[0]);
    ring->node_count = count;
    ring->count = count * RING_POINTS;
    for (size_t n = 0; n < count; n++)
        for (uint32_t i = 0; i < RING_POINTS; i++)
            ring->points[n * RING_POINTS + i] = (struct point){point_hash(ids[n], i), (uint32_t)n};
    qsort_r(ring->points, ring->count, sizeof ring->points[0], point_cmp, (void *)(uintptr_t)ids);
    return ring;
}

void ring_free(struct ring **ring)
{
    free(*ring);
    *ring = NULL;
}

/* The first point at or after the hash; `count` when it is past the last. */
static size_t ring_find(const struct ring *ring, uint64_t hash)
{
    size_t low = 0, high = ring->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ring->points[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void ring_order(const struct ring *ring, uint64_t hash, uint32_t *order_r)
{
    bool *seen = cq_calloc(ring->node_count + 1, sizeof *seen);
    size_t at = ring_find(ring, hash), found = 0;
    for (size_t i = 0; i < ring->count && found < ring->node_count; i++, at++) {
        uint32_t node = ring->points[at % ring->count].node;
        if (seen[node])
            continue;
        seen[node] = true;
        order_r[found++] = node;
    }
    CQ_ASSERT(found == ring->node_count);
    free(seen);
}
