#include "base/cq_mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void out_of_memory(size_t size)
{
    fprintf(stderr, "out of memory: %zu bytes were asked for\n", size);
    abort();
}

void *cq_malloc(size_t size)
{
    void *ptr = malloc(size ? size : 1);
    if (!ptr)
        out_of_memory(size);
    return ptr;
}

void *cq_calloc(size_t count, size_t size)
{
    void *ptr = calloc(count ? count : 1, size ? size : 1);
    if (!ptr)
        out_of_memory(count);
    return ptr;
}

void *cq_realloc(void *ptr, size_t size)
{
    void *next = realloc(ptr, size ? size : 1);
    if (!next)
        out_of_memory(size);
    return next;
}

void *cq_memdup(const void *data, size_t size)
{
    void *copy = cq_malloc(size);
    if (size)
        memcpy(copy, data, size);
    return copy;
}

char *cq_strndup(const char *text, size_t len)
{
    char *copy = cq_malloc(len + 1);
    if (len)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

void cq_wipe(void *data, size_t size)
{
    if (size)
        explicit_bzero(data, size);
}
