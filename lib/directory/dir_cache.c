#include "directory/dir_cache.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "base/cq_list.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "io/io_fiber.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#define ENTRY_POOL 256
#define KEY_TEXT_MAX DIR_DOMAIN_MAX
#define ABSENT_PART 8 /* rows that are not there: an eighth as many as rows */

enum kind { K_DOMAIN, K_ADDRESS, K_FIRST, K_ACCOUNT, K_CREDENTIALS };

struct key {
    uint8_t bytes[1 + 8 + KEY_TEXT_MAX];
    unsigned len; /* 0: too long to be remembered */
    enum kind kind;
};

struct credentials {
    struct dir_credential *rows;
    size_t count;
};

struct entry {
    UT_hash_handle hh;
    struct cq_list node; /* in by_use */
    struct key key;
    struct cq_pool *pool;
    const void *value; /* NULL: there is no such row */
    uint64_t read_us;
    uint64_t names, flush; /* what they were in the cache; another value: asked again, unless nobody answers */
};

struct dir_cache {
    struct dir_backend base;
    struct dir_backend *inner;
    struct dir_cache_config config;
    pthread_mutex_t lock;
    struct entry *table;
    struct cq_list by_use[2]; /* rows that are not there, rows; the newest last */
    size_t count[2];
    uint64_t names;      /* rises with changes of domains, addresses, accounts */
    uint64_t flush;      /* rises when all may have changed */
    uint64_t generation; /* rises with every change that was heard of */
    uint64_t seen;       /* of the feed, without a gap */
    uint64_t feed_us;    /* when it was last read */
    uint64_t down_us;    /* when the database last gave no answer; 0: the last call was answered */
    char trouble[DIRECTORY_TROUBLE_SIZE];
};

enum { M_LOOKUPS };
enum { SERVED_FRESH, SERVED_DATABASE, SERVED_STALE, SERVED_NOTHING };
static const char *const served_names[] = {"fresh", "database", "stale", "nothing"};

static const struct cq_metric metric_rows[] = {
    [M_LOOKUPS] = CQ_COUNTER("chasqui_directory_lookups_total",
                             "Rows looked up with a PostgreSQL directory, by who answered: remembered and fresh, the "
                             "database, remembered from before the database went away, nobody",
                             CQ_LABEL("answer", served_names)),
};

struct cq_metrics dir_cache_metrics = CQ_METRICS_OF(metric_rows);

static struct dir_cache *cache_of(struct dir_backend *base)
{
    return cq_containerof(base, struct dir_cache, base);
}

static void count(unsigned served)
{
    cq_metric_add(&dir_cache_metrics, M_LOOKUPS, 1, served);
}

/* ---- Keys and values ---- */

static struct key make_key(enum kind kind, uint64_t number, struct cq_slice text)
{
    struct key key = {.kind = kind};
    if (text.len > KEY_TEXT_MAX)
        return key;
    key.bytes[0] = (uint8_t)kind;
    cq_put_be64(key.bytes + 1, number);
    if (text.len)
        memcpy(key.bytes + 9, text.data, text.len);
    key.len = 9 + (unsigned)text.len;
    return key;
}

static void *copy_domain(struct cq_pool *pool, const void *from)
{
    struct dir_domain *to = cq_pool_dup(pool, from, sizeof *to);
    to->name = cq_pool_slice(pool, to->name);
    to->alias_of_name = cq_pool_slice(pool, to->alias_of_name);
    return to;
}

static void *copy_address(struct cq_pool *pool, const void *from)
{
    struct dir_address_row *to = cq_pool_dup(pool, from, sizeof *to);
    to->address = cq_pool_slice(pool, to->address);
    to->targets = cq_pool_dup(pool, to->targets, to->target_count * sizeof *to->targets);
    return to;
}

static void *copy_first(struct cq_pool *pool, const void *from)
{
    return cq_pool_dup(pool, from, sizeof(uint64_t));
}

