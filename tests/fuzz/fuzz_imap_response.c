/* A server's stream through reader and response parser; the tree that comes out is consistent. */
#include "base/cq_assert.h"
#include "imap/imap_response.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Members fill their list exactly. */
static void check_values(const struct imap_response *r)
{
    for (size_t i = 0; i < r->value_count; i++) {
        const struct imap_value *list = &r->values[i], *v = list + 1;
        CQ_ASSERT(list->total >= 1 && i + list->total <= r->value_count);
        CQ_ASSERT(list->type == IMAP_LIST || list->total == 1);
        if (list->total > 1000)
            continue; /* quadratic */
        for (uint32_t k = 0; k < list->count; k++)
            v += v->total;
        CQ_ASSERT(v == list + list->total);
        imap_value_lookup(list, "UID");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cq_pool *pool = cq_pool_new(4096);
    struct imap_reader_limits limits = imap_response_limits(1 << 16);
    struct imap_reader reader;
    struct cq_slice in = cq_slice_of(data, size);
    imap_reader_init(&reader, &limits);
    while (in.len) {
        size_t used;
        enum imap_read event = imap_reader_feed(&reader, in, &used);
        in = cq_slice_skip(in, used);
        if (event == IMAP_READ_CLOSE)
            break;
        struct imap_response r;
        if (event == IMAP_READ_COMMAND && imap_response_parse(imap_reader_text(&reader), pool, &r, NULL) == CQ_OK)
            check_values(&r);
        if (event == IMAP_READ_COMMAND || event == IMAP_READ_BAD)
            imap_reader_next(&reader);
        cq_pool_clear(pool);
    }
    imap_reader_fini(&reader);
    cq_pool_free(&pool);
    return 0;
}
