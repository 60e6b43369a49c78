#include "imap/imap_parse.h"

#include "imap/imap_limits.h"

void imap_parser_init(struct imap_parser *p, struct cq_slice text, struct cq_pool *pool)
{
    static const uint8_t nothing[1];
    const uint8_t *at = text.data ? text.data : nothing;
    *p = (struct imap_parser){.at = at, .end = at + text.len, .pool = pool};
}

bool imap_expected(struct imap_parser *p, const char *problem)
{
    p->problem = problem;
    return false;
}

/* ---- Classes of bytes ---- */

bool imap_is_atom_char(uint8_t c)
{
    return c > 0x20 && c < 0x7f && !strchr("(){%*\"\\]", c);
}

bool imap_is_astring_char(uint8_t c)
{
    return imap_is_atom_char(c) || c == ']';
}

static bool is_pattern_char(uint8_t c)
{
    return imap_is_astring_char(c) || c == '%' || c == '*';
}

static bool is_tag_char(uint8_t c)
{
    return imap_is_astring_char(c) && c != '+';
}

static struct cq_slice take_while(struct imap_parser *p, bool (*is)(uint8_t))
{
    const uint8_t *from = p->at;
    while (p->at < p->end && is(*p->at))
        p->at++;
    return cq_slice_of(from, (size_t)(p->at - from));
}

/* ---- Fixed texts ---- */

bool imap_try_byte(struct imap_parser *p, uint8_t byte)
{
    if (!imap_peek(p, byte))
        return false;
    p->at++;
    return true;
}

bool imap_try_text(struct imap_parser *p, const char *text)
{
    struct cq_slice want = cq_slice_cstr(text);
    if (!cq_slice_casestarts(imap_rest(p), want))
        return false;
    p->at += want.len;
    return true;
}

bool imap_try_word(struct imap_parser *p, const char *word)
{
    const uint8_t *from = p->at;
    if (imap_try_text(p, word) && (imap_at_end(p) || !imap_is_atom_char(*p->at)))
        return true;
    p->at = from;
    return false;
}

bool imap_parse_byte(struct imap_parser *p, uint8_t byte, const char *problem)
{
    return imap_try_byte(p, byte) || imap_expected(p, problem);
}

bool imap_parse_sp(struct imap_parser *p)
{
    return imap_parse_byte(p, ' ', "Expected a space");
}

bool imap_parse_end(struct imap_parser *p)
{
    return imap_at_end(p) || imap_expected(p, "Unexpected text at the end of the command");
}

/* ---- Atoms and strings ---- */

bool imap_parse_tag(struct imap_parser *p, struct cq_slice *tag_r)
{
    *tag_r = take_while(p, is_tag_char);
    if (tag_r->len && tag_r->len <= IMAP_TAG_MAX)
        return true;
    *tag_r = CQ_SLICE_NONE;
    return imap_expected(p, "Expected a tag");
}

bool imap_parse_atom(struct imap_parser *p, struct cq_slice *atom_r)
{
    *atom_r = take_while(p, imap_is_atom_char);
    return atom_r->len > 0 || imap_expected(p, "Expected an atom");
}

/* `from` is after the opening quote, the cursor at the closing one, with `escapes` backslashes between. */
static struct cq_slice unescape(struct imap_parser *p, const uint8_t *from, size_t escapes)
{
    size_t len = (size_t)(p->at - from);
    if (escapes == 0)
        return cq_slice_of(from, len);
    uint8_t *out = cq_pool_alloc(p->pool, len);
    size_t n = 0;
    for (const uint8_t *c = from; c < p->at; c++) {
        if (*c == '\\')
            c++;
        out[n++] = *c;
    }
    return cq_slice_of(out, n);
}

static bool parse_quoted(struct imap_parser *p, struct cq_slice *string_r)
{
    const uint8_t *from = ++p->at;
    size_t escapes = 0;
    for (; p->at < p->end && *p->at != '"'; p->at++) {
        if (*p->at == '\r' || *p->at == '\n' || *p->at == 0)
            return imap_expected(p, "Line end inside a quoted string");
        if (*p->at != '\\')
            continue;
        escapes++;
        if (++p->at == p->end || (*p->at != '"' && *p->at != '\\'))
            return imap_expected(p, "Wrong escape in a quoted string");
    }
    if (imap_at_end(p))
        return imap_expected(p, "Quoted string without end");
    *string_r = unescape(p, from, escapes);
    p->at++;
    return true;
}

bool imap_parse_literal_header(struct imap_parser *p, uint32_t *size_r, bool *plus_r)
{
    uint64_t size;
    if (!imap_parse_byte(p, '{', "Expected a literal") || !imap_parse_number(p, UINT32_MAX, &size))
        return false;
    *plus_r = imap_try_byte(p, '+');
    *size_r = (uint32_t)size;
    return imap_parse_byte(p, '}', "Expected the end of a literal's size");
}

static bool parse_literal(struct imap_parser *p, struct cq_slice *string_r)
{
    uint32_t size;
    bool plus;
    if (!imap_parse_literal_header(p, &size, &plus))
        return false;
    if (!imap_try_text(p, "\r\n") || size > (size_t)(p->end - p->at))
        return imap_expected(p, "Expected a literal");
    *string_r = cq_slice_of(p->at, size);
    p->at += size;
    return true;
}

bool imap_parse_string(struct imap_parser *p, struct cq_slice *string_r)
{
    if (imap_peek(p, '"'))
        return parse_quoted(p, string_r);
    if (imap_peek(p, '{'))
        return parse_literal(p, string_r);
    return imap_expected(p, "Expected a string");
}

bool imap_parse_nstring(struct imap_parser *p, struct cq_slice *string_r, bool *nil_r)
{
    *string_r = CQ_SLICE_NONE;
    *nil_r = imap_try_word(p, "NIL");
    return *nil_r || imap_parse_string(p, string_r);
}

static bool parse_string_or(struct imap_parser *p, bool (*is)(uint8_t), struct cq_slice *string_r)
{
    if (imap_peek(p, '"') || imap_peek(p, '{'))
        return imap_parse_string(p, string_r);
    *string_r = take_while(p, is);
    return string_r->len > 0 || imap_expected(p, "Expected a string");
}

bool imap_parse_astring(struct imap_parser *p, struct cq_slice *string_r)
{
    return parse_string_or(p, imap_is_astring_char, string_r);
}

bool imap_parse_pattern(struct imap_parser *p, struct cq_slice *pattern_r)
{
    return parse_string_or(p, is_pattern_char, pattern_r);
}

/* ---- Numbers ---- */

static bool is_digit(uint8_t c)
{
    return cq_ascii_digit(c);
}

bool imap_parse_number(struct imap_parser *p, uint64_t max, uint64_t *number_r)
{
    return cq_slice_u64(take_while(p, is_digit), max, number_r) || imap_expected(p, "Expected a number");
}

bool imap_parse_u32(struct imap_parser *p, uint32_t *number_r)
{
    uint64_t number;
    if (!imap_parse_number(p, UINT32_MAX, &number))
        return false;
    *number_r = (uint32_t)number;
    return true;
}
