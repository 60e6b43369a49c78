/* Two front-end workers and the quota-service over loopback TLS. */
#include "quota-service/quota_service.h"

#include "base/cq_metrics.h"
#include "limits/quota_client.h"
#include "proto/quota.pb-c.h"
#include "unit/rpc/rpc_fixture.h"

#include <stdlib.h>

#define LEASE_US 15000000

static struct quota_limits limits;
static struct quota_service service;
static const struct quota_settings settings = {.rate_keys_max = 1000, .count_keys_max = 1000, .lease_us = LEASE_US};
static struct fx_server *server;
static struct fx_client *links[2];
static struct quota_client *workers[2];

static void open_worker(int i, const char *role)
{
    struct rpc_client_config like = {.limits = rpc_client_limits_default(), .peer_roles = RPC_ROLE_QUOTA};
    struct cq_err err = {0};
    like.limits.connections = 1;
    links[i] = fx_client_new(server->address, role, &like);
    const struct quota_client_config config = {.loop = fx_loop,
                                               .rpc = links[i]->client,
                                               .limits = &limits,
                                               .shares = 2,
                                               .renew_us = 20000,
                                               .timeout_us = 5000000};
    assert_int_equal(quota_client_new(&config, &workers[i], &err), CQ_OK);
}

static void open_service(const struct quota_settings *like)
{
    static const struct redis_settings no_redis;
    service = (struct quota_service){.state = quota_state_new(like, &limits), .lease_us = LEASE_US};
    const struct quota_rates_config rates = {.loop = fx_loop,
                                             .cluster = "c1",
                                             .redis = &no_redis,
                                             .limits = &limits,
                                             .memory = service.state,
                                             .quota = like};
    assert_int_equal(quota_rates_new(&rates, &service.rates, NULL), CQ_OK);
}

static void close_service(void)
{
    quota_rates_free(&service.rates);
    quota_service_fini(&service);
    quota_state_free(&service.state);
}

static void open_all(void)
{
    static const char text[] = "limits: {sessions_account: 3, sessions_address: 2, auth_pair: {count: 2, period: 1h}, "
                               "connect: {count: 4, period: 1h}}";
    struct cq_config_part part = quota_limits_config_part(&limits);
    struct cq_err err = {0};
    assert_int_equal(cq_config_parse(&part, 1, "f", cq_slice_cstr(text), fx_reply_pool, &err), CQ_OK);
    open_service(&settings);
    struct rpc_service methods = quota_rpc_service(&service);
    server = fx_server_new(methods.methods, methods.count, methods.ctx, NULL, "quota");
    open_worker(0, "frontend");
    open_worker(1, "frontend");
}

static void close_all(void)
{
    for (int i = 0; i < 2; i++) {
        quota_client_free(&workers[i]);
        fx_client_free(&links[i]);
    }
    fx_server_free(&server);
    close_service();
}

static struct io_addr peer(const char *text)
{
    struct io_addr addr;
    assert_int_equal(io_addr_parse(cq_slice_cstr(text), 0, &addr, NULL), CQ_OK);
    return addr;
}

static enum cq_rc begin(int worker, uint64_t account)
{
    return quota_session_begin(workers[worker], account, NULL);
}

/* Lets the loop turn until the condition holds. */
#define WAIT_UNTIL(condition)                                                                                          \
    for (int turns_ = 0; !(condition); turns_++) {                                                                     \
        assert_true(turns_ < 1000);                                                                                    \
        io_fiber_sleep(5);                                                                                             \
    }

static int64_t decided_locally(enum quota_count kind)
{
    return cq_metric_value(&quota_client_metrics, 0, QUOTA_RATE_END - 1 + kind - 1);
}

