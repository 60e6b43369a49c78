/* Pieces of responses (and of a client's commands). All append to a buffer and return cq_buf_ok(). */
#ifndef IMAP_WRITE_H
#define IMAP_WRITE_H

#include "base/cq_buf.h"

#define IMAP_QUOTED_MAX 1000 /* bytes: longer strings are written as literals */

/* An atom when it can be one, else quoted, else (8-bit octets, line ends, long) a literal. "NIL" is quoted. */
bool imap_write_astring(struct cq_buf *out, struct cq_slice s);
/* Quoted or literal. NUL octets, which neither may have, are written as '?'. */
bool imap_write_string(struct cq_buf *out, struct cq_slice s);
/* "{n}" CRLF and the octets as they are. */
bool imap_write_literal(struct cq_buf *out, struct cq_slice s);
bool imap_write_literal_header(struct cq_buf *out, uint64_t size);

/* Text of a status response: what is not printable ASCII becomes '?', so nobody's data can end the line. */
bool imap_write_text(struct cq_buf *out, struct cq_slice s);

/* "1", "1:4"; ranges are joined by the caller with commas. */
bool imap_write_range(struct cq_buf *out, uint32_t first, uint32_t last);

#endif
