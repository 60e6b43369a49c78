#include "io/io_conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "io/io_conn_private.h"

static void conn_destroy(struct io_conn *conn);

/* ---- What the loop calls ---- */

void conn_enter(struct io_conn *conn)
{
    conn->busy++;
}

void conn_leave(struct io_conn *conn)
{
    bool gone = conn->freed || (conn->detached && conn->state == CONN_CLOSED);
    if (--conn->busy == 0 && gone)
        conn_destroy(conn);
}

static void socket_event(struct ev_loop *ev, ev_io *w, int revents)
{
    (void)ev;
    struct io_conn *conn = w->data;
    conn_enter(conn);
    if (revents & EV_WRITE) {
        conn->sock_full = false;
        conn_end_turn(conn);
    }
    if (revents & EV_READ) {
        conn->sock_dry = false;
        if (conn->state == CONN_LINGERING)
            conn_linger_read(conn);
        else
            conn_pull(conn);
        conn_announce(conn);
    }
    conn_watch(conn);
    conn_leave(conn);
}

static void pull_again(struct io_defer *defer)
{
    struct io_conn *conn = cq_containerof(defer, struct io_conn, again);
    conn_enter(conn);
    conn_pull(conn);
    conn_announce(conn);
    conn_watch(conn);
    conn_leave(conn);
}

static void tell_closed(struct io_conn *conn)
{
    if (conn->closed_told || conn->state < CONN_LINGERING || !conn->ops)
        return;
    conn->closed_told = true;
    struct cq_err why = {.rc = conn->why};
    snprintf(why.text, sizeof why.text, "%s", conn->why_text ? conn->why_text : "");
    if (conn->ops->on_closed)
        conn->ops->on_closed(conn, &why, conn->ctx);
}

static void tell_drained(struct io_conn *conn)
{
    if (!conn->drained)
        return;
    conn->drained = false;
    if (conn->state == CONN_OPEN && conn->ops && conn->ops->on_drained)
        conn->ops->on_drained(conn, conn->ctx);
}

static void at_end_of_turn(struct io_defer *defer)
{
    struct io_conn *conn = cq_containerof(defer, struct io_conn, turn_end);
    conn_enter(conn);
    conn_announce(conn);
    conn_push(conn);
    tell_drained(conn);
    conn_watch(conn);
    tell_closed(conn);
    conn_leave(conn);
}

void conn_end_turn(struct io_conn *conn)
{
    if (!conn->freed)
        io_loop_defer(conn->loop, &conn->turn_end);
}

/* ---- What the socket is watched for ---- */

static bool wants_read(const struct io_conn *conn)
{
    if (conn->state == CONN_LINGERING)
        return true;
    if (conn->state != CONN_OPEN || conn->eof)
        return false;
    return conn->handshaking || (!conn_must_hold(conn) && conn->in.len < conn->input_max);
}

void conn_watch(struct io_conn *conn)
{
    if (conn->fd < 0)
        return;
    int events = (wants_read(conn) ? EV_READ : 0) | (conn->sock_full ? EV_WRITE : 0);
    int now = ev_is_active(&conn->ev) ? conn->ev.events & (EV_READ | EV_WRITE) : 0;
    if (events == now)
        return;
    ev_io_stop(conn->loop->ev, &conn->ev);
    ev_io_set(&conn->ev, conn->fd, events);
    if (events)
        ev_io_start(conn->loop->ev, &conn->ev);
}

/* ---- Time ---- */

void conn_moved(struct io_conn *conn)
{
    conn->moved_us = io_loop_now_us(conn->loop);
}

static uint64_t after(const struct io_conn *conn, uint64_t us)
{
    return us ? conn->moved_us + us : IO_NO_DEADLINE;
}

static uint64_t timer_due(const struct io_conn *conn)
{
    switch (conn->state) {
    case CONN_OPEN:
        return conn->handshaking ? conn->phase_due_us : after(conn, conn->idle_us);
    case CONN_CLOSING:
        return after(conn, (uint64_t)IO_CLOSE_STALL_MS * 1000);
    case CONN_LINGERING:
        return conn->phase_due_us;
    case CONN_CLOSED:
        break;
    }
    return IO_NO_DEADLINE;
}

/* Movement does not move the timer: it looks again when it fires. */
void conn_set_timer(struct io_conn *conn)
{
    uint64_t due_us = timer_due(conn);
    if (due_us == IO_NO_DEADLINE)
        io_timer_stop(&conn->timer);
    else
        io_timer_start_at(&conn->timer, due_us);
}

static void idle(struct io_conn *conn)
{
    conn_moved(conn);
    if (conn->ops && conn->ops->on_idle)
        conn->ops->on_idle(conn, conn->ctx);
    else
        conn_end(conn, CQ_E_TIMEOUT, "idle");
}

