#include "mail/mail_build.h"

#include "mail/mail_header.h"
#include "mail/mail_msgid.h"
#include "mail/mail_preview.h"
#include "mail/mail_render.h"
#include "mail/mail_subject.h"
#include "mail/mail_text_part.h"
#include "mail/mail_word.h"
#include "mail_summary_private.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "base/cq_mem.h"

#include <stdlib.h>
#include <xxhash.h>

/* Shares of a record, in octets; together they fit MAIL_SUMMARY_MAX. The UTF-8 variants get what is left. */
#define ENVELOPE_MAX (128u << 10)
#define STRUCTURE_MAX (248u << 10)
#define CUTS_MAX (16u << 10)
#define PARTS_MAX (96u << 10)
#define REFERENCES_MAX (8u << 10)
#define MESSAGE_ID_MAX 1000
#define SUBJECT_VALUE_MAX 8192          /* of the field that are decoded for the base subject */
#define PREVIEW_OCTETS_MAX (256u << 10) /* of bodies that are read for the preview */

_Static_assert(SUMMARY_HEAD + ENVELOPE_MAX + STRUCTURE_MAX + CUTS_MAX + PARTS_MAX + REFERENCES_MAX + MESSAGE_ID_MAX +
                       MAIL_SUBJECT_MAX + MAIL_PREVIEW_MAX_OCTETS <=
                   MAIL_SUMMARY_MAX,
               "the shares fit the record");

struct mail_builder {
    struct mail_index *index;
    struct mail_preview preview;
    struct mail_text_part *text; /* of the part that is read for the preview; else NULL */
    size_t preview_octets;
    struct cq_pool *pool; /* scratch */
    struct cq_buf data[SUMMARY_DATA_COUNT];
    struct mail_time sent;
    uint16_t flags;
    bool rendered;
};

/* ---- preview, while the octets pass ---- */

static bool is_attachment(const struct mail_part *part)
{
    const struct mail_field *field = mail_part_field(part, MAIL_FIELD_CONTENT_DISPOSITION, NULL);
    return field && cq_slice_casestarts(cq_slice_trim(field->value), CQ_SLICE("attachment"));
}

static bool is_html(const struct mail_part *part)
{
    return part->kind == MAIL_KIND_TEXT && cq_slice_caseeq(part->subtype, CQ_SLICE("html"));
}

static struct cq_slice charset_of(struct mail_builder *b, const struct mail_part *part)
{
    struct cq_slice charset = CQ_SLICE_NONE;
    mail_params_raw(&part->params, CQ_SLICE("charset"), b->pool, &charset);
    return cq_slice_sub(cq_slice_trim(charset), 0, SUMMARY_CHARSET_MAX);
}

static void preview_begin(void *ctx, const struct mail_part *part)
{
    struct mail_builder *b = ctx;
    bool plain = part->kind == MAIL_KIND_TEXT && cq_slice_caseeq(part->subtype, CQ_SLICE("plain"));
    if (b->preview.len || (!plain && !is_html(part)) || is_attachment(part) || b->preview_octets >= PREVIEW_OCTETS_MAX)
        return;
    mail_preview_init(&b->preview);
    b->text = mail_text_part_new(part->encoding, charset_of(b, part), is_html(part));
}

static void preview_body(void *ctx, const struct mail_part *part, struct cq_slice octets)
{
    struct mail_builder *b = ctx;
    (void)part;
    while (octets.len && b->text && !mail_preview_full(&b->preview) && b->preview_octets < PREVIEW_OCTETS_MAX) {
        struct cq_slice piece = cq_slice_sub(octets, 0, 1024);
        mail_preview_add(&b->preview, mail_text_part_feed(b->text, piece));
        b->preview_octets += piece.len;
        octets = cq_slice_skip(octets, piece.len);
    }
}

