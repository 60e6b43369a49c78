#include "imap/imap_batches.h"

#include <stdlib.h>

#include "base/cq_mem.h"
#include "core/front_ahead.h"
#include "imap/imap_records.h"
#include "io/io_sync.h"

#define PIECE_FIRST 1000 /* messages, before anything is known of their size */
#define PIECE_MIN 16
#define PIECE_MAX 5000 /* the store gives no more at once */

struct batch {
    struct imap_batches *owner;
    struct uidset uids;
    uint32_t wanted; /* so many messages, or as many as there were (the last piece) */
    bool last;
    bool ahead; /* another fiber reads it */
    bool taken;
    struct io_fiber_ref fiber;
    struct io_event done;
    struct cq_pool *pool;
    struct mail_records records;
    enum cq_rc rc;
    struct cq_err err;
};

struct imap_batches {
    struct imap_run *run;
    struct uidset uids;
    uint32_t next;    /* UIDs from here on have not been asked for; 0: all have */
    uint32_t fits;    /* messages of a piece */
    uint32_t summary; /* see mailstore_fetch */
    unsigned depth, first, count;
    struct batch ring[IMAP_RECORDS_AHEAD];
};

static struct batch *at(struct imap_batches *b, unsigned i)
{
    return &b->ring[(b->first + i) % IMAP_RECORDS_AHEAD];
}

struct imap_batches *imap_batches_new(struct imap_run *run, const struct uidset *uids, uint32_t summary)
{
    struct imap_batches *b = cq_new(struct imap_batches);
    b->run = run;
    b->uids = *uids;
    b->next = 1;
    b->fits = summary ? PIECE_FIRST : PIECE_MAX;
    b->summary = summary;
    b->depth = run->ahead ? 1 : IMAP_RECORDS_AHEAD;
    return b;
}

/* ---- One batch ---- */

static void read_batch(void *arg)
{
    struct batch *p = arg;
    struct imap_batches *b = p->owner;
    struct imap_session *session = b->run->session;
    p->rc = mailstore_fetch(session->service->store, &session->account, session->view->mailbox, &p->uids, b->summary,
                            p->pool, &p->records, &p->err);
    io_event_set(&p->done);
}

static void leave(struct imap_batches *b)
{
    struct batch *p = at(b, 0);
    if (p->ahead)
        *b->run->session->service->ahead_octets -= IMAP_RECORDS_BATCH;
    cq_pool_free(&p->pool);
    b->first = (b->first + 1) % IMAP_RECORDS_AHEAD;
    b->count--;
}

void imap_batches_free(struct imap_batches **batches)
{
    struct imap_batches *b = *batches;
    if (!b)
        return;
    for (unsigned i = 0; i < b->count; i++)
        if (at(b, i)->ahead)
            io_fiber_cancel(at(b, i)->fiber); /* it ends at once, so it can be waited for in any case */
    io_fiber_shield(true);
    while (b->count) {
        while (at(b, 0)->ahead && !at(b, 0)->done.set)
            io_event_wait(&at(b, 0)->done, IO_NO_DEADLINE);
        leave(b);
    }
    io_fiber_shield(false);
    free(b);
    *batches = NULL;
}

/* ---- Asking ---- */

/* The next piece and what is behind it. When the view knows nothing of the set it is asked for as it is, once: the
 * answer tells whether there is news. */
static bool cut_piece(struct imap_batches *b, struct uidset *piece_r, uint32_t *next_r)
{
    bool first = b->next == 1;
    while (b->uids.count && b->uids.ranges[0].last < b->next) {
        b->uids.ranges++;
        b->uids.count--;
    }
    *piece_r = imap_view_piece(b->run->session->view, &b->uids, b->next, b->fits, b->run->pool, next_r);
    if (piece_r->count == 0 && first)
        *piece_r = b->uids;
    return piece_r->count > 0;
}

static bool may_ask_ahead(const struct imap_batches *b)
{
    return b->depth > 1 && *b->run->session->service->ahead_octets + IMAP_RECORDS_BATCH <= FRONT_AHEAD_WORKER_MAX;
}

/* False: no fiber for it. */
static bool ask_ahead(struct imap_batches *b, struct batch *p)
{
    struct imap_service *service = b->run->session->service;
    p->ahead = io_fiber_spawn(service->loop, read_batch, p, &p->fiber) == CQ_OK;
    if (p->ahead)
        *service->ahead_octets += IMAP_RECORDS_BATCH;
    return p->ahead;
}

/* One more piece. The only one, and one for which there is no room, is read when it is taken. */
static bool ask(struct imap_batches *b)
{
    struct uidset piece;
    uint32_t next;
    bool room = may_ask_ahead(b);
    if (b->next == 0 || b->count == b->depth || (b->count && !room))
        return false;
    if (!cut_piece(b, &piece, &next)) {
        b->next = 0;
        return false;
    }
    struct batch *p = at(b, b->count);
    *p = (struct batch){.owner = b, .uids = piece, .wanted = b->fits, .last = next == 0};
    io_event_reset(&p->done);
    bool alone = b->count == 0 && (next == 0 || !room);
    if (!alone && !ask_ahead(b, p) && b->count)
        return false;
    p->pool = cq_pool_new(4096);
    b->next = next;
    b->count++;
    return true;
}

static void ask_more(struct imap_batches *b)
{
    bool asked = false;
    while (ask(b))
        asked |= at(b, b->count - 1)->ahead;
    if (asked && at(b, 0)->done.set)
        io_fiber_yield(); /* lets the requests go out; a cancel is seen by whoever waits next */
}

/* ---- Taking ---- */

/* How many messages a piece should have, so that it is just not cut by the store. */
static void learn(struct imap_batches *b, const struct batch *p)
{
    uint64_t octets = p->records.records.len, fits = b->fits;
    if (p->records.next_uid)
        fits = p->wanted / 2;
    else if (!p->last && octets)
        fits = (uint64_t)p->wanted * (IMAP_RECORDS_BATCH / 10 * 8) / octets;
    if (fits > 2 * (uint64_t)p->wanted)
        fits = 2 * (uint64_t)p->wanted;
    b->fits = fits < PIECE_MIN ? PIECE_MIN : fits > PIECE_MAX ? PIECE_MAX : (uint32_t)fits;
}

/* The store ended the batch before the piece's end: the rest of it comes first. */
static void read_rest(struct imap_batches *b, struct batch *p)
{
    p->uids = imap_uids_from(&p->uids, p->records.next_uid, b->run->pool);
    p->records = (struct mail_records){.highest_modseq = p->records.highest_modseq};
    cq_pool_clear(p->pool);
    if (p->uids.count)
        read_batch(p);
}

static enum cq_rc take(struct imap_batches *b, struct batch *p)
{
    if (!p->ahead)
        read_batch(p);
    enum cq_rc rc = io_event_wait(&p->done, IO_NO_DEADLINE);
    p->taken = true;
    if (rc == CQ_OK && p->rc == CQ_OK)
        learn(b, p);
    return rc;
}

enum cq_rc imap_batches_next(struct imap_batches *b, struct mail_records *records_r, struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    struct batch *p = at(b, 0);
    if (b->count && p->taken && !p->records.next_uid)
        leave(b);
    ask_more(b);
    if (b->count == 0)
        return CQ_E_EOF;
    p = at(b, 0);
    if (p->taken)
        read_rest(b, p);
    else
        rc = take(b, p);
    if (rc != CQ_OK)
        return rc;
    if (p->rc != CQ_OK && err)
        *err = p->err;
    *records_r = p->records;
    return p->rc;
}
