#include "limits/lease_table.h"

#include "base/cq_rand.h"
#include "limits/quota_kinds.h"
#include "unit/cq_cmocka.h"

#include <stdlib.h>

#define LEASE 100

static const struct lease_holder_id fe1 = {{1}}, fe2 = {{2}};

static struct limit_key key_of(unsigned n)
{
    return limit_key_of(1, cq_slice_of(&n, sizeof n));
}

static void counts_of_all_holders_stay_within_the_limit(void **state)
{
    (void)state;
    struct lease_table *t = lease_table_new(100, LEASE);
    struct limit_key k = key_of(1);
    assert_int_equal(lease_table_set(t, &fe1, &k, 2, 3, 0), LEASE_OK);
    assert_int_equal(lease_table_set(t, &fe2, &k, 1, 3, 0), LEASE_OK);
    assert_int_equal(lease_table_set(t, &fe2, &k, 2, 3, 0), LEASE_DENIED);
    assert_int_equal(lease_table_total(t, &k), 3);
    assert_int_equal(lease_table_set(t, &fe2, &k, 1, 3, 0), LEASE_OK); /* again: nothing changes */
    assert_int_equal(lease_table_total(t, &k), 3);
    assert_int_equal(lease_table_set(t, &fe1, &k, 1, 3, 0), LEASE_OK);
    assert_int_equal(lease_table_set(t, &fe2, &k, 2, 3, 0), LEASE_OK);
    assert_int_equal(lease_table_set(t, &fe2, &k, 2, 1, 0), LEASE_OK); /* a lower limit takes nothing away */
    assert_int_equal(lease_table_set(t, &fe2, &k, 9, 0, 0), LEASE_OK); /* no limit */
    assert_int_equal(lease_table_total(t, &k), 10);
    assert_int_equal(lease_table_set(t, &fe1, &k, 0, 3, 0), LEASE_OK);
    assert_int_equal(lease_table_set(t, &fe2, &k, 0, 3, 0), LEASE_OK);
    assert_int_equal(lease_table_set(t, &fe2, &k, 0, 3, 0), LEASE_OK);
    assert_int_equal(lease_table_keys(t), 0);
    assert_int_equal(lease_table_holders(t), 2);
    lease_table_free(&t);
    lease_table_free(&t);
}

static void a_dead_holders_counts_vanish_with_its_lease(void **state)
{
    (void)state;
    struct lease_table *t = lease_table_new(100, LEASE);
    struct limit_key a = key_of(1), b = key_of(2);
    lease_table_set(t, &fe1, &a, 5, 0, 0);
    lease_table_set(t, &fe1, &b, 1, 0, 10);
    lease_table_set(t, &fe2, &a, 1, 0, 50);
    assert_int_equal(lease_table_expire(t, 109), 0);
    assert_int_equal(lease_table_expire(t, 110), 1); /* fe1 was last heard of at 10 */
    assert_int_equal(lease_table_total(t, &a), 1);
    assert_int_equal(lease_table_total(t, &b), 0);
    assert_true(lease_table_renew(t, &fe2, 0, 140));
    assert_int_equal(lease_table_expire(t, 239), 0);
    assert_int_equal(lease_table_expire(t, 1000), 1);
    assert_int_equal(lease_table_keys(t), 0);
    lease_table_free(&t);
}

static void a_lost_message_is_noticed_and_healed_by_one_that_replaces(void **state)
{
    (void)state;
    struct lease_table *t = lease_table_new(100, LEASE);
    struct limit_key a = key_of(1), b = key_of(2);
    assert_true(lease_table_renew(t, &fe1, 0, 0)); /* nothing was sent, nothing is missing */
    lease_table_message(t, &fe1, 1, false, 0);
    lease_table_set(t, &fe1, &a, 2, 0, 0);
    assert_true(lease_table_renew(t, &fe1, 1, 0));
    assert_false(lease_table_renew(t, &fe1, 2, 0)); /* the last one was lost */
    lease_table_message(t, &fe1, 3, false, 0);
    lease_table_set(t, &fe1, &b, 1, 0, 0);
    assert_false(lease_table_renew(t, &fe1, 3, 0)); /* one in the middle was lost */
    lease_table_message(t, &fe1, 4, false, 0);
    assert_false(lease_table_renew(t, &fe1, 4, 0));
    lease_table_message(t, &fe1, 5, true, 0);
    assert_int_equal(lease_table_total(t, &a), 0);
    lease_table_set(t, &fe1, &b, 1, 0, 0);
    assert_true(lease_table_renew(t, &fe1, 5, 0));
    assert_int_equal(lease_table_expire(t, LEASE), 1);
    assert_false(lease_table_renew(t, &fe1, 5, LEASE)); /* forgotten meanwhile */
    lease_table_message(t, &fe2, 9, false, 0);          /* a service that was restarted hears the ninth first */
    assert_false(lease_table_renew(t, &fe2, 9, 0));
    lease_table_free(&t);
}

