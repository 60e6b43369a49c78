/* BODY[section]<partial>: from a section to one range of the stored message (RFC 3501 6.4.5, RFC 9051 6.4.5.1).
 *
 *   mail_section_parse("1.2.MIME") or fill the struct from your own grammar
 *   mail_section_locate(&summary, &section, &range)     which octets to read
 *   not range.filter: send them (partial is applied already: an empty range is "")
 *   range.filter:     mail_section_filter(&section, octets, out) makes HEADER.FIELDS of them and applies the partial */
#ifndef MAIL_SECTION_H
#define MAIL_SECTION_H

#include "base/cq_pool.h"
#include "mail/mail_summary.h"

enum mail_section_what {
    MAIL_SECTION_ALL, /* BODY[], BODY[1.2] */
    MAIL_SECTION_HEADER,
    MAIL_SECTION_HEADER_FIELDS,
    MAIL_SECTION_HEADER_FIELDS_NOT,
    MAIL_SECTION_TEXT,
    MAIL_SECTION_MIME
};

#define MAIL_SECTION_PATH_MAX 128
#define MAIL_SECTION_FIELDS_MAX 200 /* names of a HEADER.FIELDS list */

struct mail_section {
    uint32_t path[MAIL_SECTION_PATH_MAX]; /* part numbers, from 1 */
    uint32_t path_len;
    enum mail_section_what what;
    const struct cq_slice *fields; /* owned by the caller or the pool */
    size_t field_count;
    bool partial; /* <offset.length> */
    uint64_t offset, length;
};

/* The text between the brackets, "1.2.HEADER.FIELDS (From \"To\")", keywords in any case; the names (atoms and quoted
 * strings, no literals) go into the pool. Not the partial. CQ_E_PROTO when it is not a section, CQ_E_LIMIT over the
 * limits above. An IMAP parser that meets literals calls this for what stands before the list and sets `fields`. */
enum cq_rc mail_section_parse(struct cq_slice text, struct cq_pool *pool, struct mail_section *section_r,
                              struct cq_err *err);

struct mail_range {
    uint64_t off, len;           /* octets of the stored message */
    bool filter;                 /* run mail_section_filter over them */
    enum mail_encoding encoding; /* of the part, for BINARY[...]: decode with mail_transfer.h */
};

/* CQ_E_NOT_FOUND: the message has no such section (the answer is NIL). CQ_E_CORRUPT: the part table is broken. */
enum cq_rc mail_section_locate(const struct mail_summary *s, const struct mail_section *section,
                               struct mail_range *range_r, struct cq_err *err);

void mail_section_filter(const struct mail_section *section, struct cq_slice header, struct cq_buf *out);

#endif
