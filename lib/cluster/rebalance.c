#include "cluster/rebalance.h"

#include "base/cq_mem.h"
#include "cluster/placement.h"

#include <stdlib.h>

/* Nodes that will hold a shard when all moves that are planned have ended. */
struct holders {
    uint32_t nodes[2 * TOPOLOGY_REPLICAS_MAX];
    size_t count;
};

static bool counts(const struct topology_move *move, uint32_t group)
{
    return move->group == group && !move->cancelled;
}

static const struct topology_move *move_from(const struct topology *t, uint32_t group, uint32_t node)
{
    for (size_t i = 0; i < t->move_count; i++)
        if (counts(&t->moves[i], group) && t->moves[i].from == node)
            return &t->moves[i];
    return NULL;
}

static const struct topology_move *move_to(const struct topology *t, uint32_t group, uint32_t node)
{
    for (size_t i = 0; i < t->move_count; i++)
        if (t->moves[i].group == group && t->moves[i].to == node)
            return &t->moves[i];
    return NULL;
}

static bool holds(const struct holders *h, uint32_t node)
{
    for (size_t i = 0; i < h->count; i++)
        if (h->nodes[i] == node)
            return true;
    return false;
}

static void add(struct holders *h, uint32_t node)
{
    if (!holds(h, node) && h->count < sizeof h->nodes / sizeof *h->nodes)
        h->nodes[h->count++] = node;
}

static struct holders holders_of(const struct topology *t, const struct topology_shard *shard)
{
    struct holders h = {.count = 0};
    for (size_t i = 0; i < shard->replica_count; i++) {
        uint32_t node = shard->replicas[i].node;
        const struct topology_move *to = move_to(t, shard->group, node);
        if (!move_from(t, shard->group, node) && !(to && to->cancelled))
            add(&h, node);
    }
    for (size_t i = 0; i < t->move_count; i++)
        if (counts(&t->moves[i], shard->group))
            add(&h, t->moves[i].to);
    return h;
}

static void drop(struct holders *h, uint32_t node)
{
    size_t kept = 0;
    for (size_t i = 0; i < h->count; i++)
        if (h->nodes[i] != node)
            h->nodes[kept++] = h->nodes[i];
    h->count = kept;
}

/* ---- How far apart they are ---- */

static bool same_dc(const struct topology_node *a, const struct topology_node *b)
{
    return strcmp(a->dc, b->dc) == 0;
}

static bool same_zone(const struct topology_node *a, const struct topology_node *b)
{
    return same_dc(a, b) && strcmp(a->zone, b->zone) == 0;
}

static size_t spread(const struct topology *t, const struct holders *h,
                     bool (*same)(const struct topology_node *a, const struct topology_node *b))
{
    size_t kinds = 0;
    for (size_t i = 0; i < h->count; i++) {
        bool first = true;
        for (size_t k = 0; k < i && first; k++)
            first = !same(&t->nodes[h->nodes[i]], &t->nodes[h->nodes[k]]);
        kinds += first;
    }
    return kinds;
}

static enum cq_rc check_spread(const struct topology *t, uint32_t group, const struct holders *before,
                               const struct holders *after, struct cq_err *err)
{
    size_t dcs = spread(t, after, same_dc), had_dcs = spread(t, before, same_dc);
    size_t zones = spread(t, after, same_zone), had_zones = spread(t, before, same_zone);
    if (dcs < had_dcs)
        return CQ_FAIL(err, CQ_E_NO_SPACE,
                       "the replicas of shard %u would be in %zu data centres instead of %zu; --force does it anyway",
                       group, dcs, had_dcs);
    if (zones < had_zones)
        return CQ_FAIL(err, CQ_E_NO_SPACE,
                       "the replicas of shard %u would be in %zu zones instead of %zu; --force does it anyway", group,
                       zones, had_zones);
    return CQ_OK;
}

/* ---- Joining ---- */

static bool in(const uint32_t *nodes, size_t count, uint32_t node)
{
    for (size_t i = 0; i < count; i++)
        if (nodes[i] == node)
            return true;
    return false;
}

/* The replica that gives way to `node`: the ring does not name its node any more, it does not move yet, and without it
 * the replicas are as far apart as before. The last one when there are several. */
static const struct topology_replica *gives_way(const struct topology *t, const struct topology_shard *shard,
                                                const struct holders *h, const uint32_t *wanted, size_t count,
                                                uint32_t node)
{
    const struct topology_replica *found = NULL;
    for (size_t i = 0; i < shard->replica_count; i++) {
        const struct topology_replica *r = &shard->replicas[i];
        struct holders after = *h;
        drop(&after, r->node);
        add(&after, node);
        if (holds(h, r->node) && !in(wanted, count, r->node) && !move_to(t, shard->group, r->node) &&
            check_spread(t, shard->group, h, &after, NULL) == CQ_OK)
            found = r;
    }
    return found;
}

