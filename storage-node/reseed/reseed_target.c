/* Phase one, phase two and the flip. The walk is in reseed_walk.c, what follows the flip in reseed_cleanup.c. */
#include "reseed/reseed_target.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "base/cq_mem.h"

#include <stdlib.h>

/* ---- Beginning ---- */

/* Chunks of what this replica has applied are here: the copying begins behind them. */
static enum cq_rc set_base(struct reseed_target *t, const struct reseed_plan *plan, struct cq_err *err)
{
    struct reseed_record *r = &t->record;
    struct db_mark mark = {0};
    if (!plan->suspect && plan->generation) {
        enum cq_rc rc = db_mark_read(t->store, NULL, plan->group, plan->generation, &mark, err);
        if (rc != CQ_OK)
            return rc;
    }
    r->base_index = mark.index;
    r->base_term = mark.term;
    if (mark.index) {
        const struct chunk_id first = {t->incarnation, mark.term, mark.index + 1, 0};
        chunk_key(&first, r->cursor.at);
        r->cursor.len = CHUNK_KEY_SIZE;
    }
    return CQ_OK;
}

static bool fits(const struct reseed_record *r, const struct reseed_plan *plan)
{
    return r->replica == plan->replica && r->old_generation == plan->generation && (r->suspect || !plan->suspect);
}

enum cq_rc reseed_begin(struct reseed_target *t, struct store *store, const struct reseed_plan *plan,
                        struct store_batch *batch, struct cq_err *err)
{
    *t = (struct reseed_target){.store = store, .incarnation = plan->incarnation};
    enum cq_rc rc = reseed_record_read(store, plan->group, &t->record, err);
    if (rc == CQ_OK && t->record.phase == RESEED_CLEANUP)
        return CQ_FAIL(err, CQ_E_EXISTS, "group %u: what a flip has left is not removed yet", plan->group);
    if (rc != CQ_OK && rc != CQ_E_NOT_FOUND)
        return rc;
    if (rc == CQ_OK && fits(&t->record, plan)) {
        if (plan->suspect == SUSPECT_STATE && t->record.suspect != SUSPECT_STATE) {
            t->record.suspect = SUSPECT_STATE;
            reseed_record_put(batch, &t->record);
        }
        return CQ_OK;
    }
    if (rc == CQ_OK)
        db_generation_delete(batch, plan->group, t->record.generation);
    t->record = (struct reseed_record){.group = plan->group,
                                       .phase = RESEED_CHUNKS,
                                       .suspect = plan->suspect,
                                       .old_generation = plan->generation,
                                       .generation = plan->generation + 1,
                                       .replica = plan->replica};
    rc = set_base(t, plan, err);
    db_generation_delete(batch, plan->group, t->record.generation);
    reseed_record_put(batch, &t->record);
    return rc;
}

void reseed_target_fini(struct reseed_target *t)
{
    free(t->wanted);
    t->wanted = NULL;
}

void reseed_abandon(struct store_batch *batch, const struct reseed_record *record)
{
    if (record->phase == RESEED_CLEANUP)
        return;
    db_generation_delete(batch, record->group, record->generation);
    reseed_record_delete(batch, record->group);
}

static void next_phase(struct reseed_target *t, enum reseed_phase phase, struct store_batch *batch)
{
    t->record.phase = phase;
    t->record.cursor.len = 0;
    reseed_record_put(batch, &t->record);
}

/* ---- Phase one: chunks ---- */

static enum cq_rc check_chunk_key(const struct reseed_target *t, struct cq_slice key, struct cq_err *err)
{
    if (key.len != CHUNK_KEY_SIZE || cq_get_be64(key.data) != t->incarnation)
        return CQ_FAIL(err, CQ_E_PROTO, "a chunk that is not of this group");
    return CQ_OK;
}

static enum cq_rc is_same(struct reseed_target *t, const struct reseed_row *row, struct cq_buf *mine, bool *same_r,
                          struct cq_err *err)
{
    if (row->value.len != RESEED_CHUNK_HASH_SIZE)
        return CQ_FAIL(err, CQ_E_PROTO, "a hash of %zu bytes", row->value.len);
    cq_buf_reset(mine, SIZE_MAX);
    enum cq_rc rc = store_get(t->store, NULL, STORE_CHUNK, row->key, mine, err);
    *same_r = rc == CQ_OK && mine->len == cq_get_le32(row->value.data) &&
              cq_hash128_eq(cq_xxh3_128(cq_buf_slice(mine)), reseed_hash_get(row->value.data + 4));
    return rc == CQ_E_IO ? rc : CQ_OK; /* one that does not read is one that is asked for */
}

