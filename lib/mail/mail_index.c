#include "mail/mail_index.h"

#include "mail/mail_header.h"
#include "mail/mail_word.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"

#include <stdlib.h>
#include <xxhash.h>

/* What is judged of a line: a boundary line (with its padding and line end) is not longer, a field's colon stands in
 * it. */
#define HEAD_MAX 1024
#define POOL_BLOCK 4096
#define FIRST_PARTS 8
#define TYPE_MAX 127 /* octets of a type or subtype, RFC 6838 4.2 */

_Static_assert(HEAD_MAX >= MAIL_BOUNDARY_MAX + 6 && HEAD_MAX >= MAIL_HEADER_NAME_MAX,
               "a line's head holds what is judged");

enum state {
    IN_HEADER,
    IN_LEAF,   /* the body of a part without children */
    IN_BETWEEN /* before the first part of a multipart, or after its last */
};

/* A multipart whose boundary is looked for. */
struct open {
    uint32_t part;
    bool digest;
    XXH64_hash_t hash;
    struct cq_slice boundary;
};

struct mail_index {
    struct mail_parse_limits limits;
    struct mail_index_observer observer;
    struct cq_pool *pool;
    struct mail_part *parts;
    uint32_t part_count, part_room;
    struct open *open; /* limits.depth + 1 of them */
    uint32_t open_count;
    uint32_t current; /* the innermost part that is not ended */
    enum state state;

    uint64_t pos;      /* octets dealt with */
    uint64_t lines;    /* LFs among them */
    uint64_t line_off; /* where the present line starts */
    unsigned line_end; /* octets of the line end before it: 0 at the very beginning */
    uint8_t last;      /* the octet before pos */
    bool in_line;      /* in the middle of a line whose head has been judged */
    uint8_t head[HEAD_MAX];
    size_t head_len; /* of the present line's head, when it came in pieces */

    bool in_field; /* lines that start with a blank continue a field; `keep`: one that we keep */
    bool keep, field_cut;
    enum mail_field_id field_id;
    uint64_t field_off;
    struct cq_buf field;

    size_t kept; /* octets of memory for header fields */
    uint32_t received;
    bool has_8bit, has_nul, cut, finished;
};

static const struct {
    const char *name;
    uint8_t len;
} FIELDS[MAIL_FIELD_COUNT] = {
#define FIELD_ROW(id, name) {name, sizeof name - 1},
    MAIL_FIELDS(FIELD_ROW)
#undef FIELD_ROW
};

struct mail_index *mail_index_new(const struct mail_parse_limits *limits, const struct mail_index_observer *observer)
{
    struct mail_index *ix = cq_new(struct mail_index);
    ix->limits = mail_parse_limits_clamp(limits);
    if (observer)
        ix->observer = *observer;
    ix->pool = cq_pool_new(POOL_BLOCK);
    ix->open = cq_calloc(ix->limits.depth + 1, sizeof *ix->open);
    cq_buf_init(&ix->field, ix->limits.field_octets);
    mail_index_clear(ix);
    return ix;
}

void mail_index_free(struct mail_index **index)
{
    struct mail_index *ix = *index;
    if (!ix)
        return;
    cq_pool_free(&ix->pool);
    cq_buf_fini(&ix->field);
    free(ix->parts);
    free(ix->open);
    free(ix);
    *index = NULL;
}

/* ---- fields ---- */

static bool kept_of(const struct mail_part *part, enum mail_field_id id)
{
    if (id < MAIL_FIELD_MESSAGE_ID)
        return true;
    return id < MAIL_FIELD_DELIVERED_TO ? part->is_message : part->parent == MAIL_PART_NONE;
}

