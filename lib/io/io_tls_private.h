/* What the TLS filter needs of a context. */
#ifndef IO_TLS_PRIVATE_H
#define IO_TLS_PRIVATE_H

#include <openssl/ssl.h>

#include "io/io_tls.h"

/* A new session of the certificates that are in use now; NULL with err. server_name: see struct io_connect. */
SSL *io_tls_session(struct io_tls *tls, bool client, const char *server_name, struct cq_err *err);

/* Did we offer or ask for ALPN with this context? Then a client insists on an answer. */
bool io_tls_wants_alpn(const struct io_tls *tls);

/* The label of its handshakes, io_metrics_protocol(). */
unsigned io_tls_protocol(const struct io_tls *tls);

/* Every context that is alive, once per service name (the first of a name speaks for it). Any thread. */
typedef void io_tls_walk_fn(const char *service, const struct io_tls_stats *stats, void *arg);
void io_tls_walk(io_tls_walk_fn *fn, void *arg);

/* OpenSSL's first queued error as text ("bad signature"); empties the queue. Never NULL. */
const char *io_tls_error_text(void);

#endif
