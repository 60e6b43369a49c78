/* The events, one row each: in which stream they go, what they are called, what keeps them in order. Those that state
 * changes leave in a shard's outbox (proto/outbox.proto), and those of the front-ends (proto/edge.proto).
 * docs/events.md is for their consumers. */
#ifndef EVENT_CATALOGUE_H
#define EVENT_CATALOGUE_H

#include <stddef.h>
#include <stdint.h>

#include "base/cq_slice.h"

/* X(stream, name: the topic without prefix and version) */
#define EVENT_STREAMS(X)                                                                                               \
    X(EVENT_INBOUND, "mail.inbound")                                                                                   \
    X(EVENT_DELIVERY, "mail.delivery")                                                                                 \
    X(EVENT_MAILBOX, "mail.mailbox")                                                                                   \
    X(EVENT_LIMITS, "mail.limits")                                                                                     \
    X(EVENT_AUTH, "mail.auth")

enum event_stream {
#define EVENT_STREAM_ENUM(stream, name) stream,
    EVENT_STREAMS(EVENT_STREAM_ENUM)
#undef EVENT_STREAM_ENUM
        EVENT_STREAM_COUNT
};
extern const char *const event_stream_names[EVENT_STREAM_COUNT];

enum event_key { EVENT_KEY_MESSAGE, EVENT_KEY_ACCOUNT, EVENT_KEY_SESSION }; /* with the same key they keep order */

enum event_guarantee {
    EVENT_AT_LEAST_ONCE, /* from the outbox */
    EVENT_BEST_EFFORT    /* from the memory of a front-end: lost with it, dropped when the sink is too slow, counted */
};

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
    X(QUOTA_RECOVERED, EVENT_LIMITS, "quota.recovered", EVENT_KEY_ACCOUNT, "An account is below its quota again")     \
    X(INBOUND_EVENTS_DROPPED, EVENT_INBOUND, "events.dropped", EVENT_KEY_ACCOUNT,                                      \
      "Events of this stream were dropped: the outbox was full")                                                       \
    X(DELIVERY_EVENTS_DROPPED, EVENT_DELIVERY, "events.dropped", EVENT_KEY_ACCOUNT,                                    \
      "Events of this stream were dropped: the outbox was full")                                                       \
    X(MAILBOX_EVENTS_DROPPED, EVENT_MAILBOX, "events.dropped", EVENT_KEY_ACCOUNT,                                      \
      "Events of this stream were dropped: the outbox was full")                                                       \
    X(LIMITS_EVENTS_DROPPED, EVENT_LIMITS, "events.dropped", EVENT_KEY_ACCOUNT,                                        \
      "Events of this stream were dropped: the outbox was full")

/* The same with types of the front-ends. */
#define EVENT_EDGE_CATALOGUE(X)                                                                                        \
    X(MESSAGE_REJECTED, EVENT_INBOUND, "message.rejected", EVENT_KEY_SESSION,                                          \
      "A connection, a sender, a recipient or a message was refused by SMTP or LMTP, for now (4xx) or for good (5xx)") \
    X(AUTH_SUCCEEDED, EVENT_AUTH, "auth.succeeded", EVENT_KEY_ACCOUNT, "A log-in")                                     \
    X(AUTH_FAILED, EVENT_AUTH, "auth.failed", EVENT_KEY_ACCOUNT, "A log-in that was refused")                          \
    X(AUTH_BLOCKED, EVENT_AUTH, "auth.blocked", EVENT_KEY_ACCOUNT,                                                     \
      "A log-in that was not looked at: too many failures before; sampled")                                            \
    X(SESSION_OPENED, EVENT_AUTH, "session.opened", EVENT_KEY_ACCOUNT, "A session of an account began, at its log-in") \
    X(SESSION_CLOSED, EVENT_AUTH, "session.closed", EVENT_KEY_ACCOUNT, "A session of an account ended")                \
    X(RATE_LIMITED, EVENT_LIMITS, "rate_limited", EVENT_KEY_ACCOUNT,                                                   \
      "Something was refused: too often, or too many at once; sampled")
/* clang-format on */

struct event_row {
    int type; /* Chasqui__Outbox__Type or Chasqui__Edge__Type: no number is in both */
    enum event_stream stream;
    const char *name;
    enum event_key key;
    enum event_guarantee guarantee;
    const char *help;
};
extern const struct event_row event_rows[];
extern const size_t event_row_count;

/* NULL: a type that this build does not know. */
const struct event_row *event_row_find(int type);

/* The row of a packed event (of either kind), without decoding more than its type. NULL as above, and for garbage. */
const struct event_row *event_row_peek(struct cq_slice packed);

#endif
