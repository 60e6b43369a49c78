#include "mailstore/uidset.h"

#include <stdlib.h>
#include <string.h>

uint64_t uidset_size(const struct uidset *set)
{
    uint64_t size = 0;
    for (size_t i = 0; i < set->count; i++)
        size += (uint64_t)set->ranges[i].last - set->ranges[i].first + 1;
    return size;
}

/* Index of the first range whose last is >= uid, or count. */
static size_t find_range(const struct uidset *set, uint32_t uid)
{
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (set->ranges[mid].last < uid)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

bool uidset_contains(const struct uidset *set, uint32_t uid)
{
    size_t i = find_range(set, uid);
    return i < set->count && set->ranges[i].first <= uid;
}

uint32_t uidset_next(const struct uidset *set, uint32_t uid)
{
    size_t i = find_range(set, uid);
    if (i == set->count)
        return 0;
    return set->ranges[i].first > uid ? set->ranges[i].first : uid;
}

void uidset_builder_init(struct uidset_builder *builder, struct cq_pool *pool)
{
    *builder = (struct uidset_builder){.pool = pool, .sorted = true};
}

static void grow(struct uidset_builder *b)
{
    size_t cap = b->cap ? b->cap * 2 : 8;
    struct uid_range *next = cq_pool_alloc(b->pool, cap * sizeof *next);
    if (b->count)
        memcpy(next, b->ranges, b->count * sizeof *next);
    b->ranges = next;
    b->cap = cap;
}

void uidset_builder_add(struct uidset_builder *b, uint32_t first, uint32_t last)
{
    struct uid_range *top = b->count ? &b->ranges[b->count - 1] : NULL;
    if (top && first >= top->first && (uint64_t)first <= (uint64_t)top->last + 1) {
        if (last > top->last)
            top->last = last;
        return;
    }
    if (top && first < top->first)
        b->sorted = false;
    if (b->count == b->cap)
        grow(b);
    b->ranges[b->count++] = (struct uid_range){first, last};
}

static int by_first(const void *a, const void *b)
{
    uint32_t x = ((const struct uid_range *)a)->first, y = ((const struct uid_range *)b)->first;
    return x < y ? -1 : x > y;
}

struct uidset uidset_builder_finish(struct uidset_builder *b)
{
    if (!b->sorted) {
        size_t n = b->count;
        qsort(b->ranges, n, sizeof *b->ranges, by_first);
        b->count = 0;
        /* In place: what has been merged never passes what is still to be read. */
        for (size_t i = 0; i < n; i++)
            uidset_builder_add(b, b->ranges[i].first, b->ranges[i].last);
    }
    return (struct uidset){b->ranges, b->count};
}

bool uidset_from_pairs(const uint32_t *pairs, size_t n, struct cq_pool *pool, struct uidset *set_r)
{
    if (n % 2)
        return false;
    struct uid_range *ranges = cq_pool_alloc(pool, n / 2 * sizeof *ranges);
    uint64_t above = 0; /* the next range's first must be over this */
    for (size_t i = 0; i < n; i += 2) {
        if (pairs[i] <= above || pairs[i + 1] < pairs[i])
            return false;
        ranges[i / 2] = (struct uid_range){pairs[i], pairs[i + 1]};
        above = (uint64_t)pairs[i + 1] + 1;
    }
    *set_r = (struct uidset){ranges, n / 2};
    return true;
}

uint32_t *uidset_to_pairs(const struct uidset *set, struct cq_pool *pool)
{
    uint32_t *pairs = cq_pool_alloc(pool, set->count * 2 * sizeof *pairs);
    for (size_t i = 0; i < set->count; i++) {
        pairs[2 * i] = set->ranges[i].first;
        pairs[2 * i + 1] = set->ranges[i].last;
    }
    return pairs;
}
