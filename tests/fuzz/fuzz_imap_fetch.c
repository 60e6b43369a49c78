/* FETCH items; what a section is called in the response is understood as the same section again. */
#include "base/cq_assert.h"
#include "imap/imap_fetch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool parse(struct cq_slice text, struct cq_pool *pool, struct imap_fetch *fetch)
{
    struct imap_parser p;
    imap_parser_init(&p, text, pool);
    bool ok = imap_parse_fetch(&p, fetch) && imap_parse_end(&p);
    CQ_ASSERT(ok || p.problem);
    return ok;
}

static void check(const struct imap_fetch_item *item, struct cq_pool *pool)
{
    struct imap_fetch_item whole = *item;
    struct imap_fetch again;
    struct cq_buf name, name_again;
    whole.partial = false; /* the response's <origin> is no request */
    cq_buf_init(&name, 1 << 24);
    cq_buf_init(&name_again, 1 << 24);
    CQ_ASSERT(imap_write_fetch_name(&name, &whole));
    CQ_ASSERT(parse(cq_buf_slice(&name), pool, &again) && again.count == 1);
    CQ_ASSERT(imap_write_fetch_name(&name_again, &again.items[0]));
    CQ_ASSERT(cq_slice_eq(cq_buf_slice(&name), cq_buf_slice(&name_again)));
    cq_buf_fini(&name);
    cq_buf_fini(&name_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cq_pool *pool = cq_pool_new(4096);
    struct imap_fetch fetch;
    bool nul = cq_slice_find(cq_slice_of(data, size), 0) < size; /* the reader lets none through */
    if (!nul && parse(cq_slice_of(data, size), pool, &fetch))
        for (size_t i = 0; i < fetch.count; i++)
            if (fetch.items[i].kind == IMAP_FETCH_OCTETS)
                check(&fetch.items[i], pool);
    cq_pool_free(&pool);
    return 0;
}
