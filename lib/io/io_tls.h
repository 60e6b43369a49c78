/* TLS contexts: certificates, keys, trust and tickets from files, read again when the files change. A context may be
 * shared by all loops of the process: all functions here may be called by any thread.
 *
 * Always: TLS 1.2 or later, AEAD ciphers with forward secrecy, no renegotiation, no compression, no 0-RTT. A client
 * that offers ALPN and shares no protocol with us is refused with alert no_application_protocol (RFC 7301 3.2). */
#ifndef IO_TLS_H
#define IO_TLS_H

#include "io/io_loop.h"

#include "base/cq_slice.h"

struct io_tls;
struct io_tls_session; /* what a client may resume: io_conn_tls_session() */

#define IO_TLS_CERTS_MAX 64            /* certificate and key pairs of one context */
#define IO_TLS_ALPN_MAX 8              /* protocols of one context */
#define IO_TLS_TICKET_KEYS 3           /* keys in a ticket file: the first encrypts, all decrypt */
#define IO_TLS_TICKET_KEY_SIZE 80      /* name 16, HMAC-SHA-256 key 32, AES-256 key 32: nginx's layout */
#define IO_TLS_TICKET_LIFETIME_S 43200 /* a ticket is refused after this */
#define IO_TLS_FILE_MAX (1u << 20)     /* bytes of a PEM file */
#define IO_TLS_CHAIN_DEPTH_MAX 8       /* intermediate certificates of a peer */

struct io_tls_cert {
    const char *cert_file; /* PEM: the certificate, then its chain */
    const char *key_file;  /* PEM, without a passphrase; may be the same file */
};

struct io_tls_server_options {
    const char *service; /* session id context: a ticket of one service is no good for another; required, <= 32 bytes */
    const struct io_tls_cert *certs; /* the first is the default; SNI chooses by the certificates' DNS names, and all
                                        that match are offered (an RSA and an ECDSA one for the same name) */
    size_t cert_count;
    const char *const *alpn; /* what we speak, best first ("imap"); none: any offer is refused */
    size_t alpn_count;
    const char *ticket_keys_file; /* 3 x 80 bytes; NULL: keys of this process, for its own lifetime */
    const char *client_ca_file;   /* not NULL: a client certificate of these CAs is required (internal links); there are
                                     no tickets then, so a withdrawn CA is withdrawn at once */
    bool tls13_only;
};

struct io_tls_client_options {
    const char *ca_file;   /* whom we trust; NULL: the system's store */
    const char *cert_file; /* our client certificate; NULL: none */
    const char *key_file;
    const char *const *alpn; /* what we offer; a server that answers with none of them is refused */
    size_t alpn_count;
    bool tls13_only;
};

/* Strings are copied. CQ_E_CONFIG with the file's name in err->text: a file is missing, too big or malformed, or key
 * and certificate do not belong together. An expired certificate is loaded at the start, and logged as an error. */
enum cq_rc io_tls_server_new(const struct io_tls_server_options *options, struct io_tls **tls_r, struct cq_err *err);
enum cq_rc io_tls_client_new(const struct io_tls_client_options *options, struct io_tls **tls_r, struct cq_err *err);

/* Connections that were made with it go on. */
void io_tls_free(struct io_tls **tls);

/* Looks at the files (identity, time, size, and the ..data link of a mounted secret) and reads all of them again when
 * one has changed, or when `force`. Sessions that exist keep what they have. On an error the old ones stay in use, an
 * error is logged and counted, and the error is returned; also when a new certificate has expired already.
 * *reloaded_r (may be NULL): whether there is something new. */
enum cq_rc io_tls_reload(struct io_tls *tls, bool force, bool *reloaded_r, struct cq_err *err);

/* Calls io_tls_reload every interval_ms on that loop, until unwatch (loop's thread) or free. One loop per context. */
void io_tls_watch(struct io_tls *tls, struct io_loop *loop, uint64_t interval_ms);
void io_tls_unwatch(struct io_tls *tls);

struct io_tls_stats {
    uint64_t reloads;
    uint64_t reload_failures;
    bool stale;          /* the last reload failed: what is on disk is not what is in use */
    int64_t not_after_s; /* when the first of the certificates in use expires, seconds since 1970; 0: has none */
};

void io_tls_stats(struct io_tls *tls, struct io_tls_stats *stats_r);

#endif
