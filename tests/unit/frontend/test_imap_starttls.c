/* STARTTLS: what a session is before and after, and that nothing sent in clear survives it (CVE-2011-0411). */
#include "support/imap_fixture.h"
#include "unit/io/test_certs.h"

#include "unit/cq_cmocka.h"

#include "base/cq_log.h"

#include <string.h>

static char folder[TEST_PATH_SIZE], ca_pem[TEST_PATH_SIZE];
static struct io_tls *server_tls, *client_tls;

static int make_certificates(void **state)
{
    (void)state;
    char cert[TEST_PATH_SIZE], key[TEST_PATH_SIZE];
    static const char *const names[] = {"mail.example.test", NULL};
    static const char *const alpn[] = {"imap"};
    const struct test_cert wanted = {.cn = "mail.example.test", .dns = names};
    test_dir_make(folder);
    struct test_ca *ca = test_ca_new("test CA");
    test_ca_write(ca, test_path(ca_pem, folder, "ca.pem"));
    test_cert_write(ca, &wanted, test_path(cert, folder, "cert.pem"), test_path(key, folder, "key.pem"));
    test_ca_free(&ca);
    const struct io_tls_cert pair = {cert, key};
    const struct io_tls_server_options server = {
        .service = "imap", .certs = &pair, .cert_count = 1, .alpn = alpn, .alpn_count = 1};
    const struct io_tls_client_options client = {.ca_file = ca_pem};
    return io_tls_server_new(&server, &server_tls, NULL) != CQ_OK ||
           io_tls_client_new(&client, &client_tls, NULL) != CQ_OK;
}

static int remove_certificates(void **state)
{
    (void)state;
    io_tls_free(&server_tls);
    io_tls_free(&client_tls);
    test_dir_remove(folder);
    return 0;
}

/* ---- A client that is a connection itself ---- */

struct client {
    struct imap_fixture *fixture;
    struct imap_peer host;
    struct io_conn *conn;
    struct cq_buf got;
    bool closed, tls_ended;
    enum cq_rc tls_rc;
};

static void on_input(struct io_conn *conn, void *ctx)
{
    struct client *c = ctx;
    struct cq_slice in = io_conn_input(conn);
    cq_buf_slice_add(&c->got, in);
    io_conn_consume(conn, in.len);
}

static void on_closed(struct io_conn *conn, const struct cq_err *why, void *ctx)
{
    (void)conn;
    (void)why;
    ((struct client *)ctx)->closed = true;
}

static const struct io_conn_ops client_ops = {.on_input = on_input, .on_closed = on_closed};

static void connect_client(struct client *c)
{
    struct io_conn *server;
    *c = (struct client){.fixture = imap_fixture_new_tls(server_tls)};
    cq_buf_init(&c->got, 1 << 20);
    io_pair_new(c->fixture->loop, NULL, &server, &c->conn);
    imap_peer_adopt(c->fixture, &c->host, server);
    io_conn_set_ops(c->conn, &client_ops, c);
}

static void disconnect_client(struct client *c)
{
    io_conn_free(&c->conn);
    for (int i = 0; i < 10000 && c->host.session; i++)
        io_loop_turn(c->fixture->loop, false);
    imap_fixture_free(&c->fixture);
    cq_buf_fini(&c->got);
    cq_buf_fini(&c->host.in);
}

/* All that has come, from here on; NUL-terminated until the next call. */
static const char *hear(struct client *c)
{
    imap_fixture_settle(c->fixture);
    cq_buf_byte(&c->got, 0);
    c->got.len = 0;
    return (const char *)c->got.data;
}

static const char *say(struct client *c, const char *text)
{
    io_conn_write_cstr(c->conn, text);
    return hear(c);
}

static void shake_hands(void *arg)
{
    struct client *c = arg;
    struct cq_err err = {0};
    c->tls_rc = io_conn_start_tls_client(c->conn, client_tls, "mail.example.test", NULL,
                                         io_loop_deadline(c->fixture->loop, 5000), &err);
    c->tls_ended = true;
}

static enum cq_rc start_tls(struct client *c)
{
    io_conn_pause(c->conn);
    io_fiber_spawn(c->fixture->loop, shake_hands, c, NULL);
    for (int i = 0; i < 10000 && !c->tls_ended; i++)
        io_loop_turn(c->fixture->loop, false);
    io_conn_resume(c->conn);
    return c->tls_ended ? c->tls_rc : CQ_E_TIMEOUT;
}

/* ---- Tests ---- */

static void a_session_is_another_one_under_tls(void **state)
{
    struct client c;
    (void)state;
    connect_client(&c);
    assert_non_null(strstr(hear(&c), "SASL-IR STARTTLS LOGINDISABLED]"));
    assert_string_equal(say(&c, "a LOGIN ana secret\r\n"),
                        "a NO [PRIVACYREQUIRED] Encryption is required: STARTTLS first\r\n");
    assert_string_equal(say(&c, "b STARTTLS\r\n"), "b OK Begin TLS now\r\n");
    assert_int_equal(start_tls(&c), CQ_OK);
    assert_string_equal(say(&c, "c CAPABILITY\r\n"),
                        "* CAPABILITY IMAP4rev1 ID LITERAL- SASL-IR AUTH=PLAIN\r\nc OK CAPABILITY completed\r\n");
    assert_string_equal(say(&c, "d STARTTLS\r\n"), "d BAD There is no STARTTLS here\r\n");
    assert_non_null(strstr(say(&c, "e LOGIN ana secret\r\n"), "e OK [CAPABILITY "));
    assert_non_null(strstr(say(&c, "f SELECT INBOX\r\n"), "f OK [READ-WRITE]"));
    disconnect_client(&c);
}

static void a_command_behind_starttls_in_clear_ends_the_connection(void **state)
{
    static const char *const cases[] = {"a STARTTLS\r\nb NOOP\r\n", "a STARTTLS\r\nb LOGIN ana secret\r\n",
                                        "a STARTTLS\r\nx", "a NOOP\r\na STARTTLS\r\n\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c;
        connect_client(&c);
        hear(&c);
        const char *answer = say(&c, cases[i]);
        assert_null(strstr(answer, "b OK"));
        assert_null(strstr(answer, "b NO"));
        assert_true(c.closed);
        assert_null(c.host.session);
        assert_int_equal(c.fixture->logins, 0);
        disconnect_client(&c);
    }
}

static void a_client_that_does_not_shake_hands_is_dropped(void **state)
{
    struct client c;
    (void)state;
    connect_client(&c);
    hear(&c);
    say(&c, "a STARTTLS\r\n");
    say(&c, "b LOGIN ana secret\r\n"); /* not TLS at all */
    assert_true(c.closed);
    disconnect_client(&c);

    connect_client(&c);
    hear(&c);
    say(&c, "a STARTTLS\r\n");
    io_loop_clock_advance(c.fixture->loop, 31000000);
    hear(&c);
    assert_true(c.closed);
    disconnect_client(&c);
}

int main(void)
{
    cq_log_set_level(CQ_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_is_another_one_under_tls),
        cmocka_unit_test(a_command_behind_starttls_in_clear_ends_the_connection),
        cmocka_unit_test(a_client_that_does_not_shake_hands_is_dropped),
    };
    return cmocka_run_group_tests_name("imap_starttls", tests, make_certificates, remove_certificates);
}
