#include "io/io_watch.h"

#include <stdlib.h>

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "io/io_loop_private.h"

struct io_watch {
    struct io_loop *loop;
    ev_io ev;
    io_watch_fn *fn;
    void *arg;
};

struct io_signal {
    struct io_loop *loop;
    ev_signal ev;
    io_signal_fn *fn;
    void *arg;
};

static int to_ev(unsigned events)
{
    return (events & IO_READABLE ? EV_READ : 0) | (events & IO_WRITABLE ? EV_WRITE : 0);
}

static void watch_cb(struct ev_loop *ev, ev_io *w, int revents)
{
    (void)ev;
    struct io_watch *watch = w->data;
    unsigned events = (revents & EV_READ ? IO_READABLE : 0u) | (revents & EV_WRITE ? IO_WRITABLE : 0u);
    watch->fn(watch, events, watch->arg);
}

struct io_watch *io_watch_new(struct io_loop *loop, int fd, unsigned events, io_watch_fn *fn, void *arg)
{
    struct io_watch *watch = cq_new(struct io_watch);
    watch->loop = loop;
    watch->fn = fn;
    watch->arg = arg;
    ev_io_init(&watch->ev, watch_cb, fd, to_ev(events));
    watch->ev.data = watch;
    loop->users++;
    if (events)
        ev_io_start(loop->ev, &watch->ev);
    return watch;
}

void io_watch_set(struct io_watch *watch, unsigned events)
{
    ev_io_stop(watch->loop->ev, &watch->ev);
    ev_io_set(&watch->ev, watch->ev.fd, to_ev(events));
    if (events)
        ev_io_start(watch->loop->ev, &watch->ev);
}

void io_watch_free(struct io_watch **watch_p)
{
    struct io_watch *watch = *watch_p;
    if (!watch)
        return;
    ev_io_stop(watch->loop->ev, &watch->ev);
    watch->loop->users--;
    free(watch);
    *watch_p = NULL;
}

struct fd_wait {
    struct io_fiber_ref fiber;
    unsigned events;
};

static void fd_ready(struct io_watch *watch, unsigned events, void *arg)
{
    struct fd_wait *wait = arg;
    wait->events = events;
    io_watch_set(watch, 0);
    io_fiber_wake(wait->fiber);
}

enum cq_rc io_wait_fd(int fd, unsigned events, uint64_t deadline_us, unsigned *events_r)
{
    struct fd_wait wait = {.fiber = io_fiber_self()};
    struct io_watch *watch = io_watch_new(io_loop_self(), fd, events, fd_ready, &wait);
    enum cq_rc rc = CQ_OK;
    while (!wait.events && rc == CQ_OK)
        rc = io_fiber_park(deadline_us);
    io_watch_free(&watch);
    if (events_r)
        *events_r = wait.events;
    return wait.events ? CQ_OK : rc;
}

static void signal_cb(struct ev_loop *ev, ev_signal *w, int revents)
{
    (void)ev, (void)revents;
    struct io_signal *sig = w->data;
    sig->fn(sig->loop, w->signum, sig->arg);
}

struct io_signal *io_signal_new(struct io_loop *loop, int signum, io_signal_fn *fn, void *arg)
{
    struct io_signal *sig = cq_new(struct io_signal);
    sig->loop = loop;
    sig->fn = fn;
    sig->arg = arg;
    ev_signal_init(&sig->ev, signal_cb, signum);
    sig->ev.data = sig;
    ev_signal_start(loop->ev, &sig->ev);
    loop->users++;
    return sig;
}

void io_signal_free(struct io_signal **sig_p)
{
    struct io_signal *sig = *sig_p;
    if (!sig)
        return;
    ev_signal_stop(sig->loop->ev, &sig->ev);
    sig->loop->users--;
    free(sig);
    *sig_p = NULL;
}
