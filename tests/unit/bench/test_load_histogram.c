#include "load_histogram.h"

#include "unit/cq_cmocka.h"

#include <stdlib.h>

#include "base/cq_rand.h"

static struct load_histogram h;

static int empty(void **state)
{
    (void)state;
    h = (struct load_histogram){0};
    return 0;
}

static void an_empty_one_has_zeros_everywhere(void **state)
{
    (void)state;
    assert_int_equal(load_histogram_percentile(&h, 0.5), 0);
    assert_int_equal(load_histogram_percentile(&h, 1), 0);
    assert_true(load_histogram_mean(&h) == 0);
}

static void small_values_are_exact(void **state)
{
    (void)state;
    for (uint64_t v = 1; v <= 100; v++)
        load_histogram_record(&h, v);
    static const struct {
        double part;
        uint64_t value;
    } cases[] = {{0, 0}, {0.01, 1}, {0.5, 50}, {0.505, 51}, {0.99, 99}, {0.999, 100}, {1, 100}};
    for (size_t i = 1; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(load_histogram_percentile(&h, cases[i].part), cases[i].value);
    assert_true(load_histogram_mean(&h) == 50.5);
    assert_int_equal(h.max, 100);
}

static void one_value_is_every_percentile(void **state)
{
    (void)state;
    load_histogram_record(&h, 123456);
    for (double part = 0.1; part <= 1; part += 0.1) {
        uint64_t value = load_histogram_percentile(&h, part);
        assert_in_range(value, 123456 - 123456 / 128, 123456); /* never above the largest */
    }
}

static void every_value_is_found_within_its_step(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 37; bits++)
        for (int add = -1; add <= 1; add++) {
            uint64_t value = (UINT64_C(1) << bits) + (uint64_t)(int64_t)add;
            empty(NULL);
            load_histogram_record(&h, value);
            load_histogram_record(&h, LOAD_HISTOGRAM_MAX); /* so that the answer is not cut to the largest */
            uint64_t found = load_histogram_percentile(&h, 0.5), off = found > value ? found - value : value - found;
            assert_true(off <= value / LOAD_HISTOGRAM_SUB);
        }
}

static void what_is_too_large_counts_as_the_largest(void **state)
{
    (void)state;
    load_histogram_record(&h, UINT64_MAX);
    assert_int_equal(h.max, LOAD_HISTOGRAM_MAX);
    assert_int_equal(h.count, 1);
    assert_in_range(load_histogram_percentile(&h, 0.5), LOAD_HISTOGRAM_MAX - LOAD_HISTOGRAM_MAX / 128,
                    LOAD_HISTOGRAM_MAX);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void percentiles_agree_with_sorting(void **state)
{
    (void)state;
    static uint64_t values[10000];
    const size_t n = sizeof values / sizeof *values;
    struct cq_prng prng = {7};
    for (size_t i = 0; i < n; i++) {
        values[i] = cq_prng_next(&prng) >> (30 + cq_prng_below(&prng, 30));
        load_histogram_record(&h, values[i]);
    }
    qsort(values, n, sizeof *values, by_value);
    static const double parts[] = {0.1, 0.5, 0.9, 0.99, 0.999, 1};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        uint64_t exact = values[(size_t)(parts[i] * (double)n + 0.5) - 1];
        uint64_t found = load_histogram_percentile(&h, parts[i]), off = found > exact ? found - exact : exact - found;
        assert_true(off <= exact / LOAD_HISTOGRAM_SUB);
    }
}

#define T(name) cmocka_unit_test_setup(name, empty)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_empty_one_has_zeros_everywhere),       T(small_values_are_exact),
        T(one_value_is_every_percentile),           T(every_value_is_found_within_its_step),
        T(what_is_too_large_counts_as_the_largest), T(percentiles_agree_with_sorting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
