/* A router worker on its own thread between a client and three made-up storage nodes on the test's loop. */
#include "unit/rpc/rpc_fixture.h"

#include "base/cq_mem.h"
#include "io/io_sync.h"
#include "proto/mail.pb-c.h"
#include "proto/system.pb-c.h"
#include "router/router_methods.h"
#include "router/router_worker.h"
#include "unit/cluster/cluster_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define M(name) CHASQUI__MAIL__METHOD__##name
#define NODES 3
#define ACCOUNT (UINT64_C(7) << 48 | 99)

enum mode {
    LEAD,        /* answers OK */
    NOT_LEADER,  /* with node->hint */
    WRONG_OWNER, /* with node->epoch */
    SILENT,      /* keeps the request */
    DIE,         /* breaks the connection */
    STALE,
    UNKNOWN,
    REFUSE /* OVERLOADED, not run */
};

struct node {
    unsigned number;
    struct fx_server *server;
    enum mode mode, then; /* `then` follows after the first request when `once` */
    bool once;
    uint64_t hint, epoch;
    size_t requests, resent;
    struct rpc_frame last;
    struct rpc_request *held[16];
    size_t held_count;
    struct rpc_request *watch;    /* of an account */
    struct rpc_request *topology; /* a stream of the router */
    size_t watches;
    bool deaf; /* gives no sign of life */
    size_t heres;
    uint8_t here[16];
    struct rpc_request *deaf_to;
};
static struct node nodes[NODES];
static uint64_t topology_epoch;
static uint32_t topology_group; /* that holds all slots: 1 or 2 */
static uint64_t topology_leader;

/* ---- Nodes ---- */

static void note(struct node *node, struct rpc_request *request)
{
    node->requests++;
    node->last = *rpc_request_frame(request);
    node->resent += (node->last.flags & RPC_FLAG_RESENT) != 0;
}

static void held_gone(void *ctx, enum cq_rc why)
{
    struct node *node = ctx;
    (void)why;
    /* Which one does not matter: all are ended when one has gone. */
    while (node->held_count) {
        struct rpc_request *request = node->held[--node->held_count];
        rpc_reply_rc(request, CQ_E_CANCELLED);
    }
}

static void answer_ok(struct node *node, struct rpc_request *request)
{
    char text[32];
    const struct cq_slice raw[] = {rpc_request_raw(request)};
    snprintf(text, sizeof text, "node %u: ", node->number);
    struct cq_buf message;
    cq_buf_init(&message, 4096);
    cq_buf_cstr(&message, text);
    cq_buf_slice_add(&message, rpc_request_message(request));
    rpc_reply(request, &(struct rpc_answer){.message = cq_buf_slice(&message), .raw = raw, .raw_count = 1});
    cq_buf_fini(&message);
}

static void on_mail(struct rpc_request *request, void *ctx)
{
    struct node *node = ctx;
    enum mode mode = node->mode;
    note(node, request);
    if (node->once)
        node->mode = node->then;
    switch (mode) {
    case LEAD:
        answer_ok(node, request);
        break;
    case NOT_LEADER:
        rpc_reply(request, &(struct rpc_answer){.rc = CQ_E_NOT_LEADER, .flags = RPC_FLAG_NOT_RUN, .aux = node->hint});
        break;
    case WRONG_OWNER:
        if (node->last.epoch >= node->epoch)
            answer_ok(node, request);
        else
            rpc_reply(request,
                      &(struct rpc_answer){.rc = CQ_E_WRONG_OWNER, .flags = RPC_FLAG_NOT_RUN, .epoch = node->epoch});
        break;
    case SILENT:
        node->held[node->held_count++] = request;
        rpc_request_on_gone(request, held_gone, node);
        break;
    case DIE:
        rpc_peer_close(rpc_request_peer(request));
        rpc_reply_rc(request, CQ_OK);
        break;
    case STALE:
        rpc_reply_rc(request, CQ_E_STALE);
        break;
    case UNKNOWN:
        rpc_reply_rc(request, CQ_E_UNKNOWN_OUTCOME);
        break;
    case REFUSE:
        rpc_reply(request, &(struct rpc_answer){.rc = CQ_E_OVERLOADED, .flags = RPC_FLAG_NOT_RUN});
        break;
    }
}