/* MAIL_FIELD_COUNT for a name that is not in the list. */
static enum mail_field_id field_id(struct cq_slice name)
{
    for (unsigned i = 0; i < MAIL_FIELD_COUNT; i++)
        if (name.len == FIELDS[i].len && (name.data[0] | 32) == (FIELDS[i].name[0] | 32) &&
            cq_slice_caseeq(name, cq_slice_of(FIELDS[i].name, FIELDS[i].len)))
            return (enum mail_field_id)i;
    return MAIL_FIELD_COUNT;
}

static void field_add(struct mail_index *ix, struct cq_slice octets)
{
    size_t room = ix->field.max - ix->field.len;
    if (octets.len > room)
        ix->field_cut = ix->cut = true;
    cq_buf_slice_add(&ix->field, cq_slice_sub(octets, 0, room));
}

/* The line is the first one of a field, or one that is no field. */
static void field_begin(struct mail_index *ix, struct cq_slice line)
{
    struct mail_part *part = &ix->parts[ix->current];
    size_t value_at, name_len = mail_header_name_length(line, &value_at);
    enum mail_field_id id = name_len ? field_id(cq_slice_sub(line, 0, name_len)) : MAIL_FIELD_COUNT;
    ix->in_field = true;
    ix->keep = false;
    if (id == MAIL_FIELD_COUNT || !kept_of(part, id))
        return;
    if (id == MAIL_FIELD_RECEIVED) {
        ix->received++;
        return;
    }
    ix->keep = true;
    ix->field_id = id;
    ix->field_off = ix->line_off;
    ix->field_cut = false;
    cq_buf_reset(&ix->field, SIZE_MAX);
    field_add(ix, cq_slice_skip(line, value_at));
}

static bool may_keep(struct mail_index *ix, const struct mail_part *part, size_t octets)
{
    if (part->field_count < ix->limits.fields && octets <= ix->limits.header_octets - ix->kept)
        return true;
    ix->cut = true;
    return false;
}

static void field_end(struct mail_index *ix)
{
    struct mail_part *part = &ix->parts[ix->current];
    struct cq_slice value = cq_buf_slice(&ix->field);
    size_t cost = sizeof(struct mail_field) + value.len;
    bool keep = ix->keep;
    ix->in_field = ix->keep = false;
    if (!keep || !may_keep(ix, part, cost))
        return;
    ix->kept += cost;
    if (value.len && value.data[value.len - 1] == '\n')
        value.len -= value.len > 1 && value.data[value.len - 2] == '\r' ? 2 : 1;
    struct mail_field *field = cq_pool_new_of(ix->pool, struct mail_field);
    *field = (struct mail_field){.id = ix->field_id, .cut = ix->field_cut, .off = ix->field_off};
    field->value = cq_pool_slice(ix->pool, value);
    ix->has_8bit |= !mail_is_ascii(value);
    *(part->last_field ? &part->last_field->next : &part->fields) = field;
    part->last_field = field;
    part->field_count++;
}

/* ---- parts ---- */

/* header_lines and body_lines hold the count at their beginning until they are ended. */
static void part_begin(struct mail_index *ix, uint32_t parent, bool is_message, bool in_digest)
{
    if (ix->part_count == ix->part_room) {
        ix->part_room = ix->part_room ? 2 * ix->part_room : FIRST_PARTS;
        ix->parts = cq_realloc(ix->parts, ix->part_room * sizeof *ix->parts);
    }
    uint32_t me = ix->part_count++;
    struct mail_part *part = &ix->parts[me];
    *part = (struct mail_part){.parent = parent,
                               .first_child = MAIL_PART_NONE,
                               .last_child = MAIL_PART_NONE,
                               .next = MAIL_PART_NONE,
                               .is_message = is_message,
                               .in_digest = in_digest,
                               .header_off = ix->pos,
                               .header_lines = ix->lines};
    if (parent != MAIL_PART_NONE) {
        struct mail_part *up = &ix->parts[parent];
        part->depth = (uint16_t)(up->depth + 1);
        *(up->last_child == MAIL_PART_NONE ? &up->first_child : &ix->parts[up->last_child].next) = me;
        up->last_child = me;
        up->children++;
    }
    ix->current = me;
    ix->state = IN_HEADER;
    ix->in_field = ix->keep = false;
}

