/* Rates, decided by Redis for all instances of the quota-service together, or by this one's memory when there is no
 * Redis: none is configured, it is away, or it is slow. Then the limit's own policy says what happens (settings
 * limits.NAME.without_redis):
 *   local   this instance decides by its own counters with its share of the limit (count / instances, at least 1)
 *   open    allowed
 *   closed  refused, to be tried again in a second
 * One key per bucket, charged by one Lua script under Redis' own clock (quota_script.c), so instances need not agree
 * on a time. Questions of one turn go together (quota_redis.h); keys in frequent use are mostly decided here, by leases
 * of tokens (quota_hot.h). One loop. */
#ifndef CHASQUI_QUOTA_RATES_H
#define CHASQUI_QUOTA_RATES_H

#include "quota-service/quota_redis.h"
#include "quota-service/quota_state.h"

struct quota_rates;

struct quota_rates_config {
    struct io_loop *loop;
    struct io_pool *resolver;
    const char *cluster;                /* part of the keys' names */
    const struct redis_settings *redis; /* not configured: memory alone */
    const struct quota_limits *limits;
    struct quota_state *memory;         /* borrowed; with the share of the limits (quota_settings.instances) */
    const struct quota_settings *quota; /* instances and hot keys; borrowed */
    void (*on_redis)(void *ctx, bool up, const char *why); /* may be NULL */
    void *ctx;
};

enum cq_rc quota_rates_new(const struct quota_rates_config *config, struct quota_rates **rates_r, struct cq_err *err);
/* Questions that wait for Redis are decided without it. */
void quota_rates_free(struct quota_rates **rates);

enum quota_rate_op {
    QUOTA_RATE_PEEK,  /* would it be allowed? */
    QUOTA_RATE_TAKE,  /* all of them are charged or none */
    QUOTA_RATE_CHARGE /* it has happened; the answer means nothing */
};

/* In the asker's memory, with the keys, until `done` is called: once, perhaps before quota_rates_ask returns. */
struct quota_question {
    enum quota_rate_op op;
    struct quota_rate_item items[QUOTA_RATES_MAX];
    size_t count; /* > 0 */
    void (*done)(struct quota_question *question, const struct quota_answer *answer);
    struct { /* of quota_rates.c */
        struct quota_rates *rates;
        size_t waiting;
        struct quota_part {
            struct quota_bucket bucket;
            struct quota_question *question;
            enum { PART_FREE, PART_ALLOWED, PART_TOKEN, PART_REFUSED, PART_LOCAL } verdict;
            uint64_t retry_after_us;
            uint64_t lease_until_us; /* PART_TOKEN: of the lease that the token is from */
        } parts[QUOTA_RATES_MAX];
    } own;
};

void quota_rates_ask(struct quota_rates *rates, struct quota_question *question);

/* chasqui_quota_fallback_total{limit,policy}. */
extern struct cq_metrics quota_rates_metrics;

#endif
