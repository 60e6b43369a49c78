/* Dates: the header's (RFC 5322 3.3 with 4.3, and what real mail has), and IMAP's date-time and date (RFC 3501 9).
 * Proleptic Gregorian, years 1 to 9999; a leap second counts as the 59th. */
#ifndef MAIL_DATE_H
#define MAIL_DATE_H

#include "base/cq_buf.h"

struct mail_time {
    int64_t utc_s;    /* seconds since 1970-01-01T00:00:00Z */
    int16_t zone_min; /* minutes east of Greenwich in which it was written, -1439 to 1439 */
};

/* Lenient: day name, seconds and zone may be missing (zone: UTC), comments, obsolete zones (RFC 5322 4.3), two-digit
 * years, asctime's order. False, and *time_r untouched, when day, month, year or hour cannot be found or are
 * impossible. */
bool mail_date_parse(struct cq_slice text, struct mail_time *time_r);

/* "Fri, 21 Nov 1997 09:55:06 -0600" */
void mail_date_write(struct mail_time time, struct cq_buf *out);

/* IMAP date-time without its quotes, "17-Jul-1996 02:44:25 -0700", the day as two characters with a leading blank or
 * zero, or one digit (real clients). Strict otherwise. */
bool mail_imap_date_time_parse(struct cq_slice text, struct mail_time *time_r);

/* INTERNALDATE's 26 characters without the quotes, the day padded with a blank as RFC 3501 has it. */
void mail_imap_date_time_write(struct mail_time time, struct cq_buf *out);

/* IMAP date, "1-Feb-1994", without quotes: days since 1970-01-01. */
bool mail_imap_date_parse(struct cq_slice text, int32_t *day_r);

/* The calendar day that `time` shows in its own zone, as days since 1970-01-01: what SENTBEFORE, SENTON, SENTSINCE
 * (and BEFORE, ON, SINCE for INTERNALDATE) compare, "disregarding time and timezone". */
int32_t mail_time_day(struct mail_time time);

#endif