static void set_type(struct mail_part *part, enum mail_kind kind, const char *type, const char *subtype)
{
    part->kind = kind;
    part->type = cq_slice_cstr(type);
    part->subtype = cq_slice_cstr(subtype);
}

static void set_opaque(struct mail_index *ix, struct mail_part *part)
{
    set_type(part, MAIL_KIND_OTHER, "application", "octet-stream");
    part->params.count = 0;
    part->opaque = ix->cut = true;
}

/* A type that cannot be understood is plain text (RFC 2045 5.2). */
static void set_plain(struct mail_part *part)
{
    part->untyped = true;
    part->params.count = 0;
    set_type(part, MAIL_KIND_TEXT, "text", "plain");
}

static bool is_type(const struct mail_part *part, const char *type, const char *subtype)
{
    return cq_slice_caseeq(part->type, cq_slice_cstr(type)) &&
           (!subtype || cq_slice_caseeq(part->subtype, cq_slice_cstr(subtype)));
}

/* RFC 2045 5.1: no blanks, controls, 8-bit octets or specials. */
static bool is_token(struct cq_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] <= 32 || s.data[i] >= 127 || strchr("()<>@,;:\\\"/[]?=", s.data[i]))
            return false;
    return s.len > 0 && s.len <= TYPE_MAX;
}

static void parse_type(struct mail_index *ix, struct mail_part *part)
{
    const struct mail_field *field = mail_part_field(part, MAIL_FIELD_CONTENT_TYPE, NULL);
    if (field)
        mail_params_parse(field->value, true, ix->limits.params, ix->pool, &part->params);
    size_t cost = 2 * part->params.count * sizeof *part->params.list;
    ix->cut |= part->params.cut;
    if (!field && part->in_digest) { /* RFC 2046 5.1.5 */
        part->untyped = true;
        set_type(part, MAIL_KIND_MESSAGE, "message", "rfc822");
        return;
    }
    if (!is_token(part->params.type) || !is_token(part->params.subtype) || cost > ix->limits.header_octets - ix->kept) {
        set_plain(part);
        return;
    }
    ix->kept += cost;
    part->type = part->params.type;
    part->subtype = part->params.subtype;
    part->kind = is_type(part, "text", NULL)        ? MAIL_KIND_TEXT
                 : is_type(part, "multipart", NULL) ? MAIL_KIND_MULTIPART
                                                    : MAIL_KIND_OTHER;
    if (is_type(part, "message", "rfc822") || is_type(part, "message", "global"))
        part->kind = MAIL_KIND_MESSAGE;
}

static bool boundary_of(struct mail_index *ix, const struct mail_part *part, struct cq_slice *boundary_r)
{
    if (!mail_params_raw(&part->params, CQ_SLICE("boundary"), ix->pool, boundary_r))
        return false;
    while (boundary_r->len &&
           (boundary_r->data[boundary_r->len - 1] == ' ' || boundary_r->data[boundary_r->len - 1] == '\t'))
        boundary_r->len--;
    return boundary_r->len > 0;
}

/* A multipart without a boundary cannot be understood; one over a limit is not looked into. */
static void check_container(struct mail_index *ix, struct mail_part *part, struct cq_slice *boundary_r)
{
    if (part->kind != MAIL_KIND_MULTIPART && part->kind != MAIL_KIND_MESSAGE)
        return;
    if (part->kind == MAIL_KIND_MULTIPART && !boundary_of(ix, part, boundary_r))
        set_plain(part);
    else if (part->depth >= ix->limits.depth || ix->part_count >= ix->limits.parts ||
             boundary_r->len > MAIL_BOUNDARY_MAX)
        set_opaque(ix, part);
}

