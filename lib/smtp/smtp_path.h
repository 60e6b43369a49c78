/* Paths of MAIL and RCPT (RFC 5321 4.1.2; RFC 6531 for UTF-8): strict, because what is accepted here is written into
 * trace fields, events and queues. */
#ifndef SMTP_PATH_H
#define SMTP_PATH_H

#include "base/cq_pool.h"
#include "smtp/smtp_limits.h"

#include <stdbool.h>

struct smtp_path {
    bool null;              /* <> */
    struct cq_slice local;  /* without quotes and backslashes; in the pool when it had any, else borrowed */
    struct cq_slice domain; /* as sent; "[192.0.2.1]" is an address literal; empty only for <postmaster> */
    bool utf8;              /* octets over 127 occur: needs SMTPUTF8 */
};

/* Takes a path with its angle brackets off the front of *text. A source route ("@a,@b:") is accepted and dropped, as
 * RFC 5321 appendix C asks. False: malformed, nothing was taken. */
bool smtp_path_take(struct cq_slice *text, bool allow_null, struct cq_pool *pool, struct smtp_path *path_r);

/* local@domain, the local part quoted when it must be; "" for the null path. */
struct cq_slice smtp_path_text(const struct smtp_path *path, struct cq_pool *pool);

/* Is this a Domain or address-literal that EHLO may carry? Lenient: underscores pass, controls and blanks do not. */
bool smtp_domain_ok(struct cq_slice text);

#endif
