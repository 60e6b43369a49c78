/* Sets of UIDs as ascending ranges: what IMAP's sequence-set means once "*" and sequence numbers are
 * resolved, and what travels to the shard (UidSet of proto/mail.proto). */
#ifndef UIDSET_H
#define UIDSET_H

#include "base/cq_pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uid_range {
    uint32_t first, last; /* first <= last, first > 0 */
};

/* Ascending, neither overlapping nor touching. The array belongs to whoever made it (mostly a pool). */
struct uidset {
    struct uid_range *ranges;
    size_t count;
};

/* Members; a full set has 2^32 - 1. */
uint64_t uidset_size(const struct uidset *set);
bool uidset_contains(const struct uidset *set, uint32_t uid);
/* The smallest member >= uid, or 0. */
uint32_t uidset_next(const struct uidset *set, uint32_t uid);

/* Builds a set: UIDs and ranges may come in any order, ascending is cheapest. Memory from the pool. */
struct uidset_builder {
    struct cq_pool *pool;
    struct uid_range *ranges;
    size_t count, cap;
    bool sorted;
};
void uidset_builder_init(struct uidset_builder *builder, struct cq_pool *pool);
void uidset_builder_add(struct uidset_builder *builder, uint32_t first, uint32_t last);
/* Sorted and merged; the builder must not be used afterwards. */
struct uidset uidset_builder_finish(struct uidset_builder *builder);

/* The protobuf form: pairs first, last. False when they are not ascending, overlap or touch, or a 0 occurs. */
bool uidset_from_pairs(const uint32_t *pairs, size_t n, struct cq_pool *pool, struct uidset *set_r);
/* 2 * set->count numbers from the pool. */
uint32_t *uidset_to_pairs(const struct uidset *set, struct cq_pool *pool);

#endif
