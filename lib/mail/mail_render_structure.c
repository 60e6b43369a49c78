#include "mail_render_private.h"

#include "mail/mail_header.h"
#include "mail/mail_word.h"

struct writer {
    const struct mail_index *index;
    bool utf8;
    struct cq_buf *out, *cuts;
    size_t start;   /* of the structure in out */
    size_t kept_to; /* where the last range of extension data ended */
    struct cq_pool *pool;
};

static const char *const ENCODING_NAMES[] = {"7bit", "8bit", "binary", "quoted-printable", "base64"};

static void nil(struct writer *w)
{
    cq_buf_cstr(w->out, "NIL");
}

static void text_field(struct writer *w, const struct mail_part *part, enum mail_field_id id)
{
    const struct mail_field *field = mail_part_field(part, id, NULL);
    cq_buf_byte(w->out, ' ');
    if (field)
        mail_render_text(field->value, w->utf8, MAIL_STRUCTURE_TEXT_MAX, w->out, NULL);
    else
        nil(w);
}

/* ---- parameters ---- */

/* Raw 8-bit octets, for a session that takes only ASCII: RFC 2231. */
static void ascii_param(struct writer *w, const struct mail_joined_param *p)
{
    struct cq_buf utf8, value;
    cq_buf_init(&utf8, 4 * p->value.len + 16);
    cq_buf_init(&value, 12 * p->value.len + 64);
    if (p->extended) { /* it has its charset: only the octets that should have been encoded are */
        for (size_t i = 0; i < p->value.len; i++)
            if (p->value.data[i] < 0x80)
                cq_buf_byte(&value, p->value.data[i]);
            else
                cq_buf_printf(&value, "%%%02X", p->value.data[i]);
    } else {
        mail_utf8_clean(p->value, &utf8);
        mail_param_encode(cq_buf_slice(&utf8), &value);
    }
    mail_imap_string(cq_slice_cstr(cq_pool_printf(w->pool, "%.*s%s", CQ_SLICE_ARG(p->name), p->extended ? "" : "*")),
                     w->out);
    cq_buf_byte(w->out, ' ');
    mail_imap_string(cq_buf_slice(&value), w->out);
    cq_buf_fini(&utf8);
    cq_buf_fini(&value);
}

static void utf8_param(struct writer *w, const struct mail_joined_param *p)
{
    struct cq_buf value;
    cq_buf_init(&value, 4 * p->value.len + 16);
    mail_utf8_clean(p->value, &value);
    mail_imap_string(p->name, w->out);
    cq_buf_byte(w->out, ' ');
    mail_imap_utf8_string(cq_buf_slice(&value), w->out);
    cq_buf_fini(&value);
}

static void param(struct writer *w, const struct mail_joined_param *p)
{
    if (mail_is_ascii(p->value)) {
        mail_imap_string(p->name, w->out);
        cq_buf_byte(w->out, ' ');
        mail_imap_string(p->value, w->out);
    } else if (w->utf8) {
        utf8_param(w, p);
    } else {
        ascii_param(w, p);
    }
}

static void params(struct writer *w, const struct mail_params *params, bool text)
{
    uint32_t count, shown = 0;
    struct mail_joined_param *list = mail_params_join(params, w->pool, &count);
    cq_buf_byte(w->out, ' ');
    for (uint32_t i = 0; i < count; i++) {
        if (list[i].value.len > MAIL_STRUCTURE_PARAM_MAX || list[i].name.len > MAIL_QUOTED_MAX ||
            !mail_is_ascii(list[i].name))
            continue;
        cq_buf_byte(w->out, shown++ ? ' ' : '(');
        param(w, &list[i]);
    }
    if (shown)
        cq_buf_byte(w->out, ')');
    else if (text) /* RFC 2045 5.2 */
        cq_buf_cstr(w->out, "(\"charset\" \"us-ascii\")");
    else
        nil(w);
}

/* ---- extension data ---- */

static void disposition(struct writer *w, const struct mail_part *part)
{
    const struct mail_field *field = mail_part_field(part, MAIL_FIELD_CONTENT_DISPOSITION, NULL);
    struct mail_params parsed = {.count = 0};
    if (field)
        mail_params_parse(field->value, false, mail_index_limits(w->index)->params, w->pool, &parsed);
    cq_buf_byte(w->out, ' ');
    if (parsed.type.len == 0 || parsed.type.len > MAIL_QUOTED_MAX || !mail_is_ascii(parsed.type)) {
        nil(w);
        return;
    }
    cq_buf_byte(w->out, '(');
    mail_imap_string(parsed.type, w->out);
    params(w, &parsed, false);
    cq_buf_byte(w->out, ')');
}

/* RFC 3282: a list of tags; one is a string, several are a list. */
static void language(struct writer *w, const struct mail_part *part)
{
    const struct mail_field *field = mail_part_field(part, MAIL_FIELD_CONTENT_LANGUAGE, NULL);
    struct cq_slice rest = field ? cq_slice_sub(field->value, 0, MAIL_STRUCTURE_TEXT_MAX) : CQ_SLICE_NONE;
    size_t at = w->out->len, count = 0;
    cq_buf_cstr(w->out, " (");
    while (rest.len) {
        struct cq_slice tag = cq_slice_trim(cq_slice_cut(&rest, ','));
        tag = cq_slice_sub(tag, 0, cq_slice_find(tag, '('));
        if (tag.len == 0 || !mail_is_ascii(tag))
            continue;
        if (count++)
            cq_buf_byte(w->out, ' ');
        mail_render_text(tag, false, MAIL_QUOTED_MAX, w->out, NULL);
    }
    if (!cq_buf_ok(w->out))
        return;
    if (count == 0) {
        w->out->len = at;
        cq_buf_cstr(w->out, " NIL");
    } else if (count == 1) { /* without its parenthesis */
        memmove(w->out->data + at + 1, w->out->data + at + 2, w->out->len - at - 2);
        w->out->len--;
    } else {
        cq_buf_byte(w->out, ')');
    }
}

