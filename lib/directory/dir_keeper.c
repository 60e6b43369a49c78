#include "directory/dir_keeper.h"

#include "base/cq_assert.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_SIZE 4096
#define READ_SIZE (64u << 10)
#define WRITE_SIZE (1u << 20) /* bytes that make a write worth while; then come at most */
#define OUT_MAX (WRITE_SIZE + DIR_CACHE_WALK_STEP * (DIR_ROW_MAX + 1024u))
#define LOOK_US 1000000 /* between looks whether something is to be written */
#define HOUR_US UINT64_C(3600000000)

enum { M_WRITES, M_ROWS };
enum { WRITE_OK, WRITE_FAILED };
static const char *const write_results[] = {"ok", "failed"};

static const struct cq_metric metric_rows[] = {
    [M_WRITES] = CQ_COUNTER("chasqui_directory_known_writes_total",
                            "Times that the file of known rows was written, with a PostgreSQL directory",
                            CQ_LABEL("result", write_results)),
    [M_ROWS] = CQ_GAUGE("chasqui_directory_known_rows", "Rows in the file of known rows"),
};

struct cq_metrics dir_keeper_metrics = CQ_METRICS_OF(metric_rows);

static enum cq_rc fail_errno(struct cq_err *err, const char *path)
{
    return CQ_FAIL(err, CQ_E_IO, "%s: %s", path, strerror(errno));
}

/* ---- Reading ---- */

struct loading {
    struct dir_backend *cache;
    const struct dir_keeper_config *config;
    uint64_t mono_us, wall_us;
    uint64_t seen;
    size_t rows;
};

static enum cq_rc judge_head(const struct dir_known_head *head, void *ctx, struct cq_err *err)
{
    struct loading *l = ctx;
    const struct dir_keeper_config *config = l->config;
    if (!cq_slice_eq(head->origin, config->origin))
        return CQ_FAIL(err, CQ_E_CONFLICT, "it is of the database \"%.*s\"", CQ_SLICE_ARG(head->origin));
    if (head->written_us > l->wall_us + DIR_KEEPER_FUTURE_MAX_US)
        return CQ_FAIL(err, CQ_E_STALE, "it was written in the future: set the clock");
    if (head->written_us + config->stale_us <= l->wall_us)
        return CQ_FAIL(err, CQ_E_STALE, "it was written %llu h ago, directory.cache.stale is less",
                       (unsigned long long)((l->wall_us - head->written_us) / HOUR_US));
    l->seen = head->seen;
    return CQ_OK;
}

static void load_row(const struct dir_row *row, void *ctx)
{
    struct loading *l = ctx;
    struct dir_row one = *row;
    uint64_t age_us = row->read_us < l->wall_us ? l->wall_us - row->read_us : 0;
    if (age_us >= l->config->stale_us)
        return;
    one.read_us = l->mono_us - age_us; /* below 0 when the machine is younger: only differences count */
    dir_cache_load(l->cache, &one);
    l->rows++;
}