static void preview_end(void *ctx, const struct mail_part *part)
{
    struct mail_builder *b = ctx;
    (void)part;
    if (b->text && !mail_preview_full(&b->preview))
        mail_preview_add(&b->preview, mail_text_part_finish(b->text));
    mail_text_part_free(&b->text);
}

/* ---- the builder ---- */

struct mail_builder *mail_builder_new(const struct mail_parse_limits *limits)
{
    static const size_t MAX[SUMMARY_DATA_COUNT] = {
        [SUMMARY_preview] = MAIL_PREVIEW_MAX_OCTETS,
        [SUMMARY_base_subject] = MAIL_SUBJECT_MAX,
        [SUMMARY_message_id] = MESSAGE_ID_MAX,
        [SUMMARY_references] = REFERENCES_MAX,
        [SUMMARY_envelope] = ENVELOPE_MAX,
        [SUMMARY_structure] = STRUCTURE_MAX,
        [SUMMARY_cuts] = CUTS_MAX,
        [SUMMARY_envelope_utf8] = ENVELOPE_MAX,
        [SUMMARY_structure_utf8] = STRUCTURE_MAX,
        [SUMMARY_cuts_utf8] = CUTS_MAX,
        [SUMMARY_parts] = PARTS_MAX,
    };
    struct mail_builder *b = cq_new(struct mail_builder);
    struct mail_index_observer observer = {preview_begin, preview_body, preview_end, b};
    b->index = mail_index_new(limits, &observer);
    b->pool = cq_pool_new(4096);
    for (unsigned i = 0; i < SUMMARY_DATA_COUNT; i++)
        cq_buf_init(&b->data[i], MAX[i]);
    mail_preview_init(&b->preview);
    return b;
}

void mail_builder_clear(struct mail_builder *b)
{
    mail_text_part_free(&b->text);
    mail_index_clear(b->index);
    mail_preview_init(&b->preview);
    b->preview_octets = 0;
    b->rendered = false;
    cq_pool_clear(b->pool);
}

void mail_builder_free(struct mail_builder **builder)
{
    struct mail_builder *b = *builder;
    if (!b)
        return;
    mail_text_part_free(&b->text);
    mail_index_free(&b->index);
    cq_pool_free(&b->pool);
    for (unsigned i = 0; i < SUMMARY_DATA_COUNT; i++)
        cq_buf_fini(&b->data[i]);
    free(b);
    *builder = NULL;
}

void mail_builder_feed(struct mail_builder *b, struct cq_slice octets)
{
    mail_index_feed(b->index, octets);
}

void mail_builder_finish(struct mail_builder *b)
{
    mail_index_finish(b->index);
}

const struct mail_index *mail_builder_index(const struct mail_builder *b)
{
    return b->index;
}

/* ---- header facts ---- */

static struct cq_slice root_value(const struct mail_builder *b, enum mail_field_id id)
{
    const struct mail_field *field = mail_part_field(mail_index_part(b->index, 0), id, NULL);
    return field ? field->value : CQ_SLICE_NONE;
}

static void build_sent(struct mail_builder *b)
{
    b->sent = (struct mail_time){0, 0};
    if (mail_date_parse(root_value(b, MAIL_FIELD_DATE), &b->sent))
        b->flags |= MAIL_SUMMARY_HAS_DATE;
}

static void build_subject(struct mail_builder *b)
{
    struct cq_buf utf8;
    cq_buf_init(&utf8, 8 * SUBJECT_VALUE_MAX);
    mail_word_decode(cq_slice_sub(root_value(b, MAIL_FIELD_SUBJECT), 0, SUBJECT_VALUE_MAX), &utf8);
    if (mail_base_subject(cq_buf_slice(&utf8), &b->data[SUMMARY_base_subject]))
        b->flags |= MAIL_SUMMARY_IS_REPLY;
    cq_buf_fini(&utf8);
}

