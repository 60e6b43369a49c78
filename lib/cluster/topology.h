/* What the cluster looks like at one epoch: nodes, shards, who holds which slots. An immutable value behind a reference
 * count, which any threads may share. Pure.
 *
 * An account's id has its slot in the top 16 bits; ranges say which shard holds a slot; an override says it for one
 * account. Group 0 is the system shard: it holds no slots. */
#ifndef TOPOLOGY_H
#define TOPOLOGY_H

#include "base/cq_buf.h"
#include "base/cq_err.h"
#include "base/cq_limits.h"

/* clang-format off */
#define TOPOLOGY_LIMITS(X)                                                                                             \
    X(TOPOLOGY_NODES_MAX, 1024, "nodes", "Storage nodes of a cluster", "CQ_E_LIMIT")                                   \
    X(TOPOLOGY_SHARDS_MAX, 4096, "shards", "Shards of a cluster, the system shard not counted", "CQ_E_LIMIT")          \
    X(TOPOLOGY_REPLICAS_MAX, 7, "replicas", "Replicas of a shard", "CQ_E_LIMIT")                                       \
    X(TOPOLOGY_OVERRIDES_MAX, 65536, "accounts", "Accounts that are held elsewhere than their slot", "CQ_E_LIMIT")     \
    X(TOPOLOGY_MOVES_MAX, 4096, "moves", "Moves of replicas that wait or are under way", "CQ_E_LIMIT")                  \
    X(TOPOLOGY_LABEL_MAX, 63, "bytes", "A label: region, data centre, zone, host", "CQ_E_INVALID")                     \
    X(TOPOLOGY_ADDRESS_MAX, 255, "bytes", "A node's address", "CQ_E_INVALID")                                          \
    X(TOPOLOGY_ENCODED_MAX, 4u << 20, "bytes", "An encoded topology", "CQ_E_TOO_BIG")
/* clang-format on */
CQ_LIMITS_ENUM(TOPOLOGY_LIMITS);

#define TOPOLOGY_SLOTS 65536u
#define TOPOLOGY_UUID_SIZE 16
#define TOPOLOGY_NONE UINT32_MAX /* no such node */

static inline uint32_t topology_slot_of(uint64_t account)
{
    return (uint32_t)(account >> 48);
}

enum topology_node_state {
    TOPOLOGY_NODE_NONE,
    TOPOLOGY_NODE_JOINING,
    TOPOLOGY_NODE_UP,
    TOPOLOGY_NODE_DRAINING,
    TOPOLOGY_NODE_GONE
};

struct topology_node {
    uint8_t uuid[TOPOLOGY_UUID_SIZE];
    const char *address;
    const char *region, *dc, *zone, *host; /* "" when not given */
    const char *version;                   /* of its software */
    enum topology_node_state state;
    bool leaving; /* draining for good */
    uint64_t boot;
    uint32_t command_version; /* the highest that its software can apply */
};

struct topology_replica {
    uint64_t id;
    uint32_t node; /* index into nodes */
    bool voter;
};

struct topology_shard {
    uint32_t group;
    const char *home; /* data centre; "" for the system shard */
    const struct topology_replica *replicas;
    size_t replica_count;
    uint64_t preferred; /* replica id of the leader that is wanted; 0: any */
    bool moved;         /* the replicas are not the first ones any more */
};

struct topology_range {
    uint32_t first, last; /* slots, both included */
    uint32_t group;
};

struct topology_override {
    uint64_t account;
    uint32_t group;
};

/* Steps of a move, in their order; what each means is told in proto/system.proto. */
enum topology_move_step {
    TOPOLOGY_MOVE_NONE,
    TOPOLOGY_MOVE_QUEUED,
    TOPOLOGY_MOVE_ADDING,
    TOPOLOGY_MOVE_COPYING,
    TOPOLOGY_MOVE_REMOVING,
    TOPOLOGY_MOVE_CLEANING
};

struct topology_move {
    uint64_t replica, old; /* the new one (also the move's name), and the one that it takes the place of */
    uint32_t group;
    uint32_t from, to; /* indexes into nodes */
    enum topology_move_step step;
    bool cancelled;
};

/* To be read; made by topology_new and topology_decode only. */
struct topology {
    const char *cluster;
    uint64_t epoch;
    const struct topology_node *nodes; /* rising by uuid */
    size_t node_count;
    const struct topology_shard *shards; /* rising by group */
    size_t shard_count;
    const struct topology_range *ranges; /* rising, without gaps; none before the cluster is initialised */
    size_t range_count;
    const struct topology_override *overrides; /* rising by account */
    size_t override_count;
    const struct topology_move *moves; /* rising by replica */
    size_t move_count;
    uint32_t finalized_version; /* of commands (storage-node/state/command_version.h) */
};

/* A copy of `plain` (a struct filled by the caller, whose memory may go after) with one reference, after everything
 * that the comments above promise was checked: CQ_E_INVALID, CQ_E_LIMIT with a text. A command version that was left 0
 * is the first one, 1. */
enum cq_rc topology_new(const struct topology *plain, const struct topology **topology_r, struct cq_err *err);
const struct topology *topology_ref(const struct topology *topology); /* NULL gives NULL */
void topology_unref(const struct topology **topology);                /* becomes NULL; any thread */

/* As Topology of proto/system.proto. False: out's maximum. */
bool topology_encode(const struct topology *topology, struct cq_buf *out);

/* CQ_E_PROTO: does not decode; otherwise as topology_new. */
enum cq_rc topology_decode(struct cq_slice bytes, const struct topology **topology_r, struct cq_err *err);

/* The group that holds an account; 0: there is none (no map yet). */
uint32_t topology_group_of(const struct topology *topology, uint64_t account);
uint32_t topology_group_of_slot(const struct topology *topology, uint32_t slot);

/* NULL, TOPOLOGY_NONE: no such thing. */
const struct topology_shard *topology_shard(const struct topology *topology, uint32_t group);
uint32_t topology_node_index(const struct topology *topology, const uint8_t uuid[static TOPOLOGY_UUID_SIZE]);
const struct topology_replica *topology_replica(const struct topology_shard *shard, uint64_t id);
/* The shard's replica on that node. */
const struct topology_replica *topology_replica_on(const struct topology_shard *shard, uint32_t node);

/* The move with that new replica; NULL. */
const struct topology_move *topology_move(const struct topology *topology, uint64_t replica);

/* The lowest and the highest command version that the nodes which have not gone can apply; 0 without any. */
void topology_versions(const struct topology *topology, uint32_t *lowest_r, uint32_t *highest_r);

/* Do two topologies differ in nothing but the epoch? */
bool topology_same(const struct topology *a, const struct topology *b);

#endif
