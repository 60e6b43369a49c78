#include "io/io_tls.h"

#include "unit/cq_cmocka.h"

#include <malloc.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "io/io_metrics.h"
#include "io/io_sanitize.h"
#include "unit/io/io_peer.h"
#include "unit/io/test_certs.h"

/* ---- The world: a folder with certificates, made once ---- */

static char dir[TEST_PATH_SIZE], ca_pem[TEST_PATH_SIZE], other_ca_pem[TEST_PATH_SIZE];
static char mail_pem[TEST_PATH_SIZE], mail_key[TEST_PATH_SIZE], rsa_pem[TEST_PATH_SIZE], rsa_key[TEST_PATH_SIZE];
static char shop_pem[TEST_PATH_SIZE], shop_key[TEST_PATH_SIZE], old_pem[TEST_PATH_SIZE], old_key[TEST_PATH_SIZE];
static char node_pem[TEST_PATH_SIZE], node_key[TEST_PATH_SIZE], alien_pem[TEST_PATH_SIZE], alien_key[TEST_PATH_SIZE];
static char many_pem[TEST_PATH_SIZE], many_key[TEST_PATH_SIZE], tickets[TEST_PATH_SIZE];
static struct test_ca *ca, *other_ca;

static const char *const mail_names[] = {"mail.example.test", "*.wild.example.test", NULL};
static const char *const shop_names[] = {"shop.example.test", NULL};
static const char *const node_uris[] = {"spiffe://example.test/role/storage-node", "spiffe://example.test/node/7",
                                        NULL};

static int make_world(void **state)
{
    (void)state;
    static char texts[IO_TLS_NAMES_MAX + 1][32];
    static const char *many[IO_TLS_NAMES_MAX + 2];
    for (int i = 0; i <= IO_TLS_NAMES_MAX; i++) {
        snprintf(texts[i], sizeof texts[i], "n%d.example.test", i);
        many[i] = texts[i];
    }
    test_dir_make(dir);
    ca = test_ca_new("Test CA");
    other_ca = test_ca_new("Other CA");
    test_ca_write(ca, test_path(ca_pem, dir, "ca.pem"));
    test_ca_write(other_ca, test_path(other_ca_pem, dir, "other-ca.pem"));
    test_cert_write(ca, &(struct test_cert){.cn = "mail", .dns = mail_names}, test_path(mail_pem, dir, "mail.pem"),
                    test_path(mail_key, dir, "mail.key"));
    test_cert_write(ca, &(struct test_cert){.cn = "mail-rsa", .dns = mail_names, .rsa = true},
                    test_path(rsa_pem, dir, "rsa.pem"), test_path(rsa_key, dir, "rsa.key"));
    test_cert_write(ca, &(struct test_cert){.cn = "shop", .dns = shop_names}, test_path(shop_pem, dir, "shop.pem"),
                    test_path(shop_key, dir, "shop.key"));
    test_cert_write(ca, &(struct test_cert){.cn = "old", .dns = mail_names, .ends_in_s = -60},
                    test_path(old_pem, dir, "old.pem"), test_path(old_key, dir, "old.key"));
    test_cert_write(ca, &(struct test_cert){.cn = "node-7", .uri = node_uris}, test_path(node_pem, dir, "node.pem"),
                    test_path(node_key, dir, "node.key"));
    test_cert_write(other_ca, &(struct test_cert){.cn = "node-7", .uri = node_uris},
                    test_path(alien_pem, dir, "alien.pem"), test_path(alien_key, dir, "alien.key"));
    test_cert_write(ca, &(struct test_cert){.cn = "many", .dns = many}, test_path(many_pem, dir, "many.pem"),
                    test_path(many_key, dir, "many.key"));
    test_tickets_write(test_path(tickets, dir, "tickets"), (uint8_t[]){1, 2, 3}, 3);
    return 0;
}

static int end_world(void **state)
{
    (void)state;
    test_ca_free(&ca);
    test_ca_free(&other_ca);
    test_dir_remove(dir);
    return 0;
}

