/* What never changes of the messages that came last: size, INTERNALDATE and email id of a UID. A client that has just
 * been told of a message asks for its header or its octets next; with this its record need not be read again.
 *
 * A UID of a mailbox never means another message, so there is nothing to keep up to date: whether the message is still
 * there is for the view and for the reading of its octets to say (docs/decisions/0063). */
#ifndef IMAP_KNOWN_H
#define IMAP_KNOWN_H

#include "mailstore/fetch_record.h"

#define IMAP_KNOWN_MAX 16

struct imap_known;

void imap_known_free(struct imap_known **known);

/* NULL becomes a new one. The oldest of more than IMAP_KNOWN_MAX is forgotten. */
void imap_known_add(struct imap_known **known, const struct fetch_record *record);

/* Flags, keywords, modseq, save date and summary of the record are empty. NULL has nothing. */
bool imap_known_find(const struct imap_known *known, uint32_t uid, struct fetch_record *record_r);

#endif
