#include "mail/mail_text_part.h"

#include "base/cq_mem.h"

#include <stdlib.h>

#define PIECE_MAX 4096 /* octets that go through the stages at a time */

struct mail_text_part {
    struct mail_transfer transfer;
    struct mail_charset *charset;
    bool strip_html;
    struct mail_html html;
    struct cq_buf octets, utf8, text; /* after each stage */
};

struct mail_text_part *mail_text_part_new(enum mail_encoding encoding, struct cq_slice charset, bool strip_html)
{
    struct mail_text_part *p = cq_new(struct mail_text_part);
    mail_transfer_init(&p->transfer, encoding);
    p->charset = mail_charset_new(charset);
    p->strip_html = strip_html;
    mail_html_init(&p->html);
    const size_t octets_max = PIECE_MAX + MAIL_TRANSFER_PENDING_MAX + 8;
    cq_buf_init(&p->octets, octets_max);
    cq_buf_init(&p->utf8, SIZE_MAX / 4);
    cq_buf_init(&p->text, SIZE_MAX / 4);
    return p;
}

void mail_text_part_free(struct mail_text_part **part)
{
    struct mail_text_part *p = *part;
    if (!p)
        return;
    mail_charset_free(&p->charset);
    cq_buf_fini(&p->octets);
    cq_buf_fini(&p->utf8);
    cq_buf_fini(&p->text);
    free(p);
    *part = NULL;
}

/* Charset and HTML stages over p->octets. */
static void through(struct mail_text_part *p, bool end)
{
    struct cq_buf *utf8 = p->strip_html ? &p->utf8 : &p->text;
    cq_buf_reset(&p->utf8, SIZE_MAX);
    mail_charset_decode(p->charset, cq_buf_slice(&p->octets), utf8);
    if (end)
        mail_charset_finish(p->charset, utf8);
    if (p->strip_html)
        mail_html_strip(&p->html, cq_buf_slice(&p->utf8), &p->text);
    if (end && p->strip_html)
        mail_html_finish(&p->html, &p->text);
    cq_buf_reset(&p->octets, SIZE_MAX);
}

struct cq_slice mail_text_part_feed(struct mail_text_part *p, struct cq_slice octets)
{
    cq_buf_reset(&p->text, 8 * PIECE_MAX);
    while (octets.len) {
        struct cq_slice piece = cq_slice_sub(octets, 0, PIECE_MAX);
        mail_transfer_decode(&p->transfer, piece, &p->octets);
        through(p, false);
        octets = cq_slice_skip(octets, piece.len);
    }
    return cq_buf_slice(&p->text);
}

struct cq_slice mail_text_part_finish(struct mail_text_part *p)
{
    cq_buf_reset(&p->text, 8 * PIECE_MAX);
    mail_transfer_finish(&p->transfer, &p->octets);
    through(p, true);
    return cq_buf_slice(&p->text);
}
