/* HEADER and HEADER.FIELDS of a whole message without its summary: its first octets say themselves where the header
 * ends. For messages whose record the session has (imap_known.h). */
#ifndef IMAP_FETCH_HEAD_H
#define IMAP_FETCH_HEAD_H

#include "imap/imap_fetch_octets.h"

#define IMAP_HEAD_READ (8u << 10) /* octets that are looked at; a longer header is found by the summary */

/* Are all octets that are asked for the message, its header, or fields of that? */
bool imap_head_is_enough(const struct imap_fetch *fetch);

/* o->item says which; `head` keeps the first octets between the items of one message (CQ_SLICE_NONE at first), in the
 * pool. CQ_E_LIMIT: the header is longer; nothing is known then. */
enum cq_rc imap_head_prepare(struct imap_run *run, const struct fetch_record *record, struct cq_slice *head,
                             struct imap_octets *o, struct cq_pool *pool, struct cq_err *err);

#endif
