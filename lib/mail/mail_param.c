#include "mail/mail_param.h"

#include "mail/mail_charset.h"
#include "mail/mail_word.h"
#include "mail_lex_private.h"

#include "base/cq_assert.h"

#define SECTION_MAX 1000000u

struct parser {
    struct cq_slice in;
    size_t at;
    struct cq_pool *pool;
};

static uint8_t peek(const struct parser *p)
{
    return p->at < p->in.len ? p->in.data[p->at] : 0;
}

static void skip_cfws(struct parser *p)
{
    p->at = mail_lex_cfws(p->in, p->at, NULL);
}

/* Octets up to a blank or one of `stops`. */
static struct cq_slice take_until(struct parser *p, const char *stops)
{
    size_t from = p->at;
    while (p->at < p->in.len && !mail_lex_is_blank(p->in.data[p->at]) && !strchr(stops, p->in.data[p->at]))
        p->at++;
    return cq_slice_sub(p->in, from, p->at - from);
}

/* "filename*1*" is base "filename", section 1, extended (RFC 2231 3 and 4). */
static void split_name(struct mail_param *param)
{
    struct cq_slice name = param->name, tail;
    uint64_t section;
    param->base = name;
    size_t star = cq_slice_find(name, '*');
    if (star == 0 || star == name.len)
        return;
    tail = cq_slice_skip(name, star + 1);
    if (tail.len && tail.data[tail.len - 1] == '*') {
        param->extended = true;
        tail.len--;
    } else if (tail.len == 0) {
        param->extended = true;
    }
    param->base = cq_slice_sub(name, 0, star);
    if (tail.len == 0)
        return;
    if (cq_slice_u64(tail, SECTION_MAX, &section)) {
        param->section = (uint32_t)section;
        param->continued = true;
    } else { /* not a name of RFC 2231 */
        param->base = name;
        param->extended = false;
    }
}

static struct cq_slice take_quoted(struct parser *p)
{
    struct cq_buf text;
    cq_buf_init(&text, p->in.len);
    p->at = mail_lex_quoted(p->in, p->at, &text);
    struct cq_slice value = cq_pool_slice(p->pool, cq_buf_slice(&text));
    cq_buf_fini(&text);
    return value;
}

static bool is_file_name(struct cq_slice base)
{
    return cq_slice_caseeq(base, CQ_SLICE("name")) || cq_slice_caseeq(base, CQ_SLICE("filename"));
}

/* A value without quotes. Many programs leave the quotes away around file names with blanks: those go on to the ";". */
static struct cq_slice take_bare(struct parser *p, const struct mail_param *param)
{
    struct cq_slice value = take_until(p, ";(");
    if (is_file_name(param->base)) {
        size_t from = (size_t)(value.data - p->in.data);
        p->at = from + cq_slice_find(cq_slice_skip(p->in, from), ';');
        value = cq_slice_trim(cq_slice_sub(p->in, from, p->at - from));
    }
    struct cq_buf flat;
    cq_buf_init(&flat, value.len);
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] != '\r' && value.data[i] != '\n' && value.data[i] != '\0')
            cq_buf_byte(&flat, value.data[i]);
    value = cq_pool_slice(p->pool, cq_buf_slice(&flat));
    cq_buf_fini(&flat);
    return value;
}

/* One "name=value" after a ";". False when there is none there; the place is then at the next ";" or the end. */
static bool take_param(struct parser *p, struct mail_param *param)
{
    *param = (struct mail_param){.section = 0};
    skip_cfws(p);
    param->name = take_until(p, ";=(\"");
    skip_cfws(p);
    if (param->name.len == 0 || peek(p) != '=')
        return false;
    param->name = cq_pool_slice(p->pool, param->name);
    split_name(param);
    p->at++;
    skip_cfws(p);
    param->value = peek(p) == '"' ? take_quoted(p) : take_bare(p, param);
    return true;
}

/* To the next ";" that is not in quotes or a comment. False at the end. */
static bool next_separator(struct parser *p)
{
    for (skip_cfws(p); p->at < p->in.len; skip_cfws(p)) {
        uint8_t c = peek(p);
        if (c == '"') {
            p->at = mail_lex_quoted(p->in, p->at, NULL);
            continue;
        }
        p->at++;
        if (c == ';')
            return true;
    }
    return false;
}

