#include "mailstore/mailstore_private.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "base/cq_hash.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"

#include <stdlib.h>
#include <utlist.h>

/* A request that has no answer yet: the lowest of their sequences bounds what the shard may forget. */
struct outstanding {
    uint64_t sequence;
    struct outstanding *prev, *next;
};

#define SLOTS 65536u

struct mailstore {
    struct mailstore_transport *transport;
    struct body_cache *bodies; /* NULL: none */
    uint8_t client_id[16];
    uint32_t timeout_ms;
    void (*no_account)(void *ctx, uint64_t account);
    void *no_account_ctx;
    uint64_t next_sequence, next_id;
    struct outstanding *outstanding; /* in order of sequence */
    /* Last entry time seen, by slot: a slot's accounts share a group, so one answer stamps the next request of all. */
    uint64_t stamps[SLOTS];
};

struct mailstore *mailstore_new(struct mailstore_transport *transport, const uint8_t client_id[static 16],
                                uint32_t timeout_ms)
{
    struct mailstore *store = cq_new(struct mailstore);
    store->transport = transport;
    memcpy(store->client_id, client_id, sizeof store->client_id);
    store->timeout_ms = timeout_ms;
    store->next_sequence = 1;
    return store;
}

void mailstore_free(struct mailstore **store)
{
    if (!*store)
        return;
    CQ_ASSERT(!(*store)->outstanding);
    free(*store);
    *store = NULL;
}

void mailstore_on_no_account(struct mailstore *store, void (*fn)(void *ctx, uint64_t account), void *ctx)
{
    store->no_account = fn;
    store->no_account_ctx = ctx;
}

struct mailstore_transport *mailstore_transport_of(struct mailstore *store)
{
    return store->transport;
}

void mailstore_use_body_cache(struct mailstore *store, struct body_cache *cache)
{
    store->bodies = cache;
}

struct body_cache *mailstore_body_cache_of(const struct mailstore *store)
{
    return store->bodies;
}

void mailstore_unique_id(struct mailstore *store, uint8_t id_r[static 16])
{
    uint8_t seed[24];
    memcpy(seed, store->client_id, sizeof store->client_id);
    cq_put_be64(seed + 16, store->next_id++);
    struct cq_hash128 hash = cq_xxh3_128(cq_slice_of(seed, sizeof seed));
    cq_put_be64(id_r, hash.high);
    cq_put_be64(id_r + 8, hash.low);
}

static void *pool_alloc(void *data, size_t size)
{
    return cq_pool_alloc(data, size);
}

static void pool_free(void *data, void *pointer)
{
    (void)data;
    (void)pointer;
}

ProtobufCAllocator mailstore_pool_allocator(struct cq_pool *pool)
{
    return (ProtobufCAllocator){.alloc = pool_alloc, .free = pool_free, .allocator_data = pool};
}

ProtobufCBinaryData mailstore_bytes(struct cq_slice s)
{
    return (ProtobufCBinaryData){.len = s.len, .data = (uint8_t *)(uintptr_t)s.data};
}

struct cq_slice mailstore_slice(ProtobufCBinaryData bytes)
{
    return cq_slice_of(bytes.data, bytes.len);
}

char *mailstore_text(struct cq_pool *pool, struct cq_slice s)
{
    return cq_pool_cstr(pool, s);
}

char **mailstore_texts(struct cq_pool *pool, const struct cq_slice *texts, size_t count)
{
    char **copies = cq_pool_alloc(pool, count * sizeof *copies);
    for (size_t i = 0; i < count; i++)
        copies[i] = mailstore_text(pool, texts[i]);
    return copies;
}

struct cq_slice *mailstore_slices(struct cq_pool *pool, char **texts, size_t count)
{
    struct cq_slice *slices = cq_pool_alloc(pool, count * sizeof *slices);
    for (size_t i = 0; i < count; i++)
        slices[i] = cq_slice_cstr(texts[i]);
    return slices;
}

Chasqui__Mail__UidSet *mailstore_uidset_to_wire(struct cq_pool *pool, const struct uidset *set)
{
    Chasqui__Mail__UidSet *wire = cq_pool_alloc(pool, sizeof *wire);
    chasqui__mail__uid_set__init(wire);
    wire->n_ranges = set->count * 2;
    wire->ranges = uidset_to_pairs(set, pool);
    return wire;
}

