/* Finds chunks that the store cannot read, whoever they belong to and whether anything names them: what RocksDB's own
 * collection of garbage would meet. Reads all chunks of the store, in bounded steps. A function of the store. */
#ifndef CHUNK_SWEEP_H
#define CHUNK_SWEEP_H

#include "state/entry.h"
#include "store/store.h"

struct chunk_sweep {
    struct store *store;
    uint8_t at[CHUNK_KEY_SIZE];   /* the next key that is looked at */
    uint8_t last[CHUNK_KEY_SIZE]; /* that did not read */
    bool done;
    uint64_t chunks, bytes; /* read so far */
};

void chunk_sweep_begin(struct chunk_sweep *sweep, struct store *store);

/* Reads about bytes_max. CQ_OK: go on, unless `done`. CQ_E_CORRUPT: the chunk of this id does not read, and stands in
 * the way; go on when it has been deleted (which does not read it). CQ_E_IO: also when that did
 * not help: it is the table that does not read. */
enum cq_rc chunk_sweep_step(struct chunk_sweep *sweep, size_t bytes_max, struct chunk_id *damaged_r,
                            struct cq_err *err);

/* The key of the first chunk from `from` on that does not read, when the first one from there on does not. CQ_E_IO: it
 * cannot be told. `snapshot` may be NULL. */
enum cq_rc chunk_find_damaged(struct store *store, struct store_snapshot *snapshot,
                              const uint8_t from[static CHUNK_KEY_SIZE], uint8_t key_r[static CHUNK_KEY_SIZE]);

/* The key after it; false: it is the largest there can be. */
bool chunk_key_next(uint8_t key[static CHUNK_KEY_SIZE]);

#endif
