#include "quota-service/quota_hot.h"

#include "base/cq_mem.h"
#include "base/cq_metrics.h"

#include <stdlib.h>
#include <string.h>

#define WAYS 4 /* entries that a key may be in */
#define SETS (QUOTA_HOT_KEYS / WAYS)
#define WINDOW_US 1000000

_Static_assert((SETS & (SETS - 1)) == 0, "a power of two");

struct entry {
    struct quota_hot_key key;
    bool leasing;        /* a lease is being asked for */
    uint32_t asked;      /* in this window */
    uint32_t asked_last; /* in the one before */
    uint64_t window_us;  /* when this window began; 0: the entry is free */
    uint32_t tokens;     /* of the lease */
    uint32_t peeks;      /* of the credit */
    uint32_t refused;    /* cost that is, and more */
    uint64_t lease_until_us, peeks_until_us, refused_until_us, retry_at_us;
};

struct quota_hot {
    uint32_t rate;
    struct entry entries[SETS][WAYS];
};

/* ---- Metrics ---- */

enum { M_DECIDED, M_LEASES, M_TOKENS };
enum { BY_TOKEN, BY_CREDIT, BY_REFUSAL };
enum { LEASE_GRANTED, LEASE_NOT };
enum { TOKENS_LEASED, TOKENS_USED };
static const char *const decided_names[] = {"token", "credit", "refusal"};
static const char *const lease_names[] = {"granted", "not_granted"};
static const char *const token_names[] = {"leased", "used"};

static const struct cq_metric metric_rows[] = {
    [M_DECIDED] = CQ_COUNTER("chasqui_quota_hot_total",
                             "Questions about keys in frequent use that were decided without asking Redis",
                             CQ_LABEL("by", decided_names)),
    [M_LEASES] = CQ_COUNTER("chasqui_quota_leases_total",
                            "Leases of tokens that Redis was asked for; not granted: too little is left, or no answer",
                            CQ_LABEL("result", lease_names)),
    [M_TOKENS] = CQ_COUNTER("chasqui_quota_lease_tokens_total",
                            "Tokens of leases; what is leased and not used lets through less than the limit",
                            CQ_LABEL("fate", token_names)),
};
struct cq_metrics quota_hot_metrics = CQ_METRICS_OF(metric_rows);

/* ---- Life ---- */

struct quota_hot *quota_hot_new(uint32_t rate)
{
    struct quota_hot *hot = cq_new(struct quota_hot);
    hot->rate = rate;
    return hot;
}

void quota_hot_free(struct quota_hot **hot)
{
    free(*hot);
    *hot = NULL;
}

/* ---- Entries ---- */

static bool is_key(const struct entry *entry, const struct quota_hot_key *key)
{
    return entry->window_us && entry->key.kind == key->kind && memcmp(&entry->key.id, &key->id, sizeof key->id) == 0;
}

static struct entry *set_of(struct quota_hot *hot, const struct quota_hot_key *key)
{
    uint32_t hash;
    memcpy(&hash, key->id.bytes, sizeof hash); /* the id is a digest */
    return hot->entries[(hash + key->kind) & (SETS - 1)];
}

static struct entry *find(struct quota_hot *hot, const struct quota_hot_key *key)
{
    struct entry *set = set_of(hot, key);
    for (int i = 0; i < WAYS; i++)
        if (is_key(&set[i], key))
            return &set[i];
    return NULL;
}

/* The entry that was asked for longest ago makes room, the least often asked for among those. */
static struct entry *find_or_take(struct quota_hot *hot, const struct quota_hot_key *key, uint64_t now_us)
{
    struct entry *set = set_of(hot, key), *worst = set;
    for (int i = 0; i < WAYS; i++) {
        if (is_key(&set[i], key))
            return &set[i];
        if (set[i].window_us < worst->window_us ||
            (set[i].window_us == worst->window_us && set[i].asked < worst->asked))
            worst = &set[i];
    }
    *worst = (struct entry){.key = *key, .window_us = now_us};
    return worst;
}

static struct entry *note(struct quota_hot *hot, const struct quota_hot_key *key, uint64_t now_us)
{
    struct entry *entry = find_or_take(hot, key, now_us);
    if (now_us - entry->window_us >= WINDOW_US) {
        entry->asked_last = now_us - entry->window_us < 2 * WINDOW_US ? entry->asked : 0;
        entry->asked = 0;
        entry->window_us = now_us;
    }
    entry->asked++;
    return entry;
}

static uint32_t rate_of(const struct entry *entry)
{
    return entry->asked > entry->asked_last ? entry->asked : entry->asked_last;
}

static bool is_hot(const struct quota_hot *hot, const struct entry *entry)
{
    return rate_of(entry) >= hot->rate;
}

/* ---- Questions ---- */

