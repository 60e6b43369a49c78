#include "state/state_db.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "base/cq_list.h"
#include "base/cq_planted.h"
#include "state/layer.h"

#include <stdlib.h>

/* A layer and what goes with it. The open one belongs to the db; taken ones are the writer's struct machine_effects. */
struct local_put {
    struct local_put *next;
    struct cq_slice key, value;
};
struct machine_effects {
    struct cq_list link; /* newest first in state_db.layers */
    struct layer *layer;
    struct local_put *locals, **locals_end;
    struct db_mark mark;
    uint8_t mark_key[DB_MARK_KEY_SIZE];
};

/* What a command has changed, to be put back when it fails. */
struct undo {
    struct layer_node *node;
    struct cq_slice value;
    struct cq_hash128 hash;
    bool made, deleted;
};

/* What a command has read from the store: a write after a read needs no second read for the old hash. */
#define MEMO_SIZE 8
#define MEMO_KEY_MAX 64
struct memo {
    uint8_t key[MEMO_KEY_MAX];
    uint8_t len;
    bool found;
    struct cq_hash128 hash;
};

struct state_db {
    struct store *store;
    struct state_keyspace space;
    uint8_t mark_key[DB_MARK_KEY_SIZE];
    struct db_mark mark;
    enum cq_rc broken;

    struct machine_effects *open;
    struct cq_list layers; /* of struct machine_effects: open first, then taken ones, newest first */
    bool open_advanced;    /* an entry was applied since the last take */

    uint64_t command; /* numbers commands, for the undo list */
    bool in_command;
    struct undo *undo;
    size_t undo_count, undo_cap;
    struct db_mark undo_mark;
    struct local_put **undo_locals;

    struct memo memo[MEMO_SIZE]; /* of this command alone: the store changes between commands */
    unsigned memo_count;

    struct cq_buf fetched; /* a value from the store */
};

/* The largest value: a STORE result or a summary is far below. */
#define DB_VALUE_MAX (4u << 20)

static struct machine_effects *effects_new(struct state_db *db)
{
    struct machine_effects *effects = cq_new(struct machine_effects);
    effects->layer = layer_new();
    effects->locals_end = &effects->locals;
    memcpy(effects->mark_key, db->mark_key, sizeof effects->mark_key);
    cq_list_push_front(&db->layers, &effects->link);
    return effects;
}

static void effects_free(struct machine_effects *effects)
{
    cq_list_remove(&effects->link);
    layer_free(&effects->layer);
    free(effects);
}

struct cq_hash128 db_record_hash(struct cq_slice key, struct cq_slice value)
{
    uint8_t small[2048]; /* most summaries fit */
    size_t tail = key.len - STATE_KEY_PREFIX, len = tail + value.len;
    uint8_t *joined = len <= sizeof small ? small : cq_malloc(len);
    memcpy(joined, key.data + STATE_KEY_PREFIX, tail);
    if (value.len)
        memcpy(joined + tail, value.data, value.len);
    struct cq_hash128 hash = cq_xxh3_128(cq_slice_of(joined, len));
    if (joined != small)
        free(joined);
    return hash;
}

/* ---- the mark ---- */

#define MARK_VERSION 1
#define MARK_SIZE (1 + 8 + 8 + 16 + 8 + DB_TRAILER)

static void mark_encode(const struct db_mark *mark, uint8_t out[static MARK_SIZE])
{
    out[0] = MARK_VERSION;
    cq_put_le64(out + 1, mark->index - (planted(PLANT_APPLY_TWICE) && mark->index > 9 ? 2 : 0));
    cq_put_le64(out + 9, mark->term);
    cq_put_le64(out + 17, mark->digest.low);
    cq_put_le64(out + 25, mark->digest.high);
    cq_put_le64(out + 33, mark->records);
    cq_put_le32(out + 41, (uint32_t)cq_xxh3_64(cq_slice_of(out, 41)));
}

