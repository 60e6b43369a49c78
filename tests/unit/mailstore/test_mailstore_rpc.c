/* The transport between a fiber and two made-up routers. */
#include "mailstore/mailstore_rpc.h"

#include "unit/rpc/rpc_fixture.h"

#include "base/cq_mem.h"
#include "proto/mail.pb-c.h"
#include "proto/system.pb-c.h"

#include <stdio.h>

#define M(name) CHASQUI__MAIL__METHOD__##name
#define ROUTERS 2

enum mode { ANSWER, REFUSE, DIE, SILENT, STALE, UNAVAILABLE, UNKNOWN };

struct router {
    unsigned number;
    struct fx_server *server;
    enum mode mode;
    size_t requests, resent;
    struct rpc_frame last;
    struct rpc_request *held, *watch;
    size_t watches;
};
static struct router routers[ROUTERS];
static struct mailstore_transport *transport;
static struct io_tls *tls;
static const char *addresses[ROUTERS];

static void held_gone(void *ctx, enum cq_rc why)
{
    struct router *router = ctx;
    struct rpc_request *request = router->held;
    router->held = NULL;
    rpc_reply_rc(request, why);
}

static void on_mail(struct rpc_request *request, void *ctx)
{
    struct router *router = ctx;
    const struct cq_slice raw[] = {rpc_request_raw(request)};
    router->requests++;
    router->last = *rpc_request_frame(request);
    router->resent += (router->last.flags & RPC_FLAG_RESENT) != 0;
    switch (router->mode) {
    case ANSWER:
        rpc_reply(request, &(struct rpc_answer){.message = rpc_request_message(request), .raw = raw, .raw_count = 1});
        break;
    case REFUSE:
        rpc_reply(request, &(struct rpc_answer){.rc = CQ_E_OVERLOADED, .flags = RPC_FLAG_NOT_RUN});
        break;
    case DIE:
        rpc_peer_close(rpc_request_peer(request));
        rpc_reply_rc(request, CQ_OK);
        break;
    case SILENT:
        router->held = request;
        rpc_request_on_gone(request, held_gone, router);
        break;
    case STALE:
        rpc_reply(request, &(struct rpc_answer){.rc = CQ_E_STALE, .message = CQ_SLICE("time")});
        break;
    case UNAVAILABLE:
        rpc_reply(request, &(struct rpc_answer){.rc = CQ_E_UNAVAILABLE, .flags = RPC_FLAG_NOT_RUN});
        break;
    case UNKNOWN:
        rpc_reply_rc(request, CQ_E_UNKNOWN_OUTCOME);
        break;
    }
}

static void watch_gone(void *ctx, enum cq_rc why)
{
    struct router *router = ctx;
    struct rpc_request *request = router->watch;
    router->watch = NULL;
    rpc_reply_rc(request, why);
}

static void on_watch(struct rpc_request *request, void *ctx)
{
    struct router *router = ctx;
    router->watches++;
    router->watch = request;
    router->last = *rpc_request_frame(request);
    rpc_request_on_gone(request, watch_gone, router);
    rpc_stream_try(request, CQ_SLICE_NONE, NULL, 0);
}

static void on_topology(struct rpc_request *request, void *ctx)
{
    Chasqui__Mail__Answer answer = CHASQUI__MAIL__ANSWER__INIT;
    const struct topology *t = NULL;
    struct cq_buf buf;
    uint8_t message[256];
    (void)ctx;
    cq_buf_init(&buf, 4096);
    assert_int_equal(topology_new(&(struct topology){.cluster = "c1", .epoch = 42}, &t, NULL), CQ_OK);
    topology_encode(t, &buf);
    answer.body = (ProtobufCBinaryData){buf.len, buf.data};
    size_t len = chasqui__mail__answer__pack(&answer, message);
    rpc_reply(request, &(struct rpc_answer){.message = cq_slice_of(message, len)});
    topology_unref(&t);
    cq_buf_fini(&buf);
}

static const struct rpc_method methods[] = {
    {M(GET_ACCOUNT), "GET_ACCOUNT", RPC_ROLE_FRONTEND, RPC_METHOD_READ | RPC_METHOD_INLINE, 4096, 4096, on_mail},
    {M(APPEND), "APPEND", RPC_ROLE_FRONTEND, RPC_METHOD_COMMAND | RPC_METHOD_INLINE, 4096, 1 << 20, on_mail},
    {M(SET_LIMITS), "SET_LIMITS", RPC_ROLE_ADMIN, RPC_METHOD_COMMAND | RPC_METHOD_INLINE, 4096, 0, on_mail},
    {M(WATCH), "WATCH", RPC_ROLE_FRONTEND, RPC_METHOD_READ | RPC_METHOD_INLINE | RPC_METHOD_STREAM, 4096, 0, on_watch},
    {CHASQUI__SYSTEM__METHOD__GET_TOPOLOGY, "GET_TOPOLOGY", RPC_ROLE_FRONTEND, RPC_METHOD_READ | RPC_METHOD_INLINE,
     4096, 0, on_topology},
};

