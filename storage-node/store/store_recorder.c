/* A batch that only remembers. */
#include "store/store.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"

#include <stdlib.h>

enum op_kind { OP_PUT, OP_DELETE, OP_DELETE_RANGE };

struct op {
    enum op_kind kind;
    enum store_family family;
    size_t key_at, key_len, value_at, value_len; /* in the bytes; the value of OP_DELETE_RANGE is its end */
};

struct recorder {
    struct store_batch base;
    struct op *ops;
    size_t count, cap;
    struct cq_buf bytes;
};

static struct op *op_add(struct store_batch *batch, enum op_kind kind, enum store_family family, struct cq_slice key)
{
    struct recorder *r = (struct recorder *)batch;
    if (r->count == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 32;
        r->ops = cq_realloc(r->ops, r->cap * sizeof *r->ops);
    }
    struct op *op = &r->ops[r->count++];
    *op = (struct op){.kind = kind, .family = family, .key_at = r->bytes.len, .key_len = key.len};
    cq_buf_slice_add(&r->bytes, key);
    op->value_at = r->bytes.len;
    return op;
}

static void recorder_putv(struct store_batch *batch, enum store_family family, struct cq_slice key,
                          const struct cq_slice *parts, size_t count)
{
    struct recorder *r = (struct recorder *)batch;
    struct op *op = op_add(batch, OP_PUT, family, key);
    for (size_t i = 0; i < count; i++)
        cq_buf_slice_add(&r->bytes, parts[i]);
    op->value_len = r->bytes.len - op->value_at;
}

static void recorder_delete(struct store_batch *batch, enum store_family family, struct cq_slice key)
{
    op_add(batch, OP_DELETE, family, key);
}

static void recorder_delete_range(struct store_batch *batch, enum store_family family, struct cq_slice from,
                                  struct cq_slice to)
{
    struct op *op = op_add(batch, OP_DELETE_RANGE, family, from);
    cq_buf_slice_add(&((struct recorder *)batch)->bytes, to);
    op->value_len = to.len;
}

static size_t recorder_bytes(const struct store_batch *batch)
{
    return ((const struct recorder *)batch)->bytes.len;
}

static void recorder_clear(struct store_batch *batch)
{
    struct recorder *r = (struct recorder *)batch;
    r->count = 0;
    cq_buf_reset(&r->bytes, SIZE_MAX);
}

static void recorder_free(struct store_batch *batch)
{
    struct recorder *r = (struct recorder *)batch;
    cq_buf_fini(&r->bytes);
    free(r->ops);
    free(r);
}

static const struct store_ops recorder_ops = {
    .batch_free = recorder_free,
    .batch_putv = recorder_putv,
    .batch_delete = recorder_delete,
    .batch_delete_range = recorder_delete_range,
    .batch_bytes = recorder_bytes,
    .batch_clear = recorder_clear,
};

struct store_batch *store_batch_recorder_new(void)
{
    struct recorder *r = cq_new(struct recorder);
    r->base.ops = &recorder_ops;
    cq_buf_init(&r->bytes, SIZE_MAX);
    return &r->base;
}

void store_batch_replay(const struct store_batch *recorder, struct store_batch *into)
{
    const struct recorder *r = (const struct recorder *)recorder;
    CQ_ASSERT(recorder->ops == &recorder_ops);
    for (size_t i = 0; i < r->count; i++) {
        const struct op *op = &r->ops[i];
        struct cq_slice key = cq_slice_of(r->bytes.data + op->key_at, op->key_len);
        struct cq_slice value = cq_slice_of(r->bytes.data + op->value_at, op->value_len);
        if (op->kind == OP_PUT)
            store_batch_put(into, op->family, key, value);
        else if (op->kind == OP_DELETE)
            store_batch_delete(into, op->family, key);
        else
            store_batch_delete_range(into, op->family, key, value);
    }
}
