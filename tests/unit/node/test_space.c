#include "node/space.h"

#include "unit/cq_cmocka.h"

#include "mailstore/mailstore.h"
#include "node/ballast.h"
#include "proto/mail.pb-c.h"

static const struct space_limits limits = {.no_growth = 85, .deletes = 92, .last = 97};

static enum space_level judge(uint64_t free_bytes, uint64_t total_bytes, enum space_level before)
{
    const struct space_sample sample = {.free_bytes = free_bytes, .total_bytes = total_bytes};
    return space_judge(&limits, &sample, before);
}

static void each_level_begins_at_its_limit(void **state)
{
    (void)state;
    static const struct {
        uint64_t free;
        enum space_level level;
    } cases[] = {{1000, SPACE_FREE},  {151, SPACE_FREE},   {150, SPACE_NO_GROWTH}, {81, SPACE_NO_GROWTH},
                 {80, SPACE_DELETES}, {31, SPACE_DELETES}, {30, SPACE_LAST},       {11, SPACE_LAST},
                 {10, SPACE_FULL},    {0, SPACE_FULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(judge(cases[i].free, 1000, SPACE_FREE), cases[i].level);
}

static void a_level_ends_one_per_cent_below(void **state)
{
    (void)state;
    assert_int_equal(judge(155, 1000, SPACE_FREE), SPACE_FREE);
    assert_int_equal(judge(155, 1000, SPACE_NO_GROWTH), SPACE_NO_GROWTH);
    assert_int_equal(judge(160, 1000, SPACE_NO_GROWTH), SPACE_NO_GROWTH);
    assert_int_equal(judge(161, 1000, SPACE_NO_GROWTH), SPACE_FREE);
    assert_int_equal(judge(85, 1000, SPACE_DELETES), SPACE_DELETES);
    assert_int_equal(judge(91, 1000, SPACE_DELETES), SPACE_NO_GROWTH);
    assert_int_equal(judge(600, 1000, SPACE_FULL), SPACE_FREE);
}

static void a_file_system_that_tells_nothing_is_free(void **state)
{
    (void)state;
    assert_int_equal(judge(0, 0, SPACE_FREE), SPACE_FREE);
    assert_int_equal(judge(5, 4, SPACE_FREE), SPACE_FREE);
    assert_int_equal(judge(UINT64_MAX / 2, UINT64_MAX, SPACE_FREE), SPACE_FREE);
}

static void less_than_what_is_in_memory_is_full(void **state)
{
    (void)state;
    const struct space_sample less = {.free_bytes = 499, .total_bytes = 1000, .needed_bytes = 500};
    const struct space_sample enough = {.free_bytes = 500, .total_bytes = 1000, .needed_bytes = 500};
    assert_int_equal(space_judge(&limits, &less, SPACE_FREE), SPACE_FULL);
    assert_int_equal(space_judge(&limits, &enough, SPACE_FULL), SPACE_FREE);
}

static void the_best_majority_of_voters_decides(void **state)
{
    (void)state;
    static const struct {
        enum space_level at[5];
        size_t count;
        enum space_level level;
    } cases[] = {
        {{0}, 0, SPACE_FREE},
        {{SPACE_LAST}, 1, SPACE_LAST},
        {{SPACE_LAST, SPACE_FREE}, 2, SPACE_LAST},
        {{SPACE_FULL, SPACE_FREE, SPACE_FREE}, 3, SPACE_FREE},
        {{SPACE_FULL, SPACE_FREE, SPACE_NO_GROWTH}, 3, SPACE_NO_GROWTH},
        {{SPACE_FULL, SPACE_DELETES, SPACE_LAST}, 3, SPACE_LAST},
        {{SPACE_FREE, SPACE_DELETES, SPACE_FREE, SPACE_FULL}, 4, SPACE_DELETES},
        {{SPACE_FULL, SPACE_FREE, SPACE_FULL, SPACE_FREE, SPACE_NO_GROWTH}, 5, SPACE_NO_GROWTH},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum space_level at[5];
        memcpy(at, cases[i].at, sizeof at);
        assert_int_equal(space_of_voters(at, cases[i].count), cases[i].level);
    }
}

static bool allowed(enum space_level level, Chasqui__Mail__Method method)
{
    return space_allows(level, (uint32_t)method, CQ_SLICE_NONE);
}

static void growth_is_refused_first_and_deletes_never(void **state)
{
    (void)state;
    static const Chasqui__Mail__Method growth[] = {CHASQUI__MAIL__METHOD__APPEND, CHASQUI__MAIL__METHOD__DELIVER,
                                                   CHASQUI__MAIL__METHOD__STAGE, CHASQUI__MAIL__METHOD__COPY,
                                                   CHASQUI__MAIL__METHOD__CREATE_ACCOUNT};
    static const Chasqui__Mail__Method small[] = {
        CHASQUI__MAIL__METHOD__MOVE, CHASQUI__MAIL__METHOD__CREATE_MAILBOX, CHASQUI__MAIL__METHOD__SET_SUBSCRIBED,
        CHASQUI__MAIL__METHOD__RENAME_MAILBOX, CHASQUI__MAIL__METHOD__CHARGE_SENDING};
    static const Chasqui__Mail__Method always[] = {
        CHASQUI__MAIL__METHOD__EXPUNGE, CHASQUI__MAIL__METHOD__DELETE_MAILBOX, CHASQUI__MAIL__METHOD__DELETE_ACCOUNT,
        CHASQUI__MAIL__METHOD__CLAIM_RECENT};
    for (size_t i = 0; i < sizeof growth / sizeof *growth; i++) {
        assert_true(allowed(SPACE_FREE, growth[i]));
        assert_false(allowed(SPACE_NO_GROWTH, growth[i]));
    }
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) {
        assert_true(allowed(SPACE_NO_GROWTH, small[i]));
        assert_false(allowed(SPACE_DELETES, small[i]));
    }
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        assert_true(allowed(SPACE_FULL, always[i]));
}

static bool store_allowed(enum space_level level, Chasqui__Mail__Store__Mode mode, uint32_t flags)
{
    Chasqui__Mail__Store message = CHASQUI__MAIL__STORE__INIT;
    uint8_t bytes[64];
    message.mailbox = 7;
    message.mode = mode;
    message.flags = flags;
    size_t len = chasqui__mail__store__pack(&message, bytes);
    return space_allows(level, CHASQUI__MAIL__METHOD__STORE, cq_slice_of(bytes, len));
}

static void marking_as_deleted_is_the_first_half_of_deleting(void **state)
{
    (void)state;
    assert_true(store_allowed(SPACE_NO_GROWTH, CHASQUI__MAIL__STORE__MODE__ADD, MAIL_SEEN));
    assert_false(store_allowed(SPACE_DELETES, CHASQUI__MAIL__STORE__MODE__ADD, MAIL_SEEN));
    assert_true(store_allowed(SPACE_DELETES, CHASQUI__MAIL__STORE__MODE__ADD, MAIL_SEEN | MAIL_DELETED));
    assert_true(store_allowed(SPACE_FULL, CHASQUI__MAIL__STORE__MODE__REPLACE, MAIL_DELETED));
    assert_false(store_allowed(SPACE_DELETES, CHASQUI__MAIL__STORE__MODE__REMOVE, MAIL_DELETED));
    assert_true(space_allows(SPACE_DELETES, CHASQUI__MAIL__METHOD__STORE, CQ_SLICE("\xff\xff"))); /* apply refuses it */
}

static void the_ballast_is_a_hundredth_within_its_bounds(void **state)
{
    (void)state;
    const uint64_t gib = 1ull << 30;
    assert_int_equal(ballast_size_wanted(50 * gib, gib), 50 * gib / 100);
    assert_int_equal(ballast_size_wanted(gib, gib), BALLAST_MIN);
    assert_int_equal(ballast_size_wanted(5000 * gib, gib), gib);
    assert_int_equal(ballast_size_wanted(5000 * gib, 8 << 20), 8 << 20);
    assert_int_equal(ballast_size_wanted(5000 * gib, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_level_begins_at_its_limit),
        cmocka_unit_test(a_level_ends_one_per_cent_below),
        cmocka_unit_test(a_file_system_that_tells_nothing_is_free),
        cmocka_unit_test(less_than_what_is_in_memory_is_full),
        cmocka_unit_test(the_best_majority_of_voters_decides),
        cmocka_unit_test(growth_is_refused_first_and_deletes_never),
        cmocka_unit_test(marking_as_deleted_is_the_first_half_of_deleting),
        cmocka_unit_test(the_ballast_is_a_hundredth_within_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
