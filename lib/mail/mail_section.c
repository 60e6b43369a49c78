#include "mail/mail_section.h"

#include "mail/mail_header.h"

/* ---- parsing ---- */

static const struct {
    const char *text;
    enum mail_section_what what;
} KEYWORDS[] = {
    {"HEADER.FIELDS.NOT", MAIL_SECTION_HEADER_FIELDS_NOT},
    {"HEADER.FIELDS", MAIL_SECTION_HEADER_FIELDS},
    {"HEADER", MAIL_SECTION_HEADER},
    {"TEXT", MAIL_SECTION_TEXT},
    {"MIME", MAIL_SECTION_MIME},
};

static bool has_fields(enum mail_section_what what)
{
    return what == MAIL_SECTION_HEADER_FIELDS || what == MAIL_SECTION_HEADER_FIELDS_NOT;
}

/* "1.2" and the dot behind it; what is left starts a keyword or is empty. */
static enum cq_rc take_path(struct cq_slice *rest, struct mail_section *section, struct cq_err *err)
{
    while (rest->len && cq_ascii_digit(rest->data[0])) {
        uint64_t number;
        size_t n = cq_slice_find(*rest, '.');
        if (!cq_slice_u64(cq_slice_sub(*rest, 0, n), UINT32_MAX, &number) || number == 0)
            return CQ_FAIL(err, CQ_E_PROTO, "section: part number");
        if (section->path_len == MAIL_SECTION_PATH_MAX)
            return CQ_FAIL(err, CQ_E_LIMIT, "section: more than %d part numbers", MAIL_SECTION_PATH_MAX);
        section->path[section->path_len++] = (uint32_t)number;
        bool dot = n < rest->len;
        *rest = cq_slice_skip(*rest, dot ? n + 1 : n);
        if (dot && rest->len == 0)
            return CQ_FAIL(err, CQ_E_PROTO, "section: ends in a dot");
    }
    return CQ_OK;
}

static enum cq_rc take_keyword(struct cq_slice *rest, struct mail_section *section, struct cq_err *err)
{
    for (size_t i = 0; i < sizeof KEYWORDS / sizeof *KEYWORDS; i++) {
        struct cq_slice word = cq_slice_cstr(KEYWORDS[i].text);
        if (!cq_slice_casestarts(*rest, word))
            continue;
        section->what = KEYWORDS[i].what;
        *rest = cq_slice_skip(*rest, word.len);
        if (section->what == MAIL_SECTION_MIME && section->path_len == 0)
            break; /* RFC 3501 9: only with a part number */
        return CQ_OK;
    }
    return CQ_FAIL(err, CQ_E_PROTO, "section: unknown keyword");
}

/* An atom or a quoted string. */
static bool take_name(struct cq_slice *rest, struct cq_pool *pool, struct cq_slice *name_r)
{
    struct cq_slice s = *rest;
    bool quoted = s.len && s.data[0] == '"', closed = false;
    uint8_t *to = cq_pool_alloc(pool, s.len);
    size_t i = quoted, n = 0;
    for (; i < s.len && !closed; i++) {
        uint8_t c = s.data[i];
        if (quoted && c == '\\' && i + 1 < s.len)
            c = s.data[++i];
        else if (quoted && c == '"')
            closed = true;
        else if (!quoted && (c <= 32 || c >= 127 || strchr("(){%*\"\\", c)))
            break;
        if (c == '\r' || c == '\n' || c == '\0')
            return false;
        if (!closed)
            to[n++] = c;
    }
    *name_r = cq_slice_of(to, n);
    *rest = cq_slice_skip(s, i);
    return quoted ? closed : n > 0;
}

static enum cq_rc take_fields(struct cq_slice *rest, struct cq_pool *pool, struct mail_section *section,
                              struct cq_err *err)
{
    struct cq_slice *fields = cq_pool_calloc(pool, MAIL_SECTION_FIELDS_MAX, sizeof *fields);
    section->fields = fields;
    if (!cq_slice_starts(*rest, CQ_SLICE(" (")))
        return CQ_FAIL(err, CQ_E_PROTO, "section: no list of field names");
    *rest = cq_slice_skip(*rest, 2);
    for (;;) {
        if (section->field_count == MAIL_SECTION_FIELDS_MAX)
            return CQ_FAIL(err, CQ_E_LIMIT, "section: more than %d field names", MAIL_SECTION_FIELDS_MAX);
        if (!take_name(rest, pool, &fields[section->field_count++]) || rest->len == 0)
            return CQ_FAIL(err, CQ_E_PROTO, "section: field name");
        uint8_t c = rest->data[0];
        *rest = cq_slice_skip(*rest, 1);
        if (c == ')')
            return CQ_OK;
        if (c != ' ')
            return CQ_FAIL(err, CQ_E_PROTO, "section: field list");
    }
}

