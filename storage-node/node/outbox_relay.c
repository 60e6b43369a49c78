#include "node/outbox_relay.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "events/event_health.h"
#include "events/event_metrics.h"
#include "node/call_codec.h"
#include "node/group_proposal.h"
#include "node/node.h"
#include "proto/mail.pb-c.h"
#include "state/mail_machine.h"

#define QUEUE_MAX 8192 /* jobs that wait for the thread: one that gathers, and reopenings */

enum { M_RECORDS, M_BYTES, M_AGE, M_ROWS };
static const struct cq_metric rows[M_ROWS] = {
    [M_RECORDS] = CQ_GAUGE("chasqui_events_outbox_records",
                           "Events that wait in the outboxes of the shards that this node leads"),
    [M_BYTES] =
        CQ_GAUGE("chasqui_events_outbox_bytes", "Their bytes; a shard's are limited by events.outbox.max_bytes"),
    [M_AGE] = CQ_GAUGE("chasqui_events_outbox_oldest_age_seconds", "Age of the oldest of them; 0: none waits"),
};
struct cq_metrics outbox_relay_metrics = CQ_METRICS_OF(rows);

/* An event between the machine and the sink. */
struct pending {
    struct outbox_position position;
    struct cq_slice bytes; /* in the batch's pool */
    const struct event_row *row;
    bool given;        /* to the sink */
    bool acknowledged; /* by the sink */
};

/* What was read from a shard at once. The apply thread fills it, the relay's thread publishes it. */
struct batch {
    struct apply_call call;
    struct relay_shard *shard;
    struct cq_pool *pool;
    struct outbox_position after;
    bool from_cursor; /* a new term: where the cursor stands */
    struct pending events[RELAY_BATCH_EVENTS];
    size_t count;
    size_t acknowledged; /* from the front */
    bool more;
    enum cq_rc rc;
    struct batch *next; /* of those that wait for the relay's thread */
};

/* What waits in a shard's outbox. */
struct backlog {
    uint64_t events, bytes;
    uint64_t oldest_us; /* 0: nothing */
};

/* One shard that this node leads; the control loop's. */
struct relay_shard {
    struct outbox_relay *relay;
    struct group *group;
    bool busy, advancing, measuring, trimming;
    struct apply_call measure;
    struct backlog measured; /* the apply thread's while measuring */
    struct backlog backlog;
    uint64_t term;                    /* in which `published` was learnt */
    struct outbox_position published; /* acknowledged by the sink */
    struct outbox_position advanced;  /* proposed as the cursor */
    size_t since_advance;
    uint64_t advanced_at_us, retry_at_us;
};

struct outbox_relay {
    struct node *node;
    struct event_sink *sink; /* its thread's */
    struct event_source source;
    struct io_pool *thread; /* a pool of one */
    struct io_timer timer;
    uint64_t measured_at_us;
    uint64_t outbox_max; /* bytes of a shard's outbox */
    struct event_health health;
    atomic_bool stopped;
    pthread_mutex_t lock; /* guards what follows */
    struct batch *ready, **ready_end;
    /* The thread's. */
    struct batch *gathered[GROUPS_MAX]; /* those that are published together: one a group at most */
    size_t gathered_count;
    struct relay_shard *shards[GROUPS_MAX];
};

static bool is_stopped(struct outbox_relay *r)
{
    return atomic_load_explicit(&r->stopped, memory_order_relaxed);
}

static int position_cmp(struct outbox_position a, struct outbox_position b)
{
    if (a.index != b.index)
        return a.index < b.index ? -1 : 1;
    return a.sub_index < b.sub_index ? -1 : a.sub_index > b.sub_index;
}

/* ---- The relay's thread ---- */

static void on_published(struct io_loop *loop, void *arg);

/* What the sink gives back with an acknowledgement: which of the gathered batches, and which event of it. */
static uint64_t ticket_of(size_t batch, size_t event)
{
    return (uint64_t)batch << 32 | event;
}

static void on_acknowledged(void *ctx, uint64_t ticket)
{
    const struct outbox_relay *r = ctx;
    r->gathered[ticket >> 32]->events[ticket & UINT32_MAX].acknowledged = true;
}

