/* Addresses of header fields (RFC 5322 3.4 and 4.4): mailboxes, groups, comments, quoted pairs, obsolete routes and
 * blanks; and what real mail has beside: dots in phrases, missing commas and brackets, semicolons between addresses,
 * 8-bit octets. Linear, iterative, never fails: what cannot be understood becomes a local part without a domain.
 * For paths in SMTP commands see lib/smtp: those are strict. */
#ifndef MAIL_ADDRESS_H
#define MAIL_ADDRESS_H

#include "base/cq_buf.h"

enum mail_address_kind { MAIL_ADDRESS_MAILBOX, MAIL_ADDRESS_GROUP_START, MAIL_ADDRESS_GROUP_END };

struct mail_address {
    enum mail_address_kind kind;
    struct cq_slice name;   /* phrase without its quotes, RFC 2047 not decoded; a comment when there is no phrase; the
                               group's name for GROUP_START */
    struct cq_slice route;  /* obsolete source route "@a,@b", mostly empty */
    struct cq_slice local;  /* without its quotes and quoted pairs */
    struct cq_slice domain; /* empty: there was none */
};

struct mail_address_parser {
    struct cq_slice in;
    size_t at;
    bool in_group;
    struct cq_buf name, route, local, domain, comment;
};

/* value: one field's value, folded or not; borrowed until fini. */
void mail_address_parser_init(struct mail_address_parser *p, struct cq_slice value);
void mail_address_parser_fini(struct mail_address_parser *p);

/* The next one; its slices are valid until the next call. False at the end. A group that is still open at the end of
 * the value gets its GROUP_END. */
bool mail_address_next(struct mail_address_parser *p, struct mail_address *address_r);

/* local@domain, the local part quoted when it must be: for comparisons and for header fields. */
void mail_address_write(const struct mail_address *a, struct cq_buf *out);

#endif
