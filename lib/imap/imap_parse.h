/* A cursor over one whole command (or response line) and the grammar's small pieces (RFC 3501 section 9). Every
 * function returns false when the text at the cursor is something else; `problem` then says what was expected, in words
 * for the client that contain nothing of its input. After a false the cursor is undefined, except for imap_try_*.
 *
 * Slices point into the text, or into the pool where a quoted string had escapes. */
#ifndef IMAP_PARSE_H
#define IMAP_PARSE_H

#include "base/cq_pool.h"

struct imap_parser {
    const uint8_t *at, *end;
    struct cq_pool *pool;
    const char *problem;
};

void imap_parser_init(struct imap_parser *p, struct cq_slice text, struct cq_pool *pool);

/* Sets the problem and returns false. */
bool imap_expected(struct imap_parser *p, const char *problem);

static inline bool imap_at_end(const struct imap_parser *p)
{
    return p->at == p->end;
}
static inline struct cq_slice imap_rest(const struct imap_parser *p)
{
    return cq_slice_of(p->at, (size_t)(p->end - p->at));
}
static inline bool imap_peek(const struct imap_parser *p, uint8_t byte)
{
    return p->at < p->end && *p->at == byte;
}

/* Takes it when it is there; otherwise nothing moves. */
bool imap_try_byte(struct imap_parser *p, uint8_t byte);
/* A word in any case, followed by something that cannot continue an atom. */
bool imap_try_word(struct imap_parser *p, const char *word);
/* A prefix in any case, whatever follows. */
bool imap_try_text(struct imap_parser *p, const char *text);

bool imap_parse_byte(struct imap_parser *p, uint8_t byte, const char *problem);
bool imap_parse_sp(struct imap_parser *p);  /* exactly one space */
bool imap_parse_end(struct imap_parser *p); /* nothing may follow */

/* Classes of bytes. */
bool imap_is_atom_char(uint8_t c);    /* ATOM-CHAR */
bool imap_is_astring_char(uint8_t c); /* ATOM-CHAR or "]" */

bool imap_parse_tag(struct imap_parser *p, struct cq_slice *tag_r);
bool imap_parse_atom(struct imap_parser *p, struct cq_slice *atom_r);
/* Quoted or literal. 8-bit octets are let through in both: clients send them, and who uses the value judges it. */
bool imap_parse_string(struct imap_parser *p, struct cq_slice *string_r);
bool imap_parse_nstring(struct imap_parser *p, struct cq_slice *string_r, bool *nil_r);
bool imap_parse_astring(struct imap_parser *p, struct cq_slice *string_r);
/* list-mailbox: an astring in which "%" and "*" may stand bare. */
bool imap_parse_pattern(struct imap_parser *p, struct cq_slice *pattern_r);

bool imap_parse_number(struct imap_parser *p, uint64_t max, uint64_t *number_r);
bool imap_parse_u32(struct imap_parser *p, uint32_t *number_r);

/* "{n}" or "{n+}" at the cursor, which becomes what follows it. */
bool imap_parse_literal_header(struct imap_parser *p, uint32_t *size_r, bool *plus_r);

#endif
