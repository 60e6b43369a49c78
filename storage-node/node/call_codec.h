/* The Call and Answer of proto/mail.proto around the messages of methods that the node answers by itself. */
#ifndef CALL_CODEC_H
#define CALL_CODEC_H

#include <protobuf-c/protobuf-c.h>

#include "base/cq_buf.h"
#include "base/cq_pool.h"

/* The body of an encoded Call or Answer, copied to the pool; *text_r (may be NULL): an Answer's text. CQ_E_PROTO. */
enum cq_rc call_body(struct cq_slice message, struct cq_pool *pool, struct cq_slice *body_r, struct cq_err *err);
enum cq_rc answer_body(struct cq_slice message, struct cq_pool *pool, struct cq_slice *body_r, const char **text_r,
                       struct cq_err *err);

/* An encoded message, Call or Answer in the pool. */
struct cq_slice message_pack(const ProtobufCMessage *message, struct cq_pool *pool);
struct cq_slice call_pack(struct cq_slice body, struct cq_pool *pool);
struct cq_slice answer_pack(struct cq_slice body, const char *text, struct cq_pool *pool);

#endif
