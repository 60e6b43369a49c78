/* STATUS (RFC 3501 6.3.10; HIGHESTMODSEQ: RFC 7162 3.1.7). */
#include "imap/imap_mailbox.h"
#include "imap/imap_mailboxes.h"
#include "imap/imap_reply.h"

static uint64_t value(const struct mail_mailbox *mailbox, uint32_t item)
{
    switch (item) {
    case IMAP_STATUS_MESSAGES:
        return mailbox->messages;
    case IMAP_STATUS_RECENT: /* UIDs that no session has taken; some of them may be expunged already */
        return mailbox->uidnext - mailbox->recent_from < mailbox->messages ? mailbox->uidnext - mailbox->recent_from
                                                                           : mailbox->messages;
    case IMAP_STATUS_UIDNEXT:
        return mailbox->uidnext;
    case IMAP_STATUS_UIDVALIDITY:
        return mailbox->uidvalidity;
    case IMAP_STATUS_UNSEEN:
        return mailbox->unseen;
    default:
        return mailbox->highest_modseq;
    }
}

void imap_cmd_status(struct imap_run *run)
{
    static const struct {
        enum imap_status_item item;
        const char *name;
    } rows[] = {
        {IMAP_STATUS_MESSAGES, "MESSAGES"}, {IMAP_STATUS_RECENT, "RECENT"},
        {IMAP_STATUS_UIDNEXT, "UIDNEXT"},   {IMAP_STATUS_UIDVALIDITY, "UIDVALIDITY"},
        {IMAP_STATUS_UNSEEN, "UNSEEN"},     {IMAP_STATUS_HIGHESTMODSEQ, "HIGHESTMODSEQ"},
    };
    const struct mail_mailbox *mailbox;
    const char *before = "";
    if (!imap_find_mailbox(run, run->command.u.status.mailbox, "NONEXISTENT", &mailbox))
        return;
    if (run->command.u.status.items & IMAP_STATUS_HIGHESTMODSEQ)
        run->session->condstore = true; /* RFC 7162 3.1: a CONDSTORE enabling command */
    cq_buf_cstr(&run->out, "* STATUS ");
    imap_write_mailbox(&run->out, mailbox->name);
    cq_buf_cstr(&run->out, " (");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!(run->command.u.status.items & rows[i].item))
            continue;
        cq_buf_printf(&run->out, "%s%s %llu", before, rows[i].name, (unsigned long long)value(mailbox, rows[i].item));
        before = " ";
    }
    cq_buf_cstr(&run->out, ")\r\n");
}
