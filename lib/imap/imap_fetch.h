/* What FETCH asks for (RFC 3501 6.4.5, RFC 7162 3.1.4). */
#ifndef IMAP_FETCH_H
#define IMAP_FETCH_H

#include "base/cq_buf.h"
#include "imap/imap_seqset.h"

enum imap_fetch_kind {
    IMAP_FETCH_FLAGS = 1,
    IMAP_FETCH_UID = 2,
    IMAP_FETCH_INTERNALDATE = 4,
    IMAP_FETCH_SIZE = 8, /* RFC822.SIZE */
    IMAP_FETCH_ENVELOPE = 16,
    IMAP_FETCH_STRUCTURE = 32,     /* BODY */
    IMAP_FETCH_BODYSTRUCTURE = 64, /* BODYSTRUCTURE: with extension data */
    IMAP_FETCH_MODSEQ = 128,
    IMAP_FETCH_OCTETS = 256 /* BODY[...], BODY.PEEK[...], RFC822, RFC822.HEADER, RFC822.TEXT */
};

enum imap_section_text {
    IMAP_SECTION_ALL, /* BODY[] or BODY[1.2] */
    IMAP_SECTION_HEADER,
    IMAP_SECTION_FIELDS,
    IMAP_SECTION_FIELDS_NOT,
    IMAP_SECTION_TEXT,
    IMAP_SECTION_MIME
};

struct imap_section {
    uint32_t *part; /* "1.2" is {1, 2} */
    size_t part_count;
    enum imap_section_text text;
    struct cq_slice *fields;
    size_t field_count;
};

struct imap_fetch_item {
    enum imap_fetch_kind kind;
    /* Of IMAP_FETCH_OCTETS: */
    const char *rfc822; /* the name to answer with when it is one of the three, else NULL */
    struct imap_section section;
    bool peek; /* \Seen is not set */
    bool partial;
    uint32_t offset, length; /* of partial; length > 0 */
};

struct imap_fetch {
    struct imap_fetch_item *items; /* in the client's order, macros expanded, none twice but OCTETS */
    size_t count;
    uint32_t kinds; /* sum of the items' kinds */
    bool sets_seen;
    bool has_changed_since;
    uint64_t changed_since;
};

/* "FLAGS", "(UID BODY[])", "ALL", and after it the modifiers " (CHANGEDSINCE n)". */
bool imap_parse_fetch(struct imap_parser *p, struct imap_fetch *fetch_r);

/* "BODY[1.HEADER.FIELDS (A B)]<0>" or the RFC822 name: how the response names the item. */
bool imap_write_fetch_name(struct cq_buf *out, const struct imap_fetch_item *item);

#endif
