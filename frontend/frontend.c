#include "frontend.h"

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_rand.h"
#include "base/cq_time.h"
#include "core/front_metrics.h"
#include "events/event_metrics.h"
#include "io/io_metrics.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DRAIN_HARD_MS 10000 /* after the window: what still lives is cut off, */
#define DRAIN_CUT_MS 2000   /* and has this long to go */

/* ---- TLS ---- */

static const char *const services[LISTEN_PROTOCOL_COUNT] = {
    [LISTEN_IMAP] = "imap", [LISTEN_POP3] = "pop3", [LISTEN_SMTP] = "smtp", [LISTEN_SUBMISSION] = "submission",
    [LISTEN_LMTP] = "lmtp",
};
/* RFC 7301's registry has these two; the others accept no offer. */
static const char *const alpn[LISTEN_PROTOCOL_COUNT] = {[LISTEN_IMAP] = "imap", [LISTEN_POP3] = "pop3"};

static enum cq_rc open_client_tls(struct frontend *f, struct cq_err *err)
{
    const struct frontend_settings *s = &f->config->frontend;
    const struct frontend_certificate *items = s->certificates.items;
    struct io_tls_cert *certs = cq_calloc(s->certificates.count, sizeof *certs);
    enum cq_rc rc = CQ_OK;
    for (size_t i = 0; i < s->certificates.count; i++)
        certs[i] = (struct io_tls_cert){items[i].cert, items[i].key};
    for (size_t p = 0; rc == CQ_OK && p < LISTEN_PROTOCOL_COUNT; p++) {
        const struct io_tls_server_options options = {
            .service = services[p],
            .certs = certs,
            .cert_count = s->certificates.count,
            .alpn = &alpn[p],
            .alpn_count = alpn[p] ? 1 : 0,
            .ticket_keys_file = s->ticket_keys[0] ? s->ticket_keys : NULL,
        };
        rc = io_tls_server_new(&options, &f->tls[p], err);
    }
    free(certs);
    return rc;
}

static enum cq_rc open_link_tls(struct frontend *f, struct cq_err *err)
{
    const struct frontend_settings *s = &f->config->frontend;
    const struct io_tls_cert cert = {s->tls_cert, s->tls_key};
    const struct io_tls_client_options client = {
        .ca_file = s->tls_ca, .cert_file = s->tls_cert, .key_file = s->tls_key, .tls13_only = true};
    const struct io_tls_server_options server = {
        .service = "rpc", .certs = &cert, .cert_count = 1, .client_ca_file = s->tls_ca, .tls13_only = true};
    enum cq_rc rc = io_tls_client_new(&client, &f->link_client, err);
    return rc == CQ_OK ? io_tls_server_new(&server, &f->link_server, err) : rc;
}

static void watch_tls(struct frontend *f)
{
    uint64_t every_ms = f->config->frontend.tls_reload_us / 1000;
    io_tls_watch(f->link_client, f->control->front.loop, every_ms);
    io_tls_watch(f->link_server, f->control->front.loop, every_ms);
    for (size_t p = 0; p < LISTEN_PROTOCOL_COUNT; p++)
        io_tls_watch(f->tls[p], f->control->front.loop, every_ms);
}

/* ---- Workers ---- */

static enum cq_rc open_workers(struct frontend *f, struct cq_err *err)
{
    enum cq_rc rc = frontend_worker_new(f, "control", &f->control, err);
    for (int64_t i = 0; rc == CQ_OK && i < f->config->frontend.workers; i++) {
        char name[32];
        snprintf(name, sizeof name, "worker-%d", (int)i);
        rc = frontend_worker_new(f, name, &f->workers[f->worker_count], err);
        if (rc != CQ_OK)
            break;
        f->all[f->worker_count] = &f->workers[f->worker_count]->front;
        f->worker_count++;
        rc = frontend_worker_listen(f->workers[f->worker_count - 1], f, err);
    }
    f->every = (struct front_workers){f->all, f->worker_count};
    return rc;
}

/* ---- Stopping ---- */

static bool anybody(const struct front_session *session, void *arg)
{
    (void)session;
    (void)arg;
    return true;
}

/* Each turn of the window ends its share of those that are left, so that their clients do not all come back at once. */
struct farewell {
    uint64_t share; /* of 1,000 */
    size_t left;
};

static bool its_turn(const struct front_session *session, void *arg)
{
    const struct farewell *farewell = arg;
    (void)session;
    return cq_rand_below(1000) < farewell->share;
}