static void *copy_account(struct cq_pool *pool, const void *from)
{
    struct dir_account *to = cq_pool_dup(pool, from, sizeof *to);
    to->address = cq_pool_slice(pool, to->address);
    to->home_dc = cq_pool_slice(pool, to->home_dc);
    return to;
}

static void *copy_credentials(struct cq_pool *pool, const void *from)
{
    struct credentials *to = cq_pool_dup(pool, from, sizeof *to);
    to->rows = cq_pool_dup(pool, to->count ? (const void *)to->rows : "", to->count * sizeof *to->rows);
    for (size_t i = 0; i < to->count; i++) {
        to->rows[i].prefix = cq_pool_slice(pool, to->rows[i].prefix);
        to->rows[i].hash = cq_pool_slice(pool, to->rows[i].hash);
        to->rows[i].label = cq_pool_slice(pool, to->rows[i].label);
    }
    return to;
}

static const struct {
    void *(*copy)(struct cq_pool *pool, const void *from);
    size_t size;
} values[] = {
    [K_DOMAIN] = {copy_domain, sizeof(struct dir_domain)},
    [K_ADDRESS] = {copy_address, sizeof(struct dir_address_row)},
    [K_FIRST] = {copy_first, sizeof(uint64_t)},
    [K_ACCOUNT] = {copy_account, sizeof(struct dir_account)},
    [K_CREDENTIALS] = {copy_credentials, sizeof(struct credentials)},
};

/* ---- Entries, under the lock ---- */

static void drop(struct dir_cache *cache, struct entry *entry)
{
    HASH_DEL(cache->table, entry);
    cq_list_remove(&entry->node);
    cache->count[entry->value != NULL]--;
    cq_pool_free(&entry->pool);
    free(entry);
}

static struct entry *find(struct dir_cache *cache, const struct key *key)
{
    struct entry *entry = NULL;
    if (key->len)
        HASH_FIND(hh, cache->table, key->bytes, key->len, entry);
    return entry;
}

static bool is_name(enum kind kind)
{
    return kind == K_DOMAIN || kind == K_ADDRESS || kind == K_FIRST;
}

static bool is_fresh(const struct dir_cache *cache, const struct entry *entry, uint64_t now_us)
{
    return entry->flush == cache->flush && (!is_name(entry->key.kind) || entry->names == cache->names) &&
           now_us - entry->read_us < cache->config.fresh_us && cache->feed_us &&
           now_us - cache->feed_us < DIR_CACHE_FEED_MAX_US;
}

/* Of a tag "not there" is believed: the address without it is asked for next, and that must be known. */
static bool is_believable(const struct entry *entry)
{
    return entry->value || (entry->key.kind == K_ADDRESS && memchr(entry->key.bytes + 9, '+', entry->key.len - 9));
}

static enum cq_rc give(struct dir_cache *cache, struct entry *entry, struct cq_pool *pool, void *out)
{
    cq_list_remove(&entry->node);
    cq_list_push_back(&cache->by_use[entry->value != NULL], &entry->node);
    if (!entry->value)
        return CQ_E_NOT_FOUND;
    memcpy(out, values[entry->key.kind].copy(pool, entry->value), values[entry->key.kind].size);
    return CQ_OK;
}

/* ---- One look-up: before and after asking the database ---- */

struct look {
    struct dir_cache *cache;
    struct key key;
    struct cq_pool *pool;
    void *out;
    uint64_t generation; /* when the database was asked */
    enum cq_rc rc;
};

static bool is_down(const struct dir_cache *cache, uint64_t now_us)
{
    return cache->down_us && now_us - cache->down_us < DIR_CACHE_RETRY_US;
}

static bool is_known(const struct dir_cache *cache, const struct entry *entry, uint64_t now_us)
{
    return entry && is_believable(entry) && now_us - entry->read_us < cache->config.stale_us;
}

