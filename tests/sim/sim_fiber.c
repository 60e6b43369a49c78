#include "sim_fiber.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "io/io_sanitize.h"

#include <stdlib.h>
#include <ucontext.h>

#define STACK_SIZE ((size_t)512 << 10)

struct sim_fiber {
    struct sim_fiber **place;
    void (*fn)(void *arg);
    void *arg;
    void *stack;
    bool cancelled, ended;
    ucontext_t own, caller;
    void *own_fake, *caller_fake;
    const void *caller_stack;
    size_t caller_size;
};

static struct sim_fiber *starting; /* makecontext passes ints only */

static void fiber_main(void)
{
    struct sim_fiber *fiber = starting;
    IO_ASAN_ENTER(NULL, &fiber->caller_stack, &fiber->caller_size);
    fiber->fn(fiber->arg);
    fiber->ended = true;
    IO_ASAN_LEAVE(NULL, fiber->caller_stack, fiber->caller_size);
    setcontext(&fiber->caller);
    CQ_ASSERT(false && "a fiber came back from its end");
}

static void enter(struct sim_fiber *fiber)
{
    IO_ASAN_LEAVE(&fiber->caller_fake, fiber->stack, STACK_SIZE);
    CQ_ASSERT(swapcontext(&fiber->caller, &fiber->own) == 0);
    IO_ASAN_ENTER(fiber->caller_fake, NULL, NULL);
    if (!fiber->ended)
        return;
    *fiber->place = NULL;
    IO_ASAN_STACK_DEAD(fiber->stack, STACK_SIZE);
    free(fiber->stack);
    free(fiber);
}

void sim_fiber_start(struct sim_fiber **place, void (*fn)(void *arg), void *arg)
{
    struct sim_fiber *fiber = cq_new(struct sim_fiber);
    *fiber = (struct sim_fiber){.place = place, .fn = fn, .arg = arg, .stack = cq_malloc(STACK_SIZE)};
    *place = starting = fiber;
    IO_ASAN_STACK_BORN(fiber->stack, STACK_SIZE);
    CQ_ASSERT(getcontext(&fiber->own) == 0);
    fiber->own.uc_stack.ss_sp = fiber->stack;
    fiber->own.uc_stack.ss_size = STACK_SIZE;
    fiber->own.uc_link = NULL;
    makecontext(&fiber->own, fiber_main, 0);
    enter(fiber);
}

bool sim_fiber_wait(struct sim_fiber *fiber)
{
    if (fiber->cancelled)
        return false;
    IO_ASAN_LEAVE(&fiber->own_fake, fiber->caller_stack, fiber->caller_size);
    CQ_ASSERT(swapcontext(&fiber->own, &fiber->caller) == 0);
    IO_ASAN_ENTER(fiber->own_fake, &fiber->caller_stack, &fiber->caller_size);
    return !fiber->cancelled;
}

void sim_fiber_resume(struct sim_fiber *fiber)
{
    enter(fiber);
}

void sim_fiber_cancel(struct sim_fiber *fiber)
{
    fiber->cancelled = true;
    enter(fiber);
}
