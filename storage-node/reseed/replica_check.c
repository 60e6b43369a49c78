#include "reseed/replica_check.h"

#include "state/entry.h"

static enum cq_rc damaged(struct replica_check *c, enum check_found found, struct cq_err *err, const char *what)
{
    c->found = found;
    return CQ_FAIL(err, CQ_E_CORRUPT, "group %u: %s", c->group, what);
}

/* A mark that is gone says that the generation is. */
static enum cq_rc read_mark(struct replica_check *c, struct store_snapshot *snapshot, struct db_mark *mark_r,
                            struct cq_err *err)
{
    enum cq_rc rc = db_mark_read(c->store, snapshot, c->group, c->generation, mark_r, err);
    if (rc == CQ_OK && mark_r->index == 0)
        return CQ_FAIL(err, CQ_E_NOT_FOUND, "group %u: this copy of the state is not there", c->group);
    return rc == CQ_E_CORRUPT ? damaged(c, CHECK_RECORD, err, "the mark of its state is damaged") : rc;
}

enum cq_rc replica_check_begin(struct replica_check *c, struct store *store, uint32_t group, uint32_t generation,
                               struct cq_err *err)
{
    struct state_keyspace space;
    struct state_key from = {.len = 0}, to;
    *c = (struct replica_check){.store = store, .group = group, .generation = generation};
    c->snapshot = store_snapshot_new(store);
    state_keyspace_init(&space, group, generation);
    key_bytes(&from, space.prefix, sizeof space.prefix);
    key_after_prefix(&from, &to);
    c->iter = store_iter_new(store, c->snapshot, STORE_STATE, key_slice(&from), key_slice(&to));
    return read_mark(c, c->snapshot, &c->mark, err);
}

static void drop_snapshot(struct replica_check *c)
{
    store_iter_free(&c->iter);
    if (c->snapshot)
        store_snapshot_free(c->store, &c->snapshot);
}

void replica_check_end(struct replica_check *c)
{
    drop_snapshot(c);
}

/* ---- Records ---- */

static enum cq_rc count_record(struct replica_check *c, struct cq_err *err)
{
    struct cq_slice key = store_iter_key(c->iter), value = store_iter_value(c->iter);
    struct cq_hash128 hash;
    c->bytes += key.len + value.len;
    if (key.len < STATE_KEY_PREFIX || key.len > STATE_KEY_MAX || db_stored_value(key, &value, &hash) != CQ_OK)
        return damaged(c, CHECK_RECORD, err, "a record of its state is damaged");
    c->digest = hash128_add(c->digest, hash);
    c->records++;
    return CQ_OK;
}

static enum cq_rc compare_digest(struct replica_check *c, struct cq_err *err)
{
    drop_snapshot(c);
    c->records_done = true;
    if (c->records != c->mark.records || !cq_hash128_eq(c->digest, c->mark.digest))
        return damaged(c, CHECK_DIGEST, err, "its records together are not what was applied");
    return c->no_chunks ? CQ_E_EOF : CQ_OK;
}

static enum cq_rc records_step(struct replica_check *c, uint64_t until, struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    while (c->bytes < until && (rc = store_iter_next(c->iter)) == CQ_OK)
        if ((rc = count_record(c, err)) != CQ_OK)
            return rc;
    if (rc == CQ_E_EOF)
        return compare_digest(c, err);
    if (rc == CQ_E_CORRUPT)
        return damaged(c, CHECK_RECORD, err, "a block of its state cannot be read");
    return rc == CQ_OK ? CQ_OK : CQ_FAIL(err, rc, "group %u: its state cannot be read", c->group);
}

/* ---- Chunks ---- */

struct chunks {
    struct replica_check *check;
    struct store_snapshot *snapshot;
    struct cq_buf octets;
    uint64_t until;
};

static enum cq_rc look_at(void *arg, const struct chunk_ref *ref, struct cq_err *err)
{
    struct chunks *w = arg;
    struct replica_check *c = w->check;
    uint8_t key[CHUNK_KEY_SIZE];
    if (c->bytes >= w->until)
        return CQ_E_AGAIN; /* the place stays at this chunk */
    chunk_key(&ref->id, key);
    cq_buf_reset(&w->octets, SIZE_MAX);
    enum cq_rc rc = store_get(c->store, w->snapshot, STORE_CHUNK, cq_slice_of(key, sizeof key), &w->octets, err);
    if (rc == CQ_E_NOT_FOUND)
        return damaged(c, CHECK_MISSING, err, "a chunk that its state names is missing");
    if (rc == CQ_E_CORRUPT || rc == CQ_E_LIMIT || (rc == CQ_OK && !chunk_ref_fits(ref, cq_buf_slice(&w->octets))))
        return damaged(c, CHECK_CHUNK, err, "a chunk is not what was written");
    if (rc != CQ_OK)
        return rc;
    c->bytes += w->octets.len;
    c->chunks++;
    return CQ_OK;
}

static enum cq_rc walk_chunks(struct chunks *w, struct cq_err *err)
{
    struct replica_check *c = w->check;
    struct refs refs;
    enum cq_rc rc = CQ_OK;
    refs_open(&refs, c->store, w->snapshot, c->group, c->generation, &c->at);
    while (c->bytes < w->until && (rc = refs_next(&refs, look_at, w, err)) == CQ_OK)
        ;
    c->at = refs.at;
    refs_close(&refs);
    if (rc == CQ_E_CORRUPT && c->found == CHECK_SOUND)
        c->found = CHECK_RECORD; /* written after the first snapshot; err tells */
    return rc == CQ_E_AGAIN ? CQ_OK : rc;
}

static enum cq_rc chunks_step(struct replica_check *c, uint64_t until, struct cq_err *err)
{
    struct chunks w = {.check = c, .until = until};
    struct db_mark mark;
    w.snapshot = store_snapshot_new(c->store);
    cq_buf_init(&w.octets, ENTRY_CHUNK_MAX);
    enum cq_rc rc = read_mark(c, w.snapshot, &mark, err);
    if (rc == CQ_OK)
        rc = walk_chunks(&w, err);
    cq_buf_fini(&w.octets);
    store_snapshot_free(c->store, &w.snapshot);
    return rc;
}

enum cq_rc replica_check_step(struct replica_check *c, size_t bytes_max, struct cq_err *err)
{
    uint64_t until = c->bytes + bytes_max;
    return c->records_done ? chunks_step(c, until, err) : records_step(c, until, err);
}
