/* BODY[section]<partial> and the RFC822 items: which octets, read in pieces, written as a literal. */
#ifndef IMAP_FETCH_OCTETS_H
#define IMAP_FETCH_OCTETS_H

#include "imap/imap_message.h"

struct imap_octets {
    const struct imap_fetch_item *item;
    struct mail_body body;
    uint64_t off, len;
    bool alone;              /* the only octets that are wanted of each message: the next messages' are read ahead */
    bool missing;            /* the message has no such section: NIL */
    struct cq_slice start;   /* the first octets, */
    struct body_piece *held; /* ... here; NULL: in the pool */
};

/* Is BODY[] all that is asked for? Then the record alone says where it is. */
bool imap_octets_need_summary(const struct imap_fetch *fetch);

/* One struct per OCTETS item, in order, in the pool; `summary` may be NULL when it is not needed, or where
 * imap_head_is_enough(): CQ_E_LIMIT when it was not. Reads the beginning of each section (all of it when it is made by
 * filtering a header). CQ_E_CORRUPT, CQ_E_NOT_FOUND, or the store's error. Whatever it returns, imap_octets_release()
 * ends it. */
enum cq_rc imap_octets_prepare(struct imap_run *run, const struct imap_fetch *fetch, const struct fetch_record *record,
                               const struct mail_summary *summary, struct cq_pool *pool, struct imap_octets **octets_r,
                               struct cq_err *err);

void imap_octets_release(const struct imap_fetch *fetch, struct imap_octets *octets);

/* Name, literal and octets. An error comes in the middle of the literal: the connection is of no use any more. */
enum cq_rc imap_octets_write(struct imap_run *run, struct imap_octets *octets, struct cq_err *err);

#endif
