/* ENVELOPE and BODYSTRUCTURE in IMAP syntax (RFC 3501 7.4.2, RFC 9051 7.5.2), from a finished index. The builder of the
 * summary calls these; sessions read the summary.
 *
 * utf8 false: only ASCII, for sessions without UTF8=ACCEPT: raw 8-bit text becomes RFC 2047 words (names, subjects) or
 * RFC 2231 values (parameters); an address with an 8-bit local part or domain becomes
 * invalid@internationalized-address.invalid, its text moves into the name (RFC 6858); message/global is shown as
 * message/rfc822. utf8 true: UTF-8 in quoted strings (RFC 9755). Encoded words of the message itself are never decoded.
 * NULs are left out. A list field that comes several times is one list (RFC 5322 4.5.3). */
#ifndef MAIL_RENDER_H
#define MAIL_RENDER_H

#include "mail/mail_index.h"

/* Strings longer than this are literals; so are those with CR or LF, or with 8-bit octets when not utf8. */
#define MAIL_QUOTED_MAX 1000

void mail_imap_string(struct cq_slice text, struct cq_buf *out);      /* "..." or {n}CRLF... */
void mail_imap_utf8_string(struct cq_slice utf8, struct cq_buf *out); /* the same with UTF-8 inside quotes */
void mail_put_varint(struct cq_buf *out, uint64_t value);             /* LEB128, as in the summary */

/* The ENVELOPE of a message part, with its parentheses, never longer than max octets: what does not fit (addresses;
 * texts over max / 32) is cut or left out; *cut_r then becomes true (otherwise untouched). max >= MAIL_ENVELOPE_MIN. */
#define MAIL_ENVELOPE_MIN 4096
void mail_render_envelope(const struct mail_index *index, const struct mail_part *message, bool utf8, size_t max,
                          struct cq_buf *out, bool *cut_r);

#define MAIL_NESTED_ENVELOPE_MAX (16u << 10) /* octets of the ENVELOPE of a message inside */
#define MAIL_STRUCTURE_PARAM_MAX 4096        /* octets of a parameter's value; a longer one is left out */
#define MAIL_STRUCTURE_TEXT_MAX 2048         /* octets of an id, a description, a location; cut there */

/* The message's BODYSTRUCTURE. BODY is the same text without the ranges of extension data that are appended to `cuts`
 * as pairs of varints (octets kept since the last range, octets left out). False, with `out` not to be used, when it
 * would be longer than out's maximum. */
bool mail_render_structure(const struct mail_index *index, bool utf8, struct cq_buf *out, struct cq_buf *cuts);

/* What is shown instead of a structure that is over a limit: an octet-stream of that many octets. */
void mail_render_opaque(uint64_t octets, struct cq_buf *out, struct cq_buf *cuts);

#endif
