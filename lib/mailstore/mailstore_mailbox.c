/* Mailboxes: list, create, delete, rename, subscribe, open. */
#include "mailstore/mailstore_private.h"

/* A request whose reply, if any, the caller reads before the pool goes. */
static enum cq_rc command(struct mailstore *store, struct mailstore_account *account, Chasqui__Mail__Method method,
                          const ProtobufCMessage *message, const ProtobufCMessageDescriptor *reply_type,
                          struct cq_pool *pool, ProtobufCMessage **reply_r, struct cq_err *err)
{
    const struct mailstore_request request = {.method = method, .message = message, .reply_type = reply_type};
    return mailstore_roundtrip(store, account, &request, pool, reply_r, NULL, err);
}

static enum cq_rc list(struct mailstore *store, struct mailstore_account *account, const char *name,
                       struct cq_pool *pool, struct mail_mailbox_list *list_r, struct cq_err *err)
{
    Chasqui__Mail__ListMailboxes message = CHASQUI__MAIL__LIST_MAILBOXES__INIT;
    ProtobufCMessage *base;
    message.name = (char *)(uintptr_t)name; /* protobuf-c has no const */
    enum cq_rc rc = command(store, account, CHASQUI__MAIL__METHOD__LIST_MAILBOXES, &message.base,
                            &chasqui__mail__mailbox_list__descriptor, pool, &base, err);
    if (rc != CQ_OK)
        return rc;
    const Chasqui__Mail__MailboxList *reply = (const Chasqui__Mail__MailboxList *)base;
    *list_r = (struct mail_mailbox_list){
        .mailboxes = cq_pool_alloc(pool, reply->n_mailboxes * sizeof(struct mail_mailbox)),
        .count = reply->n_mailboxes,
        .subscriptions = mailstore_slices(pool, reply->subscriptions, reply->n_subscriptions),
        .subscription_count = reply->n_subscriptions,
    };
    for (size_t i = 0; i < list_r->count; i++)
        mailstore_mailbox_from_wire(pool, reply->mailboxes[i], &list_r->mailboxes[i]);
    return CQ_OK;
}

enum cq_rc mailstore_list(struct mailstore *store, struct mailstore_account *account, struct cq_pool *pool,
                          struct mail_mailbox_list *list_r, struct cq_err *err)
{
    return list(store, account, "", pool, list_r, err);
}

enum cq_rc mailstore_find(struct mailstore *store, struct mailstore_account *account, struct cq_slice name,
                          struct cq_pool *pool, struct mail_mailbox *mailbox_r, struct cq_err *err)
{
    struct mail_mailbox_list found;
    enum cq_rc rc = list(store, account, cq_pool_cstr(pool, name), pool, &found, err);
    for (size_t i = 0; rc == CQ_OK && i < found.count; i++)
        if (cq_slice_eq(found.mailboxes[i].name, name)) {
            *mailbox_r = found.mailboxes[i];
            return CQ_OK;
        }
    return rc == CQ_OK ? CQ_FAIL(err, CQ_E_NO_MAILBOX, "no mailbox of that name") : rc;
}

enum cq_rc mailstore_create(struct mailstore *store, struct mailstore_account *account, struct cq_slice name,
                            enum mail_use use, uint64_t *mailbox_r, struct cq_err *err)
{
    struct cq_pool *pool = cq_pool_new(1024);
    Chasqui__Mail__CreateMailbox message = CHASQUI__MAIL__CREATE_MAILBOX__INIT;
    message.name = mailstore_text(pool, name);
    message.use = (Chasqui__Mail__SpecialUse)use;
    ProtobufCMessage *base;
    enum cq_rc rc = command(store, account, CHASQUI__MAIL__METHOD__CREATE_MAILBOX, &message.base,
                            &chasqui__mail__mailbox_reply__descriptor, pool, &base, err);
    if (rc == CQ_OK)
        *mailbox_r = ((const Chasqui__Mail__MailboxReply *)base)->mailbox;
    cq_pool_free(&pool);
    return rc;
}

enum cq_rc mailstore_delete(struct mailstore *store, struct mailstore_account *account, uint64_t mailbox,
                            struct cq_err *err)
{
    struct cq_pool *pool = cq_pool_new(512);
    Chasqui__Mail__DeleteMailbox message = CHASQUI__MAIL__DELETE_MAILBOX__INIT;
    message.mailbox = mailbox;
    ProtobufCMessage *base;
    enum cq_rc rc = command(store, account, CHASQUI__MAIL__METHOD__DELETE_MAILBOX, &message.base,
                            &chasqui__mail__empty__descriptor, pool, &base, err);
    cq_pool_free(&pool);
    return rc;
}

