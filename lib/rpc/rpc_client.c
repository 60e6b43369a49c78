/* Lines: dialling, coming up, going down. Calls are in rpc_client_call.c. */
#include "rpc/rpc_client_private.h"

#include "base/cq_assert.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "io/io_resolve.h"

#include <stdio.h>
#include <stdlib.h>

#define DIAL_ADDRS_MAX 8 /* addresses of one name that one dial tries */

static const char *const role_names[] = {
#define ROLE_NAME(name, bit, text) text,
    RPC_ROLES(ROLE_NAME)
#undef ROLE_NAME
};
static const char *const fate_names[] = {"not_sent", "sent", "answered"};
static const char *const result_names[] = {"ok", "failed"};
static const struct cq_metric client_rows[] = {
    [RPC_CLIENT_M_INFLIGHT] =
        CQ_GAUGE("chasqui_rpc_client_inflight", "Calls without an answer yet", CQ_LABEL("peer_role", role_names)),
    [RPC_CLIENT_M_CALLS] = CQ_COUNTER("chasqui_rpc_client_calls_total", "Calls by how far they came",
                                      CQ_LABEL("peer_role", role_names), CQ_LABEL("fate", fate_names)),
    [RPC_CLIENT_M_CONNECTS] = CQ_COUNTER("chasqui_rpc_client_connects_total", "Dials by their result",
                                         CQ_LABEL("peer_role", role_names), CQ_LABEL("result", result_names)),
};
struct cq_metrics rpc_client_metrics = CQ_METRICS_OF(client_rows);

static const struct cq_setting client_settings[] = {
    CQ_SET_INT(struct rpc_client_limits, connections, "rpc.client.connections", "2", 1, 8, "connections",
               "TLS connections to one peer."),
    CQ_SET_SIZE(struct rpc_client_limits, queue_bytes, "rpc.client.queue", "32MiB", "1MiB", "1GiB",
                "Requests that wait to be written to one connection; more are refused."),
    CQ_SET_INT(struct rpc_client_limits, calls_max, "rpc.client.calls_max", "16384", 1, 1000000, "calls",
               "Unanswered calls to one peer; more are refused."),
    CQ_SET_DURATION(struct rpc_client_limits, connect_timeout_us, "rpc.client.connect_timeout", "3s", "10ms", "1m",
                    "Name resolution, TCP and TLS together."),
    CQ_SET_DURATION(struct rpc_client_limits, backoff_min_us, "rpc.client.backoff_min", "20ms", "1ms", "1m",
                    "First pause after a failed dial; it doubles."),
    CQ_SET_DURATION(struct rpc_client_limits, backoff_max_us, "rpc.client.backoff_max", "1s", "1ms", "10m",
                    "Longest pause between dials."),
    CQ_SET_DURATION(struct rpc_client_limits, ping_interval_us, "rpc.client.ping_interval", "5s", "10ms", "10m",
                    "Silence after which the peer is asked for a sign of life; three in vain end the connection."),
};

struct cq_config_part rpc_client_config_part(struct rpc_client_limits *values)
{
    struct cq_config_part part = CQ_CONFIG_PART("rpc client", client_settings, values);
    return part;
}

struct rpc_client_limits rpc_client_limits_default(void)
{
    return (struct rpc_client_limits){
        .connections = 1,
        .queue_bytes = 32u << 20,
        .calls_max = 16384,
        .connect_timeout_us = 3000000,
        .backoff_min_us = 20000,
        .backoff_max_us = 1000000,
        .ping_interval_us = 5000000,
    };
}

void rpc_client_unref(struct rpc_client *client)
{
    CQ_ASSERT(client->refs > 0);
    if (--client->refs)
        return;
    free(client->address);
    free(client);
}

static uint64_t client_now(const struct rpc_client *client)
{
    return io_loop_now_us(client->config.loop);
}

/* ---- Dialling ---- */

static void line_dial(struct rpc_line *line);

static void line_schedule(struct rpc_line *line)
{
    struct rpc_client *client = line->client;
    if (!client->closed && line->state == LINE_IDLE && (client->config.eager || !cq_list_empty(&client->waiting)))
        io_timer_start_at(&line->redial, line->not_before_us);
}

