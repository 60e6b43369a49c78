#include "router/routes.h"

#include "base/cq_mem.h"

#include <stdlib.h>

struct leader {
    uint64_t term;
    uint64_t replica;
};

struct routes {
    char dc[TOPOLOGY_LABEL_MAX + 1];
    const struct topology *topology;
    struct leader leaders[TOPOLOGY_SHARDS_MAX + 1]; /* by group */
};

struct routes *routes_new(const char *dc)
{
    struct routes *routes = cq_new(struct routes);
    strncpy(routes->dc, dc, sizeof routes->dc - 1);
    return routes;
}

void routes_free(struct routes **routes)
{
    if (!*routes)
        return;
    topology_unref(&(*routes)->topology);
    free(*routes);
    *routes = NULL;
}

bool routes_set_topology(struct routes *routes, const struct topology *topology)
{
    if (routes->topology && topology->epoch <= routes->topology->epoch)
        return false;
    topology_unref(&routes->topology);
    routes->topology = topology_ref(topology);
    return true;
}

const struct topology *routes_topology(const struct routes *routes)
{
    return routes->topology;
}

uint64_t routes_epoch(const struct routes *routes)
{
    return routes->topology ? routes->topology->epoch : 0;
}

void routes_leader(struct routes *routes, uint32_t group, uint64_t term, uint64_t replica)
{
    if (group > TOPOLOGY_SHARDS_MAX)
        return;
    struct leader *leader = &routes->leaders[group];
    if (term < leader->term || (term == leader->term && replica == 0))
        return;
    *leader = (struct leader){term, replica};
}

void routes_not_leader(struct routes *routes, uint32_t group, uint64_t asked, uint64_t hint)
{
    if (group > TOPOLOGY_SHARDS_MAX)
        return;
    struct leader *leader = &routes->leaders[group];
    if (hint && hint != asked)
        leader->replica = hint;
    else if (leader->replica == asked)
        leader->replica = 0;
}

uint64_t routes_leader_of(const struct routes *routes, uint32_t group)
{
    return group <= TOPOLOGY_SHARDS_MAX ? routes->leaders[group].replica : 0;
}

/* The replica's place in the shard when it was not tried yet; else the number of replicas. */
static size_t place_of(const struct topology_shard *shard, uint64_t replica, uint32_t tried)
{
    for (size_t i = 0; replica && i < shard->replica_count; i++)
        if (shard->replicas[i].id == replica && !(tried >> i & 1))
            return i;
    return shard->replica_count;
}

static size_t place_near(const struct routes *routes, const struct topology_shard *shard, uint32_t tried)
{
    for (size_t i = 0; routes->dc[0] && i < shard->replica_count; i++)
        if (shard->replicas[i].voter && !(tried >> i & 1) &&
            !strcmp(routes->topology->nodes[shard->replicas[i].node].dc, routes->dc))
            return i;
    return shard->replica_count;
}

static size_t place_any(const struct topology_shard *shard, uint32_t tried)
{
    for (size_t i = 0; i < shard->replica_count; i++)
        if (!(tried >> i & 1))
            return i;
    return shard->replica_count;
}

const struct topology_replica *routes_pick(const struct routes *routes, uint32_t group, enum routes_want want,
                                           uint32_t *tried)
{
    const struct topology_shard *shard = routes->topology ? topology_shard(routes->topology, group) : NULL;
    if (!shard)
        return NULL;
    size_t none = shard->replica_count;
    size_t place = want == ROUTES_NEAREST && *tried == 0 ? place_near(routes, shard, *tried) : none;
    if (place == none)
        place = place_of(shard, routes_leader_of(routes, group), *tried);
    if (place == none)
        place = place_of(shard, shard->preferred, *tried);
    if (place == none)
        place = place_any(shard, *tried);
    if (place == none)
        return NULL;
    *tried |= 1u << place;
    return &shard->replicas[place];
}
