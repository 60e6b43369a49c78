#include "quota-service/quota_hot.h"

#include "base/cq_rand.h"
#include "limits/gcra.h"
#include "unit/cq_cmocka.h"

#include <string.h>

#define SEC UINT64_C(1000000)
#define NOW (1000 * SEC)
#define LEASE (SEC / 2)

static struct quota_hot_key key_of(uint32_t n)
{
    struct quota_hot_key key = {.kind = 4};
    memcpy(key.id.bytes, &n, sizeof n);
    return key;
}

/* Asks so often within a millisecond that the key becomes hot at 50 a second. */
static struct quota_hot *warm(const struct quota_hot_key *key)
{
    struct quota_hot *hot = quota_hot_new(50);
    for (int i = 0; i < 49; i++)
        assert_int_equal(quota_hot_take(hot, key, 1, LEASE, NOW).action, QUOTA_HOT_ASK);
    return hot;
}

static void a_key_is_leased_from_the_threshold_on(void **state)
{
    (void)state;
    const struct quota_hot_key key = key_of(1), other = key_of(2);
    struct quota_hot *hot = warm(&key);
    struct quota_hot_verdict verdict = quota_hot_take(hot, &key, 1, LEASE, NOW);
    assert_int_equal(verdict.action, QUOTA_HOT_LEASE);
    assert_int_equal(verdict.want, 12); /* 50 a second, half of half a second */
    assert_int_equal(quota_hot_take(hot, &key, 1, LEASE, NOW).action, QUOTA_HOT_ASK); /* it is being asked for */
    assert_int_equal(quota_hot_take(hot, &other, 1, LEASE, NOW).action, QUOTA_HOT_ASK);
    quota_hot_unleased(hot, &key);
    assert_int_equal(quota_hot_take(hot, &key, 1, 0, NOW).action, QUOTA_HOT_ASK); /* a limit that leases nothing */
    assert_int_equal(quota_hot_take(hot, &key, 1, LEASE, NOW).action, QUOTA_HOT_LEASE);
    quota_hot_unleased(hot, &key);
    assert_int_equal(quota_hot_take(hot, &key, 1, LEASE, NOW + SEC).action, QUOTA_HOT_LEASE); /* still hot */
    quota_hot_unleased(hot, &key);
    assert_int_equal(quota_hot_take(hot, &key, 1, LEASE, NOW + 3 * SEC).action, QUOTA_HOT_ASK); /* not any more */
    quota_hot_free(&hot);
    hot = quota_hot_new(0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(quota_hot_take(hot, &key, 1, LEASE, NOW).action, QUOTA_HOT_ASK);
    quota_hot_free(&hot);
}

static void tokens_are_used_up_and_end_with_their_lease(void **state)
{
    (void)state;
    const struct quota_hot_key key = key_of(1);
    struct quota_hot *hot = warm(&key);
    assert_int_equal(quota_hot_take(hot, &key, 1, LEASE, NOW).action, QUOTA_HOT_LEASE);
    quota_hot_leased(hot, &key, 3, NOW + LEASE);
    assert_int_equal(quota_hot_take(hot, &key, 2, LEASE, NOW).action, QUOTA_HOT_ALLOWED);
    struct quota_hot_verdict last = quota_hot_take(hot, &key, 1, LEASE, NOW);
    assert_int_equal(last.action, QUOTA_HOT_ALLOWED);
    assert_int_equal(quota_hot_take(hot, &key, 1, LEASE, NOW).action, QUOTA_HOT_LEASE);
    quota_hot_unleased(hot, &key);
    quota_hot_give_back(hot, &key, 1, last.until_us, NOW);
    assert_int_equal(quota_hot_take(hot, &key, 1, LEASE, NOW + LEASE - 1).action, QUOTA_HOT_ALLOWED);
    quota_hot_give_back(hot, &key, 1, last.until_us, NOW);
    assert_int_equal(quota_hot_take(hot, &key, 1, LEASE, NOW + LEASE).action, QUOTA_HOT_LEASE);
    quota_hot_leased(hot, &key, 1, NOW + 2 * LEASE);
    quota_hot_give_back(hot, &key, 5, last.until_us, NOW + LEASE); /* of an older lease: lost */
    assert_int_equal(quota_hot_take(hot, &key, 2, LEASE, NOW + LEASE).action, QUOTA_HOT_LEASE);
    quota_hot_free(&hot);
}

static void a_credit_answers_peeks_alone(void **state)
{
    (void)state;
    const struct quota_hot_key key = key_of(1);
    struct quota_hot *hot = warm(&key);
    assert_int_equal(quota_hot_peek(hot, &key, 1, NOW).action, QUOTA_HOT_ASK);
    quota_hot_credit(hot, &key, 2, NOW + LEASE);
    assert_int_equal(quota_hot_peek(hot, &key, 1, NOW).action, QUOTA_HOT_ALLOWED);
    assert_int_equal(quota_hot_take(hot, &key, 1, LEASE, NOW).action, QUOTA_HOT_LEASE);
    assert_int_equal(quota_hot_peek(hot, &key, 1, NOW).action, QUOTA_HOT_ALLOWED);
    assert_int_equal(quota_hot_peek(hot, &key, 1, NOW).action, QUOTA_HOT_ASK);
    quota_hot_credit(hot, &key, 2, NOW + LEASE);
    assert_int_equal(quota_hot_peek(hot, &key, 1, NOW + LEASE).action, QUOTA_HOT_ASK);
    quota_hot_credit(hot, &key, 2, NOW + LEASE);
    quota_hot_charged(hot, &key); /* a log-in has failed: the next one asks */
    assert_int_equal(quota_hot_peek(hot, &key, 1, NOW).action, QUOTA_HOT_ASK);
    quota_hot_free(&hot);
}

static void a_refusal_holds_as_long_as_was_said(void **state)
{
    (void)state;
    const struct quota_hot_key key = key_of(1);
    struct quota_hot *hot = warm(&key);
    quota_hot_refused(hot, &key, 2, NOW + LEASE, NOW + 90 * SEC);
    assert_int_equal(quota_hot_peek(hot, &key, 1, NOW).action, QUOTA_HOT_ASK); /* cheaper than what was refused */
    struct quota_hot_verdict verdict = quota_hot_take(hot, &key, 2, LEASE, NOW + LEASE - 1);
    assert_int_equal(verdict.action, QUOTA_HOT_REFUSED);
    assert_int_equal(verdict.until_us, NOW + 90 * SEC);
    assert_int_equal(quota_hot_peek(hot, &key, 3, NOW).action, QUOTA_HOT_REFUSED);
    assert_int_equal(quota_hot_peek(hot, &key, 2, NOW + LEASE).action, QUOTA_HOT_ASK);
    quota_hot_refused(hot, &key, 1, NOW + LEASE, NOW + 1000);
    assert_int_equal(quota_hot_peek(hot, &key, 1, NOW + 999).action, QUOTA_HOT_REFUSED);
    assert_int_equal(quota_hot_peek(hot, &key, 1, NOW + 1000).action, QUOTA_HOT_ASK);
    quota_hot_free(&hot);
}

static void a_flood_of_other_keys_does_not_grow_it(void **state)
{
    (void)state;
    const struct quota_hot_key key = key_of(1);
    struct quota_hot *hot = warm(&key);
    assert_int_equal(quota_hot_take(hot, &key, 1, LEASE, NOW).action, QUOTA_HOT_LEASE);
    for (uint32_t n = 2; n < 10 * QUOTA_HOT_KEYS; n++) {
        const struct quota_hot_key other = key_of(n);
        assert_int_equal(quota_hot_take(hot, &other, 1, LEASE, NOW).action, QUOTA_HOT_ASK);
        if (n % 100 == 0) /* in use meanwhile, and often: it stays */
            assert_int_equal(quota_hot_take(hot, &key, 1, LEASE, NOW).action, QUOTA_HOT_ASK);
    }
    quota_hot_leased(hot, &key, 3, NOW + LEASE);
    assert_int_equal(quota_hot_take(hot, &key, 1, LEASE, NOW).action, QUOTA_HOT_ALLOWED);
    quota_hot_leased(hot, &(struct quota_hot_key){.kind = 3}, 3, NOW + LEASE); /* not there: nothing happens */
    quota_hot_unleased(hot, &(struct quota_hot_key){.kind = 3});
    quota_hot_free(&hot);
}

/* ---- Never more than without leases ---- */

enum { INSTANCES_MAX = 10, PENDING_MAX = 1 << 18 };
#define STEP 1000

static const struct gcra_limit limit = {100000, 10 * SEC};
#define SIM_LEASE (10 * SEC / 64)

/* What the script does (quota_script.c), and what it must never do more than: the same without leases. */
struct world {
    uint64_t tat;   /* the bucket in Redis */
    uint64_t ideal; /* charged when a token is used */
    bool floor;     /* leases stand above a debt of the lease time. Without that too much is let through */
    uint64_t allowed, too_much;
};

struct ask {
    int instance;
    uint32_t want; /* 0: a plain take */
    uint64_t sent_us;
};

static void let_through(struct world *world, uint64_t now)
{
    world->allowed++;
    world->too_much += !gcra_take(&world->ideal, &limit, 1, now).allowed;
}

/* > 0: so many tokens; else minus the us. */
static int64_t run_script(struct world *world, const struct ask *ask, int instances, uint64_t now)
{
    uint64_t interval = gcra_interval_us(&limit), burst = gcra_burst_us(&limit);
    uint64_t debt = world->tat > now ? world->tat - now : 0;
    uint64_t from = world->floor && debt < SIM_LEASE ? SIM_LEASE : debt, tokens = 0;
    if (debt + interval > burst)
        return (int64_t)burst - (int64_t)(debt + interval);
    if (ask->want && burst > from)
        tokens = (burst - from) / interval / (2 * (uint64_t)instances);
    tokens = tokens < ask->want ? tokens : ask->want;
    world->tat = now + (tokens > 1 ? from + tokens * interval : debt + interval);
    return tokens > 1 ? (int64_t)tokens : 1;
}

static void answer(struct world *world, struct quota_hot *hot, const struct ask *ask, int instances, uint64_t now)
{
    const struct quota_hot_key key = key_of(1);
    int64_t tokens = run_script(world, ask, instances, now);
    if (tokens > 0)
        let_through(world, now);
    else
        quota_hot_refused(hot, &key, 1, ask->sent_us + SIM_LEASE, ask->sent_us + (uint64_t)-tokens);
    if (ask->want && tokens > 1)
        quota_hot_leased(hot, &key, (uint32_t)tokens - 1, ask->sent_us + SIM_LEASE);
    else if (ask->want)
        quota_hot_unleased(hot, &key);
}

static void ask_once(struct world *world, struct quota_hot *hot, int instance, uint64_t now, struct ask *pending,
                     size_t *count)
{
    const struct quota_hot_key key = key_of(1);
    const struct quota_hot_verdict verdict = quota_hot_take(hot, &key, 1, SIM_LEASE, now);
    if (verdict.action == QUOTA_HOT_ALLOWED)
        let_through(world, now);
    else if (verdict.action != QUOTA_HOT_REFUSED && *count < PENDING_MAX)
        pending[(*count)++] = (struct ask){instance, verdict.want, now};
}

/* How many questions an instance has in this step: a steady load; or one that makes leases, pauses, and then asks for
 * all that is left while leases stand, again when all is paid off. */
static uint32_t load_at(uint64_t at, int instances, bool steady, struct cq_prng *prng)
{
    static uint64_t blast_at;
    uint64_t phase = at % (11 * SEC);
    if (steady)
        return cq_prng_below(prng, 5) * 10;
    if (phase == 0)
        blast_at = (500 + cq_prng_below(prng, 100)) * 1000;
    if (phase == blast_at || phase == blast_at + STEP)
        return 150000 / (uint32_t)instances;
    return phase < SEC / 2 ? cq_prng_below(prng, 3) : 0;
}

static struct world simulate(uint64_t seed, int instances, bool floor, uint64_t seconds, bool steady)
{
    static struct ask pending[PENDING_MAX];
    struct world world = {.floor = floor};
    struct quota_hot *hots[INSTANCES_MAX];
    struct cq_prng prng = {.state = seed};
    size_t count = 0;
    for (int i = 0; i < instances; i++)
        hots[i] = quota_hot_new(20);
    for (uint64_t now = NOW; now < NOW + seconds * SEC; now += STEP) {
        for (size_t p = 0; p < count; p++)
            answer(&world, hots[pending[p].instance], &pending[p], instances, now);
        count = 0;
        for (int i = 0; i < instances; i++)
            for (uint32_t n = load_at(now - NOW, instances, steady, &prng); n > 0; n--)
                ask_once(&world, hots[i], i, now, pending, &count);
    }
    for (int i = 0; i < instances; i++)
        quota_hot_free(&hots[i]);
    return world;
}

static void leases_never_let_through_more_than_the_limit_alone(void **state)
{
    (void)state;
    uint64_t without_floor = 0;
    for (uint64_t seed = 1; seed <= 4; seed++)
        for (int instances = 1; instances <= INSTANCES_MAX; instances += 3) {
            assert_int_equal(simulate(seed, instances, true, 24, false).too_much, 0);
            without_floor += simulate(seed, instances, false, 24, false).too_much;
        }
    assert_true(without_floor > 0); /* the test sees what it looks for */
}

static void leases_lose_little_of_a_limit_that_is_used_up(void **state)
{
    (void)state;
    uint64_t all = limit.count + limit.count * 12 * SEC / limit.period_us;
    for (int instances = 1; instances <= INSTANCES_MAX; instances += 3)
        assert_in_range(simulate(7, instances, true, 12, true).allowed, all * 95 / 100, all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_leased_from_the_threshold_on),
        cmocka_unit_test(tokens_are_used_up_and_end_with_their_lease),
        cmocka_unit_test(a_credit_answers_peeks_alone),
        cmocka_unit_test(a_refusal_holds_as_long_as_was_said),
        cmocka_unit_test(a_flood_of_other_keys_does_not_grow_it),
        cmocka_unit_test(leases_never_let_through_more_than_the_limit_alone),
        cmocka_unit_test(leases_lose_little_of_a_limit_that_is_used_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
