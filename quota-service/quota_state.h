/* What the quota-service knows and decides: rates and counts under the limits of its settings. Plain values in and out,
 * time as an argument, no network: quota_service.c decodes and encodes, quota_rates.c asks Redis first where there is
 * one. In memory: after a restart rates begin anew (which forgives), and counts come back from the front-ends within
 * one renewal. */
#ifndef CHASQUI_QUOTA_STATE_H
#define CHASQUI_QUOTA_STATE_H

#include "limits/lease_table.h"
#include "limits/quota_kinds.h"
#include "limits/rate_table.h"

#define QUOTA_RATES_MAX 16    /* items of one message */
#define QUOTA_COUNTS_MAX 1000 /* the same */

struct quota_settings {
    int64_t rate_keys_max;
    int64_t count_keys_max;
    uint64_t lease_us;
    int64_t instances; /* of the quota-service: rates kept here are limited to this one's share; 0: 1 */
    int64_t hot_rate;  /* questions about one key in a second, from which on Redis is not asked each time; 0: it is */
    uint64_t hot_lease_us; /* for how long what Redis said of such a key is used */
};

struct quota_state;

struct quota_state *quota_state_new(const struct quota_settings *settings, const struct quota_limits *limits);
void quota_state_free(struct quota_state **state);

struct quota_rate_item {
    uint32_t kind; /* an unknown one is not limited: a newer front-end knows more than we do */
    struct cq_slice key;
    uint32_t cost;
};

struct quota_count_item {
    uint32_t kind;
    struct cq_slice key;
    uint32_t count;
};

struct quota_answer {
    bool allowed;
    uint32_t refused; /* index of the first item that is over its limit */
    uint64_t retry_after_us;
};

/* Who sends counts, and which message it is (lease_table_message). */
struct quota_sender {
    struct lease_holder_id holder;
    uint64_t number;
    bool replace;
};

/* All of them or none is charged. Not counted in the metrics: it may be a part of a question (quota_rates.c). */
struct quota_answer quota_state_check(struct quota_state *state, const struct quota_rate_item *items, size_t count,
                                      bool peek, uint64_t now_us);
void quota_state_charge(struct quota_state *state, const struct quota_rate_item *items, size_t count, uint64_t now_us);

/* All of them or none is set. */
struct quota_answer quota_state_begin(struct quota_state *state, const struct quota_sender *sender,
                                      const struct quota_count_item *items, size_t count, uint64_t now_us);
void quota_state_set(struct quota_state *state, const struct quota_sender *sender, const struct quota_count_item *items,
                     size_t count, uint64_t now_us);
bool quota_state_renew(struct quota_state *state, const struct lease_holder_id *holder, uint64_t number,
                       uint64_t now_us);

/* chasqui_quota_checks_total and chasqui_quota_limited_total, once for each question about rates. `limit` is the
 * refusing one's place in the list of limits: the rates in their order, then the counts. */
void quota_count_answer(const struct quota_answer *answer, unsigned limit);

/* Once a second: ends leases, sets the gauges. Returns how many holders were dropped. */
size_t quota_state_tick(struct quota_state *state, uint64_t now_us);

extern struct cq_metrics quota_metrics;

#endif
