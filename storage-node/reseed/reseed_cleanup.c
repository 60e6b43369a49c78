/* After the flip: the old generation goes, then every chunk that came with or before the copied state and that nothing
 * names. Chunks of later entries are the new state's own business (dead bodies, docs/formats/state.md). */
#include "reseed/chunk_sweep.h"
#include "reseed/reseed_refs.h"
#include "reseed/reseed_target.h"

#include "state/mail_machine.h"

#include "base/cq_endian.h"
#include "base/cq_mem.h"

#include <stdlib.h>

struct slice {
    uint8_t (*keys)[CHUNK_KEY_SIZE]; /* ascending */
    bool *named;
    size_t count, max;
    bool done;
    bool damaged; /* the last key's octets do not read: it goes if nothing names it, or is passed over */
};

/* Entries behind the state's are of its term or of later ones; others are a tail that was overwritten. */
static bool is_of_the_copy(const struct reseed_record *r, struct cq_slice key)
{
    struct chunk_id id;
    return chunk_key_parse(key, &id) && (id.index <= r->index || id.term < r->term);
}

/* What does not read is found by trying. The cursor stays, so that the place is looked at again when it is gone. */
static enum cq_rc collect_damaged(struct store *store, struct reseed_record *r, uint64_t incarnation,
                                  struct slice *slice)
{
    uint8_t from[CHUNK_KEY_SIZE] = {0}, key[CHUNK_KEY_SIZE];
    struct chunk_id id;
    cq_put_be64(from, incarnation);
    if (r->cursor.len > sizeof incarnation)
        memcpy(from, r->cursor.at, r->cursor.len < sizeof from ? r->cursor.len : sizeof from);
    if (r->cursor.len > sizeof from && !chunk_key_next(from))
        return CQ_E_EOF;
    enum cq_rc rc = chunk_find_damaged(store, NULL, from, key);
    if (rc != CQ_OK)
        return rc;
    if (!chunk_key_parse(cq_slice_of(key, sizeof key), &id) || id.incarnation != incarnation)
        return CQ_E_EOF;
    if (!is_of_the_copy(r, cq_slice_of(key, sizeof key))) {
        reseed_cursor_after(&r->cursor, cq_slice_of(key, sizeof key));
        return CQ_OK;
    }
    memcpy(slice->keys[slice->count++], key, sizeof key);
    slice->damaged = true;
    return CQ_OK;
}

static enum cq_rc collect(struct store *store, struct reseed_record *r, uint64_t incarnation, struct slice *slice,
                          struct cq_err *err)
{
    uint8_t prefix[8];
    struct state_key from = {.len = 0}, to;
    cq_put_be64(prefix, incarnation);
    key_bytes(&from, prefix, sizeof prefix);
    key_after_prefix(&from, &to);
    if (r->cursor.len > sizeof prefix) {
        from.len = 0;
        key_bytes(&from, r->cursor.at, r->cursor.len);
    }
    struct store_iter *iter = store_iter_new(store, NULL, STORE_CHUNK, key_slice(&from), key_slice(&to));
    enum cq_rc rc = CQ_OK;
    while (slice->count < slice->max && (rc = store_iter_next(iter)) == CQ_OK) {
        struct cq_slice key = store_iter_key(iter);
        if (key.len != CHUNK_KEY_SIZE)
            continue;
        reseed_cursor_after(&r->cursor, key);
        if (is_of_the_copy(r, key))
            memcpy(slice->keys[slice->count++], key.data, CHUNK_KEY_SIZE);
    }
    store_iter_free(&iter);
    if (rc == CQ_E_CORRUPT)
        rc = collect_damaged(store, r, incarnation, slice);
    slice->done = rc == CQ_E_EOF;
    return rc == CQ_OK || rc == CQ_E_EOF ? CQ_OK : CQ_FAIL(err, rc, "chunks of group %u cannot be read", r->group);
}

static enum cq_rc mark_named(void *arg, const struct chunk_ref *ref, struct cq_err *err)
{
    (void)err;
    struct slice *slice = arg;
    uint8_t key[CHUNK_KEY_SIZE];
    chunk_key(&ref->id, key);
    const uint8_t(*found)[CHUNK_KEY_SIZE] = NULL;
    for (size_t low = 0, high = slice->count; low < high && !found;) {
        size_t middle = (low + high) / 2;
        int order = memcmp(slice->keys[middle], key, sizeof key);
        if (order == 0) {
            slice->named[middle] = true;
            found = (const uint8_t(*)[CHUNK_KEY_SIZE])slice->keys + middle;
        } else if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return CQ_OK;
}

/* One walk over the whole state, as it is at one moment: names of old chunks only become fewer. */
static enum cq_rc mark_all(struct store *store, const struct reseed_record *r, struct slice *slice, struct cq_err *err)
{
    struct refs refs;
    enum cq_rc rc;
    refs_open(&refs, store, NULL, r->group, r->generation, &(struct refs_at){0});
    while ((rc = refs_next(&refs, mark_named, slice, err)) == CQ_OK)
        ;
    refs_close(&refs);
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

static void mark_dead(struct store_batch *batch, uint32_t group, const struct chunk_id *id)
{
    uint8_t key[DEAD_CHUNK_KEY_SIZE];
    dead_chunk_key(group, id, key);
    store_batch_put(batch, STORE_LOCAL, cq_slice_of(key, sizeof key), CQ_SLICE_NONE);
}

/* What does not read helps no member that lags: it goes also when the log still has its entry. If that is asked for, it
 * is missing, which is damage like any other. */
static uint64_t remove_unnamed(const struct slice *slice, uint32_t group, uint64_t log_first, struct store_batch *batch)
{
    uint64_t removed = 0;
    for (size_t i = 0; i < slice->count; i++) {
        struct cq_slice key = cq_slice_of(slice->keys[i], CHUNK_KEY_SIZE);
        bool reads = !slice->damaged || i + 1 < slice->count;
        struct chunk_id id;
        if (slice->named[i])
            continue;
        if (reads && chunk_key_parse(key, &id) && id.index >= log_first) {
            mark_dead(batch, group, &id);
            continue;
        }
        store_batch_delete(batch, STORE_CHUNK, key);
        removed++;
    }
    return removed;
}

enum cq_rc reseed_cleanup_step(struct store *store, struct reseed_record *r, const struct reseed_cleanup *how,
                               struct store_batch *batch, uint64_t *removed_r, bool *done_r, struct cq_err *err)
{
    struct slice slice = {.max = how->chunks_max};
    *removed_r = 0;
    *done_r = false;
    if (r->old_generation) {
        db_generation_delete(batch, r->group, r->old_generation);
        r->old_generation = 0;
        reseed_record_put(batch, r);
        return CQ_OK;
    }
    slice.keys = cq_calloc(slice.max + 1, sizeof *slice.keys);
    slice.named = cq_calloc(slice.max + 1, sizeof *slice.named);
    enum cq_rc rc = collect(store, r, how->incarnation, &slice, err);
    if (rc == CQ_OK && slice.count)
        rc = mark_all(store, r, &slice, err);
    if (rc == CQ_OK) {
        if (slice.damaged && slice.named[slice.count - 1]) /* damaged since the copy: somebody else's business */
            reseed_cursor_after(&r->cursor, cq_slice_of(slice.keys[slice.count - 1], CHUNK_KEY_SIZE));
        *removed_r = remove_unnamed(&slice, r->group, how->log_first, batch);
        *done_r = slice.done;
        if (slice.done)
            reseed_record_delete(batch, r->group);
        else
            reseed_record_put(batch, r);
    }
    free(slice.keys);
    free(slice.named);
    return rc;
}
