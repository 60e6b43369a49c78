#include "quota-service/quota_rates.h"

#include "quota-service/quota_hot.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "base/cq_metrics.h"
#include "base/cq_time.h"

#include <stdlib.h>

#define CLOSED_RETRY_US 1000000

struct quota_rates {
    struct quota_rates_config config;
    struct quota_redis *redis; /* NULL: memory alone */
    struct quota_hot *hot;
    uint32_t shares;
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
    rates->shares = 2 * (uint32_t)(config->quota->instances > 1 ? config->quota->instances : 1);
    rates->hot = quota_hot_new((uint32_t)config->quota->hot_rate);
    if (redis_is_configured(config->redis)) {
        const struct quota_redis_config redis = {.loop = config->loop,
                                                 .resolver = config->resolver,
                                                 .cluster = config->cluster,
                                                 .redis = config->redis,
                                                 .limits = config->limits,
                                                 .lease_us = config->quota->hot_lease_us,
                                                 .shares = rates->shares,
                                                 .on_redis = config->on_redis,
                                                 .ctx = config->ctx};
        rc = quota_redis_new(&redis, &rates->redis, err);
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
    quota_redis_free(&(*rates)->redis);
    quota_hot_free(&(*rates)->hot);
    free(*rates);
    *rates = NULL;
}

/* ---- One item ---- */

static bool is_limited(const struct quota_rates *rates, uint32_t kind)
{
    return kind > 0 && kind < QUOTA_RATE_END && rates->config.limits->rates[kind].count > 0;
}

static uint32_t cost_of(const struct quota_rate_item *item)
{
    return item->cost ? item->cost : 1;
}

static struct quota_hot_key hot_key(const struct quota_bucket *bucket)
{
    return (struct quota_hot_key){bucket->kind, bucket->id};
}

/* ---- The end of a question ---- */

static void refunded(struct quota_bucket *bucket, const int64_t *answer)
{
    (void)answer;
    free(bucket);
}

static void refund(struct quota_rates *rates, const struct quota_bucket *taken)
{
    struct quota_bucket *bucket = cq_new(struct quota_bucket);
    *bucket = *taken;
    bucket->op = QUOTA_OP_REFUND;
    bucket->done = refunded;
    quota_redis_ask(rates->redis, bucket);
}

/* What was taken for a question that is refused by another of its items. */
static void give_back(struct quota_question *question)
{
    struct quota_rates *rates = question->own.rates;
    for (size_t i = 0; i < question->count; i++) {
        const struct quota_part *part = &question->own.parts[i];
        const struct quota_hot_key key = hot_key(&part->bucket);
        if (part->verdict == PART_ALLOWED)
            refund(rates, &part->bucket);
        else if (part->verdict == PART_TOKEN)
            quota_hot_give_back(rates->hot, &key, part->bucket.cost, part->lease_until_us,
                                io_loop_now_us(rates->config.loop));
    }
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

/* ---- What Redis says ---- */

static void take_refusal(struct quota_part *part, int64_t answer)
{
    struct quota_rates *rates = part->question->own.rates;
    const struct quota_bucket *bucket = &part->bucket;
    const struct quota_hot_key key = hot_key(bucket);
    uint64_t lease = quota_redis_lease_us(rates->redis, bucket->kind);
    uint64_t retry = answer ? 0 - (uint64_t)answer : UINT64_MAX;
    part->verdict = PART_REFUSED;
    part->retry_after_us = retry;
    quota_hot_refused(rates->hot, &key, bucket->cost, bucket->sent_us + lease,
                      answer ? bucket->sent_us + retry : UINT64_MAX);
}

static void take_tokens(struct quota_part *part, int64_t answer)
{
    struct quota_rates *rates = part->question->own.rates;
    const struct quota_bucket *bucket = &part->bucket;
    const struct quota_hot_key key = hot_key(bucket);
    uint64_t until = bucket->sent_us + quota_redis_lease_us(rates->redis, bucket->kind);
    int64_t more = answer - bucket->cost, most = INT32_MAX;
    if (bucket->op == QUOTA_OP_PEEK)
        quota_hot_credit(rates->hot, &key, (uint32_t)((answer < most ? answer : most) / rates->shares), until);
    else if (bucket->op == QUOTA_OP_LEASE && more > 0 && more < bucket->want)
        quota_hot_leased(rates->hot, &key, (uint32_t)more, until);
    else if (bucket->op == QUOTA_OP_LEASE)
        quota_hot_unleased(rates->hot, &key);
    part->verdict = PART_ALLOWED;
}

static void on_answer(struct quota_bucket *bucket, const int64_t *answer)
{
    struct quota_part *part = cq_containerof(bucket, struct quota_part, bucket);
    const struct quota_hot_key key = hot_key(bucket);
    if (bucket->op == QUOTA_OP_LEASE && (!answer || *answer <= 0))
        quota_hot_unleased(part->question->own.rates->hot, &key);
    if (!answer)
        part->verdict = PART_LOCAL;
    else if (*answer > 0)
        take_tokens(part, *answer);
    else
        take_refusal(part, *answer);
    part_done(part);
}

/* ---- Asking ---- */

static struct quota_hot_verdict decide_hot(struct quota_question *question, const struct quota_bucket *bucket)
{
    struct quota_rates *rates = question->own.rates;
    const struct quota_hot_key key = hot_key(bucket);
    uint64_t now = io_loop_now_us(rates->config.loop);
    if (question->op == QUOTA_RATE_TAKE)
        return quota_hot_take(rates->hot, &key, bucket->cost, quota_redis_lease_us(rates->redis, bucket->kind), now);
    if (question->op == QUOTA_RATE_PEEK)
        return quota_hot_peek(rates->hot, &key, bucket->cost, now);
    quota_hot_charged(rates->hot, &key);
    return (struct quota_hot_verdict){.action = QUOTA_HOT_ASK};
}

static void ask_one(struct quota_question *question, size_t i)
{
    static const enum quota_op ops[] = {
        [QUOTA_RATE_PEEK] = QUOTA_OP_PEEK, [QUOTA_RATE_TAKE] = QUOTA_OP_TAKE, [QUOTA_RATE_CHARGE] = QUOTA_OP_CHARGE};
    struct quota_rates *rates = question->own.rates;
    struct quota_part *part = &question->own.parts[i];
    const struct quota_rate_item *item = &question->items[i];
    part->bucket = (struct quota_bucket){.op = ops[question->op],
                                         .kind = item->kind,
                                         .id = quota_redis_id(rates->redis, item->key),
                                         .cost = cost_of(item),
                                         .done = on_answer};
    const struct quota_hot_verdict verdict = decide_hot(question, &part->bucket);
    if (verdict.action == QUOTA_HOT_ALLOWED) {
        part->verdict = question->op == QUOTA_RATE_TAKE ? PART_TOKEN : PART_FREE;
        part->lease_until_us = verdict.until_us;
    } else if (verdict.action == QUOTA_HOT_REFUSED) {
        part->verdict = PART_REFUSED;
        part->retry_after_us =
            verdict.until_us == UINT64_MAX ? UINT64_MAX : verdict.until_us - io_loop_now_us(rates->config.loop);
    } else {
        if (verdict.action == QUOTA_HOT_LEASE) {
            part->bucket.op = QUOTA_OP_LEASE;
            part->bucket.want = verdict.want;
        }
        question->own.waiting++;
        quota_redis_ask(rates->redis, &part->bucket);
    }
}

void quota_rates_ask(struct quota_rates *rates, struct quota_question *question)
{
    CQ_ASSERT(question->count > 0 && question->count <= QUOTA_RATES_MAX);
    question->own.rates = rates;
    question->own.waiting = 1; /* ours: nothing ends before all are asked */
    for (size_t i = 0; i < question->count; i++) {
        struct quota_part *part = &question->own.parts[i];
        bool limited = is_limited(rates, question->items[i].kind);
        part->question = question;
        part->verdict = limited ? PART_LOCAL : PART_FREE;
        part->retry_after_us = 0;
        if (limited && rates->redis)
            ask_one(question, i);
    }
    part_done(&question->own.parts[0]);
}