static void build_message_id(struct mail_builder *b)
{
    struct cq_slice rest = root_value(b, MAIL_FIELD_MESSAGE_ID), id;
    if (mail_msgid_next(&rest, &id) && id.len <= MESSAGE_ID_MAX)
        mail_msgid_write(id, &b->data[SUMMARY_message_id]);
}

/* The first id and the last ones, as many as the limits allow: the root and the nearest ancestors place a message. */
static size_t gather_references(struct mail_builder *b, struct cq_slice value, struct cq_slice *ids, size_t max)
{
    size_t count = 0;
    struct cq_slice id;
    while (mail_msgid_next(&value, &id)) {
        if (id.len > MESSAGE_ID_MAX)
            continue;
        if (count == max) {
            memmove(ids + 1, ids + 2, (max - 2) * sizeof *ids);
            count--;
            b->flags |= MAIL_SUMMARY_CUT;
        }
        ids[count++] = id;
    }
    return count;
}

static void build_references(struct mail_builder *b)
{
    size_t max = mail_index_limits(b->index)->references, total = 0;
    max = max < 2 ? 2 : max;
    struct cq_slice *ids = cq_pool_calloc(b->pool, max, sizeof *ids);
    size_t count = gather_references(b, root_value(b, MAIL_FIELD_REFERENCES), ids, max), first;
    if (count == 0) {
        struct cq_slice rest = root_value(b, MAIL_FIELD_IN_REPLY_TO);
        count = mail_msgid_next(&rest, &ids[0]) && ids[0].len <= MESSAGE_ID_MAX;
    }
    for (first = count; first > 0 && total + ids[first - 1].len + 3 <= REFERENCES_MAX; first--)
        total += ids[first - 1].len + 3;
    for (size_t i = first; i < count; i++) {
        struct cq_buf id;
        cq_buf_init(&id, ids[i].len);
        mail_msgid_write(ids[i], &id);
        mail_put_varint(&b->data[SUMMARY_references], id.len);
        cq_buf_slice_add(&b->data[SUMMARY_references], cq_buf_slice(&id));
        cq_buf_fini(&id);
    }
}

/* ---- parts ---- */

static enum mail_media media_of(const struct mail_part *part)
{
    switch (part->kind) {
    case MAIL_KIND_MULTIPART:
        return MAIL_MEDIA_MULTIPART;
    case MAIL_KIND_MESSAGE:
        return MAIL_MEDIA_MESSAGE;
    case MAIL_KIND_TEXT:
        return is_html(part) ? MAIL_MEDIA_HTML : MAIL_MEDIA_TEXT;
    case MAIL_KIND_OTHER:
        break;
    }
    return MAIL_MEDIA_OTHER;
}

struct part_place {
    uint64_t header_off, header_len, body_len;
};

static void put_part(struct cq_buf *out, const struct mail_part *part, enum mail_media media, struct cq_slice charset,
                     const struct part_place *place)
{
    cq_buf_byte(out,
                (uint8_t)(media | (part->is_message ? SUMMARY_PART_MESSAGE : 0) |
                          part->encoding << SUMMARY_PART_ENCODING_SHIFT | (charset.len ? SUMMARY_PART_CHARSET : 0)));
    mail_put_varint(out, part->depth);
    mail_put_varint(out, place->header_off);
    mail_put_varint(out, place->header_len);
    mail_put_varint(out, place->body_len);
    if (charset.len) {
        mail_put_varint(out, charset.len);
        cq_buf_slice_add(out, charset);
    }
}

/* The outermost header grows by the prefix, all that follows moves by it. `all`: or only the outermost part. */
static bool build_parts(struct mail_builder *b, uint64_t prefix, bool all)
{
    struct cq_buf *out = &b->data[SUMMARY_parts];
    uint64_t before = 0;
    cq_buf_reset(out, SIZE_MAX);
    for (uint32_t i = 0; i < (all ? mail_index_parts(b->index) : 1); i++) {
        const struct mail_part *part = mail_index_part(b->index, i);
        uint64_t at = part->header_off + (i ? prefix : 0);
        struct part_place place = {at - before, part->body_off - part->header_off + (i ? 0 : prefix),
                                   part->end_off - part->body_off};
        enum mail_media media = all ? media_of(part) : MAIL_MEDIA_OTHER;
        bool text = media == MAIL_MEDIA_TEXT || media == MAIL_MEDIA_HTML;
        put_part(out, part, media, text ? charset_of(b, part) : CQ_SLICE_NONE, &place);
        before = at;
    }
    return cq_buf_ok(out);
}

