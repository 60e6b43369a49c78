/* A text part: transfer encoding, charset and HTML by the first octets; the same however it is cut, always UTF-8. */
#include "mail/mail_fold.h"
#include "mail/mail_text_part.h"
#include "mail/mail_word.h"

#include "base/cq_assert.h"

static const char *const CHARSETS[] = {"utf-8",      "us-ascii", "iso-8859-1", "iso-2022-jp",
                                       "shift_jis",  "gb18030",  "utf-16",     "iso-2022-kr",
                                       "hz-gb-2312", "utf-32",   "big5",       "windows-1255"};

static void decode(const uint8_t *how, struct cq_slice in, size_t step, struct cq_buf *out)
{
    struct cq_slice charset = cq_slice_cstr(CHARSETS[how[1] % (sizeof CHARSETS / sizeof *CHARSETS)]);
    struct mail_text_part *p = mail_text_part_new(how[0] % (MAIL_ENCODING_OTHER + 1), charset, how[0] & 0x80);
    for (; in.len; in = cq_slice_skip(in, step))
        cq_buf_slice_add(out, mail_text_part_feed(p, cq_slice_sub(in, 0, step)));
    cq_buf_slice_add(out, mail_text_part_finish(p));
    mail_text_part_free(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    struct cq_slice in = cq_slice_of(data + 3, size - 3);
    struct cq_buf whole, pieces, folded;
    cq_buf_init(&whole, 64 * size + 10000);
    cq_buf_init(&pieces, 64 * size + 10000);
    cq_buf_init(&folded, MAIL_FOLD_GROWTH * 64 * size);
    decode(data, in, SIZE_MAX, &whole);
    decode(data, in, 1 + data[2] % 20, &pieces);
    CQ_ASSERT(cq_buf_ok(&whole) && mail_is_utf8(cq_buf_slice(&whole)));
    CQ_ASSERT(cq_slice_eq(cq_buf_slice(&whole), cq_buf_slice(&pieces)));
    mail_fold(cq_buf_slice(&whole), &folded);
    CQ_ASSERT(mail_is_utf8(cq_buf_slice(&folded)));
    cq_buf_fini(&whole);
    cq_buf_fini(&pieces);
    cq_buf_fini(&folded);
    return 0;
}