/* The pause doubles and is shortened by up to a half, so that many clients do not come at once. */
static void line_back_off(struct rpc_line *line)
{
    struct rpc_client *client = line->client;
    const struct rpc_client_limits *limits = &client->config.limits;
    uint64_t pause = line->backoff_us ? line->backoff_us : limits->backoff_min_us;
    pause = pause < limits->backoff_max_us ? pause : limits->backoff_max_us;
    line->backoff_us = pause * 2;
    pause -= cq_prng_below(&client->jitter, (uint32_t)(pause / 2 < UINT32_MAX ? pause / 2 + 1 : UINT32_MAX));
    line->not_before_us = client_now(client) + pause;
}

static bool client_may_come_up(const struct rpc_client *client)
{
    for (size_t i = 0; i < client->line_count; i++)
        if (client->lines[i].state == LINE_UP || client->lines[i].state == LINE_DIAL ||
            client->lines[i].state == LINE_HELLO)
            return true;
    return false;
}

/* The dial or the HELLO failed. The caller holds a reference of the client. */
static void line_dial_failed(struct rpc_line *line, const struct cq_err *why)
{
    struct rpc_client *client = line->client;
    char text[CQ_ERR_TEXT_SIZE];
    snprintf(text, sizeof text, "%s", why->text);
    line->state = LINE_IDLE;
    line_back_off(line);
    cq_metric_add(&rpc_client_metrics, RPC_CLIENT_M_CONNECTS, 1, client->role, 1);
    cq_log_limited(1, why->rc == CQ_E_DENIED || why->rc == CQ_E_AUTH ? CQ_WARN : CQ_INFO, "rpc.connect_failed",
                   CQ_F_STR("peer", client->address), CQ_F_RC(why->rc), CQ_F_STR("error", text));
    if (!client_may_come_up(client))
        rpc_pending_fail_waiting(client, CQ_E_UNAVAILABLE, text);
    line_schedule(line);
}

static void line_link_up(struct rpc_link *link)
{
    struct rpc_line *line = cq_containerof(link, struct rpc_line, link);
    struct rpc_client *client = line->client;
    line->state = LINE_UP;
    line->was_up = true;
    line->backoff_us = 0;
    cq_metric_add(&rpc_client_metrics, RPC_CLIENT_M_CONNECTS, 1, client->role, 0);
    cq_log(CQ_DEBUG, "rpc.connected", CQ_F_STR("peer", client->address));
    rpc_client_ref(client);
    rpc_pending_send_waiting(line);
    if (client->config.on_state)
        client->config.on_state(client->config.on_state_ctx, client, true, false, &link->peer_hello);
    rpc_client_unref(client);
}

static void line_link_down(struct rpc_link *link, const struct cq_err *why)
{
    struct rpc_line *line = cq_containerof(link, struct rpc_line, link);
    struct rpc_client *client = line->client;
    struct rpc_hello peer = link->peer_hello;
    struct cq_err kept = *why;
    bool clean = link->goodbye_seen, was_up = line->was_up;
    rpc_client_ref(client);
    rpc_link_fini(link);
    line->state = LINE_IDLE;
    line->was_up = false;
    if (kept.rc == CQ_OK || kept.text[0] == 0)
        snprintf(kept.text, sizeof kept.text, "%s", "the connection has ended");
    if (!was_up) {
        kept.rc = kept.rc == CQ_OK ? CQ_E_EOF : kept.rc;
        line_dial_failed(line, &kept);
    } else {
        cq_log(CQ_INFO, "rpc.disconnected", CQ_F_STR("peer", client->address), CQ_F_BOOL("goodbye", clean),
               CQ_F_STR("error", kept.text));
        line_back_off(line);
        line->backoff_us = 0;
        line_schedule(line);
        rpc_pending_fail_line(line, 0, RPC_SENT, CQ_E_UNAVAILABLE, kept.text);
        if (client->config.on_state && !client->closed)
            client->config.on_state(client->config.on_state_ctx, client, false, clean, &peer);
    }
    rpc_client_unref(client);
}

