#include "directory/dir_cache_private.h"

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "io/io_fiber.h"

#include <stdio.h>
#include <stdlib.h>

#define ABSENT_PART 8 /* rows that are not there: an eighth as many as rows */

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

static void count(unsigned served)
{
    cq_metric_add(&dir_cache_metrics, M_LOOKUPS, 1, served);
}

static bool is_name(enum dir_row_kind kind)
{
    return kind == DIR_ROW_DOMAIN || kind == DIR_ROW_ADDRESS || kind == DIR_ROW_FIRST;
}

static bool is_fresh(const struct dir_cache *cache, const struct cache_entry *entry, uint64_t now_us)
{
    return entry->flush == cache->flush && (!is_name(entry->key.kind) || entry->names == cache->names) &&
           now_us - entry->read_us < cache->config.fresh_us && cache->feed_us &&
           now_us - cache->feed_us < DIR_CACHE_FEED_MAX_US;
}

/* Of a tag "not there" is believed: the address without it is asked for next, and that must be known. */
static bool is_believable(const struct cache_entry *entry)
{
    return entry->value ||
           (entry->key.kind == DIR_ROW_ADDRESS && memchr(entry->key.bytes + 9, '+', entry->key.len - 9));
}

static enum cq_rc give(struct dir_cache *cache, struct cache_entry *entry, struct cq_pool *pool, void *out)
{
    cache_used(cache, entry);
    if (!entry->value)
        return CQ_E_NOT_FOUND;
    cache_copy(entry, pool, out);
    return CQ_OK;
}

/* ---- One look-up: before and after asking the database ---- */

struct look {
    struct dir_cache *cache;
    struct cache_key key;
    struct cq_pool *pool;
    void *out;
    uint64_t generation; /* when the database was asked */
    enum cq_rc rc;
};

static bool is_known(const struct dir_cache *cache, const struct cache_entry *entry, uint64_t now_us)
{
    return entry && is_believable(entry) && now_us - entry->read_us < cache->config.stale_us;
}

/* The database is away: the known get their rows at once. Now and then one of them finds out whether it is back, so
 * that a server that is silent holds up that one and not all. */
static bool is_given_at_once(struct dir_cache *cache, uint64_t now_us)
{
    if (!cache->down)
        return false;
    bool at_once = now_us < cache->retry_us;
    if (!at_once)
        cache->retry_us = now_us + DIR_CACHE_RETRY_US;
    return at_once;
}

/* True: look->rc is the answer. */
static bool before(struct look *look)
{
    struct dir_cache *cache = look->cache;
    uint64_t now_us = cache->config.now_us();
    pthread_mutex_lock(&cache->lock);
    struct cache_entry *entry = cache_find(cache, &look->key);
    bool fresh = entry && is_fresh(cache, entry, now_us);
    bool known = !fresh && is_known(cache, entry, now_us) && is_given_at_once(cache, now_us);
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
    struct cache_entry *entry = cache_find(cache, &look->key);
    cache->learnt++;
    if (entry && entry->value && !found)
        cache->forgotten++;
    if (entry)
        cache_drop(cache, entry);
    if (look->key.len == 0 || look->generation != cache->generation) /* something changed while we asked: it, perhaps */
        return;
    /* Names that strangers guess do not push out those that we have. */
    size_t max = found ? (size_t)cache->config.max : (size_t)cache->config.max / ABSENT_PART + 1;
    entry = cache_insert(cache, &look->key, found ? look->out : NULL, now_us, max);
    entry->names = cache->names;
    entry->flush = cache->flush;
}

static void note_trouble(struct dir_cache *cache, enum cq_rc rc, const struct cq_err *err)
{
    cache->down = true;
    cache->retry_us = cache->config.now_us() + DIR_CACHE_RETRY_US;
    snprintf(cache->trouble, sizeof cache->trouble, "%s", err && err->text[0] ? err->text : cq_rc_text(rc));
}

