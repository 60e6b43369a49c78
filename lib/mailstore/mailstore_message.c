/* Messages: stage, deliver, store flags, copy and move, expunge, fetch, changes, bodies. */
#include "mailstore/mailstore_private.h"

#include "base/cq_assert.h"
#include "base/cq_hash.h"

/* Message effects of one log entry (DESIGN: one command, one entry): larger sets are split by UID range. */
#define ENTRY_UIDS_MAX 5000u

static struct cq_hash128 hash_of(const struct cq_slice *parts, size_t count)
{
    if (count == 1)
        return cq_xxh3_128(parts[0]);
    struct cq_xxh3 *state = cq_xxh3_new();
    for (size_t i = 0; i < count; i++)
        cq_xxh3_update(state, parts[i]);
    struct cq_hash128 hash = cq_xxh3_digest128(state);
    cq_xxh3_free(&state);
    return hash;
}

size_t mailstore_length(const struct cq_slice *parts, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += parts[i].len;
    return total;
}

void mailstore_stage_init(struct mail_stage *stage, const uint8_t random[static 16])
{
    *stage = (struct mail_stage){.size = 0};
    memcpy(stage->id, random, sizeof stage->id);
}

enum cq_rc mailstore_stage(struct mailstore *store, struct mailstore_account *account, struct mail_stage *stage,
                           const struct cq_slice *raw, size_t raw_count, struct cq_err *err)
{
    size_t length = mailstore_length(raw, raw_count);
    CQ_ASSERT(length > 0 && length <= MAIL_STAGE_PIECE_MAX);
    struct cq_pool *pool = cq_pool_new(512);
    struct cq_hash128 hash = hash_of(raw, raw_count);
    Chasqui__Mail__Stage message = CHASQUI__MAIL__STAGE__INIT;
    message.stage = mailstore_bytes(cq_slice_of(stage->id, sizeof stage->id));
    message.offset = stage->size;
    message.hash_low = hash.low;
    message.hash_high = hash.high;
    const struct mailstore_request request = {
        .method = CHASQUI__MAIL__METHOD__STAGE,
        .message = &message.base,
        .raw = raw,
        .raw_count = raw_count,
        .reply_type = &chasqui__mail__stage_reply__descriptor,
    };
    ProtobufCMessage *reply;
    enum cq_rc rc = mailstore_roundtrip(store, account, &request, pool, &reply, NULL, err);
    if (rc == CQ_OK)
        stage->size += length;
    cq_pool_free(&pool);
    return rc;
}

void mailstore_message_to_wire(struct cq_pool *pool, const struct mail_new_message *message,
                               Chasqui__Mail__NewMessage *wire)
{
    chasqui__mail__new_message__init(wire);
    wire->flags = message->flags;
    wire->keywords = mailstore_texts(pool, message->keywords, message->keyword_count);
    wire->n_keywords = message->keyword_count;
    wire->internal_date = message->internal_date;
    wire->summary = mailstore_bytes(message->summary);
    if (message->stage) {
        wire->size = (uint32_t)message->stage->size;
        wire->stage = mailstore_bytes(cq_slice_of(message->stage->id, sizeof message->stage->id));
        return;
    }
    struct cq_hash128 hash = hash_of(message->octets, message->octet_count);
    size_t length = mailstore_length(message->octets, message->octet_count);
    CQ_ASSERT(length <= MAIL_INLINE_MAX);
    wire->size = (uint32_t)length;
    wire->body_hash_low = hash.low;
    wire->body_hash_high = hash.high;
}

struct cq_slice *mailstore_inline_slices(struct cq_pool *pool, const struct mail_new_message *messages, size_t count,
                                         size_t *n_r)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += messages[i].stage ? 0 : messages[i].octet_count;
    struct cq_slice *slices = cq_pool_alloc(pool, n * sizeof *slices);
    *n_r = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; !messages[i].stage && k < messages[i].octet_count; k++)
            slices[(*n_r)++] = messages[i].octets[k];
    return slices;
}

