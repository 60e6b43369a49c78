/* The TLS filter: OpenSSL's SSL object between two sides of the stack. Its BIO has no memory: reads and writes go
 * straight to the filter below. */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "io/io_conn_private.h"
#include "io/io_metrics.h"
#include "io/io_tls_private.h"

struct tls_filter {
    struct io_filter filter;
    SSL *ssl;
    bool client;
    bool wants_alpn;
    unsigned protocol; /* label of its handshake */
    bool ready;
    enum cq_rc below_rc; /* the last answer from below: CQ_E_AGAIN, CQ_E_EOF or trouble */
    struct cq_err *err;  /* the caller's, while OpenSSL works */
};

static struct tls_filter *of(const struct io_filter *filter)
{
    return cq_containerof(filter, struct tls_filter, filter);
}

/* ---- The BIO ---- */

static int bio_read(BIO *bio, char *data, size_t size, size_t *n_r)
{
    struct tls_filter *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    tls->below_rc = io_filter_below_read(&tls->filter, (uint8_t *)data, size, n_r, tls->err);
    if (tls->below_rc == CQ_E_AGAIN)
        BIO_set_retry_read(bio);
    return tls->below_rc == CQ_OK;
}

static int bio_write(BIO *bio, const char *data, size_t size, size_t *n_r)
{
    struct tls_filter *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *n_r = size;
    return io_filter_below_write(&tls->filter, cq_slice_of(data, size), tls->err) == CQ_OK;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)number, (void)pointer;
    struct tls_filter *tls = BIO_get_data(bio);
    if (command == BIO_CTRL_EOF)
        return tls->below_rc == CQ_E_EOF;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method;

static void make_bio_method(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "chasqui filter");
    CQ_ASSERT(bio_method && BIO_meth_set_read_ex(bio_method, bio_read) &&
              BIO_meth_set_write_ex(bio_method, bio_write) && BIO_meth_set_ctrl(bio_method, bio_ctrl));
}

static BIO *bio_new(struct tls_filter *tls)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_bio_method);
    BIO *bio = BIO_new(bio_method);
    CQ_ASSERT(bio);
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    return bio;
}

/* ---- Answers ---- */

/* Handshakes that fail because of who the other side is, or says that we are. */
static bool is_about_identity(int reason)
{
    static const int reasons[] = {
        SSL_R_CERTIFICATE_VERIFY_FAILED,           SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE,
        SSL_R_SSLV3_ALERT_BAD_CERTIFICATE,         SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED,
        SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED,     SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN,
        SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, SSL_R_TLSV1_ALERT_UNKNOWN_CA,
        SSL_R_TLSV1_ALERT_ACCESS_DENIED,           SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED,
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i] == reason)
            return true;
    return false;
}

static enum cq_rc ssl_failed(struct tls_filter *tls, struct cq_err *err)
{
    unsigned long code = ERR_peek_error();
    bool identity = ERR_GET_LIB(code) == ERR_LIB_SSL && is_about_identity(ERR_GET_REASON(code));
    long verify = SSL_get_verify_result(tls->ssl);
    if (verify != X509_V_OK)
        return CQ_FAIL(err, CQ_E_AUTH, "TLS: the peer's certificate: %s", X509_verify_cert_error_string(verify));
    return CQ_FAIL(err, identity ? CQ_E_AUTH : CQ_E_PROTO, "TLS: %s", io_tls_error_text());
}

/* What an SSL call that did not succeed means. */
static enum cq_rc result(struct tls_filter *tls, int ret, struct cq_err *err)
{
    switch (SSL_get_error(tls->ssl, ret)) {
    case SSL_ERROR_WANT_READ:
        return CQ_E_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return CQ_E_EOF;
    case SSL_ERROR_SYSCALL:
        return tls->below_rc == CQ_E_AGAIN || tls->below_rc == CQ_OK ? CQ_FAIL(err, CQ_E_IO, "TLS") : tls->below_rc;
    default:
        return ssl_failed(tls, err);
    }
}

/* ---- Handshake ---- */

static enum cq_rc check_alpn(struct tls_filter *tls, struct cq_err *err)
{
    const unsigned char *name;
    unsigned len;
    SSL_get0_alpn_selected(tls->ssl, &name, &len);
    if (tls->client && tls->wants_alpn && !len)
        return CQ_FAIL(err, CQ_E_PROTO, "TLS: the server speaks none of our protocols (ALPN)");
    return CQ_OK;
}