static void watch_gone(void *ctx, enum cq_rc why)
{
    struct node *node = ctx;
    struct rpc_request *request = node->watch;
    node->watch = NULL;
    rpc_reply_rc(request, why);
}

static void on_watch(struct rpc_request *request, void *ctx)
{
    struct node *node = ctx;
    if (node->mode != LEAD) {
        rpc_reply(request, &(struct rpc_answer){.rc = CQ_E_NOT_LEADER, .flags = RPC_FLAG_NOT_RUN, .aux = node->hint});
        return;
    }
    node->watches++;
    node->watch = request;
    rpc_request_on_gone(request, watch_gone, node);
    rpc_stream_try(request, CQ_SLICE_NONE, NULL, 0);
}

static void deaf_gone(void *ctx, enum cq_rc why)
{
    struct node *node = ctx;
    struct rpc_request *request = node->deaf_to;
    node->deaf_to = NULL;
    rpc_reply_rc(request, why);
}

static void on_here(struct rpc_request *request, void *ctx)
{
    struct node *node = ctx;
    struct cq_slice bytes = rpc_request_message(request);
    Chasqui__Mail__Call *call = chasqui__mail__call__unpack(NULL, bytes.len, bytes.data);
    assert_non_null(call);
    Chasqui__System__RouterHere *here = chasqui__system__router_here__unpack(NULL, call->body.len, call->body.data);
    assert_non_null(here);
    assert_int_equal(here->id.len, 16);
    memcpy(node->here, here->id.data, 16);
    chasqui__system__router_here__free_unpacked(here, NULL);
    chasqui__mail__call__free_unpacked(call, NULL);
    node->heres++;
    if (!node->deaf) {
        rpc_reply_rc(request, CQ_OK);
        return;
    }
    node->deaf_to = request;
    rpc_request_on_gone(request, deaf_gone, node);
}

static void topology_gone(void *ctx, enum cq_rc why)
{
    struct node *node = ctx;
    struct rpc_request *request = node->topology;
    node->topology = NULL;
    rpc_reply_rc(request, why);
}

/* Groups 1 and 2 on all three nodes: replicas 11, 12, 13 and 21, 22, 23 on nodes 0, 1, 2. */
static void put_topology(struct cq_buf *out)
{
    static const char *const dcs[] = {"a", "b", "c"};
    struct topology_node list[NODES];
    struct topology_replica one[NODES], two[NODES];
    const struct topology *t = NULL;
    for (uint32_t i = 0; i < NODES; i++) {
        list[i] = fixture_node(i, dcs[i], "", "");
        memset(list[i].uuid, (int)i + 1, 16);
        list[i].address = nodes[i].server->address;
        one[i] = (struct topology_replica){11 + i, i, true};
        two[i] = (struct topology_replica){21 + i, i, true};
    }
    const struct topology_shard shards[] = {{.group = 1, .home = "a", .replicas = one, .replica_count = NODES},
                                            {.group = 2, .home = "a", .replicas = two, .replica_count = NODES}};
    const struct topology_range ranges[] = {{0, 65535, topology_group}};
    const struct topology plain = {.cluster = "c1",
                                   .epoch = topology_epoch,
                                   .nodes = list,
                                   .node_count = NODES,
                                   .shards = shards,
                                   .shard_count = 2,
                                   .ranges = ranges,
                                   .range_count = 1};
    assert_int_equal(topology_new(&plain, &t, NULL), CQ_OK);
    assert_true(topology_encode(t, out));
    topology_unref(&t);
}

static void send_topology(struct node *node)
{
    Chasqui__System__TopologyItem item = CHASQUI__SYSTEM__TOPOLOGY_ITEM__INIT;
    Chasqui__System__GroupLeader leader = CHASQUI__SYSTEM__GROUP_LEADER__INIT, *leaders[] = {&leader};
    struct cq_buf topology;
    uint8_t message[4096];
    cq_buf_init(&topology, 4096);
    put_topology(&topology);
    item.topology = chasqui__system__topology__unpack(NULL, topology.len, topology.data);
    leader.group = 1;
    leader.term = topology_epoch;
    leader.replica = topology_leader;
    item.n_leaders = 1;
    item.leaders = leaders;
    size_t len = chasqui__system__topology_item__pack(&item, message);
    assert_int_equal(rpc_stream_try(node->topology, cq_slice_of(message, len), NULL, 0), CQ_OK);
    chasqui__system__topology__free_unpacked(item.topology, NULL);
    cq_buf_fini(&topology);
}

