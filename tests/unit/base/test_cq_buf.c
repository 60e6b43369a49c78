#include "base/cq_buf.h"

#include "unit/cq_cmocka.h"

#include <stdlib.h>

static void append_stops_at_the_limit_and_changes_nothing(void **state)
{
    (void)state;
    struct cq_buf buf;
    cq_buf_init(&buf, 5);
    assert_true(cq_buf_add(&buf, "abcd", 4));
    assert_false(cq_buf_add(&buf, "ef", 2));
    assert_slice(cq_buf_slice(&buf), "abcd");
    assert_false(cq_buf_ok(&buf));
    assert_true(cq_buf_byte(&buf, 'e'));
    assert_slice(cq_buf_slice(&buf), "abcde");
    assert_false(cq_buf_ok(&buf)); /* an overflow is remembered until a reset */
    cq_buf_reset(&buf, 0);
    assert_true(cq_buf_ok(&buf));
    cq_buf_fini(&buf);
}

static void printf_grows_past_its_small_array(void **state)
{
    (void)state;
    struct cq_buf buf;
    cq_buf_init(&buf, 4096);
    assert_true(cq_buf_printf(&buf, "%01000d|", 7));
    assert_int_equal(buf.len, 1001);
    assert_int_equal(buf.data[1000], '|');
    assert_false(cq_buf_printf(&buf, "%04000d", 7));
    assert_int_equal(buf.len, 1001);
    cq_buf_fini(&buf);
}

static void numbers_are_decimal(void **state)
{
    (void)state;
    struct cq_buf buf;
    cq_buf_init(&buf, 100);
    cq_buf_u64(&buf, 0);
    cq_buf_byte(&buf, ' ');
    cq_buf_u64(&buf, UINT64_MAX);
    assert_slice(cq_buf_slice(&buf), "0 18446744073709551615");
    cq_buf_consume(&buf, 2);
    assert_slice(cq_buf_slice(&buf), "18446744073709551615");
    cq_buf_fini(&buf);
}

static void take_changes_the_owner(void **state)
{
    (void)state;
    struct cq_buf buf;
    size_t len = 1;
    cq_buf_init(&buf, 10);
    free(cq_buf_take(&buf, &len));
    assert_int_equal(len, 0);
    cq_buf_cstr(&buf, "x");
    uint8_t *data = cq_buf_take(&buf, &len);
    assert_int_equal(len, 1);
    assert_int_equal(data[0], 'x');
    assert_int_equal(buf.len, 0);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(append_stops_at_the_limit_and_changes_nothing),
        cmocka_unit_test(printf_grows_past_its_small_array),
        cmocka_unit_test(numbers_are_decimal),
        cmocka_unit_test(take_changes_the_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
