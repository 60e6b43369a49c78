/* What the renderers of ENVELOPE and BODYSTRUCTURE share. */
#ifndef MAIL_RENDER_PRIVATE_H
#define MAIL_RENDER_PRIVATE_H

#include "mail/mail_render.h"

/* A string in the session's form: `utf8` or ASCII. */
void mail_render_string(struct cq_slice text, bool utf8, struct cq_buf *out);

/* A header value as a string: unfolded; at most `max` octets of it (*cut_r: there were more; NULL: nobody asks); for
 * ASCII sessions raw 8-bit text as encoded words. */
void mail_render_text(struct cq_slice value, bool utf8, size_t max, struct cq_buf *out, bool *cut_r);

#endif
