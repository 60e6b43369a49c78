/* Client and server over loopback TLS: connections that are lost, overload, drain, who is there. */
#include "unit/rpc/rpc_methods.h"

/* ---- Losing each other ---- */

static void a_dead_address_is_not_sent_and_fails_fast(void *arg)
{
    (void)arg;
    struct fx_client *client = fx_client_new("127.0.0.1:1", "frontend", NULL);
    struct rpc_reply_in reply;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(fx_call(client->client, ECHO, "", &reply), RPC_NOT_SENT);
        assert_int_equal(reply.rc, CQ_E_UNAVAILABLE);
    }
    fx_client_free(&client);
}

static void a_lost_connection_leaves_the_outcome_open(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend", NULL);
    struct one_call one = {0};
    start_call(&one, client->client, HOLD);
    until(holding == 1);
    fx_server_free(&server);
    until(one.done);
    assert_int_equal(one.fate, RPC_SENT);
    assert_int_equal(one.reply.rc, CQ_E_UNAVAILABLE);
    assert_int_equal(holding, 0);
    fx_client_free(&client);
}

static void an_eager_client_comes_back_by_itself(void *arg)
{
    (void)arg;
    struct states states = {0};
    struct rpc_client_config like = {
        .limits = rpc_client_limits_default(), .eager = true, .on_state = on_state, .on_state_ctx = &states};
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    char address[64];
    memcpy(address, server->address, sizeof address);
    struct fx_client *client = fx_client_new(address, "frontend", &like);
    until(states.ups == 1);
    fx_server_free(&server);
    until(states.downs == 1);
    assert_int_equal(states.clean, 1);
    struct rpc_server_config config = {.limits = rpc_server_limits_default()};
    struct rpc_service service = {methods, METHODS, NULL};
    struct io_tls *tls = fx_tls_server("storage");
    config.loop = fx_loop;
    config.tls = tls;
    config.hello = &fx_hello;
    config.services = &service;
    config.service_count = 1;
    struct rpc_server *again = rpc_server_new(&config);
    assert_int_equal(rpc_server_listen(again, address, NULL, NULL), CQ_OK);
    until(states.ups == 2);
    struct rpc_reply_in reply;
    assert_int_equal(fx_call(client->client, ECHO, "", &reply), RPC_ANSWERED);
    fx_client_free(&client);
    rpc_server_free(&again);
    io_fiber_yield();
    io_tls_free(&tls);
}

static void freeing_the_client_ends_its_calls(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend", NULL);
    struct fx_client *never = fx_client_new("127.0.0.1:1", "frontend", NULL);
    struct one_call sent = {0}, waiting = {0};
    start_call(&sent, client->client, HOLD);
    until(holding == 1);
    start_call(&waiting, never->client, ECHO);
    io_fiber_yield();
    fx_client_free(&client);
    fx_client_free(&never);
    until(sent.done && waiting.done && holding == 0);
    assert_int_equal(sent.fate, RPC_SENT);
    assert_int_equal(sent.reply.rc, CQ_E_CANCELLED);
    assert_int_equal(waiting.fate, RPC_NOT_SENT);
    fx_server_free(&server);
}

/* ---- Overload ---- */

static void past_the_handlers_and_the_queue_requests_are_refused_unseen(void *arg)
{
    (void)arg;
    struct rpc_server_config like = {.limits = rpc_server_limits_default()};
    like.limits.fibers_max = 2;
    like.limits.waiting_max = 1;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, &like, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend", NULL);
    struct one_call held[3] = {0}, over = {0};
    for (size_t i = 0; i < 3; i++)
        start_call(&held[i], client->client, HOLD);
    until(rpc_server_running(server->server) == 3 && holding == 2);
    start_call(&over, client->client, HOLD);
    until(over.done);
    assert_int_equal(over.fate, RPC_ANSWERED);
    assert_int_equal(over.reply.rc, CQ_E_OVERLOADED);
    assert_int_equal(over.reply.flags, RPC_FLAG_NOT_RUN);
    io_event_set(&released);
    for (size_t i = 0; i < 3; i++) {
        until(held[i].done);
        assert_int_equal(held[i].reply.rc, CQ_OK);
    }
    fx_client_free(&client);
    fx_server_free(&server);
}

static void a_request_that_waited_past_its_deadline_never_runs(void *arg)
{
    (void)arg;
    struct rpc_server_config like = {.limits = rpc_server_limits_default()};
    like.limits.fibers_max = 1;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, &like, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend", NULL);
    struct one_call first = {0}, second = {.deadline_ms = 20};
    start_call(&first, client->client, HOLD);
    until(holding == 1);
    start_call(&second, client->client, HOLD);
    until(second.done);
    until(rpc_server_running(server->server) == 1);
    io_event_set(&released);
    until(first.done);
    assert_int_equal(holding, 0);
    fx_client_free(&client);
    fx_server_free(&server);
}

