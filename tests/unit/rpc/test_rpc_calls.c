/* Client and server over loopback TLS: calls, fates, deadlines, cancellation, overload, streams, one-way messages,
 * drain. */
#include "unit/rpc/rpc_fixture.h"

#include "base/cq_mem.h"
#include "io/io_sync.h"

#include <stdlib.h>

enum { ECHO = 1, HOLD, SILENT, COUNT, NOTE, WATCH, INLINE_ECHO, WRONG_OWNER, BIG_ANSWER, LATER };

/* What the handlers share with the tests. */
static struct io_event released; /* HOLD answers when it is set */
static size_t holding;           /* HOLD handlers that wait */
static enum cq_rc hold_rc;       /* what the last HOLD's wait returned */
static struct cq_buf notes;      /* what NOTE has heard */
static struct rpc_request *watched;
static enum cq_rc watch_gone;
static size_t writable_calls;
static struct rpc_request *later;

static void on_echo(struct rpc_request *request, void *ctx)
{
    (void)ctx;
    const struct cq_slice raw[] = {rpc_request_raw(request)};
    rpc_reply(request, &(struct rpc_answer){.message = rpc_request_message(request), .raw = raw, .raw_count = 1});
}

static void on_hold(struct rpc_request *request, void *ctx)
{
    (void)ctx;
    holding++;
    hold_rc = io_event_wait(&released, IO_NO_DEADLINE);
    holding--;
    rpc_reply_rc(request, hold_rc);
}

static void on_silent(struct rpc_request *request, void *ctx)
{
    (void)request;
    (void)ctx;
}

static void on_note(struct rpc_request *request, void *ctx)
{
    (void)ctx;
    cq_buf_slice_add(&notes, rpc_request_message(request));
    rpc_reply_rc(request, CQ_OK);
}

static void watch_went(void *ctx, enum cq_rc why)
{
    (void)ctx;
    struct rpc_request *request = watched;
    watch_gone = why;
    watched = NULL;
    rpc_reply_rc(request, why);
}

static void watch_writable(void *ctx)
{
    (void)ctx;
    writable_calls++;
}

static void on_watch(struct rpc_request *request, void *ctx)
{
    (void)ctx;
    watched = request;
    rpc_request_on_gone(request, watch_went, NULL);
    rpc_request_on_writable(request, watch_writable, NULL);
}

/* Sends as many items as its message says, each of 100 bytes. */
static void on_count(struct rpc_request *request, void *ctx)
{
    (void)ctx;
    uint64_t n = 0;
    uint8_t item[100] = {0};
    cq_slice_u64(rpc_request_message(request), 1000000, &n);
    const struct cq_slice raw[] = {cq_slice_of(item, sizeof item)};
    enum cq_rc rc = CQ_OK;
    for (uint64_t i = 0; i < n && rc == CQ_OK; i++)
        rc = rpc_stream_send(request, CQ_SLICE_NONE, raw, 1, NULL);
    hold_rc = rc;
    rpc_reply_rc(request, rc);
}

static void on_wrong_owner(struct rpc_request *request, void *ctx)
{
    (void)ctx;
    rpc_reply(request, &(struct rpc_answer){.rc = CQ_E_WRONG_OWNER, .epoch = 77, .aux = 5});
}

static void on_big_answer(struct rpc_request *request, void *ctx)
{
    (void)ctx;
    static uint8_t big[RPC_PAYLOAD_MAX];
    const struct cq_slice raw[] = {cq_slice_of(big, sizeof big), CQ_SLICE("x")};
    uint64_t parts = 0;
    cq_slice_u64(rpc_request_message(request), 2, &parts);
    rpc_reply(request, &(struct rpc_answer){.raw = raw, .raw_count = (size_t)parts});
}

static void later_gone(void *ctx, enum cq_rc why)
{
    (void)ctx;
    hold_rc = why;
}

static void on_later(struct rpc_request *request, void *ctx)
{
    (void)ctx;
    later = request;
    rpc_request_on_gone(request, later_gone, NULL);
}

static const struct rpc_method methods[] = {
    {ECHO, "ECHO", RPC_ROLE_ALL, RPC_METHOD_READ, 4096, 9 << 20, on_echo},
    {HOLD, "HOLD", RPC_ROLE_ALL, RPC_METHOD_COMMAND, 4096, 0, on_hold},
    {SILENT, "SILENT", RPC_ROLE_ALL, RPC_METHOD_COMMAND, 4096, 0, on_silent},
    {COUNT, "COUNT", RPC_ROLE_ALL, RPC_METHOD_READ | RPC_METHOD_STREAM, 4096, 0, on_count},
    {NOTE, "NOTE", RPC_ROLE_ALL, RPC_METHOD_ONEWAY | RPC_METHOD_INLINE, 4096, 0, on_note},
    {WATCH, "WATCH", RPC_ROLE_ALL, RPC_METHOD_READ | RPC_METHOD_STREAM | RPC_METHOD_INLINE, 4096, 0, on_watch},
    {INLINE_ECHO, "INLINE_ECHO", RPC_ROLE_ALL, RPC_METHOD_READ | RPC_METHOD_INLINE, 4096, 4096, on_echo},
    {WRONG_OWNER, "WRONG_OWNER", RPC_ROLE_ALL, RPC_METHOD_READ, 4096, 0, on_wrong_owner},
    {BIG_ANSWER, "BIG_ANSWER", RPC_ROLE_ALL, RPC_METHOD_READ, 4096, 0, on_big_answer},
    {LATER, "LATER", RPC_ROLE_ALL, RPC_METHOD_READ | RPC_METHOD_INLINE, 4096, 0, on_later},
};
#define METHODS (sizeof methods / sizeof *methods)

