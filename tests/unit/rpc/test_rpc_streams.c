/* Client and server over loopback TLS: streams with credit, one-way messages. */
#include "unit/rpc/rpc_methods.h"

/* ---- Streams ---- */

static void a_stream_gives_all_items_and_its_result(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend", NULL);
    struct stream stream;
    stream_start(&stream, client->client, COUNT, "2000", 1000, true);
    until(stream.done);
    assert_int_equal(stream.fate, RPC_ANSWERED);
    assert_int_equal(stream.rc, CQ_OK);
    assert_int_equal(stream.items, 2000);
    assert_int_equal(stream.bytes, 200000);
    fx_client_free(&client);
    fx_server_free(&server);
}

static void without_credit_the_server_waits(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend", NULL);
    struct stream stream;
    struct rpc_reply_in reply;
    stream_start(&stream, client->client, COUNT, "50", 1000, false);
    until(stream.items > 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fx_call(client->client, ECHO, "others go on", &reply), RPC_ANSWERED);
    size_t stuck = stream.items;
    assert_int_equal(stuck, 7); /* 164 each; the last one overdraws */
    for (int i = 0; i < 3; i++)
        assert_int_equal(fx_call(client->client, ECHO, "", &reply), RPC_ANSWERED);
    assert_int_equal(stream.items, stuck);
    while (!stream.done) {
        size_t before = stream.bytes;
        rpc_stream_consumed(stream.pending, 1000);
        until(stream.done || stream.bytes != before);
    }
    assert_int_equal(stream.items, 50);
    fx_client_free(&client);
    fx_server_free(&server);
}

static void cancelling_a_stream_ends_its_handler(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend", NULL);
    struct stream stream;
    stream_start(&stream, client->client, COUNT, "1000000", 1000, false);
    until(stream.items > 0);
    assert_true(rpc_call_cancel(&stream.pending));
    assert_null(stream.pending);
    until(rpc_server_running(server->server) == 0);
    assert_int_equal(hold_rc, CQ_E_CANCELLED);
    assert_false(stream.done);
    fx_client_free(&client);
    fx_server_free(&server);
}

static void a_watch_sends_when_it_can_and_is_told_when_it_can_again(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend", NULL);
    struct stream stream;
    stream_start(&stream, client->client, WATCH, "", 200, true);
    until(watched);
    size_t sent = 0;
    enum cq_rc rc;
    while ((rc = rpc_stream_try(watched, CQ_SLICE("notice"), NULL, 0)) == CQ_OK)
        sent++;
    assert_int_equal(rc, CQ_E_AGAIN);
    assert_int_equal(sent, 3); /* 70 each */
    until(writable_calls == 1);
    assert_int_equal(rpc_stream_try(watched, CQ_SLICE("notice"), NULL, 0), CQ_OK);
    until(stream.items == 4);
    rpc_call_cancel(&stream.pending);
    until(!watched);
    assert_int_equal(watch_gone, CQ_E_CANCELLED);
    fx_client_free(&client);
    fx_server_free(&server);
}

static void a_stream_ends_with_its_connection(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend", NULL);
    struct stream stream;
    stream_start(&stream, client->client, WATCH, "", 200, true);
    until(watched);
    fx_server_free(&server);
    until(stream.done);
    assert_int_equal(stream.fate, RPC_SENT);
    assert_int_equal(stream.rc, CQ_E_UNAVAILABLE);
    fx_client_free(&client);
}

/* ---- One-way ---- */

static void one_way_messages_keep_their_order(void *arg)
{
    (void)arg;
    struct states states = {0};
    struct rpc_client_config like = {
        .limits = rpc_client_limits_default(), .eager = true, .on_state = on_state, .on_state_ctx = &states};
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "storage", &like);
    struct rpc_call call = {.method = NOTE, .message = CQ_SLICE("x")};
    assert_int_equal(rpc_oneway(client->client, &call), CQ_E_UNAVAILABLE);
    until(states.ups == 1);
    char text[4];
    for (int i = 0; i < 1000; i++) {
        text[0] = (char)('a' + i % 26);
        call.message = cq_slice_of(text, 1);
        assert_int_equal(rpc_oneway(client->client, &call), CQ_OK);
    }
    until(notes.len == 1000);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(notes.data[i], 'a' + i % 26);
    fx_client_free(&client);
    fx_server_free(&server);
}

static void one_way_messages_stop_at_the_queue_bound(void *arg)
{
    (void)arg;
    struct states states = {0};
    struct rpc_client_config like = {
        .limits = rpc_client_limits_default(), .eager = true, .on_state = on_state, .on_state_ctx = &states};
    like.limits.queue_bytes = 1 << 20;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "storage", &like);
    static const uint8_t bytes[4096];
    struct rpc_call call = {.method = NOTE, .message = cq_slice_of(bytes, sizeof bytes)};
    until(states.ups == 1);
    enum cq_rc rc;
    size_t sent = 0;
    while ((rc = rpc_oneway(client->client, &call)) == CQ_OK)
        sent++;
    assert_int_equal(rc, CQ_E_OVERLOADED);
    assert_in_range(sent, 250, 256);
    assert_in_range(rpc_client_queued(client->client), 1 << 19, (1 << 20) + 65536);
    until(rpc_client_queued(client->client) == 0);
    assert_int_equal(rpc_oneway(client->client, &call), CQ_OK);
    fx_client_free(&client);
    fx_server_free(&server);
}

static void a_one_way_message_to_a_call_ends_the_connection(void *arg)
{
    (void)arg;
    struct states states = {0};
    struct rpc_client_config like = {
        .limits = rpc_client_limits_default(), .eager = true, .on_state = on_state, .on_state_ctx = &states};
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "storage", &like);
    struct rpc_call call = {.method = ECHO};
    until(states.ups == 1);
    assert_int_equal(rpc_oneway(client->client, &call), CQ_OK);
    until(states.downs == 1);
    assert_int_equal(states.clean, 0);
    fx_client_free(&client);
    fx_server_free(&server);
}

#define CONVERSATIONS(X)                                                                                               \
    X(a_stream_gives_all_items_and_its_result)                                                                         \
    X(without_credit_the_server_waits)                                                                                 \
    X(cancelling_a_stream_ends_its_handler)                                                                            \
    X(a_watch_sends_when_it_can_and_is_told_when_it_can_again)                                                         \
    X(a_stream_ends_with_its_connection)                                                                               \
    X(one_way_messages_keep_their_order)                                                                               \
    X(one_way_messages_stop_at_the_queue_bound)                                                                        \
    X(a_one_way_message_to_a_call_ends_the_connection)

CONVERSATIONS(CONVERSATION)
RUN_CONVERSATIONS(CONVERSATIONS)
