#include "cluster/rebalance.h"

#include "cluster/placement.h"
#include "unit/cluster/cluster_fixture.h"
#include "unit/cq_cmocka.h"

#define SHARDS 64

struct world {
    struct cq_pool *pool;
    struct topology_node nodes[8];
    struct topology_shard *shards;
    struct topology_move moves[256];
    struct topology t;
    uint64_t next;
};

static const char *const dcs[] = {"a", "b", "c", "d"};

/* `first` nodes begin the cluster, then there are `all`; in as many data centres as there are letters in use. */
static void world_fill(struct world *w, uint32_t first, uint32_t all, uint32_t dc_count)
{
    struct topology_range *ranges;
    *w = (struct world){.pool = cq_pool_new(4096), .next = 1};
    for (uint32_t i = 0; i < all; i++) {
        w->nodes[i] = fixture_node(i, dcs[i % dc_count], "", "");
        w->nodes[i].state = i < first ? TOPOLOGY_NODE_UP : TOPOLOGY_NODE_JOINING;
        w->nodes[i].boot = i;
    }
    fixture_sort(w->nodes, all);
    placement_first_map(w->nodes, all, SHARDS, 3, &w->next, w->pool, &w->shards, &ranges);
    w->t = (struct topology){.cluster = "c",
                             .epoch = 1,
                             .nodes = w->nodes,
                             .node_count = all,
                             .shards = w->shards,
                             .shard_count = SHARDS,
                             .moves = w->moves};
}

static uint32_t node_number(const struct world *w, uint64_t number)
{
    for (uint32_t i = 0; i < w->t.node_count; i++)
        if (w->nodes[i].boot == number)
            return i;
    return TOPOLOGY_NONE;
}

static void take_moves(struct world *w, const struct planned_move *moves, size_t count)
{
    for (size_t i = 0; i < count; i++)
        w->moves[w->t.move_count++] = (struct topology_move){.replica = w->next++,
                                                             .old = moves[i].old,
                                                             .group = moves[i].group,
                                                             .from = moves[i].from,
                                                             .to = moves[i].to,
                                                             .step = TOPOLOGY_MOVE_QUEUED};
}

/* As if all moves had ended. */
static void carry_out(struct world *w)
{
    for (size_t m = 0; m < w->t.move_count; m++)
        for (size_t s = 0; s < SHARDS; s++) {
            struct topology_replica *replicas = (struct topology_replica *)(uintptr_t)w->shards[s].replicas;
            for (size_t r = 0; w->shards[s].group == w->moves[m].group && r < w->shards[s].replica_count; r++)
                if (replicas[r].id == w->moves[m].old)
                    replicas[r] =
                        (struct topology_replica){.id = w->moves[m].replica, .node = w->moves[m].to, .voter = true};
        }
    w->t.move_count = 0;
}

/* Is every shard where the ring of the nodes that are up wants it? */
static bool is_as_the_ring_says(const struct world *w)
{
    struct ring *ring = placement_ring(w->nodes, w->t.node_count);
    bool same = true;
    for (size_t s = 0; s < SHARDS; s++) {
        uint32_t wanted[TOPOLOGY_REPLICAS_MAX];
        size_t count =
            placement_replicas(w->nodes, w->t.node_count, ring, w->shards[s].group, w->shards[s].home, 3, wanted);
        for (size_t i = 0; i < count; i++)
            same = same && topology_replica_on(&w->shards[s], wanted[i]);
    }
    ring_free(&ring);
    return same;
}

static void a_node_that_joins_gets_its_share_and_nothing_else_moves(void **state)
{
    (void)state;
    for (uint32_t dc_count = 1; dc_count <= 3; dc_count++)
        for (uint32_t first = 3; first < 7; first++) {
            struct world w;
            struct planned_move moves[SHARDS];
            world_fill(&w, first, first + 1, dc_count);
            assert_true(is_as_the_ring_says(&w));
            uint32_t node = node_number(&w, first);
            w.nodes[node].state = TOPOLOGY_NODE_UP;
            size_t count = rebalance_join(&w.t, node, moves);
            assert_true(count > 0 && count < SHARDS);
            for (size_t i = 0; i < count; i++)
                assert_true(moves[i].to == node && moves[i].from != node);
            take_moves(&w, moves, count);
            struct planned_move again[SHARDS];
            assert_int_equal(rebalance_join(&w.t, node, again), 0); /* what moves already counts */
            carry_out(&w);
            assert_true(is_as_the_ring_says(&w));
            assert_int_equal(rebalance_join(&w.t, node, again), 0);
            cq_pool_free(&w.pool);
        }
}

static void a_node_that_leaves_gives_its_share_back_to_the_ring(void **state)
{
    (void)state;
    for (uint32_t dc_count = 1; dc_count <= 3; dc_count++)
        for (uint32_t all = 4; all <= 7; all++) {
            struct world w;
            struct planned_move moves[SHARDS];
            struct cq_err err = {0};
            size_t count;
            world_fill(&w, all, all, dc_count);
            uint32_t node = node_number(&w, 3); /* not the only one of its data centre */
            w.nodes[node].state = TOPOLOGY_NODE_DRAINING;
            assert_int_equal(rebalance_leave(&w.t, node, false, moves, &count, &err), CQ_OK);
            size_t held = 0;
            for (size_t s = 0; s < SHARDS; s++)
                held += topology_replica_on(&w.shards[s], node) != NULL;
            assert_int_equal(count, held);
            take_moves(&w, moves, count);
            assert_int_equal(rebalance_leave(&w.t, node, false, moves, &count, &err), CQ_OK);
            assert_int_equal(count, 0);
            carry_out(&w);
            assert_true(is_as_the_ring_says(&w));
            cq_pool_free(&w.pool);
        }
}

