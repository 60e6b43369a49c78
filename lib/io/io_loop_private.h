/* The inside of a loop, for lib/io's own files. */
#ifndef IO_LOOP_PRIVATE_H
#define IO_LOOP_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include <ev.h>

#include "io/io_loop.h"

struct io_post {
    io_post_fn *fn;
    void *arg;
    struct io_post *next;
};

struct io_post_list {
    struct io_post *first, **last;
};

/* Something without an owner that must not outlive the loop (a connection that only flushes). */
struct io_orphan {
    void (*kill)(struct io_orphan *orphan);
    struct cq_list node;
};

struct io_loop {
    struct ev_loop *ev;
    ev_async wakeup; /* posts and stop, from other threads */
    ev_timer timeout;
    ev_check stamp;
    char *name;

    uint64_t now_us;
    bool manual_clock;
    bool measure_stacks;
    uint64_t timeout_due_us; /* what `timeout` is armed for; IO_NO_DEADLINE: not at all */

    struct io_timer **heap; /* from 1; the first is due first */
    size_t heap_count, heap_cap;

    pthread_mutex_t post_lock;
    struct io_post_list posted; /* under post_lock */
    struct io_post_list taken;  /* the loop's; older than posted */
    bool posted_here;           /* the loop's: it has posted to itself what was not taken yet */

    struct cq_list deferred;  /* io_defer.node */
    struct cq_list next_turn; /* likewise */
    struct cq_list orphans;   /* io_orphan.node */
    struct io_fibers *fibers;
    struct io_conn_scratch *scratch; /* made by the first connection */
    size_t users;                    /* connections, listeners, watchers that are alive */

    struct io_timer heartbeat;
    uint64_t worst_us; /* of this heartbeat interval */
    _Atomic uint64_t stamp_us;
    _Atomic uint64_t lag_us;
    _Atomic bool stop;
};

/* Like io_loop_defer, for the beginning of the next turn, which then does not wait. */
void io_loop_defer_next(struct io_loop *loop, struct io_defer *defer);

void io_orphan_add(struct io_loop *loop, struct io_orphan *orphan);

/* io_timer.c */
void io_timers_run(struct io_loop *loop);
uint64_t io_timers_next_us(const struct io_loop *loop); /* IO_NO_DEADLINE: none */

/* io_fiber.c */
struct io_fibers *io_fibers_new(struct io_loop *loop, size_t fibers_max);
void io_fibers_free(struct io_fibers **fibers);
void io_fibers_run(struct io_fibers *fibers);
void io_fibers_cancel_all(struct io_fibers *fibers);
bool io_fibers_ready(const struct io_fibers *fibers);
size_t io_fibers_count(const struct io_fibers *fibers);

/* io_conn_scratch.c */
void io_conn_scratch_free(struct io_conn_scratch **scratch);

#endif
