/* The summary: the immutable record that the front-end makes of a message when it arrives and the store keeps beside
 * its body, so that listing a mailbox, ENVELOPE, BODYSTRUCTURE, PREVIEW, SORT and THREAD read no bodies and sections
 * are cut out of the stored octets without parsing again. Byte by byte: docs/formats/summary.md.
 *
 * Reading: mail_summary_open gives a view that borrows the encoded octets; it checks version, lengths and checksum and
 * costs a hash over them. Nothing in it is trusted: every offset is inside the message, every slice inside the record.
 * Writing: mail_build.h. */
#ifndef MAIL_SUMMARY_H
#define MAIL_SUMMARY_H

#include "base/cq_buf.h"
#include "mail/mail_date.h"
#include "mail/mail_index.h"

#define MAIL_SUMMARY_FORMAT 1           /* the record's layout: a newer one is CQ_E_VERSION */
#define MAIL_RENDERER_VERSION 1         /* what the texts in it look like: an older one may be rendered again */
#define MAIL_SUMMARY_MAX (512u << 10)   /* octets of a record; apply takes as many (STATE_SUMMARY_MAX) */
#define MAIL_PREVIEW_MAX_CHARACTERS 200 /* RFC 8970 */

enum mail_summary_flag {
    MAIL_SUMMARY_HAS_DATE = 1,    /* `sent` comes from a Date field */
    MAIL_SUMMARY_IS_REPLY = 2,    /* the subject had Re:, Fwd: or (fwd) */
    MAIL_SUMMARY_HAS_NUL = 4,     /* the message has a NUL octet */
    MAIL_SUMMARY_CUT = 8,         /* a limit was passed: something is not in this record */
    MAIL_SUMMARY_OPAQUE = 16,     /* so many parts that the whole message is shown as an octet-stream */
    MAIL_SUMMARY_ATTACHMENT = 32, /* a part with disposition attachment, or a named part that is not text */
};

/* A view: plain values and slices that borrow the encoded record. */
struct mail_summary {
    uint8_t renderer;
    uint16_t flags;
    uint64_t size;          /* RFC822.SIZE: octets of the stored message */
    uint64_t header_octets; /* of the outermost header, its empty line included */
    struct mail_time sent;  /* zeros without HAS_DATE: use INTERNALDATE then (RFC 5256) */
    uint32_t part_count;
    struct cq_slice preview;      /* UTF-8 without controls, at most MAIL_PREVIEW_MAX_CHARACTERS characters */
    struct cq_slice base_subject; /* UTF-8 (RFC 5256) */
    struct cq_slice message_id;   /* as THREAD compares it, without brackets; empty: none */
    struct cq_slice
        references; /* References, or In-Reply-To's first id when there are none: see mail_summary_reference */
    /* What follows is read by the functions below. */
    struct cq_slice envelope, envelope_utf8, structure, structure_utf8, cuts, cuts_utf8, parts;
};

/* CQ_E_VERSION for a newer format, CQ_E_CORRUPT for anything else that is wrong. *view_r borrows `encoded`. */
enum cq_rc mail_summary_open(struct cq_slice encoded, struct mail_summary *view_r, struct cq_err *err);

/* Which of a summary's data: bit i is number i of the table in docs/formats/summary.md. */
enum mail_summary_data {
    MAIL_SUMMARY_DATA_ENVELOPE = 1 << 4,
    MAIL_SUMMARY_DATA_STRUCTURE = 1 << 5,
    MAIL_SUMMARY_DATA_CUTS = 1 << 6, /* with STRUCTURE: BODY */
    MAIL_SUMMARY_DATA_PARTS = 1 << 10,
};

/* Appends the summary with these data alone; the others are empty in it. False: nothing was appended, for `encoded` is
 * damaged or of a newer format: whoever reads it is to see that. */
bool mail_summary_pick(struct cq_slice encoded, uint32_t data, struct cq_buf *out);

/* The IMAP text with its parentheses, ready to be sent. utf8: the session has UTF8=ACCEPT or IMAP4rev2. */
struct cq_slice mail_summary_envelope(const struct mail_summary *s, bool utf8);
struct cq_slice mail_summary_bodystructure(const struct mail_summary *s, bool utf8);
void mail_summary_body(const struct mail_summary *s, bool utf8, struct cq_buf *out); /* appends BODY (no extensions) */

/* Takes the next id off *rest (first set to s->references); false at the end. Oldest first. */
bool mail_summary_reference(struct cq_slice *rest, struct cq_slice *id_r);

/* The part table, in the order of mail_index_part. */
enum mail_media { MAIL_MEDIA_OTHER, MAIL_MEDIA_TEXT, MAIL_MEDIA_HTML, MAIL_MEDIA_MULTIPART, MAIL_MEDIA_MESSAGE };

struct mail_summary_part {
    uint32_t number; /* place in the table */
    uint16_t depth;  /* its children are the parts with depth + 1 that follow, up to the next of its own depth or less;
                        a multipart has one or more, a message exactly one, others none */
    bool is_message; /* its header is a message's */
    enum mail_media media;
    enum mail_encoding encoding;
    struct cq_slice charset;                /* text only; empty: none was given */
    uint64_t header_off, body_off, end_off; /* octets in the stored message, as in struct mail_part */
};

struct mail_summary_parts {
    struct cq_slice rest;
    uint64_t size, off; /* of the message; of the last part's header */
    uint32_t next, count;
    uint16_t depth_max; /* of the next part */
    bool child_due;     /* the last part has children: the next one is its first */
    bool corrupt;       /* the table is not well-formed: iteration ended there */
};
void mail_summary_parts_init(struct mail_summary_parts *iter, const struct mail_summary *s);
bool mail_summary_parts_next(struct mail_summary_parts *iter, struct mail_summary_part *part_r);

#endif
