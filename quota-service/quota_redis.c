#include "quota-service/quota_redis.h"

#include "base/cq_mem.h"
#include "base/cq_metrics.h"
#include "limits/gcra.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_TEXT_MAX 160
#define NUMBER_MAX 24
#define OP_TEXT_MAX 40
#define BEFORE_KEYS 3         /* EVALSHA, the script, how many keys */
#define LEASE_PART 64         /* of a limit's period: its longest lease */
#define IDLE_BATCHES_MAX 1024 /* kept for later */

_Static_assert(BEFORE_KEYS + 2 * QUOTA_BATCH_MAX <= REDIS_ARGS_MAX, "a whole batch is one command");

struct batch {
    struct quota_redis *redis;
    struct quota_bucket *first;
    size_t count;
    bool sent_whole; /* the script went with it: NOSCRIPT is not answered twice */
    struct batch *next;
};

struct quota_redis {
    struct quota_redis_config config;
    struct redis_client *client; /* NULL: freed */
    struct quota_bucket *first;  /* wait for the end of the turn */
    struct quota_bucket **last;
    size_t count;
    struct io_defer flush;
    struct batch *idle;
    size_t idle_count;
    bool one_by_one; /* it is a Redis Cluster: keys of different slots do not go together */
    struct quota_script script;
    char prefixes[QUOTA_RATE_END][KEY_TEXT_MAX];
    char keys[QUOTA_BATCH_MAX][KEY_TEXT_MAX];
    char ops[QUOTA_BATCH_MAX][OP_TEXT_MAX];
};

static const struct cq_metric metric_rows[] = {
    CQ_HISTOGRAM("chasqui_quota_redis_batch_size", "Operations that went to Redis in one call", CQ_BUCKETS_COUNT),
};
struct cq_metrics quota_redis_metrics = CQ_METRICS_OF(metric_rows);

/* ---- Names and numbers ---- */

uint64_t quota_redis_lease_us(const struct quota_redis *redis, uint32_t kind)
{
    uint64_t part = redis->config.limits->rates[kind].period_us / LEASE_PART;
    return redis->config.lease_us < part ? redis->config.lease_us : part;
}

struct limit_key quota_redis_id(const struct quota_redis *redis, struct cq_slice key)
{
    struct limit_key id;
    struct cq_slice cluster = cq_slice_cstr(redis->config.cluster);
    crypto_generichash_state state;
    key = cq_slice_sub(key, 0, QUOTA_KEY_MAX);
    crypto_generichash_init(&state, NULL, 0, sizeof id.bytes);
    crypto_generichash_update(&state, cluster.data, cluster.len);
    crypto_generichash_update(&state, (const uint8_t *)"", 1);
    crypto_generichash_update(&state, key.data ? key.data : id.bytes, key.len);
    crypto_generichash_final(&state, id.bytes, sizeof id.bytes);
    return id;
}

static void make_script(struct quota_redis *redis)
{
    struct quota_script_limit limits[QUOTA_RATE_END - 1];
    for (uint32_t kind = 1; kind < QUOTA_RATE_END; kind++) {
        const struct quota_rate_limit *limit = &redis->config.limits->rates[kind];
        const struct gcra_limit gcra = {limit->count > 0 ? (uint64_t)limit->count : 1, limit->period_us};
        limits[kind - 1] = (struct quota_script_limit){gcra_interval_us(&gcra), gcra_burst_us(&gcra),
                                                       quota_redis_lease_us(redis, kind)};
        snprintf(redis->prefixes[kind], KEY_TEXT_MAX, "chasqui:%s:rate:%s:", redis->config.cluster,
                 quota_rate_name((enum quota_rate)kind));
    }
    quota_script_make(limits, QUOTA_RATE_END - 1, redis->config.shares, &redis->script);
}

