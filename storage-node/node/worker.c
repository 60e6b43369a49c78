#include "node/worker.h"

#include <pthread.h>
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
    bool started;
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
    w->loop = io_loop_new(&(struct io_loop_options){.name = name});
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

enum cq_rc worker_start(struct worker *w, const char *listen, struct cq_err *err)
{
    enum cq_rc rc = rpc_server_listen(w->server, listen, NULL, err);
    if (rc != CQ_OK)
        return rc;
    CQ_ASSERT(pthread_create(&w->thread, NULL, worker_main, w) == 0);
    pthread_setname_np(w->thread, io_loop_name(w->loop));
    w->started = true;
    return CQ_OK;
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

static void stop(struct io_loop *loop, void *arg)
{
    struct worker *w = arg;
    rpc_server_free(&w->server);
    io_loop_stop(loop);
}

void worker_stop(struct worker *w)
{
    if (!w->started)
        return;
    io_loop_post(w->loop, stop, w);
    pthread_join(w->thread, NULL);
    w->started = false;
}

void worker_free(struct worker **worker)
{
    struct worker *w = *worker;
    if (!w)
        return;
    worker_stop(w);
    rpc_server_free(&w->server);
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
