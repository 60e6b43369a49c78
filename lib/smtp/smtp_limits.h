/* What a client may send in SMTP and LMTP. Limits of sessions are frontend/smtp's. */
#ifndef SMTP_LIMITS_H
#define SMTP_LIMITS_H

#include "base/cq_limits.h"

/* clang-format off */
#define SMTP_LIMITS(X)                                                                                                 \
    X(SMTP_LINE_MAX, 2048, "bytes", "A command with its CRLF: 512, and room for the extensions' parameters",           \
      "500 5.5.2, closed")                                                                                             \
    X(SMTP_AUTH_LINE_MAX, 12288, "bytes", "A line of an AUTH exchange (RFC 4954 4)", "500 5.5.6, closed")              \
    X(SMTP_PARAMS_MAX, 10, "parameters", "Parameters of one MAIL", "555 5.5.4")                                        \
    X(SMTP_LOCAL_MAX, 64, "bytes", "A local part (RFC 5321 4.5.3.1.1)", "553 5.1.3 or 5.1.7")                          \
    X(SMTP_DOMAIN_MAX, 255, "bytes", "A domain (RFC 5321 4.5.3.1.2)", "553 5.1.3 or 5.1.7; 501 5.5.4 to EHLO")         \
    X(SMTP_PATH_MAX, 256, "bytes", "A path with its punctuation (RFC 5321 4.5.3.1.3); a source route comes on top",    \
      "553 5.1.3 or 5.1.7")
/* clang-format on */

CQ_LIMITS_ENUM(SMTP_LIMITS);

extern const struct cq_limit smtp_limit_rows[];
extern const size_t smtp_limit_row_count;

#endif
