/* APPEND: all messages or none. One log entry is all or nothing, but it carries 1 MiB of octets and a Call of 1 MiB. So
 * the largest bodies that do not fit are staged before it, where nobody sees them, and the longest summaries that do
 * not fit are left out: a record without one is made again from the octets by whoever needs it.
 *
 * When it fails after something was staged, nothing is stored; what was staged goes after an hour. */
#include "mailstore/mailstore_private.h"

#include <stdlib.h>

#define ENTRY_OCTETS_MAX (1u << 20) /* inline octets of one entry */
/* An entry is at most 1 MiB: 20 bytes a chunk, the Call's own fields, and room for what is around it. */
#define CALL_BYTES_MAX ((1u << 20) - (4u << 10))
#define CHUNK_ROW 20u

/* What one call sends. */
struct append {
    struct cq_pool *pool;
    struct mail_new_message *messages; /* ours: stages are set here */
    size_t count;
    struct mail_stage *stages; /* by message */
    size_t staged;
    Chasqui__Mail__Append wire;
};

/* A message's length under its number, for sorting: the longest first, then in order. */
struct length {
    size_t bytes, at;
};

static int longest_first(const void *a, const void *b)
{
    const struct length *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* ---- which bodies go ahead ---- */

static void stage_later(struct append *append, struct mailstore *store, const struct length *length)
{
    struct mail_stage *stage = &append->stages[length->at];
    uint8_t id[16];
    mailstore_unique_id(store, id);
    mailstore_stage_init(stage, id);
    stage->size = length->bytes; /* for the command; it begins at 0 when it is sent */
    append->messages[length->at].stage = stage;
    append->staged++;
}

static enum cq_rc plan_stages(struct append *append, struct mailstore *store, struct cq_err *err)
{
    struct length *lengths = cq_pool_calloc(append->pool, append->count, sizeof *lengths);
    uint64_t total = 0;
    for (size_t i = 0; i < append->count; i++) {
        const struct mail_new_message *m = &append->messages[i];
        lengths[i] = (struct length){m->stage ? 0 : mailstore_length(m->octets, m->octet_count), i};
        total += lengths[i].bytes;
    }
    if (total > MAIL_APPEND_BYTES_MAX)
        return CQ_FAIL(err, CQ_E_TOO_BIG, "%llu octets in one APPEND", (unsigned long long)total);
    qsort(lengths, append->count, sizeof *lengths, longest_first);
    for (size_t i = 0; i < append->count && (total > ENTRY_OCTETS_MAX || lengths[i].bytes > MAIL_INLINE_MAX); i++) {
        total -= lengths[i].bytes;
        stage_later(append, store, &lengths[i]);
    }
    if (append->staged > MAIL_APPEND_STAGES_MAX)
        return CQ_FAIL(err, CQ_E_TOO_BIG, "%zu large messages in one APPEND", append->staged);
    return CQ_OK;
}

/* ---- the command ---- */

static void make_wire(struct append *append, uint64_t mailbox)
{
    chasqui__mail__append__init(&append->wire);
    append->wire.mailbox = mailbox;
    append->wire.n_messages = append->count;
    append->wire.messages = cq_pool_calloc(append->pool, append->count, sizeof *append->wire.messages);
    for (size_t i = 0; i < append->count; i++) {
        append->wire.messages[i] = cq_pool_alloc(append->pool, sizeof *append->wire.messages[i]);
        mailstore_message_to_wire(append->pool, &append->messages[i], append->wire.messages[i]);
    }
}

static enum cq_rc fit_summaries(struct append *append, struct cq_err *err)
{
    size_t size = chasqui__mail__append__get_packed_size(&append->wire), max = CALL_BYTES_MAX;
    size_t rows = CHUNK_ROW * append->count;
    max = rows < max ? max - rows : 0;
    if (size <= max)
        return CQ_OK;
    struct length *lengths = cq_pool_calloc(append->pool, append->count, sizeof *lengths);
    for (size_t i = 0; i < append->count; i++)
        lengths[i] = (struct length){append->wire.messages[i]->summary.len, i};
    qsort(lengths, append->count, sizeof *lengths, longest_first);
    for (size_t i = 0; i < append->count && lengths[i].bytes && size > max; i++) {
        size -= lengths[i].bytes;
        append->wire.messages[lengths[i].at]->summary = (ProtobufCBinaryData){0, NULL};
    }
    return size <= max ? CQ_OK : CQ_FAIL(err, CQ_E_TOO_BIG, "an APPEND of %zu bytes without its octets", size);
}

/* ---- staging ---- */

/* The front of the slices *parts, at most MAIL_STAGE_PIECE_MAX octets; what was taken is taken off. */
static size_t take_piece(struct cq_slice *parts, size_t count, size_t *at, struct cq_slice *piece)
{
    size_t n = 0, room = MAIL_STAGE_PIECE_MAX;
    while (*at < count && room) {
        size_t take = parts[*at].len < room ? parts[*at].len : room;
        if (take)
            piece[n++] = cq_slice_sub(parts[*at], 0, take);
        parts[*at] = cq_slice_skip(parts[*at], take);
        room -= take;
        if (parts[*at].len == 0)
            ++*at;
    }
    return n;
}

static enum cq_rc stage_body(struct mailstore *store, struct mailstore_account *account,
                             const struct mail_new_message *message, struct mail_stage *stage, struct cq_err *err)
{
    size_t count = message->octet_count, at = 0, n;
    struct cq_pool *pool = cq_pool_new(1024);
    struct cq_slice *parts = cq_pool_dup(pool, message->octets, count * sizeof *parts);
    struct cq_slice *piece = cq_pool_alloc(pool, count * sizeof *piece);
    enum cq_rc rc = CQ_OK;
    stage->size = 0;
    while (rc == CQ_OK && (n = take_piece(parts, count, &at, piece)) > 0)
        rc = mailstore_stage(store, account, stage, piece, n, err);
    cq_pool_free(&pool);
    return rc;
}

static enum cq_rc stage_all(struct append *append, struct mailstore *store, struct mailstore_account *account,
                            struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    for (size_t i = 0; append->staged && i < append->count && rc == CQ_OK; i++)
        if (append->messages[i].stage == &append->stages[i])
            rc = stage_body(store, account, &append->messages[i], &append->stages[i], err);
    /* Whether a piece is there or not: no message is. */
    return rc == CQ_E_UNKNOWN_OUTCOME ? CQ_FAIL(err, CQ_E_UNAVAILABLE, "nothing was stored") : rc;
}

/* ---- all of it ---- */

static enum cq_rc send(struct append *append, struct mailstore *store, struct mailstore_account *account,
                       struct mail_appended *appended_r, struct cq_err *err)
{
    struct mailstore_request request = {
        .method = CHASQUI__MAIL__METHOD__APPEND,
        .message = &append->wire.base,
        .reply_type = &chasqui__mail__append_reply__descriptor,
    };
    request.raw = mailstore_inline_slices(append->pool, append->messages, append->count, &request.raw_count);
    ProtobufCMessage *base;
    enum cq_rc rc = mailstore_roundtrip(store, account, &request, append->pool, &base, NULL, err);
    if (rc != CQ_OK)
        return rc;
    const Chasqui__Mail__AppendReply *reply = (const Chasqui__Mail__AppendReply *)base;
    *appended_r = (struct mail_appended){reply->uidvalidity, reply->first_uid, reply->count};
    return CQ_OK;
}

enum cq_rc mailstore_append(struct mailstore *store, struct mailstore_account *account, uint64_t mailbox,
                            const struct mail_new_message *messages, size_t count, struct mail_appended *appended_r,
                            struct cq_err *err)
{
    struct append append = {.pool = cq_pool_new(2048), .count = count};
    append.messages = cq_pool_dup(append.pool, messages, count * sizeof *messages);
    append.stages = cq_pool_calloc(append.pool, count, sizeof *append.stages);
    enum cq_rc rc = plan_stages(&append, store, err);
    if (rc == CQ_OK) {
        make_wire(&append, mailbox);
        rc = fit_summaries(&append, err);
    }
    if (rc == CQ_OK)
        rc = stage_all(&append, store, account, err);
    if (rc == CQ_OK)
        rc = send(&append, store, account, appended_r, err);
    cq_pool_free(&append.pool);
    return rc;
}
