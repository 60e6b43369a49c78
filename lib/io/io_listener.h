/* A listening TCP socket. What it gives to its owner is ready to talk: the PROXY header is read and, with TLS, the
 * handshake is done; what fails before that is counted and logged here. */
#ifndef IO_LISTENER_H
#define IO_LISTENER_H

#include "io/io_conn.h"

struct io_listener;

#define IO_ACCEPTS_PER_TURN 16       /* accepted connections of one turn */
#define IO_LISTENER_BACKLOG 1024     /* default backlog */
#define IO_ACCEPT_PAUSE_MS 200       /* out of descriptors: accepting pauses for so long */
#define IO_PROXY_TIMEOUT_MS 3000     /* default time for a PROXY header */
#define IO_LISTENER_PENDING_MAX 2048 /* connections in a handshake; more are closed at once */

struct io_listener_options {
    const char *name;                 /* for logs and metrics ("imaps"); copied */
    struct io_addr addr;              /* port 0: any free one, see io_listener_addr(); IPv6 listeners are IPv6 only */
    int backlog;                      /* 0: IO_LISTENER_BACKLOG */
    bool reuse_port;                  /* several workers share the port (SO_REUSEPORT) */
    struct io_tls *tls;               /* implicit TLS; NULL: plain. Must live as long as the listener */
    const struct io_cidr *proxy_from; /* networks of load balancers: from them a PROXY header is required, from others
                                         it is not honoured (the bytes go to the protocol). Copied. */
    size_t proxy_from_count;          /* 0: no PROXY */
    uint64_t proxy_timeout_ms;        /* 0: IO_PROXY_TIMEOUT_MS */
    size_t conns_max;                 /* connections that live at a time; 0: no bound. More wait in the backlog */
    struct io_conn_options conn;      /* of the connections; all zero: defaults */
};

/* The owner takes the connection: sets ops, writes a greeting, or frees it. */
typedef void io_accept_fn(struct io_conn *conn, void *ctx);

/* CQ_E_CONFIG with the address in err->text: in use, not ours, not allowed. */
enum cq_rc io_listener_new(struct io_loop *loop, const struct io_listener_options *options, io_accept_fn *accept,
                           void *ctx, struct io_listener **listener_r, struct cq_err *err);

/* Stops accepting and closes the socket; handshakes in progress are dropped, connections that were given away live. */
void io_listener_free(struct io_listener **listener);

/* Draining: closed for new connections, handshakes in progress still arrive. */
void io_listener_stop(struct io_listener *listener);

const struct io_addr *io_listener_addr(const struct io_listener *listener); /* with the real port */
const char *io_listener_name(const struct io_listener *listener);

struct io_listener_stats {
    uint64_t accepted;       /* by the kernel */
    uint64_t delivered;      /* given to the owner */
    uint64_t proxy_failures; /* no header in time, or a malformed one */
    uint64_t tls_failures;   /* handshakes that failed */
    uint64_t overflows;      /* closed at once: IO_LISTENER_PENDING_MAX */
    uint64_t pauses;         /* out of descriptors */
    size_t pending;          /* in a handshake now */
    size_t live;             /* alive now, pending ones included */
};

void io_listener_stats(const struct io_listener *listener, struct io_listener_stats *stats_r);

#endif
