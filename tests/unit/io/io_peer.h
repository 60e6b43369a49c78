/* For the tests of connections: an owner that writes down what it is told, and a loop whose clock stands still. */
#ifndef IO_PEER_H
#define IO_PEER_H

#include "base/cq_buf.h"
#include "io/io_conn.h"
#include "io/io_pair.h"

#define PEER_TURNS_MAX 1000000 /* a test that needs more hangs */

/* One side of a connection. Consumes all input into `got` unless it is told to leave it. */
struct peer {
    struct io_conn *conn;
    struct cq_buf got;
    bool keep; /* do not consume */
    bool free_in_input, close_in_input, keep_after_close;
    int inputs, eofs, drains, idles, tls, closes;
    enum cq_rc why;
    char why_text[CQ_ERR_TEXT_SIZE];
};

extern struct io_loop *test_loop;

int peer_setup(void **state);    /* cmocka: makes test_loop */
int peer_teardown(void **state); /* frees it: a forgotten connection asserts */

extern const struct io_conn_ops peer_ops;     /* all of them */
extern const struct io_conn_ops peer_ops_min; /* no on_eof, no on_idle */

void peer_init(struct peer *peer, struct io_conn *conn);
void peer_fini(struct peer *peer);

void turns(int n);

/* Turns until cond; fails when it never comes. */
#define turns_until(cond)                                                                                              \
    do {                                                                                                               \
        for (int turns_ = 0; !(cond); turns_++) {                                                                      \
            if (turns_ > PEER_TURNS_MAX)                                                                               \
                fail_msg("never: %s", #cond);                                                                          \
            io_loop_turn(test_loop, false);                                                                            \
        }                                                                                                              \
    } while (0)

#endif
