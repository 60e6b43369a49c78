/* A backend in front of another one: remembers what was looked up.
 *
 * Fresh rows are answered without asking: for a short time, and only while the feed of changes (the changes call, made
 * about every 2 s) is being read, which takes out what changed. When the database gives no answer, rows that are older
 * are good for a day: mail goes on for those who are known. "There is no such row" is never believed of an old answer
 * (but of "user+tag", whose "user" is asked for next), so an outage makes "later" of it, not "no such user". */
#ifndef CHASQUI_DIR_CACHE_H
#define CHASQUI_DIR_CACHE_H

#include "directory/directory_backend.h"

#include "base/cq_metrics.h"

#define DIR_CACHE_FEED_MAX_US UINT64_C(10000000) /* a feed that was not read for so long vouches for nothing */
#define DIR_CACHE_RETRY_US UINT64_C(1000000)     /* after a failure: known rows are given at once for so long */

struct dir_cache_config {
    uint64_t fresh_us;
    uint64_t stale_us;
    int64_t max; /* rows that are remembered; the longest unused makes room */
    uint64_t (*now_us)(void);
};

/* Owns `inner` from now on. */
struct dir_backend *dir_cache_new(struct dir_backend *inner, const struct dir_cache_config *config);

extern struct cq_metrics dir_cache_metrics;

#endif
