#include "io/io_listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cq_assert.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "io/io_conn_private.h"
#include "io/io_metrics.h"
#include "io/io_proxy.h"

#define LOG_PER_S 10 /* lines of one kind that strangers can cause */

/* How many connections of a listener are alive: it may end before them. */
struct live_count {
    struct io_listener *listener; /* NULL: it is gone */
    size_t live;
};

struct io_listener {
    struct io_loop *loop;
    struct io_listener_options options; /* with copies of what it points to */
    io_accept_fn *accept;
    void *ctx;
    int fd; /* -1: stopped */
    ev_io ev;
    struct io_addr addr;
    struct io_timer pause;
    struct cq_list pending; /* struct pending */
    struct live_count *count;
    struct io_listener_stats stats;
};

/* A connection on its way to the owner. */
struct pending {
    struct cq_list node;
    struct io_listener *listener;
    struct io_conn *conn;
    struct io_timer proxy_timer;
    bool in_proxy; /* the header is still to come */
};

/* ---- Counting ---- */

static void count_drop(struct live_count *count)
{
    if (!count->listener && !count->live)
        free(count);
}

static void listener_watch(struct io_listener *listener);

static void conn_gone(void *arg)
{
    struct live_count *count = arg;
    count->live--;
    if (count->listener)
        listener_watch(count->listener);
    count_drop(count);
}

/* ---- On the way ---- */

static void pending_end(struct pending *pending)
{
    io_timer_stop(&pending->proxy_timer);
    cq_list_remove(&pending->node);
    pending->listener->stats.pending--;
    free(pending);
}

static void deliver(struct io_listener *listener, struct io_conn *conn)
{
    listener->stats.delivered++;
    io_conn_set_ops(conn, NULL, NULL);
    listener->accept(conn, listener->ctx);
}

static void pending_done(struct pending *pending)
{
    struct io_listener *listener = pending->listener;
    struct io_conn *conn = pending->conn;
    pending_end(pending);
    deliver(listener, conn);
}

static void begin_tls(struct pending *pending)
{
    struct cq_err err = {0};
    if (conn_begin_tls(pending->conn, pending->listener->options.tls, false, NULL, true, &err) != CQ_OK)
        conn_end(pending->conn, CQ_E_INTERNAL, err.text);
}

static void take_proxy_header(struct pending *pending, const struct io_proxy *proxy)
{
    struct io_conn *conn = pending->conn;
    io_timer_stop(&pending->proxy_timer);
    pending->in_proxy = false;
    io_conn_consume(conn, proxy->header_len);
    if (!proxy->local)
        conn_set_addrs(conn, &proxy->source, &proxy->dest);
    io_conn_set_input_max(conn, pending->listener->options.conn.input_max);
    if (pending->listener->options.tls)
        begin_tls(pending);
    else
        pending_done(pending);
}

static void pending_input(struct io_conn *conn, void *ctx)
{
    struct pending *pending = ctx;
    struct io_proxy proxy;
    struct cq_err err = {0};
    if (!pending->in_proxy)
        return;
    enum cq_rc rc = io_proxy_parse(io_conn_input(conn), &proxy, &err);
    if (rc == CQ_OK)
        take_proxy_header(pending, &proxy);
    else if (rc != CQ_E_AGAIN)
        conn_end(conn, rc, err.text);
}

static void pending_tls(struct io_conn *conn, void *ctx)
{
    (void)conn;
    pending_done(ctx);
}

static void pending_closed(struct io_conn *conn, const struct cq_err *why, void *ctx)
{
    struct pending *pending = ctx;
    struct io_listener *listener = pending->listener;
    char peer[IO_ADDR_TEXT_SIZE];
    io_addr_format(io_conn_peer(conn), peer);
    if (pending->in_proxy) {
        listener->stats.proxy_failures++;
        cq_metric_add(&io_metrics, IO_M_PROXY_FAILURES, 1);
        cq_log_limited(LOG_PER_S, CQ_WARN, "listener.proxy_header_missing",
                       CQ_F_STR("listener", listener->options.name), CQ_F_STR("peer", peer), CQ_F_ERR(why));
    } else {
        listener->stats.tls_failures++;
        cq_log_limited(LOG_PER_S, CQ_INFO, "listener.tls_failed", CQ_F_STR("listener", listener->options.name),
                       CQ_F_STR("peer", peer), CQ_F_ERR(why));
    }
    pending_end(pending);
    io_conn_free(&conn);
}

