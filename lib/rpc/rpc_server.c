/* Connections of the server: who is there, which frames it may send, drain. Requests are in rpc_request.c. */
#include "rpc/rpc_server_private.h"

#include "base/cq_assert.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"

#include <stdlib.h>

static const struct cq_setting server_settings[] = {
    CQ_SET_INT(struct rpc_server_limits, fibers_max, "rpc.server.handlers_max", "1024", 1, 65536, "handlers",
               "Requests that one worker handles at a time."),
    CQ_SET_INT(struct rpc_server_limits, waiting_max, "rpc.server.waiting_max", "4096", 0, 1000000, "requests",
               "Requests that wait for a handler; more are refused as overload."),
    CQ_SET_INT(struct rpc_server_limits, connections_max, "rpc.server.connections_max", "1024", 1, 65536, "connections",
               "Connections of one worker; more wait in the kernel."),
    CQ_SET_INT(struct rpc_server_limits, streams_max, "rpc.server.streams_max", "65536", 1, 1000000, "requests",
               "Unanswered requests of one connection; more are refused as overload."),
    CQ_SET_SIZE(struct rpc_server_limits, connection_bytes, "rpc.server.connection_memory", "32MiB", "1MiB", "1GiB",
                "Payload of one connection's unanswered requests, above which nothing more is read from it."),
    CQ_SET_SIZE(struct rpc_server_limits, output_bytes, "rpc.server.connection_output", "8MiB", "64KiB", "1GiB",
                "Answers of one connection that wait to be written, above which nothing more is read from it."),
    CQ_SET_DURATION(struct rpc_server_limits, ping_interval_us, "rpc.server.ping_interval", "5s", "10ms", "10m",
                    "Silence after which the peer is asked for a sign of life; three in vain end the connection."),
    CQ_SET_DURATION(struct rpc_server_limits, hello_timeout_us, "rpc.server.hello_timeout", "5s", "10ms", "1m",
                    "Time for a new connection to say HELLO."),
};

struct cq_config_part rpc_server_config_part(struct rpc_server_limits *values)
{
    struct cq_config_part part = CQ_CONFIG_PART("rpc server", server_settings, values);
    return part;
}

struct rpc_server_limits rpc_server_limits_default(void)
{
    return (struct rpc_server_limits){
        .fibers_max = 1024,
        .waiting_max = 4096,
        .connections_max = 1024,
        .streams_max = 65536,
        .connection_bytes = 32u << 20,
        .output_bytes = 8u << 20,
        .ping_interval_us = 5000000,
        .hello_timeout_us = 5000000,
    };
}

/* ---- Life ---- */

static void server_unref(struct rpc_server *server)
{
    CQ_ASSERT(server->refs > 0);
    if (--server->refs == 0)
        free(server);
}

void rpc_peer_ref(struct rpc_peer *peer)
{
    peer->refs++;
}

void rpc_peer_unref(struct rpc_peer *peer)
{
    CQ_ASSERT(peer->refs > 0);
    if (--peer->refs)
        return;
    server_unref(peer->server);
    free(peer);
}

/* The connection has ended: nobody waits for what it asked. The caller holds a reference. */
static void peer_end(struct rpc_peer *peer, bool clean)
{
    struct rpc_server *server = peer->server;
    struct cq_list *node;
    peer->alive = false;
    cq_list_remove(&peer->link_in_server);
    server->peer_count--;
    while ((node = cq_list_first(&peer->requests)))
        rpc_request_go(cq_list_entry(node, struct rpc_request, link), CQ_E_CANCELLED);
    if (peer->announced && server->config.on_peer)
        server->config.on_peer(server->config.on_peer_ctx, peer, false, clean);
    rpc_peer_unref(peer);
}

/* ---- Drain ---- */

