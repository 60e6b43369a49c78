/* What raft_thread.c and raft_thread_look.c share. */
#ifndef RAFT_THREAD_PRIVATE_H
#define RAFT_THREAD_PRIVATE_H

#include <pthread.h>

#include "node/raft_thread.h"

struct raft_thread {
    struct raft_thread_config config;
    struct io_loop *loop;
    struct raft_host *host;
    pthread_t thread;
    bool started, stopping;
    struct io_defer flush;
    struct io_timer tick;
    uint64_t ticked_us; /* the time that the host was last told */
    /* Groups whose applied or durable has risen: a stack that any thread puts on and this one takes whole. */
    _Atomic(struct group *) progress;
    atomic_bool progress_posted;
    struct io_timer summary_timer;
    struct group *changed[GROUPS_MAX]; /* whose role changed in this flush */
    size_t changed_count;
    pthread_mutex_t lock;
    struct raft_summary summary; /* under lock */
};

/* Rows of raft_metrics and values of their labels. */
enum proposal_result { P_APPLIED, P_NOT_LEADER, P_UNKNOWN, P_OVERLOADED, P_UNAVAILABLE };
enum read_result { R_SERVED, R_NOT_LEADER, R_UNAVAILABLE };
enum raft_metric_row {
    M_GROUPS,
    M_LEADER_CHANGES,
    M_PROPOSALS,
    M_COMMIT_SECONDS,
    M_READS,
    M_READ_SECONDS,
    M_APPLY_LAG,
    M_REPLICA_LAG,
    M_REPLICA_LAG_BYTES,
    M_LOG_ENTRIES,
    M_LOG_BYTES,
    M_BEHIND,
    M_ROWS
};

/* ---- raft_thread_look.c ---- */
void raft_thread_look_init(struct raft_thread *thread);
void raft_thread_look_start(struct raft_thread *thread);

#endif