static void on_topology(struct rpc_request *request, void *ctx)
{
    struct node *node = ctx;
    node->topology = request;
    rpc_request_on_gone(request, topology_gone, node);
    send_topology(node);
}

#define MAIL_ROW(name, kind)                                                                                           \
    {                                                                                                                  \
        M(name), #name, RPC_ROLE_ROUTER, RPC_METHOD_##kind | RPC_METHOD_INLINE, 4096, 4096, on_mail                    \
    }
static const struct rpc_method node_methods[] = {
    MAIL_ROW(GET_ACCOUNT, READ),
    MAIL_ROW(APPEND, COMMAND),
    MAIL_ROW(READ_BODY, READ),
    {M(WATCH), "WATCH", RPC_ROLE_ROUTER, RPC_METHOD_READ | RPC_METHOD_INLINE | RPC_METHOD_STREAM, 4096, 0, on_watch},
    {CHASQUI__SYSTEM__METHOD__ROUTER_HERE, "ROUTER_HERE", RPC_ROLE_ROUTER, RPC_METHOD_READ | RPC_METHOD_INLINE, 64, 0,
     on_here},
    {CHASQUI__SYSTEM__METHOD__WATCH_TOPOLOGY, "WATCH_TOPOLOGY", RPC_ROLE_ROUTER,
     RPC_METHOD_READ | RPC_METHOD_INLINE | RPC_METHOD_STREAM, 4096, 0, on_topology},
};

/* ---- The router ---- */

static struct router_config config;
static struct router_shared shared;
static struct router_worker *worker;
static pthread_t thread;
static const char *seeds[2];
static struct fx_client *client;
static char address[64];

static void *router_main(void *arg)
{
    io_loop_run(((struct router_worker *)arg)->loop);
    return NULL;
}

static int setup_beating(void **state, unsigned beat_ms)
{
    struct cq_err err = {0};
    fx_setup(state);
    memset(nodes, 0, sizeof nodes);
    topology_epoch = 5;
    topology_group = 1;
    topology_leader = 11;
    for (unsigned i = 0; i < NODES; i++) {
        nodes[i].number = i;
        nodes[i].mode = NOT_LEADER;
        nodes[i].server =
            fx_server_new(node_methods, sizeof node_methods / sizeof *node_methods, &nodes[i], NULL, NULL);
    }
    nodes[0].mode = LEAD;
    seeds[0] = "127.0.0.1:1"; /* a dead one comes first */
    seeds[1] = nodes[0].server->address;
    config = (struct router_config){.router = {.listen = "127.0.0.1:0",
                                               .dc = "c",
                                               .seeds = {seeds, 2},
                                               .attempt_us = 200000,
                                               .deadline_us = 5000000},
                                    .server = rpc_server_limits_default(),
                                    .client = rpc_client_limits_default()};
    shared = (struct router_shared){.config = &config,
                                    .hello = &fx_hello,
                                    .server_tls = fx_tls_server("router"),
                                    .client_tls = fx_tls_client("router"),
                                    .resolver = io_pool_new("router", 1, 16),
                                    .board = backend_board_new(),
                                    .beat_ms = beat_ms};
    if (router_worker_new(&shared, 0, &worker, &err) != CQ_OK)
        fail_msg("%s", err.text);
    snprintf(address, sizeof address, "127.0.0.1:%u", worker->port);
    return pthread_create(&thread, NULL, router_main, worker);
}

static int setup(void **state)
{
    return setup_beating(state, 0);
}

static int setup_quick(void **state)
{
    return setup_beating(state, 50);
}

static int teardown(void **state)
{
    if (fx_broken())
        return fx_teardown(state);
    if (client)
        fx_client_free(&client);
    io_loop_stop(worker->loop);
    pthread_join(thread, NULL);
    router_worker_free(&worker);
    io_tls_free(&shared.server_tls);
    io_tls_free(&shared.client_tls);
    io_pool_free(&shared.resolver);
    backend_board_free(&shared.board);
    for (unsigned i = 0; i < NODES; i++)
        fx_server_free(&nodes[i].server);
    return fx_teardown(state);
}

#define until(condition)                                                                                               \
    do {                                                                                                               \
        uint64_t end_ = io_loop_now_us(fx_loop) + 10000000;                                                            \
        while (!(condition)) {                                                                                         \
            assert_true(io_loop_now_us(fx_loop) < end_);                                                               \
            io_fiber_sleep(1);                                                                                         \
        }                                                                                                              \
    } while (0)

