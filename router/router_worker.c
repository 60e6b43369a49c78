#include "router/router_worker.h"

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "proto/mail.pb-c.h"
#include "router/router_methods.h"

#include <stdio.h>
#include <stdlib.h>

#define BEAT_MS 500

/* ---- Topology ---- */

void router_worker_set_topology(struct router_worker *worker, const struct topology *topology)
{
    if (!routes_set_topology(worker->routes, topology))
        return;
    backends_set_topology(worker->backends, topology);
    cq_gauge_set(&router_metrics, ROUTER_M_RING, (int64_t)topology->epoch);
    if (worker->ready)
        admin_check_set(worker->ready, true, "the topology is known");
    if (worker->number == 0)
        cq_log(CQ_INFO, "router.topology", CQ_F_U64("epoch", topology->epoch), CQ_F_U64("nodes", topology->node_count),
               CQ_F_U64("shards", topology->shard_count));
}

/* An Answer around the topology. */
static struct rpc_payload *pack_topology(const struct topology *topology, uint32_t *len_r)
{
    Chasqui__Mail__Answer answer = CHASQUI__MAIL__ANSWER__INIT;
    struct rpc_payload *payload = NULL;
    struct cq_buf buf;
    cq_buf_init(&buf, TOPOLOGY_ENCODED_MAX);
    if (topology_encode(topology, &buf)) {
        answer.body = (ProtobufCBinaryData){buf.len, buf.data};
        payload = rpc_payload_new(chasqui__mail__answer__get_packed_size(&answer));
        *len_r = (uint32_t)chasqui__mail__answer__pack(&answer, payload->data);
    }
    cq_buf_fini(&buf);
    return payload;
}

void router_worker_answer_topology(struct router_worker *worker, struct rpc_request *request)
{
    const struct topology *topology = routes_topology(worker->routes);
    struct rpc_answer answer = {.rc = CQ_E_UNAVAILABLE, .flags = RPC_FLAG_NOT_RUN};
    struct rpc_payload *payload = topology ? pack_topology(topology, &answer.message_len) : NULL;
    if (payload)
        answer = (struct rpc_answer){.payload = payload, .message_len = answer.message_len};
    router_count(rpc_request_frame(request)->method, payload ? ROUTER_ANSWERED : ROUTER_UNAVAILABLE, 0);
    rpc_reply(request, &answer);
    rpc_payload_unref(&payload);
}

/* ---- Life ---- */

static void on_beat(struct io_timer *timer)
{
    struct router_worker *worker = cq_containerof(timer, struct router_worker, beat);
    admin_heartbeat_beat(worker->heartbeat);
    io_timer_start(timer, BEAT_MS);
}

static void join_admin(struct router_worker *worker)
{
    if (!worker->shared->admin)
        return;
    snprintf(worker->ready_name, sizeof worker->ready_name, "topology-%u", worker->number);
    worker->ready = admin_check_add(worker->shared->admin, worker->ready_name, ADMIN_READY);
    worker->heartbeat = admin_heartbeat_add(worker->shared->admin, io_loop_name(worker->loop));
    io_timer_start(&worker->beat, 0);
}

/* The topology may have come over the same way. */
static void on_silent(void *ctx)
{
    struct router_worker *worker = ctx;
    topology_watch_hurry(worker->watch);
}

static void make_parts(struct router_worker *worker)
{
    const struct router_shared *shared = worker->shared;
    const struct rpc_client_config clients = {.loop = worker->loop,
                                              .resolver = shared->resolver,
                                              .tls = shared->client_tls,
                                              .hello = shared->hello,
                                              .limits = shared->config->client};
    const struct rpc_server_config server = {.loop = worker->loop,
                                             .tls = shared->server_tls,
                                             .hello = shared->hello,
                                             .services = &worker->service,
                                             .service_count = 1,
                                             .limits = shared->config->server};
    worker->service = (struct rpc_service){router_methods, router_method_count, worker};
    worker->routes = routes_new(shared->config->router.dc);
    worker->backends =
        backends_new(&clients, shared->board, worker->number, shared->beat_ms ? shared->beat_ms : BACKEND_BEAT_MS);
    worker->server = rpc_server_new(&server);
    worker->watch = topology_watch_new(worker);
    backends_on_silent(worker->backends, on_silent, worker);
}

enum cq_rc router_worker_new(const struct router_shared *shared, unsigned number, struct router_worker **worker_r,
                             struct cq_err *err)
{
    struct router_worker *worker = cq_new(struct router_worker);
    char name[32];
    snprintf(name, sizeof name, "worker-%u", number);
    worker->shared = shared;
    worker->number = number;
    worker->loop = io_loop_new(&(struct io_loop_options){.name = name});
    worker->jitter.state = cq_rand_u64();
    io_timer_init(&worker->beat, worker->loop, on_beat);
    make_parts(worker);
    enum cq_rc rc = rpc_server_listen(worker->server, shared->config->router.listen, &worker->port, err);
    if (rc == CQ_OK)
        join_admin(worker);
    *worker_r = worker;
    if (rc != CQ_OK)
        router_worker_free(worker_r);
    return rc;
}

void router_worker_free(struct router_worker **worker_p)
{
    struct router_worker *worker = *worker_p;
    if (!worker)
        return;
    *worker_p = NULL;
    io_timer_stop(&worker->beat);
    topology_watch_free(&worker->watch);
    rpc_server_free(&worker->server); /* all requests under way are gone with it */
    backends_free(&worker->backends);
    io_loop_free(&worker->loop);
    routes_free(&worker->routes);
    free(worker);
}