static size_t data_centres(const struct world *w, const struct topology_shard *shard, const struct planned_move *move)
{
    unsigned seen = 0;
    for (size_t r = 0; r < shard->replica_count; r++) {
        uint32_t node = shard->replicas[r].id == move->old ? move->to : shard->replicas[r].node;
        seen |= 1u << w->nodes[node].dc[0] % 32;
    }
    return (size_t)__builtin_popcount(seen);
}

/* The first one's moves were taken back, so the ring names two nodes that hold nothing: the replica that gives way is
 * one of the same data centre, whatever their order. */
static void who_joins_takes_no_data_centre_away(void **state)
{
    (void)state;
    struct world w;
    struct planned_move moves[SHARDS];
    world_fill(&w, 3, 5, 3);
    w.nodes[node_number(&w, 3)].state = w.nodes[node_number(&w, 4)].state = TOPOLOGY_NODE_UP;
    for (uint64_t joins = 3; joins < 5; joins++) {
        size_t count = rebalance_join(&w.t, node_number(&w, joins), moves);
        assert_true(count > 0);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(data_centres(&w, topology_shard(&w.t, moves[i].group), &moves[i]), 3);
    }
    cq_pool_free(&w.pool);
}

static void a_drained_node_keeps_its_place(void **state)
{
    (void)state;
    struct world w;
    struct planned_move moves[SHARDS], drained[SHARDS];
    world_fill(&w, 4, 5, 1);
    w.nodes[node_number(&w, 4)].state = TOPOLOGY_NODE_UP;
    size_t count = rebalance_join(&w.t, node_number(&w, 4), moves);
    w.nodes[node_number(&w, 1)].state = TOPOLOGY_NODE_DRAINING;
    assert_int_equal(rebalance_join(&w.t, node_number(&w, 4), drained), count);
    for (size_t i = 0; i < count; i++)
        assert_true(moves[i].old == drained[i].old && moves[i].from == drained[i].from);
    w.nodes[node_number(&w, 1)].leaving = true;
    assert_true(rebalance_join(&w.t, node_number(&w, 4), drained) > count);
    cq_pool_free(&w.pool);
}

static void the_last_nodes_cannot_leave(void **state)
{
    (void)state;
    struct world w;
    struct planned_move moves[SHARDS];
    struct cq_err err = {0};
    size_t count;
    world_fill(&w, 3, 3, 1);
    w.nodes[0].state = TOPOLOGY_NODE_DRAINING;
    assert_int_equal(rebalance_leave(&w.t, 0, true, moves, &count, &err), CQ_E_NO_SPACE);
    assert_non_null(strstr(err.text, "no other node"));
    cq_pool_free(&w.pool);
}

static void fewer_data_centres_need_force(void **state)
{
    (void)state;
    struct world w;
    struct planned_move moves[SHARDS];
    struct cq_err err = {0};
    size_t count;
    world_fill(&w, 5, 5, 3); /* a b c a b: the third is alone in c */
    uint32_t alone = node_number(&w, 2);
    w.nodes[alone].state = TOPOLOGY_NODE_DRAINING;
    assert_int_equal(rebalance_leave(&w.t, alone, false, moves, &count, &err), CQ_E_NO_SPACE);
    assert_non_null(strstr(err.text, "2 data centres instead of 3"));
    assert_int_equal(rebalance_leave(&w.t, alone, true, moves, &count, &err), CQ_OK);
    assert_int_equal(count, SHARDS);
    cq_pool_free(&w.pool);
}

static void one_move_is_judged(void **state)
{
    (void)state;
    struct world w;
    struct planned_move move;
    struct cq_err err = {0};
    world_fill(&w, 4, 5, 1);
    const struct topology_shard *shard = &w.shards[0];
    uint32_t from = shard->replicas[0].node, free_node = 0, joining = node_number(&w, 4);
    while (topology_replica_on(shard, free_node) || free_node == joining)
        free_node++;
    assert_int_equal(rebalance_one(&w.t, shard->group, from, free_node, false, &move, &err), CQ_OK);
    assert_true(move.old == shard->replicas[0].id && move.from == from && move.to == free_node);
    assert_int_equal(rebalance_one(&w.t, 999, from, free_node, false, &move, &err), CQ_E_NOT_FOUND);
    assert_int_equal(rebalance_one(&w.t, shard->group, free_node, from, false, &move, &err), CQ_E_NOT_FOUND);
    assert_int_equal(rebalance_one(&w.t, shard->group, from, shard->replicas[1].node, false, &move, &err),
                     CQ_E_CONFLICT);
    assert_int_equal(rebalance_one(&w.t, shard->group, from, joining, false, &move, &err), CQ_E_DENIED);
    assert_int_equal(rebalance_one(&w.t, shard->group, from, free_node, false, &move, &err), CQ_OK);
    take_moves(&w, &move, 1);
    assert_int_equal(rebalance_one(&w.t, shard->group, from, free_node, false, &move, &err), CQ_E_CONFLICT);
    assert_int_equal(rebalance_one(&w.t, shard->group, shard->replicas[1].node, free_node, false, &move, &err),
                     CQ_E_CONFLICT);
    cq_pool_free(&w.pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_that_joins_gets_its_share_and_nothing_else_moves),
        cmocka_unit_test(a_node_that_leaves_gives_its_share_back_to_the_ring),
        cmocka_unit_test(who_joins_takes_no_data_centre_away),
        cmocka_unit_test(a_drained_node_keeps_its_place),
        cmocka_unit_test(the_last_nodes_cannot_leave),
        cmocka_unit_test(fewer_data_centres_need_force),
        cmocka_unit_test(one_move_is_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
