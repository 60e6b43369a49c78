#include "store/store.h"

#include <stddef.h>

#include "base/cq_failpoint.h"

struct store_batch *store_batch_new(struct store *store)
{
    return store->ops->batch_new(store);
}

void store_batch_free(struct store_batch **batch)
{
    if (*batch)
        (*batch)->ops->batch_free(*batch);
    *batch = NULL;
}

void store_batch_put(struct store_batch *batch, enum store_family family, struct cq_slice key, struct cq_slice value)
{
    batch->ops->batch_putv(batch, family, key, &value, 1);
}

void store_batch_putv(struct store_batch *batch, enum store_family family, struct cq_slice key,
                      const struct cq_slice *parts, size_t count)
{
    batch->ops->batch_putv(batch, family, key, parts, count);
}

void store_batch_delete(struct store_batch *batch, enum store_family family, struct cq_slice key)
{
    batch->ops->batch_delete(batch, family, key);
}

void store_batch_delete_range(struct store_batch *batch, enum store_family family, struct cq_slice from,
                              struct cq_slice to)
{
    batch->ops->batch_delete_range(batch, family, from, to);
}

size_t store_batch_bytes(const struct store_batch *batch)
{
    return batch->ops->batch_bytes(batch);
}

void store_batch_clear(struct store_batch *batch)
{
    batch->ops->batch_clear(batch);
}

enum cq_rc store_write(struct store *store, struct store_batch *batch, bool sync, struct cq_err *err)
{
    cq_failpoint(sync ? FAIL_SYNC_BEFORE : FAIL_WRITE_BEFORE);
    enum cq_rc rc = store->ops->write(store, batch, sync, err);
    cq_failpoint(sync ? FAIL_SYNC_AFTER : FAIL_WRITE_AFTER);
    return rc;
}

enum cq_rc store_get(struct store *store, struct store_snapshot *snapshot, enum store_family family,
                     struct cq_slice key, struct cq_buf *out, struct cq_err *err)
{
    return store->ops->get(store, snapshot, family, key, out, err);
}

enum cq_rc store_get_unverified(struct store *store, enum store_family family, struct cq_slice key, size_t length,
                                struct cq_buf *out, struct cq_err *err)
{
    if (!store->ops->get_unverified)
        return store_get(store, NULL, family, key, out, err);
    return store->ops->get_unverified(store, family, key, length, out, err);
}

struct store_iter *store_iter_new(struct store *store, struct store_snapshot *snapshot, enum store_family family,
                                  struct cq_slice from, struct cq_slice to)
{
    return store->ops->iter_new(store, snapshot, family, from, to);
}

void store_iter_free(struct store_iter **iter)
{
    if (*iter)
        (*iter)->ops->iter_free(*iter);
    *iter = NULL;
}

enum cq_rc store_iter_next(struct store_iter *iter)
{
    return iter->ops->iter_next(iter);
}

enum cq_rc store_iter_seek(struct store_iter *iter, struct cq_slice key)
{
    return iter->ops->iter_seek(iter, key);
}

struct cq_slice store_iter_key(const struct store_iter *iter)
{
    return iter->ops->iter_key(iter);
}

struct cq_slice store_iter_value(const struct store_iter *iter)
{
    return iter->ops->iter_value(iter);
}

struct store_snapshot *store_snapshot_new(struct store *store)
{
    return store->ops->snapshot_new(store);
}

void store_snapshot_free(struct store *store, struct store_snapshot **snapshot)
{
    if (*snapshot)
        store->ops->snapshot_free(store, *snapshot);
    *snapshot = NULL;
}

void store_close(struct store **store)
{
    if (*store)
        (*store)->ops->close(*store);
    *store = NULL;
}
