/* The source's side of re-seeding: pages out of a replica's store. Functions of (store, snapshot, arguments) on any
 * thread; they read and change nothing. A snapshot of NULL reads what is there now: good for what never changes. */
#ifndef RESEED_SOURCE_H
#define RESEED_SOURCE_H

#include "reseed/reseed_page.h"
#include "state/state_db.h"
#include "store/store.h"

struct reseed_source {
    struct store *store;
    struct store_snapshot *snapshot; /* or NULL */
    uint32_t group, generation;
    uint64_t incarnation;
};

/* Where the state in the snapshot stands: it names index, term, digest and number of records. CQ_E_NOT_FOUND: nothing
 * was ever applied. */
enum cq_rc reseed_source_mark(const struct reseed_source *source, struct db_mark *mark_r, struct cq_err *err);

/* Each appends rows to the page, from the cursor on, until it has bytes_max or there are no more (*done_r), and moves
 * the cursor. CQ_E_CORRUPT, CQ_E_IO. */
struct reseed_read {
    struct reseed_cursor cursor;
    size_t bytes_max;
    bool done;
    bool damaged; /* chunks that do not read were left out: whoever needs them asks for them by name, and elsewhere */
};
/* Chunks, or with `hashes` what they should be. */
enum cq_rc reseed_read_chunks(const struct reseed_source *source, bool hashes, struct reseed_read *read,
                              struct cq_buf *page, struct cq_err *err);
enum cq_rc reseed_read_summaries(const struct reseed_source *source, struct reseed_read *read, struct cq_buf *page,
                                 struct cq_err *err);
/* All records of the state in the order of their keys; of summaries only the hash. */
enum cq_rc reseed_read_state(const struct reseed_source *source, struct reseed_read *read, struct cq_buf *page,
                             struct cq_err *err);

/* What the rows of `names` ask for, in their order, as many as fit into bytes_max (at least one); what is not there any
 * more, or a chunk that does not read, is left out, so *taken_r tells how many names were looked at. Of `read`,
 * bytes_max and damaged count. CQ_E_PROTO. */
enum cq_rc reseed_read_named(const struct reseed_source *source, struct cq_slice names, struct reseed_read *read,
                             struct cq_buf *page, size_t *taken_r, struct cq_err *err);

#endif
