#include "io/io_loop.h"

#include <stdlib.h>
#include <string.h>

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "io/io_fiber.h"
#include "io/io_loop_private.h"
#include "io/io_metrics.h"

static _Thread_local struct io_loop *loop_self;

/* ---- Time ---- */

static void take_time(struct io_loop *loop)
{
    uint64_t now = cq_time_mono_us();
    if (!loop->manual_clock)
        loop->now_us = now;
    atomic_store_explicit(&loop->stamp_us, now, memory_order_relaxed);
}

uint64_t io_loop_now_us(const struct io_loop *loop)
{
    return loop->now_us;
}

uint64_t io_loop_deadline(const struct io_loop *loop, uint64_t ms)
{
    if (ms > (IO_NO_DEADLINE - 1 - loop->now_us) / 1000)
        return IO_NO_DEADLINE;
    return loop->now_us + ms * 1000;
}

void io_loop_clock_advance(struct io_loop *loop, uint64_t us)
{
    CQ_ASSERT(loop->manual_clock);
    loop->now_us += us;
}

static void note_lag(struct io_loop *loop, uint64_t us)
{
    if (us > loop->worst_us)
        loop->worst_us = us;
}

static void heartbeat_due(struct io_timer *timer)
{
    struct io_loop *loop = timer->loop;
    note_lag(loop, loop->now_us - timer->due_us);
    atomic_store_explicit(&loop->lag_us, loop->worst_us, memory_order_relaxed);
    cq_metric_observe(&io_metrics, IO_M_LOOP_LAG, loop->worst_us);
    loop->worst_us = 0;
    io_timer_start(timer, IO_HEARTBEAT_MS);
}

uint64_t io_loop_heartbeat_age_us(const struct io_loop *loop)
{
    uint64_t stamp = atomic_load_explicit(&loop->stamp_us, memory_order_relaxed), now = cq_time_mono_us();
    return now > stamp ? now - stamp : 0;
}

uint64_t io_loop_lag_us(const struct io_loop *loop)
{
    return atomic_load_explicit(&loop->lag_us, memory_order_relaxed);
}

/* ---- libev's callbacks ---- */

static void stamp_cb(struct ev_loop *ev, ev_check *w, int revents)
{
    (void)ev, (void)revents;
    take_time(w->data);
}

static void wakeup_cb(struct ev_loop *ev, ev_async *w, int revents)
{
    (void)ev, (void)w, (void)revents; /* it was woken up: that is all */
}

static void timeout_cb(struct ev_loop *ev, ev_timer *w, int revents)
{
    (void)ev, (void)revents;
    struct io_loop *loop = w->data;
    loop->timeout_due_us = IO_NO_DEADLINE;
}

/* ---- Birth and end ---- */

