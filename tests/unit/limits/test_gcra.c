#include "limits/gcra.h"

#include "base/cq_rand.h"
#include "limits/rate_table.h"
#include "unit/cq_cmocka.h"

#include <stdlib.h>

#define SEC UINT64_C(1000000)

static void so_many_at_once_then_one_per_interval(void **state)
{
    (void)state;
    const struct gcra_limit ten_a_minute = {10, 60 * SEC};
    uint64_t tat = 0, now = 1000 * SEC;
    for (uint64_t i = 0; i < 10; i++) {
        struct gcra_verdict v = gcra_take(&tat, &ten_a_minute, 1, now);
        assert_true(v.allowed);
        assert_int_equal(v.remaining, 9 - i);
    }
    struct gcra_verdict v = gcra_take(&tat, &ten_a_minute, 1, now);
    assert_false(v.allowed);
    assert_int_equal(v.retry_after_us, 6 * SEC);
    assert_false(gcra_take(&tat, &ten_a_minute, 1, now + 6 * SEC - 1).allowed);
    assert_true(gcra_take(&tat, &ten_a_minute, 1, now + 6 * SEC).allowed);
    assert_false(gcra_take(&tat, &ten_a_minute, 1, now + 6 * SEC).allowed);
    assert_int_equal(gcra_peek(tat, &ten_a_minute, 1, now + 66 * SEC).remaining, 9); /* all is paid off */
}

static void verdicts_at_the_edges(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct gcra_limit limit;
        uint64_t tat, cost, now;
        bool allowed;
        uint64_t retry_after;
    } cases[] = {
        {"first ever", {1, SEC}, 0, 1, 0, true, 0},
        {"second at once", {1, SEC}, SEC, 1, 0, false, SEC},
        {"exactly paid off", {1, SEC}, SEC, 1, SEC, true, 0},
        {"one early", {1, SEC}, SEC, 1, SEC - 1, false, 1},
        {"all at once", {5, SEC}, 0, 5, 0, true, 0},
        {"one over, never", {5, SEC}, 0, 6, 0, false, UINT64_MAX},
        {"nothing", {5, SEC}, UINT64_MAX, 0, 0, true, 0},
        {"no limit", {0, SEC}, UINT64_MAX, UINT64_MAX, 0, true, 0},
        {"huge cost", {5, SEC}, 0, UINT64_MAX, 0, false, UINT64_MAX},
        {"huge count", {UINT64_MAX, SEC}, 0, 1, 0, true, 0},
        {"huge period", {1, UINT64_MAX}, 0, 1, 0, true, 0},
        {"the clock went back", {10, 10 * SEC}, UINT64_MAX, 1, 5, false, SEC},
        {"the end of time", {10, 10 * SEC}, 0, 1, UINT64_MAX, true, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t tat = cases[i].tat;
        struct gcra_verdict v = gcra_take(&tat, &cases[i].limit, cases[i].cost, cases[i].now);
        if (v.allowed != cases[i].allowed || v.retry_after_us != cases[i].retry_after)
            fail_msg("%s: allowed %d, retry after %llu", cases[i].name, v.allowed,
                     (unsigned long long)v.retry_after_us);
        assert_true(v.allowed || tat == cases[i].tat);
    }
}

static void what_happened_is_charged_but_never_more_than_a_period(void **state)
{
    (void)state;
    const struct gcra_limit limit = {10, 10 * SEC};
    uint64_t tat = 0;
    for (int i = 0; i < 1000; i++)
        gcra_charge(&tat, &limit, 1, 100 * SEC);
    assert_int_equal(tat, 110 * SEC);
    assert_int_equal(gcra_peek(tat, &limit, 1, 100 * SEC).retry_after_us, SEC);
    gcra_charge(&tat, &limit, 0, 0);
    assert_int_equal(tat, 110 * SEC);
}

