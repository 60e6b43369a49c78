/* chasqui-quota-service: wires settings, loop, RPC server and admin port together. */
#include "quota-service/quota_hot.h"
#include "quota-service/quota_service.h"

#include "base/cq_args.h"
#include "base/cq_log.h"
#include "base/cq_metrics.h"
#include "base/cq_time.h"
#include "io/admin_http.h"
#include "io/io_metrics.h"
#include "io/io_watch.h"

#include <signal.h>
#include <stdlib.h>

#define TICK_MS 1000
#define TLS_WATCH_MS 60000
#define DRAIN_MS 3000 /* after SIGTERM: requests that run may finish */
#define STATUS_FAILED 1

struct settings {
    const char *cluster;
    const char *node;
    const char *listen;
    const char *tls_ca;
    const char *tls_cert;
    const char *tls_key;
    struct quota_settings quota;
};

#define RESOLVER_THREADS 1
#define RESOLVER_QUEUE 16

static const struct cq_setting rows[] = {
    CQ_SET_STRING(struct settings, cluster, "cluster", NULL,
                  "Id of the cluster; part of the names in its certificates."),
    CQ_SET_STRING(struct settings, node, "node", "quota", "Name of this process in logs."),
    CQ_SET_STRING(struct settings, listen, "rpc.listen", "127.0.0.1:7300", "Address for front-ends (mutual TLS)."),
    CQ_SET_PATH(struct settings, tls_ca, "tls.ca", NULL, "The cluster's CA (PEM)."),
    CQ_SET_PATH(struct settings, tls_cert, "tls.cert", NULL, "This process's certificate, role quota (PEM)."),
    CQ_SET_PATH(struct settings, tls_key, "tls.key", NULL, "Its key (PEM)."),
    CQ_SET_INT(struct settings, quota.rate_keys_max, "quota.rate_keys_max", "200000", 1000, 100000000, "keys",
               "Names and addresses whose rates are kept; the least recently used makes room."),
    CQ_SET_INT(struct settings, quota.count_keys_max, "quota.count_keys_max", "1000000", 1000, 100000000, "keys",
               "Names and addresses with open sessions; more are not counted."),
    CQ_SET_DURATION(struct settings, quota.lease_us, "quota.lease", "15s", "6s", "10m",
                    "The counts of a front-end that was not heard of for this long are dropped."),
    CQ_SET_INT(struct settings, quota.instances, "quota.instances", "1", 1, 1000, "instances",
               "Instances of the quota-service: what one decides by its own counters is its share of the limit."),
    CQ_SET_INT(
        struct settings, quota.hot_rate, "quota.hot_rate", "50", 0, 1000000, "questions/s",
        "A key that is asked about more often is leased tokens from Redis instead of asking each time. 0: none."),
    CQ_SET_DURATION(struct settings, quota.hot_lease_us, "quota.hot_lease", "500ms", "10ms", "5s",
                    "For how long they are used; at most the 64th part of the limit's period."),
};

struct process {
    struct settings settings;
    struct quota_limits limits;
    struct redis_settings redis;
    struct rpc_server_limits rpc_limits;
    struct admin_config admin_config;
    struct cq_log_config log;
    struct io_loop *loop;
    struct io_tls *tls;
    struct rpc_hello hello;
    struct quota_service service;
    struct rpc_service rpc_service;
    struct rpc_server *server;
    struct admin_http *admin;
    struct admin_heartbeat *heartbeat;
    struct admin_check *redis_check; /* NULL: Redis is not configured */
    struct io_pool *resolver;
    struct io_timer tick;
    struct io_timer stop;
    struct io_signal *signals[3];
    bool draining;
};

/* ---- Running ---- */

static void on_tick(struct io_timer *timer)
{
    struct process *p = cq_containerof(timer, struct process, tick);
    size_t dropped = quota_state_tick(p->service.state, cq_time_mono_us());
    if (dropped)
        cq_log(CQ_WARN, "quota.holders_dropped", CQ_F_U64("count", dropped));
    admin_heartbeat_beat(p->heartbeat);
    io_timer_start(timer, TICK_MS);
}

static void on_stop(struct io_timer *timer)
{
    io_loop_stop(timer->loop);
}

static void on_drained(void *ctx)
{
    io_loop_stop(((struct process *)ctx)->loop);
}

