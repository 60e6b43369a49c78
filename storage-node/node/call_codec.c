#include "node/call_codec.h"

#include "proto/mail.pb-c.h"

enum cq_rc call_body(struct cq_slice message, struct cq_pool *pool, struct cq_slice *body_r, struct cq_err *err)
{
    Chasqui__Mail__Call *call = chasqui__mail__call__unpack(NULL, message.len, message.data);
    if (!call)
        return CQ_FAIL(err, CQ_E_PROTO, "the call does not decode");
    *body_r = cq_pool_slice(pool, cq_slice_of(call->body.data, call->body.len));
    chasqui__mail__call__free_unpacked(call, NULL);
    return CQ_OK;
}

enum cq_rc answer_body(struct cq_slice message, struct cq_pool *pool, struct cq_slice *body_r, const char **text_r,
                       struct cq_err *err)
{
    Chasqui__Mail__Answer *answer = chasqui__mail__answer__unpack(NULL, message.len, message.data);
    if (!answer)
        return CQ_FAIL(err, CQ_E_PROTO, "the answer does not decode");
    *body_r = cq_pool_slice(pool, cq_slice_of(answer->body.data, answer->body.len));
    if (text_r)
        *text_r = cq_pool_cstr(pool, cq_slice_cstr(answer->text));
    chasqui__mail__answer__free_unpacked(answer, NULL);
    return CQ_OK;
}

struct cq_slice message_pack(const ProtobufCMessage *message, struct cq_pool *pool)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *data = cq_pool_alloc(pool, len ? len : 1);
    protobuf_c_message_pack(message, data);
    return cq_slice_of(data, len);
}

static ProtobufCBinaryData bytes(struct cq_slice s)
{
    return (ProtobufCBinaryData){.len = s.len, .data = (uint8_t *)(uintptr_t)s.data};
}

struct cq_slice call_pack(struct cq_slice body, struct cq_pool *pool)
{
    Chasqui__Mail__Call call = CHASQUI__MAIL__CALL__INIT;
    call.body = bytes(body);
    return message_pack(&call.base, pool);
}

struct cq_slice answer_pack(struct cq_slice body, const char *text, struct cq_pool *pool)
{
    Chasqui__Mail__Answer answer = CHASQUI__MAIL__ANSWER__INIT;
    answer.body = bytes(body);
    if (text && text[0])
        answer.text = (char *)(uintptr_t)text;
    return message_pack(&answer.base, pool);
}
