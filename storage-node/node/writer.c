#include "node/writer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"

static const struct cq_metric rows[WRITER_M_ROWS] = {
    [WRITER_M_FSYNC] = CQ_HISTOGRAM("chasqui_wal_fsync_duration_seconds",
                                    "Time of a synced write to the write-ahead log, its fsync included", CQ_BUCKETS_IO),
    [WRITER_M_WRITE] = CQ_HISTOGRAM("chasqui_wal_write_duration_seconds",
                                    "Time of a write to the write-ahead log that is not synced", CQ_BUCKETS_IO),
    [WRITER_M_BATCH_BYTES] =
        CQ_HISTOGRAM("chasqui_writer_batch_bytes", "Bytes that one write takes to the store", CQ_BUCKETS_SIZE),
    [WRITER_M_BATCH_ITEMS] =
        CQ_HISTOGRAM("chasqui_writer_batch_items", "Jobs and effects of all groups in one write", CQ_BUCKETS_COUNT),
};
struct cq_metrics writer_metrics = CQ_METRICS_OF(rows);

/* Items in their order. */
struct chain {
    struct writer_item *first, **last;
    size_t count;
};

struct writer {
    struct writer_config config;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* Under lock. */
    struct chain queue;
    bool urgent; /* an item that is not lazy is in the queue */
    bool asleep; /* waits without a time: a lazy item must wake it, too */
    bool stopping;
    _Atomic uint64_t busy_since_us, syncs, sync_us; /* set by the thread */
    /* The thread's own. */
    struct store_batch *batch;
    struct chain unsynced; /* written, not durable */
};

static void chain_init(struct chain *chain)
{
    chain->first = NULL;
    chain->last = &chain->first;
    chain->count = 0;
}

static void chain_push(struct chain *chain, struct writer_item *item)
{
    item->next = NULL;
    *chain->last = item;
    chain->last = &item->next;
    chain->count++;
}

static struct writer_item *chain_pop(struct chain *chain)
{
    struct writer_item *item = chain->first;
    if (!item)
        return NULL;
    chain->first = item->next;
    if (!chain->first)
        chain->last = &chain->first;
    chain->count--;
    item->next = NULL;
    return item;
}

static void chain_move(struct chain *to, struct chain *from)
{
    if (!from->first)
        return;
    *to->last = from->first;
    to->last = from->last;
    to->count += from->count;
    chain_init(from);
}

/* Takes items from the front of *todo into the batch, up to the bounds. */
static void fill_batch(struct writer *w, struct chain *todo, struct chain *taken, bool *sync)
{
    while (todo->first && taken->count < WRITER_BATCH_ITEMS && store_batch_bytes(w->batch) < WRITER_BATCH_MAX) {
        struct writer_item *item = chain_pop(todo);
        item->ops->encode(item, w->batch);
        *sync |= item->sync;
        chain_push(taken, item);
    }
}

static bool write_batch(struct writer *w, bool sync)
{
    struct cq_err err = {0};
    uint64_t start = cq_time_mono_us();
    atomic_store(&w->busy_since_us, start);
    if (store_write(w->config.store, w->batch, sync, &err) != CQ_OK) {
        w->config.fatal(w->config.ctx, &err);
        return false;
    }
    uint64_t took = cq_time_mono_us() - start;
    atomic_store(&w->busy_since_us, 0);
    if (sync) {
        atomic_fetch_add(&w->sync_us, took);
        atomic_fetch_add(&w->syncs, 1);
    }
    if (sync && w->config.synced)
        w->config.synced(w->config.ctx);
    cq_metric_observe(&writer_metrics, sync ? WRITER_M_FSYNC : WRITER_M_WRITE, took);
    cq_metric_observe(&writer_metrics, WRITER_M_BATCH_BYTES, store_batch_bytes(w->batch));
    return true;
}