static void one_limit(void *arg)
{
    (void)arg;
    open_all();
    assert_int_equal(begin(0, 7), CQ_OK);
    assert_int_equal(begin(0, 7), CQ_OK);
    assert_int_equal(begin(1, 7), CQ_OK);
    assert_int_equal(begin(0, 7), CQ_E_LIMIT);
    assert_int_equal(begin(1, 7), CQ_E_LIMIT);
    assert_int_equal(begin(1, 8), CQ_OK);
    quota_session_end(workers[0], 7);
    WAIT_UNTIL(begin(1, 7) == CQ_OK); /* the end comes by another connection */
    assert_int_equal(begin(0, 7), CQ_E_LIMIT);
    close_all();
}

static void workers_share_one_limit(void **state)
{
    (void)state;
    int64_t before = decided_locally(QUOTA_SESSIONS_ACCOUNT);
    fx_run(one_limit, NULL);
    assert_int_equal(decided_locally(QUOTA_SESSIONS_ACCOUNT), before);
}

static void failures_elsewhere(void *arg)
{
    (void)arg;
    struct io_addr from = peer("192.0.2.1");
    open_all();
    assert_int_equal(quota_auth_allowed(workers[1], CQ_SLICE("alice@a.test"), &from, NULL, NULL), CQ_OK);
    quota_auth_failed(workers[0], CQ_SLICE("alice@a.test"), &from);
    quota_auth_failed(workers[0], CQ_SLICE("Alice@a.test"), &from);
    assert_int_equal(quota_auth_allowed(workers[0], CQ_SLICE("alice@a.test"), &from, NULL, NULL), CQ_E_RATE);
    WAIT_UNTIL(quota_auth_allowed(workers[1], CQ_SLICE("alice@a.test"), &from, NULL, NULL) == CQ_E_RATE);
    assert_int_equal(quota_auth_allowed(workers[1], CQ_SLICE("bob@a.test"), &from, NULL, NULL), CQ_OK);
    close_all();
}

static void failures_at_one_worker_count_at_the_other(void **state)
{
    (void)state;
    fx_run(failures_elsewhere, NULL);
}

static void connections(void *arg)
{
    (void)arg;
    struct io_addr from = peer("192.0.2.1");
    open_all();
    assert_int_equal(quota_connection_begin(workers[0], &from, NULL), CQ_OK);
    assert_int_equal(quota_connection_begin(workers[1], &from, NULL), CQ_OK);
    assert_int_equal(quota_connection_begin(workers[1], &from, NULL), CQ_E_LIMIT);
    quota_connection_end(workers[0], &from);
    WAIT_UNTIL(quota_connection_begin(workers[1], &from, NULL) != CQ_E_LIMIT);
    assert_int_equal(quota_connection_begin(workers[0], &from, NULL), CQ_E_RATE); /* the fifth, or a later one */
    close_all();
}

static void connections_of_an_address_have_a_count_and_a_rate(void **state)
{
    (void)state;
    fx_run(connections, NULL);
}

struct racing {
    uint64_t account;
    int left, ok;
};

static void race(void *arg)
{
    struct racing *racing = arg;
    for (int i = 0; i < 5; i++)
        if (begin(i % 2, racing->account) == CQ_OK)
            racing->ok++;
    racing->left--;
}

static void racers(void *arg)
{
    (void)arg;
    struct racing racing = {.account = 7, .left = 8};
    open_all();
    for (int i = 0; i < 8; i++)
        assert_int_equal(io_fiber_spawn(fx_loop, race, &racing, NULL), CQ_OK);
    WAIT_UNTIL(racing.left == 0);
    assert_int_equal(racing.ok, 3);
    for (int i = 0; i < 3; i++) /* whose they are does not matter to the sum */
        quota_session_end(workers[0], 7), quota_session_end(workers[1], 7);
    WAIT_UNTIL(begin(0, 7) == CQ_OK && begin(0, 7) == CQ_OK && begin(1, 7) == CQ_OK);
    assert_int_equal(begin(1, 7), CQ_E_LIMIT);
    close_all();
}

static void fibers_that_ask_at_once_never_get_more_than_the_limit(void **state)
{
    (void)state;
    fx_run(racers, NULL);
}

