/* The apply threads: committed entries go into the groups' state machines here, and reads run here, so that a machine
 * is touched by one thread and needs no locks. A group belongs to one of the threads for its whole life.
 *
 * The outcome of a proposal goes to whoever waits for it at once: the entry is committed, so its effects may be seen
 * before they are written (the machine's overlay serves them). A group's effects go to the writer a moment later, those
 * of several entries together: what they change again and again (counters, the account, the mailbox) is written once.
 *
 * The threads know nothing of Raft, RPC or mail: what happens next is told through a table of functions. */
#ifndef APPLY_H
#define APPLY_H

#include "base/cq_metrics.h"
#include "node/apply_marks.h"
#include "node/writer.h"
#include "raft/raft_bytes.h"
#include "state/machine.h"

struct apply;
struct apply_group;

#define APPLY_THREADS_MAX 64
#define APPLY_RUN_ITEMS 256        /* items between two looks at the clock, the effects and the queue */
#define APPLY_RUN_BYTES (1u << 20) /* bytes of entries in one run */
#define APPLY_POOL_KEEP (64u << 10)
#define APPLY_HOLD_MS 250             /* effects of a group are held back so long, for more to come, ... */
#define APPLY_HOLD_ENTRIES 128        /* ... or until they are of so many entries ... */
#define APPLY_HOLD_BYTES (256u << 10) /* ... or so many bytes of entries */

/* All are called on the group's apply thread, and must not wait. */
struct apply_output {
    void *ctx;
    /* What an entry that was proposed here has come to; valid during the call. */
    void (*outcome)(void *ctx, uint32_t group, uint64_t cookie, const struct machine_outcome *outcome);
    /* The account's watchers have something to look at. */
    void (*notice)(void *ctx, struct apply_group *group, uint64_t account, struct cq_slice notice);
    /* Entries up to `index` have been applied (in memory). */
    void (*applied)(void *ctx, struct apply_group *group, const struct machine *machine, uint64_t index);
    /* Effects up to `index` are on stable storage; `applied` has told of it before. On the writer's thread. */
    void (*durable)(void *ctx, uint32_t group, uint64_t index);
    /* The machine cannot go on (machine_ops.health); told once. Later entries and calls of the group fail. */
    void (*failed)(void *ctx, struct apply_group *group, enum cq_rc rc);
};

struct apply_config {
    struct writer *writer;
    struct apply_marks *marks; /* NULL: none are set */
    unsigned threads;          /* 1 .. APPLY_THREADS_MAX */
    unsigned hold_ms;          /* APPLY_HOLD_MS; 0: effects go to the writer after each run of items */
    struct apply_output output;
};

struct apply *apply_new(const struct apply_config *config);

/* All groups must have been closed. */
void apply_free(struct apply **apply);

/* The machine becomes the group's; entries start after machine_ops.applied(). NULL: the group has none yet, as after
 * apply_group_detach(). Any thread. */
struct apply_group *apply_group_open(struct apply *apply, uint32_t group, struct machine *machine);

/* Any thread, nobody else uses the group any more. Items before it are done, calls that still wait for their index fail
 * with CQ_E_UNAVAILABLE; then the machine is closed when its effects are written, and closed(arg) is called on the
 * apply thread. */
void apply_group_close(struct apply_group *group, void (*closed)(void *arg), void *arg);

/* Takes the machine out (re-seeding): items before it are done, calls that still wait and later ones fail with
 * CQ_E_UNAVAILABLE; when its effects are written the machine is closed, and done(arg) is called on the apply thread. No
 * entry may come until another one is attached. */
void apply_group_detach(struct apply_group *group, void (*done)(void *arg), void *arg);
/* Only after a detach has ended, or a failure (the machine that failed is closed first). */
void apply_group_attach(struct apply_group *group, struct machine *machine, void (*done)(void *arg), void *arg);

uint32_t apply_group_id(const struct apply_group *group);

/* One committed entry, in index order, from one thread. A reference to `owner` is taken (it may be NULL when the entry
 * is empty). cookie 0: nobody waits for the outcome. */
struct apply_entry {
    struct machine_position position;
    struct raft_bytes *owner;
    struct cq_slice entry; /* inside owner */
    uint64_t cookie;
};
void apply_commit(struct apply_group *group, const struct apply_entry *entry);

/* Something that runs on the group's thread once the machine has applied up to `index`. Embedded in its owner, which
 * must live until run. rc: CQ_OK, or why there is no machine to work with: CQ_E_UNAVAILABLE (the group was closed), or
 * the machine's health. */
struct apply_call {
    void (*run)(struct apply_call *call, struct apply_group *group, struct machine *machine, enum cq_rc rc);
    uint64_t index;
    struct apply_call *next; /* the thread's */
};
/* Any thread; calls of one thread with the same index run in their order. */
void apply_call(struct apply_group *group, struct apply_call *call);

/* Digests at indexes that all replicas pass, so that replicas which are not equally far can be compared: the newest
 * ones at multiples of APPLY_POINT_EVERY, rising, and last where the machine is now. On the group's apply thread; empty
 * while there is no machine. Returns how many. */
#define APPLY_POINT_EVERY 64
#define APPLY_POINTS 64
struct apply_point {
    uint64_t index;
    uint8_t digest[16];
};
size_t apply_group_points(const struct apply_group *group, struct apply_point points_r[static APPLY_POINTS + 1]);

/* For the application: what it keeps per group on the apply thread (watchers). */
void apply_group_set_ctx(struct apply_group *group, void *ctx);
void *apply_group_ctx(const struct apply_group *group);

/* Entries and calls that wait, of all threads. */
size_t apply_queue_length(struct apply *apply);

enum apply_metric { APPLY_M_ENTRIES, APPLY_M_RUN_ENTRIES, APPLY_M_SECONDS, APPLY_M_ROWS };
extern struct cq_metrics apply_metrics;

#endif
