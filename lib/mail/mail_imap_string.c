#include "mail/mail_render.h"

#include "mail/mail_word.h"

static size_t count_nuls(struct cq_slice s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += s.data[i] == 0;
    return n;
}

static void add_without_nuls(struct cq_slice s, struct cq_buf *out)
{
    while (s.len) {
        cq_buf_slice_add(out, cq_slice_cut(&s, '\0'));
    }
}

static void literal(struct cq_slice s, struct cq_buf *out)
{
    cq_buf_printf(out, "{%zu}\r\n", s.len - count_nuls(s));
    add_without_nuls(s, out);
}

static void quoted(struct cq_slice s, struct cq_buf *out)
{
    size_t from = 0;
    cq_buf_byte(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] != '"' && s.data[i] != '\\' && s.data[i] != '\0')
            continue;
        cq_buf_slice_add(out, cq_slice_sub(s, from, i - from));
        if (s.data[i])
            cq_buf_byte(out, '\\');
        from = s.data[i] ? i : i + 1;
    }
    cq_buf_slice_add(out, cq_slice_skip(s, from));
    cq_buf_byte(out, '"');
}

static bool has_line_end(struct cq_slice s)
{
    return s.len && (memchr(s.data, '\r', s.len) || memchr(s.data, '\n', s.len));
}

static bool has_8bit(struct cq_slice s)
{
    uint8_t seen = 0;
    for (size_t i = 0; i < s.len; i++)
        seen |= s.data[i];
    return seen >= 0x80;
}

void mail_imap_string(struct cq_slice text, struct cq_buf *out)
{
    if (text.len > MAIL_QUOTED_MAX || has_line_end(text) || has_8bit(text))
        literal(text, out);
    else
        quoted(text, out);
}

void mail_imap_utf8_string(struct cq_slice utf8, struct cq_buf *out)
{
    if (utf8.len > MAIL_QUOTED_MAX || has_line_end(utf8) || !mail_is_utf8(utf8))
        literal(utf8, out);
    else
        quoted(utf8, out);
}

void mail_put_varint(struct cq_buf *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        cq_buf_byte(out, (uint8_t)(value | 0x80));
    cq_buf_byte(out, (uint8_t)value);
}
