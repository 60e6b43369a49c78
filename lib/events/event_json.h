/* JSON of events (for event_encode.c alone): single fields, and protobuf messages by their descriptors. */
#ifndef EVENT_JSON_H
#define EVENT_JSON_H

#include <protobuf-c/protobuf-c.h>

#include "base/cq_buf.h"
#include "events/event_encode.h"

/* A name with its colon, and a comma before it where one belongs. A value follows. */
void event_json_name(struct cq_buf *out, const char *name);
void event_json_text(struct cq_buf *out, const char *name, const char *text);
void event_json_time(struct cq_buf *out, const char *name, uint64_t us);
void event_json_hex(struct cq_buf *out, const char *name, uint64_t value);

/* An address as source->pii wants it told: itself, its HMAC, and its domain. Nothing for "". */
void event_json_address(struct cq_buf *out, const struct event_source *source, const char *name, const char *address);

/* The fields that are set, those of inner messages beside the outer ones. NULL: nothing. */
void event_json_message(struct cq_buf *out, const struct event_source *source, const ProtobufCMessage *message);

#endif
