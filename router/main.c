/* chasqui-router: settings, TLS, workers on threads; the main thread waits for signals and the drain. */
#include "base/cq_args.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "io/io_metrics.h"
#include "io/io_watch.h"
#include "router/router_methods.h"
#include "router/router_worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define WORKERS_MAX 64
#define POLL_MS 20 /* while draining */

struct router {
    struct router_config config;
    struct router_shared shared;
    struct rpc_hello hello;
    struct io_loop *control;
    struct router_worker *workers[WORKERS_MAX];
    pthread_t threads[WORKERS_MAX];
    unsigned worker_count;
    unsigned thread_count;
    atomic_uint drained;
    atomic_bool draining;
};

/* ---- Start ---- */

static enum cq_rc open_tls(struct router *r, struct cq_err *err)
{
    const struct router_settings *s = &r->config.router;
    const struct io_tls_cert cert = {s->tls_cert, s->tls_key};
    const struct io_tls_client_options client = {
        .ca_file = s->tls_ca, .cert_file = s->tls_cert, .key_file = s->tls_key, .tls13_only = true};
    const struct io_tls_server_options server = {
        .service = "rpc", .certs = &cert, .cert_count = 1, .client_ca_file = s->tls_ca, .tls13_only = true};
    enum cq_rc rc = io_tls_client_new(&client, &r->shared.client_tls, err);
    if (rc == CQ_OK)
        rc = io_tls_server_new(&server, &r->shared.server_tls, err);
    if (rc != CQ_OK)
        return rc;
    io_tls_watch(r->shared.client_tls, r->control, s->tls_reload_us / 1000);
    io_tls_watch(r->shared.server_tls, r->control, s->tls_reload_us / 1000);
    return CQ_OK;
}

static enum cq_rc open_workers(struct router *r, struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    while (rc == CQ_OK && r->worker_count < (unsigned)r->config.router.workers) {
        rc = router_worker_new(&r->shared, r->worker_count, &r->workers[r->worker_count], err);
        r->worker_count += rc == CQ_OK;
    }
    return rc;
}

static enum cq_rc judge_settings(const struct router *r, struct cq_err *err)
{
    if (!rpc_cluster_id_valid(cq_slice_cstr(r->config.router.cluster)))
        return CQ_FAIL(err, CQ_E_CONFIG, "cluster: 1 to 63 of a-z, 0-9 and -");
    if (!r->config.router.seeds.count)
        return CQ_FAIL(err, CQ_E_CONFIG, "seeds: at least one storage node");
    return CQ_OK;
}

static void *thread_main(void *arg)
{
    struct router_worker *worker = arg;
    io_loop_run(worker->loop);
    return NULL;
}

/* ---- Stop ---- */

static void on_drained(void *ctx)
{
    struct router *r = ctx;
    atomic_fetch_add(&r->drained, 1);
}

struct drain_post {
    struct router *router;
    struct router_worker *worker;
};

static void drain_worker(struct io_loop *loop, void *arg)
{
    struct drain_post *post = arg;
    (void)loop;
    rpc_server_drain(post->worker->server, on_drained, post->router);
    free(post);
}

/* New connections are still taken while others learn that this router goes; then what runs may finish. */
static void drain_fiber(void *arg)
{
    struct router *r = arg;
    const struct router_settings *s = &r->config.router;
    cq_log(CQ_INFO, "router.draining");
    io_fiber_sleep(s->drain_propagation_us / 1000);
    for (unsigned i = 0; i < r->worker_count; i++) {
        struct drain_post *post = cq_new(struct drain_post);
        *post = (struct drain_post){r, r->workers[i]};
        io_loop_post(r->workers[i]->loop, drain_worker, post);
    }
    uint64_t end = io_loop_deadline(r->control, s->drain_window_us / 1000);
    while (atomic_load(&r->drained) < r->worker_count && io_loop_now_us(r->control) < end)
        io_fiber_sleep(POLL_MS);
    io_loop_stop(r->control);
}

static void start_drain(struct io_loop *loop, void *arg)
{
    struct router *r = arg;
    if (atomic_exchange(&r->draining, true)) { /* a second signal: at once */
        io_loop_stop(loop);
        return;
    }
    if (io_fiber_spawn(loop, drain_fiber, r, NULL) != CQ_OK)
        io_loop_stop(loop);
}

static void on_signal(struct io_loop *loop, int signum, void *arg)
{
    (void)signum;
    start_drain(loop, arg);
}

/* In the admin thread. */
static void on_admin_drain(void *ctx)
{
    struct router *r = ctx;
    io_loop_post(r->control, start_drain, r);
}

