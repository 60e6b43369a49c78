#include "core/front_delivery.h"

#include "base/cq_log.h"
#include "base/cq_rand.h"
#include "mail/mail_check.h"
#include "mail/mail_summary.h"

#include <sodium.h>

#define PREFIX_MAX (16u << 10)
#define KEY_SIZE 16
#define HASH_PIECE (64u << 10)
#define MESSAGE_ID_MAX 998 /* octets that events tell of a Message-ID: a line (RFC 5322 2.1.1) */

static void write_prefix(const struct front_delivery *delivery, const struct front_target *target, struct cq_buf *out)
{
    struct mail_received received = delivery->received;
    if (delivery->recipients == 1)
        received.recipient = target->original;
    mail_write_return_path(delivery->envelope_from, out);
    mail_write_delivered_to(target->address, out);
    mail_write_received(&received, out);
}

/* The delivery key: sender, recipient and the octets as the client sent them, so that the same message sent again has
 * the same key at any front-end. */
static enum cq_rc delivery_key(const struct front_delivery *delivery, const struct front_target *target,
                               uint8_t key[static KEY_SIZE], struct cq_err *err)
{
    crypto_generichash_state state;
    struct cq_buf piece;
    static const uint8_t separator = 0;
    crypto_generichash_init(&state, NULL, 0, KEY_SIZE);
    crypto_generichash_update(&state, delivery->envelope_from.data, delivery->envelope_from.len);
    crypto_generichash_update(&state, &separator, 1);
    crypto_generichash_update(&state, target->original.data, target->original.len);
    crypto_generichash_update(&state, &separator, 1);
    cq_buf_init(&piece, HASH_PIECE);
    enum cq_rc rc = CQ_OK;
    for (uint64_t at = 0; rc == CQ_OK && at < delivery->spool->size; at += piece.len) {
        uint64_t left = delivery->spool->size - at;
        cq_buf_reset(&piece, HASH_PIECE);
        rc = front_spool_read(delivery->spool, at, left < HASH_PIECE ? (size_t)left : HASH_PIECE, &piece, err);
        crypto_generichash_update(&state, piece.data, piece.len);
    }
    cq_buf_fini(&piece);
    crypto_generichash_final(&state, key, KEY_SIZE);
    return rc;
}

/* The whole copy, prefix first, in pieces that the shard takes. */
static enum cq_rc stage_copy(const struct front_delivery *delivery, struct mailstore_account *account,
                             struct cq_slice prefix, struct mail_stage *stage, struct cq_err *err)
{
    uint8_t random[16];
    struct cq_buf piece;
    enum cq_rc rc = CQ_OK;
    cq_rand_bytes(random, sizeof random);
    mailstore_stage_init(stage, random);
    cq_buf_init(&piece, MAIL_STAGE_PIECE_MAX);
    cq_buf_slice_add(&piece, prefix);
    for (uint64_t at = 0; rc == CQ_OK && at < delivery->spool->size;) {
        uint64_t left = delivery->spool->size - at;
        size_t room = MAIL_STAGE_PIECE_MAX - piece.len, len = left < room ? (size_t)left : room;
        rc = front_spool_read(delivery->spool, at, len, &piece, err);
        struct cq_slice raw = cq_buf_slice(&piece);
        if (rc == CQ_OK)
            rc = mailstore_stage(delivery->session->worker->mailstore, account, stage, &raw, 1, err);
        at += len;
        cq_buf_reset(&piece, MAIL_STAGE_PIECE_MAX);
    }
    cq_buf_fini(&piece);
    return rc;
}

/* The sender's own, without its brackets; empty: it has none. */
static struct cq_slice rfc5322_message_id(struct cq_slice summary)
{
    struct mail_summary view;
    if (mail_summary_open(summary, &view, NULL) != CQ_OK)
        return CQ_SLICE_NONE;
    return cq_slice_sub(view.message_id, 0, MESSAGE_ID_MAX);
}

