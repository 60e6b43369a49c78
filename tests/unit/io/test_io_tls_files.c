/* Tickets, certificates and trust in files that are broken, swapped and rotated. */
#include "unit/io/tls_world.h"

#include "unit/cq_cmocka.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/io_metrics.h"

/* ---- Tickets ---- */

static SSL_SESSION *last_session;

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(last_session);
    last_session = session;
    return 1;
}

/* Connects with the session that was kept last, and tells whether it was resumed. */
static bool resumes(struct raw *raw, struct io_tls *tls)
{
    SSL_SESSION *session = last_session;
    if (session)
        SSL_SESSION_up_ref(session);
    char c;
    assert_int_equal(raw_connect(raw, NULL, tls, "mail.example.test", session, NULL), 1);
    SSL_read(raw->ssl, &c, 1); /* takes the tickets in */
    if (SSL_version(raw->ssl) < TLS1_3_VERSION)
        keep_session(raw->ssl, SSL_get1_session(raw->ssl)); /* renewed tickets are not announced there */
    bool resumed = SSL_session_reused(raw->ssl);
    assert_int_equal(io_conn_tls(server.conn)->resumed, resumed);
    raw_disconnect(raw);
    SSL_SESSION_free(session);
    return resumed;
}

static void tickets_in_version(int version)
{
    struct io_tls_server_options options = server_options();
    test_tickets_write(tickets, (uint8_t[]){1, 2, 3}, 3);
    options.ticket_keys_file = tickets;
    struct io_tls *one = server_new(&options), *two = server_new(&options);
    options.service = "pop3";
    struct io_tls *pop3 = server_new(&options);
    options.service = "imap";
    options.ticket_keys_file = NULL;
    struct io_tls *alone = server_new(&options);
    struct raw raw = raw_new();
    SSL_CTX_set_max_proto_version(raw.ctx, version);
    SSL_CTX_set_session_cache_mode(raw.ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(raw.ctx, keep_session);
    assert_false(resumes(&raw, one));
    assert_true(resumes(&raw, one));
    assert_true(resumes(&raw, two)); /* another front-end with the same file */
    SSL_SESSION *of_two = last_session;
    SSL_SESSION_up_ref(of_two);
    assert_false(resumes(&raw, pop3)); /* the same keys, another service */
    assert_false(resumes(&raw, alone));
    assert_true(resumes(&raw, alone)); /* keys of this process alone */

    bool reloaded = false;
    SSL_SESSION_free(last_session);
    last_session = of_two;
    test_tickets_write(tickets, (uint8_t[]){9, 1, 2}, 3); /* rotated: 1 is the second now */
    assert_int_equal(io_tls_reload(one, false, &reloaded, NULL), CQ_OK);
    assert_true(reloaded);
    assert_true(resumes(&raw, one)); /* and it got a new ticket, of key 9 */
    test_tickets_write(tickets, (uint8_t[]){7, 8, 9}, 3);
    assert_int_equal(io_tls_reload(one, false, NULL, NULL), CQ_OK);
    assert_true(resumes(&raw, one));
    assert_false(resumes(&raw, two)); /* which has not read the new file */
    SSL_SESSION_free(last_session);
    last_session = NULL;
    raw_free(&raw);
    io_tls_free(&one);
    io_tls_free(&two);
    io_tls_free(&pop3);
    io_tls_free(&alone);
}

static void a_ticket_is_good_on_every_front_end_with_the_key_file(void **state)
{
    (void)state;
    tickets_in_version(TLS1_3_VERSION);
    tickets_in_version(TLS1_2_VERSION);
}

/* ---- Files ---- */

static void broken_files_are_named(void **state)
{
    (void)state;
    char missing[TEST_PATH_SIZE], text[TEST_PATH_SIZE], empty[TEST_PATH_SIZE], short_tickets[TEST_PATH_SIZE];
    test_path(missing, dir, "missing.pem");
    FILE *f = fopen(test_path(text, dir, "text.pem"), "w");
    fputs("-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n", f);
    fclose(f);
    fclose(fopen(test_path(empty, dir, "empty.pem"), "w"));
    test_tickets_write(test_path(short_tickets, dir, "short-tickets"), (uint8_t[]){1, 2}, 2);
    const struct {
        const char *cert, *key, *ca, *tickets, *named;
    } cases[] = {
        {missing, mail_key, NULL, NULL, "missing.pem"},
        {mail_pem, missing, NULL, NULL, "missing.pem"},
        {text, mail_key, NULL, NULL, "text.pem"},
        {empty, mail_key, NULL, NULL, "empty.pem"},
        {mail_pem, mail_pem, NULL, NULL, "mail.pem"},
        {mail_pem, shop_key, NULL, NULL, "shop.key is not the key of"},
        {mail_pem, mail_key, missing, NULL, "missing"},
        {mail_pem, mail_key, text, NULL, "text.pem"},
        {mail_pem, mail_key, NULL, missing, "missing"},
        {mail_pem, mail_key, NULL, short_tickets, "160 bytes"},
        {dir, mail_key, NULL, NULL, dir},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct io_tls_cert cert = {cases[i].cert, cases[i].key};
        struct io_tls_server_options options = server_options();
        struct cq_err err = {0};
        struct io_tls *tls = NULL;
        options.certs = &cert;
        options.client_ca_file = cases[i].ca;
        options.ticket_keys_file = cases[i].tickets;
        assert_int_equal(io_tls_server_new(&options, &tls, &err), CQ_E_CONFIG);
        assert_null(tls);
        if (!strstr(err.text, cases[i].named))
            fail_msg("case %zu: %s", i, err.text);
    }
}

/* The CN that a new connection is shown; "" when it fails. */
static const char *shown_cn(struct io_tls *tls)
{
    static char cn[64];
    struct raw raw = raw_new();
    cn[0] = '\0';
    if (raw_connect(&raw, NULL, tls, NULL, NULL, NULL) == 1)
        X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(raw.ssl)), NID_commonName, cn,
                                  sizeof cn);
    raw_disconnect(&raw);
    raw_free(&raw);
    return cn;
}

