#include "mail/mail_parse_limits.h"

struct mail_parse_limits mail_parse_limits_default(void)
{
    return mail_parse_limits_clamp(NULL);
}

struct mail_parse_limits mail_parse_limits_clamp(const struct mail_parse_limits *wanted)
{
    struct mail_parse_limits limits = wanted ? *wanted : (struct mail_parse_limits){0};
#define CLAMP(field, type, value, text)                                                                                \
    if (limits.field == 0 || limits.field > (type)(value))                                                             \
        limits.field = (type)(value);
    MAIL_PARSE_LIMITS(CLAMP)
#undef CLAMP
    return limits;
}
