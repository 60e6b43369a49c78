#include "quota-service/quota_state.h"

#include "base/cq_mem.h"
#include "base/cq_metrics.h"

#include <stdlib.h>

#define COUNT_KIND_OFFSET 0x10000 /* keys of counts and of rates are different keys */

struct quota_state {
    const struct quota_limits *limits;
    struct rate_table *rates;
    struct lease_table *counts;
    uint64_t instances;
};

/* ---- Metrics ---- */

enum { M_CHECKS, M_LIMITED, M_RATE_KEYS, M_COUNT_KEYS, M_HOLDERS, M_FORGOTTEN, M_DROPPED };
enum { CHECK_ALLOWED, CHECK_REFUSED };
static const char *const check_names[] = {"allowed", "refused"};

/* Label values: the rates in their order, then the counts. */
static const char *const limit_names[] = {
#define RATE_LABEL(name, number, text, count, period, without_redis, help) text,
    QUOTA_RATES(RATE_LABEL)
#undef RATE_LABEL
#define COUNT_LABEL(name, number, text, count, help) text,
        QUOTA_COUNTS(COUNT_LABEL)
#undef COUNT_LABEL
};

static const struct cq_metric metric_rows[] = {
    [M_CHECKS] =
        CQ_COUNTER("chasqui_quota_checks_total", "Questions that were answered", CQ_LABEL("result", check_names)),
    [M_LIMITED] = CQ_COUNTER("chasqui_quota_limited_total", "Refusals by limit", CQ_LABEL("limit", limit_names)),
    [M_RATE_KEYS] = CQ_GAUGE("chasqui_quota_rate_keys", "Keys whose rates are kept"),
    [M_COUNT_KEYS] = CQ_GAUGE("chasqui_quota_count_keys", "Keys with open sessions or connections"),
    [M_HOLDERS] = CQ_GAUGE("chasqui_quota_holders", "Front-end workers whose counts are kept"),
    [M_FORGOTTEN] = CQ_GAUGE("chasqui_quota_forgotten_keys",
                             "Rates that made room for others before they had paid off, since the start"),
    [M_DROPPED] =
        CQ_COUNTER("chasqui_quota_holders_dropped_total", "Front-end workers that were not heard of for a lease"),
};

struct cq_metrics quota_metrics = CQ_METRICS_OF(metric_rows);

void quota_count_answer(const struct quota_answer *answer, unsigned limit)
{
    cq_metric_add(&quota_metrics, M_CHECKS, 1, answer->allowed ? CHECK_ALLOWED : CHECK_REFUSED);
    if (!answer->allowed)
        cq_metric_add(&quota_metrics, M_LIMITED, 1, limit);
}

/* ---- Life ---- */

struct quota_state *quota_state_new(const struct quota_settings *settings, const struct quota_limits *limits)
{
    struct quota_state *state = cq_new(struct quota_state);
    state->limits = limits;
    state->instances = settings->instances > 1 ? (uint64_t)settings->instances : 1;
    state->rates = rate_table_new((size_t)settings->rate_keys_max);
    state->counts = lease_table_new((size_t)settings->count_keys_max, settings->lease_us);
    return state;
}

void quota_state_free(struct quota_state **state)
{
    if (!*state)
        return;
    rate_table_free(&(*state)->rates);
    lease_table_free(&(*state)->counts);
    free(*state);
    *state = NULL;
}

/* ---- Rates ---- */

static struct cq_slice cut_key(struct cq_slice key)
{
    return cq_slice_sub(key, 0, QUOTA_KEY_MAX);
}

static struct gcra_limit rate_limit(const struct quota_state *state, uint32_t kind)
{
    if (kind == 0 || kind >= QUOTA_RATE_END)
        return (struct gcra_limit){0, 1};
    uint64_t count = (uint64_t)state->limits->rates[kind].count, share = count / state->instances;
    return (struct gcra_limit){count && !share ? 1 : share, state->limits->rates[kind].period_us};
}

static uint64_t cost_of(const struct quota_rate_item *item)
{
    return item->cost ? item->cost : 1;
}