static void end_share(struct front_worker *worker, void *arg)
{
    struct farewell *farewell = arg;
    front_sessions_end(worker, its_turn, farewell, FRONT_END_DRAIN);
    cq_list_each (&worker->sessions, node) {
        farewell->left++;
    }
}

static void stop_listening(struct front_worker *worker, void *arg)
{
    (void)arg;
    frontend_worker_stop_listening(cq_containerof(worker, struct frontend_worker, front));
}

static void end_everybody(struct front_worker *worker, void *arg)
{
    struct farewell *farewell = arg;
    front_sessions_end(worker, anybody, NULL, FRONT_END_DRAIN);
    cq_list_each (&worker->sessions, node) {
        farewell->left++;
    }
}

static void cut_off(struct front_worker *worker, void *arg)
{
    struct farewell *farewell = arg;
    cq_list_each (&worker->sessions, node) {
        struct front_session *session = cq_list_entry(node, struct front_session, link);
        io_conn_abort(session->conn, CQ_E_CANCELLED, "the front-end stops");
        farewell->left++;
    }
}

#define STEP_MS 100

/* Calls fn on all workers every STEP_MS until no session is left or the time is over. */
static size_t until_gone(struct frontend *f, void (*fn)(struct front_worker *worker, void *arg), uint64_t most_ms)
{
    struct farewell farewell = {.left = 1};
    for (uint64_t ms = 0; farewell.left && ms < most_ms; ms += STEP_MS) {
        farewell.left = 0;
        front_workers_each(&f->every, fn, &farewell);
        cq_gauge_set(&front_metrics, FRONT_M_REMAINING, (int64_t)farewell.left);
        if (farewell.left)
            io_fiber_sleep(STEP_MS);
    }
    return farewell.left;
}

static void spread_farewells(struct frontend *f)
{
    uint64_t steps = f->config->frontend.drain_window_us / 1000 / STEP_MS;
    struct farewell farewell = {.left = 1};
    for (uint64_t i = 0; i < steps && farewell.left; i++) {
        farewell = (struct farewell){.share = 1000 / (steps - i)};
        front_workers_each(&f->every, end_share, &farewell);
        cq_gauge_set(&front_metrics, FRONT_M_REMAINING, (int64_t)farewell.left);
        if (farewell.left)
            io_fiber_sleep(STEP_MS);
    }
}

static void end_fiber(struct io_fiber_ref fiber)
{
    io_fiber_cancel(fiber);
    while (io_fiber_alive(fiber))
        io_fiber_sleep(10);
}

static void drain(void *arg)
{
    struct frontend *f = arg;
    io_fiber_sleep(f->config->frontend.drain_propagation_us / 1000);
    front_workers_each(&f->every, stop_listening, NULL);
    spread_farewells(f);
    size_t late = until_gone(f, end_everybody, DRAIN_HARD_MS);
    cq_log(CQ_INFO, "frontend.stopped", CQ_F_U64("sessions_cut_off", late));
    if (late && until_gone(f, cut_off, DRAIN_CUT_MS))
        _exit(0); /* a handler waits for a shard; nothing here is worth waiting for it */
    end_fiber(f->reconciling);
    end_fiber(f->revoking);
    io_loop_stop(f->control->front.loop);
}

static void begin_stop(struct frontend *f)
{
    if (f->stopping)
        return;
    f->stopping = true;
    cq_log(CQ_INFO, "frontend.stopping");
    admin_check_set(f->ready, false, "draining");
    if (io_fiber_spawn(f->control->front.loop, drain, f, NULL) != CQ_OK)
        io_loop_stop(f->control->front.loop);
}

static void on_signal(struct io_loop *loop, int signum, void *arg)
{
    (void)loop;
    (void)signum;
    begin_stop(arg);
}

static void on_hangup(struct io_loop *loop, int signum, void *arg)
{
    (void)loop;
    (void)signum;
    event_ring_reopen(((struct frontend *)arg)->events);
}

static void drain_posted(struct io_loop *loop, void *arg)
{
    (void)loop;
    begin_stop(arg);
}

static void on_drain(void *ctx)
{
    struct frontend *f = ctx;
    io_loop_post(f->control->front.loop, drain_posted, f);
}

/* ---- The admin port and the role admin ---- */

static uint32_t group_of(void *ctx, uint64_t account)
{
    const struct frontend *f = ctx;
    return f->map ? topology_group_of(f->map, account) : 0;
}

/* For the role admin: the map as it was a few seconds ago, so that lists and new accounts need no router. */
static enum cq_rc recent_topology(void *ctx, const struct topology **topology_r, struct cq_err *err)
{
    const struct frontend *f = ctx;
    if (!f->map)
        return mailstore_rpc_topology(f->control->transport, topology_r, err);
    *topology_r = topology_ref(f->map);
    return CQ_OK;
}