static enum cq_rc take_chunk(struct reseed_target *t, const struct reseed_row *row, struct store_batch *batch,
                             struct cq_buf *mine, struct cq_buf *names, struct cq_err *err)
{
    bool same = false;
    enum cq_rc rc = check_chunk_key(t, row->key, err);
    if (rc != CQ_OK)
        return rc;
    if (row->kind == RESEED_CHUNK && row->value.len <= ENTRY_CHUNK_MAX) {
        store_batch_put(batch, STORE_CHUNK, row->key, row->value);
        t->chunks++;
        t->chunk_bytes += row->value.len;
        return CQ_OK;
    }
    if (row->kind != RESEED_CHUNK_HASH)
        return CQ_FAIL(err, CQ_E_PROTO, "a row of kind %d among chunks", row->kind);
    rc = is_same(t, row, mine, &same, err);
    if (rc == CQ_OK && !same)
        reseed_row_put(names, &(struct reseed_row){RESEED_NAME_CHUNK, row->key, CQ_SLICE_NONE});
    return rc;
}

enum cq_rc reseed_take_chunks(struct reseed_target *t, struct cq_slice page, struct store_batch *batch,
                              struct cq_buf *names, struct cq_err *err)
{
    struct reseed_row row;
    struct cq_buf mine;
    enum cq_rc rc;
    CQ_ASSERT(t->record.phase == RESEED_CHUNKS);
    cq_buf_init(&mine, ENTRY_CHUNK_MAX);
    while ((rc = reseed_row_next(&page, &row, err)) == CQ_OK && rc == CQ_OK)
        if ((rc = take_chunk(t, &row, batch, &mine, names, err)) != CQ_OK)
            break;
    cq_buf_fini(&mine);
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

void reseed_chunks_end(struct reseed_target *t, const struct reseed_cursor *cursor, bool done,
                       struct store_batch *batch)
{
    if (done) {
        next_phase(t, RESEED_SUMMARIES, batch);
        return;
    }
    t->record.cursor = *cursor;
    reseed_record_put(batch, &t->record);
}

/* ---- State records, of both phases ---- */

/* The whole key in the new generation. CQ_E_PROTO. */
static enum cq_rc whole_key(const struct reseed_target *t, struct cq_slice rest, struct state_key *key,
                            struct cq_err *err)
{
    struct state_keyspace space;
    if (rest.len < STATE_KEY_HEAD - STATE_KEY_PREFIX || rest.len > RESEED_KEY_MAX - STATE_KEY_PREFIX)
        return CQ_FAIL(err, CQ_E_PROTO, "a state key of %zu bytes", rest.len);
    state_keyspace_init(&space, t->record.group, t->record.generation);
    key->len = 0;
    key_bytes(key, space.prefix, sizeof space.prefix);
    key_bytes(key, rest.data, rest.len);
    return CQ_OK;
}

static bool names_summary(struct cq_slice rest)
{
    return rest.data[STATE_KEY_HEAD - STATE_KEY_PREFIX - 1] == KEY_SUMMARY;
}

/* Puts a record whose trailer is right; *hash_r is what the digest counts. */
static enum cq_rc put_record(struct reseed_target *t, const struct reseed_row *row, struct store_batch *batch,
                             struct cq_hash128 *hash_r, struct cq_err *err)
{
    struct state_key key;
    struct cq_slice value = row->value;
    enum cq_rc rc = whole_key(t, row->key, &key, err);
    if (rc != CQ_OK)
        return rc;
    if (db_stored_value(key_slice(&key), &value, hash_r) != CQ_OK)
        return CQ_FAIL(err, CQ_E_CORRUPT, "a record came damaged");
    store_batch_put(batch, STORE_STATE, key_slice(&key), row->value);
    t->state_bytes += row->key.len + row->value.len;
    return CQ_OK;
}

static void count_record(struct reseed_target *t, struct cq_hash128 hash)
{
    t->digest = hash128_add(t->digest, hash);
    t->records++;
}

enum cq_rc reseed_take_summaries(struct reseed_target *t, struct cq_slice page, const struct reseed_cursor *next,
                                 bool done, struct store_batch *batch, struct cq_err *err)
{
    struct reseed_row row;
    struct cq_hash128 hash;
    enum cq_rc rc;
    CQ_ASSERT(t->record.phase == RESEED_SUMMARIES);
    while ((rc = reseed_row_next(&page, &row, err)) == CQ_OK) {
        if (row.kind != RESEED_RECORD || row.key.len < STATE_KEY_HEAD - STATE_KEY_PREFIX || !names_summary(row.key))
            return CQ_FAIL(err, CQ_E_PROTO, "a row of kind %d among summaries", row.kind);
        rc = put_record(t, &row, batch, &hash, err);
        if (rc != CQ_OK)
            return rc;
    }
    if (rc != CQ_E_EOF)
        return rc;
    if (done) {
        next_phase(t, RESEED_STATE, batch);
    } else {
        t->record.cursor = *next;
        reseed_record_put(batch, &t->record);
    }
    return CQ_OK;
}

/* ---- Phase two ---- */

/* Everything of the generation but its summaries: the pages that follow say again what there is. */
static enum cq_rc delete_records(struct reseed_target *t, struct store_batch *batch, struct cq_err *err)
{
    struct state_keyspace space;
    struct state_key from = {.len = 0}, to;
    state_keyspace_init(&space, t->record.group, t->record.generation);
    key_bytes(&from, space.prefix, sizeof space.prefix);
    key_after_prefix(&from, &to);
    struct store_iter *iter = store_iter_new(t->store, NULL, STORE_STATE, key_slice(&from), key_slice(&to));
    enum cq_rc rc;
    while ((rc = store_iter_next(iter)) == CQ_OK) {
        struct cq_slice key = store_iter_key(iter);
        if (key.len < STATE_KEY_HEAD || key.data[STATE_KEY_HEAD - 1] != KEY_SUMMARY)
            store_batch_delete(batch, STORE_STATE, key);
    }
    store_iter_free(&iter);
    return rc == CQ_E_EOF ? CQ_OK : CQ_FAIL(err, rc, "the new generation cannot be read");
}

enum cq_rc reseed_state_begin(struct reseed_target *t, struct store_batch *batch, struct cq_err *err)
{
    CQ_ASSERT(t->record.phase == RESEED_STATE);
    t->state_at.len = 0;
    t->digest = (struct cq_hash128){0, 0};
    t->records = t->wanted_count = 0;
    t->state_bytes = 0;
    return delete_records(t, batch, err);
}

static enum cq_rc want(struct reseed_target *t, const struct reseed_row *row, struct cq_buf *names, struct cq_err *err)
{
    if (!t->wanted)
        t->wanted = cq_calloc(RESEED_WANTED_MAX, sizeof *t->wanted);
    struct reseed_wanted *w = &t->wanted[t->wanted_count];
    if (t->wanted_count == RESEED_WANTED_MAX || row->key.len > sizeof w->key)
        return CQ_FAIL(err, CQ_E_PROTO, "a page names too many summaries");
    t->wanted_count++;
    w->hash = reseed_hash_get(row->value.data);
    w->key_len = row->key.len;
    memcpy(w->key, row->key.data, row->key.len);
    reseed_row_put(names, &(struct reseed_row){RESEED_NAME_RECORD, row->key, CQ_SLICE_NONE});
    return CQ_OK;
}

/* The summaries that are here already, in order, beside those that a page names. */
struct mine {
    struct store_iter *iter;
    enum cq_rc rc; /* CQ_OK: it stands on one */
};

static void mine_next(struct mine *mine)
{
    do
        mine->rc = store_iter_next(mine->iter);
    while (mine->rc == CQ_OK && (store_iter_key(mine->iter).len < STATE_KEY_HEAD ||
                                 store_iter_key(mine->iter).data[STATE_KEY_HEAD - 1] != KEY_SUMMARY));
}

/* Summaries before this key that the page did not name were expunged meanwhile. */
static void drop_before(struct mine *mine, struct cq_slice key, struct store_batch *batch)
{
    while (mine->rc == CQ_OK && cq_slice_cmp(store_iter_key(mine->iter), key) < 0) {
        store_batch_delete(batch, STORE_STATE, store_iter_key(mine->iter));
        mine_next(mine);
    }
}

static enum cq_rc take_summary_hash(struct reseed_target *t, const struct reseed_row *row, struct mine *mine,
                                    struct store_batch *batch, struct cq_buf *names, struct cq_err *err)
{
    struct state_key key;
    struct cq_hash128 hash;
    enum cq_rc rc = whole_key(t, row->key, &key, err);
    if (rc != CQ_OK)
        return rc;
    if (row->value.len != RESEED_SUMMARY_HASH_SIZE || !names_summary(row->key))
        return CQ_FAIL(err, CQ_E_PROTO, "a summary's hash that is none");
    drop_before(mine, key_slice(&key), batch);
    if (mine->rc == CQ_OK && cq_slice_eq(store_iter_key(mine->iter), key_slice(&key))) {
        struct cq_slice value = store_iter_value(mine->iter);
        bool same = db_stored_value(key_slice(&key), &value, &hash) == CQ_OK &&
                    cq_hash128_eq(hash, reseed_hash_get(row->value.data));
        mine_next(mine);
        if (same) {
            count_record(t, hash);
            return CQ_OK;
        }
    }
    return want(t, row, names, err);
}

static enum cq_rc take_state_row(struct reseed_target *t, const struct reseed_row *row, struct mine *mine,
                                 struct store_batch *batch, struct cq_buf *names, struct cq_err *err)
{
    struct cq_hash128 hash;
    if (row->kind == RESEED_SUMMARY_HASH)
        return take_summary_hash(t, row, mine, batch, names, err);
    if (row->kind != RESEED_RECORD || row->key.len < STATE_KEY_HEAD - STATE_KEY_PREFIX || names_summary(row->key))
        return CQ_FAIL(err, CQ_E_PROTO, "a row of kind %d in the state", row->kind);
    enum cq_rc rc = put_record(t, row, batch, &hash, err);
    if (rc == CQ_OK)
        count_record(t, hash);
    return rc;
}

/* Rows come in the order of their keys, each inside the page's range: so none is counted twice. */
static enum cq_rc check_order(struct cq_slice *last, const struct reseed_row *row, const struct reseed_cursor *next,
                              bool done, struct cq_err *err)
{
    if (cq_slice_cmp(row->key, *last) < 0 || (!done && cq_slice_cmp(row->key, reseed_cursor_slice(next)) >= 0))
        return CQ_FAIL(err, CQ_E_PROTO, "rows of the state are not in order");
    *last = row->key;
    return CQ_OK;
}

static enum cq_rc take_state_rows(struct reseed_target *t, struct cq_slice page, const struct reseed_cursor *next,
                                  bool done, struct mine *mine, struct store_batch *batch, struct cq_buf *names,
                                  struct cq_err *err)
{
    struct reseed_row row;
    struct cq_slice last = reseed_cursor_slice(&t->state_at);
    enum cq_rc rc;
    bool first = true;
    while ((rc = reseed_row_next(&page, &row, err)) == CQ_OK) {
        if (!first && cq_slice_eq(row.key, last))
            return CQ_FAIL(err, CQ_E_PROTO, "a row of the state comes twice");
        rc = check_order(&last, &row, next, done, err);
        if (rc == CQ_OK)
            rc = take_state_row(t, &row, mine, batch, names, err);
        if (rc != CQ_OK)
            return rc;
        first = false;
    }
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

static void mine_open(struct reseed_target *t, const struct reseed_cursor *next, bool done, struct mine *mine)
{
    struct state_keyspace space;
    struct state_key from = {.len = 0}, to = {.len = 0};
    state_keyspace_init(&space, t->record.group, t->record.generation);
    key_bytes(&from, space.prefix, sizeof space.prefix);
    if (done)
        key_after_prefix(&from, &to);
    else
        key_bytes(&to, space.prefix, sizeof space.prefix);
    key_bytes(&from, t->state_at.at, t->state_at.len);
    if (!done)
        key_bytes(&to, next->at, next->len);
    mine->iter = store_iter_new(t->store, NULL, STORE_STATE, key_slice(&from), key_slice(&to));
    mine_next(mine);
}

enum cq_rc reseed_take_state(struct reseed_target *t, struct cq_slice page, const struct reseed_cursor *next, bool done,
                             struct store_batch *batch, struct cq_buf *names, struct cq_err *err)
{
    struct mine mine;
    CQ_ASSERT(t->record.phase == RESEED_STATE && t->wanted_count == 0);
    if (next->len > RESEED_KEY_MAX - STATE_KEY_PREFIX)
        return CQ_FAIL(err, CQ_E_PROTO, "a cursor of %zu bytes", next->len);
    mine_open(t, next, done, &mine);
    enum cq_rc rc = take_state_rows(t, page, next, done, &mine, batch, names, err);
    while (rc == CQ_OK && mine.rc == CQ_OK) { /* behind the page's last one */
        store_batch_delete(batch, STORE_STATE, store_iter_key(mine.iter));
        mine_next(&mine);
    }
    if (rc == CQ_OK && mine.rc != CQ_E_EOF)
        rc = CQ_FAIL(err, mine.rc, "the new generation cannot be read");
    store_iter_free(&mine.iter);
    t->state_at = *next;
    return rc;
}

static bool is_wanted(struct reseed_target *t, struct cq_slice key, struct cq_hash128 hash)
{
    for (size_t i = 0; i < t->wanted_count; i++) {
        const struct reseed_wanted *w = &t->wanted[i];
        if (!cq_slice_eq(cq_slice_of(w->key, w->key_len), key) || !cq_hash128_eq(w->hash, hash))
            continue;
        t->wanted[i] = t->wanted[--t->wanted_count];
        return true;
    }
    return false;
}

enum cq_rc reseed_take_wanted(struct reseed_target *t, struct cq_slice page, struct store_batch *batch,
                              struct cq_err *err)
{
    struct reseed_row row;
    struct cq_hash128 hash;
    enum cq_rc rc;
    while ((rc = reseed_row_next(&page, &row, err)) == CQ_OK) {
        if (row.kind != RESEED_RECORD)
            return CQ_FAIL(err, CQ_E_PROTO, "a row of kind %d for a summary", row.kind);
        rc = put_record(t, &row, batch, &hash, err);
        if (rc == CQ_OK && !is_wanted(t, row.key, hash))
            rc = CQ_FAIL(err, CQ_E_CORRUPT, "a summary came that is not the one that was named");
        if (rc != CQ_OK)
            return rc;
        count_record(t, hash);
    }
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

enum cq_rc reseed_check(const struct reseed_target *t, const struct db_mark *mark, struct cq_err *err)
{
    if (t->wanted_count)
        return CQ_FAIL(err, CQ_E_CORRUPT, "group %u: %zu summaries did not come", t->record.group, t->wanted_count);
    if (t->records == mark->records && cq_hash128_eq(t->digest, mark->digest))
        return CQ_OK;
    return CQ_FAIL(err, CQ_E_CORRUPT, "group %u: the digest of %llu copied records is not the source's of %llu",
                   t->record.group, (unsigned long long)t->records, (unsigned long long)mark->records);
}

/* ---- The flip ---- */

enum cq_rc reseed_flip(struct reseed_target *t, const struct db_mark *mark, uint64_t conf_index,
                       const struct raft_member *members, size_t member_count, struct store_batch *batch,
                       enum raft_install_log *log_r, struct cq_err *err)
{
    const struct raft_install install = {.group = t->record.group,
                                         .replica = t->record.replica,
                                         .index = mark->index,
                                         .term = mark->term,
                                         .conf_index = conf_index,
                                         .members = members,
                                         .member_count = member_count};
    CQ_ASSERT(t->record.phase == RESEED_STATE);
    enum cq_rc rc = raft_boot_install(t->store, batch, &install, log_r, err);
    if (rc != CQ_OK)
        return rc;
    db_mark_put(batch, t->record.group, t->record.generation, mark);
    t->record.phase = RESEED_CLEANUP;
    t->record.index = mark->index;
    t->record.term = mark->term;
    t->record.cursor.len = 0;
    reseed_record_put(batch, &t->record);
    return CQ_OK;
}