static bool not_draining(void *ctx, char text[static ADMIN_TEXT_MAX])
{
    struct router *r = ctx;
    bool draining = atomic_load(&r->draining);
    snprintf(text, ADMIN_TEXT_MAX, "%s", draining ? "draining" : "not draining");
    return !draining;
}

static void router_close(struct router *r)
{
    for (unsigned i = 0; i < r->thread_count; i++)
        io_loop_stop(r->workers[i]->loop);
    for (unsigned i = 0; i < r->thread_count; i++)
        pthread_join(r->threads[i], NULL);
    admin_http_free(&r->shared.admin);
    for (unsigned i = 0; i < r->worker_count; i++)
        router_worker_free(&r->workers[i]);
    if (r->shared.client_tls)
        io_tls_free(&r->shared.client_tls);
    if (r->shared.server_tls)
        io_tls_free(&r->shared.server_tls);
    io_loop_free(&r->control);
    io_pool_free(&r->shared.resolver);
    backend_board_free(&r->shared.board);
}

static enum cq_rc router_open(struct router *r, struct cq_err *err)
{
    RPC_HELLO_SET(r->hello.cluster, r->config.router.cluster);
    RPC_HELLO_SET(r->hello.program, "chasqui-router");
    RPC_HELLO_SET(r->hello.version, CHASQUI_VERSION);
    r->control = io_loop_new(&(struct io_loop_options){.name = "control"});
    r->shared.config = &r->config;
    r->shared.hello = &r->hello;
    r->shared.resolver = io_pool_new("resolver", 2, 256);
    r->shared.admin = admin_http_new(&r->config.admin);
    admin_http_on_drain(r->shared.admin, on_admin_drain, r);
    admin_check_add_fn(r->shared.admin, "drain", ADMIN_READY, not_draining, r);
    enum cq_rc rc = judge_settings(r, err);
    if (rc == CQ_OK)
        rc = open_tls(r, err);
    if (rc == CQ_OK)
        rc = open_workers(r, err);
    if (rc == CQ_OK)
        rc = admin_http_start(r->shared.admin, err);
    return rc;
}

static void router_run(struct router *r)
{
    struct io_signal *term = io_signal_new(r->control, SIGTERM, on_signal, r);
    struct io_signal *interrupt = io_signal_new(r->control, SIGINT, on_signal, r);
    for (unsigned i = 0; i < r->worker_count; i++)
        if (pthread_create(&r->threads[r->thread_count], NULL, thread_main, r->workers[i]) == 0)
            r->thread_count++;
        else
            abort(); /* not enough threads at the start: nothing runs yet */
    cq_log(CQ_INFO, "router.started", CQ_F_STR("listen", r->config.router.listen),
           CQ_F_U64("workers", r->worker_count));
    io_loop_run(r->control);
    io_signal_free(&term);
    io_signal_free(&interrupt);
    cq_log(CQ_INFO, "router.stopped");
}

int main(int argc, char **argv)
{
    static struct router router;
    struct cq_config_part parts[ROUTER_CONFIG_PARTS];
    struct cq_pool *pool = cq_pool_new(4096);
    struct cq_err err = {0};
    int status = 0;
    router.shared.board = backend_board_new();
    router_config_parts(&router.config, parts);
    cq_process_metrics_register("router", CHASQUI_VERSION, "");
    io_metrics_register();
    cq_metrics_register(&rpc_client_metrics);
    cq_metrics_register(&router_metrics);
    cq_metrics_collect(&router_metrics, ROUTER_M_BACKEND, backend_board_collect, router.shared.board);
    const struct rpc_service service = {router_methods, router_method_count, NULL};
    rpc_server_metrics_register(&service, 1);
    const struct cq_program program = {.name = "chasqui-router",
                                       .version = CHASQUI_VERSION,
                                       .about = "forwards requests of front-ends to the shards' leaders",
                                       .parts = parts,
                                       .part_count = ROUTER_CONFIG_PARTS};
    if (!cq_program_start(&program, argc, argv, pool, &status)) {
        backend_board_free(&router.shared.board);
        cq_pool_free(&pool);
        return status;
    }
    cq_log_init(&(struct cq_log_options){.role = "router",
                                         .node = router.config.router.node,
                                         .format = (enum cq_log_format)router.config.log.format,
                                         .level = (enum cq_log_level)router.config.log.level});
    if (router_open(&router, &err) == CQ_OK) {
        router_run(&router);
    } else {
        cq_log(CQ_ERROR, "router.cannot_start", CQ_F_ERR(&err));
        status = err.rc == CQ_E_CONFIG ? 2 : 1;
    }
    router_close(&router);
    cq_pool_free(&pool);
    return status;
}
