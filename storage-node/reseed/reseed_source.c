#include "reseed/reseed_source.h"

#include "base/cq_endian.h"
#include "reseed/chunk_sweep.h"
#include "state/entry.h"

enum cq_rc reseed_source_mark(const struct reseed_source *s, struct db_mark *mark_r, struct cq_err *err)
{
    enum cq_rc rc = db_mark_read(s->store, s->snapshot, s->group, s->generation, mark_r, err);
    if (rc == CQ_OK && mark_r->index == 0)
        return CQ_FAIL(err, CQ_E_NOT_FOUND, "group %u has no state", s->group);
    return rc;
}

/* ---- Ranges ---- */

/* Keys of `family` that begin with a prefix, from the cursor (which is without `hidden` bytes of it) on. */
struct range {
    struct state_key from, to;
};

static void range_of(struct range *range, struct cq_slice prefix, size_t hidden, const struct reseed_cursor *cursor)
{
    range->from.len = range->to.len = 0;
    struct state_key whole = {.len = 0};
    key_bytes(&whole, prefix.data, prefix.len);
    key_after_prefix(&whole, &range->to);
    if (cursor->len > prefix.len - hidden) {
        key_bytes(&range->from, prefix.data, hidden);
        key_bytes(&range->from, cursor->at, cursor->len);
    } else {
        range->from = whole;
    }
}

static struct store_iter *open_range(const struct reseed_source *s, enum store_family family, const struct range *range)
{
    return store_iter_new(s->store, s->snapshot, family, key_slice(&range->from), key_slice(&range->to));
}

static bool is_full(const struct reseed_read *read, const struct cq_buf *page)
{
    return page->len >= read->bytes_max;
}

/* ---- Chunks ---- */

static void put_chunk(struct cq_buf *page, struct cq_slice key, struct cq_slice octets, bool hash_only)
{
    uint8_t hash[RESEED_CHUNK_HASH_SIZE];
    if (!hash_only) {
        reseed_row_put(page, &(struct reseed_row){RESEED_CHUNK, key, octets});
        return;
    }
    cq_put_le32(hash, (uint32_t)octets.len);
    reseed_hash_put(cq_xxh3_128(octets), hash + 4);
    reseed_row_put(page, &(struct reseed_row){RESEED_CHUNK_HASH, key, cq_slice_of(hash, sizeof hash)});
}

/* Behind a chunk that does not read, and perhaps others: the place is found by trying. */
static enum cq_rc skip_damaged(const struct reseed_source *s, struct reseed_read *read)
{
    uint8_t from[CHUNK_KEY_SIZE] = {0}, key[CHUNK_KEY_SIZE];
    cq_put_be64(from, s->incarnation);
    if (read->cursor.len > sizeof s->incarnation)
        memcpy(from, read->cursor.at, read->cursor.len < sizeof from ? read->cursor.len : sizeof from);
    if (read->cursor.len > sizeof from && !chunk_key_next(from))
        return CQ_E_EOF;
    enum cq_rc rc = chunk_find_damaged(s->store, s->snapshot, from, key);
    if (rc != CQ_OK)
        return rc;
    read->damaged = true;
    reseed_cursor_after(&read->cursor, cq_slice_of(key, sizeof key));
    return cq_get_be64(key) == s->incarnation ? CQ_OK : CQ_E_EOF;
}