static void connect_client(const char *role)
{
    const struct rpc_client_config like = {.limits = rpc_client_limits_default(), .peer_roles = RPC_ROLE_ROUTER};
    if (client)
        fx_client_free(&client);
    client = fx_client_new(address, role, &like);
    until(nodes[0].topology);
}

static struct rpc_reply_in reply;

static enum cq_rc call(uint16_t method, uint64_t deadline_ms)
{
    struct cq_err err = {0};
    const struct cq_slice raw[] = {CQ_SLICE("raw")};
    const struct rpc_call what = {.method = method,
                                  .flags = method == M(APPEND) ? RPC_FLAG_COMMAND : 0,
                                  .account = ACCOUNT,
                                  .message = CQ_SLICE("hello"),
                                  .raw = raw,
                                  .raw_count = method == M(APPEND),
                                  .deadline_us = io_loop_deadline(fx_loop, deadline_ms)};
    assert_int_equal(rpc_call(client->client, &what, fx_reply_pool, &reply, &err), RPC_ANSWERED);
    return reply.rc;
}

/* ---- Tests ---- */

static void a_request_reaches_the_leader_and_its_answer_comes_back_as_it_was(void *arg)
{
    (void)arg;
    connect_client("frontend");
    assert_int_equal(call(M(GET_ACCOUNT), 5000), CQ_OK);
    assert_slice(reply.message, "node 0: hello");
    assert_int_equal(nodes[0].last.group, 1);
    assert_true(nodes[0].last.account == ACCOUNT);
    assert_int_equal(nodes[0].last.epoch, 5);
    assert_in_range(nodes[0].last.deadline_ms, 1, 200);
    assert_int_equal(call(M(APPEND), 5000), CQ_OK);
    assert_slice(reply.raw, "raw");
    assert_int_equal(nodes[0].last.flags, RPC_FLAG_COMMAND);
    assert_int_equal(nodes[0].requests, 2);
    assert_int_equal(nodes[1].requests + nodes[2].requests, 0);
}

static void a_hint_is_followed_and_remembered(void *arg)
{
    (void)arg;
    nodes[0].mode = NOT_LEADER;
    nodes[0].hint = 13;
    nodes[2].mode = LEAD;
    connect_client("frontend");
    assert_int_equal(call(M(APPEND), 5000), CQ_OK);
    assert_slice(reply.message, "node 2: hello");
    assert_int_equal(call(M(APPEND), 5000), CQ_OK);
    assert_int_equal(nodes[0].requests, 1);
    assert_int_equal(nodes[1].requests, 0);
    assert_int_equal(nodes[2].requests, 2);
    assert_int_equal(nodes[2].resent, 0); /* who says that he does not lead has done nothing */
}

static void without_a_hint_the_others_are_asked(void *arg)
{
    (void)arg;
    nodes[0].mode = NOT_LEADER;
    nodes[2].mode = LEAD;
    connect_client("frontend");
    assert_int_equal(call(M(GET_ACCOUNT), 5000), CQ_OK);
    assert_slice(reply.message, "node 2: hello");
}

static void a_shard_without_a_leader_is_unavailable_at_the_deadline(void *arg)
{
    (void)arg;
    static const uint16_t both[] = {M(GET_ACCOUNT), M(APPEND)};
    nodes[0].mode = NOT_LEADER;
    connect_client("frontend");
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(call(both[i], 1000), CQ_E_UNAVAILABLE);
        assert_int_equal(reply.flags, RPC_FLAG_NOT_RUN);
    }
    /* Tried again and again, with pauses. */
    assert_in_range(nodes[1].requests, 4, 100);
}

struct later {
    struct node *node;
    uint64_t ms;
};

static void lead_later(void *arg)
{
    struct later *later = arg;
    io_fiber_sleep(later->ms);
    later->node->mode = LEAD;
}

static void a_leader_that_is_elected_meanwhile_gets_the_request(void *arg)
{
    (void)arg;
    struct later later = {&nodes[1], 150};
    nodes[0].mode = NOT_LEADER;
    connect_client("frontend");
    assert_int_equal(io_fiber_spawn(fx_loop, lead_later, &later, NULL), CQ_OK);
    assert_int_equal(call(M(APPEND), 5000), CQ_OK);
    assert_slice(reply.message, "node 1: hello");
}

