#include "io/io_fiber.h"

#include <errno.h>
#include <stdlib.h>
#include <ucontext.h>

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "io/io_loop_private.h"
#include "io/io_metrics.h"
#include "io/io_stack.h"

enum fiber_state { FIBER_FREE, FIBER_QUEUED, FIBER_READY, FIBER_RUNNING, FIBER_PARKED };

struct io_fiber {
    struct io_fibers *home;
    uint64_t life;       /* counts the fibers that used this memory */
    struct cq_list node; /* ready, yielded, queued or free */
    struct cq_list alive;
    enum fiber_state state;
    enum cq_rc woken_with;
    bool permit;
    bool cancelled;
    unsigned shield;
    io_fiber_fn *fn;
    void *arg;
    struct io_timer timer;
    struct io_stack stack;
    void *asan_fake;
    void *tsan;
    ucontext_t context;
};

/* The fibers of one loop. Their memory is reused and lives as long as the loop, so that a stale io_fiber_ref is
 * recognised by its life. */
struct io_fibers {
    struct io_loop *loop;
    size_t max, running, queued_count;
    struct cq_list ready;
    struct cq_list yielded; /* ready again, but for the next turn */
    struct cq_list queued;  /* waiting for a stack */
    struct cq_list free;
    struct cq_list alive;
    struct io_stack_pool stacks;
    uint64_t spawned, refused, switches;
    size_t high_water;

    ucontext_t loop_context;
    void *loop_fake, *loop_tsan;
    const void *loop_stack; /* as ASan tells it */
    size_t loop_stack_size;
};

static _Thread_local struct io_fiber *current;

struct io_fibers *io_fibers_new(struct io_loop *loop, size_t fibers_max)
{
    struct io_fibers *fibers = cq_new(struct io_fibers);
    fibers->loop = loop;
    fibers->max = fibers_max;
    cq_list_init(&fibers->ready);
    cq_list_init(&fibers->yielded);
    cq_list_init(&fibers->queued);
    cq_list_init(&fibers->free);
    cq_list_init(&fibers->alive);
    return fibers;
}

void io_fibers_free(struct io_fibers **fibers_p)
{
    struct io_fibers *fibers = *fibers_p;
    CQ_ASSERT(cq_list_empty(&fibers->alive));
    for (struct cq_list *node; (node = cq_list_first(&fibers->free));) {
        cq_list_remove(node);
        free(cq_list_entry(node, struct io_fiber, node));
    }
    io_stack_pool_fini(&fibers->stacks);
    free(fibers);
    *fibers_p = NULL;
}

bool io_fibers_ready(const struct io_fibers *fibers)
{
    return !cq_list_empty(&fibers->ready);
}

size_t io_fibers_count(const struct io_fibers *fibers)
{
    return fibers->running + fibers->queued_count;
}

/* ---- Switching ---- */

static void make_ready(struct io_fiber *fiber, enum cq_rc rc)
{
    fiber->woken_with = rc;
    fiber->state = FIBER_READY;
    io_timer_stop(&fiber->timer);
    cq_list_push_back(&fiber->home->ready, &fiber->node);
}

static void switch_to_fiber(struct io_fiber *fiber)
{
    struct io_fibers *home = fiber->home;
    current = fiber;
    fiber->state = FIBER_RUNNING;
    home->switches++;
    home->loop_tsan = IO_TSAN_SELF();
    IO_ASAN_LEAVE(&home->loop_fake, fiber->stack.base, IO_STACK_SIZE);
    IO_TSAN_SWITCH(fiber->tsan);
    CQ_ASSERT(swapcontext(&home->loop_context, &fiber->context) == 0);
    IO_ASAN_ENTER(home->loop_fake, NULL, NULL);
    current = NULL;
}

/* Comes back when the fiber is resumed. */
static void switch_to_loop(struct io_fiber *fiber)
{
    struct io_fibers *home = fiber->home;
    int saved_errno = errno;
    IO_ASAN_LEAVE(&fiber->asan_fake, home->loop_stack, home->loop_stack_size);
    IO_TSAN_SWITCH(home->loop_tsan);
    CQ_ASSERT(swapcontext(&fiber->context, &home->loop_context) == 0);
    IO_ASAN_ENTER(fiber->asan_fake, &home->loop_stack, &home->loop_stack_size);
    errno = saved_errno;
}

/* The fiber's first frame. makecontext passes ints only, so the fiber is taken from `current`. */
static void fiber_main(void)
{
    struct io_fiber *fiber = current;
    struct io_fibers *home = fiber->home;
    IO_ASAN_ENTER(NULL, &home->loop_stack, &home->loop_stack_size);
    fiber->fn(fiber->arg);
    fiber->state = FIBER_FREE;
    IO_ASAN_LEAVE(NULL, home->loop_stack, home->loop_stack_size);
    IO_TSAN_SWITCH(home->loop_tsan);
    setcontext(&home->loop_context);
    CQ_ASSERT(false && "a fiber came back from its end");
}

