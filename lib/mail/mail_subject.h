/* The base subject of RFC 5256 2.1, for SORT and THREAD. */
#ifndef MAIL_SUBJECT_H
#define MAIL_SUBJECT_H

#include "base/cq_buf.h"

#define MAIL_SUBJECT_MAX 2048 /* octets of the decoded subject that are looked at */

/* subject: decoded to UTF-8 (mail_word_decode). Appends the base subject (may be empty), blanks squeezed; its case is
 * kept (compare with mail_fold). True when something that marks a reply or forward was removed. */
bool mail_base_subject(struct cq_slice subject, struct cq_buf *out);

#endif
