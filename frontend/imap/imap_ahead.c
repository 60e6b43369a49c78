#include "imap/imap_ahead.h"

#include <stdlib.h>

#include "base/cq_mem.h"
#include "io/io_sync.h"

struct imap_ahead {
    struct io_loop *loop;
    struct mailstore *store;
    struct mailstore_account account; /* what the session had seen when it began: bodies do not change */
    struct imap_piece piece;
    bool asked; /* and not taken */
    struct io_fiber_ref fiber;
    struct io_event done;
    struct cq_pool *pool, *taken;
    struct cq_slice octets;
    enum cq_rc rc;
    struct cq_err err;
};

struct imap_ahead *imap_ahead_new(struct imap_session *session)
{
    struct imap_ahead *a = cq_new(struct imap_ahead);
    a->loop = session->service->loop;
    a->store = session->service->store;
    a->account = session->account;
    return a;
}

static void read_piece(void *arg)
{
    struct imap_ahead *a = arg;
    a->rc = mailstore_read_body(a->store, &a->account, a->piece.email, a->piece.off, a->piece.len, a->pool, &a->octets,
                                &a->err);
    io_event_set(&a->done);
}

/* A cancelled read ends at once, so whoever leaves can wait for it even when he was cancelled himself. */
static void give_up(struct imap_ahead *a)
{
    if (!a->asked)
        return;
    io_fiber_cancel(a->fiber);
    io_fiber_shield(true);
    while (!a->done.set)
        io_event_wait(&a->done, IO_NO_DEADLINE);
    io_fiber_shield(false);
    a->asked = false;
    cq_pool_free(&a->pool);
}

void imap_ahead_free(struct imap_ahead **ahead)
{
    struct imap_ahead *a = *ahead;
    if (!a)
        return;
    give_up(a);
    cq_pool_free(&a->taken);
    free(a);
    *ahead = NULL;
}

void imap_ahead_ask(struct imap_ahead *a, const struct imap_piece *piece)
{
    give_up(a);
    a->piece = *piece;
    a->octets = CQ_SLICE_NONE;
    cq_err_clear(&a->err);
    io_event_reset(&a->done);
    a->asked = io_fiber_spawn(a->loop, read_piece, a, &a->fiber) == CQ_OK;
    if (!a->asked)
        return;
    a->pool = cq_pool_new(1024);
    io_fiber_yield(); /* a cancel is seen by whoever waits next */
}

bool imap_ahead_take(struct imap_ahead *a, const struct imap_piece *piece, struct cq_slice *octets_r, enum cq_rc *rc_r,
                     struct cq_err *err)
{
    if (!a->asked || a->piece.email != piece->email || a->piece.off != piece->off || a->piece.len != piece->len)
        return false;
    *octets_r = CQ_SLICE_NONE;
    *rc_r = io_event_wait(&a->done, IO_NO_DEADLINE);
    if (*rc_r != CQ_OK)
        return true;
    a->asked = false;
    cq_pool_free(&a->taken);
    a->taken = a->pool;
    a->pool = NULL;
    *octets_r = a->octets;
    *rc_r = a->rc;
    if (a->rc != CQ_OK && err)
        *err = a->err;
    return true;
}
