/* EXPUNGE (RFC 3501 6.4.3) and UID EXPUNGE (RFC 4315 2.1). The EXPUNGE responses come from the row's sync. */
#include "imap/imap_reply.h"

void imap_cmd_expunge(struct imap_run *run)
{
    struct imap_session *session = run->session;
    struct imap_view *view = session->view;
    struct uidset uids, expunged = {0};
    struct cq_err err = {0};
    bool some = run->command.verb == IMAP_UID_EXPUNGE;
    if (some) {
        imap_view_resolve(view, &run->command.set, true, run->pool, &uids);
        uids = imap_view_existing(view, &uids, run->pool);
        if (uids.count == 0)
            return;
    }
    enum cq_rc rc = mailstore_expunge(session->service->store, &session->account, view->mailbox, some ? &uids : NULL,
                                      run->pool, &expunged, &err);
    imap_view_vanish(view, &expunged); /* what was done before a failure too */
    if (rc != CQ_OK)
        imap_fail(run, rc, &err);
}
