/* Client and server over loopback TLS: calls, what came of them, limits, deadlines, cancellation. */
#include "unit/rpc/rpc_methods.h"

#include "base/cq_mem.h"

#include <stdlib.h>

/* ---- Calls ---- */

static void answers_come_back_with_message_and_raw(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend", NULL);
    const struct cq_slice raw[] = {CQ_SLICE("two "), CQ_SLICE("parts")};
    static const uint16_t both[] = {ECHO, INLINE_ECHO};
    for (size_t i = 0; i < 2; i++) {
        struct rpc_call call = {.method = both[i],
                                .message = CQ_SLICE("message"),
                                .raw = raw,
                                .raw_count = 2,
                                .deadline_us = io_loop_deadline(fx_loop, 5000)};
        struct rpc_reply_in reply;
        assert_int_equal(rpc_call(client->client, &call, fx_reply_pool, &reply, NULL), RPC_ANSWERED);
        assert_int_equal(reply.rc, CQ_OK);
        assert_slice(reply.message, "message");
        assert_slice(reply.raw, "two parts");
    }
    assert_true(rpc_client_up(client->client));
    assert_int_equal(rpc_client_inflight(client->client), 0);
    fx_client_free(&client);
    fx_server_free(&server);
}

static void errors_carry_epoch_and_hint(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend", NULL);
    struct rpc_reply_in reply;
    assert_int_equal(fx_call(client->client, WRONG_OWNER, "", &reply), RPC_ANSWERED);
    assert_int_equal(reply.rc, CQ_E_WRONG_OWNER);
    assert_int_equal(reply.epoch, 77);
    assert_int_equal(reply.aux, 5);
    assert_int_equal(reply.flags, 0);
    fx_client_free(&client);
    fx_server_free(&server);
}

static void large_bodies_go_both_ways(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend", NULL);
    size_t size = 8 << 20;
    uint8_t *body = cq_malloc(size);
    for (size_t i = 0; i < size; i++)
        body[i] = (uint8_t)(i * 7 + i / 251);
    const struct cq_slice raw[] = {cq_slice_of(body, size)};
    struct rpc_call call = {
        .method = ECHO, .raw = raw, .raw_count = 1, .deadline_us = io_loop_deadline(fx_loop, 20000)};
    struct rpc_reply_in reply;
    assert_int_equal(rpc_call(client->client, &call, fx_reply_pool, &reply, NULL), RPC_ANSWERED);
    assert_int_equal(reply.rc, CQ_OK);
    assert_true(cq_slice_eq(reply.raw, raw[0]));
    free(body);
    fx_client_free(&client);
    fx_server_free(&server);
}

static void sizes_are_limited_by_row_and_by_frame(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend", NULL);
    uint8_t *bytes = cq_calloc(1, RPC_PAYLOAD_MAX + 1);
    static const struct {
        uint16_t method;
        size_t message, raw;
        enum rpc_fate fate;
        enum cq_rc rc;
    } cases[] = {
        {ECHO, 4096, 0, RPC_ANSWERED, CQ_OK},     {ECHO, 4097, 0, RPC_ANSWERED, CQ_E_TOO_BIG},
        {ECHO, 0, 9 << 20, RPC_ANSWERED, CQ_OK},  {ECHO, 0, (9 << 20) + 1, RPC_ANSWERED, CQ_E_TOO_BIG},
        {HOLD, 0, 1, RPC_ANSWERED, CQ_E_TOO_BIG}, {ECHO, 0, RPC_PAYLOAD_MAX + 1, RPC_NOT_SENT, CQ_E_TOO_BIG},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct cq_slice raw[] = {cq_slice_of(bytes, cases[i].raw)};
        struct rpc_call call = {.method = cases[i].method,
                                .message = cq_slice_of(bytes, cases[i].message),
                                .raw = raw,
                                .raw_count = 1,
                                .deadline_us = io_loop_deadline(fx_loop, 20000)};
        struct rpc_reply_in reply;
        assert_int_equal(rpc_call(client->client, &call, fx_reply_pool, &reply, NULL), cases[i].fate);
        assert_int_equal(reply.rc, cases[i].rc);
        if (cases[i].fate == RPC_ANSWERED && cases[i].rc != CQ_OK)
            assert_int_equal(reply.flags, RPC_FLAG_NOT_RUN);
    }
    struct rpc_reply_in reply;
    assert_int_equal(fx_call(client->client, BIG_ANSWER, "1", &reply), RPC_ANSWERED);
    assert_int_equal(reply.rc, CQ_OK);
    assert_int_equal(reply.raw.len, RPC_PAYLOAD_MAX);
    assert_int_equal(fx_call(client->client, BIG_ANSWER, "2", &reply), RPC_ANSWERED);
    assert_int_equal(reply.rc, CQ_E_TOO_BIG);
    free(bytes);
    fx_client_free(&client);
    fx_server_free(&server);
}