static enum cq_rc mark_decode(struct cq_slice in, struct db_mark *mark, struct cq_err *err)
{
    if (in.len && in.data[0] != MARK_VERSION)
        return CQ_FAIL(err, CQ_E_VERSION, "state was written by a newer build: mark version %u", in.data[0]);
    if (in.len != MARK_SIZE || cq_get_le32(in.data + 41) != (uint32_t)cq_xxh3_64(cq_slice_of(in.data, 41)))
        return CQ_FAIL(err, CQ_E_CORRUPT, "mark of the applied state is damaged");
    *mark = (struct db_mark){cq_get_le64(in.data + 1),
                             cq_get_le64(in.data + 9),
                             {cq_get_le64(in.data + 17), cq_get_le64(in.data + 25)},
                             cq_get_le64(in.data + 33)};
    return CQ_OK;
}

static void mark_key(uint32_t group, uint32_t generation, uint8_t key_r[static DB_MARK_KEY_SIZE])
{
    key_r[0] = 'a';
    cq_put_be32(key_r + 1, group);
    cq_put_be32(key_r + 5, generation);
}

enum cq_rc db_mark_read(struct store *store, struct store_snapshot *snapshot, uint32_t group, uint32_t generation,
                        struct db_mark *mark_r, struct cq_err *err)
{
    uint8_t key[DB_MARK_KEY_SIZE];
    struct cq_buf value;
    mark_key(group, generation, key);
    *mark_r = (struct db_mark){0};
    cq_buf_init(&value, 256);
    enum cq_rc rc = store_get(store, snapshot, STORE_LOCAL, cq_slice_of(key, sizeof key), &value, err);
    if (rc == CQ_E_LIMIT)
        rc = CQ_FAIL(err, CQ_E_CORRUPT, "mark of the applied state is damaged");
    if (rc == CQ_OK)
        rc = mark_decode(cq_buf_slice(&value), mark_r, err);
    cq_buf_fini(&value);
    return rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
}

void db_mark_put(struct store_batch *batch, uint32_t group, uint32_t generation, const struct db_mark *mark)
{
    uint8_t key[DB_MARK_KEY_SIZE], value[MARK_SIZE];
    mark_key(group, generation, key);
    mark_encode(mark, value);
    store_batch_put(batch, STORE_LOCAL, cq_slice_of(key, sizeof key), cq_slice_of(value, sizeof value));
}

void db_generation_delete(struct store_batch *batch, uint32_t group, uint32_t generation)
{
    uint8_t key[DB_MARK_KEY_SIZE];
    struct state_keyspace space;
    struct state_key from = {.len = 0}, to;
    state_keyspace_init(&space, group, generation);
    key_bytes(&from, space.prefix, sizeof space.prefix);
    key_after_prefix(&from, &to);
    mark_key(group, generation, key);
    store_batch_delete_range(batch, STORE_STATE, key_slice(&from), key_slice(&to));
    store_batch_delete(batch, STORE_LOCAL, cq_slice_of(key, sizeof key));
}

/* ---- opening ---- */

enum cq_rc db_open(const struct machine_config *config, struct state_db **db_r, struct cq_err *err)
{
    struct state_db *db = cq_new(struct state_db);
    db->store = config->store;
    state_keyspace_init(&db->space, config->group, config->generation);
    mark_key(config->group, config->generation, db->mark_key);
    cq_list_init(&db->layers);
    cq_buf_init(&db->fetched, DB_VALUE_MAX);
    db->open = effects_new(db);
    enum cq_rc rc = db_mark_read(config->store, NULL, config->group, config->generation, &db->mark, err);
    if (rc != CQ_OK)
        db_close(&db);
    *db_r = db;
    return rc;
}

void db_close(struct state_db **db_p)
{
    struct state_db *db = *db_p;
    *db_p = NULL;
    if (!db)
        return;
    cq_list_each_safe (&db->layers, node)
        effects_free(cq_list_entry(node, struct machine_effects, link));
    cq_buf_fini(&db->fetched);
    free(db->undo);
    free(db);
}

const struct state_keyspace *db_space(const struct state_db *db)
{
    return &db->space;
}

const struct db_mark *db_mark(const struct state_db *db)
{
    return &db->mark;
}

enum cq_rc db_broken(const struct state_db *db)
{
    return db->broken;
}

enum cq_rc db_break(struct state_db *db, enum cq_rc rc)
{
    if (db->broken == CQ_OK)
        db->broken = rc;
    return rc;
}

/* ---- reading ---- */

