/* A client, a router worker on its own thread, and a storage node that answers what it was asked; three TLS links'
 * ends in one process. */
#include "micro.h"
#include "unit/rpc/rpc_fixture.h"

#include <pthread.h>
#include <stdio.h>

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "io/io_metrics.h"
#include "proto/mail.pb-c.h"
#include "proto/system.pb-c.h"
#include "router/router_methods.h"
#include "router/router_worker.h"
#include "unit/cluster/cluster_fixture.h"

#define M(name) CHASQUI__MAIL__METHOD__##name
#define ACCOUNT (UINT64_C(7) << 48 | 99)
#define REPLICA 11

static struct rpc_request *topology_stream;
static struct fx_server *node;
static struct router_worker *worker;

static void on_echo(struct rpc_request *request, void *ctx)
{
    (void)ctx;
    rpc_reply(request, &(struct rpc_answer){.message = rpc_request_message(request)});
}

static void topology_gone(void *ctx, enum cq_rc why)
{
    (void)ctx;
    rpc_reply_rc(topology_stream, why);
    topology_stream = NULL;
}

/* One node, one group that has all slots. */
static void put_topology(struct cq_buf *out)
{
    struct topology_node one = fixture_node(0, "a", "", "");
    struct topology_replica replica = {REPLICA, 0, true};
    const struct topology *t = NULL;
    one.address = node->address;
    const struct topology_shard shards[] = {{.group = 1, .home = "a", .replicas = &replica, .replica_count = 1}};
    const struct topology_range ranges[] = {{0, 65535, 1}};
    const struct topology plain = {.cluster = "c1",
                                   .epoch = 5,
                                   .nodes = &one,
                                   .node_count = 1,
                                   .shards = shards,
                                   .shard_count = 1,
                                   .ranges = ranges,
                                   .range_count = 1};
    CQ_ASSERT(topology_new(&plain, &t, NULL) == CQ_OK && topology_encode(t, out));
    topology_unref(&t);
}

static void on_topology(struct rpc_request *request, void *ctx)
{
    (void)ctx;
    Chasqui__System__TopologyItem item = CHASQUI__SYSTEM__TOPOLOGY_ITEM__INIT;
    Chasqui__System__GroupLeader leader = CHASQUI__SYSTEM__GROUP_LEADER__INIT, *leaders[] = {&leader};
    struct cq_buf topology;
    uint8_t message[4096];
    topology_stream = request;
    rpc_request_on_gone(request, topology_gone, NULL);
    cq_buf_init(&topology, sizeof message);
    put_topology(&topology);
    item.topology = chasqui__system__topology__unpack(NULL, topology.len, topology.data);
    leader.group = 1;
    leader.term = 5;
    leader.replica = REPLICA;
    item.n_leaders = 1;
    item.leaders = leaders;
    size_t len = chasqui__system__topology_item__pack(&item, message);
    CQ_ASSERT(rpc_stream_try(request, cq_slice_of(message, len), NULL, 0) == CQ_OK);
    chasqui__system__topology__free_unpacked(item.topology, NULL);
    cq_buf_fini(&topology);
}

static const struct rpc_method methods[] = {
    {M(GET_ACCOUNT), "GET_ACCOUNT", RPC_ROLE_ROUTER, RPC_METHOD_READ | RPC_METHOD_INLINE, 4096, 4096, on_echo},
    {CHASQUI__SYSTEM__METHOD__WATCH_TOPOLOGY, "WATCH_TOPOLOGY", RPC_ROLE_ROUTER,
     RPC_METHOD_READ | RPC_METHOD_INLINE | RPC_METHOD_STREAM, 4096, 0, on_topology},
};

static void *router_main(void *arg)
{
    io_loop_run(((struct router_worker *)arg)->loop);
    return NULL;
}

static void calls(void *arg)
{
    const uint64_t *count = arg;
    char address[64];
    static uint8_t question[300]; /* about as much as a LOOKUP or a small FETCH has */
    snprintf(address, sizeof address, "127.0.0.1:%u", worker->port);
    const struct rpc_client_config like = {.limits = rpc_client_limits_default(), .peer_roles = RPC_ROLE_ROUTER};
    struct fx_client *client = fx_client_new(address, "frontend", &like);
    while (!topology_stream)
        io_fiber_sleep(1);
    for (uint64_t i = 0; i < *count; i++) {
        struct rpc_reply_in reply;
        struct cq_err err = {0};
        const struct rpc_call what = {.method = M(GET_ACCOUNT),
                                      .account = ACCOUNT,
                                      .message = cq_slice_of(question, sizeof question),
                                      .deadline_us = io_loop_deadline(fx_loop, 60000)};
        cq_pool_clear(fx_reply_pool);
        CQ_ASSERT(rpc_call(client->client, &what, fx_reply_pool, &reply, &err) == RPC_ANSWERED && reply.rc == CQ_OK);
    }
    fx_client_free(&client);
}

void micro_rpc(uint64_t count)
{
    struct cq_err err = {0};
    pthread_t thread;
    io_metrics_register();
    CQ_ASSERT(fx_group_setup(NULL) == 0 && fx_setup(NULL) == 0);
    node = fx_server_new(methods, sizeof methods / sizeof *methods, NULL, NULL, NULL);
    const char *seeds[] = {node->address};
    const struct router_config config = {.router = {.listen = "127.0.0.1:0",
                                                    .dc = "a",
                                                    .seeds = {seeds, 1},
                                                    .attempt_us = 60000000,
                                                    .deadline_us = 60000000},
                                         .server = rpc_server_limits_default(),
                                         .client = rpc_client_limits_default()};
    struct router_shared shared = {.config = &config,
                                   .hello = &fx_hello,
                                   .server_tls = fx_tls_server("router"),
                                   .client_tls = fx_tls_client("router"),
                                   .resolver = io_pool_new("router", 1, 16),
                                   .board = backend_board_new()};
    CQ_ASSERT(router_worker_new(&shared, 0, &worker, &err) == CQ_OK);
    CQ_ASSERT(pthread_create(&thread, NULL, router_main, worker) == 0);
    fx_run(calls, &count);
    io_loop_stop(worker->loop);
    pthread_join(thread, NULL);
    router_worker_free(&worker);
    io_tls_free(&shared.server_tls);
    io_tls_free(&shared.client_tls);
    io_pool_free(&shared.resolver);
    backend_board_free(&shared.board);
    fx_server_free(&node);
    fx_teardown(NULL);
    fx_group_teardown(NULL);
}