static const char *const imap_alpn[] = {"imap"};

static struct io_tls_server_options server_options(void)
{
    static struct io_tls_cert certs[1];
    certs[0] = (struct io_tls_cert){mail_pem, mail_key};
    return (struct io_tls_server_options){
        .service = "imap", .certs = certs, .cert_count = 1, .alpn = imap_alpn, .alpn_count = 1};
}

static struct io_tls *server_new(const struct io_tls_server_options *options)
{
    struct io_tls *tls = NULL;
    struct cq_err err = {0};
    if (io_tls_server_new(options, &tls, &err) != CQ_OK)
        fail_msg("%s", err.text);
    return tls;
}

static struct io_tls *client_new(const char *cert, const char *key)
{
    struct io_tls *tls = NULL;
    struct io_tls_client_options options = {.ca_file = ca_pem, .cert_file = cert, .key_file = key};
    assert_int_equal(io_tls_client_new(&options, &tls, NULL), CQ_OK);
    return tls;
}

/* ---- Both sides ours ---- */

struct dial {
    struct io_conn *conn;
    struct io_tls *tls;
    const char *name;
    const struct io_tls_session *resume;
    uint64_t deadline_us;
    enum cq_rc rc;
    struct cq_err err;
    bool ended;
};

static void dial(void *arg)
{
    struct dial *d = arg;
    d->rc = io_conn_start_tls_client(d->conn, d->tls, d->name, d->resume, d->deadline_us, &d->err);
    d->ended = true;
}

static struct peer server, client;

/* A connected pair in which both have begun TLS; what came of the client's side is returned. */
static struct dial handshake_again(struct io_tls *server_tls, struct io_tls *client_tls, const char *name,
                                   const struct io_tls_session *resume)
{
    struct io_conn *a, *b;
    io_pair_new(test_loop, NULL, &a, &b);
    peer_init(&server, a);
    peer_init(&client, NULL);
    client.conn = b;
    server.keep_after_close = true;
    struct dial d = {.conn = b, .tls = client_tls, .name = name, .resume = resume, .deadline_us = IO_NO_DEADLINE};
    assert_false(io_conn_start_tls(a, server_tls));
    io_fiber_spawn(test_loop, dial, &d, NULL);
    turns_until(d.ended);
    io_conn_set_ops(b, &peer_ops, &client);
    client.keep_after_close = true;
    turns(3);
    return d;
}

static struct dial handshake(struct io_tls *server_tls, struct io_tls *client_tls, const char *name)
{
    return handshake_again(server_tls, client_tls, name, NULL);
}

static void hang_up(void)
{
    peer_fini(&client);
    peer_fini(&server);
    turns(2);
}

static struct io_tls_session *talk_and_keep_the_session(void)
{
    io_conn_write_cstr(server.conn, "* OK ready\r\n");
    turns_until(client.got.len); /* the tickets came before it */
    return io_conn_tls_session(client.conn);
}

static void a_client_resumes_what_it_kept_of_an_earlier_connection(void **state)
{
    (void)state;
    struct io_tls_server_options options = server_options();
    struct io_tls *s = server_new(&options), *other = server_new(&options), *c = client_new(NULL, NULL);
    assert_int_equal(handshake(s, c, "mail.example.test").rc, CQ_OK);
    assert_false(io_conn_tls(client.conn)->resumed);
    struct io_tls_session *first = talk_and_keep_the_session();
    assert_non_null(first);
    hang_up();
    assert_int_equal(handshake_again(s, c, "mail.example.test", first).rc, CQ_OK);
    assert_true(io_conn_tls(client.conn)->resumed && io_conn_tls(server.conn)->resumed);
    struct io_tls_session *second = talk_and_keep_the_session();
    hang_up();
    assert_int_equal(handshake_again(other, c, "mail.example.test", second).rc, CQ_OK); /* its keys are not those */
    assert_false(io_conn_tls(client.conn)->resumed);
    hang_up();
    io_tls_session_free(&first);
    io_tls_session_free(&second);
    io_tls_session_free(&second);
    io_tls_free(&s);
    io_tls_free(&other);
    io_tls_free(&c);
}

