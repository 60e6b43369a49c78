/* Delivery status notifications (RFC 3464, 3461 6, 6533 for UTF-8 addresses): the whole message that goes back. */
#ifndef MAIL_DSN_H
#define MAIL_DSN_H

#include "base/cq_buf.h"
#include "mail/mail_date.h"

enum mail_dsn_action { MAIL_DSN_FAILED, MAIL_DSN_DELAYED, MAIL_DSN_DELIVERED, MAIL_DSN_RELAYED, MAIL_DSN_EXPANDED };

struct mail_dsn_recipient {
    struct cq_slice recipient;          /* final recipient */
    struct cq_slice original_recipient; /* ORCPT as it came, "rfc822;joe@example.test", or empty */
    enum mail_dsn_action action;
    struct cq_slice status;                          /* "5.1.1" */
    struct cq_slice diagnostic;                      /* the remote server's answer, or empty */
    struct cq_slice remote_mta;                      /* its name, or empty */
    struct mail_time last_attempt, will_retry_until; /* utc_s 0: left out */
};

struct mail_dsn {
    struct cq_slice reporting_mta; /* our name */
    struct cq_slice from;          /* "postmaster@example.test": the From field */
    struct cq_slice to;            /* the message's sender */
    struct cq_slice envelope_id;   /* ENVID, or empty */
    struct mail_time arrival, now;
    const uint8_t *random; /* 16 octets: boundary and Message-ID come from them */
    const struct mail_dsn_recipient *recipients;
    size_t recipient_count;
    struct cq_slice original; /* header of the message, or all of it when return_full */
    bool return_full;
};

/* Appends the message, CRLF line ends. The caller sends it with the null return path. */
void mail_dsn_write(const struct mail_dsn *dsn, struct cq_buf *out);

#endif
