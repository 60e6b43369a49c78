/* From options and files to an SSL_CTX. */
#ifndef IO_TLS_SETUP_H
#define IO_TLS_SETUP_H

#include <openssl/ssl.h>

#include "base/cq_buf.h"
#include "io/io_tls.h"

#define IO_TLS_ALPN_BYTES_MAX 256

/* One key of a ticket file. */
struct io_tls_ticket_key {
    uint8_t name[16];
    uint8_t hmac[32];
    uint8_t aes[32];
};

/* Copied options, of a server or a client. */
struct io_tls_setup {
    bool server;
    bool tls13_only;
    char *service;
    unsigned protocol;                          /* the same as a label, io_metrics_protocol() */
    struct io_tls_cert certs[IO_TLS_CERTS_MAX]; /* the texts belong to this */
    size_t cert_count;
    char *ca_file;
    char *ticket_keys_file;
    struct cq_buf alpn;                                       /* RFC 7301 3.1: each with its length before it */
    struct io_tls_ticket_key own_tickets[IO_TLS_TICKET_KEYS]; /* when there is no file */
};

void io_tls_setup_server(struct io_tls_setup *setup, const struct io_tls_server_options *options);
void io_tls_setup_client(struct io_tls_setup *setup, const struct io_tls_client_options *options);
void io_tls_setup_fini(struct io_tls_setup *setup);

/* Reads all files. CQ_E_CONFIG; the setup must live as long as it is used for this, not longer. */
enum cq_rc io_tls_setup_ctx(const struct io_tls_setup *setup, SSL_CTX **ctx_r, struct cq_err *err);

/* When the first of its certificates expires, seconds since 1970; 0: it has none. */
int64_t io_tls_setup_not_after(const SSL_CTX *ctx);

#endif
