#include "io/io_filter.h"

#include "base/cq_assert.h"
#include "io/io_conn_private.h"

enum cq_rc io_filter_below_read(struct io_filter *filter, uint8_t *data, size_t cap, size_t *n_r, struct cq_err *err)
{
    struct io_filter *below = filter->below;
    return below ? below->ops->read(below, data, cap, n_r, err) : conn_sock_read(filter->conn, data, cap, n_r, err);
}

/* A filter takes pieces of a bounded size, whatever the one above it makes. */
enum cq_rc io_filter_below_write(struct io_filter *filter, struct cq_slice data, struct cq_err *err)
{
    struct io_filter *below = filter->below;
    enum cq_rc rc = CQ_OK;
    if (!below) {
        io_bytes_add(&filter->conn->wire, data);
        return CQ_OK;
    }
    for (; data.len && rc == CQ_OK; data = cq_slice_skip(data, IO_FILTER_PIECE))
        rc = below->ops->write(below, cq_slice_sub(data, 0, IO_FILTER_PIECE), err);
    return rc;
}

size_t io_conn_push_filter(struct io_conn *conn, struct io_filter *filter)
{
    size_t unread = conn->in.len;
    conn_push_all_below(conn);
    if (unread)
        io_conn_consume(conn, unread);
    filter->conn = conn;
    filter->below = conn->top;
    conn->top = filter;
    conn->handshaking = filter->ops->ready && !filter->ops->ready(filter);
    conn_end_turn(conn);
    return unread;
}

struct io_filter *io_conn_pop_filter(struct io_conn *conn, const char *name)
{
    struct io_filter *top = conn->top;
    if (!top || strcmp(top->ops->name, name) != 0)
        return NULL;
    CQ_ASSERT(!conn->handshaking);
    conn_push_all_below(conn);
    conn->top = top->below;
    conn_end_turn(conn);
    return top;
}