static void unknown_methods_and_wrong_kinds_are_refused_without_running(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend", NULL);
    static const struct {
        uint16_t method;
        enum cq_rc rc;
    } cases[] = {
        {0, CQ_E_UNSUPPORTED},
        {500, CQ_E_UNSUPPORTED},
        {RPC_METHOD_MAX + 1, CQ_E_UNSUPPORTED},
        {65535, CQ_E_UNSUPPORTED},
        {NOTE, CQ_E_UNSUPPORTED} /* one-way, called */,
        {WATCH, CQ_E_INVALID} /* a stream, called without credit */,
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rpc_reply_in reply;
        assert_int_equal(fx_call(client->client, cases[i].method, "", &reply), RPC_ANSWERED);
        assert_int_equal(reply.rc, cases[i].rc);
        assert_int_equal(reply.flags, RPC_FLAG_NOT_RUN);
    }
    fx_client_free(&client);
    fx_server_free(&server);
}

static void a_handler_that_says_nothing_is_an_internal_error(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend", NULL);
    struct rpc_reply_in reply;
    assert_int_equal(fx_call(client->client, SILENT, "", &reply), RPC_ANSWERED);
    assert_int_equal(reply.rc, CQ_E_INTERNAL);
    assert_int_equal(rpc_server_running(server->server), 0);
    fx_client_free(&client);
    fx_server_free(&server);
}

static void calls_overlap_and_are_answered_in_any_order(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend", NULL);
    struct one_call held[20] = {0};
    struct rpc_reply_in reply;
    for (size_t i = 0; i < 20; i++)
        start_call(&held[i], client->client, HOLD);
    until(holding == 20);
    assert_int_equal(rpc_client_inflight(client->client), 20);
    assert_int_equal(fx_call(client->client, ECHO, "before", &reply), RPC_ANSWERED);
    assert_int_equal(rpc_server_running(server->server), 20);
    io_event_set(&released);
    for (size_t i = 0; i < 20; i++) {
        until(held[i].done);
        assert_int_equal(held[i].fate, RPC_ANSWERED);
        assert_int_equal(held[i].reply.rc, CQ_OK);
    }
    fx_client_free(&client);
    fx_server_free(&server);
}

/* ---- Deadlines and cancellation ---- */

static void at_the_deadline_the_caller_knows_it_was_sent_and_the_handler_is_cancelled(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend", NULL);
    struct rpc_reply_in reply;
    struct one_call one = {.deadline_ms = 30};
    assert_int_equal(fx_call(client->client, ECHO, "", &reply), RPC_ANSWERED);
    start_call(&one, client->client, HOLD);
    until(one.done);
    assert_int_equal(one.fate, RPC_SENT);
    assert_int_equal(one.reply.rc, CQ_E_TIMEOUT);
    until(holding == 0);
    assert_int_equal(hold_rc, CQ_E_CANCELLED);
    until(rpc_server_running(server->server) == 0);
    fx_client_free(&client);
    fx_server_free(&server);
}

static void a_deadline_that_has_passed_sends_nothing(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend", NULL);
    struct rpc_reply_in reply;
    const struct rpc_call call = {.method = ECHO, .deadline_us = io_loop_now_us(fx_loop)};
    assert_int_equal(rpc_call(client->client, &call, fx_reply_pool, &reply, NULL), RPC_NOT_SENT);
    assert_int_equal(reply.rc, CQ_E_TIMEOUT);
    fx_client_free(&client);
    fx_server_free(&server);
}

static void a_cancelled_fiber_cancels_the_handler(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend", NULL);
    struct one_call one = {0};
    start_call(&one, client->client, HOLD);
    until(holding == 1);
    io_fiber_cancel(one.fiber);
    until(one.done && holding == 0);
    assert_int_equal(one.fate, RPC_SENT);
    assert_int_equal(one.reply.rc, CQ_E_CANCELLED);
    assert_int_equal(hold_rc, CQ_E_CANCELLED);
    assert_int_equal(rpc_client_inflight(client->client), 0);
    struct rpc_reply_in reply;
    assert_int_equal(fx_call(client->client, ECHO, "still fine", &reply), RPC_ANSWERED);
    fx_client_free(&client);
    fx_server_free(&server);
}

static void a_kept_request_hears_that_its_caller_has_gone(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend", NULL);
    struct one_call one = {0};
    start_call(&one, client->client, LATER);
    until(later);
    io_fiber_cancel(one.fiber);
    until(hold_rc == CQ_E_CANCELLED);
    assert_true(rpc_request_gone(later));
    assert_int_equal(rpc_server_running(server->server), 1);
    rpc_reply_rc(later, CQ_OK);
    assert_int_equal(rpc_server_running(server->server), 0);
    fx_client_free(&client);
    fx_server_free(&server);
}

#define CONVERSATIONS(X)                                                                                               \
    X(answers_come_back_with_message_and_raw)                                                                          \
    X(errors_carry_epoch_and_hint)                                                                                     \
    X(large_bodies_go_both_ways)                                                                                       \
    X(sizes_are_limited_by_row_and_by_frame)                                                                           \
    X(unknown_methods_and_wrong_kinds_are_refused_without_running)                                                     \
    X(a_handler_that_says_nothing_is_an_internal_error)                                                                \
    X(calls_overlap_and_are_answered_in_any_order)                                                                     \
    X(at_the_deadline_the_caller_knows_it_was_sent_and_the_handler_is_cancelled)                                       \
    X(a_deadline_that_has_passed_sends_nothing)                                                                        \
    X(a_cancelled_fiber_cancels_the_handler)                                                                           \
    X(a_kept_request_hears_that_its_caller_has_gone)

CONVERSATIONS(CONVERSATION)
RUN_CONVERSATIONS(CONVERSATIONS)