/* Reading a hash costs the disk what reading its chunk costs: a page of hashes is bounded by what was read. */
enum cq_rc reseed_read_chunks(const struct reseed_source *s, bool hashes, struct reseed_read *read, struct cq_buf *page,
                              struct cq_err *err)
{
    uint8_t prefix[8];
    struct range range;
    size_t octets = 0;
    cq_put_be64(prefix, s->incarnation);
    range_of(&range, cq_slice_of(prefix, sizeof prefix), 0, &read->cursor);
    struct store_iter *iter = open_range(s, STORE_CHUNK, &range);
    enum cq_rc rc = CQ_OK;
    while (!is_full(read, page) && octets < 8 * read->bytes_max && (rc = store_iter_next(iter)) == CQ_OK) {
        struct cq_slice key = store_iter_key(iter), value = store_iter_value(iter);
        if (key.len != CHUNK_KEY_SIZE || value.len > ENTRY_CHUNK_MAX) {
            rc = CQ_E_CORRUPT;
            break;
        }
        put_chunk(page, key, value, hashes);
        octets += value.len;
        reseed_cursor_after(&read->cursor, key);
    }
    store_iter_free(&iter);
    if (rc == CQ_E_CORRUPT)
        rc = skip_damaged(s, read);
    read->done = rc == CQ_E_EOF;
    return rc == CQ_OK || rc == CQ_E_EOF ? CQ_OK : CQ_FAIL(err, rc, "chunks of group %u cannot be read", s->group);
}

/* ---- State ---- */

static void space_of(const struct reseed_source *s, struct state_keyspace *space)
{
    state_keyspace_init(space, s->group, s->generation);
}

static bool is_summary(struct cq_slice key)
{
    return key.len > STATE_KEY_HEAD && key.data[STATE_KEY_HEAD - 1] == KEY_SUMMARY;
}

static enum cq_rc put_record(const struct reseed_source *s, struct cq_buf *page, struct store_iter *iter, bool as_hash,
                             struct cq_err *err)
{
    struct cq_slice key = store_iter_key(iter), stored = store_iter_value(iter), value = stored;
    struct cq_slice rest = cq_slice_skip(key, STATE_KEY_PREFIX);
    struct cq_hash128 hash;
    uint8_t bytes[RESEED_SUMMARY_HASH_SIZE];
    if (key.len > RESEED_KEY_MAX || stored.len > RESEED_VALUE_MAX || db_stored_value(key, &value, &hash) != CQ_OK)
        return CQ_FAIL(err, CQ_E_CORRUPT, "group %u: a record of its state is damaged", s->group);
    reseed_hash_put(hash, bytes);
    if (as_hash)
        reseed_row_put(page, &(struct reseed_row){RESEED_SUMMARY_HASH, rest, cq_slice_of(bytes, sizeof bytes)});
    else
        reseed_row_put(page, &(struct reseed_row){RESEED_RECORD, rest, stored});
    return CQ_OK;
}