static struct mail_delivery describe(const struct front_delivery *delivery, const struct front_target *target)
{
    return (struct mail_delivery){
        .use = MAIL_USE_INBOX,
        .from_account = delivery->from_account,
        .message_id = delivery->message_id,
        .session_id = cq_slice_cstr(delivery->session->id),
        .direction = delivery->direction,
        .envelope_from = delivery->envelope_from,
        .recipient = target->address,
        .original_recipient = target->original,
        .client_ip = cq_slice_cstr(delivery->session->peer),
        .ehlo = delivery->ehlo,
        .tls = delivery->tls,
        .recipients = delivery->recipients,
        .received_time_us = delivery->received_time_us,
    };
}

static enum cq_rc deliver_copy(const struct front_delivery *delivery, const struct front_target *target,
                               struct cq_slice prefix, struct cq_slice summary, struct cq_err *err)
{
    struct mailstore *store = delivery->session->worker->mailstore;
    struct mailstore_account account = {.id = target->account};
    struct mail_delivery what = describe(delivery, target);
    what.rfc5322_message_id = rfc5322_message_id(summary);
    struct cq_slice memory = front_spool_memory(delivery->spool);
    const struct cq_slice octets[] = {prefix, memory};
    struct mail_new_message message = {
        .internal_date = delivery->received_time_us / 1000000,
        .summary = summary,
        .octets = octets,
        .octet_count = 2,
    };
    struct mail_stage stage;
    uint8_t key[KEY_SIZE];
    enum cq_rc rc = CQ_OK;
    if (delivery->use_keys) {
        rc = delivery_key(delivery, target, key, err);
        what.delivery_key = cq_slice_of(key, sizeof key);
    }
    if (rc == CQ_OK && prefix.len + delivery->spool->size > MAIL_INLINE_MAX) {
        rc = stage_copy(delivery, &account, prefix, &stage, err);
        message.stage = &stage;
    } else if (rc == CQ_OK && delivery->spool->fd >= 0) {
        rc = CQ_FAIL(err, CQ_E_INTERNAL, "a small message is not in memory");
    }
    bool absorbed = false;
    if (rc == CQ_OK)
        rc = mailstore_deliver(store, &account, &message, &what, &absorbed, err);
    if (rc == CQ_OK && absorbed)
        cq_log(CQ_INFO, "delivery.absorbed", CQ_F_STR("session", delivery->session->id), CQ_F_ACCOUNT(target->account));
    return rc;
}

void front_deliver(const struct front_delivery *delivery, struct front_target *target)
{
    struct cq_err err = {0};
    struct cq_buf prefix, summary;
    if (mail_check_delivered_to(mail_builder_index(delivery->builder), target->address)) {
        target->rc = CQ_E_CONFLICT;
        return;
    }
    cq_buf_init(&prefix, PREFIX_MAX);
    cq_buf_init(&summary, MAIL_SUMMARY_MAX);
    write_prefix(delivery, target, &prefix);
    mail_builder_summary(delivery->builder, prefix.len, &summary);
    target->rc = deliver_copy(delivery, target, cq_buf_slice(&prefix), cq_buf_slice(&summary), &err);
    if (target->rc != CQ_OK)
        cq_log(CQ_WARN, "delivery.failed", CQ_F_STR("session", delivery->session->id), CQ_F_ACCOUNT(target->account),
               CQ_F_RC(target->rc), CQ_F_ERR(&err));
    cq_buf_fini(&summary);
    cq_buf_fini(&prefix);
}

void front_delivery_keep_keys(const struct front_delivery *delivery, const struct front_target *targets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct cq_err err = {0};
        uint8_t key[KEY_SIZE];
        if (targets[i].rc != CQ_OK || !delivery->use_keys)
            continue;
        struct mailstore_account account = {.id = targets[i].account};
        enum cq_rc rc = delivery_key(delivery, &targets[i], key, &err);
        if (rc == CQ_OK)
            rc = mailstore_keep_delivery_key(delivery->session->worker->mailstore, &account, key, &err);
        if (rc != CQ_OK)
            cq_log(CQ_WARN, "delivery.key_not_kept", CQ_F_STR("session", delivery->session->id),
                   CQ_F_ACCOUNT(targets[i].account), CQ_F_ERR(&err));
    }
}
