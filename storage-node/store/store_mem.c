#include "store/store_mem.h"

#include "store_mem_table.h"

#include "base/cq_assert.h"
#include "base/cq_list.h"
#include "base/cq_mem.h"

#include <pthread.h>
#include <stdlib.h>

/* What one unsynced batch changed, so that a crash can undo it: old values in the order of writing. */
struct undo_value {
    struct undo_value *next;
    enum store_family family;
    bool existed;
    struct cq_slice key, value;
    uint8_t bytes[];
};
struct undo_batch {
    struct cq_list link;
    struct undo_value *newest; /* last change first: the order of undoing */
};

struct store_mem {
    struct store base;
    pthread_mutex_t lock;
    struct mem_table tables[STORE_FAMILY_COUNT];
    uint64_t seq;        /* of the last batch */
    struct cq_list undo; /* struct undo_batch, oldest first */
    size_t undo_count;
    struct cq_list views; /* struct view: open snapshots and iterators */
    uint64_t *view_seqs;  /* their numbers, ascending, without repeats */
    size_t view_count, view_cap;
    uint64_t writes, syncs;
    uint64_t fail_at; /* the write number from which on all fail; 0: none */
};

struct view {
    struct cq_list link;
    uint64_t seq;
};

struct store_snapshot {
    struct view view;
};

enum op_kind { OP_PUT, OP_DELETE, OP_DELETE_RANGE };

struct op {
    enum op_kind kind;
    enum store_family family;
    size_t key_at, key_len;     /* in batch->bytes */
    size_t value_at, value_len; /* or the range's end */
};

struct mem_batch {
    struct store_batch base;
    struct op *ops;
    size_t count, cap;
    uint8_t *bytes;
    size_t len, bytes_cap;
};

struct mem_iter {
    struct store_iter base;
    struct store_mem *store;
    struct view view;
    bool own_view; /* not a snapshot's */
    enum store_family family;
    uint8_t *from, *to;
    size_t from_len, to_len;
    bool bounded;
    bool placed;                 /* `node` is where the next move goes on from */
    const struct mem_node *node; /* present key */
    uint64_t removals;           /* the table's when `node` was looked up */
    const struct mem_version *version;
    uint8_t *key; /* a copy: the node may go while the iterator stands on it */
    size_t key_len, key_cap;
};

static struct store_mem *mem_of(struct store *store)
{
    return (struct store_mem *)store;
}

/* ---- Views ---- */

static void views_collect(struct store_mem *mem)
{
    mem->view_count = 0;
    cq_list_each (&mem->views, link) {
        uint64_t seq = cq_list_entry(link, struct view, link)->seq;
        if (mem->view_count && mem->view_seqs[mem->view_count - 1] == seq)
            continue;
        if (mem->view_count == mem->view_cap) {
            mem->view_cap = mem->view_cap ? mem->view_cap * 2 : 8;
            mem->view_seqs = cq_realloc(mem->view_seqs, mem->view_cap * sizeof *mem->view_seqs);
        }
        mem->view_seqs[mem->view_count++] = seq;
    }
}

/* Views are opened at the present moment, so appending keeps them in order. */
static void view_open(struct store_mem *mem, struct view *view)
{
    view->seq = mem->seq;
    cq_list_push_back(&mem->views, &view->link);
    views_collect(mem);
}

static void view_close(struct store_mem *mem, struct view *view)
{
    cq_list_remove(&view->link);
    views_collect(mem);
}

static struct mem_views views_of(const struct store_mem *mem)
{
    return (struct mem_views){mem->view_seqs, mem->view_count};
}

/* ---- Batches ---- */

static struct store_batch *mem_batch_new(struct store *store)
{
    struct mem_batch *batch = cq_new(struct mem_batch);
    batch->base.ops = store->ops;
    return &batch->base;
}

static void mem_batch_free(struct store_batch *base)
{
    struct mem_batch *batch = (struct mem_batch *)base;
    free(batch->ops);
    free(batch->bytes);
    free(batch);
}