static enum cq_rc read_all(int fd, struct dir_known_reader *reader, const char *path, struct cq_err *err)
{
    uint8_t *bytes = cq_malloc(READ_SIZE);
    enum cq_rc rc = CQ_OK;
    uint64_t left = DIR_KEEPER_FILE_MAX;
    ssize_t n = 0;
    while (rc == CQ_OK && left && (n = read(fd, bytes, READ_SIZE)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        rc = n < 0 ? fail_errno(err, path) : dir_known_reader_feed(reader, cq_slice_of(bytes, (size_t)n), err);
        left -= n > 0 && (uint64_t)n < left ? (uint64_t)n : left;
    }
    free(bytes);
    return rc == CQ_OK ? dir_known_reader_end(reader, err) : rc;
}

enum cq_rc dir_keeper_load(struct dir_backend *cache, const struct dir_keeper_config *config, size_t *rows_r,
                           struct cq_err *err)
{
    struct loading l = {.cache = cache, .config = config, .mono_us = config->mono_us(), .wall_us = config->wall_us()};
    const struct dir_known_take take = {.head = judge_head, .row = load_row, .ctx = &l};
    *rows_r = 0;
    int fd = open(config->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? CQ_FAIL(err, CQ_E_NOT_FOUND, "%s: it is not there yet", config->path)
                               : fail_errno(err, config->path);
    struct dir_known_reader *reader = dir_known_reader_new(config->key, &take);
    enum cq_rc rc = read_all(fd, reader, config->path, err);
    dir_known_reader_free(&reader);
    close(fd);
    if (rc != CQ_OK) {
        dir_cache_unload(cache);
        return rc == CQ_E_IO ? rc : cq_err_context(err, "%s", config->path);
    }
    dir_cache_loaded(cache, l.seen);
    *rows_r = l.rows;
    return CQ_OK;
}

/* ---- Writing ---- */

struct saving {
    const struct dir_keeper_config *config;
    struct dir_known_writer *writer;
    struct cq_buf out;
    int fd;
    uint64_t mono_us, wall_us;
    uint64_t size;
    size_t rows;
};

static enum cq_rc write_out(struct saving *s, const char *path, struct cq_err *err)
{
    struct cq_slice bytes = cq_buf_slice(&s->out);
    s->size += bytes.len;
    CQ_ASSERT(cq_buf_ok(&s->out));
    if (s->size > DIR_KEEPER_FILE_MAX)
        return CQ_FAIL(err, CQ_E_TOO_BIG, "%s: it would be larger than 1 GiB; lower directory.cache.max", path);
    while (bytes.len) {
        ssize_t n = write(s->fd, bytes.data, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(err, path);
        bytes = cq_slice_skip(bytes, (size_t)n);
    }
    s->out.len = 0;
    return CQ_OK;
}

static void save_row(const struct dir_row *row, void *ctx)
{
    struct saving *s = ctx;
    struct dir_row one = *row;
    uint64_t age_us = s->mono_us - row->read_us;
    if (age_us > UINT64_MAX / 2) /* read since we began */
        age_us = 0;
    if (age_us >= s->config->stale_us)
        return;
    one.read_us = s->wall_us > age_us ? s->wall_us - age_us : 0;
    s->rows += dir_known_writer_add(s->writer, &one);
}

/* Its folder, so that the new name is there after a crash. */
static enum cq_rc sync_folder(const char *path, struct cq_err *err)
{
    char folder[PATH_SIZE];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool failed = fd < 0 || fsync(fd) != 0;
    enum cq_rc rc = failed ? fail_errno(err, folder) : CQ_OK;
    if (fd >= 0)
        close(fd);
    return rc;
}

static enum cq_rc write_rows(struct saving *s, struct dir_backend *cache, const char *path, struct cq_err *err)
{
    struct dir_cache_look look;
    enum cq_rc rc = CQ_OK;
    dir_cache_look(cache, &look); /* before the first row: what changes from here on is heard of again */
    const struct dir_known_head head = {.written_us = s->wall_us, .seen = look.seen, .origin = s->config->origin};
    cq_buf_init(&s->out, OUT_MAX);
    s->writer = dir_known_writer_new(s->config->key, &head, &s->out);
    dir_cache_walk_begin(cache);
    for (bool more = true; more && rc == CQ_OK;) {
        more = dir_cache_walk_next(cache, save_row, s);
        if (!more)
            dir_known_writer_end(s->writer);
        if (!more || s->out.len >= WRITE_SIZE)
            rc = write_out(s, path, err);
    }
    dir_known_writer_free(&s->writer);
    cq_buf_fini(&s->out);
    return rc == CQ_OK && fsync(s->fd) != 0 ? fail_errno(err, path) : rc;
}

enum cq_rc dir_keeper_save(struct dir_backend *cache, const struct dir_keeper_config *config, size_t *rows_r,
                           struct cq_err *err)
{
    char fresh[PATH_SIZE];
    struct saving s = {.config = config, .mono_us = config->mono_us(), .wall_us = config->wall_us()};
    *rows_r = 0;
    if (snprintf(fresh, sizeof fresh, "%s.new", config->path) >= (int)sizeof fresh)
        return CQ_FAIL(err, CQ_E_IO, "%s: the name is too long", config->path);
    s.fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (s.fd < 0)
        return fail_errno(err, fresh);
    enum cq_rc rc = write_rows(&s, cache, fresh, err);
    close(s.fd);
    if (rc == CQ_OK && rename(fresh, config->path) != 0)
        rc = fail_errno(err, config->path);
    if (rc != CQ_OK) {
        unlink(fresh);
        return rc;
    }
    *rows_r = s.rows;
    return sync_folder(config->path, err);
}

/* ---- The thread ---- */

struct dir_keeper {
    struct dir_backend *cache;
    struct dir_keeper_config config; /* path and origin owned */
    pthread_t thread;
    pthread_mutex_t lock; /* guards stopping */
    pthread_cond_t stop;
    bool stopping;
    struct dir_cache_look written; /* what the cache had learnt when it was last written */
    uint64_t written_us;           /* when that was, monotonic */
    uint64_t rest_us;              /* nothing is written for so long after it */
};

static bool is_due(const struct dir_keeper *keeper, const struct dir_cache_look *now, bool at_end)
{
    uint64_t since_us = keeper->config.mono_us() - keeper->written_us;
    if (now->learnt == keeper->written.learnt && now->forgotten == keeper->written.forgotten)
        return false;
    if (at_end)
        return true;
    if (since_us < keeper->rest_us)
        return false;
    return since_us >= keeper->config.interval_us ||
           (now->forgotten != keeper->written.forgotten && since_us >= DIR_KEEPER_FORGET_US);
}

static void write_if_due(struct dir_keeper *keeper, bool at_end)
{
    struct dir_cache_look now;
    struct cq_err err = {0};
    size_t rows;
    dir_cache_look(keeper->cache, &now);
    if (!is_due(keeper, &now, at_end))
        return;
    uint64_t began_us = keeper->config.mono_us();
    enum cq_rc rc = dir_keeper_save(keeper->cache, &keeper->config, &rows, &err);
    keeper->written_us = keeper->config.mono_us();
    keeper->rest_us = (keeper->written_us - began_us) * DIR_KEEPER_REST;
    cq_metric_add(&dir_keeper_metrics, M_WRITES, 1, rc == CQ_OK ? WRITE_OK : WRITE_FAILED);
    if (rc == CQ_OK) {
        keeper->written = now;
        cq_gauge_set(&dir_keeper_metrics, M_ROWS, (int64_t)rows);
        return;
    }
    if (keeper->rest_us < keeper->config.interval_us)
        keeper->rest_us = keeper->config.interval_us; /* a full disk does not get better by the second */
    cq_log(CQ_WARN, "directory.known.not_written", CQ_F_ERR(&err));
}

static bool wait_a_little(struct dir_keeper *keeper)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += LOOK_US / 1000000;
    pthread_mutex_lock(&keeper->lock);
    if (!keeper->stopping)
        pthread_cond_timedwait(&keeper->stop, &keeper->lock, &until);
    bool stopping = keeper->stopping;
    pthread_mutex_unlock(&keeper->lock);
    return !stopping;
}

static void *run(void *arg)
{
    struct dir_keeper *keeper = arg;
    while (wait_a_little(keeper))
        write_if_due(keeper, false);
    write_if_due(keeper, true);
    return NULL;
}

static void load(struct dir_keeper *keeper)
{
    struct cq_err err = {0};
    size_t rows;
    enum cq_rc rc = dir_keeper_load(keeper->cache, &keeper->config, &rows, &err);
    dir_cache_look(keeper->cache, &keeper->written);
    if (rc == CQ_OK) {
        cq_gauge_set(&dir_keeper_metrics, M_ROWS, (int64_t)rows);
        cq_log(CQ_INFO, "directory.known.loaded", CQ_F_U64("rows", rows));
    } else if (rc != CQ_E_NOT_FOUND) {
        cq_log(CQ_WARN, "directory.known.refused", CQ_F_ERR(&err));
    }
}

struct dir_keeper *dir_keeper_new(struct dir_backend *cache, const struct dir_keeper_config *config)
{
    struct dir_keeper *keeper = cq_new(struct dir_keeper);
    pthread_condattr_t attr;
    keeper->cache = cache;
    keeper->config = *config;
    keeper->config.path = cq_strndup(config->path, strlen(config->path));
    keeper->config.origin = cq_slice_of(cq_memdup(config->origin.data, config->origin.len), config->origin.len);
    keeper->written_us = config->mono_us();
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&keeper->stop, &attr);
    pthread_condattr_destroy(&attr);
    load(keeper);
    CQ_ASSERT(pthread_create(&keeper->thread, NULL, run, keeper) == 0);
    return keeper;
}

void dir_keeper_free(struct dir_keeper **keeper_p)
{
    struct dir_keeper *keeper = *keeper_p;
    if (!keeper)
        return;
    pthread_mutex_lock(&keeper->lock);
    keeper->stopping = true;
    pthread_cond_signal(&keeper->stop);
    pthread_mutex_unlock(&keeper->lock);
    pthread_join(keeper->thread, NULL);
    pthread_cond_destroy(&keeper->stop);
    pthread_mutex_destroy(&keeper->lock);
    free((char *)(uintptr_t)keeper->config.path);
    free((uint8_t *)(uintptr_t)keeper->config.origin.data);
    cq_wipe(keeper, sizeof *keeper);
    free(keeper);
    *keeper_p = NULL;
}
