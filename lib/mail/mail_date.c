#include "mail/mail_date.h"

#define TEXT_MAX 256 /* octets of a Date field that are looked at */
#define DAY_S 86400

static const char MONTHS[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char DAYS[] = "SunMonTueWedThuFriSat";

/* RFC 5322 4.3; the military letters say nothing and count as UTC. */
static const struct {
    const char *name;
    int16_t minutes;
} ZONES[] = {
    {"UT", 0},     {"GMT", 0},    {"UTC", 0},    {"Z", 0},      {"EST", -300}, {"EDT", -240},
    {"CST", -360}, {"CDT", -300}, {"MST", -420}, {"MDT", -360}, {"PST", -480}, {"PDT", -420},
};

struct civil {
    int year, month, day, hour, minute, second, zone; /* month 1 to 12; -1: not seen yet */
};

static bool is_leap(int y)
{
    return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

static int month_days(int year, int month)
{
    static const int8_t N[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : N[month - 1];
}

/* Days since 1970-01-01 of a civil date, and back: the usual count of 400-year eras that start in March. */
static int32_t days_of(int year, int month, int day)
{
    int y = month <= 2 ? year - 1 : year;
    int era = y / 400, yoe = y % 400;
    int doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static struct civil civil_of(int64_t days)
{
    int64_t z = days + 719468;
    int64_t era = z / 146097, doe = z % 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    struct civil c = {.day = (int)(doy - (153 * mp + 2) / 5 + 1), .month = (int)(mp < 10 ? mp + 3 : mp - 9)};
    c.year = (int)(yoe + era * 400 + (c.month <= 2));
    return c;
}

static bool is_real(const struct civil *c)
{
    return c->year >= 1 && c->year <= 9999 && c->month >= 1 && c->month <= 12 && c->day >= 1 &&
           c->day <= month_days(c->year, c->month) && c->hour >= 0 && c->hour < 24 && c->minute >= 0 &&
           c->minute < 60 && c->second >= 0 && c->second <= 60;
}

static struct mail_time time_of(const struct civil *c)
{
    int64_t s = (int64_t)days_of(c->year, c->month, c->day) * DAY_S + c->hour * 3600 + c->minute * 60 +
                (c->second == 60 ? 59 : c->second);
    return (struct mail_time){.utc_s = s - (int64_t)c->zone * 60, .zone_min = (int16_t)c->zone};
}

/* 1 to n for a name of three letters in `names`, else 0. Only the first three letters count: "September" is one. */
static int name_index(struct cq_slice word, const char *names)
{
    for (int i = 0; names[3 * i] && word.len >= 3; i++)
        if (cq_slice_casestarts(word, cq_slice_of(names + 3 * i, 3)))
            return i + 1;
    return 0;
}

static bool is_alpha(uint8_t c)
{
    return cq_ascii_lower(c) >= 'a' && cq_ascii_lower(c) <= 'z';
}

/* ---- the header's date ---- */

struct lexer {
    struct cq_slice rest;
};

/* Skips comments and all octets up to one that is wanted. */
static void skip_to(struct lexer *lex, bool (*wanted)(uint8_t c))
{
    int depth = 0;
    for (; lex->rest.len; lex->rest = cq_slice_skip(lex->rest, 1)) {
        uint8_t c = lex->rest.data[0];
        if (c == '(')
            depth++;
        else if (c == ')' && depth)
            depth--;
        else if (c == '\\' && depth && lex->rest.len > 1)
            lex->rest = cq_slice_skip(lex->rest, 1);
        else if (!depth && wanted(c))
            return;
    }
}

static bool starts_item(uint8_t c)
{
    return cq_ascii_digit(c) || is_alpha(c) || c == '+' || c == '-';
}

static bool is_no_blank(uint8_t c)
{
    return c != ' ' && c != '\t' && c != '\r' && c != '\n';
}

static struct cq_slice take_word(struct lexer *lex)
{
    size_t n = 0;
    while (n < lex->rest.len && is_alpha(lex->rest.data[n]))
        n++;
    struct cq_slice word = cq_slice_sub(lex->rest, 0, n);
    lex->rest = cq_slice_skip(lex->rest, n);
    return word;
}

/* Up to 6 digits; *n_r how many there were. More are skipped and count as 7. */
static int take_number(struct lexer *lex, size_t *n_r)
{
    int value = 0;
    size_t n = 0;
    for (; lex->rest.len && cq_ascii_digit(lex->rest.data[0]); lex->rest = cq_slice_skip(lex->rest, 1))
        if (n < 7 && ++n < 7)
            value = value * 10 + (lex->rest.data[0] - '0');
    *n_r = n;
    return value;
}

static bool take_byte(struct lexer *lex, uint8_t c)
{
    if (lex->rest.len == 0 || lex->rest.data[0] != c)
        return false;
    lex->rest = cq_slice_skip(lex->rest, 1);
    return true;
}

/* A colon, with obsolete blanks and comments around it (RFC 5322 4.3). */
static bool take_colon(struct lexer *lex)
{
    struct lexer at = *lex;
    skip_to(&at, is_no_blank);
    if (!take_byte(&at, ':'))
        return false;
    skip_to(&at, is_no_blank);
    *lex = at;
    return true;
}

static void read_word(struct lexer *lex, struct civil *c)
{
    struct cq_slice word = take_word(lex);
    int month = name_index(word, MONTHS);
    if (month && c->month < 0) {
        c->month = month;
        return;
    }
    for (size_t i = 0; i < sizeof ZONES / sizeof *ZONES && c->hour >= 0 && c->zone == INT16_MAX; i++)
        if (cq_slice_caseeq(word, cq_slice_cstr(ZONES[i].name)))
            c->zone = ZONES[i].minutes;
    if (c->hour >= 0 && c->hour <= 12 && cq_slice_caseeq(word, CQ_SLICE("PM")))
        c->hour = c->hour % 12 + 12;
    else if (c->hour == 12 && cq_slice_caseeq(word, CQ_SLICE("AM")))
        c->hour = 0;
}

/* "+0130" or "-05:00" after the time; a "-" elsewhere is a separator ("1-Jan-2001"). */
static void read_sign(struct lexer *lex, struct civil *c)
{
    int sign = lex->rest.data[0] == '-' ? -1 : 1;
    struct lexer at = {cq_slice_skip(lex->rest, 1)};
    size_t n;
    int v = take_number(&at, &n);
    lex->rest = cq_slice_skip(lex->rest, 1);
    if (c->hour < 0 || c->zone != INT16_MAX || n < 1 || n > 4)
        return;
    if (n <= 2) {
        size_t m = 0;
        int minutes = take_byte(&at, ':') ? take_number(&at, &m) : 0;
        v = v * 100 + (m == 2 ? minutes : 0);
    }
    lex->rest = at.rest;
    c->zone = v / 100 < 24 && v % 100 < 60 ? sign * (v / 100 * 60 + v % 100) : 0;
}

/* RFC 5322 4.3: two digits are 1950 to 2049, three digits are since 1900. */
static int full_year(int value, size_t digits)
{
    if (digits <= 2)
        return value < 50 ? 2000 + value : 1900 + value;
    return digits == 3 ? 1900 + value : value;
}

static void read_time(struct lexer *lex, int hour, struct civil *c)
{
    size_t n, m = 0;
    int minute = take_number(lex, &n);
    int second = take_colon(lex) ? take_number(lex, &m) : 0;
    if (m && take_byte(lex, '.'))
        take_number(lex, &m);
    if (c->hour >= 0 || n < 1 || n > 2)
        return;
    c->hour = hour;
    c->minute = minute;
    c->second = second;
}

static void read_number(struct lexer *lex, struct civil *c)
{
    size_t n;
    int v = take_number(lex, &n);
    if (n <= 2 && take_colon(lex))
        read_time(lex, v, c);
    else if (n <= 2 && c->day < 0)
        c->day = v;
    else if (n >= 2 && n <= 4 && c->year < 0)
        c->year = full_year(v, n);
}

bool mail_date_parse(struct cq_slice text, struct mail_time *time_r)
{
    struct civil c = {-1, -1, -1, -1, 0, 0, INT16_MAX};
    struct lexer lex = {cq_slice_sub(text, 0, TEXT_MAX)};
    for (skip_to(&lex, starts_item); lex.rest.len; skip_to(&lex, starts_item)) {
        uint8_t first = lex.rest.data[0];
        if (is_alpha(first))
            read_word(&lex, &c);
        else if (cq_ascii_digit(first))
            read_number(&lex, &c);
        else
            read_sign(&lex, &c);
    }
    if (c.zone == INT16_MAX)
        c.zone = 0;
    if (!is_real(&c))
        return false;
    *time_r = time_of(&c);
    return true;
}

/* ---- writing ---- */

/* The local calendar of a time, kept inside the years that four digits can show. */
static struct civil local_of(struct mail_time time)
{
    const int64_t first = (int64_t)days_of(1, 1, 1) * DAY_S, last = (int64_t)days_of(9999, 12, 31) * DAY_S + DAY_S - 1;
    int64_t s = time.utc_s < first - DAY_S ? first - DAY_S : time.utc_s > last + DAY_S ? last + DAY_S : time.utc_s;
    s += (int64_t)time.zone_min * 60;
    s = s < first ? first : s > last ? last : s;
    int64_t days = s / DAY_S - (s % DAY_S < 0), in_day = s - days * DAY_S;
    struct civil c = civil_of(days);
    c.hour = (int)(in_day / 3600);
    c.minute = (int)(in_day / 60 % 60);
    c.second = (int)(in_day % 60);
    return c;
}

static void write_zone(int minutes, struct cq_buf *out)
{
    int m = minutes < 0 ? -minutes : minutes;
    cq_buf_printf(out, "%c%02d%02d", minutes < 0 ? '-' : '+', m / 60 % 100, m % 60);
}

void mail_date_write(struct mail_time time, struct cq_buf *out)
{
    struct civil c = local_of(time);
    int weekday = (int)((days_of(c.year, c.month, c.day) % 7 + 11) % 7); /* 1970-01-01 was a Thursday */
    cq_buf_printf(out, "%.3s, %02d %.3s %04d %02d:%02d:%02d ", DAYS + 3 * weekday, c.day, MONTHS + 3 * (c.month - 1),
                  c.year, c.hour, c.minute, c.second);
    write_zone(time.zone_min, out);
}

void mail_imap_date_time_write(struct mail_time time, struct cq_buf *out)
{
    struct civil c = local_of(time);
    cq_buf_printf(out, "%2d-%.3s-%04d %02d:%02d:%02d ", c.day, MONTHS + 3 * (c.month - 1), c.year, c.hour, c.minute,
                  c.second);
    write_zone(time.zone_min, out);
}

/* ---- IMAP's forms: strict ---- */

/* Exactly n digits. */
static bool take_digits(struct cq_slice *s, size_t n, int *value_r)
{
    uint64_t v;
    if (s->len < n || !cq_slice_u64(cq_slice_sub(*s, 0, n), 9999, &v))
        return false;
    *s = cq_slice_skip(*s, n);
    *value_r = (int)v;
    return true;
}

static bool take_exactly(struct cq_slice *s, uint8_t c)
{
    if (s->len == 0 || s->data[0] != c)
        return false;
    *s = cq_slice_skip(*s, 1);
    return true;
}

/* "d-Mon-yyyy" with one or two digits or a blank and a digit. */
static bool take_imap_date(struct cq_slice *s, struct civil *c)
{
    take_exactly(s, ' ');
    size_t digits = s->len > 1 && cq_ascii_digit(s->data[1]) ? 2 : 1;
    if (!take_digits(s, digits, &c->day) || !take_exactly(s, '-'))
        return false;
    c->month = name_index(cq_slice_sub(*s, 0, 3), MONTHS);
    *s = cq_slice_skip(*s, 3);
    return c->month && take_exactly(s, '-') && take_digits(s, 4, &c->year);
}

bool mail_imap_date_parse(struct cq_slice text, int32_t *day_r)
{
    struct civil c = {0};
    if (!take_imap_date(&text, &c) || text.len || !is_real(&c))
        return false;
    *day_r = days_of(c.year, c.month, c.day);
    return true;
}

bool mail_imap_date_time_parse(struct cq_slice text, struct mail_time *time_r)
{
    struct civil c = {0};
    int zone_hours, zone_minutes;
    if (!take_imap_date(&text, &c) || !take_exactly(&text, ' ') || !take_digits(&text, 2, &c.hour) ||
        !take_exactly(&text, ':') || !take_digits(&text, 2, &c.minute) || !take_exactly(&text, ':') ||
        !take_digits(&text, 2, &c.second) || !take_exactly(&text, ' '))
        return false;
    bool west = take_exactly(&text, '-');
    if ((!west && !take_exactly(&text, '+')) || !take_digits(&text, 2, &zone_hours) ||
        !take_digits(&text, 2, &zone_minutes) || text.len || zone_hours > 23 || zone_minutes > 59 || !is_real(&c))
        return false;
    c.zone = (zone_hours * 60 + zone_minutes) * (west ? -1 : 1);
    *time_r = time_of(&c);
    return true;
}

int32_t mail_time_day(struct mail_time time)
{
    int64_t s = time.utc_s + (int64_t)time.zone_min * 60;
    int64_t day = s / DAY_S - (s % DAY_S < 0);
    return day < INT32_MIN ? INT32_MIN : day > INT32_MAX ? INT32_MAX : (int32_t)day;
}
