/* COPY, MOVE and their UID forms (RFC 3501 6.4.7, RFC 4315, RFC 6851): all of the set or nothing, in one entry of the
 * log. Messages that are no more are skipped, so a MOVE that another client was faster with is OK. */
#include "imap/imap_mailboxes.h"
#include "imap/imap_reply.h"
#include "imap/imap_write.h"

static bool is_move(const struct imap_run *run)
{
    return run->command.verb == IMAP_MOVE || run->command.verb == IMAP_UID_MOVE;
}

static bool is_uid(const struct imap_run *run)
{
    return run->command.verb == IMAP_UID_COPY || run->command.verb == IMAP_UID_MOVE;
}

/* "COPYUID 38505 304,319:320 3956:3958" */
static const char *copyuid(struct imap_run *run, const struct mail_copied *copied)
{
    struct cq_buf out;
    uint32_t count = (uint32_t)uidset_size(&copied->copied);
    cq_buf_init(&out, IMAP_OUT_MAX);
    cq_buf_printf(&out, "COPYUID %u ", copied->uidvalidity);
    for (size_t i = 0; i < copied->copied.count; i++) {
        if (i)
            cq_buf_byte(&out, ',');
        imap_write_range(&out, copied->copied.ranges[i].first, copied->copied.ranges[i].last);
    }
    cq_buf_byte(&out, ' ');
    imap_write_range(&out, copied->first_uid, copied->first_uid + count - 1);
    const char *code = cq_pool_cstr(run->pool, cq_buf_slice(&out));
    cq_buf_fini(&out);
    return code;
}

/* MOVE tells COPYUID before the EXPUNGEs (RFC 6851 4.3), which the row's sync sends. */
static void answer(struct imap_run *run, const struct mail_copied *copied)
{
    struct imap_view *view = run->session->view;
    if (copied->copied.count == 0) {
        imap_ok(run, NULL, "There was nothing left to do");
        return;
    }
    if (!is_move(run)) {
        imap_ok(run, copyuid(run, copied), NULL);
        return;
    }
    cq_buf_printf(&run->out, "* OK [%s] Moved\r\n", copyuid(run, copied));
    imap_view_vanish(view, &copied->copied);
}

void imap_cmd_copy(struct imap_run *run)
{
    struct imap_session *session = run->session;
    const struct mail_mailbox *to;
    struct mail_copied copied = {0};
    struct cq_err err = {0};
    struct uidset uids;
    if (!imap_view_resolve(session->view, &run->command.set, is_uid(run), run->pool, &uids)) {
        imap_bad(run, "There is no message of that number");
        return;
    }
    if (!imap_find_mailbox(run, run->command.u.mailbox.mailbox, "TRYCREATE", &to))
        return;
    enum cq_rc rc = CQ_OK;
    uids = imap_view_existing(session->view, &uids, run->pool);
    if (uids.count)
        rc = mailstore_copy(session->service->store, &session->account, session->view->mailbox, to->id, &uids,
                            is_move(run), run->pool, &copied, &err);
    if (rc == CQ_OK)
        answer(run, &copied);
    else
        imap_fail(run, rc, &err);
    if (to->id == session->view->mailbox)
        session->view->dirty = true;
}
