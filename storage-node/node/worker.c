#include "node/worker.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "node/node.h"
#include "node/service_group.h"
#include "node/service_member.h"
#include "node/service_node.h"
#include "node/service_raft.h"
#include "node/service_reseed.h"

#define SERVICES 5

struct worker {
    struct worker_config config;
    struct io_loop *loop;
    struct rpc_server *server;
    struct rpc_service services[SERVICES];
    pthread_t thread;
    bool has_thread, started;
    atomic_bool drained;
};

/* A caller that is a storage node may be dialled at the address that it gives. */
static void on_peer(void *ctx, struct rpc_peer *peer, bool up, bool clean)
{
    (void)clean;
    struct worker *w = ctx;
    if (up && (rpc_peer_roles(peer) & RPC_ROLE_STORAGE))
        service_raft_met(w->config.node, rpc_peer_hello(peer));
}

static void make_services(struct worker *w, struct rpc_service services_r[static SERVICES])
{
    services_r[0] = service_group(w);
    services_r[1] = service_node(w);
    services_r[2] = service_raft(w);
    services_r[3] = service_reseed(w);
    services_r[4] = service_member(w);
}

void worker_metrics_register(void)
{
    static struct rpc_service services[SERVICES];
    make_services(NULL, services);
    rpc_server_metrics_register(services, SERVICES);
}

struct worker *worker_new(const struct worker_config *config)
{
    struct worker *w = cq_new(struct worker);
    char name[16];
    snprintf(name, sizeof name, "rpc-%u", config->number);
    w->config = *config;
    w->loop = config->loop ? config->loop : io_loop_new(&(struct io_loop_options){.name = name});
    make_services(w, w->services);
    w->server = rpc_server_new(&(struct rpc_server_config){.loop = w->loop,
                                                           .tls = config->tls,
                                                           .hello = config->hello,
                                                           .services = w->services,
                                                           .service_count = SERVICES,
                                                           .limits = config->limits,
                                                           .on_peer = on_peer,
                                                           .on_peer_ctx = w});
    return w;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    io_loop_run(w->loop);
    return NULL;
}

static enum cq_rc start_thread(struct worker *w, const char *listen, struct cq_err *err)
{
    enum cq_rc rc = rpc_server_listen(w->server, listen, NULL, err);
    if (rc != CQ_OK)
        return rc;
    CQ_ASSERT(pthread_create(&w->thread, NULL, worker_main, w) == 0);
    pthread_setname_np(w->thread, io_loop_name(w->loop));
    w->has_thread = w->started = true;
    return CQ_OK;
}

/* What the loop of another thread does for us while we wait. */
struct on_loop {
    struct worker *worker;
    const char *listen;
    enum cq_rc rc;
    struct cq_err *err;
    sem_t done;
};

static void run_on_loop(struct worker *w, io_post_fn *fn, struct on_loop *call)
{
    call->worker = w;
    CQ_ASSERT(sem_init(&call->done, 0, 0) == 0);
    io_loop_post(w->loop, fn, call);
    while (sem_wait(&call->done) != 0)
        ; /* a signal's handler has run */
    sem_destroy(&call->done);
}

static void on_listen(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct on_loop *call = arg;
    call->rc = rpc_server_listen(call->worker->server, call->listen, NULL, call->err);
    sem_post(&call->done);
}

enum cq_rc worker_start(struct worker *w, const char *listen, struct cq_err *err)
{
    if (!w->config.loop)
        return start_thread(w, listen, err);
    struct on_loop call = {.listen = listen, .err = err};
    run_on_loop(w, on_listen, &call);
    w->started = true;
    return call.rc;
}

static void on_drained(void *ctx)
{
    struct worker *w = ctx;
    atomic_store(&w->drained, true);
}

static void drain(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct worker *w = arg;
    if (w->server)
        rpc_server_drain(w->server, on_drained, w);
}

void worker_drain(struct worker *w)
{
    io_loop_post(w->loop, drain, w);
}

bool worker_drained(const struct worker *w)
{
    return atomic_load(&w->drained);
}

static void on_stop(struct io_loop *loop, void *arg)
{
    struct worker *w = arg;
    rpc_server_free(&w->server);
    io_loop_stop(loop);
}

static void on_close(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct on_loop *call = arg;
    rpc_server_free(&call->worker->server);
    sem_post(&call->done);
}

void worker_stop(struct worker *w)
{
    if (!w->started)
        return;
    w->started = false;
    if (w->has_thread) {
        io_loop_post(w->loop, on_stop, w);
        pthread_join(w->thread, NULL);
    } else {
        struct on_loop call = {0};
        run_on_loop(w, on_close, &call);
    }
}

void worker_free(struct worker **worker)
{
    struct worker *w = *worker;
    if (!w)
        return;
    worker_stop(w);
    rpc_server_free(&w->server);
    if (!w->config.loop)
        io_loop_free(&w->loop);
    free(w);
    *worker = NULL;
}

struct node *worker_node(const struct worker *w)
{
    return w->config.node;
}

struct io_loop *worker_loop(const struct worker *w)
{
    return w->loop;
}
