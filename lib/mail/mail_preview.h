/* Gathers a preview (RFC 8970) from text as it streams by: blanks squeezed, controls left out, at most
 * MAIL_PREVIEW_MAX_CHARACTERS characters, cut between characters. */
#ifndef MAIL_PREVIEW_H
#define MAIL_PREVIEW_H

#include "mail/mail_summary.h"

#define MAIL_PREVIEW_MAX_OCTETS (4 * MAIL_PREVIEW_MAX_CHARACTERS)

struct mail_preview {
    uint8_t text[MAIL_PREVIEW_MAX_OCTETS];
    uint16_t len, characters;
    bool blank; /* a blank waits for the next character */
};

void mail_preview_init(struct mail_preview *p);
void mail_preview_add(struct mail_preview *p, struct cq_slice utf8); /* whole characters, valid UTF-8 */
bool mail_preview_full(const struct mail_preview *p);
struct cq_slice mail_preview_text(const struct mail_preview *p);

#endif
