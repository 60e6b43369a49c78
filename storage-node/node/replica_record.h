/* Which groups' replicas this node holds: one record a group in STORE_LOCAL (docs/formats/local.md), written in the
 * batch that makes the replica and read at each start. Pure, except for the store. */
#ifndef REPLICA_RECORD_H
#define REPLICA_RECORD_H

#include "base/cq_err.h"
#include "store/store.h"

struct replica_record {
    uint32_t group;
    uint32_t generation;  /* part of the state's keys: 1 */
    uint64_t replica;     /* its Raft id, from the system shard */
    uint64_t incarnation; /* of the group: part of its chunks' ids */
};

/* The first incarnation of a group: unique among groups, with room for those after forced recoveries. */
static inline uint64_t group_first_incarnation(uint32_t group)
{
    return ((uint64_t)group << 32) | 1;
}

void replica_record_put(struct store_batch *batch, const struct replica_record *record);

/* The largest replica id that was ever made here (docs/formats/local.md, kind `i`): one that is not larger and not here
 * has been lost, with what it voted and acknowledged, and must never be made again. REPLICA_FLOOR_UNKNOWN: this node
 * has lost its store, so that is so for all replicas that the first topology names. */
#define REPLICA_FLOOR_UNKNOWN UINT64_MAX
void replica_floor_put(struct store_batch *batch, uint64_t id);
/* Without a record: the largest id among the replicas that are here, 0 when there are none. */
enum cq_rc replica_floor_read(struct store *store, uint64_t *id_r, struct cq_err *err);

/* A store that was lost had these with it (kind `l`): 0 when none was. A replica that a move brings here, and that is
 * not here, is new when its id is above; else it was lost. */
void replica_lost_put(struct store_batch *batch, uint64_t id);
enum cq_rc replica_lost_read(struct store *store, uint64_t *id_r, struct cq_err *err);

/* Everything that the store has of a replica that was removed goes, in one batch: there is no half of it after a crash.
 */
void replica_erase(struct store_batch *batch, const struct replica_record *record);

/* All of them, in the order of their groups: *count_r <= max. CQ_E_LIMIT, CQ_E_VERSION, CQ_E_CORRUPT, CQ_E_IO. */
enum cq_rc replica_records_read(struct store *store, struct replica_record *records_r, size_t max, size_t *count_r,
                                struct cq_err *err);

/* ---- Replicas that do not know what they have promised (docs/formats/local.md, kind `w`) ---- */

enum replica_withheld {
    REPLICA_KEPT = 0,
    REPLICA_FORGETS = 1, /* the store came back without what it once had synced */
    REPLICA_REFUTED = 2  /* its log does not read, or contradicts what its group has committed */
};

/* The replica takes part in nothing until a new one, of another id, has taken its place; what it has stays until then.
 */
void replica_withhold_put(struct store_batch *batch, uint32_t group, enum replica_withheld why);
void replica_withhold_delete(struct store_batch *batch, uint32_t group);
/* *why_r is REPLICA_KEPT when there is no such record. CQ_E_CORRUPT, CQ_E_VERSION, CQ_E_IO. */
enum cq_rc replica_withheld_read(struct store *store, uint32_t group, enum replica_withheld *why_r, struct cq_err *err);

/* For all replicas of a store that has forgotten, into one batch. *count_r: how many. It may have forgotten others as a
 * whole: the floor of ids is not known any more, so none that the map says is here is made again under its id. */
enum cq_rc replica_withhold_all(struct store *store, struct store_batch *batch, size_t *count_r, struct cq_err *err);

#endif