static void peer_drain(struct rpc_peer *peer)
{
    rpc_link_goodbye(&peer->link, peer->last_stream);
    struct cq_list streams; /* out of the list first: a handler that is told may end others */
    cq_list_init(&streams);
    cq_list_each_safe (&peer->requests, node) {
        struct rpc_request *request = cq_list_entry(node, struct rpc_request, link);
        if (!(request->row->flags & RPC_METHOD_STREAM))
            continue;
        cq_list_remove(node);
        cq_list_push_back(&streams, node);
    }
    struct cq_list *node;
    while ((node = cq_list_first(&streams)))
        rpc_request_go(cq_list_entry(node, struct rpc_request, link), CQ_E_UNAVAILABLE);
    rpc_peer_settled(peer);
}

static bool peer_has_requests(const struct rpc_peer *peer)
{
    return !cq_list_empty(&peer->requests) || !cq_list_empty(&peer->gone);
}

void rpc_peer_settled(struct rpc_peer *peer)
{
    struct rpc_server *server = peer->server;
    if (!server->draining)
        return;
    if (peer->alive && peer->announced && !peer_has_requests(peer))
        rpc_link_close(&peer->link);
    if (!server->closed)
        io_loop_defer(server->config.loop, &server->drain_check);
}

static void server_drain_check(struct io_defer *defer)
{
    struct rpc_server *server = cq_containerof(defer, struct rpc_server, drain_check);
    void (*drained)(void *ctx) = server->drained;
    if (server->requests || !drained)
        return;
    server->drained = NULL;
    drained(server->drained_ctx);
}

void rpc_server_drain(struct rpc_server *server, void (*done)(void *ctx), void *ctx)
{
    if (server->draining)
        return;
    server->draining = true;
    server->drained = done;
    server->drained_ctx = ctx;
    for (size_t i = 0; i < server->listener_count; i++)
        io_listener_stop(server->listeners[i]);
    cq_list_each_safe (&server->peers, node) {
        struct rpc_peer *peer = cq_list_entry(node, struct rpc_peer, link_in_server);
        if (peer->announced)
            peer_drain(peer);
    }
    io_loop_defer(server->config.loop, &server->drain_check);
}

/* ---- Frames ---- */

struct verdict {
    enum cq_rc rc; /* CQ_OK: may run */
    enum rpc_refusal reason;
};

static struct verdict judge(const struct rpc_peer *peer, const struct rpc_method *row, const struct rpc_frame *frame)
{
    if (!row || (frame->type == RPC_ONEWAY) != ((row->flags & RPC_METHOD_ONEWAY) != 0))
        return (struct verdict){CQ_E_UNSUPPORTED, RPC_REFUSED_METHOD};
    if (!(peer->link.peer_roles & row->roles))
        return (struct verdict){CQ_E_DENIED, RPC_REFUSED_ROLE};
    if (frame->message_len > row->message_max || frame->payload_len - frame->message_len > row->raw_max)
        return (struct verdict){CQ_E_TOO_BIG, RPC_REFUSED_SIZE};
    if ((row->flags & RPC_METHOD_STREAM) && !(frame->flags & RPC_FLAG_STREAM))
        return (struct verdict){CQ_E_INVALID, RPC_REFUSED_METHOD};
    if (peer->open >= (size_t)peer->server->config.limits.streams_max)
        return (struct verdict){CQ_E_OVERLOADED, RPC_REFUSED_LOAD};
    return (struct verdict){.rc = CQ_OK};
}

static void refuse(struct rpc_peer *peer, const struct rpc_method *row, const struct rpc_frame *frame,
                   struct verdict verdict)
{
    char roles[RPC_ROLES_TEXT_SIZE];
    rpc_roles_text(peer->link.peer_roles, roles);
    rpc_server_count_refusal(verdict.reason);
    if (verdict.rc != CQ_E_OVERLOADED)
        cq_log_limited(5, CQ_WARN, "rpc.refused", CQ_F_STR("peer", peer->link.address), CQ_F_STR("roles", roles),
                       CQ_F_U64("method", frame->method), CQ_F_STR("name", row ? row->name : NULL),
                       CQ_F_RC(verdict.rc));
    rpc_link_send(&peer->link,
                  &(struct rpc_frame){.type = RPC_RESPONSE,
                                      .stream = frame->stream,
                                      .method = frame->method,
                                      .flags = RPC_FLAG_NOT_RUN,
                                      .result = (uint16_t)verdict.rc},
                  NULL);
}

