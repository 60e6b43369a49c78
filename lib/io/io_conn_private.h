/* The inside of a connection, for lib/io's own files.
 *
 * io_conn.c: birth, end, what the socket is watched for, time · io_conn_input.c · io_conn_output.c · io_filter.c: the
 * stack · io_conn_tls.c: STARTTLS and what TLS tells. Whoever runs callbacks wraps that in conn_enter/conn_leave, so
 * that an owner may free the connection in any of them. */
#ifndef IO_CONN_PRIVATE_H
#define IO_CONN_PRIVATE_H

#include "base/cq_list.h"
#include "io/io_conn.h"
#include "io/io_filter.h"
#include "io/io_loop_private.h"
#include "io/io_sync.h"

#define IO_CHUNK_SIZE 4096      /* smallest chunk of copied output; the most that io_conn_reserve gives */
#define IO_CHUNK_BIG 16384      /* a chunk when more is copied at once */
#define IO_OWNED_MIN 512        /* owned output below this is copied */
#define IO_IOV_MAX 64           /* chunks of one sendmsg */
#define IO_SENDS_PER_TURN 16    /* sendmsg calls of one connection per turn */
#define IO_CLOSE_STALL_MS 30000 /* closing: the peer takes nothing for so long and it is aborted */
#define IO_KEEPALIVE_S 300      /* TCP keepalive: first probe, */
#define IO_KEEPALIVE_STEP_S 30  /* the next ones, */
#define IO_KEEPALIVE_COUNT 4    /* and how many */

/* Bytes that are added at the end and taken from the front. Empty: holds no memory. */
struct io_bytes {
    uint8_t *data;
    size_t start, len, cap;
};

/* Shared by the connections of a loop: nothing in it outlives a callback, except spare memory. */
struct io_conn_scratch {
    uint8_t read[IO_READ_SIZE];
    uint8_t gather[IO_FILTER_PIECE];
    struct io_bytes spare; /* the wire buffer that was emptied last */
};

struct io_chunk {
    struct io_chunk *next;
    const uint8_t *data; /* of the chunk itself, or owned elsewhere */
    size_t start, len, cap;
    io_release_fn *release;
    void *release_arg;
    uint8_t bytes[];
};

enum conn_state {
    CONN_OPEN,
    CONN_CLOSING,   /* what is queued goes out, then our FIN */
    CONN_LINGERING, /* on_closed is told; what comes is thrown away for a while */
    CONN_CLOSED     /* no descriptor any more */
};

struct io_conn {
    struct io_loop *loop;
    const struct io_conn_ops *ops;
    void *ctx;
    uint64_t id;
    int fd;
    ev_io ev;

    enum conn_state state;
    enum cq_rc why; /* from CONN_CLOSING on */
    char *why_text;
    unsigned busy; /* callbacks of the loop that are on the stack */
    bool paused;
    bool news; /* input, or an owner, that the owner or the input has not been told of */
    bool eof, eof_told;
    bool sock_dry;  /* the last read got less than it asked for: wait for the next event */
    bool sock_full; /* the last write took less than it was given */
    bool full_duplex;
    bool above;       /* output was over the high mark and is not under the low one yet */
    bool drained;     /* on_drained is due */
    bool need_flush;  /* something was written since the filters were flushed */
    bool handshaking; /* a filter is not ready */
    bool tls_news;    /* on_tls is due */
    bool finished;    /* filters have said goodbye */
    bool closed_told;
    bool freed;    /* by the owner, in a callback */
    bool detached; /* by the owner: goes on alone */

    struct io_bytes in;
    struct io_bytes raw;  /* read from the socket already, still to go through the filters */
    struct io_bytes wire; /* through the filters already, still to be sent */
    struct io_chunk *out_first, **out_last;
    struct io_chunk *out_tail; /* the last one */
    size_t out_len;
    size_t input_max, output_high, output_low;

    struct io_filter *top;
    struct io_waiters readers, writers;
    struct io_defer turn_end; /* announce, flush, tell */
    struct io_defer again;    /* next turn: there is more to read, inside a filter */
    struct io_timer timer;
    uint64_t idle_us, handshake_us, moved_us, phase_due_us;
    struct io_orphan orphan;

    struct io_addr peer, local, socket_peer;
    struct io_conn_counters counters;
    struct io_tls_info *tls_info;
    uint64_t linger_left;
    void (*on_gone)(void *arg); /* its descriptor and memory are free: for the listener's count */
    void *on_gone_arg;
};

/* io_conn_scratch.c */
struct io_conn_scratch *io_scratch(struct io_loop *loop);
void io_bytes_add(struct io_bytes *bytes, struct cq_slice data);
void io_bytes_consume(struct io_bytes *bytes, size_t n); /* frees when it becomes empty */
void io_bytes_free(struct io_bytes *bytes);
static inline struct cq_slice io_bytes_slice(const struct io_bytes *bytes)
{
    return cq_slice_of(bytes->data ? bytes->data + bytes->start : NULL, bytes->len);
}

/* io_conn.c */
void conn_enter(struct io_conn *conn);
void conn_leave(struct io_conn *conn);     /* conn may be gone after this */
void conn_moved(struct io_conn *conn);     /* bytes went in or out: for idle times */
void conn_watch(struct io_conn *conn);     /* sets what the socket is watched for */
void conn_set_timer(struct io_conn *conn); /* after a change of phase */
void conn_end_turn(struct io_conn *conn);  /* something is to be done at the end of this turn */
void conn_end(struct io_conn *conn, enum cq_rc why, const char *text); /* closes now */
void conn_fail(struct io_conn *conn, const struct cq_err *err);        /* closes; an alert that waits still goes out */
void conn_eof_close(struct io_conn *conn);                             /* the peer has left: flush and close */
void conn_closed_after_flush(struct io_conn *conn);                    /* all is sent: FIN, linger */
void conn_set_addrs(struct io_conn *conn, const struct io_addr *peer, const struct io_addr *local);

/* Is reading held back because too much waits to be written? */
static inline bool conn_must_hold(const struct io_conn *conn)
{
    return conn->above && !conn->full_duplex;
}

/* io_conn_input.c */
void conn_pull(struct io_conn *conn);     /* reads through the filters */
void conn_announce(struct io_conn *conn); /* on_input, on_eof */
enum cq_rc conn_sock_read(struct io_conn *conn, uint8_t *data, size_t cap, size_t *n_r, struct cq_err *err);
void conn_linger_read(struct io_conn *conn);

/* io_conn_output.c */
void conn_push(struct io_conn *conn);           /* writes through the filters */
void conn_push_all_below(struct io_conn *conn); /* before a filter is put on top */
void conn_drop_output(struct io_conn *conn);
void conn_drop_chunks(struct io_conn *conn);
size_t conn_output_len(const struct io_conn *conn);

/* io_conn_tls.c. keep_input: bytes that were read already belong to the handshake (after a PROXY header). */
enum cq_rc conn_begin_tls(struct io_conn *conn, struct io_tls *tls, bool client, const char *server_name,
                          bool keep_input, struct cq_err *err);
void conn_tls_info_free(struct io_conn *conn);

/* io_filter_tls.c */
struct io_filter *io_filter_tls_new(struct io_tls *tls, bool client, const char *server_name, struct cq_err *err);
struct ssl_st *io_filter_tls_ssl(struct io_filter *filter);

#endif
