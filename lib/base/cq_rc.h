/* Result codes. One enum for the whole product: the values travel on the wire between our parts,
 * so the list only grows at its end. Codes are for decisions; text is for the log (cq_err.h). */
#ifndef CQ_RC_H
#define CQ_RC_H

#include <stdbool.h>

/* X(name, may the caller try the same thing again later, short text) */
#define CQ_RC_LIST(X)                                                                                                  \
    X(CQ_OK, false, "ok")                                                                                              \
    X(CQ_E_INTERNAL, false, "internal error")                                                                          \
    X(CQ_E_INVALID, false, "invalid argument")                                                                         \
    X(CQ_E_PROTO, false, "malformed input")                                                                            \
    X(CQ_E_LIMIT, false, "over a limit")                                                                               \
    X(CQ_E_AGAIN, true, "more input is needed")                                                                        \
    X(CQ_E_EOF, false, "end of input")                                                                                 \
    X(CQ_E_CANCELLED, false, "cancelled: nobody waits for the answer")                                                 \
    X(CQ_E_TIMEOUT, true, "deadline passed")                                                                           \
    X(CQ_E_UNAVAILABLE, true, "unavailable")                                                                           \
    X(CQ_E_OVERLOADED, true, "overloaded")                                                                             \
    X(CQ_E_IO, true, "input or output failed")                                                                         \
    X(CQ_E_CORRUPT, false, "checksum or format is wrong")                                                              \
    X(CQ_E_VERSION, false, "format or protocol version is not known")                                                  \
    X(CQ_E_AUTH, false, "authentication failed")                                                                       \
    X(CQ_E_DENIED, false, "not allowed")                                                                               \
    X(CQ_E_NOT_FOUND, false, "not found")                                                                              \
    X(CQ_E_EXISTS, false, "exists already")                                                                            \
    X(CQ_E_CONFLICT, false, "changed meanwhile")                                                                       \
    X(CQ_E_OVER_QUOTA, false, "over quota")                                                                            \
    X(CQ_E_TOO_BIG, false, "too big")                                                                                  \
    X(CQ_E_RATE, true, "too many, try later")                                                                          \
    X(CQ_E_NO_ACCOUNT, false, "the shard has no such account")                                                         \
    X(CQ_E_NO_MAILBOX, false, "no such mailbox")                                                                       \
    X(CQ_E_WRONG_OWNER, true, "the shard does not own the account's slot")                                             \
    X(CQ_E_NOT_LEADER, true, "the replica does not lead its group")                                                    \
    X(CQ_E_UNKNOWN_OUTCOME, false, "the request may or may not have taken effect")                                     \
    X(CQ_E_STALE, true, "the request's stamp is missing or too old")                                                   \
    X(CQ_E_BEHIND, true, "the replica has not seen what the session has seen")                                         \
    X(CQ_E_NO_SPACE, true, "too little free space")                                                                    \
    X(CQ_E_CONFIG, false, "configuration is wrong")                                                                    \
    X(CQ_E_UNSUPPORTED, false, "not supported")

enum cq_rc {
#define CQ_RC_ENUM(name, retry, text) name,
    CQ_RC_LIST(CQ_RC_ENUM)
#undef CQ_RC_ENUM
        CQ_RC_COUNT
};

/* The symbol ("CQ_E_TIMEOUT") and the short text of a code; "CQ_E_?" for values that a newer peer sent. */
const char *cq_rc_name(enum cq_rc rc);
const char *cq_rc_text(enum cq_rc rc);

/* May the caller try the same request again? False for codes that this build does not know. */
bool cq_rc_retryable(enum cq_rc rc);

#endif
