#include "cluster/placement.h"

#include "base/cq_rand.h"
#include "unit/cluster/cluster_fixture.h"
#include "unit/cq_cmocka.h"

#include <stdio.h>

/* Some shapes of clusters: node i's labels by i. */
struct shape {
    const char *name;
    uint32_t dcs, zones, hosts; /* how many of each, in turn */
};
static const struct shape shapes[] = {
    {"three data centres", 3, 1, 0},
    {"five data centres", 5, 1, 0},
    {"two data centres with two zones", 2, 2, 0},
    {"one data centre with three zones", 1, 3, 0},
    {"one zone, two hosts", 1, 1, 2},
    {"no labels", 1, 1, 1},
};
#define SHAPES (sizeof shapes / sizeof *shapes)

static const char *label(char letter, uint32_t n)
{
    static char texts[26][64][8];
    snprintf(texts[letter - 'a'][n % 64], 8, "%c%u", letter, n);
    return texts[letter - 'a'][n % 64];
}

static struct topology_node shaped(const struct shape *shape, uint32_t i)
{
    return fixture_node(i, label('d', i % shape->dcs), label('z', i / shape->dcs % shape->zones),
                        label('h', shape->hosts ? i % shape->hosts : i));
}

static size_t make_nodes(const struct shape *shape, uint32_t count, struct topology_node *nodes)
{
    for (uint32_t i = 0; i < count; i++)
        nodes[i] = shaped(shape, i);
    return count;
}

static size_t place(const struct topology_node *nodes, size_t count, uint32_t group, const char *home, size_t want,
                    uint32_t *chosen)
{
    struct ring *ring = placement_ring(nodes, count);
    size_t got = placement_replicas(nodes, count, ring, group, home, want, chosen);
    ring_free(&ring);
    return got;
}

/* How many different values a label has among the chosen / among all. */
static size_t distinct(const struct topology_node *nodes, const uint32_t *chosen, size_t count, int level)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        bool new = true;
        for (size_t k = 0; k < i && new; k++) {
            const struct topology_node *a = &nodes[chosen[i]], *b = &nodes[chosen[k]];
            bool dc = !strcmp(a->dc, b->dc), zone = dc && !strcmp(a->zone, b->zone);
            new = !(level == 0 ? dc : level == 1 ? zone : zone && !strcmp(a->host, b->host));
        }
        found += new;
    }
    return found;
}

static void replicas_are_as_far_apart_as_the_labels_allow(void **state)
{
    (void)state;
    struct topology_node nodes[12];
    uint32_t all[12], chosen[3];
    for (uint32_t i = 0; i < 12; i++)
        all[i] = i;
    for (size_t s = 0; s < SHAPES; s++) {
        size_t count = make_nodes(&shapes[s], 12, nodes);
        for (uint32_t group = 1; group <= 200; group++) {
            assert_int_equal(place(nodes, count, group, "d0", 3, chosen), 3);
            assert_string_equal(nodes[chosen[0]].dc, "d0");
            for (int level = 0; level < 3; level++) {
                size_t possible = distinct(nodes, all, count, level);
                assert_int_equal(distinct(nodes, chosen, 3, level), possible < 3 ? possible : 3);
            }
        }
    }
}

static void no_node_is_chosen_twice_and_only_nodes_that_are_up(void **state)
{
    (void)state;
    struct topology_node nodes[6];
    uint32_t chosen[7];
    size_t count = make_nodes(&shapes[0], 6, nodes);
    nodes[2].state = TOPOLOGY_NODE_DRAINING;
    nodes[3].state = TOPOLOGY_NODE_JOINING;
    for (uint32_t group = 1; group <= 50; group++) {
        size_t got = place(nodes, count, group, "d0", 7, chosen);
        assert_int_equal(got, 4);
        for (size_t i = 0; i < got; i++) {
            assert_int_equal(nodes[chosen[i]].state, TOPOLOGY_NODE_UP);
            for (size_t k = 0; k < i; k++)
                assert_int_not_equal(chosen[i], chosen[k]);
        }
    }
}

static void a_home_without_nodes_or_without_name_still_gets_replicas(void **state)
{
    (void)state;
    struct topology_node nodes[3];
    uint32_t chosen[3];
    make_nodes(&shapes[0], 3, nodes);
    assert_int_equal(place(nodes, 3, 1, "elsewhere", 3, chosen), 3);
    assert_int_equal(place(nodes, 3, 1, "", 3, chosen), 3);
    assert_int_equal(place(nodes, 3, 1, "d0", 0, chosen), 0);
    assert_int_equal(place(nodes, 0, 1, "d0", 3, chosen), 0);
}

