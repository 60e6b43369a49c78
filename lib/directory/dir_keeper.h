/* Keeps the rows of a cache (dir_cache.h) in a file, so that a front-end that starts while the database is away knows
 * them. A thread writes it from time to time: when something was learnt, sooner when a row was found to be wrong. What
 * is in a file is as old as the day it was read on: the limit of the cache for known rows holds over restarts.
 *
 * Nothing here ever stops a start or a call: a file that cannot be used is one line in the log. */
#ifndef CHASQUI_DIR_KEEPER_H
#define CHASQUI_DIR_KEEPER_H

#include "directory/dir_cache.h"
#include "directory/dir_known.h"

#define DIR_KEEPER_FILE_MAX (UINT64_C(1) << 30)      /* bytes; a larger one is neither written nor read */
#define DIR_KEEPER_FORGET_US UINT64_C(10000000)      /* a row that was found to be wrong leaves the file so soon, */
#define DIR_KEEPER_REST 50                           /* but no more than a 50th of the time goes into writing */
#define DIR_KEEPER_FUTURE_MAX_US UINT64_C(300000000) /* a file from so far ahead: the clock is wrong */

struct dir_keeper_config {
    const char *path;
    uint8_t key[DIR_KNOWN_KEY_SIZE];
    struct cq_slice origin; /* name of the database: rows of another one are refused */
    uint64_t interval_us;
    uint64_t stale_us;
    uint64_t (*mono_us)(void); /* the cache's clock */
    uint64_t (*wall_us)(void);
};

/* Reads the file into the cache, which is new. CQ_E_NOT_FOUND: there is none. Anything else but CQ_OK: it is no good,
 * one line says why, and nothing of it stays. */
enum cq_rc dir_keeper_load(struct dir_backend *cache, const struct dir_keeper_config *config, size_t *rows_r,
                           struct cq_err *err);
/* Replaces the file: after a crash there is the old one or the new one, whole. CQ_E_IO, CQ_E_TOO_BIG: the old one. */
enum cq_rc dir_keeper_save(struct dir_backend *cache, const struct dir_keeper_config *config, size_t *rows_r,
                           struct cq_err *err);

struct dir_keeper;

/* Loads, and writes from now on. What the config points to is copied. */
struct dir_keeper *dir_keeper_new(struct dir_backend *cache, const struct dir_keeper_config *config);
/* Writes what is new, and stops: before the cache goes. */
void dir_keeper_free(struct dir_keeper **keeper);

extern struct cq_metrics dir_keeper_metrics;

#endif
