#include "imap/imap_sync.h"

#include "imap/imap_recent.h"
#include "imap/imap_reply.h"

void imap_sync_own_change(struct imap_session *session)
{
    if (session->account.modseq == session->view->token + 1)
        session->view->token = session->account.modseq;
}

void imap_own_changes_begin(struct imap_run *run, struct imap_own_changes *own)
{
    *own = (struct imap_own_changes){.token = run->session->view->token};
    uidset_builder_init(&own->uids, run->pool);
}

void imap_own_changes_add(struct imap_own_changes *own, const struct uidset *uids, uint64_t modseq)
{
    if (modseq == 0 || own->token == 0)
        return;
    if (modseq != own->token + 1) {
        own->token = 0;
        return;
    }
    own->token = own->upto = modseq;
    for (size_t i = 0; i < uids->count; i++)
        uidset_builder_add(&own->uids, uids->ranges[i].first, uids->ranges[i].last);
}

void imap_own_changes_end(struct imap_run *run, struct imap_own_changes *own)
{
    run->told = (struct imap_told){uidset_builder_finish(&own->uids), own->upto};
}

struct sync {
    struct imap_run *run;
    struct imap_view *view;
    roaring_bitmap_t *fresh; /* UIDs that get numbers when all is known */
};

void imap_sync_keywords(struct imap_run *run, const struct mail_records *records)
{
    struct imap_view *view = run->session->view;
    if (records->keyword_count <= view->keyword_count)
        return;
    imap_write_flag_names(&run->out, records->keywords, records->keyword_count, view->read_only);
    view->keyword_count = (uint16_t)records->keyword_count;
}

static bool told_already(const struct imap_run *run, const struct fetch_record *record)
{
    return record->modseq <= run->told.upto && uidset_contains(&run->told.uids, record->uid);
}

static void tell_flags(struct sync *sync, const struct fetch_record *record, const struct mail_records *records)
{
    struct imap_run *run = sync->run;
    uint32_t seq = imap_view_seq(sync->view, record->uid);
    if (seq == 0 || imap_view_is_gone(sync->view, record->uid) || told_already(run, record))
        return;
    cq_buf_printf(&run->out, "* %u FETCH (UID %u FLAGS ", seq, record->uid);
    imap_write_flags(&run->out, record, records, imap_view_is_recent(sync->view, record->uid));
    if (run->session->condstore)
        cq_buf_printf(&run->out, " MODSEQ (%llu)", (unsigned long long)record->modseq);
    cq_buf_cstr(&run->out, ")\r\n");
}

static enum cq_rc take_records(struct sync *sync, const struct mail_records *records, struct cq_err *err)
{
    struct cq_slice rest = records->records;
    struct fetch_record record;
    enum cq_rc rc;
    imap_sync_keywords(sync->run, records);
    while ((rc = fetch_record_next(&rest, &record)) == CQ_OK) {
        if (record.uid >= sync->view->uidnext) {
            roaring_bitmap_add(sync->fresh, record.uid);
            imap_known_add(&sync->view->known, &record);
        } else {
            tell_flags(sync, &record, records);
        }
        if (sync->run->out.len >= IMAP_OUT_FLUSH && (rc = imap_out_flush(sync->run)) != CQ_OK)
            return rc;
    }
    return rc == CQ_E_EOF ? CQ_OK
                          : CQ_FAIL(err, rc, "changes of mailbox %llu", (unsigned long long)sync->view->mailbox);
}

static void take_vanished(struct sync *sync, const struct uidset *vanished)
{
    imap_view_vanish(sync->view, vanished);
    for (size_t i = 0; i < vanished->count; i++)
        roaring_bitmap_remove_range_closed(sync->fresh, vanished->ranges[i].first, vanished->ranges[i].last);
}

/* Batches until there is no more: only then is it known which new UIDs are there, and they get their numbers in order.
 * view->modseq stays where it was until then. */
static enum cq_rc ask(struct sync *sync, struct mail_changes *last, struct cq_pool *pool, struct cq_err *err)
{
    struct imap_session *session = sync->run->session;
    uint64_t since = sync->view->modseq;
    do {
        cq_pool_clear(pool);
        enum cq_rc rc =
            mailstore_changes(session->service->store, &session->account, sync->view->mailbox, since, pool, last, err);
        if (rc == CQ_OK && last->mailbox_gone)
            rc = CQ_FAIL(err, CQ_E_NO_MAILBOX, "the selected mailbox was deleted");
        if (rc == CQ_OK)
            rc = take_records(sync, &last->records, err);
        if (rc != CQ_OK)
            return rc;
        take_vanished(sync, &last->vanished);
        since = last->until_modseq;
    } while (last->more);
    sync->view->modseq = since;
    sync->view->token = session->account.modseq;
    return CQ_OK;
}

static void tell_expunge(void *arg, uint32_t seq)
{
    struct imap_run *run = arg;
    cq_buf_cstr(&run->out, "* ");
    cq_buf_u64(&run->out, seq);
    cq_buf_cstr(&run->out, " EXPUNGE\r\n");
    if (run->out.len >= IMAP_OUT_FLUSH)
        imap_out_send(run);
}

static void tell_counts(struct sync *sync, bool more)
{
    struct cq_buf *out = &sync->run->out;
    uint32_t recent = imap_view_recent_count(sync->view);
    if (more)
        cq_buf_printf(out, "* %u EXISTS\r\n", imap_view_exists(sync->view));
    if (more || recent != sync->view->recent_told)
        cq_buf_printf(out, "* %u RECENT\r\n", recent);
    sync->view->recent_told = recent;
}

enum cq_rc imap_sync(struct imap_run *run, bool numbers, struct cq_err *err)
{
    struct sync sync = {.run = run, .view = run->session->view, .fresh = roaring_bitmap_create()};
    struct cq_pool *pool = cq_pool_new(4096);
    struct mail_changes last = {0};
    sync.view->dirty = false; /* a notice from here on counts again */
    enum cq_rc rc = ask(&sync, &last, pool, err);
    bool more = rc == CQ_OK && !roaring_bitmap_is_empty(sync.fresh);
    if (rc == CQ_OK) /* before they are told, so that they are told as \Recent */
        imap_recent_changed(run->session, &last, more);
    if (!numbers)
        imap_view_tell_gone(sync.view, tell_expunge, run);
    if (rc == CQ_OK) {
        imap_view_add(sync.view, sync.fresh, last.uidnext);
        tell_counts(&sync, more);
    } else {
        sync.view->dirty = true;
    }
    cq_pool_free(&pool);
    roaring_bitmap_free(sync.fresh);
    return rc;
}