enum cq_rc reseed_read_state(const struct reseed_source *s, struct reseed_read *read, struct cq_buf *page,
                             struct cq_err *err)
{
    struct state_keyspace space;
    struct range range;
    space_of(s, &space);
    range_of(&range, cq_slice_of(space.prefix, sizeof space.prefix), STATE_KEY_PREFIX, &read->cursor);
    struct store_iter *iter = open_range(s, STORE_STATE, &range);
    enum cq_rc rc = CQ_OK;
    while (!is_full(read, page) && (rc = store_iter_next(iter)) == CQ_OK) {
        rc = put_record(s, page, iter, is_summary(store_iter_key(iter)), err);
        if (rc != CQ_OK)
            break;
        reseed_cursor_after(&read->cursor, cq_slice_skip(store_iter_key(iter), STATE_KEY_PREFIX));
    }
    store_iter_free(&iter);
    read->done = rc == CQ_E_EOF;
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

/* To where the summaries of the key's account begin, or, when they are passed, those of the next account. */
static enum cq_rc seek_summaries(struct store_iter *iter, const struct state_keyspace *space, struct cq_slice key)
{
    uint64_t account = cq_get_be64(key.data + STATE_KEY_PREFIX);
    struct state_key to;
    if (key.data[STATE_KEY_HEAD - 1] > KEY_SUMMARY && account == UINT64_MAX)
        return CQ_E_EOF;
    key_begin(&to, space, account + (key.data[STATE_KEY_HEAD - 1] > KEY_SUMMARY), KEY_SUMMARY);
    return store_iter_seek(iter, key_slice(&to));
}

enum cq_rc reseed_read_summaries(const struct reseed_source *s, struct reseed_read *read, struct cq_buf *page,
                                 struct cq_err *err)
{
    struct state_keyspace space;
    struct range range;
    space_of(s, &space);
    range_of(&range, cq_slice_of(space.prefix, sizeof space.prefix), STATE_KEY_PREFIX, &read->cursor);
    struct store_iter *iter = open_range(s, STORE_STATE, &range);
    enum cq_rc rc = store_iter_next(iter);
    while (rc == CQ_OK && !is_full(read, page)) {
        if (store_iter_key(iter).len < STATE_KEY_HEAD) {
            rc = CQ_FAIL(err, CQ_E_CORRUPT, "group %u: a key of its state is damaged", s->group);
            break;
        }
        if (!is_summary(store_iter_key(iter))) {
            rc = seek_summaries(iter, &space, store_iter_key(iter));
            continue;
        }
        rc = put_record(s, page, iter, false, err);
        if (rc != CQ_OK)
            break;
        reseed_cursor_after(&read->cursor, cq_slice_skip(store_iter_key(iter), STATE_KEY_PREFIX));
        rc = store_iter_next(iter);
    }
    store_iter_free(&iter);
    read->done = rc == CQ_E_EOF;
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

/* ---- By name ---- */

static enum cq_rc get_named(const struct reseed_source *s, const struct reseed_row *name, struct cq_buf *value,
                            struct cq_err *err)
{
    struct state_keyspace space;
    struct state_key key = {.len = 0};
    if (name->kind == RESEED_NAME_RECORD) {
        space_of(s, &space);
        key_bytes(&key, space.prefix, sizeof space.prefix);
    }
    if (name->key.len == 0 || name->key.len > RESEED_KEY_MAX - key.len)
        return CQ_FAIL(err, CQ_E_PROTO, "a name of %zu bytes", name->key.len);
    if (name->kind == RESEED_NAME_CHUNK &&
        (name->key.len != CHUNK_KEY_SIZE || cq_get_be64(name->key.data) != s->incarnation))
        return CQ_FAIL(err, CQ_E_PROTO, "a chunk of another group is asked for");
    key_bytes(&key, name->key.data, name->key.len);
    cq_buf_reset(value, SIZE_MAX);
    return store_get(s->store, s->snapshot, name->kind == RESEED_NAME_CHUNK ? STORE_CHUNK : STORE_STATE,
                     key_slice(&key), value, err);
}

enum cq_rc reseed_read_named(const struct reseed_source *s, struct cq_slice names, struct reseed_read *read,
                             struct cq_buf *page, size_t *taken_r, struct cq_err *err)
{
    struct cq_buf value;
    struct reseed_row name;
    enum cq_rc rc = CQ_OK;
    *taken_r = 0;
    cq_buf_init(&value, RESEED_VALUE_MAX);
    while (page->len < read->bytes_max && (rc = reseed_row_next(&names, &name, err)) == CQ_OK) {
        if (name.kind != RESEED_NAME_CHUNK && name.kind != RESEED_NAME_RECORD) {
            rc = CQ_FAIL(err, CQ_E_PROTO, "a row of kind %d is no name", name.kind);
            break;
        }
        rc = get_named(s, &name, &value, err);
        if (rc == CQ_E_CORRUPT && name.kind == RESEED_NAME_CHUNK) {
            read->damaged = true;
            rc = CQ_E_NOT_FOUND;
        }
        if (rc != CQ_OK && rc != CQ_E_NOT_FOUND)
            break;
        if (rc == CQ_OK)
            reseed_row_put(page, &(struct reseed_row){name.kind == RESEED_NAME_CHUNK ? RESEED_CHUNK : RESEED_RECORD,
                                                      name.key, cq_buf_slice(&value)});
        rc = CQ_OK;
        ++*taken_r;
    }
    cq_buf_fini(&value);
    return rc == CQ_E_EOF ? CQ_OK : rc;
}