enum cq_rc mailstore_uidset_from_wire(struct cq_pool *pool, const Chasqui__Mail__UidSet *wire, struct uidset *set_r,
                                      struct cq_err *err)
{
    *set_r = (struct uidset){NULL, 0};
    if (wire && !uidset_from_pairs(wire->ranges, wire->n_ranges, pool, set_r))
        return CQ_FAIL(err, CQ_E_PROTO, "the shard sent a malformed UID set");
    return CQ_OK;
}

static struct cq_slice pack(struct cq_pool *pool, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *data = cq_pool_alloc(pool, len);
    protobuf_c_message_pack(message, data);
    return cq_slice_of(data, len);
}

static uint64_t *stamp_of(struct mailstore *store, uint64_t account)
{
    return &store->stamps[account >> 48];
}

static bool is_command(Chasqui__Mail__Method method)
{
    return method < CHASQUI__MAIL__METHOD__GET_ACCOUNT;
}

/* What the shard may forget: everything below the oldest request without an answer. */
static uint64_t done_sequence(const struct mailstore *store)
{
    return store->outstanding->sequence - 1;
}

static struct cq_slice pack_call(struct mailstore *store, const struct mailstore_account *account,
                                 const struct mailstore_request *request, uint64_t sequence, struct cq_pool *pool)
{
    Chasqui__Mail__Call call = CHASQUI__MAIL__CALL__INIT;
    if (is_command(request->method)) {
        call.client = mailstore_bytes(cq_slice_of(store->client_id, sizeof store->client_id));
        call.sequence = sequence;
        call.done = done_sequence(store);
        call.stamp = *stamp_of(store, account->id);
    }
    call.min_modseq = account->modseq;
    call.incarnation = account->incarnation;
    call.body = mailstore_bytes(pack(pool, request->message));
    return pack(pool, &call.base);
}

/* The token only rises within one incarnation; a new incarnation starts it afresh. */
static void remember_token(struct mailstore_account *account, const Chasqui__Mail__Answer *answer)
{
    if (answer->incarnation == 0)
        return;
    if (answer->incarnation != account->incarnation)
        account->modseq = 0;
    account->incarnation = answer->incarnation;
    if (answer->modseq > account->modseq)
        account->modseq = answer->modseq;
}

static enum cq_rc unpack_answer(struct mailstore *store, struct mailstore_account *account, struct cq_slice bytes,
                                struct cq_pool *pool, Chasqui__Mail__Answer **answer_r, struct cq_err *err)
{
    ProtobufCAllocator allocator = mailstore_pool_allocator(pool);
    *answer_r = chasqui__mail__answer__unpack(&allocator, bytes.len, bytes.data);
    if (!*answer_r)
        return CQ_FAIL(err, CQ_E_PROTO, "the shard's answer does not decode");
    if ((*answer_r)->entry_time > *stamp_of(store, account->id))
        *stamp_of(store, account->id) = (*answer_r)->entry_time;
    remember_token(account, *answer_r);
    return CQ_OK;
}

struct attempt {
    const struct mailstore_request *request;
    uint64_t sequence;
    uint64_t deadline_us;
};

static enum cq_rc send_once(struct mailstore *store, struct mailstore_account *account, const struct attempt *attempt,
                            struct cq_pool *pool, ProtobufCMessage **reply_r, struct cq_slice *raw_r,
                            struct cq_err *err)
{
    const struct mailstore_request *request = attempt->request;
    const struct mailstore_call call = {
        .account = account->id,
        .method = (uint32_t)request->method,
        .command = is_command(request->method),
        .message = pack_call(store, account, request, attempt->sequence, pool),
        .raw = request->raw,
        .raw_count = request->raw_count,
        .deadline_us = attempt->deadline_us,
    };
    struct mailstore_answer bytes = {0};
    Chasqui__Mail__Answer *answer;
    enum cq_rc rc = store->transport->call(store->transport, &call, pool, &bytes, err);
    if (rc != CQ_OK && bytes.message.len == 0)
        return rc;
    enum cq_rc unpacked = unpack_answer(store, account, bytes.message, pool, &answer, err);
    if (unpacked != CQ_OK)
        /* The outcome is lost with the answer: only a read may be repeated. */
        return rc != CQ_OK ? rc : call.command ? CQ_E_UNKNOWN_OUTCOME : unpacked;
    if (rc != CQ_OK)
        cq_err_set(err, rc, "%s", answer->text && answer->text[0] ? answer->text : cq_rc_text(rc));
    if (rc == CQ_OK || answer->body.len) {
        ProtobufCAllocator allocator = mailstore_pool_allocator(pool);
        *reply_r = protobuf_c_message_unpack(request->reply_type, &allocator, answer->body.len, answer->body.data);
        if (!*reply_r && rc == CQ_OK)
            return CQ_FAIL(err, call.command ? CQ_E_UNKNOWN_OUTCOME : CQ_E_PROTO,
                           "the shard's reply to method %d does not decode", (int)request->method);
    }
    if (raw_r)
        *raw_r = bytes.raw;
    return rc;
}

