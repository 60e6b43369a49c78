/* A source (a shard of the test's) and a store that is being re-seeded from it, with everything that may come between:
 * stops, lost power, writes of the source, another source. */
#ifndef RESEED_RIG_H
#define RESEED_RIG_H

#include "unit/cq_cmocka.h"
#include "unit/state/mail_helpers.h"

#include "reseed/reseed_copy.h"
#include "reseed/reseed_source.h"

#define RIG_GROUP 5
#define RIG_REPLICA 31
#define RIG_GENERATION 1

struct rig {
    struct shard *shard;
    unsigned source; /* replica of the shard that is asked */
    struct store *store;
    struct store_snapshot *snapshot;
    struct store *snapshot_store;
    uint32_t generation; /* of the target, before */
    enum reseed_suspect suspect;
    size_t page_bytes;
    unsigned asks, writes;
    unsigned stop_ask, stop_write; /* the n-th fails with CQ_E_CANCELLED; 0: none */
    void (*before_ask)(struct rig *rig, const struct reseed_question *question);
    void (*after_ask)(struct rig *rig, const struct reseed_question *question, struct reseed_answer *answer);
    unsigned named;     /* rows that were asked for by name */
    uint64_t log_first; /* of the target, for the clean-up; at first it has no log */
    /* The last copy. */
    struct reseed_target target;
    struct reseed_offer offer;
    bool digest;
    struct cq_err err;
};

void rig_init(struct rig *rig, struct store *target);
void rig_fini(struct rig *rig); /* the target's store stays */
/* Messages with bodies of their own, a copy, flags, an expunge: something of everything. Written to the store. */
void rig_mail(struct rig *rig, unsigned messages);
/* What a node does after trimming: the chunks of dead bodies go. */
void rig_sweep(struct shard *shard, unsigned replica);
/* Begins or goes on, up to before the flip. */
enum cq_rc rig_copy(struct rig *rig);
/* The flip's batch, written. */
enum raft_install_log rig_flip(struct rig *rig, bool sync);
/* Opens the target's generation, applies what the shard's log has after it, and compares everything with the source. */
void rig_assert_equal(struct rig *rig, uint32_t generation);
/* All steps; the chunks that are left are exactly those that the source's state names, and later ones. */
uint64_t rig_cleanup(struct rig *rig, size_t chunks_max);
size_t rig_count(struct store *store, enum store_family family, const void *prefix, size_t len);

#endif