/* The peer looks at nothing above last_stream any more: that has not happened and may go elsewhere. */
static void line_link_goodbye(struct rpc_link *link, uint64_t last_stream)
{
    struct rpc_line *line = cq_containerof(link, struct rpc_line, link);
    struct rpc_client *client = line->client;
    rpc_client_ref(client);
    line->state = LINE_LEAVING;
    rpc_pending_fail_line(line, last_stream, RPC_NOT_SENT, CQ_E_UNAVAILABLE, "the peer is going away");
    if (!client->closed)
        rpc_line_leave_if_done(line);
    rpc_client_unref(client);
}

static enum cq_rc line_link_frame(struct rpc_link *link, const struct rpc_frame *frame, struct rpc_payload *payload,
                                  struct cq_err *err)
{
    return rpc_pending_frame(cq_containerof(link, struct rpc_line, link), frame, payload, err);
}

static const struct rpc_link_ops line_link_ops = {
    .on_up = line_link_up,
    .on_frame = line_link_frame,
    .on_goodbye = line_link_goodbye,
    .on_down = line_link_down,
};

void rpc_line_leave_if_done(struct rpc_line *line)
{
    if (line->state != LINE_LEAVING || !cq_list_empty(&line->open))
        return;
    rpc_link_goodbye(&line->link, 0);
    rpc_link_close(&line->link);
}

/* Tries the addresses of the name in their order. */
static enum cq_rc dial_connect(struct rpc_client *client, struct io_conn **conn_r, struct cq_err *err)
{
    const struct rpc_client_config *config = &client->config;
    uint64_t deadline = client_now(client) + config->limits.connect_timeout_us;
    struct io_addr addrs[DIAL_ADDRS_MAX];
    size_t count = 0;
    /* Reading is never paused because of waiting output: both sides doing that would wait for each other for ever. Our
     * output is bounded by queue_bytes instead. */
    struct io_conn_options options = {
        .input_max = 4 * IO_READ_SIZE, .output_high = SIZE_MAX, .output_low = SIZE_MAX / 2};
    enum cq_rc rc =
        io_resolve(config->resolver, cq_slice_cstr(client->address), addrs, DIAL_ADDRS_MAX, &count, deadline, err);
    if (rc != CQ_OK)
        return rc;
    rc = CQ_E_UNAVAILABLE;
    for (size_t i = 0; i < count && rc != CQ_OK && rc != CQ_E_CANCELLED; i++) {
        struct io_connect what = {.addr = addrs[i], .options = &options, .tls = config->tls};
        rc = io_conn_connect(config->loop, &what, deadline, conn_r, err);
    }
    return rc;
}

static void line_dial_fiber(void *arg)
{
    struct rpc_line *line = arg;
    struct rpc_client *client = line->client;
    struct io_conn *conn = NULL;
    struct cq_err err = {0};
    enum cq_rc rc = dial_connect(client, &conn, &err);
    if (client->closed) {
        io_conn_free(&conn);
    } else if (rc != CQ_OK) {
        err.rc = rc;
        line_dial_failed(line, &err);
    } else {
        struct rpc_link_config config = {.ops = &line_link_ops,
                                         .hello = client->config.hello,
                                         .peer_roles = client->config.peer_roles,
                                         .ping_interval_us = client->config.limits.ping_interval_us,
                                         .hello_timeout_us = client->config.limits.connect_timeout_us};
        line->state = LINE_HELLO;
        line->stream = 0;
        rpc_link_init(&line->link, conn, &config);
        io_conn_resume(conn);
    }
    rpc_client_unref(client);
}

static void line_dial(struct rpc_line *line)
{
    struct rpc_client *client = line->client;
    if (client->closed || line->state != LINE_IDLE)
        return;
    io_timer_stop(&line->redial);
    line->state = LINE_DIAL;
    rpc_client_ref(client);
    if (io_fiber_spawn(client->config.loop, line_dial_fiber, line, &line->dialler) == CQ_OK)
        return;
    line_dial_failed(line, &(struct cq_err){.rc = CQ_E_OVERLOADED, .text = "no fiber to dial with"});
    rpc_client_unref(client);
}

