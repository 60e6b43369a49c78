#include "store_mem_table.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"

#include <stdlib.h>

static struct mem_node *node_new(unsigned levels, struct cq_slice key)
{
    size_t links = sizeof(struct mem_node) + levels * sizeof(struct mem_node *);
    struct mem_node *node = cq_calloc(1, links + key.len);
    uint8_t *bytes = (uint8_t *)node + links;
    if (key.len)
        memcpy(bytes, key.data, key.len);
    node->key = bytes;
    node->key_len = key.len;
    node->levels = levels;
    return node;
}

static void node_free(struct mem_node *node)
{
    for (struct mem_version *v = node->newest; v;) {
        struct mem_version *older = v->older;
        free(v);
        v = older;
    }
    free(node);
}

void mem_table_init(struct mem_table *table)
{
    table->head = node_new(MEM_TABLE_LEVELS, CQ_SLICE_NONE);
    table->prng.state = 1;
    table->removals = 0;
}

void mem_table_fini(struct mem_table *table)
{
    for (struct mem_node *node = table->head; node;) {
        struct mem_node *next = node->next[0];
        node_free(node);
        node = next;
    }
    table->head = NULL;
}

/* Fills prev_r with the last node before the wanted place on each level; returns the node at the place. */
static struct mem_node *descend(const struct mem_table *table, struct cq_slice key, bool after,
                                struct mem_node *prev_r[static MEM_TABLE_LEVELS])
{
    struct mem_node *node = table->head;
    for (unsigned level = MEM_TABLE_LEVELS; level-- > 0;) {
        for (struct mem_node *next; (next = node->next[level]); node = next) {
            int order = cq_slice_cmp(mem_node_key(next), key);
            if (order > 0 || (order == 0 && !after))
                break;
        }
        prev_r[level] = node;
    }
    return node->next[0];
}

struct mem_node *mem_table_seek(const struct mem_table *table, struct cq_slice key, bool after)
{
    struct mem_node *prev[MEM_TABLE_LEVELS];
    return descend(table, key, after, prev);
}

struct mem_node *mem_table_find(const struct mem_table *table, struct cq_slice key)
{
    struct mem_node *node = mem_table_seek(table, key, false);
    return node && cq_slice_eq(mem_node_key(node), key) ? node : NULL;
}

static unsigned random_levels(struct mem_table *table)
{
    uint64_t bits = cq_prng_next(&table->prng);
    unsigned levels = 1;
    while (levels < MEM_TABLE_LEVELS && (bits & 3) == 0) {
        levels++;
        bits >>= 2;
    }
    return levels;
}

static struct mem_node *find_or_add(struct mem_table *table, struct cq_slice key)
{
    struct mem_node *prev[MEM_TABLE_LEVELS];
    struct mem_node *node = descend(table, key, false, prev);
    if (node && cq_slice_eq(mem_node_key(node), key))
        return node;
    node = node_new(random_levels(table), key);
    for (unsigned level = 0; level < node->levels; level++) {
        node->next[level] = prev[level]->next[level];
        prev[level]->next[level] = node;
    }
    return node;
}

static void remove_node(struct mem_table *table, struct mem_node *node)
{
    struct mem_node *prev[MEM_TABLE_LEVELS];
    CQ_ASSERT(descend(table, mem_node_key(node), false, prev) == node);
    for (unsigned level = 0; level < node->levels; level++)
        prev[level]->next[level] = node->next[level];
    node_free(node);
    table->removals++;
}

/* Keeps the newest version and, for each view, the newest one that it sees. */
static void prune(struct mem_node *node, struct mem_views views)
{
    struct mem_version *keep = node->newest;
    size_t view = views.count;
    while (keep->older) {
        while (view > 0 && views.seqs[view - 1] >= keep->seq)
            view--; /* served by a version that stays */
        if (view > 0 && keep->older->seq <= views.seqs[view - 1]) {
            keep = keep->older;
            continue;
        }
        struct mem_version *gone = keep->older;
        keep->older = gone->older;
        free(gone);
    }
}

static void add_version(struct mem_table *table, struct mem_node *node, struct mem_version *version,
                        struct mem_views views)
{
    version->older = node->newest;
    node->newest = version;
    prune(node, views);
    if (version->deleted && !version->older)
        remove_node(table, node);
}

static struct mem_version *version_new(uint64_t seq, size_t len, bool deleted)
{
    struct mem_version *version = cq_malloc(sizeof *version + len);
    version->older = NULL;
    version->seq = seq;
    version->deleted = deleted;
    version->len = len;
    return version;
}

void mem_table_put(struct mem_table *table, struct cq_slice key, const struct cq_slice *parts, size_t count,
                   uint64_t seq, struct mem_views views)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += parts[i].len;
    struct mem_version *version = version_new(seq, len, false);
    uint8_t *at = version->data;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len)
            memcpy(at, parts[i].data, parts[i].len);
        at += parts[i].len;
    }
    add_version(table, find_or_add(table, key), version, views);
}

void mem_table_delete(struct mem_table *table, struct cq_slice key, uint64_t seq, struct mem_views views)
{
    struct mem_node *node = mem_table_find(table, key);
    if (node && !node->newest->deleted)
        add_version(table, node, version_new(seq, 0, true), views);
}

const struct mem_version *mem_node_at(const struct mem_node *node, uint64_t seq)
{
    const struct mem_version *version = node->newest;
    while (version && version->seq > seq)
        version = version->older;
    return version && !version->deleted ? version : NULL;
}
