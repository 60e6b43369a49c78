/* The one feed of changes: what has happened to the selected mailbox, told to the client as RFC 3501 7 allows. */
#ifndef IMAP_SYNC_H
#define IMAP_SYNC_H

#include "imap/imap_session.h"

/* Asks the store for all changes since the last time and writes them to run->out: FLAGS, FETCH, EXPUNGE (only when
 * `numbers`: a command that answers by sequence number has not ended), EXISTS, RECENT. On failure nothing but flags may
 * have been told and the next sync does the rest. CQ_E_NO_MAILBOX: the mailbox is no more; the session cannot go on. */
enum cq_rc imap_sync(struct imap_run *run, bool numbers, struct cq_err *err);

/* After a command of this session that changed nothing the client sees (\Recent claimed): when it was the account's
 * only change, all changes of others are still known. */
void imap_sync_own_change(struct imap_session *session);

/* What a command changes itself comes back with the feed, and need not be told then: unless somebody else's change,
 * which the client has not heard of, may be in the same record. That is excluded when each of our changes directly
 * follows, in the account's counter, what the view knew before. */
struct imap_own_changes {
    uint64_t token; /* the last change known, all before it known too; 0: the chain is broken */
    uint64_t upto;
    struct uidset_builder uids;
};
void imap_own_changes_begin(struct imap_run *run, struct imap_own_changes *own);
/* modseq: of our change; 0: nothing changed. */
void imap_own_changes_add(struct imap_own_changes *own, const struct uidset *uids, uint64_t modseq);
void imap_own_changes_end(struct imap_run *run, struct imap_own_changes *own);

/* The keyword table has grown: tells the new FLAGS once. */
void imap_sync_keywords(struct imap_run *run, const struct mail_records *records);

#endif