static void a_command_whose_node_dies_is_sent_again_under_its_id(void *arg)
{
    (void)arg;
    nodes[0].mode = DIE;
    nodes[1].mode = LEAD;
    connect_client("frontend");
    assert_int_equal(call(M(APPEND), 5000), CQ_OK);
    assert_slice(reply.message, "node 1: hello");
    assert_int_equal(nodes[1].resent, 1);
}

static void when_nobody_knows_the_outcome_is_unknown(void *arg)
{
    (void)arg;
    nodes[0].mode = DIE;
    nodes[0].once = true;
    nodes[0].then = NOT_LEADER;
    connect_client("frontend");
    assert_int_equal(call(M(APPEND), 1000), CQ_E_UNKNOWN_OUTCOME);
    nodes[0].mode = DIE;
    assert_int_equal(call(M(GET_ACCOUNT), 1000), CQ_E_UNAVAILABLE);
}

static void a_silent_node_is_left_after_the_attempt_timeout(void *arg)
{
    (void)arg;
    nodes[0].mode = SILENT;
    nodes[1].mode = LEAD;
    connect_client("frontend");
    assert_int_equal(call(M(APPEND), 5000), CQ_OK);
    assert_slice(reply.message, "node 1: hello");
    assert_int_equal(nodes[1].resent, 1);
    until(nodes[0].held_count == 0); /* it was told */
}

static void a_silent_node_alone_leaves_the_outcome_open(void *arg)
{
    (void)arg;
    nodes[0].mode = SILENT;
    connect_client("frontend");
    assert_int_equal(call(M(APPEND), 600), CQ_E_UNKNOWN_OUTCOME);
    until(nodes[0].held_count == 0);
    assert_int_equal(call(M(GET_ACCOUNT), 600), CQ_E_UNAVAILABLE);
}

static void every_node_is_told_that_the_router_is_there(void *arg)
{
    (void)arg;
    connect_client("frontend");
    until(nodes[0].heres > 1 && nodes[1].heres > 1 && nodes[2].heres > 1);
    assert_memory_equal(nodes[0].here, nodes[1].here, 16);
    assert_memory_equal(nodes[0].here, nodes[2].here, 16);
}

static bool answered_by(const char *text)
{
    return call(M(GET_ACCOUNT), 5000) == CQ_OK && cq_slice_eq(reply.message, cq_slice_cstr(text));
}

/* Its packets are dropped, or it stands still: nobody waits for it. */
static void a_node_without_a_sign_of_life_is_left_alone_until_it_gives_one(void *arg)
{
    (void)arg;
    nodes[0].deaf = true;
    nodes[1].mode = LEAD;
    connect_client("frontend");
    until(answered_by("node 1: hello"));
    size_t before = nodes[0].requests;
    assert_true(answered_by("node 1: hello"));
    assert_int_equal(nodes[0].requests, before);
    nodes[0].deaf = false;
    until(answered_by("node 0: hello"));
}

static void what_a_node_has_that_falls_silent_is_sent_elsewhere(void *arg)
{
    (void)arg;
    nodes[0].mode = SILENT;
    nodes[0].deaf = true;
    nodes[1].mode = LEAD;
    config.router.attempt_us = 60000000;
    connect_client("frontend");
    assert_int_equal(call(M(APPEND), 20000), CQ_OK); /* the connection is given up before the attempt's time-out */
    assert_slice(reply.message, "node 1: hello");
    until(nodes[0].held_count == 0);
}

static void a_newer_map_is_fetched_when_a_node_knows_one(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < NODES; i++) {
        nodes[i].mode = WRONG_OWNER;
        nodes[i].epoch = 6;
    }
    connect_client("frontend");
    topology_epoch = 6;
    topology_group = 2;
    assert_int_equal(call(M(GET_ACCOUNT), 5000), CQ_OK);
    const struct node *last = nodes[0].last.epoch == 6 ? &nodes[0] : nodes[1].last.epoch == 6 ? &nodes[1] : &nodes[2];
    assert_int_equal(last->last.group, 2);
    assert_int_equal(last->last.epoch, 6);
}