/* True: look->rc is the answer. */
static bool before(struct look *look)
{
    struct dir_cache *cache = look->cache;
    uint64_t now_us = cache->config.now_us();
    pthread_mutex_lock(&cache->lock);
    struct entry *entry = find(cache, &look->key);
    bool fresh = entry && is_fresh(cache, entry, now_us);
    bool known = !fresh && is_down(cache, now_us) && is_known(cache, entry, now_us);
    if (fresh || known)
        look->rc = give(cache, entry, look->pool, look->out);
    look->generation = cache->generation;
    pthread_mutex_unlock(&cache->lock);
    if (fresh || known)
        count(fresh ? SERVED_FRESH : SERVED_STALE);
    return fresh || known;
}

static void keep(struct look *look, bool found, uint64_t now_us)
{
    struct dir_cache *cache = look->cache;
    struct entry *entry = find(cache, &look->key);
    if (entry)
        drop(cache, entry);
    if (look->key.len == 0 || look->generation != cache->generation) /* something changed while we asked: it, perhaps */
        return;
    /* Names that strangers guess do not push out those that we have. */
    size_t max = found ? (size_t)cache->config.max : (size_t)cache->config.max / ABSENT_PART + 1;
    if (cache->count[found] >= max)
        drop(cache, cq_list_entry(cq_list_first(&cache->by_use[found]), struct entry, node));
    entry = cq_new(struct entry);
    entry->key = look->key;
    entry->pool = cq_pool_new(ENTRY_POOL);
    entry->value = found ? values[look->key.kind].copy(entry->pool, look->out) : NULL;
    entry->read_us = now_us;
    entry->names = cache->names;
    entry->flush = cache->flush;
    cq_list_push_back(&cache->by_use[found], &entry->node);
    HASH_ADD_KEYPTR(hh, cache->table, entry->key.bytes, entry->key.len, entry);
    cache->count[found]++;
}

static void note_trouble(struct dir_cache *cache, enum cq_rc rc, const struct cq_err *err)
{
    cache->down_us = cache->config.now_us();
    snprintf(cache->trouble, sizeof cache->trouble, "%s", err && err->text[0] ? err->text : cq_rc_text(rc));
}

static enum cq_rc fall_back(struct look *look, enum cq_rc rc, uint64_t now_us, unsigned *served)
{
    struct dir_cache *cache = look->cache;
    struct entry *entry = find(cache, &look->key);
    *served = SERVED_NOTHING;
    if (!is_known(cache, entry, now_us))
        return rc;
    *served = SERVED_STALE;
    return give(cache, entry, look->pool, look->out);
}

/* What the caller gets after the database said `rc`. */
static enum cq_rc after(struct look *look, enum cq_rc rc, const struct cq_err *err)
{
    struct dir_cache *cache = look->cache;
    uint64_t now_us = cache->config.now_us();
    unsigned served = SERVED_DATABASE;
    pthread_mutex_lock(&cache->lock);
    if (rc == CQ_OK || rc == CQ_E_NOT_FOUND) {
        cache->down_us = 0;
        keep(look, rc == CQ_OK, now_us);
    } else if (cq_rc_retryable(rc) && rc != CQ_E_BEHIND) { /* that one is an answer */
        note_trouble(cache, rc, err);
        rc = fall_back(look, rc, now_us, &served);
    }
    pthread_mutex_unlock(&cache->lock);
    count(served);
    if (served == SERVED_STALE)
        cq_log_limited(1, CQ_WARN, "directory.served_stale");
    return rc;
}

static struct look look_up(struct dir_backend *self, struct key key, struct cq_pool *pool, void *out)
{
    return (struct look){.cache = cache_of(self), .key = key, .pool = pool, .out = out};
}

/* ---- The questions that are remembered ---- */

#define INNER(self) cache_of(self)->inner
#define ASK(self, op, ...) INNER(self)->ops->op(INNER(self), __VA_ARGS__)

static enum cq_rc domain_get(struct dir_backend *self, struct cq_slice name, struct cq_pool *pool,
                             struct dir_domain *domain_r, struct cq_err *err)
{
    struct look look = look_up(self, make_key(K_DOMAIN, 0, name), pool, domain_r);
    return before(&look) ? look.rc : after(&look, ASK(self, domain_get, name, pool, domain_r, err), err);
}