static void event_to_wire(struct cq_pool *pool, const struct mail_delivery *delivery,
                          Chasqui__Mail__DeliveryEvent *wire)
{
    chasqui__mail__delivery_event__init(wire);
    wire->message_id = mailstore_text(pool, delivery->message_id);
    wire->rfc5322_message_id = mailstore_text(pool, delivery->rfc5322_message_id);
    wire->session_id = mailstore_text(pool, delivery->session_id);
    wire->direction = mailstore_text(pool, delivery->direction);
    wire->envelope_from = mailstore_text(pool, delivery->envelope_from);
    wire->recipient = mailstore_text(pool, delivery->recipient);
    wire->original_recipient = mailstore_text(pool, delivery->original_recipient);
    wire->recipients = delivery->recipients;
    wire->client_ip = mailstore_text(pool, delivery->client_ip);
    wire->ehlo = mailstore_text(pool, delivery->ehlo);
    wire->tls = mailstore_text(pool, delivery->tls);
    wire->received_time_us = delivery->received_time_us;
}

enum cq_rc mailstore_deliver(struct mailstore *store, struct mailstore_account *account,
                             const struct mail_new_message *message, const struct mail_delivery *delivery,
                             bool *absorbed_r, struct cq_err *err)
{
    struct cq_pool *pool = cq_pool_new(2048);
    Chasqui__Mail__NewMessage wire;
    Chasqui__Mail__DeliveryEvent event;
    Chasqui__Mail__Deliver deliver = CHASQUI__MAIL__DELIVER__INIT;
    mailstore_message_to_wire(pool, message, &wire);
    event_to_wire(pool, delivery, &event);
    deliver.message = &wire;
    deliver.use = (Chasqui__Mail__SpecialUse)delivery->use;
    deliver.delivery_key = mailstore_bytes(delivery->delivery_key);
    deliver.event = &event;
    deliver.from_account = delivery->from_account;
    struct mailstore_request request = {
        .method = CHASQUI__MAIL__METHOD__DELIVER,
        .message = &deliver.base,
        .reply_type = &chasqui__mail__deliver_reply__descriptor,
    };
    request.raw = mailstore_inline_slices(pool, message, 1, &request.raw_count);
    ProtobufCMessage *base;
    enum cq_rc rc = mailstore_roundtrip(store, account, &request, pool, &base, NULL, err);
    if (rc == CQ_OK)
        *absorbed_r = ((const Chasqui__Mail__DeliverReply *)base)->absorbed;
    cq_pool_free(&pool);
    return rc;
}

/* Takes up to ENTRY_UIDS_MAX members off the front of a set; the last range of the piece may be cut. */
static bool take_piece(struct uidset *rest, struct cq_pool *pool, struct uidset *piece_r)
{
    if (rest->count == 0)
        return false;
    struct uidset_builder builder;
    uidset_builder_init(&builder, pool);
    uint32_t left = ENTRY_UIDS_MAX;
    while (left && rest->count) {
        struct uid_range *range = &rest->ranges[0];
        uint64_t size = (uint64_t)range->last - range->first + 1;
        uint32_t last = size > left ? range->first + left - 1 : range->last;
        uidset_builder_add(&builder, range->first, last);
        left -= (uint32_t)(last - range->first + 1);
        if (last == range->last) {
            rest->ranges++;
            rest->count--;
        } else {
            range->first = last + 1;
        }
    }
    *piece_r = uidset_builder_finish(&builder);
    return true;
}

static struct uidset copy_set(struct cq_pool *pool, const struct uidset *set)
{
    return (struct uidset){cq_pool_dup(pool, set->ranges, set->count * sizeof *set->ranges), set->count};
}

static void add_all(struct uidset_builder *builder, const struct uidset *set)
{
    for (size_t i = 0; i < set->count; i++)
        uidset_builder_add(builder, set->ranges[i].first, set->ranges[i].last);
}

