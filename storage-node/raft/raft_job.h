/* What the writer must make durable: operations on the log, in order, built by the host during one turn. Private to
 * raft/; raft_host.h has what the node calls. */
#ifndef RAFT_JOB_H
#define RAFT_JOB_H

#include "base/cq_buf.h"
#include "raft_item.h"
#include "raft/raft_host.h"

/* Whose records: part of every key. */
struct raft_log_owner {
    uint32_t group;
    uint64_t replica;
    uint64_t incarnation;
};

struct raft_job *raft_job_new(uint64_t number);
uint64_t raft_job_number(const struct raft_job *job);

void raft_job_vote(struct raft_job *job, const struct raft_log_owner *owner, uint64_t term, uint64_t vote);
/* Takes a reference of its own. */
void raft_job_append(struct raft_job *job, const struct raft_log_owner *owner, uint64_t index, uint64_t term,
                     struct raft_item *item);
/* An entry that was overwritten, and its chunks. */
void raft_job_remove(struct raft_job *job, const struct raft_log_owner *owner, uint64_t index, uint64_t term,
                     uint32_t chunk_count);
struct raft_marker {
    uint64_t index, term;
    uint64_t conf_index;
    struct cq_slice conf; /* copied */
};
/* The marker, and no entries before `first` (those from `old_first` on go). */
void raft_job_trim(struct raft_job *job, const struct raft_log_owner *owner, const struct raft_marker *marker,
                   uint64_t old_first, uint64_t first);

/* The same records without a job: for what is written before a group is opened. */
void raft_vote_put(struct store_batch *batch, const struct raft_log_owner *owner, uint64_t term, uint64_t vote);
void raft_marker_put(struct store_batch *batch, const struct raft_log_owner *owner, const struct raft_marker *marker);
void raft_entry_put(struct store_batch *batch, const struct raft_log_owner *owner, uint64_t index, uint64_t term,
                    const struct raft_item *item);

#endif
