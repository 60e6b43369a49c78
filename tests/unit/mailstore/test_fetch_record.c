#include "mailstore/fetch_record.h"

#include "unit/cq_cmocka.h"

static const struct fetch_record sample = {
    .uid = 7,
    .size = 4242,
    .modseq = 1ull << 62,
    .internal_date = -5,
    .save_date = 1700000000,
    .email = 99,
    .thread = 98,
    .flags = 9,
    .keywords = {(const uint8_t *)"\x02\x80", 2},
    .summary = {(const uint8_t *)"summary", 7},
};

static void what_was_encoded_is_decoded(void **state)
{
    (void)state;
    struct cq_buf buf;
    cq_buf_init(&buf, 4096);
    struct fetch_record bare = {.uid = 8};
    assert_true(fetch_record_encode(&sample, &buf));
    assert_true(fetch_record_encode(&bare, &buf));
    struct cq_slice rest = cq_buf_slice(&buf);
    struct fetch_record got;
    assert_int_equal(fetch_record_next(&rest, &got), CQ_OK);
    assert_int_equal(got.uid, 7);
    assert_int_equal(got.internal_date, -5);
    assert_int_equal(got.modseq, 1ull << 62);
    assert_slice(got.summary, "summary");
    assert_true(fetch_record_has_keyword(&got, 1));
    assert_true(fetch_record_has_keyword(&got, 15));
    assert_false(fetch_record_has_keyword(&got, 0));
    assert_false(fetch_record_has_keyword(&got, 200));
    assert_int_equal(fetch_record_next(&rest, &got), CQ_OK);
    assert_int_equal(got.uid, 8);
    assert_int_equal(fetch_record_next(&rest, &got), CQ_E_EOF);
    cq_buf_fini(&buf);
}

static void a_record_that_is_cut_short_is_corrupt(void **state)
{
    (void)state;
    struct cq_buf buf;
    cq_buf_init(&buf, 4096);
    assert_true(fetch_record_encode(&sample, &buf));
    for (size_t len = 1; len < buf.len; len++) {
        struct cq_slice rest = cq_slice_sub(cq_buf_slice(&buf), 0, len);
        struct fetch_record got;
        assert_int_equal(fetch_record_next(&rest, &got), CQ_E_CORRUPT);
    }
    cq_buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_encoded_is_decoded),
        cmocka_unit_test(a_record_that_is_cut_short_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