/* Checks the trailer and cuts it off. */
enum cq_rc db_stored_value(struct cq_slice key, struct cq_slice *value, struct cq_hash128 *hash_r)
{
    if (value->len < DB_TRAILER)
        return CQ_E_CORRUPT;
    value->len -= DB_TRAILER;
    *hash_r = db_record_hash(key, *value);
    return cq_get_le32(value->data + value->len) == (uint32_t)hash_r->low ? CQ_OK : CQ_E_CORRUPT;
}

static struct layer_node *overlay_find(struct state_db *db, struct cq_slice key)
{
    cq_list_each (&db->layers, link) {
        struct layer_node *node = layer_find(cq_list_entry(link, struct machine_effects, link)->layer, key);
        if (node)
            return node;
    }
    return NULL;
}

static void memo_add(struct state_db *db, struct cq_slice key, bool found, struct cq_hash128 hash)
{
    if (key.len > MEMO_KEY_MAX || !db->in_command)
        return;
    struct memo *memo = &db->memo[db->memo_count++ % MEMO_SIZE];
    memo->len = (uint8_t)key.len;
    memcpy(memo->key, key.data, key.len);
    memo->found = found;
    memo->hash = hash;
}

static const struct memo *memo_find(const struct state_db *db, struct cq_slice key)
{
    unsigned n = db->memo_count < MEMO_SIZE ? db->memo_count : MEMO_SIZE;
    for (unsigned i = 0; i < n; i++) {
        if (cq_slice_eq(cq_slice_of(db->memo[i].key, db->memo[i].len), key))
            return &db->memo[i];
    }
    return NULL;
}

/* Into db->fetched. */
static enum cq_rc store_find(struct state_db *db, struct cq_slice key, struct cq_slice *value_r,
                             struct cq_hash128 *hash_r)
{
    if (db->broken != CQ_OK)
        return db->broken;
    cq_buf_reset(&db->fetched, 64 << 10);
    enum cq_rc rc = store_get(db->store, NULL, STORE_STATE, key, &db->fetched, NULL);
    *value_r = cq_buf_slice(&db->fetched);
    if (rc == CQ_OK)
        rc = db_stored_value(key, value_r, hash_r);
    if (rc == CQ_OK || rc == CQ_E_NOT_FOUND) {
        memo_add(db, key, rc == CQ_OK, rc == CQ_OK ? *hash_r : (struct cq_hash128){0, 0});
        return rc;
    }
    return db_break(db, rc);
}

static struct cq_slice without_trailer(struct cq_slice value)
{
    return cq_slice_sub(value, 0, value.len - DB_TRAILER);
}

enum cq_rc db_get(struct state_db *db, const struct state_key *key, struct cq_pool *pool, struct cq_slice *value_r)
{
    const struct layer_node *node = overlay_find(db, key_slice(key));
    if (node) {
        *value_r = node->deleted ? CQ_SLICE_NONE : without_trailer(node->value);
        return node->deleted ? CQ_E_NOT_FOUND : CQ_OK;
    }
    struct cq_hash128 hash;
    enum cq_rc rc = store_find(db, key_slice(key), value_r, &hash);
    *value_r = rc == CQ_OK ? cq_pool_slice(pool, *value_r) : CQ_SLICE_NONE;
    return rc;
}

/* ---- writing ---- */

/* The hash of what the key has now; false when it has nothing. */
static bool present_hash(struct state_db *db, struct cq_slice key, struct cq_hash128 *hash_r)
{
    const struct layer_node *node = overlay_find(db, key);
    if (node) {
        *hash_r = node->hash;
        return !node->deleted;
    }
    const struct memo *memo = memo_find(db, key);
    if (memo) {
        *hash_r = memo->hash;
        return memo->found;
    }
    struct cq_slice value;
    return store_find(db, key, &value, hash_r) == CQ_OK;
}

static void remember(struct state_db *db, struct layer_node *node, bool made)
{
    if (node->command == db->command)
        return;
    node->command = db->command;
    if (db->undo_count == db->undo_cap) {
        db->undo_cap = db->undo_cap ? db->undo_cap * 2 : 64;
        db->undo = cq_realloc(db->undo, db->undo_cap * sizeof *db->undo);
    }
    db->undo[db->undo_count++] = (struct undo){node, node->value, node->hash, made, node->deleted};
}

