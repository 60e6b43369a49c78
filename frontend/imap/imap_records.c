#include "imap/imap_records.h"

#include "imap/imap_batches.h"
#include "imap/imap_reply.h"
#include "imap/imap_sync.h"

#define BREATHE_RECORDS 16 /* between two looks at the clock, which costs as much as a record without a summary */

struct uidset imap_uids_from(const struct uidset *uids, uint32_t uid, struct cq_pool *pool)
{
    size_t i = 0;
    while (i < uids->count && uids->ranges[i].last < uid)
        i++;
    struct uidset tail = {uids->ranges + i, uids->count - i};
    if (tail.count == 0 || tail.ranges[0].first >= uid)
        return tail;
    tail.ranges = cq_pool_dup(pool, tail.ranges, tail.count * sizeof *tail.ranges);
    tail.ranges[0].first = uid;
    return tail;
}

static enum cq_rc walk(struct imap_run *run, const struct mail_records *batch, imap_record_fn *fn, void *ctx,
                       struct cq_err *err)
{
    struct imap_view *view = run->session->view;
    struct cq_slice rest = batch->records;
    struct fetch_record record;
    unsigned passed = 0;
    enum cq_rc rc;
    while ((rc = fetch_record_next(&rest, &record)) == CQ_OK) {
        if (imap_view_seq(view, record.uid) == 0 || imap_view_is_gone(view, record.uid))
            continue;
        run->following = rest;
        rc = fn(ctx, &record, batch);
        run->following = CQ_SLICE_NONE;
        if (rc == CQ_OK && run->out.len >= IMAP_OUT_FLUSH)
            rc = imap_out_flush(run);
        if (rc == CQ_OK && ++passed % BREATHE_RECORDS == 0)
            rc = imap_breathe(run);
        if (rc != CQ_OK)
            return rc;
    }
    return rc == CQ_E_EOF ? CQ_OK : CQ_FAIL(err, rc, "records of mailbox %llu", (unsigned long long)view->mailbox);
}

/* What changed up to there is in all records: the lowest of the batches, for a later one may have been read first. */
static void lower(uint64_t *upto, uint64_t modseq, bool first)
{
    if (upto && (first || modseq < *upto))
        *upto = modseq;
}

enum cq_rc imap_each_record(struct imap_run *run, const struct uidset *uids, uint32_t summary, imap_record_fn *fn,
                            void *ctx, uint64_t *upto_r, struct cq_err *err)
{
    struct imap_view *view = run->session->view;
    struct imap_batches *batches = imap_batches_new(run, uids, summary);
    struct mail_records batch;
    enum cq_rc rc = CQ_OK;
    for (bool first = true; rc == CQ_OK; first = false) {
        rc = imap_batches_next(batches, &batch, err);
        if (rc != CQ_OK)
            break;
        if (batch.highest_modseq > view->modseq)
            view->dirty = true;
        lower(upto_r, batch.highest_modseq, first);
        imap_sync_keywords(run, &batch);
        rc = walk(run, &batch, fn, ctx, err);
    }
    imap_batches_free(&batches);
    return rc == CQ_E_EOF ? CQ_OK : rc;
}
