/* CHANGES: what a mailbox has become since a modseq, from two indexes: messages by modseq, and expunges by modseq.
 *
 * A batch covers modseqs (since, until]. It never ends inside a modseq: whoever goes on from `until` would miss the
 * rest. One modseq is one command, so at most STATE_COPY_MAX records more than were asked for (the limit of what a
 * frame carries, ANSWER_RAW_MAX of service_group.c, has room for them).
 *
 * What vanished is exact while the mailbox remembers its expunges one by one; from before that it is everything below
 * UIDNEXT that is not there now, which is a superset, and correct (RFC 7162 3.2.10). */
#include "base/cq_endian.h"
#include "state/mail_private.h"

struct feed {
    struct mail_view *v;
    uint64_t mailbox_id, since, until; /* until: as far as this batch goes */
    struct mailbox_record mailbox;
    struct uidset hidden;
    bool more;
    struct uidset vanished;
};

static enum cq_rc vanished_records(struct feed *feed)
{
    struct state_key from = mail_key_modseq(feed->v, KEY_VANISHED, feed->mailbox_id, feed->since + 1);
    struct state_key prefix = mail_key_u64(feed->v, KEY_VANISHED, feed->mailbox_id), after;
    struct uidset_builder all;
    size_t ranges = 0;
    enum cq_rc rc;
    key_after_prefix(&prefix, &after);
    uidset_builder_init(&all, feed->v->pool);
    struct db_iter *iter = db_iter_new(feed->v->m->db, key_slice(&from), key_slice(&after));
    while ((rc = db_iter_next(iter)) == CQ_OK) {
        struct uidset set;
        struct cq_slice key = db_iter_key(iter);
        rc = mail_decoded(feed->v, uids_record_get(db_iter_value(iter), feed->v->pool, &set), "vanished");
        if (rc != CQ_OK)
            break;
        for (size_t i = 0; i < set.count; i++)
            uidset_builder_add(&all, set.ranges[i].first, set.ranges[i].last);
        ranges += set.count;
        if (ranges >= STATE_READ_RANGES) {
            feed->until = cq_get_be64(key.data + key.len - 8);
            rc = CQ_E_EOF;
            break;
        }
    }
    db_iter_free(&iter);
    feed->vanished = uidset_builder_finish(&all);
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

static enum cq_rc vanished_superset(struct feed *feed)
{
    struct uid_entry *uids;
    enum cq_rc rc = mail_uids(feed->v, feed->mailbox_id, feed->mailbox.uidnext, &uids);
    if (rc == CQ_OK)
        feed->vanished = uid_entry_gaps(uids, feed->mailbox.uidnext, feed->v->pool);
    return rc;
}

static enum cq_rc put_changed(struct feed *feed, uint32_t uid, struct cq_buf *raw)
{
    struct message_record message;
    enum cq_rc rc = mail_load_message(feed->v, feed->mailbox_id, uid, &message);
    if (rc == CQ_E_NOT_FOUND) /* an index without its message: the state is wrong */
        rc = mail_decoded(feed->v, CQ_E_CORRUPT, "change");
    return rc == CQ_OK ? mail_put_record(feed->v, uid, &message, CQ_SLICE_NONE, raw) : rc;
}

/* Records up to feed->until, which comes down to the last whole modseq when the batch is full. */
static enum cq_rc changed_records(struct feed *feed, uint32_t max, struct cq_buf *raw, uint32_t *records_r)
{
    struct state_key from = mail_key_modseq(feed->v, KEY_CHANGE, feed->mailbox_id, feed->since + 1);
    struct state_key to = mail_key_modseq(feed->v, KEY_CHANGE, feed->mailbox_id, feed->until + 1);
    struct db_iter *iter = db_iter_new(feed->v->m->db, key_slice(&from), key_slice(&to));
    uint64_t last = feed->since;
    size_t start = raw->len;
    enum cq_rc rc;
    while ((rc = db_iter_next(iter)) == CQ_OK) {
        const uint8_t *end = db_iter_key(iter).data + db_iter_key(iter).len;
        uint64_t modseq = cq_get_be64(end - 12);
        if (uidset_contains(&feed->hidden, cq_get_be32(end - 4)))
            continue;
        if (modseq != last && (*records_r >= max || raw->len - start >= STATE_READ_BYTES)) {
            feed->until = last;
            rc = CQ_E_EOF;
            break;
        }
        last = modseq;
        rc = put_changed(feed, cq_get_be32(end - 4), raw);
        if (rc != CQ_OK)
            break;
        ++*records_r;
    }
    db_iter_free(&iter);
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

static enum cq_rc run_feed(struct feed *feed, uint32_t max, struct cq_buf *raw, uint32_t *records_r)
{
    feed->until = feed->mailbox.highest_modseq;
    if (feed->until <= feed->since) {
        feed->until = feed->since;
        return CQ_OK;
    }
    enum cq_rc rc = feed->since < feed->mailbox.vanished_floor ? vanished_superset(feed) : vanished_records(feed);
    if (rc == CQ_OK)
        rc = changed_records(feed, max, raw, records_r);
    feed->more = feed->until < feed->mailbox.highest_modseq;
    return rc;
}

static enum cq_rc fill_reply(struct feed *feed, Chasqui__Mail__ChangesReply *reply, Chasqui__Mail__UidSet *vanished)
{
    const struct mailbox_record *mailbox = &feed->mailbox;
    mail_uidset_put(feed->v->pool, &feed->vanished, vanished);
    reply->vanished = vanished;
    reply->until_modseq = feed->until;
    reply->more = feed->more;
    reply->uidnext = mailbox->uidnext;
    reply->messages = mailbox->messages;
    reply->highest_modseq = mailbox->highest_modseq;
    reply->recent_from = mailbox->recent_from;
    return mail_keyword_list(feed->v, feed->mailbox_id, &reply->keywords, &reply->n_keywords);
}

READ(read_changes)
{
    const Chasqui__Mail__Changes *changes = (const void *)message;
    Chasqui__Mail__ChangesReply reply = CHASQUI__MAIL__CHANGES_REPLY__INIT;
    Chasqui__Mail__UidSet vanished;
    struct feed feed = {.v = v, .mailbox_id = changes->mailbox, .since = changes->since_modseq};
    uint32_t max =
        changes->max_records && changes->max_records < STATE_READ_RECORDS ? changes->max_records : STATE_READ_RECORDS;
    enum cq_rc rc = mail_load_mailbox(v, changes->mailbox, &feed.mailbox);
    reply.mailbox_gone = rc == CQ_E_NO_MAILBOX;
    if (rc == CQ_OK)
        rc = mail_hidden(v, changes->mailbox, &feed.hidden);
    if (rc == CQ_OK)
        rc = run_feed(&feed, max, raw, &reply.records);
    if (rc == CQ_OK)
        rc = fill_reply(&feed, &reply, &vanished);
    if (rc == CQ_OK || reply.mailbox_gone)
        *reply_r = mail_pack(v->pool, &reply.base);
    return reply.mailbox_gone ? CQ_OK : rc;
}
