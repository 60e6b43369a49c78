/* A stream connection and its filters (socket, PROXY header, TLS, deflate).
 *
 * Two ways of use, which one connection mixes freely:
 * - By callbacks on the loop's stack: on_input says that bytes are there; the owner peeks at them and consumes what it
 *   understands. A connection that waits for input holds no fiber and, when all is consumed, no buffers.
 * - From a fiber, while input is paused: io_conn_read_more() waits for more input (a literal, DATA), io_conn_flush()
 *   waits until enough output has gone.
 *
 * Output is collected and written once per loop turn. While more than the high mark waits to be written, nothing is
 * read from the peer. Callbacks never run inside a call of the owner's: they come from the loop, later.
 *
 * A connection belongs to one loop and its thread. */
#ifndef IO_CONN_H
#define IO_CONN_H

#include "io/io_fiber.h"
#include "io/io_net.h"
#include "io/io_tls.h"

#include "base/cq_slice.h"

struct io_conn;
struct io_filter;

#define IO_INPUT_MAX 8192          /* default of input_max */
#define IO_OUTPUT_HIGH (256 << 10) /* default of output_high */
#define IO_OUTPUT_LOW (64 << 10)   /* default of output_low */
#define IO_READS_PER_TURN 4        /* reads of one connection per turn, of IO_READ_SIZE bytes at most */
#define IO_READ_SIZE (64 << 10)
#define IO_WIRE_MAX (64 << 10)    /* encrypted output is made only while less than this waits for the socket */
#define IO_HANDSHAKE_MS 30000     /* default time for a TLS handshake */
#define IO_LINGER_MS 2000         /* after our close: how long what the peer still sends is thrown away, */
#define IO_LINGER_MAX (256 << 10) /* and how much of it, so that a reset does not destroy our last words */

struct io_conn_options {
    size_t input_max;      /* bytes that are kept unconsumed */
    size_t output_high;    /* bytes waiting to be written from which on nothing is read */
    size_t output_low;     /* reading, io_conn_flush and on_drained go on below this */
    uint64_t idle_ms;      /* no byte in either direction for so long: on_idle; 0: never */
    uint64_t handshake_ms; /* TLS handshake; 0: IO_HANDSHAKE_MS */
    bool full_duplex;      /* reading goes on above output_high. For protocols whose two ends both send without being
                              asked and bound that themselves (RPC, by credit): if each stopped reading because its
                              output is full, both would wait for ever */
};

#define IO_CONN_OPTIONS_DEFAULT                                                                                        \
    ((struct io_conn_options){.input_max = IO_INPUT_MAX, .output_high = IO_OUTPUT_HIGH, .output_low = IO_OUTPUT_LOW})

/* All are optional and run on the loop's stack. io_conn_free() may be called in any of them. */
struct io_conn_ops {
    /* There is input that was not there at the last call (also after a resume). Bytes that are not consumed stay; when
     * input_max bytes are there and none is consumed, nothing more will come: the owner answers and closes. */
    void (*on_input)(struct io_conn *conn, void *ctx);
    /* The peer sends no more, on_input has had its chance at the rest, and input is not paused. Answers may still
     * be written. Without this op: closed after the output has gone, with CQ_E_EOF. */
    void (*on_eof)(struct io_conn *conn, void *ctx);
    /* Output was above the high mark and is below the low one again. */
    void (*on_drained)(struct io_conn *conn, void *ctx);
    /* The handshake that io_conn_start_tls began is done. */
    void (*on_tls)(struct io_conn *conn, void *ctx);
    /* idle_ms have passed; the owner may write a farewell and close. Without this op: aborted with CQ_E_TIMEOUT. */
    void (*on_idle)(struct io_conn *conn, void *ctx);
    /* The last callback: no more input or output. why->rc is CQ_OK after io_conn_close, CQ_E_EOF when the peer left,
     * CQ_E_TIMEOUT, CQ_E_IO (a reset), CQ_E_PROTO (TLS), or what io_conn_abort was given. The owner frees the
     * connection, now or later; a fiber that waits on it is woken with the same code. */
    void (*on_closed)(struct io_conn *conn, const struct cq_err *why, void *ctx);
};

/* ---- Birth and end ---- */