/* A mounted Kubernetes secret: name -> ..data/name, ..data -> a folder; the link is swapped by a rename. */
static void mount_secret(const char *mount, const char *version, const struct test_cert *cert)
{
    char folder[TEST_PATH_SIZE], cert_path[TEST_PATH_SIZE], key_path[TEST_PATH_SIZE], link_next[TEST_PATH_SIZE];
    char link_path[TEST_PATH_SIZE];
    assert_int_equal(mkdir(test_path(folder, mount, version), 0700), 0);
    test_cert_write(ca, cert, test_path(cert_path, folder, "tls.crt"), test_path(key_path, folder, "tls.key"));
    assert_int_equal(symlink(version, test_path(link_next, mount, "..data_tmp")), 0);
    assert_int_equal(rename(link_next, test_path(link_path, mount, "..data")), 0);
}

static void a_swapped_secret_is_used_by_the_next_connection(void **state)
{
    (void)state;
    char mount[TEST_PATH_SIZE], cert_path[TEST_PATH_SIZE], key_path[TEST_PATH_SIZE];
    assert_int_equal(mkdir(test_path(mount, dir, "secret"), 0700), 0);
    mount_secret(mount, "..v1", &(struct test_cert){.cn = "first", .dns = mail_names});
    assert_int_equal(symlink("..data/tls.crt", test_path(cert_path, mount, "tls.crt")), 0);
    assert_int_equal(symlink("..data/tls.key", test_path(key_path, mount, "tls.key")), 0);
    struct io_tls_cert cert = {cert_path, key_path};
    struct io_tls_server_options options = server_options();
    options.certs = &cert;
    struct io_tls *s = server_new(&options);
    assert_string_equal(shown_cn(s), "first");
    io_tls_watch(s, test_loop, 60000);
    mount_secret(mount, "..v2", &(struct test_cert){.cn = "second", .dns = mail_names});
    io_loop_clock_advance(test_loop, 59999 * 1000);
    assert_string_equal(shown_cn(s), "first");
    io_loop_clock_advance(test_loop, 1000);
    turns(1);
    assert_string_equal(shown_cn(s), "second");
    io_loop_clock_advance(test_loop, 60000 * 1000);
    turns(1);
    struct io_tls_stats stats;
    io_tls_stats(s, &stats);
    assert_int_equal(stats.reloads, 1); /* nothing new, nothing read */
    assert_int_equal(stats.reload_failures, 0);
    assert_true(stats.not_after_s > 1700000000);
    io_tls_unwatch(s);
    io_tls_free(&s);
}