static const struct io_conn_ops pending_ops = {
    .on_input = pending_input,
    .on_tls = pending_tls,
    .on_closed = pending_closed,
};

static void proxy_overdue(struct io_timer *timer)
{
    struct pending *pending = cq_containerof(timer, struct pending, proxy_timer);
    conn_end(pending->conn, CQ_E_TIMEOUT, "no PROXY header in time");
}

static void pending_begin(struct io_listener *listener, struct io_conn *conn, bool in_proxy)
{
    struct pending *pending = cq_new(struct pending);
    pending->listener = listener;
    pending->conn = conn;
    pending->in_proxy = in_proxy;
    cq_list_push_back(&listener->pending, &pending->node);
    listener->stats.pending++;
    io_timer_init(&pending->proxy_timer, listener->loop, proxy_overdue);
    io_conn_set_ops(conn, &pending_ops, pending);
    if (!in_proxy) {
        begin_tls(pending);
        return;
    }
    io_timer_start(&pending->proxy_timer, listener->options.proxy_timeout_ms);
    if (listener->options.conn.input_max < IO_PROXY_HEADER_MAX)
        io_conn_set_input_max(conn, IO_PROXY_HEADER_MAX);
}

/* ---- Accepting ---- */

static void arrived(struct io_listener *listener, int fd)
{
    const struct io_listener_options *options = &listener->options;
    listener->stats.accepted++;
    cq_metric_add(&io_metrics, IO_M_ACCEPTED, 1);
    if (listener->stats.pending >= IO_LISTENER_PENDING_MAX) {
        listener->stats.overflows++;
        close(fd);
        return;
    }
    struct io_conn *conn = io_conn_new(listener->loop, fd, &options->conn);
    listener->count->live++;
    conn->on_gone = conn_gone;
    conn->on_gone_arg = listener->count;
    bool from_proxy = io_cidr_match_any(options->proxy_from, options->proxy_from_count, io_conn_socket_peer(conn));
    if (from_proxy || options->tls)
        pending_begin(listener, conn, from_proxy);
    else
        deliver(listener, conn);
}

static bool is_full(const struct io_listener *listener)
{
    return listener->options.conns_max && listener->count->live >= listener->options.conns_max;
}

/* Out of descriptors or memory: the kernel would tell us of the same connection again and again. */
static void accept_pause(struct io_listener *listener, int error)
{
    listener->stats.pauses++;
    cq_metric_add(&io_metrics, IO_M_ACCEPT_PAUSES, 1);
    cq_log_limited(1, CQ_ERROR, "listener.accept_paused", CQ_F_STR("listener", listener->options.name),
                   CQ_F_STR("error", strerror(error)), CQ_F_U64("pause_ms", IO_ACCEPT_PAUSE_MS));
    io_timer_start(&listener->pause, IO_ACCEPT_PAUSE_MS);
}

static bool is_out_of_something(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void accept_cb(struct ev_loop *ev, ev_io *w, int revents)
{
    (void)ev, (void)revents;
    struct io_listener *listener = w->data;
    for (int i = 0; i < IO_ACCEPTS_PER_TURN && listener->fd >= 0 && !is_full(listener); i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            arrived(listener, fd);
            continue;
        }
        if (is_out_of_something(errno))
            accept_pause(listener, errno);
        if (errno == EAGAIN || errno == EWOULDBLOCK || io_timer_active(&listener->pause))
            break; /* other errors are about one connection that is gone already (accept(2)) */
    }
    if (is_full(listener))
        cq_log_limited(1, CQ_WARN, "listener.full", CQ_F_STR("listener", listener->options.name),
                       CQ_F_U64("connections", listener->count->live));
    listener_watch(listener);
}

static void listener_watch(struct io_listener *listener)
{
    if (listener->fd < 0)
        return;
    if (is_full(listener) || io_timer_active(&listener->pause))
        ev_io_stop(listener->loop->ev, &listener->ev);
    else
        ev_io_start(listener->loop->ev, &listener->ev);
}

static void pause_over(struct io_timer *timer)
{
    listener_watch(cq_containerof(timer, struct io_listener, pause));
}

/* ---- Birth and end ---- */