static enum cq_rc store_piece(struct mailstore *store, struct mailstore_account *account,
                              const struct mail_store *change, const struct uidset *piece, struct cq_pool *pool,
                              struct uidset_builder *modified, uint64_t *modseq, struct cq_err *err)
{
    Chasqui__Mail__Store message = CHASQUI__MAIL__STORE__INIT;
    message.mailbox = change->mailbox;
    message.uids = mailstore_uidset_to_wire(pool, piece);
    message.mode = (Chasqui__Mail__Store__Mode)change->mode;
    message.flags = change->flags;
    message.keywords = mailstore_texts(pool, change->keywords, change->keyword_count);
    message.n_keywords = change->keyword_count;
    message.has_unchanged_since = change->has_unchanged_since;
    message.unchanged_since = change->unchanged_since;
    const struct mailstore_request request = {
        .method = CHASQUI__MAIL__METHOD__STORE,
        .message = &message.base,
        .reply_type = &chasqui__mail__store_reply__descriptor,
    };
    ProtobufCMessage *base;
    enum cq_rc rc = mailstore_roundtrip(store, account, &request, pool, &base, NULL, err);
    if (rc != CQ_OK)
        return rc;
    const Chasqui__Mail__StoreReply *reply = (const Chasqui__Mail__StoreReply *)base;
    struct uidset set;
    rc = mailstore_uidset_from_wire(pool, reply->modified, &set, err);
    add_all(modified, &set);
    if (reply->modseq > *modseq)
        *modseq = reply->modseq;
    return rc;
}

enum cq_rc mailstore_store(struct mailstore *store, struct mailstore_account *account, const struct mail_store *change,
                           struct cq_pool *pool, struct uidset *modified_r, uint64_t *modseq_r, struct cq_err *err)
{
    struct uidset rest = copy_set(pool, change->uids), piece;
    struct uidset_builder modified;
    uidset_builder_init(&modified, pool);
    *modseq_r = 0;
    enum cq_rc rc = CQ_OK;
    while (rc == CQ_OK && take_piece(&rest, pool, &piece))
        rc = store_piece(store, account, change, &piece, pool, &modified, modseq_r, err);
    *modified_r = uidset_builder_finish(&modified);
    return rc;
}

enum cq_rc mailstore_copy(struct mailstore *store, struct mailstore_account *account, uint64_t from, uint64_t to,
                          const struct uidset *uids, bool move, struct cq_pool *pool, struct mail_copied *copied_r,
                          struct cq_err *err)
{
    Chasqui__Mail__Copy message = CHASQUI__MAIL__COPY__INIT;
    message.from = from;
    message.to = to;
    message.uids = mailstore_uidset_to_wire(pool, uids);
    const struct mailstore_request request = {
        .method = move ? CHASQUI__MAIL__METHOD__MOVE : CHASQUI__MAIL__METHOD__COPY,
        .message = &message.base,
        .reply_type = &chasqui__mail__copy_reply__descriptor,
    };
    ProtobufCMessage *base;
    enum cq_rc rc = mailstore_roundtrip(store, account, &request, pool, &base, NULL, err);
    if (rc != CQ_OK)
        return rc;
    const Chasqui__Mail__CopyReply *reply = (const Chasqui__Mail__CopyReply *)base;
    copied_r->uidvalidity = reply->uidvalidity;
    copied_r->first_uid = reply->first_uid;
    return mailstore_uidset_from_wire(pool, reply->copied, &copied_r->copied, err);
}

static enum cq_rc expunge_piece(struct mailstore *store, struct mailstore_account *account, uint64_t mailbox,
                                const struct uidset *uids, struct cq_pool *pool, struct uidset_builder *expunged,
                                struct cq_err *err)
{
    Chasqui__Mail__Expunge message = CHASQUI__MAIL__EXPUNGE__INIT;
    message.mailbox = mailbox;
    message.has_uids = uids != NULL;
    message.uids = uids ? mailstore_uidset_to_wire(pool, uids) : NULL;
    const struct mailstore_request request = {
        .method = CHASQUI__MAIL__METHOD__EXPUNGE,
        .message = &message.base,
        .reply_type = &chasqui__mail__expunge_reply__descriptor,
    };
    ProtobufCMessage *base;
    struct uidset set;
    enum cq_rc rc = mailstore_roundtrip(store, account, &request, pool, &base, NULL, err);
    if (rc == CQ_OK)
        rc = mailstore_uidset_from_wire(pool, ((const Chasqui__Mail__ExpungeReply *)base)->expunged, &set, err);
    if (rc == CQ_OK)
        add_all(expunged, &set);
    return rc;
}

static enum cq_rc expunge_in_pieces(struct mailstore *store, struct mailstore_account *account, uint64_t mailbox,
                                    struct uidset rest, struct cq_pool *pool, struct uidset_builder *expunged,
                                    struct cq_err *err)
{
    struct uidset piece;
    enum cq_rc rc = CQ_OK;
    while (rc == CQ_OK && take_piece(&rest, pool, &piece))
        rc = expunge_piece(store, account, mailbox, &piece, pool, expunged, err);
    return rc;
}

