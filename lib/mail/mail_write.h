/* Header fields that we write. Every writer appends whole fields with CRLF, folded at 78 columns where there is a blank
 * to fold at. Text from peers may not hold CR, LF or NUL: such octets, and other controls, become "?". */
#ifndef MAIL_WRITE_H
#define MAIL_WRITE_H

#include "base/cq_buf.h"
#include "mail/mail_date.h"

/* "Name: value" folded; the value is ASCII or UTF-8 (RFC 6532) as it is. */
void mail_write_field(struct cq_slice name, struct cq_slice value, struct cq_buf *out);

/* The trace field of RFC 5321 4.4 (and 6531 3.7.3 for "with" UTF8SMTP...). Empty slices are left out; `by`, `with`,
 * `id` and `date` are always there. */
struct mail_received {
    struct cq_slice helo;        /* what the client said in EHLO */
    struct cq_slice client_ip;   /* "192.0.2.1" or "2001:db8::1"; shown as an address literal */
    struct cq_slice client_name; /* from the reverse lookup, confirmed; else empty */
    struct cq_slice by;          /* our name */
    struct cq_slice with;        /* "ESMTPS", "LMTP", ... */
    struct cq_slice tls;         /* "TLSv1.3 cipher TLS_AES_256_GCM_SHA384"; in a comment */
    struct cq_slice id;
    struct cq_slice recipient; /* only when there is exactly one: it would show Bcc */
    struct mail_time date;
};
void mail_write_received(const struct mail_received *r, struct cq_buf *out);

/* path: without angle brackets; empty: the null path. Only the final delivery writes it. */
void mail_write_return_path(struct cq_slice path, struct cq_buf *out);
void mail_write_delivered_to(struct cq_slice address, struct cq_buf *out);
void mail_write_date(struct mail_time date, struct cq_buf *out);

/* <time.random@domain>; random: 16 octets that the caller draws. */
void mail_write_message_id(struct mail_time date, const uint8_t random[static 16], struct cq_slice domain,
                           struct cq_buf *out);

#endif
