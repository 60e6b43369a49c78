#include "mail/mail_date.h"

#include "unit/mail/mail_test.h"

static const struct {
    const char *text, *want; /* NULL: not a date */
} DATES[] = {
    {"Fri, 21 Nov 1997 09:55:06 -0600", "Fri, 21 Nov 1997 09:55:06 -0600"},
    {"21 Nov 1997 09:55:06 -0600", "Fri, 21 Nov 1997 09:55:06 -0600"},
    {"Fri, 21 Nov 97 09:55 GMT", "Fri, 21 Nov 1997 09:55:00 +0000"},
    {"Fri,21 Nov 1997 09(comment):   55  :  06 -0600", "Fri, 21 Nov 1997 09:55:06 -0600"},
    {"Thu,\r\n 13\r\n Feb\r\n 1969\r\n 23:32\r\n -0330 (Newfoundland Time)", "Thu, 13 Feb 1969 23:32:00 -0330"},
    {"1 Jan 2000 00:00:60 +0000", "Sat, 01 Jan 2000 00:00:59 +0000"},
    {"29 Feb 2000 12:00:00 +0000", "Tue, 29 Feb 2000 12:00:00 +0000"},
    {"29 Feb 1900 12:00:00 +0000", NULL},
    {"31 Apr 2020 12:00:00 +0000", NULL},
    {"1 Jan 49 00:00:00 UT", "Fri, 01 Jan 2049 00:00:00 +0000"},
    {"1 Jan 50 00:00:00 UT", "Sun, 01 Jan 1950 00:00:00 +0000"},
    {"1 Jan 102 00:00:00 UT", "Tue, 01 Jan 2002 00:00:00 +0000"},
    {"1 Jan 2001 12:00 EST", "Mon, 01 Jan 2001 12:00:00 -0500"},
    {"1 Jan 2001 12:00 PDT", "Mon, 01 Jan 2001 12:00:00 -0700"},
    {"1 Jan 2001 12:00 X", "Mon, 01 Jan 2001 12:00:00 +0000"},
    {"1 Jan 2001 12:00", "Mon, 01 Jan 2001 12:00:00 +0000"},
    {"1 January 2001 12:00:00 +01:30", "Mon, 01 Jan 2001 12:00:00 +0130"},
    {"1-Jan-2001 12:00:00 +0100", "Mon, 01 Jan 2001 12:00:00 +0100"},
    {"Mon Jan  1 12:00:00 2001", "Mon, 01 Jan 2001 12:00:00 +0000"},
    {"1 Jan 2001 12:00:00.123 +0100", "Mon, 01 Jan 2001 12:00:00 +0100"},
    {"1 Jan 2001 11:00:00 PM", "Mon, 01 Jan 2001 23:00:00 +0000"},
    {"1 Jan 2001 12:00:00 +9999", "Mon, 01 Jan 2001 12:00:00 +0000"},
    {"1 Jan 0001 00:00:00 +0000", "Mon, 01 Jan 0001 00:00:00 +0000"},
    {"31 Dec 9999 23:59:59 -2359", "Fri, 31 Dec 9999 23:59:59 -2359"},
    {"31 Dec 99999 23:59:59 +0000", NULL},
    {"1 Jan 2001", NULL},
    {"1 Jan 1 12:00:00", NULL},
    {"1 Jan 2001 24:00:00", NULL},
    {"1 Jan 2001 12:60:00", NULL},
    {"0 Jan 2001 12:00:00", NULL},
    {"12:00:00", NULL},
    {"", NULL},
    {"(", NULL},
    {"(\\", NULL},
    {"now", NULL},
    {"99999999999999999999 Jan 2001 12:00", NULL},
};

static void a_header_date_is_read_leniently_and_written_in_its_zone(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROWS(DATES); i++) {
        struct mail_time time = {77, 7};
        struct cq_buf out;
        cq_buf_init(&out, 100);
        bool ok = mail_date_parse(cq_slice_cstr(DATES[i].text), &time);
        if (ok)
            mail_date_write(time, &out);
        else
            assert_int_equal(time.utc_s, 77);
        if (DATES[i].want)
            assert_row_text(i, text_of(&out), DATES[i].want);
        else if (ok)
            fail_msg("row %u is not a date", i);
        cq_buf_fini(&out);
    }
}