enum cq_rc mailstore_expunge(struct mailstore *store, struct mailstore_account *account, uint64_t mailbox,
                             const struct uidset *uids, struct cq_pool *pool, struct uidset *expunged_r,
                             struct cq_err *err)
{
    struct uidset_builder expunged;
    struct mail_open open;
    uidset_builder_init(&expunged, pool);
    enum cq_rc rc;
    if (uids) {
        rc = expunge_in_pieces(store, account, mailbox, copy_set(pool, uids), pool, &expunged, err);
    } else {
        rc = expunge_piece(store, account, mailbox, NULL, pool, &expunged, err);
        /* More \Deleted messages than one entry takes: the same by UID range. */
        if (rc == CQ_E_LIMIT && (rc = mailstore_open(store, account, mailbox, pool, &open, err)) == CQ_OK)
            rc = expunge_in_pieces(store, account, mailbox, open.uids, pool, &expunged, err);
    }
    *expunged_r = uidset_builder_finish(&expunged);
    return rc;
}

enum cq_rc mailstore_fetch(struct mailstore *store, struct mailstore_account *account, uint64_t mailbox,
                           const struct uidset *uids, uint32_t summary, struct cq_pool *pool,
                           struct mail_records *records_r, struct cq_err *err)
{
    Chasqui__Mail__Fetch message = CHASQUI__MAIL__FETCH__INIT;
    message.mailbox = mailbox;
    message.uids = mailstore_uidset_to_wire(pool, uids);
    message.summaries = summary != MAIL_FETCH_NO_SUMMARY;
    message.summary_data = summary >> 1;
    const struct mailstore_request request = {
        .method = CHASQUI__MAIL__METHOD__FETCH,
        .message = &message.base,
        .reply_type = &chasqui__mail__fetch_reply__descriptor,
    };
    ProtobufCMessage *base;
    struct cq_slice raw;
    enum cq_rc rc = mailstore_roundtrip(store, account, &request, pool, &base, &raw, err);
    if (rc != CQ_OK)
        return rc;
    const Chasqui__Mail__FetchReply *reply = (const Chasqui__Mail__FetchReply *)base;
    *records_r = (struct mail_records){
        .records = raw,
        .keywords = mailstore_slices(pool, reply->keywords, reply->n_keywords),
        .keyword_count = reply->n_keywords,
        .next_uid = reply->next_uid,
        .highest_modseq = reply->highest_modseq,
    };
    return CQ_OK;
}

enum cq_rc mailstore_changes(struct mailstore *store, struct mailstore_account *account, uint64_t mailbox,
                             uint64_t since_modseq, struct cq_pool *pool, struct mail_changes *changes_r,
                             struct cq_err *err)
{
    Chasqui__Mail__Changes message = CHASQUI__MAIL__CHANGES__INIT;
    message.mailbox = mailbox;
    message.since_modseq = since_modseq;
    const struct mailstore_request request = {
        .method = CHASQUI__MAIL__METHOD__CHANGES,
        .message = &message.base,
        .reply_type = &chasqui__mail__changes_reply__descriptor,
    };
    ProtobufCMessage *base;
    struct cq_slice raw;
    enum cq_rc rc = mailstore_roundtrip(store, account, &request, pool, &base, &raw, err);
    if (rc != CQ_OK)
        return rc;
    const Chasqui__Mail__ChangesReply *reply = (const Chasqui__Mail__ChangesReply *)base;
    *changes_r = (struct mail_changes){
        .records.records = raw,
        .records.keywords = mailstore_slices(pool, reply->keywords, reply->n_keywords),
        .records.keyword_count = reply->n_keywords,
        .records.highest_modseq = reply->highest_modseq,
        .until_modseq = reply->until_modseq,
        .highest_modseq = reply->highest_modseq,
        .uidnext = reply->uidnext,
        .messages = reply->messages,
        .recent_from = reply->recent_from,
        .more = reply->more,
        .mailbox_gone = reply->mailbox_gone,
    };
    return mailstore_uidset_from_wire(pool, reply->vanished, &changes_r->vanished, err);
}
