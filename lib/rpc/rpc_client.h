/* The calling side: one struct rpc_client speaks with one address over one or a few TLS connections, many calls at
 * once.
 *
 *     enum rpc_fate fate = rpc_call(client, &call, pool, &reply, err);     // suspends the fiber
 *
 * It dials again by itself (with back-off), sees dead peers by PING, and never repeats a call: it says how far the call
 * came, so that the caller can tell "nothing happened" from "unknown outcome". While there is no connection, a call
 * waits for the dial that is going on; between a failed dial and the next one it fails at once (RPC_NOT_SENT,
 * CQ_E_UNAVAILABLE), so that the caller can go elsewhere. One client belongs to one loop. */
#ifndef RPC_CLIENT_H
#define RPC_CLIENT_H

#include "base/cq_config.h"
#include "base/cq_err.h"
#include "base/cq_metrics.h"
#include "base/cq_pool.h"
#include "io/io_pool.h"
#include "io/io_tls.h"
#include "rpc/rpc_frame.h"
#include "rpc/rpc_hello.h"
#include "rpc/rpc_limits.h"
#include "rpc/rpc_role.h"

struct rpc_client;

/* Settings (rpc.client.*). */
struct rpc_client_limits {
    int64_t connections;  /* per peer */
    uint64_t queue_bytes; /* calls and one-way messages that wait to be written, per connection */
    int64_t calls_max;    /* unanswered calls; more: CQ_E_OVERLOADED */
    uint64_t connect_timeout_us;
    uint64_t backoff_min_us; /* between dials; doubles with jitter up to backoff_max_us */
    uint64_t backoff_max_us;
    uint64_t ping_interval_us; /* silence after which a PING is sent; three of them: the connection is dead */
};
struct cq_config_part rpc_client_config_part(struct rpc_client_limits *values);
struct rpc_client_limits rpc_client_limits_default(void); /* for tests and tools without settings */

/* A connection came up (after both HELLOs) or went down. `clean`: a GOODBYE came first, so the peer went on purpose.
 * On the loop's stack. `peer`: what it said of itself; valid during the call. */
typedef void rpc_client_state_fn(void *ctx, struct rpc_client *client, bool up, bool clean,
                                 const struct rpc_hello *peer);

struct rpc_client_config {
    struct io_loop *loop;
    struct io_pool *resolver;      /* for names; borrowed, shared by all clients of the process */
    struct io_tls *tls;            /* with our certificate and the cluster's CA; borrowed */
    const char *address;           /* "host:port", copied; resolved again at each dial */
    uint32_t peer_roles;           /* the server's certificate must have one of these */
    const struct rpc_hello *hello; /* ours, borrowed; hello->cluster is the cluster id */
    struct rpc_client_limits limits;
    bool eager;                    /* dial at once and keep the connection up; else at the first call */
    rpc_client_state_fn *on_state; /* may be NULL */
    void *on_state_ctx;
};

struct rpc_client *rpc_client_new(const struct rpc_client_config *config);

/* Sends GOODBYE and closes; calls that wait get CQ_E_CANCELLED with their true fate. May be called in any callback. */
void rpc_client_free(struct rpc_client **client);

bool rpc_client_up(const struct rpc_client *client);
const char *rpc_client_address(const struct rpc_client *client);
size_t rpc_client_inflight(const struct rpc_client *client); /* unanswered calls */
size_t rpc_client_queued(const struct rpc_client *client);   /* bytes not written yet */

/* How far a call came. */
enum rpc_fate {
    RPC_NOT_SENT, /* no server has looked at it: nothing happened, it may be sent elsewhere */
    RPC_SENT,     /* no answer came: it may have been carried out */
    RPC_ANSWERED  /* reply->rc is the method's own result */
};

