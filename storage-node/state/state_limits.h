/* Limits of the mailbox state. They are part of what apply does: changing one is a new command version. */
#ifndef STATE_LIMITS_H
#define STATE_LIMITS_H

#include "base/cq_limits.h"

/* clang-format off */
#define STATE_LIMITS(X)                                                                                                \
    X(STATE_EFFECTS_MAX, 5000, "messages", "Messages (or mailboxes of a renamed tree) that one command touches",       \
      "CQ_E_LIMIT; the front-end asks in parts")                                                                       \
    X(STATE_COPY_MAX, 100000, "messages", "Messages that one COPY or MOVE takes, in pieces of 5,000 that show at once at its end", \
      "CQ_E_LIMIT")                                                                       \
    X(STATE_MAILBOXES_MAX, 10000, "mailboxes", "Mailboxes of an account", "CQ_E_LIMIT")                                \
    X(STATE_SUBSCRIPTIONS_MAX, 10000, "names", "Subscriptions of an account", "CQ_E_LIMIT")                            \
    X(STATE_NAMES_BYTES_MAX, 4u << 20, "bytes", "All names of an account's mailboxes and subscriptions together",      \
      "CQ_E_LIMIT")                                                                                                    \
    X(STATE_NAME_DEPTH_MAX, 32, "levels", "Depth of a mailbox name", "CQ_E_INVALID")                                   \
    X(STATE_SUMMARY_MAX, 512u << 10, "bytes", "Summary of a message", "CQ_E_TOO_BIG")                                  \
    X(STATE_BODY_MAX, 256u << 20, "bytes", "Octets of a message", "CQ_E_TOO_BIG")                                      \
    X(STATE_STAGES_MAX, 1024, "stages", "Bodies of an account that are being staged at a time", "CQ_E_OVERLOADED")     \
    X(STATE_STAGE_BYTES_MAX, 512u << 20, "bytes", "Staged octets of an account", "CQ_E_OVERLOADED")                    \
    X(STATE_STAGE_PIECES_MAX, 4096, "pieces", "Pieces of one staged body, and of all that one command takes",         \
      "CQ_E_LIMIT")                                                                                                    \
    X(STATE_DELIVERY_KEYS_MAX, 10000, "keys", "Delivery keys that an account keeps", "CQ_E_LIMIT")                     \
    X(STATE_CHARGES_MAX, 100000, "charges", "Submissions of an account in 24 hours", "CQ_E_RATE")                      \
    X(STATE_CLIENTS_MAX, 4096, "clients", "Front-end workers whose requests an account remembers", "CQ_E_OVERLOADED")  \
    X(STATE_RESULTS_MAX, 1024, "results", "Results that an account remembers for one client", "CQ_E_OVERLOADED")       \
    X(STATE_VANISHED_MAX, 1024, "records", "Expunges that a mailbox remembers one by one",                             \
      "older ones are answered with a superset")                                                                       \
    X(STATE_VANISHED_DROP, 256, "records", "Oldest expunges that are given up when there are too many", "-")           \
    X(STATE_ADDRESS_MAX, 320, "bytes", "An account's address", "CQ_E_INVALID")                                         \
    X(STATE_EVENT_TEXT_MAX, 1024, "bytes", "One text in an event", "cut")                                              \
    X(STATE_READ_BYTES, 1u << 20, "bytes", "A batch of FETCH or CHANGES ends near this", "next_uid, more")             \
    X(STATE_READ_RECORDS, 5000, "records", "Records of one batch of FETCH or CHANGES", "next_uid, more")               \
    X(STATE_READ_RANGES, 20000, "ranges", "Ranges of vanished UIDs in one batch of CHANGES", "more")                   \
    X(STATE_BODY_READ_MAX, 1u << 20, "bytes", "Octets that one READ_BODY answers", "less than was asked for")
/* clang-format on */
CQ_LIMITS_ENUM(STATE_LIMITS);

/* Lifetimes by entry time (us). */
#define STATE_REQUEST_AGE_US (UINT64_C(15) * 60 * 1000000)
#define STATE_STAGE_AGE_US (UINT64_C(3600) * 1000000)
#define STATE_COPY_IDLE_US (UINT64_C(60) * 1000000) /* then RECLAIM goes on with a COPY that nobody asks for */
#define STATE_DELIVERY_KEY_AGE_US (UINT64_C(5) * 86400 * 1000000)
#define STATE_SENDING_WINDOW_US (UINT64_C(86400) * 1000000)

#endif