static void take_type(struct parser *p, bool has_subtype, struct mail_params *params)
{
    skip_cfws(p);
    struct cq_slice type = take_until(p, has_subtype ? "/;(=" : ";(="), subtype = CQ_SLICE_NONE;
    skip_cfws(p);
    if (has_subtype && peek(p) == '/') {
        p->at++;
        skip_cfws(p);
        subtype = take_until(p, ";(=,/");
    }
    if (has_subtype && (type.len == 0 || subtype.len == 0))
        return;
    params->type = cq_pool_slice(p->pool, type);
    params->subtype = cq_pool_slice(p->pool, subtype);
}

void mail_params_parse(struct cq_slice value, bool has_subtype, uint32_t limit, struct cq_pool *pool,
                       struct mail_params *params_r)
{
    struct parser p = {.in = value, .pool = pool};
    uint32_t room = 0;
    struct mail_param param;
    *params_r = (struct mail_params){.count = 0};
    take_type(&p, has_subtype, params_r);
    while (next_separator(&p)) {
        if (!take_param(&p, &param))
            continue;
        if (params_r->count == limit) {
            params_r->cut = true;
            return;
        }
        if (params_r->count == room) { /* doubled, so that all the copies together cost no more than the list */
            struct mail_param *list = cq_pool_calloc(pool, room ? 2 * room : 4, sizeof *list);
            if (room)
                memcpy(list, params_r->list, room * sizeof *list);
            params_r->list = list;
            room = room ? 2 * room : 4;
        }
        params_r->list[params_r->count++] = param;
    }
}

/* ---- RFC 2231 ---- */

static bool attribute_char(uint8_t c)
{
    return c > 32 && c < 127 && !strchr("*'%()<>@,;:\\\"/[]?=", c);
}

static void percent_encode(struct cq_slice s, struct cq_buf *out)
{
    for (size_t i = 0; i < s.len; i++) {
        if (attribute_char(s.data[i]))
            cq_buf_byte(out, s.data[i]);
        else
            cq_buf_printf(out, "%%%02X", s.data[i]);
    }
}

void mail_param_encode(struct cq_slice utf8, struct cq_buf *out)
{
    cq_buf_cstr(out, "utf-8''");
    percent_encode(utf8, out);
}

static void percent_decode(struct cq_slice s, struct cq_buf *out)
{
    for (size_t i = 0; i < s.len; i++) {
        bool code =
            s.data[i] == '%' && s.len - i > 2 && mail_lex_hex(s.data[i + 1]) >= 0 && mail_lex_hex(s.data[i + 2]) >= 0;
        uint8_t c = s.data[i];
        if (code)
            c = (uint8_t)(mail_lex_hex(s.data[i + 1]) << 4 | mail_lex_hex(s.data[i + 2]));
        cq_buf_byte(out, c);
        i += code ? 2 : 0;
    }
}

static const struct mail_param *find_section(const struct mail_params *params, struct cq_slice base, uint32_t section)
{
    for (uint32_t i = 0; i < params->count; i++) {
        const struct mail_param *p = &params->list[i];
        if (p->continued && p->section == section && cq_slice_caseeq(p->base, base))
            return p;
    }
    return NULL;
}

/* The sections 0, 1, ... of a parameter up to the first that is missing. */
struct sections {
    const struct mail_param *list[128];
    uint32_t count;
    bool extended; /* one of them is */
};

static void gather_sections(const struct mail_params *params, struct cq_slice base, struct sections *s)
{
    const struct mail_param *p;
    s->count = 0;
    s->extended = false;
    while (s->count < sizeof s->list / sizeof *s->list && (p = find_section(params, base, s->count)) != NULL) {
        s->list[s->count++] = p;
        s->extended |= p->extended;
    }
}

/* charset'language'text. Without both apostrophes it is all text. */
static struct cq_slice cut_charset(struct cq_slice *value)
{
    struct cq_slice rest = *value;
    size_t first = cq_slice_find(rest, '\'');
    size_t second = first < rest.len ? first + 1 + cq_slice_find(cq_slice_skip(rest, first + 1), '\'') : rest.len;
    if (second >= rest.len)
        return CQ_SLICE_NONE;
    *value = cq_slice_skip(rest, second + 1);
    return cq_slice_sub(rest, 0, first);
}

static void add_joined(const struct sections *s, struct cq_buf *out)
{
    for (uint32_t i = 0; i < s->count; i++) {
        if (!s->extended) {
            cq_buf_slice_add(out, s->list[i]->value);
            continue;
        }
        if (i == 0 && !s->list[0]->extended)
            cq_buf_cstr(out, "''"); /* a later section is encoded: no charset was given */
        if (s->list[i]->extended)
            cq_buf_slice_add(out, s->list[i]->value);
        else
            percent_encode(s->list[i]->value, out);
    }
}