static bool has_file_name(struct mail_builder *b, const struct mail_part *part)
{
    struct cq_slice name;
    return mail_params_raw(&part->params, CQ_SLICE("name"), b->pool, &name);
}

static void build_attachment(struct mail_builder *b)
{
    for (uint32_t i = 0; i < mail_index_parts(b->index); i++) {
        const struct mail_part *part = mail_index_part(b->index, i);
        bool leaf = part->first_child == MAIL_PART_NONE;
        if (is_attachment(part) || (leaf && part->kind != MAIL_KIND_TEXT && has_file_name(b, part)))
            b->flags |= MAIL_SUMMARY_ATTACHMENT;
    }
}

/* ---- IMAP texts ---- */

static bool build_structure(struct mail_builder *b)
{
    return mail_render_structure(b->index, false, &b->data[SUMMARY_structure], &b->data[SUMMARY_cuts]);
}

/* The variants for UTF-8 sessions, where they differ and as far as they fit. */
static void build_utf8(struct mail_builder *b)
{
    struct cq_buf *d = b->data;
    bool cut = false;
    if (!mail_index_has_8bit(b->index))
        return;
    mail_render_envelope(b->index, mail_index_part(b->index, 0), true, ENVELOPE_MAX, &d[SUMMARY_envelope_utf8], &cut);
    if (cq_slice_eq(cq_buf_slice(&d[SUMMARY_envelope]), cq_buf_slice(&d[SUMMARY_envelope_utf8])))
        cq_buf_reset(&d[SUMMARY_envelope_utf8], 0);
    if ((b->flags & MAIL_SUMMARY_OPAQUE) ||
        !mail_render_structure(b->index, true, &d[SUMMARY_structure_utf8], &d[SUMMARY_cuts_utf8]) ||
        cq_slice_eq(cq_buf_slice(&d[SUMMARY_structure]), cq_buf_slice(&d[SUMMARY_structure_utf8]))) {
        cq_buf_reset(&d[SUMMARY_structure_utf8], 0);
        cq_buf_reset(&d[SUMMARY_cuts_utf8], 0);
    }
}

static size_t total_length(const struct mail_builder *b)
{
    size_t total = SUMMARY_HEAD;
    for (unsigned i = 0; i < SUMMARY_DATA_COUNT; i++)
        total += b->data[i].len;
    return total;
}

static void go_opaque(struct mail_builder *b)
{
    b->flags |= MAIL_SUMMARY_OPAQUE | MAIL_SUMMARY_CUT;
    cq_buf_reset(&b->data[SUMMARY_structure], SIZE_MAX);
    cq_buf_reset(&b->data[SUMMARY_cuts], SIZE_MAX);
    cq_buf_reset(&b->data[SUMMARY_structure_utf8], 0);
    cq_buf_reset(&b->data[SUMMARY_cuts_utf8], 0);
    const struct mail_part *root = mail_index_part(b->index, 0);
    mail_render_opaque(root->end_off - root->body_off, &b->data[SUMMARY_structure], &b->data[SUMMARY_cuts]);
}

