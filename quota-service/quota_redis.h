/* Buckets in Redis: operations that are asked in one turn of the loop go out together, up to QUOTA_BATCH_MAX of them in
 * one call of the script (quota_script.h), so that a busy service pays for a command once and not for each check. One
 * loop. Nothing is allocated for an operation. */
#ifndef CHASQUI_QUOTA_REDIS_H
#define CHASQUI_QUOTA_REDIS_H

#include "limits/limit_key.h"
#include "limits/quota_kinds.h"
#include "quota-service/quota_script.h"
#include "redis/redis_client.h"

#define QUOTA_BATCH_MAX 64

struct quota_redis;

struct quota_redis_config {
    struct io_loop *loop;
    struct io_pool *resolver;
    const char *cluster;                /* part of the keys' names */
    const struct redis_settings *redis; /* configured */
    const struct quota_limits *limits;
    uint64_t lease_us; /* longest time for which leased tokens are used; 0: the script leases none */
    unsigned shares;   /* of what is left, one may be leased at once; > 0 */
    void (*on_redis)(void *ctx, bool up, const char *why); /* may be NULL */
    void *ctx;
};

enum cq_rc quota_redis_new(const struct quota_redis_config *config, struct quota_redis **redis_r, struct cq_err *err);
/* What has no answer yet is told so. */
void quota_redis_free(struct quota_redis **redis);

/* One operation on one bucket: in the asker's memory until `done` is called, once. */
struct quota_bucket {
    enum quota_op op;
    uint32_t kind; /* a limited one */
    struct limit_key id;
    uint32_t cost, want;
    /* The script's answer; or NULL: there is none, and it may have been done or not. */
    void (*done)(struct quota_bucket *bucket, const int64_t *answer);
    uint64_t sent_us;          /* when it went out, on the loop's clock: what Redis did was later */
    struct quota_bucket *next; /* of quota_redis.c */
};

/* Never calls `done` before it returns. */
void quota_redis_ask(struct quota_redis *redis, struct quota_bucket *bucket);

/* The bucket of a key: a hash, so that names of people and addresses do not go to Redis, and of one size. The same in
 * all instances of the cluster, unlike limit_key_of. */
struct limit_key quota_redis_id(const struct quota_redis *redis, struct cq_slice key);

/* How long leased tokens of this kind may be used: lease_us, or the 64th part of the limit's period if that is less.
 * 0: none are leased. */
uint64_t quota_redis_lease_us(const struct quota_redis *redis, uint32_t kind);

/* chasqui_quota_redis_batch_size, a histogram. */
extern struct cq_metrics quota_redis_metrics;

#endif
