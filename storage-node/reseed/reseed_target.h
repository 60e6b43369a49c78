/* The receiver's side of re-seeding: what a page changes in the store of the replica that is being made. Functions that
 * fill a batch; whoever calls them writes it (in order, sync or not) and asks for the next page. Progress stands in the
 * record (reseed_record.h), in the same batches, so a process may die anywhere.
 *
 *   reseed_begin ── chunks ── summaries ──► reseed_state_begin ── state ──► reseed_check ── walk ──► reseed_flip
 *       phase one, resumed from the cursor       phase two, from one snapshot, in one pass
 *
 * The old generation is not touched before the flip, and the flip is one batch. After it: reseed_cleanup_step(). */
#ifndef RESEED_TARGET_H
#define RESEED_TARGET_H

#include "raft/raft_host.h"
#include "reseed/reseed_record.h"
#include "state/records.h"
#include "state/state_db.h"

/* A summary that the source has and this replica does not: it is asked for by name. */
struct reseed_wanted {
    struct cq_hash128 hash;
    size_t key_len;
    uint8_t key[64];
};
#define RESEED_WANTED_MAX 4096 /* of one page of the state */

struct reseed_target {
    struct store *store;
    uint64_t incarnation;
    struct reseed_record record; /* as it is in the store once the last batch is written */
    /* Phase two. */
    struct reseed_cursor state_at;
    struct cq_hash128 digest;
    uint64_t records;
    struct reseed_wanted *wanted;
    size_t wanted_count;
    /* For progress. */
    uint64_t chunks, chunk_bytes, state_bytes;
};

/* What is known of the replica as it is. */
struct reseed_plan {
    uint32_t group;
    uint64_t incarnation;
    uint32_t generation; /* the present one; 0: there is none */
    uint64_t replica;    /* whose the new one will be */
    enum reseed_suspect suspect;
};

/* Goes on where the store is, or begins: then the first record is in the batch. A record that is at odds with the plan
 * (another replica, a trust that is gone) begins anew. CQ_E_EXISTS: a clean-up is not finished; CQ_E_CORRUPT... */
enum cq_rc reseed_begin(struct reseed_target *target, struct store *store, const struct reseed_plan *plan,
                        struct store_batch *batch, struct cq_err *err);
void reseed_target_fini(struct reseed_target *target);

/* The cursor for the next page of phase one. Does an interrupted one of chunks have to begin before everything? Then it
 * is empty. */
static inline const struct reseed_cursor *reseed_cursor(const struct reseed_target *target)
{
    return &target->record.cursor;
}

/* ---- Phase one ---- */

/* A page of chunks, or of hashes: then the names of those that are not here or not the same go to `names`, and the
 * cursor moves only with reseed_chunks_end(). CQ_E_PROTO, CQ_E_CORRUPT, CQ_E_IO. */
enum cq_rc reseed_take_chunks(struct reseed_target *target, struct cq_slice page, struct store_batch *batch,
                              struct cq_buf *names, struct cq_err *err);
/* All of the pages up to this cursor are written or in the batch. done: there are no more chunks. */
void reseed_chunks_end(struct reseed_target *target, const struct reseed_cursor *cursor, bool done,
                       struct store_batch *batch);
enum cq_rc reseed_take_summaries(struct reseed_target *target, struct cq_slice page, const struct reseed_cursor *next,
                                 bool done, struct store_batch *batch, struct cq_err *err);

/* ---- Phase two ---- */

/* What an earlier attempt left of the state goes, except the summaries. */
enum cq_rc reseed_state_begin(struct reseed_target *target, struct store_batch *batch, struct cq_err *err);
/* A page of the state from target->state_at up to `next`. Summaries that are not here are in target->wanted: their
 * names are in `names`, the rows that answer go to reseed_take_wanted(), all before the next page. */
enum cq_rc reseed_take_state(struct reseed_target *target, struct cq_slice page, const struct reseed_cursor *next,
                             bool done, struct store_batch *batch, struct cq_buf *names, struct cq_err *err);
enum cq_rc reseed_take_wanted(struct reseed_target *target, struct cq_slice page, struct store_batch *batch,
                              struct cq_err *err);
/* Everything has been taken: is it what the source's digest says? CQ_E_CORRUPT. */
enum cq_rc reseed_check(const struct reseed_target *target, const struct db_mark *mark, struct cq_err *err);

/* Walks the new state for chunks that it names and that are not here, or (of a suspect replica, and of chunks that were
 * copied) not what it says they are. */
#define RESEED_MISSING_MAX 256
#define RESEED_WALK_STEP_BYTES (8u << 20) /* octets of chunks that one step reads */
struct reseed_walk {
    struct reseed_cursor at;
    uint32_t row; /* chunks of the record there that were looked at */
    bool done;
    struct chunk_ref missing[RESEED_MISSING_MAX];
    size_t missing_count;
};
/* One bounded step; the names of what is missing are appended. CQ_E_CORRUPT: the state itself. */
enum cq_rc reseed_walk_step(struct reseed_target *target, struct reseed_walk *walk, struct cq_buf *names,
                            struct cq_err *err);
/* What was missing, or a part of it from the front. CQ_E_CORRUPT: the source does not have it either. */
enum cq_rc reseed_take_missing(struct reseed_target *target, struct reseed_walk *walk, struct cq_slice page,
                               size_t taken, struct store_batch *batch, struct cq_err *err);

/* ---- The flip ---- */

/* Into one batch, to be synced, with the record of the replica (node/replica_record.h): the mark of the new generation,
 * a log that fits, the clean-up. The replica must be under no Raft host, and everything before must have been written.
 * Errors as raft_boot_install(). */
enum cq_rc reseed_flip(struct reseed_target *target, const struct db_mark *mark, uint64_t conf_index,
                       const struct raft_member *members, size_t member_count, struct store_batch *batch,
                       enum raft_install_log *log_r, struct cq_err *err);

/* ---- After it ---- */

/* One step of the clean-up of a flipped replica, in a batch; *done_r: it was the last. Chunks that came after the flip
 * are not looked at; those of entries that the replica's log still has are marked dead, because another member may
 * need the entries whole, and go like all dead bodies when the log has been trimmed. */
struct reseed_cleanup {
    uint64_t incarnation;
    uint64_t log_first; /* first index of the log, or less */
    size_t chunks_max;  /* of one step */
};
enum cq_rc reseed_cleanup_step(struct store *store, struct reseed_record *record, const struct reseed_cleanup *how,
                               struct store_batch *batch, uint64_t *removed_r, bool *done_r, struct cq_err *err);

/* Gives up what was begun and has not been flipped. */
void reseed_abandon(struct store_batch *batch, const struct reseed_record *record);

#endif