/* The node of the key in the open layer, ready to be changed. */
static struct layer_node *touch(struct state_db *db, const struct state_key *key)
{
    CQ_ASSERT(db->in_command);
    bool made;
    struct layer_node *node = layer_place(db->open->layer, key_slice(key), &made);
    remember(db, node, made);
    return node;
}

/* Key's tail, value and trailer in one piece of the layer's pool: hashed in place, nothing is copied twice. */
static void set_value(struct state_db *db, struct layer_node *node, struct cq_slice value)
{
    size_t tail = node->key.len - STATE_KEY_PREFIX, len = tail + value.len;
    uint8_t *bytes = cq_pool_alloc(layer_pool(db->open->layer), len + DB_TRAILER);
    memcpy(bytes, node->key.data + STATE_KEY_PREFIX, tail);
    if (value.len)
        memcpy(bytes + tail, value.data, value.len);
    node->hash = cq_xxh3_128(cq_slice_of(bytes, len));
    cq_put_le32(bytes + len, (uint32_t)node->hash.low);
    node->value = cq_slice_of(bytes + tail, value.len + DB_TRAILER);
    node->deleted = false;
    db->mark.digest = hash128_add(db->mark.digest, node->hash);
    db->mark.records++;
}

static void forget_present(struct state_db *db, const struct state_key *key)
{
    struct cq_hash128 old;
    if (!present_hash(db, key_slice(key), &old))
        return;
    db->mark.digest = hash128_sub(db->mark.digest, old);
    db->mark.records--;
}

void db_insert(struct state_db *db, const struct state_key *key, struct cq_slice value)
{
    if (db->broken != CQ_OK)
        return;
    CQ_ASSERT(value.len <= DB_VALUE_MAX - DB_TRAILER);
    set_value(db, touch(db, key), value);
}

void db_put(struct state_db *db, const struct state_key *key, struct cq_slice value)
{
    forget_present(db, key);
    db_insert(db, key, value);
}

void db_delete_seen(struct state_db *db, const struct state_key *key, struct cq_hash128 hash)
{
    if (db->broken != CQ_OK)
        return;
    db->mark.digest = hash128_sub(db->mark.digest, hash);
    db->mark.records--;
    struct layer_node *node = touch(db, key);
    node->value = CQ_SLICE_NONE;
    node->hash = (struct cq_hash128){0, 0};
    node->deleted = true;
}

void db_delete(struct state_db *db, const struct state_key *key)
{
    struct cq_hash128 old;
    if (present_hash(db, key_slice(key), &old))
        db_delete_seen(db, key, old);
}

void db_local_put(struct state_db *db, struct cq_slice key, struct cq_slice value)
{
    CQ_ASSERT(db->in_command);
    struct cq_pool *pool = layer_pool(db->open->layer);
    struct local_put *put = cq_pool_new_of(pool, struct local_put);
    put->key = cq_pool_slice(pool, key);
    put->value = cq_pool_slice(pool, value);
    *db->open->locals_end = put;
    db->open->locals_end = &put->next;
}

/* ---- commands ---- */

void db_begin(struct state_db *db)
{
    CQ_ASSERT(!db->in_command);
    db->in_command = true;
    db->command++;
    db->memo_count = 0;
    db->undo_count = 0;
    db->undo_mark = db->mark;
    db->undo_locals = db->open->locals_end;
}

static void undo_all(struct state_db *db)
{
    for (size_t i = db->undo_count; i-- > 0;) {
        struct undo *u = &db->undo[i];
        if (u->made) {
            layer_remove(db->open->layer, u->node->key);
            continue;
        }
        u->node->value = u->value;
        u->node->hash = u->hash;
        u->node->deleted = u->deleted;
    }
    db->mark = db->undo_mark;
    *db->undo_locals = NULL;
    db->open->locals_end = db->undo_locals;
}

void db_end(struct state_db *db, bool keep)
{
    CQ_ASSERT(db->in_command);
    db->in_command = false;
    if (!keep)
        undo_all(db);
}

void db_advance(struct state_db *db, struct machine_position position)
{
    db->mark.index = position.index;
    db->mark.term = position.term;
    db->open_advanced = true;
}

/* ---- effects ---- */