static void open_multipart(struct mail_index *ix, struct cq_slice boundary)
{
    struct open *open = &ix->open[ix->open_count++];
    *open = (struct open){.part = ix->current,
                          .digest = is_type(&ix->parts[ix->current], "multipart", "digest"),
                          .hash = XXH3_64bits(boundary.data, boundary.len),
                          .boundary = boundary};
    ix->state = IN_BETWEEN;
}

/* The current part's header ends at pos: what is its body? */
static void header_end(struct mail_index *ix)
{
    struct cq_slice boundary = CQ_SLICE_NONE;
    field_end(ix);
    struct mail_part *part = &ix->parts[ix->current];
    const struct mail_field *encoding = mail_part_field(part, MAIL_FIELD_CONTENT_TRANSFER_ENCODING, NULL);
    part->header_lines = ix->lines - part->header_lines;
    part->body_off = part->end_off = ix->pos;
    part->body_lines = ix->lines;
    part->encoding = mail_encoding_of(encoding ? encoding->value : CQ_SLICE_NONE);
    parse_type(ix, part);
    check_container(ix, part, &boundary);
    if (part->kind == MAIL_KIND_MULTIPART) {
        open_multipart(ix, boundary);
    } else if (part->kind == MAIL_KIND_MESSAGE) {
        part_begin(ix, ix->current, true, false);
    } else {
        ix->state = IN_LEAF;
        if (ix->observer.begin)
            ix->observer.begin(ix->observer.ctx, part);
    }
}

/* The current part ends before the line at pos, or at the message's end; its parent is the current part then. */
static void part_end(struct mail_index *ix, bool at_boundary)
{
    if (ix->state == IN_HEADER) { /* no empty line: there is no body (and perhaps one more part to end) */
        header_end(ix);
        return;
    }
    struct mail_part *part = &ix->parts[ix->current];
    bool drop_line_end = at_boundary && ix->pos > part->body_off;
    part->end_off = ix->pos - (drop_line_end ? ix->line_end : 0);
    part->body_lines = ix->lines - (drop_line_end ? 1 : 0) - part->body_lines;
    if (ix->state == IN_LEAF && ix->observer.end)
        ix->observer.end(ix->observer.ctx, part);
    if (part->kind == MAIL_KIND_MULTIPART && part->children == 0) /* its boundary never came */
        set_plain(part);
    ix->current = part->parent;
    ix->state = IN_BETWEEN;
}

/* ---- boundaries ---- */

/* The open multipart whose boundary the text is, innermost first, or open_count. */
static uint32_t find_open(const struct mail_index *ix, struct cq_slice text)
{
    XXH64_hash_t hash = XXH3_64bits(text.data, text.len);
    for (uint32_t i = ix->open_count; i-- > 0;)
        if (ix->open[i].hash == hash && cq_slice_eq(ix->open[i].boundary, text))
            return i;
    return ix->open_count;
}

/* Is the whole line, with its line end, a boundary line? *closing_r: with "--" behind the boundary. */
static bool find_boundary(const struct mail_index *ix, struct cq_slice line, uint32_t *open_r, bool *closing_r)
{
    if (ix->open_count == 0 || line.len < 3 || line.data[0] != '-' || line.data[1] != '-')
        return false;
    if (line.len > HEAD_MAX || (line.len == HEAD_MAX && line.data[HEAD_MAX - 1] != '\n'))
        return false; /* longer than what is judged, however it came */
    struct cq_slice text = cq_slice_skip(line, 2);
    while (text.len && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t' ||
                        text.data[text.len - 1] == '\r' || text.data[text.len - 1] == '\n'))
        text.len--;
    uint32_t closed = ix->open_count, plain = find_open(ix, text);
    if (text.len > 2 && text.data[text.len - 1] == '-' && text.data[text.len - 2] == '-')
        closed = find_open(ix, cq_slice_sub(text, 0, text.len - 2));
    if (plain == ix->open_count && closed == ix->open_count)
        return false;
    *closing_r = plain == ix->open_count || (closed < ix->open_count && closed > plain);
    *open_r = *closing_r ? closed : plain;
    return true;
}

