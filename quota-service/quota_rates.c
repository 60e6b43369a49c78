#include "quota-service/quota_rates.h"

#include "quota-service/quota_script.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "base/cq_metrics.h"
#include "base/cq_time.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLOSED_RETRY_US 1000000
#define KEY_HASH_SIZE 16
#define KEY_TEXT_MAX 160

struct quota_rates {
    struct quota_rates_config config;
    struct redis_client *redis; /* NULL: memory alone */
};

static const char *const limit_names[] = {
#define RATE_LABEL(name, number, text, count, period, without_redis, help) text,
    QUOTA_RATES(RATE_LABEL)
#undef RATE_LABEL
};
static const struct cq_metric metric_rows[] = {
    CQ_COUNTER("chasqui_quota_fallback_total", "Questions decided without Redis though it is configured",
               CQ_LABEL("limit", limit_names),
               {.name = "policy", .values = quota_policy_names, .count = QUOTA_POLICIES}),
};
struct cq_metrics quota_rates_metrics = CQ_METRICS_OF(metric_rows);

/* ---- Life ---- */

enum cq_rc quota_rates_new(const struct quota_rates_config *config, struct quota_rates **rates_r, struct cq_err *err)
{
    struct quota_rates *rates = cq_new(struct quota_rates);
    enum cq_rc rc = CQ_OK;
    rates->config = *config;
    if (redis_is_configured(config->redis)) {
        const struct redis_client_config redis = {.loop = config->loop,
                                                  .resolver = config->resolver,
                                                  .settings = config->redis,
                                                  .load_script = quota_script,
                                                  .on_state = config->on_redis,
                                                  .ctx = config->ctx};
        rc = redis_client_new(&redis, &rates->redis, err);
    }
    *rates_r = rates;
    if (rc != CQ_OK)
        quota_rates_free(rates_r);
    return rc;
}

void quota_rates_free(struct quota_rates **rates)
{
    if (!*rates)
        return;
    redis_client_free(&(*rates)->redis);
    free(*rates);
    *rates = NULL;
}

/* ---- One item at Redis ---- */

static const struct quota_rate_limit *limit_of(const struct quota_rates *rates, uint32_t kind)
{
    bool known = kind > 0 && kind < QUOTA_RATE_END && rates->config.limits->rates[kind].count > 0;
    return known ? &rates->config.limits->rates[kind] : NULL;
}

/* "chasqui:CLUSTER:rate:auth_pair:HASH". Names of people and addresses do not go to Redis in clear, and have one size
 * there; unlike limit_key_of the hash is the same in all instances. */
static struct cq_slice key_text(const struct quota_rates *rates, const struct quota_rate_item *item,
                                char out[static KEY_TEXT_MAX])
{
    uint8_t hash[KEY_HASH_SIZE];
    char hex[2 * KEY_HASH_SIZE + 1];
    struct cq_slice key = cq_slice_sub(item->key, 0, QUOTA_KEY_MAX), cluster = cq_slice_cstr(rates->config.cluster);
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, sizeof hash);
    crypto_generichash_update(&state, cluster.data, cluster.len);
    crypto_generichash_update(&state, (const uint8_t *)"", 1);
    crypto_generichash_update(&state, key.data ? key.data : hash, key.len);
    crypto_generichash_final(&state, hash, sizeof hash);
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    int len = snprintf(out, KEY_TEXT_MAX, "chasqui:%s:rate:%s:%s", rates->config.cluster,
                       quota_rate_name((enum quota_rate)item->kind), hex);
    return cq_slice_of(out, (size_t)len < KEY_TEXT_MAX ? (size_t)len : KEY_TEXT_MAX - 1);
}

static bool send_script(struct quota_rates *rates, const struct quota_rate_item *item, const char *op, bool whole,
                        redis_reply_fn *fn, void *ctx)
{
    const struct quota_rate_limit *limit = limit_of(rates, item->kind);
    const struct gcra_limit gcra = {(uint64_t)limit->count, limit->period_us};
    char key[KEY_TEXT_MAX], interval[24], burst[24], cost[24];
    snprintf(interval, sizeof interval, "%" PRIu64, gcra_interval_us(&gcra));
    snprintf(burst, sizeof burst, "%" PRIu64, gcra_burst_us(&gcra));
    snprintf(cost, sizeof cost, "%" PRIu32, item->cost ? item->cost : 1);
    const struct cq_slice args[] = {
        whole ? cq_slice_cstr("EVAL") : cq_slice_cstr("EVALSHA"),
        whole ? cq_slice_cstr(quota_script) : cq_slice_cstr(quota_script_sha()),
        cq_slice_cstr("1"),
        key_text(rates, item, key),
        cq_slice_cstr(op),
        cq_slice_cstr(interval),
        cq_slice_cstr(burst),
        cq_slice_cstr(cost),
    };
    return redis_send(rates->redis, args, sizeof args / sizeof *args, fn, ctx);
}

