/* FETCH: records of a set, in order of UID, a batch at a time. */
#include "base/cq_endian.h"
#include "mail/mail_summary.h"
#include "state/mail_private.h"

struct batch {
    struct mail_view *v;
    struct cq_buf *raw;
    uint64_t mailbox;
    struct uidset hidden;
    uint32_t uidnext;          /* from here on lie the messages of a COPY that has not come to its end */
    struct db_iter *summaries; /* NULL: they were not asked for */
    uint32_t summary_data;     /* 0: all */
    struct cq_buf picked;      /* of one summary */
    uint32_t records, records_max;
    size_t raw_start;
};

/* Full after this many records or bytes: the next record starts the next batch. */
static bool batch_full(const struct batch *batch)
{
    return batch->records >= batch->records_max || batch->raw->len - batch->raw_start >= STATE_READ_BYTES;
}

/* Messages of one mailbox mostly have ascending email ids: the next summary is often the wanted one. */
static enum cq_rc find_summary(struct batch *batch, uint64_t email, struct cq_slice *summary_r)
{
    struct state_key key = mail_key_u64(batch->v, KEY_SUMMARY, email);
    enum cq_rc rc = db_iter_next(batch->summaries);
    if (rc == CQ_E_EOF || (rc == CQ_OK && !cq_slice_eq(db_iter_key(batch->summaries), key_slice(&key)))) {
        db_iter_seek(batch->summaries, &key);
        rc = db_iter_next(batch->summaries);
    }
    if (rc == CQ_E_EOF || (rc == CQ_OK && !cq_slice_eq(db_iter_key(batch->summaries), key_slice(&key))))
        rc = CQ_E_CORRUPT;
    return mail_decoded(batch->v, rc == CQ_OK ? bytes_record_get(db_iter_value(batch->summaries), summary_r) : rc,
                        "summary");
}

/* Only what was asked for goes on its way; what is damaged goes as it is, for the reader to find. */
static struct cq_slice pick_summary(struct batch *batch, struct cq_slice summary)
{
    if (batch->summary_data == 0)
        return summary;
    cq_buf_reset(&batch->picked, MAIL_SUMMARY_MAX);
    return mail_summary_pick(summary, batch->summary_data, &batch->picked) ? cq_buf_slice(&batch->picked) : summary;
}

enum cq_rc mail_put_record(struct mail_view *v, uint32_t uid, const struct message_record *message,
                           struct cq_slice summary, struct cq_buf *raw)
{
    struct fetch_record record = {
        .uid = uid,
        .size = message->size,
        .modseq = message->modseq,
        .internal_date = message->internal_date,
        .save_date = message->save_date,
        .email = message->email,
        .thread = message->thread,
        .flags = message->flags,
        .keywords = message->keywords,
        .summary = summary,
    };
    return fetch_record_encode(&record, raw) ? CQ_OK : CQ_FAIL(v->err, CQ_E_LIMIT, "no room for a record");
}

static enum cq_rc add_record(struct batch *batch, uint32_t uid, struct cq_slice value)
{
    struct message_record message;
    struct cq_slice summary = CQ_SLICE_NONE;
    enum cq_rc rc = mail_decoded(batch->v, message_record_get(value, &message), "message");
    if (rc == CQ_OK && batch->summaries)
        rc = find_summary(batch, message.email, &summary);
    if (rc == CQ_OK)
        rc = mail_put_record(batch->v, uid, &message, pick_summary(batch, summary), batch->raw);
    batch->records++;
    return rc;
}

/* *next_r: 0, or the UID where the batch became full. */
static enum cq_rc fetch_range(struct batch *batch, struct db_iter *iter, struct uid_range range, uint32_t *next_r)
{
    struct state_key from = mail_key_uid(batch->v, KEY_MESSAGE, batch->mailbox, range.first);
    enum cq_rc rc;
    db_iter_seek(iter, &from);
    while ((rc = db_iter_next(iter)) == CQ_OK) {
        struct cq_slice key = db_iter_key(iter);
        uint32_t uid = cq_get_be32(key.data + key.len - 4);
        if (uid > range.last || uid >= batch->uidnext)
            return CQ_OK;
        if (uidset_contains(&batch->hidden, uid))
            continue;
        if (batch_full(batch)) {
            *next_r = uid;
            return CQ_OK;
        }
        rc = add_record(batch, uid, db_iter_value(iter));
        if (rc != CQ_OK)
            return rc;
    }
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

static enum cq_rc fetch_set(struct batch *batch, const struct uidset *set, uint32_t *next_r)
{
    struct state_key all = mail_key_u64(batch->v, KEY_MESSAGE, batch->mailbox);
    struct db_iter *iter = db_iter_prefix(batch->v->m->db, &all);
    enum cq_rc rc = CQ_OK;
    *next_r = 0;
    for (size_t i = 0; i < set->count && rc == CQ_OK && !*next_r; i++)
        rc = fetch_range(batch, iter, set->ranges[i], next_r);
    db_iter_free(&iter);
    return rc;
}

static uint32_t records_max(uint32_t asked)
{
    return asked && asked < STATE_READ_RECORDS ? asked : STATE_READ_RECORDS;
}

READ(read_fetch)
{
    const Chasqui__Mail__Fetch *fetch = (const void *)message;
    struct batch batch = {
        .v = v,
        .raw = raw,
        .mailbox = fetch->mailbox,
        .summary_data = fetch->summary_data,
        .records_max = records_max(fetch->max_records),
        .raw_start = raw->len,
    };
    cq_buf_init(&batch.picked, MAIL_SUMMARY_MAX);
    struct mailbox_record mailbox;
    struct uidset set;
    Chasqui__Mail__FetchReply reply = CHASQUI__MAIL__FETCH_REPLY__INIT;
    enum cq_rc rc = mail_load_mailbox(v, fetch->mailbox, &mailbox);
    if (rc == CQ_OK)
        rc = mail_uidset(v, fetch->uids, &set);
    struct state_key summaries = mail_key(v, KEY_SUMMARY);
    if (rc == CQ_OK)
        rc = mail_hidden(v, fetch->mailbox, &batch.hidden);
    batch.uidnext = mailbox.uidnext;
    if (rc == CQ_OK && fetch->summaries)
        batch.summaries = db_iter_prefix(v->m->db, &summaries);
    if (rc == CQ_OK)
        rc = fetch_set(&batch, &set, &reply.next_uid);
    db_iter_free(&batch.summaries);
    cq_buf_fini(&batch.picked);
    if (rc == CQ_OK)
        rc = mail_keyword_list(v, fetch->mailbox, &reply.keywords, &reply.n_keywords);
    if (rc != CQ_OK)
        return rc;
    reply.records = batch.records;
    reply.highest_modseq = mailbox.highest_modseq;
    *reply_r = mail_pack(v->pool, &reply.base);
    return CQ_OK;
}
