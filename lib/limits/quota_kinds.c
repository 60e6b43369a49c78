#include "limits/quota_kinds.h"

const char *const quota_policy_names[QUOTA_POLICIES + 1] = {"local", "open", "closed", NULL};

static const char *const rate_names[QUOTA_RATE_END] = {
#define RATE_NAME(name, number, text, count, period, without_redis, help) [name] = text,
    QUOTA_RATES(RATE_NAME)
#undef RATE_NAME
};

static const char *const count_names[QUOTA_COUNT_END] = {
#define COUNT_NAME(name, number, text, count, help) [name] = text,
    QUOTA_COUNTS(COUNT_NAME)
#undef COUNT_NAME
};

const char *quota_rate_name(enum quota_rate kind)
{
    return kind > 0 && kind < QUOTA_RATE_END ? rate_names[kind] : "?";
}

const char *quota_count_name(enum quota_count kind)
{
    return kind > 0 && kind < QUOTA_COUNT_END ? count_names[kind] : "?";
}

static const struct cq_setting rows[] = {
#define RATE_ROWS(name, number, text, count_, period_, policy_, help_)                                                 \
    CQ_SET_INT(struct quota_limits, rates[name].count, "limits." text ".count", count_, 0, 1000000, NULL,              \
               help_ " 0: no limit."),                                                                                 \
        CQ_SET_DURATION(struct quota_limits, rates[name].period_us, "limits." text ".period", period_, "1s", "10d",    \
                        "The time for that many."),                                                                    \
        CQ_SET_CHOICE(struct quota_limits, rates[name].without_redis, "limits." text ".without_redis", policy_,        \
                      quota_policy_names,                                                                              \
                      "What decides while Redis is configured and away: local counters (the limit divided by "         \
                      "instances), open (allowed) or closed (refused)."),
    QUOTA_RATES(RATE_ROWS)
#undef RATE_ROWS
#define COUNT_ROWS(name, number, text, count_, help_)                                                                  \
    CQ_SET_INT(struct quota_limits, counts[name], "limits." text, count_, 0, 1000000, NULL, help_ " 0: no limit."),
        QUOTA_COUNTS(COUNT_ROWS)
#undef COUNT_ROWS
            CQ_SET_STRINGS(struct quota_limits, exempt, "limits.exempt", "127.0.0.0/8 ::1", 64,
                           "Networks that no limit by address concerns: load balancers, webmail, monitoring."),
};

struct cq_config_part quota_limits_config_part(struct quota_limits *values)
{
    return (struct cq_config_part)CQ_CONFIG_PART("Limits", rows, values);
}