static void posts_init(struct io_post_list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

static void watchers_start(struct io_loop *loop)
{
    ev_check_init(&loop->stamp, stamp_cb);
    ev_set_priority(&loop->stamp, EV_MAXPRI); /* before the callbacks of the same turn */
    loop->stamp.data = loop;
    ev_check_start(loop->ev, &loop->stamp);
    ev_async_init(&loop->wakeup, wakeup_cb);
    loop->wakeup.data = loop;
    ev_async_start(loop->ev, &loop->wakeup);
    ev_timer_init(&loop->timeout, timeout_cb, 0., 0.);
    loop->timeout.data = loop;
}

struct io_loop *io_loop_new(const struct io_loop_options *options)
{
    static const struct io_loop_options defaults;
    options = options ? options : &defaults;
    struct io_loop *loop = cq_new(struct io_loop);
    loop->ev = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    CQ_ASSERT(loop->ev);
    const char *name = options->name ? options->name : "loop";
    loop->name = cq_strndup(name, strlen(name));
    loop->manual_clock = options->manual_clock;
    loop->measure_stacks = options->measure_stacks;
    loop->now_us = cq_time_mono_us();
    loop->timeout_due_us = IO_NO_DEADLINE;
    cq_list_init(&loop->deferred);
    cq_list_init(&loop->next_turn);
    cq_list_init(&loop->orphans);
    pthread_mutex_init(&loop->post_lock, NULL);
    posts_init(&loop->posted);
    posts_init(&loop->taken);
    loop->fibers = io_fibers_new(loop, options->fibers_max ? options->fibers_max : IO_FIBERS_MAX);
    take_time(loop);
    watchers_start(loop);
    io_timer_init(&loop->heartbeat, loop, heartbeat_due);
    if (!loop->manual_clock)
        io_timer_start(&loop->heartbeat, IO_HEARTBEAT_MS);
    return loop;
}

static bool posts_left(struct io_loop *loop)
{
    pthread_mutex_lock(&loop->post_lock);
    bool left = loop->taken.first || loop->posted.first;
    pthread_mutex_unlock(&loop->post_lock);
    return left;
}

static void let_all_end(struct io_loop *loop)
{
    io_fibers_cancel_all(loop->fibers);
    while (io_fibers_count(loop->fibers) || posts_left(loop) || !cq_list_empty(&loop->deferred) ||
           !cq_list_empty(&loop->next_turn)) {
        io_loop_turn(loop, true);
        io_fibers_cancel_all(loop->fibers);
    }
    for (struct cq_list *node; (node = cq_list_first(&loop->orphans));) {
        struct io_orphan *orphan = cq_list_entry(node, struct io_orphan, node);
        cq_list_remove(node);
        orphan->kill(orphan);
    }
}

void io_loop_free(struct io_loop **loop_p)
{
    struct io_loop *loop = *loop_p;
    if (!loop)
        return;
    CQ_ASSERT(!loop_self && "a loop is not freed from within a loop");
    let_all_end(loop);
    io_timer_stop(&loop->heartbeat);
    CQ_ASSERT(loop->users == 0 && "forgotten connection, listener or watcher");
    CQ_ASSERT(loop->heap_count == 0 && "forgotten timer");
    io_fibers_free(&loop->fibers);
    io_conn_scratch_free(&loop->scratch);
    ev_loop_destroy(loop->ev);
    pthread_mutex_destroy(&loop->post_lock);
    free(loop->heap);
    free(loop->name);
    free(loop);
    *loop_p = NULL;
}

struct io_loop *io_loop_self(void)
{
    return loop_self;
}

const char *io_loop_name(const struct io_loop *loop)
{
    return loop->name;
}

void io_orphan_add(struct io_loop *loop, struct io_orphan *orphan)
{
    cq_list_push_back(&loop->orphans, &orphan->node);
}

/* ---- Posts ---- */

static void posts_append(struct io_post_list *list, struct io_post *first, struct io_post **last)
{
    *list->last = first;
    list->last = last;
}

void io_loop_post(struct io_loop *loop, io_post_fn *fn, void *arg)
{
    struct io_post *post = cq_malloc(sizeof *post);
    *post = (struct io_post){.fn = fn, .arg = arg};
    pthread_mutex_lock(&loop->post_lock);
    bool was_empty = !loop->posted.first;
    posts_append(&loop->posted, post, &post->next);
    /* Under the lock: once the loop may see the post it may also end, and the watcher with it. A loop that posts to
     * itself is awake. */
    if (loop_self == loop)
        loop->posted_here = true;
    else if (was_empty)
        ev_async_send(loop->ev, &loop->wakeup);
    pthread_mutex_unlock(&loop->post_lock);
}

static void posts_take(struct io_loop *loop)
{
    loop->posted_here = false;
    pthread_mutex_lock(&loop->post_lock);
    if (loop->posted.first) {
        posts_append(&loop->taken, loop->posted.first, loop->posted.last);
        posts_init(&loop->posted);
    }
    pthread_mutex_unlock(&loop->post_lock);
}

static void posts_run(struct io_loop *loop)
{
    posts_take(loop);
    for (int i = 0; i < IO_POSTS_PER_TURN && loop->taken.first; i++) {
        struct io_post *post = loop->taken.first;
        loop->taken.first = post->next;
        if (!post->next)
            loop->taken.last = &loop->taken.first;
        post->fn(loop, post->arg);
        free(post);
    }
}

/* ---- Deferred callbacks ---- */

static bool defer_queued(const struct io_defer *defer)
{
    return defer->node.next && !cq_list_empty(&defer->node);
}

void io_loop_defer(struct io_loop *loop, struct io_defer *defer)
{
    if (!defer_queued(defer))
        cq_list_push_back(&loop->deferred, &defer->node);
}

void io_loop_defer_next(struct io_loop *loop, struct io_defer *defer)
{
    if (!defer_queued(defer))
        cq_list_push_back(&loop->next_turn, &defer->node);
}

void io_defer_cancel(struct io_defer *defer)
{
    if (defer_queued(defer))
        cq_list_remove(&defer->node);
}

static void defers_round(struct cq_list *queue)
{
    struct cq_list round; /* those that are queued from now on are for the next round */
    cq_list_push_back(queue, &round);
    cq_list_remove(queue);
    for (struct cq_list *node; (node = cq_list_first(&round));) {
        struct io_defer *defer = cq_list_entry(node, struct io_defer, node);
        cq_list_remove(node);
        defer->fn(defer);
    }
}

static void defers_run(struct io_loop *loop)
{
    for (int i = 0; i < IO_DEFER_ROUNDS && !cq_list_empty(&loop->deferred); i++)
        defers_round(&loop->deferred);
}

/* ---- Turns ---- */

static bool work_left(struct io_loop *loop)
{
    return loop->taken.first || loop->posted_here || io_fibers_ready(loop->fibers) || !cq_list_empty(&loop->deferred) ||
           !cq_list_empty(&loop->next_turn) || io_timers_next_us(loop) <= loop->now_us || atomic_load(&loop->stop);
}

/* libev wakes up for the timer that is due first. */
static void timeout_arm(struct io_loop *loop)
{
    uint64_t due_us = io_timers_next_us(loop);
    if (loop->manual_clock || due_us == loop->timeout_due_us)
        return;
    ev_timer_stop(loop->ev, &loop->timeout);
    loop->timeout_due_us = due_us;
    if (due_us == IO_NO_DEADLINE)
        return;
    uint64_t now = cq_time_mono_us();
    ev_now_update(loop->ev);
    ev_timer_set(&loop->timeout, due_us > now ? (double)(due_us - now) / 1e6 : 0., 0.);
    ev_timer_start(loop->ev, &loop->timeout);
}

void io_loop_turn(struct io_loop *loop, bool may_wait)
{
    struct io_loop *outer = loop_self;
    CQ_ASSERT(!outer && "a turn within a turn");
    loop_self = loop;
    bool wait = may_wait && !work_left(loop);
    if (wait)
        timeout_arm(loop);
    ev_run(loop->ev, wait ? EVRUN_ONCE : EVRUN_NOWAIT);
    defers_round(&loop->next_turn);
    posts_run(loop);
    io_timers_run(loop);
    io_fibers_run(loop->fibers);
    defers_run(loop);
    note_lag(loop, cq_time_mono_us() - atomic_load_explicit(&loop->stamp_us, memory_order_relaxed));
    loop_self = outer;
}

void io_loop_run(struct io_loop *loop)
{
    while (!atomic_load(&loop->stop))
        io_loop_turn(loop, true);
    atomic_store(&loop->stop, false);
}

static void stop_posted(struct io_loop *loop, void *arg)
{
    (void)arg;
    atomic_store(&loop->stop, true);
}

void io_loop_stop(struct io_loop *loop)
{
    io_loop_post(loop, stop_posted, NULL);
}
