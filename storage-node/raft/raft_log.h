/* A group's log in memory: for every entry of the log its term and whether it is durable, and for the newest ones the
 * octets. Pure bookkeeping; the host keeps it equal to libraft's own trail. Private to raft/. */
#ifndef RAFT_LOG_H
#define RAFT_LOG_H

#include "raft_item.h"

struct raft_log_entry {
    uint64_t term;
    uint64_t job;    /* number of the job that makes it durable; 0: it was there at the start */
    uint64_t cookie; /* of the local proposal that waits for it, or 0 */
    uint64_t body_bytes;
    uint64_t total; /* the log's: octets of all entries up to this one, since the start, with bodies */
    uint32_t size;  /* of the entry's octets */
    uint32_t chunk_count;
    enum raft_entry_kind kind;
    struct raft_item *item; /* NULL: only in the store */
};

struct raft_log {
    uint64_t marker_index, marker_term; /* what stood before the first entry, or further back; 0: nothing was trimmed */
    uint64_t first;                     /* index of the first entry, also when there is none yet */
    struct raft_log_entry *ring;
    size_t cap, front, count;
    uint64_t cached_from; /* entries from here on have their item */
    uint64_t cached_bytes;
    uint64_t trimmed_total; /* `total` of the entry before the first */
};

void raft_log_init(struct raft_log *log, uint64_t first, uint64_t marker_index, uint64_t marker_term);
void raft_log_fini(struct raft_log *log);

static inline uint64_t raft_log_last(const struct raft_log *log)
{
    return log->first + log->count - 1;
}

/* NULL when it is not there. Valid until the next append, truncate or trim. */
struct raft_log_entry *raft_log_at(const struct raft_log *log, uint64_t index);
/* 0: not known. */
uint64_t raft_log_term(const struct raft_log *log, uint64_t index);

/* Octets of the entries after index, with their bodies. */
uint64_t raft_log_bytes_after(const struct raft_log *log, uint64_t index);

/* Takes the item's reference (NULL: octets are in the store only). */
void raft_log_append(struct raft_log *log, const struct raft_log_entry *entry);
/* Forgets entries from index on / before index. */
void raft_log_truncate(struct raft_log *log, uint64_t index);
void raft_log_trim(struct raft_log *log, uint64_t first);

/* Lets go of the oldest item in memory; false: there is none below `limit`. */
bool raft_log_evict(struct raft_log *log, uint64_t limit);

#endif