static void drain(struct process *p)
{
    if (p->draining)
        return;
    p->draining = true;
    cq_log(CQ_INFO, "quota.drain");
    io_timer_start(&p->stop, DRAIN_MS);
    rpc_server_drain(p->server, on_drained, p);
}

static void on_terminate(struct io_loop *loop, int signum, void *arg)
{
    (void)loop;
    (void)signum;
    drain(arg);
}

static void on_reload(struct io_loop *loop, int signum, void *arg)
{
    (void)loop;
    (void)signum;
    io_tls_reload(((struct process *)arg)->tls, true, NULL, NULL); /* it logs what is wrong and keeps the old ones */
}

static void drain_posted(struct io_loop *loop, void *arg)
{
    (void)loop;
    drain(arg);
}

static void on_admin_drain(void *ctx)
{
    struct process *p = ctx;
    io_loop_post(p->loop, drain_posted, p);
}

/* Never a reason not to be ready: without Redis this instance decides by itself. */
static void on_redis(void *ctx, bool up, const char *why)
{
    struct process *p = ctx;
    char text[ADMIN_TEXT_MAX];
    snprintf(text, sizeof text, up ? "connected" : "limits are decided without it: %s", why);
    admin_check_set(p->redis_check, true, text);
}

/* ---- Starting and ending ---- */

static enum cq_rc open_rates(struct process *p, struct cq_err *err)
{
    p->resolver = io_pool_new("resolver", RESOLVER_THREADS, RESOLVER_QUEUE);
    const struct quota_rates_config config = {.loop = p->loop,
                                              .resolver = p->resolver,
                                              .cluster = p->settings.cluster,
                                              .redis = &p->redis,
                                              .limits = &p->limits,
                                              .memory = p->service.state,
                                              .quota = &p->settings.quota,
                                              .on_redis = on_redis,
                                              .ctx = p};
    return quota_rates_new(&config, &p->service.rates, err);
}

static enum cq_rc open_tls(struct process *p, struct cq_err *err)
{
    const struct io_tls_cert cert = {p->settings.tls_cert, p->settings.tls_key};
    const struct io_tls_server_options options = {
        .service = "rpc", .certs = &cert, .cert_count = 1, .client_ca_file = p->settings.tls_ca, .tls13_only = true};
    enum cq_rc rc = io_tls_server_new(&options, &p->tls, err);
    if (rc == CQ_OK)
        io_tls_watch(p->tls, p->loop, TLS_WATCH_MS);
    return rc;
}

static enum cq_rc open_server(struct process *p, struct cq_err *err)
{
    if (!rpc_cluster_id_valid(cq_slice_cstr(p->settings.cluster)))
        return CQ_FAIL(err, CQ_E_CONFIG, "cluster: an id is 1 to %d of a-z 0-9 -", RPC_CLUSTER_ID_MAX);
    RPC_HELLO_SET(p->hello.cluster, p->settings.cluster);
    RPC_HELLO_SET(p->hello.program, "chasqui-quota-service");
    RPC_HELLO_SET(p->hello.version, CHASQUI_VERSION);
    const struct rpc_server_config config = {.loop = p->loop,
                                             .tls = p->tls,
                                             .hello = &p->hello,
                                             .services = &p->rpc_service,
                                             .service_count = 1,
                                             .limits = p->rpc_limits};
    p->server = rpc_server_new(&config);
    return rpc_server_listen(p->server, p->settings.listen, NULL, err);
}

static enum cq_rc open_admin(struct process *p, struct cq_err *err)
{
    p->admin = admin_http_new(&p->admin_config);
    p->heartbeat = admin_heartbeat_add(p->admin, "main");
    struct admin_check *listening = admin_check_add(p->admin, "listening", ADMIN_READY | ADMIN_STARTUP);
    admin_check_set(listening, true, p->settings.listen);
    if (redis_is_configured(&p->redis)) {
        p->redis_check = admin_check_add(p->admin, "redis", ADMIN_READY);
        admin_check_set(p->redis_check, true, "limits are decided without it: not connected yet");
    }
    admin_http_on_drain(p->admin, on_admin_drain, p);
    return admin_http_start(p->admin, err);
}

