/* A pool: many small allocations that end together (one command, one session, one parsed message).
 * Bump allocation in blocks; nothing is freed alone. */
#ifndef CQ_POOL_H
#define CQ_POOL_H

#include "base/cq_slice.h"

struct cq_pool;

/* block_size: bytes of the first block; later ones grow to at most 64 KiB, a larger allocation gets its own. */
struct cq_pool *cq_pool_new(size_t block_size);
void cq_pool_free(struct cq_pool **pool);

/* Forgets all allocations, keeps the first block. Pointers into the pool end here. */
void cq_pool_clear(struct cq_pool *pool);

void *cq_pool_alloc(struct cq_pool *pool, size_t size);                /* aligned for any type; not zeroed */
void *cq_pool_calloc(struct cq_pool *pool, size_t count, size_t size); /* zeroed */
void *cq_pool_dup(struct cq_pool *pool, const void *data, size_t len);
struct cq_slice cq_pool_slice(struct cq_pool *pool, struct cq_slice s); /* a copy */
char *cq_pool_cstr(struct cq_pool *pool, struct cq_slice s);            /* a copy with a NUL after it */
char *cq_pool_printf(struct cq_pool *pool, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Bytes handed out since birth or clear, and bytes that the pool holds. */
size_t cq_pool_used(const struct cq_pool *pool);
size_t cq_pool_held(const struct cq_pool *pool);

#define cq_pool_new_of(pool, type) ((type *)cq_pool_calloc((pool), 1, sizeof(type)))

#endif
