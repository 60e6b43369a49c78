/* Input: from the socket through the filters into the buffer, and to the owner or the fiber that waits for it. */
#include <errno.h>
#include <sys/socket.h>

#include "base/cq_assert.h"
#include "io/io_conn_private.h"

/* ---- The socket ---- */

static bool would_block(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

enum cq_rc conn_sock_read(struct io_conn *conn, uint8_t *data, size_t cap, size_t *n_r, struct cq_err *err)
{
    if (conn->raw.len) {
        *n_r = conn->raw.len < cap ? conn->raw.len : cap;
        memcpy(data, io_bytes_slice(&conn->raw).data, *n_r);
        io_bytes_consume(&conn->raw, *n_r);
        return CQ_OK;
    }
    if (conn->sock_dry || conn->fd < 0)
        return CQ_E_AGAIN;
    ssize_t n = recv(conn->fd, data, cap, 0);
    if (n < 0 && would_block(errno)) {
        conn->sock_dry = true;
        return CQ_E_AGAIN;
    }
    if (n < 0)
        return CQ_FAIL(err, CQ_E_IO, "recv: %s", strerror(errno));
    if (n == 0)
        return CQ_E_EOF;
    conn->sock_dry = (size_t)n < cap;
    conn->counters.wire_in += (uint64_t)n;
    conn_moved(conn);
    *n_r = (size_t)n;
    return CQ_OK;
}

void conn_linger_read(struct io_conn *conn)
{
    struct io_conn_scratch *scratch = io_scratch(conn->loop);
    ssize_t n = recv(conn->fd, scratch->read, sizeof scratch->read, 0);
    if (n < 0 && would_block(errno))
        return;
    if (n <= 0 || (uint64_t)n >= conn->linger_left)
        conn_end(conn, CQ_OK, NULL);
    else
        conn->linger_left -= (uint64_t)n;
}

/* ---- Pulling ---- */

static void filters_became_ready(struct io_conn *conn)
{
    conn->handshaking = false;
    conn->tls_news = true;
    conn_set_timer(conn);
    io_wake_all(&conn->readers);
    conn_end_turn(conn); /* output that was held back */
}

static enum cq_rc read_top(struct io_conn *conn, uint8_t *data, size_t cap, size_t *n_r, struct cq_err *err)
{
    struct io_filter *top = conn->top;
    enum cq_rc rc = top ? top->ops->read(top, data, cap, n_r, err) : conn_sock_read(conn, data, cap, n_r, err);
    if (conn->handshaking && top->ops->ready(top))
        filters_became_ready(conn);
    if (conn->wire.len)
        conn_end_turn(conn); /* what a filter had to answer by itself */
    return rc;
}

static void input_arrived(struct io_conn *conn, const uint8_t *data, size_t n)
{
    io_bytes_add(&conn->in, cq_slice_of(data, n));
    conn->counters.bytes_in += n;
    conn->news = true;
    io_wake_all(&conn->readers);
}

static void input_ended(struct io_conn *conn)
{
    if (conn->handshaking) {
        conn_end(conn, CQ_E_EOF, "closed by the peer in the TLS handshake");
        return;
    }
    conn->eof = true;
    io_wake_all(&conn->readers);
}

/* One read; true: there may be more. */
static bool pull_once(struct io_conn *conn)
{
    struct io_conn_scratch *scratch = io_scratch(conn->loop);
    struct cq_err err = {0};
    size_t room = conn->input_max > conn->in.len ? conn->input_max - conn->in.len : 0, n = 0;
    if (room == 0 && conn->handshaking)
        room = 1; /* a handshake gives nothing before it is done, but it must go on */
    if (room == 0)
        return false;
    enum cq_rc rc = read_top(conn, scratch->read, room < IO_READ_SIZE ? room : IO_READ_SIZE, &n, &err);
    if (rc == CQ_OK)
        input_arrived(conn, scratch->read, n);
    else if (rc == CQ_E_EOF)
        input_ended(conn);
    else if (rc != CQ_E_AGAIN)
        conn_fail(conn, &err);
    return rc == CQ_OK;
}

void conn_pull(struct io_conn *conn)
{
    bool more = true;
    for (int i = 0; more && i < IO_READS_PER_TURN; i++) {
        if (conn->state != CONN_OPEN || conn->eof || (conn_must_hold(conn) && !conn->handshaking))
            return;
        more = pull_once(conn);
    }
    if (more && (conn->top || conn->raw.len)) /* the socket announces itself, a filter does not */
        io_loop_defer_next(conn->loop, &conn->again);
}

/* Room was made: what a filter holds back comes without an event. */
static void room_was_made(struct io_conn *conn)
{
    if (conn->state != CONN_OPEN)
        return;
    if (conn->top || conn->raw.len)
        io_loop_defer_next(conn->loop, &conn->again);
    conn_watch(conn);
}

/* ---- Telling ---- */

static void tell_tls(struct io_conn *conn)
{
    if (!conn->tls_news || !conn->ops)
        return;
    conn->tls_news = false;
    if (conn->ops->on_tls)
        conn->ops->on_tls(conn, conn->ctx);
}

static bool may_tell(const struct io_conn *conn)
{
    return conn->state == CONN_OPEN && !conn->paused && conn->ops && !conn->handshaking && !conn->freed;
}

void conn_announce(struct io_conn *conn)
{
    if (conn->state == CONN_OPEN && !conn->handshaking)
        tell_tls(conn);
    if (may_tell(conn) && conn->news) {
        conn->news = false;
        if (conn->in.len && conn->ops->on_input)
            conn->ops->on_input(conn, conn->ctx);
    }
    if (may_tell(conn) && conn->eof && !conn->eof_told && !conn->news) {
        conn->eof_told = true;
        if (conn->ops->on_eof)
            conn->ops->on_eof(conn, conn->ctx);
        else
            conn_eof_close(conn);
    }
}

/* ---- The owner's side ---- */

struct cq_slice io_conn_input(const struct io_conn *conn)
{
    return io_bytes_slice(&conn->in);
}

void io_conn_consume(struct io_conn *conn, size_t n)
{
    bool was_full = conn->in.len >= conn->input_max;
    io_bytes_consume(&conn->in, n);
    if (was_full && conn->in.len < conn->input_max)
        room_was_made(conn);
}

void io_conn_set_input_max(struct io_conn *conn, size_t max)
{
    CQ_ASSERT(max > 0);
    bool was_full = conn->in.len >= conn->input_max;
    conn->input_max = max;
    if (was_full && conn->in.len < conn->input_max)
        room_was_made(conn);
}

void io_conn_pause(struct io_conn *conn)
{
    conn->paused = true;
}

void io_conn_resume(struct io_conn *conn)
{
    conn->paused = false;
    conn->news = true;
    conn_end_turn(conn);
}

bool io_conn_paused(const struct io_conn *conn)
{
    return conn->paused;
}

bool io_conn_eof(const struct io_conn *conn)
{
    return conn->eof;
}

enum cq_rc io_conn_read_more(struct io_conn *conn, uint64_t deadline_us)
{
    CQ_ASSERT(conn->paused || !conn->ops || !conn->ops->on_input);
    size_t had = conn->in.len;
    for (;;) {
        if (conn->in.len > had)
            return CQ_OK;
        if (conn->state != CONN_OPEN)
            return conn->why == CQ_OK ? CQ_E_CANCELLED : conn->why;
        if (conn->eof)
            return CQ_E_EOF;
        if (conn->in.len >= conn->input_max)
            return CQ_E_LIMIT;
        enum cq_rc rc = io_wait(&conn->readers, deadline_us);
        if (rc != CQ_OK)
            return rc;
    }
}
