/* Re-seeding of this node's replicas: who needs it, a few at a time, on a thread and loop of its own, so that neither
 * Raft nor requests wait for it. The copying itself is reseed/reseed_copy.h; here are the questions over RPC, the
 * bandwidth, the moment of the flip, and the clean-up after it. How it goes is told in docs/raft.md. */
#ifndef RESEEDER_H
#define RESEEDER_H

#include "base/cq_metrics.h"
#include "node/group.h"
#include "reseed/reseed_record.h"
#include "state/mail_machine.h"

struct node;
struct reseeder;

enum reseed_reason {
    RESEED_JOIN,    /* it was copied under a new id, and has no vote yet, or the shard map does not name it */
    RESEED_BEHIND,  /* the leader's log begins after what the replica has: all that it has is sound */
    RESEED_SUSPECT, /* something of it is damaged: it hands leadership over, and is compared and copied as a whole */
    RESEED_LOST,    /* there is nothing, or it has forgotten what it promised: a replica of a new id takes its place */
    RESEED_NEW,     /* there is nothing yet: a move brings it, under an id that is given (node_group_new()) */
    RESEED_RECOVER, /* one that has forgotten takes part again all the same: somebody has accepted the loss */
};

struct reseeder_config {
    struct node *node;
    unsigned concurrency; /* replicas that are re-seeded at the same time */
    uint64_t rate;        /* bytes a second for all of them, 0: as fast as it goes */
    uint64_t retry_us;    /* after an attempt that failed */
};

struct reseeder *reseeder_new(const struct reseeder_config *config);
/* Goes on with what the records in the store say. */
void reseeder_start(struct reseeder *reseeder);
/* What is under way is left where it is; it goes on after the next start. */
void reseeder_stop(struct reseeder *reseeder);
void reseeder_free(struct reseeder **reseeder);

/* Any thread; the same wish again changes nothing, a suspicion outweighs being behind. */
void reseeder_want(struct reseeder *reseeder, struct group *group, enum reseed_reason why);

/* Something that the replica has stored is not what was written. It stays a member whose votes and acknowledgements
 * count; at once it stands last for election (SUSPECT_PARTS), or not at all and serves nothing (SUSPECT_STATE); then it
 * is copied. Any thread. */
void reseeder_distrust(struct reseeder *reseeder, struct group *group, enum reseed_suspect how);

/* Chunks of a body that this replica cannot read, from any other one. Embedded in its owner, who lives until done(),
 * which is called once, on the re-seeding loop. CQ_OK: they are here now. */
struct reseeder_fetch {
    struct group *group;
    const struct body_piece *pieces;
    size_t count;
    void (*done)(struct reseeder_fetch *fetch, enum cq_rc rc);
    struct reseeder *reseeder; /* reseeder_fetch()'s */
};
void reseeder_fetch(struct reseeder *reseeder, struct reseeder_fetch *fetch);

/* For a look: what the group's re-seeding does ("" nothing; waiting, chunks, summaries, state, cleanup), and the bytes
 * that the present attempt has copied. */
const char *reseeder_state_name(const struct group *group);

extern struct cq_metrics reseeder_metrics;

#endif