static struct fx_server *router_server(struct router *router)
{
    return fx_server_new(methods, sizeof methods / sizeof *methods, router, NULL, "router");
}

static int setup(void **state)
{
    struct cq_err err = {0};
    fx_setup(state);
    for (unsigned i = 0; i < ROUTERS; i++) {
        routers[i] = (struct router){.number = i};
        routers[i].server = router_server(&routers[i]);
        addresses[i] = routers[i].server->address;
    }
    tls = fx_tls_client("frontend");
    const struct mailstore_rpc_config config = {.loop = fx_loop,
                                                .resolver = fx_pool,
                                                .tls = tls,
                                                .hello = &fx_hello,
                                                .routers = {addresses, ROUTERS},
                                                .limits = rpc_client_limits_default()};
    if (mailstore_rpc_new(&config, &transport, &err) != CQ_OK)
        fail_msg("%s", err.text);
    return 0;
}

static int teardown(void **state)
{
    if (fx_broken())
        return fx_teardown(state);
    mailstore_rpc_free(&transport);
    for (unsigned i = 0; i < ROUTERS; i++)
        if (routers[i].server)
            fx_server_free(&routers[i].server);
    io_tls_free(&tls);
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

static struct mailstore_answer answer;

static enum cq_rc call(uint32_t method, uint64_t ms)
{
    struct cq_err err = {0};
    const struct cq_slice raw[] = {CQ_SLICE("one "), CQ_SLICE("two")};
    const struct mailstore_call what = {.account = 77,
                                        .method = method,
                                        .command = method == M(APPEND) || method == M(SET_LIMITS),
                                        .message = CQ_SLICE("message"),
                                        .raw = raw,
                                        .raw_count = method == M(SET_LIMITS) ? 0 : 2,
                                        .deadline_us = io_loop_deadline(fx_loop, ms)};
    enum cq_rc rc = transport->call(transport, &what, fx_reply_pool, &answer, &err);
    assert_int_equal(rc == CQ_E_UNAVAILABLE || rc == CQ_E_UNKNOWN_OUTCOME ? err.text[0] != 0 : true, true);
    return rc;
}

static void set_modes(enum mode first, enum mode second)
{
    routers[0].mode = first;
    routers[1].mode = second;
}

static size_t requests(void)
{
    return routers[0].requests + routers[1].requests;
}

/* ---- Calls ---- */

static void calls_go_round_the_routers(void *arg)
{
    (void)arg;
    until(mailstore_rpc_up(transport));
    for (int i = 0; i < 10; i++) {
        assert_int_equal(call(M(APPEND), 5000), CQ_OK);
        assert_slice(answer.message, "message");
        assert_slice(answer.raw, "one two");
    }
    assert_int_equal(requests(), 10);
    assert_in_range(routers[0].requests, 4, 6);
    assert_int_equal(routers[0].last.flags, RPC_FLAG_COMMAND);
    assert_int_equal(routers[0].last.account, 77);
    assert_int_equal(call(M(GET_ACCOUNT), 5000), CQ_OK);
}

static void a_refusing_router_is_passed_over(void *arg)
{
    (void)arg;
    set_modes(REFUSE, ANSWER);
    for (int i = 0; i < 6; i++)
        assert_int_equal(call(M(APPEND), 5000), CQ_OK);
    assert_int_equal(routers[1].requests, 6);
    assert_int_equal(routers[1].resent, 0);
}

static void a_dying_router_leaves_the_other_to_answer_the_same_command(void *arg)
{
    (void)arg;
    set_modes(DIE, ANSWER);
    for (int i = 0; i < 6; i++)
        assert_int_equal(call(M(APPEND), 5000), CQ_OK);
    assert_int_equal(routers[1].requests, 6);
    assert_int_equal(routers[1].resent, routers[0].requests);
    assert_true(routers[0].requests > 0);
}

static void a_router_that_is_gone_costs_nothing(void *arg)
{
    (void)arg;
    until(mailstore_rpc_up(transport));
    fx_server_free(&routers[0].server);
    for (int i = 0; i < 20; i++)
        assert_int_equal(call(M(APPEND), 5000), CQ_OK);
    assert_int_equal(routers[1].resent, 0);
}

static void without_any_router_calls_are_unavailable_at_their_deadline(void *arg)
{
    (void)arg;
    fx_server_free(&routers[0].server);
    fx_server_free(&routers[1].server);
    uint64_t start = io_loop_now_us(fx_loop);
    assert_int_equal(call(M(APPEND), 200), CQ_E_UNAVAILABLE);
    assert_in_range(io_loop_now_us(fx_loop) - start, 190000, 2000000);
    assert_false(mailstore_rpc_up(transport));
}

static void a_lost_answer_is_an_unknown_outcome_for_commands_alone(void *arg)
{
    (void)arg;
    set_modes(DIE, DIE);
    assert_int_equal(call(M(APPEND), 200), CQ_E_UNKNOWN_OUTCOME);
    assert_int_equal(call(M(GET_ACCOUNT), 200), CQ_E_UNAVAILABLE);
    set_modes(SILENT, SILENT);
    assert_int_equal(call(M(APPEND), 200), CQ_E_UNKNOWN_OUTCOME);
    until(!routers[0].held && !routers[1].held);
    assert_int_equal(call(M(GET_ACCOUNT), 200), CQ_E_UNAVAILABLE);
}

static void a_silent_router_does_not_take_all_the_time(void *arg)
{
    (void)arg;
    until(mailstore_rpc_up(transport));
    for (int i = 0; i < 2; i++) {
        set_modes(i ? ANSWER : SILENT, i ? SILENT : ANSWER);
        assert_int_equal(call(M(APPEND), 1500), CQ_OK);
    }
}

static void unavailable_is_asked_again_until_the_deadline(void *arg)
{
    (void)arg;
    set_modes(UNAVAILABLE, UNAVAILABLE);
    until(mailstore_rpc_up(transport));
    assert_int_equal(call(M(APPEND), 500), CQ_E_UNAVAILABLE);
    assert_in_range(requests(), 3, 40);
    set_modes(UNKNOWN, UNKNOWN);
    assert_int_equal(call(M(APPEND), 300), CQ_E_UNKNOWN_OUTCOME);
    assert_int_equal(call(M(GET_ACCOUNT), 300), CQ_E_UNAVAILABLE);
}

static void stale_is_the_last_word_only_when_nothing_can_have_happened(void *arg)
{
    (void)arg;
    set_modes(STALE, STALE);
    assert_int_equal(call(M(APPEND), 5000), CQ_E_STALE);
    assert_slice(answer.message, "time");
    until(mailstore_rpc_up(transport));
    size_t unknown = 0, before = routers[0].requests;
    set_modes(DIE, STALE);
    for (int i = 0; i < 4; i++) {
        enum cq_rc rc = call(M(APPEND), 5000);
        assert_true(rc == CQ_E_STALE || rc == CQ_E_UNKNOWN_OUTCOME);
        unknown += rc == CQ_E_UNKNOWN_OUTCOME;
    }
    assert_int_equal(unknown, routers[0].requests - before);
    assert_true(unknown > 0);
}

static void what_is_not_allowed_is_not_tried_again(void *arg)
{
    (void)arg;
    assert_int_equal(call(M(SET_LIMITS), 5000), CQ_E_DENIED);
    assert_int_equal(requests(), 0);
    static uint8_t big[RPC_PAYLOAD_MAX];
    const struct cq_slice raw[] = {cq_slice_of(big, sizeof big)};
    const struct mailstore_call what = {.method = M(APPEND),
                                        .command = true,
                                        .message = CQ_SLICE("m"),
                                        .raw = raw,
                                        .raw_count = 1,
                                        .deadline_us = io_loop_deadline(fx_loop, 1000)};
    assert_int_equal(transport->call(transport, &what, fx_reply_pool, &answer, NULL), CQ_E_TOO_BIG);
}

struct background {
    enum cq_rc rc;
    bool done;
};

static void background_call(void *arg)
{
    struct background *background = arg;
    background->rc = call(M(APPEND), 60000);
    background->done = true;
}

static void a_cancelled_fiber_ends_its_call(void *arg)
{
    (void)arg;
    struct background background = {0};
    struct io_fiber_ref fiber;
    set_modes(SILENT, SILENT);
    assert_int_equal(io_fiber_spawn(fx_loop, background_call, &background, &fiber), CQ_OK);
    until(requests() == 1);
    io_fiber_cancel(fiber);
    until(background.done);
    assert_int_equal(background.rc, CQ_E_CANCELLED);
    until(!routers[0].held && !routers[1].held);
}

static void freeing_the_transport_ends_calls_and_watches(void *arg)
{
    (void)arg;
    struct background background = {0};
    set_modes(SILENT, SILENT);
    assert_int_equal(io_fiber_spawn(fx_loop, background_call, &background, NULL), CQ_OK);
    until(requests() == 1);
    transport->watch(transport, 1, NULL, NULL);
    mailstore_rpc_free(&transport);
    until(background.done);
    assert_int_equal(background.rc, CQ_E_CANCELLED);
}

/* ---- Topology ---- */

static void the_topology_comes_from_a_router(void *arg)
{
    (void)arg;
    const struct topology *t = NULL;
    assert_int_equal(mailstore_rpc_topology(transport, &t, NULL), CQ_OK);
    assert_int_equal(t->epoch, 42);
    topology_unref(&t);
}

/* ---- Watches ---- */

struct seen {
    size_t notices, gaps;
    struct mailstore_watch *end; /* at the next notice */
};

static void changed(void *arg, struct cq_slice notice)
{
    struct seen *seen = arg;
    seen->notices += notice.len > 0;
    seen->gaps += notice.len == 0;
    if (seen->end)
        transport->unwatch(transport, seen->end);
    seen->end = NULL;
}

static struct router *watched(void)
{
    return routers[0].watch ? &routers[0] : routers[1].watch ? &routers[1] : NULL;
}

static void a_watch_is_opened_again_elsewhere_with_a_gap(void *arg)
{
    (void)arg;
    struct seen seen = {0};
    struct mailstore_watch *watch = transport->watch(transport, 4711, changed, &seen);
    until(seen.gaps == 1);
    struct router *router = watched();
    assert_int_equal(router->last.account, 4711);
    assert_int_equal(rpc_stream_try(router->watch, CQ_SLICE("notice"), NULL, 0), CQ_OK);
    until(seen.notices == 1);
    rpc_peer_close(rpc_request_peer(router->watch)); /* the connection */
    until(seen.gaps == 2);
    router = watched();
    struct rpc_request *request = router->watch; /* the stream alone: its leader has changed */
    router->watch = NULL;
    rpc_reply_rc(request, CQ_E_NOT_LEADER);
    until(seen.gaps == 3);
    fx_server_free(&watched()->server); /* the router */
    until(seen.gaps == 4);
    transport->unwatch(transport, watch);
    until(!watched());
    assert_int_equal(seen.notices, 1);
}

static void a_watch_may_end_in_its_own_callback(void *arg)
{
    (void)arg;
    struct seen seen = {0};
    seen.end = transport->watch(transport, 4711, changed, &seen);
    until(seen.gaps == 1);
    until(!watched());
}

static void a_watch_waits_for_a_router(void *arg)
{
    (void)arg;
    struct seen seen = {0};
    fx_server_free(&routers[0].server);
    fx_server_free(&routers[1].server);
    struct mailstore_watch *watch = transport->watch(transport, 1, changed, &seen);
    io_fiber_sleep(100);
    assert_int_equal(seen.gaps, 0);
    transport->unwatch(transport, watch);
}

/* ---- Settings ---- */

static void a_transport_needs_a_router(void **state)
{
    (void)state;
    struct mailstore_transport *none = NULL;
    struct cq_err err = {0};
    assert_int_equal(mailstore_rpc_new(&(struct mailstore_rpc_config){.loop = fx_loop}, &none, &err), CQ_E_CONFIG);
    assert_null(none);
    mailstore_rpc_free(&none);
}

#define CONVERSATION(fn)                                                                                               \
    static void test_##fn(void **state)                                                                                \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        fx_run(fn, NULL);                                                                                              \
    }