static void tell_durable(struct chain *chain)
{
    struct writer_item *item;
    while ((item = chain_pop(chain)) != NULL)
        item->ops->durable(item);
}

/* One batch from the front of *todo. */
static bool write_some(struct writer *w, struct chain *todo)
{
    bool sync = w->unsynced.count >= WRITER_UNSYNCED_MAX;
    store_batch_clear(w->batch);
    struct chain taken;
    chain_init(&taken);
    fill_batch(w, todo, &taken, &sync);
    cq_metric_observe(&writer_metrics, WRITER_M_BATCH_ITEMS, taken.count);
    bool ok = write_batch(w, sync);
    for (struct writer_item *item = taken.first; ok && item; item = item->next)
        if (item->ops->written)
            item->ops->written(item);
    chain_move(&w->unsynced, &taken);
    if (ok && sync)
        tell_durable(&w->unsynced);
    return ok;
}

static bool must_write(const struct writer *w)
{
    return w->urgent || w->stopping || w->queue.count >= WRITER_LAZY_ITEMS;
}

/* Lazy items follow what was just written within moments; so for that long a wait ends by itself, and they need not
 * wake anybody. */
static void wait_a_moment(struct writer *w)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += WRITER_LAZY_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    while (!must_write(w))
        if (pthread_cond_timedwait(&w->wake, &w->lock, &until) != 0)
            return;
}

/* Waits for items: false when the writer stops and none are left. */
static bool take_queue(struct writer *w, struct chain *todo)
{
    pthread_mutex_lock(&w->lock);
    wait_a_moment(w);
    if (!w->queue.first && !w->stopping) {
        w->asleep = true;
        while (w->asleep && !w->stopping)
            pthread_cond_wait(&w->wake, &w->lock);
        wait_a_moment(w);
    }
    w->asleep = w->urgent = false;
    chain_move(todo, &w->queue);
    pthread_mutex_unlock(&w->lock);
    return todo->first != NULL;
}

static void *writer_main(void *arg)
{
    struct writer *w = arg;
    struct chain todo;
    chain_init(&todo);
    while (take_queue(w, &todo)) {
        while (todo.first)
            if (!write_some(w, &todo))
                return NULL;
    }
    store_batch_clear(w->batch);
    if (w->unsynced.first && write_batch(w, true))
        tell_durable(&w->unsynced);
    return NULL;
}

struct writer *writer_new(const struct writer_config *config)
{
    struct writer *w = cq_new(struct writer);
    w->config = *config;
    chain_init(&w->queue);
    chain_init(&w->unsynced);
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &attr);
    pthread_condattr_destroy(&attr);
    w->batch = store_batch_new(config->store);
    CQ_ASSERT(pthread_create(&w->thread, NULL, writer_main, w) == 0);
    pthread_setname_np(w->thread, "writer");
    return w;
}

void writer_add(struct writer *w, struct writer_item *item)
{
    pthread_mutex_lock(&w->lock);
    CQ_ASSERT(!w->stopping);
    bool knows = must_write(w);
    chain_push(&w->queue, item);
    w->urgent |= !item->lazy;
    if (!knows && (w->asleep || must_write(w))) {
        w->asleep = false;
        pthread_cond_signal(&w->wake);
    }
    pthread_mutex_unlock(&w->lock);
}

void writer_pulse(struct writer *w, struct writer_pulse *pulse_r)
{
    pulse_r->busy_since_us = atomic_load(&w->busy_since_us);
    pulse_r->syncs = atomic_load(&w->syncs);
    pulse_r->sync_us = atomic_load(&w->sync_us);
}

size_t writer_queue_length(struct writer *w)
{
    pthread_mutex_lock(&w->lock);
    size_t n = w->queue.count;
    pthread_mutex_unlock(&w->lock);
    return n;
}

void writer_free(struct writer **writer)
{
    struct writer *w = *writer;
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    store_batch_free(&w->batch);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
    *writer = NULL;
}
