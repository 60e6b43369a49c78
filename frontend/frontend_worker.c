#include "frontend_worker.h"

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_rand.h"
#include "core/front_events.h"
#include "frontend.h"
#include "frontend_imap.h"

#include <stdlib.h>

/* ---- Connections ---- */

static void accept_imap(struct io_conn *conn, void *ctx)
{
    struct frontend_port *port = ctx;
    frontend_imap_start(&port->worker->front, port->imap, conn);
}

static void accept_pop3(struct io_conn *conn, void *ctx)
{
    struct frontend_port *port = ctx;
    pop3_session_start(&port->worker->front, &port->pop3, conn);
}

static void accept_smtp(struct io_conn *conn, void *ctx)
{
    struct frontend_port *port = ctx;
    smtp_session_start(&port->worker->front, &port->smtp, conn);
}

/* ---- What each protocol's port needs ---- */

static void prepare_imap(struct frontend_port *port, struct frontend *frontend)
{
    const struct imap_service_options options = {
        .loop = port->worker->front.loop,
        .store = port->worker->front.mailstore,
        .config = &frontend->config->imap,
        .starttls = port->config->tls ? NULL : frontend->tls[LISTEN_IMAP],
        .ops = &frontend_imap_ops,
        .ahead_octets = &port->worker->front.ahead_octets,
    };
    port->imap = imap_service_new(&options);
}

static void prepare_pop3(struct frontend_port *port, struct frontend *frontend)
{
    port->pop3 = (struct pop3_service){
        .tls = port->config->tls ? NULL : frontend->tls[LISTEN_POP3],
        .idle_ms = frontend->config->frontend.pop3_idle_us / 1000,
    };
}

static void prepare_smtp(struct frontend_port *port, struct frontend *frontend)
{
    static const enum smtp_kind kinds[] = {
        [LISTEN_SMTP] = SMTP_MX,
        [LISTEN_SUBMISSION] = SMTP_SUBMISSION,
        [LISTEN_LMTP] = SMTP_LMTP,
    };
    port->smtp = (struct smtp_service){
        .kind = kinds[port->config->protocol],
        .tls = port->config->tls ? NULL : frontend->tls[port->config->protocol],
        .size_max = frontend->config->frontend.message_max,
        .recipients_max = (uint32_t)frontend->config->frontend.recipients_max,
        .idle_ms = frontend->config->frontend.smtp_idle_us / 1000,
    };
}

#define SMTP_REFUSAL_TEXT "Too many connections from your address"
#define SMTP_REFUSAL "421 4.7.0 " SMTP_REFUSAL_TEXT "\r\n"

static const struct {
    const char *name;
    void (*prepare)(struct frontend_port *port, struct frontend *frontend);
    io_accept_fn *accept;
    const char *refusal; /* instead of a greeting */
} protocols[LISTEN_PROTOCOL_COUNT] = {
    [LISTEN_IMAP] = {"imap", prepare_imap, accept_imap, "* BYE [LIMIT] Too many connections from your address\r\n"},
    [LISTEN_POP3] = {"pop3", prepare_pop3, accept_pop3, "-ERR [SYS/TEMP] Too many connections from your address\r\n"},
    [LISTEN_SMTP] = {"smtp", prepare_smtp, accept_smtp, SMTP_REFUSAL},
    [LISTEN_SUBMISSION] = {"submission", prepare_smtp, accept_smtp, SMTP_REFUSAL},
    [LISTEN_LMTP] = {"lmtp", prepare_smtp, accept_smtp, NULL},
};

/* ---- Admission: few enough connections of this address? ---- */

struct newcomer {
    struct frontend_port *port;
    struct io_conn *conn;
};

static const enum front_protocol front_protocols[LISTEN_PROTOCOL_COUNT] = {
    [LISTEN_IMAP] = FRONT_IMAP, [LISTEN_POP3] = FRONT_POP3,
    [LISTEN_SMTP] = FRONT_SMTP, [LISTEN_SUBMISSION] = FRONT_SUBMISSION,
    [LISTEN_LMTP] = FRONT_LMTP,
};

static void tell_limit(struct frontend_port *port, const struct io_addr *peer, enum front_limit limit)
{
    struct front_worker *worker = &port->worker->front;
    enum front_protocol protocol = front_protocols[port->config->protocol];
    const struct front_limited limited = {.limit = limit, .protocol = protocol, .peer = peer};
    const struct front_rejection rejection = {
        .stage = "connect",
        .reason = "too_many_connections",
        .code = 421,
        .enhanced = "4.7.0",
        .verb = "connect",
        .text = SMTP_REFUSAL_TEXT,
    };
    front_event_limited(worker, &limited);
    if (protocol == FRONT_SMTP || protocol == FRONT_SUBMISSION)
        front_event_turned_away(worker, protocol, peer, &rejection);
}

