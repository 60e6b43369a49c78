/* Real listeners, on the loopback address and ports of the kernel's choice. */
#include "io/io_listener.h"

#include "unit/cq_cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cq_log.h"
#include "unit/io/io_peer.h"
#include "unit/io/test_certs.h"

/* ---- An owner that greets and echoes nothing ---- */

enum { GIVEN_MAX = 64 };

static struct peer given[GIVEN_MAX];
static int given_count;
static struct io_listener *listener;

static void take(struct io_conn *conn, void *ctx)
{
    assert_ptr_equal(ctx, &given_count);
    assert_true(given_count < GIVEN_MAX);
    struct peer *peer = &given[given_count++];
    peer_init(peer, conn);
    io_conn_write_cstr(conn, "hello\r\n");
}

static void forget_given(void)
{
    while (given_count)
        peer_fini(&given[--given_count]);
}

static struct io_listener_options plain_options(void)
{
    struct io_listener_options options = {.name = "test"};
    assert_int_equal(io_addr_parse(CQ_SLICE("127.0.0.1:0"), 0, &options.addr, NULL), CQ_OK);
    return options;
}

static void listen_with(const struct io_listener_options *options)
{
    struct cq_err err = {0};
    given_count = 0;
    if (io_listener_new(test_loop, options, take, &given_count, &listener, &err) != CQ_OK)
        fail_msg("%s", err.text);
}

static void stop_listening(void)
{
    forget_given();
    io_listener_free(&listener);
    turns(2);
}

static struct io_listener_stats stats(void)
{
    struct io_listener_stats s;
    io_listener_stats(listener, &s);
    return s;
}

/* A blocking client; bound to `from` when it is not NULL. */
static int dial_from(const struct io_addr *to, const char *from)
{
    struct sockaddr_storage ss;
    struct io_addr local;
    socklen_t len = io_addr_to_sockaddr(to, &ss);
    int fd = socket(ss.ss_family, SOCK_STREAM, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)); /* single bytes go at once */
    if (from) {
        struct sockaddr_storage from_ss;
        assert_int_equal(io_addr_parse(cq_slice_cstr(from), 0, &local, NULL), CQ_OK);
        socklen_t from_len = io_addr_to_sockaddr(&local, &from_ss);
        assert_int_equal(bind(fd, (struct sockaddr *)&from_ss, from_len), 0);
    }
    assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
    return fd;
}

static int dial(void)
{
    return dial_from(io_listener_addr(listener), NULL);
}

