#include "raft/raft_bytes.h"

#include "base/cq_mem.h"

#include <stdatomic.h>
#include <stdlib.h>

struct raft_bytes {
    atomic_uint refs;
    uint8_t *data; /* its own memory, or the octets below */
    size_t len;
    uint8_t octets[];
};

static struct raft_bytes *bytes_alloc(size_t inside)
{
    struct raft_bytes *bytes = cq_malloc(sizeof *bytes + inside);
    atomic_init(&bytes->refs, 1);
    bytes->data = bytes->octets;
    bytes->len = inside;
    return bytes;
}

struct raft_bytes *raft_bytes_new(size_t len, uint8_t **data_r)
{
    struct raft_bytes *bytes = bytes_alloc(len);
    *data_r = bytes->octets;
    return bytes;
}

struct raft_bytes *raft_bytes_copy(struct cq_slice octets)
{
    struct raft_bytes *bytes = bytes_alloc(octets.len);
    if (octets.len)
        memcpy(bytes->octets, octets.data, octets.len);
    return bytes;
}

struct raft_bytes *raft_bytes_adopt(void *data, size_t len)
{
    struct raft_bytes *bytes = bytes_alloc(0);
    bytes->data = data;
    bytes->len = len;
    return bytes;
}

struct raft_bytes *raft_bytes_ref(struct raft_bytes *bytes)
{
    if (bytes)
        atomic_fetch_add_explicit(&bytes->refs, 1, memory_order_relaxed);
    return bytes;
}

void raft_bytes_unref(struct raft_bytes **bytes)
{
    struct raft_bytes *b = *bytes;
    *bytes = NULL;
    if (!b || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (b->data != b->octets)
        free(b->data);
    free(b);
}

struct cq_slice raft_bytes_slice(const struct raft_bytes *bytes)
{
    return cq_slice_of(bytes->data, bytes->len);
}