static void a_full_table_counts_nothing_new_and_locks_nobody_out(void **state)
{
    (void)state;
    struct lease_table *t = lease_table_new(2, LEASE);
    struct limit_key a = key_of(1), b = key_of(2), c = key_of(3);
    assert_int_equal(lease_table_set(t, &fe1, &a, 1, 3, 0), LEASE_OK);
    assert_int_equal(lease_table_set(t, &fe1, &b, 1, 3, 0), LEASE_OK);
    assert_int_equal(lease_table_set(t, &fe1, &c, 1, 3, 0), LEASE_FULL);
    assert_int_equal(lease_table_set(t, &fe1, &c, 4, 3, 0), LEASE_DENIED);
    assert_int_equal(lease_table_set(t, &fe2, &a, 1, 3, 0), LEASE_OK);
    assert_int_equal(lease_table_keys(t), 2);
    lease_table_free(&t);
    t = lease_table_new(2, LEASE);
    for (unsigned i = 0; i <= LEASE_HOLDERS_MAX; i++) {
        struct lease_holder_id id = {{(uint8_t)i, (uint8_t)(i >> 8), 7}};
        assert_int_equal(lease_table_set(t, &id, &a, 1, 0, 0), i < LEASE_HOLDERS_MAX ? LEASE_OK : LEASE_FULL);
    }
    assert_int_equal(lease_table_total(t, &a), LEASE_HOLDERS_MAX);
    lease_table_free(&t);
}

/* Against a plain model: two holders, few keys, random messages, lost leases. */
static void random_histories_agree_with_a_model(void **state)
{
    (void)state;
    struct cq_prng prng = {7};
    struct lease_table *t = lease_table_new(100, LEASE);
    uint32_t model[2][4] = {{0}};
    uint64_t until[2] = {0}, now = 0;
    const struct lease_holder_id *ids[2] = {&fe1, &fe2};
    for (int i = 0; i < 20000; i++) {
        unsigned h = cq_prng_below(&prng, 2), k = cq_prng_below(&prng, 4);
        struct limit_key key = key_of(k);
        now += cq_prng_below(&prng, 30);
        lease_table_expire(t, now);
        for (int j = 0; j < 2; j++)
            if (until[j] <= now)
                memset(model[j], 0, sizeof model[j]);
        uint32_t count = cq_prng_below(&prng, 6);
        uint64_t total = (uint64_t)model[0][k] + model[1][k] - model[h][k] + count;
        bool ok = count <= model[h][k] || total <= 5;
        assert_int_equal(lease_table_set(t, ids[h], &key, count, 5, now), ok ? LEASE_OK : LEASE_DENIED);
        until[h] = now + LEASE;
        if (ok)
            model[h][k] = count;
        assert_int_equal(lease_table_total(t, &key), model[0][k] + model[1][k]);
    }
    lease_table_free(&t);
}

static void limits_have_their_settings(void **state)
{
    (void)state;
    struct quota_limits limits;
    struct cq_config_part part = quota_limits_config_part(&limits);
    struct cq_pool *pool = cq_pool_new(1024);
    struct cq_err err = {0};
    assert_int_equal(cq_config_defaults(&part, 1, pool, &err), CQ_OK);
    assert_int_equal(limits.counts[QUOTA_SESSIONS_ACCOUNT], 30);
    assert_int_equal(limits.rates[QUOTA_AUTH_PAIR].count, 10);
    assert_int_equal(limits.rates[QUOTA_AUTH_PAIR].period_us, 600 * 1000000);
    assert_string_equal(limits.exempt.items[1], "::1");
    assert_int_equal(
        cq_config_parse(&part, 1, "f", CQ_SLICE("limits: {sessions_account: 3, auth_pair: {count: 0}}"), pool, &err),
        CQ_OK);
    assert_int_equal(limits.counts[QUOTA_SESSIONS_ACCOUNT], 3);
    assert_int_equal(limits.rates[QUOTA_AUTH_PAIR].count, 0);
    assert_int_equal(cq_config_parse(&part, 1, "f", CQ_SLICE("limits: {auth_pair: {period: 0}}"), pool, &err),
                     CQ_E_CONFIG);
    assert_string_equal(quota_rate_name(QUOTA_AUTH_ADDRESS), "auth_address");
    assert_string_equal(quota_rate_name(0), "?");
    assert_string_equal(quota_count_name(QUOTA_COUNT_END), "?");
    cq_pool_free(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_of_all_holders_stay_within_the_limit),
        cmocka_unit_test(a_dead_holders_counts_vanish_with_its_lease),
        cmocka_unit_test(a_lost_message_is_noticed_and_healed_by_one_that_replaces),
        cmocka_unit_test(a_full_table_counts_nothing_new_and_locks_nobody_out),
        cmocka_unit_test(random_histories_agree_with_a_model),
        cmocka_unit_test(limits_have_their_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
