/* Bugs on purpose, to prove that the simulator finds them. In every build but the simulator's planted variant,
 * planted() is the constant false and costs nothing. Each call site is where the real mistake would be. */
#ifndef CQ_PLANTED_H
#define CQ_PLANTED_H

#include <stdbool.h>

/* X(symbol, name on the command line, what it does wrong) */
#define CQ_PLANTS(X)                                                                                                   \
    X(PLANT_NONE, "none", "nothing")                                                                                   \
    X(PLANT_ACK_BEFORE_SYNC, "ack-before-sync", "entries count as stored before their sync has returned")              \
    X(PLANT_VOTE_BEFORE_DURABLE, "vote-before-durable", "votes leave before term and vote are durable")                \
    X(PLANT_SKIP_TRUNCATION, "skip-truncation", "overwritten entries stay in the store behind the new ones")           \
    X(PLANT_DEPOSED_READ, "deposed-read", "a leader answers reads without asking a majority")                          \
    X(PLANT_READ_AFTER_LOSS, "read-after-loss", "reads that wait are answered when leadership is lost")                \
    X(PLANT_READ_TOO_EARLY, "read-too-early", "a new leader reads before an entry of its term is committed")           \
    X(PLANT_STALE_PRE_VOTE, "stale-pre-vote", "pre-votes are taken for votes")                                         \
    X(PLANT_TRIM_IGNORES_FLOOR, "trim-ignores-floor", "the log is trimmed past what the slowest replica has")          \
    X(PLANT_NO_START_FENCE, "no-start-fence", "a restarted process speaks before what it has read is durable")         \
    X(PLANT_EARLY_HAND_OUT, "early-hand-out", "entries are applied before they are durable on this replica")           \
    X(PLANT_COMMIT_FALLS, "commit-falls", "the commit index follows libraft's, which can fall")                        \
    X(PLANT_FREE_BODY_EARLY, "free-body-early", "a dead body is removed while a lagging follower needs it")            \
    X(PLANT_DROP_NOTICE, "drop-notice", "a watcher is not told of one change in eight")                                \
    X(PLANT_APPLY_TWICE, "apply-twice", "the last entries are applied again after a restart")                          \
    X(PLANT_REUSE_UID, "reuse-uid", "one write in four of a mailbox, with its UIDNEXT, is lost")                       \
    X(PLANT_RESURRECT, "resurrect", "an expunge is not written to the store")                                          \
    X(PLANT_LOSE_FLAG, "lose-flag", "adding flags replaces those that are there")                                      \
    X(PLANT_FORGET_REQUESTS, "forget-requests", "remembered results do not reach the store")                           \
    X(PLANT_STAGE_TWICE, "stage-twice", "a staged body can be stored by two commands")                                 \
    X(PLANT_FREE_COPY, "free-copy", "COPY is not held against the quota")                                              \
    X(PLANT_SKIP_EVENT, "skip-event", "the outbox is read past the second event of an entry")                          \
    X(PLANT_CURSOR_SKIPS, "cursor-skips", "the outbox cursor goes one event further than what was published")          \
    X(PLANT_KEY_STAYS, "key-stays", "a delivery key absorbs more than one delivery")                                   \
    X(PLANT_KEEP_DELETED, "keep-deleted", "a deleted account goes on as if nothing had happened")                      \
    X(PLANT_PROMOTE_EARLY, "promote-early", "a new replica gets its vote before it has caught up")                     \
    X(PLANT_FLIP_UNCHECKED, "flip-unchecked", "a copied state is taken over without comparing its digest")             \
    X(PLANT_FLIP_DROPS_TAIL, "flip-drops-tail", "with a copied state, acknowledged entries behind it are dropped")     \
    X(PLANT_KEEP_LOST_ID, "keep-lost-id", "a replica whose store is gone comes back under its old id, with its vote")

enum cq_plant {
#define CQ_PLANT_ENUM(symbol, name, what) symbol,
    CQ_PLANTS(CQ_PLANT_ENUM)
#undef CQ_PLANT_ENUM
        PLANT_COUNT
};

#ifdef CHASQUI_PLANT
extern enum cq_plant cq_planted_bug; /* defined by the planted simulator */
static inline bool planted(enum cq_plant plant)
{
    return plant == cq_planted_bug;
}
#else
static inline bool planted(enum cq_plant plant)
{
    (void)plant;
    return false;
}
#endif

#endif
