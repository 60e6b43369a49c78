/* Output: chunks from the owner, through the filters, to the socket; once per turn. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "io/io_conn_private.h"

/* ---- Chunks ---- */

static struct io_chunk *chunk_add(struct io_conn *conn, size_t cap)
{
    struct io_chunk *chunk = cq_malloc(sizeof *chunk + cap);
    *chunk = (struct io_chunk){.data = chunk->bytes, .cap = cap};
    *conn->out_last = chunk;
    conn->out_last = &chunk->next;
    conn->out_tail = chunk;
    return chunk;
}

static void chunk_drop_first(struct io_conn *conn)
{
    struct io_chunk *chunk = conn->out_first;
    conn->out_first = chunk->next;
    if (!chunk->next) {
        conn->out_last = &conn->out_first;
        conn->out_tail = NULL;
    }
    if (chunk->release)
        chunk->release(chunk->release_arg);
    free(chunk);
}

static void chunks_consume(struct io_conn *conn, size_t n)
{
    conn->out_len -= n;
    while (n || (conn->out_first && !conn->out_first->len)) {
        struct io_chunk *chunk = conn->out_first;
        size_t part = n < chunk->len ? n : chunk->len;
        chunk->start += part;
        chunk->len -= part;
        n -= part;
        if (!chunk->len)
            chunk_drop_first(conn);
    }
}

static size_t tail_room(const struct io_conn *conn)
{
    const struct io_chunk *tail = conn->out_tail;
    return tail && tail->cap ? tail->cap - tail->start - tail->len : 0;
}

static uint8_t *tail_end(struct io_conn *conn)
{
    struct io_chunk *tail = conn->out_tail;
    return tail->bytes + tail->start + tail->len;
}

void conn_drop_chunks(struct io_conn *conn)
{
    while (conn->out_first)
        chunk_drop_first(conn);
    conn->out_len = 0;
}

void conn_drop_output(struct io_conn *conn)
{
    conn_drop_chunks(conn);
    io_bytes_free(&conn->wire);
}

/* ---- The socket ---- */

/* What the socket took: *n_r, 0 when it is full. */
static bool sock_send(struct io_conn *conn, struct iovec *iov, size_t count, size_t *n_r)
{
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = count};
    size_t want = 0;
    *n_r = 0;
    for (size_t i = 0; i < count; i++)
        want += iov[i].iov_len;
    ssize_t n = sendmsg(conn->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        char text[128];
        snprintf(text, sizeof text, "send: %s", strerror(errno));
        conn_end(conn, CQ_E_IO, text);
        return false;
    }
    *n_r = n > 0 ? (size_t)n : 0;
    conn->sock_full = *n_r < want;
    conn->counters.wire_out += *n_r;
    if (*n_r)
        conn_moved(conn);
    return true;
}

/* ---- Without filters: chunks straight to the socket ---- */

static bool send_chunks(struct io_conn *conn)
{
    struct iovec iov[IO_IOV_MAX];
    size_t count = 0, n;
    for (struct io_chunk *c = conn->out_first; c && count < IO_IOV_MAX; c = c->next)
        iov[count++] = (struct iovec){.iov_base = (void *)(uintptr_t)(c->data + c->start), .iov_len = c->len};
    if (!sock_send(conn, iov, count, &n))
        return false;
    conn->counters.bytes_out += n;
    chunks_consume(conn, n);
    return true;
}

/* ---- With filters: pieces through the stack into the wire buffer, and that to the socket ---- */

static bool send_wire(struct io_conn *conn)
{
    struct cq_slice wire = io_bytes_slice(&conn->wire);
    struct iovec iov = {.iov_base = (void *)(uintptr_t)wire.data, .iov_len = wire.len};
    size_t n;
    if (!sock_send(conn, &iov, 1, &n))
        return false;
    if (n < conn->wire.len) {
        io_bytes_consume(&conn->wire, n);
        return true;
    }
    struct io_conn_scratch *scratch = io_scratch(conn->loop); /* all gone: keep the memory for the next connection */
    io_bytes_free(&scratch->spare);
    scratch->spare = (struct io_bytes){.data = conn->wire.data, .cap = conn->wire.cap};
    conn->wire = (struct io_bytes){0};
    return true;
}

