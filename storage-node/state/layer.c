#include "state/layer.h"

#include "base/cq_mem.h"
#include "base/cq_rand.h"

#include <stdlib.h>

struct layer {
    struct cq_pool *pool;
    size_t count;
    unsigned height;
    struct cq_prng dice; /* the heights of nodes: speed only, results do not depend on them */
    struct layer_node *head[LAYER_HEIGHT];
};

struct layer *layer_new(void)
{
    struct layer *layer = cq_new(struct layer);
    layer->pool = cq_pool_new(16 << 10);
    layer->height = 1;
    layer->dice.state = 1;
    return layer;
}

void layer_free(struct layer **layer)
{
    if (*layer) {
        cq_pool_free(&(*layer)->pool);
        free(*layer);
    }
    *layer = NULL;
}

struct cq_pool *layer_pool(struct layer *layer)
{
    return layer->pool;
}

size_t layer_count(const struct layer *layer)
{
    return layer->count;
}

/* At each level the link that leads to the first node with a key >= key; returns that node. */
static struct layer_node *search(const struct layer *layer, struct cq_slice key, struct layer_node **links[])
{
    struct layer_node **row = (struct layer_node **)layer->head;
    struct layer_node *known = NULL; /* >= key: needs no second comparison */
    for (unsigned level = layer->height; level-- > 0;) {
        while (row[level] && row[level] != known && cq_slice_cmp(row[level]->key, key) < 0)
            row = row[level]->next;
        known = row[level];
        if (links)
            links[level] = &row[level];
    }
    return known;
}

struct layer_node *layer_seek(const struct layer *layer, struct cq_slice key)
{
    return search(layer, key, NULL);
}

struct layer_node *layer_find(const struct layer *layer, struct cq_slice key)
{
    struct layer_node *node = search(layer, key, NULL);
    return node && cq_slice_eq(node->key, key) ? node : NULL;
}

/* One node in four is a level higher. */
static unsigned roll_height(struct layer *layer)
{
    uint64_t bits = cq_prng_next(&layer->dice);
    unsigned height = 1;
    for (; height < LAYER_HEIGHT && (bits & 3) == 0; bits >>= 2)
        height++;
    return height;
}

struct layer_node *layer_place(struct layer *layer, struct cq_slice key, bool *made_r)
{
    struct layer_node **links[LAYER_HEIGHT];
    struct layer_node *found = search(layer, key, links);
    *made_r = !found || !cq_slice_eq(found->key, key);
    if (!*made_r)
        return found;
    unsigned height = roll_height(layer);
    for (; layer->height < height; layer->height++)
        links[layer->height] = &layer->head[layer->height];
    struct layer_node *node = cq_pool_alloc(layer->pool, sizeof *node + height * sizeof node->next[0] + key.len);
    memset(node, 0, sizeof *node);
    uint8_t *copy = (uint8_t *)&node->next[height];
    memcpy(copy, key.data, key.len);
    node->key = cq_slice_of(copy, key.len);
    for (unsigned level = 0; level < height; level++) {
        node->next[level] = *links[level];
        *links[level] = node;
    }
    layer->count++;
    return node;
}

void layer_remove(struct layer *layer, struct cq_slice key)
{
    struct layer_node **links[LAYER_HEIGHT];
    struct layer_node *node = search(layer, key, links);
    if (!node || !cq_slice_eq(node->key, key))
        return;
    for (unsigned level = 0; level < layer->height && *links[level] == node; level++)
        *links[level] = node->next[level];
    layer->count--;
}
