/* The Raft thread: one loop that drives the Raft host of all groups and owns the connections to the other nodes. All
 * functions may be called by any thread unless they say otherwise; they post and return.
 *
 * Inputs that arrive in one turn of the loop are answered by one flush: one persist job, one frame per peer. */
#ifndef RAFT_THREAD_H
#define RAFT_THREAD_H

#include "base/cq_metrics.h"
#include "io/io_loop.h"
#include "io/io_pool.h"
#include "node/group.h"
#include "node/writer.h"

struct raft_thread;
struct peers;

struct raft_thread_config {
    struct raft_node self;
    struct raft_settings settings;
    struct store *store;
    struct writer *writer;
    struct io_pool *load_pool; /* reads the log for followers that are behind */
    struct groups *groups;
    /* Sends a frame to a node (peers.h); on the Raft thread. It may be dropped. */
    void (*send)(void *ctx, const struct raft_node *to, enum raft_channel channel, const struct raft_frame *frame);
    /* A group's role or leader has changed: its hints are set. On the Raft thread. */
    void (*changed)(void *ctx, struct group *group);
    /* The leader's log has no more what the group's replica needs. On the Raft thread, with each heartbeat. */
    void (*behind)(void *ctx, struct group *group);
    /* The replica has stopped: its log does not read, or contradicts what the group has committed. On the Raft thread.
     */
    void (*failed)(void *ctx, struct group *group, enum cq_rc why);
    /* A body that a follower needs does not read. On the Raft thread. */
    void (*damaged)(void *ctx, struct group *group);
    /* The group's log begins later than before. On the Raft thread. */
    void (*trimmed)(void *ctx, struct group *group);
    void *ctx;
};

struct raft_thread *raft_thread_new(const struct raft_thread_config *config);

/* Starts it: the loop turns from now on. Groups may be added before and after. */
void raft_thread_start(struct raft_thread *thread);

/* Ends it. Requests that wait fail with CQ_E_UNAVAILABLE or CQ_E_UNKNOWN_OUTCOME on the calling thread. */
void raft_thread_stop(struct raft_thread *thread);
void raft_thread_free(struct raft_thread **thread);

struct io_loop *raft_thread_loop(struct raft_thread *thread);

/* Puts a group's replica under Raft. Its struct group is in the table already; takes the boot over. `done` is called on
 * the Raft thread (or at once, before the start). */
void raft_thread_add(struct raft_thread *thread, struct group *group, struct raft_boot *boot,
                     void (*done)(void *arg, enum cq_rc rc, const struct cq_err *err), void *arg);

/* ---- Requests: embedded in their owners, which live until the one callback has come ---- */

struct raft_request {
    struct group *group;
    /* A proposal: the request holds these references until its end. */
    struct raft_bytes *entry;
    struct raft_body *bodies; /* each with a reference; freed with free() */
    size_t body_count;
    /* The end of a proposal, on the apply thread (outcome) or the Raft thread (outcome NULL: rc says why; not_run:
     * nothing can have happened). The end of a read that cannot be served: outcome NULL. */
    void (*done)(struct raft_request *request, enum cq_rc rc, bool not_run, const struct machine_outcome *outcome);
    /* A read: run on the apply thread, once what was committed before the request is applied. rc as in apply.h. */
    struct apply_call call;
    /* The thread's. */
    struct raft_thread *thread;
    uint64_t started_us;
    bool is_read;
};

void raft_thread_propose(struct raft_thread *thread, struct raft_request *request);
void raft_thread_read(struct raft_thread *thread, struct raft_request *request);

/* Releases entry and bodies; the owner calls it in `done`. */
void raft_request_fini(struct raft_request *request);

/* ---- What others tell it ---- */

/* A frame from a peer; takes the reference. */
void raft_thread_receive(struct raft_thread *thread, const struct raft_node *from, struct raft_bytes *frame);

/* On the Raft thread (peers.c). */
void raft_thread_peer_up(struct raft_thread *thread, const struct raft_node *node);
void raft_thread_peer_gone(struct raft_thread *thread, const struct raft_node *node, bool planned);

/* An outcome for the cookie of a proposal. On the group's apply thread. */
void raft_thread_outcome(uint64_t cookie, const struct machine_outcome *outcome);

/* group->applied or group->durable has risen. */
void raft_thread_progress(struct raft_thread *thread, struct group *group);

/* The machine cannot go on: the replica is taken out of Raft. */
void raft_thread_drop(struct raft_thread *thread, struct group *group);

/* The group's `distrust` has risen: its replica stands less from now on, and hands leadership over as soon as somebody
 * can take it. */
void raft_thread_stand(struct raft_thread *thread, struct group *group);

/* Runs fn on the Raft thread, with everything that came before it done and flushed; host NULL: the thread has stopped.
 */
void raft_thread_run(struct raft_thread *thread, void (*fn)(struct raft_host *host, void *arg), void *arg);

/* Takes the group's replica out of Raft on purpose; done when the jobs that it wrote are with the writer. Its hints say
 * that it follows nobody, and `failed` is set: requests are refused. On the Raft thread, inside raft_thread_run(). */
void raft_thread_take_out(struct raft_thread *thread, struct raft_host *host, struct group *group);

/* Hands over the leadership of all groups; again until none is led. */
void raft_thread_hand_over(struct raft_thread *thread);

/* Hands one over to a replica's node. */
void raft_thread_transfer(struct raft_thread *thread, struct group *group, const struct raft_node *to);

/* The last look at all groups (twice a second): how many lead, follow, have no leader, have failed; the largest lags.
 */
struct raft_summary {
    uint32_t leading, following, leaderless, failed;
    uint64_t apply_lag;   /* entries committed and not applied */
    uint64_t replica_lag; /* leader: entries that the slowest replica lacks */
    uint64_t log_entries; /* of all groups */
    uint64_t log_bytes;
    uint64_t replica_lag_bytes;
    uint32_t behind;        /* replicas that need re-seeding, as leaders see it */
    uint32_t not_caught_up; /* groups that have not caught up since the start */
};
void raft_thread_summary(struct raft_thread *thread, struct raft_summary *summary_r);

extern struct cq_metrics raft_metrics;

#endif
