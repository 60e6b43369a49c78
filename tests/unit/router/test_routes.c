#include "router/routes.h"

#include "unit/cluster/cluster_fixture.h"
#include "unit/cq_cmocka.h"

/* Nodes 0, 1, 2 in a, b, c; shard 1 on all, replicas 11, 12, 13, preferred 12; shard 2 has replicas 21, 22, none
 * preferred. The nodes' indexes are those after sorting. */
static struct topology_node nodes[3];

static const struct topology *make(uint64_t epoch, uint64_t first_replica)
{
    static const char *const dcs[] = {"a", "b", "c"};
    const struct topology *t = NULL;
    for (uint32_t i = 0; i < 3; i++)
        nodes[i] = fixture_node(i, dcs[i], "", "");
    fixture_sort(nodes, 3);
    for (uint32_t i = 0; i < 3; i++)
        nodes[i].dc = dcs[i];
    const struct topology_replica one[] = {{first_replica, 0, true}, {12, 1, true}, {13, 2, true}};
    const struct topology_replica two[] = {{21, 0, true}, {22, 1, true}};
    const struct topology_shard shards[] = {
        {.group = 1, .home = "a", .replicas = one, .replica_count = 3, .preferred = 12},
        {.group = 2, .home = "b", .replicas = two, .replica_count = 2}};
    const struct topology_range ranges[] = {{0, 32767, 1}, {32768, 65535, 2}};
    const struct topology plain = {.cluster = "c",
                                   .epoch = epoch,
                                   .nodes = nodes,
                                   .node_count = 3,
                                   .shards = shards,
                                   .shard_count = 2,
                                   .ranges = ranges,
                                   .range_count = 2};
    assert_int_equal(topology_new(&plain, &t, NULL), CQ_OK);
    return t;
}

static struct routes *ready(const char *dc)
{
    struct routes *routes = routes_new(dc);
    const struct topology *t = make(5, 11);
    assert_true(routes_set_topology(routes, t));
    topology_unref(&t);
    return routes;
}

static uint64_t pick(struct routes *routes, uint32_t group, enum routes_want want, uint32_t *tried)
{
    const struct topology_replica *replica = routes_pick(routes, group, want, tried);
    return replica ? replica->id : 0;
}

/* All picks in their order until there is none. */
static void assert_order(struct routes *routes, uint32_t group, enum routes_want want, const uint64_t *ids,
                         size_t count)
{
    uint32_t tried = 0;
    for (size_t i = 0; i < count; i++)
        assert_int_equal(pick(routes, group, want, &tried), ids[i]);
    assert_int_equal(pick(routes, group, want, &tried), 0);
}

static void without_a_topology_there_is_nowhere_to_go(void **state)
{
    (void)state;
    struct routes *routes = routes_new("");
    uint32_t tried = 0;
    assert_null(routes_topology(routes));
    assert_int_equal(routes_epoch(routes), 0);
    assert_int_equal(pick(routes, 1, ROUTES_LEADER, &tried), 0);
    routes_free(&routes);
    assert_null(routes);
}

static void the_leader_comes_first_then_the_preferred_then_the_others(void **state)
{
    (void)state;
    struct routes *routes = ready("c");
    assert_order(routes, 1, ROUTES_LEADER, (uint64_t[]){12, 11, 13}, 3); /* unknown leader: the preferred */
    routes_leader(routes, 1, 7, 13);
    assert_order(routes, 1, ROUTES_LEADER, (uint64_t[]){13, 12, 11}, 3);
    assert_order(routes, 2, ROUTES_LEADER, (uint64_t[]){21, 22}, 2);
    assert_order(routes, 3, ROUTES_LEADER, NULL, 0);
    routes_free(&routes);
}

static void the_nearest_comes_first_when_any_will_do(void **state)
{
    (void)state;
    struct routes *routes = ready("c");
    routes_leader(routes, 1, 7, 11);
    assert_order(routes, 1, ROUTES_NEAREST, (uint64_t[]){13, 11, 12}, 3);
    assert_order(routes, 2, ROUTES_NEAREST, (uint64_t[]){21, 22}, 2); /* none in c */
    routes_free(&routes);
    routes = ready("");
    assert_order(routes, 1, ROUTES_NEAREST, (uint64_t[]){12, 11, 13}, 3);
    routes_free(&routes);
}

