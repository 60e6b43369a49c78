/* Mailboxes by name, for the commands that are given one. */
#ifndef IMAP_MAILBOXES_H
#define IMAP_MAILBOXES_H

#include "imap/imap_session.h"

/* A name from the wire, or NO [CANNOT] and false. */
bool imap_take_name(struct imap_run *run, struct cq_slice wire, struct cq_slice *name_r);

/* The account's list; on failure the answer is set. */
bool imap_load_list(struct imap_run *run, struct mail_mailbox_list *list_r);

/* The mailbox of that name, NULL when there is none. Logarithmic. */
const struct mail_mailbox *imap_list_find(const struct mail_mailbox_list *list, struct cq_slice name);
/* Is there a mailbox below that name? */
bool imap_list_has_children(const struct mail_mailbox_list *list, struct cq_slice name);

/* Name from the wire to mailbox in one step. False: the answer is set, NO with `missing_code` when there is none. */
bool imap_find_mailbox(struct imap_run *run, struct cq_slice wire, const char *missing_code,
                       const struct mail_mailbox **mailbox_r);

#endif