static size_t batch_bytes_add(struct mem_batch *batch, struct cq_slice s)
{
    if (batch->len + s.len > batch->bytes_cap) {
        batch->bytes_cap = (batch->len + s.len) * 2;
        batch->bytes = cq_realloc(batch->bytes, batch->bytes_cap);
    }
    size_t at = batch->len;
    if (s.len)
        memcpy(batch->bytes + at, s.data, s.len);
    batch->len += s.len;
    return at;
}

static struct op *batch_op_add(struct mem_batch *batch, enum op_kind kind, enum store_family family,
                               struct cq_slice key)
{
    if (batch->count == batch->cap) {
        batch->cap = batch->cap ? batch->cap * 2 : 16;
        batch->ops = cq_realloc(batch->ops, batch->cap * sizeof *batch->ops);
    }
    struct op *op = &batch->ops[batch->count++];
    *op = (struct op){.kind = kind, .family = family, .key_len = key.len};
    op->key_at = batch_bytes_add(batch, key);
    return op;
}

static void mem_batch_putv(struct store_batch *base, enum store_family family, struct cq_slice key,
                           const struct cq_slice *parts, size_t count)
{
    struct mem_batch *batch = (struct mem_batch *)base;
    struct op *op = batch_op_add(batch, OP_PUT, family, key);
    op->value_at = batch->len;
    for (size_t i = 0; i < count; i++)
        batch_bytes_add(batch, parts[i]);
    op->value_len = batch->len - op->value_at;
}

static void mem_batch_delete(struct store_batch *base, enum store_family family, struct cq_slice key)
{
    batch_op_add((struct mem_batch *)base, OP_DELETE, family, key);
}

static void mem_batch_delete_range(struct store_batch *base, enum store_family family, struct cq_slice from,
                                   struct cq_slice to)
{
    struct mem_batch *batch = (struct mem_batch *)base;
    struct op *op = batch_op_add(batch, OP_DELETE_RANGE, family, from);
    op->value_at = batch_bytes_add(batch, to);
    op->value_len = to.len;
}

static size_t mem_batch_bytes(const struct store_batch *base)
{
    return ((const struct mem_batch *)base)->len;
}

static void mem_batch_clear(struct store_batch *base)
{
    struct mem_batch *batch = (struct mem_batch *)base;
    batch->count = 0;
    batch->len = 0;
}

/* ---- Writing, and undoing what was not synced ---- */

static void undo_remember(struct store_mem *mem, struct undo_batch *undo, enum store_family family, struct cq_slice key)
{
    const struct mem_node *node = mem_table_find(&mem->tables[family], key);
    const struct mem_version *version = node && !node->newest->deleted ? node->newest : NULL;
    size_t value_len = version ? version->len : 0;
    struct undo_value *old = cq_malloc(sizeof *old + key.len + value_len);
    old->family = family;
    old->existed = version != NULL;
    if (key.len)
        memcpy(old->bytes, key.data, key.len);
    if (value_len)
        memcpy(old->bytes + key.len, version->data, value_len);
    old->key = cq_slice_of(old->bytes, key.len);
    old->value = cq_slice_of(old->bytes + key.len, value_len);
    old->next = undo->newest;
    undo->newest = old;
}

static void undo_free(struct undo_batch *undo)
{
    for (struct undo_value *old = undo->newest; old;) {
        struct undo_value *next = old->next;
        free(old);
        old = next;
    }
    free(undo);
}

static void change_delete(struct store_mem *mem, struct undo_batch *undo, enum store_family family, struct cq_slice key)
{
    if (undo)
        undo_remember(mem, undo, family, key);
    mem_table_delete(&mem->tables[family], key, mem->seq, views_of(mem));
}

static void change_delete_range(struct store_mem *mem, struct undo_batch *undo, enum store_family family,
                                struct cq_slice from, struct cq_slice to)
{
    struct mem_table *table = &mem->tables[family];
    struct mem_node *node = mem_table_seek(table, from, false);
    while (node && cq_slice_cmp(mem_node_key(node), to) < 0) {
        struct mem_node *next = node->next[0];
        change_delete(mem, undo, family, mem_node_key(node));
        node = next;
    }
}

