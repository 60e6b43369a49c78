/* The serving side: connections with a client certificate, a table of methods, handlers.
 *
 *     static const struct rpc_method methods[] = {
 *         {FETCH, "FETCH", RPC_ROLE_FRONTEND | RPC_ROLE_ROUTER, RPC_METHOD_READ, 64 << 10, 0, on_fetch},
 *         ...
 *     };
 *
 * What a handler never tests, because the server has: that the TLS peer has a certificate of this cluster with a role
 * in the row; that method, message and raw bytes are within the row; that the deadline has not passed; that there is
 * room. Those answers carry RPC_FLAG_NOT_RUN. One server belongs to one loop; everything here happens on its thread.
 *
 * A handler runs on a fiber of its own and answers with rpc_reply() before it returns (else CQ_E_INTERNAL is answered
 * for it). When the caller goes, its deadline passes or the server is freed, the fiber is cancelled: suspending calls
 * return CQ_E_CANCELLED or CQ_E_TIMEOUT, and rpc_reply() still has to be called or may be left out: it only cleans up.
 *
 * A handler of an INLINE row runs on the loop's stack, must not suspend, and may keep the request and answer later. It
 * registers rpc_request_on_gone() when it does. A ONEWAY message that breaks a rule of its row ends the connection. */
#ifndef RPC_SERVER_H
#define RPC_SERVER_H

#include "base/cq_config.h"
#include "base/cq_err.h"
#include "io/io_conn.h"
#include "rpc/rpc_frame.h"
#include "rpc/rpc_hello.h"
#include "rpc/rpc_limits.h"
#include "rpc/rpc_role.h"

struct rpc_server;
struct rpc_request;

enum rpc_method_flag {
    RPC_METHOD_READ = 1,    /* changes nothing */
    RPC_METHOD_COMMAND = 2, /* changes state: a lost answer is an unknown outcome */
    RPC_METHOD_INLINE = 4,  /* on the loop's stack, never suspends, may answer later */
    RPC_METHOD_STREAM = 8,  /* may send DATA before its answer: the request must have RPC_FLAG_STREAM */
    RPC_METHOD_ONEWAY = 16, /* comes as ONEWAY frames, has no answer; INLINE too */
};

typedef void rpc_handler_fn(struct rpc_request *request, void *ctx);

struct rpc_method {
    uint16_t method;
    const char *name;     /* for logs and metrics: the proto's name */
    uint32_t roles;       /* enum rpc_role: who may call */
    uint32_t flags;       /* enum rpc_method_flag: READ or COMMAND or ONEWAY, and the others */
    uint32_t message_max; /* bytes */
    uint32_t raw_max;     /* bytes; 0: no raw bytes */
    rpc_handler_fn *handler;
};

/* A part of the method table with its context; method numbers are unique over all parts. Static storage. */
struct rpc_service {
    const struct rpc_method *methods;
    size_t count;
    void *ctx; /* given to the handlers */
};

/* Settings (rpc.server.*). */
struct rpc_server_limits {
    int64_t fibers_max;        /* handlers that run at once */
    int64_t waiting_max;       /* requests that wait for a fiber; more: CQ_E_OVERLOADED */
    int64_t connections_max;   /* more are closed at once */
    int64_t streams_max;       /* unanswered requests of one connection; more: CQ_E_OVERLOADED */
    uint64_t connection_bytes; /* payload of one connection's unanswered requests; above it nothing is read from it */
    uint64_t output_bytes;     /* waiting output of one connection; above it nothing is read from it */
    uint64_t ping_interval_us; /* silence after which a PING is sent; three of them: the connection is dead */
    uint64_t hello_timeout_us; /* TLS handshake and HELLO together */
};
struct cq_config_part rpc_server_config_part(struct rpc_server_limits *values);
struct rpc_server_limits rpc_server_limits_default(void); /* for tests and tools without settings */

/* Told about a peer's connection, on the loop's stack: after its HELLO, and when it has ended. `clean`: a GOODBYE came
 * first. The peer pointer is valid from up until down returns. */
struct rpc_peer;
typedef void rpc_peer_fn(void *ctx, struct rpc_peer *peer, bool up, bool clean);

struct rpc_server_config {
    struct io_loop *loop;
    struct io_tls *tls;            /* with client_ca_file: certificates are required; borrowed */
    const struct rpc_hello *hello; /* ours; borrowed for the server's life. hello->cluster is the cluster id */
    const struct rpc_service *services;
    size_t service_count;
    struct rpc_server_limits limits;
    rpc_peer_fn *on_peer; /* may be NULL */
    void *on_peer_ctx;
};

/* Checks the method table (an assertion: it is ours). */
struct rpc_server *rpc_server_new(const struct rpc_server_config *config);

/* Listens at "host:port" with SO_REUSEPORT; may be called several times. CQ_E_IO names the address. port_r (may be
 * NULL): the port in use. */
enum cq_rc rpc_server_listen(struct rpc_server *server, const char *address, uint16_t *port_r, struct cq_err *err);

