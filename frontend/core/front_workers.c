#include "core/front_workers.h"

#include "io/io_fiber.h"

#include <stdatomic.h>

struct visit {
    struct front_worker *worker;
    void (*fn)(struct front_worker *worker, void *arg);
    void *arg;
    struct io_loop *home;
    struct io_fiber_ref waiter;
    atomic_bool done;
};

static void on_worker(struct io_loop *loop, void *arg)
{
    struct visit *visit = arg;
    struct io_loop *home = visit->home;
    struct io_fiber_ref waiter = visit->waiter;
    (void)loop;
    visit->fn(visit->worker, visit->arg);
    atomic_store(&visit->done, true); /* the visit may be gone from here on */
    io_fiber_wake_remote(home, waiter);
}

void front_workers_each(const struct front_workers *workers, void (*fn)(struct front_worker *worker, void *arg),
                        void *arg)
{
    io_fiber_shield(true); /* arg is on somebody's stack: never leave before the last visit has ended */
    for (size_t i = 0; i < workers->count; i++) {
        struct visit visit = {
            .worker = workers->items[i],
            .fn = fn,
            .arg = arg,
            .home = io_loop_self(),
            .waiter = io_fiber_self(),
        };
        io_loop_post(workers->items[i]->loop, on_worker, &visit);
        while (!atomic_load(&visit.done))
            io_fiber_park(IO_NO_DEADLINE);
    }
    io_fiber_shield(false);
}
