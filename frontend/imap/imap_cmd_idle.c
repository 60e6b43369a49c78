/* IDLE (RFC 2177): a state of the session, not a handler that waits. The store's watch says that something changed;
 * a fiber then asks the change feed. */
#include "imap/imap_reply.h"

static bool concerns(const struct mail_notice *notice, uint64_t mailbox)
{
    for (size_t i = 0; i < notice->mailbox_count; i++)
        if (notice->mailboxes[i] == mailbox)
            return true;
    return notice->gap;
}

/* On the loop's stack. */
static void on_change(void *arg, const struct mail_notice *notice)
{
    struct imap_session *session = arg;
    if (!session->view || session->closed || session->closing || !concerns(notice, session->view->mailbox))
        return;
    session->view->dirty = true;
    session->idle.failed = false;
    if (!session->running)
        imap_session_news(session);
}

/* The watch begins before its row's sync asks for changes: nothing can come between. */
void imap_cmd_idle(struct imap_run *run)
{
    struct imap_session *session = run->session;
    struct imap_idle *idle = &session->idle;
    *idle = (struct imap_idle){.on = true};
    cq_buf_init(&idle->tag, IMAP_TAG_MAX);
    cq_buf_slice_add(&idle->tag, run->command.tag);
    if (session->view)
        idle->watcher = mailstore_watch(session->service->store, session->account.id, on_change, session);
    cq_buf_cstr(&run->out, "+ idling\r\n");
    run->silent = true;
}