static void reconcile(void *arg)
{
    struct frontend *f = arg;
    admin_reconcile_run(f->reconciler, &f->stopping);
}

static void open_reconciler(struct frontend *f)
{
    const struct admin_reconcile_config config = {
        .directory = f->directory,
        .store = f->control->front.mailstore,
        .settings = &f->config->reconcile,
        .group_of = group_of,
        .ctx = f,
    };
    f->reconciler = admin_reconciler_new(&config);
}

static bool loops_turn(void *ctx, char text[static ADMIN_TEXT_MAX])
{
    struct frontend *f = ctx;
    uint64_t worst = 0;
    for (size_t i = 0; i < f->worker_count; i++) {
        uint64_t age = io_loop_heartbeat_age_us(f->workers[i]->front.loop);
        worst = age > worst ? age : worst;
    }
    snprintf(text, ADMIN_TEXT_MAX, "the slowest loop turned %llu ms ago", (unsigned long long)(worst / 1000));
    return worst < f->config->admin.heartbeat_max_us;
}

/* Never a reason not to be ready: known accounts are served while it is down. */
static bool tell_directory(void *ctx, char text[static ADMIN_TEXT_MAX])
{
    struct frontend *f = ctx;
    char trouble[DIRECTORY_TROUBLE_SIZE];
    directory_trouble(f->directory, trouble);
    snprintf(text, ADMIN_TEXT_MAX, "%.*s", ADMIN_TEXT_MAX - 1, trouble[0] ? trouble : "the last call was answered");
    return true;
}

/* The same. */
static bool tell_events(void *ctx, char text[static ADMIN_TEXT_MAX])
{
    event_ring_tell(((struct frontend *)ctx)->events, text, ADMIN_TEXT_MAX);
    return true;
}

static enum cq_rc open_admin(struct frontend *f, struct cq_err *err)
{
    f->admin_http = admin_http_new(&f->config->admin);
    f->ready = admin_check_add(f->admin_http, "shards", ADMIN_READY | ADMIN_STARTUP);
    admin_check_add_fn(f->admin_http, "loops", ADMIN_LIVE | ADMIN_READY, loops_turn, f);
    admin_check_add_fn(f->admin_http, "directory", ADMIN_READY, tell_directory, f);
    admin_check_add_fn(f->admin_http, "events", ADMIN_READY, tell_events, f);
    admin_http_on_drain(f->admin_http, on_drain, f);
    enum cq_rc rc = admin_http_start(f->admin_http, err);
    if (rc != CQ_OK || !f->config->frontend.admin_listen[0])
        return rc;
    f->admin_pool = io_pool_new("admin", 1, 64);
    f->admin = (struct admin_service){
        .kafka = &f->config->events.kafka,
        .pool = f->admin_pool,
        .worker = &f->control->front,
        .workers = f->every,
        .node = f->config->frontend.node,
        .topology = recent_topology,
        .topology_ctx = f,
    };
    open_reconciler(f);
    const struct rpc_service service = admin_rpc_service(&f->admin);
    const struct rpc_server_config config = {
        .loop = f->control->front.loop,
        .tls = f->link_server,
        .hello = &f->hello,
        .services = &service,
        .service_count = 1,
        .limits = f->config->server,
    };
    f->admin_rpc = rpc_server_new(&config);
    return rpc_server_listen(f->admin_rpc, f->config->frontend.admin_listen, NULL, err);
}

/* Ready once the routers have told where the shards are. */
static void become_ready(void *arg)
{
    struct frontend *f = arg;
    while (!f->stopping) {
        const struct topology *topology = NULL;
        struct cq_err err = {0};
        enum cq_rc rc = mailstore_rpc_topology(f->control->transport, &topology, &err);
        bool ok = rc == CQ_OK && topology->range_count > 0;
        if (!f->stopping)
            admin_check_set(f->ready, ok, ok ? "the map of shards is known" : rc == CQ_OK ? "no shards yet" : err.text);
        if (ok) {
            topology_unref(&f->map);
            f->map = topology;
        } else {
            topology_unref(&topology);
        }
        if (io_fiber_sleep(ok ? 5000 : 200) != CQ_OK)
            return;
    }
}

/* ---- Events ---- */

