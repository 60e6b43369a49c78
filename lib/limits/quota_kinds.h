/* What is limited, and how much: one row each. The same rows are the quota-service's settings and those of a front-end,
 * which applies its share of them when the service does not answer. Numbers travel on the wire: lists only grow. */
#ifndef CHASQUI_QUOTA_KINDS_H
#define CHASQUI_QUOTA_KINDS_H

#include "base/cq_config.h"

#define QUOTA_KEY_MAX 320 /* bytes of a key (an address, a login name and an address); longer keys are cut */

/* Rates: so many in a time, spread over it (GCRA). X(name, number, text, count, period, without_redis, help) */
#define QUOTA_RATES(X)                                                                                                 \
    X(QUOTA_AUTH_ADDRESS, 1, "auth_address", "60", "10m", "local", "Failed log-ins from one address (IPv6: one /64).") \
    X(QUOTA_AUTH_ACCOUNT, 2, "auth_account", "100", "1h", "local",                                                     \
      "Failed log-ins of one name, from all addresses together; under an alias domain it is the same name.")           \
    X(QUOTA_AUTH_PAIR, 3, "auth_pair", "10", "10m", "local", "Failed log-ins of one name from one address.")           \
    X(QUOTA_CONNECT, 4, "connect", "600", "1m", "open", "New connections from one address (IPv6: one /64).")

/* Counts: so many at once. X(name, number, text, count, help) */
#define QUOTA_COUNTS(X)                                                                                                \
    X(QUOTA_SESSIONS_ACCOUNT, 1, "sessions_account", "30", "Sessions of one account at once, over all front-ends.")    \
    X(QUOTA_SESSIONS_ADDRESS, 2, "sessions_address", "500",                                                            \
      "Connections of one address at once, over all front-ends (many people may share an address).")

enum quota_rate {
#define QUOTA_RATE_ENUM(name, number, text, count, period, without_redis, help) name = (number),
    QUOTA_RATES(QUOTA_RATE_ENUM)
#undef QUOTA_RATE_ENUM
        QUOTA_RATE_END
};

enum quota_count {
#define QUOTA_COUNT_ENUM(name, number, text, count, help) name = (number),
    QUOTA_COUNTS(QUOTA_COUNT_ENUM)
#undef QUOTA_COUNT_ENUM
        QUOTA_COUNT_END
};

const char *quota_rate_name(enum quota_rate kind); /* "auth_address"; "?" */
const char *quota_count_name(enum quota_count kind);

/* What decides while Redis is away. */
enum quota_policy { QUOTA_POLICY_LOCAL, QUOTA_POLICY_OPEN, QUOTA_POLICY_CLOSED };
#define QUOTA_POLICIES 3
extern const char *const quota_policy_names[QUOTA_POLICIES + 1]; /* NULL at the end */

struct quota_rate_limit {
    int64_t count;      /* 0: no limit */
    uint64_t period_us; /* > 0 */
    int without_redis;  /* enum quota_policy */
};

/* Settings limits.*. */
struct quota_limits {
    struct quota_rate_limit rates[QUOTA_RATE_END]; /* by enum quota_rate; [0] is not used */
    int64_t counts[QUOTA_COUNT_END];               /* by enum quota_count; 0: no limit */
    struct cq_strings exempt;                      /* networks that no limit by address concerns */
};

struct cq_config_part quota_limits_config_part(struct quota_limits *values);

#endif
