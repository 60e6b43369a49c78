#include "base/cq_line.h"

#include "unit/cq_cmocka.h"

static void lines_end_where_they_should(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        size_t len, max;
        enum cq_rc rc;
        const char *line;
        size_t used;
    } cases[] = {
        {"NOOP\r\nQUIT\r\n", 12, 100, CQ_OK, "NOOP", 6},
        {"NOOP\nQUIT", 9, 100, CQ_OK, "NOOP", 5},
        {"NOOP", 4, 100, CQ_E_AGAIN, NULL, 0},
        {"", 0, 100, CQ_E_AGAIN, NULL, 0},
        {"1234\r\n", 6, 6, CQ_OK, "1234", 6},
        {"12345\r\n", 7, 6, CQ_E_LIMIT, NULL, 0},
        {"123456", 6, 6, CQ_E_LIMIT, NULL, 0},
        {"a\0b\r\n", 5, 100, CQ_E_PROTO, "", 5},
        {"a\rb\r\n", 5, 100, CQ_E_PROTO, "", 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cq_slice line;
        size_t used = 0;
        assert_int_equal(cq_line_take(cq_slice_of(cases[i].in, cases[i].len), cases[i].max, &line, &used), cases[i].rc);
        assert_int_equal(used, cases[i].used);
        if (cases[i].rc == CQ_OK)
            assert_slice(line, cases[i].line);
    }
}

static void a_line_that_comes_octet_by_octet_is_the_same(void **state)
{
    (void)state;
    const struct cq_slice in = CQ_SLICE("AUTH PLAIN\r\nx");
    struct cq_slice line;
    size_t used = 0;
    for (size_t len = 0; len < 12; len++)
        assert_int_equal(cq_line_take(cq_slice_sub(in, 0, len), 12, &line, &used), CQ_E_AGAIN);
    assert_int_equal(cq_line_take(in, 12, &line, &used), CQ_OK);
    assert_slice(line, "AUTH PLAIN");
    assert_int_equal(used, 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_end_where_they_should),
        cmocka_unit_test(a_line_that_comes_octet_by_octet_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
