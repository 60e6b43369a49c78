/* Which chunks does the new state name that are not here? */
#include "reseed/reseed_refs.h"
#include "reseed/reseed_target.h"

#include "base/cq_assert.h"

static bool is_trusted(const struct reseed_target *t, const struct chunk_ref *ref)
{
    return !t->record.suspect && ref->id.index <= t->record.base_index;
}

struct walking {
    struct reseed_target *target;
    struct reseed_walk *walk;
    struct cq_buf *names, octets;
    size_t read_bytes;
};

static enum cq_rc look_at(void *arg, const struct chunk_ref *ref, struct cq_err *err)
{
    struct walking *w = arg;
    uint8_t key[CHUNK_KEY_SIZE];
    if (is_trusted(w->target, ref))
        return CQ_OK;
    chunk_key(&ref->id, key);
    cq_buf_reset(&w->octets, SIZE_MAX);
    enum cq_rc rc = store_get(w->target->store, NULL, STORE_CHUNK, cq_slice_of(key, sizeof key), &w->octets, err);
    if (rc == CQ_E_IO)
        return rc;
    w->read_bytes += w->octets.len;
    if (rc == CQ_OK && chunk_ref_fits(ref, cq_buf_slice(&w->octets)))
        return CQ_OK;
    CQ_ASSERT(w->walk->missing_count < RESEED_MISSING_MAX);
    w->walk->missing[w->walk->missing_count++] = *ref;
    reseed_row_put(w->names, &(struct reseed_row){RESEED_NAME_CHUNK, cq_slice_of(key, sizeof key), CQ_SLICE_NONE});
    return CQ_OK;
}

static bool is_enough(const struct walking *w)
{
    return w->walk->missing_count + REFS_STEP > RESEED_MISSING_MAX || w->read_bytes >= RESEED_WALK_STEP_BYTES;
}

enum cq_rc reseed_walk_step(struct reseed_target *t, struct reseed_walk *walk, struct cq_buf *names, struct cq_err *err)
{
    struct walking w = {.target = t, .walk = walk, .names = names};
    struct refs refs;
    enum cq_rc rc = CQ_OK;
    CQ_ASSERT(walk->missing_count == 0);
    cq_buf_init(&w.octets, ENTRY_CHUNK_MAX);
    const struct refs_at from = {walk->at, walk->row};
    refs_open(&refs, t->store, NULL, t->record.group, t->record.generation, &from);
    while (!is_enough(&w) && (rc = refs_next(&refs, look_at, &w, err)) == CQ_OK)
        ;
    refs_close(&refs);
    walk->at = refs.at.key;
    walk->row = refs.at.row;
    cq_buf_fini(&w.octets);
    walk->done = rc == CQ_E_EOF;
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

/* The first of what is missing, answered or not: the source leaves out what it does not have. */
enum cq_rc reseed_take_missing(struct reseed_target *t, struct reseed_walk *walk, struct cq_slice page, size_t taken,
                               struct store_batch *batch, struct cq_err *err)
{
    if (taken == 0 || taken > walk->missing_count)
        return CQ_FAIL(err, CQ_E_PROTO, "%zu of %zu chunks were looked at", taken, walk->missing_count);
    for (size_t i = 0; i < taken; i++) {
        uint8_t key[CHUNK_KEY_SIZE];
        struct reseed_row row;
        chunk_key(&walk->missing[i].id, key);
        enum cq_rc rc = reseed_row_next(&page, &row, err);
        if (rc != CQ_OK || row.kind != RESEED_CHUNK || !cq_slice_eq(row.key, cq_slice_of(key, sizeof key)) ||
            !chunk_ref_fits(&walk->missing[i], row.value))
            return CQ_FAIL(err, CQ_E_CORRUPT,
                           "group %u: the source does not have a chunk of index %llu as its state "
                           "names it",
                           t->record.group, (unsigned long long)walk->missing[i].id.index);
        store_batch_put(batch, STORE_CHUNK, row.key, row.value);
        t->chunks++;
        t->chunk_bytes += row.value.len;
    }
    walk->missing_count -= taken;
    memmove(walk->missing, walk->missing + taken, walk->missing_count * sizeof *walk->missing);
    return CQ_OK;
}