static bool service_knows(uint64_t account, uint32_t count)
{
    const struct quota_sender probe = {.holder = {{0xff}}, .number = 1, .replace = true};
    uint8_t bytes[8] = {0};
    bytes[7] = (uint8_t)account;
    const struct quota_count_item item = {QUOTA_SESSIONS_ACCOUNT, cq_slice_of(bytes, 8), 3 - count + 1};
    const struct quota_count_item fits = {QUOTA_SESSIONS_ACCOUNT, cq_slice_of(bytes, 8), 3 - count};
    bool exact = quota_state_begin(service.state, &probe, &fits, 1, 0).allowed &&
                 !quota_state_begin(service.state, &probe, &item, 1, 0).allowed;
    quota_state_set(service.state, &probe, NULL, 0, 0);
    return exact;
}

static void restart(void *arg)
{
    (void)arg;
    open_all();
    assert_int_equal(begin(0, 7), CQ_OK);
    assert_int_equal(begin(1, 7), CQ_OK);
    assert_true(service_knows(7, 2));
    close_service(); /* the service's memory is gone, its connections are not */
    open_service(&settings);
    WAIT_UNTIL(service_knows(7, 2));
    assert_int_equal(begin(0, 7), CQ_OK);
    assert_int_equal(begin(1, 7), CQ_E_LIMIT);
    close_all();
}

static void counts_come_back_after_the_service_lost_them(void **state)
{
    (void)state;
    fx_run(restart, NULL);
}

static void many_keys(void *arg)
{
    (void)arg;
    open_all();
    for (uint64_t account = 0; account < 1000; account++) /* two full messages and an empty rest */
        assert_int_equal(begin(0, account), CQ_OK);
    close_service();
    open_service(&(struct quota_settings){.rate_keys_max = 1000, .count_keys_max = 2000, .lease_us = LEASE_US});
    WAIT_UNTIL(service_knows(200, 1));
    assert_true(service_knows(3, 1));
    close_all();
}

static void many_counts_come_back_in_several_messages(void **state)
{
    (void)state;
    fx_run(many_keys, NULL);
}

static void away(void *arg)
{
    (void)arg;
    open_all();
    assert_int_equal(begin(0, 7), CQ_OK);
    fx_server_free(&server);
    int64_t before = decided_locally(QUOTA_SESSIONS_ACCOUNT);
    assert_int_equal(begin(0, 7), CQ_E_LIMIT); /* half of three is one */
    assert_int_equal(begin(0, 8), CQ_OK);
    assert_int_equal(decided_locally(QUOTA_SESSIONS_ACCOUNT), before + 2);
    quota_session_end(workers[0], 7);
    assert_int_equal(begin(0, 7), CQ_OK);
    for (int i = 0; i < 2; i++) {
        quota_client_free(&workers[i]);
        fx_client_free(&links[i]);
    }
    close_service();
}

static void a_service_that_is_away_stops_nobody(void **state)
{
    (void)state;
    fx_run(away, NULL);
}

static void leaving(void *arg)
{
    (void)arg;
    open_all();
    assert_int_equal(begin(0, 7), CQ_OK);
    quota_client_leave(workers[0]);
    fx_client_free(&links[0]);
    int64_t before = decided_locally(QUOTA_SESSIONS_ACCOUNT);
    assert_int_equal(begin(0, 8), CQ_OK);
    assert_int_equal(decided_locally(QUOTA_SESSIONS_ACCOUNT), before + 1);
    quota_session_end(workers[0], 7);
    io_fiber_sleep(60); /* in which three renewals would have come */
    quota_client_free(&workers[0]);
    quota_client_free(&workers[1]);
    fx_client_free(&links[1]);
    fx_server_free(&server);
    close_service();
}

static void who_has_left_its_link_asks_and_renews_nothing_there(void **state)
{
    (void)state;
    fx_run(leaving, NULL);
}

/* ---- Access and bad messages ---- */