static void change_apply(struct store_mem *mem, struct undo_batch *undo, const struct mem_batch *batch,
                         const struct op *op)
{
    struct cq_slice key = cq_slice_of(batch->bytes + op->key_at, op->key_len);
    struct cq_slice value = cq_slice_of(batch->bytes + op->value_at, op->value_len);
    switch (op->kind) {
    case OP_PUT:
        if (undo)
            undo_remember(mem, undo, op->family, key);
        mem_table_put(&mem->tables[op->family], key, &value, 1, mem->seq, views_of(mem));
        break;
    case OP_DELETE:
        change_delete(mem, undo, op->family, key);
        break;
    case OP_DELETE_RANGE:
        change_delete_range(mem, undo, op->family, key, value);
        break;
    }
}

static void undo_forget_all(struct store_mem *mem)
{
    cq_list_each_safe (&mem->undo, link) {
        cq_list_remove(link);
        undo_free(cq_list_entry(link, struct undo_batch, link));
    }
    mem->undo_count = 0;
}

static void batch_write(struct store_mem *mem, const struct mem_batch *batch, bool sync)
{
    struct undo_batch *undo = NULL;
    if (sync) {
        undo_forget_all(mem);
        mem->syncs++;
    } else {
        undo = cq_new(struct undo_batch);
        cq_list_push_back(&mem->undo, &undo->link);
        mem->undo_count++;
    }
    mem->seq++;
    mem->writes++;
    for (size_t i = 0; i < batch->count; i++)
        change_apply(mem, undo, batch, &batch->ops[i]);
}

static enum cq_rc mem_write(struct store *store, struct store_batch *base, bool sync, struct cq_err *err)
{
    struct store_mem *mem = mem_of(store);
    pthread_mutex_lock(&mem->lock);
    bool fails = mem->fail_at && mem->writes + 1 >= mem->fail_at;
    if (!fails)
        batch_write(mem, (const struct mem_batch *)base, sync);
    pthread_mutex_unlock(&mem->lock);
    return fails ? CQ_FAIL(err, CQ_E_IO, "store in memory: planned failure of a write") : CQ_OK;
}

static void undo_apply(struct store_mem *mem, const struct undo_batch *undo)
{
    mem->seq++;
    for (const struct undo_value *old = undo->newest; old; old = old->next) {
        struct mem_table *table = &mem->tables[old->family];
        if (old->existed)
            mem_table_put(table, old->key, &old->value, 1, mem->seq, views_of(mem));
        else
            mem_table_delete(table, old->key, mem->seq, views_of(mem));
    }
}

void store_mem_crash(struct store *store, size_t keep)
{
    struct store_mem *mem = mem_of(store);
    pthread_mutex_lock(&mem->lock);
    CQ_ASSERT(cq_list_empty(&mem->views));
    CQ_ASSERT(keep <= mem->undo_count);
    for (; mem->undo_count > keep; mem->undo_count--) {
        struct undo_batch *undo = cq_list_entry(cq_list_last(&mem->undo), struct undo_batch, link);
        undo_apply(mem, undo);
        cq_list_remove(&undo->link);
        undo_free(undo);
    }
    undo_forget_all(mem);
    pthread_mutex_unlock(&mem->lock);
}

void store_mem_sync(struct store *store)
{
    struct store_mem *mem = mem_of(store);
    pthread_mutex_lock(&mem->lock);
    undo_forget_all(mem);
    mem->syncs++;
    pthread_mutex_unlock(&mem->lock);
}

size_t store_mem_unsynced(struct store *store)
{
    struct store_mem *mem = mem_of(store);
    pthread_mutex_lock(&mem->lock);
    size_t count = mem->undo_count;
    pthread_mutex_unlock(&mem->lock);
    return count;
}

void store_mem_fail_write(struct store *store, uint64_t n)
{
    struct store_mem *mem = mem_of(store);
    pthread_mutex_lock(&mem->lock);
    mem->fail_at = n ? mem->writes + n : 0;
    pthread_mutex_unlock(&mem->lock);
}

bool store_mem_corrupt(struct store *store, enum store_family family, struct cq_slice key, size_t at)
{
    struct store_mem *mem = mem_of(store);
    pthread_mutex_lock(&mem->lock);
    struct mem_node *node = mem_table_find(&mem->tables[family], key);
    bool found = node && !node->newest->deleted && node->newest->len > 0;
    if (found)
        node->newest->data[at % node->newest->len] ^= 0x10;
    pthread_mutex_unlock(&mem->lock);
    return found;
}

