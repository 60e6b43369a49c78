/* TLS on a connection: beginning it, and what it tells about the peer. */
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "io/io_conn_private.h"

/* For a client that comes again. */
struct io_tls_session {
    SSL_SESSION *session; /* ours */
};

enum cq_rc conn_begin_tls(struct io_conn *conn, struct io_tls *tls, bool client, const char *server_name,
                          bool keep_input, struct cq_err *err)
{
    struct io_filter *filter = io_filter_tls_new(tls, client, server_name, err);
    if (!filter)
        return CQ_E_INTERNAL;
    if (keep_input)
        io_bytes_add(&conn->raw, io_bytes_slice(&conn->in));
    io_conn_push_filter(conn, filter);
    conn->phase_due_us = io_loop_now_us(conn->loop) + conn->handshake_us;
    conn_set_timer(conn);
    io_loop_defer_next(conn->loop, &conn->again); /* a client speaks first; and there may be raw input */
    conn_watch(conn);
    return CQ_OK;
}

bool io_conn_start_tls(struct io_conn *conn, struct io_tls *server)
{
    bool injected = conn->in.len > 0;
    struct cq_err err = {0};
    if (conn->state == CONN_OPEN && conn_begin_tls(conn, server, false, NULL, false, &err) != CQ_OK)
        conn_end(conn, CQ_E_INTERNAL, err.text);
    return injected;
}

static enum cq_rc wait_for_handshake(struct io_conn *conn, uint64_t deadline_us, struct cq_err *err)
{
    while (conn->handshaking && conn->state == CONN_OPEN) {
        enum cq_rc rc = io_wait(&conn->readers, deadline_us);
        if (rc != CQ_OK)
            return CQ_FAIL(err, rc, "TLS handshake: %s", cq_rc_text(rc));
    }
    conn->tls_news = false;
    if (conn->state == CONN_OPEN)
        return CQ_OK;
    return CQ_FAIL(err, conn->why == CQ_E_EOF ? CQ_E_UNAVAILABLE : conn->why, "%s",
                   conn->why_text ? conn->why_text : "closed");
}

enum cq_rc io_conn_start_tls_client(struct io_conn *conn, struct io_tls *client, const char *server_name,
                                    const struct io_tls_session *resume, uint64_t deadline_us, struct cq_err *err)
{
    CQ_ASSERT(conn->paused || !conn->ops || !conn->ops->on_input);
    if (conn->state != CONN_OPEN)
        return CQ_FAIL(err, CQ_E_UNAVAILABLE, "closed");
    if (conn->in.len)
        return CQ_FAIL(err, CQ_E_PROTO, "the server sent %zu bytes in clear before TLS", conn->in.len);
    enum cq_rc rc = conn_begin_tls(conn, client, true, server_name, false, err);
    if (rc == CQ_OK && resume) /* one that is too old or of another server costs a full handshake, no more */
        SSL_set_session(io_filter_tls_ssl(conn->top), resume->session);
    return rc == CQ_OK ? wait_for_handshake(conn, deadline_us, err) : rc;
}

/* ---- What TLS tells ---- */

/* The public struct first, so that it can be given away. */
struct tls_info {
    struct io_tls_info info;
    char *texts[2 * IO_TLS_NAMES_MAX + 4];
    size_t text_count;
    const char *dns[IO_TLS_NAMES_MAX + 1];
    const char *uri[IO_TLS_NAMES_MAX + 1];
};

static const char *keep_text(struct tls_info *all, const void *text, size_t len)
{
    return all->texts[all->text_count++] = cq_strndup(text, len);
}

/* Names that hide something (NUL, control bytes, not ASCII) are no names. */
static bool is_plain(const unsigned char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] >= 0x7f)
            return false;
    return len > 0;
}

static void keep_alt_name(struct tls_info *all, const GENERAL_NAME *name, const char **list)
{
    const ASN1_STRING *text = name->d.ia5;
    size_t len = (size_t)ASN1_STRING_length(text), n = 0;
    while (list[n])
        n++;
    if (n < IO_TLS_NAMES_MAX && is_plain(ASN1_STRING_get0_data(text), len))
        list[n] = keep_text(all, ASN1_STRING_get0_data(text), len);
}