static void take_line(struct mail_index *ix, struct cq_slice line);

/* A boundary line of ix->open[at]: ends what is inside that multipart, perhaps starts its next part. */
static void take_boundary(struct mail_index *ix, struct cq_slice line, uint32_t at, bool closing)
{
    struct open *open = &ix->open[at];
    while (ix->current != open->part)
        part_end(ix, true);
    ix->state = IN_BETWEEN;
    ix->open_count = closing ? at : at + 1;
    take_line(ix, line);
    if (!closing)
        part_begin(ix, open->part, false, open->digest);
}

/* ---- lines ---- */

/* Counts the octets of (a piece of) a line that needs no further look. */
static void take_line(struct mail_index *ix, struct cq_slice line)
{
    ix->pos += line.len;
    uint8_t before = line.len > 1 ? line.data[line.len - 2] : ix->last;
    ix->last = line.data[line.len - 1];
    ix->in_line = ix->last != '\n';
    if (ix->in_line)
        return;
    ix->lines++;
    ix->line_end = before == '\r' ? 2 : 1;
    ix->line_off = ix->pos;
}

static bool is_empty_line(struct cq_slice line)
{
    return (line.len == 1 && line.data[0] == '\n') || (line.len == 2 && line.data[0] == '\r' && line.data[1] == '\n');
}

static void header_line(struct mail_index *ix, struct cq_slice line)
{
    if (is_empty_line(line)) {
        take_line(ix, line);
        header_end(ix);
        return;
    }
    if (ix->in_field && (line.data[0] == ' ' || line.data[0] == '\t')) {
        if (ix->keep)
            field_add(ix, line);
    } else {
        field_end(ix);
        field_begin(ix, line);
    }
    take_line(ix, line);
}

static void body_piece(struct mail_index *ix, struct cq_slice octets)
{
    if (ix->state == IN_LEAF && ix->observer.body && octets.len)
        ix->observer.body(ix->observer.ctx, &ix->parts[ix->current], octets);
}

/* A line from its first octet: all of it (with its line end, or the message's last one), or at least HEAD_MAX octets.
 */
static void judge_line(struct mail_index *ix, struct cq_slice line)
{
    uint32_t at;
    bool closing;
    bool boundary = find_boundary(ix, line, &at, &closing);
    /* Ending a header may make a part too: the child of a message/rfc822. */
    uint32_t more = ix->state == IN_HEADER ? 2 : 1;
    if (boundary && ix->part_count + more > ix->limits.parts) {
        ix->cut = true;
        boundary = false;
    }
    if (boundary) {
        take_boundary(ix, line, at, closing);
    } else if (ix->state == IN_HEADER) {
        header_line(ix, line);
    } else {
        body_piece(ix, line);
        take_line(ix, line);
    }
}

/* Body octets up to a line that may be a boundary; returns how many. */
static size_t skim_body(struct mail_index *ix, struct cq_slice in)
{
    const uint8_t *p = in.data, *end = in.data + in.len;
    uint64_t lines = 0;
    bool in_line = ix->in_line, look = ix->open_count > 0;
    while (p < end && (in_line || !look || *p != '-')) {
        const uint8_t *lf = memchr(p, '\n', (size_t)(end - p));
        in_line = lf == NULL;
        lines += lf != NULL;
        p = lf ? lf + 1 : end;
    }
    size_t n = (size_t)(p - in.data);
    if (n == 0)
        return 0;
    ix->lines += lines - !in_line; /* take_line counts the last one */
    struct cq_slice taken = cq_slice_sub(in, 0, n);
    body_piece(ix, taken);
    take_line(ix, taken);
    return n;
}