static void both_sides_talk_and_know_what_was_agreed(void **state)
{
    (void)state;
    struct io_tls_server_options options = server_options();
    struct io_tls *s = server_new(&options), *c = NULL;
    struct io_tls_client_options client_options = {.ca_file = ca_pem, .alpn = imap_alpn, .alpn_count = 1};
    assert_int_equal(io_tls_client_new(&client_options, &c, NULL), CQ_OK);
    struct dial d = handshake(s, c, "MAIL.example.test");
    assert_int_equal(d.rc, CQ_OK);
    assert_int_equal(server.tls, 1);
    io_conn_write_cstr(server.conn, "* OK ready\r\n");
    io_conn_write_cstr(client.conn, "a1 NOOP\r\n");
    turns_until(server.got.len && client.got.len);
    assert_slice(cq_buf_slice(&server.got), "a1 NOOP\r\n");
    assert_slice(cq_buf_slice(&client.got), "* OK ready\r\n");
    const struct io_tls_info *info = io_conn_tls(server.conn);
    assert_string_equal(info->version, "TLSv1.3");
    assert_string_equal(info->alpn, "imap");
    assert_string_equal(info->sni, "mail.example.test");
    assert_false(info->resumed || info->peer_verified);
    assert_string_equal(info->peer_cn, "");
    assert_ptr_equal(io_conn_tls(server.conn), info);
    info = io_conn_tls(client.conn);
    assert_true(info->peer_verified);
    assert_string_equal(info->peer_cn, "mail");
    assert_string_equal(info->peer_dns[1], "*.wild.example.test");
    assert_null(info->peer_dns[2]);
    uint8_t ours[32], theirs[32];
    assert_true(io_conn_tls_exporter(server.conn, "EXPORTER-Channel-Binding", ours, 32));
    assert_true(io_conn_tls_exporter(client.conn, "EXPORTER-Channel-Binding", theirs, 32));
    assert_memory_equal(ours, theirs, 32);
    assert_true(io_conn_tls_exporter(client.conn, "EXPORTER-Other", theirs, 32));
    assert_memory_not_equal(ours, theirs, 32);
    hang_up();
    io_tls_free(&s);
    io_tls_free(&c);
}

static void a_client_refuses_whom_it_cannot_believe(void **state)
{
    (void)state;
    struct io_tls_server_options options = server_options();
    struct io_tls *s = server_new(&options), *c = client_new(NULL, NULL), *wrong_ca = NULL, *wants_alpn = NULL;
    struct io_tls_cert expired = {old_pem, old_key};
    struct io_tls_client_options wrong = {.ca_file = other_ca_pem};
    assert_int_equal(io_tls_client_new(&wrong, &wrong_ca, NULL), CQ_OK);
    static const char *const rpc[] = {"chasqui-rpc"};
    struct io_tls_client_options alpn = {.ca_file = ca_pem, .alpn = rpc, .alpn_count = 1};
    assert_int_equal(io_tls_client_new(&alpn, &wants_alpn, NULL), CQ_OK);
    assert_int_equal(handshake(s, c, "mail.example.test").rc, CQ_OK);
    hang_up();
    assert_int_equal(handshake(s, c, "x.wild.example.test").rc, CQ_OK);
    hang_up();
    assert_int_equal(handshake(s, c, NULL).rc, CQ_OK); /* the chain alone */
    hang_up();
    struct dial d = handshake(s, c, "evil.example.test");
    assert_int_equal(d.rc, CQ_E_AUTH);
    assert_non_null(strstr(d.err.text, "hostname mismatch"));
    assert_int_equal(server.why, CQ_E_AUTH); /* it heard our alert */
    hang_up();
    assert_int_equal(handshake(s, c, "x.y.wild.example.test").rc, CQ_E_AUTH);
    hang_up();
    assert_int_equal(handshake(s, c, "192.0.2.1").rc, CQ_E_AUTH);
    hang_up();
    assert_int_equal(handshake(s, wrong_ca, "mail.example.test").rc, CQ_E_AUTH);
    hang_up();
    assert_int_equal(handshake(s, wants_alpn, "mail.example.test").rc, CQ_E_PROTO);
    hang_up();
    options.certs = &expired;
    io_tls_free(&s);
    s = server_new(&options); /* is loaded at the start, with an error in the log */
    assert_int_equal(handshake(s, c, "mail.example.test").rc, CQ_E_AUTH);
    hang_up();
    io_tls_free(&s);
    io_tls_free(&c);
    io_tls_free(&wrong_ca);
    io_tls_free(&wants_alpn);
}

