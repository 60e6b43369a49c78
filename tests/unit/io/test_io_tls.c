/* Who believes whom: versions, names, ALPN, client certificates, kept sessions. */
#include "unit/io/tls_world.h"

#include "unit/cq_cmocka.h"

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

#define T(name) cmocka_unit_test_setup_teardown(name, peer_setup, peer_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(both_sides_talk_and_know_what_was_agreed),
        T(a_client_resumes_what_it_kept_of_an_earlier_connection),
        T(a_client_refuses_whom_it_cannot_believe),
        T(an_internal_link_needs_a_client_certificate_of_our_ca),
        T(only_a_protocol_of_ours_may_be_offered),
        T(old_versions_and_renegotiation_are_refused),
        T(the_certificate_follows_the_name_and_the_algorithm),
    };
    return cmocka_run_group_tests(tests, tls_world_setup, tls_world_teardown);
}
