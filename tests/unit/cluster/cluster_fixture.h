/* Nodes for the tests of lib/cluster: node i has uuid bytes made from i and the labels that are asked for. */
#ifndef CLUSTER_FIXTURE_H
#define CLUSTER_FIXTURE_H

#include "base/cq_endian.h"
#include "base/cq_hash.h"
#include "cluster/topology.h"

#include <stdlib.h>

static inline void fixture_uuid(uint8_t uuid[static 16], uint32_t number)
{
    /* Spread: neighbours in number are not neighbours in bytes. */
    uint8_t seed[4];
    cq_put_be32(seed, number);
    cq_put_be64(uuid, cq_xxh3_64_seed(cq_slice_of(seed, 4), 1));
    cq_put_be64(uuid + 8, cq_xxh3_64_seed(cq_slice_of(seed, 4), 2));
}

static inline struct topology_node fixture_node(uint32_t number, const char *dc, const char *zone, const char *host)
{
    struct topology_node node = {.address = "127.0.0.1:1",
                                 .region = "r",
                                 .dc = dc,
                                 .zone = zone,
                                 .host = host,
                                 .version = "",
                                 .state = TOPOLOGY_NODE_UP};
    fixture_uuid(node.uuid, number);
    return node;
}

static inline int fixture_node_cmp(const void *a, const void *b)
{
    return memcmp(((const struct topology_node *)a)->uuid, ((const struct topology_node *)b)->uuid, 16);
}

static inline void fixture_sort(struct topology_node *nodes, size_t count)
{
    qsort(nodes, count, sizeof *nodes, fixture_node_cmp);
}

#endif
