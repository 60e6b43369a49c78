/* A text part's octets as UTF-8 text while they stream by: transfer decoding, charset, and for HTML the tags taken out.
 * The preview and SEARCH read bodies through this. */
#ifndef MAIL_TEXT_PART_H
#define MAIL_TEXT_PART_H

#include "mail/mail_charset.h"
#include "mail/mail_html.h"
#include "mail/mail_transfer.h"

struct mail_text_part;

struct mail_text_part *mail_text_part_new(enum mail_encoding encoding, struct cq_slice charset, bool strip_html);
void mail_text_part_free(struct mail_text_part **p);

/* The UTF-8 text that these octets add, whole characters; borrowed until the next call. */
struct cq_slice mail_text_part_feed(struct mail_text_part *p, struct cq_slice octets);
struct cq_slice mail_text_part_finish(struct mail_text_part *p);

#endif
