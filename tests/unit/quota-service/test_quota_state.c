#include "quota-service/quota_rates.h"

#include "base/cq_metrics.h"
#include "unit/cq_cmocka.h"

#include <stdlib.h>

#define SEC UINT64_C(1000000)

static struct quota_limits limits;
static struct quota_state *state_;
static struct cq_pool *pool;

static int setup(void **state)
{
    (void)state;
    static const char settings[] =
        "limits: {auth_address: {count: 2, period: 10s}, auth_account: {count: 3, period: 10s}, "
        "auth_pair: {count: 0}, sessions_account: 3, sessions_address: 2}";
    const struct quota_settings quota = {.rate_keys_max = 1000, .count_keys_max = 1000, .lease_us = 15 * SEC};
    struct cq_config_part part = quota_limits_config_part(&limits);
    struct cq_err err = {0};
    cq_metrics_register(&quota_metrics);
    pool = cq_pool_new(4096);
    assert_int_equal(cq_config_parse(&part, 1, "f", cq_slice_cstr(settings), pool, &err), CQ_OK);
    state_ = quota_state_new(&quota, &limits);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    quota_state_free(&state_);
    cq_pool_free(&pool);
    return 0;
}

static const struct quota_rate_item both[] = {{QUOTA_AUTH_ADDRESS, {(const uint8_t *)"ip", 2}, 1},
                                              {QUOTA_AUTH_ACCOUNT, {(const uint8_t *)"alice", 5}, 1}};

static void all_rates_of_a_question_are_charged_or_none(void **state)
{
    (void)state;
    uint64_t now = 100 * SEC;
    assert_true(quota_state_check(state_, both, 2, false, now).allowed);
    assert_true(quota_state_check(state_, both, 2, false, now).allowed);
    struct quota_answer answer = quota_state_check(state_, both, 2, false, now);
    assert_false(answer.allowed);
    assert_int_equal(answer.refused, 0);
    assert_int_equal(answer.retry_after_us, 5 * SEC);
    for (int i = 0; i < 10; i++) /* refused: the account pays nothing for it */
        quota_state_check(state_, both, 2, false, now);
    assert_true(quota_state_check(state_, both + 1, 1, false, now).allowed);
    assert_false(quota_state_check(state_, both + 1, 1, false, now).allowed);
}

static void a_look_charges_nothing_and_a_charge_asks_nobody(void **state)
{
    (void)state;
    uint64_t now = 100 * SEC;
    for (int i = 0; i < 10; i++)
        assert_true(quota_state_check(state_, both, 2, true, now).allowed);
    quota_state_charge(state_, both, 2, now);
    quota_state_charge(state_, both, 2, now);
    quota_state_charge(state_, both, 2, now);
    assert_false(quota_state_check(state_, both, 2, true, now).allowed);
    assert_true(quota_state_check(state_, both, 2, true, now + 10 * SEC).allowed);
}

static void what_a_newer_front_end_asks_is_not_limited(void **state)
{
    (void)state;
    const struct quota_rate_item items[] = {
        {0, CQ_SLICE("x"), 1}, {99, CQ_SLICE("x"), UINT32_MAX}, {UINT32_MAX, CQ_SLICE("x"), 1}};
    const struct quota_count_item counts[] = {{0, CQ_SLICE("x"), 5}, {99, CQ_SLICE("x"), UINT32_MAX}};
    const struct quota_sender sender = {.holder = {{1}}, .number = 1};
    for (int i = 0; i < 100; i++)
        assert_true(quota_state_check(state_, items, 3, false, 0).allowed);
    assert_true(quota_state_begin(state_, &sender, counts, 2, 0).allowed);
}

