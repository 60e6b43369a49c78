/* Modified UTF-7: what decodes is valid UTF-8 and encodes to the same octets; a name matches itself as a pattern when
 * it has no wildcards. Input: a name, a NUL, a pattern. */
#include "base/cq_assert.h"
#include "base/cq_text.h"
#include "imap/imap_limits.h"
#include "imap/imap_mailbox.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_wire(struct cq_slice wire, struct cq_pool *pool)
{
    struct cq_slice utf8;
    struct cq_buf back;
    if (!imap_utf7_decode(wire, pool, &utf8))
        return;
    CQ_ASSERT(cq_utf8_valid(utf8));
    cq_buf_init(&back, wire.len);
    CQ_ASSERT(imap_utf7_encode(&back, utf8) && cq_slice_eq(cq_buf_slice(&back), wire));
    cq_buf_fini(&back);
}

static void check_name(struct cq_slice name, struct cq_slice pattern)
{
    bool wild = cq_slice_find(name, '*') < name.len || cq_slice_find(name, '%') < name.len;
    CQ_ASSERT(name.len > 0 && name.len <= IMAP_MAILBOX_MAX);
    CQ_ASSERT(wild || imap_pattern_match(name, name));
    CQ_ASSERT(imap_pattern_match(CQ_SLICE("*"), name));
    imap_pattern_match(pattern, name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cq_pool *pool = cq_pool_new(4096);
    struct cq_slice in = cq_slice_of(data, size), wire = cq_slice_cut(&in, 0), name, pattern;
    const char *problem;
    check_wire(wire, pool);
    if (imap_mailbox_parse(wire, pool, &name, &problem))
        check_name(name, imap_pattern_parse(CQ_SLICE(""), in, pool, &pattern, &problem) ? pattern : in);
    struct cq_buf out;
    cq_buf_init(&out, 1 << 20);
    imap_utf7_encode(&out, in);
    cq_buf_fini(&out);
    cq_pool_free(&pool);
    return 0;
}
