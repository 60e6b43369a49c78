/* Which nodes hold a shard's replicas, where shards are at home, and which slot a new account gets. Pure. */
#ifndef PLACEMENT_H
#define PLACEMENT_H

#include "base/cq_pool.h"
#include "cluster/ring.h"
#include "cluster/topology.h"

#define PLACEMENT_SHARDS 64 /* default */
#define PLACEMENT_REPLICAS 3

/* Replicas for one group: walks the ring of the nodes that are UP and takes the first of the home data centre, then
 * nodes of data centres that have none yet, then of zones, then of hosts, then any, until there are `want`.
 * Indexes into topology->nodes; returns how many there are (fewer when nodes are missing). `home` "": anywhere. */
size_t placement_replicas(const struct topology_node *nodes, size_t node_count, const struct ring *ring, uint32_t group,
                          const char *home, size_t want, uint32_t *nodes_r);

/* One node more for a group that keeps replicas on the nodes of `kept`: one of the home data centre when none of them
 * is there, else by the same walk and levels. False: no other node is UP. */
bool placement_one_more(const struct topology_node *nodes, size_t node_count, const struct ring *ring, uint32_t group,
                        const char *home, const uint32_t *kept, size_t kept_count, uint32_t *node_r);

/* The ring of these nodes' uuids: what placement_replicas wants. */
struct ring *placement_ring(const struct topology_node *nodes, size_t node_count);

/* The first map of a new cluster: shards 1..shard_count with homes in turn over the data centres of the nodes that are
 * UP, their replicas (ids from *next_replica on, which moves), a preferred leader in the home (the node that leads the
 * fewest so far), and all slots in equal ranges. All arrays live in the pool. */
void placement_first_map(const struct topology_node *nodes, size_t node_count, uint32_t shard_count, size_t replicas,
                         uint64_t *next_replica, struct cq_pool *pool, struct topology_shard **shards_r,
                         struct topology_range **ranges_r);

/* ---- New accounts. `address` is normalised by the caller: the same account must always give the same bytes. ---- */

/* The data centre of an account that nobody chose one for: spread over the homes by the address's hash. NULL: there is
 * no map yet. Borrowed from the topology. */
const char *placement_home(const struct topology *topology, struct cq_slice address);

/* A slot among those whose home is that data centre, by the address's hash. False: no slot is at home there. */
bool placement_slot(const struct topology *topology, const char *home, struct cq_slice address, uint32_t *slot_r);

/* The id of a new account: its slot and 48 random bits, never 0 in them. */
uint64_t placement_account_id(uint32_t slot, uint64_t random);

#endif
