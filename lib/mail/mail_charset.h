/* Charsets to UTF-8 (iconv), streaming. Only charsets of our own list reach iconv: names come from
 * strangers. UTF-7 is not among them: nobody needs it and glibc's decoder depends on how broken input is cut. */
#ifndef MAIL_CHARSET_H
#define MAIL_CHARSET_H

#include "base/cq_buf.h"

struct mail_charset;

/* Is it one that we convert (SEARCH CHARSET: else NO [BADCHARSET])? ASCII case-insensitive, aliases included. */
bool mail_charset_known(struct cq_slice name);

/* A converter. Never NULL: for a name that is not known (or empty) valid UTF-8 stays and any other octet over 127
 * becomes U+FFFD. us-ascii is treated so as well; iso-8859-1 is taken for windows-1252, as every reader does. */
struct mail_charset *mail_charset_new(struct cq_slice name);
void mail_charset_free(struct mail_charset **cs);

/* Is the converter the one that this known name gives? */
bool mail_charset_is(const struct mail_charset *cs, struct cq_slice name);

/* Appends UTF-8, always whole characters; input that is not valid becomes U+FFFD. An unfinished character waits for the
 * next call; finish ends the text: what waits becomes U+FFFD, the converter is as new. At most
 * MAIL_CHARSET_GROWTH * (in.len + 16) octets are appended. */
#define MAIL_CHARSET_GROWTH 6
void mail_charset_decode(struct mail_charset *cs, struct cq_slice in, struct cq_buf *out);
void mail_charset_finish(struct mail_charset *cs, struct cq_buf *out);

#endif
