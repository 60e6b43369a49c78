/* Content-Transfer-Encoding (RFC 2045 6): streaming decoders, and base64 for writing. The result does not depend on
 * how the input is cut. */
#ifndef MAIL_TRANSFER_H
#define MAIL_TRANSFER_H

#include "base/cq_buf.h"

enum mail_encoding {
    MAIL_ENCODING_7BIT,
    MAIL_ENCODING_8BIT,
    MAIL_ENCODING_BINARY,
    MAIL_ENCODING_QP,
    MAIL_ENCODING_BASE64,
    MAIL_ENCODING_OTHER /* decoded as if it were binary; BINARY[] answers UNKNOWN-CTE */
};

/* value: the field's, blanks and comments around the token allowed. Empty: 7BIT. */
enum mail_encoding mail_encoding_of(struct cq_slice value);

#define MAIL_TRANSFER_PENDING_MAX 1000 /* octets: blanks that may stand at a line's end */

struct mail_transfer {
    enum mail_encoding encoding;
    uint32_t bits, bit_count; /* base64 */
    uint8_t state, hex;       /* quoted-printable: what was seen after '=' */
    uint16_t pending;         /* blanks held back, in `blanks` */
    uint8_t blanks[MAIL_TRANSFER_PENDING_MAX];
};

void mail_transfer_init(struct mail_transfer *t, enum mail_encoding encoding);

/* Appends what `in` decodes to; never more than in.len + MAIL_TRANSFER_PENDING_MAX + 3 octets. base64: octets outside
 * the alphabet are skipped, data after padding goes on. Quoted-printable: a "=" that starts no code stays as it is. */
void mail_transfer_decode(struct mail_transfer *t, struct cq_slice in, struct cq_buf *out);
void mail_transfer_finish(struct mail_transfer *t, struct cq_buf *out);

/* Base64 without line breaks (line_length 0) or with CRLF after each line_length characters (a multiple of 4). */
void mail_base64_write(struct cq_slice in, unsigned line_length, struct cq_buf *out);

#endif
