/* STORE and UID STORE (RFC 3501 6.4.6; UNCHANGEDSINCE: RFC 7162 3.1.3). Messages that were expunged elsewhere are
 * skipped and the answer is OK (RFC 2180 4.2.1). */
#include "imap/imap_records.h"
#include "imap/imap_reply.h"
#include "imap/imap_sync.h"
#include "imap/imap_write.h"

#define STORE_PIECE 5000 /* messages of one entry */

static bool is_uid(const struct imap_run *run)
{
    return run->command.verb == IMAP_UID_STORE;
}

/* One FETCH of a message whose flags were asked for by STORE. A silent one tells the mod-sequence alone. */
static enum cq_rc tell(void *ctx, const struct fetch_record *record, const struct mail_records *table)
{
    struct imap_run *run = ctx;
    struct imap_session *session = run->session;
    uint32_t seq = imap_view_seq(session->view, record->uid);
    const char *before = "";
    cq_buf_printf(&run->out, "* %u FETCH (", seq);
    if (is_uid(run) || session->condstore) {
        cq_buf_printf(&run->out, "UID %u", record->uid);
        before = " ";
    }
    if (!run->command.u.store.silent) {
        cq_buf_printf(&run->out, "%sFLAGS ", before);
        imap_write_flags(&run->out, record, table, imap_view_is_recent(session->view, record->uid));
        before = " ";
    }
    if (session->condstore)
        cq_buf_printf(&run->out, "%sMODSEQ (%llu)", before, (unsigned long long)record->modseq);
    cq_buf_cstr(&run->out, ")\r\n");
    return CQ_OK;
}

/* RFC 7162 3.1.3: the set of those that had changed, in the numbers of the command. */
static void answer_modified(struct imap_run *run, const struct uidset *modified)
{
    struct cq_buf code;
    struct uidset existing = imap_view_existing(run->session->view, modified, run->pool);
    uint32_t first = 0, last = 0;
    const char *before = "MODIFIED ";
    if (existing.count == 0)
        return;
    cq_buf_init(&code, IMAP_OUT_MAX);
    for (size_t i = 0; i < existing.count; i++) {
        for (uint32_t uid = existing.ranges[i].first; uid && uid <= existing.ranges[i].last; uid++) {
            uint32_t n = is_uid(run) ? uid : imap_view_seq(run->session->view, uid);
            if (first && n != last + 1) {
                cq_buf_cstr(&code, before);
                imap_write_range(&code, first, last);
                before = ",";
            }
            first = first && n == last + 1 ? first : n;
            last = n;
        }
    }
    cq_buf_cstr(&code, before);
    imap_write_range(&code, first, last);
    imap_ok(run, cq_pool_cstr(run->pool, cq_buf_slice(&code)), "Some messages had changed meanwhile");
    cq_buf_fini(&code);
}

static bool wants_answer(const struct imap_run *run)
{
    return !run->command.u.store.silent || run->session->condstore;
}

/* In pieces of one entry each, so that it is known of each one whether somebody else was in between. */
static enum cq_rc change(struct imap_run *run, const struct uidset *uids, struct uidset_builder *modified,
                         struct cq_err *err)
{
    struct imap_session *session = run->session;
    struct mail_store store = {
        .mailbox = session->view->mailbox,
        .mode = (enum mail_store_mode)run->command.u.store.mode,
        .flags = run->command.u.store.flags.system,
        .keywords = run->command.u.store.flags.keywords,
        .keyword_count = run->command.u.store.flags.keyword_count,
        .has_unchanged_since = run->command.u.store.has_unchanged_since,
        .unchanged_since = run->command.u.store.unchanged_since,
    };
    struct imap_own_changes own;
    uint32_t next = 1;
    enum cq_rc rc = CQ_OK;
    imap_own_changes_begin(run, &own);
    while (rc == CQ_OK && next) {
        struct uidset failed = {0};
        uint64_t modseq = 0;
        struct uidset piece = imap_view_piece(session->view, uids, next, STORE_PIECE, run->pool, &next);
        if (piece.count == 0)
            break;
        store.uids = &piece;
        rc = mailstore_store(session->service->store, &session->account, &store, run->pool, &failed, &modseq, err);
        imap_own_changes_add(&own, &piece, modseq);
        for (size_t i = 0; i < failed.count; i++)
            uidset_builder_add(modified, failed.ranges[i].first, failed.ranges[i].last);
    }
    imap_own_changes_end(run, &own);
    return rc;
}

static void store(struct imap_run *run, const struct uidset *uids)
{
    struct uidset_builder modified;
    struct cq_err err = {0};
    uint64_t upto = 0;
    uidset_builder_init(&modified, run->pool);
    enum cq_rc rc = change(run, uids, &modified, &err);
    if (rc == CQ_OK && wants_answer(run))
        rc = imap_each_record(run, uids, MAIL_FETCH_NO_SUMMARY, tell, run, &upto, &err);
    if (!run->command.u.store.silent) /* a mod-sequence alone tells no flags */
        run->told = (struct imap_told){*uids, upto};
    if (rc != CQ_OK) {
        run->told = (struct imap_told){0}; /* the client does not know how far it went */
        imap_fail(run, rc, &err);
        return;
    }
    struct uidset failed = uidset_builder_finish(&modified);
    answer_modified(run, &failed);
}

void imap_cmd_store(struct imap_run *run)
{
    struct imap_session *session = run->session;
    struct uidset uids;
    session->condstore |= run->command.u.store.has_unchanged_since;
    if (!imap_view_resolve(session->view, &run->command.set, is_uid(run), run->pool, &uids)) {
        imap_bad(run, "There is no message of that number");
        return;
    }
    uids = imap_view_existing(session->view, &uids, run->pool); /* what is written goes by messages, not by ranges */
    if (uids.count)
        store(run, &uids);
}
