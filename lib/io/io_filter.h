/* A filter changes the bytes between a connection's owner and its socket (TLS, deflate). Input is pulled through the
 * stack, output is pushed. Filters run on the loop's stack only. */
#ifndef IO_FILTER_H
#define IO_FILTER_H

#include "io/io_conn.h"

#define IO_FILTER_PIECE 16384 /* bytes that one write is given at most */

struct io_filter_ops {
    const char *name;

    /* Gives 1..cap bytes, taking its own input with io_filter_below_read(). CQ_OK (*n_r > 0); CQ_E_AGAIN: nothing now;
     * CQ_E_EOF: the end; everything else is the end of the connection, with err's text. It never gives more than cap:
     * what it holds back (a bomb's tail) it gives at the next call. */
    enum cq_rc (*read)(struct io_filter *filter, uint8_t *data, size_t cap, size_t *n_r, struct cq_err *err);

    /* Takes all of data (at most IO_FILTER_PIECE bytes); pushes its product with io_filter_below_write(). */
    enum cq_rc (*write)(struct io_filter *filter, struct cq_slice data, struct cq_err *err);

    /* The end of a turn in which something was written: what is held back for better packing is pushed (deflate's sync
     * flush). May be NULL. */
    enum cq_rc (*flush)(struct io_filter *filter, struct cq_err *err);

    /* The owner writes no more: what is held back, then the last bytes (close_notify). May be NULL. */
    void (*finish)(struct io_filter *filter);

    /* False: output is held back until it is true (a handshake). Called after reads. May be NULL: always. */
    bool (*ready)(const struct io_filter *filter);

    void (*free)(struct io_filter *filter);
};

/* The first member of a filter's own struct. */
struct io_filter {
    const struct io_filter_ops *ops;
    struct io_conn *conn;
    struct io_filter *below; /* NULL: the socket */
};

/* Puts a filter on top of the stack of a live connection (COMPRESS=DEFLATE). Output queued so far goes through the old
 * stack, what is written from now on through the new one. Returns how many unconsumed input bytes there were: they
 * are thrown away, and the protocol closes the connection then. The connection frees the filter. */
size_t io_conn_push_filter(struct io_conn *conn, struct io_filter *filter);

/* Removes the topmost filter when it has this name and gives it to the caller (COMPRESS and UNAUTHENTICATE); NULL when
 * it has not. */
struct io_filter *io_conn_pop_filter(struct io_conn *conn, const char *name);

/* For the filters themselves. */
enum cq_rc io_filter_below_read(struct io_filter *filter, uint8_t *data, size_t cap, size_t *n_r, struct cq_err *err);
enum cq_rc io_filter_below_write(struct io_filter *filter, struct cq_slice data, struct cq_err *err);

#endif