static void wrong_roles(void *arg)
{
    (void)arg;
    static const char *const roles[] = {"router", "storage", "quota", "admin", "operator"};
    static const uint16_t methods[] = {CHASQUI__QUOTA__METHOD__RATE_CHECK, CHASQUI__QUOTA__METHOD__COUNT_BEGIN,
                                       CHASQUI__QUOTA__METHOD__RENEW};
    open_all();
    for (size_t r = 0; r < sizeof roles / sizeof *roles; r++) {
        const struct rpc_client_config like = {.limits = rpc_client_limits_default(), .peer_roles = RPC_ROLE_QUOTA};
        struct fx_client *client = fx_client_new(server->address, roles[r], &like);
        for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
            struct rpc_reply_in reply;
            assert_int_equal(fx_call(client->client, methods[m], "", &reply), RPC_ANSWERED);
            assert_int_equal(reply.rc, CQ_E_DENIED);
        }
        fx_client_free(&client);
    }
    close_all();
}

static void only_front_ends_are_answered(void **state)
{
    (void)state;
    fx_run(wrong_roles, NULL);
}

static void malformed(void *arg)
{
    (void)arg;
    static const struct {
        uint16_t method;
        const char *message;
    } cases[] = {
        {CHASQUI__QUOTA__METHOD__RATE_CHECK, ""},                      /* no items */
        {CHASQUI__QUOTA__METHOD__RATE_CHECK, "\xff\xff\xff"},          /* no protobuf */
        {CHASQUI__QUOTA__METHOD__RATE_CHECK, "\x0a\x7f\x08\x01"},      /* ends early */
        {CHASQUI__QUOTA__METHOD__COUNT_BEGIN, ""},                     /* no holder */
        {CHASQUI__QUOTA__METHOD__COUNT_BEGIN, "\x0a\x03\x61\x62\x63"}, /* a short one */
        {CHASQUI__QUOTA__METHOD__RENEW, ""},
        {CHASQUI__QUOTA__METHOD__RENEW, "\x0a\x11"
                                        "12345678901234567"}, /* a long one */
    };
    open_all();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rpc_reply_in reply;
        assert_int_equal(fx_call(links[0]->client, cases[i].method, cases[i].message, &reply), RPC_ANSWERED);
        assert_int_equal(reply.rc, CQ_E_PROTO);
    }
    struct rpc_reply_in reply;
    struct cq_buf items;
    cq_buf_init(&items, 1000);
    for (int i = 0; i < 17; i++) /* one over the limit */
        cq_buf_add(&items, "\x0a\x02\x08\x01", 4);
    cq_buf_byte(&items, 0);
    assert_int_equal(fx_call(links[0]->client, CHASQUI__QUOTA__METHOD__RATE_CHECK, (const char *)items.data, &reply),
                     RPC_ANSWERED);
    assert_int_equal(reply.rc, CQ_E_PROTO);
    items.data[16 * 4] = '\0'; /* sixteen are taken */
    assert_int_equal(fx_call(links[0]->client, CHASQUI__QUOTA__METHOD__RATE_CHECK, (const char *)items.data, &reply),
                     RPC_ANSWERED);
    assert_int_equal(reply.rc, CQ_OK);
    cq_buf_fini(&items);
    assert_int_equal(begin(0, 7), CQ_OK); /* the connection goes on */
    close_all();
}

static void malformed_messages_are_refused(void **state)
{
    (void)state;
    fx_run(malformed, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(workers_share_one_limit),
        TEST(failures_at_one_worker_count_at_the_other),
        TEST(connections_of_an_address_have_a_count_and_a_rate),
        TEST(fibers_that_ask_at_once_never_get_more_than_the_limit),
        TEST(counts_come_back_after_the_service_lost_them),
        TEST(many_counts_come_back_in_several_messages),
        TEST(a_service_that_is_away_stops_nobody),
        TEST(who_has_left_its_link_asks_and_renews_nothing_there),
        TEST(only_front_ends_are_answered),
        TEST(malformed_messages_are_refused),
    };
    cq_metrics_register(&quota_client_metrics);
    return cmocka_run_group_tests(tests, fx_group_setup, fx_group_teardown);
}
