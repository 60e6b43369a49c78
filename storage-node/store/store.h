/* The key-value store under a node: one RocksDB in production (store_rocksdb.c), ordered tables in memory with
 * crash semantics in the simulator and the unit tests (store_mem.c). Nobody else knows RocksDB.
 *
 * All groups of a node share one store. Keys are bytes in byte order; numbers in them are big-endian. */
#ifndef STORE_H
#define STORE_H

#include "base/cq_buf.h"

#include <stdbool.h>
#include <stdint.h>

/* Column families. Their numbers are in docs/formats/store.md. */
enum store_family {
    STORE_LOG,   /* Raft: terms, votes, entries, snapshot markers (docs/formats/log.md) */
    STORE_CHUNK, /* bodies' chunks, by chunk id: large values, kept in blob files */
    STORE_STATE, /* replicated state, by (group, generation, account ...) (docs/formats/state.md) */
    STORE_LOCAL, /* what only this replica knows: applied indexes, dead bodies, node identity */
    STORE_FAMILY_COUNT
};

struct store;
struct store_batch;
struct store_iter;
struct store_snapshot;

/* A batch is one atomic write. Keys and values are copied by put and delete. */
struct store_batch *store_batch_new(struct store *store);
void store_batch_free(struct store_batch **batch);
void store_batch_put(struct store_batch *batch, enum store_family family, struct cq_slice key, struct cq_slice value);
/* The value is the concatenation of the parts. */
void store_batch_putv(struct store_batch *batch, enum store_family family, struct cq_slice key,
                      const struct cq_slice *parts, size_t count);
void store_batch_delete(struct store_batch *batch, enum store_family family, struct cq_slice key);
/* Keys in [from, to). */
void store_batch_delete_range(struct store_batch *batch, enum store_family family, struct cq_slice from,
                              struct cq_slice to);
size_t store_batch_bytes(const struct store_batch *batch);
/* A batch of no store, filled like any other, whose contents are put behind what is in another one: for what somebody
 * else will write together with more. */
struct store_batch *store_batch_recorder_new(void);
void store_batch_replay(const struct store_batch *recorder, struct store_batch *into);
void store_batch_clear(struct store_batch *batch);

/* Writes the batch; with sync it is on stable storage when the call returns, and so is every batch written before it.
 * A failure means that the process must stop at once (CQ_E_IO): a failed fsync is never tried again. */
enum cq_rc store_write(struct store *store, struct store_batch *batch, bool sync, struct cq_err *err);

/* Appends the value to out. CQ_E_NOT_FOUND, CQ_E_CORRUPT, CQ_E_IO, CQ_E_LIMIT (out is full). snapshot may be NULL. */
enum cq_rc store_get(struct store *store, struct store_snapshot *snapshot, enum store_family family,
                     struct cq_slice key, struct cq_buf *out, struct cq_err *err);

/* The newest value, for a caller who verifies a hash of all of it before anybody sees a byte: the store need not verify
 * its own checksum of the value beside that. How the value is found is verified all the same, and nothing unverified is
 * kept where store_get() would find it. length: what the value is expected to have. Errors as store_get(); what is
 * damaged may also come out as CQ_OK with other bytes, or more or fewer of them. */
enum cq_rc store_get_unverified(struct store *store, enum store_family family, struct cq_slice key, size_t length,
                                struct cq_buf *out, struct cq_err *err);

/* Keys in [from, to), an empty `to` means the family's end. Key and value are valid until the next move. Created before
 * the first key: call store_iter_next() first. */
struct store_iter *store_iter_new(struct store *store, struct store_snapshot *snapshot, enum store_family family,
                                  struct cq_slice from, struct cq_slice to);
void store_iter_free(struct store_iter **iter);
/* CQ_OK on a key, CQ_E_EOF after the last, CQ_E_CORRUPT, CQ_E_IO. */
enum cq_rc store_iter_next(struct store_iter *iter);
/* To the first key >= key (inside the iterator's range); a following store_iter_next() goes on after it. */
enum cq_rc store_iter_seek(struct store_iter *iter, struct cq_slice key);
struct cq_slice store_iter_key(const struct store_iter *iter);
struct cq_slice store_iter_value(const struct store_iter *iter);

struct store_snapshot *store_snapshot_new(struct store *store);
void store_snapshot_free(struct store *store, struct store_snapshot **snapshot);

void store_close(struct store **store);

/* What an implementation fills in; the functions above call it. */
struct store_ops {
    struct store_batch *(*batch_new)(struct store *store);
    void (*batch_free)(struct store_batch *batch);
    void (*batch_putv)(struct store_batch *batch, enum store_family family, struct cq_slice key,
                       const struct cq_slice *parts, size_t count);
    void (*batch_delete)(struct store_batch *batch, enum store_family family, struct cq_slice key);
    void (*batch_delete_range)(struct store_batch *batch, enum store_family family, struct cq_slice from,
                               struct cq_slice to);
    size_t (*batch_bytes)(const struct store_batch *batch);
    void (*batch_clear)(struct store_batch *batch);
    enum cq_rc (*write)(struct store *store, struct store_batch *batch, bool sync, struct cq_err *err);
    enum cq_rc (*get)(struct store *store, struct store_snapshot *snapshot, enum store_family family,
                      struct cq_slice key, struct cq_buf *out, struct cq_err *err);
    /* NULL: as get. */
    enum cq_rc (*get_unverified)(struct store *store, enum store_family family, struct cq_slice key, size_t length,
                                 struct cq_buf *out, struct cq_err *err);
    struct store_iter *(*iter_new)(struct store *store, struct store_snapshot *snapshot, enum store_family family,
                                   struct cq_slice from, struct cq_slice to);
    void (*iter_free)(struct store_iter *iter);
    enum cq_rc (*iter_next)(struct store_iter *iter);
    enum cq_rc (*iter_seek)(struct store_iter *iter, struct cq_slice key);
    struct cq_slice (*iter_key)(const struct store_iter *iter);
    struct cq_slice (*iter_value)(const struct store_iter *iter);
    struct store_snapshot *(*snapshot_new)(struct store *store);
    void (*snapshot_free)(struct store *store, struct store_snapshot *snapshot);
    void (*close)(struct store *store);
};
/* First member of every implementation's store, batch and iterator. */
struct store {
    const struct store_ops *ops;
};
struct store_batch {
    const struct store_ops *ops;
};
struct store_iter {
    const struct store_ops *ops;
};

#endif
