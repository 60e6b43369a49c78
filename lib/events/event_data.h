/* The data of an event, field by field (for event_encode.c alone). Each field is told once and goes to both forms: into
 * the JSON object, and into the stream's public message (proto/events.proto) under the same name. */
#ifndef EVENT_DATA_H
#define EVENT_DATA_H

#include <protobuf-c/protobuf-c.h>

#include "base/cq_buf.h"
#include "events/event_encode.h"

struct event_data {
    const struct event_source *source;
    struct cq_buf *json; /* inside an object */
    struct cq_pool *pool;
    ProtobufCMessage *message; /* in the pool; NULL: JSON alone is wanted (source->protobuf) */
};

/* The public message of a stream. */
const ProtobufCMessageDescriptor *event_data_message(enum event_stream stream);

void event_data_begin(struct event_data *data, const struct event_source *source, enum event_stream stream,
                      struct cq_buf *json, struct cq_pool *pool);

void event_data_text(struct event_data *data, const char *name, const char *text);
void event_data_time(struct event_data *data, const char *name, uint64_t us); /* RFC 3339 */
void event_data_hex(struct event_data *data, const char *name, uint64_t value);
void event_data_u32(struct event_data *data, const char *name, uint32_t value);

/* A text in JSON: many readers know numbers only up to 2^53 (as proto3's own JSON does it). */
void event_data_u64(struct event_data *data, const char *name, uint64_t value);

/* An address as source->pii wants it told: itself, its HMAC, and its domain. Nothing for "". */
void event_data_address(struct event_data *data, const char *name, const char *address);

/* The fields of a record's message that are set, those of inner messages beside the outer ones. NULL: nothing. */
void event_data_fields(struct event_data *data, const ProtobufCMessage *message);

/* The packed public message, in the pool; empty when it is not wanted. */
struct cq_slice event_data_pack(const struct event_data *data);

#endif
