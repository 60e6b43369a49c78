#include "events/event_ring.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cq_assert.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_rand.h"
#include "base/cq_time.h"
#include "events/event_health.h"
#include "events/event_metrics.h"

/* Two buffers: one is filled, the other is written; when it has been acknowledged they change places. */
struct event_ring {
    struct event_ring_config config;
    struct event_sink *sink;
    uint8_t hash_key[EVENT_PII_KEY_MAX];
    size_t hash_key_len;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows, up to the next comment */
    pthread_cond_t wake;
    struct cq_buf filling;
    uint64_t number;
    size_t writing_bytes; /* size of the other buffer */
    bool stopping, reopen;
    struct event_health health; /* has its own lock */
    /* The thread's alone. */
    struct cq_buf writing;
    size_t count; /* events in it */
    size_t published;
    struct progress *progress; /* by ticket */
    size_t done_count;
};

/* Of an event that is being written. */
struct progress {
    const struct event_row *row;
    bool given; /* to the sink, which has not said yet what became of it */
    bool done;  /* acknowledged, or given up as malformed */
};

/* Stands before each packed event. */
struct stored {
    struct event_stamp stamp;
    uint32_t len;
};

/* ---- Putting ---- */

static bool has_room(const struct event_ring *ring, size_t more)
{
    return ring->filling.len + ring->writing_bytes + more <= ring->config.bytes_max;
}

/* Under the lock. A dropped event has a number too, so that consumers see the gap. */
static bool store(struct event_ring *ring, struct stored *head, const uint8_t *packed)
{
    head->stamp.number = ++ring->number;
    if (!has_room(ring, sizeof *head + head->len))
        return false;
    bool first = ring->filling.len == 0;
    cq_buf_slice_add(&ring->filling, cq_slice_of(head, sizeof *head));
    cq_buf_slice_add(&ring->filling, cq_slice_of(packed, head->len));
    if (first)
        pthread_cond_signal(&ring->wake);
    return true;
}

void event_ring_put(struct event_ring *ring, Chasqui__Edge__Event *event)
{
    uint8_t packed[EVENT_RING_EVENT_MAX], random[EVENT_UUID_SIZE];
    struct stored head = {.len = 0};
    if (!ring)
        return;
    const struct event_row *row = event_row_find((int)event->type);
    if (!ring->sink) {
        event_count_dropped(row, EVENT_DROP_NO_SINK);
        return;
    }
    if (!event->time)
        event->time = cq_time_wall_us();
    size_t len = chasqui__edge__event__get_packed_size(event);
    if (len > sizeof packed) {
        event_count_dropped(row, EVENT_DROP_MALFORMED);
        return;
    }
    chasqui__edge__event__pack(event, packed);
    cq_rand_bytes(random, sizeof random);
    event_uuid7(event->time / 1000, random, head.stamp.id);
    head.len = (uint32_t)len;
    pthread_mutex_lock(&ring->lock);
    bool stored = store(ring, &head, packed);
    pthread_mutex_unlock(&ring->lock);
    if (stored)
        cq_gauge_add(&event_metrics, EVENT_M_WAITING, (int64_t)(sizeof head + len));
    else
        event_count_dropped(row, EVENT_DROP_OVERFLOW);
}

void event_ring_tell(struct event_ring *ring, char *text_r, size_t size)
{
    if (ring->sink)
        event_health_tell(&ring->health, cq_time_mono_us(), text_r, size);
    else
        snprintf(text_r, size, "not published: neither events.kafka nor events.file is set");
}

void event_ring_reopen(struct event_ring *ring)
{
    if (!ring)
        return;
    pthread_mutex_lock(&ring->lock);
    ring->reopen = true;
    pthread_cond_signal(&ring->wake);
    pthread_mutex_unlock(&ring->lock);
}

void event_ring_hash(const struct event_ring *ring, struct cq_slice text, char hash_r[static EVENT_HASH_SIZE])
{
    event_hash(cq_slice_of(ring->hash_key, ring->hash_key_len), text, hash_r);
}

/* ---- Writing ---- */

static bool next_stored(struct cq_slice *rest, struct stored *head, struct cq_slice *packed)
{
    if (!rest->len)
        return false;
    memcpy(head, rest->data, sizeof *head);
    *packed = cq_slice_sub(*rest, sizeof *head, head->len);
    *rest = cq_slice_skip(*rest, sizeof *head + head->len);
    return true;
}

static size_t count_stored(struct cq_slice rest)
{
    struct stored head;
    struct cq_slice packed;
    size_t count = 0;
    while (next_stored(&rest, &head, &packed))
        count++;
    return count;
}

static void mark_done(struct event_ring *ring, size_t ticket)
{
    if (ring->progress[ticket].done)
        return;
    ring->progress[ticket].done = true;
    ring->done_count++;
}

