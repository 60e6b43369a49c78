#include "imap/imap_fetch_head.h"

#include "mail/mail_header.h"
#include "mail/mail_section.h"

static bool is_in_head(const struct imap_fetch_item *item)
{
    const struct imap_section *section = &item->section;
    return section->part_count == 0 && section->text != IMAP_SECTION_TEXT && section->text != IMAP_SECTION_MIME;
}

bool imap_head_is_enough(const struct imap_fetch *fetch)
{
    for (size_t i = 0; i < fetch->count; i++)
        if (fetch->items[i].kind == IMAP_FETCH_OCTETS && !is_in_head(&fetch->items[i]))
            return false;
    return true;
}

static struct cq_slice filtered(const struct imap_fetch_item *item, struct cq_slice header, struct cq_pool *pool)
{
    const struct mail_section section = {
        .what = item->section.text == IMAP_SECTION_FIELDS ? MAIL_SECTION_HEADER_FIELDS : MAIL_SECTION_HEADER_FIELDS_NOT,
        .fields = item->section.fields,
        .field_count = item->section.field_count,
        .partial = item->partial,
        .offset = item->offset,
        .length = item->length,
    };
    struct cq_buf out;
    cq_buf_init(&out, IMAP_HEAD_READ + 2);
    mail_section_filter(&section, header, &out);
    struct cq_slice fields = cq_pool_slice(pool, cq_buf_slice(&out));
    cq_buf_fini(&out);
    return fields;
}

static enum cq_rc read_head(struct imap_run *run, const struct mail_body *body, struct cq_pool *pool,
                            struct cq_slice *head_r, struct cq_err *err)
{
    struct body_piece *held;
    struct cq_slice octets;
    uint32_t len = body->size < IMAP_HEAD_READ ? body->size : IMAP_HEAD_READ;
    enum cq_rc rc = imap_message_piece(run, body, 0, len, &held, &octets, err);
    if (rc == CQ_OK)
        *head_r = cq_pool_slice(pool, octets);
    body_piece_unref(&held);
    return rc;
}

enum cq_rc imap_head_prepare(struct imap_run *run, const struct fetch_record *record, struct cq_slice *head,
                             struct imap_octets *o, struct cq_pool *pool, struct cq_err *err)
{
    const struct mail_body body = mail_body_of(record);
    enum cq_rc rc = head->len ? CQ_OK : read_head(run, &body, pool, head, err);
    if (rc != CQ_OK)
        return rc;
    size_t header_len = mail_header_length(*head);
    if (header_len == head->len && head->len < record->size)
        return CQ_E_LIMIT;
    struct cq_slice header = cq_slice_sub(*head, 0, header_len);
    if (o->item->section.text != IMAP_SECTION_HEADER)
        o->start = filtered(o->item, header, pool);
    else if (o->item->partial)
        o->start = cq_slice_sub(header, o->item->offset, o->item->length);
    else
        o->start = header;
    o->len = o->start.len;
    return CQ_OK;
}
