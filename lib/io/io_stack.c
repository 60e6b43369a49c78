#include "io/io_stack.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/cq_assert.h"

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static struct io_stack stack_map(struct io_stack_pool *pool)
{
    size_t guard = page_size();
    uint8_t *map = mmap(NULL, guard + IO_STACK_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return (struct io_stack){NULL};
    if (mprotect(map + guard, IO_STACK_SIZE, PROT_READ | PROT_WRITE)) {
        munmap(map, guard + IO_STACK_SIZE);
        return (struct io_stack){NULL};
    }
    pool->mapped++;
    IO_ASAN_STACK_BORN(map + guard, IO_STACK_SIZE);
    return (struct io_stack){map + guard};
}

static void stack_unmap(struct io_stack_pool *pool, struct io_stack stack)
{
    size_t guard = page_size();
    IO_ASAN_STACK_DEAD(stack.base, IO_STACK_SIZE);
    CQ_ASSERT(munmap(stack.base - guard, guard + IO_STACK_SIZE) == 0);
    pool->mapped--;
}

struct io_stack io_stack_get(struct io_stack_pool *pool)
{
    if (!pool->cached_count)
        return stack_map(pool);
    struct io_stack stack = pool->cached[--pool->cached_count];
    IO_ASAN_STACK_REUSE(stack.base, IO_STACK_SIZE);
    return stack;
}

void io_stack_put(struct io_stack_pool *pool, struct io_stack stack)
{
    if (pool->cached_count < IO_STACKS_CACHED_MAX)
        pool->cached[pool->cached_count++] = stack;
    else
        stack_unmap(pool, stack);
}

void io_stack_pool_fini(struct io_stack_pool *pool)
{
    while (pool->cached_count)
        stack_unmap(pool, pool->cached[--pool->cached_count]);
}

size_t io_stack_touched(struct io_stack stack)
{
    unsigned char resident[IO_STACK_SIZE / 4096];
    size_t page = page_size(), pages = IO_STACK_SIZE / page, first = 0;
    if (mincore(stack.base, IO_STACK_SIZE, resident))
        return 0;
    while (first < pages && !(resident[first] & 1))
        first++;
    return (pages - first) * page;
}
