/* The events that state changes leave in a shard's outbox (proto/outbox.proto), one row each: in which stream they go,
 * what they are called, what keeps them in order. docs/events.md is for their consumers. */
#ifndef EVENT_CATALOGUE_H
#define EVENT_CATALOGUE_H

#include <stddef.h>
#include <stdint.h>

enum event_stream { EVENT_INBOUND, EVENT_DELIVERY, EVENT_MAILBOX, EVENT_LIMITS, EVENT_STREAM_COUNT };
extern const char *const event_stream_names[EVENT_STREAM_COUNT]; /* "mail.inbound" ... */

enum event_key { EVENT_KEY_MESSAGE, EVENT_KEY_ACCOUNT }; /* events with the same key keep their order */

/* X(type of the outbox, stream, name, key, what it says) */
/* clang-format off */
#define EVENT_CATALOGUE(X)                                                                                             \
    X(MESSAGE_ACCEPTED, EVENT_INBOUND, "message.accepted", EVENT_KEY_MESSAGE,                                          \
      "A message was taken for a recipient: one event per recipient")                                                  \
    X(MESSAGE_DUPLICATE_SUPPRESSED, EVENT_INBOUND, "message.duplicate_suppressed", EVENT_KEY_MESSAGE,                  \
      "A repeated delivery was recognised; nothing was stored")                                                        \
    X(DELIVERY_LOCAL, EVENT_DELIVERY, "delivery.local", EVENT_KEY_MESSAGE,                                             \
      "A message was stored in a mailbox; final")                                                                      \
    X(MAILBOX_CREATED, EVENT_MAILBOX, "mailbox.created", EVENT_KEY_ACCOUNT, "A mailbox was created")                   \
    X(MAILBOX_RENAMED, EVENT_MAILBOX, "mailbox.renamed", EVENT_KEY_ACCOUNT, "A mailbox got another name")              \
    X(MAILBOX_DELETED, EVENT_MAILBOX, "mailbox.deleted", EVENT_KEY_ACCOUNT, "A mailbox was deleted with its messages") \
    X(MESSAGES_EXPUNGED, EVENT_MAILBOX, "messages.expunged", EVENT_KEY_ACCOUNT, "Messages were removed")               \
    X(ACCOUNT_CREATED, EVENT_MAILBOX, "account.created", EVENT_KEY_ACCOUNT, "An account was created in its shard")     \
    X(ACCOUNT_DELETED, EVENT_MAILBOX, "account.deleted", EVENT_KEY_ACCOUNT, "An account was deleted in its shard")     \
    X(QUOTA_WARNING, EVENT_LIMITS, "quota.warning", EVENT_KEY_ACCOUNT, "An account passed a threshold of its quota")   \
    X(QUOTA_EXCEEDED, EVENT_LIMITS, "quota.exceeded", EVENT_KEY_ACCOUNT, "Something was refused: over quota")          \
    X(QUOTA_RECOVERED, EVENT_LIMITS, "quota.recovered", EVENT_KEY_ACCOUNT, "An account is below its quota again")
/* clang-format on */

struct event_row {
    int type; /* Chasqui__Outbox__Type */
    enum event_stream stream;
    const char *name;
    enum event_key key;
    const char *help;
};
extern const struct event_row event_rows[];
extern const size_t event_row_count;

/* NULL: a type that this build does not know. */
const struct event_row *event_row_find(int type);

#endif
