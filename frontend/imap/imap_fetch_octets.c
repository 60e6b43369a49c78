#include "imap/imap_fetch_octets.h"

#include "core/front_ahead.h"
#include "imap/imap_fetch_head.h"
#include "imap/imap_reply.h"
#include "imap/imap_write.h"
#include "mail/mail_section.h"

#define AHEAD_MAX (1u << 20)     /* octets that are read of one message before anything is written */
#define FILTERED_MAX (32u << 20) /* that one FETCH makes of one message's headers: all of it is held till then, too */

static bool is_whole(const struct imap_fetch_item *item)
{
    return item->section.part_count == 0 && item->section.text == IMAP_SECTION_ALL;
}

bool imap_octets_need_summary(const struct imap_fetch *fetch)
{
    for (size_t i = 0; i < fetch->count; i++)
        if (fetch->items[i].kind == IMAP_FETCH_OCTETS && !is_whole(&fetch->items[i]))
            return true;
    return false;
}

/* ---- Where ---- */

/* Then the octets of the messages are read in the order of the messages. */
static bool is_alone(const struct imap_fetch *fetch)
{
    size_t octets = 0;
    for (size_t i = 0; i < fetch->count; i++)
        octets += fetch->items[i].kind == IMAP_FETCH_OCTETS;
    return octets == 1 && !fetch->has_changed_since;
}

static void locate_whole(const struct imap_fetch_item *item, const struct fetch_record *record, struct imap_octets *o)
{
    o->len = record->size;
    if (!item->partial)
        return;
    o->off = item->offset < o->len ? item->offset : o->len;
    o->len = item->length < o->len - o->off ? item->length : o->len - o->off;
}

static void to_mail_section(const struct imap_fetch_item *item, struct mail_section *section)
{
    static const enum mail_section_what whats[] = {
        [IMAP_SECTION_ALL] = MAIL_SECTION_ALL,
        [IMAP_SECTION_HEADER] = MAIL_SECTION_HEADER,
        [IMAP_SECTION_FIELDS] = MAIL_SECTION_HEADER_FIELDS,
        [IMAP_SECTION_FIELDS_NOT] = MAIL_SECTION_HEADER_FIELDS_NOT,
        [IMAP_SECTION_TEXT] = MAIL_SECTION_TEXT,
        [IMAP_SECTION_MIME] = MAIL_SECTION_MIME,
    };
    *section = (struct mail_section){
        .path_len = (uint32_t)item->section.part_count,
        .what = whats[item->section.text],
        .fields = item->section.fields,
        .field_count = item->section.field_count,
        .partial = item->partial,
        .offset = item->offset,
        .length = item->length,
    };
    _Static_assert(IMAP_SECTION_DEPTH_MAX <= MAIL_SECTION_PATH_MAX, "every path of the grammar fits");
    if (item->section.part_count)
        memcpy(section->path, item->section.part, item->section.part_count * sizeof *section->path);
}

/* Octets of a header that are looked into. */
static uint64_t header_read(const struct mail_range *header)
{
    return header->len < IMAP_HEADER_READ_MAX ? header->len : IMAP_HEADER_READ_MAX;
}

/* HEADER.FIELDS: made here, in memory; then there is nothing left to read. */
static enum cq_rc filter(struct imap_run *run, const struct mail_section *section, const struct mail_range *range,
                         struct imap_octets *o, struct cq_pool *pool, struct cq_err *err)
{
    struct cq_buf header, filtered;
    cq_buf_init(&header, IMAP_HEADER_READ_MAX);
    cq_buf_init(&filtered, IMAP_HEADER_READ_MAX + 2);
    enum cq_rc rc = imap_message_read(run, &o->body, range->off, header_read(range), &header, err);
    if (rc == CQ_OK) {
        mail_section_filter(section, cq_buf_slice(&header), &filtered);
        o->start = cq_pool_slice(pool, cq_buf_slice(&filtered));
        o->len = o->start.len;
    }
    cq_buf_fini(&header);
    cq_buf_fini(&filtered);
    return rc;
}

static enum cq_rc locate(struct imap_run *run, const struct imap_fetch_item *item, const struct mail_summary *summary,
                         struct imap_octets *o, struct cq_pool *pool, struct cq_err *err)
{
    struct mail_section *section = cq_pool_alloc(pool, sizeof *section);
    struct mail_range range;
    to_mail_section(item, section);
    enum cq_rc rc = mail_section_locate(summary, section, &range, err);
    o->missing = rc == CQ_E_NOT_FOUND;
    if (rc != CQ_OK)
        return o->missing ? CQ_OK : rc;
    if (range.filter)
        return filter(run, section, &range, o, pool, err);
    o->off = range.off;
    o->len = range.len;
    return CQ_OK;
}