static void a_bad_replacement_leaves_the_old_certificate_in_use(void **state)
{
    (void)state;
    char cert_path[TEST_PATH_SIZE], key_path[TEST_PATH_SIZE], unused[TEST_PATH_SIZE];
    struct test_cert first = {.cn = "first", .dns = mail_names}, second = {.cn = "second", .dns = mail_names},
                     expired = {.cn = "expired", .dns = mail_names, .ends_in_s = -10};
    test_path(unused, dir, "unused.key");
    test_cert_write(ca, &first, test_path(cert_path, dir, "live.pem"), test_path(key_path, dir, "live.key"));
    struct io_tls_cert cert = {cert_path, key_path};
    struct io_tls_server_options options = server_options();
    struct io_tls_stats stats;
    struct cq_err err = {0};
    bool reloaded = true;
    options.certs = &cert;
    struct io_tls *s = server_new(&options);
    assert_int_equal(io_tls_reload(s, false, &reloaded, &err), CQ_OK);
    assert_false(reloaded);
    test_cert_write(ca, &second, cert_path, unused); /* the certificate has come, its key has not yet */
    assert_int_equal(io_tls_reload(s, false, &reloaded, &err), CQ_E_CONFIG);
    assert_false(reloaded);
    assert_non_null(strstr(err.text, "is not the key of"));
    assert_string_equal(shown_cn(s), "first");
    io_tls_stats(s, &stats);
    assert_true(stats.stale);
    assert_int_equal(stats.reload_failures, 1);
    assert_int_equal(rename(unused, key_path), 0); /* and here it is */
    assert_int_equal(io_tls_reload(s, false, &reloaded, &err), CQ_OK);
    assert_true(reloaded);
    assert_string_equal(shown_cn(s), "second");
    test_cert_write(ca, &expired, cert_path, key_path);
    assert_int_equal(io_tls_reload(s, false, &reloaded, &err), CQ_E_CONFIG);
    assert_non_null(strstr(err.text, "expired"));
    assert_int_equal(remove(cert_path), 0);
    assert_int_equal(io_tls_reload(s, false, &reloaded, NULL), CQ_E_CONFIG);
    assert_string_equal(shown_cn(s), "second");
    test_cert_write(ca, &first, cert_path, key_path);
    assert_int_equal(io_tls_reload(s, false, &reloaded, NULL), CQ_OK);
    assert_string_equal(shown_cn(s), "first");
    io_tls_stats(s, &stats);
    assert_false(stats.stale);
    assert_int_equal(stats.reloads, 2);
    assert_int_equal(stats.reload_failures, 3);
    io_tls_free(&s);
}

static void reloads_in_mid_handshake_and_mid_session_disturb_nobody(void **state)
{
    (void)state;
    enum { N = 30 };
    char cert_path[TEST_PATH_SIZE], key_path[TEST_PATH_SIZE];
    struct test_cert wanted = {.cn = "live", .dns = mail_names};
    test_cert_write(ca, &wanted, test_path(cert_path, dir, "busy.pem"), test_path(key_path, dir, "busy.key"));
    struct io_tls_cert cert = {cert_path, key_path};
    struct io_tls_server_options options = server_options();
    options.certs = &cert;
    struct io_tls *s = server_new(&options), *c = client_new(NULL, NULL);
    static struct peer servers[N], clients[N];
    struct dial dials[N];
    for (int i = 0; i < N; i++) {
        struct io_conn *a, *b;
        io_pair_new(test_loop, NULL, &a, &b);
        peer_init(&servers[i], a);
        clients[i] = (struct peer){.conn = b};
        dials[i] = (struct dial){.conn = b, .tls = c, .name = "mail.example.test", .deadline_us = IO_NO_DEADLINE};
        io_conn_start_tls(a, s);
        io_fiber_spawn(test_loop, dial, &dials[i], NULL);
        turns(i % 3);
        if (i % 5 == 0)
            test_cert_write(ca, &wanted, cert_path, key_path);
        assert_int_equal(io_tls_reload(s, i % 2, NULL, NULL), CQ_OK);
    }
    for (int i = 0; i < N; i++)
        turns_until(dials[i].ended);
    io_tls_free(&s); /* sessions outlive their context */
    io_tls_free(&c);
    for (int i = 0; i < N; i++) {
        assert_int_equal(dials[i].rc, CQ_OK);
        io_conn_write_cstr(clients[i].conn, "still here");
        turns_until(servers[i].got.len);
        assert_slice(cq_buf_slice(&servers[i].got), "still here");
        io_conn_free(&clients[i].conn);
        peer_fini(&servers[i]);
    }
    turns(2);
}

