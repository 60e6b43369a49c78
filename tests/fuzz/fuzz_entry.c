/* Any bytes as a log entry: decoded or refused, and what was decoded encodes to the same bytes. */
#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "state/entry.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct cq_slice bytes)
{
    struct cq_pool *pool = cq_pool_new(1024);
    struct entry entry;
    if (entry_decode(bytes, pool, &entry, NULL) == CQ_OK) {
        struct cq_buf again;
        cq_buf_init(&again, ENTRY_MAX);
        CQ_ASSERT(entry_encode(&entry, &again, NULL) == CQ_OK);
        CQ_ASSERT(cq_slice_eq(cq_buf_slice(&again), bytes));
        cq_buf_fini(&again);
    }
    cq_pool_free(&pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(cq_slice_of(data, size));
    if (size < ENTRY_HEAD)
        return 0;
    /* The same with a right checksum after it, so that the fuzzer sees what lies behind. */
    uint8_t *with = malloc(size + ENTRY_TAIL);
    if (!with)
        abort();
    memcpy(with, data, size);
    cq_put_le64(with + size, cq_xxh3_64(cq_slice_of(data, size)));
    check(cq_slice_of(with, size + ENTRY_TAIL));
    free(with);
    return 0;
}
