/* A replicated state machine, as the Raft host sees it: the mailbox state (state/) and the system shard
 * (system/) are two of them. One group's machine is touched by one thread at a time; the simulator runs the same
 * object files on one thread.
 *
 * Apply is a pure function of (state, entry): no clock, no randomness, no configuration. It works on an overlay of
 * effects that are not written yet, consulted by reads; the writer takes the effects in order and persists them
 * together with the applied index, without forcing a sync. */
#ifndef MACHINE_H
#define MACHINE_H

#include "base/cq_buf.h"
#include "base/cq_pool.h"
#include "store/store.h"

struct machine;
struct machine_effects; /* what a run of applies changed, in order; immutable once taken */

/* Where a committed entry stands. */
struct machine_position {
    uint64_t index;
    uint64_t term;
};

/* What an applied command answers. Bytes live in the pool given to apply. */
struct machine_outcome {
    enum cq_rc rc;
    struct cq_slice answer; /* encoded Answer (proto/mail.proto or proto/system.proto) */
    uint64_t entry_time;    /* the group's entry time after this entry */
    uint64_t account;       /* whose state changed, 0: nobody's */
    struct cq_slice notice; /* encoded Notice for the account's watchers; empty: nothing to tell */
};

struct machine_read {
    uint32_t method;
    uint64_t account;
    struct cq_slice message; /* encoded Call */
};

struct machine_ops {
    /* Any bytes are a valid entry for apply: what does not decode or is not allowed has a deterministic error outcome.
     * Entries come in index order without gaps; those at or below machine_applied() are ignored. */
    void (*apply)(struct machine *machine, struct machine_position position, struct cq_slice entry,
                  struct cq_pool *pool, struct machine_outcome *outcome_r);
    /* Answers from the overlay and the store; bounded work. The encoded Answer goes to *answer, what follows it in the
     * frame to *raw. */
    enum cq_rc (*read)(struct machine *machine, const struct machine_read *read, struct cq_pool *pool,
                       struct cq_buf *answer, struct cq_buf *raw, struct cq_err *err);
    /* Index of the last applied entry (in the overlay). */
    uint64_t (*applied)(const struct machine *machine);
    /* All effects since the last take, with the applied index; NULL when there are none. The overlay keeps serving
     * them until effects_written(). */
    struct machine_effects *(*effects_take)(struct machine *machine);
    /* Adds the effects to a batch (called by the writer, on its own thread). */
    void (*effects_encode)(const struct machine_effects *effects, struct store_batch *batch);
    /* The batch with these effects has been written: they leave the overlay and are freed. In the order of taking. */
    void (*effects_written)(struct machine *machine, struct machine_effects *effects);
    /* The digest of all replicated records at the applied index, kept up to date by apply (16 bytes). */
    void (*digest)(const struct machine *machine, uint8_t digest_r[static 16]);
    /* CQ_OK, or why this replica must stop hosting the group: CQ_E_CORRUPT or CQ_E_IO (its store failed it),
     * CQ_E_VERSION (the group's finalized version is newer than this build). From then on apply changes nothing,
     * applied() stands still and effects_take() gives NULL; the process and its other groups go on. */
    enum cq_rc (*health)(const struct machine *machine);
    void (*close)(struct machine *machine);
};

/* First member of every implementation. */
struct machine {
    const struct machine_ops *ops;
};

/* What a machine is opened with. */
struct machine_config {
    struct store *store;
    uint32_t group;
    uint32_t generation;  /* part of the keys: a re-seeded replica is a new generation */
    uint64_t incarnation; /* of the group; part of every chunk id */
    uint16_t known;       /* the highest command version that may be applied; 0: command_version_known */
};

#endif
