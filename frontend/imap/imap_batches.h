/* Fetch records of a set of UIDs, batch after batch in order of UID, with the next ones under way while the caller
 * works on the present one: storage node, router, front-end and client need not take turns.
 *
 * The messages that the session's view knows are cut into pieces of about IMAP_RECORDS_BATCH octets; up to
 * IMAP_RECORDS_AHEAD of them are asked for by other fibers, as long as the worker stays below FRONT_AHEAD_WORKER_MAX.
 * What is one piece is read on the caller's own fiber. A FETCH of octets reads no records ahead: it is long on the way,
 * and flags would be old. Each batch is a read of its own: a later batch may show an older state than an earlier one.
 */
#ifndef IMAP_BATCHES_H
#define IMAP_BATCHES_H

#include "imap/imap_session.h"

struct imap_batches;

/* `uids` and the command live longer than this. */
struct imap_batches *imap_batches_new(struct imap_run *run, const struct uidset *uids, uint32_t summary);
/* On the command's fiber. What was asked for and not taken is given up. */
void imap_batches_free(struct imap_batches **batches);

/* On the command's fiber: the next batch, which lives until the next call; there is at least one, be it empty.
 * CQ_E_EOF: no more. CQ_E_CANCELLED, or the store's error. */
enum cq_rc imap_batches_next(struct imap_batches *batches, struct mail_records *records_r, struct cq_err *err);

#endif
