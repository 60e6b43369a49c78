#include "io/io_pair.h"

#include <sys/socket.h>

#include "base/cq_assert.h"

void io_pair_new(struct io_loop *loop, const struct io_conn_options *options, struct io_conn **a_r,
                 struct io_conn **b_r)
{
    int fd;
    *a_r = io_pair_new_fd(loop, options, &fd);
    *b_r = io_conn_new(loop, fd, options);
}

struct io_conn *io_pair_new_fd(struct io_loop *loop, const struct io_conn_options *options, int *peer_fd_r)
{
    int fds[2];
    CQ_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    *peer_fd_r = fds[1];
    return io_conn_new(loop, fds[0], options);
}
