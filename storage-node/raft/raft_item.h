/* One log entry's octets with its bodies, shared by the log in memory, jobs, loads and the hand-out of commits. Counted
 * on the host's thread (a job or load on another thread holds its reference and only reads). Private to raft/. */
#ifndef RAFT_ITEM_H
#define RAFT_ITEM_H

#include "base/cq_err.h"
#include "raft/raft_bytes.h"
#include "raft_log_format.h"

struct raft_item {
    unsigned refs;
    enum raft_entry_kind kind;
    struct raft_bytes *owner; /* of `entry`; NULL when it is empty */
    struct cq_slice entry;
    uint64_t body_bytes;
    uint32_t body_count;
    struct raft_body bodies[]; /* one per chunk of the entry's list */
};

/* References to owner and the bodies' owners are taken. */
struct raft_item *raft_item_new(enum raft_entry_kind kind, struct raft_bytes *owner, struct cq_slice entry,
                                const struct raft_body *bodies, size_t body_count);
struct raft_item *raft_item_ref(struct raft_item *item);
void raft_item_unref(struct raft_item **item);

static inline uint64_t raft_item_size(const struct raft_item *item)
{
    return item->entry.len + item->body_bytes;
}

/* Are the bodies what the entry says (a command's chunk list; nothing for other kinds)? with_hashes: look at the
 * octets too. CQ_E_CORRUPT, CQ_E_VERSION. */
enum cq_rc raft_item_check(const struct raft_item *item, bool with_hashes, struct cq_err *err);

#endif
