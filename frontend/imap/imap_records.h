/* Fetch records of a set of UIDs, batch after batch, with backpressure: what FETCH, STORE and SEARCH walk over. */
#ifndef IMAP_RECORDS_H
#define IMAP_RECORDS_H

#include "imap/imap_session.h"

/* Called for each message that the client knows and that is in the store, by UID. The record and the table live until
 * it returns. An error ends the walk. */
typedef enum cq_rc imap_record_fn(void *ctx, const struct fetch_record *record, const struct mail_records *table);

/* `summary`: how much of it the records have, as in mailstore_fetch.
 * *upto_r (may be NULL): a mod-sequence of the mailbox: what changed up to there is in the records. A newer one than
 * the view's marks the view dirty. Yields to others between batches, of which the next ones are read ahead
 * (imap_batches.h). */
enum cq_rc imap_each_record(struct imap_run *run, const struct uidset *uids, uint32_t summary, imap_record_fn *fn,
                            void *ctx, uint64_t *upto_r, struct cq_err *err);

/* The tail of a set from `uid` on, in the pool. */
struct uidset imap_uids_from(const struct uidset *uids, uint32_t uid, struct cq_pool *pool);

#endif
