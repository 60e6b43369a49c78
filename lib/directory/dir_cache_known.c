/* The rows of the cache go out to the file of known rows, and come back from it at the next start. */
#include "directory/dir_cache_private.h"

#include "base/cq_endian.h"

#define CATCH_UP_PAGE 1000 /* changes */

void dir_cache_look(struct dir_backend *self, struct dir_cache_look *look_r)
{
    struct dir_cache *cache = cache_of(self);
    pthread_mutex_lock(&cache->lock);
    *look_r = (struct dir_cache_look){
        .learnt = cache->learnt,
        .forgotten = cache->forgotten,
        .seen = cache->behind ? cache->behind_since : cache->seen,
        .rows = cache->count[1],
    };
    pthread_mutex_unlock(&cache->lock);
}

/* ---- Out ---- */

static void show(const struct cache_entry *entry, dir_row_fn *fn, void *ctx)
{
    const struct dir_row row = {
        .kind = entry->key.kind,
        .number = cq_get_be64(entry->key.bytes + 1),
        .text = cq_slice_of(entry->key.bytes + 9, entry->key.len - 9),
        .read_us = entry->read_us,
        .value = entry->value,
    };
    fn(&row, ctx);
}

void dir_cache_walk_begin(struct dir_backend *self)
{
    struct dir_cache *cache = cache_of(self);
    pthread_mutex_lock(&cache->lock);
    cache->walks++;
    cache->walk = cache->by_use[1].next;
    /* Rows that are used meanwhile go to the end of the list and are passed again: not for ever. */
    cache->walk_left = 4 * (cache->count[1] / DIR_CACHE_WALK_STEP + 1);
    pthread_mutex_unlock(&cache->lock);
}

bool dir_cache_walk_next(struct dir_backend *self, dir_row_fn *fn, void *ctx)
{
    struct dir_cache *cache = cache_of(self);
    pthread_mutex_lock(&cache->lock);
    struct cq_list *end = &cache->by_use[1];
    for (int i = 0; i < DIR_CACHE_WALK_STEP && cache->walk != end; i++) {
        struct cache_entry *entry = cq_list_entry(cache->walk, struct cache_entry, node);
        cache->walk = cache->walk->next;
        if (entry->walked != cache->walks)
            show(entry, fn, ctx);
        entry->walked = cache->walks;
    }
    bool more = cache->walk != end && --cache->walk_left;
    if (!more)
        cache->walk = NULL;
    pthread_mutex_unlock(&cache->lock);
    return more;
}

/* ---- In ---- */

void dir_cache_load(struct dir_backend *self, const struct dir_row *row)
{
    struct dir_cache *cache = cache_of(self);
    struct cache_key key = cache_key_make(row->kind, row->number, row->text);
    pthread_mutex_lock(&cache->lock);
    struct cache_entry *entry = cache_find(cache, &key);
    if (entry)
        cache_drop(cache, entry);
    if (key.len) {
        entry = cache_insert(cache, &key, row->value, row->read_us, (size_t)cache->config.max);
        entry->loaded = true;
    }
    pthread_mutex_unlock(&cache->lock);
}

static void drop_loaded(struct dir_cache *cache)
{
    cq_list_each_safe (&cache->by_use[1], node) {
        struct cache_entry *entry = cq_list_entry(node, struct cache_entry, node);
        if (entry->loaded)
            cache_drop(cache, entry);
    }
}

void dir_cache_unload(struct dir_backend *self)
{
    struct dir_cache *cache = cache_of(self);
    pthread_mutex_lock(&cache->lock);
    drop_loaded(cache);
    pthread_mutex_unlock(&cache->lock);
}

void dir_cache_loaded(struct dir_backend *self, uint64_t seen)
{
    struct dir_cache *cache = cache_of(self);
    pthread_mutex_lock(&cache->lock);
    cache->behind = true;
    cache->behind_since = seen;
    pthread_mutex_unlock(&cache->lock);
}

/* ---- What changed between the writing of the file and now ---- */

/* One page. True: there may be another. */
static bool catch_up_page(struct dir_cache *cache, struct cq_pool *pool)
{
    struct dir_change *rows;
    size_t count = 0;
    uint64_t head;
    pthread_mutex_lock(&cache->lock);
    uint64_t since = cache->behind_since;
    pthread_mutex_unlock(&cache->lock);
    enum cq_rc rc = cache->inner->ops->changes(cache->inner, since, CATCH_UP_PAGE, pool, &rows, &count, &head, NULL);
    pthread_mutex_lock(&cache->lock);
    for (size_t i = 0; rc == CQ_OK && i < count; i++)
        cache_hear(cache, &rows[i]);
    if (rc == CQ_OK && count)
        cache->behind_since = rows[count - 1].version;
    if (rc == CQ_E_STALE) /* more changed than the feed tells, or the database is another one */
        drop_loaded(cache);
    if (rc == CQ_E_STALE || (rc == CQ_OK && count < CATCH_UP_PAGE))
        cache->behind = false;
    pthread_mutex_unlock(&cache->lock);
    return rc == CQ_OK && count == CATCH_UP_PAGE;
}

void cache_catch_up(struct dir_cache *cache)
{
    for (bool more = true; more;) {
        struct cq_pool *pool = cq_pool_new(4096);
        more = catch_up_page(cache, pool);
        cq_pool_free(&pool);
    }
}
