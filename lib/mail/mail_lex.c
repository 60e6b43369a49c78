#include "mail_lex_private.h"

static void add(struct cq_buf *text, uint8_t c)
{
    if (text && c != '\r' && c != '\n' && c != '\0')
        cq_buf_byte(text, c);
}

size_t mail_lex_comment(struct cq_slice s, size_t at, struct cq_buf *text)
{
    size_t depth = 0;
    while (at < s.len) {
        uint8_t c = s.data[at++];
        if (c == '\\' && at < s.len) {
            add(text, s.data[at++]);
            continue;
        }
        bool outermost = (c == '(' && depth == 0) || (c == ')' && depth == 1);
        depth += c == '(';
        depth -= c == ')';
        if (!outermost)
            add(text, c);
        if (depth == 0)
            break;
    }
    return at;
}

size_t mail_lex_cfws(struct cq_slice s, size_t at, struct cq_buf *comment)
{
    while (at < s.len) {
        if (s.data[at] == '(') {
            if (comment)
                cq_buf_reset(comment, SIZE_MAX);
            at = mail_lex_comment(s, at, comment);
        } else if (mail_lex_is_blank(s.data[at])) {
            at++;
        } else {
            break;
        }
    }
    return at;
}

size_t mail_lex_quoted(struct cq_slice s, size_t at, struct cq_buf *text)
{
    for (at++; at < s.len; at++) {
        uint8_t c = s.data[at];
        if (c == '"')
            return at + 1;
        if (c == '\\' && at + 1 < s.len)
            c = s.data[++at];
        add(text, c);
    }
    return at;
}