/* The rest of a header line that is longer than its head. */
static size_t rest_of_line(struct mail_index *ix, struct cq_slice in)
{
    size_t at = cq_slice_find(in, '\n');
    struct cq_slice rest = cq_slice_sub(in, 0, at < in.len ? at + 1 : at);
    if (ix->keep)
        field_add(ix, rest);
    take_line(ix, rest);
    return rest.len;
}

/* A line from its first octet: judged in place when all of it is there, else gathered. */
static size_t whole_line(struct mail_index *ix, struct cq_slice in)
{
    size_t at = cq_slice_find(in, '\n'), n = at < in.len ? at + 1 : at;
    if (ix->head_len == 0 && (at < in.len || n >= HEAD_MAX)) {
        judge_line(ix, cq_slice_sub(in, 0, n));
        return n;
    }
    n = n < HEAD_MAX - ix->head_len ? n : HEAD_MAX - ix->head_len;
    memcpy(ix->head + ix->head_len, in.data, n);
    ix->head_len += n;
    if (ix->head[ix->head_len - 1] == '\n' || ix->head_len == HEAD_MAX) {
        struct cq_slice line = cq_slice_of(ix->head, ix->head_len);
        ix->head_len = 0;
        judge_line(ix, line);
    }
    return n;
}

void mail_index_feed(struct mail_index *ix, struct cq_slice octets)
{
    CQ_ASSERT(!ix->finished);
    ix->has_nul |= octets.len && memchr(octets.data, 0, octets.len);
    while (octets.len) {
        size_t n = 0;
        if (ix->state != IN_HEADER && ix->head_len == 0)
            n = skim_body(ix, octets);
        else if (ix->in_line)
            n = rest_of_line(ix, octets);
        octets = cq_slice_skip(octets, n);
        if (octets.len && !ix->in_line)
            octets = cq_slice_skip(octets, whole_line(ix, octets));
    }
}

void mail_index_finish(struct mail_index *ix)
{
    CQ_ASSERT(!ix->finished);
    if (ix->head_len) {
        struct cq_slice line = cq_slice_of(ix->head, ix->head_len);
        ix->head_len = 0;
        judge_line(ix, line);
    }
    while (ix->current != MAIL_PART_NONE)
        part_end(ix, false);
    ix->finished = true;
}

void mail_index_clear(struct mail_index *ix)
{
    cq_pool_clear(ix->pool);
    ix->part_count = ix->open_count = 0;
    ix->pos = ix->lines = ix->line_off = 0;
    ix->line_end = 0;
    ix->last = 0;
    ix->in_line = false;
    ix->head_len = 0;
    ix->kept = 0;
    ix->received = 0;
    ix->has_8bit = ix->has_nul = ix->cut = ix->finished = false;
    part_begin(ix, MAIL_PART_NONE, true, false);
}

/* ---- reading ---- */

uint32_t mail_index_parts(const struct mail_index *ix)
{
    return ix->part_count;
}

const struct mail_part *mail_index_part(const struct mail_index *ix, uint32_t i)
{
    CQ_ASSERT(i < ix->part_count);
    return &ix->parts[i];
}

uint64_t mail_index_size(const struct mail_index *ix)
{
    return ix->pos;
}

uint32_t mail_index_received(const struct mail_index *ix)
{
    return ix->received;
}

bool mail_index_has_8bit(const struct mail_index *ix)
{
    return ix->has_8bit;
}

bool mail_index_has_nul(const struct mail_index *ix)
{
    return ix->has_nul;
}

bool mail_index_cut(const struct mail_index *ix)
{
    return ix->cut;
}

const struct mail_parse_limits *mail_index_limits(const struct mail_index *ix)
{
    return &ix->limits;
}

const struct mail_field *mail_part_field(const struct mail_part *part, enum mail_field_id id,
                                         const struct mail_field *from)
{
    const struct mail_field *field = from ? from : part->fields;
    while (field && field->id != id)
        field = field->next;
    return field;
}
