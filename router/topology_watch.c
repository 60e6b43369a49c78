/* The worker's subscription: one storage node after the other, seeds first, until one gives a stream; again when it
 * ends. */
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "io/io_sync.h"
#include "proto/mail.pb-c.h"
#include "proto/system.pb-c.h"
#include "router/router_worker.h"

#include <stdlib.h>

#define SOURCE_PAUSE_MS 200      /* between two sources */
#define STREAM_WINDOW (8u << 20) /* bytes: above TOPOLOGY_ENCODED_MAX, so that one item always fits */

struct topology_watch {
    struct router_worker *worker; /* NULL: freed, only the fiber is left */
    struct io_fiber_ref fiber;
    struct io_event done; /* the present stream has ended, or is to be left */
    size_t next;          /* source */
};

/* ---- Items ---- */

static void take_topology(struct router_worker *worker, const Chasqui__System__Topology *msg)
{
    const struct topology *topology = NULL;
    struct cq_err err = {0};
    struct cq_buf buf;
    cq_buf_init(&buf, TOPOLOGY_ENCODED_MAX);
    uint8_t *at = cq_buf_reserve(&buf, chasqui__system__topology__get_packed_size(msg));
    if (at)
        cq_buf_commit(&buf, chasqui__system__topology__pack(msg, at));
    enum cq_rc rc = at ? topology_decode(cq_buf_slice(&buf), &topology, &err)
                       : CQ_FAIL(&err, CQ_E_TOO_BIG, "a topology over %u bytes", TOPOLOGY_ENCODED_MAX);
    if (rc == CQ_OK && topology->epoch > 0)
        router_worker_set_topology(worker, topology);
    else if (rc != CQ_OK)
        cq_log_limited(1, CQ_ERROR, "router.topology_refused", CQ_F_ERR(&err));
    topology_unref(&topology);
    cq_buf_fini(&buf);
}

static void on_item(void *ctx, const struct rpc_frame *frame, struct rpc_payload *payload)
{
    struct topology_watch *watch = ctx;
    struct cq_slice bytes = rpc_frame_message(frame, payload);
    Chasqui__System__TopologyItem *item = chasqui__system__topology_item__unpack(NULL, bytes.len, bytes.data);
    if (!item) {
        cq_log_limited(1, CQ_ERROR, "router.topology_refused", CQ_F_STR("error", "the item does not decode"));
        return;
    }
    if (item->topology)
        take_topology(watch->worker, item->topology);
    for (size_t i = 0; i < item->n_leaders; i++)
        routes_leader(watch->worker->routes, item->leaders[i]->group, item->leaders[i]->term,
                      item->leaders[i]->replica);
    chasqui__system__topology_item__free_unpacked(item, NULL);
}

static void on_done(void *ctx, enum rpc_fate fate, const struct rpc_reply_in *reply)
{
    struct topology_watch *watch = ctx;
    cq_log(CQ_DEBUG, "router.topology_stream_ended", CQ_F_BOOL("answered", fate == RPC_ANSWERED), CQ_F_RC(reply->rc));
    io_event_set(&watch->done);
}

/* ---- Sources ---- */

/* The n-th address, seeds first, then the nodes of the topology; NULL after the last. */
static const char *source(const struct router_worker *worker, size_t n)
{
    const struct cq_strings *seeds = &worker->shared->config->router.seeds;
    const struct topology *t = routes_topology(worker->routes);
    if (n < seeds->count)
        return seeds->items[n];
    n -= seeds->count;
    return t && n < t->node_count ? t->nodes[n].address : NULL;
}

static struct rpc_client *source_client(const struct router_worker *worker, const char *address)
{
    struct rpc_client_config config = {.loop = worker->loop,
                                       .resolver = worker->shared->resolver,
                                       .tls = worker->shared->client_tls,
                                       .address = address,
                                       .peer_roles = RPC_ROLE_STORAGE,
                                       .hello = worker->shared->hello,
                                       .limits = worker->shared->config->client};
    config.limits.connections = 1;
    return rpc_client_new(&config);
}

/* GetTopology in a Call. */
static size_t pack_request(uint8_t *out)
{
    Chasqui__System__GetTopology ask = CHASQUI__SYSTEM__GET_TOPOLOGY__INIT;
    Chasqui__Mail__Call call = CHASQUI__MAIL__CALL__INIT;
    uint8_t body[16];
    call.body = (ProtobufCBinaryData){chasqui__system__get_topology__pack(&ask, body), body};
    return chasqui__mail__call__pack(&call, out);
}

/* Listens until the stream ends or is to be left. */
static void listen_to(struct topology_watch *watch, const char *address)
{
    uint8_t message[32];
    struct rpc_client *client = source_client(watch->worker, address);
    const struct rpc_call call = {.method = CHASQUI__SYSTEM__METHOD__WATCH_TOPOLOGY,
                                  .message = cq_slice_of(message, pack_request(message)),
                                  .deadline_us = IO_NO_DEADLINE};
    const struct rpc_stream_config config = {
        .window = STREAM_WINDOW, .auto_credit = true, .data = on_item, .done = on_done, .ctx = watch};
    io_event_reset(&watch->done);
    struct rpc_pending *stream = rpc_stream_start(client, &call, &config);
    while (io_event_wait(&watch->done, IO_NO_DEADLINE) == CQ_OK && !watch->done.set)
        ;
    if (!watch->done.set || rpc_client_inflight(client))
        rpc_call_cancel(&stream);
    rpc_client_free(&client);
}

static void watch_fiber(void *arg)
{
    struct topology_watch *watch = arg;
    while (!io_fiber_cancelled()) {
        const char *address = source(watch->worker, watch->next);
        watch->next = address ? watch->next + 1 : 0;
        if (address)
            listen_to(watch, address);
        io_fiber_sleep(SOURCE_PAUSE_MS); /* at once when cancelled */
    }
    free(watch);
}

void topology_watch_hurry(struct topology_watch *watch)
{
    io_event_set(&watch->done);
}

struct topology_watch *topology_watch_new(struct router_worker *worker)
{
    struct topology_watch *watch = cq_new(struct topology_watch);
    watch->worker = worker;
    watch->next = worker->number; /* so that workers begin with different seeds */
    if (!source(worker, watch->next))
        watch->next = 0;
    if (io_fiber_spawn(worker->loop, watch_fiber, watch, &watch->fiber) != CQ_OK)
        abort(); /* the first fiber of a new loop */
    return watch;
}

/* The fiber frees it at its end, which the loop's own free waits for at the latest. */
void topology_watch_free(struct topology_watch **watch)
{
    if (*watch)
        io_fiber_cancel((*watch)->fiber);
    *watch = NULL;
}