enum cq_rc imap_octets_prepare(struct imap_run *run, const struct imap_fetch *fetch, const struct fetch_record *record,
                               const struct mail_summary *summary, struct cq_pool *pool, struct imap_octets **octets_r,
                               struct cq_err *err)
{
    size_t n = 0, ahead = 0, filtered = 0;
    struct cq_slice head = CQ_SLICE_NONE;
    struct imap_octets *octets = cq_pool_calloc(pool, fetch->count, sizeof *octets);
    *octets_r = octets;
    for (size_t i = 0; i < fetch->count; i++) {
        const struct imap_fetch_item *item = &fetch->items[i];
        if (item->kind != IMAP_FETCH_OCTETS)
            continue;
        struct imap_octets *o = &octets[n++];
        enum cq_rc rc = CQ_OK;
        *o = (struct imap_octets){.item = item, .body = mail_body_of(record), .alone = is_alone(fetch)};
        if (is_whole(item))
            locate_whole(item, record, o);
        else if (summary)
            rc = locate(run, item, summary, o, pool, err);
        else
            rc = imap_head_prepare(run, record, &head, o, pool, err);
        if (summary)
            filtered += o->start.len;
        if (rc == CQ_OK && filtered > FILTERED_MAX)
            rc = CQ_FAIL(err, CQ_E_LIMIT, "more than %u octets of headers", FILTERED_MAX);
        if (rc == CQ_OK && o->start.len == 0 && ahead < AHEAD_MAX)
            rc = imap_message_piece(run, &o->body, o->off, o->len, &o->held, &o->start, err);
        if (rc != CQ_OK)
            return rc;
        ahead += o->start.len;
    }
    return CQ_OK;
}

void imap_octets_release(const struct imap_fetch *fetch, struct imap_octets *octets)
{
    for (size_t i = 0; octets && i < fetch->count; i++)
        body_piece_unref(&octets[i].held);
}

/* ---- Ahead ---- */

/* False: it cannot be said without reading, or there is nothing. */
static bool range_of(const struct imap_fetch_item *item, const struct fetch_record *record, struct mail_range *range_r)
{
    if (is_whole(item)) {
        struct imap_octets o = {0};
        locate_whole(item, record, &o);
        *range_r = (struct mail_range){.off = o.off, .len = o.len};
        return true;
    }
    struct mail_summary summary;
    struct mail_section section;
    if (mail_summary_open(record->summary, &summary, NULL) != CQ_OK || summary.size != record->size)
        return false;
    to_mail_section(item, &section);
    if (mail_section_locate(&summary, &section, range_r, NULL) != CQ_OK)
        return false;
    if (range_r->filter)
        range_r->len = header_read(range_r);
    return true;
}

/* Those of the next messages: a guess, for all may have changed when they are looked at. */
static void ask_next_messages(struct imap_run *run, const struct imap_fetch_item *item)
{
    struct cq_slice following = run->following;
    struct fetch_record next;
    struct mail_range range;
    while (fetch_record_next(&following, &next) == CQ_OK) {
        if (next.uid <= run->ahead_uid || imap_view_seq(run->session->view, next.uid) == 0)
            continue;
        const struct mail_body body = mail_body_of(&next);
        if (range_of(item, &next, &range) && !imap_message_ahead(run, &body, range.off, range.len))
            return;
        run->ahead_uid = next.uid;
    }
}

/* What is read after the first `done` octets are written; asked for before they are. */
static void ask_next(struct imap_run *run, const struct imap_octets *o, uint64_t done)
{
    if (!run->ahead)
        return;
    if (imap_message_ahead(run, &o->body, o->off + done, o->len - done) && o->alone)
        ask_next_messages(run, o->item);
    front_ahead_go(run->ahead);
}

/* ---- Writing ---- */

static enum cq_rc write_rest(struct imap_run *run, const struct imap_octets *o, struct cq_err *err)
{
    uint64_t done = o->start.len;
    enum cq_rc rc = CQ_OK;
    while (rc == CQ_OK && done < o->len) {
        struct body_piece *held;
        struct cq_slice octets;
        rc = imap_message_piece(run, &o->body, o->off + done, o->len - done, &held, &octets, err);
        if (rc != CQ_OK)
            break;
        done += octets.len;
        ask_next(run, o, done);
        imap_out_give(run, octets, &held);
        rc = imap_out_flush(run);
    }
    return rc;
}

enum cq_rc imap_octets_write(struct imap_run *run, struct imap_octets *o, struct cq_err *err)
{
    imap_write_fetch_name(&run->out, o->item);
    if (o->missing) {
        cq_buf_cstr(&run->out, " NIL");
        return CQ_OK;
    }
    cq_buf_byte(&run->out, ' ');
    imap_write_literal_header(&run->out, o->len);
    ask_next(run, o, o->start.len);
    imap_out_give(run, o->start, &o->held);
    enum cq_rc rc = imap_out_flush(run);
    return rc == CQ_OK ? write_rest(run, o, err) : rc;
}
