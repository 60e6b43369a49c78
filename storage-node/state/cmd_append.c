/* APPEND and DELIVER. */
#include "mail/mail_summary.h"
#include "base/cq_planted.h"
#include "state/mail_private.h"

_Static_assert(STATE_SUMMARY_MAX >= MAIL_SUMMARY_MAX, "no message is refused for the summary that a front-end made");

/* One mailbox that receives messages. */
struct target {
    uint64_t id;
    struct mailbox_record mailbox;
    struct keyword_table *table; /* NULL until a message has keywords */
    bool table_grown;
};

static enum cq_rc check_message(struct apply *a, const Chasqui__Mail__NewMessage *message)
{
    if (message->size > STATE_BODY_MAX)
        return CQ_FAIL(a->v.err, CQ_E_TOO_BIG, "message of %u bytes", message->size);
    if (message->summary.len > STATE_SUMMARY_MAX)
        return CQ_FAIL(a->v.err, CQ_E_TOO_BIG, "summary of %zu bytes", message->summary.len);
    if (message->flags & ~31u)
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "flags %x", message->flags);
    return CQ_OK;
}

static enum cq_rc check_messages(struct apply *a, Chasqui__Mail__NewMessage **messages, size_t count)
{
    uint64_t bytes = 0;
    if (count == 0 || count > STATE_EFFECTS_MAX)
        return CQ_FAIL(a->v.err, count ? CQ_E_LIMIT : CQ_E_INVALID, "%zu messages in one command", count);
    for (size_t i = 0; i < count; i++) {
        enum cq_rc rc = check_message(a, messages[i]);
        if (rc != CQ_OK)
            return rc;
        bytes += messages[i]->size;
    }
    return apply_quota(a, bytes, count);
}

static enum cq_rc open_target(struct apply *a, uint64_t id, size_t count, struct target *target)
{
    *target = (struct target){.id = id};
    enum cq_rc rc = mail_load_mailbox(&a->v, id, &target->mailbox);
    if (rc == CQ_OK && count >= UINT32_MAX - target->mailbox.uidnext)
        rc = CQ_FAIL(a->v.err, CQ_E_LIMIT, "mailbox is out of UIDs");
    return rc;
}

static enum cq_rc take_keywords(struct apply *a, struct target *target, const Chasqui__Mail__NewMessage *message,
                                struct cq_slice *bitmap_r)
{
    uint8_t bits[KEYWORD_BITMAP_MAX];
    enum cq_rc rc = CQ_OK;
    *bitmap_r = CQ_SLICE_NONE;
    if (!message->n_keywords)
        return CQ_OK;
    if (!target->table)
        rc = mail_load_keywords(&a->v, target->id, &target->table);
    if (rc == CQ_OK)
        rc = keywords_resolve(&a->v, target->table, message->keywords, message->n_keywords, true, bits,
                              &target->table_grown);
    if (rc == CQ_OK)
        *bitmap_r = keywords_trim(a->v.pool, bits);
    return rc;
}

static enum cq_rc add_one(struct apply *a, struct target *target, const Chasqui__Mail__NewMessage *message)
{
    struct body_record body;
    struct message_record record = {
        .flags = (uint8_t)message->flags,
        .size = message->size,
        .internal_date = message->internal_date,
        .save_date = (int64_t)(a->now / 1000000),
        .email = a->v.account.next_email,
        .thread = a->v.account.next_email,
    };
    enum cq_rc rc = take_keywords(a, target, message, &record.keywords);
    if (rc == CQ_OK)
        rc = apply_take_body(a, message, &body);
    if (rc != CQ_OK)
        return rc;
    record.modseq = apply_modseq(a);
    apply_add_email(a, a->v.account.next_email++, &body, mail_bytes(message->summary));
    apply_add_message(a, target->id, &target->mailbox, target->mailbox.uidnext++, &record);
    return CQ_OK;
}

static void close_target(struct apply *a, struct target *target)
{
    if (target->table_grown)
        mail_save_keywords(&a->v, target->id, target->table);
    mail_save_mailbox(&a->v, target->id, &target->mailbox);
    apply_changed(a, target->id);
    apply_quota_events(a);
}

COMMAND(cmd_append)
{
    const Chasqui__Mail__Append *append = message;
    struct target target;
    enum cq_rc rc = open_target(a, append->mailbox, append->n_messages, &target);
    if (rc == CQ_OK)
        rc = check_messages(a, append->messages, append->n_messages);
    if (rc != CQ_OK)
        return rc;
    Chasqui__Mail__AppendReply reply = CHASQUI__MAIL__APPEND_REPLY__INIT;
    reply.uidvalidity = target.mailbox.uidvalidity;
    reply.first_uid = target.mailbox.uidnext;
    reply.count = (uint32_t)append->n_messages;
    reply.first_email = a->v.account.next_email;
    for (size_t i = 0; i < append->n_messages && rc == CQ_OK; i++)
        rc = add_one(a, &target, append->messages[i]);
    if (rc != CQ_OK)
        return rc;
    close_target(a, &target);
    *reply_r = mail_pack(a->v.pool, &reply.base);
    return CQ_OK;
}