static bool is_refused(const struct entry *entry, uint32_t cost, uint64_t now_us)
{
    return now_us < entry->refused_until_us && cost >= entry->refused;
}

static struct quota_hot_verdict decided(enum quota_hot_action action, int by, uint64_t until_us)
{
    cq_metric_add(&quota_hot_metrics, M_DECIDED, 1, (unsigned)by);
    return (struct quota_hot_verdict){.action = action, .until_us = until_us};
}

/* What will be asked for in half of the lease: then most of it is used, and not lost. */
static uint32_t want_of(const struct entry *entry, uint64_t lease_us)
{
    uint64_t want = rate_of(entry) * lease_us / WINDOW_US / 2;
    return want < QUOTA_HOT_TOKENS_MAX ? (uint32_t)want : QUOTA_HOT_TOKENS_MAX;
}

struct quota_hot_verdict quota_hot_take(struct quota_hot *hot, const struct quota_hot_key *key, uint32_t cost,
                                        uint64_t lease_us, uint64_t now_us)
{
    const struct quota_hot_verdict ask = {.action = QUOTA_HOT_ASK};
    if (!hot->rate)
        return ask;
    struct entry *entry = note(hot, key, now_us);
    if (!is_hot(hot, entry))
        return ask;
    if (entry->tokens >= cost && now_us < entry->lease_until_us) {
        entry->tokens -= cost;
        cq_metric_add(&quota_hot_metrics, M_TOKENS, cost, TOKENS_USED);
        return decided(QUOTA_HOT_ALLOWED, BY_TOKEN, entry->lease_until_us);
    }
    if (is_refused(entry, cost, now_us))
        return decided(QUOTA_HOT_REFUSED, BY_REFUSAL, entry->retry_at_us);
    uint32_t want = want_of(entry, lease_us);
    if (entry->leasing || want <= cost)
        return ask;
    entry->leasing = true;
    return (struct quota_hot_verdict){.action = QUOTA_HOT_LEASE, .want = want};
}

struct quota_hot_verdict quota_hot_peek(struct quota_hot *hot, const struct quota_hot_key *key, uint32_t cost,
                                        uint64_t now_us)
{
    const struct quota_hot_verdict ask = {.action = QUOTA_HOT_ASK};
    if (!hot->rate)
        return ask;
    struct entry *entry = note(hot, key, now_us);
    if (!is_hot(hot, entry))
        return ask;
    if (is_refused(entry, cost, now_us))
        return decided(QUOTA_HOT_REFUSED, BY_REFUSAL, entry->retry_at_us);
    if (entry->peeks < cost || now_us >= entry->peeks_until_us)
        return ask;
    entry->peeks -= cost;
    return decided(QUOTA_HOT_ALLOWED, BY_CREDIT, entry->peeks_until_us);
}

void quota_hot_charged(struct quota_hot *hot, const struct quota_hot_key *key)
{
    struct entry *entry = find(hot, key);
    if (entry)
        entry->peeks = 0;
}

void quota_hot_give_back(struct quota_hot *hot, const struct quota_hot_key *key, uint32_t cost, uint64_t lease_until_us,
                         uint64_t now_us)
{
    struct entry *entry = find(hot, key);
    if (entry && entry->lease_until_us == lease_until_us && now_us < lease_until_us)
        entry->tokens += cost;
}

/* ---- Answers ---- */

void quota_hot_leased(struct quota_hot *hot, const struct quota_hot_key *key, uint32_t tokens, uint64_t until_us)
{
    struct entry *entry = find(hot, key);
    cq_metric_add(&quota_hot_metrics, M_LEASES, 1, LEASE_GRANTED);
    cq_metric_add(&quota_hot_metrics, M_TOKENS, tokens, TOKENS_LEASED);
    if (!entry) /* it made room for another: the tokens are lost */
        return;
    entry->leasing = false;
    entry->tokens = tokens;
    entry->lease_until_us = until_us;
}

void quota_hot_unleased(struct quota_hot *hot, const struct quota_hot_key *key)
{
    struct entry *entry = find(hot, key);
    cq_metric_add(&quota_hot_metrics, M_LEASES, 1, LEASE_NOT);
    if (entry)
        entry->leasing = false;
}

void quota_hot_credit(struct quota_hot *hot, const struct quota_hot_key *key, uint32_t peeks, uint64_t until_us)
{
    struct entry *entry = find(hot, key);
    if (!entry)
        return;
    entry->peeks = peeks;
    entry->peeks_until_us = until_us;
}

void quota_hot_refused(struct quota_hot *hot, const struct quota_hot_key *key, uint32_t cost, uint64_t until_us,
                       uint64_t retry_at_us)
{
    struct entry *entry = find(hot, key);
    if (!entry)
        return;
    entry->refused = cost;
    entry->refused_until_us = until_us < retry_at_us ? until_us : retry_at_us;
    entry->retry_at_us = retry_at_us;
}
