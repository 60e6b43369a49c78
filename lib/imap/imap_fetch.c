#include "imap/imap_fetch.h"

#include "imap/imap_limits.h"
#include "imap/imap_write.h"

static const struct {
    const char *name;
    enum imap_fetch_kind kind;
} simple_items[] = {
    {"FLAGS", IMAP_FETCH_FLAGS},      {"UID", IMAP_FETCH_UID},           {"INTERNALDATE", IMAP_FETCH_INTERNALDATE},
    {"RFC822.SIZE", IMAP_FETCH_SIZE}, {"ENVELOPE", IMAP_FETCH_ENVELOPE}, {"BODYSTRUCTURE", IMAP_FETCH_BODYSTRUCTURE},
    {"MODSEQ", IMAP_FETCH_MODSEQ},
};

static const struct {
    const char *name;
    uint32_t kinds[6];
} macros[] = {
    {"ALL", {IMAP_FETCH_FLAGS, IMAP_FETCH_INTERNALDATE, IMAP_FETCH_SIZE, IMAP_FETCH_ENVELOPE}},
    {"FULL", {IMAP_FETCH_FLAGS, IMAP_FETCH_INTERNALDATE, IMAP_FETCH_SIZE, IMAP_FETCH_ENVELOPE, IMAP_FETCH_STRUCTURE}},
    {"FAST", {IMAP_FETCH_FLAGS, IMAP_FETCH_INTERNALDATE, IMAP_FETCH_SIZE}},
};

/* The three old names are sections under another name (RFC 3501 6.4.5). Longest first. */
static const struct {
    const char *name;
    enum imap_section_text text;
    bool peek;
} rfc822_items[] = {
    {"RFC822.HEADER", IMAP_SECTION_HEADER, true},
    {"RFC822.TEXT", IMAP_SECTION_TEXT, false},
    {"RFC822", IMAP_SECTION_ALL, false},
};