static bool give_stack(struct io_fiber *fiber)
{
    fiber->stack = io_stack_get(&fiber->home->stacks);
    if (!fiber->stack.base)
        return false;
    CQ_ASSERT(getcontext(&fiber->context) == 0);
    fiber->context.uc_stack.ss_sp = fiber->stack.base;
    fiber->context.uc_stack.ss_size = IO_STACK_SIZE;
    fiber->context.uc_link = NULL;
    makecontext(&fiber->context, fiber_main, 0);
    fiber->tsan = IO_TSAN_NEW();
    fiber->home->running++;
    return true;
}

/* ---- Life ---- */

static void timed_out(struct io_timer *timer)
{
    make_ready(cq_containerof(timer, struct io_fiber, timer), CQ_E_TIMEOUT);
}

static struct io_fiber *fiber_new(struct io_fibers *home, io_fiber_fn *fn, void *arg)
{
    struct cq_list *node = cq_list_first(&home->free);
    struct io_fiber *fiber = node ? cq_list_entry(node, struct io_fiber, node) : cq_new(struct io_fiber);
    if (node)
        cq_list_remove(node);
    else
        cq_list_init(&fiber->node);
    fiber->home = home;
    fiber->life++;
    fiber->fn = fn;
    fiber->arg = arg;
    fiber->permit = fiber->cancelled = false;
    fiber->shield = 0;
    io_timer_init(&fiber->timer, home->loop, timed_out);
    cq_list_push_back(&home->alive, &fiber->alive);
    return fiber;
}

static void fiber_forget(struct io_fiber *fiber)
{
    fiber->state = FIBER_FREE;
    fiber->life++;
    cq_list_remove(&fiber->alive);
    cq_list_push_front(&fiber->home->free, &fiber->node);
}

/* The first in the queue gets the stack that has become free. */
static void next_from_queue(struct io_fibers *home)
{
    struct cq_list *node = cq_list_first(&home->queued);
    if (!node || home->running >= home->max)
        return;
    struct io_fiber *fiber = cq_list_entry(node, struct io_fiber, node);
    if (!give_stack(fiber))
        return;
    cq_list_remove(node);
    home->queued_count--;
    make_ready(fiber, CQ_OK);
}

static void fiber_ended(struct io_fiber *fiber)
{
    struct io_fibers *home = fiber->home;
    if (home->loop->measure_stacks) {
        size_t touched = io_stack_touched(fiber->stack);
        home->high_water = touched > home->high_water ? touched : home->high_water;
    }
    IO_TSAN_FREE(fiber->tsan);
    io_stack_put(&home->stacks, fiber->stack);
    home->running--;
    fiber_forget(fiber);
    next_from_queue(home);
}

void io_fibers_run(struct io_fibers *fibers)
{
    for (int i = 0; i < IO_RESUMES_PER_TURN; i++) {
        struct cq_list *node = cq_list_first(&fibers->ready);
        if (!node)
            break;
        cq_list_remove(node);
        struct io_fiber *fiber = cq_list_entry(node, struct io_fiber, node);
        switch_to_fiber(fiber);
        if (fiber->state == FIBER_FREE)
            fiber_ended(fiber);
    }
    for (struct cq_list *node; (node = cq_list_first(&fibers->yielded));) {
        cq_list_remove(node);
        cq_list_push_back(&fibers->ready, node);
    }
}

static enum cq_rc spawn(struct io_loop *loop, io_fiber_fn *fn, void *arg, size_t queue_max, struct io_fiber_ref *ref_r)
{
    struct io_fibers *home = loop->fibers;
    bool full = home->running >= home->max || home->queued_count;
    struct io_fiber *fiber = NULL;
    if (full && home->queued_count < queue_max) {
        fiber = fiber_new(home, fn, arg);
        fiber->state = FIBER_QUEUED;
        home->queued_count++;
        cq_list_push_back(&home->queued, &fiber->node);
    } else if (!full) {
        fiber = fiber_new(home, fn, arg);
        if (give_stack(fiber)) {
            make_ready(fiber, CQ_OK);
        } else {
            fiber_forget(fiber);
            fiber = NULL;
        }
    }
    if (!fiber) {
        home->refused++;
        cq_metric_add(&io_metrics, IO_M_FIBERS_REFUSED, 1);
        return CQ_E_OVERLOADED;
    }
    home->spawned++;
    if (ref_r)
        *ref_r = (struct io_fiber_ref){fiber, fiber->life};
    return CQ_OK;
}

