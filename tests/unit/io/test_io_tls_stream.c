/* STARTTLS, time, and data through TLS: large, slow, byte by byte, and what it costs. */
#include "unit/io/tls_world.h"

#include "unit/cq_cmocka.h"

#include <malloc.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cq_mem.h"
#include "io/io_sanitize.h"

/* ---- STARTTLS ---- */

static void starttls_answers_in_clear_and_goes_on_encrypted(void **state)
{
    (void)state;
    struct io_tls_server_options options = server_options();
    struct io_tls *s = server_new(&options), *c = client_new(NULL, NULL);
    struct io_conn *a, *b;
    io_pair_new(test_loop, NULL, &a, &b);
    peer_init(&server, a);
    peer_init(&client, b);
    io_conn_write_cstr(b, "STARTTLS\r\n");
    turns_until(server.got.len);
    io_conn_pause(b);
    io_conn_write_cstr(a, "220 ready\r\n");
    assert_false(io_conn_start_tls(a, s));
    io_conn_write_cstr(a, "250 after\r\n"); /* held back until the handshake is done */
    turns(3);
    assert_slice(io_conn_input(b), "220 ready\r\n");
    io_conn_consume(b, io_conn_input(b).len);
    struct dial d = {.conn = b, .tls = c, .name = "mail.example.test", .deadline_us = IO_NO_DEADLINE};
    io_fiber_spawn(test_loop, dial, &d, NULL);
    turns_until(d.ended);
    assert_int_equal(d.rc, CQ_OK);
    io_conn_resume(b);
    turns_until(client.got.len);
    assert_slice(cq_buf_slice(&client.got), "250 after\r\n");
    turns_until(server.tls);
    hang_up();
    io_tls_free(&s);
    io_tls_free(&c);
}

static void what_was_injected_in_clear_is_told_and_never_seen(void **state)
{
    (void)state;
    struct io_tls_server_options options = server_options();
    struct io_tls *s = server_new(&options), *c = client_new(NULL, NULL);
    struct io_conn *a, *b;
    io_pair_new(test_loop, NULL, &a, &b);
    peer_init(&server, a);
    server.keep = true;
    peer_init(&client, NULL);
    client.conn = b;
    io_conn_write_cstr(b, "STARTTLS\r\nMAIL FROM:<x>\r\n");
    turns(3);
    io_conn_consume(a, 10);
    assert_true(io_conn_start_tls(a, s)); /* the protocol closes now; if it did not: */
    struct dial d = {.conn = b, .tls = c, .deadline_us = IO_NO_DEADLINE};
    io_fiber_spawn(test_loop, dial, &d, NULL);
    turns_until(d.ended);
    turns(3);
    assert_int_equal(d.rc, CQ_OK);
    assert_int_equal(io_conn_input(a).len, 0);
    hang_up();

    io_pair_new(test_loop, NULL, &a, &b); /* and the mirror: a server that answers before TLS (CVE-2021-38371) */
    peer_init(&server, a);
    peer_init(&client, NULL);
    client.conn = b;
    io_conn_write_cstr(a, "220 ready\r\n250 injected\r\n");
    turns(3);
    io_conn_consume(b, 11);
    d = (struct dial){.conn = b, .tls = c, .deadline_us = IO_NO_DEADLINE};
    io_fiber_spawn(test_loop, dial, &d, NULL);
    turns_until(d.ended);
    assert_int_equal(d.rc, CQ_E_PROTO);
    hang_up();
    io_tls_free(&s);
    io_tls_free(&c);
}

