/* Two connected connections in one process, for tests of conversations: no network. */
#ifndef IO_PAIR_H
#define IO_PAIR_H

#include "io/io_conn.h"

/* Both on the same loop; options may be NULL. Never fails (asserts when out of descriptors). */
void io_pair_new(struct io_loop *loop, const struct io_conn_options *options, struct io_conn **a_r,
                 struct io_conn **b_r);

/* One connection and the bare, non-blocking descriptor of its peer (the caller closes it): for byte-by-byte tests. */
struct io_conn *io_pair_new_fd(struct io_loop *loop, const struct io_conn_options *options, int *peer_fd_r);

#endif