static void counts_of_front_ends_add_up_and_die_with_their_lease(void **state)
{
    (void)state;
    const struct quota_count_item two = {QUOTA_SESSIONS_ACCOUNT, CQ_SLICE("alice"), 2};
    const struct quota_count_item one = {QUOTA_SESSIONS_ACCOUNT, CQ_SLICE("alice"), 1};
    struct quota_sender fe1 = {.holder = {{1}}, .number = 1}, fe2 = {.holder = {{2}}, .number = 1};
    assert_true(quota_state_begin(state_, &fe1, &two, 1, 0).allowed);
    assert_true(quota_state_begin(state_, &fe2, &one, 1, 5 * SEC).allowed);
    fe2.number = 2;
    assert_false(quota_state_begin(state_, &fe2, &two, 1, 5 * SEC).allowed);
    assert_true(quota_state_renew(state_, &fe2.holder, 2, 10 * SEC));
    assert_int_equal(quota_state_tick(state_, 15 * SEC), 1); /* fe1 is dead */
    fe2.number = 3;
    assert_true(quota_state_begin(state_, &fe2, &two, 1, 15 * SEC).allowed);
    assert_false(quota_state_renew(state_, &fe1.holder, 1, 16 * SEC)); /* it was not dead: it sends all again */
    fe1.number = 2;
    fe1.replace = true;
    quota_state_set(state_, &fe1, &two, 1, 16 * SEC); /* they are open: told, not asked */
    assert_true(quota_state_renew(state_, &fe1.holder, 2, 16 * SEC));
    fe2.number = 4;
    const struct quota_count_item three = {QUOTA_SESSIONS_ACCOUNT, CQ_SLICE("alice"), 3};
    assert_false(quota_state_begin(state_, &fe2, &three, 1, 16 * SEC).allowed);
}

static void all_counts_of_a_question_are_set_or_none(void **state)
{
    (void)state;
    const struct quota_sender sender = {.holder = {{1}}, .number = 1};
    const struct quota_count_item fits[] = {{QUOTA_SESSIONS_ACCOUNT, CQ_SLICE("a"), 3}};
    const struct quota_count_item over[] = {{QUOTA_SESSIONS_ACCOUNT, CQ_SLICE("a"), 1},
                                            {QUOTA_SESSIONS_ADDRESS, CQ_SLICE("ip"), 3}};
    assert_int_equal(quota_state_begin(state_, &sender, over, 2, 0).refused, 1);
    assert_true(quota_state_begin(state_, &sender, fits, 1, 0).allowed);
    quota_state_tick(state_, 0);
    char name[] = "ip"; /* rates and counts of the same kind number and key are different keys */
    const struct quota_rate_item rate = {QUOTA_SESSIONS_ADDRESS, cq_slice_cstr(name), 1};
    assert_true(quota_state_check(state_, &rate, 1, false, 0).allowed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void on_answer(struct quota_question *question, const struct quota_answer *answer)
{
    (void)question, (void)answer;
}

static void a_question_is_counted_once_however_many_items_it_has(void **state)
{
    (void)state;
    static const struct redis_settings no_redis;
    const struct quota_settings quota = {.instances = 1};
    const struct quota_rates_config config = {
        .cluster = "c", .redis = &no_redis, .limits = &limits, .memory = state_, .quota = &quota};
    struct quota_rates *rates;
    struct quota_question question = {
        .op = QUOTA_RATE_TAKE, .items = {both[0], both[1]}, .count = 2, .done = on_answer};
    int64_t allowed = cq_metric_value(&quota_metrics, 0, 0), refused = cq_metric_value(&quota_metrics, 0, 1);
    int64_t limited = cq_metric_value(&quota_metrics, 1, QUOTA_AUTH_ADDRESS - 1);
    assert_int_equal(quota_rates_new(&config, &rates, NULL), CQ_OK);
    for (int i = 0; i < 3; i++) /* limits.auth_address is 2 */
        quota_rates_ask(rates, &question);
    assert_int_equal(cq_metric_value(&quota_metrics, 0, 0) - allowed, 2);
    assert_int_equal(cq_metric_value(&quota_metrics, 0, 1) - refused, 1);
    assert_int_equal(cq_metric_value(&quota_metrics, 1, QUOTA_AUTH_ADDRESS - 1) - limited, 1);
    quota_rates_free(&rates);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_rates_of_a_question_are_charged_or_none), TEST(a_look_charges_nothing_and_a_charge_asks_nobody),
        TEST(what_a_newer_front_end_asks_is_not_limited),  TEST(counts_of_front_ends_add_up_and_die_with_their_lease),
        TEST(all_counts_of_a_question_are_set_or_none),    TEST(a_question_is_counted_once_however_many_items_it_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
