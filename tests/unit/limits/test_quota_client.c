/* The client without a service: what a worker decides by itself. With one: tests/unit/quota-service. */
#include "limits/quota_client.h"

#include "base/cq_metrics.h"
#include "unit/cq_cmocka.h"

#include <stdlib.h>

static struct io_loop *loop;
static struct quota_limits limits;
static struct cq_pool *pool;
static struct quota_client *client;
static struct cq_err err;

static void make_client(const char *settings, unsigned shares)
{
    struct cq_config_part part = quota_limits_config_part(&limits);
    const struct quota_client_config config = {.loop = loop, .limits = &limits, .shares = shares};
    if (cq_config_parse(&part, 1, "f", cq_slice_cstr(settings), pool, &err) != CQ_OK)
        fail_msg("%s", err.text);
    assert_int_equal(quota_client_new(&config, &client, &err), CQ_OK);
}

static int setup(void **state)
{
    (void)state;
    cq_metrics_register(&quota_client_metrics);
    pool = cq_pool_new(4096);
    loop = io_loop_new(&(struct io_loop_options){.manual_clock = true});
    io_loop_clock_advance(loop, 1000000000);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    quota_client_free(&client);
    io_loop_free(&loop);
    cq_pool_free(&pool);
    return 0;
}

static struct io_addr peer(const char *text)
{
    struct io_addr addr;
    assert_int_equal(io_addr_parse(cq_slice_cstr(text), 0, &addr, NULL), CQ_OK);
    return addr;
}

static enum cq_rc allowed(const char *login, const char *address)
{
    struct io_addr from = peer(address);
    return quota_auth_allowed(client, cq_slice_cstr(login), &from, NULL, &err);
}

static void fail_times(int times, const char *login, const char *address)
{
    struct io_addr from = peer(address);
    for (int i = 0; i < times; i++)
        quota_auth_failed(client, cq_slice_cstr(login), &from);
}

static void failures_are_counted_by_name_by_address_and_by_both(void **state)
{
    (void)state;
    make_client("limits: {auth_pair: {count: 3, period: 60s}, auth_address: {count: 5, period: 60s}, "
                "auth_account: {count: 7, period: 60s}}",
                1);
    uint64_t wait = 0;
    fail_times(3, "Alice@a.test", "192.0.2.1");
    assert_int_equal(allowed("alice@a.test", "192.0.2.1"), CQ_E_RATE); /* the pair */
    assert_non_null(strstr(err.text, "auth_pair"));
    assert_int_equal(allowed("alice@a.test", "192.0.2.2"), CQ_OK); /* the same person elsewhere */
    assert_int_equal(allowed("bob@a.test", "192.0.2.1"), CQ_OK);
    fail_times(2, "bob@a.test", "192.0.2.1");
    struct io_addr from = peer("192.0.2.1");
    assert_int_equal(quota_auth_allowed(client, CQ_SLICE("carol@a.test"), &from, &wait, &err),
                     CQ_E_RATE); /* the address */
    assert_true(wait >= 12 && wait <= 13);
    fail_times(2, "alice@a.test", "192.0.2.2");
    fail_times(2, "alice@a.test", "192.0.2.3");
    assert_int_equal(allowed("ALICE@a.test", "192.0.2.9"), CQ_E_RATE); /* the account, from everywhere */
    io_loop_clock_advance(loop, 61000000);
    io_loop_turn(loop, false);
    assert_int_equal(allowed("alice@a.test", "192.0.2.1"), CQ_OK);
}

static void a_look_costs_nothing(void **state)
{
    (void)state;
    make_client("limits: {auth_pair: {count: 1, period: 60s}}", 1);
    for (int i = 0; i < 100; i++)
        assert_int_equal(allowed("alice@a.test", "192.0.2.1"), CQ_OK);
}

