/* SEARCH in message octets: substring semantics over decoded, converted and folded text (RFC 3501 6.4.4).
 *
 * HEADER: mail_match_header over the octets of the outermost header. BODY and TEXT: a matcher that says which range of
 * the stored message it wants next and is fed with it in pieces of any size; attachments are never read and memory does
 * not grow with the message. BODY looks into text parts, and into the headers of parts and of messages inside; TEXT
 * into the outermost header too. */
#ifndef MAIL_MATCH_H
#define MAIL_MATCH_H

#include "mail/mail_fold.h"
#include "mail/mail_summary.h"

/* A field of that name whose value, unfolded and decoded, contains the needle; the empty needle: the field exists. */
bool mail_match_header(struct cq_slice header, struct cq_slice name, const struct mail_needle *needle);

enum mail_match_scope { MAIL_MATCH_BODY, MAIL_MATCH_TEXT };

struct mail_matcher;

/* Both are borrowed until free. The same needle may serve many matchers at once. */
struct mail_matcher *mail_matcher_new(const struct mail_summary *s, const struct mail_needle *needle,
                                      enum mail_match_scope scope);
void mail_matcher_free(struct mail_matcher **m);

/* The next range to feed (what is left of the present one), in rising order; false when the outcome is known. */
bool mail_matcher_want(const struct mail_matcher *m, uint64_t *off_r, uint64_t *len_r);

/* Octets from the beginning of that range, at most its length, any number at a time. */
void mail_matcher_feed(struct mail_matcher *m, struct cq_slice octets);

/* After want returned false: was it there? CQ_E_CORRUPT: the summary's part table is broken. */
enum cq_rc mail_matcher_result(const struct mail_matcher *m, bool *found_r);

/* For a message that is in memory. */
enum cq_rc mail_match_message(const struct mail_summary *s, struct cq_slice message, const struct mail_needle *needle,
                              enum mail_match_scope scope, bool *found_r);

#endif
