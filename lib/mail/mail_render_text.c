#include "mail_render_private.h"

#include "mail/mail_header.h"
#include "mail/mail_word.h"

void mail_render_string(struct cq_slice text, bool utf8, struct cq_buf *out)
{
    if (utf8)
        mail_imap_utf8_string(text, out);
    else
        mail_imap_string(text, out);
}

/* At most max octets, not in the middle of a UTF-8 character. */
static struct cq_slice cut_text(struct cq_slice s, size_t max)
{
    if (s.len <= max)
        return s;
    size_t n = max;
    while (n > 0 && n + 4 > max && (s.data[n] & 0xc0) == 0x80)
        n--;
    return cq_slice_sub(s, 0, n);
}

void mail_render_text(struct cq_slice value, bool utf8, size_t max, struct cq_buf *out, bool *cut_r)
{
    struct cq_slice text = cut_text(value, max);
    if (text.len < value.len && cut_r)
        *cut_r = true;
    struct cq_buf flat, shown;
    cq_buf_init(&flat, text.len);
    cq_buf_init(&shown, 16 * text.len + 64);
    mail_header_unfold(text, &flat);
    if (mail_is_ascii(cq_buf_slice(&flat))) {
        mail_render_string(cq_buf_slice(&flat), utf8, out);
    } else if (utf8) {
        mail_utf8_clean(cq_buf_slice(&flat), &shown);
        mail_imap_utf8_string(cq_buf_slice(&shown), out);
    } else { /* its own encoded words are decoded first, or they would be encoded twice */
        struct cq_buf decoded;
        cq_buf_init(&decoded, 8 * text.len + 64);
        mail_word_decode(cq_buf_slice(&flat), &decoded);
        mail_word_encode(cq_buf_slice(&decoded), &shown);
        mail_imap_string(cq_buf_slice(&shown), out);
        cq_buf_fini(&decoded);
    }
    cq_buf_fini(&flat);
    cq_buf_fini(&shown);
}
