/* The chunks that a generation's state names: bodies and pieces of stages. Private to reseed/. A snapshot of NULL reads
 * what is there now. */
#ifndef RESEED_REFS_H
#define RESEED_REFS_H

#include "reseed/reseed_page.h"
#include "state/records.h"
#include "store/store.h"

#define REFS_STEP 128 /* chunks that one refs_next() tells of */

/* Where a walk stands; all 0: at the beginning. */
struct refs_at {
    struct reseed_cursor key; /* without group and generation */
    uint32_t row;             /* chunks of that record that were told of */
};

struct refs {
    struct store_iter *iter;
    struct state_keyspace space;
    struct refs_at at;
    bool fresh; /* the iterator stands on nothing yet */
};

typedef enum cq_rc refs_fn(void *arg, const struct chunk_ref *ref, struct cq_err *err);

void refs_open(struct refs *refs, struct store *store, struct store_snapshot *snapshot, uint32_t group,
               uint32_t generation, const struct refs_at *at);
/* Tells of at most REFS_STEP chunks. CQ_E_EOF; CQ_E_CORRUPT: a record does not decode; what fn returns. */
enum cq_rc refs_next(struct refs *refs, refs_fn *fn, void *arg, struct cq_err *err);
void refs_close(struct refs *refs);

static inline bool chunk_ref_fits(const struct chunk_ref *ref, struct cq_slice octets)
{
    return octets.len == ref->length && cq_hash128_eq(cq_xxh3_128(octets), ref->hash);
}

#endif
