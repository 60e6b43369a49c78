#include "unit/io/tls_world.h"

#include "unit/cq_cmocka.h"

#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cq_log.h"
#include "io/io_metrics.h"

/* Errors in the log that these tests cause on purpose stay off the terminal. */
static bool quiet(enum cq_log_level level, const char *event, struct cq_slice line, void *ctx)
{
    (void)level, (void)line, (void)ctx;
    return strncmp(event, "tls.", 4) != 0;
}

/* ---- The world: a folder with certificates, made once ---- */

char dir[TEST_PATH_SIZE], ca_pem[TEST_PATH_SIZE], other_ca_pem[TEST_PATH_SIZE];
char mail_pem[TEST_PATH_SIZE], mail_key[TEST_PATH_SIZE], rsa_pem[TEST_PATH_SIZE], rsa_key[TEST_PATH_SIZE];
char shop_pem[TEST_PATH_SIZE], shop_key[TEST_PATH_SIZE], old_pem[TEST_PATH_SIZE], old_key[TEST_PATH_SIZE];
char node_pem[TEST_PATH_SIZE], node_key[TEST_PATH_SIZE], alien_pem[TEST_PATH_SIZE], alien_key[TEST_PATH_SIZE];
char many_pem[TEST_PATH_SIZE], many_key[TEST_PATH_SIZE], tickets[TEST_PATH_SIZE];
struct test_ca *ca, *other_ca;

const char *const mail_names[3] = {"mail.example.test", "*.wild.example.test", NULL};
static const char *const shop_names[] = {"shop.example.test", NULL};
const char *const node_uris[3] = {"spiffe://example.test/role/storage-node", "spiffe://example.test/node/7", NULL};

int tls_world_setup(void **state)
{
    (void)state;
    static char texts[IO_TLS_NAMES_MAX + 1][32];
    static const char *many[IO_TLS_NAMES_MAX + 2];
    for (int i = 0; i <= IO_TLS_NAMES_MAX; i++) {
        snprintf(texts[i], sizeof texts[i], "n%d.example.test", i);
        many[i] = texts[i];
    }
    cq_log_set_tap(quiet, NULL);
    io_metrics_register();
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

int tls_world_teardown(void **state)
{
    (void)state;
    test_ca_free(&ca);
    test_ca_free(&other_ca);
    test_dir_remove(dir);
    return 0;
}

const char *const imap_alpn[1] = {"imap"};

struct io_tls_server_options server_options(void)
{
    static struct io_tls_cert certs[1];
    certs[0] = (struct io_tls_cert){mail_pem, mail_key};
    return (struct io_tls_server_options){
        .service = "imap", .certs = certs, .cert_count = 1, .alpn = imap_alpn, .alpn_count = 1};
}

struct io_tls *server_new(const struct io_tls_server_options *options)
{
    struct io_tls *tls = NULL;
    struct cq_err err = {0};
    if (io_tls_server_new(options, &tls, &err) != CQ_OK)
        fail_msg("%s", err.text);
    return tls;
}

struct io_tls *client_new(const char *cert, const char *key)
{
    struct io_tls *tls = NULL;
    struct io_tls_client_options options = {.ca_file = ca_pem, .cert_file = cert, .key_file = key};
    assert_int_equal(io_tls_client_new(&options, &tls, NULL), CQ_OK);
    return tls;
}

/* ---- Both sides ours ---- */

void dial(void *arg)
{
    struct dial *d = arg;
    d->rc = io_conn_start_tls_client(d->conn, d->tls, d->name, d->resume, d->deadline_us, &d->err);
    d->ended = true;
}

struct peer server, client;

/* A connected pair in which both have begun TLS; what came of the client's side is returned. */
struct dial handshake_again(struct io_tls *server_tls, struct io_tls *client_tls, const char *name,
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

struct dial handshake(struct io_tls *server_tls, struct io_tls *client_tls, const char *name)
{
    return handshake_again(server_tls, client_tls, name, NULL);
}

void hang_up(void)
{
    peer_fini(&client);
    peer_fini(&server);
    turns(2);
}

/* ---- A bare OpenSSL client on the other end ---- */

struct raw raw_new(void)
{
    struct raw raw = {.ctx = SSL_CTX_new(TLS_client_method()), .fd = -1};
    SSL_CTX_set_verify(raw.ctx, SSL_VERIFY_NONE, NULL);
    return raw;
}

/* The handshake's result: 1, or -1 with the reason in *reason_r. */
int raw_connect(struct raw *raw, const struct io_conn_options *options, struct io_tls *tls, const char *name,
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

void raw_disconnect(struct raw *raw)
{
    SSL_set_shutdown(raw->ssl, SSL_SENT_SHUTDOWN); /* else OpenSSL holds the session to be spoilt */
    SSL_free(raw->ssl);
    raw->ssl = NULL;
    close(raw->fd);
    peer_fini(&server);
    turns(2);
}

void raw_free(struct raw *raw)
{
    SSL_CTX_free(raw->ctx);
}

/* Reads n bytes of the pattern. */
void raw_read(struct raw *raw, uint8_t *data, size_t n)
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