struct machine_effects *db_effects_take(struct state_db *db)
{
    CQ_ASSERT(!db->in_command);
    if (!db->open_advanced || db->broken != CQ_OK)
        return NULL;
    struct machine_effects *effects = db->open;
    effects->mark = db->mark;
    db->open = effects_new(db);
    db->open_advanced = false;
    return effects;
}

/* Only in the simulator's planted build: this change does not reach the store. */
static bool planted_loss(const struct layer_node *node)
{
    uint8_t kind = node->key.data[STATE_KEY_HEAD - 1];
    return (planted(PLANT_RESURRECT) && kind == KEY_MESSAGE && node->deleted) ||
           (planted(PLANT_FORGET_REQUESTS) && (kind == KEY_RESULT || kind == KEY_CLIENT)) ||
           (planted(PLANT_REUSE_UID) && kind == KEY_MAILBOX && !node->deleted && cq_xxh3_64(node->value) % 4 == 0);
}

void db_effects_encode(const struct machine_effects *effects, struct store_batch *batch)
{
    for (const struct layer_node *node = layer_seek(effects->layer, CQ_SLICE_NONE); node; node = layer_next(node)) {
        if (planted_loss(node))
            continue;
        if (node->deleted)
            store_batch_delete(batch, STORE_STATE, node->key);
        else
            store_batch_put(batch, STORE_STATE, node->key, node->value);
    }
    for (const struct local_put *put = effects->locals; put; put = put->next)
        store_batch_put(batch, STORE_LOCAL, put->key, put->value);
    uint8_t mark[MARK_SIZE];
    mark_encode(&effects->mark, mark);
    store_batch_put(batch, STORE_LOCAL, cq_slice_of(effects->mark_key, sizeof effects->mark_key),
                    cq_slice_of(mark, sizeof mark));
}

void db_effects_written(struct state_db *db, struct machine_effects *effects)
{
    CQ_ASSERT(cq_list_last(&db->layers) == &effects->link && effects != db->open);
    effects_free(effects);
}

/* ---- iterating ---- */

/* One source of a merge; the newest comes first. */
struct cursor {
    const struct layer *layer;
    const struct layer_node *node;
};
struct db_iter {
    struct state_db *db;
    struct store_iter *store_iter;
    bool store_at;    /* the store's iterator stands on a key that has not been given yet */
    bool store_fresh; /* it has not been moved since the last seek */
    struct state_key to;
    struct state_key floor; /* where a seek went: keys from here on */
    struct cursor *cursors;
    size_t cursor_count;
    struct cq_slice key, value;
    struct cq_hash128 hash;
};

static size_t count_layers(struct state_db *db)
{
    size_t n = 0;
    cq_list_each (&db->layers, link)
        n++;
    return n;
}

static void copy_key(struct state_key *key, struct cq_slice bytes)
{
    key->len = 0;
    key_bytes(key, bytes.data, bytes.len);
}

static void seek_cursors(struct db_iter *iter, struct cq_slice key)
{
    for (size_t i = 0; i < iter->cursor_count; i++)
        iter->cursors[i].node = layer_seek(iter->cursors[i].layer, key);
}

struct db_iter *db_iter_new(struct state_db *db, struct cq_slice from, struct cq_slice to)
{
    struct db_iter *iter = cq_malloc(sizeof *iter);
    size_t layers = count_layers(db), n = 0;
    struct cursor *cursors = cq_calloc(layers, sizeof *cursors);
    cq_list_each (&db->layers, link) {
        const struct layer *layer = cq_list_entry(link, struct machine_effects, link)->layer;
        if (layer_count(layer))
            cursors[n++].layer = layer;
    }
    iter->db = db;
    iter->store_iter = store_iter_new(db->store, NULL, STORE_STATE, from, to);
    iter->store_at = false;
    iter->store_fresh = true;
    iter->floor.len = 0;
    copy_key(&iter->to, to);
    iter->cursors = cursors;
    iter->cursor_count = n;
    iter->key = iter->value = CQ_SLICE_NONE;
    seek_cursors(iter, from);
    return iter;
}

struct db_iter *db_iter_prefix(struct state_db *db, const struct state_key *prefix)
{
    struct state_key after;
    key_after_prefix(prefix, &after);
    return db_iter_new(db, key_slice(prefix), key_slice(&after));
}

