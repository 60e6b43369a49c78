/* A fiber waits for another thread: begin on the fiber, signal once from anywhere, wait. It waits whatever happens to
 * the request that it works for, so what it lends to the other thread may live on its stack. */
#ifndef FIBER_WAIT_H
#define FIBER_WAIT_H

#include <stdatomic.h>

#include "io/io_fiber.h"

struct fiber_wait {
    struct io_loop *loop;
    struct io_fiber_ref fiber;
    atomic_bool done;
};

static inline void fiber_wait_begin(struct fiber_wait *wait)
{
    wait->loop = io_loop_self();
    wait->fiber = io_fiber_self();
    atomic_init(&wait->done, false);
}

static inline void fiber_wait_signal(struct fiber_wait *wait)
{
    struct io_loop *loop = wait->loop; /* the memory is the fiber's again as soon as done is set */
    struct io_fiber_ref fiber = wait->fiber;
    atomic_store(&wait->done, true);
    io_fiber_wake_remote(loop, fiber);
}

static inline void fiber_wait(struct fiber_wait *wait)
{
    io_fiber_shield(true);
    while (!atomic_load(&wait->done))
        io_fiber_park(IO_NO_DEADLINE);
    io_fiber_shield(false);
}

#endif
