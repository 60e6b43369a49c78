/* Entries that are only in the store and that somebody needs: a follower that lags, or the hand-out of commits after a
 * restart. Private to raft/; raft_host.h has what the node calls. */
#ifndef RAFT_LOAD_H
#define RAFT_LOAD_H

#include "raft_job.h"

struct raft_loaded {
    uint64_t term;
    struct raft_item *item;
};

struct raft_load {
    struct raft_log_owner owner;
    uint64_t peer; /* replica that the entries are for; 0: the commits of this node */
    uint64_t from, to;
    uint64_t bytes_max; /* stops when so many have been read; at least one entry */
    enum cq_rc rc;      /* CQ_OK also when fewer were found than asked for */
    struct cq_err err;
    bool damaged; /* for a follower: a chunk of the next entry does not read; what stands before it was loaded */
    struct raft_loaded *entries; /* from `from` on */
    size_t count, cap;
};

struct raft_load *raft_load_new(const struct raft_log_owner *owner, uint64_t peer, uint64_t from, uint64_t to,
                                uint64_t bytes_max);

#endif