static const struct rpc_method *server_row(const struct rpc_server *server, uint16_t method)
{
    return method <= RPC_METHOD_MAX ? server->rows[method] : NULL;
}

static enum cq_rc on_request(struct rpc_peer *peer, const struct rpc_frame *frame, struct rpc_payload **payload,
                             struct cq_err *err)
{
    if (frame->stream <= peer->last_stream)
        return CQ_FAIL(err, CQ_E_PROTO, "stream id %u after %u", frame->stream, peer->last_stream);
    if (peer->link.goodbye_sent) /* the client knows from the GOODBYE that nobody looks at this */
        return CQ_OK;
    peer->last_stream = frame->stream;
    const struct rpc_method *row = server_row(peer->server, frame->method);
    struct verdict verdict = judge(peer, row, frame);
    if (verdict.rc != CQ_OK) {
        refuse(peer, row, frame, verdict);
        return CQ_OK;
    }
    rpc_request_start(peer, row, frame, *payload);
    *payload = NULL;
    return CQ_OK;
}

static enum cq_rc on_oneway(struct rpc_peer *peer, const struct rpc_frame *frame, struct rpc_payload **payload,
                            struct cq_err *err)
{
    const struct rpc_method *row = server_row(peer->server, frame->method);
    struct verdict verdict = judge(peer, row, frame);
    if (verdict.rc != CQ_OK) {
        rpc_server_count_refusal(verdict.reason);
        return CQ_FAIL(err, verdict.rc, "one-way message %u is not allowed", frame->method);
    }
    rpc_request_start(peer, row, frame, *payload);
    *payload = NULL;
    return CQ_OK;
}

static enum cq_rc on_cancel(struct rpc_peer *peer, const struct rpc_frame *frame, struct rpc_payload **payload,
                            struct cq_err *err)
{
    (void)payload;
    (void)err;
    struct rpc_request *request = rpc_peer_find(peer, frame->stream);
    if (request) {
        request->cancelled = true;
        rpc_request_go(request, CQ_E_CANCELLED);
    }
    return CQ_OK;
}

static enum cq_rc on_credit(struct rpc_peer *peer, const struct rpc_frame *frame, struct rpc_payload **payload,
                            struct cq_err *err)
{
    (void)payload;
    (void)err;
    struct rpc_request *request = rpc_peer_find(peer, frame->stream);
    if (request)
        rpc_request_credit(request, frame->aux);
    return CQ_OK;
}

static enum cq_rc peer_frame(struct rpc_link *link, const struct rpc_frame *frame, struct rpc_payload *payload,
                             struct cq_err *err)
{
    typedef enum cq_rc frame_fn(struct rpc_peer *, const struct rpc_frame *, struct rpc_payload **, struct cq_err *);
    static frame_fn *const handlers[] = {
        [RPC_REQUEST] = on_request, [RPC_ONEWAY] = on_oneway, [RPC_CANCEL] = on_cancel, [RPC_CREDIT] = on_credit};
    frame_fn *fn = frame->type < sizeof handlers / sizeof *handlers ? handlers[frame->type] : NULL;
    struct rpc_peer *peer = cq_containerof(link, struct rpc_peer, link);
    rpc_peer_ref(peer);
    enum cq_rc rc = fn ? fn(peer, frame, &payload, err)
                       : CQ_FAIL(err, CQ_E_PROTO, "%s from a client", rpc_frame_type_name(frame->type));
    rpc_payload_unref(&payload);
    rpc_peer_unref(peer);
    return rc;
}

/* ---- Connections ---- */

static void peer_up(struct rpc_link *link)
{
    struct rpc_peer *peer = cq_containerof(link, struct rpc_peer, link);
    struct rpc_server *server = peer->server;
    peer->announced = true;
    if (server->config.on_peer)
        server->config.on_peer(server->config.on_peer_ctx, peer, true, false);
    if (server->draining)
        peer_drain(peer);
}