static void the_moment_is_utc(void **state)
{
    (void)state;
    struct mail_time t;
    assert_true(mail_date_parse(CQ_SLICE("Thu, 1 Jan 1970 01:00:00 +0100"), &t));
    assert_int_equal(t.utc_s, 0);
    assert_int_equal(t.zone_min, 60);
    assert_true(mail_date_parse(CQ_SLICE("Wed, 31 Dec 1969 23:59:59 +0000"), &t));
    assert_int_equal(t.utc_s, -1);
}

static const struct {
    const char *text, *want;
} DATE_TIMES[] = {
    {"17-Jul-1996 02:44:25 -0700", "17-Jul-1996 02:44:25 -0700"},
    {" 1-Jul-1996 02:44:25 +0000", " 1-Jul-1996 02:44:25 +0000"},
    {"01-Jul-1996 02:44:25 +0000", " 1-Jul-1996 02:44:25 +0000"},
    {"1-Jul-1996 02:44:25 +0000", " 1-Jul-1996 02:44:25 +0000"},
    {"17-jul-1996 02:44:25 -0700", "17-Jul-1996 02:44:25 -0700"},
    {"17-Jul-1996 02:44:25", NULL},
    {"17-Jul-1996 2:44:25 -0700", NULL},
    {"17-Jul-1996 24:44:25 -0700", NULL},
    {"17-Jul-1996 02:44:25 -07000", NULL},
    {"17-Jul-1996 02:44:25 -0760", NULL},
    {"17-Jul-96 02:44:25 -0700", NULL},
    {"32-Jul-1996 02:44:25 -0700", NULL},
    {"17-Foo-1996 02:44:25 -0700", NULL},
    {"17-Jul-1996 02:44:25 -0700 ", NULL},
    {"", NULL},
};

static void an_imap_date_time_is_strict(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROWS(DATE_TIMES); i++) {
        struct mail_time time;
        struct cq_buf out;
        cq_buf_init(&out, 100);
        bool ok = mail_imap_date_time_parse(cq_slice_cstr(DATE_TIMES[i].text), &time);
        if (ok)
            mail_imap_date_time_write(time, &out);
        if (DATE_TIMES[i].want)
            assert_row_text(i, text_of(&out), DATE_TIMES[i].want);
        else if (ok)
            fail_msg("row %u is not a date-time", i);
        cq_buf_fini(&out);
    }
}

static void a_search_date_is_a_day(void **state)
{
    (void)state;
    const struct {
        const char *text;
        int32_t day; /* -1: not a date */
    } cases[] = {{"1-Jan-1970", 0},      {"01-Jan-1970", 0},  {"1-Feb-1994", 8797},
                 {"29-Feb-2000", 11016}, {"30-Feb-2000", -1}, {"1-Feb-94", -1},
                 {"1 Feb 1994", -1},     {"1-Feb-1994x", -1}, {"", -1}};
    for (unsigned i = 0; i < ROWS(cases); i++) {
        int32_t day = -1;
        bool ok = mail_imap_date_parse(cq_slice_cstr(cases[i].text), &day);
        assert_int_equal(ok, cases[i].day >= 0);
        assert_int_equal(day, cases[i].day);
    }
}

static void a_day_is_that_of_the_times_own_zone(void **state)
{
    (void)state;
    struct mail_time t;
    assert_true(mail_date_parse(CQ_SLICE("2 Jan 1970 00:30:00 +0200"), &t));
    assert_int_equal(mail_time_day(t), 1);
    assert_true(mail_date_parse(CQ_SLICE("31 Dec 1969 23:30:00 -0800"), &t));
    assert_int_equal(mail_time_day(t), -1);
    assert_int_equal(mail_time_day((struct mail_time){INT64_MAX - 100000, 0}), INT32_MAX);
}

static void a_time_outside_the_calendar_is_still_written(void **state)
{
    (void)state;
    struct cq_buf out;
    cq_buf_init(&out, 200);
    mail_date_write((struct mail_time){INT64_MAX, 1439}, &out);
    mail_imap_date_time_write((struct mail_time){INT64_MIN, -1439}, &out);
    assert_row_text(0, text_of(&out), "Fri, 31 Dec 9999 23:59:59 +2359 1-Jan-0001 00:00:00 -2359");
    cq_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_date_is_read_leniently_and_written_in_its_zone),
        cmocka_unit_test(the_moment_is_utc),
        cmocka_unit_test(an_imap_date_time_is_strict),
        cmocka_unit_test(a_search_date_is_a_day),
        cmocka_unit_test(a_day_is_that_of_the_times_own_zone),
        cmocka_unit_test(a_time_outside_the_calendar_is_still_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