/* One event to the sink; a malformed one is counted and passed over, or it would stop the shard's relay for ever. */
static enum cq_rc publish_one(struct outbox_relay *r, size_t number, size_t n, struct cq_err *err)
{
    struct batch *b = r->gathered[number];
    const struct event_place place = {.shard = b->shard->group->record.group,
                                      .index = b->events[n].position.index,
                                      .sub_index = b->events[n].position.sub_index};
    struct event_record record;
    enum cq_rc rc = event_encode(&r->source, &place, b->events[n].bytes, b->pool, &record, &b->events[n].row, err);
    if (rc != CQ_OK) {
        cq_log(CQ_ERROR, "event.malformed", CQ_F_ERR(err));
        event_count_dropped(event_row_peek(b->events[n].bytes), EVENT_DROP_MALFORMED);
        b->events[n].acknowledged = true;
        return CQ_OK;
    }
    record.ticket = ticket_of(number, n);
    b->events[n].given = true;
    rc = event_sink_publish(r->sink, &record, err);
    if (rc == CQ_E_OVERLOADED && (rc = event_sink_poll(r->sink, err)) == CQ_OK)
        rc = event_sink_publish(r->sink, &record, err);
    return rc;
}

static enum cq_rc publish_batch(struct outbox_relay *r, size_t number, struct cq_err *err)
{
    struct batch *b = r->gathered[number];
    for (size_t i = 0; i < b->count && b->rc == CQ_OK; i++)
        b->rc = publish_one(r, number, i, err);
    return b->rc;
}

/* Acknowledged is what the sink has said so of, up to the first that it has not: what is behind that comes again. */
static void count_acknowledged(struct batch *b)
{
    while (b->acknowledged < b->count && b->events[b->acknowledged].acknowledged)
        b->acknowledged++;
    for (size_t i = 0; i < b->count; i++)
        if (b->events[i].given)
            event_count_produced(b->events[i].row, i < b->acknowledged ? EVENT_M_ACKNOWLEDGED : EVENT_M_FAILED);
    if (b->rc == CQ_OK && b->acknowledged < b->count)
        b->rc = CQ_E_IO; /* after a moment again */
}

static void discard(struct batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        event_count_dropped(event_row_peek(b->events[i].bytes), EVENT_DROP_NO_SINK);
    b->acknowledged = b->count;
}

/* Those that wait, up to RELAY_GATHER_EVENTS: the batches of many shards wait for the brokers together. Is any left? */
static bool gather(struct outbox_relay *r)
{
    size_t events = 0;
    r->gathered_count = 0;
    pthread_mutex_lock(&r->lock);
    while (r->ready && (events == 0 || events + r->ready->count <= RELAY_GATHER_EVENTS)) {
        struct batch *b = r->ready;
        events += b->count;
        r->gathered[r->gathered_count++] = b;
        r->ready = b->next;
    }
    if (!r->ready)
        r->ready_end = &r->ready;
    bool left = r->ready != NULL;
    pthread_mutex_unlock(&r->lock);
    return left;
}

/* A batch that cannot be published stops no other one; a sink that fails stops all. Whatever was given to the sink is
 * polled for in the end: its tickets mean nothing to those who come next. */
static void publish_gathered(struct outbox_relay *r)
{
    struct cq_err err = {0}, poll_err = {0};
    enum cq_rc failed = CQ_OK;
    for (size_t n = 0; n < r->gathered_count && failed != CQ_E_IO; n++) {
        enum cq_rc rc = publish_batch(r, n, &err);
        if (rc != CQ_OK)
            failed = rc;
    }
    enum cq_rc polled = event_sink_poll(r->sink, &poll_err);
    for (size_t n = 0; n < r->gathered_count; n++)
        count_acknowledged(r->gathered[n]);
    if (polled != CQ_OK)
        event_health_note(&r->health, polled, &poll_err, cq_time_mono_us());
    else
        event_health_note(&r->health, failed, &err, cq_time_mono_us());
}

/* The node stops: the next leader publishes them. Each of these turns could wait events.kafka.timeout for brokers that
 * are away, and the stop for all of them. */
static void leave_gathered(struct outbox_relay *r)
{
    for (size_t n = 0; n < r->gathered_count; n++)
        r->gathered[n]->rc = CQ_E_CANCELLED;
}

/* What came while the last ones were published. What it leaves, it is called for again: a reopening may come between.
 */
