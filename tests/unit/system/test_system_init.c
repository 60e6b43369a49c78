/* The system shard's machine: a cluster begins. */
#include "system_rig.h"

static void before_init_there_is_epoch_0_and_nothing_else_works(void **state)
{
    struct sys_fixture *f = *state;
    Chasqui__System__RegisterNode reg = CHASQUI__SYSTEM__REGISTER_NODE__INIT;
    Chasqui__System__AllocateReplicas alloc = CHASQUI__SYSTEM__ALLOCATE_REPLICAS__INIT;
    Chasqui__System__SetShardMap map = CHASQUI__SYSTEM__SET_SHARD_MAP__INIT;
    Chasqui__System__SetLabels labels = CHASQUI__SYSTEM__SET_LABELS__INIT;
    labels.uuid = sys_uuid(0);
    alloc.count = 1;
    assert_int_equal(sys_epoch(f), 0);
    assert_int_equal(sys_apply(f, M(REGISTER_NODE), &reg.base), CQ_E_UNAVAILABLE);
    assert_int_equal(sys_apply(f, M(ALLOCATE_REPLICAS), &alloc.base), CQ_E_UNAVAILABLE);
    assert_int_equal(sys_apply(f, M(SET_SHARD_MAP), &map.base), CQ_E_UNAVAILABLE);
    assert_int_equal(sys_apply(f, M(SET_LABELS), &labels.base), CQ_E_NOT_FOUND);
    assert_int_equal(sys_epoch(f), 0);
}

static void init_makes_64_shards_with_replicas_and_leaders_spread_over_three_nodes(void **state)
{
    struct sys_fixture *f = *state;
    sys_init_cluster(f);
    const struct topology *t = system_machine_topology(f->machine);
    assert_int_equal(t->epoch, 1);
    assert_string_equal(t->cluster, "c1");
    assert_int_equal(t->node_count, 3);
    assert_int_equal(t->shard_count, 65);
    assert_int_equal(t->shards[0].group, 0);
    assert_int_equal(t->shards[0].replica_count, 3);
    unsigned leads[3] = {0}, seen[300] = {0};
    for (size_t i = 0; i < t->shard_count; i++)
        for (size_t r = 0; r < t->shards[i].replica_count; r++)
            seen[t->shards[i].replicas[r].id]++;
    for (size_t id = 1; id <= 65 * 3; id++)
        assert_int_equal(seen[id], 1); /* every id once, group 0's first */
    for (size_t i = 1; i < t->shard_count; i++)
        leads[topology_replica(&t->shards[i], t->shards[i].preferred)->node]++;
    for (size_t i = 0; i < 3; i++)
        assert_in_range(leads[i], 21, 22);
    assert_int_equal(topology_group_of_slot(t, 0), 1);
    assert_int_equal(topology_group_of_slot(t, 65535), 64);
    topology_unref(&t);
    Chasqui__System__Changed *changed =
        chasqui__system__changed__unpack(NULL, f->answer->body.len, f->answer->body.data);
    assert_int_equal(changed->epoch, 1);
    chasqui__system__changed__free_unpacked(changed, NULL);
}

static void init_again_changes_nothing_and_another_cluster_is_refused(void **state)
{
    struct sys_fixture *f = *state;
    struct sys_init init;
    sys_init_cluster(f);
    sys_init_fill(&init, 3);
    init.msg.shards = 128;
    assert_int_equal(sys_apply(f, M(INIT_CLUSTER), &init.msg.base), CQ_OK);
    assert_int_equal(sys_epoch(f), 1);
    init.msg.cluster = "c2";
    assert_int_equal(sys_apply(f, M(INIT_CLUSTER), &init.msg.base), CQ_E_EXISTS);
    assert_int_equal(sys_epoch(f), 1);
}

static void i_nothing(struct sys_init *i)
{
    (void)i;
}

static void i_no_cluster(struct sys_init *i)
{
    i->msg.cluster = "";
}

static void i_cluster_case(struct sys_init *i)
{
    i->msg.cluster = "C1";
}

