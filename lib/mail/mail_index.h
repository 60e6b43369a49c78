/* The structure of a message, found in one pass over its octets as they arrive (RFC 5322, 2045, 2046): parts, their
 * header and body positions, line counts, and the header fields that ENVELOPE, BODYSTRUCTURE and our own checks need.
 * Linear time, no recursion, memory bounded by the limits given at birth and not by the message's size; the result does
 * not depend on how the octets are cut. There is no error: every sequence of octets is a message.
 *
 * Lines are judged as mail_header.h says (LF, with a CR or without). A boundary line is "--", the boundary, "--" or
 * not, and blanks, nothing else; the line end before it belongs to it. The innermost multipart that is still open and
 * has that boundary takes it. A boundary line inside a part's header ends the part. What follows a multipart's closing
 * boundary belongs to no part. The body of a message/rfc822 or message/global part is a message, whatever its
 * transfer encoding says. */
#ifndef MAIL_INDEX_H
#define MAIL_INDEX_H

#include "base/cq_pool.h"
#include "mail/mail_parse_limits.h"
#include "mail/mail_param.h"
#include "mail/mail_transfer.h"

/* The header fields that are kept; X(name of the enum, field name). Those after MESSAGE_ID are kept of messages (the
 * outermost and message/rfc822), the trace fields of the outermost header alone. */
#define MAIL_FIELDS(X)                                                                                                 \
    X(CONTENT_TYPE, "Content-Type")                                                                                    \
    X(CONTENT_DISPOSITION, "Content-Disposition")                                                                      \
    X(CONTENT_TRANSFER_ENCODING, "Content-Transfer-Encoding")                                                          \
    X(CONTENT_ID, "Content-ID")                                                                                        \
    X(CONTENT_DESCRIPTION, "Content-Description")                                                                      \
    X(CONTENT_LANGUAGE, "Content-Language")                                                                            \
    X(CONTENT_LOCATION, "Content-Location")                                                                            \
    X(CONTENT_MD5, "Content-MD5")                                                                                      \
    X(MESSAGE_ID, "Message-ID")                                                                                        \
    X(DATE, "Date")                                                                                                    \
    X(SUBJECT, "Subject")                                                                                              \
    X(FROM, "From")                                                                                                    \
    X(SENDER, "Sender")                                                                                                \
    X(REPLY_TO, "Reply-To")                                                                                            \
    X(TO, "To")                                                                                                        \
    X(CC, "Cc")                                                                                                        \
    X(BCC, "Bcc")                                                                                                      \
    X(IN_REPLY_TO, "In-Reply-To")                                                                                      \
    X(REFERENCES, "References")                                                                                        \
    X(DELIVERED_TO, "Delivered-To")                                                                                    \
    X(RECEIVED, "Received") /* counted, not kept */

enum mail_field_id {
#define MAIL_FIELD_ENUM(id, name) MAIL_FIELD_##id,
    MAIL_FIELDS(MAIL_FIELD_ENUM)
#undef MAIL_FIELD_ENUM
        MAIL_FIELD_COUNT
};

struct mail_field {
    enum mail_field_id id;
    bool cut;                /* longer than limits.field_octets */
    uint64_t off;            /* of its first octet in the message */
    struct cq_slice value;   /* as it stands after the colon, folded, without the last line end */
    struct mail_field *next; /* the part's next kept field, in order of appearance */
};

enum mail_kind {
    MAIL_KIND_TEXT,      /* text/... */
    MAIL_KIND_MULTIPART, /* has at least one child */
    MAIL_KIND_MESSAGE,   /* message/rfc822 or message/global; has one child: the message in it */
    MAIL_KIND_OTHER
};

#define MAIL_PART_NONE UINT32_MAX

/* Offsets are octets of the message. The header is [header_off, body_off), its empty line included; the body
 * [body_off, end_off), without the line end that belongs to the boundary after it. */
struct mail_part {
    uint32_t parent, first_child, last_child, next; /* indexes or MAIL_PART_NONE */
    uint32_t children;
    uint16_t depth;  /* 0: the outermost */
    bool is_message; /* its header is a message's: the outermost part, and the child of each message/rfc822 */
    bool in_digest;  /* child of a multipart/digest: message/rfc822 by default */
    bool opaque;     /* a limit was passed: shown as application/octet-stream */
    bool untyped;    /* no Content-Type, or one that is not understood: the default was taken */
    enum mail_kind kind;
    enum mail_encoding encoding;
    struct cq_slice type, subtype; /* as written, or the default ("text", "plain"); in effect: see kind */
    struct mail_params params;     /* of Content-Type */
    uint64_t header_off, body_off, end_off;
    uint64_t header_lines, body_lines; /* LFs */
    struct mail_field *fields, *last_field;
    uint32_t field_count;
};

struct mail_index;

/* Body octets while they pass by, for the preview: called for each leaf part's body as it comes, in pieces; the line
 * end before a boundary may or may not be among them. The part is not complete yet (end_off, lines). */
struct mail_index_observer {
    void (*begin)(void *ctx, const struct mail_part *part); /* the header is complete */
    void (*body)(void *ctx, const struct mail_part *part, struct cq_slice octets);
    void (*end)(void *ctx, const struct mail_part *part);
    void *ctx;
};

/* limits: NULL for the defaults; observer: NULL for none; both are copied. */
struct mail_index *mail_index_new(const struct mail_parse_limits *limits, const struct mail_index_observer *observer);
void mail_index_free(struct mail_index **index);

/* Ready for the next message; the memory is kept. Slices and parts of the last one end here. */
void mail_index_clear(struct mail_index *index);

/* Any cut will do; the octets are not kept. Then finish, once. */
void mail_index_feed(struct mail_index *index, struct cq_slice octets);
void mail_index_finish(struct mail_index *index);

/* After finish. Part 0 is the message; parts come in the order in which they stand in it (a parent before its
 * children). Everything is valid until clear or free. */
uint32_t mail_index_parts(const struct mail_index *index);
const struct mail_part *mail_index_part(const struct mail_index *index, uint32_t i);
uint64_t mail_index_size(const struct mail_index *index);     /* octets */
uint32_t mail_index_received(const struct mail_index *index); /* Received fields of the outermost header */
bool mail_index_has_8bit(const struct mail_index *index);     /* an octet over 127 in a kept field */
bool mail_index_has_nul(const struct mail_index *index);      /* a NUL anywhere */
bool mail_index_cut(const struct mail_index *index);          /* some limit was passed */
const struct mail_parse_limits *mail_index_limits(const struct mail_index *index);

/* The part's first kept field of that kind at or after `from` (NULL: from its first), or NULL. */
const struct mail_field *mail_part_field(const struct mail_part *part, enum mail_field_id id,
                                         const struct mail_field *from);

#endif