static void publish(void *arg)
{
    struct outbox_relay *r = arg;
    bool left = true;
    while (left) {
        left = gather(r);
        if (is_stopped(r))
            leave_gathered(r);
        else if (r->sink && r->gathered_count)
            publish_gathered(r);
        for (size_t n = 0; n < r->gathered_count; n++) {
            if (!r->sink)
                discard(r->gathered[n]);
            io_loop_post(r->node->control, on_published, r->gathered[n]);
        }
        if (left && io_pool_submit(r->thread, publish, r) == CQ_OK)
            return;
    }
}

/* ---- The apply thread: reading ---- */

static void on_read(struct io_loop *loop, void *arg);

/* A batch that grows while the outbox is walked. */
struct reading {
    struct batch *batch;
    size_t bytes;
};

static bool take_event(void *ctx, struct outbox_position position, struct cq_slice event)
{
    struct reading *reading = ctx;
    struct batch *b = reading->batch;
    b->events[b->count++] = (struct pending){.position = position, .bytes = cq_pool_slice(b->pool, event)};
    reading->bytes += event.len;
    return b->count < RELAY_BATCH_EVENTS && reading->bytes < RELAY_BATCH_BYTES;
}

static void read_run(struct apply_call *call, struct apply_group *group, struct machine *machine, enum cq_rc rc)
{
    (void)group;
    struct batch *b = cq_containerof(call, struct batch, call);
    struct reading reading = {.batch = b};
    struct cq_err err = {0};
    if (rc == CQ_OK && b->from_cursor)
        b->after = mail_machine_outbox_cursor(machine);
    if (rc == CQ_OK)
        rc = mail_machine_outbox_walk(machine, b->after, take_event, &reading, &err);
    b->more = rc == CQ_OK;
    b->rc = rc == CQ_E_EOF ? CQ_OK : rc;
    io_loop_post(b->shard->relay->node->control, on_read, b);
}

/* ---- The control loop ---- */

static void batch_end(struct batch *b)
{
    b->shard->busy = false;
    cq_pool_free(&b->pool);
    free(b);
}

static void fetch(struct relay_shard *s)
{
    struct batch *b = cq_new(struct batch);
    uint64_t term = atomic_load(&s->group->term);
    b->shard = s;
    b->pool = cq_pool_new(16384);
    b->from_cursor = term != s->term;
    b->after = s->published;
    b->call.run = read_run;
    s->term = term;
    s->busy = true;
    apply_call(s->group->apply, &b->call);
}

/* To the relay's thread, which takes all that wait at once: one job for the first of them. */
static void hand_over(struct outbox_relay *r, struct batch *b)
{
    b->rc = CQ_OK;
    pthread_mutex_lock(&r->lock);
    bool first = !r->ready;
    *r->ready_end = b;
    r->ready_end = &b->next;
    pthread_mutex_unlock(&r->lock);
    if (!first || io_pool_submit(r->thread, publish, r) == CQ_OK)
        return;
    pthread_mutex_lock(&r->lock); /* thousands of SIGHUPs: at the next tick, unless a job from before takes it */
    bool left = r->ready == b;
    if (left) {
        r->ready = NULL;
        r->ready_end = &r->ready;
    }
    pthread_mutex_unlock(&r->lock);
    if (left)
        batch_end(b);
}

static void on_read(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct batch *b = arg;
    struct relay_shard *s = b->shard;
    if (b->from_cursor)
        s->published = s->advanced = b->after;
    if (b->rc != CQ_OK || b->count == 0 || is_stopped(s->relay))
        batch_end(b);
    else
        hand_over(s->relay, b);
}

static void advance_after(void *arg, enum cq_rc rc, struct cq_slice reply)
{
    (void)reply;
    struct relay_shard *s = arg;
    s->advancing = false;
    if (rc != CQ_OK)
        s->term = 0; /* begin again where the cursor stands */
}

static void advance_if_due(struct relay_shard *s)
{
    uint64_t now = cq_time_mono_us();
    bool due = s->since_advance >= RELAY_ADVANCE_EVENTS || now - s->advanced_at_us >= RELAY_ADVANCE_MS * UINT64_C(1000);
    if (s->advancing || !due || position_cmp(s->published, s->advanced) <= 0)
        return;
    Chasqui__Mail__OutboxAdvance message = CHASQUI__MAIL__OUTBOX_ADVANCE__INIT;
    message.to_index = s->published.index;
    message.to_sub_index = s->published.sub_index;
    s->advancing = true;
    s->advanced = s->published;
    s->advanced_at_us = now;
    s->since_advance = 0;
    group_propose(s->relay->node, s->group, CHASQUI__MAIL__METHOD__OUTBOX_ADVANCE, &message.base, advance_after, s);
}