/* How many of `old` are no longer in `new` (both with ids of the larger node list). */
static size_t changes(const uint32_t *old, const uint32_t *new, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        bool kept = false;
        for (size_t k = 0; k < count; k++)
            kept |= old[i] == new[k];
        n += !kept;
    }
    return n;
}

/* Adding the last of `count` nodes; removing it is the same the other way round. */
static void one_node_more(const struct shape *shape, uint32_t count)
{
    struct topology_node nodes[16];
    size_t moved = 0, groups = 512;
    make_nodes(shape, count, nodes);
    struct ring *before = placement_ring(nodes, count - 1), *after = placement_ring(nodes, count);
    for (uint32_t group = 1; group <= groups; group++) {
        uint32_t old[3], new[3];
        placement_replicas(nodes, count - 1, before, group, "d0", 3, old);
        placement_replicas(nodes, count, after, group, "d0", 3, new);
        size_t n = changes(old, new, 3);
        bool has_new = new[0] == count - 1 || new[1] == count - 1 || new[2] == count - 1;
        if (n > 1 || (n == 1) != has_new)
            fail_msg("%s, %u nodes, group %u: %zu of 3 replicas changed", shape->name, count, group, n);
        moved += n;
    }
    ring_free(&before);
    ring_free(&after);
    /* Its share of all replicas, were they spread evenly, is 3 of `count`; its data centre's may be larger. */
    size_t fair = groups * 3 / count;
    size_t most = fair * (shape->dcs == 1 ? 3 : 4);
    if (moved > (most < groups ? most : groups))
        fail_msg("%s, %u nodes: %zu replicas moved, fair are %zu", shape->name, count, moved, fair);
}

static void adding_or_removing_a_node_moves_one_replica_of_its_share_of_shards(void **state)
{
    (void)state;
    for (size_t s = 0; s < SHAPES; s++)
        for (uint32_t count = 4; count <= 16; count++)
            if (shapes[s].dcs < count)
                one_node_more(&shapes[s], count);
}

struct first {
    struct cq_pool *pool;
    struct topology_node nodes[12];
    size_t node_count;
    struct topology_shard *shards;
    struct topology_range *ranges;
    uint64_t next;
};

static void first_map(struct first *first, const struct shape *shape, uint32_t count, uint32_t shards, size_t replicas)
{
    first->pool = cq_pool_new(4096);
    first->node_count = make_nodes(shape, count, first->nodes);
    fixture_sort(first->nodes, count);
    first->next = 10;
    placement_first_map(first->nodes, count, shards, replicas, &first->next, first->pool, &first->shards,
                        &first->ranges);
}

static void the_first_map_is_a_valid_topology(void **state)
{
    (void)state;
    static const uint32_t shard_counts[] = {1, 2, 3, 63, 64, 100, 4096};
    for (size_t i = 0; i < sizeof shard_counts / sizeof *shard_counts; i++) {
        struct first first;
        const struct topology *topology = NULL;
        struct cq_err err = {0};
        first_map(&first, &shapes[0], 6, shard_counts[i], 3);
        struct topology plain = {.cluster = "c",
                                 .epoch = 1,
                                 .nodes = first.nodes,
                                 .node_count = first.node_count,
                                 .shards = first.shards,
                                 .shard_count = shard_counts[i],
                                 .ranges = first.ranges,
                                 .range_count = shard_counts[i]};
        if (topology_new(&plain, &topology, &err) != CQ_OK)
            fail_msg("%u shards: %s", shard_counts[i], err.text);
        assert_int_equal(first.next, 10 + 3 * shard_counts[i]);
        for (size_t r = 0; r < shard_counts[i]; r++)
            assert_in_range(first.ranges[r].last - first.ranges[r].first + 1, 65536 / shard_counts[i],
                            65536 / shard_counts[i] + 1);
        topology_unref(&topology);
        cq_pool_free(&first.pool);
    }
}

/* Shards led by each node, by preference. */
static void count_leads(const struct first *first, uint32_t shards, uint32_t *leads)
{
    for (uint32_t i = 0; i < shards; i++)
        leads[topology_replica(&first->shards[i], first->shards[i].preferred)->node]++;
}

static void each_of_three_nodes_leads_a_third_and_at_home(void **state)
{
    (void)state;
    static const struct shape *const three[] = {&shapes[0], &shapes[3], &shapes[5]};
    for (size_t s = 0; s < 3; s++) {
        struct first first;
        uint32_t leads[3] = {0};
        first_map(&first, three[s], 3, 64, 3);
        count_leads(&first, 64, leads);
        for (size_t i = 0; i < 3; i++)
            assert_in_range(leads[i], 21, 22);
        for (size_t i = 0; i < 64; i++) {
            const struct topology_replica *leader = topology_replica(&first.shards[i], first.shards[i].preferred);
            assert_string_equal(first.nodes[leader->node].dc, first.shards[i].home);
        }
        cq_pool_free(&first.pool);
    }
}