static void an_internal_link_needs_a_client_certificate_of_our_ca(void **state)
{
    (void)state;
    struct io_tls_server_options options = server_options();
    options.client_ca_file = ca_pem;
    options.alpn_count = 0;
    struct io_tls *s = server_new(&options);
    static const struct {
        const char *cert, *key;
        enum cq_rc rc;
    } cases[] = {{node_pem, node_key, CQ_OK},
                 {NULL, NULL, CQ_E_AUTH},
                 {alien_pem, alien_key, CQ_E_AUTH},
                 {old_pem, old_key, CQ_E_AUTH},
                 {many_pem, many_key, CQ_E_AUTH}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct io_tls *c = client_new(cases[i].cert, cases[i].key);
        handshake(s, c, "mail.example.test");
        turns(5);
        if (cases[i].rc == CQ_OK) {
            const struct io_tls_info *info = io_conn_tls(server.conn);
            assert_true(info->peer_verified);
            assert_string_equal(info->peer_cn, "node-7");
            assert_string_equal(info->peer_uri[0], node_uris[0]);
            assert_string_equal(info->peer_uri[1], node_uris[1]);
            assert_null(info->peer_uri[2]);
        } else {
            assert_int_equal(server.why, cases[i].rc);
            assert_int_equal(server.tls, 0); /* the owner never saw it */
            assert_int_equal(client.closes + client.eofs, 1);
        }
        hang_up();
        io_tls_free(&c);
    }
    io_tls_free(&s);
}

/* ---- A bare OpenSSL client on the other end ---- */

struct raw {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
};

static struct raw raw_new(void)
{
    struct raw raw = {.ctx = SSL_CTX_new(TLS_client_method()), .fd = -1};
    SSL_CTX_set_verify(raw.ctx, SSL_VERIFY_NONE, NULL);
    return raw;
}

/* The handshake's result: 1, or -1 with the reason in *reason_r. */
static int raw_connect(struct raw *raw, const struct io_conn_options *options, struct io_tls *tls, const char *name,
                       SSL_SESSION *session, int *reason_r)
{
    peer_init(&server, io_pair_new_fd(test_loop, options, &raw->fd));
    server.keep_after_close = true;
    raw->ssl = SSL_new(raw->ctx);
    SSL_set_fd(raw->ssl, raw->fd);
    SSL_set_connect_state(raw->ssl);
    if (name)
        SSL_set_tlsext_host_name(raw->ssl, name);
    if (session)
        SSL_set_session(raw->ssl, session);
    io_conn_start_tls(server.conn, tls);
    int result = 0;
    for (int i = 0; i < 1000; i++) {
        ERR_clear_error();
        result = SSL_do_handshake(raw->ssl);
        if (result == 1 || SSL_get_error(raw->ssl, result) != SSL_ERROR_WANT_READ)
            break;
        turns(1);
    }
    if (reason_r)
        *reason_r = ERR_GET_REASON(ERR_peek_error());
    turns(3);
    return result;
}

static void raw_disconnect(struct raw *raw)
{
    SSL_set_shutdown(raw->ssl, SSL_SENT_SHUTDOWN); /* else OpenSSL holds the session to be spoilt */
    SSL_free(raw->ssl);
    raw->ssl = NULL;
    close(raw->fd);
    peer_fini(&server);
    turns(2);
}