static void send_text(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static bool is_closed(int fd)
{
    char c;
    ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

/* ---- Plain ---- */

static void connections_are_given_to_the_owner_with_their_addresses(void **state)
{
    (void)state;
    struct io_listener_options options = plain_options();
    char text[IO_ADDR_TEXT_SIZE], buf[16];
    listen_with(&options);
    assert_true(io_listener_addr(listener)->port != 0);
    assert_string_equal(io_listener_name(listener), "test");
    int fd = dial_from(io_listener_addr(listener), "127.0.0.9");
    turns_until(given_count == 1);
    turns(1);
    assert_int_equal(recv(fd, buf, sizeof buf, 0), 7);
    assert_string_equal(io_addr_format_ip(io_conn_peer(given[0].conn), text), "127.0.0.9");
    assert_true(io_addr_eq(io_conn_local(given[0].conn), io_listener_addr(listener)));
    send_text(fd, "QUIT\r\n");
    turns_until(given[0].got.len);
    assert_slice(cq_buf_slice(&given[0].got), "QUIT\r\n");
    assert_int_equal(stats().live, 1);
    close(fd);
    stop_listening();
}

static void ipv6_has_its_own_listener(void **state)
{
    (void)state;
    struct io_listener_options options = plain_options();
    char text[IO_ADDR_TEXT_SIZE];
    assert_int_equal(io_addr_parse(CQ_SLICE("[::1]:0"), 0, &options.addr, NULL), CQ_OK);
    listen_with(&options);
    int fd = dial();
    turns_until(given_count == 1);
    assert_string_equal(io_addr_format_ip(io_conn_peer(given[0].conn), text), "::1");
    close(fd);
    stop_listening();
}

static void an_address_that_cannot_be_used_is_named(void **state)
{
    (void)state;
    struct io_listener_options options = plain_options();
    struct io_listener *second = NULL;
    struct cq_err err = {0};
    listen_with(&options);
    options.addr = *io_listener_addr(listener);
    assert_int_equal(io_listener_new(test_loop, &options, take, &given_count, &second, &err), CQ_E_CONFIG);
    assert_non_null(strstr(err.text, "127.0.0.1:"));
    assert_non_null(strstr(err.text, strerror(EADDRINUSE)));
    assert_int_equal(io_addr_parse(CQ_SLICE("192.0.2.1:0"), 0, &options.addr, NULL), CQ_OK);
    assert_int_equal(io_listener_new(test_loop, &options, take, &given_count, &second, &err), CQ_E_CONFIG);
    assert_null(second);
    options.addr = (struct io_addr){0};
    assert_int_equal(io_listener_new(test_loop, &options, take, &given_count, &second, &err), CQ_E_CONFIG);
    stop_listening();
}

static void workers_share_a_port(void **state)
{
    (void)state;
    struct io_listener_options options = plain_options();
    struct io_listener *second = NULL;
    int fds[40];
    options.reuse_port = true;
    listen_with(&options);
    options.addr = *io_listener_addr(listener);
    assert_int_equal(io_listener_new(test_loop, &options, take, &given_count, &second, NULL), CQ_OK);
    for (int i = 0; i < 40; i++)
        fds[i] = dial();
    turns_until(given_count == 40);
    struct io_listener_stats other;
    io_listener_stats(second, &other);
    assert_int_equal(stats().delivered + other.delivered, 40);
    for (int i = 0; i < 40; i++)
        close(fds[i]);
    io_listener_free(&second);
    stop_listening();
}

static void connections_live_on_when_their_listener_ends(void **state)
{
    (void)state;
    struct io_listener_options options = plain_options();
    char buf[16];
    listen_with(&options);
    int fd = dial();
    turns_until(given_count == 1);
    io_listener_free(&listener);
    turns(1);
    assert_int_equal(recv(fd, buf, sizeof buf, 0), 7);
    send_text(fd, "still here");
    turns_until(given[0].got.len);
    close(fd);
    stop_listening();
}

static void a_stopped_listener_refuses(void **state)
{
    (void)state;
    struct io_listener_options options = plain_options();
    struct sockaddr_storage ss;
    listen_with(&options);
    socklen_t len = io_addr_to_sockaddr(io_listener_addr(listener), &ss);
    io_listener_stop(listener);
    io_listener_stop(listener);
    int fd = socket(ss.ss_family, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
    stop_listening();
}

static void the_number_of_live_connections_is_bounded(void **state)
{
    (void)state;
    struct io_listener_options options = plain_options();
    int fds[3];
    options.conns_max = 2;
    listen_with(&options);
    for (int i = 0; i < 3; i++)
        fds[i] = dial();
    turns_until(given_count == 2);
    turns(10);
    assert_int_equal(given_count, 2);
    assert_int_equal(stats().live, 2);
    peer_fini(&given[0]);
    turns_until(given_count == 3); /* the third waited in the backlog */
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    stop_listening();
}

static void without_descriptors_accepting_pauses_and_goes_on(void **state)
{
    (void)state;
    struct io_listener_options options = plain_options();
    struct rlimit old, none;
    listen_with(&options);
    int fd = dial(), probe = dup(0);
    close(probe);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = (rlim_t)probe; /* not one more */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    turns(10);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(given_count, 0);
    assert_int_equal(stats().pauses, 1); /* once, not in every turn */
    turns(10);
    assert_int_equal(given_count, 0);
    io_loop_clock_advance(test_loop, IO_ACCEPT_PAUSE_MS * 1000);
    turns_until(given_count == 1);
    close(fd);
    stop_listening();
}

/* ---- PROXY ---- */

static struct io_cidr trusted[1];

static struct io_listener_options proxy_options(void)
{
    struct io_listener_options options = plain_options();
    assert_int_equal(io_cidr_parse(CQ_SLICE("127.0.1.0/24"), &trusted[0], NULL), CQ_OK);
    options.proxy_from = trusted;
    options.proxy_from_count = 1;
    return options;
}

static void a_header_of_a_listed_proxy_tells_the_client(void **state)
{
    (void)state;
    struct io_listener_options options = proxy_options();
    static const struct {
        const char *sent;
        size_t len;
        const char *peer, *local;
    } cases[] = {
        {"PROXY TCP4 192.0.2.1 198.51.100.2 12345 25\r\nEHLO x", 50, "192.0.2.1:12345", "198.51.100.2:25"},
        {"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\nEHLO x", 46, "[2001:db8::1]:1", "[2001:db8::2]:2"},
        {"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\x30\x39\x00\x19"
         "EHLO x",
         34, "192.0.2.1:12345", "198.51.100.2:25"},
        {"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"
         "EHLO x",
         22, NULL, NULL}, /* the proxy's own health check */
        {"PROXY UNKNOWN\r\nEHLO x", 21, NULL, NULL},
    };
    listen_with(&options);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int bytewise = 0; bytewise < 2; bytewise++) {
            char text[IO_ADDR_TEXT_SIZE];
            int fd = dial_from(io_listener_addr(listener), "127.0.1.1");
            for (size_t at = 0, n; at < cases[i].len; at += n, turns(1)) {
                n = bytewise ? 1 : cases[i].len;
                assert_int_equal(send(fd, cases[i].sent + at, n, 0), n);
            }
            turns_until(given_count == 1 && given[0].got.len == 6);
            assert_slice(cq_buf_slice(&given[0].got), "EHLO x");
            io_addr_format(io_conn_peer(given[0].conn), text);
            if (cases[i].peer)
                assert_string_equal(text, cases[i].peer);
            else
                assert_true(io_addr_eq(io_conn_peer(given[0].conn), io_conn_socket_peer(given[0].conn)));
            if (cases[i].local)
                assert_string_equal(io_addr_format(io_conn_local(given[0].conn), text), cases[i].local);
            assert_string_equal(io_addr_format_ip(io_conn_socket_peer(given[0].conn), text), "127.0.1.1");
            close(fd);
            forget_given();
        }
    }
    assert_int_equal(stats().proxy_failures, 0);
    stop_listening();
}

static void a_header_of_a_stranger_goes_to_the_protocol(void **state)
{
    (void)state;
    struct io_listener_options options = proxy_options();
    const char *header = "PROXY TCP4 192.0.2.1 198.51.100.2 12345 25\r\n";
    char text[IO_ADDR_TEXT_SIZE];
    listen_with(&options);
    int fd = dial_from(io_listener_addr(listener), "127.0.2.1");
    send_text(fd, header);
    turns_until(given_count == 1 && given[0].got.len);
    assert_slice(cq_buf_slice(&given[0].got), header);
    assert_string_equal(io_addr_format_ip(io_conn_peer(given[0].conn), text), "127.0.2.1");
    close(fd);
    stop_listening();
}

static int lines_seen;

static bool count_lines(enum cq_log_level level, const char *event, struct cq_slice line, void *ctx)
{
    (void)ctx;
    if (strcmp(event, "listener.proxy_header_missing") != 0)
        return strncmp(event, "listener.", 9) != 0 && strncmp(event, "tls.", 4) != 0;
    assert_int_equal(level, CQ_WARN);
    assert_true(line.len > 0);
    lines_seen++;
    return false;
}

static void a_listed_proxy_without_a_header_is_closed_with_a_line_in_the_log(void **state)
{
    (void)state;
    struct io_listener_options options = proxy_options();
    options.proxy_timeout_ms = 3000;
    lines_seen = 0;
    listen_with(&options);
    int fd = dial_from(io_listener_addr(listener), "127.0.1.1");
    send_text(fd, "PROXY TCP4 192.0.2.1");
    turns(5);
    assert_int_equal(stats().pending, 1);
    io_loop_clock_advance(test_loop, 2999 * 1000);
    turns(3);
    assert_false(is_closed(fd));
    io_loop_clock_advance(test_loop, 1000);
    turns(3);
    assert_true(is_closed(fd));
    assert_int_equal(lines_seen, 1);
    close(fd);
    fd = dial_from(io_listener_addr(listener), "127.0.1.1");
    send_text(fd, "EHLO x\r\n");
    turns(5);
    assert_true(is_closed(fd)); /* at once */
    close(fd);
    fd = dial_from(io_listener_addr(listener), "127.0.1.1");
    close(fd);
    turns(5);
    assert_int_equal(lines_seen, 3);
    assert_int_equal(stats().proxy_failures, 3);
    assert_int_equal(stats().pending, 0);
    assert_int_equal(stats().live, 0);
    assert_int_equal(given_count, 0);
    stop_listening();
}

/* ---- TLS ---- */

static char dir[TEST_PATH_SIZE], ca_pem[TEST_PATH_SIZE], cert_pem[TEST_PATH_SIZE], cert_key[TEST_PATH_SIZE];
static struct io_tls *server_tls, *client_tls;

static int make_tls(void **state)
{
    (void)state;
    static const char *const names[] = {"mail.example.test", NULL};
    static const char *const alpn[] = {"imap"};
    test_dir_make(dir);
    struct test_ca *ca = test_ca_new("CA");
    test_ca_write(ca, test_path(ca_pem, dir, "ca.pem"));
    test_cert_write(ca, &(struct test_cert){.cn = "mail", .dns = names}, test_path(cert_pem, dir, "cert.pem"),
                    test_path(cert_key, dir, "cert.key"));
    test_ca_free(&ca);
    struct io_tls_cert cert = {cert_pem, cert_key};
    struct io_tls_server_options server = {
        .service = "imap", .certs = &cert, .cert_count = 1, .alpn = alpn, .alpn_count = 1};
    struct io_tls_client_options client = {.ca_file = ca_pem};
    return io_tls_server_new(&server, &server_tls, NULL) != CQ_OK ||
           io_tls_client_new(&client, &client_tls, NULL) != CQ_OK;
}

static int end_tls(void **state)
{
    (void)state;
    io_tls_free(&server_tls);
    io_tls_free(&client_tls);
    test_dir_remove(dir);
    return 0;
}

struct caller {
    struct io_connect what;
    uint64_t deadline_us;
    struct io_conn *conn;
    const char *first_words;
    enum cq_rc rc;
    struct cq_err err;
    bool ended;
};

static void call(void *arg)
{
    struct caller *caller = arg;
    caller->rc = io_conn_connect(test_loop, &caller->what, caller->deadline_us, &caller->conn, &caller->err);
    if (caller->rc == CQ_OK)
        caller->rc = io_conn_read_more(caller->conn, caller->deadline_us);
    caller->ended = true;
}

static struct caller connect_tls(const char *name)
{
    struct caller caller = {.what = {.addr = *io_listener_addr(listener), .tls = client_tls, .server_name = name},
                            .deadline_us = IO_NO_DEADLINE};
    assert_int_equal(io_addr_parse(CQ_SLICE("127.0.2.2"), 0, &caller.what.bind, NULL), CQ_OK);
    io_fiber_spawn(test_loop, call, &caller, NULL);
    turns_until(caller.ended);
    return caller;
}

static void an_owner_sees_a_connection_when_its_handshake_is_done(void **state)
{
    (void)state;
    struct io_listener_options options = plain_options();
    options.tls = server_tls;
    listen_with(&options);
    struct caller caller = connect_tls("mail.example.test");
    assert_int_equal(caller.rc, CQ_OK);
    assert_slice(io_conn_input(caller.conn), "hello\r\n");
    assert_int_equal(given_count, 1);
    assert_string_equal(io_conn_tls(given[0].conn)->sni, "mail.example.test");
    assert_int_equal(given[0].tls, 0); /* that was the listener's */
    io_conn_free(&caller.conn);
    forget_given();
    caller = connect_tls("evil.example.test");
    assert_int_equal(caller.rc, CQ_E_AUTH);
    assert_null(caller.conn);
    assert_non_null(strstr(caller.err.text, "127.0.0.1:"));
    turns(5);
    assert_int_equal(given_count, 0);
    assert_int_equal(stats().tls_failures, 1);
    int fd = dial();
    send_text(fd, "GET / HTTP/1.1\r\n\r\n");
    turns_until(is_closed(fd));
    close(fd);
    assert_int_equal(stats().tls_failures, 2);
    assert_int_equal(stats().pending, 0);
    stop_listening();
}

static void a_listener_may_end_in_the_middle_of_handshakes(void **state)
{
    (void)state;
    struct io_listener_options options = proxy_options();
    options.tls = server_tls;
    listen_with(&options);
    int one = dial_from(io_listener_addr(listener), "127.0.1.1"), two = dial();
    send_text(one, "PROXY TCP4");
    send_text(two, "\x16\x03\x01");
    turns_until(stats().pending == 2);
    turns(2);
    stop_listening();
    assert_true(is_closed(one) && is_closed(two));
    close(one);
    close(two);
}

static void start_client_tls(void *arg)
{
    struct caller *caller = arg;
    caller->rc = io_conn_start_tls_client(caller->conn, client_tls, NULL, NULL, IO_NO_DEADLINE, &caller->err);
    caller->ended = true;
}

/* Carries bytes between a proxy's client (a TLS connection of ours over a socketpair) and the listener. */
static void tls_follows_the_proxy_header_even_in_one_packet(void **state)
{
    (void)state;
    struct io_listener_options options = proxy_options();
    uint8_t data[65536];
    options.tls = server_tls;
    listen_with(&options);
    int near, far = dial_from(io_listener_addr(listener), "127.0.1.1");
    struct io_conn *conn = io_pair_new_fd(test_loop, NULL, &near);
    struct peer client;
    peer_init(&client, conn);
    io_conn_pause(conn);
    struct cq_buf first;
    cq_buf_init(&first, sizeof data);
    cq_buf_cstr(&first, "PROXY TCP4 192.0.2.1 198.51.100.2 12345 993\r\n");
    struct caller caller = {.conn = conn};
    io_fiber_spawn(test_loop, start_client_tls, &caller, NULL);
    bool sent = false;
    for (int i = 0; i < 10000 && !caller.ended; i++) {
        ssize_t n = recv(near, data, sizeof data, MSG_DONTWAIT);
        if (n > 0) {
            cq_buf_add(&first, data, (size_t)n);
            assert_int_equal(send(far, first.data, first.len, 0), first.len); /* header and ClientHello together */
            cq_buf_reset(&first, 0);
            sent = true;
        }
        n = recv(far, data, sizeof data, MSG_DONTWAIT);
        if (n > 0)
            assert_int_equal(send(near, data, (size_t)n, 0), n);
        turns(1);
    }
    assert_true(sent);
    assert_int_equal(caller.rc, CQ_OK);
    ssize_t n = recv(near, data, sizeof data, MSG_DONTWAIT); /* our Finished */
    assert_int_equal(send(far, data, (size_t)n, 0), n);
    turns_until(given_count == 1);
    char text[IO_ADDR_TEXT_SIZE];
    assert_string_equal(io_addr_format(io_conn_peer(given[0].conn), text), "192.0.2.1:12345");
    assert_string_equal(io_conn_tls(given[0].conn)->version, "TLSv1.3");
    cq_buf_fini(&first);
    peer_fini(&client);
    close(near);
    close(far);
    stop_listening();
}

/* ---- Connecting ---- */

static void connecting_to_nobody_is_unavailable(void **state)
{
    (void)state;
    struct io_listener_options options = plain_options();
    listen_with(&options);
    struct caller caller = {.what = {.addr = *io_listener_addr(listener)}, .deadline_us = IO_NO_DEADLINE};
    io_fiber_spawn(test_loop, call, &caller, NULL);
    turns_until(caller.ended);
    assert_int_equal(caller.rc, CQ_OK);
    assert_slice(io_conn_input(caller.conn), "hello\r\n");
    io_conn_free(&caller.conn);
    stop_listening();
    caller.ended = false;
    io_fiber_spawn(test_loop, call, &caller, NULL);
    turns_until(caller.ended);
    assert_int_equal(caller.rc, CQ_E_UNAVAILABLE);
    assert_non_null(strstr(caller.err.text, strerror(ECONNREFUSED)));
    assert_null(caller.conn);
}

#define T(name) cmocka_unit_test_setup_teardown(name, peer_setup, peer_teardown)

int main(void)
{
    cq_log_set_tap(count_lines, NULL);
    const struct CMUnitTest tests[] = {
        T(connections_are_given_to_the_owner_with_their_addresses),
        T(ipv6_has_its_own_listener),
        T(an_address_that_cannot_be_used_is_named),
        T(workers_share_a_port),
        T(connections_live_on_when_their_listener_ends),
        T(a_stopped_listener_refuses),
        T(the_number_of_live_connections_is_bounded),
        T(without_descriptors_accepting_pauses_and_goes_on),
        T(a_header_of_a_listed_proxy_tells_the_client),
        T(a_header_of_a_stranger_goes_to_the_protocol),
        T(a_listed_proxy_without_a_header_is_closed_with_a_line_in_the_log),
        T(an_owner_sees_a_connection_when_its_handshake_is_done),
        T(a_listener_may_end_in_the_middle_of_handshakes),
        T(tls_follows_the_proxy_header_even_in_one_packet),
        T(connecting_to_nobody_is_unavailable),
    };
    return cmocka_run_group_tests(tests, make_tls, end_tls);
}
