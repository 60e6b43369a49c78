/* The account itself: creation, limits, quota, sending counts, watches. */
#include "mailstore/mailstore_private.h"

#include "base/cq_mem.h"

#include <stdlib.h>

static Chasqui__Mail__Limits limits_to_wire(const struct mail_limits *limits)
{
    Chasqui__Mail__Limits wire = CHASQUI__MAIL__LIMITS__INIT;
    wire.directory_version = limits->directory_version;
    wire.quota_bytes = limits->quota_bytes;
    wire.quota_messages = limits->quota_messages;
    wire.sending_messages_day = limits->sending_messages_day;
    wire.sending_recipients_day = limits->sending_recipients_day;
    wire.recipients_message = limits->recipients_message;
    return wire;
}

static struct mail_limits limits_from_wire(const Chasqui__Mail__Limits *wire)
{
    if (!wire)
        return (struct mail_limits){0};
    return (struct mail_limits){
        .directory_version = wire->directory_version,
        .quota_bytes = wire->quota_bytes,
        .quota_messages = wire->quota_messages,
        .sending_messages_day = wire->sending_messages_day,
        .sending_recipients_day = wire->sending_recipients_day,
        .recipients_message = wire->recipients_message,
    };
}

/* A request whose reply says nothing that the caller needs. */
static enum cq_rc simple(struct mailstore *store, struct mailstore_account *account, Chasqui__Mail__Method method,
                         const ProtobufCMessage *message, const ProtobufCMessageDescriptor *reply_type,
                         struct cq_err *err)
{
    struct cq_pool *pool = cq_pool_new(1024);
    const struct mailstore_request request = {.method = method, .message = message, .reply_type = reply_type};
    ProtobufCMessage *reply;
    enum cq_rc rc = mailstore_roundtrip(store, account, &request, pool, &reply, NULL, err);
    cq_pool_free(&pool);
    return rc;
}

enum cq_rc mailstore_create_account(struct mailstore *store, struct mailstore_account *account,
                                    const struct mail_limits *limits, struct cq_slice address, struct cq_err *err)
{
    struct cq_pool *pool = cq_pool_new(512);
    Chasqui__Mail__CreateAccount message = CHASQUI__MAIL__CREATE_ACCOUNT__INIT;
    Chasqui__Mail__Limits wire = limits_to_wire(limits);
    message.limits = &wire;
    message.address = mailstore_text(pool, address);
    enum cq_rc rc = simple(store, account, CHASQUI__MAIL__METHOD__CREATE_ACCOUNT, &message.base,
                           &chasqui__mail__account_reply__descriptor, err);
    cq_pool_free(&pool);
    return rc;
}

enum cq_rc mailstore_delete_account(struct mailstore *store, struct mailstore_account *account, struct cq_err *err)
{
    Chasqui__Mail__DeleteAccount message = CHASQUI__MAIL__DELETE_ACCOUNT__INIT;
    return simple(store, account, CHASQUI__MAIL__METHOD__DELETE_ACCOUNT, &message.base,
                  &chasqui__mail__empty__descriptor, err);
}

enum cq_rc mailstore_set_limits(struct mailstore *store, struct mailstore_account *account,
                                const struct mail_limits *limits, struct cq_err *err)
{
    Chasqui__Mail__SetLimits message = CHASQUI__MAIL__SET_LIMITS__INIT;
    Chasqui__Mail__Limits wire = limits_to_wire(limits);
    message.limits = &wire;
    return simple(store, account, CHASQUI__MAIL__METHOD__SET_LIMITS, &message.base, &chasqui__mail__empty__descriptor,
                  err);
}

