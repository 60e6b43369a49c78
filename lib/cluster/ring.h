/* Consistent hashing: each node has many points on a ring of 64-bit hashes; a key's nodes are those whose points follow
 * its hash. Adding or removing a node moves only its own share. Pure; the hashes are fixed for ever. */
#ifndef RING_H
#define RING_H

#include "base/cq_slice.h"

#define RING_POINTS 128 /* of each node */
#define RING_ID_SIZE 16 /* bytes of a node's id */

struct ring;

/* ids: `count` ids of RING_ID_SIZE bytes, each once. The order in which they are given does not matter to anything but
 * the indexes that come back. */
struct ring *ring_new(const uint8_t (*ids)[RING_ID_SIZE], size_t count);
void ring_free(struct ring **ring);

/* All nodes, each once, in the order in which their points follow the hash: `count` indexes into order_r. */
void ring_order(const struct ring *ring, uint64_t hash, uint32_t *order_r);

/* The hash of a shard's number: where its walk begins. */
uint64_t ring_hash_group(uint32_t group);

#endif