static void i_cluster_63(struct sys_init *i)
{
    i->msg.cluster = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
}

static void i_cluster_64(struct sys_init *i)
{
    i->msg.cluster = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
}

static void i_no_nodes(struct sys_init *i)
{
    i->msg.n_nodes = 0;
}

static void i_no_shards(struct sys_init *i)
{
    i->msg.shards = 0;
}

static void i_most_shards(struct sys_init *i)
{
    i->msg.shards = 4096;
}

static void i_too_many_shards(struct sys_init *i)
{
    i->msg.shards = 4097;
}

static void i_no_replicas(struct sys_init *i)
{
    i->msg.replicas = 0;
}

static void i_one_replica(struct sys_init *i)
{
    i->msg.replicas = 1;
}

static void i_more_replicas_than_nodes(struct sys_init *i)
{
    i->msg.replicas = 4;
}

static void i_no_system(struct sys_init *i)
{
    i->msg.n_system = 0;
}

static void i_system_elsewhere(struct sys_init *i)
{
    i->system[0].node = sys_uuid(9);
}

static void i_system_id_0(struct sys_init *i)
{
    i->system[0].id = 0;
}

static void i_system_twice(struct sys_init *i)
{
    i->system[0].id = 2;
}

static void i_node_twice(struct sys_init *i)
{
    i->nodes[0].uuid = i->nodes[1].uuid;
}

static void i_short_uuid(struct sys_init *i)
{
    i->nodes[0].uuid.len = 15;
}

static void i_no_address(struct sys_init *i)
{
    i->nodes[0].address = "";
}

static void i_no_labels(struct sys_init *i)
{
    i->nodes[0].labels = NULL;
}

static void a_wrong_init_is_refused_alike_and_changes_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        void (*change)(struct sys_init *init);
        enum cq_rc rc;
    } cases[] = {
#define CASE(fn, rc) {#fn, fn, rc}
        CASE(i_nothing, CQ_OK),
        CASE(i_no_cluster, CQ_E_INVALID),
        CASE(i_cluster_case, CQ_E_INVALID),
        CASE(i_cluster_63, CQ_OK),
        CASE(i_cluster_64, CQ_E_INVALID),
        CASE(i_no_nodes, CQ_E_INVALID),
        CASE(i_no_shards, CQ_E_INVALID),
        CASE(i_most_shards, CQ_OK),
        CASE(i_too_many_shards, CQ_E_INVALID),
        CASE(i_no_replicas, CQ_E_INVALID),
        CASE(i_one_replica, CQ_OK),
        CASE(i_more_replicas_than_nodes, CQ_E_INVALID),
        CASE(i_no_system, CQ_E_INVALID),
        CASE(i_system_elsewhere, CQ_E_INVALID),
        CASE(i_system_id_0, CQ_E_INVALID),
        CASE(i_system_twice, CQ_E_INVALID),
        CASE(i_node_twice, CQ_E_INVALID),
        CASE(i_short_uuid, CQ_E_INVALID),
        CASE(i_no_address, CQ_E_INVALID),
        CASE(i_no_labels, CQ_OK),
#undef CASE
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        void *own = NULL;
        sys_setup(&own);
        struct sys_fixture *f = own;
        struct sys_init init;
        sys_init_fill(&init, 3);
        cases[i].change(&init);
        enum cq_rc rc = sys_apply(f, M(INIT_CLUSTER), &init.msg.base);
        if (rc != cases[i].rc)
            fail_msg("%s: %s (%s)", cases[i].name, cq_rc_name(rc), f->answer->text);
        assert_int_equal(sys_epoch(f), rc == CQ_OK);
        assert_int_equal(f->answer->text[0] != 0, rc != CQ_OK);
        sys_teardown(&own);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SYS_TEST(before_init_there_is_epoch_0_and_nothing_else_works),
        SYS_TEST(init_makes_64_shards_with_replicas_and_leaders_spread_over_three_nodes),
        SYS_TEST(init_again_changes_nothing_and_another_cluster_is_refused),
        SYS_TEST(a_wrong_init_is_refused_alike_and_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