static enum cq_rc check_name_count(struct tls_filter *tls, struct cq_err *err)
{
    X509 *cert = SSL_get0_peer_certificate(tls->ssl);
    GENERAL_NAMES *names = cert ? X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL) : NULL;
    int count = sk_GENERAL_NAME_num(names);
    GENERAL_NAMES_free(names);
    if (!tls->client && count > IO_TLS_NAMES_MAX)
        return CQ_FAIL(err, CQ_E_AUTH, "TLS: the peer's certificate has %d names", count);
    return CQ_OK;
}

static void count_handshake(const struct tls_filter *tls, enum cq_rc rc)
{
    if (rc == CQ_E_AGAIN)
        return;
    unsigned done = SSL_session_reused(tls->ssl) ? IO_M_HANDSHAKE_RESUMED : IO_M_HANDSHAKE_FULL;
    cq_metric_add(&io_metrics, IO_M_TLS_HANDSHAKES, 1, tls->protocol, rc == CQ_OK ? done : IO_M_HANDSHAKE_FAILED);
}

static enum cq_rc handshake(struct tls_filter *tls, struct cq_err *err)
{
    int ret = SSL_do_handshake(tls->ssl);
    enum cq_rc rc = ret == 1 ? check_alpn(tls, err) : result(tls, ret, err);
    if (rc == CQ_OK)
        rc = check_name_count(tls, err);
    tls->ready = rc == CQ_OK;
    count_handshake(tls, rc);
    return rc;
}

/* ---- The filter ---- */

static enum cq_rc tls_read(struct io_filter *filter, uint8_t *data, size_t cap, size_t *n_r, struct cq_err *err)
{
    struct tls_filter *tls = of(filter);
    enum cq_rc rc = CQ_OK;
    tls->err = err;
    tls->below_rc = CQ_OK;
    ERR_clear_error();
    if (!tls->ready)
        rc = handshake(tls, err);
    int ret = rc == CQ_OK ? SSL_read_ex(tls->ssl, data, cap, n_r) : 1;
    if (ret != 1)
        rc = result(tls, ret, err);
    tls->err = NULL;
    return rc;
}

static enum cq_rc tls_write(struct io_filter *filter, struct cq_slice data, struct cq_err *err)
{
    struct tls_filter *tls = of(filter);
    size_t n = 0;
    tls->err = err;
    ERR_clear_error();
    int ret = data.len ? SSL_write_ex(tls->ssl, data.data, data.len, &n) : 1;
    enum cq_rc rc = ret == 1 ? CQ_OK : ssl_failed(tls, err);
    tls->err = NULL;
    CQ_ASSERT(rc != CQ_OK || n == data.len); /* what is below takes everything */
    return rc;
}

static void tls_finish(struct io_filter *filter)
{
    ERR_clear_error();
    SSL_shutdown(of(filter)->ssl); /* close_notify; the answer is not waited for */
    ERR_clear_error();
}

static bool tls_ready(const struct io_filter *filter)
{
    return of(filter)->ready;
}

static void tls_free(struct io_filter *filter)
{
    SSL_free(of(filter)->ssl);
    free(of(filter));
}

static const struct io_filter_ops tls_ops = {
    .name = "tls",
    .read = tls_read,
    .write = tls_write,
    .finish = tls_finish,
    .ready = tls_ready,
    .free = tls_free,
};

struct io_filter *io_filter_tls_new(struct io_tls *context, bool client, const char *server_name, struct cq_err *err)
{
    SSL *ssl = io_tls_session(context, client, server_name, err);
    if (!ssl)
        return NULL;
    struct tls_filter *tls = cq_new(struct tls_filter);
    tls->filter.ops = &tls_ops;
    tls->ssl = ssl;
    tls->client = client;
    tls->wants_alpn = io_tls_wants_alpn(context);
    tls->protocol = io_tls_protocol(context);
    BIO *bio = bio_new(tls);
    SSL_set_bio(ssl, bio, bio);
    if (client)
        SSL_set_connect_state(ssl);
    else
        SSL_set_accept_state(ssl);
    return &tls->filter;
}

struct ssl_st *io_filter_tls_ssl(struct io_filter *filter)
{
    return of(filter)->ssl;
}