/* Takes fd (a connected, non-blocking stream socket; closed by the connection). Reading begins at once, callbacks
 * when ops are set. options may be NULL. Peer and local address are asked from the socket. */
struct io_conn *io_conn_new(struct io_loop *loop, int fd, const struct io_conn_options *options);

/* `ops` and `ctx` must live as long as the connection. May be changed at any time (a session after a login). Input that
 * is there already is announced in this turn. */
void io_conn_set_ops(struct io_conn *conn, const struct io_conn_ops *ops, void *ctx);
void *io_conn_ctx(const struct io_conn *conn);
struct io_loop *io_conn_loop(const struct io_conn *conn);

struct io_connect {
    struct io_addr addr;
    const struct io_conn_options *options; /* NULL: defaults */
    struct io_tls *tls;                    /* NULL: plain */
    const char *server_name; /* SNI, and the name that the certificate must have; NULL: the chain alone is verified, and
                                the caller judges the names of io_conn_tls() */
    struct io_addr bind;     /* our address; IO_UNSPEC: any */
    const struct io_tls_session *resume; /* of an earlier connection to the same server; NULL: a full handshake */
};

/* On a fiber: a connected client, TLS handshake done, input paused and no ops. CQ_E_UNAVAILABLE (refused, unreachable),
 * CQ_E_TIMEOUT, CQ_E_CANCELLED, CQ_E_AUTH (the peer's certificate), CQ_E_PROTO (other TLS trouble). */
enum cq_rc io_conn_connect(struct io_loop *loop, const struct io_connect *what, uint64_t deadline_us,
                           struct io_conn **conn_r, struct cq_err *err);

/* Writes what is queued, says goodbye (close_notify, FIN) and then calls on_closed with CQ_OK. No more on_input. */
void io_conn_close(struct io_conn *conn);

/* Ends it now, queued output is dropped; on_closed follows with that code. `fmt` is for the log. */
void io_conn_abort(struct io_conn *conn, enum cq_rc why, const char *fmt, ...) CQ_PRINTF(3, 4);

/* Frees it; when it was not closed it is aborted, without a callback. No fiber may be waiting on it. */
void io_conn_free(struct io_conn **conn);

bool io_conn_is_open(const struct io_conn *conn); /* neither closed nor being closed */

/* Closes: what io_conn_close does, and frees by itself when all has gone: for an owner that has nothing to say or hear
 * any more. *conn becomes NULL, no callback follows. */
void io_conn_close_free(struct io_conn **conn);

/* ---- Input ---- */

/* All that is there; valid until the next consume or suspension, or the end of the callback. */
struct cq_slice io_conn_input(const struct io_conn *conn);
void io_conn_consume(struct io_conn *conn, size_t n);

/* Paused: no on_input and no on_eof; reading goes on until input_max bytes are there, so a reset is still noticed.
 * Resumed: what is there is announced, whether it was before or not. */
void io_conn_pause(struct io_conn *conn);
void io_conn_resume(struct io_conn *conn);
bool io_conn_paused(const struct io_conn *conn);

bool io_conn_eof(const struct io_conn *conn); /* the peer sends no more; unconsumed input may be left */

void io_conn_set_input_max(struct io_conn *conn, size_t max);

/* On a fiber, input paused: until there are more unconsumed bytes than now. CQ_OK; CQ_E_EOF; CQ_E_LIMIT: input_max
 * bytes are there already; CQ_E_TIMEOUT; CQ_E_CANCELLED; or the code with which the connection was closed. */
enum cq_rc io_conn_read_more(struct io_conn *conn, uint64_t deadline_us);

/* ---- Output. After a close or an abort it is dropped silently: the owner hears of it by on_closed. ---- */

void io_conn_write(struct io_conn *conn, struct cq_slice data); /* copied */
void io_conn_write_cstr(struct io_conn *conn, const char *text);
void io_conn_printf(struct io_conn *conn, const char *fmt, ...) CQ_PRINTF(2, 3);

/* Room for n bytes (n <= 4096) at the end of the output, to be filled in place; then how many were. Nothing else is
 * called on the connection in between. */
uint8_t *io_conn_reserve(struct io_conn *conn, size_t n);
void io_conn_commit(struct io_conn *conn, size_t n);

