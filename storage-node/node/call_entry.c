#include "node/call_entry.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "proto/mail.pb-c.h"
#include "state/mail_machine.h"

#define CLIENT_SIZE 16

/* The encoded entry becomes shared octets. */
static enum cq_rc encode(const struct entry *entry, struct raft_request *request, struct cq_err *err)
{
    struct cq_buf out;
    size_t len;
    cq_buf_init(&out, ENTRY_MAX + ENTRY_HEAD);
    enum cq_rc rc = entry_encode(entry, &out, err);
    if (rc != CQ_OK) {
        cq_buf_fini(&out);
        return rc;
    }
    uint8_t *octets = cq_buf_take(&out, &len);
    request->entry = raft_bytes_adopt(octets, len);
    return CQ_OK;
}

/* The chunks' octets are raw's, one after the other; they are copied once, for the log, the followers and the disk. */
static void take_bodies(struct cq_slice raw, const struct entry_chunk *chunks, size_t count,
                        struct raft_request *request)
{
    if (count == 0)
        return;
    struct raft_bytes *owner = raft_bytes_copy(raw);
    struct cq_slice rest = raft_bytes_slice(owner);
    request->bodies = cq_calloc(count, sizeof *request->bodies);
    request->body_count = count;
    for (size_t i = 0; i < count; i++) {
        request->bodies[i] =
            (struct raft_body){.owner = raft_bytes_ref(owner), .octets = cq_slice_sub(rest, 0, chunks[i].length)};
        rest = cq_slice_skip(rest, chunks[i].length);
    }
    raft_bytes_unref(&owner);
}

static enum cq_rc fill_ids(const Chasqui__Mail__Call *c, struct entry *entry, struct cq_err *err)
{
    if (c->client.len != CLIENT_SIZE || c->sequence == 0)
        return CQ_FAIL(err, CQ_E_PROTO, "a command without a request id");
    memcpy(entry->client, c->client.data, CLIENT_SIZE);
    entry->sequence = c->sequence;
    entry->done = c->done;
    entry->stamp = c->stamp;
    entry->min_modseq = c->min_modseq;
    entry->incarnation = c->incarnation;
    return CQ_OK;
}

/* The system shard's commands name what they set and need no request id. */
static enum cq_rc build_system(const struct call_entry *call, struct entry *entry, struct raft_request *request,
                               struct cq_err *err)
{
    if (call->raw.len)
        return CQ_FAIL(err, CQ_E_PROTO, "bytes after a command that has none");
    return encode(entry, request, err);
}

static enum cq_rc build_mail(const struct call_entry *call, struct entry *entry, struct cq_pool *pool,
                             struct raft_request *request, struct cq_err *err)
{
    struct entry_chunk *chunks = NULL;
    enum cq_rc rc = mail_command_chunks(call->method, entry->body, call->raw, pool, &chunks, &entry->chunk_count, err);
    entry->chunks = chunks;
    if (rc == CQ_OK)
        rc = encode(entry, request, err);
    if (rc == CQ_OK)
        take_bodies(call->raw, chunks, entry->chunk_count, request);
    return rc;
}

enum cq_rc call_entry_build(const struct call_entry *call, bool system, struct cq_pool *pool,
                            struct raft_request *request, struct cq_err *err)
{
    Chasqui__Mail__Call *c = chasqui__mail__call__unpack(NULL, call->message.len, call->message.data);
    if (!c)
        return CQ_FAIL(err, CQ_E_PROTO, "the call does not decode");
    struct entry entry = {.version = call->version,
                          .method = (uint16_t)call->method,
                          .account = call->account,
                          .time = call->time,
                          .body = cq_slice_of(c->body.data, c->body.len)};
    enum cq_rc rc = CQ_OK;
    if (system)
        rc = build_system(call, &entry, request, err);
    else if ((rc = fill_ids(c, &entry, err)) == CQ_OK)
        rc = build_mail(call, &entry, pool, request, err);
    chasqui__mail__call__free_unpacked(c, NULL);
    return rc;
}

void call_entry_internal(uint32_t method, uint16_t version, uint64_t time, struct cq_slice body,
                         struct raft_request *request)
{
    const struct entry entry = {.version = version, .method = (uint16_t)method, .time = time, .body = body};
    CQ_ASSERT(encode(&entry, request, NULL) == CQ_OK);
}