static void peer_down(struct rpc_link *link, const struct cq_err *why)
{
    struct rpc_peer *peer = cq_containerof(link, struct rpc_peer, link);
    bool clean = link->goodbye_seen;
    if (!peer->announced && why->rc == CQ_E_DENIED) {
        rpc_server_count_refusal(RPC_REFUSED_CERTIFICATE);
        cq_log_limited(5, CQ_WARN, "rpc.peer_refused", CQ_F_STR("peer", link->address), CQ_F_ERR(why));
    } else if (why->rc != CQ_OK && !clean) {
        cq_log_limited(5, CQ_INFO, "rpc.peer_lost", CQ_F_STR("peer", link->address), CQ_F_ERR(why));
    }
    rpc_peer_ref(peer);
    peer_end(peer, clean);
    rpc_link_fini(link);
    rpc_peer_unref(peer);
}

static void peer_drained(struct rpc_link *link)
{
    struct rpc_peer *peer = cq_containerof(link, struct rpc_peer, link);
    struct cq_list blocked; /* out of the list first: handlers may end requests */
    cq_list_init(&blocked);
    rpc_peer_ref(peer);
    cq_list_each_safe (&peer->requests, node) {
        if (cq_list_entry(node, struct rpc_request, link)->blocked) {
            cq_list_remove(node);
            cq_list_push_back(&blocked, node);
        }
    }
    struct cq_list *node;
    while ((node = cq_list_first(&blocked))) {
        cq_list_remove(node);
        cq_list_push_back(&peer->requests, node);
        rpc_request_writable(cq_list_entry(node, struct rpc_request, link));
    }
    rpc_peer_unref(peer);
}

static const struct rpc_link_ops peer_link_ops = {
    .on_up = peer_up,
    .on_frame = peer_frame,
    .on_drained = peer_drained,
    .on_down = peer_down,
};

static struct io_conn_options server_conn_options(const struct rpc_server *server)
{
    size_t high = (size_t)server->config.limits.output_bytes;
    /* Not full_duplex: that no more requests are read is what bounds the answers that wait. It cannot end in both sides
     * waiting for each other, because a client never stops reading (dial_connect in rpc_client.c). */
    return (struct io_conn_options){.input_max = 4 * IO_READ_SIZE,
                                    .output_high = high,
                                    .output_low = high / 4,
                                    .handshake_ms = server->config.limits.hello_timeout_us / 1000 + 1};
}

static void server_take(struct rpc_server *server, struct io_conn *conn)
{
    struct rpc_peer *peer = cq_new(struct rpc_peer);
    struct rpc_link_config config = {.ops = &peer_link_ops,
                                     .hello = server->config.hello,
                                     .peer_roles = RPC_ROLE_ALL,
                                     .ping_interval_us = server->config.limits.ping_interval_us,
                                     .hello_timeout_us = server->config.limits.hello_timeout_us};
    peer->server = server;
    peer->refs = 1;
    peer->alive = true;
    server->refs++;
    server->peer_count++;
    cq_list_init(&peer->requests);
    cq_list_init(&peer->gone);
    for (size_t i = 0; i < RPC_PEER_BUCKETS; i++)
        cq_list_init(&peer->table[i]);
    cq_list_init(&peer->link_in_server);
    cq_list_push_back(&server->peers, &peer->link_in_server);
    rpc_link_init(&peer->link, conn, &config);
}

static void server_accept(struct io_conn *conn, void *ctx)
{
    struct rpc_server *server = ctx;
    if (server->peer_count >= (size_t)server->config.limits.connections_max) {
        rpc_server_count_refusal(RPC_REFUSED_LOAD);
        io_conn_free(&conn);
        return;
    }
    server_take(server, conn);
}

enum cq_rc rpc_server_adopt(struct rpc_server *server, int fd, struct cq_err *err)
{
    if (server->draining)
        return CQ_FAIL(err, CQ_E_UNAVAILABLE, "draining");
    struct io_conn_options options = server_conn_options(server);
    struct io_conn *conn = io_conn_new(server->config.loop, fd, &options);
    io_conn_start_tls(conn, server->config.tls);
    server_take(server, conn);
    return CQ_OK;
}