static void raw_free(struct raw *raw)
{
    SSL_CTX_free(raw->ctx);
}

/* Reads n bytes of the pattern. */
static void raw_read(struct raw *raw, uint8_t *data, size_t n)
{
    for (size_t at = 0, idle = 0; at < n;) {
        size_t part = 0;
        ERR_clear_error();
        int ok = SSL_read_ex(raw->ssl, data + at, n - at, &part);
        if (!ok)
            assert_int_equal(SSL_get_error(raw->ssl, ok), SSL_ERROR_WANT_READ);
        at += part;
        idle = part ? 0 : idle + 1;
        assert_true(idle < 1000);
        turns(1);
    }
}

static void only_a_protocol_of_ours_may_be_offered(void **state)
{
    (void)state;
    struct io_tls_server_options options = server_options();
    static const struct {
        const char *offer;
        size_t server_protocols;
        bool ok;
    } cases[] = {
        {NULL, 1, true},       {"\4imap", 1, true},  {"\4http\4imap", 1, true}, {"\10http/1.1", 1, false},
        {"\5imap2", 1, false}, {"\4IMAP", 1, false}, {"\4imap", 0, false},      {NULL, 0, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        options.alpn_count = cases[i].server_protocols;
        struct io_tls *s = server_new(&options);
        struct raw raw = raw_new();
        int reason = 0;
        if (cases[i].offer)
            SSL_CTX_set_alpn_protos(raw.ctx, (const uint8_t *)cases[i].offer, (unsigned)strlen(cases[i].offer));
        int result = raw_connect(&raw, NULL, s, NULL, NULL, &reason);
        assert_int_equal(result == 1, cases[i].ok);
        if (!cases[i].ok) {
            assert_int_equal(reason, SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
            assert_int_equal(server.why, CQ_E_PROTO);
        }
        raw_disconnect(&raw);
        raw_free(&raw);
        io_tls_free(&s);
    }
}

static void old_versions_and_renegotiation_are_refused(void **state)
{
    (void)state;
    struct io_tls_server_options options = server_options();
    struct io_tls *s = server_new(&options);
    struct raw raw = raw_new();
    SSL_CTX_set_min_proto_version(raw.ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(raw.ctx, TLS1_1_VERSION);
    SSL_CTX_set_security_level(raw.ctx, 0);
    SSL_CTX_set_cipher_list(raw.ctx, "ALL");
    assert_true(raw_connect(&raw, NULL, s, NULL, NULL, NULL) != 1);
    assert_int_equal(server.why, CQ_E_PROTO);
    raw_disconnect(&raw);
    SSL_CTX_set_max_proto_version(raw.ctx, TLS1_2_VERSION);
    assert_int_equal(raw_connect(&raw, NULL, s, NULL, NULL, NULL), 1);
    assert_string_equal(io_conn_tls(server.conn)->version, "TLSv1.2");
    assert_true(io_conn_tls_exporter(server.conn, "EXPORTER-Channel-Binding", (uint8_t[32]){0}, 32)); /* EMS */
    SSL_renegotiate(raw.ssl);
    for (int i = 0; i < 10; i++) {
        assert_true(SSL_do_handshake(raw.ssl) != 1);
        turns(1);
    }
    raw_disconnect(&raw);
    raw_free(&raw);
    options.tls13_only = true;
    io_tls_free(&s);
    s = server_new(&options);
    raw = raw_new();
    SSL_CTX_set_max_proto_version(raw.ctx, TLS1_2_VERSION);
    assert_true(raw_connect(&raw, NULL, s, NULL, NULL, NULL) != 1);
    raw_disconnect(&raw);
    raw_free(&raw);
    io_tls_free(&s);
}

static void the_certificate_follows_the_name_and_the_algorithm(void **state)
{
    (void)state;
    struct io_tls_cert certs[] = {{mail_pem, mail_key}, {rsa_pem, rsa_key}, {shop_pem, shop_key}};
    struct io_tls_server_options options = server_options();
    options.certs = certs;
    options.cert_count = 3;
    struct io_tls *s = server_new(&options);
    static const struct {
        const char *name, *sigalgs, *cn;
    } cases[] = {
        {"mail.example.test", "ECDSA+SHA256", "mail"},
        {"mail.example.test", "RSA-PSS+SHA256:RSA+SHA256", "mail-rsa"},
        {"SHOP.example.test", "ECDSA+SHA256:RSA-PSS+SHA256", "shop"},
        {"nobody.example.test", "ECDSA+SHA256:RSA-PSS+SHA256", "mail"},
        {NULL, "ECDSA+SHA256:RSA-PSS+SHA256", "mail"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct raw raw = raw_new();
        SSL_CTX_set1_sigalgs_list(raw.ctx, cases[i].sigalgs);
        assert_int_equal(raw_connect(&raw, NULL, s, cases[i].name, NULL, NULL), 1);
        char cn[64] = "";
        X509 *cert = SSL_get0_peer_certificate(raw.ssl);
        X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn, sizeof cn);
        assert_string_equal(cn, cases[i].cn);
        raw_disconnect(&raw);
        raw_free(&raw);
    }
    io_tls_free(&s);
}

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

static void handshakes_reloads_and_expiries_are_measured(void **state)
{
    (void)state;
    struct io_tls_server_options options = server_options();
    options.service = "measured";
    struct io_tls *one = server_new(&options), *two = server_new(&options), *c = client_new(NULL, NULL);
    struct io_tls_stats stats;
    struct cq_buf text;
    char expected[128];
    int64_t full = cq_metric_value(&io_metrics, IO_M_TLS_HANDSHAKES, IO_M_HANDSHAKE_FULL);
    int64_t failed = cq_metric_value(&io_metrics, IO_M_TLS_HANDSHAKES, IO_M_HANDSHAKE_FAILED);
    int64_t reloads = cq_metric_value(&io_metrics, IO_M_TLS_RELOADS, IO_M_RELOAD_OK);
    handshake(one, c, "mail.example.test");
    hang_up();
    handshake(one, c, "evil.example.test");
    hang_up();
    assert_int_equal(cq_metric_value(&io_metrics, IO_M_TLS_HANDSHAKES, IO_M_HANDSHAKE_FULL), full + 2);
    assert_int_equal(cq_metric_value(&io_metrics, IO_M_TLS_HANDSHAKES, IO_M_HANDSHAKE_FAILED), failed + 2);
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

/* Errors in the log that these tests cause on purpose stay off the terminal. */
static bool quiet(enum cq_log_level level, const char *event, struct cq_slice line, void *ctx)
{
    (void)level, (void)line, (void)ctx;
    return strncmp(event, "tls.", 4) != 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, peer_setup, peer_teardown)

int main(void)
{
    cq_log_set_tap(quiet, NULL);
    io_metrics_register();
    const struct CMUnitTest tests[] = {
        T(both_sides_talk_and_know_what_was_agreed),
        T(a_client_resumes_what_it_kept_of_an_earlier_connection),
        T(a_client_refuses_whom_it_cannot_believe),
        T(an_internal_link_needs_a_client_certificate_of_our_ca),
        T(only_a_protocol_of_ours_may_be_offered),
        T(old_versions_and_renegotiation_are_refused),
        T(the_certificate_follows_the_name_and_the_algorithm),
        T(a_ticket_is_good_on_every_front_end_with_the_key_file),
        T(broken_files_are_named),
        T(a_swapped_secret_is_used_by_the_next_connection),
        T(a_bad_replacement_leaves_the_old_certificate_in_use),
        T(reloads_in_mid_handshake_and_mid_session_disturb_nobody),
        T(handshakes_reloads_and_expiries_are_measured),
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
    return cmocka_run_group_tests(tests, make_world, end_world);
}
