#include "mail_render_private.h"

#include "mail/mail_address.h"
#include "mail/mail_word.h"

#include "base/cq_assert.h"

#define ADDRESS_TEXT_MAX 1000 /* octets shown of a name, a route, a local part or a domain */
#define TAIL 128              /* octets for the parentheses and NILs at the end */

struct writer {
    const struct mail_index *index;
    const struct mail_part *part;
    bool utf8;
    size_t start, max; /* of the ENVELOPE in out */
    struct cq_buf *out;
    struct cq_buf piece; /* what is rendered before it is known to fit */
    bool *cut_r;
};

/* At most max / 8 octets of output: encoding makes raw 8-bit text longer. */
static void text_field(struct writer *w, enum mail_field_id id)
{
    const struct mail_field *field = mail_part_field(w->part, id, NULL);
    cq_buf_reset(&w->piece, SIZE_MAX);
    if (field)
        mail_render_text(field->value, w->utf8, w->max / 32, &w->piece, w->cut_r);
    bool fits = w->piece.len <= w->max / 8;
    *w->cut_r |= !fits;
    cq_buf_slice_add(w->out, field && fits ? cq_buf_slice(&w->piece) : CQ_SLICE("NIL"));
}

/* NIL for what is empty. */
static void address_text(struct writer *w, struct cq_slice text)
{
    if (text.len)
        mail_render_text(text, w->utf8, ADDRESS_TEXT_MAX, &w->piece, w->cut_r);
    else
        cq_buf_cstr(&w->piece, "NIL");
}

static void or_text(struct writer *w, struct cq_slice text, const char *instead)
{
    address_text(w, text.len ? text : cq_slice_cstr(instead));
}

/* RFC 6858 3: an address that the session cannot take. */
static void international(struct writer *w, const struct mail_address *a)
{
    struct cq_buf name;
    cq_buf_init(&name, 8 * (a->name.len + a->local.len + a->domain.len) + 64);
    if (a->name.len) {
        cq_buf_slice_add(&name, a->name);
        cq_buf_byte(&name, ' ');
    }
    mail_address_write(a, &name);
    address_text(w, cq_buf_slice(&name));
    cq_buf_cstr(&w->piece, " NIL \"invalid\" \"internationalized-address.invalid\"");
    cq_buf_fini(&name);
}

static void address(struct writer *w, const struct mail_address *a)
{
    cq_buf_byte(&w->piece, '(');
    if (a->kind == MAIL_ADDRESS_GROUP_END) {
        cq_buf_cstr(&w->piece, "NIL NIL NIL NIL");
    } else if (a->kind == MAIL_ADDRESS_GROUP_START) { /* its name is the mailbox, its host NIL: RFC 3501 7.4.2 */
        cq_buf_cstr(&w->piece, "NIL NIL ");
        or_text(w, a->name, "unnamed");
        cq_buf_cstr(&w->piece, " NIL");
    } else if (!w->utf8 && (!mail_is_ascii(a->local) || !mail_is_ascii(a->domain))) {
        international(w, a);
    } else {
        address_text(w, a->name);
        cq_buf_byte(&w->piece, ' ');
        address_text(w, a->route);
        cq_buf_byte(&w->piece, ' ');
        or_text(w, a->local, "MISSING_MAILBOX");
        cq_buf_byte(&w->piece, ' ');
        or_text(w, a->domain, "MISSING_DOMAIN"); /* NIL would be a group */
    }
    cq_buf_byte(&w->piece, ')');
}

/* Where a list must end, so that the two texts behind it fit. */
static size_t list_end_max(const struct writer *w)
{
    return w->start + w->max - w->max / 4 - TAIL;
}

/* Appends the addresses of one field; false when the list is full. */
static bool list_field(struct writer *w, const struct mail_field *field, uint32_t *count)
{
    struct mail_address_parser parser;
    struct mail_address a;
    bool room = true;
    mail_address_parser_init(&parser, field->value);
    while (room && mail_address_next(&parser, &a)) {
        cq_buf_reset(&w->piece, SIZE_MAX);
        address(w, &a);
        room = *count < mail_index_limits(w->index)->addresses && w->out->len + w->piece.len < list_end_max(w);
        if (room)
            cq_buf_slice_add(w->out, cq_buf_slice(&w->piece));
        *count += room;
    }
    mail_address_parser_fini(&parser);
    *w->cut_r |= !room;
    return room;
}

/* The list of all fields of that name; false, with nothing appended, when it has no address. */
static bool list(struct writer *w, enum mail_field_id id)
{
    size_t before = w->out->len;
    uint32_t count = 0;
    cq_buf_byte(w->out, '(');
    const struct mail_field *field = mail_part_field(w->part, id, NULL);
    while (field && list_field(w, field, &count))
        field = field->next ? mail_part_field(w->part, id, field->next) : NULL;
    cq_buf_byte(w->out, ')');
    if (count == 0)
        w->out->len = before;
    return count > 0;
}

/* RFC 3501 7.4.2: Sender and Reply-To are the From list when they are absent or empty. */
static void list_or(struct writer *w, enum mail_field_id id, size_t from_at, size_t from_len)
{
    cq_buf_byte(w->out, ' ');
    if (list(w, id))
        return;
    if (from_len == 0 || w->out->len + from_len > list_end_max(w)) {
        *w->cut_r |= from_len > 0;
        cq_buf_cstr(w->out, "NIL");
        return;
    }
    uint8_t *to = cq_buf_reserve(w->out, from_len);
    if (to) {
        memcpy(to, w->out->data + from_at, from_len);
        cq_buf_commit(w->out, from_len);
    }
}

void mail_render_envelope(const struct mail_index *index, const struct mail_part *message, bool utf8, size_t max,
                          struct cq_buf *out, bool *cut_r)
{
    struct writer w = {
        .index = index, .part = message, .utf8 = utf8, .start = out->len, .max = max, .out = out, .cut_r = cut_r};
    CQ_ASSERT(max >= MAIL_ENVELOPE_MIN);
    cq_buf_init(&w.piece, SIZE_MAX / 2);
    cq_buf_byte(out, '(');
    text_field(&w, MAIL_FIELD_DATE);
    cq_buf_byte(out, ' ');
    text_field(&w, MAIL_FIELD_SUBJECT);
    cq_buf_byte(out, ' ');
    size_t from_at = out->len;
    bool has_from = list(&w, MAIL_FIELD_FROM);
    size_t from_len = has_from ? out->len - from_at : 0;
    if (!has_from)
        cq_buf_cstr(out, "NIL");
    list_or(&w, MAIL_FIELD_SENDER, from_at, from_len);
    list_or(&w, MAIL_FIELD_REPLY_TO, from_at, from_len);
    list_or(&w, MAIL_FIELD_TO, 0, 0);
    list_or(&w, MAIL_FIELD_CC, 0, 0);
    list_or(&w, MAIL_FIELD_BCC, 0, 0);
    cq_buf_byte(out, ' ');
    text_field(&w, MAIL_FIELD_IN_REPLY_TO);
    cq_buf_byte(out, ' ');
    text_field(&w, MAIL_FIELD_MESSAGE_ID);
    cq_buf_byte(out, ')');
    cq_buf_fini(&w.piece);
}
