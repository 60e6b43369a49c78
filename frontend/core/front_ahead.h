/* Read ahead: while one piece of a body goes to the client, other fibers ask the store for the next ones. Pieces are
 * asked for in the order in which they will be taken. A reader always may have one that is under way or waits; more, up
 * to FRONT_AHEAD_PIECES of FRONT_AHEAD_MAX octets together, as long as all readers of the worker stay below
 * FRONT_AHEAD_WORKER_MAX. Those that are in memory already are held meanwhile.
 *
 * The other fibers know nothing of the session but a copy of its account, and have ended when front_ahead_free returns.
 */
#ifndef FRONT_AHEAD_H
#define FRONT_AHEAD_H

#include "base/cq_limits.h"
#include "io/io_loop.h"
#include "mailstore/mailstore.h"

/* clang-format off */
#define FRONT_AHEAD_LIMITS(X)                                                                                          \
    X(FRONT_AHEAD_PIECES, 8, "pieces", "That a FETCH or RETR has asked for ahead of what the client is sent", "asked for later") \
    X(FRONT_AHEAD_MAX, 2 << 20, "bytes", "Of these pieces of one session together", "asked for later")                 \
    X(FRONT_AHEAD_WORKER_MAX, 32 << 20, "bytes", "Of all sessions of one worker; each may have one piece beyond",      \
      "asked for later")
/* clang-format on */
CQ_LIMITS_ENUM(FRONT_AHEAD_LIMITS);
extern const struct cq_limit front_ahead_limit_rows[];
extern const size_t front_ahead_limit_row_count;

/* Octets [off, off + len) of a message, in one piece of it (mailstore_body). */
struct front_piece {
    struct mail_body body;
    uint64_t off;
    uint32_t len;
};

/* The first of the pieces that [off, off + len) is read in: a chunk is read and verified whole, whatever is asked of
 * it, so a piece ends where a chunk ends. */
struct front_piece front_piece_at(const struct mail_body *body, uint64_t off, uint64_t len);

struct front_ahead;

/* `account`: the session's, which outlives this; the shard is asked with a copy, for bodies do not change.
 * *worker_octets: what all readers of the worker have asked for, 0 at first; it outlives this, too. */
struct front_ahead *front_ahead_new(struct io_loop *loop, struct mailstore *store,
                                    const struct mailstore_account *account, size_t *worker_octets);
/* On a fiber. What was asked for and not taken is given up. */
void front_ahead_free(struct front_ahead **ahead);

/* On a fiber: asks for the pieces of [off, off + len), those that were not asked for before. False: not for all of
 * them, there is no room (nor a fiber) for one more now. */
bool front_ahead_ask(struct front_ahead *ahead, const struct mail_body *body, uint64_t off, uint64_t len);

/* On a fiber: lets the requests go out. */
void front_ahead_go(struct front_ahead *ahead);

/* Was this piece asked for? Then waits for it: *rc_r is the store's result, or CQ_E_CANCELLED; with CQ_OK *held_r and
 * *octets_r are those of mailstore_body(), else untouched. Pieces that were asked for before it are given up. False:
 * the caller reads it himself. */
bool front_ahead_take(struct front_ahead *ahead, const struct front_piece *piece, struct body_piece **held_r,
                      struct cq_slice *octets_r, enum cq_rc *rc_r, struct cq_err *err);

#endif