static uint64_t table_keys(const struct mem_table *table)
{
    uint64_t keys = 0;
    for (const struct mem_node *node = table->head->next[0]; node; node = node->next[0])
        keys += !node->newest->deleted;
    return keys;
}

void store_mem_counts(struct store *store, struct store_mem_counts *counts_r)
{
    struct store_mem *mem = mem_of(store);
    pthread_mutex_lock(&mem->lock);
    *counts_r = (struct store_mem_counts){.writes = mem->writes, .syncs = mem->syncs};
    for (size_t i = 0; i < STORE_FAMILY_COUNT; i++)
        counts_r->keys[i] = table_keys(&mem->tables[i]);
    pthread_mutex_unlock(&mem->lock);
}

/* ---- Reading ---- */

static enum cq_rc mem_get(struct store *store, struct store_snapshot *snapshot, enum store_family family,
                          struct cq_slice key, struct cq_buf *out, struct cq_err *err)
{
    struct store_mem *mem = mem_of(store);
    enum cq_rc rc = CQ_E_NOT_FOUND;
    pthread_mutex_lock(&mem->lock);
    const struct mem_node *node = mem_table_find(&mem->tables[family], key);
    const struct mem_version *version = node ? mem_node_at(node, snapshot ? snapshot->view.seq : mem->seq) : NULL;
    if (version)
        rc = cq_buf_add(out, version->data, version->len) ? CQ_OK : CQ_E_LIMIT;
    pthread_mutex_unlock(&mem->lock);
    return rc == CQ_OK ? CQ_OK : CQ_FAIL(err, rc, "%s", rc == CQ_E_LIMIT ? "the value is too big" : "no such key");
}

static struct store_iter *mem_iter_new(struct store *store, struct store_snapshot *snapshot, enum store_family family,
                                       struct cq_slice from, struct cq_slice to)
{
    struct mem_iter *iter = cq_new(struct mem_iter);
    iter->base.ops = store->ops;
    iter->store = mem_of(store);
    iter->family = family;
    iter->from = cq_memdup(from.data, from.len);
    iter->from_len = from.len;
    iter->to = cq_memdup(to.data, to.len);
    iter->to_len = to.len;
    iter->bounded = to.len > 0;
    pthread_mutex_lock(&iter->store->lock);
    if (snapshot) {
        iter->view.seq = snapshot->view.seq;
    } else {
        iter->own_view = true;
        view_open(iter->store, &iter->view);
    }
    pthread_mutex_unlock(&iter->store->lock);
    return &iter->base;
}

static void mem_iter_free(struct store_iter *base)
{
    struct mem_iter *iter = (struct mem_iter *)base;
    if (iter->own_view) {
        pthread_mutex_lock(&iter->store->lock);
        view_close(iter->store, &iter->view);
        pthread_mutex_unlock(&iter->store->lock);
    }
    free(iter->from);
    free(iter->to);
    free(iter->key);
    free(iter);
}

static void iter_key_copy(struct mem_iter *iter, const struct mem_node *node)
{
    if (node->key_len > iter->key_cap) {
        iter->key_cap = node->key_len * 2;
        iter->key = cq_realloc(iter->key, iter->key_cap);
    }
    memcpy(iter->key, node->key, node->key_len);
    iter->key_len = node->key_len;
}

/* Settles on the first node from `node` on that the view sees. */
static enum cq_rc iter_settle(struct mem_iter *iter, const struct mem_node *node)
{
    struct cq_slice to = cq_slice_of(iter->to, iter->to_len);
    for (; node; node = node->next[0]) {
        if (iter->bounded && cq_slice_cmp(mem_node_key(node), to) >= 0)
            break;
        iter->version = mem_node_at(node, iter->view.seq);
        if (!iter->version)
            continue;
        iter_key_copy(iter, node);
        iter->node = node;
        iter->removals = iter->store->tables[iter->family].removals;
        return CQ_OK;
    }
    iter->node = NULL;
    iter->version = NULL;
    return CQ_E_EOF;
}

