/* Client connections, on a fiber. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cq_assert.h"
#include "io/io_conn.h"
#include "io/io_watch.h"

static enum cq_rc unreachable(const struct io_addr *addr, int error, struct cq_err *err)
{
    char text[IO_ADDR_TEXT_SIZE];
    return CQ_FAIL(err, CQ_E_UNAVAILABLE, "connecting to %s: %s", io_addr_format(addr, text), strerror(error));
}

static enum cq_rc wait_connected(int fd, const struct io_addr *addr, uint64_t deadline_us, struct cq_err *err)
{
    int error = 0;
    socklen_t len = sizeof error;
    char text[IO_ADDR_TEXT_SIZE];
    enum cq_rc rc = io_wait_fd(fd, IO_WRITABLE, deadline_us, NULL);
    if (rc != CQ_OK)
        return CQ_FAIL(err, rc, "connecting to %s: %s", io_addr_format(addr, text), cq_rc_text(rc));
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len))
        error = errno;
    return error ? unreachable(addr, error, err) : CQ_OK;
}

static enum cq_rc connect_tcp(const struct io_connect *what, uint64_t deadline_us, int *fd_r, struct cq_err *err)
{
    struct sockaddr_storage to, from;
    socklen_t to_len = io_addr_to_sockaddr(&what->addr, &to), from_len = io_addr_to_sockaddr(&what->bind, &from);
    if (!to_len)
        return CQ_FAIL(err, CQ_E_INVALID, "no address to connect to");
    int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return unreachable(&what->addr, errno, err);
    enum cq_rc rc = CQ_OK;
    if (from_len && bind(fd, (struct sockaddr *)&from, from_len))
        rc = unreachable(&what->bind, errno, err);
    if (rc == CQ_OK && connect(fd, (struct sockaddr *)&to, to_len))
        rc = errno == EINPROGRESS ? wait_connected(fd, &what->addr, deadline_us, err)
                                  : unreachable(&what->addr, errno, err);
    if (rc != CQ_OK)
        close(fd);
    else
        *fd_r = fd;
    return rc;
}

enum cq_rc io_conn_connect(struct io_loop *loop, const struct io_connect *what, uint64_t deadline_us,
                           struct io_conn **conn_r, struct cq_err *err)
{
    int fd = -1;
    char text[IO_ADDR_TEXT_SIZE];
    CQ_ASSERT(io_fiber_running());
    enum cq_rc rc = connect_tcp(what, deadline_us, &fd, err);
    if (rc != CQ_OK)
        return rc;
    struct io_conn *conn = io_conn_new(loop, fd, what->options);
    io_conn_pause(conn);
    if (what->tls)
        rc = io_conn_start_tls_client(conn, what->tls, what->server_name, what->resume, deadline_us, err);
    if (rc == CQ_OK) {
        *conn_r = conn;
        return CQ_OK;
    }
    io_conn_free(&conn);
    cq_err_context(err, "%s", io_addr_format(&what->addr, text));
    return rc;
}