/* Not copied: the bytes stay valid until release(arg), which is called once, on the loop's thread, when they are
 * written or dropped. For bodies and other large, reference-counted things. */
typedef void io_release_fn(void *arg);
void io_conn_write_owned(struct io_conn *conn, struct cq_slice data, io_release_fn *release, void *arg);

size_t io_conn_output(const struct io_conn *conn);    /* bytes that wait to be written */
bool io_conn_output_full(const struct io_conn *conn); /* above the high mark: a producer should flush */

/* On a fiber: returns at once below the high mark, else waits until output is below the low one. For producers of large
 * answers. CQ_OK, CQ_E_TIMEOUT, CQ_E_CANCELLED, or the code with which the connection was closed. */
enum cq_rc io_conn_flush(struct io_conn *conn, uint64_t deadline_us);

/* On a fiber: until nothing waits to be written. Same results. */
enum cq_rc io_conn_drain(struct io_conn *conn, uint64_t deadline_us);

/* ---- Time ---- */

void io_conn_set_idle(struct io_conn *conn, uint64_t idle_ms); /* 0: never; starts anew */

/* ---- TLS ---- */

/* Server side of STARTTLS: the answer has been written (it still goes out in clear), then this. Every byte that the
 * client sent in clear is thrown away; true: there were some (RFC 3207 4, command injection: close). Then wait for
 * on_tls; input is announced after it. Also for implicit TLS, right after io_conn_new (a listener does that). */
bool io_conn_start_tls(struct io_conn *conn, struct io_tls *server);

/* On a fiber, client side, input paused: the handshake; as io_conn_connect (resume may be NULL). */
enum cq_rc io_conn_start_tls_client(struct io_conn *conn, struct io_tls *client, const char *server_name,
                                    const struct io_tls_session *resume, uint64_t deadline_us, struct cq_err *err);

/* Subject alternative names of a peer that are kept; a client certificate with more is refused. */
#define IO_TLS_NAMES_MAX 32

struct io_tls_info {
    const char *version; /* "TLSv1.3" */
    const char *cipher;  /* "TLS_AES_256_GCM_SHA384" */
    const char *alpn;    /* what was agreed; "" without */
    const char *sni;     /* what the client asked for, lower case; "" without */
    bool resumed;
    bool peer_verified;          /* there is a peer certificate and its chain was verified */
    const char *peer_cn;         /* subject's common name; "" without; control bytes make it "" */
    const char *const *peer_dns; /* dNSName; NULL-terminated */
    const char *const *peer_uri; /* uniformResourceIdentifier; NULL-terminated */
};

/* NULL: no TLS, or its handshake is not done. Made at the first call; lives as long as the connection. */
const struct io_tls_info *io_conn_tls(struct io_conn *conn);

/* Client side: what a later connection to the same server may resume (RFC 8446 2.2), NULL when the server has given
 * nothing (yet: under TLS 1.3 tickets come after the handshake, with the server's first words). The caller frees it;
 * each is meant to be used once. Never with early data. */
struct io_tls_session *io_conn_tls_session(struct io_conn *conn);
void io_tls_session_free(struct io_tls_session **session);

/* Keying material (RFC 5705; "EXPORTER-Channel-Binding", no context, 32 bytes is tls-exporter of RFC 9266; under
 * TLS 1.2 it needs the extended master secret). False: no TLS, or not safe for channel binding. */
bool io_conn_tls_exporter(struct io_conn *conn, const char *label, uint8_t *out, size_t size);

/* ---- Who ---- */

const struct io_addr *io_conn_peer(const struct io_conn *conn); /* the client: from the PROXY header if there was one */
const struct io_addr *io_conn_local(const struct io_conn *conn);       /* the address that it reached, likewise */
const struct io_addr *io_conn_socket_peer(const struct io_conn *conn); /* who really connected (the load balancer) */
uint64_t io_conn_id(const struct io_conn *conn);                       /* unique in this process, rising */

struct io_conn_counters {
    uint64_t bytes_in, bytes_out; /* of the protocol: without TLS and PROXY */
    uint64_t wire_in, wire_out;   /* on the socket */
};

void io_conn_counters(const struct io_conn *conn, struct io_conn_counters *counters_r);

#endif
