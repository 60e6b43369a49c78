/* The event loop: one per thread, and everything that belongs to it (connections, fibers, timers) is touched by that
 * thread alone. The one way in from another thread is io_loop_post().
 *
 * One turn: wait for the kernel · take the time · input and output callbacks · posts · due timers · fibers that are
 * ready · deferred callbacks. Each step has a bound, so that nobody starves; what is left over is done in the next
 * turn, which then does not wait. */
#ifndef IO_LOOP_H
#define IO_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cq_err.h"
#include "base/cq_list.h"

struct io_loop;

#define IO_NO_DEADLINE UINT64_MAX
#define IO_POSTS_PER_TURN 1024  /* posts that one turn runs */
#define IO_TIMERS_PER_TURN 1024 /* due timers that one turn runs */
#define IO_RESUMES_PER_TURN 512 /* fiber resumptions of one turn */
#define IO_DEFER_ROUNDS 8       /* deferred callbacks that defer others: how often that goes on in one turn */
#define IO_FIBERS_MAX 4096      /* default of fibers_max: fibers with a stack, of one loop */

struct io_loop_options {
    const char *name;    /* for logs and metrics ("worker-0"); copied; NULL: "loop" */
    size_t fibers_max;   /* 0: IO_FIBERS_MAX */
    bool measure_stacks; /* dev builds: io_fiber_stack_high_water() costs one mincore(2) per ended fiber */
    bool manual_clock;   /* tests: time stands still until io_loop_clock_advance() */
};

/* options may be NULL. Never NULL: without descriptors for the loop itself the process cannot live. */
struct io_loop *io_loop_new(const struct io_loop_options *options);

/* Cancels the fibers that are left and lets them end, runs the posts that are left, then frees. A timer, watcher,
 * listener or connection that still belongs to the loop is a bug of ours and asserts. */
void io_loop_free(struct io_loop **loop);

/* Runs until io_loop_stop(). Makes this loop the thread's own (io_loop_self). */
void io_loop_run(struct io_loop *loop);

/* One turn; with may_wait it waits for the next event or timer. For tests, and for programs with their own outer loop.
 */
void io_loop_turn(struct io_loop *loop, bool may_wait);

/* Any thread: io_loop_run returns after the turn it is in. */
void io_loop_stop(struct io_loop *loop);

/* The loop that the calling thread runs at this moment, or NULL. */
struct io_loop *io_loop_self(void);

const char *io_loop_name(const struct io_loop *loop);

/* Monotonic microseconds, taken once per turn. */
uint64_t io_loop_now_us(const struct io_loop *loop);

/* now + ms, as deadlines are given everywhere in lib/io: absolute, on the loop's clock, in microseconds. */
uint64_t io_loop_deadline(const struct io_loop *loop, uint64_t ms);

/* Tests with manual_clock: time goes on by that much; what is due runs in the next turn. */
void io_loop_clock_advance(struct io_loop *loop, uint64_t us);

/* ---- From other threads ---- */

typedef void io_post_fn(struct io_loop *loop, void *arg);

/* Any thread: fn(loop, arg) runs on the loop's stack, soon. Posts of one thread run in their order. */
void io_loop_post(struct io_loop *loop, io_post_fn *fn, void *arg);

/* ---- End of the turn ---- */

struct io_defer;
typedef void io_defer_fn(struct io_defer *defer);

/* A callback for the end of this turn; embedded in its owner. Zeroed memory plus fn is a valid one. */
struct io_defer {
    io_defer_fn *fn;
    struct cq_list node; /* the loop's */
};

/* Queues it once, however often it is called in a turn. Callbacks run in the order of queueing. */
void io_loop_defer(struct io_loop *loop, struct io_defer *defer);
void io_defer_cancel(struct io_defer *defer);

/* ---- Timers ---- */

struct io_timer;
typedef void io_timer_fn(struct io_timer *timer);

/* Embedded in its owner (cq_containerof gives it back). */
struct io_timer {
    struct io_loop *loop;
    io_timer_fn *fn;
    uint64_t due_us;
    size_t slot; /* place in the loop's heap, from 1; 0: not running */
};

void io_timer_init(struct io_timer *timer, struct io_loop *loop, io_timer_fn *fn);

/* Starts, or moves when it runs already; fires once. A deadline in the past fires in the next turn. */
void io_timer_start(struct io_timer *timer, uint64_t in_ms);
void io_timer_start_at(struct io_timer *timer, uint64_t due_us);
void io_timer_stop(struct io_timer *timer); /* not running: nothing happens */

static inline bool io_timer_active(const struct io_timer *timer)
{
    return timer->slot != 0;
}

/* ---- Health; any thread ---- */

/* Microseconds since the loop last began a turn. It wakes up at least every IO_HEARTBEAT_MS, so more than a few of
 * those means that it hangs: this is what /livez looks at. */
#define IO_HEARTBEAT_MS 1000
uint64_t io_loop_heartbeat_age_us(const struct io_loop *loop);

/* How late the loop was at worst in the last heartbeat interval: its longest turn, or its latest timer. */
uint64_t io_loop_lag_us(const struct io_loop *loop);

#endif
