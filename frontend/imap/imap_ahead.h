/* Read ahead: while one piece of a body goes to the client, another fiber asks the store for the next one. One piece is
 * asked for or waits, and one that was taken is kept: two IMAP_BODY_PIECE for each FETCH that runs.
 *
 * The other fiber knows nothing of the session but a copy of its account, and has ended when imap_ahead_free returns.
 */
#ifndef IMAP_AHEAD_H
#define IMAP_AHEAD_H

#include "imap/imap_session.h"

/* Octets [off, off + len) of a message. */
struct imap_piece {
    uint64_t email, off;
    uint32_t len;
};

struct imap_ahead *imap_ahead_new(struct imap_session *session);
/* On a fiber. What was asked for and not taken is given up. */
void imap_ahead_free(struct imap_ahead **ahead);

/* On a fiber: asks for the piece and lets the request go out. What was asked for before and not taken is given up. When
 * no fiber is to be had nothing happens: the piece is then not there to be taken. */
void imap_ahead_ask(struct imap_ahead *ahead, const struct imap_piece *piece);

/* Is it this piece that was asked for? Then waits for it: *rc_r is the store's result, or CQ_E_CANCELLED; the octets
 * live until the next one is taken. False: the caller reads it himself. */
bool imap_ahead_take(struct imap_ahead *ahead, const struct imap_piece *piece, struct cq_slice *octets_r,
                     enum cq_rc *rc_r, struct cq_err *err);

#endif
