/* Where a request goes: account → group → replica → node, by the latest topology and by what is known of leaders. Pure:
 * no clock, no socket; one per worker. */
#ifndef ROUTER_ROUTES_H
#define ROUTER_ROUTES_H

#include "cluster/topology.h"

struct routes;

/* dc: the data centre of this router, "" when it has none. Copied. */
struct routes *routes_new(const char *dc);
void routes_free(struct routes **routes);

/* Takes a reference. True: it is newer than the present one and is used from now on; what is known of leaders stays. */
bool routes_set_topology(struct routes *routes, const struct topology *topology);

/* Borrowed until the next routes_set_topology; NULL before the first. */
const struct topology *routes_topology(const struct routes *routes);
uint64_t routes_epoch(const struct routes *routes); /* 0 before the first */

/* A node says who leads a group in a term. Older terms change nothing; replica 0: nobody is known in that term. */
void routes_leader(struct routes *routes, uint32_t group, uint64_t term, uint64_t replica);

/* A replica that was asked does not lead (or is not there); it names another one, or 0. */
void routes_not_leader(struct routes *routes, uint32_t group, uint64_t asked, uint64_t hint);

/* The replica that is believed to lead; 0: unknown. */
uint64_t routes_leader_of(const struct routes *routes, uint32_t group);

enum routes_want {
    ROUTES_LEADER,
    ROUTES_NEAREST /* a replica in our data centre first: for what any replica may answer */
};

/* The next replica to ask that is not in *tried (bits by its place in the shard, 0 at first), which it joins: the
 * nearest if wanted, the leader, the preferred leader, then the others. NULL: all have been tried, or there is no such
 * group. */
const struct topology_replica *routes_pick(const struct routes *routes, uint32_t group, enum routes_want want,
                                           uint32_t *tried);

#endif