static bool leads(const struct relay_shard *s)
{
    return group_leads(s->group) && !atomic_load(&s->group->failed);
}

static void on_published(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct batch *b = arg;
    struct relay_shard *s = b->shard;
    bool more = b->more && b->rc == CQ_OK;
    if (b->acknowledged) {
        s->published = b->events[b->acknowledged - 1].position;
        s->since_advance += b->acknowledged;
    }
    if (b->rc != CQ_OK)
        s->retry_at_us = cq_time_mono_us() + CQ_US_PER_S;
    batch_end(b);
    if (is_stopped(s->relay) || !leads(s))
        return;
    advance_if_due(s);
    if (more && !s->trimming)
        fetch(s);
}

/* ---- How much waits, and no more than may ---- */

static void trim(struct relay_shard *s);

/* Counts what went, by stream; is there more to do? */
static bool count_dropped(const struct relay_shard *s, struct cq_slice answer)
{
    struct cq_pool *pool = cq_pool_new(512);
    struct cq_slice body;
    Chasqui__Mail__OutboxTrimReply *reply = NULL;
    uint64_t sum = 0;
    if (answer_body(answer, pool, &body, NULL, NULL) == CQ_OK)
        reply = chasqui__mail__outbox_trim_reply__unpack(NULL, body.len, body.data);
    bool more = reply && reply->more;
    for (unsigned i = 0; reply && i < reply->n_dropped && i < EVENT_STREAM_COUNT; i++) {
        event_count_dropped_many((enum event_stream)i, EVENT_DROP_OUTBOX_FULL, reply->dropped[i]);
        sum += reply->dropped[i];
    }
    if (sum)
        cq_log_limited(1, CQ_ERROR, "events.dropped", CQ_F_U64("shard", s->group->record.group),
                       CQ_F_U64("events", sum));
    if (reply)
        chasqui__mail__outbox_trim_reply__free_unpacked(reply, NULL);
    cq_pool_free(&pool);
    return more;
}

static void trim_after(void *arg, enum cq_rc rc, struct cq_slice reply)
{
    struct relay_shard *s = arg;
    s->trimming = false;
    if (rc == CQ_OK && count_dropped(s, reply) && !is_stopped(s->relay) && leads(s))
        trim(s);
}

/* To nine tenths, so that it is not done for each new event. Nothing is read for publishing meanwhile. */
static void trim(struct relay_shard *s)
{
    Chasqui__Mail__OutboxTrim message = CHASQUI__MAIL__OUTBOX_TRIM__INIT;
    message.keep_bytes = s->relay->outbox_max - s->relay->outbox_max / 10;
    s->trimming = true;
    group_propose(s->relay->node, s->group, CHASQUI__MAIL__METHOD__OUTBOX_TRIM, &message.base, trim_after, s);
}

static void on_measured(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct relay_shard *s = arg;
    s->measuring = false;
    s->backlog = s->measured;
    if (s->backlog.bytes > s->relay->outbox_max && !s->trimming && !is_stopped(s->relay) && leads(s))
        trim(s);
}

static void measure_run(struct apply_call *call, struct apply_group *group, struct machine *machine, enum cq_rc rc)
{
    (void)group;
    struct relay_shard *s = cq_containerof(call, struct relay_shard, measure);
    s->measured = (struct backlog){0};
    if (rc == CQ_OK) {
        mail_machine_outbox_backlog(machine, &s->measured.events, &s->measured.bytes);
        s->measured.oldest_us = mail_machine_outbox_oldest(machine);
    }
    io_loop_post(s->relay->node->control, on_measured, s);
}

static void measure(struct relay_shard *s)
{
    if (s->measuring)
        return;
    s->measuring = true;
    s->measure = (struct apply_call){.run = measure_run};
    apply_call(s->group->apply, &s->measure);
}

