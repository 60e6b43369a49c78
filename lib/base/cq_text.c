#include "base/cq_text.h"

#include <stdio.h>

/* What a lead byte promises: how many bytes, and the smallest code point that needs as many. */
static size_t lead_length(uint8_t lead, uint32_t *bits_r, uint32_t *least_r)
{
    static const struct {
        uint8_t mask, value, keep;
        uint32_t least;
    } rows[] = {
        {0x80, 0x00, 0x7f, 0}, {0xe0, 0xc0, 0x1f, 0x80}, {0xf0, 0xe0, 0x0f, 0x800}, {0xf8, 0xf0, 0x07, 0x10000}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if ((lead & rows[i].mask) == rows[i].value) {
            *bits_r = lead & rows[i].keep;
            *least_r = rows[i].least;
            return i + 1;
        }
    return 0;
}

uint32_t cq_utf8_next(struct cq_slice s, size_t *len_r)
{
    uint32_t code = 0, least = 0;
    size_t need = lead_length(s.data[0], &code, &least);
    *len_r = 1;
    if (need == 0 || need > s.len)
        return CQ_UTF8_BAD;
    for (size_t i = 1; i < need; i++) {
        if ((s.data[i] & 0xc0) != 0x80)
            return CQ_UTF8_BAD;
        code = code << 6 | (s.data[i] & 0x3f);
    }
    if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return CQ_UTF8_BAD;
    *len_r = need;
    return code;
}

bool cq_utf8_valid(struct cq_slice s)
{
    while (s.len) {
        size_t n;
        if (cq_utf8_next(s, &n) == CQ_UTF8_BAD)
            return false;
        s = cq_slice_skip(s, n);
    }
    return true;
}

bool cq_text_printable(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } hidden[] = {
        {0x00, 0x1f},     {0x7f, 0x9f},     /* C0, DEL, C1: terminals obey them */
        {0x061c, 0x061c}, {0x200e, 0x200f}, /* marks of direction */
        {0x2028, 0x202e},                   /* line and paragraph separator, embeddings and overrides */
        {0x2066, 0x2069},                   /* isolates */
        {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f}, {CQ_UTF8_BAD, CQ_UTF8_BAD},
    };
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (code >= hidden[i].first && code <= hidden[i].last)
            return false;
    return true;
}

/* The escape of one code point that may not stand as it is. */
static void escape_code(struct cq_buf *out, uint32_t code)
{
    if (code == CQ_UTF8_BAD)
        cq_buf_cstr(out, "\xef\xbf\xbd");
    else if (code == '"' || code == '\\')
        cq_buf_printf(out, "\\%c", (char)code);
    else if (code == '\n')
        cq_buf_cstr(out, "\\n");
    else if (code == '\r')
        cq_buf_cstr(out, "\\r");
    else if (code == '\t')
        cq_buf_cstr(out, "\\t");
    else if (code < 0x10000)
        cq_buf_printf(out, "\\u%04x", code);
    else
        cq_buf_printf(out, "\\u%04x\\u%04x", 0xd800 + ((code - 0x10000) >> 10), 0xdc00 + ((code - 0x10000) & 0x3ff));
}

/* Plain bytes go in runs: one append for the usual text. */
bool cq_json_escape(struct cq_buf *out, struct cq_slice s)
{
    size_t start = 0, at = 0;
    while (at < s.len) {
        size_t n;
        uint32_t code = cq_utf8_next(cq_slice_skip(s, at), &n);
        if (code != '"' && code != '\\' && cq_text_printable(code)) {
            at += n;
            continue;
        }
        cq_buf_slice_add(out, cq_slice_sub(s, start, at - start));
        escape_code(out, code);
        at += n;
        start = at;
    }
    cq_buf_slice_add(out, cq_slice_skip(s, start));
    return cq_buf_ok(out);
}

bool cq_json_string(struct cq_buf *out, struct cq_slice s)
{
    cq_buf_byte(out, '"');
    cq_json_escape(out, s);
    return cq_buf_byte(out, '"') && cq_buf_ok(out);
}