static void keep_alt_names(struct tls_info *all, const X509 *cert)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS)
            keep_alt_name(all, name, all->dns);
        else if (name->type == GEN_URI)
            keep_alt_name(all, name, all->uri);
    }
    GENERAL_NAMES_free(names);
}

static const char *common_name(struct tls_info *all, const X509 *cert)
{
    const X509_NAME *subject = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
        return ""; /* none, or more than one: whom should we believe? */
    const ASN1_STRING *value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
    size_t len = (size_t)ASN1_STRING_length(value);
    if (!is_plain(ASN1_STRING_get0_data(value), len))
        return "";
    return keep_text(all, ASN1_STRING_get0_data(value), len);
}

static const char *sni_of(struct tls_info *all, SSL *ssl)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    size_t len = name ? strlen(name) : 0;
    if (!is_plain((const unsigned char *)name, len))
        return "";
    const char *kept = keep_text(all, name, len);
    for (char *c = all->texts[all->text_count - 1]; *c; c++)
        *c = (char)cq_ascii_lower((uint8_t)*c);
    return kept;
}

static const char *alpn_of(struct tls_info *all, SSL *ssl)
{
    const unsigned char *name;
    unsigned len;
    SSL_get0_alpn_selected(ssl, &name, &len);
    return len ? keep_text(all, name, len) : "";
}

static struct tls_info *tls_info_new(SSL *ssl)
{
    struct tls_info *all = cq_new(struct tls_info);
    X509 *cert = SSL_get0_peer_certificate(ssl);
    all->info = (struct io_tls_info){
        .version = SSL_get_version(ssl),
        .cipher = SSL_get_cipher_name(ssl),
        .alpn = alpn_of(all, ssl),
        .sni = sni_of(all, ssl),
        .resumed = SSL_session_reused(ssl),
        .peer_verified =
            cert && (SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER) && SSL_get_verify_result(ssl) == X509_V_OK,
        .peer_cn = cert ? common_name(all, cert) : "",
        .peer_dns = all->dns,
        .peer_uri = all->uri,
    };
    if (cert)
        keep_alt_names(all, cert);
    return all;
}

static SSL *ssl_of(const struct io_conn *conn)
{
    struct io_filter *filter = conn->handshaking ? NULL : conn->top;
    while (filter && strcmp(filter->ops->name, "tls") != 0)
        filter = filter->below;
    return filter ? io_filter_tls_ssl(filter) : NULL;
}

const struct io_tls_info *io_conn_tls(struct io_conn *conn)
{
    SSL *ssl = conn->tls_info ? NULL : ssl_of(conn);
    if (ssl)
        conn->tls_info = &tls_info_new(ssl)->info;
    return conn->tls_info;
}

void conn_tls_info_free(struct io_conn *conn)
{
    if (!conn->tls_info)
        return;
    struct tls_info *all = cq_containerof(conn->tls_info, struct tls_info, info);
    while (all->text_count)
        free(all->texts[--all->text_count]);
    free(all);
    conn->tls_info = NULL;
}

struct io_tls_session *io_conn_tls_session(struct io_conn *conn)
{
    SSL *ssl = ssl_of(conn);
    SSL_SESSION *session = ssl ? SSL_get0_session(ssl) : NULL;
    if (!session || !SSL_SESSION_is_resumable(session))
        return NULL;
    struct io_tls_session *kept = cq_new(struct io_tls_session);
    kept->session = SSL_SESSION_dup(session); /* a connection that ends badly spoils its own one */
    CQ_ASSERT(kept->session);
    return kept;
}

void io_tls_session_free(struct io_tls_session **session)
{
    if (!*session)
        return;
    SSL_SESSION_free((*session)->session);
    free(*session);
    *session = NULL;
}

bool io_conn_tls_exporter(struct io_conn *conn, const char *label, uint8_t *out, size_t size)
{
    SSL *ssl = ssl_of(conn);
    if (!ssl || (SSL_version(ssl) < TLS1_3_VERSION && SSL_get_extms_support(ssl) != 1))
        return false;
    return SSL_export_keying_material(ssl, out, size, label, strlen(label), NULL, 0, 0) == 1;
}
