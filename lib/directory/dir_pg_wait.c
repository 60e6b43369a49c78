#include "directory/dir_pg_private.h"

#include "base/cq_time.h"
#include "io/io_watch.h"

#include <errno.h>
#include <poll.h>

uint64_t pg_now_us(void)
{
    return io_fiber_running() ? io_loop_now_us(io_loop_self()) : cq_time_mono_us();
}

uint64_t pg_deadline(uint64_t in_us)
{
    return pg_now_us() + in_us;
}

static enum cq_rc wait_on_thread(int fd, unsigned events, uint64_t deadline_us, unsigned *events_r)
{
    struct pollfd p = {.fd = fd};
    p.events = (short)((events & IO_READABLE ? POLLIN : 0) | (events & IO_WRITABLE ? POLLOUT : 0));
    for (;;) {
        uint64_t now_us = cq_time_mono_us();
        if (now_us >= deadline_us)
            return CQ_E_TIMEOUT;
        uint64_t left_ms = (deadline_us - now_us) / 1000 + 1;
        int n = poll(&p, 1, left_ms > 60000 ? 60000 : (int)left_ms);
        if (n < 0 && errno != EINTR)
            return CQ_E_IO;
        if (n <= 0)
            continue;
        *events_r = (p.revents & POLLOUT ? IO_WRITABLE : 0u) | (p.revents & ~POLLOUT ? IO_READABLE : 0u);
        return CQ_OK;
    }
}

enum cq_rc pg_wait(int fd, unsigned events, uint64_t deadline_us, unsigned *events_r)
{
    *events_r = 0;
    return io_fiber_running() ? io_wait_fd(fd, events, deadline_us, events_r)
                              : wait_on_thread(fd, events, deadline_us, events_r);
}
