#include "unit/io/io_peer.h"

#include "unit/cq_cmocka.h"

#include <stdio.h>
#include <stdlib.h>

struct io_loop *test_loop;

int peer_setup(void **state)
{
    (void)state;
    test_loop = io_loop_new(&(struct io_loop_options){.name = "test", .manual_clock = true});
    return 0;
}

int peer_teardown(void **state)
{
    (void)state;
    if (!getenv("TEST_KEEP_LOOP")) /* set it to see why a test failed that left connections behind */
        io_loop_free(&test_loop);
    return 0;
}

static void on_input(struct io_conn *conn, void *ctx)
{
    struct peer *peer = ctx;
    peer->inputs++;
    assert_false(io_fiber_running());
    if (!peer->keep) {
        cq_buf_slice_add(&peer->got, io_conn_input(conn));
        io_conn_consume(conn, io_conn_input(conn).len);
    }
    if (peer->close_in_input)
        io_conn_close(conn);
    if (peer->free_in_input)
        io_conn_free(&peer->conn);
}

static void on_eof(struct io_conn *conn, void *ctx)
{
    (void)conn;
    struct peer *peer = ctx;
    peer->eofs++;
}

static void on_drained(struct io_conn *conn, void *ctx)
{
    (void)conn;
    struct peer *peer = ctx;
    peer->drains++;
}

static void on_tls(struct io_conn *conn, void *ctx)
{
    (void)conn;
    struct peer *peer = ctx;
    peer->tls++;
}

static void on_idle(struct io_conn *conn, void *ctx)
{
    struct peer *peer = ctx;
    peer->idles++;
    io_conn_write_cstr(conn, "BYE");
    io_conn_close(conn);
}

static void on_closed(struct io_conn *conn, const struct cq_err *why, void *ctx)
{
    struct peer *peer = ctx;
    peer->closes++;
    peer->why = why->rc;
    snprintf(peer->why_text, sizeof peer->why_text, "%s", why->text);
    assert_ptr_equal(conn, peer->conn);
    if (!peer->keep_after_close)
        io_conn_free(&peer->conn);
}

const struct io_conn_ops peer_ops = {on_input, on_eof, on_drained, on_tls, on_idle, on_closed};
const struct io_conn_ops peer_ops_min = {.on_input = on_input, .on_closed = on_closed};

void peer_init(struct peer *peer, struct io_conn *conn)
{
    *peer = (struct peer){.conn = conn};
    cq_buf_init(&peer->got, 64u << 20);
    if (conn)
        io_conn_set_ops(conn, &peer_ops, peer);
}

void peer_fini(struct peer *peer)
{
    io_conn_free(&peer->conn);
    cq_buf_fini(&peer->got);
}

void turns(int n)
{
    while (n--)
        io_loop_turn(test_loop, false);
}