enum cq_rc io_fiber_spawn(struct io_loop *loop, io_fiber_fn *fn, void *arg, struct io_fiber_ref *ref_r)
{
    return spawn(loop, fn, arg, 0, ref_r);
}

enum cq_rc io_fiber_spawn_queued(struct io_loop *loop, io_fiber_fn *fn, void *arg, struct io_fiber_ref *ref_r)
{
    return spawn(loop, fn, arg, IO_FIBER_QUEUE_MAX, ref_r);
}

struct io_fiber_ref io_fiber_self(void)
{
    return current ? (struct io_fiber_ref){current, current->life} : (struct io_fiber_ref){NULL, 0};
}

bool io_fiber_running(void)
{
    return current != NULL;
}

bool io_fiber_alive(struct io_fiber_ref ref)
{
    return ref.fiber && ref.fiber->life == ref.life;
}

/* ---- Waiting and waking ---- */

static bool must_end(const struct io_fiber *fiber)
{
    return fiber->cancelled && !fiber->shield;
}

enum cq_rc io_fiber_park(uint64_t deadline_us)
{
    struct io_fiber *fiber = current;
    CQ_ASSERT(fiber && "only a fiber can be suspended");
    if (must_end(fiber))
        return CQ_E_CANCELLED;
    if (fiber->permit) {
        fiber->permit = false;
        return CQ_OK;
    }
    if (deadline_us <= io_loop_now_us(fiber->home->loop))
        return CQ_E_TIMEOUT;
    if (deadline_us != IO_NO_DEADLINE)
        io_timer_start_at(&fiber->timer, deadline_us);
    fiber->state = FIBER_PARKED;
    switch_to_loop(fiber);
    return fiber->woken_with;
}

enum cq_rc io_fiber_sleep(uint64_t ms)
{
    CQ_ASSERT(current);
    uint64_t until_us = io_loop_deadline(current->home->loop, ms);
    enum cq_rc rc = CQ_OK;
    while (rc == CQ_OK) /* a wake is not what we wait for */
        rc = io_fiber_park(until_us);
    return rc == CQ_E_TIMEOUT ? CQ_OK : rc;
}

enum cq_rc io_fiber_yield(void)
{
    struct io_fiber *fiber = current;
    CQ_ASSERT(fiber);
    if (must_end(fiber))
        return CQ_E_CANCELLED;
    fiber->state = FIBER_READY;
    cq_list_push_back(&fiber->home->yielded, &fiber->node);
    switch_to_loop(fiber);
    return must_end(fiber) ? CQ_E_CANCELLED : CQ_OK;
}

void io_fiber_wake(struct io_fiber_ref ref)
{
    if (!io_fiber_alive(ref))
        return;
    if (ref.fiber->state == FIBER_PARKED)
        make_ready(ref.fiber, CQ_OK);
    else
        ref.fiber->permit = true;
}

static void wake_posted(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct io_fiber_ref *ref = arg;
    io_fiber_wake(*ref);
    free(ref);
}

void io_fiber_wake_remote(struct io_loop *loop, struct io_fiber_ref ref)
{
    io_loop_post(loop, wake_posted, cq_memdup(&ref, sizeof ref));
}

static void cancel(struct io_fiber *fiber)
{
    fiber->cancelled = true;
    if (fiber->state == FIBER_PARKED && !fiber->shield)
        make_ready(fiber, CQ_E_CANCELLED);
}

void io_fiber_cancel(struct io_fiber_ref ref)
{
    if (io_fiber_alive(ref))
        cancel(ref.fiber);
}

void io_fibers_cancel_all(struct io_fibers *fibers)
{
    cq_list_each (&fibers->alive, node)
        cancel(cq_list_entry(node, struct io_fiber, alive));
}

bool io_fiber_cancelled(void)
{
    return current && current->cancelled;
}

void io_fiber_shield(bool on)
{
    CQ_ASSERT(current && (on || current->shield));
    current->shield += on ? 1 : -1u;
}

/* ---- Introspection ---- */

void io_fiber_stats(const struct io_loop *loop, struct io_fiber_stats *stats_r)
{
    const struct io_fibers *fibers = loop->fibers;
    *stats_r = (struct io_fiber_stats){
        .running = fibers->running,
        .queued = fibers->queued_count,
        .stacks = fibers->stacks.mapped,
        .spawned = fibers->spawned,
        .refused = fibers->refused,
        .switches = fibers->switches,
        .stack_size = IO_STACK_SIZE,
    };
}

size_t io_fiber_stack_high_water(const struct io_loop *loop)
{
    return loop->fibers->high_water;
}
