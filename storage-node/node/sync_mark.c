#include "node/sync_mark.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "base/cq_hash.h"
#include "base/cq_mem.h"

#define MAGIC 0x43515359u /* "CQSY" */
#define VERSION 1
#define COPIES 2
#define COPY_AT 4096 /* bytes from one to the next: no write, and no bad block, has both */
#define COPY_SIZE 32 /* magic u32, version u32, count u64, sequence u64, checksum u64 */

struct sync_mark {
    struct sync_mark_config config;
    char *path;
    int fd;
    uint64_t count; /* of writes: which copy is the next one */
    uint64_t written;
    _Atomic uint64_t synced;
    _Atomic bool idle; /* the thread waits for news */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping; /* under lock */
};

struct copy {
    uint64_t count, sequence;
};

/* ---- The file ---- */

static enum cq_rc parse(const uint8_t at[static COPY_SIZE], struct copy *copy_r, struct cq_err *err)
{
    if (cq_get_be32(at) != MAGIC || cq_get_be64(at + 24) != cq_xxh3_64(cq_slice_of(at, 24)))
        return CQ_E_CORRUPT;
    if (cq_get_be32(at + 4) != VERSION)
        return CQ_FAIL(err, CQ_E_VERSION, "written by a newer release (format %u; this one knows %u)",
                       cq_get_be32(at + 4), VERSION);
    *copy_r = (struct copy){cq_get_be64(at + 8), cq_get_be64(at + 16)};
    return CQ_OK;
}

/* The newest copy that reads. CQ_E_NOT_FOUND: nothing was ever written to the file. */
static enum cq_rc read_copies(int fd, struct copy *newest_r, struct cq_err *err)
{
    bool any = false;
    enum cq_rc rc = CQ_E_NOT_FOUND;
    for (unsigned i = 0; i < COPIES; i++) {
        uint8_t bytes[COPY_SIZE] = {0};
        struct copy copy;
        ssize_t n = pread(fd, bytes, sizeof bytes, (off_t)i * COPY_AT);
        if (n < 0)
            return CQ_FAIL(err, CQ_E_IO, "%s", strerror(errno));
        any |= n > 0;
        enum cq_rc one = n == COPY_SIZE ? parse(bytes, &copy, err) : CQ_E_CORRUPT;
        if (one == CQ_E_VERSION)
            return one;
        if (one != CQ_OK || (rc == CQ_OK && copy.count < newest_r->count))
            continue;
        *newest_r = copy;
        rc = CQ_OK;
    }
    return rc == CQ_OK || !any ? rc : CQ_FAIL(err, CQ_E_CORRUPT, "it is damaged");
}

enum cq_rc sync_mark_read(const char *path, uint64_t *sequence_r, struct cq_err *err)
{
    struct copy newest = {0};
    *sequence_r = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? CQ_OK : CQ_FAIL(err, CQ_E_IO, "%s: %s", path, strerror(errno));
    enum cq_rc rc = read_copies(fd, &newest, err);
    close(fd);
    if (rc == CQ_E_NOT_FOUND)
        return CQ_OK;
    if (rc != CQ_OK) {
        cq_err_context(err, "%s", path);
        return rc;
    }
    *sequence_r = newest.sequence;
    return CQ_OK;
}

static enum cq_rc write_copy(struct sync_mark *m, uint64_t sequence, struct cq_err *err)
{
    uint8_t at[COPY_SIZE];
    m->count++;
    cq_put_be32(at, MAGIC);
    cq_put_be32(at + 4, VERSION);
    cq_put_be64(at + 8, m->count);
    cq_put_be64(at + 16, sequence);
    cq_put_be64(at + 24, cq_xxh3_64(cq_slice_of(at, 24)));
    ssize_t n = pwrite(m->fd, at, sizeof at, (off_t)(m->count % COPIES) * COPY_AT);
    if (n != (ssize_t)sizeof at || fdatasync(m->fd) != 0)
        return CQ_FAIL(err, CQ_E_IO, "%s: %s", m->path, strerror(errno));
    m->written = sequence;
    return CQ_OK;
}

/* ---- The thread ---- */

static bool write_news(struct sync_mark *m)
{
    struct cq_err err = {0};
    uint64_t synced = atomic_load(&m->synced);
    if (synced == m->written || write_copy(m, synced, &err) == CQ_OK)
        return true;
    m->config.fatal(m->config.ctx, &err);
    return false;
}

static void add_ms(struct timespec *at, long ms)
{
    at->tv_nsec += ms * 1000000;
    at->tv_sec += at->tv_nsec / 1000000000;
    at->tv_nsec %= 1000000000;
}

/* With the lock. Until there is news; then until the time between two writes has passed. */
static void wait_for_news(struct sync_mark *m)
{
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    add_ms(&next, SYNC_MARK_MS);
    atomic_store(&m->idle, true);
    while (!m->stopping && atomic_load(&m->synced) == m->written)
        pthread_cond_wait(&m->wake, &m->lock);
    atomic_store(&m->idle, false);
    while (!m->stopping && pthread_cond_timedwait(&m->wake, &m->lock, &next) == 0)
        ;
}

static void *mark_main(void *arg)
{
    struct sync_mark *m = arg;
    bool ok = true;
    pthread_mutex_lock(&m->lock);
    while (!m->stopping && ok) {
        wait_for_news(m);
        pthread_mutex_unlock(&m->lock);
        ok = write_news(m);
        pthread_mutex_lock(&m->lock);
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

void sync_mark_synced(struct sync_mark *m, uint64_t sequence)
{
    atomic_store(&m->synced, sequence);
    if (!atomic_exchange(&m->idle, false))
        return;
    pthread_mutex_lock(&m->lock);
    pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->lock);
}

/* ---- Life ---- */

static enum cq_rc open_file(struct sync_mark *m, struct cq_err *err)
{
    struct copy newest = {0};
    m->fd = open(m->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (m->fd < 0)
        return CQ_FAIL(err, CQ_E_IO, "%s: %s", m->path, strerror(errno));
    enum cq_rc rc = read_copies(m->fd, &newest, err);
    if (rc == CQ_E_VERSION || rc == CQ_E_IO)
        return rc;
    m->count = newest.count; /* a damaged file has been judged by whoever read it: it is written anew */
    m->written = newest.sequence;
    atomic_store(&m->synced, newest.sequence);
    return CQ_OK;
}

enum cq_rc sync_mark_open(const struct sync_mark_config *config, struct sync_mark **mark_r, struct cq_err *err)
{
    struct sync_mark *m = cq_new(struct sync_mark);
    pthread_condattr_t monotonic;
    m->config = *config;
    m->path = cq_strndup(config->path, strlen(config->path));
    enum cq_rc rc = open_file(m, err);
    if (rc != CQ_OK) {
        if (m->fd >= 0)
            close(m->fd);
        free(m->path);
        free(m);
        return rc;
    }
    pthread_mutex_init(&m->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&m->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    CQ_ASSERT(pthread_create(&m->thread, NULL, mark_main, m) == 0);
    pthread_setname_np(m->thread, "sync-mark");
    *mark_r = m;
    return CQ_OK;
}

void sync_mark_free(struct sync_mark **mark)
{
    struct sync_mark *m = *mark;
    *mark = NULL;
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    m->stopping = true;
    pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->lock);
    pthread_join(m->thread, NULL);
    write_news(m);
    close(m->fd);
    pthread_cond_destroy(&m->wake);
    pthread_mutex_destroy(&m->lock);
    free(m->path);
    free(m);
}