static void time_is_up(struct io_timer *timer)
{
    struct io_conn *conn = cq_containerof(timer, struct io_conn, timer);
    conn_enter(conn);
    if (timer_due(conn) <= io_loop_now_us(conn->loop)) {
        if (conn->state == CONN_OPEN && !conn->handshaking)
            idle(conn);
        else if (conn->state == CONN_LINGERING)
            conn_end(conn, CQ_OK, NULL);
        else
            conn_end(conn, CQ_E_TIMEOUT, conn->handshaking ? "TLS handshake" : "the peer takes nothing any more");
    }
    if (!conn->freed)
        conn_set_timer(conn);
    conn_leave(conn);
}

void io_conn_set_idle(struct io_conn *conn, uint64_t idle_ms)
{
    conn->idle_us = idle_ms * 1000;
    conn_moved(conn);
    conn_set_timer(conn);
}

/* ---- Birth ---- */

static void socket_options(int fd)
{
    static const struct {
        int level, name, value;
    } rows[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1}, /* we collect output ourselves */
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, IO_KEEPALIVE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, IO_KEEPALIVE_STEP_S},
        {IPPROTO_TCP, TCP_KEEPCNT, IO_KEEPALIVE_COUNT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) /* a socketpair refuses some; none is vital */
        (void)!setsockopt(fd, rows[i].level, rows[i].name, &rows[i].value, sizeof rows[i].value);
}

static void socket_addr(int fd, int (*get)(int, struct sockaddr *, socklen_t *), struct io_addr *addr_r)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    if (get(fd, (struct sockaddr *)&ss, &len) == 0)
        io_addr_from_sockaddr((struct sockaddr *)&ss, len, addr_r);
}

static void apply_options(struct io_conn *conn, const struct io_conn_options *options)
{
    CQ_ASSERT(options->input_max > 0 && options->output_high > 0 && options->output_low <= options->output_high);
    conn->input_max = options->input_max;
    conn->output_high = options->output_high;
    conn->output_low = options->output_low;
    conn->full_duplex = options->full_duplex;
    conn->idle_us = options->idle_ms * 1000;
    conn->handshake_us = (options->handshake_ms ? options->handshake_ms : IO_HANDSHAKE_MS) * 1000;
}

static int get_peer(int fd, struct sockaddr *sa, socklen_t *len)
{
    return getpeername(fd, sa, len);
}

static int get_local(int fd, struct sockaddr *sa, socklen_t *len)
{
    return getsockname(fd, sa, len);
}

struct io_conn *io_conn_new(struct io_loop *loop, int fd, const struct io_conn_options *options)
{
    static _Atomic uint64_t last_id;
    struct io_conn *conn = cq_new(struct io_conn);
    conn->loop = loop;
    conn->fd = fd;
    conn->id = ++last_id;
    conn->out_last = &conn->out_first;
    conn->turn_end.fn = at_end_of_turn;
    conn->again.fn = pull_again;
    apply_options(conn, options ? options : &IO_CONN_OPTIONS_DEFAULT);
    socket_options(fd);
    socket_addr(fd, get_peer, &conn->socket_peer);
    socket_addr(fd, get_local, &conn->local);
    conn->peer = conn->socket_peer;
    ev_io_init(&conn->ev, socket_event, fd, 0);
    conn->ev.data = conn;
    loop->users++;
    io_timer_init(&conn->timer, loop, time_is_up);
    conn_moved(conn);
    conn_set_timer(conn);
    conn_watch(conn);
    return conn;
}

void io_conn_set_ops(struct io_conn *conn, const struct io_conn_ops *ops, void *ctx)
{
    conn->ops = ops;
    conn->ctx = ctx;
    conn->news = true;
    conn_end_turn(conn);
}

/* ---- End ---- */

static void orphan_killed(struct io_orphan *orphan)
{
    struct io_conn *conn = cq_containerof(orphan, struct io_conn, orphan);
    conn_enter(conn);
    conn_end(conn, CQ_OK, NULL);
    conn_leave(conn);
}

/* From now on nobody owns it. */
static void detach(struct io_conn *conn)
{
    CQ_ASSERT(!conn->detached);
    conn->detached = true;
    conn->ops = NULL;
    conn->orphan.kill = orphan_killed;
    conn->loop->users--;
    io_orphan_add(conn->loop, &conn->orphan);
}

static void conn_destroy(struct io_conn *conn)
{
    CQ_ASSERT(!io_somebody_waits(&conn->readers) && !io_somebody_waits(&conn->writers));
    conn_end(conn, CQ_OK, NULL);
    io_defer_cancel(&conn->turn_end);
    io_defer_cancel(&conn->again);
    for (struct io_filter *filter; (filter = conn->top);) {
        conn->top = filter->below;
        filter->ops->free(filter);
    }
    conn_tls_info_free(conn);
    io_bytes_free(&conn->in);
    if (conn->detached)
        cq_list_remove(&conn->orphan.node);
    else
        conn->loop->users--;
    free(conn->why_text);
    if (conn->on_gone)
        conn->on_gone(conn->on_gone_arg);
    free(conn);
}