static enum cq_rc address_get(struct dir_backend *self, uint64_t domain_id, struct cq_slice local, struct cq_pool *pool,
                              struct dir_address_row *row_r, struct cq_err *err)
{
    struct look look = look_up(self, make_key(K_ADDRESS, domain_id, local), pool, row_r);
    return before(&look) ? look.rc : after(&look, ASK(self, address_get, domain_id, local, pool, row_r, err), err);
}

static enum cq_rc account_get(struct dir_backend *self, uint64_t id, struct cq_pool *pool,
                              struct dir_account *account_r, struct cq_err *err)
{
    struct look look = look_up(self, make_key(K_ACCOUNT, id, CQ_SLICE_NONE), pool, account_r);
    return before(&look) ? look.rc : after(&look, ASK(self, account_get, id, pool, account_r, err), err);
}

static enum cq_rc first_account(struct dir_backend *self, uint64_t domain_id, bool admin, uint64_t *account_id_r,
                                struct cq_err *err)
{
    struct cq_pool *pool = cq_pool_new(64);
    struct look look =
        look_up(self, make_key(K_FIRST, domain_id, admin ? CQ_SLICE("admin") : CQ_SLICE_NONE), pool, account_id_r);
    enum cq_rc rc =
        before(&look) ? look.rc : after(&look, ASK(self, first_account, domain_id, admin, account_id_r, err), err);
    cq_pool_free(&pool);
    return rc;
}

static enum cq_rc credential_list(struct dir_backend *self, uint64_t account_id, struct cq_pool *pool,
                                  struct dir_credential **rows_r, size_t *count_r, struct cq_err *err)
{
    struct credentials list = {0};
    struct look look = look_up(self, make_key(K_CREDENTIALS, account_id, CQ_SLICE_NONE), pool, &list);
    enum cq_rc rc = CQ_OK;
    if (before(&look))
        rc = look.rc;
    else
        rc = after(&look, ASK(self, credential_list, account_id, pool, &list.rows, &list.count, err), err);
    *rows_r = list.rows;
    *count_r = list.count;
    return rc;
}

/* ---- What takes rows out ---- */

/* Rows that are known to be wrong now are not good in an outage either: the account may have been disabled, or its
 * password changed because somebody else knew it. */
static void forget_account(struct dir_cache *cache, uint64_t id)
{
    static const enum kind kinds[] = {K_ACCOUNT, K_CREDENTIALS};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct key key = make_key(kinds[i], id, CQ_SLICE_NONE);
        struct entry *entry = find(cache, &key);
        if (entry)
            drop(cache, entry);
    }
}

static void forget_all(struct dir_cache *cache)
{
    cache->generation++;
    cache->flush++;
}

static void hear(struct dir_cache *cache, const struct dir_change *change)
{
    cache->generation++;
    if (change->kind != DIR_CHANGED_CREDENTIAL)
        cache->names++;
    if (change->account_id)
        forget_account(cache, change->account_id);
}

static enum cq_rc changes(struct dir_backend *self, uint64_t since, size_t max, struct cq_pool *pool,
                          struct dir_change **rows_r, size_t *count_r, uint64_t *head_r, struct cq_err *err)
{
    struct dir_cache *cache = cache_of(self);
    enum cq_rc rc = ASK(self, changes, since, max, pool, rows_r, count_r, head_r, err);
    pthread_mutex_lock(&cache->lock);
    if (rc != CQ_OK && rc != CQ_E_STALE) {
        note_trouble(cache, rc, err);
        pthread_mutex_unlock(&cache->lock);
        return rc;
    }
    cache->down_us = 0;
    if (rc == CQ_E_STALE || since > cache->seen || *head_r < cache->seen) /* the reader has jumped: we heard not all */
        forget_all(cache);
    for (size_t i = 0; rc == CQ_OK && i < *count_r; i++)
        hear(cache, &(*rows_r)[i]);
    cache->seen = rc == CQ_OK && *count_r == max && max ? (*rows_r)[max - 1].version : *head_r;
    cache->feed_us = cache->config.now_us();
    pthread_mutex_unlock(&cache->lock);
    return rc;
}