static void bodies_are_read_nearby_and_from_the_leader_if_that_fails(void *arg)
{
    (void)arg;
    nodes[2].mode = LEAD; /* it may answer bodies; the router is in its data centre */
    connect_client("frontend");
    assert_int_equal(call(M(READ_BODY), 5000), CQ_OK);
    assert_slice(reply.message, "node 2: hello");
    nodes[2].mode = NOT_LEADER;
    assert_int_equal(call(M(READ_BODY), 5000), CQ_OK);
    assert_slice(reply.message, "node 0: hello");
    assert_int_equal(call(M(GET_ACCOUNT), 5000), CQ_OK); /* everything else goes to the leader */
    assert_slice(reply.message, "node 0: hello");
}

static void stale_is_passed_on_only_when_nothing_can_have_happened(void *arg)
{
    (void)arg;
    nodes[0].mode = STALE;
    connect_client("frontend");
    assert_int_equal(call(M(APPEND), 5000), CQ_E_STALE);
    nodes[0].mode = DIE;
    nodes[1].mode = STALE;
    assert_int_equal(call(M(APPEND), 5000), CQ_E_UNKNOWN_OUTCOME);
}

static void an_unknown_outcome_is_asked_for_again(void *arg)
{
    (void)arg;
    nodes[0].mode = UNKNOWN;
    nodes[0].once = true;
    nodes[0].then = LEAD;
    connect_client("frontend");
    assert_int_equal(call(M(APPEND), 5000), CQ_OK);
    assert_int_equal(nodes[0].requests, 2);
    assert_int_equal(nodes[0].resent, 1);
}

static void an_overloaded_node_is_asked_again_after_a_pause(void *arg)
{
    (void)arg;
    nodes[0].mode = REFUSE;
    nodes[0].once = true;
    nodes[0].then = LEAD;
    connect_client("frontend");
    assert_int_equal(call(M(APPEND), 5000), CQ_OK);
    assert_int_equal(nodes[0].requests, 2);
    assert_int_equal(nodes[0].resent, 0);
}

static void a_caller_that_goes_takes_its_request_along(void *arg)
{
    (void)arg;
    nodes[0].mode = SILENT;
    config.router.attempt_us = 60000000;
    connect_client("frontend");
    const struct rpc_call what = {
        .method = M(GET_ACCOUNT), .account = ACCOUNT, .deadline_us = io_loop_deadline(fx_loop, 60000)};
    struct rpc_pending *pending = rpc_call_start(client->client, &what, NULL, NULL);
    until(nodes[0].held_count == 1);
    rpc_call_cancel(&pending);
    until(nodes[0].held_count == 0);
}

/* ---- Roles ---- */

/* The rows that only the role admin may call; all others are for front-ends too, and nobody else. */
static bool is_admin_only(uint16_t method)
{
    return method == M(CREATE_ACCOUNT) || method == M(DELETE_ACCOUNT) || method == M(SET_LIMITS);
}

static bool may_call(const char *role, uint16_t method)
{
    if (!strcmp(role, "operator"))
        return method == CHASQUI__SYSTEM__METHOD__GET_TOPOLOGY;
    return !strcmp(role, "admin") || (!strcmp(role, "frontend") && !is_admin_only(method));
}

static void every_wrong_role_is_denied_every_method(void *arg)
{
    (void)arg;
    static const char *const roles[] = {"frontend", "admin", "router", "storage", "quota", "operator"};
    size_t denied = 0;
    for (size_t r = 0; r < 6; r++) {
        connect_client(roles[r]);
        for (size_t m = 0; m < router_method_count; m++) {
            if (may_call(roles[r], router_methods[m].method))
                continue;
            if (call(router_methods[m].method, 5000) != CQ_E_DENIED)
                fail_msg("%s may call %s", roles[r], router_methods[m].name);
            assert_int_equal(reply.flags, RPC_FLAG_NOT_RUN);
            denied++;
        }
    }
    assert_int_equal(denied, 3 + 3 * router_method_count + router_method_count - 1);
    assert_int_equal(nodes[0].requests, 0);
    connect_client("admin");
    assert_int_equal(call(M(GET_ACCOUNT), 5000), CQ_OK);
}

