/* Frames between Raft hosts, byte by byte in docs/formats/raft-frame.md: a head with messages of any number of groups,
 * then the octets of all bodies that their entries carry, in order. Pure. Private to raft/. */
#ifndef RAFT_WIRE_H
#define RAFT_WIRE_H

#include "base/cq_buf.h"
#include "base/cq_pool.h"
#include "raft_item.h"
#include "raft/raft_host.h"

#define RAFT_WIRE_VERSION 1
#define RAFT_WIRE_FRAME_HEAD 8

enum raft_wire_type {
    RAFT_WIRE_VOTE_REQUEST = 1,
    RAFT_WIRE_VOTE_RESULT,
    RAFT_WIRE_APPEND,
    RAFT_WIRE_APPEND_RESULT,
    RAFT_WIRE_TIMEOUT_NOW,
    RAFT_WIRE_CONFIRM,
    RAFT_WIRE_CONFIRM_RESULT,
    RAFT_WIRE_TYPE_END
};

enum { /* flags */
       RAFT_WIRE_DISRUPT = 1,
       RAFT_WIRE_PRE_VOTE = 2,
       RAFT_WIRE_GRANTED = 4,
       RAFT_WIRE_BEHIND = 8,
       RAFT_WIRE_LAST = 16,
       RAFT_WIRE_SILENT = 32
};

struct raft_wire_entry {
    uint64_t term;
    struct raft_item *item;
};

struct raft_wire_row { /* of a read round */
    uint32_t group;
    uint64_t replica; /* of the node that is asked */
    uint64_t term;    /* in the question only */
};

struct raft_wire {
    enum raft_wire_type type;
    uint8_t flags;
    uint32_t group;
    uint64_t from, to; /* replicas; 0 in read rounds, which are between nodes */
    uint64_t term;
    uint64_t index;      /* last index (votes, TIMEOUT_NOW, results), previous index (append) */
    uint64_t index_term; /* of that entry */
    uint64_t rejected;   /* append result: the rejected previous index, 0: accepted */
    uint64_t commit, floor;
    uint64_t round;
    uint32_t count; /* entries or rows */
    struct raft_wire_entry *entries;
    struct raft_wire_row *rows;
};

/* A frame that is being built. */
struct raft_wire_out {
    struct cq_buf head; /* starts with room for the frame's head */
    struct raft_body *bodies;
    size_t body_count, body_cap;
    uint64_t body_bytes;
    uint32_t messages, entries;
};
void raft_wire_out_init(struct raft_wire_out *out);
void raft_wire_out_fini(struct raft_wire_out *out);
static inline bool raft_wire_out_empty(const struct raft_wire_out *out)
{
    return out->messages == 0;
}
static inline uint64_t raft_wire_out_size(const struct raft_wire_out *out)
{
    return out->head.len + out->body_bytes;
}
/* Appends a message; bodies of its entries are referenced. */
void raft_wire_add(struct raft_wire_out *out, const struct raft_wire *message);
/* What an entry adds to a frame. */
static inline uint64_t raft_wire_entry_size(const struct raft_item *item)
{
    return 16 + raft_item_size(item);
}
/* The finished frame, valid until the next call on out; raft_wire_out_reset() empties it. */
struct raft_frame raft_wire_finish(struct raft_wire_out *out);
void raft_wire_out_reset(struct raft_wire_out *out);

/* Decodes all of a frame: lengths, kinds, and for each entry its own checksum, chunk lengths and hashes. Messages live
 * in the pool; entries' items are released by raft_wire_release(). CQ_E_PROTO, CQ_E_VERSION, CQ_E_CORRUPT: nothing to
 * release. */
struct raft_wire_in {
    struct raft_wire *messages;
    size_t count;
};
enum cq_rc raft_wire_decode(struct raft_bytes *frame, struct cq_pool *pool, struct raft_wire_in *in_r,
                            struct cq_err *err);
void raft_wire_release(struct raft_wire_in *in);

#endif
