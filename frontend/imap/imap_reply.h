/* What a command answers: untagged data into run->out, and the tagged result. The map from result codes to response
 * codes (RFC 5530) is here alone. */
#ifndef IMAP_REPLY_H
#define IMAP_REPLY_H

#include "imap/imap_session.h"

/* Texts and codes are constants, or live in the command's pool. */
void imap_ok(struct imap_run *run, const char *code, const char *text);
void imap_no(struct imap_run *run, const char *code, const char *text);
void imap_bad(struct imap_run *run, const char *text);
/* NO with what the client may know of a failure; `err` is logged when it is ours. Returns rc. */
enum cq_rc imap_fail(struct imap_run *run, enum cq_rc rc, const struct cq_err *err);

/* Output of the command goes to the connection when much has come together. imap_out_flush also waits while the client
 * reads too slowly: CQ_OK, or the code with which the connection ended. */
#define IMAP_OUT_MAX (4u << 20)    /* bytes of run->out */
#define IMAP_OUT_FLUSH (32u << 10) /* from here on it is handed over */
void imap_out_send(struct imap_run *run);
enum cq_rc imap_out_flush(struct imap_run *run);
/* Adds text that may be large without copying it through run->out. */
void imap_out_add(struct imap_run *run, struct cq_slice text);
/* Octets of a body, which are not copied when they are many: the connection holds the piece then. The caller's hold
 * ends; NULL: the octets are copied. */
void imap_out_give(struct imap_run *run, struct cq_slice octets, struct body_piece **held);

/* In loops that compute much between suspensions: lets others run when 5 ms have gone since the last time. CQ_OK, or
 * CQ_E_CANCELLED when the client has gone. */
#define IMAP_BREATHE_US 5000
enum cq_rc imap_breathe(struct imap_run *run);

/* Writes the tagged answer. */
void imap_reply_send(struct imap_run *run);

/* "CAPABILITY ..." as it is in this state of the session. */
void imap_write_capability(struct cq_buf *out, const struct imap_session *session);

/* "(\Seen $Forwarded)" */
void imap_write_flags(struct cq_buf *out, const struct fetch_record *record, const struct mail_records *table,
                      bool recent);
/* The untagged FLAGS and PERMANENTFLAGS of a mailbox with these keywords. */
void imap_write_flag_names(struct cq_buf *out, const struct cq_slice *keywords, size_t count, bool read_only);

#endif
