/* Header text: RFC 2047 encoded words to UTF-8 and back, raw 8-bit octets made UTF-8. */
#ifndef MAIL_WORD_H
#define MAIL_WORD_H

#include "base/cq_buf.h"

/* Appends the value unfolded, encoded words decoded and converted, the rest made UTF-8 as by mail_utf8_clean. Lenient:
 * encoded words anywhere, also inside quotes or without blanks around them; a character split over two adjacent words
 * of one charset; a word that is broken or whose charset is not known stays as it is. Linear. The output holds no CR,
 * LF, NUL. */
void mail_word_decode(struct cq_slice value, struct cq_buf *out);

/* Appends UTF-8 text for a header: as it is when it is ASCII without controls and "=?", else as encoded words of at
 * most 75 characters with a blank between them, charset utf-8: Q, or B when half of it or more would be codes. */
void mail_word_encode(struct cq_slice utf8, struct cq_buf *out);

/* Appends text of unknown charset as UTF-8: as it is when it is valid UTF-8, else every octet over 127 is taken for
 * windows-1252. */
void mail_utf8_clean(struct cq_slice text, struct cq_buf *out);

bool mail_is_ascii(struct cq_slice text); /* only octets 1 to 127 */
bool mail_is_utf8(struct cq_slice text);

#endif