static void what_leaders_propose_themselves_is_not_forwarded(void *arg)
{
    (void)arg;
    static const uint16_t internal[] = {M(OWN_SLOTS),   M(RECLAIM),     M(OUTBOX_ADVANCE),
                                        M(DIGEST_MARK), M(OUTBOX_TRIM), CHASQUI__SYSTEM__METHOD__INIT_CLUSTER};
    connect_client("frontend-admin");
    for (size_t i = 0; i < sizeof internal / sizeof internal[0]; i++)
        assert_int_equal(call(internal[i], 5000), CQ_E_UNSUPPORTED);
}

/* ---- Topology ---- */

static void the_topology_can_be_asked_for(void *arg)
{
    (void)arg;
    connect_client("frontend");
    until(call(CHASQUI__SYSTEM__METHOD__GET_TOPOLOGY, 5000) != CQ_E_TOO_BIG);
    const struct rpc_call what = {.method = CHASQUI__SYSTEM__METHOD__GET_TOPOLOGY,
                                  .deadline_us = io_loop_deadline(fx_loop, 5000)};
    until(rpc_call(client->client, &what, fx_reply_pool, &reply, NULL) == RPC_ANSWERED && reply.rc == CQ_OK);
    Chasqui__Mail__Answer *answer = chasqui__mail__answer__unpack(NULL, reply.message.len, reply.message.data);
    const struct topology *t = NULL;
    assert_int_equal(topology_decode(cq_slice_of(answer->body.data, answer->body.len), &t, NULL), CQ_OK);
    assert_int_equal(t->epoch, 5);
    assert_int_equal(t->node_count, 3);
    topology_unref(&t);
    chasqui__mail__answer__free_unpacked(answer, NULL);
}

static void a_pushed_topology_is_used_at_once(void *arg)
{
    (void)arg;
    connect_client("frontend");
    assert_int_equal(call(M(GET_ACCOUNT), 5000), CQ_OK);
    topology_epoch = 9;
    topology_group = 2;
    send_topology(nodes[0].topology ? &nodes[0] : &nodes[1]);
    until(call(M(GET_ACCOUNT), 5000) == CQ_OK && nodes[0].last.epoch == 9);
    assert_int_equal(nodes[0].last.group, 2);
}

/* ---- Streams ---- */

struct stream {
    struct rpc_pending *pending;
    size_t items, empty;
    bool done;
    enum cq_rc rc;
};

static void stream_data(void *ctx, const struct rpc_frame *frame, struct rpc_payload *payload)
{
    struct stream *stream = ctx;
    (void)payload;
    stream->items++;
    stream->empty += frame->payload_len == 0;
}

static void stream_done(void *ctx, enum rpc_fate fate, const struct rpc_reply_in *in)
{
    struct stream *stream = ctx;
    (void)fate;
    stream->pending = NULL;
    stream->done = true;
    stream->rc = in->rc;
}

static void watch(struct stream *stream, uint32_t window, bool auto_credit)
{
    const struct rpc_call what = {.method = M(WATCH), .account = ACCOUNT, .deadline_us = IO_NO_DEADLINE};
    const struct rpc_stream_config how = {
        .window = window, .auto_credit = auto_credit, .data = stream_data, .done = stream_done, .ctx = stream};
    *stream = (struct stream){0};
    stream->pending = rpc_stream_start(client->client, &what, &how);
}

static void a_watch_is_relayed_until_its_replica_ends_it(void *arg)
{
    (void)arg;
    struct stream stream;
    connect_client("frontend");
    watch(&stream, 4096, true);
    until(stream.items == 1);
    assert_int_equal(stream.empty, 1);
    for (int i = 0; i < 100; i++)
        until(rpc_stream_try(nodes[0].watch, CQ_SLICE("notice"), NULL, 0) == CQ_OK);
    until(stream.items == 101);
    struct rpc_request *request = nodes[0].watch;
    nodes[0].watch = NULL;
    rpc_reply_rc(request, CQ_E_NOT_LEADER);
    until(stream.done);
    assert_int_equal(stream.rc, CQ_E_NOT_LEADER);
}

static void a_watch_looks_for_the_leader_before_it_begins(void *arg)
{
    (void)arg;
    struct stream stream;
    struct later later = {&nodes[2], 100};
    nodes[0].mode = NOT_LEADER;
    connect_client("frontend");
    watch(&stream, 4096, true);
    assert_int_equal(io_fiber_spawn(fx_loop, lead_later, &later, NULL), CQ_OK);
    until(stream.items == 1);
    assert_int_equal(nodes[2].watches, 1);
    rpc_call_cancel(&stream.pending);
    until(!nodes[2].watch); /* the end is passed on */
}