/* "chasqui:CLUSTER:rate:auth_pair:HASH" */
static struct cq_slice write_key(const struct quota_redis *redis, const struct quota_bucket *bucket,
                                 char out[static KEY_TEXT_MAX])
{
    const char *prefix = redis->prefixes[bucket->kind];
    size_t len = strlen(prefix);
    if (len > KEY_TEXT_MAX - 2 * sizeof bucket->id.bytes - 1)
        len = KEY_TEXT_MAX - 2 * sizeof bucket->id.bytes - 1;
    memcpy(out, prefix, len);
    sodium_bin2hex(out + len, KEY_TEXT_MAX - len, bucket->id.bytes, sizeof bucket->id.bytes);
    return cq_slice_of(out, len + 2 * sizeof bucket->id.bytes);
}

static struct cq_slice write_op(const struct quota_bucket *bucket, char out[static OP_TEXT_MAX])
{
    int len = snprintf(out, OP_TEXT_MAX, "%c%" PRIu32 ",%" PRIu32 ",%" PRIu32, (char)bucket->op, bucket->kind,
                       bucket->cost, bucket->want);
    return cq_slice_of(out, (size_t)len);
}

/* ---- Batches ---- */

static struct batch *batch_new(struct quota_redis *redis)
{
    struct batch *batch = redis->idle;
    if (batch) {
        redis->idle = batch->next;
        redis->idle_count--;
    } else {
        batch = cq_new(struct batch);
    }
    *batch = (struct batch){.redis = redis};
    return batch;
}

static void batch_free(struct batch *batch)
{
    struct quota_redis *redis = batch->redis;
    if (!redis->client || redis->idle_count == IDLE_BATCHES_MAX) {
        free(batch);
        return;
    }
    batch->next = redis->idle;
    redis->idle = batch;
    redis->idle_count++;
}

static void without_answer(struct quota_bucket *first)
{
    for (struct quota_bucket *bucket = first, *next; bucket; bucket = next) {
        next = bucket->next;
        bucket->done(bucket, NULL);
    }
}

static void on_reply(void *ctx, const redisReply *reply);

static bool batch_send(struct batch *batch, bool whole)
{
    struct quota_redis *redis = batch->redis;
    struct cq_slice args[REDIS_ARGS_MAX];
    char number[NUMBER_MAX];
    size_t n = 0, i = 0;
    int digits = snprintf(number, sizeof number, "%zu", batch->count);
    args[n++] = whole ? CQ_SLICE("EVAL") : CQ_SLICE("EVALSHA");
    args[n++] = cq_slice_cstr(whole ? redis->script.text : redis->script.sha);
    args[n++] = cq_slice_of(number, (size_t)digits);
    struct cq_slice *ops = args + n + batch->count;
    for (struct quota_bucket *bucket = batch->first; bucket; bucket = bucket->next, i++) {
        bucket->sent_us = io_loop_now_us(redis->config.loop);
        args[n + i] = write_key(redis, bucket, redis->keys[i]);
        ops[i] = write_op(bucket, redis->ops[i]);
    }
    return redis->client && redis_send(redis->client, args, n + 2 * batch->count, on_reply, batch);
}

static void batch_lost(struct batch *batch)
{
    struct quota_bucket *first = batch->first;
    batch_free(batch);
    without_answer(first);
}

static bool is_error(const redisReply *reply, const char *code)
{
    return reply && reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, code, strlen(code)) == 0;
}

/* Those that come first may have been done already when the script failed: then they are done twice, which charges too
 * much rather than too little. */
static void send_one_by_one(struct batch *batch)
{
    struct quota_redis *redis = batch->redis;
    struct quota_bucket *bucket = batch->first, *next;
    batch_free(batch);
    for (; bucket; bucket = next) {
        struct batch *alone = batch_new(redis);
        next = bucket->next;
        bucket->next = NULL;
        alone->first = bucket;
        alone->count = 1;
        if (!batch_send(alone, false))
            batch_lost(alone);
    }
}

/* So many whole numbers, and nothing else. */
static bool read_numbers(const redisReply *reply, int64_t *numbers, size_t count)
{
    if (!reply || reply->type != REDIS_REPLY_STRING)
        return false;
    const char *at = reply->str;
    for (size_t i = 0; i < count; i++) {
        char *end;
        numbers[i] = strtoll(at, &end, 10);
        if (end == at || *end != (i + 1 < count ? ' ' : '\0'))
            return false;
        at = end + 1;
    }
    return at == reply->str + reply->len + 1;
}

