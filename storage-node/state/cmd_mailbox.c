/* CREATE_MAILBOX, DELETE_MAILBOX, SET_SUBSCRIBED, CLAIM_RECENT. */
#include "state/mail_private.h"
#include "state/mailbox_name.h"

static bool use_creatable(Chasqui__Mail__SpecialUse use)
{
    return use >= CHASQUI__MAIL__SPECIAL_USE__USE_NONE && use <= CHASQUI__MAIL__SPECIAL_USE__USE_TRASH;
}

COMMAND(cmd_create_mailbox)
{
    const Chasqui__Mail__CreateMailbox *create = message;
    struct cq_slice name;
    uint64_t id;
    enum cq_rc rc = mailbox_name_take(create->name, a->v.pool, &name, a->v.err);
    if (rc != CQ_OK)
        return rc;
    if (!use_creatable(create->use))
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "special use %d", create->use);
    rc = mail_find_name(&a->v, name, &id);
    if (rc != CQ_E_NOT_FOUND)
        return rc == CQ_OK ? CQ_FAIL(a->v.err, CQ_E_EXISTS, "mailbox of that name") : rc;
    struct mailbox_record mailbox;
    rc = apply_create_parents(a, name);
    if (rc == CQ_OK)
        rc = apply_create_mailbox(a, name, create->use, &id, &mailbox);
    if (rc != CQ_OK)
        return rc;
    Chasqui__Mail__MailboxReply reply = CHASQUI__MAIL__MAILBOX_REPLY__INIT;
    reply.mailbox = id;
    reply.uidvalidity = mailbox.uidvalidity;
    *reply_r = mail_pack(a->v.pool, &reply.base);
    return CQ_OK;
}

/* Does any mailbox have a name below this one? */
static enum cq_rc has_children(struct apply *a, struct cq_slice name, bool *has_r)
{
    struct state_key prefix = mail_key_bytes(&a->v, KEY_NAME, name);
    key_u8(&prefix, '/');
    struct db_iter *iter = db_iter_prefix(a->v.m->db, &prefix);
    enum cq_rc rc = db_iter_next(iter);
    db_iter_free(&iter);
    *has_r = rc == CQ_OK;
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

static enum cq_rc check_deletable(struct apply *a, const struct mailbox_record *mailbox)
{
    bool parent = false;
    if (mailbox_name_is_inbox(mailbox->name))
        return CQ_FAIL(a->v.err, CQ_E_DENIED, "INBOX cannot be deleted");
    enum cq_rc rc = has_children(a, mailbox->name, &parent);
    if (rc == CQ_OK && parent) /* RFC 9051 [HASCHILDREN]: no \Noselect names here */
        rc = CQ_FAIL(a->v.err, CQ_E_CONFLICT, "mailbox has children");
    return rc;
}

/* The name, its counters and its share of the quota go at once; messages when RECLAIM comes by. */
COMMAND(cmd_delete_mailbox)
{
    (void)reply_r;
    const Chasqui__Mail__DeleteMailbox *deletion = message;
    uint64_t id = deletion->mailbox;
    struct mailbox_record mailbox;
    enum cq_rc rc = mail_load_mailbox(&a->v, id, &mailbox);
    if (rc == CQ_OK)
        rc = check_deletable(a, &mailbox);
    if (rc != CQ_OK)
        return rc;
    struct account_record *account = &a->v.account;
    struct state_key key = mail_key_u64(&a->v, KEY_MAILBOX, id);
    struct state_key keywords = mail_key_u64(&a->v, KEY_KEYWORDS, id);
    apply_list_changed(a);
    apply_changed(a, id);
    apply_remove_name(a, mailbox.name);
    db_delete(a->v.m->db, &key);
    db_delete(a->v.m->db, &keywords);
    account->mailboxes--;
    if (mailbox.use)
        account->uses[mailbox.use] = 0;
    account->used_bytes -= mailbox.size;
    account->used_messages -= mailbox.messages;
    if (mailbox.messages || mailbox.vanished)
        apply_tombstone(a, id);
    uid_cache_drop(a->v.m->uids, a->v.id, id);
    apply_mailbox_event(a, CHASQUI__OUTBOX__TYPE__MAILBOX_DELETED, id, mailbox.name, CQ_SLICE_NONE, mailbox.messages,
                        mailbox.size);
    apply_quota_events(a);
    return CQ_OK;
}

COMMAND(cmd_set_subscribed)
{
    (void)reply_r;
    const Chasqui__Mail__SetSubscribed *set = message;
    struct cq_slice name;
    enum cq_rc rc = mailbox_name_take(set->name, a->v.pool, &name, a->v.err);
    return rc == CQ_OK ? apply_subscribe(a, name, set->subscribed) : rc;
}

COMMAND(cmd_claim_recent)
{
    const Chasqui__Mail__ClaimRecent *claim = message;
    struct mailbox_record mailbox;
    enum cq_rc rc = mail_load_mailbox(&a->v, claim->mailbox, &mailbox);
    if (rc != CQ_OK)
        return rc;
    Chasqui__Mail__ClaimRecentReply reply = CHASQUI__MAIL__CLAIM_RECENT_REPLY__INIT;
    reply.recent_from = mailbox.recent_from;
    reply.recent_to = mailbox.uidnext;
    *reply_r = mail_pack(a->v.pool, &reply.base);
    if (mailbox.recent_from == mailbox.uidnext)
        return CQ_OK;
    /* The account's modseq rises (a later read must not see the old claim), the mailbox's does not: no message changed.
     */
    mailbox.recent_from = mailbox.uidnext;
    apply_modseq(a);
    mail_save_mailbox(&a->v, claim->mailbox, &mailbox);
    return CQ_OK;
}
