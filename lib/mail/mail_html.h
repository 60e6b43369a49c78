/* HTML to the text that a person would read of it, roughly: tags, comments, <style>, <script>, <head>'s <title> left
 * out, block elements as a blank, the character references of HTML 4 that mail uses and all numeric ones resolved.
 * Streaming, a state machine with bounded memory. For previews and search; never for showing. */
#ifndef MAIL_HTML_H
#define MAIL_HTML_H

#include "base/cq_buf.h"

#define MAIL_HTML_NAME_MAX 12

struct mail_html {
    uint8_t state;
    uint8_t name_len, entity_len, dashes;
    char name[MAIL_HTML_NAME_MAX];   /* of the tag being read */
    char entity[MAIL_HTML_NAME_MAX]; /* of the character reference being read */
    char skip[MAIL_HTML_NAME_MAX];   /* the element whose content is left out, "" for none */
    bool closing;
    uint8_t quote;
};

void mail_html_init(struct mail_html *h);

/* Appends the text of UTF-8 HTML. At most 4 * in.len + 64 octets. */
void mail_html_strip(struct mail_html *h, struct cq_slice in, struct cq_buf *out);
void mail_html_finish(struct mail_html *h, struct cq_buf *out);

#endif