static void what_is_not_tls_is_closed(void **state)
{
    (void)state;
    struct io_tls_server_options options = server_options();
    struct io_tls *s = server_new(&options);
    int fd;
    peer_init(&server, io_pair_new_fd(test_loop, NULL, &fd));
    io_conn_start_tls(server.conn, s);
    assert_int_equal(send(fd, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
    turns(4);
    assert_int_equal(server.why, CQ_E_PROTO);
    assert_int_equal(server.tls, 0);
    close(fd);
    peer_fini(&server);
    turns(2);
    io_tls_free(&s);
}

static void a_handshake_ends_by_its_deadline_or_its_peer(void **state)
{
    (void)state;
    struct io_tls_server_options options = server_options();
    struct io_conn_options conn_options = IO_CONN_OPTIONS_DEFAULT;
    struct io_tls *s = server_new(&options), *c = client_new(NULL, NULL);
    int fd;
    static const char record[] = "\x16\x03\x01\x02\x00";
    conn_options.handshake_ms = 5000;
    peer_init(&server, io_pair_new_fd(test_loop, &conn_options, &fd));
    server.keep_after_close = true;
    io_conn_start_tls(server.conn, s);
    for (int i = 0; i < 5; i++) { /* a byte a second does not help */
        assert_int_equal(send(fd, &record[i], 1, 0), 1);
        turns(2);
        assert_int_equal(server.closes, 0);
        io_loop_clock_advance(test_loop, 1000 * 1000);
    }
    turns(2);
    assert_int_equal(server.why, CQ_E_TIMEOUT);
    peer_fini(&server);
    close(fd);
    peer_init(&server, io_pair_new_fd(test_loop, &conn_options, &fd));
    server.keep_after_close = true;
    io_conn_start_tls(server.conn, s);
    close(fd);
    turns(3);
    assert_int_equal(server.why, CQ_E_EOF);
    peer_fini(&server);

    struct dial d = {.conn = io_pair_new_fd(test_loop, NULL, &fd), .tls = c};
    d.deadline_us = io_loop_deadline(test_loop, 100);
    io_fiber_spawn(test_loop, dial, &d, NULL);
    turns(2);
    io_loop_clock_advance(test_loop, 100 * 1000);
    turns(2);
    assert_true(d.ended);
    assert_int_equal(d.rc, CQ_E_TIMEOUT);
    io_conn_free(&d.conn);
    close(fd);
    d = (struct dial){.conn = io_pair_new_fd(test_loop, NULL, &fd), .tls = c, .deadline_us = IO_NO_DEADLINE};
    io_fiber_spawn(test_loop, dial, &d, NULL);
    turns(2);
    close(fd);
    turns(3);
    assert_true(d.ended);
    assert_int_equal(d.rc == CQ_E_UNAVAILABLE || d.rc == CQ_E_IO, 1);
    io_conn_free(&d.conn);
    io_tls_free(&s);
    io_tls_free(&c);
}

/* ---- Data ---- */

static uint8_t *pattern_new(size_t len)
{
    uint8_t *data = cq_malloc(len);
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 31 + (i >> 8) * 7 + (i >> 16));
    return data;
}

static void forget(void *arg)
{
    ++*(int *)arg;
}

static void large_data_passes_in_both_directions_at_once(void **state)
{
    (void)state;
    enum { TOTAL = 3000000 };
    struct io_tls_server_options options = server_options();
    struct io_tls *s = server_new(&options), *c = client_new(NULL, NULL);
    int released = 0;
    assert_int_equal(handshake(s, c, "mail.example.test").rc, CQ_OK);
    uint8_t *data = pattern_new(TOTAL);
    /* With both outputs above the high mark nobody would read: so each side gets a part at a time. */
    for (size_t at = 0; at < TOTAL;) {
        size_t n = 200000 < TOTAL - at ? 200000 : TOTAL - at;
        io_conn_write_owned(server.conn, cq_slice_of(data + at, n), forget, &released);
        for (size_t i = 0; i < n; i += 777)
            io_conn_write(client.conn, cq_slice_of(data + at + i, n - i < 777 ? n - i : 777));
        at += n;
        turns_until(server.got.len == at && client.got.len == at);
    }
    assert_memory_equal(server.got.data, data, TOTAL);
    assert_memory_equal(client.got.data, data, TOTAL);
    assert_int_equal(released, TOTAL / 200000);
    struct io_conn_counters counters;
    io_conn_counters(server.conn, &counters);
    assert_int_equal(counters.bytes_in, TOTAL);
    assert_int_equal(counters.bytes_out, TOTAL);
    assert_true(counters.wire_out > TOTAL && counters.wire_out < TOTAL + TOTAL / 100);
    free(data);
    hang_up();
    io_tls_free(&s);
    io_tls_free(&c);
}

static void backpressure_works_through_tls(void **state)
{
    (void)state;
    enum { TOTAL = 4000000 };
    struct io_tls_server_options options = server_options();
    struct io_tls *s = server_new(&options);
    struct raw raw = raw_new();
    assert_int_equal(raw_connect(&raw, NULL, s, NULL, NULL, NULL), 1);
    uint8_t *data = pattern_new(TOTAL), *got = cq_malloc(TOTAL);
    io_conn_write(server.conn, cq_slice_of(data, TOTAL));
    turns(5);
    assert_true(io_conn_output_full(server.conn));
    assert_int_equal(SSL_write(raw.ssl, "NOOP", 4), 4);
    turns(5);
    assert_int_equal(server.inputs, 0);
    raw_read(&raw, got, TOTAL);
    assert_memory_equal(got, data, TOTAL);
    turns(3);
    assert_int_equal(server.drains, 1);
    assert_slice(cq_buf_slice(&server.got), "NOOP"); /* though it came while nothing was read */
    free(data);
    free(got);
    raw_disconnect(&raw);
    raw_free(&raw);
    io_tls_free(&s);
}

static void input_inside_a_record_is_given_piece_by_piece(void **state)
{
    (void)state;
    struct io_tls_server_options options = server_options();
    struct io_conn_options conn_options = IO_CONN_OPTIONS_DEFAULT;
    struct io_tls *s = server_new(&options);
    struct raw raw = raw_new();
    conn_options.input_max = 100;
    assert_int_equal(raw_connect(&raw, &conn_options, s, NULL, NULL, NULL), 1);
    uint8_t *data = pattern_new(10000);
    server.keep = true;
    assert_int_equal(SSL_write(raw.ssl, data, 10000), 10000); /* one record */
    size_t at = 0;
    for (int i = 0; i < 1000 && at < 10000; i++) {
        struct cq_slice input = io_conn_input(server.conn);
        assert_true(input.len <= 100);
        assert_memory_equal(input.len ? input.data : data, input.len ? data + at : data, input.len);
        at += input.len;
        io_conn_consume(server.conn, input.len);
        turns(1);
    }
    assert_int_equal(at, 10000);
    free(data);
    raw_disconnect(&raw);
    raw_free(&raw);
    io_tls_free(&s);
}

static void an_end_of_input_leaves_time_for_the_answer(void **state)
{
    (void)state;
    for (int polite = 0; polite < 2; polite++) {
        struct io_tls_server_options options = server_options();
        struct io_tls *s = server_new(&options);
        struct raw raw = raw_new();
        char answer[32];
        assert_int_equal(raw_connect(&raw, NULL, s, NULL, NULL, NULL), 1);
        SSL_write(raw.ssl, "QUIT", 4);
        if (polite)
            SSL_shutdown(raw.ssl); /* close_notify */
        shutdown(raw.fd, SHUT_WR);
        turns(4);
        assert_slice(cq_buf_slice(&server.got), "QUIT");
        assert_int_equal(server.eofs, 1);
        io_conn_write_cstr(server.conn, "bye");
        io_conn_close(server.conn);
        turns(3);
        assert_int_equal(SSL_read(raw.ssl, answer, sizeof answer), 3);
        assert_memory_equal(answer, "bye", 3);
        int end = SSL_read(raw.ssl, answer, sizeof answer);
        assert_int_equal(SSL_get_error(raw.ssl, end), SSL_ERROR_ZERO_RETURN); /* our close_notify */
        assert_int_equal(server.why, CQ_OK);
        raw_disconnect(&raw);
        raw_free(&raw);
        io_tls_free(&s);
    }
}

static void records_may_come_byte_by_byte(void **state)
{
    (void)state;
    struct io_tls_server_options options = server_options();
    struct io_tls *s = server_new(&options);
    struct raw raw = raw_new();
    int wire[2];
    uint8_t c;
    /* The client speaks into a socketpair of its own; each byte is carried over in a turn of its own. */
    peer_init(&server, io_pair_new_fd(test_loop, NULL, &raw.fd));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, wire), 0);
    raw.ssl = SSL_new(raw.ctx);
    SSL_set_fd(raw.ssl, wire[0]);
    SSL_set_connect_state(raw.ssl);
    io_conn_start_tls(server.conn, s);
    bool sent = false;
    for (int i = 0; i < 20000 && !server.got.len; i++) {
        if (SSL_do_handshake(raw.ssl) == 1 && !sent)
            sent = SSL_write(raw.ssl, "hello", 5) == 5;
        if (recv(wire[1], &c, 1, 0) == 1)
            assert_int_equal(send(raw.fd, &c, 1, 0), 1);
        if (recv(raw.fd, &c, 1, 0) == 1)
            assert_int_equal(send(wire[1], &c, 1, 0), 1);
        turns(1);
    }
    assert_slice(cq_buf_slice(&server.got), "hello");
    close(wire[0]);
    close(wire[1]);
    raw_disconnect(&raw);
    raw_free(&raw);
    io_tls_free(&s);
}

