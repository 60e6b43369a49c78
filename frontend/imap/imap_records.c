#include "imap/imap_records.h"

#include "imap/imap_reply.h"
#include "imap/imap_sync.h"

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
    enum cq_rc rc;
    while ((rc = fetch_record_next(&rest, &record)) == CQ_OK) {
        if (imap_view_seq(view, record.uid) == 0 || imap_view_is_gone(view, record.uid))
            continue;
        run->following = rest;
        rc = fn(ctx, &record, batch);
        run->following = CQ_SLICE_NONE;
        if (rc == CQ_OK && run->out.len >= IMAP_OUT_FLUSH)
            rc = imap_out_flush(run);
        if (rc == CQ_OK)
            rc = imap_breathe(run);
        if (rc != CQ_OK)
            return rc;
    }
    return rc == CQ_E_EOF ? CQ_OK : CQ_FAIL(err, rc, "records of mailbox %llu", (unsigned long long)view->mailbox);
}

enum cq_rc imap_each_record(struct imap_run *run, const struct uidset *uids, bool summaries, imap_record_fn *fn,
                            void *ctx, uint64_t *upto_r, struct cq_err *err)
{
    struct imap_session *session = run->session;
    struct cq_pool *pool = cq_pool_new(4096);
    struct mail_records batch = {.next_uid = 1};
    enum cq_rc rc = CQ_OK;
    bool first = true;
    while (rc == CQ_OK && batch.next_uid) {
        uint32_t from = batch.next_uid;
        cq_pool_clear(pool);
        struct uidset rest = imap_uids_from(uids, from, pool);
        if (rest.count == 0)
            break;
        rc = mailstore_fetch(session->service->store, &session->account, session->view->mailbox, &rest, summaries, pool,
                             &batch, err);
        if (rc != CQ_OK)
            break;
        if (batch.highest_modseq > session->view->modseq)
            session->view->dirty = true;
        if (first && upto_r)
            *upto_r = batch.highest_modseq;
        first = false;
        imap_sync_keywords(run, &batch);
        rc = walk(run, &batch, fn, ctx, err);
    }
    cq_pool_free(&pool);
    return rc;
}
