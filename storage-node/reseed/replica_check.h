/* Is what a replica has stored what it should be? Read through without stopping anybody: a function of the store, in
 * bounded steps, so that whoever drives it decides how fast and on which thread.
 *
 * 1. All records of the state, from one snapshot: each has its checksum, and together they give the digest and the
 *    number of records that apply keeps (the mark of that snapshot).
 * 2. All chunks that the state names: each is there, of the length and hash that it was written with. Every step looks
 *    at a snapshot of its own, so none is held for long.
 *
 * The first damage ends it: one is enough, the replica is copied as a whole then. */
#ifndef REPLICA_CHECK_H
#define REPLICA_CHECK_H

#include "reseed/reseed_refs.h"
#include "state/state_db.h"

enum check_found {
    CHECK_SOUND,
    CHECK_RECORD, /* a record or a block of the state does not read, or is not what was written */
    CHECK_DIGEST, /* every record reads, and together they are not what apply counted: some are too many, or gone */
    CHECK_CHUNK,  /* octets of a body are not what was written */
    CHECK_MISSING /* octets of a body are not there */
};

struct replica_check {
    struct store *store;
    uint32_t group, generation;
    bool no_chunks; /* the system shard's state names none */
    bool records_done;
    struct store_snapshot *snapshot; /* of the records */
    struct store_iter *iter;
    struct refs_at at; /* of the chunks */
    struct cq_hash128 digest;
    /* For a look between two steps. */
    struct db_mark mark; /* of the snapshot */
    uint64_t records, chunks, bytes;
    enum check_found found;
};

/* CQ_E_NOT_FOUND: the generation is not there, or nothing was ever applied. CQ_E_CORRUPT: the mark (found says it).
 * After every return replica_check_end() is allowed, and due. */
enum cq_rc replica_check_begin(struct replica_check *check, struct store *store, uint32_t group, uint32_t generation,
                               struct cq_err *err);

/* Reads about bytes_max. CQ_OK: there is more. CQ_E_EOF: everything was read and is sound. CQ_E_CORRUPT: check->found,
 * and err in words. CQ_E_NOT_FOUND: the generation has been replaced meanwhile. CQ_E_IO. Only CQ_OK may be followed by
 * another step. */
enum cq_rc replica_check_step(struct replica_check *check, size_t bytes_max, struct cq_err *err);

void replica_check_end(struct replica_check *check);

#endif