static void leaders_of_nine_nodes_are_spread(void **state)
{
    (void)state;
    struct first first;
    uint32_t leads[9] = {0};
    first_map(&first, &shapes[0], 9, 64, 3);
    count_leads(&first, 64, leads);
    for (size_t i = 0; i < 9; i++)
        assert_in_range(leads[i], 2, 14);
    cq_pool_free(&first.pool);
}

static const struct topology *topology_of(struct first *first, uint32_t shards)
{
    const struct topology *topology = NULL;
    struct topology plain = {.cluster = "c",
                             .nodes = first->nodes,
                             .node_count = first->node_count,
                             .shards = first->shards,
                             .shard_count = shards,
                             .ranges = first->ranges,
                             .range_count = shards};
    assert_int_equal(topology_new(&plain, &topology, NULL), CQ_OK);
    return topology;
}

static void an_account_gets_a_slot_at_its_home_and_always_the_same(void **state)
{
    (void)state;
    struct first first;
    first_map(&first, &shapes[0], 3, 64, 3);
    const struct topology *topology = topology_of(&first, 64);
    size_t per_home[3] = {0};
    uint8_t used[65536 / 8] = {0};
    size_t distinct_slots = 0;
    for (unsigned i = 0; i < 3000; i++) {
        char text[32];
        uint32_t slot = 0, again = 0;
        snprintf(text, sizeof text, "user%u@example.test", i);
        const char *home = placement_home(topology, cq_slice_cstr(text));
        per_home[home[1] - '0']++;
        assert_true(placement_slot(topology, home, cq_slice_cstr(text), &slot));
        assert_true(placement_slot(topology, home, cq_slice_cstr(text), &again));
        assert_int_equal(slot, again);
        uint64_t account = placement_account_id(slot, UINT64_C(0xabcdef0123456789) * (i + 1));
        assert_int_equal(topology_slot_of(account), slot);
        const struct topology_shard *shard = topology_shard(topology, topology_group_of(topology, account));
        assert_string_equal(shard->home, home);
        distinct_slots += !(used[slot / 8] >> slot % 8 & 1);
        used[slot / 8] |= (uint8_t)(1 << slot % 8);
    }
    for (size_t i = 0; i < 3; i++)
        assert_in_range(per_home[i], 850, 1150);
    assert_in_range(distinct_slots, 2850, 3000);
    uint32_t slot;
    assert_false(placement_slot(topology, "elsewhere", CQ_SLICE("a@b"), &slot));
    assert_false(placement_slot(topology, "", CQ_SLICE("a@b"), &slot));
    topology_unref(&topology);
    cq_pool_free(&first.pool);
}

static void without_a_map_nobody_has_a_home(void **state)
{
    (void)state;
    const struct topology *topology = NULL;
    assert_int_equal(topology_new(&(struct topology){.cluster = ""}, &topology, NULL), CQ_OK);
    assert_null(placement_home(topology, CQ_SLICE("a@b")));
    assert_int_equal(topology_group_of(topology, UINT64_MAX), 0);
    topology_unref(&topology);
}

static void an_account_id_keeps_its_slot_and_is_never_only_a_slot(void **state)
{
    (void)state;
    assert_true(placement_account_id(0, 0) == 1);
    assert_true(placement_account_id(65535, UINT64_MAX) == UINT64_MAX);
    assert_true(placement_account_id(1, UINT64_C(0xffff000000000000)) == UINT64_C(0x0001000000000001));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replicas_are_as_far_apart_as_the_labels_allow),
        cmocka_unit_test(no_node_is_chosen_twice_and_only_nodes_that_are_up),
        cmocka_unit_test(a_home_without_nodes_or_without_name_still_gets_replicas),
        cmocka_unit_test(adding_or_removing_a_node_moves_one_replica_of_its_share_of_shards),
        cmocka_unit_test(the_first_map_is_a_valid_topology),
        cmocka_unit_test(each_of_three_nodes_leads_a_third_and_at_home),
        cmocka_unit_test(leaders_of_nine_nodes_are_spread),
        cmocka_unit_test(an_account_gets_a_slot_at_its_home_and_always_the_same),
        cmocka_unit_test(without_a_map_nobody_has_a_home),
        cmocka_unit_test(an_account_id_keeps_its_slot_and_is_never_only_a_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
