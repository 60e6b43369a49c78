#include "cluster/topology.h"

#include "unit/cluster/cluster_fixture.h"
#include "unit/cq_cmocka.h"

/* Three nodes, the system shard and two shards, in memory that a case may change before topology_new. */
struct sample {
    struct topology_node nodes[3];
    struct topology_replica replicas[3][3];
    struct topology_shard shards[3];
    struct topology_range ranges[2];
    struct topology_override overrides[2];
    struct topology plain;
};

static void sample_init(struct sample *s)
{
    *s = (struct sample){0};
    for (uint32_t i = 0; i < 3; i++)
        s->nodes[i] = fixture_node(i, "a", "z", "h");
    fixture_sort(s->nodes, 3);
    for (uint32_t g = 0; g < 3; g++) {
        for (uint32_t r = 0; r < 3; r++)
            s->replicas[g][r] = (struct topology_replica){.id = 10 * g + r + 1, .node = r, .voter = r != 2};
        s->shards[g] = (struct topology_shard){
            .group = g, .home = g ? "a" : "", .replicas = s->replicas[g], .replica_count = 3, .preferred = 10 * g + 2};
    }
    s->ranges[0] = (struct topology_range){0, 999, 2};
    s->ranges[1] = (struct topology_range){1000, 65535, 1};
    s->overrides[0] = (struct topology_override){5, 1};
    s->overrides[1] = (struct topology_override){UINT64_MAX, 2};
    s->plain = (struct topology){.cluster = "c1",
                                 .epoch = 7,
                                 .nodes = s->nodes,
                                 .node_count = 3,
                                 .shards = s->shards,
                                 .shard_count = 3,
                                 .ranges = s->ranges,
                                 .range_count = 2,
                                 .overrides = s->overrides,
                                 .override_count = 2};
}

static const struct topology *sample_new(void)
{
    struct sample s;
    const struct topology *topology = NULL;
    sample_init(&s);
    assert_int_equal(topology_new(&s.plain, &topology, NULL), CQ_OK);
    memset(&s, 0xee, sizeof s); /* nothing of it is borrowed */
    return topology;
}

