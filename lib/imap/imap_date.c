#include "imap/imap_date.h"

#define DAY_S 86400

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

static bool is_leap(int32_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int32_t month_days(int32_t year, int32_t month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && is_leap(year));
}

/* Days since 1970-01-01. A year begins in March here, so that the leap day is its last (Howard Hinnant,
 * "chrono-Compatible Low-Level Date Algorithms", days_from_civil). */
static int32_t day_number(int32_t year, int32_t month, int32_t day)
{
    year -= month <= 2;
    int32_t era = year / 400, year_of_era = year - era * 400;
    int32_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int32_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

/* ---- Reading ---- */

static bool parse_digits(struct imap_parser *p, int count, int32_t *number_r)
{
    *number_r = 0;
    for (int i = 0; i < count; i++, p->at++) {
        if (imap_at_end(p) || !cq_ascii_digit(*p->at))
            return false;
        *number_r = *number_r * 10 + (*p->at - '0');
    }
    return true;
}

static bool parse_month(struct imap_parser *p, int32_t *month_r)
{
    struct cq_slice name = cq_slice_sub(imap_rest(p), 0, 3);
    for (int32_t m = 0; m < 12; m++) {
        if (cq_slice_caseeq(name, cq_slice_of(months + m * 3, 3))) {
            p->at += 3;
            *month_r = m + 1;
            return true;
        }
    }
    return false;
}

/* d-Mon-yyyy; a space may stand for the first of two digits. */
static bool parse_day(struct imap_parser *p, int32_t *day_r)
{
    int32_t day, month, year;
    bool space = imap_try_byte(p, ' ');
    bool two = !space && p->end - p->at >= 2 && cq_ascii_digit(p->at[1]);
    bool ok = parse_digits(p, two ? 2 : 1, &day) && imap_try_byte(p, '-') && parse_month(p, &month) &&
              imap_try_byte(p, '-') && parse_digits(p, 4, &year);
    if (!ok || year < 1 || day < 1 || day > month_days(year, month))
        return imap_expected(p, "Expected a date like 1-Feb-1994");
    *day_r = day_number(year, month, day);
    return true;
}

bool imap_parse_date(struct imap_parser *p, int32_t *day_r)
{
    bool quoted = imap_try_byte(p, '"');
    return parse_day(p, day_r) && (!quoted || imap_parse_byte(p, '"', "Expected the end of the date"));
}

static bool parse_time(struct imap_parser *p, int32_t *seconds_r)
{
    int32_t h, m, s;
    bool ok = parse_digits(p, 2, &h) && imap_try_byte(p, ':') && parse_digits(p, 2, &m) && imap_try_byte(p, ':') &&
              parse_digits(p, 2, &s);
    if (!ok || h > 23 || m > 59 || s > 60)
        return false;
    *seconds_r = h * 3600 + m * 60 + (s == 60 ? 59 : s);
    return true;
}

static bool parse_zone(struct imap_parser *p, int32_t *seconds_r)
{
    bool west = imap_peek(p, '-');
    int32_t h, m;
    if (!west && !imap_peek(p, '+'))
        return false;
    p->at++;
    if (!parse_digits(p, 2, &h) || !parse_digits(p, 2, &m) || h > 23 || m > 59)
        return false;
    *seconds_r = (h * 3600 + m * 60) * (west ? -1 : 1);
    return true;
}

bool imap_parse_date_time(struct imap_parser *p, int64_t *seconds_r)
{
    int32_t day, seconds, zone;
    bool ok = imap_try_byte(p, '"') && parse_day(p, &day) && imap_try_byte(p, ' ') && parse_time(p, &seconds) &&
              imap_try_byte(p, ' ') && parse_zone(p, &zone) && imap_try_byte(p, '"');
    if (!ok)
        return imap_expected(p, "Expected a date like \"17-Jul-1996 02:44:25 -0700\"");
    *seconds_r = (int64_t)day * DAY_S + seconds - zone;
    return true;
}

/* ---- Writing ---- */

int32_t imap_day_of(int64_t seconds)
{
    int64_t day = seconds / DAY_S - (seconds % DAY_S < 0);
    return (int32_t)(day > INT32_MAX ? INT32_MAX : day < INT32_MIN ? INT32_MIN : day);
}

/* The inverse of day_number (civil_from_days of the same paper). */
static void civil(int32_t day, int32_t *y, int32_t *m, int32_t *d)
{
    day += 719468; /* never negative for the years that we show */
    int32_t era = day / 146097, day_of_era = day - era * 146097;
    int32_t year = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int32_t day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    int32_t month = (5 * day_of_year + 2) / 153;
    *d = day_of_year - (153 * month + 2) / 5 + 1;
    *m = month < 10 ? month + 3 : month - 9;
    *y = year + era * 400 + (*m <= 2);
}

bool imap_write_date_time(struct cq_buf *out, int64_t seconds)
{
    const int64_t first = (int64_t)day_number(1, 1, 1) * DAY_S;
    const int64_t last = (int64_t)day_number(9999, 12, 31) * DAY_S + DAY_S - 1;
    seconds = seconds < first ? first : seconds > last ? last : seconds;
    int32_t day = imap_day_of(seconds), y, m, d;
    int32_t second = (int32_t)(seconds - (int64_t)day * DAY_S);
    civil(day, &y, &m, &d);
    return cq_buf_printf(out, "\"%2d-%.3s-%04d %02d:%02d:%02d +0000\"", d, months + (m - 1) * 3, y, second / 3600,
                         second / 60 % 60, second % 60);
}