enum cq_rc mail_section_parse(struct cq_slice text, struct cq_pool *pool, struct mail_section *section_r,
                              struct cq_err *err)
{
    struct cq_slice rest = text;
    *section_r = (struct mail_section){.what = MAIL_SECTION_ALL};
    enum cq_rc rc = take_path(&rest, section_r, err);
    if (rc == CQ_OK && rest.len)
        rc = take_keyword(&rest, section_r, err);
    if (rc == CQ_OK && has_fields(section_r->what))
        rc = take_fields(&rest, pool, section_r, err);
    if (rc == CQ_OK && rest.len)
        return CQ_FAIL(err, CQ_E_PROTO, "section: %zu octets too many", rest.len);
    return rc;
}

/* ---- locating ---- */

/* A part, with the iterator standing behind it: its children come next. */
struct place {
    struct mail_summary_parts iter;
    struct mail_summary_part part;
};

static bool first_child(struct place *p)
{
    uint16_t depth = p->part.depth;
    return mail_summary_parts_next(&p->iter, &p->part) && p->part.depth == depth + 1;
}

static bool nth_child(struct place *p, uint32_t n)
{
    uint16_t depth = p->part.depth;
    while (mail_summary_parts_next(&p->iter, &p->part) && p->part.depth > depth)
        if (p->part.depth == depth + 1 && --n == 0)
            return true;
    return false;
}

/* The part that a number means inside a message: a part of its multipart, or 1 for its only body. */
static bool into_message(struct place *p, uint32_t n)
{
    return p->part.media == MAIL_MEDIA_MULTIPART ? nth_child(p, n) : n == 1;
}

static bool into_part(struct place *p, uint32_t n)
{
    if (p->part.media == MAIL_MEDIA_MESSAGE)
        return first_child(p) && into_message(p, n);
    return p->part.media == MAIL_MEDIA_MULTIPART && nth_child(p, n);
}

static void apply_partial(const struct mail_section *section, struct mail_range *range)
{
    if (!section->partial || range->filter)
        return;
    uint64_t skip = section->offset < range->len ? section->offset : range->len;
    range->off += skip;
    range->len -= skip;
    if (range->len > section->length)
        range->len = section->length;
}

static bool find(struct place *p, const struct mail_section *section)
{
    if (!mail_summary_parts_next(&p->iter, &p->part))
        return false;
    for (uint32_t i = 0; i < section->path_len; i++)
        if (!(i == 0 ? into_message(p, section->path[i]) : into_part(p, section->path[i])))
            return false;
    bool of_message = section->what != MAIL_SECTION_ALL && section->what != MAIL_SECTION_MIME;
    if (section->path_len == 0)
        return section->what != MAIL_SECTION_MIME;
    if (of_message) /* RFC 3501 6.4.5: HEADER and TEXT are those of a message/rfc822 part's message */
        return p->part.media == MAIL_MEDIA_MESSAGE && first_child(p);
    return true;
}

enum cq_rc mail_section_locate(const struct mail_summary *s, const struct mail_section *section,
                               struct mail_range *range_r, struct cq_err *err)
{
    struct place p;
    mail_summary_parts_init(&p.iter, s);
    bool found = find(&p, section);
    if (p.iter.corrupt)
        return CQ_FAIL(err, CQ_E_CORRUPT, "summary: part table");
    if (!found)
        return CQ_FAIL(err, CQ_E_NOT_FOUND, "the message has no such section");
    uint64_t from = p.part.body_off, to = p.part.end_off;
    if (section->what == MAIL_SECTION_ALL && section->path_len == 0) {
        from = 0;
        to = s->size;
    } else if (section->what != MAIL_SECTION_ALL && section->what != MAIL_SECTION_TEXT) {
        from = p.part.header_off;
        to = p.part.body_off;
    }
    *range_r = (struct mail_range){from, to - from, has_fields(section->what), p.part.encoding};
    apply_partial(section, range_r);
    return CQ_OK;
}

void mail_section_filter(const struct mail_section *section, struct cq_slice header, struct cq_buf *out)
{
    size_t start = out->len;
    mail_header_filter(header, section->fields, section->field_count, section->what == MAIL_SECTION_HEADER_FIELDS_NOT,
                       out);
    if (!section->partial)
        return;
    struct cq_slice all = cq_slice_of(out->data + start, out->len - start);
    uint64_t from = section->offset < all.len ? section->offset : all.len;
    uint64_t len = all.len - from < section->length ? all.len - from : section->length;
    if (len)
        memmove(out->data + start, out->data + start + from, len);
    out->len = start + len;
}