static void slots_and_overrides_lead_to_their_group(void **state)
{
    (void)state;
    const struct topology *t = sample_new();
    static const struct {
        uint64_t account;
        uint32_t group;
    } cases[] = {
        {0, 2},
        {5, 1} /* override */,
        {6, 2},
        {UINT64_C(999) << 48 | 5, 2},
        {UINT64_C(1000) << 48, 1},
        {UINT64_MAX - 1, 1},
        {UINT64_MAX, 2} /* override */,
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(topology_group_of(t, cases[i].account), cases[i].group);
    assert_int_equal(topology_group_of_slot(t, 65535), 1);
    assert_null(topology_shard(t, 3));
    assert_int_equal(topology_shard(t, 0)->replicas[1].id, 2);
    assert_int_equal(topology_replica(topology_shard(t, 1), 12)->node, 1);
    assert_null(topology_replica(topology_shard(t, 1), 2));
    assert_int_equal(topology_replica_on(topology_shard(t, 2), 2)->id, 23);
    assert_false(topology_replica_on(topology_shard(t, 2), 2)->voter);
    assert_null(topology_replica_on(topology_shard(t, 2), 3));
    uint8_t uuid[16] = {0};
    assert_int_equal(topology_node_index(t, uuid), TOPOLOGY_NONE);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(topology_node_index(t, t->nodes[i].uuid), i);
    topology_unref(&t);
    assert_null(t);
    topology_unref(&t);
}

static void encoding_keeps_everything(void **state)
{
    (void)state;
    const struct topology *a = sample_new(), *b = NULL, *c = topology_ref(a);
    struct cq_buf buf;
    cq_buf_init(&buf, TOPOLOGY_ENCODED_MAX);
    assert_true(topology_encode(a, &buf));
    assert_int_equal(topology_decode(cq_buf_slice(&buf), &b, NULL), CQ_OK);
    assert_int_equal(b->epoch, 7);
    assert_string_equal(b->cluster, "c1");
    assert_true(topology_same(a, b));
    assert_string_equal(b->nodes[1].dc, "a");
    assert_int_equal(b->shards[2].preferred, 22);
    topology_unref(&a);
    assert_int_equal(c->node_count, 3); /* the other reference still holds it */
    topology_unref(&c);
    topology_unref(&b);
    cq_buf_fini(&buf);
}

static void every_cut_of_an_encoding_is_refused_or_whole(void **state)
{
    (void)state;
    const struct topology *a = sample_new();
    struct cq_buf buf;
    cq_buf_init(&buf, TOPOLOGY_ENCODED_MAX);
    assert_true(topology_encode(a, &buf));
    for (size_t len = 0; len < buf.len; len++) {
        const struct topology *b = NULL;
        if (topology_decode(cq_slice_of(buf.data, len), &b, NULL) == CQ_OK)
            topology_unref(&b); /* a shorter list of overrides is a valid topology */
    }
    topology_unref(&a);
    cq_buf_fini(&buf);
}

static char long_label[TOPOLOGY_LABEL_MAX + 2], long_address[TOPOLOGY_ADDRESS_MAX + 2];
static struct topology_replica eight[8];

static void nothing(struct sample *s)
{
    (void)s;
}
static void label_at_limit(struct sample *s)
{
    s->nodes[0].dc = long_label + 1;
}
static void label_over(struct sample *s)
{
    s->nodes[0].zone = long_label;
}
static void address_at_limit(struct sample *s)
{
    s->nodes[0].address = long_address + 1;
}
static void address_over(struct sample *s)
{
    s->nodes[0].address = long_address;
}
static void address_empty(struct sample *s)
{
    s->nodes[0].address = "";
}
static void node_twice(struct sample *s)
{
    s->nodes[1] = s->nodes[0];
}
static void node_state(struct sample *s)
{
    s->nodes[0].state = (enum topology_node_state)5;
}
static void node_no_state(struct sample *s)
{
    s->nodes[0].state = TOPOLOGY_NODE_NONE;
}
static void group_twice(struct sample *s)
{
    s->shards[2].group = 1;
}
static void replica_zero(struct sample *s)
{
    s->replicas[1][0].id = 0;
}
static void replica_nowhere(struct sample *s)
{
    s->replicas[1][0].node = 3;
}
static void replica_twice(struct sample *s)
{
    s->replicas[1][1].id = s->replicas[1][0].id;
}
static void two_on_a_node(struct sample *s)
{
    s->replicas[1][1].node = 0;
}
static void preferred_unknown(struct sample *s)
{
    s->shards[1].preferred = 99;
}
static void preferred_none(struct sample *s)
{
    s->shards[1].preferred = 0;
}
static void gap(struct sample *s)
{
    s->ranges[1].first = 1001;
}
static void overlap(struct sample *s)
{
    s->ranges[1].first = 999;
}
static void not_from_zero(struct sample *s)
{
    s->ranges[0].first = 1;
}
static void not_to_the_end(struct sample *s)
{
    s->ranges[1].last = 65534;
}
static void past_the_end(struct sample *s)
{
    s->ranges[1].last = 65536;
}
static void backwards(struct sample *s)
{
    s->ranges[0].last = UINT32_MAX;
}
static void range_to_system(struct sample *s)
{
    s->ranges[0].group = 0;
}
static void range_to_nobody(struct sample *s)
{
    s->ranges[0].group = 9;
}
static void no_ranges(struct sample *s)
{
    s->plain.range_count = 0;
}
static void override_order(struct sample *s)
{
    s->overrides[0].account = UINT64_MAX;
}
static void override_to_system(struct sample *s)
{
    s->overrides[0].group = 0;
}
static void override_to_nobody(struct sample *s)
{
    s->overrides[0].group = 9;
}
static void too_many_replicas(struct sample *s)
{
    s->shards[1].replicas = eight;
    s->shards[1].replica_count = 8;
}
static void too_many_nodes(struct sample *s)
{
    s->plain.node_count = TOPOLOGY_NODES_MAX + 1;
}

static void what_is_wrong_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        void (*change)(struct sample *s);
        enum cq_rc rc;
    } cases[] = {
#define CASE(fn, rc) {#fn, fn, rc}
        CASE(nothing, CQ_OK),
        CASE(label_at_limit, CQ_OK),
        CASE(label_over, CQ_E_INVALID),
        CASE(address_at_limit, CQ_OK),
        CASE(address_over, CQ_E_INVALID),
        CASE(address_empty, CQ_E_INVALID),
        CASE(node_twice, CQ_E_INVALID),
        CASE(node_state, CQ_E_INVALID),
        CASE(node_no_state, CQ_E_INVALID),
        CASE(group_twice, CQ_E_INVALID),
        CASE(replica_zero, CQ_E_INVALID),
        CASE(replica_nowhere, CQ_E_INVALID),
        CASE(replica_twice, CQ_E_INVALID),
        CASE(two_on_a_node, CQ_E_INVALID),
        CASE(preferred_unknown, CQ_E_INVALID),
        CASE(preferred_none, CQ_OK),
        CASE(gap, CQ_E_INVALID),
        CASE(overlap, CQ_E_INVALID),
        CASE(not_from_zero, CQ_E_INVALID),
        CASE(not_to_the_end, CQ_E_INVALID),
        CASE(past_the_end, CQ_E_INVALID),
        CASE(backwards, CQ_E_INVALID),
        CASE(range_to_system, CQ_E_INVALID),
        CASE(range_to_nobody, CQ_E_INVALID),
        CASE(no_ranges, CQ_OK),
        CASE(override_order, CQ_E_INVALID),
        CASE(override_to_system, CQ_E_INVALID),
        CASE(override_to_nobody, CQ_E_INVALID),
        CASE(too_many_replicas, CQ_E_LIMIT),
        CASE(too_many_nodes, CQ_E_LIMIT),
#undef CASE
    };
    memset(long_label, 'l', sizeof long_label - 1);
    memset(long_address, 'l', sizeof long_address - 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sample s;
        const struct topology *t = NULL;
        struct cq_err err = {0};
        sample_init(&s);
        cases[i].change(&s);
        enum cq_rc rc = topology_new(&s.plain, &t, &err);
        if (rc != cases[i].rc)
            fail_msg("%s: %s %s", cases[i].name, cq_rc_name(rc), err.text);
        topology_unref(&t);
    }
}

static void same_is_blind_for_the_epoch_alone(void **state)
{
    (void)state;
    struct sample s;
    const struct topology *a = sample_new(), *b = NULL;
    sample_init(&s);
    s.plain.epoch = 8;
    assert_int_equal(topology_new(&s.plain, &b, NULL), CQ_OK);
    assert_true(topology_same(a, b));
    topology_unref(&b);
    s.nodes[2].boot = 1;
    assert_int_equal(topology_new(&s.plain, &b, NULL), CQ_OK);
    assert_false(topology_same(a, b));
    topology_unref(&b);
    topology_unref(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_and_overrides_lead_to_their_group),
        cmocka_unit_test(encoding_keeps_everything),
        cmocka_unit_test(every_cut_of_an_encoding_is_refused_or_whole),
        cmocka_unit_test(what_is_wrong_is_refused),
        cmocka_unit_test(same_is_blind_for_the_epoch_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
