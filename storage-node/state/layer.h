/* One layer of the overlay: what a run of applies changed, in key order, the newest value of each key only. While it is
 * open its machine's thread writes it; once frozen it never changes, so that the writer's thread may read it too. A
 * skip list in a pool: nothing is freed alone, the whole layer goes when it has been written. */
#ifndef LAYER_H
#define LAYER_H

#include "base/cq_hash.h"
#include "base/cq_pool.h"

#define LAYER_HEIGHT 16

struct layer_node {
    struct cq_slice key;
    struct cq_slice value;  /* as stored, with its trailer; empty when deleted */
    struct cq_hash128 hash; /* of (key, value) as the digest counts it; 0 when deleted */
    uint64_t command;       /* the last command that changed it: its old value is in the undo list already */
    bool deleted;
    struct layer_node *next[]; /* as many as the node is high */
};

struct layer;

struct layer *layer_new(void);
void layer_free(struct layer **layer);
struct cq_pool *layer_pool(struct layer *layer);
size_t layer_count(const struct layer *layer);

struct layer_node *layer_find(const struct layer *layer, struct cq_slice key);
/* The node of the key, made (empty, its key copied) when there was none: *made_r. */
struct layer_node *layer_place(struct layer *layer, struct cq_slice key, bool *made_r);
void layer_remove(struct layer *layer, struct cq_slice key);
/* The first node with a key >= key, or NULL. */
struct layer_node *layer_seek(const struct layer *layer, struct cq_slice key);
static inline struct layer_node *layer_next(const struct layer_node *node)
{
    return node->next[0];
}

#endif