void db_iter_free(struct db_iter **iter)
{
    if (*iter) {
        store_iter_free(&(*iter)->store_iter);
        free((*iter)->cursors);
        free(*iter);
    }
    *iter = NULL;
}

void db_iter_seek(struct db_iter *iter, const struct state_key *key)
{
    seek_cursors(iter, key_slice(key));
    copy_key(&iter->floor, key_slice(key));
    iter->store_at = false;
    iter->store_fresh = true;
}

/* Makes the store's iterator stand on its next key, or be at its end (store_at false). */
static enum cq_rc store_load(struct db_iter *iter)
{
    if (iter->store_at || !iter->store_fresh)
        return CQ_OK;
    enum cq_rc rc = iter->floor.len ? store_iter_seek(iter->store_iter, key_slice(&iter->floor))
                                    : store_iter_next(iter->store_iter);
    iter->store_fresh = false;
    iter->store_at = rc == CQ_OK;
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

static enum cq_rc store_step(struct db_iter *iter)
{
    enum cq_rc rc = store_iter_next(iter->store_iter);
    iter->store_at = rc == CQ_OK;
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

/* The cursor with the smallest key, the newest of equal ones; NULL when all are at the end. */
static struct cursor *least_cursor(struct db_iter *iter)
{
    struct cursor *least = NULL;
    for (size_t i = 0; i < iter->cursor_count; i++) {
        struct cursor *c = &iter->cursors[i];
        if (c->node && (!least || cq_slice_cmp(c->node->key, least->node->key) < 0))
            least = c;
    }
    if (least && iter->to.len && cq_slice_cmp(least->node->key, key_slice(&iter->to)) >= 0)
        return NULL;
    return least;
}

static void pass_key(struct db_iter *iter, struct cq_slice key)
{
    for (size_t i = 0; i < iter->cursor_count; i++) {
        struct cursor *c = &iter->cursors[i];
        if (c->node && cq_slice_eq(c->node->key, key))
            c->node = layer_next(c->node);
    }
}

/* The next record of either source; *given_r is false for a deleted one. */
static enum cq_rc merge_step(struct db_iter *iter, bool *given_r)
{
    enum cq_rc rc = store_load(iter);
    if (rc != CQ_OK)
        return rc;
    struct cursor *least = least_cursor(iter);
    if (!least && !iter->store_at)
        return CQ_E_EOF;
    int order = !least ? 1 : !iter->store_at ? -1 : cq_slice_cmp(least->node->key, store_iter_key(iter->store_iter));
    if (order > 0) {
        /* The store's iterator keeps standing here until the caller is done with key and value. */
        iter->key = store_iter_key(iter->store_iter);
        iter->value = store_iter_value(iter->store_iter);
        *given_r = true;
        return db_stored_value(iter->key, &iter->value, &iter->hash);
    }
    const struct layer_node *node = least->node;
    iter->key = node->key;
    *given_r = !node->deleted;
    iter->hash = node->hash;
    if (!node->deleted)
        iter->value = without_trailer(node->value);
    pass_key(iter, node->key);
    return order == 0 ? store_step(iter) : CQ_OK;
}

/* Leaves the store's record that was given last. */
static enum cq_rc leave_store(struct db_iter *iter)
{
    bool on_store = iter->store_at && iter->key.len && iter->key.data == store_iter_key(iter->store_iter).data;
    return on_store ? store_step(iter) : CQ_OK;
}

enum cq_rc db_iter_next(struct db_iter *iter)
{
    if (iter->db->broken != CQ_OK)
        return iter->db->broken;
    enum cq_rc rc = leave_store(iter);
    bool given = false;
    iter->key = CQ_SLICE_NONE;
    while (rc == CQ_OK && !given)
        rc = merge_step(iter, &given);
    return rc == CQ_OK || rc == CQ_E_EOF ? rc : db_break(iter->db, rc);
}

struct cq_slice db_iter_key(const struct db_iter *iter)
{
    return iter->key;
}

struct cq_slice db_iter_value(const struct db_iter *iter)
{
    return iter->value;
}

struct cq_hash128 db_iter_hash(const struct db_iter *iter)
{
    return iter->hash;
}