static void a_client_refuses_what_is_over_its_own_bounds(void *arg)
{
    (void)arg;
    struct rpc_client_config like = {.limits = rpc_client_limits_default()};
    like.limits.calls_max = 1;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend", &like);
    struct one_call one = {0}, two = {0};
    start_call(&one, client->client, HOLD);
    until(holding == 1);
    start_call(&two, client->client, HOLD);
    until(two.done);
    assert_int_equal(two.fate, RPC_NOT_SENT);
    assert_int_equal(two.reply.rc, CQ_E_OVERLOADED);
    io_event_set(&released);
    until(one.done);
    fx_client_free(&client);
    fx_server_free(&server);
}

/* ---- Drain ---- */

static void drained(void *ctx)
{
    *(bool *)ctx = true;
}

static void a_drain_lets_requests_finish_ends_streams_and_takes_nothing_new(void *arg)
{
    (void)arg;
    struct states states = {0};
    struct rpc_client_config like = {
        .limits = rpc_client_limits_default(), .on_state = on_state, .on_state_ctx = &states};
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend", &like);
    struct one_call one = {0}, late = {0};
    struct stream stream;
    bool done = false;
    start_call(&one, client->client, HOLD);
    stream_start(&stream, client->client, WATCH, "", 1000, true);
    until(holding == 1 && watched);
    rpc_server_drain(server->server, drained, &done);
    until(stream.done);
    assert_int_equal(stream.fate, RPC_ANSWERED);
    assert_int_equal(stream.rc, CQ_E_UNAVAILABLE);
    start_call(&late, client->client, HOLD);
    until(late.done);
    assert_int_equal(late.fate, RPC_NOT_SENT);
    assert_int_equal(late.reply.rc, CQ_E_UNAVAILABLE);
    assert_false(done);
    io_event_set(&released);
    until(one.done && done);
    assert_int_equal(one.fate, RPC_ANSWERED);
    assert_int_equal(one.reply.rc, CQ_OK);
    until(states.downs == 1);
    assert_int_equal(states.clean, 1);
    fx_client_free(&client);
    fx_server_free(&server);
}

static void an_idle_server_is_drained_at_once(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    static bool done;
    done = false;
    rpc_server_drain(server->server, drained, &done);
    assert_false(done);
    until(done);
    fx_server_free(&server);
}

/* ---- Peers ---- */

struct peers {
    struct rpc_peer *peer;
    size_t ups, downs, clean;
};

static void on_peer(void *ctx, struct rpc_peer *peer, bool up, bool clean)
{
    struct peers *peers = ctx;
    peers->ups += up;
    peers->downs += !up;
    peers->clean += !up && clean;
    peers->peer = up ? peer : NULL;
    if (up)
        rpc_peer_set_ctx(peer, peers);
    assert_ptr_equal(rpc_peer_ctx(peer), peers);
}

static void the_server_knows_its_peers_and_whether_they_left_on_purpose(void *arg)
{
    (void)arg;
    struct peers peers = {0};
    struct rpc_server_config like = {.limits = rpc_server_limits_default(), .on_peer = on_peer, .on_peer_ctx = &peers};
    struct rpc_client_config eager = {.limits = rpc_client_limits_default(), .eager = true};
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, &like, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend-admin", &eager);
    until(peers.ups == 1);
    assert_int_equal(rpc_peer_roles(peers.peer), RPC_ROLE_FRONTEND | RPC_ROLE_ADMIN);
    assert_string_equal(rpc_peer_hello(peers.peer)->program, "test");
    fx_client_free(&client);
    until(peers.downs == 1);
    assert_int_equal(peers.clean, 1);
    client = fx_client_new(server->address, "frontend", &eager);
    until(peers.ups == 2);
    rpc_peer_close(peers.peer);
    until(peers.downs == 2);
    assert_int_equal(peers.clean, 1);
    fx_client_free(&client);
    fx_server_free(&server);
}

#define CONVERSATIONS(X)                                                                                               \
    X(a_dead_address_is_not_sent_and_fails_fast)                                                                       \
    X(a_lost_connection_leaves_the_outcome_open)                                                                       \
    X(an_eager_client_comes_back_by_itself)                                                                            \
    X(freeing_the_client_ends_its_calls)                                                                               \
    X(past_the_handlers_and_the_queue_requests_are_refused_unseen)                                                     \
    X(a_request_that_waited_past_its_deadline_never_runs)                                                              \
    X(a_client_refuses_what_is_over_its_own_bounds)                                                                    \
    X(a_drain_lets_requests_finish_ends_streams_and_takes_nothing_new)                                                 \
    X(an_idle_server_is_drained_at_once)                                                                               \
    X(the_server_knows_its_peers_and_whether_they_left_on_purpose)

CONVERSATIONS(CONVERSATION)
RUN_CONVERSATIONS(CONVERSATIONS)
