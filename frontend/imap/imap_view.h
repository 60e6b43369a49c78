/* The selected mailbox as this client knows it: which messages have which sequence numbers, and how far it has been
 * told of changes. Numbers change only in imap_view_told_*: what has vanished in the store keeps its number until
 * EXPUNGE was sent.
 *
 * A set of UIDs is a roaring bitmap: rank and select are the map between UIDs and sequence numbers. Every UID of the
 * store below `uidnext` is in it or has vanished, so a range of sequence numbers is a range of UIDs. */
#ifndef IMAP_VIEW_H
#define IMAP_VIEW_H

#include "base/cq_pool.h"
#include "imap/imap_known.h"
#include "imap/imap_seqset.h"
#include "mailstore/mailstore.h"

#include <roaring/roaring.h>

struct imap_view {
    uint64_t mailbox;
    uint32_t uidvalidity;
    uint32_t uidnext;         /* UIDs from here on are unknown to the client */
    uint64_t modseq;          /* changes up to here are known (told, or waiting in `gone`) */
    uint64_t token;           /* the account's modseq when that was asked */
    uint32_t recent_told;     /* the last number of RECENT */
    uint32_t recent_to;       /* while the session's claim waits (imap_recent.h): UIDs below are not for others */
    uint64_t claimed_us;      /* loop's clock: when \Recent was claimed last; 0: not yet */
    uint16_t keyword_count;   /* keywords of the FLAGS response that was sent last */
    bool read_only;           /* EXAMINE */
    bool dirty;               /* something has changed that was not asked for yet */
    roaring_bitmap_t *uids;   /* with a sequence number */
    roaring_bitmap_t *gone;   /* of these: vanished, EXPUNGE not sent; NULL: none */
    struct imap_known *known; /* of the newest messages; NULL: of none */
    roaring_bitmap_t *recent; /* \Recent in this session, whether known yet or not; NULL: none */
};

struct imap_view *imap_view_new(const struct mail_open *open, bool read_only);
void imap_view_free(struct imap_view **view);

uint32_t imap_view_exists(const struct imap_view *view);
uint32_t imap_view_recent_count(const struct imap_view *view);
/* The largest UID, 0 when there are no messages. */
uint32_t imap_view_last_uid(const struct imap_view *view);
/* Sequence number of a UID; 0: the client does not know it. */
uint32_t imap_view_seq(const struct imap_view *view, uint32_t uid);
/* UID of a sequence number, 1 <= seq <= exists. */
uint32_t imap_view_uid(const struct imap_view *view, uint32_t seq);
bool imap_view_is_gone(const struct imap_view *view, uint32_t uid);
bool imap_view_is_recent(const struct imap_view *view, uint32_t uid);

/* The UIDs that a set of the client means, as ranges in the pool; ranges may hold UIDs that do not exist. False: a
 * sequence number that is not there (BAD). With UIDs every set is fine, also one that means nothing. */
bool imap_view_resolve(const struct imap_view *view, const struct imap_seqset *set, bool is_uids, struct cq_pool *pool,
                       struct uidset *uids_r);

/* Ranges with at most `max` known messages, from uid `from` on; *next_r: where to go on, 0 when that was all. */
struct uidset imap_view_piece(const struct imap_view *view, const struct uidset *uids, uint32_t from, uint32_t max,
                              struct cq_pool *pool, uint32_t *next_r);

/* All messages of the view that are in the ranges, each one once. */
struct uidset imap_view_existing(const struct imap_view *view, const struct uidset *uids, struct cq_pool *pool);

/* ---- News from the store ---- */

/* UIDs that are no longer in the store; those the client does not know are ignored. */
void imap_view_vanish(struct imap_view *view, const struct uidset *uids);
/* UIDs [from, to) are this session's \Recent. */
void imap_view_claim(struct imap_view *view, uint32_t from, uint32_t to);
/* New messages get numbers; `fresh`: UIDs from view->uidnext on. */
void imap_view_add(struct imap_view *view, const roaring_bitmap_t *fresh, uint32_t uidnext);
/* The EXPUNGEs of all that is gone, highest number first: calls back with each number, then the numbers are free. */
void imap_view_tell_gone(struct imap_view *view, void (*tell)(void *arg, uint32_t seq), void *arg);

#endif