static void turn_away(struct frontend_port *port, struct io_conn *conn, enum front_m_refusal why)
{
    cq_metric_add(&front_metrics, FRONT_M_REJECTED, 1, front_protocols[port->config->protocol], why);
    io_conn_write_cstr(conn, protocols[port->config->protocol].refusal);
    io_conn_close_free(&conn);
}

static void admit(void *arg)
{
    struct newcomer newcomer = *(struct newcomer *)arg;
    struct frontend_port *port = newcomer.port;
    struct quota_client *quota = port->worker->front.quota;
    const struct io_addr peer = *io_conn_peer(newcomer.conn);
    struct cq_err err = {0};
    free(arg);
    enum cq_rc rc = quota_connection_begin(quota, &peer, &err);
    bool stopping = port->worker->front.quota == NULL;
    if (rc == CQ_OK && !stopping && io_conn_is_open(newcomer.conn)) {
        protocols[port->config->protocol].accept(newcomer.conn, port);
        return;
    }
    if (rc == CQ_OK) /* it, or we, left while we asked */
        quota_connection_end(quota, &peer);
    if (rc == CQ_E_RATE || rc == CQ_E_LIMIT) {
        tell_limit(port, &peer, rc == CQ_E_RATE ? FRONT_LIMIT_CONNECT : FRONT_LIMIT_SESSIONS_ADDRESS);
        turn_away(port, newcomer.conn, rc == CQ_E_RATE ? FRONT_M_RATE : FRONT_M_LIMIT);
    } else {
        io_conn_free(&newcomer.conn);
    }
}

static void on_accept(struct io_conn *conn, void *ctx)
{
    struct frontend_port *port = ctx;
    if (!port->worker->front.quota || port->config->protocol == LISTEN_LMTP) {
        protocols[port->config->protocol].accept(conn, port);
        return;
    }
    struct newcomer *newcomer = cq_new(struct newcomer);
    *newcomer = (struct newcomer){port, conn};
    if (io_fiber_spawn_queued(port->worker->front.loop, admit, newcomer, NULL) == CQ_OK)
        return;
    free(newcomer);
    turn_away(port, conn, FRONT_M_OVERLOAD);
}

/* ---- Limits ---- */

static enum cq_rc open_quota(struct frontend_worker *worker, struct frontend *frontend, struct cq_err *err)
{
    const struct frontend_settings *settings = &frontend->config->frontend;
    struct rpc_client_config rpc = {
        .loop = worker->front.loop,
        .resolver = frontend->resolver,
        .tls = frontend->link_client,
        .peer_roles = RPC_ROLE_QUOTA,
        .hello = &frontend->hello,
        .limits = frontend->config->client,
        .eager = true,
    };
    rpc.limits.connections = 1; /* counts are told in order */
    if (settings->quota.count) {
        rpc.address = settings->quota.items[0];
        worker->quota_rpc = rpc_client_new(&rpc);
    }
    const struct quota_client_config config = {.loop = worker->front.loop,
                                               .rpc = worker->quota_rpc,
                                               .limits = &frontend->config->limits,
                                               .shares = (unsigned)settings->quota_shares};
    return quota_client_new(&config, &worker->front.quota, err);
}

/* Questions that wait end before what they ask does. Sessions that still are there are not counted any more. */
static void close_quota(struct frontend_worker *worker)
{
    struct quota_client *quota = worker->front.quota;
    worker->front.quota = NULL;
    quota_client_leave(quota);
    rpc_client_free(&worker->quota_rpc);
    for (int i = 0; i < 10; i++)
        io_loop_turn(worker->front.loop, false);
    quota_client_free(&quota);
}

/* ---- Life ---- */

