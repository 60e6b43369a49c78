/* Pieces of RFC 5322's lexical syntax that addresses and parameters share. All stop at the end of the text, whatever
 * stands last in it, a backslash included. */
#ifndef MAIL_LEX_PRIVATE_H
#define MAIL_LEX_PRIVATE_H

#include "base/cq_buf.h"

static inline bool mail_lex_is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\0';
}

/* 0 to 15, or -1 for what is no hexadecimal digit. */
static inline int mail_lex_hex(uint8_t c)
{
    if (cq_ascii_digit(c))
        return c - '0';
    c = cq_ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* At a "(": the place after the comment, nested ones and quoted pairs included; its text goes to `text` (NULL:
 * nowhere). */
size_t mail_lex_comment(struct cq_slice s, size_t at, struct cq_buf *text);

/* Past blanks and comments; the text of the last comment replaces `comment` (NULL: forgotten). */
size_t mail_lex_cfws(struct cq_slice s, size_t at, struct cq_buf *comment);

/* At a quote: the place after the closing one; the text without quotes, quoted pairs and line ends goes to `text`. */
size_t mail_lex_quoted(struct cq_slice s, size_t at, struct cq_buf *text);

#endif
