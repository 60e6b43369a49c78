#include "imap/imap_flags.h"

#include "imap/imap_limits.h"

static const struct {
    const char *name;
    uint8_t flag;
} system_flags[] = {
    {"\\Answered", IMAP_ANSWERED}, {"\\Flagged", IMAP_FLAGGED}, {"\\Deleted", IMAP_DELETED},
    {"\\Seen", IMAP_SEEN},         {"\\Draft", IMAP_DRAFT},     {"\\Recent", IMAP_RECENT},
};
#define SYSTEM_FLAGS (sizeof system_flags / sizeof *system_flags)

static bool parse_system_flag(struct imap_parser *p, uint8_t *flags)
{
    for (size_t i = 0; i < SYSTEM_FLAGS; i++) {
        if (imap_try_word(p, system_flags[i].name)) {
            *flags |= system_flags[i].flag;
            return true;
        }
    }
    return imap_expected(p, "Unknown system flag");
}

bool imap_parse_keyword(struct imap_parser *p, struct cq_slice *keyword_r)
{
    if (!imap_parse_atom(p, keyword_r))
        return imap_expected(p, "Expected a flag");
    return keyword_r->len <= IMAP_KEYWORD_MAX || imap_expected(p, "Keyword too long");
}

static bool has_keyword(const struct imap_flags *flags, struct cq_slice keyword)
{
    for (size_t i = 0; i < flags->keyword_count; i++)
        if (cq_slice_caseeq(flags->keywords[i], keyword))
            return true;
    return false;
}

static bool add_keyword(struct imap_parser *p, struct imap_flags *flags)
{
    struct cq_slice keyword;
    if (!imap_parse_keyword(p, &keyword))
        return false;
    if (has_keyword(flags, keyword))
        return true;
    if (flags->keyword_count == IMAP_KEYWORDS_MAX)
        return imap_expected(p, "Too many keywords");
    if (flags->keyword_count % 16 == 0) {
        struct cq_slice *more = cq_pool_alloc(p->pool, (flags->keyword_count + 16) * sizeof *more);
        if (flags->keyword_count)
            memcpy(more, flags->keywords, flags->keyword_count * sizeof *more);
        flags->keywords = more;
    }
    flags->keywords[flags->keyword_count++] = keyword;
    return true;
}

static bool parse_flag(struct imap_parser *p, struct imap_flags *flags)
{
    return imap_peek(p, '\\') ? parse_system_flag(p, &flags->system) : add_keyword(p, flags);
}

static bool parse_flags(struct imap_parser *p, struct imap_flags *flags)
{
    do {
        if (!parse_flag(p, flags))
            return false;
    } while (imap_try_byte(p, ' '));
    flags->system &= (uint8_t)~IMAP_RECENT;
    return true;
}

bool imap_parse_flag_list(struct imap_parser *p, struct imap_flags *flags_r)
{
    *flags_r = (struct imap_flags){0};
    if (!imap_parse_byte(p, '(', "Expected a list of flags"))
        return false;
    if (imap_try_byte(p, ')'))
        return true;
    return parse_flags(p, flags_r) && imap_parse_byte(p, ')', "Expected the end of the flags");
}

bool imap_parse_store_flags(struct imap_parser *p, struct imap_flags *flags_r)
{
    if (imap_peek(p, '('))
        return imap_parse_flag_list(p, flags_r);
    *flags_r = (struct imap_flags){0};
    return parse_flags(p, flags_r);
}

bool imap_write_system_flags(struct cq_buf *out, uint8_t flags, bool first)
{
    bool any = false;
    for (size_t i = 0; i < SYSTEM_FLAGS; i++) {
        if (!(flags & system_flags[i].flag))
            continue;
        if (any || !first)
            cq_buf_byte(out, ' ');
        cq_buf_cstr(out, system_flags[i].name);
        any = true;
    }
    return any;
}
