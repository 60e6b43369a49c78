/* The machine's view of its records: the store below, the overlay of effects that are not written yet above, and the
 * digest over all of it. One command at a time changes it, and can be undone as a whole.
 *
 * A stored value is the record and 4 bytes: the low half of the hash that the digest counts, so that a value under a
 * wrong key or with a wrong bit is found at every read. A read that fails (not "not found") breaks the db for good:
 * db_broken(); writes after it are ignored. */
#ifndef STATE_DB_H
#define STATE_DB_H

#include "base/cq_hash.h"
#include "state/machine.h"
#include "state/state_key.h"

struct state_db;

#define DB_TRAILER 4

/* Where the written state stands. All zero before the first entry. */
struct db_mark {
    uint64_t index, term;
    struct cq_hash128 digest;
    uint64_t records;
};

enum cq_rc db_open(const struct machine_config *config, struct state_db **db_r, struct cq_err *err);
/* Effects that were taken must have come back before, or are given up by everybody. */
void db_close(struct state_db **db);

const struct state_keyspace *db_space(const struct state_db *db);
const struct db_mark *db_mark(const struct state_db *db);
enum cq_rc db_broken(const struct state_db *db);
/* Whoever finds a record that does not decode says so here. Returns rc. */
enum cq_rc db_break(struct state_db *db, enum cq_rc rc);

/* The record, borrowed or copied to the pool: valid until the pool's end, the next write of its key and the end of this
 * call of the machine. CQ_E_NOT_FOUND, or what broke the db. */
enum cq_rc db_get(struct state_db *db, const struct state_key *key, struct cq_pool *pool, struct cq_slice *value_r);

void db_put(struct state_db *db, const struct state_key *key, struct cq_slice value);
/* The same for a key that cannot exist yet (made with a number that is never used twice): the old value is not read. */
void db_insert(struct state_db *db, const struct state_key *key, struct cq_slice value);
void db_delete(struct state_db *db, const struct state_key *key);
/* The same of a record that an iterator has given to this command, with db_iter_hash() of then: nothing is read. */
void db_delete_seen(struct state_db *db, const struct state_key *key, struct cq_hash128 hash);
/* Into STORE_LOCAL, with the effects of this command; never read back here. */
void db_local_put(struct state_db *db, struct cq_slice key, struct cq_slice value);

/* Between begin and end all writes belong to one command: with keep false none of them happened. */
void db_begin(struct state_db *db);
void db_end(struct state_db *db, bool keep);
/* The entry at this position is applied: part of the next effects. */
void db_advance(struct state_db *db, struct machine_position position);

/* Records with keys in [from, to), overlay and store merged; an empty `to` is the end of the store. The db must not be
 * written while an iterator is open. */
struct db_iter;
struct db_iter *db_iter_new(struct state_db *db, struct cq_slice from, struct cq_slice to);
/* All keys that begin with the prefix. */
struct db_iter *db_iter_prefix(struct state_db *db, const struct state_key *prefix);
void db_iter_free(struct db_iter **iter);
/* CQ_OK, CQ_E_EOF, or what broke the db. Key and value are valid until the next move. */
enum cq_rc db_iter_next(struct db_iter *iter);
/* The next db_iter_next() gives the first record with a key >= key. */
void db_iter_seek(struct db_iter *iter, const struct state_key *key);
struct cq_slice db_iter_key(const struct db_iter *iter);
struct cq_slice db_iter_value(const struct db_iter *iter);
struct cq_hash128 db_iter_hash(const struct db_iter *iter); /* db_record_hash() of it */

/* struct machine_effects: a frozen layer. */
struct machine_effects *db_effects_take(struct state_db *db);
void db_effects_encode(const struct machine_effects *effects, struct store_batch *batch);
void db_effects_written(struct state_db *db, struct machine_effects *effects);

/* The hash that the digest counts for a record: over the key without group and generation, and the value. */
struct cq_hash128 db_record_hash(struct cq_slice key, struct cq_slice value);

static inline struct cq_hash128 hash128_add(struct cq_hash128 a, struct cq_hash128 b)
{
    uint64_t low = a.low + b.low;
    return (struct cq_hash128){low, a.high + b.high + (low < a.low)};
}
static inline struct cq_hash128 hash128_sub(struct cq_hash128 a, struct cq_hash128 b)
{
    return (struct cq_hash128){a.low - b.low, a.high - b.high - (a.low < b.low)};
}

/* The record of STORE_LOCAL that holds the mark: 'a', group u32, generation u32. */
#define DB_MARK_KEY_SIZE 9

/* For re-seeding: the mark of a generation that nobody has open. All zero when there is none. */
enum cq_rc db_mark_read(struct store *store, struct store_snapshot *snapshot, uint32_t group, uint32_t generation,
                        struct db_mark *mark_r, struct cq_err *err);
void db_mark_put(struct store_batch *batch, uint32_t group, uint32_t generation, const struct db_mark *mark);
/* The generation's records and its mark, as one range each. */
void db_generation_delete(struct store_batch *batch, uint32_t group, uint32_t generation);
/* A stored value: checks the trailer, cuts it off and says what the digest counts. CQ_E_CORRUPT. */
enum cq_rc db_stored_value(struct cq_slice key, struct cq_slice *value, struct cq_hash128 *hash_r);

#endif
