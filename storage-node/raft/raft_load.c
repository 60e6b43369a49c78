#include "raft_load.h"

#include "base/cq_mem.h"
#include "state/entry.h"

#include <stdlib.h>

struct raft_load *raft_load_new(const struct raft_log_owner *owner, uint64_t peer, uint64_t from, uint64_t to,
                                uint64_t bytes_max)
{
    struct raft_load *load = cq_new(struct raft_load);
    load->owner = *owner;
    load->peer = peer;
    load->from = from;
    load->to = to;
    load->bytes_max = bytes_max;
    return load;
}

void raft_load_free(struct raft_load **load)
{
    struct raft_load *l = *load;
    *load = NULL;
    if (!l)
        return;
    for (size_t i = 0; i < l->count; i++)
        raft_item_unref(&l->entries[i].item);
    free(l->entries);
    free(l);
}

static enum cq_rc read_chunk(struct raft_load *load, struct store *store, struct store_snapshot *snapshot,
                             const struct chunk_id *id, struct raft_body *body_r)
{
    uint8_t key[CHUNK_KEY_SIZE];
    struct cq_buf octets;
    chunk_key(id, key);
    cq_buf_init(&octets, ENTRY_CHUNK_MAX);
    enum cq_rc rc = store_get(store, snapshot, STORE_CHUNK, cq_slice_of(key, sizeof key), &octets, &load->err);
    if (rc != CQ_OK) {
        cq_buf_fini(&octets);
        load->damaged = rc != CQ_E_IO; /* the entry is there, so its chunks must be */
        return rc == CQ_E_IO ? rc : CQ_E_CORRUPT;
    }
    size_t len;
    uint8_t *data = cq_buf_take(&octets, &len);
    body_r->owner = raft_bytes_adopt(data, len);
    body_r->octets = raft_bytes_slice(body_r->owner);
    return CQ_OK;
}

static enum cq_rc read_chunks(struct raft_load *load, struct store *store, struct store_snapshot *snapshot,
                              uint64_t index, const struct raft_record *record, struct raft_body *bodies)
{
    for (uint32_t i = 0; i < record->chunk_count; i++) {
        const struct chunk_id id = {load->owner.incarnation, record->term, index, i};
        enum cq_rc rc = read_chunk(load, store, snapshot, &id, &bodies[i]);
        if (rc != CQ_OK)
            return rc;
    }
    return CQ_OK;
}

/* The record's own checksum was right, so it is the chunks when entry and chunks do not fit. */
static enum cq_rc item_of(struct raft_load *load, const struct raft_record *record, const struct raft_body *bodies,
                          uint32_t count, struct raft_item **item_r)
{
    struct raft_bytes *owner = raft_bytes_copy(record->payload);
    *item_r = raft_item_new((enum raft_entry_kind)record->kind, owner, raft_bytes_slice(owner), bodies, count);
    raft_bytes_unref(&owner);
    if (!load->peer)
        return CQ_OK;
    enum cq_rc rc = raft_item_check(*item_r, true, &load->err);
    load->damaged = rc == CQ_E_CORRUPT;
    if (rc != CQ_OK)
        raft_item_unref(item_r);
    return rc;
}

/* Who applies an entry needs no octets of its bodies. */
static enum cq_rc make_item(struct raft_load *load, struct store *store, struct store_snapshot *snapshot,
                            uint64_t index, const struct raft_record *record, struct raft_item **item_r)
{
    if (record->chunk_count > ENTRY_CHUNKS_MAX)
        return CQ_FAIL(&load->err, CQ_E_CORRUPT, "log entry with %u chunks", record->chunk_count);
    uint32_t count = load->peer ? record->chunk_count : 0;
    struct raft_body *bodies = cq_calloc(count + 1, sizeof *bodies);
    enum cq_rc rc = count ? read_chunks(load, store, snapshot, index, record, bodies) : CQ_OK;
    if (rc == CQ_OK)
        rc = item_of(load, record, bodies, count, item_r);
    for (uint32_t i = 0; i < count; i++)
        raft_bytes_unref(&bodies[i].owner);
    free(bodies);
    return rc;
}

static void entry_add(struct raft_load *load, uint64_t term, struct raft_item *item)
{
    if (load->count == load->cap) {
        load->cap = load->cap ? load->cap * 2 : 16;
        load->entries = cq_realloc(load->entries, load->cap * sizeof *load->entries);
    }
    load->entries[load->count++] = (struct raft_loaded){term, item};
}

/* False at a gap: the log was trimmed or truncated meanwhile. */
static bool is_next(const struct raft_load *load, uint64_t index)
{
    return index == load->from + load->count;
}

static enum cq_rc read_range(struct raft_load *load, struct store *store, struct store_snapshot *snapshot,
                             struct store_iter *iter)
{
    uint64_t bytes = 0;
    enum cq_rc rc = CQ_OK;
    while (bytes < load->bytes_max && (rc = store_iter_next(iter)) == CQ_OK) {
        struct raft_record record;
        struct raft_item *item = NULL;
        uint64_t index = raft_entry_key_index(store_iter_key(iter));
        if (!is_next(load, index))
            return CQ_OK;
        rc = raft_record_parse(store_iter_key(iter), store_iter_value(iter), &record, &load->err);
        if (rc == CQ_OK)
            rc = make_item(load, store, snapshot, index, &record, &item);
        if (rc != CQ_OK)
            return load->damaged ? CQ_OK : rc;
        entry_add(load, record.term, item);
        bytes += raft_item_size(item) + RAFT_RECORD_HEAD;
    }
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

void raft_load_run(struct raft_load *load, struct store *store)
{
    uint8_t from[RAFT_ENTRY_KEY_SIZE], to[RAFT_ENTRY_KEY_SIZE];
    raft_entry_key(load->owner.group, load->owner.replica, load->from, from);
    raft_entry_key(load->owner.group, load->owner.replica, load->to + 1, to);
    struct store_snapshot *snapshot = store_snapshot_new(store);
    struct store_iter *iter =
        store_iter_new(store, snapshot, STORE_LOG, cq_slice_of(from, sizeof from), cq_slice_of(to, sizeof to));
    load->rc = read_range(load, store, snapshot, iter);
    store_iter_free(&iter);
    store_snapshot_free(store, &snapshot);
}