static bool seen_before(const struct mail_params *params, uint32_t i)
{
    const struct mail_param *p = &params->list[i];
    for (uint32_t k = 0; k < i; k++) {
        const struct mail_param *q = &params->list[k];
        if (p->continued == q->continued && (p->continued || p->extended == q->extended) &&
            cq_slice_caseeq(p->base, q->base))
            return true;
    }
    return false;
}

struct mail_joined_param *mail_params_join(const struct mail_params *params, struct cq_pool *pool, uint32_t *count_r)
{
    struct mail_joined_param *list = cq_pool_calloc(pool, params->count + 1, sizeof *list);
    uint32_t n = 0;
    for (uint32_t i = 0; i < params->count; i++) {
        const struct mail_param *p = &params->list[i];
        struct sections sections;
        if (p->continued && !find_section(params, p->base, 0)) { /* its beginning is missing: shown as it is */
            list[n++] = (struct mail_joined_param){p->name, p->value, false};
            continue;
        }
        if (seen_before(params, i))
            continue;
        if (!p->continued) {
            list[n++] = (struct mail_joined_param){p->name, p->value, p->extended};
            continue;
        }
        gather_sections(params, p->base, &sections);
        struct cq_buf value;
        cq_buf_init(&value, SIZE_MAX / 2);
        add_joined(&sections, &value);
        struct cq_slice name = p->base;
        if (sections.extended)
            name = cq_slice_cstr(cq_pool_printf(pool, "%.*s*", CQ_SLICE_ARG(p->base)));
        list[n++] = (struct mail_joined_param){name, cq_pool_slice(pool, cq_buf_slice(&value)), sections.extended};
        cq_buf_fini(&value);
    }
    *count_r = n;
    return list;
}

static const struct mail_param *find_single(const struct mail_params *params, struct cq_slice name, bool extended)
{
    for (uint32_t i = 0; i < params->count; i++) {
        const struct mail_param *p = &params->list[i];
        if (!p->continued && p->extended == extended && cq_slice_caseeq(p->base, name))
            return p;
    }
    return NULL;
}

/* The raw octets of a parameter with percent codes resolved; *charset_r: what RFC 2231 said, or empty. `plain_r`: it
 * was a plain value, without RFC 2231. */
static bool gather_octets(const struct mail_params *params, struct cq_slice name, struct cq_buf *octets,
                          struct cq_slice *charset_r, bool *plain_r)
{
    struct sections s;
    const struct mail_param *single = find_single(params, name, true);
    *charset_r = CQ_SLICE_NONE;
    *plain_r = false;
    gather_sections(params, name, &s);
    if (single) {
        s.list[0] = single;
        s.count = 1;
    }
    for (uint32_t i = 0; i < s.count; i++) {
        struct cq_slice value = s.list[i]->value;
        if (i == 0 && s.list[0]->extended)
            *charset_r = cut_charset(&value);
        if (s.list[i]->extended)
            percent_decode(value, octets);
        else
            cq_buf_slice_add(octets, value);
    }
    if (s.count == 0) {
        single = find_single(params, name, false);
        if (single)
            cq_buf_slice_add(octets, single->value);
        *plain_r = true;
    }
    return s.count || single;
}

bool mail_params_get(const struct mail_params *params, struct cq_slice name, struct cq_buf *out)
{
    struct cq_slice charset;
    struct cq_buf octets;
    bool plain;
    cq_buf_init(&octets, SIZE_MAX / 2);
    bool found = gather_octets(params, name, &octets, &charset, &plain);
    if (found && charset.len && mail_charset_known(charset)) {
        struct mail_charset *cs = mail_charset_new(charset);
        mail_charset_decode(cs, cq_buf_slice(&octets), out);
        mail_charset_finish(cs, out);
        mail_charset_free(&cs);
    } else if (found && !plain) {
        mail_utf8_clean(cq_buf_slice(&octets), out);
    } else if (found) {
        mail_word_decode(cq_buf_slice(&octets), out);
    }
    cq_buf_fini(&octets);
    return found;
}

bool mail_params_raw(const struct mail_params *params, struct cq_slice name, struct cq_pool *pool,
                     struct cq_slice *value_r)
{
    struct cq_slice charset;
    struct cq_buf octets;
    bool plain;
    const struct mail_param *single = find_single(params, name, false);
    if (single) { /* the usual case, without a copy */
        *value_r = single->value;
        return true;
    }
    cq_buf_init(&octets, SIZE_MAX / 2);
    bool found = gather_octets(params, name, &octets, &charset, &plain);
    *value_r = cq_pool_slice(pool, cq_buf_slice(&octets));
    cq_buf_fini(&octets);
    return found;
}