/* The next piece: the first chunk, or several small ones together. */
static struct cq_slice next_piece(struct io_conn *conn)
{
    struct io_chunk *first = conn->out_first;
    if (first->len >= IO_FILTER_PIECE || !first->next)
        return cq_slice_of(first->data + first->start, first->len < IO_FILTER_PIECE ? first->len : IO_FILTER_PIECE);
    uint8_t *gather = io_scratch(conn->loop)->gather;
    size_t len = 0;
    for (struct io_chunk *c = first; c && len < IO_FILTER_PIECE; c = c->next) {
        size_t part = c->len < IO_FILTER_PIECE - len ? c->len : IO_FILTER_PIECE - len;
        memcpy(gather + len, c->data + c->start, part);
        len += part;
    }
    return cq_slice_of(gather, len);
}

static bool filters_ready(const struct io_conn *conn)
{
    return !conn->handshaking;
}

static enum cq_rc write_top(struct io_conn *conn, struct cq_slice piece, struct cq_err *err)
{
    if (conn->top)
        return conn->top->ops->write(conn->top, piece, err);
    io_bytes_add(&conn->wire, piece);
    return CQ_OK;
}

static enum cq_rc flush_filters(struct io_conn *conn, struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    for (struct io_filter *f = conn->top; f && rc == CQ_OK; f = f->below)
        if (f->ops->flush)
            rc = f->ops->flush(f, err);
    conn->need_flush = false;
    return rc;
}

static enum cq_rc filter_pieces(struct io_conn *conn, size_t wire_max, struct cq_err *err)
{
    struct io_conn_scratch *scratch = io_scratch(conn->loop);
    enum cq_rc rc = CQ_OK;
    if (!conn->wire.data && conn->out_first) {
        conn->wire = scratch->spare;
        scratch->spare = (struct io_bytes){0};
    }
    while (rc == CQ_OK && conn->out_first && conn->wire.len < wire_max) {
        struct cq_slice piece = next_piece(conn);
        rc = write_top(conn, piece, err);
        conn->counters.bytes_out += piece.len;
        conn->need_flush = true;
        chunks_consume(conn, piece.len);
    }
    if (rc == CQ_OK && !conn->out_first && conn->need_flush)
        rc = flush_filters(conn, err);
    if (conn->wire.data && !conn->wire.len)
        io_bytes_free(&conn->wire);
    return rc;
}

void conn_push_all_below(struct io_conn *conn)
{
    struct cq_err err = {0};
    if (conn->state == CONN_OPEN && filter_pieces(conn, SIZE_MAX, &err) != CQ_OK)
        conn_fail(conn, &err);
}

static bool push_filtered(struct io_conn *conn)
{
    struct cq_err err = {0};
    if (filters_ready(conn) && filter_pieces(conn, IO_WIRE_MAX, &err) != CQ_OK) {
        conn_fail(conn, &err);
        return false;
    }
    return !conn->wire.len || send_wire(conn);
}

/* ---- The end of a turn ---- */

static bool something_to_send(const struct io_conn *conn)
{
    return conn->wire.len || (conn->out_first && filters_ready(conn)) || (conn->need_flush && filters_ready(conn));
}

static void look_at_marks(struct io_conn *conn)
{
    size_t len = conn_output_len(conn);
    if (len == 0)
        io_wake_all(&conn->writers);
    if (!conn->above || len > conn->output_low)
        return;
    conn->above = false;
    conn->drained = true;
    io_wake_all(&conn->writers);
    if (conn->top)
        io_loop_defer_next(conn->loop, &conn->again);
}

/* Closing, and all that was queued is gone: filters say goodbye first. */
static void finish(struct io_conn *conn)
{
    if (!conn->finished) {
        conn->finished = true;
        for (struct io_filter *f = conn->handshaking ? NULL : conn->top; f; f = f->below)
            if (f->ops->finish)
                f->ops->finish(f);
    }
    if (conn->wire.len && !send_wire(conn))
        return;
    if (!conn->wire.len)
        conn_closed_after_flush(conn);
}

