/* A message: the index is the same for every cut; its summary opens; every part's place is inside the message; search
 * over it ends. The first octet chooses the cut. */
#include "mail/mail_build.h"
#include "mail/mail_envelope.h"
#include "mail/mail_match.h"

#include "base/cq_assert.h"

static void build(struct cq_slice message, size_t step, struct cq_buf *out)
{
    const struct mail_parse_limits limits = {.depth = 20, .parts = 200, .field_octets = 2000, .fields = 50};
    struct mail_builder *b = mail_builder_new(&limits);
    for (; message.len; message = cq_slice_skip(message, step))
        mail_builder_feed(b, cq_slice_sub(message, 0, step));
    mail_builder_finish(b);
    mail_builder_summary(b, 0, out);
    mail_builder_free(&b);
}

static void check_parts(const struct mail_summary *s)
{
    struct mail_summary_parts iter;
    struct mail_summary_part part;
    uint32_t count = 0;
    mail_summary_parts_init(&iter, s);
    for (; mail_summary_parts_next(&iter, &part); count++)
        CQ_ASSERT(part.header_off <= part.body_off && part.body_off <= part.end_off && part.end_off <= s->size);
    CQ_ASSERT(!iter.corrupt && count == s->part_count);
}

static void check_envelope(struct cq_slice envelope)
{
    struct cq_slice members[MAIL_ENVELOPE_FIELDS];
    struct cq_buf text;
    CQ_ASSERT(mail_envelope_split(envelope, members));
    for (unsigned i = 0; i < MAIL_ENVELOPE_FIELDS; i++) {
        cq_buf_init(&text, 16 * envelope.len + 1000);
        mail_envelope_text(members[i], &text);
        CQ_ASSERT(cq_buf_ok(&text));
        cq_buf_fini(&text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct cq_slice message = cq_slice_of(data + 1, size - 1);
    struct cq_buf whole, pieces, body;
    struct mail_summary s;
    bool found;
    cq_buf_init(&whole, MAIL_SUMMARY_MAX);
    cq_buf_init(&pieces, MAIL_SUMMARY_MAX);
    cq_buf_init(&body, MAIL_SUMMARY_MAX);
    build(message, SIZE_MAX, &whole);
    build(message, 1 + data[0] % 64, &pieces);
    CQ_ASSERT(cq_slice_eq(cq_buf_slice(&whole), cq_buf_slice(&pieces)));
    CQ_ASSERT(mail_summary_open(cq_buf_slice(&whole), &s, NULL) == CQ_OK && s.size == message.len);
    check_parts(&s);
    check_envelope(mail_summary_envelope(&s, false));
    check_envelope(mail_summary_envelope(&s, true));
    mail_summary_body(&s, true, &body);
    struct mail_needle *needle = mail_needle_new(CQ_SLICE("needle"));
    CQ_ASSERT(mail_match_message(&s, message, needle, MAIL_MATCH_TEXT, &found) == CQ_OK);
    mail_needle_free(&needle);
    cq_buf_fini(&whole);
    cq_buf_fini(&pieces);
    cq_buf_fini(&body);
    return 0;
}
