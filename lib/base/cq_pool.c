#include "base/cq_pool.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CQ_POOL_BLOCK_MAX (64u << 10)

struct block {
    struct block *next;
    size_t size, used;
    alignas(max_align_t) uint8_t data[];
};

struct cq_pool {
    struct block *blocks; /* newest first; the last one is the first block and survives a clear */
    size_t used, held, next_size;
};

static void add_block(struct cq_pool *pool, size_t size)
{
    struct block *b = cq_malloc(sizeof *b + size);
    *b = (struct block){.next = pool->blocks, .size = size};
    pool->blocks = b;
    pool->held += size;
}

struct cq_pool *cq_pool_new(size_t block_size)
{
    struct cq_pool *pool = cq_new(struct cq_pool);
    pool->next_size = block_size < 64 ? 64 : block_size;
    add_block(pool, pool->next_size);
    return pool;
}

void cq_pool_free(struct cq_pool **pool)
{
    if (!*pool)
        return;
    for (struct block *b = (*pool)->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(*pool);
    *pool = NULL;
}

void cq_pool_clear(struct cq_pool *pool)
{
    struct block *b = pool->blocks;
    while (b->next) {
        struct block *next = b->next;
        free(b);
        b = next;
    }
    b->used = 0;
    pool->blocks = b;
    pool->used = 0;
    pool->held = pool->next_size = b->size;
}

void *cq_pool_alloc(struct cq_pool *pool, size_t size)
{
    const size_t align = alignof(max_align_t);
    CQ_ASSERT(size <= SIZE_MAX / 2);
    size = (size + align - 1) / align * align;
    struct block *b = pool->blocks;
    if (b->size - b->used < size) {
        if (pool->next_size < CQ_POOL_BLOCK_MAX)
            pool->next_size *= 2;
        add_block(pool, size > pool->next_size ? size : pool->next_size);
        b = pool->blocks;
    }
    void *ptr = b->data + b->used;
    b->used += size;
    pool->used += size;
    return ptr;
}

void *cq_pool_calloc(struct cq_pool *pool, size_t count, size_t size)
{
    size_t bytes;
    CQ_ASSERT(!__builtin_mul_overflow(count, size, &bytes));
    void *ptr = cq_pool_alloc(pool, bytes);
    memset(ptr, 0, bytes);
    return ptr;
}

void *cq_pool_dup(struct cq_pool *pool, const void *data, size_t len)
{
    void *copy = cq_pool_alloc(pool, len);
    if (len)
        memcpy(copy, data, len);
    return copy;
}

struct cq_slice cq_pool_slice(struct cq_pool *pool, struct cq_slice s)
{
    return cq_slice_of(cq_pool_dup(pool, s.data, s.len), s.len);
}

char *cq_pool_cstr(struct cq_pool *pool, struct cq_slice s)
{
    char *copy = cq_pool_alloc(pool, s.len + 1);
    if (s.len)
        memcpy(copy, s.data, s.len);
    copy[s.len] = '\0';
    return copy;
}

char *cq_pool_printf(struct cq_pool *pool, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    CQ_ASSERT(n >= 0);
    char *text = cq_pool_alloc(pool, (size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    return text;
}

size_t cq_pool_used(const struct cq_pool *pool)
{
    return pool->used;
}

size_t cq_pool_held(const struct cq_pool *pool)
{
    return pool->held;
}
