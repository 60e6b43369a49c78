/* Keys that this instance is asked about very often, so that they do not cost a question to Redis each. Such a key is
 *   taken from a lease: some tokens that Redis has given at once, for a short time; what is not used then is lost,
 *   peeked at from a credit: a share of what Redis said is left, for the same time,
 *   refused for as long as Redis said, or the same time if that is less.
 * A key that is asked for less often than the threshold is always Redis' to decide.
 *
 * With leases no more is ever allowed than without (docs/decisions/0053 proves it); less by the tokens that an instance
 * holds and does not use: when it dies these are lost, too. Pure: time is an argument. Bounded: a table of fixed size,
 * in which the key asked for last stays. Nothing is allocated for a question. One thread. */
#ifndef CHASQUI_QUOTA_HOT_H
#define CHASQUI_QUOTA_HOT_H

#include "limits/limit_key.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUOTA_HOT_KEYS 16384      /* watched */
#define QUOTA_HOT_TOKENS_MAX 1000 /* of one lease */

struct quota_hot;

/* rate: questions about one key in a second, from which on it is hot; 0: none ever is. */
struct quota_hot *quota_hot_new(uint32_t rate);
void quota_hot_free(struct quota_hot **hot);

struct quota_hot_key {
    uint32_t kind;
    struct limit_key id;
};

enum quota_hot_action {
    QUOTA_HOT_ASK,     /* Redis decides */
    QUOTA_HOT_LEASE,   /* Redis decides, and is asked for `want` tokens: the answer is told by leased() or unleased() */
    QUOTA_HOT_ALLOWED, /* decided */
    QUOTA_HOT_REFUSED  /* decided */
};

struct quota_hot_verdict {
    enum quota_hot_action action;
    uint32_t want;
    uint64_t
        until_us; /* refused: when Redis would allow it, UINT64_MAX never. Taken: names the lease, for give_back() */
};

/* May `cost` be taken? lease_us: how long a lease of this kind may be used; 0: it has none. */
struct quota_hot_verdict quota_hot_take(struct quota_hot *hot, const struct quota_hot_key *key, uint32_t cost,
                                        uint64_t lease_us, uint64_t now_us);
/* Would it be allowed? */
struct quota_hot_verdict quota_hot_peek(struct quota_hot *hot, const struct quota_hot_key *key, uint32_t cost,
                                        uint64_t now_us);

/* It has happened, and Redis is told: the credit ends, so that the next peek sees it. */
void quota_hot_charged(struct quota_hot *hot, const struct quota_hot_key *key);

/* A take that turned out to be for nothing. */
void quota_hot_give_back(struct quota_hot *hot, const struct quota_hot_key *key, uint32_t cost, uint64_t lease_until_us,
                         uint64_t now_us);

/* What Redis answered. until_us counts from when it was asked, so that it ends here before it ends there.
 * `tokens`: of a lease, without those that the question itself needed. */
void quota_hot_leased(struct quota_hot *hot, const struct quota_hot_key *key, uint32_t tokens, uint64_t until_us);
void quota_hot_unleased(struct quota_hot *hot, const struct quota_hot_key *key); /* refused, or no answer */
void quota_hot_credit(struct quota_hot *hot, const struct quota_hot_key *key, uint32_t peeks, uint64_t until_us);
/* retry_at_us: when it would be allowed if nobody else takes anything; UINT64_MAX: never. */
void quota_hot_refused(struct quota_hot *hot, const struct quota_hot_key *key, uint32_t cost, uint64_t until_us,
                       uint64_t retry_at_us);

/* chasqui_quota_hot_total{decided}, chasqui_quota_leases_total{result}, chasqui_quota_lease_tokens_total{fate}. */
extern struct cq_metrics quota_hot_metrics;

#endif