static bool may_go_in_pieces(Chasqui__Mail__Method method)
{
    return method == CHASQUI__MAIL__METHOD__COPY || method == CHASQUI__MAIL__METHOD__MOVE ||
           method == CHASQUI__MAIL__METHOD__RENAME_MAILBOX;
}

/* AGAIN: a large COPY or MOVE of the account is on its way, this one or another session's; each attempt helps it on. */
static enum cq_rc press_on(struct mailstore *store, struct mailstore_account *account, const struct attempt *attempt,
                           enum cq_rc rc, struct cq_pool *pool, ProtobufCMessage **reply_r, struct cq_slice *raw_r,
                           struct cq_err *err)
{
    while (rc == CQ_E_AGAIN && cq_time_mono_us() < attempt->deadline_us)
        rc = send_once(store, account, attempt, pool, reply_r, raw_r, err);
    if (rc != CQ_E_AGAIN)
        return rc;
    return CQ_FAIL(err, may_go_in_pieces(attempt->request->method) ? CQ_E_UNKNOWN_OUTCOME : CQ_E_UNAVAILABLE,
                   "a large COPY or MOVE takes longer than the deadline");
}

enum cq_rc mailstore_roundtrip(struct mailstore *store, struct mailstore_account *account,
                               const struct mailstore_request *request, struct cq_pool *pool,
                               ProtobufCMessage **reply_r, struct cq_slice *raw_r, struct cq_err *err)
{
    *reply_r = NULL;
    struct outstanding mine = {.sequence = store->next_sequence};
    const struct attempt attempt = {
        .request = request,
        .sequence = mine.sequence,
        .deadline_us = cq_time_mono_us() + (uint64_t)store->timeout_ms * 1000,
    };
    bool command = is_command(request->method);
    if (command) {
        store->next_sequence++;
        DL_APPEND(store->outstanding, &mine);
    }
    enum cq_rc rc = send_once(store, account, &attempt, pool, reply_r, raw_r, err);
    /* STALE says that nothing was done and brings the present time: the same request, stamped anew. */
    if (rc == CQ_E_STALE)
        rc = send_once(store, account, &attempt, pool, reply_r, raw_r, err);
    rc = press_on(store, account, &attempt, rc, pool, reply_r, raw_r, err);
    if (command)
        DL_DELETE(store->outstanding, &mine);
    if (rc == CQ_E_NO_ACCOUNT && store->no_account)
        store->no_account(store->no_account_ctx, account->id);
    return rc;
}

void mailstore_mailbox_from_wire(struct cq_pool *pool, const Chasqui__Mail__Mailbox *wire,
                                 struct mail_mailbox *mailbox_r)
{
    *mailbox_r = (struct mail_mailbox){
        .id = wire->id,
        .name = cq_slice_cstr(wire->name),
        .use = (enum mail_use)wire->use,
        .uidvalidity = wire->uidvalidity,
        .uidnext = wire->uidnext,
        .highest_modseq = wire->highest_modseq,
        .messages = wire->messages,
        .unseen = wire->unseen,
        .deleted = wire->deleted,
        .size = wire->size,
        .recent_from = wire->recent_from,
        .keywords = mailstore_slices(pool, wire->keywords, wire->n_keywords),
        .keyword_count = wire->n_keywords,
    };
}
