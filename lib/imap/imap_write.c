#include "imap/imap_write.h"

#include "imap/imap_parse.h"

enum form { ATOM, QUOTED, LITERAL };

static enum form form_of(struct cq_slice s)
{
    bool atom = s.len > 0 && !cq_slice_caseeq(s, CQ_SLICE("NIL"));
    if (s.len > IMAP_QUOTED_MAX)
        return LITERAL;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (c >= 0x80 || c == '\r' || c == '\n' || c == 0)
            return LITERAL;
        atom &= imap_is_atom_char(c);
    }
    return atom ? ATOM : QUOTED;
}

static bool write_quoted(struct cq_buf *out, struct cq_slice s)
{
    cq_buf_byte(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == '"' || s.data[i] == '\\')
            cq_buf_byte(out, '\\');
        cq_buf_byte(out, s.data[i]);
    }
    return cq_buf_byte(out, '"');
}

bool imap_write_literal_header(struct cq_buf *out, uint64_t size)
{
    cq_buf_byte(out, '{');
    cq_buf_u64(out, size);
    return cq_buf_add(out, "}\r\n", 3);
}

bool imap_write_literal(struct cq_buf *out, struct cq_slice s)
{
    return imap_write_literal_header(out, s.len) && cq_buf_slice_add(out, s);
}

/* RFC 3501 CHAR8: a literal has no NUL. */
static bool write_clean_literal(struct cq_buf *out, struct cq_slice s)
{
    if (!imap_write_literal(out, s))
        return false;
    uint8_t *at = out->data + out->len - s.len;
    for (size_t i = 0; i < s.len; i++)
        if (at[i] == 0)
            at[i] = '?';
    return true;
}

bool imap_write_string(struct cq_buf *out, struct cq_slice s)
{
    return form_of(s) == LITERAL ? write_clean_literal(out, s) : write_quoted(out, s);
}

bool imap_write_astring(struct cq_buf *out, struct cq_slice s)
{
    return form_of(s) == ATOM ? cq_buf_slice_add(out, s) : imap_write_string(out, s);
}

bool imap_write_text(struct cq_buf *out, struct cq_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        cq_buf_byte(out, s.data[i] >= 0x20 && s.data[i] < 0x7f ? s.data[i] : '?');
    return cq_buf_ok(out);
}

bool imap_write_range(struct cq_buf *out, uint32_t first, uint32_t last)
{
    cq_buf_u64(out, first);
    if (last != first) {
        cq_buf_byte(out, ':');
        cq_buf_u64(out, last);
    }
    return cq_buf_ok(out);
}
