#include "base/cq_slice.h"

#include "unit/cq_cmocka.h"

static void numbers_have_a_limit(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t max;
        bool ok;
        uint64_t value;
    } cases[] = {
        {"0", 10, true, 0},
        {"10", 10, true, 10},
        {"11", 10, false, 0},
        {"9", 5, false, 0},
        {"", 10, false, 0},
        {"1a", 100, false, 0},
        {"-1", 100, false, 0},
        {"18446744073709551615", UINT64_MAX, true, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, false, 0},
        {"99999999999999999999999", UINT64_MAX, false, 0},
        {"0000000000000000000000000000001", 10, true, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t value = 0;
        assert_int_equal(cq_slice_u64(cq_slice_cstr(cases[i].text), cases[i].max, &value), cases[i].ok);
        assert_int_equal(value, cases[i].value);
    }
}

static void cut_walks_over_the_parts(void **state)
{
    (void)state;
    struct cq_slice rest = CQ_SLICE("a,,b");
    assert_slice(cq_slice_cut(&rest, ','), "a");
    assert_slice(cq_slice_cut(&rest, ','), "");
    assert_slice(cq_slice_cut(&rest, ','), "b");
    assert_int_equal(rest.len, 0);
}

static void case_is_ascii_only(void **state)
{
    (void)state;
    assert_true(cq_slice_caseeq(CQ_SLICE("InBoX"), CQ_SLICE("inbox")));
    assert_false(cq_slice_caseeq(CQ_SLICE("\xc3\x84"), CQ_SLICE("\xc3\xa4")));
    assert_false(cq_slice_caseeq(CQ_SLICE("a"), CQ_SLICE("ab")));
    assert_true(cq_slice_casestarts(CQ_SLICE("FETCH 1"), CQ_SLICE("fetch")));
}

static void parts_never_pass_the_end(void **state)
{
    (void)state;
    assert_slice(cq_slice_sub(CQ_SLICE("abc"), 1, 100), "bc");
    assert_slice(cq_slice_sub(CQ_SLICE("abc"), 7, 1), "");
    assert_slice(cq_slice_trim(CQ_SLICE(" \ta b\r\n")), "a b");
    assert_true(cq_slice_cmp(CQ_SLICE("ab"), CQ_SLICE("abc")) < 0);
    assert_true(cq_slice_secret_eq(CQ_SLICE("k1"), CQ_SLICE("k1")));
    assert_false(cq_slice_secret_eq(CQ_SLICE("k1"), CQ_SLICE("k2")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_have_a_limit),
        cmocka_unit_test(cut_walks_over_the_parts),
        cmocka_unit_test(case_is_ascii_only),
        cmocka_unit_test(parts_never_pass_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
