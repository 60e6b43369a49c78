/* One RPC connection, the same on both sides (for rpc_client.c and rpc_server.c only): frames in and out, HELLO, PING,
 * GOODBYE, and the peer's roles from its certificate. Callbacks run on the loop's stack; the owner may
 * close or free the link in any of them. Nothing is sent or believed before the peer's certificate was judged. */
#ifndef RPC_LINK_H
#define RPC_LINK_H

#include "io/io_conn.h"
#include "rpc/rpc_frame.h"
#include "rpc/rpc_hello.h"
#include "rpc/rpc_limits.h"

#define RPC_LINK_OUTPUT_CONTROL (1u << 20) /* bytes of PONG, CREDIT and so on that may wait beside the payloads */

struct rpc_link;

struct rpc_link_ops {
    void (*on_up)(struct rpc_link *link); /* both certificates and HELLOs are right */
    /* Owns the payload (may be NULL). Not: HELLO, PING, PONG, GOODBYE, skippable ones. An error ends the link. */
    enum cq_rc (*on_frame)(struct rpc_link *link, const struct rpc_frame *frame, struct rpc_payload *payload,
                           struct cq_err *err);
    /* The peer goes on purpose: requests above last_stream have not been looked at. May be NULL. */
    void (*on_goodbye)(struct rpc_link *link, uint64_t last_stream);
    void (*on_drained)(struct rpc_link *link); /* output is below the low mark again; may be NULL */
    /* The last callback: once, also when it never was up. */
    void (*on_down)(struct rpc_link *link, const struct cq_err *why);
};

struct rpc_link_config {
    const struct rpc_link_ops *ops;
    const struct rpc_hello *hello; /* ours; borrowed */
    uint32_t peer_roles;           /* the peer must have one of these */
    uint64_t ping_interval_us;
    uint64_t hello_timeout_us; /* from birth to up */
};

struct rpc_link {
    struct rpc_link_config config;
    struct io_conn *conn;
    struct rpc_frame_reader reader;
    struct io_timer timer; /* first for HELLO, then for PINGs */
    struct rpc_hello peer_hello;
    uint32_t peer_roles;
    unsigned pings;
    bool *freed;  /* of the input callback that runs: set by fini, so that it touches nothing any more */
    bool heard;   /* input since the last look */
    bool trusted; /* the certificate is right */
    bool up;      /* on_up was called */
    bool goodbye_sent;
    bool goodbye_seen;
    bool closing;
    char address[IO_ADDR_TEXT_SIZE];
};

/* Takes the connection, whose TLS handshake is done or has begun. Callbacks come later. */
void rpc_link_init(struct rpc_link *link, struct io_conn *conn, const struct rpc_link_config *config);

/* Frees the connection at once; no callback follows. In or after on_down, or instead of it. */
void rpc_link_fini(struct rpc_link *link);

/* The same, but what is queued (a GOODBYE, answers) is still written. */
void rpc_link_leave(struct rpc_link *link);

/* Queues the frame and a reference of the payload (frame->payload_len bytes; may be NULL when that is 0). */
void rpc_link_send(struct rpc_link *link, const struct rpc_frame *frame, struct rpc_payload *payload);

/* GOODBYE, once; what comes after is up to the owner. */
void rpc_link_goodbye(struct rpc_link *link, uint64_t last_stream);

/* Writes what is queued and closes; on_down follows. */
void rpc_link_close(struct rpc_link *link);
void rpc_link_abort(struct rpc_link *link, enum cq_rc why, const char *text);

size_t rpc_link_queued(const struct rpc_link *link);

#endif
