/* What the files of the server share. The server owns peers (connections), a peer has requests. Requests hold their
 * peer, peers hold the server: a handler that ends late finds what it needs. */
#ifndef RPC_SERVER_PRIVATE_H
#define RPC_SERVER_PRIVATE_H

#include "base/cq_list.h"
#include "base/cq_metrics.h"
#include "io/io_fiber.h"
#include "io/io_listener.h"
#include "io/io_sync.h"
#include "rpc/rpc_link.h"
#include "rpc/rpc_limits.h"
#include "rpc/rpc_server.h"

#define RPC_PEER_BUCKETS 64        /* of the table of a peer's requests, by stream id */
#define RPC_CREDIT_MAX (1ll << 31) /* bytes; more credit is cut to it */
#define RPC_DATA_COST 64           /* credit that a DATA frame costs beside its payload */

struct rpc_server {
    struct rpc_server_config config;
    unsigned refs; /* the owner, peers */
    bool closed;
    const struct rpc_method *rows[RPC_METHOD_MAX + 1];
    void *ctxs[RPC_METHOD_MAX + 1];
    struct io_listener *listeners[RPC_LISTENERS_MAX];
    size_t listener_count;
    struct cq_list peers;
    size_t peer_count;
    struct cq_list waiting; /* requests that wait for a fiber */
    size_t waiting_count;
    size_t fibers;   /* handlers that run on fibers */
    size_t requests; /* not replied yet */
    bool draining;
    void (*drained)(void *ctx);
    void *drained_ctx;
    struct io_defer drain_check;
};

struct rpc_peer {
    struct cq_list link_in_server;
    struct rpc_server *server;
    unsigned refs; /* the connection, requests */
    bool alive;    /* the link may be used */
    bool announced;
    struct rpc_link link;
    uint32_t last_stream;
    struct cq_list requests; /* not gone */
    struct cq_list gone;     /* gone, not replied yet */
    struct cq_list table[RPC_PEER_BUCKETS];
    size_t open;         /* requests, without streams, that are not replied yet */
    uint64_t held_bytes; /* their payload */
    void *ctx;
};

struct rpc_request {
    struct cq_list link;    /* in the peer's requests or gone */
    struct cq_list hash;    /* in the peer's table */
    struct cq_list waiting; /* in the server's waiting */
    struct rpc_peer *peer;
    const struct rpc_method *row;
    void *ctx;
    struct rpc_frame frame;
    struct rpc_payload *payload;
    uint64_t started_us, deadline_us;
    struct io_timer deadline;
    struct io_fiber_ref fiber;
    bool *replied; /* of the fiber that runs the handler */
    bool is_gone;
    bool cancelled; /* by the peer: no answer is sent */
    bool blocked;   /* rpc_stream_try said CQ_E_AGAIN */
    int64_t credit;
    struct io_waiters writers;
    void (*on_gone)(void *ctx, enum cq_rc why);
    void *on_gone_ctx;
    void (*on_writable)(void *ctx);
    void *on_writable_ctx;
};

/* ---- rpc_request.c ---- */
void rpc_request_start(struct rpc_peer *peer, const struct rpc_method *row, const struct rpc_frame *frame,
                       struct rpc_payload *payload);
void rpc_request_go(struct rpc_request *request, enum cq_rc why); /* it is gone; may be ended within */
void rpc_request_credit(struct rpc_request *request, uint64_t bytes);
void rpc_request_writable(struct rpc_request *request);
struct rpc_request *rpc_peer_find(struct rpc_peer *peer, uint32_t stream);

/* ---- rpc_server.c ---- */
void rpc_peer_ref(struct rpc_peer *peer);
void rpc_peer_unref(struct rpc_peer *peer);
void rpc_peer_settled(struct rpc_peer *peer); /* a request of it has ended */

/* ---- rpc_server_metrics.c ---- */
enum rpc_refusal { RPC_REFUSED_CERTIFICATE, RPC_REFUSED_ROLE, RPC_REFUSED_METHOD, RPC_REFUSED_SIZE, RPC_REFUSED_LOAD };
void rpc_server_count(const struct rpc_method *row, enum cq_rc rc, uint64_t duration_us);
void rpc_server_count_refusal(enum rpc_refusal reason);
void rpc_server_count_running(int delta);

#endif
