/* One stored message for FETCH and SEARCH: its summary, and octets of its body a piece at a time. */
#ifndef IMAP_MESSAGE_H
#define IMAP_MESSAGE_H

#include "imap/imap_session.h"
#include "mail/mail_summary.h"

/* The summary that came with the record, or one made anew from the octets when it is not readable (an older format, a
 * damaged record). It borrows the record or the pool. */
enum cq_rc imap_message_summary(struct imap_run *run, const struct fetch_record *record, struct cq_pool *pool,
                                struct mail_summary *summary_r, struct cq_err *err);

/* Up to IMAP_BODY_PIECE octets of [off, off + len), at least one when len > 0. CQ_E_CORRUPT when the message is
 * shorter. They live as long as *held_r, which the caller lets go by body_piece_unref(). */
enum cq_rc imap_message_piece(struct imap_run *run, const struct mail_body *body, uint64_t off, uint64_t len,
                              struct body_piece **held_r, struct cq_slice *octets_r, struct cq_err *err);

/* In FETCH: imap_message_piece() will be called with the pieces of this next, in order; the store is asked while the
 * caller writes, after front_ahead_go(). False: not for all of them, there is no room. */
bool imap_message_ahead(struct imap_run *run, const struct mail_body *body, uint64_t off, uint64_t len);

/* All of [off, off + len) into out, which has room. */
enum cq_rc imap_message_read(struct imap_run *run, const struct mail_body *body, uint64_t off, uint64_t len,
                             struct cq_buf *out, struct cq_err *err);

#endif
