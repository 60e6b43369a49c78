#include "core/front_ahead.h"

#include <stdlib.h>

#include "base/cq_mem.h"
#include "io/io_sync.h"

/* One piece, from asking to taking. */
struct asked {
    struct front_ahead *ahead;
    struct front_piece piece;
    struct io_fiber_ref fiber;
    struct io_event done;
    struct body_piece *held;
    struct cq_slice octets;
    enum cq_rc rc;
    struct cq_err err;
};

struct front_ahead {
    struct io_loop *loop;
    struct mailstore *store;
    const struct mailstore_account *seen; /* the session's */
    struct mailstore_account account;     /* as it was at the beginning: of the other fibers */
    size_t *worker_octets;
    struct asked ring[FRONT_AHEAD_PIECES];
    unsigned first, count;
    size_t octets; /* of the pieces in the ring */
};

static struct asked *at(struct front_ahead *a, unsigned i)
{
    return &a->ring[(a->first + i) % FRONT_AHEAD_PIECES];
}

struct front_ahead *front_ahead_new(struct io_loop *loop, struct mailstore *store,
                                    const struct mailstore_account *account, size_t *worker_octets)
{
    struct front_ahead *a = cq_new(struct front_ahead);
    a->loop = loop;
    a->store = store;
    a->seen = account;
    a->account = *account;
    a->worker_octets = worker_octets;
    return a;
}

struct front_piece front_piece_at(const struct mail_body *body, uint64_t off, uint64_t len)
{
    uint32_t room = MAIL_BODY_PIECE - (uint32_t)(off % MAIL_BODY_PIECE);
    return (struct front_piece){*body, off, len < room ? (uint32_t)len : room};
}

static void read_piece(void *arg)
{
    struct asked *p = arg;
    struct front_ahead *a = p->ahead;
    p->rc = mailstore_body(a->store, &a->account, &p->piece.body, p->piece.off, p->piece.len, &p->held, &p->octets,
                           &p->err);
    io_event_set(&p->done);
}

/* The first one leaves the ring; what it holds is the caller's. */
static struct body_piece *leave(struct front_ahead *a)
{
    struct asked *p = at(a, 0);
    struct body_piece *held = p->held;
    p->held = NULL;
    a->octets -= p->piece.len;
    *a->worker_octets -= p->piece.len;
    a->first = (a->first + 1) % FRONT_AHEAD_PIECES;
    a->count--;
    return held;
}

/* The first n. A cancelled read ends at once, so whoever leaves can wait for it even when he was cancelled himself. */
static void give_up(struct front_ahead *a, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        io_fiber_cancel(at(a, i)->fiber);
    io_fiber_shield(true);
    for (; n; n--) {
        while (!at(a, 0)->done.set)
            io_event_wait(&at(a, 0)->done, IO_NO_DEADLINE);
        struct body_piece *held = leave(a);
        body_piece_unref(&held);
    }
    io_fiber_shield(false);
}

void front_ahead_free(struct front_ahead **ahead)
{
    struct front_ahead *a = *ahead;
    if (!a)
        return;
    give_up(a, a->count);
    free(a);
    *ahead = NULL;
}

static bool has_room(const struct front_ahead *a, uint32_t len)
{
    if (a->count == 0)
        return true;
    return a->count < FRONT_AHEAD_PIECES && a->octets + len <= FRONT_AHEAD_MAX &&
           *a->worker_octets + len <= FRONT_AHEAD_WORKER_MAX;
}

static bool same(const struct front_piece *x, const struct front_piece *y)
{
    return x->body.email == y->body.email && x->off == y->off && x->len == y->len;
}

/* Where in the ring it is; count: nowhere. */
static unsigned position(struct front_ahead *a, const struct front_piece *piece)
{
    unsigned i = 0;
    while (i < a->count && !same(&at(a, i)->piece, piece))
        i++;
    return i;
}

static bool ask_one(struct front_ahead *a, const struct front_piece *piece)
{
    if (position(a, piece) < a->count)
        return true;
    if (!has_room(a, piece->len))
        return false;
    struct asked *p = at(a, a->count);
    *p = (struct asked){.ahead = a, .piece = *piece};
    io_event_reset(&p->done);
    if (mailstore_body_cached(a->store, a->seen, &piece->body, piece->off, piece->len, &p->held, &p->octets))
        io_event_set(&p->done);
    else if (io_fiber_spawn(a->loop, read_piece, p, &p->fiber) != CQ_OK)
        return false;
    a->count++;
    a->octets += piece->len;
    *a->worker_octets += piece->len;
    return true;
}

bool front_ahead_ask(struct front_ahead *a, const struct mail_body *body, uint64_t off, uint64_t len)
{
    while (len) {
        const struct front_piece piece = front_piece_at(body, off, len);
        if (!ask_one(a, &piece))
            return false;
        off += piece.len;
        len -= piece.len;
    }
    return true;
}

void front_ahead_go(struct front_ahead *a)
{
    if (a->count)
        io_fiber_yield(); /* a cancel is seen by whoever waits next */
}

bool front_ahead_take(struct front_ahead *a, const struct front_piece *piece, struct body_piece **held_r,
                      struct cq_slice *octets_r, enum cq_rc *rc_r, struct cq_err *err)
{
    unsigned before = position(a, piece);
    bool asked = before < a->count;
    give_up(a, before); /* all of them: the guess was wrong, and what follows it is */
    if (!asked)
        return false;
    struct asked *p = at(a, 0);
    *rc_r = io_event_wait(&p->done, IO_NO_DEADLINE);
    if (*rc_r != CQ_OK)
        return true;
    *held_r = leave(a);
    *octets_r = p->octets;
    *rc_r = p->rc;
    if (p->rc != CQ_OK && err)
        *err = p->err;
    return true;
}

const struct cq_limit front_ahead_limit_rows[] = CQ_LIMITS_ROWS(FRONT_AHEAD_LIMITS);
const size_t front_ahead_limit_row_count = sizeof front_ahead_limit_rows / sizeof *front_ahead_limit_rows;
