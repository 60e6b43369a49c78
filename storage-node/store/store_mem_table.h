/* One ordered table of the store in memory: a skip list of keys, each with its versions, newest first. Private to
 * store_mem*.c. Every operation is given the moments (sequence numbers) that somebody may still look at. */
#ifndef STORE_MEM_TABLE_H
#define STORE_MEM_TABLE_H

#include "base/cq_rand.h"
#include "base/cq_slice.h"

#define MEM_TABLE_LEVELS 16

struct mem_version {
    struct mem_version *older;
    uint64_t seq; /* of the batch that wrote it */
    bool deleted;
    size_t len;
    uint8_t data[];
};

struct mem_node {
    struct mem_version *newest; /* never NULL for a node in the table */
    const uint8_t *key;         /* inside the node's own memory */
    size_t key_len;
    unsigned levels;
    struct mem_node *next[];
};

struct mem_table {
    struct mem_node *head; /* no key; all levels */
    struct cq_prng prng;   /* levels of new nodes: same writes, same shape */
    uint64_t removals;     /* grows when a node goes: pointers to nodes must be looked up again */
};

/* Sequence numbers that a reader may still ask for, ascending. The newest state is always kept. */
struct mem_views {
    const uint64_t *seqs;
    size_t count;
};

void mem_table_init(struct mem_table *table);
void mem_table_fini(struct mem_table *table);

/* The first node with a key >= key (after: > key), or NULL. */
struct mem_node *mem_table_seek(const struct mem_table *table, struct cq_slice key, bool after);
struct mem_node *mem_table_find(const struct mem_table *table, struct cq_slice key);

/* A new newest version; a value of `count` parts put together, or a deletion. Versions that no view can see go. */
void mem_table_put(struct mem_table *table, struct cq_slice key, const struct cq_slice *parts, size_t count,
                   uint64_t seq, struct mem_views views);
void mem_table_delete(struct mem_table *table, struct cq_slice key, uint64_t seq, struct mem_views views);

/* What a reader at `seq` sees of a node: NULL when there is nothing or it is deleted. */
const struct mem_version *mem_node_at(const struct mem_node *node, uint64_t seq);

static inline struct cq_slice mem_node_key(const struct mem_node *node)
{
    return cq_slice_of(node->key, node->key_len);
}

#endif