/* Our own writes are known here at once; they are few. */
static enum cq_rc written(struct dir_backend *self, enum cq_rc rc)
{
    struct dir_cache *cache = cache_of(self);
    pthread_mutex_lock(&cache->lock);
    forget_all(cache);
    pthread_mutex_unlock(&cache->lock);
    return rc;
}

static enum cq_rc domain_add(struct dir_backend *self, struct cq_slice name, uint64_t alias_of, uint64_t now_us,
                             struct cq_err *err)
{
    return written(self, ASK(self, domain_add, name, alias_of, now_us, err));
}

static enum cq_rc domain_set_postmaster(struct dir_backend *self, uint64_t domain_id, uint64_t account_id,
                                        struct cq_err *err)
{
    return written(self, ASK(self, domain_set_postmaster, domain_id, account_id, err));
}

static enum cq_rc domain_remove(struct dir_backend *self, uint64_t domain_id, struct cq_err *err)
{
    return written(self, ASK(self, domain_remove, domain_id, err));
}

static enum cq_rc target_add(struct dir_backend *self, uint64_t domain_id, struct cq_slice local,
                             enum dir_address_kind kind, uint64_t account_id, struct cq_err *err)
{
    return written(self, ASK(self, target_add, domain_id, local, kind, account_id, err));
}

static enum cq_rc target_remove(struct dir_backend *self, uint64_t domain_id, struct cq_slice local,
                                uint64_t account_id, struct cq_err *err)
{
    return written(self, ASK(self, target_remove, domain_id, local, account_id, err));
}

static enum cq_rc account_add(struct dir_backend *self, const struct dir_account_row *row, struct cq_err *err)
{
    return written(self, ASK(self, account_add, row, err));
}

static enum cq_rc account_update(struct dir_backend *self, uint64_t id, const struct dir_account_update *update,
                                 const struct dir_plan *plan, struct cq_err *err)
{
    return written(self, ASK(self, account_update, id, update, plan, err));
}

static enum cq_rc account_set_state(struct dir_backend *self, uint64_t id, unsigned from, enum dir_state to,
                                    struct cq_err *err)
{
    return written(self, ASK(self, account_set_state, id, from, to, err));
}

static enum cq_rc account_remove(struct dir_backend *self, uint64_t id, struct cq_err *err)
{
    return written(self, ASK(self, account_remove, id, err));
}

static enum cq_rc credential_put(struct dir_backend *self, const struct dir_credential *row, uint64_t now_us,
                                 uint64_t *id_r, struct cq_err *err)
{
    return written(self, ASK(self, credential_put, row, now_us, id_r, err));
}

static enum cq_rc credential_rehash(struct dir_backend *self, uint64_t id, uint64_t old_version, struct cq_slice hash,
                                    struct cq_err *err)
{
    return written(self, ASK(self, credential_rehash, id, old_version, hash, err));
}

static enum cq_rc credential_remove(struct dir_backend *self, uint64_t account_id, uint64_t id, struct cq_err *err)
{
    return written(self, ASK(self, credential_remove, account_id, id, err));
}

/* ---- What passes through: lists for operators, and the time of the last use, which nobody decides by ---- */

static enum cq_rc credential_used(struct dir_backend *self, uint64_t id, uint64_t now_us, struct cq_err *err)
{
    return ASK(self, credential_used, id, now_us, err);
}

static enum cq_rc domain_list(struct dir_backend *self, struct cq_slice after_name, size_t max, struct cq_pool *pool,
                              struct dir_domain **rows_r, size_t *count_r, struct cq_err *err)
{
    return ASK(self, domain_list, after_name, max, pool, rows_r, count_r, err);
}