/* A node that is only drained keeps its replicas, so it keeps its place. */
static struct topology_node *staying_nodes(const struct topology *t)
{
    struct topology_node *nodes = cq_calloc(t->node_count + 1, sizeof *nodes);
    for (size_t i = 0; i < t->node_count; i++) {
        nodes[i] = t->nodes[i];
        if (nodes[i].state == TOPOLOGY_NODE_DRAINING && !nodes[i].leaving)
            nodes[i].state = TOPOLOGY_NODE_UP;
    }
    return nodes;
}

size_t rebalance_join(const struct topology *t, uint32_t node, struct planned_move *moves_r)
{
    struct topology_node *nodes = staying_nodes(t);
    struct ring *ring = placement_ring(nodes, t->node_count);
    size_t planned = 0;
    for (size_t i = 0; i < t->shard_count; i++) {
        const struct topology_shard *shard = &t->shards[i];
        struct holders h = holders_of(t, shard);
        uint32_t wanted[2 * TOPOLOGY_REPLICAS_MAX];
        size_t count = placement_replicas(nodes, t->node_count, ring, shard->group, shard->home, h.count, wanted);
        const struct topology_replica *old = gives_way(t, shard, &h, wanted, count, node);
        if (!in(wanted, count, node) || holds(&h, node) || topology_replica_on(shard, node) || !old)
            continue;
        moves_r[planned++] =
            (struct planned_move){.group = shard->group, .old = old->id, .from = old->node, .to = node};
    }
    ring_free(&ring);
    free(nodes);
    return planned;
}

/* ---- Leaving ---- */

static enum cq_rc leave_one(const struct topology *t, const struct topology_shard *shard, const struct ring *ring,
                            uint32_t node, bool force, struct planned_move *move_r, struct cq_err *err)
{
    struct holders before = holders_of(t, shard), after = before;
    uint32_t to;
    drop(&after, node);
    for (size_t i = 0; i < shard->replica_count; i++) /* one that is on its way out is in nobody's way for long */
        add(&after, shard->replicas[i].node);
    drop(&after, node);
    if (!placement_one_more(t->nodes, t->node_count, ring, shard->group, shard->home, after.nodes, after.count, &to))
        return CQ_FAIL(err, CQ_E_NO_SPACE,
                       "shard %u: no other node could hold its replica; nodes that are up are needed for %zu replicas",
                       shard->group, before.count);
    after = before;
    drop(&after, node);
    add(&after, to);
    *move_r = (struct planned_move){
        .group = shard->group, .old = topology_replica_on(shard, node)->id, .from = node, .to = to};
    return force ? CQ_OK : check_spread(t, shard->group, &before, &after, err);
}

enum cq_rc rebalance_leave(const struct topology *t, uint32_t node, bool force, struct planned_move *moves_r,
                           size_t *count_r, struct cq_err *err)
{
    struct ring *ring = placement_ring(t->nodes, t->node_count);
    enum cq_rc rc = CQ_OK;
    *count_r = 0;
    for (size_t i = 0; i < t->shard_count && rc == CQ_OK; i++) {
        const struct topology_shard *shard = &t->shards[i];
        if (!topology_replica_on(shard, node) || move_from(t, shard->group, node) || move_to(t, shard->group, node))
            continue;
        rc = leave_one(t, shard, ring, node, force, &moves_r[*count_r], err);
        *count_r += rc == CQ_OK;
    }
    ring_free(&ring);
    return rc;
}

/* ---- One ---- */

enum cq_rc rebalance_one(const struct topology *t, uint32_t group, uint32_t from, uint32_t to, bool force,
                         struct planned_move *move_r, struct cq_err *err)
{
    const struct topology_shard *shard = topology_shard(t, group);
    const struct topology_replica *old = shard ? topology_replica_on(shard, from) : NULL;
    if (!shard)
        return CQ_FAIL(err, CQ_E_NOT_FOUND, "there is no shard %u", group);
    if (!old)
        return CQ_FAIL(err, CQ_E_NOT_FOUND, "shard %u has no replica on that node", group);
    if (move_from(t, group, from) || move_to(t, group, from))
        return CQ_FAIL(err, CQ_E_CONFLICT, "that replica of shard %u moves already", group);
    if (t->nodes[to].state != TOPOLOGY_NODE_UP)
        return CQ_FAIL(err, CQ_E_DENIED, "the node that it should go to is not up; see chasquictl node list");
    if (topology_replica_on(shard, to) || move_to(t, group, to))
        return CQ_FAIL(err, CQ_E_CONFLICT, "shard %u has a replica on that node, or one goes there already", group);
    *move_r = (struct planned_move){.group = group, .old = old->id, .from = from, .to = to};
    struct holders before = holders_of(t, shard), after = before;
    drop(&after, from);
    add(&after, to);
    return force ? CQ_OK : check_spread(t, group, &before, &after, err);
}