static enum cq_rc start(struct process *p, struct cq_err *err)
{
    p->loop = io_loop_new(&(struct io_loop_options){.name = "main"});
    p->service.state = quota_state_new(&p->settings.quota, &p->limits);
    p->service.lease_us = p->settings.quota.lease_us;
    io_timer_init(&p->tick, p->loop, on_tick);
    io_timer_init(&p->stop, p->loop, on_stop);
    enum cq_rc rc = open_tls(p, err);
    if (rc == CQ_OK)
        rc = open_server(p, err);
    if (rc == CQ_OK)
        rc = open_admin(p, err);
    if (rc == CQ_OK)
        rc = open_rates(p, err);
    if (rc != CQ_OK)
        return rc;
    p->signals[0] = io_signal_new(p->loop, SIGTERM, on_terminate, p);
    p->signals[1] = io_signal_new(p->loop, SIGINT, on_terminate, p);
    p->signals[2] = io_signal_new(p->loop, SIGHUP, on_reload, p);
    io_timer_start(&p->tick, 0);
    return CQ_OK;
}

static void finish(struct process *p)
{
    admin_http_free(&p->admin);
    for (size_t i = 0; i < 3; i++)
        io_signal_free(&p->signals[i]);
    io_timer_stop(&p->tick);
    io_timer_stop(&p->stop);
    quota_rates_free(&p->service.rates); /* what waits for Redis is answered */
    rpc_server_free(&p->server);
    for (int i = 0; i < 10; i++) /* farewells of the connections */
        io_loop_turn(p->loop, false);
    if (p->tls)
        io_tls_unwatch(p->tls);
    io_tls_free(&p->tls);
    quota_service_fini(&p->service);
    quota_state_free(&p->service.state);
    io_loop_free(&p->loop); /* ends a fiber that dials */
    io_pool_free(&p->resolver);
}

static int run(struct process *p)
{
    struct cq_err err = {0};
    enum cq_rc rc = start(p, &err);
    if (rc == CQ_OK) {
        cq_log(CQ_INFO, "quota.started", CQ_F_STR("listen", p->settings.listen), CQ_F_STR("version", CHASQUI_VERSION));
        io_loop_run(p->loop);
        cq_log(CQ_INFO, "quota.stopped");
    } else {
        cq_log(CQ_ERROR, "quota.start_failed", CQ_F_ERR(&err));
    }
    finish(p);
    if (rc == CQ_OK)
        return 0;
    return rc == CQ_E_CONFIG ? 2 : STATUS_FAILED;
}

static void register_metrics(struct process *p)
{
    p->rpc_service = quota_rpc_service(&p->service);
    cq_process_metrics_register("quota-service", CHASQUI_VERSION, "");
    io_metrics_register();
    cq_metrics_register(&quota_metrics);
    cq_metrics_register(&quota_rates_metrics);
    cq_metrics_register(&quota_redis_metrics);
    cq_metrics_register(&quota_hot_metrics);
    cq_metrics_register(&redis_metrics);
    rpc_server_metrics_register(&p->rpc_service, 1);
    admin_metrics_register();
}

int main(int argc, char **argv)
{
    static struct process p;
    struct cq_pool *pool = cq_pool_new(16384);
    const struct cq_config_part parts[] = {CQ_CONFIG_PART("Quota service", rows, &p.settings),
                                           quota_limits_config_part(&p.limits),
                                           redis_config_part(&p.redis),
                                           rpc_server_config_part(&p.rpc_limits),
                                           admin_config_part(&p.admin_config),
                                           cq_log_config_part(&p.log)};
    const struct cq_program program = {
        .name = "chasqui-quota-service",
        .version = CHASQUI_VERSION,
        .about = "Answers \"may this account or address do this now?\": rates and connection counts.",
        .parts = parts,
        .part_count = sizeof parts / sizeof *parts,
    };
    int status;
    register_metrics(&p);
    if (cq_program_start(&program, argc, argv, pool, &status)) {
        signal(SIGPIPE, SIG_IGN);
        cq_log_init(&(struct cq_log_options){.role = "quota-service",
                                             .node = p.settings.node,
                                             .format = (enum cq_log_format)p.log.format,
                                             .level = (enum cq_log_level)p.log.level});
        status = run(&p);
    }
    cq_pool_free(&pool);
    return status;
}
