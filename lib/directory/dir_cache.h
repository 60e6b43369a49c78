/* A backend in front of another one: remembers what was looked up.
 *
 * Fresh rows are answered without asking: for a short time, and only while the feed of changes (the changes call, made
 * about every 2 s) is being read, which takes out what changed. When the database gives no answer, rows that are older
 * are good for a day: mail goes on for those who are known. "There is no such row" is never believed of an old answer
 * (but of "user+tag", whose "user" is asked for next), so an outage makes "later" of it, not "no such user". */
#ifndef CHASQUI_DIR_CACHE_H
#define CHASQUI_DIR_CACHE_H

#include "directory/dir_row.h"
#include "directory/directory_backend.h"

#include "base/cq_metrics.h"

#define DIR_CACHE_FEED_MAX_US UINT64_C(10000000) /* a feed that was not read for so long vouches for nothing */
#define DIR_CACHE_RETRY_US UINT64_C(1000000)     /* while it is away, one look-up in so long tries to reach it */

struct dir_cache_config {
    uint64_t fresh_us;
    uint64_t stale_us;
    int64_t max; /* rows that are remembered; the longest unused makes room */
    uint64_t (*now_us)(void);
};

/* Owns `inner` from now on. */
struct dir_backend *dir_cache_new(struct dir_backend *inner, const struct dir_cache_config *config);

extern struct cq_metrics dir_cache_metrics;

/* ---- For the file of known rows (dir_keeper.h); `cache` is one of dir_cache_new ---- */

struct dir_cache_look {
    uint64_t learnt;    /* rises with each row that the database gave */
    uint64_t forgotten; /* rises with each row that was found to be wrong */
    uint64_t seen;      /* of the feed: nothing before is missing in what is remembered */
    size_t rows;
};

void dir_cache_look(struct dir_backend *cache, struct dir_cache_look *look_r);

#define DIR_CACHE_WALK_STEP 256

/* All rows that are there, the longest unused first: each step calls fn, under the lock, with the next few; read_us is
 * by the cache's clock. False: that was the last step. For one caller at a time. */
void dir_cache_walk_begin(struct dir_backend *cache);
bool dir_cache_walk_next(struct dir_backend *cache, dir_row_fn *fn, void *ctx);

/* Rows of an earlier process, read_us by the cache's clock. They are given only while the database is away. */
void dir_cache_load(struct dir_backend *cache, const struct dir_row *row);
/* That was all of them; `seen` of the feed when they were written. What changed since is heard when the feed is read.
 */
void dir_cache_loaded(struct dir_backend *cache, uint64_t seen);
/* They are not to be trusted: forgotten. */
void dir_cache_unload(struct dir_backend *cache);

#endif
