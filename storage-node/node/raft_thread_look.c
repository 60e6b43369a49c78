/* The Raft thread's look at all its groups, and its metrics. */
#include "node/raft_thread_private.h"

#define SUMMARY_MS 500

static const char *const group_states[] = {"leader", "follower", "unavailable", "failed"};
static const char *const proposal_results[] = {"applied", "not_leader", "unknown", "overloaded", "unavailable"};
static const char *const read_results[] = {"served", "not_leader", "unavailable"};

static const struct cq_metric rows[M_ROWS] = {
    [M_GROUPS] = CQ_GAUGE("chasqui_raft_groups",
                          "Replicas of groups on this node; unavailable: no leader known; failed: a person must look",
                          CQ_LABEL("state", group_states)),
    [M_LEADER_CHANGES] =
        CQ_COUNTER("chasqui_raft_leader_changes_total", "Times that a group of this node got another leader"),
    [M_PROPOSALS] = CQ_COUNTER("chasqui_raft_proposals_total", "Commands proposed here, by what became of them",
                               CQ_LABEL("result", proposal_results)),
    [M_COMMIT_SECONDS] = CQ_HISTOGRAM("chasqui_raft_commit_duration_seconds",
                                      "From a proposal to its outcome: replicated, synced and applied", CQ_BUCKETS_IO),
    [M_READS] = CQ_COUNTER("chasqui_raft_reads_total", "Linearizable reads", CQ_LABEL("result", read_results)),
    [M_READ_SECONDS] = CQ_HISTOGRAM("chasqui_raft_read_duration_seconds",
                                    "From a read's arrival to the moment it may be served", CQ_BUCKETS_IO),
    [M_APPLY_LAG] = CQ_GAUGE("chasqui_raft_apply_lag_entries", "Entries committed and not applied, of the worst group"),
    [M_REPLICA_LAG] = CQ_GAUGE("chasqui_raft_replica_lag_entries",
                               "Entries that the slowest replica lacks, of the worst group led here; the log is kept "
                               "for it, up to raft.log_keep_*"),
    [M_REPLICA_LAG_BYTES] = CQ_GAUGE("chasqui_raft_replica_lag_bytes",
                                     "Bytes of entries and bodies that the slowest replica lacks, of the worst group "
                                     "led here"),
    [M_LOG_BYTES] = CQ_GAUGE("chasqui_raft_log_bytes", "Bytes of the entries in all logs, with their bodies"),
    [M_LOG_ENTRIES] = CQ_GAUGE("chasqui_raft_log_entries", "Entries in the logs of all groups"),
    [M_BEHIND] =
        CQ_GAUGE("chasqui_raft_replicas_behind", "Replicas of groups led here that need what the log has no more"),
};
struct cq_metrics raft_metrics = CQ_METRICS_OF(rows);

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void look_at(struct raft_thread *t, struct group *group, struct raft_summary *sum)
{
    struct raft_group_status s;
    if (raft_host_status(t->host, group->record.group, &s) != CQ_OK || s.failed || s.stand == RAFT_SILENT) {
        sum->failed++;
        return;
    }
    uint64_t applied = atomic_load(&group->applied);
    bool leads = s.role == RAFT_GROUP_LEADER, led = leads || s.has_leader;
    atomic_store(&group->commit_index, s.commit_index);
    if (led && applied >= s.commit_index)
        atomic_store(&group->caught_up, true);
    sum->leading += leads;
    sum->following += !leads && led;
    sum->leaderless += !led;
    sum->not_caught_up += !atomic_load(&group->caught_up);
    if (s.commit_index > applied)
        sum->apply_lag = larger(sum->apply_lag, s.commit_index - applied);
    if (s.last_index >= s.first_index)
        sum->log_entries += s.last_index - s.first_index + 1;
    sum->log_bytes += s.log_bytes;
    if (leads) {
        sum->replica_lag = larger(sum->replica_lag, s.slowest_lag);
        sum->replica_lag_bytes = larger(sum->replica_lag_bytes, s.slowest_lag_bytes);
        sum->behind += s.behind;
    }
}

static void on_summary(struct io_timer *timer)
{
    struct raft_thread *t = cq_containerof(timer, struct raft_thread, summary_timer);
    struct raft_summary sum = {0};
    for (uint32_t id = 0; id < GROUPS_MAX; id++) {
        struct group *group = groups_find(t->config.groups, id);
        if (group)
            look_at(t, group, &sum);
    }
    pthread_mutex_lock(&t->lock);
    t->summary = sum;
    pthread_mutex_unlock(&t->lock);
    cq_gauge_set(&raft_metrics, M_GROUPS, sum.leading, 0);
    cq_gauge_set(&raft_metrics, M_GROUPS, sum.following, 1);
    cq_gauge_set(&raft_metrics, M_GROUPS, sum.leaderless, 2);
    cq_gauge_set(&raft_metrics, M_GROUPS, sum.failed, 3);
    cq_gauge_set(&raft_metrics, M_APPLY_LAG, (int64_t)sum.apply_lag);
    cq_gauge_set(&raft_metrics, M_REPLICA_LAG, (int64_t)sum.replica_lag);
    cq_gauge_set(&raft_metrics, M_LOG_ENTRIES, (int64_t)sum.log_entries);
    cq_gauge_set(&raft_metrics, M_REPLICA_LAG_BYTES, (int64_t)sum.replica_lag_bytes);
    cq_gauge_set(&raft_metrics, M_LOG_BYTES, (int64_t)sum.log_bytes);
    cq_gauge_set(&raft_metrics, M_BEHIND, sum.behind);
    io_timer_start(timer, SUMMARY_MS);
}

void raft_thread_summary(struct raft_thread *thread, struct raft_summary *summary_r)
{
    pthread_mutex_lock(&thread->lock);
    *summary_r = thread->summary;
    pthread_mutex_unlock(&thread->lock);
}

void raft_thread_look_init(struct raft_thread *thread)
{
    io_timer_init(&thread->summary_timer, thread->loop, on_summary);
}

void raft_thread_look_start(struct raft_thread *thread)
{
    io_timer_start(&thread->summary_timer, SUMMARY_MS);
}
