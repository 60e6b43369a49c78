#include "rpc/rpc_link.h"

#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "rpc/rpc_node_name.h"

#include <stdio.h>

static struct rpc_link *link_of_timer(struct io_timer *timer)
{
    return cq_containerof(timer, struct rpc_link, timer);
}

static void payload_release(void *arg)
{
    struct rpc_payload *payload = arg;
    rpc_payload_unref(&payload);
}

void rpc_link_send(struct rpc_link *link, const struct rpc_frame *frame, struct rpc_payload *payload)
{
    uint8_t *at = io_conn_reserve(link->conn, RPC_FRAME_HEADER_SIZE);
    rpc_frame_encode(frame, at);
    io_conn_commit(link->conn, RPC_FRAME_HEADER_SIZE);
    if (frame->payload_len)
        io_conn_write_owned(link->conn, cq_slice_of(payload->data, frame->payload_len), payload_release,
                            rpc_payload_ref(payload));
}

static void link_send_hello(struct rpc_link *link)
{
    struct rpc_frame frame = {.type = RPC_HELLO};
    struct cq_buf buf;
    cq_buf_init(&buf, RPC_HELLO_MAX);
    rpc_hello_encode(&buf, link->config.hello); /* its texts are bounded far below the limit */
    struct rpc_payload *payload = rpc_payload_join(&frame, cq_buf_slice(&buf), NULL, 0);
    rpc_link_send(link, &frame, payload);
    rpc_payload_unref(&payload);
    cq_buf_fini(&buf);
}

void rpc_link_goodbye(struct rpc_link *link, uint64_t last_stream)
{
    if (link->goodbye_sent || link->closing || !link->trusted)
        return;
    link->goodbye_sent = true;
    rpc_link_send(link, &(struct rpc_frame){.type = RPC_GOODBYE, .aux = last_stream}, NULL);
}

void rpc_link_close(struct rpc_link *link)
{
    if (link->closing)
        return;
    link->closing = true;
    io_conn_close(link->conn);
}

void rpc_link_abort(struct rpc_link *link, enum cq_rc why, const char *text)
{
    link->closing = true;
    io_conn_abort(link->conn, why, "%s", text);
}

size_t rpc_link_queued(const struct rpc_link *link)
{
    return io_conn_output(link->conn);
}

/* ---- Who is there ---- */

static uint32_t uri_roles(const char *const *uris, struct cq_slice cluster)
{
    uint32_t roles = 0;
    for (; uris && *uris; uris++)
        roles |= rpc_role_of_uri(cq_slice_cstr(*uris), cluster);
    return roles;
}

/* The roles of the peer's verified certificate; CQ_E_DENIED unless one of them is wanted here. */
static enum cq_rc link_judge_peer(struct rpc_link *link, struct cq_err *err)
{
    const struct io_tls_info *tls = io_conn_tls(link->conn);
    if (!tls || !tls->peer_verified)
        return CQ_FAIL(err, CQ_E_DENIED, "peer without a certificate");
    link->peer_roles = uri_roles(tls->peer_uri, cq_slice_cstr(link->config.hello->cluster));
    if (!(link->peer_roles & link->config.peer_roles)) {
        char have[RPC_ROLES_TEXT_SIZE], want[RPC_ROLES_TEXT_SIZE];
        rpc_roles_text(link->peer_roles, have);
        rpc_roles_text(link->config.peer_roles, want);
        return CQ_FAIL(err, CQ_E_DENIED, "certificate gives the roles \"%s\" in cluster %s, wanted is one of %s", have,
                       link->config.hello->cluster, want);
    }
    return CQ_OK;
}

static void link_fail(struct rpc_link *link, const struct cq_err *err)
{
    rpc_link_abort(link, err->rc, err->text);
}

static void link_tls_done(struct rpc_link *link)
{
    struct cq_err err = {0};
    if (link_judge_peer(link, &err) != CQ_OK) {
        link_fail(link, &err);
        return;
    }
    link->trusted = true;
    link_send_hello(link);
}

/* ---- Silence ---- */

static void link_ping_timer(struct io_timer *timer)
{
    struct rpc_link *link = link_of_timer(timer);
    link->pings = link->heard ? 0 : link->pings;
    link->heard = false;
    if (link->pings >= RPC_LINK_PINGS_MAX) {
        rpc_link_abort(link, CQ_E_TIMEOUT, "no sign of life from the peer");
        return;
    }
    link->pings++;
    rpc_link_send(link, &(struct rpc_frame){.type = RPC_PING, .aux = link->pings}, NULL);
    io_timer_start_at(timer, io_loop_now_us(timer->loop) + link->config.ping_interval_us);
}

static void link_hello_timer(struct io_timer *timer)
{
    rpc_link_abort(link_of_timer(timer), CQ_E_TIMEOUT, "no HELLO in time");
}

/* ---- Frames ---- */

static enum cq_rc link_hello(struct rpc_link *link, const struct rpc_frame *frame, struct rpc_payload *payload,
                             struct cq_err *err)
{
    enum cq_rc rc = rpc_hello_decode(rpc_frame_message(frame, payload), &link->peer_hello, err);
    if (rc != CQ_OK)
        return rc;
    if (strcmp(link->peer_hello.cluster, link->config.hello->cluster))
        return CQ_FAIL(err, CQ_E_DENIED, "peer belongs to another cluster");
    if (link->peer_hello.has_node &&
        !rpc_uris_allow_node(io_conn_tls(link->conn)->peer_uri, cq_slice_cstr(link->config.hello->cluster),
                             link->peer_hello.node))
        return CQ_FAIL(err, CQ_E_DENIED, "peer speaks for a node that its certificate does not name");
    link->up = true;
    link->reader.payload_max = RPC_PAYLOAD_MAX;
    io_timer_stop(&link->timer);
    io_timer_init(&link->timer, io_conn_loop(link->conn), link_ping_timer);
    io_timer_start_at(&link->timer, io_loop_now_us(io_conn_loop(link->conn)) + link->config.ping_interval_us);
    link->config.ops->on_up(link);
    return CQ_OK;
}