enum cq_rc frontend_worker_new(struct frontend *frontend, const char *name, struct frontend_worker **worker_r,
                               struct cq_err *err)
{
    const struct frontend_settings *settings = &frontend->config->frontend;
    const struct io_loop_options loop = {.name = name};
    struct frontend_worker *worker = cq_new(struct frontend_worker);
    uint8_t client_id[16];
    cq_rand_bytes(client_id, sizeof client_id);
    worker->front = (struct front_worker){
        .loop = io_loop_new(&loop),
        .directory = frontend->directory,
        .auth = frontend->auth,
        .hostname = settings->hostname,
        .spool_folder = settings->spool,
        .limits = &frontend->config->limits,
        .events = frontend->events,
    };
    cq_list_init(&worker->front.sessions);
    const struct mailstore_rpc_config rpc = {
        .loop = worker->front.loop,
        .resolver = frontend->resolver,
        .tls = frontend->link_client,
        .hello = &frontend->hello,
        .routers = settings->routers,
        .limits = frontend->config->client,
    };
    enum cq_rc rc = mailstore_rpc_new(&rpc, &worker->transport, err);
    *worker_r = worker;
    if (rc != CQ_OK) {
        frontend_worker_free(worker_r);
        return rc;
    }
    worker->front.mailstore =
        mailstore_new(worker->transport, client_id, (uint32_t)(settings->request_timeout_us / 1000));
    mailstore_use_body_cache(worker->front.mailstore, frontend->bodies);
    return CQ_OK;
}

static enum cq_rc parse_networks(struct frontend_port *port, struct cq_err *err)
{
    const struct cq_strings *from = &port->config->proxy_from;
    enum cq_rc rc = CQ_OK;
    port->proxy_from = cq_calloc(from->count, sizeof *port->proxy_from);
    for (size_t i = 0; rc == CQ_OK && i < from->count; i++)
        rc = io_cidr_parse(cq_slice_cstr(from->items[i]), &port->proxy_from[i], err);
    return rc == CQ_OK ? CQ_OK : CQ_FAIL(err, CQ_E_CONFIG, "listeners: proxy_from: not a network such as 10.0.0.0/8");
}

static enum cq_rc open_port(struct frontend_port *port, struct frontend *frontend, struct cq_err *err)
{
    const struct frontend_listener *config = port->config;
    struct io_listener_options options = {
        .name = protocols[config->protocol].name,
        .reuse_port = true,
        .tls = config->tls ? frontend->tls[config->protocol] : NULL,
        .conns_max = (size_t)frontend->config->frontend.connections_max,
    };
    enum cq_rc rc = parse_networks(port, err);
    if (rc == CQ_OK)
        rc = io_addr_parse(cq_slice_cstr(config->listen), 0, &options.addr, err);
    if (rc != CQ_OK)
        return cq_err_context(err, "listeners: %s", config->listen);
    options.proxy_from = port->proxy_from;
    options.proxy_from_count = config->proxy_from.count;
    protocols[config->protocol].prepare(port, frontend);
    return io_listener_new(port->worker->front.loop, &options, on_accept, port, &port->listener, err);
}

enum cq_rc frontend_worker_listen(struct frontend_worker *worker, struct frontend *frontend, struct cq_err *err)
{
    const struct cq_maps *listeners = &frontend->config->frontend.listeners;
    const struct frontend_listener *items = listeners->items;
    mailstore_on_no_account(worker->front.mailstore, frontend_missing, frontend);
    enum cq_rc rc = open_quota(worker, frontend, err);
    for (size_t i = 0; rc == CQ_OK && i < listeners->count; i++) {
        struct frontend_port *port = &worker->ports[worker->port_count++];
        *port = (struct frontend_port){.worker = worker, .config = &items[i]};
        rc = open_port(port, frontend, err);
    }
    return rc;
}

static void *thread_main(void *arg)
{
    struct frontend_worker *worker = arg;
    io_loop_run(worker->front.loop);
    return NULL;
}

void frontend_worker_run(struct frontend_worker *worker)
{
    if (pthread_create(&worker->thread, NULL, thread_main, worker) != 0)
        abort();
    worker->running = true;
}

void frontend_worker_stop_listening(struct frontend_worker *worker)
{
    for (size_t i = 0; i < worker->port_count; i++)
        if (worker->ports[i].listener)
            io_listener_stop(worker->ports[i].listener);
}

void frontend_worker_free(struct frontend_worker **worker_p)
{
    struct frontend_worker *worker = *worker_p;
    if (!worker)
        return;
    if (worker->running) {
        io_loop_stop(worker->front.loop);
        pthread_join(worker->thread, NULL);
    }
    for (size_t i = 0; i < worker->port_count; i++)
        io_listener_free(&worker->ports[i].listener);
    close_quota(worker);
    for (size_t i = 0; i < worker->port_count; i++) {
        imap_service_free(&worker->ports[i].imap);
        free(worker->ports[i].proxy_from);
    }
    mailstore_free(&worker->front.mailstore);
    mailstore_rpc_free(&worker->transport);
    io_loop_free(&worker->front.loop);
    free(worker);
    *worker_p = NULL;
}
