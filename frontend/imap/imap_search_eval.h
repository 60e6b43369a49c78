/* Evaluates a SEARCH program message by message. A key is undecided until what it needs is known: first the record
 * (flags, dates, sizes), then the summary (ENVELOPE), the header's octets, the body's. Reading stops as soon as the
 * whole program is decided, so a body is read only when nothing cheaper settles the matter. */
#ifndef IMAP_SEARCH_EVAL_H
#define IMAP_SEARCH_EVAL_H

#include "imap/imap_message.h"

/* What a key needs. */
enum imap_search_level {
    IMAP_LEVEL_UID, /* the view alone */
    IMAP_LEVEL_RECORD,
    IMAP_LEVEL_SUMMARY,
    IMAP_LEVEL_HEADER,
    IMAP_LEVEL_BODY
};
enum imap_answer { IMAP_UNDECIDED, IMAP_MISS, IMAP_HIT };

struct imap_eval;

/* NULL: the tagged answer is set (charset, a number that is not there, a string too long). */
struct imap_eval *imap_eval_new(struct imap_run *run, const struct imap_search *search);
void imap_eval_free(struct imap_eval **eval);

/* Does any key need more than this level? */
bool imap_eval_needs_over(const struct imap_eval *eval, enum imap_search_level level);

/* By UID alone. */
enum imap_answer imap_eval_uid(struct imap_eval *eval, uint32_t uid);
/* By the record, without reading anything. */
enum imap_answer imap_eval_record(struct imap_eval *eval, const struct fetch_record *record,
                                  const struct mail_records *table);
/* To the end; the record has its summary when any key needs it. Suspends for header and body. */
enum cq_rc imap_eval_message(struct imap_eval *eval, const struct fetch_record *record,
                             const struct mail_records *table, bool *hit_r, struct cq_err *err);

#endif
