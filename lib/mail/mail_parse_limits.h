/* What a message may make us do. A message over a limit is stored and served whole all the same: what passes the
 * limit is kept opaque (an octet-stream part, a field that is not looked into), never lost. Settings may lower these
 * numbers, never raise them: mail_parse_limits_clamp. */
#ifndef MAIL_PARSE_LIMITS_H
#define MAIL_PARSE_LIMITS_H

#include <stddef.h>
#include <stdint.h>

#include "base/cq_limits.h"

/* X(field, type, greatest and default value, unit, what it bounds, what happens to what passes it) */
/* clang-format off */
#define MAIL_PARSE_LIMITS(X)                                                                                           \
    X(depth, uint32_t, 100, "levels", "Nested multiparts and messages", "a deeper one is an octet-stream")             \
    X(parts, uint32_t, 10000, "parts", "Parts of one message", "what follows stays in the last one")                   \
    X(field_octets, size_t, 1u << 20, "bytes", "One header field", "the rest of it is not looked into")                \
    X(header_octets, size_t, 50u << 20, "bytes", "Header fields kept in memory, all parts together",                   \
      "later fields are not")                                                                                          \
    X(fields, uint32_t, 1000, "fields", "Fields that are looked into, for each part",                                  \
      "later fields are not looked into")                                                                              \
    X(params, uint32_t, 100, "parameters", "Parameters of a Content-Type or Content-Disposition",                      \
      "later ones are ignored")                                                                                        \
    X(addresses, uint32_t, 10000, "addresses", "Addresses of one ENVELOPE list", "later ones are left out")            \
    X(references, uint32_t, 100, "ids", "Message ids kept of References", "the first and the last ones are kept")
/* clang-format on */

struct mail_parse_limits {
#define MAIL_PARSE_LIMITS_FIELD(field, type, value, unit, help, answer) type field;
    MAIL_PARSE_LIMITS(MAIL_PARSE_LIMITS_FIELD)
#undef MAIL_PARSE_LIMITS_FIELD
};

/* The greatest values, which are the defaults. */
struct mail_parse_limits mail_parse_limits_default(void);

/* Zeros become defaults, larger values the greatest. NULL is the default. */
struct mail_parse_limits mail_parse_limits_clamp(const struct mail_parse_limits *wanted);

/* The same and MAIL_BOUNDARY_MAX, for the reference page. */
extern const struct cq_limit mail_limit_rows[];
extern const size_t mail_limit_row_count;

#define MAIL_BOUNDARY_MAX 512 /* octets; RFC 2046 5.1.1 says 70; a longer one makes its multipart an octet-stream */

#endif
