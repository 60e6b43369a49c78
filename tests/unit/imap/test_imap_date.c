#include "imap/imap_date.h"

#include "unit/cq_cmocka.h"

#include <stdio.h>

#include <time.h>

static bool parse_date(const char *text, int32_t *day)
{
    struct imap_parser p;
    imap_parser_init(&p, cq_slice_cstr(text), NULL);
    return imap_parse_date(&p, day) && imap_at_end(&p);
}

static bool parse_date_time(const char *text, int64_t *seconds)
{
    struct imap_parser p;
    imap_parser_init(&p, cq_slice_cstr(text), NULL);
    return imap_parse_date_time(&p, seconds) && imap_at_end(&p);
}

static void dates_are_days_since_1970(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int32_t day;
    } cases[] = {
        {"1-Jan-1970", 0},   {"\"1-Feb-1994\"", 8797}, {"01-feb-1994", 8797},    {"29-Feb-2000", 11016},
        {"31-Dec-1969", -1}, {"1-Jan-0001", -719162},  {"31-Dec-9999", 2932896}, {"\" 1-FEB-1994\"", 8797},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t day;
        assert_true(parse_date(cases[i].text, &day));
        assert_int_equal(day, cases[i].day);
    }
}

static void what_is_no_date_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",           "1-Feb",      "0-Feb-1994",   "30-Feb-1994", "29-Feb-1900", "1-Foo-1994",  "1-Feb-94",
        "1-Feb-0000", "1/Feb/1994", "\"1-Feb-1994", "32-Jan-1994", "1-Feb-19945", "-1-Feb-1994", "1-Feb-1994\""};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t day;
        if (parse_date(cases[i], &day))
            fail_msg("%s was taken", cases[i]);
    }
}

static void date_times_are_seconds_in_utc(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds;
    } cases[] = {
        {"\"17-Jul-1996 02:44:25 -0700\"", 837596665},  {"\" 1-Jan-1970 00:00:00 +0000\"", 0},
        {"\"01-Jan-1970 01:00:00 +0100\"", 0},          {"\"1-Jan-1970 00:00:00 +0000\"", 0},
        {"\"31-Dec-2016 23:59:60 +0000\"", 1483228799}, {"\"31-Dec-1969 23:59:59 -0000\"", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t seconds;
        assert_true(parse_date_time(cases[i].text, &seconds));
        assert_int_equal(seconds, cases[i].seconds);
    }
}

static void what_is_no_date_time_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "17-Jul-1996 02:44:25 -0700",      "\"17-Jul-1996 2:44:25 -0700\"",  "\"17-Jul-1996 24:00:00 -0700\"",
        "\"17-Jul-1996 02:60:25 -0700\"",  "\"17-Jul-1996 02:44:61 +0000\"", "\"17-Jul-1996 02:44:25 PDT\"",
        "\"17-Jul-1996 02:44:25 -07\"",    "\"17-Jul-1996 02:44:25 -2400\"", "\"17-Jul-1996 02:44:25 -0700",
        "\"17-Jul-1996  02:44:25 -0700\"",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t seconds;
        if (parse_date_time(cases[i], &seconds))
            fail_msg("%s was taken", cases[i]);
    }
}

static void what_is_written_can_be_read_and_agrees_with_the_c_library(void **state)
{
    (void)state;
    for (int64_t s = -62135596800; s <= 253402300799; s += 86400 * 37 + 12345) {
        struct cq_buf out;
        struct tm tm;
        char want[64];
        int64_t back;
        time_t t = (time_t)s;
        cq_buf_init(&out, 100);
        assert_true(imap_write_date_time(&out, s));
        gmtime_r(&t, &tm);
        strftime(want, sizeof want, "%b", &tm);
        char text[100];
        snprintf(text, sizeof text, "\"%2d-%s-%04d %02d:%02d:%02d +0000\"", tm.tm_mday, want, tm.tm_year + 1900,
                 tm.tm_hour, tm.tm_min, tm.tm_sec);
        assert_slice(cq_buf_slice(&out), text);
        assert_true(parse_date_time(text, &back));
        assert_int_equal(back, s);
        cq_buf_fini(&out);
    }
}

static void moments_that_have_no_four_digit_year_are_cut(void **state)
{
    (void)state;
    struct cq_buf out;
    cq_buf_init(&out, 100);
    imap_write_date_time(&out, INT64_MAX);
    imap_write_date_time(&out, INT64_MIN);
    assert_slice(cq_buf_slice(&out), "\"31-Dec-9999 23:59:59 +0000\"\" 1-Jan-0001 00:00:00 +0000\"");
    assert_int_equal(imap_day_of(-1), -1);
    assert_int_equal(imap_day_of(86399), 0);
    cq_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_are_days_since_1970),
        cmocka_unit_test(what_is_no_date_is_refused),
        cmocka_unit_test(date_times_are_seconds_in_utc),
        cmocka_unit_test(what_is_no_date_time_is_refused),
        cmocka_unit_test(what_is_written_can_be_read_and_agrees_with_the_c_library),
        cmocka_unit_test(moments_that_have_no_four_digit_year_are_cut),
    };
    return cmocka_run_group_tests_name("imap_date", tests, NULL, NULL);
}