static void a_slow_watcher_holds_up_its_own_stream_alone(void *arg)
{
    (void)arg;
    struct stream stream;
    connect_client("frontend");
    watch(&stream, 1000, false);
    until(stream.items == 1);
    size_t sent = 0;
    for (int quiet = 0; quiet < 50;) {
        enum cq_rc rc = rpc_stream_try(nodes[0].watch, CQ_SLICE("notice"), NULL, 0);
        sent += rc == CQ_OK;
        quiet = rc == CQ_OK ? 0 : quiet + 1;
        io_fiber_sleep(1);
    }
    assert_in_range(sent, 10, 45); /* two windows: the watcher's and the router's */
    assert_in_range(stream.items, 10, 20);
    assert_int_equal(call(M(GET_ACCOUNT), 5000), CQ_OK); /* others go on */
    size_t before = stream.items;
    for (size_t i = 0; i < before; i++)
        rpc_stream_consumed(stream.pending, 6);
    until(stream.items == sent + 1);
}

static void a_lost_node_ends_the_watch(void *arg)
{
    (void)arg;
    struct stream stream;
    connect_client("frontend");
    watch(&stream, 4096, true);
    until(stream.items == 1);
    rpc_peer_close(rpc_request_peer(nodes[0].watch));
    until(stream.done);
    assert_int_equal(stream.rc, CQ_E_UNAVAILABLE);
}

#define CONVERSATION(fn)                                                                                               \
    static void test_##fn(void **state)                                                                                \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        fx_run(fn, NULL);                                                                                              \
    }
#define CONVERSATIONS(X)                                                                                               \
    X(a_request_reaches_the_leader_and_its_answer_comes_back_as_it_was)                                                \
    X(a_hint_is_followed_and_remembered)                                                                               \
    X(without_a_hint_the_others_are_asked)                                                                             \
    X(a_shard_without_a_leader_is_unavailable_at_the_deadline)                                                         \
    X(a_leader_that_is_elected_meanwhile_gets_the_request)                                                             \
    X(a_command_whose_node_dies_is_sent_again_under_its_id)                                                            \
    X(when_nobody_knows_the_outcome_is_unknown)                                                                        \
    X(a_silent_node_is_left_after_the_attempt_timeout)                                                                 \
    X(a_silent_node_alone_leaves_the_outcome_open)                                                                     \
    X(a_newer_map_is_fetched_when_a_node_knows_one)                                                                    \
    X(bodies_are_read_nearby_and_from_the_leader_if_that_fails)                                                        \
    X(stale_is_passed_on_only_when_nothing_can_have_happened)                                                          \
    X(an_unknown_outcome_is_asked_for_again)                                                                           \
    X(an_overloaded_node_is_asked_again_after_a_pause)                                                                 \
    X(a_caller_that_goes_takes_its_request_along)                                                                      \
    X(every_wrong_role_is_denied_every_method)                                                                         \
    X(what_leaders_propose_themselves_is_not_forwarded)                                                                \
    X(the_topology_can_be_asked_for)                                                                                   \
    X(a_pushed_topology_is_used_at_once)                                                                               \
    X(a_watch_is_relayed_until_its_replica_ends_it)                                                                    \
    X(a_watch_looks_for_the_leader_before_it_begins)                                                                   \
    X(a_slow_watcher_holds_up_its_own_stream_alone)                                                                    \
    X(a_lost_node_ends_the_watch)

/* With a beat of 50 ms instead of a second. */
#define QUICK_CONVERSATIONS(X)                                                                                         \
    X(every_node_is_told_that_the_router_is_there)                                                                     \
    X(a_node_without_a_sign_of_life_is_left_alone_until_it_gives_one)                                                  \
    X(what_a_node_has_that_falls_silent_is_sent_elsewhere)

CONVERSATIONS(CONVERSATION)
QUICK_CONVERSATIONS(CONVERSATION)

#define ROW(fn) {#fn, test_##fn, setup, teardown, NULL},
#define QUICK_ROW(fn) {#fn, test_##fn, setup_quick, teardown, NULL},
int main(void)
{
    const struct CMUnitTest tests[] = {CONVERSATIONS(ROW) QUICK_CONVERSATIONS(QUICK_ROW)};
    return cmocka_run_group_tests(tests, fx_group_setup, fx_group_teardown);
}