static void addresses_are_taken_by_network(void **state)
{
    (void)state;
    make_client("limits: {auth_address: {count: 2, period: 60s}, exempt: [\"10.0.0.0/8\"]}", 1);
    fail_times(2, "a", "2001:db8:1:2::1");
    assert_int_equal(allowed("x", "2001:db8:1:2:ffff::9"), CQ_E_RATE); /* the same /64 */
    assert_int_equal(allowed("x", "2001:db8:1:3::1"), CQ_OK);
    fail_times(2, "b", "192.0.2.1");
    assert_int_equal(allowed("x", "192.0.2.2"), CQ_OK);
    fail_times(50, "c", "10.1.2.3"); /* a load balancer's address is nobody's */
    assert_int_equal(allowed("x", "10.1.2.3"), CQ_OK);
}

static void without_the_service_a_worker_applies_its_share(void **state)
{
    (void)state;
    make_client("limits: {sessions_account: 8, sessions_address: 1}", 4);
    struct io_addr from = peer("192.0.2.1");
    assert_int_equal(quota_session_begin(client, 7, &err), CQ_OK);
    assert_int_equal(quota_session_begin(client, 7, &err), CQ_OK);
    assert_int_equal(quota_session_begin(client, 7, &err), CQ_E_LIMIT);
    assert_int_equal(quota_session_begin(client, 8, &err), CQ_OK);
    quota_session_end(client, 7);
    assert_int_equal(quota_session_begin(client, 7, &err), CQ_OK);
    assert_int_equal(quota_connection_begin(client, &from, &err), CQ_OK); /* at least one */
    assert_int_equal(quota_connection_begin(client, &from, &err), CQ_E_LIMIT);
    quota_connection_end(client, &from);
    assert_int_equal(quota_connection_begin(client, &from, &err), CQ_OK);
    quota_session_end(client, 99); /* never begun: nothing */
}

static void new_connections_have_a_rate(void **state)
{
    (void)state;
    make_client("limits: {connect: {count: 3, period: 60s}, sessions_address: 0, sessions_account: 0}", 1);
    struct io_addr from = peer("192.0.2.1"), other = peer("192.0.2.2"), local = peer("127.0.0.1");
    for (int i = 0; i < 3; i++)
        assert_int_equal(quota_connection_begin(client, &from, &err), CQ_OK);
    assert_int_equal(quota_connection_begin(client, &from, &err), CQ_E_RATE);
    assert_int_equal(quota_connection_begin(client, &other, &err), CQ_OK);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(quota_connection_begin(client, &local, &err), CQ_OK); /* exempt by default */
        assert_int_equal(quota_session_begin(client, 5, &err), CQ_OK);         /* 0: no limit */
    }
}

static void long_names_are_cut_and_do_not_meet(void **state)
{
    (void)state;
    static char one[100000], two[100000];
    struct io_addr from = peer("192.0.2.1");
    make_client("limits: {auth_account: {count: 1, period: 60s}, auth_pair: {count: 0}}", 1);
    memset(one, 'a', sizeof one);
    memset(two, 'a', sizeof two);
    two[5] = 'b';
    quota_auth_failed(client, cq_slice_of(one, sizeof one), &from);
    assert_int_equal(quota_auth_allowed(client, cq_slice_of(one, sizeof one), &from, NULL, &err), CQ_E_RATE);
    assert_int_equal(quota_auth_allowed(client, cq_slice_of(two, sizeof two), &from, NULL, &err), CQ_OK);
    assert_int_equal(quota_auth_allowed(client, CQ_SLICE_NONE, &from, NULL, &err), CQ_OK);
}

static void a_wrong_exempt_network_is_a_wrong_setting(void **state)
{
    (void)state;
    struct cq_config_part part = quota_limits_config_part(&limits);
    const struct quota_client_config config = {.loop = loop, .limits = &limits};
    assert_int_equal(cq_config_parse(&part, 1, "f", CQ_SLICE("limits.exempt: [localhost]"), pool, &err), CQ_OK);
    assert_int_equal(quota_client_new(&config, &client, &err), CQ_E_CONFIG);
    assert_non_null(strstr(err.text, "localhost"));
    assert_null(client);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(failures_are_counted_by_name_by_address_and_by_both),
        TEST(a_look_costs_nothing),
        TEST(addresses_are_taken_by_network),
        TEST(without_the_service_a_worker_applies_its_share),
        TEST(new_connections_have_a_rate),
        TEST(long_names_are_cut_and_do_not_meet),
        TEST(a_wrong_exempt_network_is_a_wrong_setting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