static void line_redial_timer(struct io_timer *timer)
{
    line_dial(cq_containerof(timer, struct rpc_line, redial));
}

/* ---- Choosing ---- */

struct rpc_line *rpc_client_line(struct rpc_client *client, bool *wait_r)
{
    *wait_r = false;
    for (size_t n = 0; n < client->line_count; n++) {
        struct rpc_line *line = &client->lines[client->turn = (client->turn + 1) % client->line_count];
        if (line->state == LINE_IDLE && client_now(client) >= line->not_before_us)
            line_dial(line);
        if (line->state == LINE_UP)
            return line;
    }
    *wait_r = client_may_come_up(client);
    return NULL;
}

bool rpc_client_up(const struct rpc_client *client)
{
    for (size_t i = 0; i < client->line_count; i++)
        if (client->lines[i].state == LINE_UP)
            return true;
    return false;
}

const char *rpc_client_address(const struct rpc_client *client)
{
    return client->address;
}

size_t rpc_client_inflight(const struct rpc_client *client)
{
    return client->inflight;
}

size_t rpc_client_queued(const struct rpc_client *client)
{
    size_t bytes = 0;
    for (size_t i = 0; i < client->line_count; i++)
        if (client->lines[i].state >= LINE_HELLO)
            bytes += rpc_link_queued(&client->lines[i].link);
    return bytes;
}

/* ---- Birth and end ---- */

static void line_init(struct rpc_line *line, struct rpc_client *client)
{
    line->client = client;
    cq_list_init(&line->open);
    for (size_t i = 0; i < RPC_LINE_BUCKETS; i++)
        cq_list_init(&line->table[i]);
    io_timer_init(&line->redial, client->config.loop, line_redial_timer);
}

static unsigned role_index(uint32_t roles)
{
    for (unsigned i = 0; i < sizeof role_names / sizeof *role_names; i++)
        if (roles >> i & 1)
            return i;
    return 0;
}

static void client_failer(struct io_defer *defer)
{
    rpc_pending_fail_deferred(cq_containerof(defer, struct rpc_client, failer));
}

struct rpc_client *rpc_client_new(const struct rpc_client_config *config)
{
    size_t count = (size_t)config->limits.connections;
    CQ_ASSERT(count >= 1 && count <= RPC_CLIENT_CONNECTIONS_MAX && config->tls && config->hello && config->peer_roles);
    struct rpc_client *client = cq_calloc(1, sizeof *client + count * sizeof client->lines[0]);
    client->config = *config;
    client->address = cq_strndup(config->address, strlen(config->address));
    client->refs = 1;
    client->role = role_index(config->peer_roles);
    client->line_count = count;
    client->failer.fn = client_failer;
    client->jitter.state = cq_rand_u64();
    cq_list_init(&client->waiting);
    cq_list_init(&client->failed);
    for (size_t i = 0; i < count; i++)
        line_init(&client->lines[i], client);
    if (config->eager)
        for (size_t i = 0; i < count; i++)
            line_dial(&client->lines[i]);
    return client;
}

static void line_close(struct rpc_line *line)
{
    io_timer_stop(&line->redial);
    if (line->state == LINE_DIAL)
        io_fiber_cancel(line->dialler);
    if (line->state >= LINE_HELLO) {
        rpc_link_goodbye(&line->link, 0);
        rpc_link_leave(&line->link);
    }
    line->state = LINE_IDLE;
}

void rpc_client_free(struct rpc_client **client_p)
{
    struct rpc_client *client = *client_p;
    if (!client)
        return;
    *client_p = NULL;
    client->closed = true;
    io_defer_cancel(&client->failer);
    for (size_t i = 0; i < client->line_count; i++) {
        line_close(&client->lines[i]);
        rpc_pending_fail_line(&client->lines[i], 0, RPC_SENT, CQ_E_CANCELLED, "the client is closed");
    }
    rpc_pending_fail_waiting(client, CQ_E_CANCELLED, "the client is closed");
    rpc_pending_fail_deferred(client);
    rpc_client_unref(client);
}
