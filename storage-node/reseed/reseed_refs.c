#include "reseed/reseed_refs.h"

#include "base/cq_endian.h"
#include "state/state_db.h"

void refs_open(struct refs *refs, struct store *store, struct store_snapshot *snapshot, uint32_t group,
               uint32_t generation, const struct refs_at *at)
{
    struct state_key from = {.len = 0}, prefix = {.len = 0}, to;
    *refs = (struct refs){.at = *at, .fresh = true};
    state_keyspace_init(&refs->space, group, generation);
    key_bytes(&prefix, refs->space.prefix, sizeof refs->space.prefix);
    key_after_prefix(&prefix, &to);
    from = prefix;
    key_bytes(&from, at->key.at, at->key.len);
    refs->iter = store_iter_new(store, snapshot, STORE_STATE, key_slice(&from), key_slice(&to));
}

void refs_close(struct refs *refs)
{
    store_iter_free(&refs->iter);
}

static enum cq_rc damaged(const struct refs *refs, struct cq_err *err)
{
    return CQ_FAIL(err, CQ_E_CORRUPT, "group %u: a record of its state is damaged", cq_get_be32(refs->space.prefix));
}

/* Pieces come before bodies; behind them the next account's. */
static enum cq_rc seek_on(struct refs *refs, struct cq_slice key)
{
    uint64_t account = cq_get_be64(key.data + STATE_KEY_PREFIX);
    uint8_t kind = key.data[STATE_KEY_HEAD - 1];
    struct state_key to;
    if (kind > KEY_BODY && account == UINT64_MAX)
        return CQ_E_EOF;
    key_begin(&to, &refs->space, kind > KEY_BODY ? account + 1 : account,
              kind > KEY_PIECE && kind < KEY_BODY ? KEY_BODY : KEY_PIECE);
    return store_iter_seek(refs->iter, key_slice(&to));
}

/* To a record that names chunks, at or behind where the iterator stands. */
static enum cq_rc find_record(struct refs *refs, struct cq_err *err)
{
    enum cq_rc rc = refs->fresh ? store_iter_next(refs->iter) : CQ_OK;
    refs->fresh = false;
    while (rc == CQ_OK) {
        struct cq_slice key = store_iter_key(refs->iter);
        if (key.len < STATE_KEY_HEAD || key.len > STATE_KEY_MAX)
            return damaged(refs, err);
        if (key.data[STATE_KEY_HEAD - 1] == KEY_PIECE || key.data[STATE_KEY_HEAD - 1] == KEY_BODY)
            return CQ_OK;
        rc = seek_on(refs, key);
    }
    return rc == CQ_E_EOF ? rc : CQ_FAIL(err, rc, "the state cannot be read");
}

/* The rows of chunks in the record under the iterator. */
static enum cq_rc chunk_rows(struct refs *refs, struct cq_slice *rows_r, struct cq_err *err)
{
    struct cq_slice key = store_iter_key(refs->iter), value = store_iter_value(refs->iter);
    struct cq_hash128 hash;
    struct body_record body;
    struct chunk_ref piece;
    if (db_stored_value(key, &value, &hash) != CQ_OK)
        return damaged(refs, err);
    if (key.data[STATE_KEY_HEAD - 1] == KEY_BODY) {
        if (body_record_get(value, &body) != CQ_OK)
            return damaged(refs, err);
        *rows_r = body.chunks;
    } else {
        if (piece_record_get(value, &piece) != CQ_OK)
            return damaged(refs, err);
        *rows_r = cq_slice_skip(value, value.len - BODY_CHUNK_SIZE);
    }
    return CQ_OK;
}

static enum cq_rc leave_record(struct refs *refs)
{
    reseed_cursor_after(&refs->at.key, cq_slice_skip(store_iter_key(refs->iter), STATE_KEY_PREFIX));
    refs->at.row = 0;
    refs->fresh = true;
    return CQ_OK;
}

enum cq_rc refs_next(struct refs *refs, refs_fn *fn, void *arg, struct cq_err *err)
{
    struct cq_slice rows = CQ_SLICE_NONE;
    struct chunk_ref ref;
    enum cq_rc rc = find_record(refs, err);
    if (rc == CQ_OK)
        rc = chunk_rows(refs, &rows, err);
    if (rc != CQ_OK)
        return rc;
    /* The cursor names the record itself while some of its chunks are left; it may be gone since, and this the next. */
    struct cq_slice key = cq_slice_skip(store_iter_key(refs->iter), STATE_KEY_PREFIX);
    if (!cq_slice_eq(key, reseed_cursor_slice(&refs->at.key)))
        refs->at.row = 0;
    reseed_cursor_set(&refs->at.key, key, NULL);
    size_t count = rows.len / BODY_CHUNK_SIZE;
    for (unsigned told = 0; refs->at.row < count && told < REFS_STEP; told++, refs->at.row++) {
        chunk_ref_get(rows.data + (size_t)refs->at.row * BODY_CHUNK_SIZE, &ref);
        rc = fn(arg, &ref, err);
        if (rc != CQ_OK)
            return rc;
    }
    return refs->at.row < count ? CQ_OK : leave_record(refs);
}
