/* Message ids (RFC 5322 3.6.4): the <id>s of Message-ID, In-Reply-To and References. */
#ifndef MAIL_MSGID_H
#define MAIL_MSGID_H

#include "base/cq_buf.h"

/* Takes the next <id> off *rest (comments and words between ids are skipped). *id_r is what stands between the angle
 * brackets, never empty, blanks inside included as they stand (mail_msgid_write leaves them out). */
bool mail_msgid_next(struct cq_slice *rest, struct cq_slice *id_r);

/* Appends the id in the form that THREAD compares (RFC 5256): quoted pairs and quotes resolved, blanks and line ends
 * left out; without angle brackets. */
void mail_msgid_write(struct cq_slice id, struct cq_buf *out);

#endif