/* Takes a connected socket (tests, and loops that are handed accepted sockets). */
enum cq_rc rpc_server_adopt(struct rpc_server *server, int fd, struct cq_err *err);

/* Planned end: no new connections, GOODBYE on all, running requests finish; streams are told to end (gone with
 * CQ_E_UNAVAILABLE). `done` (may be NULL) is called once, from the loop, when no request is left. rpc_server_free may
 * follow at any time. */
void rpc_server_drain(struct rpc_server *server, void (*done)(void *ctx), void *ctx);

/* Cancels all handlers, waits for nothing: connections are closed after a GOODBYE. Requests that fibers or others still
 * hold stay valid until their rpc_reply(). Not from inside a handler. */
void rpc_server_free(struct rpc_server **server);

size_t rpc_server_running(const struct rpc_server *server); /* requests not answered yet */

/* ---- The peer of a connection ---- */
uint32_t rpc_peer_roles(const struct rpc_peer *peer);
const struct rpc_hello *rpc_peer_hello(const struct rpc_peer *peer); /* what it says of itself */
const char *rpc_peer_address(const struct rpc_peer *peer);           /* "192.0.2.1:4711" */
void rpc_peer_close(struct rpc_peer *peer);                          /* ends the connection soon; on_peer follows */
void rpc_peer_set_ctx(struct rpc_peer *peer, void *ctx);             /* the application's, NULL at first */
void *rpc_peer_ctx(const struct rpc_peer *peer);

/* ---- A request, in its handler; everything borrowed is valid until rpc_reply() ---- */
const struct rpc_frame *rpc_request_frame(const struct rpc_request *request);
struct cq_slice rpc_request_message(const struct rpc_request *request);
struct cq_slice rpc_request_raw(const struct rpc_request *request);
/* To keep the bytes longer, or to hand them to another thread: take a reference of one's own. NULL: no bytes. */
struct rpc_payload *rpc_request_payload_peek(const struct rpc_request *request);
uint64_t rpc_request_deadline_us(const struct rpc_request *request); /* monotonic; UINT64_MAX: none */
struct rpc_peer *rpc_request_peer(const struct rpc_request *request);

/* Called once, on the loop's stack, when the caller has gone (CQ_E_CANCELLED), the deadline has passed (CQ_E_TIMEOUT),
 * or, for a stream, the server drains (CQ_E_UNAVAILABLE), before rpc_reply(): the request still has to be ended by
 * rpc_reply(), which may be called here. For requests that are kept; fibers are cancelled anyway. */
void rpc_request_on_gone(struct rpc_request *request, void (*gone)(void *ctx, enum cq_rc why), void *ctx);
bool rpc_request_gone(const struct rpc_request *request);

struct rpc_answer {
    enum cq_rc rc;
    uint16_t flags; /* RPC_FLAG_NOT_RUN when nothing was done */
    uint64_t epoch; /* with CQ_E_WRONG_OWNER: of the map that the answer rests on */
    uint64_t aux;   /* with CQ_E_NOT_LEADER: the leader's replica id, 0 unknown */
    struct cq_slice message;
    const struct cq_slice *raw; /* copied, like message */
    size_t raw_count;
    struct rpc_payload *payload; /* instead of message and raw: these bytes, referenced, not copied */
    uint32_t message_len;        /* of payload */
};

/* Ends the request: exactly once, for ONEWAY too (the answer is then ignored). The request is gone after. Never
 * suspends. */
void rpc_reply(struct rpc_request *request, const struct rpc_answer *answer);
void rpc_reply_rc(struct rpc_request *request, enum cq_rc rc); /* without bytes */

/* ---- Streams: DATA before the answer ---- */

/* CQ_OK: queued. CQ_E_AGAIN: no credit left or too much output waiting: on_writable will tell. CQ_E_CANCELLED: the
 * caller has gone. Never suspends. */
enum cq_rc rpc_stream_try(struct rpc_request *request, struct cq_slice message, const struct cq_slice *raw,
                          size_t raw_count);
/* The same without copying. */
enum cq_rc rpc_stream_try_payload(struct rpc_request *request, struct rpc_payload *payload, uint32_t message_len);
/* On a fiber: waits for credit. CQ_E_CANCELLED, CQ_E_TIMEOUT. */
enum cq_rc rpc_stream_send(struct rpc_request *request, struct cq_slice message, const struct cq_slice *raw,
                           size_t raw_count, struct cq_err *err);
/* Called on the loop's stack each time when sending becomes possible after CQ_E_AGAIN. */
void rpc_request_on_writable(struct rpc_request *request, void (*writable)(void *ctx), void *ctx);

/* ---- Metrics: chasqui_rpc_server_requests_total{method,result}, chasqui_rpc_server_request_duration_seconds{method},
 * chasqui_rpc_server_running, chasqui_rpc_server_refused_total{reason}. Once per process, before threads. ---- */
void rpc_server_metrics_register(const struct rpc_service *services, size_t count);

#endif