/* ---- delivery ---- */

/* A kept key absorbs exactly one delivery: it goes with it. */
static enum cq_rc absorb(struct apply *a, struct cq_slice delivery_key, bool *absorbed_r)
{
    *absorbed_r = false;
    if (delivery_key.len == 0)
        return CQ_OK;
    if (delivery_key.len != 16)
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "delivery key of %zu bytes", delivery_key.len);
    struct state_key key = mail_key_bytes(&a->v, KEY_DELIVERY, delivery_key);
    struct cq_slice bytes;
    uint64_t kept;
    enum cq_rc rc = db_get(a->v.m->db, &key, a->v.pool, &bytes);
    if (rc == CQ_OK)
        rc = mail_decoded(&a->v, number_record_get(bytes, &kept), "delivery key");
    if (rc != CQ_OK)
        return rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
    if (a->now - kept > STATE_DELIVERY_KEY_AGE_US)
        return CQ_OK;
    if (!planted(PLANT_KEY_STAYS))
        db_delete(a->v.m->db, &key);
    a->v.account.delivery_keys--;
    a->account_dirty = true;
    *absorbed_r = true;
    return CQ_OK;
}

static enum cq_rc deliver_mailbox(struct apply *a, Chasqui__Mail__SpecialUse use, uint64_t *id_r)
{
    if (use < 0 || use >= USE_COUNT)
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "special use %d", use);
    const uint64_t *uses = a->v.account.uses;
    *id_r = use && uses[use] ? uses[use] : uses[CHASQUI__MAIL__SPECIAL_USE__USE_INBOX];
    return CQ_OK;
}

static enum cq_rc store_delivery(struct apply *a, const Chasqui__Mail__Deliver *deliver,
                                 Chasqui__Mail__DeliverReply *reply)
{
    struct target target;
    Chasqui__Mail__NewMessage *message = deliver->message;
    enum cq_rc rc = deliver_mailbox(a, deliver->use, &reply->mailbox);
    if (rc == CQ_OK)
        rc = open_target(a, reply->mailbox, 1, &target);
    if (rc == CQ_OK)
        rc = check_messages(a, &message, 1);
    reply->email = a->v.account.next_email;
    if (rc == CQ_OK)
        rc = add_one(a, &target, message);
    if (rc != CQ_OK)
        return rc;
    reply->uidvalidity = target.mailbox.uidvalidity;
    reply->uid = target.mailbox.uidnext - 1;
    struct delivered where = {target.id, reply->email, &target.mailbox, reply->uid};
    apply_delivery_event(a, CHASQUI__OUTBOX__TYPE__MESSAGE_ACCEPTED, deliver, NULL);
    apply_delivery_event(a, CHASQUI__OUTBOX__TYPE__DELIVERY_LOCAL, deliver, &where);
    close_target(a, &target);
    return CQ_OK;
}

COMMAND(cmd_deliver)
{
    const Chasqui__Mail__Deliver *deliver = message;
    Chasqui__Mail__DeliverReply reply = CHASQUI__MAIL__DELIVER_REPLY__INIT;
    bool absorbed;
    if (!deliver->message)
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "DELIVER without a message");
    enum cq_rc rc = absorb(a, mail_bytes(deliver->delivery_key), &absorbed);
    if (rc != CQ_OK)
        return rc;
    reply.absorbed = absorbed;
    if (absorbed)
        apply_delivery_event(a, CHASQUI__OUTBOX__TYPE__MESSAGE_DUPLICATE_SUPPRESSED, deliver, NULL);
    else
        rc = store_delivery(a, deliver, &reply);
    if (rc == CQ_OK)
        *reply_r = mail_pack(a->v.pool, &reply.base);
    return rc;
}

COMMAND(cmd_keep_delivery_key)
{
    (void)reply_r;
    const Chasqui__Mail__KeepDeliveryKey *keep = message;
    struct cq_slice id = mail_bytes(keep->delivery_key), bytes;
    if (id.len != 16)
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "delivery key of %zu bytes", id.len);
    struct state_key key = mail_key_bytes(&a->v, KEY_DELIVERY, id);
    enum cq_rc rc = db_get(a->v.m->db, &key, a->v.pool, &bytes);
    if (rc != CQ_OK && rc != CQ_E_NOT_FOUND)
        return rc;
    if (rc == CQ_E_NOT_FOUND) {
        if (a->v.account.delivery_keys >= STATE_DELIVERY_KEYS_MAX)
            return CQ_FAIL(a->v.err, CQ_E_LIMIT, "account keeps %u delivery keys", a->v.account.delivery_keys);
        a->v.account.delivery_keys++;
        a->account_dirty = true;
    }
    struct cq_buf *out = mail_scratch(a->v.m);
    number_record_put(a->now, out);
    db_put(a->v.m->db, &key, cq_buf_slice(out));
    apply_expire(a, a->now + STATE_DELIVERY_KEY_AGE_US + 1, a->v.id, KEY_DELIVERY, id);
    return CQ_OK;
}
