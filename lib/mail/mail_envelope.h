/* Reads a rendered ENVELOPE (mail_summary_envelope) again: SEARCH FROM/TO/CC/BCC/SUBJECT and SORT FROM/TO/CC/SUBJECT
 * are defined over it (RFC 3501 6.4.4, RFC 5256 3) and so need no message octets. Slices borrow the text. */
#ifndef MAIL_ENVELOPE_H
#define MAIL_ENVELOPE_H

#include "mail/mail_fold.h"

enum mail_envelope_field {
    MAIL_ENVELOPE_DATE,
    MAIL_ENVELOPE_SUBJECT,
    MAIL_ENVELOPE_FROM,
    MAIL_ENVELOPE_SENDER,
    MAIL_ENVELOPE_REPLY_TO,
    MAIL_ENVELOPE_TO,
    MAIL_ENVELOPE_CC,
    MAIL_ENVELOPE_BCC,
    MAIL_ENVELOPE_IN_REPLY_TO,
    MAIL_ENVELOPE_MESSAGE_ID,
    MAIL_ENVELOPE_FIELDS
};

/* The ten members as they stand (NIL, a string, or a list with its parentheses). False when it is not an ENVELOPE. */
bool mail_envelope_split(struct cq_slice envelope, struct cq_slice members_r[static MAIL_ENVELOPE_FIELDS]);

/* Appends a member as UTF-8 text, encoded words decoded: a string's value, or addresses as "name <local@domain>, ...".
 * NIL appends nothing and is false. */
bool mail_envelope_text(struct cq_slice member, struct cq_buf *out);

/* Appends the local part of the list's first address (SORT FROM, TO, CC). */
bool mail_envelope_first_local(struct cq_slice member, struct cq_buf *out);

/* SEARCH FROM, SUBJECT, ...: is the needle in that member (decoded, folded)? Prefer the UTF-8 variant of the ENVELOPE.
 */
bool mail_envelope_contains(struct cq_slice envelope, enum mail_envelope_field field, const struct mail_needle *needle);

#endif