struct rpc_call {
    uint16_t method;
    uint16_t flags; /* RPC_FLAG_COMMAND, RPC_FLAG_RESENT */
    uint32_t group;
    uint64_t account;
    uint64_t epoch;
    uint64_t deadline_us; /* monotonic; required */
    struct cq_slice message;
    const struct cq_slice *raw;
    size_t raw_count;
    struct rpc_payload *payload; /* instead of message and raw: these bytes, not copied (a forwarder's) */
    uint32_t message_len;        /* of payload */
};

struct rpc_reply_in {
    enum cq_rc
        rc;         /* RPC_ANSWERED: the method's result. Otherwise the transport's failure: CQ_E_UNAVAILABLE (no
                       connection, or it broke), CQ_E_TIMEOUT, CQ_E_CANCELLED, CQ_E_OVERLOADED (too much waits), CQ_E_TOO_BIG */
    uint16_t flags; /* RPC_FLAG_NOT_RUN: the answer was given without looking at the request */
    uint64_t epoch; /* WRONG_OWNER: the answerer's map */
    uint64_t aux;   /* NOT_LEADER: replica id of the leader, 0 unknown */
    struct cq_slice message;
    struct cq_slice raw;
    struct rpc_payload *payload; /* holds both; see each call for the owner */
    uint32_t message_len;
    const char *text; /* for the log, when the rc is the transport's; "" otherwise */
};

/* On a fiber: suspends until the answer, the deadline, the connection's end or the fiber's cancellation (the server is
 * told). The slices are copied to the pool, reply_r->payload is NULL. Returns the fate; err has the text. */
enum rpc_fate rpc_call(struct rpc_client *client, const struct rpc_call *call, struct cq_pool *pool,
                       struct rpc_reply_in *reply_r, struct cq_err *err);

/* ---- Without a fiber ---- */

/* `done` is called exactly once, on the loop's stack, never from inside rpc_call_start; the reply is borrowed for the
 * call (take a reference of reply->payload to keep the bytes). The payload of the call is copied or referenced. */
typedef void rpc_done_fn(void *ctx, enum rpc_fate fate, const struct rpc_reply_in *reply);
struct rpc_pending;
struct rpc_pending *rpc_call_start(struct rpc_client *client, const struct rpc_call *call, rpc_done_fn *done,
                                   void *ctx);

/* Forgets the call and tells the server; `done` is not called. Returns whether any byte of it may have been sent. */
bool rpc_call_cancel(struct rpc_pending **pending);

/* ---- Streams of the server ---- */

/* `data` gets each item, on the loop's stack; the payload is borrowed. The credit comes back when the receiver has
 * said rpc_stream_consumed(); `auto_credit` does that after each call of `data`. `done` as above ends the stream. */
typedef void rpc_data_fn(void *ctx, const struct rpc_frame *frame, struct rpc_payload *payload);
struct rpc_stream_config {
    uint32_t window; /* bytes of credit */
    bool auto_credit;
    rpc_data_fn *data;
    rpc_done_fn *done;
    void *ctx;
};
struct rpc_pending *rpc_stream_start(struct rpc_client *client, const struct rpc_call *call,
                                     const struct rpc_stream_config *config);
/* deadline_us may be UINT64_MAX for streams. rpc_call_cancel ends it from this side. Without auto_credit: once for each
 * item, with its payload_len, when it has been used up. */
void rpc_stream_consumed(struct rpc_pending *stream, uint64_t bytes);

/* ---- One-way ---- */

/* Queued behind everything sent before on the first connection of this client: delivered in this order or, from some
 * point on, not at all. Only when the connection is up: CQ_E_UNAVAILABLE; CQ_E_OVERLOADED: queue_bytes is reached. A
 * client that is used for ordered messages has limits.connections = 1. */
enum cq_rc rpc_oneway(struct rpc_client *client, const struct rpc_call *call);

/* chasqui_rpc_client_inflight{peer_role}, _calls_total{peer_role,fate}, _connects_total{peer_role,result}. */
extern struct cq_metrics rpc_client_metrics;

#endif
