/* CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 6.3.3 to 6.3.7). */
#include "imap/imap_mailbox.h"
#include "imap/imap_mailboxes.h"
#include "imap/imap_reply.h"

static void answer(struct imap_run *run, enum cq_rc rc, const struct cq_err *err)
{
    if (rc != CQ_OK)
        imap_fail(run, rc, err);
}

/* A trailing separator only says that children will follow. */
static struct cq_slice without_separator(struct cq_slice wire)
{
    return wire.len > 1 && wire.data[wire.len - 1] == IMAP_SEPARATOR ? cq_slice_sub(wire, 0, wire.len - 1) : wire;
}

void imap_cmd_create(struct imap_run *run)
{
    struct imap_session *session = run->session;
    struct cq_err err = {0};
    struct cq_slice name;
    uint64_t id;
    if (imap_take_name(run, without_separator(run->command.u.mailbox.mailbox), &name))
        answer(run, mailstore_create(session->service->store, &session->account, name, MAIL_USE_NONE, &id, &err), &err);
}

void imap_cmd_delete(struct imap_run *run)
{
    struct imap_session *session = run->session;
    struct cq_err err = {0};
    const struct mail_mailbox *mailbox;
    if (!imap_find_mailbox(run, run->command.u.mailbox.mailbox, "NONEXISTENT", &mailbox))
        return;
    enum cq_rc rc = mailstore_delete(session->service->store, &session->account, mailbox->id, &err);
    if (rc == CQ_E_CONFLICT) /* RFC 9051: children stay reachable, there are no \Noselect names */
        imap_no(run, "HASCHILDREN", "Delete the mailboxes below it first");
    else if (rc == CQ_E_DENIED)
        imap_no(run, "CANNOT", "INBOX cannot be deleted");
    else
        answer(run, rc, &err);
    if (rc == CQ_OK && session->view && session->view->mailbox == mailbox->id)
        imap_session_leave_mailbox(session);
}

void imap_cmd_rename(struct imap_run *run)
{
    struct imap_session *session = run->session;
    struct cq_err err = {0};
    struct cq_slice from, to;
    if (!imap_take_name(run, run->command.u.rename.from, &from) ||
        !imap_take_name(run, without_separator(run->command.u.rename.to), &to))
        return;
    answer(run, mailstore_rename(session->service->store, &session->account, from, to, &err), &err);
    if (session->view)
        session->view->dirty = true; /* RENAME INBOX empties it */
}

/* Any name can be subscribed to, whether it exists or not (RFC 3501 6.3.6). */
void imap_cmd_subscribe(struct imap_run *run)
{
    struct imap_session *session = run->session;
    struct cq_err err = {0};
    struct cq_slice name;
    bool on = run->command.verb == IMAP_SUBSCRIBE;
    if (imap_take_name(run, without_separator(run->command.u.mailbox.mailbox), &name))
        answer(run, mailstore_subscribe(session->service->store, &session->account, name, on, &err), &err);
}