static enum cq_rc open_events(struct frontend *f, struct cq_err *err)
{
    const struct frontend_settings *s = &f->config->frontend;
    struct event_ring_config config = {
        .source =
            {
                .cluster = s->cluster,
                .node = s->node,
                .dc = s->dc,
                .role = "frontend",
                .version = CHASQUI_VERSION,
                .started_us = cq_time_wall_us(),
            },
    };
    enum cq_rc rc = event_config_source(&f->config->events, &config.source, err);
    if (rc == CQ_OK)
        rc = event_config_sink(&f->config->events, &config.sink, err);
    if (rc == CQ_OK)
        f->events = event_ring_new(&config);
    return rc;
}

/* ---- Life ---- */

static enum cq_rc open_all(struct frontend *f, struct cq_err *err)
{
    enum cq_rc rc = open_link_tls(f, err);
    if (rc == CQ_OK)
        rc = open_client_tls(f, err);
    if (rc == CQ_OK)
        rc = directory_open(&f->config->directory, &f->directory, err);
    if (rc == CQ_OK)
        rc = auth_new(&f->config->auth, f->directory, &f->auth, err);
    if (rc == CQ_OK)
        rc = open_events(f, err);
    f->bodies = body_cache_new(f->config->frontend.body_cache);
    if (rc == CQ_OK)
        rc = open_workers(f, err);
    if (rc == CQ_OK)
        rc = open_admin(f, err);
    return rc;
}

enum cq_rc frontend_start(const struct frontend_config *config, struct frontend **frontend_r, struct cq_err *err)
{
    struct frontend *f = cq_new(struct frontend);
    f->config = config;
    f->resolver = io_pool_new("resolver", 1, 64);
    RPC_HELLO_SET(f->hello.cluster, config->frontend.cluster);
    RPC_HELLO_SET(f->hello.program, "chasqui-frontend");
    RPC_HELLO_SET(f->hello.version, CHASQUI_VERSION);
    enum cq_rc rc = open_all(f, err);
    *frontend_r = f;
    if (rc != CQ_OK)
        frontend_free(frontend_r);
    return rc;
}

void frontend_run(struct frontend *f)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    struct io_loop *loop = f->control->front.loop;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        f->signals[i] = io_signal_new(loop, numbers[i], on_signal, f);
    f->signals[2] = io_signal_new(loop, SIGHUP, on_hangup, f);
    watch_tls(f);
    frontend_revoke_start(f);
    io_fiber_spawn(loop, become_ready, f, NULL);
    if (f->reconciler)
        io_fiber_spawn(loop, reconcile, f, &f->reconciling);
    for (size_t i = 0; i < f->worker_count; i++)
        frontend_worker_run(f->workers[i]);
    cq_log(CQ_INFO, "frontend.started", CQ_F_U64("workers", f->worker_count));
    io_loop_run(loop);
}

void frontend_free(struct frontend **frontend)
{
    struct frontend *f = *frontend;
    if (!f)
        return;
    rpc_server_free(&f->admin_rpc);
    admin_reconciler_free(&f->reconciler);
    topology_unref(&f->map);
    if (f->admin_http)
        admin_http_free(&f->admin_http);
    for (size_t i = 0; i < f->worker_count; i++)
        frontend_worker_free(&f->workers[i]);
    for (size_t i = 0; i < sizeof f->signals / sizeof *f->signals; i++)
        if (f->signals[i])
            io_signal_free(&f->signals[i]);
    for (size_t p = 0; p < LISTEN_PROTOCOL_COUNT; p++)
        io_tls_free(&f->tls[p]);
    io_tls_free(&f->link_server);
    if (f->link_client)
        io_tls_unwatch(f->link_client);
    frontend_worker_free(&f->control);
    body_cache_free(&f->bodies);
    io_tls_free(&f->link_client);
    event_ring_free(&f->events); /* sessions have told that they ended */
    auth_free(&f->auth);
    directory_close(&f->directory);
    io_pool_free(&f->admin_pool);
    io_pool_free(&f->resolver);
    free(f);
    *frontend = NULL;
}

void frontend_metrics_register(void)
{
    cq_process_metrics_register("frontend", CHASQUI_VERSION, "");
    admin_metrics_register();
    io_metrics_register();
    cq_metrics_register(&event_metrics);
    cq_metrics_register(&directory_metrics);
    cq_metrics_register(&dir_cache_metrics);
    cq_metrics_register(&dir_keeper_metrics);
    cq_metrics_register(&auth_metrics);
    cq_metrics_register(&quota_client_metrics);
    cq_metrics_register(&admin_reconcile_metrics);
    cq_metrics_register(&admin_missing_metrics);
    cq_metrics_register(&front_metrics);
    cq_metrics_register(&body_cache_metrics);
    cq_metrics_register(&rpc_client_metrics);
}
