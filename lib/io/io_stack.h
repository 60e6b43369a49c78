/* Stacks for fibers: mapped with a guard page below, kept for the next fiber. One pool per loop. */
#ifndef IO_STACK_H
#define IO_STACK_H

#include <stddef.h>
#include <stdint.h>

#include "io/io_sanitize.h"

#define IO_STACKS_CACHED_MAX 256 /* idle stacks that are kept; their touched pages stay resident */

struct io_stack {
    uint8_t *base; /* lowest usable byte; the guard page is below it. NULL: none */
};

struct io_stack_pool {
    struct io_stack cached[IO_STACKS_CACHED_MAX];
    size_t cached_count;
    size_t mapped; /* in use and cached */
};

/* base is NULL when the kernel gives no memory or no more mappings. */
struct io_stack io_stack_get(struct io_stack_pool *pool);
void io_stack_put(struct io_stack_pool *pool, struct io_stack stack);
void io_stack_pool_fini(struct io_stack_pool *pool);

/* Bytes from the lowest page that was ever touched to the top. */
size_t io_stack_touched(struct io_stack stack);

#endif