static int setup(void **state)
{
    released = (struct io_event){0};
    holding = 0;
    hold_rc = CQ_OK;
    cq_buf_init(&notes, 1 << 20);
    watched = NULL;
    later = NULL;
    watch_gone = CQ_OK;
    writable_calls = 0;
    return fx_setup(state);
}

static int teardown(void **state)
{
    cq_buf_fini(&notes);
    return fx_teardown(state);
}

/* Turns until the condition holds; a test that waits for what never comes fails by its time limit. */
#define until(condition)                                                                                               \
    do {                                                                                                               \
        for (int turns_ = 0; !(condition); turns_++) {                                                                 \
            assert_true(turns_ < 200000);                                                                              \
            io_fiber_yield();                                                                                          \
        }                                                                                                              \
    } while (0)

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

struct one_call {
    struct rpc_client *client;
    uint16_t method;
    uint64_t deadline_ms;
    enum rpc_fate fate;
    struct rpc_reply_in reply;
    bool done;
    struct io_fiber_ref fiber;
};

static void one_call_fiber(void *arg)
{
    struct one_call *one = arg;
    const struct rpc_call call = {.method = one->method,
                                  .deadline_us = io_loop_deadline(fx_loop, one->deadline_ms ? one->deadline_ms : 5000)};
    one->fate = rpc_call(one->client, &call, fx_reply_pool, &one->reply, NULL);
    one->done = true;
}

static void start_call(struct one_call *one, struct rpc_client *client, uint16_t method)
{
    *one = (struct one_call){.client = client, .method = method, .deadline_ms = one->deadline_ms};
    assert_int_equal(io_fiber_spawn(fx_loop, one_call_fiber, one, &one->fiber), CQ_OK);
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

struct states {
    size_t ups, downs, clean;
};

static void on_state(void *ctx, struct rpc_client *client, bool up, bool clean, const struct rpc_hello *peer)
{
    struct states *states = ctx;
    (void)client;
    assert_string_equal(peer->cluster, "c1");
    states->ups += up;
    states->downs += !up;
    states->clean += !up && clean;
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

/* ---- Streams ---- */

struct stream {
    struct rpc_pending *pending;
    size_t items, bytes;
    bool done;
    enum rpc_fate fate;
    enum cq_rc rc;
};

static void stream_data(void *ctx, const struct rpc_frame *frame, struct rpc_payload *payload)
{
    struct stream *stream = ctx;
    (void)payload;
    stream->items++;
    stream->bytes += frame->payload_len;
}

static void stream_done(void *ctx, enum rpc_fate fate, const struct rpc_reply_in *reply)
{
    struct stream *stream = ctx;
    stream->done = true;
    stream->fate = fate;
    stream->rc = reply->rc;
    stream->pending = NULL;
}

static void stream_start(struct stream *stream, struct rpc_client *client, uint16_t method, const char *message,
                         uint32_t window, bool auto_credit)
{
    const struct rpc_call call = {.method = method, .message = cq_slice_cstr(message), .deadline_us = IO_NO_DEADLINE};
    const struct rpc_stream_config config = {
        .window = window, .auto_credit = auto_credit, .data = stream_data, .done = stream_done, .ctx = stream};
    *stream = (struct stream){0};
    stream->pending = rpc_stream_start(client, &call, &config);
}

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

#define CONVERSATION(fn)                                                                                               \
    static void test_##fn(void **state)                                                                                \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        fx_run(fn, NULL);                                                                                              \
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
    X(a_kept_request_hears_that_its_caller_has_gone)                                                                   \
    X(a_dead_address_is_not_sent_and_fails_fast)                                                                       \
    X(a_lost_connection_leaves_the_outcome_open)                                                                       \
    X(an_eager_client_comes_back_by_itself)                                                                            \
    X(freeing_the_client_ends_its_calls)                                                                               \
    X(past_the_handlers_and_the_queue_requests_are_refused_unseen)                                                     \
    X(a_request_that_waited_past_its_deadline_never_runs)                                                              \
    X(a_client_refuses_what_is_over_its_own_bounds)                                                                    \
    X(a_stream_gives_all_items_and_its_result)                                                                         \
    X(without_credit_the_server_waits)                                                                                 \
    X(cancelling_a_stream_ends_its_handler)                                                                            \
    X(a_watch_sends_when_it_can_and_is_told_when_it_can_again)                                                         \
    X(a_stream_ends_with_its_connection)                                                                               \
    X(one_way_messages_keep_their_order)                                                                               \
    X(one_way_messages_stop_at_the_queue_bound)                                                                        \
    X(a_one_way_message_to_a_call_ends_the_connection)                                                                 \
    X(a_drain_lets_requests_finish_ends_streams_and_takes_nothing_new)                                                 \
    X(an_idle_server_is_drained_at_once)                                                                               \
    X(the_server_knows_its_peers_and_whether_they_left_on_purpose)

CONVERSATIONS(CONVERSATION)

#define ROW(fn) {#fn, test_##fn, setup, teardown, NULL},
int main(void)
{
    const struct CMUnitTest tests[] = {CONVERSATIONS(ROW)};
    return cmocka_run_group_tests(tests, fx_group_setup, fx_group_teardown);
}
