/* \Recent (RFC 3501 2.3.2): which session has which message as recent.
 *
 * A claim is a command of the shard: an entry that a majority writes. A session claims what it tells at once, but not
 * more often than every IMAP_RECENT_PAUSE_US: of a burst of messages what comes later is its own by the word of this
 * worker alone, and is claimed with the next news, or when the mailbox is left by a command. Until then sessions of
 * other workers may show it as recent too (docs/decisions/0063). */
#ifndef IMAP_RECENT_H
#define IMAP_RECENT_H

#include "imap/imap_session.h"

#define IMAP_RECENT_PAUSE_US UINT64_C(1000000)

/* SELECT, EXAMINE: the session's view is new. EXAMINE shows what is recent and takes none of it. */
void imap_recent_selected(struct imap_session *session, const struct mail_mailbox *mailbox);

/* The feed has been asked; `news`: there are new messages, about to be told. */
void imap_recent_changed(struct imap_session *session, const struct mail_changes *changes, bool news);

/* On the fiber, before a command leaves the mailbox. */
void imap_recent_leave(struct imap_session *session);

/* Does the session have messages as recent that it has yet to claim? */
bool imap_recent_waits(const struct imap_session *session);

#endif
