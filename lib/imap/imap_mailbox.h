/* Mailbox names: modified UTF-7 on the wire (RFC 3501 5.1.3), UTF-8 in normal form C inside, '/' between levels.
 *
 * Only the canonical modified UTF-7 of a name is accepted, so that one name has one spelling ("&AGEAYg-" for "ab" is
 * refused). Normalisation comes after that: a client may send either form of an accented letter. */
#ifndef IMAP_MAILBOX_H
#define IMAP_MAILBOX_H

#include "base/cq_buf.h"
#include "base/cq_pool.h"

#define IMAP_SEPARATOR '/'

/* Canonical modified UTF-7 to UTF-8 as it is written, without judging it as a name. False: not canonical, or a control
 * character in it. */
bool imap_utf7_decode(struct cq_slice wire, struct cq_pool *pool, struct cq_slice *utf8_r);
/* UTF-8 (valid) to modified UTF-7. False: not UTF-8, or out's maximum. */
bool imap_utf7_encode(struct cq_buf *out, struct cq_slice utf8);

/* A name from a command: NFC, the first level INBOX in any case written "INBOX". False with a sentence for the client
 * (to go with NO [CANNOT]): an empty level, a trailing separator, too long, not canonical. */
bool imap_mailbox_parse(struct cq_slice wire, struct cq_pool *pool, struct cq_slice *name_r, const char **problem_r);

/* A LIST pattern with its reference in front (RFC 3501 6.3.8): the same, but levels may be empty. */
bool imap_pattern_parse(struct cq_slice reference, struct cq_slice wire, struct cq_pool *pool,
                        struct cq_slice *pattern_r, const char **problem_r);

/* Does the pattern match the whole name? '*': anything; '%': anything without a separator. Time O(pattern * name);
 * the pattern is at most IMAP_PATTERN_MAX bytes (longer: no match). INBOX matches in any case. */
bool imap_pattern_match(struct cq_slice pattern, struct cq_slice name);

/* The name above: "a/b" of "a/b/c"; empty for a name of one level. */
struct cq_slice imap_mailbox_parent(struct cq_slice name);
/* Is `name` somewhere below `parent`? */
bool imap_mailbox_is_below(struct cq_slice name, struct cq_slice parent);

/* For LIST and STATUS responses: modified UTF-7 as an atom or quoted. */
bool imap_write_mailbox(struct cq_buf *out, struct cq_slice name);

#endif
