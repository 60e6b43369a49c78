#include "imap/imap_ahead.h"

#include <stdlib.h>

#include "base/cq_mem.h"
#include "io/io_sync.h"

/* One piece, from asking to taking. */
struct asked {
    struct imap_ahead *ahead;
    struct imap_piece piece;
    struct io_fiber_ref fiber;
    struct io_event done;
    struct body_piece *held;
    struct cq_slice octets;
    enum cq_rc rc;
    struct cq_err err;
};

struct imap_ahead {
    struct imap_service *service;
    struct mailstore_account account; /* what the session had seen when it began: bodies do not change */
    struct asked ring[IMAP_AHEAD_PIECES];
    unsigned first, count;
    size_t octets; /* of the pieces in the ring */
};

static struct asked *at(struct imap_ahead *a, unsigned i)
{
    return &a->ring[(a->first + i) % IMAP_AHEAD_PIECES];
}

struct imap_ahead *imap_ahead_new(struct imap_session *session)
{
    struct imap_ahead *a = cq_new(struct imap_ahead);
    a->service = session->service;
    a->account = session->account;
    return a;
}

static void read_piece(void *arg)
{
    struct asked *p = arg;
    struct imap_ahead *a = p->ahead;
    p->rc = mailstore_body(a->service->store, &a->account, &p->piece.body, p->piece.off, p->piece.len, &p->held,
                           &p->octets, &p->err);
    io_event_set(&p->done);
}

/* The first one leaves the ring; what it holds is the caller's. */
static struct body_piece *leave(struct imap_ahead *a)
{
    struct asked *p = at(a, 0);
    struct body_piece *held = p->held;
    p->held = NULL;
    a->octets -= p->piece.len;
    a->service->ahead_octets -= p->piece.len;
    a->first = (a->first + 1) % IMAP_AHEAD_PIECES;
    a->count--;
    return held;
}

/* The first n. A cancelled read ends at once, so whoever leaves can wait for it even when he was cancelled himself. */
static void give_up(struct imap_ahead *a, unsigned n)
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

void imap_ahead_free(struct imap_ahead **ahead)
{
    struct imap_ahead *a = *ahead;
    if (!a)
        return;
    give_up(a, a->count);
    free(a);
    *ahead = NULL;
}

static bool has_room(const struct imap_ahead *a, uint32_t len)
{
    if (a->count == 0)
        return true;
    return a->count < IMAP_AHEAD_PIECES && a->octets + len <= IMAP_AHEAD_MAX &&
           a->service->ahead_octets + len <= IMAP_AHEAD_WORKER_MAX;
}

static bool same(const struct imap_piece *x, const struct imap_piece *y)
{
    return x->body.email == y->body.email && x->off == y->off && x->len == y->len;
}

/* Where in the ring it is; count: nowhere. */
static unsigned position(struct imap_ahead *a, const struct imap_piece *piece)
{
    unsigned i = 0;
    while (i < a->count && !same(&at(a, i)->piece, piece))
        i++;
    return i;
}

bool imap_ahead_ask(struct imap_ahead *a, const struct imap_piece *piece)
{
    if (position(a, piece) < a->count)
        return true;
    if (!has_room(a, piece->len))
        return false;
    struct asked *p = at(a, a->count);
    *p = (struct asked){.ahead = a, .piece = *piece};
    io_event_reset(&p->done);
    if (mailstore_body_cached(a->service->store, &a->account, &piece->body, piece->off, piece->len, &p->held,
                              &p->octets))
        io_event_set(&p->done);
    else if (io_fiber_spawn(a->service->loop, read_piece, p, &p->fiber) != CQ_OK)
        return false;
    a->count++;
    a->octets += piece->len;
    a->service->ahead_octets += piece->len;
    return true;
}

void imap_ahead_go(struct imap_ahead *a)
{
    if (a->count)
        io_fiber_yield(); /* a cancel is seen by whoever waits next */
}

bool imap_ahead_take(struct imap_ahead *a, const struct imap_piece *piece, struct body_piece **held_r,
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