#define CONVERSATIONS(X)                                                                                               \
    X(calls_go_round_the_routers)                                                                                      \
    X(a_refusing_router_is_passed_over)                                                                                \
    X(a_dying_router_leaves_the_other_to_answer_the_same_command)                                                      \
    X(a_router_that_is_gone_costs_nothing)                                                                             \
    X(without_any_router_calls_are_unavailable_at_their_deadline)                                                      \
    X(a_lost_answer_is_an_unknown_outcome_for_commands_alone)                                                          \
    X(a_silent_router_does_not_take_all_the_time)                                                                      \
    X(unavailable_is_asked_again_until_the_deadline)                                                                   \
    X(stale_is_the_last_word_only_when_nothing_can_have_happened)                                                      \
    X(what_is_not_allowed_is_not_tried_again)                                                                          \
    X(a_cancelled_fiber_ends_its_call)                                                                                 \
    X(freeing_the_transport_ends_calls_and_watches)                                                                    \
    X(the_topology_comes_from_a_router)                                                                                \
    X(a_watch_is_opened_again_elsewhere_with_a_gap)                                                                    \
    X(a_watch_may_end_in_its_own_callback)                                                                             \
    X(a_watch_waits_for_a_router)

CONVERSATIONS(CONVERSATION)

#define ROW(fn) {#fn, test_##fn, setup, teardown, NULL},
int main(void)
{
    const struct CMUnitTest tests[] = {
        CONVERSATIONS(ROW){"a_transport_needs_a_router", a_transport_needs_a_router, fx_setup, fx_teardown, NULL}};
    return cmocka_run_group_tests(tests, fx_group_setup, fx_group_teardown);
}