static enum cq_rc fall_back(struct look *look, enum cq_rc rc, uint64_t now_us, unsigned *served)
{
    struct dir_cache *cache = look->cache;
    struct cache_entry *entry = cache_find(cache, &look->key);
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
        cache->down = false;
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

static struct look look_up(struct dir_backend *self, struct cache_key key, struct cq_pool *pool, void *out)
{
    return (struct look){.cache = cache_of(self), .key = key, .pool = pool, .out = out};
}

/* ---- The questions that are remembered ---- */

#define INNER(self) cache_of(self)->inner
#define ASK(self, op, ...) INNER(self)->ops->op(INNER(self), __VA_ARGS__)

static enum cq_rc domain_get(struct dir_backend *self, struct cq_slice name, struct cq_pool *pool,
                             struct dir_domain *domain_r, struct cq_err *err)
{
    struct look look = look_up(self, cache_key_make(DIR_ROW_DOMAIN, 0, name), pool, domain_r);
    return before(&look) ? look.rc : after(&look, ASK(self, domain_get, name, pool, domain_r, err), err);
}

static enum cq_rc address_get(struct dir_backend *self, uint64_t domain_id, struct cq_slice local, struct cq_pool *pool,
                              struct dir_address_row *row_r, struct cq_err *err)
{
    struct look look = look_up(self, cache_key_make(DIR_ROW_ADDRESS, domain_id, local), pool, row_r);
    return before(&look) ? look.rc : after(&look, ASK(self, address_get, domain_id, local, pool, row_r, err), err);
}

static enum cq_rc account_get(struct dir_backend *self, uint64_t id, struct cq_pool *pool,
                              struct dir_account *account_r, struct cq_err *err)
{
    struct look look = look_up(self, cache_key_make(DIR_ROW_ACCOUNT, id, CQ_SLICE_NONE), pool, account_r);
    return before(&look) ? look.rc : after(&look, ASK(self, account_get, id, pool, account_r, err), err);
}

static enum cq_rc first_account(struct dir_backend *self, uint64_t domain_id, bool admin, uint64_t *account_id_r,
                                struct cq_err *err)
{
    struct cq_pool *pool = cq_pool_new(64);
    struct look look = look_up(
        self, cache_key_make(DIR_ROW_FIRST, domain_id, admin ? CQ_SLICE("admin") : CQ_SLICE_NONE), pool, account_id_r);
    enum cq_rc rc =
        before(&look) ? look.rc : after(&look, ASK(self, first_account, domain_id, admin, account_id_r, err), err);
    cq_pool_free(&pool);
    return rc;
}

static enum cq_rc credential_list(struct dir_backend *self, uint64_t account_id, struct cq_pool *pool,
                                  struct dir_credential **rows_r, size_t *count_r, struct cq_err *err)
{
    struct dir_row_credentials list = {0};
    struct look look = look_up(self, cache_key_make(DIR_ROW_CREDENTIALS, account_id, CQ_SLICE_NONE), pool, &list);
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
    static const enum dir_row_kind kinds[] = {DIR_ROW_ACCOUNT, DIR_ROW_CREDENTIALS};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct cache_key key = cache_key_make(kinds[i], id, CQ_SLICE_NONE);
        struct cache_entry *entry = cache_find(cache, &key);
        if (!entry)
            continue;
        cache->forgotten++;
        cache_drop(cache, entry);
    }
}

static void forget_all(struct dir_cache *cache)
{
    cache->generation++;
    cache->flush++;
}

void cache_hear(struct dir_cache *cache, const struct dir_change *change)
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
    cache->down = false;
    if (rc == CQ_E_STALE || since > cache->seen || *head_r < cache->seen) /* the reader has jumped: we heard not all */
        forget_all(cache);
    uint64_t heard = cache->behind ? cache->behind_since : cache->seen;
    for (size_t i = 0; rc == CQ_OK && i < *count_r; i++)
        if ((*rows_r)[i].version > heard || *head_r < heard) /* a reader that is new begins with what is old */
            cache_hear(cache, &(*rows_r)[i]);
    cache->seen = rc == CQ_OK && *count_r == max && max ? (*rows_r)[max - 1].version : *head_r;
    cache->feed_us = cache->config.now_us();
    bool behind = cache->behind;
    pthread_mutex_unlock(&cache->lock);
    if (behind)
        cache_catch_up(cache);
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
    bool down = cache->down;
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
            cache_drop(cache, cq_list_entry(cq_list_first(&cache->by_use[found]), struct cache_entry, node));
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
