/* The one feed of changes: what has happened to the selected mailbox, told to the client as RFC 3501 7 allows. */
#ifndef IMAP_SYNC_H
#define IMAP_SYNC_H

#include "imap/imap_session.h"

/* Asks the store for all changes since the last time and writes them to run->out: FLAGS, FETCH, EXPUNGE (only when
 * `numbers`: a command that answers by sequence number has not ended), EXISTS, RECENT. On failure nothing but flags may
 * have been told and the next sync does the rest. CQ_E_NO_MAILBOX: the mailbox is no more; the session cannot go on. */
enum cq_rc imap_sync(struct imap_run *run, bool numbers, struct cq_err *err);

/* After a command of this session that changed nothing the client sees (\Recent claimed): when it was the account's only
 * change, all changes of others are still known. */
void imap_sync_own_change(struct imap_session *session);

/* The keyword table has grown: tells the new FLAGS once. */
void imap_sync_keywords(struct imap_run *run, const struct mail_records *records);

#endif
