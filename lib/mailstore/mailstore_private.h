/* What the files of lib/mailstore share: one call to a shard, from message to message. */
#ifndef MAILSTORE_PRIVATE_H
#define MAILSTORE_PRIVATE_H

#include "mailstore/mailstore.h"

#include <proto/mail.pb-c.h>

/* One request on its way. `message` in, `reply` out: both protobuf, the reply unpacked into `pool`. */
struct mailstore_request {
    Chasqui__Mail__Method method;
    const ProtobufCMessage *message;
    const struct cq_slice *raw;
    size_t raw_count;
    const ProtobufCMessageDescriptor *reply_type;
};

/* Sends it for `account`, keeps its token and stamp, and returns the method's result code. *reply_r is set on CQ_OK
 * and, when the shard sent one with its refusal, on errors too; else NULL. raw_r may be NULL. */
enum cq_rc mailstore_roundtrip(struct mailstore *store, struct mailstore_account *account,
                               const struct mailstore_request *request, struct cq_pool *pool,
                               ProtobufCMessage **reply_r, struct cq_slice *raw_r, struct cq_err *err);

struct mailstore_transport *mailstore_transport_of(struct mailstore *store);
struct body_cache *mailstore_body_cache_of(const struct mailstore *store);

/* protobuf-c allocating from a pool: nothing is freed alone. */
ProtobufCAllocator mailstore_pool_allocator(struct cq_pool *pool);

ProtobufCBinaryData mailstore_bytes(struct cq_slice s);
struct cq_slice mailstore_slice(ProtobufCBinaryData bytes);
/* A NUL-terminated copy: protobuf strings are C strings. A NUL inside cuts it. */
char *mailstore_text(struct cq_pool *pool, struct cq_slice s);
char **mailstore_texts(struct cq_pool *pool, const struct cq_slice *texts, size_t count);
struct cq_slice *mailstore_slices(struct cq_pool *pool, char **texts, size_t count);

/* Between struct uidset and the wire's UidSet. NULL from the wire is the empty set. */
Chasqui__Mail__UidSet *mailstore_uidset_to_wire(struct cq_pool *pool, const struct uidset *set);
enum cq_rc mailstore_uidset_from_wire(struct cq_pool *pool, const Chasqui__Mail__UidSet *wire, struct uidset *set_r,
                                      struct cq_err *err);

/* What an APPEND or DELIVER says of a message. Octets that are not staged are hashed, at most MAIL_INLINE_MAX. */
void mailstore_message_to_wire(struct cq_pool *pool, const struct mail_new_message *message,
                               Chasqui__Mail__NewMessage *wire);
/* The octets of all messages that are not staged, in order: what follows the command. */
struct cq_slice *mailstore_inline_slices(struct cq_pool *pool, const struct mail_new_message *messages, size_t count,
                                         size_t *n_r);
size_t mailstore_length(const struct cq_slice *parts, size_t count);
/* 16 bytes that nobody else makes. */
void mailstore_unique_id(struct mailstore *store, uint8_t id_r[static 16]);

void mailstore_mailbox_from_wire(struct cq_pool *pool, const Chasqui__Mail__Mailbox *wire,
                                 struct mail_mailbox *mailbox_r);

#endif