enum cq_rc mailstore_rename(struct mailstore *store, struct mailstore_account *account, struct cq_slice from,
                            struct cq_slice to, struct cq_err *err)
{
    struct cq_pool *pool = cq_pool_new(1024);
    Chasqui__Mail__RenameMailbox message = CHASQUI__MAIL__RENAME_MAILBOX__INIT;
    message.from = mailstore_text(pool, from);
    message.to = mailstore_text(pool, to);
    ProtobufCMessage *base;
    enum cq_rc rc = command(store, account, CHASQUI__MAIL__METHOD__RENAME_MAILBOX, &message.base,
                            &chasqui__mail__empty__descriptor, pool, &base, err);
    cq_pool_free(&pool);
    return rc;
}

enum cq_rc mailstore_subscribe(struct mailstore *store, struct mailstore_account *account, struct cq_slice name,
                               bool subscribed, struct cq_err *err)
{
    struct cq_pool *pool = cq_pool_new(1024);
    Chasqui__Mail__SetSubscribed message = CHASQUI__MAIL__SET_SUBSCRIBED__INIT;
    message.name = mailstore_text(pool, name);
    message.subscribed = subscribed;
    ProtobufCMessage *base;
    enum cq_rc rc = command(store, account, CHASQUI__MAIL__METHOD__SET_SUBSCRIBED, &message.base,
                            &chasqui__mail__empty__descriptor, pool, &base, err);
    cq_pool_free(&pool);
    return rc;
}

static enum cq_rc open_mailbox(struct mailstore *store, struct mailstore_account *account,
                               const Chasqui__Mail__OpenMailbox *message, struct cq_pool *pool,
                               struct mail_open *open_r, struct cq_err *err)
{
    ProtobufCMessage *base;
    enum cq_rc rc = command(store, account, CHASQUI__MAIL__METHOD__OPEN_MAILBOX, &message->base,
                            &chasqui__mail__open_mailbox_reply__descriptor, pool, &base, err);
    if (rc != CQ_OK)
        return rc;
    const Chasqui__Mail__OpenMailboxReply *reply = (const Chasqui__Mail__OpenMailboxReply *)base;
    if (!reply->mailbox)
        return CQ_FAIL(err, CQ_E_PROTO, "the shard opened mailbox %llu without a record",
                       (unsigned long long)message->mailbox);
    mailstore_mailbox_from_wire(pool, reply->mailbox, &open_r->mailbox);
    open_r->first_unseen_uid = reply->first_unseen_uid;
    return mailstore_uidset_from_wire(pool, reply->uids, &open_r->uids, err);
}

enum cq_rc mailstore_open(struct mailstore *store, struct mailstore_account *account, uint64_t mailbox,
                          struct cq_pool *pool, struct mail_open *open_r, struct cq_err *err)
{
    Chasqui__Mail__OpenMailbox message = CHASQUI__MAIL__OPEN_MAILBOX__INIT;
    message.mailbox = mailbox;
    return open_mailbox(store, account, &message, pool, open_r, err);
}

enum cq_rc mailstore_open_name(struct mailstore *store, struct mailstore_account *account, struct cq_slice name,
                               struct cq_pool *pool, struct mail_open *open_r, struct cq_err *err)
{
    Chasqui__Mail__OpenMailbox message = CHASQUI__MAIL__OPEN_MAILBOX__INIT;
    message.name = mailstore_text(pool, name);
    return open_mailbox(store, account, &message, pool, open_r, err);
}

enum cq_rc mailstore_claim_recent(struct mailstore *store, struct mailstore_account *account, uint64_t mailbox,
                                  uint32_t *from_r, uint32_t *to_r, struct cq_err *err)
{
    struct cq_pool *pool = cq_pool_new(512);
    Chasqui__Mail__ClaimRecent message = CHASQUI__MAIL__CLAIM_RECENT__INIT;
    message.mailbox = mailbox;
    ProtobufCMessage *base;
    enum cq_rc rc = command(store, account, CHASQUI__MAIL__METHOD__CLAIM_RECENT, &message.base,
                            &chasqui__mail__claim_recent_reply__descriptor, pool, &base, err);
    if (rc == CQ_OK) {
        const Chasqui__Mail__ClaimRecentReply *reply = (const Chasqui__Mail__ClaimRecentReply *)base;
        *from_r = reply->recent_from;
        *to_r = reply->recent_to;
    }
    cq_pool_free(&pool);
    return rc;
}
