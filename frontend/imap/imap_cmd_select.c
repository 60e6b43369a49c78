/* SELECT and EXAMINE (RFC 3501 6.3.1, 6.3.2; CONDSTORE: RFC 7162 3.1.2, 3.1.8), CLOSE, UNSELECT (RFC 3691). */
#include "imap/imap_mailboxes.h"
#include "imap/imap_recent.h"
#include "imap/imap_reply.h"

static void write_selected(struct imap_run *run, const struct imap_view *view, const struct mail_open *open)
{
    struct cq_buf *out = &run->out;
    const struct mail_mailbox *mailbox = &open->mailbox;
    imap_write_flag_names(out, mailbox->keywords, mailbox->keyword_count, view->read_only);
    cq_buf_printf(out, "* %u EXISTS\r\n* %u RECENT\r\n", imap_view_exists(view), view->recent_told);
    uint32_t unseen = open->first_unseen_uid ? imap_view_seq(view, open->first_unseen_uid) : 0;
    if (unseen)
        cq_buf_printf(out, "* OK [UNSEEN %u] The first unseen message\r\n", unseen);
    cq_buf_printf(out, "* OK [UIDVALIDITY %u] UIDs are valid\r\n", mailbox->uidvalidity);
    cq_buf_printf(out, "* OK [UIDNEXT %u] The next UID\r\n", mailbox->uidnext);
    cq_buf_printf(out, "* OK [HIGHESTMODSEQ %llu] The highest mod-sequence\r\n",
                  (unsigned long long)mailbox->highest_modseq);
}

static void enter(struct imap_run *run, const struct mail_open *open, bool read_only)
{
    struct imap_session *session = run->session;
    struct imap_view *view = imap_view_new(open, read_only);
    view->token = session->account.modseq;
    session->view = view;
    imap_recent_selected(session, &open->mailbox);
    view->recent_told = imap_view_recent_count(view);
    session->state = IMAP_SELECTED;
    session->condstore |= run->command.u.select.condstore;
    write_selected(run, view, open);
    imap_ok(run, read_only ? "READ-ONLY" : "READ-WRITE", NULL);
}

/* By its name in one read; a name that is not there is looked for in the list, too. False: the answer is set. */
static bool open_mailbox(struct imap_run *run, struct mail_open *open_r, enum cq_rc *rc_r, struct cq_err *err)
{
    struct imap_session *session = run->session;
    struct cq_slice name, wire = run->command.u.select.mailbox;
    const struct mail_mailbox *mailbox;
    if (!imap_take_name(run, wire, &name))
        return false;
    *rc_r = mailstore_open_name(session->service->store, &session->account, name, run->pool, open_r, err);
    if (*rc_r != CQ_E_NO_MAILBOX)
        return true;
    if (!imap_find_mailbox(run, wire, "NONEXISTENT", &mailbox))
        return false;
    *rc_r = mailstore_open(session->service->store, &session->account, mailbox->id, run->pool, open_r, err);
    return true;
}

/* Whatever comes of it, the mailbox that was selected before is left. */
void imap_cmd_select(struct imap_run *run)
{
    struct imap_session *session = run->session;
    struct mail_open open;
    struct cq_err err = {0};
    enum cq_rc rc;
    imap_recent_leave(session);
    imap_session_leave_mailbox(session);
    if (!open_mailbox(run, &open, &rc, &err))
        return;
    if (rc == CQ_OK)
        enter(run, &open, run->command.verb == IMAP_EXAMINE);
    else
        imap_fail(run, rc, &err);
}

void imap_cmd_close(struct imap_run *run)
{
    struct imap_session *session = run->session;
    struct imap_view *view = session->view;
    struct cq_err err = {0};
    struct uidset expunged;
    enum cq_rc rc = CQ_OK;
    imap_recent_leave(session);
    if (!view->read_only)
        rc = mailstore_expunge(session->service->store, &session->account, view->mailbox, NULL, run->pool, &expunged,
                               &err);
    if (rc != CQ_OK && rc != CQ_E_NO_MAILBOX) {
        imap_fail(run, rc, &err); /* still selected: \Deleted messages are still there */
        return;
    }
    imap_session_leave_mailbox(session);
}

void imap_cmd_unselect(struct imap_run *run)
{
    imap_recent_leave(run->session);
    imap_session_leave_mailbox(run->session);
}