static enum cq_rc address_list(struct dir_backend *self, uint64_t account_id, uint64_t domain_id, size_t max,
                               struct cq_pool *pool, struct dir_address_row **rows_r, size_t *count_r,
                               struct cq_err *err)
{
    return ASK(self, address_list, account_id, domain_id, max, pool, rows_r, count_r, err);
}

static enum cq_rc account_list(struct dir_backend *self, const struct dir_account_query *query, struct cq_pool *pool,
                               struct dir_account **rows_r, size_t *count_r, struct cq_err *err)
{
    return ASK(self, account_list, query, pool, rows_r, count_r, err);
}

static enum cq_rc pending_list(struct dir_backend *self, const struct dir_pending_query *query, struct cq_pool *pool,
                               struct dir_account **rows_r, size_t *count_r, struct cq_err *err)
{
    return ASK(self, pending_list, query, pool, rows_r, count_r, err);
}

static enum cq_rc pending_count(struct dir_backend *self, struct dir_pending *pending_r, struct cq_err *err)
{
    return ASK(self, pending_count, pending_r, err);
}

static enum cq_rc schema(struct dir_backend *self, enum directory_schema_action action,
                         struct directory_schema *schema_r, struct cq_err *err)
{
    schema_r->backend = INNER(self)->ops->name;
    return INNER(self)->ops->schema ? written(self, ASK(self, schema, action, schema_r, err)) : CQ_OK;
}

static bool trouble(struct dir_backend *self, char text_r[static DIRECTORY_TROUBLE_SIZE])
{
    struct dir_cache *cache = cache_of(self);
    pthread_mutex_lock(&cache->lock);
    bool down = cache->down_us != 0;
    snprintf(text_r, DIRECTORY_TROUBLE_SIZE, "%s", down ? cache->trouble : "");
    pthread_mutex_unlock(&cache->lock);
    return down;
}

static enum cq_rc wait_for_change(struct dir_backend *self, uint64_t most_ms)
{
    return INNER(self)->ops->wait_for_change ? ASK(self, wait_for_change, most_ms) : io_fiber_sleep(most_ms);
}

/* ---- Life ---- */

static void cache_close(struct dir_backend *self)
{
    struct dir_cache *cache = cache_of(self);
    cache->inner->ops->close(cache->inner);
    for (size_t found = 0; found < 2; found++)
        while (!cq_list_empty(&cache->by_use[found]))
            drop(cache, cq_list_entry(cq_list_first(&cache->by_use[found]), struct entry, node));
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

static const struct dir_backend_ops cache_ops = {
    .name = "cache",
    .close = cache_close,
    .trouble = trouble,
    .wait_for_change = wait_for_change,
    .schema = schema,
    .domain_get = domain_get,
    .domain_list = domain_list,
    .domain_add = domain_add,
    .domain_set_postmaster = domain_set_postmaster,
    .domain_remove = domain_remove,
    .first_account = first_account,
    .address_get = address_get,
    .target_add = target_add,
    .target_remove = target_remove,
    .address_list = address_list,
    .account_get = account_get,
    .account_add = account_add,
    .account_update = account_update,
    .account_set_state = account_set_state,
    .account_remove = account_remove,
    .account_list = account_list,
    .pending_list = pending_list,
    .pending_count = pending_count,
    .credential_list = credential_list,
    .credential_put = credential_put,
    .credential_rehash = credential_rehash,
    .credential_used = credential_used,
    .credential_remove = credential_remove,
    .changes = changes,
};

struct dir_backend *dir_cache_new(struct dir_backend *inner, const struct dir_cache_config *config)
{
    struct dir_cache *cache = cq_new(struct dir_cache);
    cache->base.ops = &cache_ops;
    cache->inner = inner;
    cache->config = *config;
    cache->flush = 1;
    pthread_mutex_init(&cache->lock, NULL);
    cq_list_init(&cache->by_use[0]);
    cq_list_init(&cache->by_use[1]);
    return &cache->base;
}