void conn_push(struct io_conn *conn)
{
    if (conn->state > CONN_CLOSING)
        return;
    for (int i = 0; something_to_send(conn) && !conn->sock_full && i < IO_SENDS_PER_TURN; i++) {
        bool plain = !conn->top && !conn->wire.len;
        if (!(plain ? send_chunks(conn) : push_filtered(conn)))
            return;
    }
    if (something_to_send(conn))
        conn->sock_full = true; /* goes on when the socket says that it can */
    if (conn->state == CONN_OPEN)
        look_at_marks(conn);
    bool stuck = conn->out_first && !filters_ready(conn); /* closed in a handshake: it will never go */
    if (conn->state == CONN_CLOSING && (stuck || !something_to_send(conn)))
        finish(conn);
}

/* ---- The owner's side ---- */

size_t conn_output_len(const struct io_conn *conn)
{
    return conn->out_len + conn->wire.len;
}

static void added(struct io_conn *conn, size_t n)
{
    conn->out_len += n;
    if (conn_output_len(conn) > conn->output_high)
        conn->above = true;
    conn_end_turn(conn);
}

void io_conn_write(struct io_conn *conn, struct cq_slice data)
{
    if (conn->state != CONN_OPEN)
        return;
    for (struct cq_slice rest = data; rest.len;) {
        if (!tail_room(conn))
            chunk_add(conn, rest.len > IO_CHUNK_SIZE ? IO_CHUNK_BIG : IO_CHUNK_SIZE);
        size_t part = rest.len < tail_room(conn) ? rest.len : tail_room(conn);
        memcpy(tail_end(conn), rest.data, part);
        conn->out_tail->len += part;
        rest = cq_slice_skip(rest, part);
    }
    if (data.len)
        added(conn, data.len);
}

void io_conn_write_cstr(struct io_conn *conn, const char *text)
{
    io_conn_write(conn, cq_slice_cstr(text));
}

void io_conn_printf(struct io_conn *conn, const char *fmt, ...)
{
    char small[512];
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    CQ_ASSERT(n >= 0);
    if ((size_t)n < sizeof small) {
        io_conn_write(conn, cq_slice_of(small, (size_t)n));
    } else {
        char *big = cq_malloc((size_t)n + 1);
        vsnprintf(big, (size_t)n + 1, fmt, again);
        io_conn_write(conn, cq_slice_of(big, (size_t)n));
        free(big);
    }
    va_end(again);
}

uint8_t *io_conn_reserve(struct io_conn *conn, size_t n)
{
    CQ_ASSERT(n <= IO_CHUNK_SIZE);
    if (conn->state != CONN_OPEN)
        return io_scratch(conn->loop)->gather; /* is thrown away */
    if (tail_room(conn) < n)
        chunk_add(conn, IO_CHUNK_SIZE);
    return tail_end(conn);
}

void io_conn_commit(struct io_conn *conn, size_t n)
{
    if (conn->state != CONN_OPEN)
        return;
    CQ_ASSERT(n <= tail_room(conn));
    conn->out_tail->len += n;
    added(conn, n);
}

void io_conn_write_owned(struct io_conn *conn, struct cq_slice data, io_release_fn *release, void *arg)
{
    if (conn->state != CONN_OPEN || data.len < IO_OWNED_MIN) {
        io_conn_write(conn, data);
        release(arg);
        return;
    }
    struct io_chunk *chunk = chunk_add(conn, 0);
    chunk->data = data.data;
    chunk->len = data.len;
    chunk->release = release;
    chunk->release_arg = arg;
    added(conn, data.len);
}

size_t io_conn_output(const struct io_conn *conn)
{
    return conn_output_len(conn);
}

bool io_conn_output_full(const struct io_conn *conn)
{
    return conn->above;
}

static enum cq_rc wait_for_output(struct io_conn *conn, bool all, uint64_t deadline_us)
{
    for (;;) {
        if (conn->state != CONN_OPEN)
            return conn->why == CQ_OK ? CQ_E_CANCELLED : conn->why;
        if (all ? conn_output_len(conn) == 0 : !conn->above)
            return CQ_OK;
        enum cq_rc rc = io_wait(&conn->writers, deadline_us);
        if (rc != CQ_OK)
            return rc;
    }
}

enum cq_rc io_conn_flush(struct io_conn *conn, uint64_t deadline_us)
{
    return wait_for_output(conn, false, deadline_us);
}

enum cq_rc io_conn_drain(struct io_conn *conn, uint64_t deadline_us)
{
    return wait_for_output(conn, true, deadline_us);
}