static void on_acknowledged(void *ctx, uint64_t ticket)
{
    struct event_ring *ring = ctx;
    CQ_ASSERT(ticket < ring->count);
    struct progress *p = &ring->progress[ticket];
    if (p->given)
        event_count_produced(p->row, EVENT_M_ACKNOWLEDGED);
    p->given = false;
    mark_done(ring, (size_t)ticket);
}

/* The buffers change places when all of the last one is done. False: there is nothing to write. */
static bool take(struct event_ring *ring)
{
    if (ring->done_count < ring->count)
        return true;
    cq_gauge_add(&event_metrics, EVENT_M_WAITING, -(int64_t)ring->writing.len);
    cq_buf_reset(&ring->writing, ring->config.bytes_max);
    pthread_mutex_lock(&ring->lock);
    struct cq_buf swap = ring->filling;
    ring->filling = ring->writing;
    ring->writing = swap;
    ring->writing_bytes = swap.len;
    pthread_mutex_unlock(&ring->lock);
    free(ring->progress);
    ring->count = count_stored(cq_buf_slice(&ring->writing));
    ring->progress = cq_calloc(ring->count + 1, sizeof *ring->progress);
    ring->published = ring->done_count = 0;
    return ring->count > 0;
}

static enum cq_rc publish_one(struct event_ring *ring, size_t ticket, const struct stored *head, struct cq_slice packed,
                              struct cq_err *err)
{
    struct cq_pool *pool = cq_pool_new(4096);
    struct event_record record;
    const struct event_row *row = NULL;
    enum cq_rc rc = event_encode_edge(&ring->config.source, &head->stamp, packed, pool, &record, &row, err);
    if (rc != CQ_OK) {
        cq_log(CQ_ERROR, "event.malformed", CQ_F_ERR(err));
        event_count_dropped(row, EVENT_DROP_MALFORMED);
        mark_done(ring, ticket);
        rc = CQ_OK;
    } else {
        record.ticket = ticket;
        rc = event_sink_publish(ring->sink, &record, err);
        if (rc == CQ_E_OVERLOADED && (rc = event_sink_poll(ring->sink, err)) == CQ_OK)
            rc = event_sink_publish(ring->sink, &record, err);
        ring->progress[ticket].row = row;
        ring->progress[ticket].given = rc == CQ_OK;
    }
    cq_pool_free(&pool);
    return rc;
}

/* Those that have not been published in this round and are not done. */
static enum cq_rc publish(struct event_ring *ring, struct cq_err *err)
{
    struct cq_slice rest = cq_buf_slice(&ring->writing), packed;
    struct stored head;
    enum cq_rc rc = CQ_OK;
    for (size_t i = 0; rc == CQ_OK && next_stored(&rest, &head, &packed); i++) {
        if (i < ring->published)
            continue;
        if (!ring->progress[i].done)
            rc = publish_one(ring, i, &head, packed, err);
        if (rc == CQ_OK)
            ring->published = i + 1;
    }
    return rc == CQ_E_OVERLOADED ? CQ_OK : rc;
}

/* The sink has failed: what it has not acknowledged is given to it again. */
static void begin_again(struct event_ring *ring)
{
    ring->published = 0;
    for (size_t i = 0; i < ring->count; i++) {
        struct progress *p = &ring->progress[i];
        if (p->given)
            event_count_produced(p->row, EVENT_M_FAILED);
        p->given = false;
    }
}

enum cq_rc event_ring_write(struct event_ring *ring, struct cq_err *err)
{
    if (!take(ring))
        return CQ_OK;
    enum cq_rc rc = publish(ring, err);
    if (rc == CQ_OK)
        rc = event_sink_poll(ring->sink, err);
    if (rc != CQ_OK) {
        begin_again(ring);
        return rc;
    }
    return ring->done_count == ring->count ? CQ_OK : CQ_E_AGAIN;
}

/* ---- The thread ---- */

/* Until there is something to do, or `ms` have passed (0: for ever). Under the lock. */
static void wait_ms(struct event_ring *ring, uint64_t ms)
{
    struct timespec until;
    if (!ms) {
        pthread_cond_wait(&ring->wake, &ring->lock);
        return;
    }
    uint64_t due = cq_time_mono_us() + ms * 1000;
    until.tv_sec = (time_t)(due / CQ_US_PER_S);
    until.tv_nsec = (long)(due % CQ_US_PER_S) * 1000;
    while (!ring->stopping && pthread_cond_timedwait(&ring->wake, &ring->lock, &until) == 0)
        ;
}