enum cq_rc mailstore_get_account(struct mailstore *store, struct mailstore_account *account, struct cq_pool *pool,
                                 struct mail_account_state *state_r, struct cq_err *err)
{
    Chasqui__Mail__Empty message = CHASQUI__MAIL__EMPTY__INIT;
    const struct mailstore_request request = {
        .method = CHASQUI__MAIL__METHOD__GET_ACCOUNT,
        .message = &message.base,
        .reply_type = &chasqui__mail__account_reply__descriptor,
    };
    ProtobufCMessage *base;
    enum cq_rc rc = mailstore_roundtrip(store, account, &request, pool, &base, NULL, err);
    if (rc != CQ_OK)
        return rc;
    const Chasqui__Mail__AccountReply *reply = (const Chasqui__Mail__AccountReply *)base;
    *state_r = (struct mail_account_state){
        .incarnation = reply->incarnation,
        .modseq = reply->modseq,
        .limits = limits_from_wire(reply->limits),
        .used_bytes = reply->used_bytes,
        .used_messages = reply->used_messages,
        .mailboxes = reply->mailboxes,
    };
    return CQ_OK;
}

enum cq_rc mailstore_keep_delivery_key(struct mailstore *store, struct mailstore_account *account,
                                       const uint8_t key[static 16], struct cq_err *err)
{
    Chasqui__Mail__KeepDeliveryKey message = CHASQUI__MAIL__KEEP_DELIVERY_KEY__INIT;
    message.delivery_key = mailstore_bytes(cq_slice_of(key, 16));
    return simple(store, account, CHASQUI__MAIL__METHOD__KEEP_DELIVERY_KEY, &message.base,
                  &chasqui__mail__empty__descriptor, err);
}

enum cq_rc mailstore_charge_sending(struct mailstore *store, struct mailstore_account *account, uint32_t recipients,
                                    const uint8_t charge_id[static 16], int64_t *clears_at_r, struct cq_err *err)
{
    struct cq_pool *pool = cq_pool_new(1024);
    Chasqui__Mail__ChargeSending message = CHASQUI__MAIL__CHARGE_SENDING__INIT;
    message.recipients = recipients;
    message.charge_id = mailstore_bytes(cq_slice_of(charge_id, 16));
    const struct mailstore_request request = {
        .method = CHASQUI__MAIL__METHOD__CHARGE_SENDING,
        .message = &message.base,
        .reply_type = &chasqui__mail__charge_sending_reply__descriptor,
    };
    ProtobufCMessage *base;
    enum cq_rc rc = mailstore_roundtrip(store, account, &request, pool, &base, NULL, err);
    *clears_at_r = base ? ((const Chasqui__Mail__ChargeSendingReply *)base)->clears_at : 0;
    cq_pool_free(&pool);
    return rc;
}

struct mailstore_watcher {
    struct mailstore_transport *transport;
    struct mailstore_watch *watch;
    void (*changed)(void *arg, const struct mail_notice *notice);
    void *arg;
};

static void on_notice(void *arg, struct cq_slice bytes)
{
    struct mailstore_watcher *watcher = arg;
    Chasqui__Mail__Notice *wire = bytes.len ? chasqui__mail__notice__unpack(NULL, bytes.len, bytes.data) : NULL;
    /* What does not decode is treated like a gap: the session asks the feed, which is always right. */
    struct mail_notice notice = {.gap = true};
    if (wire)
        notice = (struct mail_notice){
            .modseq = wire->modseq,
            .mailboxes = wire->mailboxes,
            .mailbox_count = wire->n_mailboxes,
            .mailbox_list = wire->mailbox_list,
        };
    watcher->changed(watcher->arg, &notice);
    if (wire)
        chasqui__mail__notice__free_unpacked(wire, NULL);
}

struct mailstore_watcher *mailstore_watch(struct mailstore *store, uint64_t account,
                                          void (*changed)(void *arg, const struct mail_notice *notice), void *arg)
{
    struct mailstore_watcher *watcher = cq_new(struct mailstore_watcher);
    watcher->transport = mailstore_transport_of(store);
    watcher->changed = changed;
    watcher->arg = arg;
    watcher->watch = watcher->transport->watch(watcher->transport, account, on_notice, watcher);
    return watcher;
}

void mailstore_unwatch(struct mailstore_watcher **watcher)
{
    if (!*watcher)
        return;
    (*watcher)->transport->unwatch((*watcher)->transport, (*watcher)->watch);
    free(*watcher);
    *watcher = NULL;
}
