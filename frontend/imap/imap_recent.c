#include "imap/imap_recent.h"

#include "imap/imap_sync.h"

bool imap_recent_waits(const struct imap_session *session)
{
    return !cq_list_empty(&session->unclaimed);
}

/* Where the UIDs begin that no session of this worker has: `from` is what the shard knows. */
static uint32_t free_from(const struct imap_session *session, uint64_t mailbox, uint32_t from)
{
    cq_list_each (&session->service->unclaimed, link) {
        const struct imap_session *other = cq_list_entry(link, struct imap_session, unclaimed);
        if (other->account.id == session->account.id && other->view->mailbox == mailbox &&
            other->view->recent_to > from)
            from = other->view->recent_to;
    }
    return from;
}

/* Claims all there is. What has come since the session was told the last time becomes its own, too. */
static void claim(struct imap_session *session)
{
    struct imap_view *view = session->view;
    uint32_t from = 0, to = 0;
    if (mailstore_claim_recent(session->service->store, &session->account, view->mailbox, &from, &to, NULL) != CQ_OK)
        return; /* another session will have them, or this one when it asks again */
    imap_view_claim(view, free_from(session, view->mailbox, from), to);
    view->claimed_us = io_loop_now_us(session->service->loop);
    cq_list_remove(&session->unclaimed);
    imap_sync_own_change(session);
}

static bool claimed_just_now(const struct imap_session *session)
{
    uint64_t claimed_us = session->view->claimed_us;
    return claimed_us && io_loop_now_us(session->service->loop) < claimed_us + IMAP_RECENT_PAUSE_US;
}

static void take(struct imap_session *session, uint32_t from, uint32_t to)
{
    imap_view_claim(session->view, from, to);
    session->view->recent_to = to;
    if (!imap_recent_waits(session))
        cq_list_push_back(&session->service->unclaimed, &session->unclaimed);
}

void imap_recent_selected(struct imap_session *session, const struct mail_mailbox *mailbox)
{
    uint32_t from = free_from(session, mailbox->id, mailbox->recent_from);
    if (mailbox->recent_from == 0 || from >= mailbox->uidnext)
        return;
    if (session->view->read_only)
        imap_view_claim(session->view, from, mailbox->uidnext);
    else
        claim(session);
}

void imap_recent_changed(struct imap_session *session, const struct mail_changes *changes, bool news)
{
    struct imap_view *view = session->view;
    uint32_t from = free_from(session, view->mailbox, changes->recent_from);
    if (news && from < changes->uidnext) {
        if (view->read_only)
            imap_view_claim(view, from, changes->uidnext);
        else if (claimed_just_now(session))
            take(session, from, changes->uidnext);
        else
            claim(session);
    }
    if (changes->recent_from >= view->recent_to)
        cq_list_remove(&session->unclaimed); /* by another session's claim */
    if (imap_recent_waits(session) && !claimed_just_now(session))
        claim(session);
}

void imap_recent_leave(struct imap_session *session)
{
    if (imap_recent_waits(session))
        claim(session);
}