/* ---- The end of a question ---- */

static void ignore_reply(void *ctx, const redisReply *reply)
{
    (void)ctx;
    (void)reply;
}

/* What Redis took for a question that is refused by another of its items. */
static void give_back(struct quota_question *question)
{
    for (size_t i = 0; i < question->count; i++)
        if (question->own.parts[i].verdict == PART_ALLOWED)
            send_script(question->own.rates, &question->items[i], "refund", false, ignore_reply, NULL);
}

/* This item without Redis. */
static struct quota_answer decide_here(struct quota_question *question, size_t i)
{
    struct quota_rates *rates = question->own.rates;
    const struct quota_rate_item *item = &question->items[i];
    enum quota_policy policy = (enum quota_policy)rates->config.limits->rates[item->kind].without_redis;
    if (rates->redis)
        cq_metric_add(&quota_rates_metrics, 0, 1, item->kind - 1, policy);
    if (rates->redis && policy != QUOTA_POLICY_LOCAL)
        return (struct quota_answer){.allowed = policy == QUOTA_POLICY_OPEN, .retry_after_us = CLOSED_RETRY_US};
    return quota_state_check(rates->config.memory, item, 1, true, cq_time_mono_us());
}

static struct quota_answer verdict_of(struct quota_question *question, size_t i)
{
    const struct quota_part *part = &question->own.parts[i];
    if (part->verdict == PART_LOCAL)
        return decide_here(question, i);
    return (struct quota_answer){.allowed = part->verdict != PART_REFUSED, .retry_after_us = part->retry_after_us};
}

static void charge_here(struct quota_question *question)
{
    for (size_t i = 0; i < question->count; i++)
        if (question->own.parts[i].verdict == PART_LOCAL)
            quota_state_charge(question->own.rates->config.memory, &question->items[i], 1, cq_time_mono_us());
}

static void finish(struct quota_question *question)
{
    struct quota_answer answer = {.allowed = true};
    for (size_t i = 0; i < question->count && answer.allowed && question->op != QUOTA_RATE_CHARGE; i++) {
        answer = verdict_of(question, i);
        answer.refused = answer.allowed ? 0 : (uint32_t)i;
    }
    if (!answer.allowed && question->op == QUOTA_RATE_TAKE)
        give_back(question);
    if (answer.allowed && question->op != QUOTA_RATE_PEEK)
        charge_here(question);
    if (question->op != QUOTA_RATE_CHARGE)
        quota_count_answer(&answer, answer.allowed ? 0 : question->items[answer.refused].kind - 1);
    question->done(question, &answer);
}

static void part_done(struct quota_part *part)
{
    if (--part->question->own.waiting == 0)
        finish(part->question);
}

/* ---- Asking ---- */

static const char *op_name(enum quota_rate_op op)
{
    static const char *const names[] = {
        [QUOTA_RATE_PEEK] = "peek", [QUOTA_RATE_TAKE] = "take", [QUOTA_RATE_CHARGE] = "charge"};
    return names[op];
}

static bool is_verdict(const redisReply *reply)
{
    return reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
           reply->element[0]->type == REDIS_REPLY_INTEGER && reply->element[1]->type == REDIS_REPLY_INTEGER;
}

static bool is_unknown_script(const redisReply *reply)
{
    return reply && reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOSCRIPT", 8) == 0;
}

static void on_verdict(void *ctx, const redisReply *reply)
{
    struct quota_part *part = ctx;
    struct quota_question *question = part->question;
    size_t i = (size_t)(part - question->own.parts);
    if (is_unknown_script(reply) && !part->sent_whole) { /* SCRIPT FLUSH, or another server behind the same name */
        part->sent_whole = true;
        if (send_script(question->own.rates, &question->items[i], op_name(question->op), true, on_verdict, part))
            return;
    }
    if (!is_verdict(reply)) {
        part->verdict = PART_LOCAL;
    } else {
        long long retry = reply->element[1]->integer;
        part->verdict = reply->element[0]->integer ? PART_ALLOWED : PART_REFUSED;
        part->retry_after_us = retry < 0 ? UINT64_MAX : (uint64_t)retry;
    }
    part_done(part);
}

void quota_rates_ask(struct quota_rates *rates, struct quota_question *question)
{
    CQ_ASSERT(question->count > 0 && question->count <= QUOTA_RATES_MAX);
    question->own.rates = rates;
    question->own.waiting = 1; /* ours: nothing ends before all are asked */
    for (size_t i = 0; i < question->count; i++) {
        struct quota_part *part = &question->own.parts[i];
        *part = (struct quota_part){.question = question, .verdict = PART_FREE};
        if (!limit_of(rates, question->items[i].kind))
            continue;
        part->verdict = PART_LOCAL;
        if (rates->redis && send_script(rates, &question->items[i], op_name(question->op), false, on_verdict, part))
            question->own.waiting++;
    }
    part_done(&question->own.parts[0]);
}
