/* What a client may send: every bound of the grammar in one place. Session limits (junk, time-outs) are
 * frontend/imap's. */
#ifndef IMAP_LIMITS_H
#define IMAP_LIMITS_H

#include "base/cq_limits.h"

#define IMAP_LIMITS(X)                                                                                                 \
    X(IMAP_TAG_MAX, 256, "bytes", "The tag of a command", "BAD, connection kept")                                      \
    X(IMAP_COMMAND_PREAUTH_MAX, 8 << 10, "bytes", "A command before login, its literals included",                     \
      "BAD, connection kept")                                                                                          \
    X(IMAP_AUTHENTICATE_MAX, 16 << 10, "bytes", "An AUTHENTICATE command or one line of its dialogue",                 \
      "BAD, connection kept")                                                                                          \
    X(IMAP_LITERAL_PREAUTH_MAX, 4096, "bytes", "A literal before login (LITERAL-, RFC 7888)",                          \
      "BAD; a non-synchronising one: BYE, closed")                                                                     \
    X(IMAP_COMMAND_MAX, 256 << 10, "bytes", "A command after login, its literals included, APPEND's message not",      \
      "BAD, connection kept")                                                                                          \
    X(IMAP_SWALLOW_MAX, 64 << 20, "bytes", "What is read and thrown away of a refused command",                        \
      "BYE [TOOBIG], closed")                                                                                          \
    X(IMAP_SWALLOW_PREAUTH_MAX, 64 << 10, "bytes", "The same before login", "BYE, closed")                             \
    X(IMAP_DEPTH_PREAUTH_MAX, 8, "levels", "Nested parentheses before login", "BAD, connection kept")                  \
    X(IMAP_SEARCH_DEPTH_MAX, 500, "levels", "Nested NOT, OR and parentheses in SEARCH", "BAD, connection kept")        \
    X(IMAP_SEARCH_KEYS_MAX, 5000, "keys", "Keys of one SEARCH", "BAD, connection kept")                                \
    X(IMAP_FETCH_ITEMS_MAX, 200, "items", "Data items of one FETCH", "BAD, connection kept")                           \
    X(IMAP_FETCH_FIELDS_MAX, 200, "names", "Header names of one section", "BAD, connection kept")                      \
    X(IMAP_SECTION_DEPTH_MAX, 100, "numbers", "Part numbers of one section", "BAD, connection kept")                   \
    X(IMAP_KEYWORD_MAX, 128, "bytes", "One keyword", "BAD, connection kept")                                           \
    X(IMAP_KEYWORDS_MAX, 256, "keywords", "Keywords of one flag list", "BAD, connection kept")                         \
    X(IMAP_MAILBOX_MAX, 1000, "bytes", "A mailbox name as UTF-8", "NO [CANNOT]")                                       \
    X(IMAP_PATTERN_MAX, 1000, "bytes", "A LIST pattern as UTF-8", "BAD, connection kept")                              \
    X(IMAP_ID_FIELDS_MAX, 30, "fields", "Pairs of one ID (RFC 2971 3.3)", "BAD, connection kept")                      \
    X(IMAP_ID_VALUE_MAX, 1024, "bytes", "A value of ID (RFC 2971 3.3)", "BAD, connection kept")                        \
    X(IMAP_RESPONSE_DEPTH_MAX, 300, "levels", "Nested parentheses in a server's response (client side)", "an error")   \
    X(IMAP_RESPONSE_NODES_MAX, 1 << 20, "values", "Values of a server's response (client side)", "an error")

CQ_LIMITS_ENUM(IMAP_LIMITS);

extern const struct cq_limit imap_limit_rows[];
extern const size_t imap_limit_row_count;

#endif
