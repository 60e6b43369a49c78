/* EXPUNGE: messages with \Deleted, found by their index, so that nothing else is looked at. */
#include "base/cq_endian.h"
#include "state/mail_private.h"

struct doomed {
    uint32_t *uids;
    size_t count;
};

static enum cq_rc collect_range(struct apply *a, struct db_iter *iter, uint64_t mailbox, struct uid_range range,
                                struct doomed *doomed)
{
    struct state_key from = mail_key_uid(&a->v, KEY_DELETED, mailbox, range.first);
    enum cq_rc rc;
    db_iter_seek(iter, &from);
    while ((rc = db_iter_next(iter)) == CQ_OK) {
        struct cq_slice key = db_iter_key(iter);
        uint32_t uid = cq_get_be32(key.data + key.len - 4);
        if (uid > range.last)
            return CQ_OK;
        if (doomed->count == STATE_EFFECTS_MAX)
            return CQ_FAIL(a->v.err, CQ_E_LIMIT, "more than %d messages to expunge", STATE_EFFECTS_MAX);
        doomed->uids[doomed->count++] = uid;
    }
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

static enum cq_rc collect(struct apply *a, uint64_t mailbox, const struct uidset *set, struct doomed *doomed)
{
    struct state_key all = mail_key_u64(&a->v, KEY_DELETED, mailbox);
    doomed->uids = cq_pool_calloc(a->v.pool, STATE_EFFECTS_MAX, sizeof *doomed->uids);
    doomed->count = 0;
    struct db_iter *iter = db_iter_prefix(a->v.m->db, &all);
    enum cq_rc rc = CQ_OK;
    for (size_t i = 0; i < set->count && rc == CQ_OK; i++)
        rc = collect_range(a, iter, mailbox, set->ranges[i], doomed);
    db_iter_free(&iter);
    return rc;
}

static enum cq_rc expunge_one(struct apply *a, uint64_t id, struct mailbox_record *mailbox, uint32_t uid)
{
    struct message_record message;
    enum cq_rc rc = mail_load_message(&a->v, id, uid, &message);
    if (rc == CQ_E_NOT_FOUND) /* an index without its message: the state is wrong */
        return mail_decoded(&a->v, CQ_E_CORRUPT, "message");
    if (rc == CQ_OK)
        rc = apply_release_email(a, message.email);
    if (rc == CQ_OK)
        apply_remove_message(a, id, mailbox, uid, &message);
    return rc;
}

static enum cq_rc expunge_all(struct apply *a, uint64_t id, struct mailbox_record *mailbox, const struct doomed *doomed,
                              struct uidset *expunged_r)
{
    struct uidset_builder expunged;
    uint64_t size = mailbox->size;
    enum cq_rc rc = CQ_OK;
    uidset_builder_init(&expunged, a->v.pool);
    for (size_t i = 0; i < doomed->count && rc == CQ_OK; i++) {
        rc = expunge_one(a, id, mailbox, doomed->uids[i]);
        uidset_builder_add(&expunged, doomed->uids[i], doomed->uids[i]);
    }
    *expunged_r = uidset_builder_finish(&expunged);
    if (rc != CQ_OK || doomed->count == 0)
        return rc;
    rc = apply_vanished(a, id, mailbox, expunged_r);
    if (rc != CQ_OK)
        return rc;
    mail_save_mailbox(&a->v, id, mailbox);
    apply_changed(a, id);
    apply_mailbox_event(a, CHASQUI__OUTBOX__TYPE__MESSAGES_EXPUNGED, id, mailbox->name, CQ_SLICE_NONE,
                        (uint32_t)doomed->count, size - mailbox->size);
    apply_quota_events(a);
    return CQ_OK;
}

COMMAND(cmd_expunge)
{
    const Chasqui__Mail__Expunge *expunge = message;
    struct mailbox_record mailbox;
    struct uid_range everything = {1, UINT32_MAX};
    struct uidset set = {&everything, 1}, expunged;
    struct doomed doomed;
    enum cq_rc rc = mail_load_mailbox(&a->v, expunge->mailbox, &mailbox);
    if (rc == CQ_OK && expunge->has_uids)
        rc = mail_uidset(&a->v, expunge->uids, &set);
    if (rc == CQ_OK)
        rc = collect(a, expunge->mailbox, &set, &doomed);
    if (rc == CQ_OK)
        rc = expunge_all(a, expunge->mailbox, &mailbox, &doomed, &expunged);
    if (rc != CQ_OK)
        return rc;
    Chasqui__Mail__ExpungeReply reply = CHASQUI__MAIL__EXPUNGE_REPLY__INIT;
    Chasqui__Mail__UidSet wire;
    mail_uidset_put(a->v.pool, &expunged, &wire);
    reply.modseq = a->modseq;
    reply.expunged = &wire;
    *reply_r = mail_pack(a->v.pool, &reply.base);
    return CQ_OK;
}
