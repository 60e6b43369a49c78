/* What the files of the client share. A client has a few lines; a line is one connection or the wish for one; a pending
 * is one unanswered call, on a line or waiting for one. */
#ifndef RPC_CLIENT_PRIVATE_H
#define RPC_CLIENT_PRIVATE_H

#include "base/cq_list.h"
#include "base/cq_rand.h"
#include "io/io_fiber.h"
#include "rpc/rpc_client.h"
#include "rpc/rpc_link.h"

#define RPC_LINE_BUCKETS 256 /* of the table of a line's calls, by stream id; ids rise, so the chains stay even */
#define RPC_STREAM_ID_LAST (UINT32_MAX - 1)
#define RPC_DATA_COST 64 /* credit that a DATA frame costs beside its payload */

enum line_state {
    LINE_IDLE,   /* nothing; may be dialled from not_before_us on */
    LINE_DIAL,   /* a fiber resolves, connects, shakes hands */
    LINE_HELLO,  /* the link is there, HELLOs are not */
    LINE_UP,     /* takes calls */
    LINE_LEAVING /* GOODBYE came, or ids are used up: what is open ends, nothing new starts */
};

struct rpc_line {
    struct rpc_client *client;
    enum line_state state;
    struct rpc_link link; /* from LINE_HELLO on */
    bool was_up;
    struct io_fiber_ref dialler;
    struct io_timer redial;
    uint64_t backoff_us;    /* the next pause */
    uint64_t not_before_us; /* of the next dial */
    uint32_t stream;        /* last id given */
    struct cq_list open;    /* pendings on this line */
    struct cq_list table[RPC_LINE_BUCKETS];
};

struct rpc_client {
    struct rpc_client_config config;
    char *address;
    unsigned refs; /* the owner, diallers, callbacks that run */
    bool closed;
    unsigned role; /* index of the metrics' label */
    size_t inflight;
    size_t line_count;
    size_t turn;            /* which line got the last call */
    struct cq_list waiting; /* pendings without a line */
    struct cq_list failed;  /* pendings whose failure is told at the end of the turn */
    struct io_defer failer;
    struct cq_prng jitter;
    char why[CQ_ERR_TEXT_SIZE]; /* of the last failed dial */
    struct rpc_line lines[];
};

struct rpc_pending {
    struct cq_list link; /* in open, waiting or failed */
    struct cq_list hash; /* in the line's table */
    struct rpc_client *client;
    struct rpc_line *line; /* NULL: not sent */
    struct rpc_frame frame;
    struct rpc_payload *payload; /* until it is sent */
    struct io_timer deadline;
    uint64_t deadline_us;
    enum cq_rc fail_rc;
    const char *fail_text;
    struct rpc_stream_config stream; /* data is NULL: a plain call */
    uint64_t owed;                   /* credit that was consumed and not given back yet */
};

/* ---- rpc_client_call.c ---- */

/* Sends what waits, to a line that has just come up. */
void rpc_pending_send_waiting(struct rpc_line *line);
/* Ends all that wait / all of a line, with these. */
void rpc_pending_fail_waiting(struct rpc_client *client, enum cq_rc rc, const char *text);
void rpc_pending_fail_line(struct rpc_line *line, uint64_t above_stream, enum rpc_fate fate, enum cq_rc rc,
                           const char *text);
void rpc_pending_fail_deferred(struct rpc_client *client);
enum cq_rc rpc_pending_frame(struct rpc_line *line, const struct rpc_frame *frame, struct rpc_payload *payload,
                             struct cq_err *err);

/* ---- rpc_client.c ---- */

/* A line for a new call: an UP one; NULL: none. *wait_r: one is on its way, or a dial was begun. */
struct rpc_line *rpc_client_line(struct rpc_client *client, bool *wait_r);
/* A line that takes no new calls and has none left is closed. */
void rpc_line_leave_if_done(struct rpc_line *line);

enum { RPC_CLIENT_M_INFLIGHT, RPC_CLIENT_M_CALLS, RPC_CLIENT_M_CONNECTS };

static inline void rpc_client_ref(struct rpc_client *client)
{
    client->refs++;
}
void rpc_client_unref(struct rpc_client *client);

#endif