enum cq_rc rpc_server_listen(struct rpc_server *server, const char *address, uint16_t *port_r, struct cq_err *err)
{
    struct io_listener_options options = {.name = "rpc",
                                          .reuse_port = true,
                                          .tls = server->config.tls,
                                          .conns_max = (size_t)server->config.limits.connections_max,
                                          .conn = server_conn_options(server)};
    if (server->listener_count == RPC_LISTENERS_MAX)
        return CQ_FAIL(err, CQ_E_LIMIT, "more than %d listening addresses", RPC_LISTENERS_MAX);
    enum cq_rc rc = io_addr_parse(cq_slice_cstr(address), 0, &options.addr, err);
    if (rc != CQ_OK)
        return rc;
    struct io_listener **listener = &server->listeners[server->listener_count];
    rc = io_listener_new(server->config.loop, &options, server_accept, server, listener, err);
    if (rc != CQ_OK)
        return rc;
    server->listener_count++;
    if (port_r)
        *port_r = io_listener_addr(*listener)->port;
    return CQ_OK;
}

/* ---- Birth and end ---- */

#define KINDS (RPC_METHOD_READ | RPC_METHOD_COMMAND | RPC_METHOD_ONEWAY)

static void server_add_row(struct rpc_server *server, const struct rpc_method *row, void *ctx)
{
    uint32_t kind = row->flags & KINDS;
    CQ_ASSERT(row->method <= RPC_METHOD_MAX && !server->rows[row->method]);
    CQ_ASSERT(row->name && row->handler && row->roles && !(row->roles & ~RPC_ROLE_ALL));
    CQ_ASSERT(kind && !(kind & (kind - 1)));
    CQ_ASSERT(!(row->flags & RPC_METHOD_ONEWAY) || (row->flags & RPC_METHOD_INLINE));
    server->rows[row->method] = row;
    server->ctxs[row->method] = ctx;
}

struct rpc_server *rpc_server_new(const struct rpc_server_config *config)
{
    CQ_ASSERT(config->loop && config->tls && config->hello);
    CQ_ASSERT(rpc_cluster_id_valid(cq_slice_cstr(config->hello->cluster)));
    struct rpc_server *server = cq_new(struct rpc_server);
    server->config = *config;
    server->refs = 1;
    server->drain_check.fn = server_drain_check;
    cq_list_init(&server->peers);
    cq_list_init(&server->waiting);
    for (size_t s = 0; s < config->service_count; s++)
        for (size_t i = 0; i < config->services[s].count; i++)
            server_add_row(server, &config->services[s].methods[i], config->services[s].ctx);
    return server;
}

void rpc_server_free(struct rpc_server **server_p)
{
    struct rpc_server *server = *server_p;
    struct cq_list *node;
    if (!server)
        return;
    *server_p = NULL;
    server->closed = true;
    server->draining = true;
    io_defer_cancel(&server->drain_check);
    for (size_t i = 0; i < server->listener_count; i++)
        io_listener_free(&server->listeners[i]);
    while ((node = cq_list_first(&server->peers))) {
        struct rpc_peer *peer = cq_list_entry(node, struct rpc_peer, link_in_server);
        rpc_link_goodbye(&peer->link, peer->last_stream);
        rpc_peer_ref(peer);
        peer_end(peer, false);
        rpc_link_leave(&peer->link);
        rpc_peer_unref(peer);
    }
    server_unref(server);
}

size_t rpc_server_running(const struct rpc_server *server)
{
    return server->requests;
}

uint32_t rpc_peer_roles(const struct rpc_peer *peer)
{
    return peer->link.peer_roles;
}

const struct rpc_hello *rpc_peer_hello(const struct rpc_peer *peer)
{
    return &peer->link.peer_hello;
}

const char *rpc_peer_address(const struct rpc_peer *peer)
{
    return peer->link.address;
}

void rpc_peer_close(struct rpc_peer *peer)
{
    if (peer->alive)
        rpc_link_abort(&peer->link, CQ_E_CANCELLED, "closed by this side");
}

void rpc_peer_set_ctx(struct rpc_peer *peer, void *ctx)
{
    peer->ctx = ctx;
}

void *rpc_peer_ctx(const struct rpc_peer *peer)
{
    return peer->ctx;
}
