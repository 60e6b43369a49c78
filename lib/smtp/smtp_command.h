/* One command line of SMTP or LMTP (RFC 5321 4.1, RFC 2033), cut out and taken apart. Pure. */
#ifndef SMTP_COMMAND_H
#define SMTP_COMMAND_H

#include "base/cq_err.h"
#include "smtp/smtp_path.h"

/* The verb (letters up to the first blank) and what follows the blanks after it, without trailing blanks. */
void smtp_split(struct cq_slice line, struct cq_slice *verb_r, struct cq_slice *rest_r);

enum smtp_body { SMTP_BODY_7BIT, SMTP_BODY_8BITMIME };

/* MAIL FROM:<path> parameters (RFC 1870, 6152, 6531, 4954, 3461). */
struct smtp_mail {
    struct smtp_path from;
    bool has_size;
    uint64_t size; /* octets; UINT64_MAX when the number is larger */
    enum smtp_body body;
    bool smtputf8;
};
/* RCPT TO:<path> parameters. */
struct smtp_rcpt {
    struct smtp_path to;
};

enum smtp_parse {
    SMTP_PARSE_OK,
    SMTP_PARSE_SYNTAX,  /* 501 5.5.4 or 5.1.x: not MAIL FROM:<...> */
    SMTP_PARSE_ADDRESS, /* 553 5.1.3 (RCPT), 5.1.7 (MAIL): the path is malformed */
    SMTP_PARSE_PARAM    /* 555 5.5.4: a parameter that is not known or malformed; *param_r names it */
};
/* `rest` is what followed the verb ("FROM:<a@b> SIZE=1"). Slices are borrowed or in the pool. */
enum smtp_parse smtp_parse_mail(struct cq_slice rest, struct cq_pool *pool, struct smtp_mail *mail_r,
                                struct cq_slice *param_r);
enum smtp_parse smtp_parse_rcpt(struct cq_slice rest, struct cq_pool *pool, struct smtp_rcpt *rcpt_r,
                                struct cq_slice *param_r);

#endif
