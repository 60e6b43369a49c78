/* The general heap. Out of memory ends the process: what a peer can ask for is limited long before.
 * Memory from here is freed with free(). */
#ifndef CQ_MEM_H
#define CQ_MEM_H

#include <stddef.h>

void *cq_malloc(size_t size);                   /* never NULL; size 0 gives a unique pointer */
void *cq_calloc(size_t count, size_t size);     /* zeroed; the product is checked for overflow */
void *cq_realloc(void *ptr, size_t size);       /* never NULL */
void *cq_memdup(const void *data, size_t size); /* never NULL */
char *cq_strndup(const char *text, size_t len); /* copies exactly len bytes and adds a NUL */

/* Overwrites a secret; the compiler does not remove it. */
void cq_wipe(void *data, size_t size);

#define cq_new(type) ((type *)cq_calloc(1, sizeof(type)))
#define cq_containerof(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