static enum cq_rc mem_iter_next(struct store_iter *base)
{
    struct mem_iter *iter = (struct mem_iter *)base;
    struct store_mem *mem = iter->store;
    const struct mem_table *table = &mem->tables[iter->family];
    pthread_mutex_lock(&mem->lock);
    const struct mem_node *node;
    if (!iter->placed)
        node = mem_table_seek(table, cq_slice_of(iter->from, iter->from_len), false);
    else if (!iter->version)
        node = NULL; /* past the end */
    else if (iter->removals == table->removals)
        node = iter->node->next[0];
    else
        node = mem_table_seek(table, cq_slice_of(iter->key, iter->key_len), true);
    iter->placed = true;
    enum cq_rc rc = iter_settle(iter, node);
    pthread_mutex_unlock(&mem->lock);
    return rc;
}

static enum cq_rc mem_iter_seek(struct store_iter *base, struct cq_slice key)
{
    struct mem_iter *iter = (struct mem_iter *)base;
    struct cq_slice from = cq_slice_of(iter->from, iter->from_len);
    pthread_mutex_lock(&iter->store->lock);
    iter->placed = true;
    enum cq_rc rc = iter_settle(
        iter, mem_table_seek(&iter->store->tables[iter->family], cq_slice_cmp(key, from) < 0 ? from : key, false));
    pthread_mutex_unlock(&iter->store->lock);
    return rc;
}

static struct cq_slice mem_iter_key(const struct store_iter *base)
{
    const struct mem_iter *iter = (const struct mem_iter *)base;
    return cq_slice_of(iter->key, iter->key_len);
}

/* The view keeps the version alive, whatever others write. */
static struct cq_slice mem_iter_value(const struct store_iter *base)
{
    const struct mem_iter *iter = (const struct mem_iter *)base;
    return cq_slice_of(iter->version->data, iter->version->len);
}

static struct store_snapshot *mem_snapshot_new(struct store *store)
{
    struct store_snapshot *snapshot = cq_new(struct store_snapshot);
    pthread_mutex_lock(&mem_of(store)->lock);
    view_open(mem_of(store), &snapshot->view);
    pthread_mutex_unlock(&mem_of(store)->lock);
    return snapshot;
}

static void mem_snapshot_free(struct store *store, struct store_snapshot *snapshot)
{
    pthread_mutex_lock(&mem_of(store)->lock);
    view_close(mem_of(store), &snapshot->view);
    pthread_mutex_unlock(&mem_of(store)->lock);
    free(snapshot);
}

static void mem_close(struct store *store)
{
    struct store_mem *mem = mem_of(store);
    CQ_ASSERT(cq_list_empty(&mem->views));
    undo_forget_all(mem);
    for (size_t i = 0; i < STORE_FAMILY_COUNT; i++)
        mem_table_fini(&mem->tables[i]);
    pthread_mutex_destroy(&mem->lock);
    free(mem->view_seqs);
    free(mem);
}

static const struct store_ops mem_ops = {
    .batch_new = mem_batch_new,
    .batch_free = mem_batch_free,
    .batch_putv = mem_batch_putv,
    .batch_delete = mem_batch_delete,
    .batch_delete_range = mem_batch_delete_range,
    .batch_bytes = mem_batch_bytes,
    .batch_clear = mem_batch_clear,
    .write = mem_write,
    .get = mem_get,
    .iter_new = mem_iter_new,
    .iter_free = mem_iter_free,
    .iter_next = mem_iter_next,
    .iter_seek = mem_iter_seek,
    .iter_key = mem_iter_key,
    .iter_value = mem_iter_value,
    .snapshot_new = mem_snapshot_new,
    .snapshot_free = mem_snapshot_free,
    .close = mem_close,
};

struct store *store_mem_new(void)
{
    struct store_mem *mem = cq_new(struct store_mem);
    mem->base.ops = &mem_ops;
    pthread_mutex_init(&mem->lock, NULL);
    for (size_t i = 0; i < STORE_FAMILY_COUNT; i++)
        mem_table_init(&mem->tables[i]);
    cq_list_init(&mem->undo);
    cq_list_init(&mem->views);
    return &mem->base;
}
