#include "mail/mail_parse_limits.h"

struct mail_parse_limits mail_parse_limits_default(void)
{
    return mail_parse_limits_clamp(NULL);
}

struct mail_parse_limits mail_parse_limits_clamp(const struct mail_parse_limits *wanted)
{
    struct mail_parse_limits limits = wanted ? *wanted : (struct mail_parse_limits){0};
#define CLAMP(field, type, value, unit, help, answer)                                                                  \
    if (limits.field == 0 || limits.field > (type)(value))                                                             \
        limits.field = (type)(value);
    MAIL_PARSE_LIMITS(CLAMP)
#undef CLAMP
    return limits;
}

const struct cq_limit mail_limit_rows[] = {
#define ROW(field, type, value, unit, help, answer) {#field, (value), (unit), (help), (answer)},
    MAIL_PARSE_LIMITS(ROW)
#undef ROW
        {"MAIL_BOUNDARY_MAX", MAIL_BOUNDARY_MAX, "bytes", "A boundary (RFC 2046 5.1.1 says 70)",
         "its multipart is an octet-stream"},
};
const size_t mail_limit_row_count = sizeof mail_limit_rows / sizeof *mail_limit_rows;