/* What stands between `from` and here is not in BODY. */
static void cut_range(struct writer *w, size_t from)
{
    mail_put_varint(w->cuts, from - w->kept_to);
    mail_put_varint(w->cuts, w->out->len - from);
    w->kept_to = w->out->len;
}

/* RFC 3501 7.4.2: MD5 of a single part or parameters of a multipart, then what both have. */
static void extension(struct writer *w, const struct mail_part *part)
{
    size_t from = w->out->len;
    if (part->kind == MAIL_KIND_MULTIPART)
        params(w, &part->params, false);
    else
        text_field(w, part, MAIL_FIELD_CONTENT_MD5);
    disposition(w, part);
    language(w, part);
    text_field(w, part, MAIL_FIELD_CONTENT_LOCATION);
    cut_range(w, from);
}

/* ---- parts ---- */

static void encoding(struct writer *w, const struct mail_part *part)
{
    cq_buf_byte(w->out, ' ');
    if (part->opaque)
        cq_buf_cstr(w->out, "\"binary\"");
    else if (part->encoding < MAIL_ENCODING_OTHER)
        cq_buf_printf(w->out, "\"%s\"", ENCODING_NAMES[part->encoding]);
    else
        mail_render_text(mail_part_field(part, MAIL_FIELD_CONTENT_TRANSFER_ENCODING, NULL)->value, false,
                         MAIL_QUOTED_MAX, w->out, NULL);
}

static void single_fields(struct writer *w, const struct mail_part *part)
{
    bool global = part->kind == MAIL_KIND_MESSAGE && !w->utf8;
    mail_imap_string(part->type, w->out);
    cq_buf_byte(w->out, ' ');
    mail_imap_string(global ? CQ_SLICE("rfc822") : part->subtype, w->out);
    params(w, &part->params, part->kind == MAIL_KIND_TEXT);
    text_field(w, part, MAIL_FIELD_CONTENT_ID);
    text_field(w, part, MAIL_FIELD_CONTENT_DESCRIPTION);
    encoding(w, part);
    cq_buf_printf(w->out, " %llu", (unsigned long long)(part->end_off - part->body_off));
}

static void lines(struct writer *w, const struct mail_part *part)
{
    cq_buf_printf(w->out, " %llu", (unsigned long long)part->body_lines);
}

static void part_open(struct writer *w, const struct mail_part *part)
{
    cq_buf_byte(w->out, '(');
    if (part->kind == MAIL_KIND_MULTIPART)
        return;
    single_fields(w, part);
    if (part->kind != MAIL_KIND_MESSAGE)
        return;
    bool cut = false;
    cq_buf_byte(w->out, ' ');
    mail_render_envelope(w->index, mail_index_part(w->index, part->first_child), w->utf8, MAIL_NESTED_ENVELOPE_MAX,
                         w->out, &cut);
    cq_buf_byte(w->out, ' ');
}

static void part_close(struct writer *w, const struct mail_part *part)
{
    if (part->kind == MAIL_KIND_MULTIPART) {
        cq_buf_byte(w->out, ' ');
        mail_imap_string(part->subtype, w->out);
    } else if (part->kind != MAIL_KIND_OTHER) {
        lines(w, part);
    }
    extension(w, part);
    cq_buf_byte(w->out, ')');
}

bool mail_render_structure(const struct mail_index *index, bool utf8, struct cq_buf *out, struct cq_buf *cuts)
{
    struct writer w = {index, utf8, out, cuts, out->len, out->len, cq_pool_new(4096)};
    uint32_t i = 0;
    while (i != MAIL_PART_NONE && cq_buf_ok(out) && cq_buf_ok(cuts)) {
        const struct mail_part *part = mail_index_part(index, i);
        part_open(&w, part);
        if (part->first_child != MAIL_PART_NONE) {
            i = part->first_child;
            continue;
        }
        part_close(&w, part);
        cq_pool_clear(w.pool);
        while (part->next == MAIL_PART_NONE && part->parent != MAIL_PART_NONE) {
            part = mail_index_part(index, part->parent);
            part_close(&w, part);
        }
        i = part->next;
    }
    cq_pool_free(&w.pool);
    return cq_buf_ok(out) && cq_buf_ok(cuts);
}

void mail_render_opaque(uint64_t octets, struct cq_buf *out, struct cq_buf *cuts)
{
    size_t start = out->len;
    cq_buf_printf(out, "(\"application\" \"octet-stream\" NIL NIL NIL \"binary\" %llu", (unsigned long long)octets);
    mail_put_varint(cuts, out->len - start);
    cq_buf_cstr(out, " NIL NIL NIL NIL");
    mail_put_varint(cuts, strlen(" NIL NIL NIL NIL"));
    cq_buf_byte(out, ')');
}
