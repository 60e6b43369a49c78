/* Read ahead: while one piece of a body goes to the client, other fibers ask the store for the next ones. Pieces are
 * asked for in the order in which they will be taken. A FETCH always may have one that is under way or waits; more, up
 * to IMAP_AHEAD_PIECES of IMAP_AHEAD_MAX octets together, as long as all FETCHes of the worker stay below
 * IMAP_AHEAD_WORKER_MAX. Those that are in memory already are held meanwhile.
 *
 * The other fibers know nothing of the session but a copy of its account, and have ended when imap_ahead_free returns.
 */
#ifndef IMAP_AHEAD_H
#define IMAP_AHEAD_H

#include "imap/imap_session.h"

/* Octets [off, off + len) of a message, in one piece of it (mailstore_body). */
struct imap_piece {
    struct mail_body body;
    uint64_t off;
    uint32_t len;
};

struct imap_ahead *imap_ahead_new(struct imap_session *session);
/* On a fiber. What was asked for and not taken is given up. */
void imap_ahead_free(struct imap_ahead **ahead);

/* On a fiber: asks for the piece, unless that was done before. False: there is no room (nor a fiber) for one more now.
 */
bool imap_ahead_ask(struct imap_ahead *ahead, const struct imap_piece *piece);

/* On a fiber: lets the requests go out. */
void imap_ahead_go(struct imap_ahead *ahead);

/* Was this piece asked for? Then waits for it: *rc_r is the store's result, or CQ_E_CANCELLED; with CQ_OK *held_r and
 * *octets_r are those of mailstore_body(), else untouched. Pieces that were asked for before it are given up. False:
 * the caller reads it himself. */
bool imap_ahead_take(struct imap_ahead *ahead, const struct imap_piece *piece, struct body_piece **held_r,
                     struct cq_slice *octets_r, enum cq_rc *rc_r, struct cq_err *err);

#endif
