/* The form in which SEARCH, SORT and THREAD compare text: i;unicode-casemap (RFC 5051), character by character:
 * simple title case, then full decomposition, compatibility mappings included. So "strasse" does not match "straße",
 * the three Greek sigmas are one, Turkish dotless i is an i, accents stay as combining marks after their letter. */
#ifndef MAIL_FOLD_H
#define MAIL_FOLD_H

#include "base/cq_buf.h"

/* Appends the folded form of UTF-8 text; octets that are not UTF-8 become U+FFFD. A text may be folded in pieces cut
 * between characters. At most MAIL_FOLD_GROWTH times as long (one character decomposes to 18 at most). */
#define MAIL_FOLD_GROWTH 18
void mail_fold(struct cq_slice utf8, struct cq_buf *out);

/* One searched string, prepared once and used for many messages; immutable, so threads may share it. */
struct mail_needle;
#define MAIL_NEEDLE_MAX 16384 /* octets of the string, not folded */

/* text: UTF-8, at most MAIL_NEEDLE_MAX octets (longer: NULL). */
struct mail_needle *mail_needle_new(struct cq_slice text);
void mail_needle_free(struct mail_needle **needle);

/* Does UTF-8 text contain it? The empty string is in every text. */
bool mail_needle_in(const struct mail_needle *needle, struct cq_slice utf8);

/* The same for a text that comes in pieces, cut between characters: feed until it is true. Linear; keeps a bounded
 * window. */
struct mail_finder {
    const struct mail_needle *needle;
    struct cq_buf window;
    bool found;
};
void mail_finder_init(struct mail_finder *f, const struct mail_needle *needle);
void mail_finder_fini(struct mail_finder *f);
bool mail_finder_feed(struct mail_finder *f, struct cq_slice utf8);
void mail_finder_restart(struct mail_finder *f); /* what follows does not join what came before */

#endif