static void answer_all(struct batch *batch, const redisReply *reply)
{
    int64_t numbers[QUOTA_BATCH_MAX];
    struct quota_bucket *bucket = batch->first, *next;
    bool ok = read_numbers(reply, numbers, batch->count);
    batch_free(batch);
    for (size_t i = 0; bucket; bucket = next, i++) {
        next = bucket->next;
        bucket->done(bucket, ok ? &numbers[i] : NULL);
    }
}

static void on_reply(void *ctx, const redisReply *reply)
{
    struct batch *batch = ctx;
    bool crossed = is_error(reply, "CROSSSLOT ");
    if (is_error(reply, "NOSCRIPT ") && !batch->sent_whole) { /* SCRIPT FLUSH, or another server behind its name */
        batch->sent_whole = true;
        if (!batch_send(batch, true))
            batch_lost(batch);
    } else if (batch->count > 1 && (crossed || is_error(reply, "WRONGTYPE "))) {
        batch->redis->one_by_one |= crossed;
        send_one_by_one(batch);
    } else {
        answer_all(batch, reply);
    }
}

/* ---- Asking ---- */

static void flush(struct io_defer *defer)
{
    struct quota_redis *redis = cq_containerof(defer, struct quota_redis, flush);
    size_t most = redis->one_by_one ? 1 : QUOTA_BATCH_MAX;
    struct quota_bucket *rest = redis->first;
    redis->first = NULL;
    redis->last = &redis->first;
    while (rest) {
        struct batch *batch = batch_new(redis);
        struct quota_bucket **end = &batch->first;
        for (; rest && batch->count < most; rest = rest->next, batch->count++) {
            *end = rest;
            end = &rest->next;
        }
        *end = NULL;
        cq_metric_observe(&quota_redis_metrics, 0, batch->count);
        if (!batch_send(batch, false))
            batch_lost(batch);
    }
}

void quota_redis_ask(struct quota_redis *redis, struct quota_bucket *bucket)
{
    bucket->next = NULL;
    *redis->last = bucket;
    redis->last = &bucket->next;
    io_loop_defer(redis->config.loop, &redis->flush);
}

/* ---- Life ---- */

/* A charge of a bucket that nobody has: may this user write, and is there somebody who takes it? */
static enum cq_rc open_client(struct quota_redis *redis, struct cq_err *err)
{
    const struct quota_bucket bucket = {.op = QUOTA_OP_CHARGE, .kind = 1, .cost = 1};
    const struct cq_slice probe[] = {CQ_SLICE("EVALSHA"), cq_slice_cstr(redis->script.sha), CQ_SLICE("1"),
                                     write_key(redis, &bucket, redis->keys[0]), write_op(&bucket, redis->ops[0])};
    const struct redis_client_config config = {.loop = redis->config.loop,
                                               .resolver = redis->config.resolver,
                                               .settings = redis->config.redis,
                                               .load_script = redis->script.text,
                                               .probe = probe,
                                               .probe_count = sizeof probe / sizeof *probe,
                                               .on_state = redis->config.on_redis,
                                               .ctx = redis->config.ctx};
    return redis_client_new(&config, &redis->client, err);
}

enum cq_rc quota_redis_new(const struct quota_redis_config *config, struct quota_redis **redis_r, struct cq_err *err)
{
    struct quota_redis *redis = cq_new(struct quota_redis);
    redis->config = *config;
    redis->last = &redis->first;
    redis->flush.fn = flush;
    make_script(redis);
    enum cq_rc rc = open_client(redis, err);
    *redis_r = redis;
    if (rc != CQ_OK)
        quota_redis_free(redis_r);
    return rc;
}

void quota_redis_free(struct quota_redis **redis)
{
    struct quota_redis *r = *redis;
    if (!r)
        return;
    redis_client_free(&r->client); /* NULL before what is pending is told: what that asks for is not sent any more */
    while (r->first)
        flush(&r->flush);
    io_defer_cancel(&r->flush);
    for (struct batch *next; r->idle; r->idle = next) {
        next = r->idle->next;
        free(r->idle);
    }
    free(r->script.text);
    free(r);
    *redis = NULL;
}
