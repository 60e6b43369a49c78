/* Memory that the connections of a loop share, and small byte queues. */
#include <stdlib.h>
#include <string.h>

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "io/io_conn_private.h"

#define BYTES_MIN 512

struct io_conn_scratch *io_scratch(struct io_loop *loop)
{
    if (!loop->scratch)
        loop->scratch = cq_new(struct io_conn_scratch);
    return loop->scratch;
}

void io_conn_scratch_free(struct io_conn_scratch **scratch)
{
    if (*scratch)
        io_bytes_free(&(*scratch)->spare);
    free(*scratch);
    *scratch = NULL;
}

/* Room for n more: at first by moving to the front, then by growing to the double. */
static void bytes_make_room(struct io_bytes *bytes, size_t n)
{
    if (bytes->cap - bytes->start - bytes->len >= n)
        return;
    if (bytes->cap - bytes->len >= n && bytes->start >= bytes->cap / 2) {
        memmove(bytes->data, bytes->data + bytes->start, bytes->len);
        bytes->start = 0;
        return;
    }
    size_t cap = bytes->cap ? bytes->cap : BYTES_MIN;
    while (cap - bytes->len < n)
        cap *= 2;
    uint8_t *data = cq_malloc(cap);
    if (bytes->len)
        memcpy(data, bytes->data + bytes->start, bytes->len);
    free(bytes->data);
    *bytes = (struct io_bytes){.data = data, .len = bytes->len, .cap = cap};
}

void io_bytes_add(struct io_bytes *bytes, struct cq_slice data)
{
    if (!data.len)
        return;
    bytes_make_room(bytes, data.len);
    memcpy(bytes->data + bytes->start + bytes->len, data.data, data.len);
    bytes->len += data.len;
}

void io_bytes_consume(struct io_bytes *bytes, size_t n)
{
    CQ_ASSERT(n <= bytes->len);
    bytes->start += n;
    bytes->len -= n;
    if (!bytes->len)
        io_bytes_free(bytes);
}

void io_bytes_free(struct io_bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct io_bytes){0};
}