/* The frames that are the connection's own. */
static enum cq_rc link_own_frame(struct rpc_link *link, const struct rpc_frame *frame, struct cq_err *err)
{
    switch (frame->type) {
    case RPC_HELLO:
        return CQ_FAIL(err, CQ_E_PROTO, "a second HELLO");
    case RPC_PING:
        if (rpc_link_queued(link) > RPC_LINK_OUTPUT_CONTROL + RPC_FRAME_MAX)
            return CQ_OK; /* a peer that reads nothing gets no PONG either: output stays bounded */
        rpc_link_send(link, &(struct rpc_frame){.type = RPC_PONG, .aux = frame->aux}, NULL);
        return CQ_OK;
    case RPC_GOODBYE:
        link->goodbye_seen = true;
        if (link->config.ops->on_goodbye)
            link->config.ops->on_goodbye(link, frame->aux);
        return CQ_OK;
    default: /* PONG, and skippable types of a newer peer */
        return CQ_OK;
    }
}

static bool link_frame_is_own(uint8_t type)
{
    return type == RPC_HELLO || type == RPC_PING || type == RPC_PONG || type == RPC_GOODBYE ||
           type >= RPC_FRAME_TYPE_SKIPPABLE;
}

static enum cq_rc link_frame(struct rpc_link *link, const struct rpc_frame *frame, struct rpc_payload *payload,
                             struct cq_err *err)
{
    if (link->up && !link_frame_is_own(frame->type))
        return link->config.ops->on_frame(link, frame, payload, err);
    enum cq_rc rc;
    if (link->up)
        rc = link_own_frame(link, frame, err);
    else if (frame->type == RPC_HELLO)
        rc = link_hello(link, frame, payload, err);
    else
        rc = CQ_FAIL(err, CQ_E_PROTO, "%s before HELLO", rpc_frame_type_name(frame->type));
    rpc_payload_unref(&payload);
    return rc;
}

/* Handles all whole frames that are there. */
static void link_on_input(struct io_conn *conn, void *ctx)
{
    struct rpc_link *link = ctx;
    struct cq_slice input = io_conn_input(conn);
    size_t len = input.len;
    bool freed = false;
    struct cq_err err = {0};
    enum cq_rc rc = link->trusted ? CQ_OK : CQ_FAIL(&err, CQ_E_DENIED, "bytes before the certificate was judged");
    link->heard = true;
    link->freed = &freed;
    while (rc == CQ_OK && !link->closing && !io_conn_paused(conn)) {
        struct rpc_frame frame;
        struct rpc_payload *payload;
        rc = rpc_frame_reader_next(&link->reader, &input, &frame, &payload, &err);
        if (rc == CQ_OK)
            rc = link_frame(link, &frame, payload, &err);
        if (freed)
            return;
    }
    link->freed = NULL;
    io_conn_consume(conn, len - input.len);
    if (rc != CQ_OK && rc != CQ_E_AGAIN && !link->closing)
        link_fail(link, &err);
}

static void link_on_tls(struct io_conn *conn, void *ctx)
{
    (void)conn;
    link_tls_done(ctx);
}

static void link_on_drained(struct io_conn *conn, void *ctx)
{
    (void)conn;
    struct rpc_link *link = ctx;
    if (link->config.ops->on_drained && !link->closing)
        link->config.ops->on_drained(link);
}

static void link_on_closed(struct io_conn *conn, const struct cq_err *why, void *ctx)
{
    (void)conn;
    struct rpc_link *link = ctx;
    link->closing = true;
    io_timer_stop(&link->timer);
    link->config.ops->on_down(link, why);
}

static const struct io_conn_ops link_conn_ops = {
    .on_input = link_on_input,
    .on_tls = link_on_tls,
    .on_drained = link_on_drained,
    .on_closed = link_on_closed,
};

void rpc_link_init(struct rpc_link *link, struct io_conn *conn, const struct rpc_link_config *config)
{
    struct io_loop *loop = io_conn_loop(conn);
    *link = (struct rpc_link){.config = *config, .conn = conn};
    rpc_frame_reader_init(&link->reader, RPC_HELLO_MAX);
    io_addr_format(io_conn_peer(conn), link->address);
    io_timer_init(&link->timer, loop, link_hello_timer);
    io_timer_start_at(&link->timer, io_loop_now_us(loop) + config->hello_timeout_us);
    io_conn_set_ops(conn, &link_conn_ops, link);
    if (io_conn_tls(conn))
        link_tls_done(link);
}

static void link_forget(struct rpc_link *link)
{
    if (link->freed)
        *link->freed = true;
    link->freed = NULL;
    io_timer_stop(&link->timer);
    rpc_frame_reader_fini(&link->reader);
}

void rpc_link_fini(struct rpc_link *link)
{
    link_forget(link);
    io_conn_free(&link->conn);
}

void rpc_link_leave(struct rpc_link *link)
{
    link_forget(link);
    io_conn_close_free(&link->conn);
}