static void reopen_if_asked(struct event_ring *ring)
{
    struct cq_err err = {0};
    pthread_mutex_lock(&ring->lock);
    bool reopen = ring->reopen;
    ring->reopen = false;
    pthread_mutex_unlock(&ring->lock);
    if (reopen && event_sink_reopen(ring->sink, &err) != CQ_OK)
        cq_log(CQ_ERROR, "events.not_reopened", CQ_F_ERR(&err));
}

/* What comes after a turn that ended so: how long to wait. 0: for the next event. */
static uint64_t pause_after(struct event_ring *ring, enum cq_rc rc, const struct cq_err *err)
{
    if (rc == CQ_E_AGAIN)
        return EVENT_RING_POLL_MS;
    event_health_note(&ring->health, rc, err, cq_time_mono_us());
    return rc == CQ_OK ? 0 : EVENT_RING_RETRY_MS;
}

static void *thread_main(void *arg)
{
    struct event_ring *ring = arg;
    uint64_t pause_ms = 0;
    for (;;) {
        pthread_mutex_lock(&ring->lock);
        while (!pause_ms && !ring->stopping && !ring->reopen && !ring->filling.len)
            wait_ms(ring, 0);
        if (!ring->stopping)
            wait_ms(ring, pause_ms ? pause_ms : EVENT_RING_GATHER_MS);
        bool stopping = ring->stopping;
        pthread_mutex_unlock(&ring->lock);
        if (stopping)
            return NULL;
        struct cq_err err = {0};
        reopen_if_asked(ring);
        enum cq_rc rc = event_ring_write(ring, &err);
        pause_ms = pause_after(ring, rc, &err);
    }
}

/* ---- Life ---- */

struct event_ring *event_ring_new(const struct event_ring_config *config)
{
    struct event_ring *ring = cq_new(struct event_ring);
    pthread_condattr_t clock;
    ring->config = *config;
    ring->sink = config->sink;
    if (!ring->config.bytes_max)
        ring->config.bytes_max = EVENT_RING_BYTES;
    ring->hash_key_len = config->source.pii_key_len ? config->source.pii_key_len : sizeof ring->hash_key;
    memcpy(ring->hash_key, config->source.pii_key, ring->hash_key_len);
    if (!config->source.pii_key_len)
        cq_rand_bytes(ring->hash_key, ring->hash_key_len);
    event_health_init(&ring->health);
    pthread_mutex_init(&ring->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&ring->wake, &clock);
    pthread_condattr_destroy(&clock);
    cq_buf_init(&ring->filling, ring->config.bytes_max);
    cq_buf_init(&ring->writing, ring->config.bytes_max);
    if (!ring->sink)
        return ring;
    ring->sink->acknowledged = on_acknowledged;
    ring->sink->ctx = ring;
    if (!config->no_thread)
        CQ_ASSERT(pthread_create(&ring->thread, NULL, thread_main, ring) == 0);
    return ring;
}

/* Twice: what the thread was at, and what came meanwhile. A sink that fails now has had its chance. */
static void write_rest(struct event_ring *ring)
{
    struct cq_err err = {0};
    for (int i = 0; i < 2; i++)
        if (event_ring_write(ring, &err) != CQ_OK)
            break;
    struct cq_slice rest = cq_buf_slice(&ring->writing), packed;
    struct stored head;
    for (size_t i = 0; next_stored(&rest, &head, &packed); i++)
        if (!ring->progress[i].done)
            event_count_dropped(event_row_peek(packed), EVENT_DROP_STOPPED);
    rest = cq_buf_slice(&ring->filling);
    while (next_stored(&rest, &head, &packed))
        event_count_dropped(event_row_peek(packed), EVENT_DROP_STOPPED);
    if (ring->done_count < ring->count || ring->filling.len)
        cq_log(CQ_ERROR, "events.lost", CQ_F_U64("events", ring->count - ring->done_count),
               CQ_F_U64("bytes", ring->filling.len), CQ_F_ERR(&err));
}

void event_ring_free(struct event_ring **ring_p)
{
    struct event_ring *ring = *ring_p;
    if (!ring)
        return;
    pthread_mutex_lock(&ring->lock);
    ring->stopping = true;
    pthread_cond_signal(&ring->wake);
    pthread_mutex_unlock(&ring->lock);
    if (ring->sink && !ring->config.no_thread)
        pthread_join(ring->thread, NULL);
    if (ring->sink)
        write_rest(ring);
    event_sink_close(&ring->sink);
    cq_buf_fini(&ring->filling);
    cq_buf_fini(&ring->writing);
    pthread_cond_destroy(&ring->wake);
    pthread_mutex_destroy(&ring->lock);
    event_health_fini(&ring->health);
    free(ring->progress);
    cq_wipe(ring, sizeof *ring);
    free(ring);
    *ring_p = NULL;
}
