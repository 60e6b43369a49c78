/* What the files of the cache share: remembered rows, by question and by use. All under the cache's lock. */
#ifndef CHASQUI_DIR_CACHE_PRIVATE_H
#define CHASQUI_DIR_CACHE_PRIVATE_H

#include "directory/dir_cache.h"

#include "base/cq_list.h"

#include <pthread.h>
#include <uthash.h>

#define CACHE_TEXT_MAX DIR_DOMAIN_MAX

struct cache_key {
    uint8_t bytes[1 + 8 + CACHE_TEXT_MAX]; /* kind, number, text */
    unsigned len;                          /* 0: too long to be remembered */
    enum dir_row_kind kind;
};

struct cache_entry {
    UT_hash_handle hh;
    struct cq_list node; /* in by_use */
    struct cache_key key;
    struct cq_pool *pool;
    const void *value; /* NULL: there is no such row */
    uint64_t read_us;
    uint64_t names, flush; /* what they were in the cache; another value: asked again, unless nobody answers */
    uint64_t walked;       /* number of the last walk that has seen it */
    bool loaded;           /* from the file of known rows */
};

struct dir_cache {
    struct dir_backend base;
    struct dir_backend *inner;
    struct dir_cache_config config;
    pthread_mutex_t lock;
    struct cache_entry *table;
    struct cq_list by_use[2]; /* rows that are not there, rows; the newest last */
    size_t count[2];
    uint64_t names;      /* rises with changes of domains, addresses, accounts */
    uint64_t flush;      /* rises when all may have changed; 0 is of loaded rows, which are never fresh */
    uint64_t generation; /* rises with every change that was heard of */
    uint64_t seen;       /* of the feed, without a gap */
    uint64_t feed_us;    /* when it was last read */
    bool down;           /* the last call got no answer */
    uint64_t retry_us;   /* while it is down, the known are asked for again from then on, by one caller */
    uint64_t learnt, forgotten;
    bool behind;           /* rows were loaded, and what changed since they were written was not heard yet: */
    uint64_t behind_since; /* version of the feed */
    struct cq_list *walk;  /* the next one to be seen; NULL: nobody walks */
    uint64_t walks;
    size_t walk_left; /* steps */
    char trouble[DIRECTORY_TROUBLE_SIZE];
};

static inline struct dir_cache *cache_of(struct dir_backend *base)
{
    return cq_containerof(base, struct dir_cache, base);
}

/* ---- dir_cache_entry.c ---- */

struct cache_key cache_key_make(enum dir_row_kind kind, uint64_t number, struct cq_slice text);
struct cache_entry *cache_find(struct dir_cache *cache, const struct cache_key *key);
/* Copies the value (NULL: there is no such row); the longest unused rows make room when there are `max`. There is none
 * with that key, and its length is not 0. */
struct cache_entry *cache_insert(struct dir_cache *cache, const struct cache_key *key, const void *value,
                                 uint64_t read_us, size_t max);
void cache_drop(struct dir_cache *cache, struct cache_entry *entry);
void cache_used(struct dir_cache *cache, struct cache_entry *entry);
/* A copy of its value; texts and lists are in the pool. The value is there. */
void cache_copy(const struct cache_entry *entry, struct cq_pool *pool, void *out);

/* ---- dir_cache_known.c ---- */

/* The database answers: hears of what changed since the loaded rows were written. Suspends the fiber. */
void cache_catch_up(struct dir_cache *cache);

/* ---- dir_cache.c ---- */

void cache_hear(struct dir_cache *cache, const struct dir_change *change);

#endif
