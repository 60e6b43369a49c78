#include "rpc/rpc_frame.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "base/cq_mem.h"

#include <stdlib.h>

/* Offsets of docs/formats/rpc-frame.md. */
enum {
    AT_LENGTH = 0,
    AT_VERSION = 4,
    AT_TYPE = 5,
    AT_FLAGS = 6,
    AT_METHOD = 8,
    AT_RESULT = 10,
    AT_STREAM = 12,
    AT_ACCOUNT = 16,
    AT_EPOCH = 24,
    AT_GROUP = 32,
    AT_DEADLINE = 36,
    AT_AUX = 40,
    AT_MESSAGE = 48,
    AT_RESERVED = 52
};

struct type_row {
    const char *name;
    bool known;
    bool stream;
};

static const struct type_row types[] = {
#define ROW(name, value, stream) [value] = {#name, true, (stream)},
    RPC_FRAME_TYPES(ROW)
#undef ROW
};

static const struct type_row *type_of(uint8_t type)
{
    return type < sizeof types / sizeof *types && types[type].known ? &types[type] : NULL;
}

const char *rpc_frame_type_name(uint8_t type)
{
    const struct type_row *row = type_of(type);
    return row ? row->name + strlen("RPC_") : "?";
}

struct rpc_payload *rpc_payload_new(size_t len)
{
    CQ_ASSERT(len <= RPC_PAYLOAD_MAX);
    struct rpc_payload *payload = cq_malloc(sizeof *payload + len);
    payload->refs = 1;
    payload->len = (uint32_t)len;
    return payload;
}

struct rpc_payload *rpc_payload_ref(struct rpc_payload *payload)
{
    if (payload)
        __atomic_add_fetch(&payload->refs, 1, __ATOMIC_RELAXED);
    return payload;
}

void rpc_payload_unref(struct rpc_payload **payload)
{
    if (!payload || !*payload)
        return;
    /* Acquire and release: the last holder sees everybody's reads done before the memory goes. */
    if (__atomic_sub_fetch(&(*payload)->refs, 1, __ATOMIC_ACQ_REL) == 0)
        free(*payload);
    *payload = NULL;
}

struct rpc_payload *rpc_payload_join(struct rpc_frame *frame, struct cq_slice message, const struct cq_slice *raw,
                                     size_t raw_count)
{
    size_t len = message.len;
    for (size_t i = 0; i < raw_count && len <= RPC_PAYLOAD_MAX; i++)
        len = raw[i].len > RPC_PAYLOAD_MAX ? SIZE_MAX : len + raw[i].len;
    if (len > RPC_PAYLOAD_MAX)
        return NULL;
    struct rpc_payload *payload = rpc_payload_new(len);
    uint8_t *at = payload->data;
    if (message.len)
        memcpy(at, message.data, message.len);
    at += message.len;
    for (size_t i = 0; i < raw_count; i++) {
        if (raw[i].len)
            memcpy(at, raw[i].data, raw[i].len);
        at += raw[i].len;
    }
    frame->message_len = (uint32_t)message.len;
    frame->payload_len = (uint32_t)len;
    return payload;
}

void rpc_payload_begin(struct cq_buf *buf)
{
    CQ_ASSERT(buf->len == 0);
    if (cq_buf_reserve(buf, RPC_PAYLOAD_BUF_EXTRA))
        cq_buf_commit(buf, RPC_PAYLOAD_BUF_EXTRA);
}

struct rpc_payload *rpc_payload_end(struct cq_buf *buf)
{
    size_t len;
    if (!cq_buf_ok(buf) || buf->len - RPC_PAYLOAD_BUF_EXTRA > RPC_PAYLOAD_MAX)
        return NULL;
    struct rpc_payload *payload = (struct rpc_payload *)(void *)cq_buf_take(buf, &len);
    *payload = (struct rpc_payload){.refs = 1, .len = (uint32_t)(len - RPC_PAYLOAD_BUF_EXTRA)};
    return payload;
}

struct cq_slice rpc_frame_message(const struct rpc_frame *frame, const struct rpc_payload *payload)
{
    return payload ? cq_slice_of(payload->data, frame->message_len) : CQ_SLICE_NONE;
}

struct cq_slice rpc_frame_raw(const struct rpc_frame *frame, const struct rpc_payload *payload)
{
    if (!payload)
        return CQ_SLICE_NONE;
    return cq_slice_of(payload->data + frame->message_len, frame->payload_len - frame->message_len);
}

void rpc_frame_encode(const struct rpc_frame *frame, uint8_t out[static RPC_FRAME_HEADER_SIZE])
{
    CQ_ASSERT(frame->payload_len <= RPC_PAYLOAD_MAX && frame->message_len <= frame->payload_len);
    memset(out, 0, RPC_FRAME_HEADER_SIZE);
    cq_put_le32(out + AT_LENGTH, RPC_FRAME_HEADER_SIZE + frame->payload_len);
    out[AT_VERSION] = RPC_FRAME_VERSION;
    out[AT_TYPE] = frame->type;
    cq_put_le16(out + AT_FLAGS, frame->flags);
    cq_put_le16(out + AT_METHOD, frame->method);
    cq_put_le16(out + AT_RESULT, frame->result);
    cq_put_le32(out + AT_STREAM, frame->stream);
    cq_put_le64(out + AT_ACCOUNT, frame->account);
    cq_put_le64(out + AT_EPOCH, frame->epoch);
    cq_put_le32(out + AT_GROUP, frame->group);
    cq_put_le32(out + AT_DEADLINE, frame->deadline_ms);
    cq_put_le64(out + AT_AUX, frame->aux);
    cq_put_le32(out + AT_MESSAGE, frame->message_len);
}