static int64_t handshakes(const char *protocol, unsigned result)
{
    return cq_metric_value(&io_metrics, IO_M_TLS_HANDSHAKES, io_metrics_protocol(protocol), result);
}

static void handshakes_are_counted_by_the_protocol_that_they_are_for(void **state)
{
    (void)state;
    static const char *const protocols[] = {"imap", "pop3", "smtp", "submission", "lmtp", "rpc"};
    struct io_tls *from = client_new(NULL, NULL);
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++) {
        struct io_tls_server_options options = server_options();
        int64_t before[sizeof protocols / sizeof *protocols];
        options.service = protocols[i];
        struct io_tls *to = server_new(&options);
        for (size_t p = 0; p < sizeof protocols / sizeof *protocols; p++)
            before[p] = handshakes(protocols[p], IO_M_HANDSHAKE_FULL);
        handshake(to, from, "mail.example.test");
        hang_up();
        for (size_t p = 0; p < sizeof protocols / sizeof *protocols; p++)
            assert_int_equal(handshakes(protocols[p], IO_M_HANDSHAKE_FULL), before[p] + (p == i));
        io_tls_free(&to);
    }
    io_tls_free(&from);
}

static void handshakes_reloads_and_expiries_are_measured(void **state)
{
    (void)state;
    struct io_tls_server_options options = server_options();
    options.service = "measured";
    struct io_tls *one = server_new(&options), *two = server_new(&options), *c = client_new(NULL, NULL);
    struct io_tls_stats stats;
    struct cq_buf text;
    char expected[128];
    int64_t full = handshakes("other", IO_M_HANDSHAKE_FULL), client_full = handshakes("client", IO_M_HANDSHAKE_FULL);
    int64_t failed = handshakes("other", IO_M_HANDSHAKE_FAILED),
            client_failed = handshakes("client", IO_M_HANDSHAKE_FAILED);
    int64_t reloads = cq_metric_value(&io_metrics, IO_M_TLS_RELOADS, IO_M_RELOAD_OK);
    handshake(one, c, "mail.example.test");
    hang_up();
    handshake(one, c, "evil.example.test");
    hang_up();
    assert_int_equal(handshakes("other", IO_M_HANDSHAKE_FULL), full + 1);
    assert_int_equal(handshakes("client", IO_M_HANDSHAKE_FULL), client_full + 1);
    assert_int_equal(handshakes("other", IO_M_HANDSHAKE_FAILED), failed + 1);
    assert_int_equal(handshakes("client", IO_M_HANDSHAKE_FAILED), client_failed + 1);
    assert_int_equal(io_tls_reload(one, true, NULL, NULL), CQ_OK);
    assert_int_equal(cq_metric_value(&io_metrics, IO_M_TLS_RELOADS, IO_M_RELOAD_OK), reloads + 1);
    cq_buf_init(&text, CQ_METRICS_TEXT_MAX);
    assert_true(cq_metrics_scrape(&text));
    cq_buf_byte(&text, 0);
    io_tls_stats(one, &stats);
    snprintf(expected, sizeof expected, "not_after_timestamp_seconds{service=\"measured\"} %lld\n",
             (long long)stats.not_after_s);
    char *hit = strstr((char *)text.data, expected);
    assert_non_null(hit);
    assert_null(strstr(hit + 1, expected)); /* once, though there are two of that name */
    assert_non_null(strstr((char *)text.data, "tls_files_stale{service=\"measured\"} 0\n"));
    cq_buf_fini(&text);
    io_tls_free(&one);
    io_tls_free(&two);
    io_tls_free(&c);
}

#define T(name) cmocka_unit_test_setup_teardown(name, peer_setup, peer_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_ticket_is_good_on_every_front_end_with_the_key_file),
        T(broken_files_are_named),
        T(a_swapped_secret_is_used_by_the_next_connection),
        T(a_bad_replacement_leaves_the_old_certificate_in_use),
        T(reloads_in_mid_handshake_and_mid_session_disturb_nobody),
        T(handshakes_reloads_and_expiries_are_measured),
        T(handshakes_are_counted_by_the_protocol_that_they_are_for),
    };
    return cmocka_run_group_tests(tests, tls_world_setup, tls_world_teardown);
}
