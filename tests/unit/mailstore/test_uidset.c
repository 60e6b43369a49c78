#include "mailstore/uidset.h"

#include "unit/cq_cmocka.h"

static struct cq_pool *pool;

static struct uidset built(const uint32_t *pairs, size_t n)
{
    struct uidset_builder builder;
    uidset_builder_init(&builder, pool);
    for (size_t i = 0; i < n; i += 2)
        uidset_builder_add(&builder, pairs[i], pairs[i + 1]);
    return uidset_builder_finish(&builder);
}

static void ranges_in_any_order_are_merged(void **state)
{
    (void)state;
    static const uint32_t pairs[] = {9, 9, 1, 3, 4, 5, 2, 2, 20, 30, 25, 40, 4294967295u, 4294967295u};
    struct uidset set = built(pairs, sizeof pairs / sizeof *pairs);
    assert_int_equal(set.count, 4);
    assert_int_equal(set.ranges[0].first, 1);
    assert_int_equal(set.ranges[0].last, 5);
    assert_int_equal(set.ranges[2].last, 40);
    assert_int_equal(uidset_size(&set), 5 + 1 + 21 + 1);
}

static void members_are_found_and_others_are_not(void **state)
{
    (void)state;
    static const uint32_t pairs[] = {2, 4, 8, 8};
    struct uidset set = built(pairs, 4);
    static const struct {
        uint32_t uid;
        bool in;
        uint32_t next;
    } cases[] = {{1, false, 2}, {2, true, 2}, {4, true, 4}, {5, false, 8}, {8, true, 8}, {9, false, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(uidset_contains(&set, cases[i].uid), cases[i].in);
        assert_int_equal(uidset_next(&set, cases[i].uid), cases[i].next);
    }
}

static void the_wire_form_must_be_canonical(void **state)
{
    (void)state;
    static const struct {
        uint32_t pairs[4];
        size_t n;
        bool ok;
    } cases[] = {
        {{1, 1, 3, 4}, 4, true},  {{0}, 0, true},           {{1, 2, 3, 4}, 4, false},
        {{1, 5, 3, 9}, 4, false}, {{3, 4, 1, 1}, 4, false}, {{0, 4}, 2, false},
        {{4, 3}, 2, false},       {{1, 2, 4, 4}, 3, false}, {{1, 4294967295u}, 2, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uidset set;
        assert_int_equal(uidset_from_pairs(cases[i].pairs, cases[i].n, pool, &set), cases[i].ok);
        if (cases[i].ok)
            assert_memory_equal(uidset_to_pairs(&set, pool), cases[i].pairs, cases[i].n * sizeof(uint32_t));
    }
}

static int setup(void **state)
{
    (void)state;
    pool = cq_pool_new(1024);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cq_pool_free(&pool);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_in_any_order_are_merged),
        cmocka_unit_test(members_are_found_and_others_are_not),
        cmocka_unit_test(the_wire_form_must_be_canonical),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
