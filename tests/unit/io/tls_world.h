/* For the tests of TLS: a folder with certificates of every kind, made once; a connection both of whose sides are ours;
 * a bare OpenSSL client on the other end. */
#ifndef TLS_WORLD_H
#define TLS_WORLD_H

#include <openssl/ssl.h>

#include "io/io_tls.h"
#include "unit/io/io_peer.h"
#include "unit/io/test_certs.h"

/* ---- The world ---- */

extern char dir[TEST_PATH_SIZE], ca_pem[TEST_PATH_SIZE], other_ca_pem[TEST_PATH_SIZE];
extern char mail_pem[TEST_PATH_SIZE], mail_key[TEST_PATH_SIZE], rsa_pem[TEST_PATH_SIZE], rsa_key[TEST_PATH_SIZE];
extern char shop_pem[TEST_PATH_SIZE], shop_key[TEST_PATH_SIZE], old_pem[TEST_PATH_SIZE], old_key[TEST_PATH_SIZE];
extern char node_pem[TEST_PATH_SIZE], node_key[TEST_PATH_SIZE], alien_pem[TEST_PATH_SIZE], alien_key[TEST_PATH_SIZE];
extern char many_pem[TEST_PATH_SIZE], many_key[TEST_PATH_SIZE], tickets[TEST_PATH_SIZE];
extern struct test_ca *ca, *other_ca;
extern const char *const imap_alpn[1];
extern const char *const mail_names[3]; /* of mail.pem; NULL at the end */
extern const char *const node_uris[3];  /* of node.pem and alien.pem */

/* cmocka group setup and teardown. Lines of the log about TLS, which these tests cause, stay off the terminal. */
int tls_world_setup(void **state);
int tls_world_teardown(void **state);

struct io_tls_server_options server_options(void); /* of mail.pem, ALPN imap */
struct io_tls *server_new(const struct io_tls_server_options *options);
struct io_tls *client_new(const char *cert, const char *key); /* trusts ca_pem; cert NULL: has none */

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

void dial(void *arg); /* a fiber that fills what came of it: rc, err, ended */

extern struct peer server, client;

/* A connected pair in which both have begun TLS; what came of the client's side is returned. */
struct dial handshake_again(struct io_tls *server_tls, struct io_tls *client_tls, const char *name,
                            const struct io_tls_session *resume);
struct dial handshake(struct io_tls *server_tls, struct io_tls *client_tls, const char *name);
void hang_up(void);

/* ---- A bare OpenSSL client; the other side is `server` ---- */

struct raw {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
};

struct raw raw_new(void);
/* The handshake's result: 1, or -1 with the reason in *reason_r. */
int raw_connect(struct raw *raw, const struct io_conn_options *options, struct io_tls *tls, const char *name,
                SSL_SESSION *session, int *reason_r);
void raw_disconnect(struct raw *raw);
void raw_free(struct raw *raw);
/* Reads n bytes of what the server writes. */
void raw_read(struct raw *raw, uint8_t *data, size_t n);

#endif