/* All but the part table, which depends on the prefix. */
static void render(struct mail_builder *b)
{
    bool cut = false;
    b->flags = 0;
    for (unsigned i = 0; i < SUMMARY_DATA_COUNT; i++)
        cq_buf_reset(&b->data[i], SIZE_MAX);
    build_sent(b);
    build_subject(b);
    build_message_id(b);
    build_references(b);
    build_attachment(b);
    mail_render_envelope(b->index, mail_index_part(b->index, 0), false, ENVELOPE_MAX, &b->data[SUMMARY_envelope], &cut);
    cq_buf_slice_add(&b->data[SUMMARY_preview], mail_preview_text(&b->preview));
    if (!build_structure(b) || !build_parts(b, 0, true))
        go_opaque(b);
    build_utf8(b);
    b->flags = (uint16_t)(b->flags | (cut || mail_index_cut(b->index) ? MAIL_SUMMARY_CUT : 0) |
                          (mail_index_has_nul(b->index) ? MAIL_SUMMARY_HAS_NUL : 0));
    b->rendered = true;
}

static void drop_utf8(struct mail_builder *b)
{
    cq_buf_reset(&b->data[SUMMARY_envelope_utf8], 0);
    cq_buf_reset(&b->data[SUMMARY_structure_utf8], 0);
    cq_buf_reset(&b->data[SUMMARY_cuts_utf8], 0);
}

static void write_head(const struct mail_builder *b, uint64_t prefix, uint8_t head[static SUMMARY_HEAD])
{
    const struct mail_part *root = mail_index_part(b->index, 0);
    memset(head, 0, SUMMARY_HEAD);
    head[SUMMARY_AT_FORMAT] = MAIL_SUMMARY_FORMAT;
    head[SUMMARY_AT_RENDERER] = MAIL_RENDERER_VERSION;
    cq_put_le16(head + SUMMARY_AT_FLAGS, b->flags);
    cq_put_le32(head + SUMMARY_AT_LENGTH, (uint32_t)total_length(b));
    cq_put_le64(head + SUMMARY_AT_SIZE, mail_index_size(b->index) + prefix);
    cq_put_le64(head + SUMMARY_AT_HEADER, root->body_off + prefix);
    cq_put_le64(head + SUMMARY_AT_SENT, (uint64_t)b->sent.utc_s);
    cq_put_le16(head + SUMMARY_AT_ZONE, (uint16_t)b->sent.zone_min);
    cq_put_le32(head + SUMMARY_AT_PARTS, b->flags & MAIL_SUMMARY_OPAQUE ? 1 : mail_index_parts(b->index));
    for (unsigned i = 0; i < SUMMARY_DATA_COUNT; i++)
        cq_put_le32(head + SUMMARY_AT_LENGTHS + 4 * i, (uint32_t)b->data[i].len);
}

void mail_builder_summary(struct mail_builder *b, uint64_t prefix_octets, struct cq_buf *out)
{
    uint8_t head[SUMMARY_HEAD];
    if (!b->rendered)
        render(b);
    if (!build_parts(b, prefix_octets, !(b->flags & MAIL_SUMMARY_OPAQUE))) { /* the prefix made the table too long */
        go_opaque(b);
        CQ_ASSERT(build_parts(b, prefix_octets, false));
    }
    if (total_length(b) > MAIL_SUMMARY_MAX)
        drop_utf8(b);
    write_head(b, prefix_octets, head);
    size_t start = out->len;
    cq_buf_add(out, head, sizeof head);
    for (unsigned i = 0; i < SUMMARY_DATA_COUNT; i++)
        cq_buf_slice_add(out, cq_buf_slice(&b->data[i]));
    CQ_ASSERT(cq_buf_ok(out));
    uint8_t *record = out->data + start;
    cq_put_le64(record + SUMMARY_AT_CHECKSUM,
                XXH3_64bits(record + SUMMARY_AT_SIZE, out->len - start - SUMMARY_AT_SIZE));
    cq_pool_clear(b->pool);
}

void mail_summary_of(struct cq_slice message, struct cq_buf *out)
{
    struct mail_builder *b = mail_builder_new(NULL);
    mail_builder_feed(b, message);
    mail_builder_finish(b);
    mail_builder_summary(b, 0, out);
    mail_builder_free(&b);
}