static enum cq_rc frame_judge_type(const struct rpc_frame *frame, struct cq_err *err)
{
    const struct type_row *row = type_of(frame->type);
    if (!row && frame->type < RPC_FRAME_TYPE_SKIPPABLE)
        return CQ_FAIL(err, CQ_E_VERSION, "frame type %u is not known", frame->type);
    if (row && row->stream != (frame->stream != 0))
        return CQ_FAIL(err, CQ_E_PROTO, "%s frame %s a stream id", rpc_frame_type_name(frame->type),
                       row->stream ? "without" : "with");
    return CQ_OK;
}

enum cq_rc rpc_frame_decode(const uint8_t in[static RPC_FRAME_HEADER_SIZE], size_t payload_max,
                            struct rpc_frame *frame_r, struct cq_err *err)
{
    uint32_t length = cq_get_le32(in + AT_LENGTH);
    if (in[AT_VERSION] != RPC_FRAME_VERSION)
        return CQ_FAIL(err, CQ_E_VERSION, "frame version %u, this side knows %u", in[AT_VERSION], RPC_FRAME_VERSION);
    if (length < RPC_FRAME_HEADER_SIZE)
        return CQ_FAIL(err, CQ_E_PROTO, "frame of %u bytes is shorter than its header", length);
    *frame_r = (struct rpc_frame){
        .type = in[AT_TYPE],
        .flags = cq_get_le16(in + AT_FLAGS),
        .method = cq_get_le16(in + AT_METHOD),
        .result = cq_get_le16(in + AT_RESULT),
        .stream = cq_get_le32(in + AT_STREAM),
        .account = cq_get_le64(in + AT_ACCOUNT),
        .epoch = cq_get_le64(in + AT_EPOCH),
        .group = cq_get_le32(in + AT_GROUP),
        .deadline_ms = cq_get_le32(in + AT_DEADLINE),
        .aux = cq_get_le64(in + AT_AUX),
        .message_len = cq_get_le32(in + AT_MESSAGE),
        .payload_len = length - RPC_FRAME_HEADER_SIZE,
    };
    if (frame_r->payload_len > payload_max || frame_r->payload_len > RPC_PAYLOAD_MAX)
        return CQ_FAIL(err, CQ_E_TOO_BIG, "%s frame with %u bytes of payload", rpc_frame_type_name(frame_r->type),
                       frame_r->payload_len);
    if (frame_r->message_len > frame_r->payload_len)
        return CQ_FAIL(err, CQ_E_PROTO, "message of %u bytes in a payload of %u", frame_r->message_len,
                       frame_r->payload_len);
    return frame_judge_type(frame_r, err);
}

void rpc_frame_reader_init(struct rpc_frame_reader *reader, size_t payload_max)
{
    *reader = (struct rpc_frame_reader){.payload_max = payload_max};
}

void rpc_frame_reader_fini(struct rpc_frame_reader *reader)
{
    rpc_payload_unref(&reader->payload);
}

bool rpc_frame_reader_idle(const struct rpc_frame_reader *reader)
{
    return reader->have == 0;
}

/* Copies what fits of *input to `to`, of which `have` of `want` bytes are there. */
static size_t reader_fill(uint8_t *to, size_t have, size_t want, struct cq_slice *input)
{
    size_t n = want - have < input->len ? want - have : input->len;
    if (n)
        memcpy(to + have, input->data, n);
    *input = cq_slice_skip(*input, n);
    return n;
}

enum cq_rc rpc_frame_reader_next(struct rpc_frame_reader *reader, struct cq_slice *input, struct rpc_frame *frame_r,
                                 struct rpc_payload **payload_r, struct cq_err *err)
{
    if (reader->have < RPC_FRAME_HEADER_SIZE) {
        reader->have += reader_fill(reader->header, reader->have, RPC_FRAME_HEADER_SIZE, input);
        if (reader->have < RPC_FRAME_HEADER_SIZE)
            return CQ_E_AGAIN;
        enum cq_rc rc = rpc_frame_decode(reader->header, reader->payload_max, &reader->frame, err);
        if (rc != CQ_OK)
            return rc;
        if (reader->frame.payload_len)
            reader->payload = rpc_payload_new(reader->frame.payload_len);
    }
    size_t have = reader->have - RPC_FRAME_HEADER_SIZE;
    if (reader->payload)
        have += reader_fill(reader->payload->data, have, reader->frame.payload_len, input);
    reader->have = RPC_FRAME_HEADER_SIZE + have;
    if (have < reader->frame.payload_len)
        return CQ_E_AGAIN;
    *frame_r = reader->frame;
    *payload_r = reader->payload;
    reader->payload = NULL;
    reader->have = 0;
    return CQ_OK;
}
