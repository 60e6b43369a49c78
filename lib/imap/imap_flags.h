/* Message flags and keywords (RFC 3501 2.3.2). */
#ifndef IMAP_FLAGS_H
#define IMAP_FLAGS_H

#include "base/cq_buf.h"
#include "imap/imap_parse.h"

/* The bits are those of proto/mail.proto's SystemFlag; IMAP_RECENT lives in sessions only. */
enum imap_flag {
    IMAP_SEEN = 1,
    IMAP_ANSWERED = 2,
    IMAP_FLAGGED = 4,
    IMAP_DELETED = 8,
    IMAP_DRAFT = 16,
    IMAP_RECENT = 32
};

struct imap_flags {
    uint8_t system;
    struct cq_slice *keywords; /* no two alike in any case */
    size_t keyword_count;
};

/* "(" flags ")". \Recent is taken and forgotten: a client cannot alter it. Other unknown \flags are refused. */
bool imap_parse_flag_list(struct imap_parser *p, struct imap_flags *flags_r);
/* STORE also takes flags without parentheses. */
bool imap_parse_store_flags(struct imap_parser *p, struct imap_flags *flags_r);
/* A flag-keyword of SEARCH KEYWORD. */
bool imap_parse_keyword(struct imap_parser *p, struct cq_slice *keyword_r);

/* Without parentheses; returns whether anything was written. `first`: no space before the first one. */
bool imap_write_system_flags(struct cq_buf *out, uint8_t flags, bool first);

#endif