static void a_higher_term_is_newer(void **state)
{
    (void)state;
    struct routes *routes = ready("");
    routes_leader(routes, 1, 7, 13);
    routes_leader(routes, 1, 6, 11);
    assert_int_equal(routes_leader_of(routes, 1), 13);
    routes_leader(routes, 1, 7, 0); /* one that does not know is no news */
    assert_int_equal(routes_leader_of(routes, 1), 13);
    routes_leader(routes, 1, 8, 0); /* a newer term without a leader is */
    assert_int_equal(routes_leader_of(routes, 1), 0);
    routes_leader(routes, 1, 8, 11);
    assert_int_equal(routes_leader_of(routes, 1), 11);
    routes_leader(routes, UINT32_MAX, 1, 1);
    assert_int_equal(routes_leader_of(routes, UINT32_MAX), 0);
    routes_free(&routes);
}

static void who_says_that_it_does_not_lead_is_believed(void **state)
{
    (void)state;
    struct routes *routes = ready("");
    routes_leader(routes, 1, 7, 13);
    routes_not_leader(routes, 1, 11, 0); /* another one: nothing new */
    assert_int_equal(routes_leader_of(routes, 1), 13);
    routes_not_leader(routes, 1, 13, 13); /* it contradicts itself */
    assert_int_equal(routes_leader_of(routes, 1), 0);
    routes_not_leader(routes, 1, 13, 11);
    assert_int_equal(routes_leader_of(routes, 1), 11);
    routes_not_leader(routes, UINT32_MAX, 1, 1);
    routes_free(&routes);
}

static void a_hint_leads_the_same_request_to_the_named_replica(void **state)
{
    (void)state;
    struct routes *routes = ready("");
    uint32_t tried = 0;
    assert_int_equal(pick(routes, 1, ROUTES_LEADER, &tried), 12);
    routes_not_leader(routes, 1, 12, 13);
    assert_int_equal(pick(routes, 1, ROUTES_LEADER, &tried), 13);
    routes_not_leader(routes, 1, 13, 12); /* has been asked: go on with who is left */
    assert_int_equal(pick(routes, 1, ROUTES_LEADER, &tried), 11);
    assert_int_equal(pick(routes, 1, ROUTES_LEADER, &tried), 0);
    routes_free(&routes);
}

static void only_a_newer_topology_is_taken_and_leaders_stay(void **state)
{
    (void)state;
    struct routes *routes = ready("");
    const struct topology *older = make(4, 99), *same = make(5, 99), *newer = make(6, 99);
    routes_leader(routes, 2, 3, 22);
    assert_false(routes_set_topology(routes, older));
    assert_false(routes_set_topology(routes, same));
    assert_int_equal(topology_shard(routes_topology(routes), 1)->replicas[0].id, 11);
    assert_true(routes_set_topology(routes, newer));
    assert_int_equal(topology_shard(routes_topology(routes), 1)->replicas[0].id, 99);
    assert_int_equal(routes_epoch(routes), 6);
    assert_int_equal(routes_leader_of(routes, 2), 22);
    topology_unref(&older);
    topology_unref(&same);
    topology_unref(&newer);
    routes_free(&routes);
}

static void a_leader_that_is_no_replica_is_passed_over(void **state)
{
    (void)state;
    struct routes *routes = ready("");
    routes_leader(routes, 1, 9, 4711);
    assert_order(routes, 1, ROUTES_LEADER, (uint64_t[]){12, 11, 13}, 3);
    routes_free(&routes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_topology_there_is_nowhere_to_go),
        cmocka_unit_test(the_leader_comes_first_then_the_preferred_then_the_others),
        cmocka_unit_test(the_nearest_comes_first_when_any_will_do),
        cmocka_unit_test(a_higher_term_is_newer),
        cmocka_unit_test(who_says_that_it_does_not_lead_is_believed),
        cmocka_unit_test(a_hint_leads_the_same_request_to_the_named_replica),
        cmocka_unit_test(only_a_newer_topology_is_taken_and_leaders_stay),
        cmocka_unit_test(a_leader_that_is_no_replica_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