static void set_why(struct io_conn *conn, enum cq_rc why, const char *text)
{
    if (conn->state != CONN_OPEN)
        return; /* the first reason is the one */
    conn->why = why;
    conn->why_text = text ? cq_strndup(text, strlen(text)) : NULL;
}

void conn_end(struct io_conn *conn, enum cq_rc why, const char *text)
{
    if (conn->state == CONN_CLOSED)
        return;
    if (conn->state == CONN_CLOSING && why != CQ_OK) {
        free(conn->why_text);
        conn->state = CONN_OPEN; /* it did not end as it should have */
    }
    set_why(conn, why, text);
    conn->state = CONN_CLOSED;
    conn->handshaking = false;
    ev_io_stop(conn->loop->ev, &conn->ev);
    close(conn->fd);
    conn->fd = -1;
    io_timer_stop(&conn->timer);
    conn_drop_output(conn);
    io_bytes_free(&conn->raw);
    io_wake_all(&conn->readers);
    io_wake_all(&conn->writers);
    conn_end_turn(conn);
}

static void begin_close(struct io_conn *conn, enum cq_rc why, const char *text)
{
    if (conn->state != CONN_OPEN)
        return;
    set_why(conn, why, text);
    conn->state = CONN_CLOSING;
    conn_moved(conn);
    conn_set_timer(conn);
    io_wake_all(&conn->readers);
    conn_end_turn(conn);
}

void conn_fail(struct io_conn *conn, const struct cq_err *err)
{
    if (conn->state != CONN_OPEN || !conn->wire.len) {
        conn_end(conn, err->rc, err->text);
        return;
    }
    conn_drop_chunks(conn);
    conn->finished = true;
    begin_close(conn, err->rc, err->text);
}

void conn_closed_after_flush(struct io_conn *conn)
{
    if (conn->eof || shutdown(conn->fd, SHUT_WR)) {
        conn_end(conn, CQ_OK, NULL);
        return;
    }
    conn->state = CONN_LINGERING;
    conn->linger_left = IO_LINGER_MAX;
    conn->phase_due_us = io_loop_deadline(conn->loop, IO_LINGER_MS);
    conn_set_timer(conn);
    io_wake_all(&conn->writers);
    conn_end_turn(conn);
}

void io_conn_close(struct io_conn *conn)
{
    begin_close(conn, CQ_OK, NULL);
}

void conn_eof_close(struct io_conn *conn)
{
    begin_close(conn, CQ_E_EOF, "closed by the peer");
}

void io_conn_abort(struct io_conn *conn, enum cq_rc why, const char *fmt, ...)
{
    char text[CQ_ERR_TEXT_SIZE];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    conn_end(conn, why, text);
}

void io_conn_free(struct io_conn **conn_p)
{
    struct io_conn *conn = *conn_p;
    *conn_p = NULL;
    if (!conn)
        return;
    conn->ops = NULL;
    if (conn->state == CONN_LINGERING) {
        detach(conn);
        return;
    }
    conn_enter(conn);
    conn_end(conn, CQ_E_CANCELLED, NULL);
    conn->freed = true;
    conn_leave(conn);
}

void io_conn_close_free(struct io_conn **conn_p)
{
    struct io_conn *conn = *conn_p;
    if (conn && conn->state == CONN_CLOSED) {
        io_conn_free(conn_p);
        return;
    }
    *conn_p = NULL;
    if (!conn)
        return;
    detach(conn);
    io_conn_close(conn);
}

/* ---- Who ---- */

bool io_conn_is_open(const struct io_conn *conn)
{
    return conn->state == CONN_OPEN;
}

void *io_conn_ctx(const struct io_conn *conn)
{
    return conn->ctx;
}

struct io_loop *io_conn_loop(const struct io_conn *conn)
{
    return conn->loop;
}

const struct io_addr *io_conn_peer(const struct io_conn *conn)
{
    return &conn->peer;
}

const struct io_addr *io_conn_local(const struct io_conn *conn)
{
    return &conn->local;
}

const struct io_addr *io_conn_socket_peer(const struct io_conn *conn)
{
    return &conn->socket_peer;
}

void conn_set_addrs(struct io_conn *conn, const struct io_addr *peer, const struct io_addr *local)
{
    conn->peer = *peer;
    conn->local = *local;
}

uint64_t io_conn_id(const struct io_conn *conn)
{
    return conn->id;
}

void io_conn_counters(const struct io_conn *conn, struct io_conn_counters *counters_r)
{
    *counters_r = conn->counters;
}
