#include "io/io_conn.h"

#include "unit/cq_cmocka.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cq_mem.h"
#include "io/io_filter.h"
#include "unit/io/io_peer.h"

/* ---- Help ---- */

static struct peer peer; /* our side; the other is the bare descriptor `fd` */
static int fd;

static void connect_peer(const struct io_conn_options *options)
{
    peer_init(&peer, io_pair_new_fd(test_loop, options, &fd));
}

static void disconnect_peer(void)
{
    peer_fini(&peer);
    if (fd >= 0)
        close(fd);
    turns(2);
}

static void send_text(const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
}

/* Everything that can be read now. */
static size_t drain_fd(uint8_t *data, size_t cap)
{
    size_t len = 0;
    for (ssize_t n; len < cap && (n = recv(fd, data + len, cap - len, MSG_DONTWAIT)) > 0;)
        len += (size_t)n;
    return len;
}

static void assert_received(const char *text)
{
    char data[4096];
    size_t n = drain_fd((uint8_t *)data, sizeof data);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(data, text, n);
}

static bool fd_at_eof(void)
{
    char c;
    return recv(fd, &c, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

static uint8_t *pattern_new(size_t len)
{
    uint8_t *data = cq_malloc(len);
    for (size_t i = 0; i < len; i++)
        data[i] = pattern(i);
    return data;
}

/* Reads on the other side, a bit per turn, until n bytes have come; compares them with the pattern. */
static void read_pattern(size_t total, size_t step)
{
    uint8_t *data = cq_malloc(step);
    for (size_t at = 0, idle = 0; at < total;) {
        size_t n = drain_fd(data, step);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(data[i], pattern(at + i));
        at += n;
        idle = n ? 0 : idle + 1;
        assert_true(idle < 1000);
        turns(1);
    }
    free(data);
}

/* ---- Input ---- */

static void input_arrives_however_it_is_cut(void **state)
{
    (void)state;
    connect_peer(NULL);
    for (const char *c = "a1 LOGIN x y\r\n"; *c; c++) {
        char one[2] = {*c, 0};
        send_text(one);
        turns(1);
    }
    assert_slice(cq_buf_slice(&peer.got), "a1 LOGIN x y\r\n");
    assert_int_equal(peer.inputs, 14);
    send_text("a2 NOOP\r\na3 NOOP\r\n");
    turns(1);
    assert_int_equal(peer.inputs, 15);
    disconnect_peer();
}

static void input_that_is_not_consumed_stays_and_is_bounded(void **state)
{
    (void)state;
    struct io_conn_options options = IO_CONN_OPTIONS_DEFAULT;
    options.input_max = 10;
    connect_peer(&options);
    peer.keep = true;
    send_text("0123456789abcdef");
    turns(3);
    assert_slice(io_conn_input(peer.conn), "0123456789");
    assert_int_equal(peer.inputs, 1); /* not called again for nothing */
    io_conn_consume(peer.conn, 4);
    assert_slice(io_conn_input(peer.conn), "456789");
    turns(2);
    assert_slice(io_conn_input(peer.conn), "456789abcd");
    io_conn_set_input_max(peer.conn, 100);
    turns(2);
    assert_slice(io_conn_input(peer.conn), "456789abcdef");
    disconnect_peer();
}

static void a_paused_connection_tells_nothing_and_resume_tells_all(void **state)
{
    (void)state;
    connect_peer(NULL);
    io_conn_pause(peer.conn);
    send_text("hello");
    turns(2);
    assert_int_equal(peer.inputs, 0);
    assert_slice(io_conn_input(peer.conn), "hello");
    io_conn_resume(peer.conn);
    assert_int_equal(peer.inputs, 0); /* not inside resume */
    turns(1);
    assert_int_equal(peer.inputs, 1);
    assert_slice(cq_buf_slice(&peer.got), "hello");
    disconnect_peer();
}

static void ops_that_come_late_are_told_of_what_is_there(void **state)
{
    (void)state;
    struct peer late;
    struct io_conn *conn = io_pair_new_fd(test_loop, NULL, &fd);
    send_text("early");
    turns(2);
    peer_init(&late, conn);
    turns(1);
    assert_slice(cq_buf_slice(&late.got), "early");
    peer_fini(&late);
    close(fd);
}

static void half_closed_input_is_told_after_its_last_bytes_and_answers_still_go_out(void **state)
{
    (void)state;
    connect_peer(NULL);
    io_conn_pause(peer.conn);
    send_text("QUIT");
    shutdown(fd, SHUT_WR);
    turns(3);
    assert_true(io_conn_eof(peer.conn));
    assert_int_equal(peer.eofs, 0);
    io_conn_resume(peer.conn);
    turns(1);
    assert_slice(cq_buf_slice(&peer.got), "QUIT");
    assert_int_equal(peer.eofs, 1);
    io_conn_write_cstr(peer.conn, "221 bye");
    io_conn_close(peer.conn);
    turns(2);
    assert_received("221 bye");
    assert_int_equal(peer.closes, 1);
    assert_int_equal(peer.why, CQ_OK);
    disconnect_peer();
}

static void without_on_eof_the_connection_closes_after_its_output(void **state)
{
    (void)state;
    connect_peer(NULL);
    io_conn_set_ops(peer.conn, &peer_ops_min, &peer);
    io_conn_write_cstr(peer.conn, "last words");
    shutdown(fd, SHUT_WR);
    turns(3);
    assert_received("last words");
    assert_true(fd_at_eof());
    assert_int_equal(peer.closes, 1);
    assert_int_equal(peer.why, CQ_E_EOF);
    disconnect_peer();
}

static void a_reset_is_noticed_while_paused(void **state)
{
    (void)state;
    connect_peer(NULL);
    io_conn_pause(peer.conn);
    io_conn_write_cstr(peer.conn, "unread");
    turns(1);
    close(fd); /* with unread data: a reset */
    fd = -1;
    turns(3);
    assert_int_equal(peer.closes, 1);
    assert_int_equal(peer.why, CQ_E_IO);
    disconnect_peer();
}

/* ---- Output ---- */

static int released;

static void count_release(void *arg)
{
    released++;
    free(arg);
}

static void all_output_of_a_turn_is_one_write(void **state)
{
    (void)state;
    connect_peer(NULL);
    io_conn_write_cstr(peer.conn, "* 1 EXISTS\r\n");
    io_conn_printf(peer.conn, "%s %s\r\n", "a1", "OK");
    memcpy(io_conn_reserve(peer.conn, 100), "xyz", 3);
    io_conn_commit(peer.conn, 3);
    assert_int_equal(io_conn_output(peer.conn), 12 + 7 + 3);
    assert_int_equal(drain_fd((uint8_t[1]){0}, 1), 0); /* nothing before the end of the turn */
    turns(1);
    assert_received("* 1 EXISTS\r\na1 OK\r\nxyz");
    assert_int_equal(io_conn_output(peer.conn), 0);
    struct io_conn_counters counters;
    io_conn_counters(peer.conn, &counters);
    assert_int_equal(counters.bytes_out, 22);
    assert_int_equal(counters.wire_out, 22);
    disconnect_peer();
}

static void copied_and_owned_output_of_any_size_arrives_in_order(void **state)
{
    (void)state;
    enum { TOTAL = 3000000 };
    connect_peer(NULL);
    uint8_t *data = pattern_new(TOTAL);
    size_t at = 0, step = 1;
    released = 0;
    int owned = 0;
    while (at < TOTAL) {
        size_t n = step < TOTAL - at ? step : TOTAL - at;
        if (step % 3 == 0) {
            uint8_t *own = cq_memdup(data + at, n);
            io_conn_write_owned(peer.conn, cq_slice_of(own, n), count_release, own);
            owned++;
        } else if (step % 3 == 1 && n <= 4096) {
            memcpy(io_conn_reserve(peer.conn, n), data + at, n);
            io_conn_commit(peer.conn, n);
        } else {
            io_conn_write(peer.conn, cq_slice_of(data + at, n));
        }
        at += n;
        step = step * 5 % 50021 + 1;
    }
    assert_int_equal(io_conn_output(peer.conn), TOTAL);
    read_pattern(TOTAL, 70001);
    assert_int_equal(io_conn_output(peer.conn), 0);
    assert_int_equal(released, owned);
    free(data);
    disconnect_peer();
}

static void nothing_is_read_while_output_is_above_the_high_mark(void **state)
{
    (void)state;
    struct io_conn_options options = IO_CONN_OPTIONS_DEFAULT;
    options.output_high = 10000;
    options.output_low = 2000;
    connect_peer(&options);
    uint8_t *data = pattern_new(4000000); /* more than the socket takes */
    io_conn_write(peer.conn, cq_slice_of(data, 4000000));
    turns(2);
    assert_true(io_conn_output(peer.conn) > 10000);
    assert_true(io_conn_output_full(peer.conn));
    send_text("NOOP");
    turns(5);
    assert_int_equal(peer.inputs, 0);
    assert_int_equal(peer.drains, 0);
    read_pattern(4000000, 100000);
    turns(2);
    assert_int_equal(peer.drains, 1);
    assert_int_equal(peer.inputs, 1);
    assert_false(io_conn_output_full(peer.conn));
    free(data);
    disconnect_peer();
}

static void an_abort_in_mid_write_drops_and_releases_everything(void **state)
{
    (void)state;
    connect_peer(NULL);
    released = 0;
    for (int i = 0; i < 40; i++) {
        uint8_t *own = cq_calloc(1, 100000);
        io_conn_write_owned(peer.conn, cq_slice_of(own, 100000), count_release, own);
    }
    turns(2);
    assert_true(released < 40);
    io_conn_abort(peer.conn, CQ_E_DENIED, "because %d", 42);
    assert_int_equal(released, 40);
    assert_int_equal(peer.closes, 0); /* not inside abort */
    assert_false(io_conn_is_open(peer.conn));
    io_conn_write_cstr(peer.conn, "too late");
    uint8_t *own = cq_malloc(1000);
    io_conn_write_owned(peer.conn, cq_slice_of(own, 1000), count_release, own);
    assert_int_equal(released, 41);
    memcpy(io_conn_reserve(peer.conn, 4096), "x", 1);
    io_conn_commit(peer.conn, 1);
    turns(1);
    assert_int_equal(peer.closes, 1);
    assert_int_equal(peer.why, CQ_E_DENIED);
    assert_string_equal(peer.why_text, "because 42");
    disconnect_peer();
}

static void a_write_to_a_peer_that_left_closes(void **state)
{
    (void)state;
    connect_peer(NULL);
    close(fd);
    fd = -1;
    io_conn_write_cstr(peer.conn, "hello?");
    turns(3);
    assert_int_equal(peer.closes, 1);
    assert_int_equal(peer.why, CQ_E_IO);
    disconnect_peer();
}

/* ---- Closing ---- */

static void close_sends_everything_first(void **state)
{
    (void)state;
    connect_peer(NULL);
    uint8_t *data = pattern_new(2000000);
    io_conn_write(peer.conn, cq_slice_of(data, 2000000));
    io_conn_close(peer.conn);
    io_conn_close(peer.conn);
    io_conn_write_cstr(peer.conn, "too late");
    turns(5);
    assert_int_equal(peer.closes, 0);
    read_pattern(2000000, 100000);
    turns(2);
    assert_true(fd_at_eof());
    assert_int_equal(peer.closes, 1);
    assert_int_equal(peer.why, CQ_OK);
    free(data);
    disconnect_peer();
}

static void a_close_that_the_peer_stalls_ends_by_itself(void **state)
{
    (void)state;
    connect_peer(NULL);
    uint8_t *data = pattern_new(2000000);
    io_conn_write(peer.conn, cq_slice_of(data, 2000000));
    io_conn_close(peer.conn);
    turns(2);
    io_loop_clock_advance(test_loop, 29 * 1000 * 1000);
    turns(2);
    assert_int_equal(peer.closes, 0);
    io_loop_clock_advance(test_loop, 1000 * 1000);
    turns(2);
    assert_int_equal(peer.closes, 1);
    assert_int_equal(peer.why, CQ_E_TIMEOUT);
    free(data);
    disconnect_peer();
}

static void after_a_close_what_the_peer_still_sends_is_read_away_for_a_while(void **state)
{
    (void)state;
    connect_peer(NULL);
    io_conn_write_cstr(peer.conn, "bye");
    io_conn_close(peer.conn);
    turns(2);
    assert_int_equal(peer.closes, 1);
    assert_null(peer.conn);
    send_text("and another thing"); /* no reset: our last words stay readable */
    turns(2);
    assert_received("bye");
    assert_true(fd_at_eof());
    send_text("still there");
    io_loop_clock_advance(test_loop, (uint64_t)IO_LINGER_MS * 1000);
    turns(2);
    assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
    assert_int_equal(errno, EPIPE);
    disconnect_peer();
}

static void lingering_takes_a_bounded_number_of_bytes(void **state)
{
    (void)state;
    connect_peer(NULL);
    io_conn_close(peer.conn);
    turns(2);
    char block[4096] = {0};
    size_t sent = 0;
    for (ssize_t n; (n = send(fd, block, sizeof block, MSG_NOSIGNAL | MSG_DONTWAIT)) > 0; sent += (size_t)n)
        turns(1);
    assert_int_equal(errno, EPIPE);
    assert_true(sent >= IO_LINGER_MAX && sent < IO_LINGER_MAX + 2 * sizeof block);
    disconnect_peer();
}

static void a_connection_may_be_freed_in_its_callbacks(void **state)
{
    (void)state;
    connect_peer(NULL);
    peer.free_in_input = true;
    send_text("x");
    shutdown(fd, SHUT_WR);
    turns(2);
    assert_null(peer.conn);
    assert_int_equal(peer.closes, 0); /* the owner's own free tells nothing */
    disconnect_peer();
}

static void a_connection_may_be_closed_in_its_callbacks(void **state)
{
    (void)state;
    connect_peer(NULL);
    peer.close_in_input = true;
    peer.keep_after_close = true;
    send_text("x");
    turns(2);
    assert_int_equal(peer.closes, 1);
    turns(2);
    assert_int_equal(peer.closes, 1);
    disconnect_peer();
}

static void close_free_flushes_without_an_owner(void **state)
{
    (void)state;
    connect_peer(NULL);
    uint8_t *data = pattern_new(1000000);
    io_conn_write(peer.conn, cq_slice_of(data, 1000000));
    io_conn_close_free(&peer.conn);
    assert_null(peer.conn);
    read_pattern(1000000, 100000);
    assert_true(fd_at_eof());
    assert_int_equal(peer.closes, 0);
    free(data);
    io_conn_close_free(&peer.conn); /* NULL is fine */
    disconnect_peer();
}

static void what_flushes_without_an_owner_ends_with_the_loop(void **state)
{
    (void)state;
    connect_peer(NULL);
    uint8_t *data = pattern_new(1000000);
    io_conn_write(peer.conn, cq_slice_of(data, 1000000));
    io_conn_close_free(&peer.conn);
    turns(2);
    free(data);
    cq_buf_fini(&peer.got);
    /* peer_teardown frees the loop: no assertion, no leak */
    close(fd);
}

/* ---- Time ---- */

static void an_idle_connection_says_goodbye(void **state)
{
    (void)state;
    struct io_conn_options options = IO_CONN_OPTIONS_DEFAULT;
    options.idle_ms = 1000;
    connect_peer(&options);
    io_loop_clock_advance(test_loop, 900 * 1000);
    send_text("x");
    turns(2);
    io_loop_clock_advance(test_loop, 900 * 1000);
    turns(2);
    assert_int_equal(peer.idles, 0);
    io_loop_clock_advance(test_loop, 100 * 1000);
    turns(2);
    assert_int_equal(peer.idles, 1);
    assert_received("BYE");
    assert_int_equal(peer.why, CQ_OK);
    disconnect_peer();
}

static void without_on_idle_it_is_aborted(void **state)
{
    (void)state;
    connect_peer(NULL);
    io_conn_set_ops(peer.conn, &peer_ops_min, &peer);
    io_loop_clock_advance(test_loop, UINT64_C(3600) * 1000 * 1000);
    turns(1);
    assert_int_equal(peer.closes, 0); /* no limit by default */
    io_conn_set_idle(peer.conn, 1000);
    io_loop_clock_advance(test_loop, 1000 * 1000);
    turns(2);
    assert_int_equal(peer.why, CQ_E_TIMEOUT);
    disconnect_peer();
}

/* ---- Fibers ---- */

struct reader {
    struct io_conn *conn;
    size_t want;
    uint64_t deadline_us;
    enum cq_rc rc;
    bool ended;
    struct io_fiber_ref ref;
};

/* Takes `want` bytes as they come, like a literal. */
static void read_literal(void *arg)
{
    struct reader *reader = arg;
    for (size_t at = 0; at < reader->want;) {
        struct cq_slice input = cq_slice_sub(io_conn_input(reader->conn), 0, reader->want - at);
        for (size_t i = 0; i < input.len; i++)
            assert_int_equal(input.data[i], pattern(at + i));
        at += input.len;
        io_conn_consume(reader->conn, input.len);
        if (at < reader->want && (reader->rc = io_conn_read_more(reader->conn, reader->deadline_us)) != CQ_OK)
            break;
    }
    reader->ended = true;
}

static struct reader start_reader(size_t want)
{
    return (struct reader){.conn = peer.conn, .want = want, .deadline_us = IO_NO_DEADLINE};
}

static void a_fiber_reads_a_literal_larger_than_the_buffer(void **state)
{
    (void)state;
    enum { TOTAL = 1000000 };
    connect_peer(NULL);
    io_conn_pause(peer.conn);
    struct reader reader = start_reader(TOTAL);
    io_fiber_spawn(test_loop, read_literal, &reader, NULL);
    uint8_t *data = pattern_new(TOTAL + 5);
    memcpy(data + TOTAL, "a2 ..", 5);
    for (size_t at = 0; at < TOTAL + 5;) {
        ssize_t n = send(fd, data + at, TOTAL + 5 - at, MSG_DONTWAIT);
        at += n > 0 ? (size_t)n : 0;
        turns(1);
    }
    turns_until(reader.ended);
    assert_int_equal(reader.rc, CQ_OK);
    assert_int_equal(peer.inputs, 0);
    io_conn_resume(peer.conn);
    turns(3);
    assert_slice(cq_buf_slice(&peer.got), "a2 ..");
    free(data);
    disconnect_peer();
}

static void end_reader_by(void (*what)(struct reader *), enum cq_rc rc)
{
    struct io_conn_options options = IO_CONN_OPTIONS_DEFAULT;
    options.input_max = 16;
    connect_peer(&options);
    peer.keep_after_close = true;
    io_conn_pause(peer.conn);
    struct reader reader = start_reader(1000);
    reader.deadline_us = io_loop_deadline(test_loop, 1000);
    io_fiber_spawn(test_loop, read_literal, &reader, &reader.ref);
    turns(2);
    assert_false(reader.ended);
    what(&reader);
    turns(3);
    assert_true(reader.ended);
    assert_int_equal(reader.rc, rc);
    disconnect_peer();
}

static void by_eof(struct reader *reader)
{
    (void)reader;
    shutdown(fd, SHUT_WR);
}

static void by_deadline(struct reader *reader)
{
    (void)reader;
    io_loop_clock_advance(test_loop, 1000 * 1000);
}

static void by_cancel(struct reader *reader)
{
    io_fiber_cancel(reader->ref);
}

static void by_abort(struct reader *reader)
{
    io_conn_abort(reader->conn, CQ_E_DENIED, "test");
}

static void by_close(struct reader *reader)
{
    io_conn_close(reader->conn);
}

static void by_reset(struct reader *reader)
{
    io_conn_write_cstr(reader->conn, "unread");
    turns(1);
    close(fd);
    fd = -1;
}

static void read_more_tells_why_there_is_no_more(void **state)
{
    (void)state;
    end_reader_by(by_eof, CQ_E_EOF);
    end_reader_by(by_deadline, CQ_E_TIMEOUT);
    end_reader_by(by_cancel, CQ_E_CANCELLED);
    end_reader_by(by_abort, CQ_E_DENIED);
    end_reader_by(by_close, CQ_E_CANCELLED);
    end_reader_by(by_reset, CQ_E_IO);
}

static void read_without_consuming(void *arg)
{
    struct reader *reader = arg;
    while ((reader->rc = io_conn_read_more(reader->conn, IO_NO_DEADLINE)) == CQ_OK)
        ;
    reader->ended = true;
}

static void read_more_refuses_to_pass_the_limit(void **state)
{
    (void)state;
    struct io_conn_options options = IO_CONN_OPTIONS_DEFAULT;
    options.input_max = 16;
    connect_peer(&options);
    io_conn_pause(peer.conn);
    struct reader reader = start_reader(0);
    io_fiber_spawn(test_loop, read_without_consuming, &reader, NULL);
    send_text("0123456789abcdef");
    turns(3);
    assert_true(reader.ended);
    assert_int_equal(reader.rc, CQ_E_LIMIT);
    disconnect_peer();
}

struct writer {
    struct io_conn *conn;
    size_t total;
    uint64_t deadline_us;
    size_t most;
    enum cq_rc rc, drain_rc;
    bool ended;
    struct io_fiber_ref ref;
};

static void write_much(void *arg)
{
    struct writer *writer = arg;
    uint8_t block[1000];
    for (size_t at = 0; at < writer->total && writer->rc == CQ_OK; at += sizeof block) {
        for (size_t i = 0; i < sizeof block; i++)
            block[i] = pattern(at + i);
        io_conn_write(writer->conn, cq_slice_of(block, sizeof block));
        size_t waiting = io_conn_output(writer->conn);
        writer->most = waiting > writer->most ? waiting : writer->most;
        writer->rc = io_conn_flush(writer->conn, writer->deadline_us);
    }
    writer->drain_rc = io_conn_drain(writer->conn, writer->deadline_us);
    writer->ended = true;
}

static void a_large_answer_never_piles_up(void **state)
{
    (void)state;
    enum { TOTAL = 5000000 };
    struct io_conn_options options = IO_CONN_OPTIONS_DEFAULT;
    options.output_high = 50000;
    options.output_low = 10000;
    connect_peer(&options);
    struct writer writer = {.conn = peer.conn, .total = TOTAL, .deadline_us = IO_NO_DEADLINE};
    io_fiber_spawn(test_loop, write_much, &writer, NULL);
    turns(3);
    assert_false(writer.ended);
    read_pattern(TOTAL, 65536);
    turns_until(writer.ended);
    assert_int_equal(writer.rc, CQ_OK);
    assert_int_equal(writer.drain_rc, CQ_OK);
    assert_true(writer.most <= 51000);
    disconnect_peer();
}

static void flush_ends_when_the_reader_does_not_read(void **state)
{
    (void)state;
    connect_peer(NULL);
    peer.keep_after_close = true;
    struct writer writer = {.conn = peer.conn, .total = SIZE_MAX, .deadline_us = io_loop_deadline(test_loop, 1000)};
    io_fiber_spawn(test_loop, write_much, &writer, NULL);
    turns(20);
    assert_false(writer.ended);
    io_loop_clock_advance(test_loop, 1000 * 1000);
    turns(3);
    assert_true(writer.ended);
    assert_int_equal(writer.rc, CQ_E_TIMEOUT);
    writer = (struct writer){.conn = peer.conn, .total = SIZE_MAX, .deadline_us = IO_NO_DEADLINE};
    io_fiber_spawn(test_loop, write_much, &writer, NULL);
    turns(2);
    close(fd);
    fd = -1;
    turns(3);
    assert_true(writer.ended);
    assert_int_equal(writer.rc, CQ_E_IO);
    disconnect_peer();
}

/* ---- A filter in both directions ---- */

/* Adds one to each byte, doubles each byte on the way out, holds back the last byte until a flush. */
struct shift_filter {
    struct io_filter filter;
    uint8_t held;
    bool holds, finished, bomb;
    int *frees;
    size_t bomb_left;
};

static struct shift_filter *shift_of(struct io_filter *filter)
{
    return cq_containerof(filter, struct shift_filter, filter);
}

static enum cq_rc shift_read(struct io_filter *filter, uint8_t *data, size_t cap, size_t *n_r, struct cq_err *err)
{
    struct shift_filter *shift = shift_of(filter);
    if (!shift->bomb_left) {
        enum cq_rc rc = io_filter_below_read(filter, data, cap, n_r, err);
        if (rc == CQ_OK && data[0] == '#')
            return CQ_FAIL(err, CQ_E_PROTO, "broken stream");
        for (size_t i = 0; i < *n_r; i++)
            data[i]++;
        if (rc == CQ_OK && shift->bomb)
            shift->bomb_left = 1000000;
        return rc;
    }
    *n_r = cap < shift->bomb_left ? cap : shift->bomb_left;
    memset(data, 'B', *n_r);
    shift->bomb_left -= *n_r;
    return CQ_OK;
}

static enum cq_rc shift_write(struct io_filter *filter, struct cq_slice data, struct cq_err *err)
{
    struct shift_filter *shift = shift_of(filter);
    uint8_t out[2 * IO_FILTER_PIECE + 1];
    size_t n = 0;
    assert_true(data.len <= IO_FILTER_PIECE);
    for (size_t i = 0; i < data.len; i++) {
        if (shift->holds)
            out[n++] = shift->held;
        out[n++] = data.data[i];
        shift->held = data.data[i];
        shift->holds = true;
    }
    return io_filter_below_write(filter, cq_slice_of(out, n), err);
}

static enum cq_rc shift_flush(struct io_filter *filter, struct cq_err *err)
{
    struct shift_filter *shift = shift_of(filter);
    if (!shift->holds)
        return CQ_OK;
    shift->holds = false;
    return io_filter_below_write(filter, cq_slice_of(&shift->held, 1), err);
}

static void shift_finish(struct io_filter *filter)
{
    shift_flush(filter, NULL);
    io_filter_below_write(filter, CQ_SLICE("<end>"), NULL);
}

static void shift_free(struct io_filter *filter)
{
    ++*shift_of(filter)->frees;
    free(shift_of(filter));
}

static const struct io_filter_ops shift_ops = {
    .name = "shift",
    .read = shift_read,
    .write = shift_write,
    .flush = shift_flush,
    .finish = shift_finish,
    .free = shift_free,
};

static int shift_frees;

static struct shift_filter *push_shift(struct io_conn *conn)
{
    struct shift_filter *shift = cq_new(struct shift_filter);
    shift->filter.ops = &shift_ops;
    shift->frees = &shift_frees;
    shift_frees = 0;
    assert_int_equal(io_conn_push_filter(conn, &shift->filter), 0);
    return shift;
}

static void a_filter_is_put_into_and_taken_out_of_a_live_connection(void **state)
{
    (void)state;
    connect_peer(NULL);
    io_conn_write_cstr(peer.conn, "clear ");
    push_shift(peer.conn);
    io_conn_write_cstr(peer.conn, "ab");
    io_conn_write_cstr(peer.conn, "c");
    send_text("HAL");
    turns(2);
    assert_received("clear aabbcc");
    assert_slice(cq_buf_slice(&peer.got), "IBM");
    assert_null(io_conn_pop_filter(peer.conn, "tls"));
    struct io_filter *shift = io_conn_pop_filter(peer.conn, "shift");
    assert_non_null(shift);
    shift->ops->free(shift);
    io_conn_write_cstr(peer.conn, "clear again");
    send_text("HAL");
    turns(2);
    assert_received("clear again");
    assert_slice(cq_buf_slice(&peer.got), "IBMHAL");
    disconnect_peer();
}

static void two_filters_work_on_top_of_each_other(void **state)
{
    (void)state;
    connect_peer(NULL);
    push_shift(peer.conn);
    push_shift(peer.conn);
    io_conn_write_cstr(peer.conn, "ab");
    send_text("ACE");
    turns(2);
    assert_received("aaaabbbb");
    assert_slice(cq_buf_slice(&peer.got), "CEG");
    uint8_t *data = pattern_new(1000000);
    io_conn_write(peer.conn, cq_slice_of(data, 1000000));
    size_t got = 0;
    uint8_t *block = cq_malloc(100000);
    while (got < 4000000) {
        size_t n = drain_fd(block, 100000);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(block[i], pattern((got + i) / 4));
        got += n;
        turns(1);
    }
    io_conn_close(peer.conn);
    turns(3);
    assert_received("<<eenndd>><end>"); /* the upper one's farewell goes through the lower one */
    free(block);
    free(data);
    disconnect_peer();
    assert_int_equal(shift_frees, 2);
}

static void a_filter_that_gives_more_than_it_took_is_bounded_by_the_buffer(void **state)
{
    (void)state;
    connect_peer(NULL);
    struct shift_filter *shift = push_shift(peer.conn);
    shift->bomb = true;
    peer.keep = true;
    send_text("x");
    turns(50);
    assert_int_equal(io_conn_input(peer.conn).len, IO_INPUT_MAX);
    shift->bomb = false;
    size_t total = 0;
    for (int i = 0; i < 1000 && total < 1000001; i++) { /* all of it comes, without another event */
        total += io_conn_input(peer.conn).len;
        io_conn_consume(peer.conn, io_conn_input(peer.conn).len);
        turns(1);
    }
    assert_int_equal(total, 1000001);
    disconnect_peer();
}

static void a_broken_stream_closes_the_connection(void **state)
{
    (void)state;
    connect_peer(NULL);
    push_shift(peer.conn);
    send_text("#");
    turns(2);
    assert_int_equal(peer.why, CQ_E_PROTO);
    assert_string_equal(peer.why_text, "broken stream");
    disconnect_peer();
}

/* ---- Both ends ---- */

static void a_pair_talks_and_each_end_knows_itself(void **state)
{
    (void)state;
    struct peer a, b;
    struct io_conn *ca, *cb;
    io_pair_new(test_loop, NULL, &ca, &cb);
    peer_init(&a, ca);
    peer_init(&b, cb);
    io_conn_write_cstr(a.conn, "ping");
    turns_until(b.got.len);
    io_conn_write_cstr(b.conn, "pong");
    turns_until(a.got.len);
    assert_slice(cq_buf_slice(&a.got), "pong");
    assert_true(io_conn_id(b.conn) > io_conn_id(a.conn));
    assert_ptr_equal(io_conn_ctx(a.conn), &a);
    assert_ptr_equal(io_conn_loop(a.conn), test_loop);
    assert_int_equal(io_conn_peer(a.conn)->family, IO_UNSPEC);
    assert_null(io_conn_tls(a.conn));
    assert_false(io_conn_tls_exporter(a.conn, "x", (uint8_t[32]){0}, 32));
    peer_fini(&a);
    peer_fini(&b);
}

#define T(name) cmocka_unit_test_setup_teardown(name, peer_setup, peer_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(input_arrives_however_it_is_cut),
        T(input_that_is_not_consumed_stays_and_is_bounded),
        T(a_paused_connection_tells_nothing_and_resume_tells_all),
        T(ops_that_come_late_are_told_of_what_is_there),
        T(half_closed_input_is_told_after_its_last_bytes_and_answers_still_go_out),
        T(without_on_eof_the_connection_closes_after_its_output),
        T(a_reset_is_noticed_while_paused),
        T(all_output_of_a_turn_is_one_write),
        T(copied_and_owned_output_of_any_size_arrives_in_order),
        T(nothing_is_read_while_output_is_above_the_high_mark),
        T(an_abort_in_mid_write_drops_and_releases_everything),
        T(a_write_to_a_peer_that_left_closes),
        T(close_sends_everything_first),
        T(a_close_that_the_peer_stalls_ends_by_itself),
        T(after_a_close_what_the_peer_still_sends_is_read_away_for_a_while),
        T(lingering_takes_a_bounded_number_of_bytes),
        T(a_connection_may_be_freed_in_its_callbacks),
        T(a_connection_may_be_closed_in_its_callbacks),
        T(close_free_flushes_without_an_owner),
        T(what_flushes_without_an_owner_ends_with_the_loop),
        T(an_idle_connection_says_goodbye),
        T(without_on_idle_it_is_aborted),
        T(a_fiber_reads_a_literal_larger_than_the_buffer),
        T(read_more_tells_why_there_is_no_more),
        T(read_more_refuses_to_pass_the_limit),
        T(a_large_answer_never_piles_up),
        T(flush_ends_when_the_reader_does_not_read),
        T(a_filter_is_put_into_and_taken_out_of_a_live_connection),
        T(two_filters_work_on_top_of_each_other),
        T(a_filter_that_gives_more_than_it_took_is_bounded_by_the_buffer),
        T(a_broken_stream_closes_the_connection),
        T(a_pair_talks_and_each_end_knows_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