static void set_gauges(const struct outbox_relay *r)
{
    struct backlog sum = {0};
    uint64_t now = cq_time_wall_us();
    for (uint32_t id = 1; id < GROUPS_MAX; id++) {
        const struct relay_shard *s = r->shards[id];
        if (!s || !leads(s))
            continue;
        sum.events += s->backlog.events;
        sum.bytes += s->backlog.bytes;
        if (s->backlog.oldest_us && (!sum.oldest_us || s->backlog.oldest_us < sum.oldest_us))
            sum.oldest_us = s->backlog.oldest_us;
    }
    uint64_t age_us = sum.oldest_us && sum.oldest_us < now ? now - sum.oldest_us : 0;
    cq_gauge_set(&outbox_relay_metrics, M_RECORDS, (int64_t)sum.events);
    cq_gauge_set(&outbox_relay_metrics, M_BYTES, (int64_t)sum.bytes);
    cq_gauge_set(&outbox_relay_metrics, M_AGE, (int64_t)(age_us / CQ_US_PER_S));
}

static struct relay_shard *shard_of(struct outbox_relay *r, struct group *group)
{
    uint32_t id = group->record.group;
    if (!r->shards[id]) {
        r->shards[id] = cq_new(struct relay_shard);
        r->shards[id]->relay = r;
        r->shards[id]->group = group;
    }
    return r->shards[id];
}

static void on_timer(struct io_timer *timer)
{
    struct outbox_relay *r = cq_containerof(timer, struct outbox_relay, timer);
    uint64_t now = cq_time_mono_us();
    bool look = now - r->measured_at_us >= RELAY_MEASURE_MS * UINT64_C(1000);
    if (look) {
        r->measured_at_us = now;
        set_gauges(r);
    }
    for (uint32_t id = 1; id < GROUPS_MAX; id++) {
        struct group *group = groups_find(&r->node->groups, id);
        if (!group || !group_leads(group) || atomic_load(&group->failed))
            continue;
        struct relay_shard *s = shard_of(r, group);
        if (look)
            measure(s);
        if (!s->busy && !s->trimming && now >= s->retry_at_us)
            fetch(s);
        advance_if_due(s);
    }
    io_timer_start(timer, RELAY_TICK_MS);
}

/* ---- Life ---- */

static void reopen(void *arg)
{
    struct outbox_relay *r = arg;
    struct cq_err err = {0};
    if (r->sink && event_sink_reopen(r->sink, &err) != CQ_OK)
        cq_log(CQ_ERROR, "events.not_reopened", CQ_F_ERR(&err));
}

void outbox_relay_tell(struct outbox_relay *r, char *text_r, size_t size)
{
    if (r->sink)
        event_health_tell(&r->health, cq_time_mono_us(), text_r, size);
    else
        snprintf(text_r, size, "not published: neither events.kafka nor events.file is set");
}

void outbox_relay_reopen(struct outbox_relay *r)
{
    io_pool_submit(r->thread, reopen, r);
}

struct outbox_relay *outbox_relay_new(struct node *node, struct event_sink *sink, const struct event_source *source)
{
    struct outbox_relay *r = cq_new(struct outbox_relay);
    r->node = node;
    r->sink = sink;
    r->source = *source;
    event_health_init(&r->health);
    pthread_mutex_init(&r->lock, NULL);
    r->ready_end = &r->ready;
    r->outbox_max = node->config->node.outbox_max;
    r->thread = io_pool_new("events", 1, QUEUE_MAX);
    io_timer_init(&r->timer, node->control, on_timer);
    if (sink) {
        sink->acknowledged = on_acknowledged;
        sink->ctx = r;
    }
    return r;
}

void outbox_relay_start(struct outbox_relay *r)
{
    io_timer_start(&r->timer, RELAY_TICK_MS);
}

void outbox_relay_stop(struct outbox_relay *r)
{
    atomic_store(&r->stopped, true);
    io_timer_stop(&r->timer);
}

void outbox_relay_join(struct outbox_relay *r)
{
    io_pool_free(&r->thread);
}

void outbox_relay_free(struct outbox_relay **relay)
{
    struct outbox_relay *r = *relay;
    if (!r)
        return;
    outbox_relay_join(r);
    event_sink_close(&r->sink);
    event_health_fini(&r->health);
    pthread_mutex_destroy(&r->lock);
    for (uint32_t id = 0; id < GROUPS_MAX; id++)
        free(r->shards[id]);
    free(r);
    *relay = NULL;
}
