/* Header fields of octets that are in memory (RFC 5322 2.2): iterate, find, unfold, filter.
 *
 * What is a line: octets up to LF, with a CR before it or not; a CR alone is an octet like any other. A header ends
 * with its first empty line or with the octets. A line that starts with a blank continues the field before it. A line
 * that is neither (no colon, a blank or 8-bit octet in the name) is kept as a field with an empty name; it does not end
 * the header. The message index follows the same rules. */
#ifndef MAIL_HEADER_H
#define MAIL_HEADER_H

#include "base/cq_buf.h"

#define MAIL_HEADER_NAME_MAX 512 /* octets of a line in which its colon must stand, or it is no field */

struct mail_header_field {
    struct cq_slice raw;   /* all its lines with their line ends */
    struct cq_slice name;  /* without the blanks before the colon; empty for a line that is no field */
    struct cq_slice value; /* what follows the colon, folded as it stands, without the last line end */
};

struct mail_header_iter {
    struct cq_slice rest;
};

/* header: from its first octet; what follows the empty line is not looked at. Fields point into it. */
void mail_header_iter_init(struct mail_header_iter *iter, struct cq_slice header);
bool mail_header_next(struct mail_header_iter *iter, struct mail_header_field *field_r);

/* The first field of that name (ASCII case-insensitive). */
bool mail_header_find(struct cq_slice header, struct cq_slice name, struct mail_header_field *field_r);

/* Length of the header block with its empty line: where the body starts. All of it when there is no empty line. */
size_t mail_header_length(struct cq_slice octets);

/* The length of the field name that the line starts with, 0 when it starts with none; *value_r: what follows the colon.
 */
size_t mail_header_name_length(struct cq_slice line, size_t *value_r);

/* Appends the value unfolded: line ends, NULs and the blanks around it removed (RFC 5322 2.2.3). */
void mail_header_unfold(struct cq_slice value, struct cq_buf *out);

/* HEADER.FIELDS and HEADER.FIELDS.NOT (RFC 3501 6.4.5): the fields whose name is (not) in the list, as they stand,
 * then an empty line. The empty line is always added, also where the header has none. */
void mail_header_filter(struct cq_slice header, const struct cq_slice *names, size_t count, bool without,
                        struct cq_buf *out);

#endif