void quota_state_charge(struct quota_state *state, const struct quota_rate_item *items, size_t count, uint64_t now_us)
{
    for (size_t i = 0; i < count; i++) {
        struct gcra_limit limit = rate_limit(state, items[i].kind);
        struct limit_key key = limit_key_of(items[i].kind, cut_key(items[i].key));
        rate_table_charge(state->rates, &key, &limit, cost_of(&items[i]), now_us);
    }
}

struct quota_answer quota_state_check(struct quota_state *state, const struct quota_rate_item *items, size_t count,
                                      bool peek, uint64_t now_us)
{
    struct quota_answer answer = {.allowed = true};
    for (size_t i = 0; answer.allowed && i < count; i++) {
        struct gcra_limit limit = rate_limit(state, items[i].kind);
        struct limit_key key = limit_key_of(items[i].kind, cut_key(items[i].key));
        struct gcra_verdict verdict = rate_table_peek(state->rates, &key, &limit, cost_of(&items[i]), now_us);
        if (!verdict.allowed)
            answer = (struct quota_answer){.refused = (uint32_t)i, .retry_after_us = verdict.retry_after_us};
    }
    if (answer.allowed && !peek)
        quota_state_charge(state, items, count, now_us);
    return answer;
}

/* ---- Counts ---- */

static uint64_t count_limit(const struct quota_state *state, uint32_t kind)
{
    return kind == 0 || kind >= QUOTA_COUNT_END ? 0 : (uint64_t)state->limits->counts[kind];
}

static struct limit_key count_key(const struct quota_count_item *item)
{
    return limit_key_of(COUNT_KIND_OFFSET + item->kind, cut_key(item->key));
}

static void set_all(struct quota_state *state, const struct quota_sender *sender, const struct quota_count_item *items,
                    size_t count, uint64_t now_us)
{
    for (size_t i = 0; i < count; i++) {
        struct limit_key key = count_key(&items[i]);
        lease_table_set(state->counts, &sender->holder, &key, items[i].count, 0, now_us);
    }
}

void quota_state_set(struct quota_state *state, const struct quota_sender *sender, const struct quota_count_item *items,
                     size_t count, uint64_t now_us)
{
    lease_table_message(state->counts, &sender->holder, sender->number, sender->replace, now_us);
    set_all(state, sender, items, count, now_us);
}

struct quota_answer quota_state_begin(struct quota_state *state, const struct quota_sender *sender,
                                      const struct quota_count_item *items, size_t count, uint64_t now_us)
{
    struct quota_answer answer = {.allowed = true};
    lease_table_message(state->counts, &sender->holder, sender->number, sender->replace, now_us);
    for (size_t i = 0; answer.allowed && i < count; i++) {
        struct limit_key key = count_key(&items[i]);
        uint64_t limit = count_limit(state, items[i].kind);
        answer.allowed = lease_table_fits(state->counts, &sender->holder, &key, items[i].count, limit);
        answer.refused = answer.allowed ? 0 : (uint32_t)i;
    }
    if (answer.allowed)
        set_all(state, sender, items, count, now_us);
    quota_count_answer(&answer, answer.allowed ? 0 : QUOTA_RATE_END - 1 + items[answer.refused].kind - 1);
    return answer;
}

bool quota_state_renew(struct quota_state *state, const struct lease_holder_id *holder, uint64_t number,
                       uint64_t now_us)
{
    return lease_table_renew(state->counts, holder, number, now_us);
}

size_t quota_state_tick(struct quota_state *state, uint64_t now_us)
{
    size_t dropped = lease_table_expire(state->counts, now_us);
    cq_metric_add(&quota_metrics, M_DROPPED, dropped);
    cq_gauge_set(&quota_metrics, M_RATE_KEYS, (int64_t)rate_table_count(state->rates));
    cq_gauge_set(&quota_metrics, M_COUNT_KEYS, (int64_t)lease_table_keys(state->counts));
    cq_gauge_set(&quota_metrics, M_HOLDERS, (int64_t)lease_table_holders(state->counts));
    cq_gauge_set(&quota_metrics, M_FORGOTTEN, (int64_t)rate_table_forgotten(state->rates));
    return dropped;
}
