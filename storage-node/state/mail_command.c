/* What a node does with a command before it proposes it: cutting the raw bytes into chunks and checking their hashes.
 */
#include "state/mail_private.h"

struct cutting {
    struct cq_slice rest;
    struct entry_chunk *chunks;
    size_t count;
    struct cq_err *err;
};

static enum cq_rc cut(struct cutting *c, uint64_t size, struct cq_hash128 hash)
{
    if (size == 0)
        return CQ_OK;
    if (size > ENTRY_CHUNK_MAX)
        return CQ_FAIL(c->err, CQ_E_TOO_BIG, "%llu bytes in one piece", (unsigned long long)size);
    if (size > c->rest.len)
        return CQ_FAIL(c->err, CQ_E_PROTO, "raw bytes end too early");
    struct cq_slice octets = cq_slice_sub(c->rest, 0, size);
    if (!cq_hash128_eq(cq_xxh3_128(octets), hash))
        return CQ_FAIL(c->err, CQ_E_CORRUPT, "octets do not have the hash that the command says");
    c->rest = cq_slice_skip(c->rest, size);
    c->chunks[c->count++] = (struct entry_chunk){(uint32_t)size, hash};
    return CQ_OK;
}

static enum cq_rc cut_message(struct cutting *c, const Chasqui__Mail__NewMessage *message)
{
    struct cq_hash128 hash = {message->body_hash_low, message->body_hash_high};
    return message->stage.len ? CQ_OK : cut(c, message->size, hash);
}

static enum cq_rc cut_append(struct cutting *c, const ProtobufCMessage *message, struct cq_pool *pool)
{
    const Chasqui__Mail__Append *append = (const void *)message;
    if (append->n_messages > ENTRY_CHUNKS_MAX)
        return CQ_FAIL(c->err, CQ_E_LIMIT, "%zu messages in one command", append->n_messages);
    c->chunks = cq_pool_calloc(pool, append->n_messages, sizeof *c->chunks);
    enum cq_rc rc = CQ_OK;
    for (size_t i = 0; i < append->n_messages && rc == CQ_OK; i++)
        rc = cut_message(c, append->messages[i]);
    return rc;
}

static enum cq_rc cut_deliver(struct cutting *c, const ProtobufCMessage *message, struct cq_pool *pool)
{
    const Chasqui__Mail__Deliver *deliver = (const void *)message;
    c->chunks = cq_pool_calloc(pool, 1, sizeof *c->chunks);
    return deliver->message ? cut_message(c, deliver->message) : CQ_OK;
}

static enum cq_rc cut_stage(struct cutting *c, const ProtobufCMessage *message, struct cq_pool *pool)
{
    const Chasqui__Mail__Stage *stage = (const void *)message;
    c->chunks = cq_pool_calloc(pool, 1, sizeof *c->chunks);
    return cut(c, c->rest.len, (struct cq_hash128){stage->hash_low, stage->hash_high});
}

static const struct {
    uint32_t method;
    enum cq_rc (*cut)(struct cutting *c, const ProtobufCMessage *message, struct cq_pool *pool);
} cutters[] = {
    {CHASQUI__MAIL__METHOD__APPEND, cut_append},
    {CHASQUI__MAIL__METHOD__DELIVER, cut_deliver},
    {CHASQUI__MAIL__METHOD__STAGE, cut_stage},
};

enum cq_rc mail_command_chunks(uint32_t method, struct cq_slice body, struct cq_slice raw, struct cq_pool *pool,
                               struct entry_chunk **chunks_r, size_t *count_r, struct cq_err *err)
{
    *chunks_r = NULL;
    *count_r = 0;
    const struct apply_command *command = apply_command_find(method);
    if (!command)
        return CQ_FAIL(err, CQ_E_UNSUPPORTED, "method %u", method);
    if (raw.len > ENTRY_CHUNK_BYTES_MAX)
        return CQ_FAIL(err, CQ_E_TOO_BIG, "%zu raw bytes", raw.len);
    ProtobufCAllocator allocator = mail_allocator(pool);
    const ProtobufCMessage *message = protobuf_c_message_unpack(command->message, &allocator, body.len, body.data);
    if (!message)
        return CQ_FAIL(err, CQ_E_PROTO, "%s does not decode", command->message->short_name);
    struct cutting c = {.rest = raw, .err = err};
    enum cq_rc rc = CQ_OK;
    for (size_t i = 0; i < sizeof cutters / sizeof cutters[0]; i++) {
        if (cutters[i].method == method)
            rc = cutters[i].cut(&c, message, pool);
    }
    if (rc == CQ_OK && c.rest.len)
        rc = CQ_FAIL(err, CQ_E_PROTO, "%zu raw bytes too many", c.rest.len);
    *chunks_r = c.chunks;
    *count_r = c.count;
    return rc;
}