/* In any window of one period from silence, at most `count` and what the time since then pays. */
static void no_sequence_gets_more_than_the_limit(void **state)
{
    (void)state;
    struct cq_prng prng = {42};
    for (int round = 0; round < 200; round++) {
        const struct gcra_limit limit = {1 + cq_prng_below(&prng, 50), 1000 + cq_prng_below(&prng, 1000000)};
        uint64_t tat = 0, now = 5000000, start = now, got = 0, interval = limit.period_us / limit.count;
        for (int i = 0; i < 500; i++) {
            now += cq_prng_below(&prng, (uint32_t)(2 * interval + 2));
            uint64_t cost = 1 + cq_prng_below(&prng, 3);
            struct gcra_verdict v = gcra_take(&tat, &limit, cost, now);
            if (v.allowed)
                got += cost;
            else if (v.retry_after_us != UINT64_MAX) /* the promise is exact */
                assert_true(gcra_peek(tat, &limit, cost, now + v.retry_after_us).allowed &&
                            !gcra_peek(tat, &limit, cost, now + v.retry_after_us - 1).allowed);
            assert_true(got <= limit.count + (now - start) / interval);
        }
    }
}

/* ---- The table ---- */

static struct limit_key key_of(unsigned n)
{
    return limit_key_of(1, cq_slice_of(&n, sizeof n));
}

static void keys_and_kinds_do_not_meet(void **state)
{
    (void)state;
    const struct gcra_limit one = {1, SEC};
    struct rate_table *table = rate_table_new(10);
    struct limit_key a = limit_key_of(1, CQ_SLICE("a")), b = limit_key_of(1, CQ_SLICE("b")),
                     other_kind = limit_key_of(2, CQ_SLICE("a")), none = limit_key_of(1, CQ_SLICE_NONE);
    assert_true(rate_table_take(table, &a, &one, 1, 0).allowed);
    assert_false(rate_table_take(table, &a, &one, 1, 0).allowed);
    assert_true(rate_table_take(table, &b, &one, 1, 0).allowed);
    assert_true(rate_table_take(table, &other_kind, &one, 1, 0).allowed);
    assert_true(rate_table_peek(table, &none, &one, 1, 0).allowed);
    assert_int_equal(rate_table_count(table), 3); /* a look makes no entry */
    rate_table_free(&table);
    rate_table_free(&table);
}

static void a_full_table_forgets_what_was_used_least_recently(void **state)
{
    (void)state;
    const struct gcra_limit one = {1, 1000 * SEC};
    struct rate_table *table = rate_table_new(3);
    for (unsigned i = 0; i < 3; i++) {
        struct limit_key key = key_of(i);
        assert_true(rate_table_take(table, &key, &one, 1, i).allowed);
    }
    struct limit_key first = key_of(0), second = key_of(1), fourth = key_of(3);
    assert_false(rate_table_take(table, &first, &one, 1, 5).allowed); /* asked again: kept */
    assert_true(rate_table_take(table, &fourth, &one, 1, 6).allowed);
    assert_int_equal(rate_table_count(table), 3);
    assert_int_equal(rate_table_forgotten(table), 1);
    assert_false(rate_table_peek(table, &first, &one, 1, 7).allowed);
    assert_true(rate_table_peek(table, &second, &one, 1, 7).allowed); /* forgotten */
    rate_table_free(&table);
}

static void keys_that_paid_off_are_swept(void **state)
{
    (void)state;
    const struct gcra_limit one = {1, SEC};
    struct rate_table *table = rate_table_new(1000);
    for (unsigned i = 0; i < 500; i++) {
        struct limit_key key = key_of(i);
        rate_table_charge(table, &key, &one, 1, 0);
    }
    assert_int_equal(rate_table_count(table), 500);
    for (unsigned i = 1000; i < 1500; i++) {
        struct limit_key key = key_of(i);
        rate_table_charge(table, &key, &one, 1, 2 * SEC);
    }
    assert_int_equal(rate_table_count(table), 500);
    assert_int_equal(rate_table_forgotten(table), 0);
    rate_table_free(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(so_many_at_once_then_one_per_interval),
        cmocka_unit_test(verdicts_at_the_edges),
        cmocka_unit_test(what_happened_is_charged_but_never_more_than_a_period),
        cmocka_unit_test(no_sequence_gets_more_than_the_limit),
        cmocka_unit_test(keys_and_kinds_do_not_meet),
        cmocka_unit_test(a_full_table_forgets_what_was_used_least_recently),
        cmocka_unit_test(keys_that_paid_off_are_swept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