static bool bind_and_listen(int fd, const struct io_listener_options *options)
{
    static const int one = 1;
    struct sockaddr_storage ss;
    socklen_t len = io_addr_to_sockaddr(&options->addr, &ss);
    if (options->addr.family == IO_IPV6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one))
        return false;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one))
        return false;
    if (options->reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one))
        return false;
    return bind(fd, (struct sockaddr *)&ss, len) == 0 &&
           listen(fd, options->backlog ? options->backlog : IO_LISTENER_BACKLOG) == 0;
}

static enum cq_rc open_socket(const struct io_listener_options *options, int *fd_r, struct cq_err *err)
{
    char text[IO_ADDR_TEXT_SIZE];
    int family = options->addr.family == IO_IPV6 ? AF_INET6 : AF_INET;
    if (options->addr.family == IO_UNSPEC)
        return CQ_FAIL(err, CQ_E_CONFIG, "listener %s has no address", options->name);
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind_and_listen(fd, options)) {
        *fd_r = fd;
        return CQ_OK;
    }
    int error = errno;
    if (fd >= 0)
        close(fd);
    return CQ_FAIL(err, CQ_E_CONFIG, "listener %s cannot listen on %s: %s", options->name,
                   io_addr_format(&options->addr, text), strerror(error));
}

static void copy_options(struct io_listener *listener, const struct io_listener_options *options)
{
    struct io_listener_options *own = &listener->options;
    *own = *options;
    own->name = cq_strndup(options->name, strlen(options->name));
    own->proxy_from = options->proxy_from_count
                          ? cq_memdup(options->proxy_from, options->proxy_from_count * sizeof *options->proxy_from)
                          : NULL;
    if (!own->proxy_timeout_ms)
        own->proxy_timeout_ms = IO_PROXY_TIMEOUT_MS;
    if (!own->conn.input_max)
        own->conn = IO_CONN_OPTIONS_DEFAULT;
}

static struct io_addr real_addr(int fd)
{
    struct sockaddr_storage ss;
    struct io_addr addr = {0};
    socklen_t len = sizeof ss;
    CQ_ASSERT(getsockname(fd, (struct sockaddr *)&ss, &len) == 0);
    io_addr_from_sockaddr((struct sockaddr *)&ss, len, &addr);
    return addr;
}

enum cq_rc io_listener_new(struct io_loop *loop, const struct io_listener_options *options, io_accept_fn *accept,
                           void *ctx, struct io_listener **listener_r, struct cq_err *err)
{
    int fd = -1;
    enum cq_rc rc = open_socket(options, &fd, err);
    if (rc != CQ_OK)
        return rc;
    struct io_listener *listener = cq_new(struct io_listener);
    listener->loop = loop;
    listener->accept = accept;
    listener->ctx = ctx;
    listener->fd = fd;
    listener->addr = real_addr(fd);
    copy_options(listener, options);
    listener->count = cq_new(struct live_count);
    listener->count->listener = listener;
    cq_list_init(&listener->pending);
    io_timer_init(&listener->pause, loop, pause_over);
    ev_io_init(&listener->ev, accept_cb, fd, EV_READ);
    listener->ev.data = listener;
    loop->users++;
    listener_watch(listener);
    *listener_r = listener;
    return CQ_OK;
}

void io_listener_stop(struct io_listener *listener)
{
    if (listener->fd < 0)
        return;
    io_timer_stop(&listener->pause);
    ev_io_stop(listener->loop->ev, &listener->ev);
    close(listener->fd);
    listener->fd = -1;
}

void io_listener_free(struct io_listener **listener_p)
{
    struct io_listener *listener = *listener_p;
    if (!listener)
        return;
    io_listener_stop(listener);
    for (struct cq_list *node; (node = cq_list_first(&listener->pending));) {
        struct pending *pending = cq_list_entry(node, struct pending, node);
        io_conn_free(&pending->conn);
        pending_end(pending);
    }
    listener->loop->users--;
    listener->count->listener = NULL;
    count_drop(listener->count);
    free((void *)(uintptr_t)listener->options.name);
    free((void *)(uintptr_t)listener->options.proxy_from);
    free(listener);
    *listener_p = NULL;
}

const struct io_addr *io_listener_addr(const struct io_listener *listener)
{
    return &listener->addr;
}

const char *io_listener_name(const struct io_listener *listener)
{
    return listener->options.name;
}

void io_listener_stats(const struct io_listener *listener, struct io_listener_stats *stats_r)
{
    *stats_r = listener->stats;
    stats_r->live = listener->count->live;
}