/* ---- Memory ---- */

static void an_idle_session_takes_little_memory(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip();
#else
    enum { N = 200, LIMIT = 16 * 1024 };
    struct io_tls_server_options options = server_options();
    struct io_tls *s = server_new(&options);
    static struct peer peers[N];
    static int fds[N];
    struct raw raw = raw_new();
    size_t before = 0;
    for (int i = -5; i < N; i++) { /* the first few fill the caches */
        if (i == 0)
            before = mallinfo2().uordblks;
        assert_int_equal(raw_connect(&raw, NULL, s, "mail.example.test", NULL, NULL), 1);
        assert_int_equal(SSL_write(raw.ssl, "a1 NOOP\r\n", 9), 9);
        turns(2);
        io_conn_write_cstr(server.conn, "a1 OK\r\n");
        turns(2);
        assert_int_equal(server.got.len, 9);
        if (i < 0) {
            raw_disconnect(&raw);
            continue;
        }
        SSL_free(raw.ssl);
        fds[i] = raw.fd;
        cq_buf_fini(&server.got);
        peers[i] = server;
        io_conn_set_ops(peers[i].conn, &peer_ops, &peers[i]);
        turns(1);
    }
    size_t each = (mallinfo2().uordblks - before) / N;
    print_message("an idle TLS session: %zu bytes\n", each);
    assert_true(each < LIMIT);
    for (int i = 0; i < N; i++) {
        close(fds[i]);
        peer_fini(&peers[i]);
    }
    turns(2);
    raw_free(&raw);
    io_tls_free(&s);
#endif
}

#define T(name) cmocka_unit_test_setup_teardown(name, peer_setup, peer_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(starttls_answers_in_clear_and_goes_on_encrypted),
        T(what_was_injected_in_clear_is_told_and_never_seen),
        T(what_is_not_tls_is_closed),
        T(a_handshake_ends_by_its_deadline_or_its_peer),
        T(large_data_passes_in_both_directions_at_once),
        T(backpressure_works_through_tls),
        T(input_inside_a_record_is_given_piece_by_piece),
        T(an_end_of_input_leaves_time_for_the_answer),
        T(records_may_come_byte_by_byte),
        T(an_idle_session_takes_little_memory),
    };
    return cmocka_run_group_tests(tests, tls_world_setup, tls_world_teardown);
}
