/* Dates of commands and INTERNALDATE (RFC 3501 date, date-time). Proleptic Gregorian calendar, years 1 to 9999. */
#ifndef IMAP_DATE_H
#define IMAP_DATE_H

#include "base/cq_buf.h"
#include "imap/imap_parse.h"

/* "1-Feb-1994" with or without quotes; *day_r: days since 1970-01-01. */
bool imap_parse_date(struct imap_parser *p, int32_t *day_r);

/* "17-Jul-1996 02:44:25 -0700" in quotes; *seconds_r: since 1970-01-01T00:00:00Z. A leap second counts as the second
 * before it. */
bool imap_parse_date_time(struct imap_parser *p, int64_t *seconds_r);

/* The same in quotes and in UTC ("+0000"); the day has two characters. Out of the years 1..9999: the nearest moment. */
bool imap_write_date_time(struct cq_buf *out, int64_t seconds);

/* The UTC day of a moment, for SEARCH BEFORE, ON and SINCE. */
int32_t imap_day_of(int64_t seconds);

#endif
