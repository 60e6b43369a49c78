#include "imap/imap_response.h"

#include "imap/imap_parse.h"

struct imap_reader_limits imap_response_limits(size_t max)
{
    uint32_t literal = max < UINT32_MAX ? (uint32_t)max : UINT32_MAX;
    return (struct imap_reader_limits){.command_max = max,
                                       .authenticate_max = max,
                                       .literal_max = literal,
                                       .literal_plus_max = literal,
                                       .swallow_max = 0};
}

/* ---- Values ---- */

struct build {
    struct imap_value *values;
    size_t count, cap;
    size_t open[IMAP_RESPONSE_DEPTH_MAX]; /* lists that have not ended */
    size_t depth;
};

static bool add_value(struct imap_parser *p, struct build *b, enum imap_value_type type, struct cq_slice text)
{
    if (b->count == IMAP_RESPONSE_NODES_MAX)
        return imap_expected(p, "too many values");
    if (b->count == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 16;
        struct imap_value *more = cq_pool_alloc(p->pool, b->cap * sizeof *more);
        if (b->count)
            memcpy(more, b->values, b->count * sizeof *more);
        b->values = more;
    }
    if (b->depth)
        b->values[b->open[b->depth - 1]].count++;
    b->values[b->count++] = (struct imap_value){.type = type, .text = text, .total = 1};
    return true;
}

static bool open_list(struct imap_parser *p, struct build *b)
{
    if (b->depth == IMAP_RESPONSE_DEPTH_MAX)
        return imap_expected(p, "nested too deep");
    if (!add_value(p, b, IMAP_LIST, CQ_SLICE_NONE))
        return false;
    b->open[b->depth++] = b->count - 1;
    return true;
}

static bool close_list(struct imap_parser *p, struct build *b)
{
    if (b->depth == 0)
        return imap_expected(p, "a parenthesis too many");
    size_t list = b->open[--b->depth];
    b->values[list].total = (uint32_t)(b->count - list);
    return true;
}

/* Inside BODY[...]: up to the bracket's end, quoted strings apart. */
static bool skip_section(struct imap_parser *p)
{
    bool quoted = false;
    for (; p->at < p->end; p->at++) {
        if (quoted && *p->at == '\\' && p->at + 1 < p->end)
            p->at++;
        else if (*p->at == '"')
            quoted = !quoted;
        else if (*p->at == ']' && !quoted)
            return true;
    }
    return imap_expected(p, "section without end");
}

static bool is_response_atom(uint8_t c)
{
    return c > 0x20 && c != 0x7f && !strchr("(){\"", c);
}

static bool parse_atom(struct imap_parser *p, struct build *b)
{
    const uint8_t *from = p->at;
    for (; p->at < p->end && is_response_atom(*p->at); p->at++)
        if (*p->at == '[' && !skip_section(p))
            return false;
    struct cq_slice atom = cq_slice_of(from, (size_t)(p->at - from));
    if (atom.len == 0)
        return imap_expected(p, "expected a value");
    return add_value(p, b, cq_slice_caseeq(atom, CQ_SLICE("NIL")) ? IMAP_NIL : IMAP_ATOM, atom);
}

static bool parse_value(struct imap_parser *p, struct build *b)
{
    struct cq_slice string;
    if (imap_try_byte(p, '('))
        return open_list(p, b);
    if (!imap_peek(p, '"') && !imap_peek(p, '{'))
        return parse_atom(p, b);
    return imap_parse_string(p, &string) && add_value(p, b, IMAP_STRING, string);
}

/* Servers write ")(" between body parts, so the space between values is optional. */
static bool parse_values(struct imap_parser *p, struct build *b)
{
    while (!imap_at_end(p)) {
        if (imap_try_byte(p, ' '))
            continue;
        if (imap_try_byte(p, ')') ? !close_list(p, b) : !parse_value(p, b))
            return false;
    }
    return b->depth == 0 || imap_expected(p, "a list without end");
}

/* ---- Responses ---- */

static enum imap_status parse_status(struct imap_parser *p)
{
    static const struct {
        const char *name;
        enum imap_status status;
    } rows[] = {{"OK", IMAP_OK}, {"NO", IMAP_NO}, {"BAD", IMAP_BAD}, {"BYE", IMAP_BYE}, {"PREAUTH", IMAP_PREAUTH}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (imap_try_word(p, rows[i].name))
            return rows[i].status;
    return IMAP_NO_STATUS;
}

/* resp-text: ["[" code "]" SP] text */
static bool parse_text(struct imap_parser *p, struct imap_response *r)
{
    imap_try_byte(p, ' ');
    if (imap_try_byte(p, '[')) {
        const uint8_t *from = p->at;
        if (!skip_section(p))
            return false;
        r->code = cq_slice_of(from, (size_t)(p->at++ - from));
        imap_try_byte(p, ' ');
    }
    r->text = imap_rest(p);
    return true;
}

static bool parse_data(struct imap_parser *p, struct imap_response *r)
{
    struct build b = {0};
    if (!imap_at_end(p) && cq_ascii_digit(*p->at)) {
        r->has_number = true;
        if (!imap_parse_u32(p, &r->number) || !imap_parse_sp(p))
            return false;
    }
    if (!imap_parse_atom(p, &r->name) || !parse_values(p, &b))
        return false;
    r->values = b.values;
    r->value_count = b.count;
    return true;
}

static bool parse_response(struct imap_parser *p, struct imap_response *r)
{
    if (imap_try_byte(p, '+')) {
        r->kind = IMAP_CONTINUATION;
        return parse_text(p, r);
    }
    r->kind = imap_try_byte(p, '*') ? IMAP_UNTAGGED : IMAP_TAGGED;
    if (r->kind == IMAP_TAGGED && !imap_parse_tag(p, &r->tag))
        return false;
    if (!imap_parse_sp(p))
        return false;
    r->status = parse_status(p);
    if (r->status)
        return parse_text(p, r);
    return r->kind == IMAP_UNTAGGED ? parse_data(p, r) : imap_expected(p, "expected OK, NO or BAD");
}

enum cq_rc imap_response_parse(struct cq_slice text, struct cq_pool *pool, struct imap_response *response_r,
                               struct cq_err *err)
{
    struct imap_parser p;
    *response_r = (struct imap_response){0};
    imap_parser_init(&p, text, pool);
    if (parse_response(&p, response_r))
        return CQ_OK;
    return CQ_FAIL(err, CQ_E_PROTO, "response: %s", p.problem);
}

const struct imap_value *imap_value_member(const struct imap_value *list, size_t i)
{
    if (!list || list->type != IMAP_LIST || i >= list->count)
        return NULL;
    const struct imap_value *v = list + 1;
    while (i--)
        v += v->total;
    return v;
}

const struct imap_value *imap_value_lookup(const struct imap_value *list, const char *name)
{
    if (!list || list->type != IMAP_LIST)
        return NULL;
    const struct imap_value *v = list + 1;
    for (size_t i = 0; i + 1 < list->count; i += 2) {
        const struct imap_value *value = v + v->total;
        if (v->type == IMAP_ATOM && cq_slice_caseeq(v->text, cq_slice_cstr(name)))
            return value;
        v = value + value->total;
    }
    return NULL;
}
