/* A summary from an untrusted place: its length and checksum are put right, so that what lies behind them is reached.
 */
#include "mail/mail_envelope.h"
#include "mail/mail_match.h"
#include "mail/mail_section.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"

#include <stdlib.h>
#include <xxhash.h>

static void read_all(const struct mail_summary *s)
{
    struct mail_summary_parts iter;
    struct mail_summary_part part;
    struct mail_range range;
    struct cq_slice rest = s->references, id, members[MAIL_ENVELOPE_FIELDS];
    struct cq_buf out;
    bool found;
    cq_buf_init(&out, 32u << 20);
    while (mail_summary_reference(&rest, &id))
        cq_buf_slice_add(&out, id);
    mail_summary_parts_init(&iter, s);
    while (mail_summary_parts_next(&iter, &part))
        CQ_ASSERT(part.header_off <= part.body_off && part.body_off <= part.end_off && part.end_off <= s->size);
    mail_summary_body(s, false, &out);
    mail_summary_body(s, true, &out);
    if (mail_envelope_split(mail_summary_envelope(s, true), members))
        for (unsigned i = 0; i < MAIL_ENVELOPE_FIELDS; i++)
            mail_envelope_text(members[i], &out);
    for (uint32_t a = 1; a < 4; a++) {
        struct mail_section section = {.path = {a, 1, 2}, .path_len = a, .what = MAIL_SECTION_MIME};
        if (mail_section_locate(s, &section, &range, NULL) == CQ_OK)
            CQ_ASSERT(range.off <= s->size && range.len <= s->size - range.off);
    }
    struct mail_needle *needle = mail_needle_new(CQ_SLICE("x"));
    mail_match_message(s, CQ_SLICE("a message that is not the one"), needle, MAIL_MATCH_TEXT, &found);
    mail_needle_free(&needle);
    cq_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mail_summary s;
    uint8_t *copy = malloc(size + 1);
    if (size)
        memcpy(copy, data, size);
    if (size >= 16) {
        cq_put_le32(copy + 4, (uint32_t)size);
        cq_put_le64(copy + 8, XXH3_64bits(copy + 16, size - 16));
    }
    if (mail_summary_open(cq_slice_of(copy, size), &s, NULL) == CQ_OK)
        read_all(&s);
    free(copy);
    return 0;
}