static const struct {
    const char *name;
    enum imap_section_text text;
} section_texts[] = {
    {"HEADER.FIELDS.NOT", IMAP_SECTION_FIELDS_NOT},
    {"HEADER.FIELDS", IMAP_SECTION_FIELDS},
    {"HEADER", IMAP_SECTION_HEADER},
    {"TEXT", IMAP_SECTION_TEXT},
    {"MIME", IMAP_SECTION_MIME},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- Sections ---- */

static bool parse_field_names(struct imap_parser *p, struct imap_section *section)
{
    if (!imap_parse_sp(p) || !imap_parse_byte(p, '(', "Expected a list of header names"))
        return false;
    size_t cap = 8;
    section->fields = cq_pool_alloc(p->pool, cap * sizeof *section->fields);
    do {
        if (section->field_count == IMAP_FETCH_FIELDS_MAX)
            return imap_expected(p, "Too many header names");
        if (section->field_count == cap) {
            struct cq_slice *more = cq_pool_alloc(p->pool, cap * 2 * sizeof *more);
            memcpy(more, section->fields, cap * sizeof *more);
            section->fields = more;
            cap *= 2;
        }
        struct cq_slice *name = &section->fields[section->field_count++];
        if (!imap_parse_astring(p, name))
            return imap_expected(p, "Expected a header name");
        if (name->len == 0)
            return imap_expected(p, "Empty header name");
    } while (imap_try_byte(p, ' '));
    return imap_parse_byte(p, ')', "Expected the end of the header names");
}

static bool parse_section_text(struct imap_parser *p, struct imap_section *section)
{
    for (size_t i = 0; i < COUNT(section_texts); i++) {
        if (!imap_try_text(p, section_texts[i].name))
            continue;
        section->text = section_texts[i].text;
        if (section->text == IMAP_SECTION_MIME && section->part_count == 0)
            return imap_expected(p, "MIME needs a part number");
        bool fields = section->text == IMAP_SECTION_FIELDS || section->text == IMAP_SECTION_FIELDS_NOT;
        return !fields || parse_field_names(p, section);
    }
    return imap_expected(p, "Unknown section");
}

/* 1.2.3 with what may follow a dot left for the caller. *text_r: a section text must come next. */
static bool parse_part(struct imap_parser *p, struct imap_section *section, bool *text_r)
{
    uint32_t part[IMAP_SECTION_DEPTH_MAX];
    *text_r = true;
    while (!imap_at_end(p) && cq_ascii_digit(*p->at)) {
        if (section->part_count == IMAP_SECTION_DEPTH_MAX)
            return imap_expected(p, "Section too deep");
        uint32_t *number = &part[section->part_count++];
        if (!imap_parse_u32(p, number) || *number == 0)
            return imap_expected(p, "Expected a part number");
        *text_r = imap_try_byte(p, '.');
        if (!*text_r)
            break;
    }
    section->part = cq_pool_dup(p->pool, part, section->part_count * sizeof *part);
    return true;
}

static bool parse_section(struct imap_parser *p, struct imap_section *section)
{
    bool text;
    if (!imap_parse_byte(p, '[', "Expected a section"))
        return false;
    if (imap_try_byte(p, ']'))
        return true;
    if (!parse_part(p, section, &text) || (text && !parse_section_text(p, section)))
        return false;
    return imap_parse_byte(p, ']', "Expected the end of the section");
}

static bool parse_partial(struct imap_parser *p, struct imap_fetch_item *item)
{
    item->partial = imap_try_byte(p, '<');
    if (!item->partial)
        return true;
    bool ok = imap_parse_u32(p, &item->offset) && imap_try_byte(p, '.') && imap_parse_u32(p, &item->length) &&
              item->length > 0 && imap_try_byte(p, '>');
    return ok || imap_expected(p, "Expected a partial range like <0.1000>");
}

/* ---- Items ---- */

/* One item by name; the cursor is behind it. */
static bool parse_item(struct imap_parser *p, struct imap_fetch_item *item)
{
    *item = (struct imap_fetch_item){0};
    for (size_t i = 0; i < COUNT(simple_items); i++) {
        if (imap_try_word(p, simple_items[i].name)) {
            item->kind = simple_items[i].kind;
            return true;
        }
    }
    for (size_t i = 0; i < COUNT(rfc822_items); i++) {
        if (imap_try_word(p, rfc822_items[i].name)) {
            item->kind = IMAP_FETCH_OCTETS;
            item->rfc822 = rfc822_items[i].name;
            item->section.text = rfc822_items[i].text;
            item->peek = rfc822_items[i].peek;
            return true;
        }
    }
    item->peek = imap_try_text(p, "BODY.PEEK");
    if (!item->peek && !imap_try_text(p, "BODY"))
        return imap_expected(p, "Unknown FETCH item");
    item->kind = IMAP_FETCH_OCTETS;
    if (item->peek || imap_peek(p, '['))
        return parse_section(p, &item->section) && parse_partial(p, item);
    item->kind = IMAP_FETCH_STRUCTURE;
    return imap_at_end(p) || !imap_is_atom_char(*p->at) || imap_expected(p, "Unknown FETCH item");
}

static bool add_item(struct imap_parser *p, struct imap_fetch *fetch, const struct imap_fetch_item *item)
{
    if (item->kind != IMAP_FETCH_OCTETS && fetch->kinds & item->kind)
        return true;
    if (fetch->count == IMAP_FETCH_ITEMS_MAX)
        return imap_expected(p, "Too many FETCH items");
    if (fetch->count % 8 == 0) {
        struct imap_fetch_item *more = cq_pool_alloc(p->pool, (fetch->count + 8) * sizeof *more);
        if (fetch->count)
            memcpy(more, fetch->items, fetch->count * sizeof *more);
        fetch->items = more;
    }
    fetch->items[fetch->count++] = *item;
    fetch->kinds |= item->kind;
    fetch->sets_seen |= item->kind == IMAP_FETCH_OCTETS && !item->peek;
    return true;
}

static bool try_macro(struct imap_parser *p, struct imap_fetch *fetch)
{
    for (size_t i = 0; i < COUNT(macros); i++) {
        if (!imap_try_word(p, macros[i].name))
            continue;
        for (const uint32_t *kind = macros[i].kinds; *kind; kind++)
            add_item(p, fetch, &(struct imap_fetch_item){.kind = (enum imap_fetch_kind) * kind});
        return true;
    }
    return false;
}

static bool parse_one(struct imap_parser *p, struct imap_fetch *fetch)
{
    struct imap_fetch_item item;
    return parse_item(p, &item) && add_item(p, fetch, &item);
}

static bool parse_items(struct imap_parser *p, struct imap_fetch *fetch)
{
    if (!imap_try_byte(p, '('))
        return try_macro(p, fetch) || parse_one(p, fetch);
    do {
        if (!parse_one(p, fetch))
            return false;
    } while (imap_try_byte(p, ' '));
    return imap_parse_byte(p, ')', "Expected the end of the FETCH items");
}

static bool parse_modifiers(struct imap_parser *p, struct imap_fetch *fetch)
{
    if (!imap_try_byte(p, ' '))
        return true;
    if (!imap_parse_byte(p, '(', "Expected FETCH modifiers") || !imap_try_word(p, "CHANGEDSINCE"))
        return imap_expected(p, "Unknown FETCH modifier");
    if (!imap_parse_sp(p) || !imap_parse_number(p, INT64_MAX, &fetch->changed_since))
        return imap_expected(p, "Expected a mod-sequence");
    fetch->has_changed_since = true;
    return imap_parse_byte(p, ')', "Expected the end of the FETCH modifiers");
}

bool imap_parse_fetch(struct imap_parser *p, struct imap_fetch *fetch_r)
{
    *fetch_r = (struct imap_fetch){0};
    return parse_items(p, fetch_r) && parse_modifiers(p, fetch_r);
}

/* ---- Writing ---- */

static void write_section(struct cq_buf *out, const struct imap_section *section)
{
    for (size_t i = 0; i < section->part_count; i++)
        cq_buf_printf(out, i ? ".%u" : "%u", section->part[i]);
    if (section->text == IMAP_SECTION_ALL)
        return;
    if (section->part_count)
        cq_buf_byte(out, '.');
    for (size_t i = 0; i < COUNT(section_texts); i++)
        if (section_texts[i].text == section->text)
            cq_buf_cstr(out, section_texts[i].name);
    for (size_t i = 0; i < section->field_count; i++) {
        cq_buf_cstr(out, i ? " " : " (");
        imap_write_astring(out, section->fields[i]);
    }
    if (section->field_count)
        cq_buf_byte(out, ')');
}

bool imap_write_fetch_name(struct cq_buf *out, const struct imap_fetch_item *item)
{
    if (item->rfc822)
        return cq_buf_cstr(out, item->rfc822);
    cq_buf_cstr(out, "BODY[");
    write_section(out, &item->section);
    cq_buf_byte(out, ']');
    if (item->partial)
        cq_buf_printf(out, "<%u>", item->offset);
    return cq_buf_ok(out);
}
