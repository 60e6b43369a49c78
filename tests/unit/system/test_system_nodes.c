/* The system shard's machine: nodes come and go, the map of slots, the ids of replicas. */
#include "system_rig.h"

static void registering_updates_the_address_but_never_backwards(void **state)
{
    struct sys_fixture *f = *state;
    sys_init_cluster(f);
    assert_int_equal(sys_register_node(f, 0, "new:1", 5), CQ_OK);
    assert_int_equal(sys_epoch(f), 2);
    assert_int_equal(sys_register_node(f, 0, "new:1", 5), CQ_OK);
    assert_int_equal(sys_epoch(f), 2); /* the same again: no change */
    assert_int_equal(sys_register_node(f, 0, "late:1", 4), CQ_OK);
    const struct topology *t = system_machine_topology(f->machine);
    assert_int_equal(t->epoch, 2);
    assert_string_equal(sys_node_of(t, 0)->address, "new:1");
    assert_string_not_equal(sys_node_of(t, 0)->dc, "from-settings"); /* labels of a known node stay */
    topology_unref(&t);
}

static void a_new_node_joins_and_no_replica_moves(void **state)
{
    struct sys_fixture *f = *state;
    sys_init_cluster(f);
    const struct topology *before = system_machine_topology(f->machine);
    /* Sorts before, between and behind the others. */
    static char *addresses[] = {"n0:1", "n1:1", "n2:1"};
    uint8_t ids[3][16] = {{0}, {'n', 'o', 'd', 'e', '-', '0', '1', '-', 'z'}, {0xff}};
    for (unsigned i = 0; i < 3; i++) {
        Chasqui__System__RegisterNode reg = CHASQUI__SYSTEM__REGISTER_NODE__INIT;
        Chasqui__System__Node node = CHASQUI__SYSTEM__NODE__INIT;
        node.uuid = (ProtobufCBinaryData){16, ids[i]};
        node.address = addresses[i];
        reg.node = &node;
        assert_int_equal(sys_apply(f, M(REGISTER_NODE), &reg.base), CQ_OK);
    }
    const struct topology *t = system_machine_topology(f->machine);
    assert_int_equal(t->epoch, 4);
    assert_int_equal(t->node_count, 6);
    assert_int_equal(t->nodes[0].state, TOPOLOGY_NODE_JOINING);
    for (size_t s = 0; s < t->shard_count; s++)
        for (size_t r = 0; r < t->shards[s].replica_count; r++)
            assert_memory_equal(t->nodes[t->shards[s].replicas[r].node].uuid,
                                before->nodes[before->shards[s].replicas[r].node].uuid, 16);
    topology_unref(&before);
    topology_unref(&t);
}

static void a_node_goes_only_when_it_is_empty_and_never_comes_back(void **state)
{
    struct sys_fixture *f = *state;
    sys_init_cluster(f);
    assert_int_equal(sys_set_state(f, 0, TOPOLOGY_NODE_DRAINING), CQ_OK);
    assert_int_equal(sys_set_state(f, 0, TOPOLOGY_NODE_GONE), CQ_E_CONFLICT);
    assert_int_equal(sys_set_state(f, 0, 0), CQ_E_INVALID);
    assert_int_equal(sys_set_state(f, 0, 5), CQ_E_INVALID);
    assert_int_equal(sys_set_state(f, 7, TOPOLOGY_NODE_UP), CQ_E_NOT_FOUND);
    assert_int_equal(sys_register_node(f, 7, "new:1", 1), CQ_OK);
    assert_int_equal(sys_set_state(f, 7, TOPOLOGY_NODE_GONE), CQ_E_CONFLICT); /* nobody has said that it leaves */
    assert_int_equal(sys_decommission(f, 7, false), CQ_OK);
    assert_int_equal(sys_set_state(f, 7, TOPOLOGY_NODE_GONE), CQ_OK);
    assert_int_equal(sys_set_state(f, 7, TOPOLOGY_NODE_GONE), CQ_OK);
    assert_int_equal(sys_set_state(f, 7, TOPOLOGY_NODE_UP), CQ_E_DENIED);
    assert_int_equal(sys_register_node(f, 7, "new:1", 2), CQ_E_DENIED);
}

static void labels_are_set_whole(void **state)
{
    struct sys_fixture *f = *state;
    Chasqui__System__SetLabels msg = CHASQUI__SYSTEM__SET_LABELS__INIT;
    Chasqui__System__Labels labels = CHASQUI__SYSTEM__LABELS__INIT;
    sys_init_cluster(f);
    labels.zone = "z9";
    msg.uuid = sys_uuid(1);
    msg.labels = &labels;
    assert_int_equal(sys_apply(f, M(SET_LABELS), &msg.base), CQ_OK);
    const struct topology *t = system_machine_topology(f->machine);
    assert_string_equal(sys_node_of(t, 1)->zone, "z9");
    assert_string_equal(sys_node_of(t, 1)->dc, "");
    topology_unref(&t);
}

struct map {
    Chasqui__System__SetShardMap msg;
    Chasqui__System__SlotRange ranges[3], *range_ptrs[3];
    Chasqui__System__Override overrides[3], *override_ptrs[3];
    uint64_t clear[3];
};

static void map_fill(struct map *map, uint64_t if_epoch)
{
    chasqui__system__set_shard_map__init(&map->msg);
    for (int i = 0; i < 3; i++) {
        chasqui__system__slot_range__init(&map->ranges[i]);
        chasqui__system__override__init(&map->overrides[i]);
        map->range_ptrs[i] = &map->ranges[i];
        map->override_ptrs[i] = &map->overrides[i];
    }
    map->msg.if_epoch = if_epoch;
    map->msg.slots = map->range_ptrs;
    map->msg.overrides = map->override_ptrs;
    map->msg.clear = map->clear;
}

static uint32_t group_of(const struct sys_fixture *f, uint64_t account)
{
    const struct topology *t = system_machine_topology(f->machine);
    uint32_t group = topology_group_of(t, account);
    topology_unref(&t);
    return group;
}

static void the_map_changes_only_at_the_epoch_that_was_seen(void **state)
{
    struct sys_fixture *f = *state;
    struct map map;
    sys_init_cluster(f);
    map_fill(&map, 1);
    map.ranges[0] = (Chasqui__System__SlotRange){map.ranges[0].base, 0, 9, 64};
    map.ranges[1] = (Chasqui__System__SlotRange){map.ranges[1].base, 10, 65535, 2};
    map.msg.n_slots = 2;
    assert_int_equal(sys_apply(f, M(SET_SHARD_MAP), &map.msg.base), CQ_OK);
    assert_int_equal(sys_epoch(f), 2);
    assert_int_equal(group_of(f, UINT64_C(9) << 48), 64);
    assert_int_equal(group_of(f, UINT64_C(10) << 48), 2);
    assert_int_equal(sys_apply(f, M(SET_SHARD_MAP), &map.msg.base), CQ_E_CONFLICT);
    map.msg.if_epoch = 2;
    map.ranges[1].first = 11; /* a gap */
    assert_int_equal(sys_apply(f, M(SET_SHARD_MAP), &map.msg.base), CQ_E_INVALID);
    assert_int_equal(sys_epoch(f), 2);
}

static void overrides_come_and_go_and_survive_a_restart(void **state)
{
    struct sys_fixture *f = *state;
    struct map map;
    sys_init_cluster(f);
    map_fill(&map, 1);
    map.overrides[0].account = 500;
    map.overrides[0].group = 7;
    map.overrides[1].account = 400;
    map.overrides[1].group = 8;
    map.msg.n_overrides = 2;
    assert_int_equal(sys_apply(f, M(SET_SHARD_MAP), &map.msg.base), CQ_OK);
    assert_int_equal(group_of(f, 500), 7);
    assert_int_equal(group_of(f, 400), 8);
    sys_reopen(f);
    assert_int_equal(group_of(f, 500), 7);
    map_fill(&map, 2);
    map.overrides[0].account = 500;
    map.overrides[0].group = 9;
    map.msg.n_overrides = 1;
    map.clear[0] = 400;
    map.clear[1] = 123; /* has none */
    map.msg.n_clear = 2;
    assert_int_equal(sys_apply(f, M(SET_SHARD_MAP), &map.msg.base), CQ_OK);
    sys_reopen(f);
    assert_int_equal(group_of(f, 500), 9);
    assert_int_equal(group_of(f, 400), 1);
    assert_int_equal(sys_epoch(f), 3);
    map_fill(&map, 3);
    map.overrides[0].account = map.overrides[1].account = 5;
    map.overrides[0].group = map.overrides[1].group = 1;
    map.msg.n_overrides = 2;
    assert_int_equal(sys_apply(f, M(SET_SHARD_MAP), &map.msg.base), CQ_E_INVALID); /* one account twice */
}

static void replica_ids_are_given_out_once(void **state)
{
    struct sys_fixture *f = *state;
    sys_init_cluster(f);
    assert_int_equal(sys_allocate(f, 1), 196); /* 3 of group 0 and 3 of 64 shards are taken */
    assert_int_equal(sys_allocate(f, 4096), 197);
    assert_int_equal(sys_allocate(f, 0), 0);
    assert_int_equal(sys_allocate(f, 4097), 0);
    sys_reopen(f);
    assert_int_equal(sys_allocate(f, 2), 4293);
    assert_int_equal(sys_epoch(f), 1);
}

static void a_shard_takes_only_ids_that_were_given_out(void **state)
{
    struct sys_fixture *f = *state;
    Chasqui__System__SetShard msg = CHASQUI__SYSTEM__SET_SHARD__INIT;
    Chasqui__System__Shard shard = CHASQUI__SYSTEM__SHARD__INIT;
    Chasqui__System__Replica replica = CHASQUI__SYSTEM__REPLICA__INIT, *list[] = {&replica};
    sys_init_cluster(f);
    replica.id = 196;
    replica.node = sys_uuid(0);
    shard.group = 3;
    shard.home = "b";
    shard.replicas = list;
    shard.n_replicas = 1;
    shard.preferred = 196;
    msg.if_epoch = 1;
    assert_int_equal(sys_apply(f, M(SET_SHARD), &msg.base), CQ_E_INVALID); /* no shard */
    msg.shard = &shard;
    assert_int_equal(sys_apply(f, M(SET_SHARD), &msg.base), CQ_E_INVALID); /* an id from nowhere */
    assert_int_equal(sys_allocate(f, 1), 196);
    assert_int_equal(sys_apply(f, M(SET_SHARD), &msg.base), CQ_OK);
    assert_int_equal(sys_apply(f, M(SET_SHARD), &msg.base), CQ_E_CONFLICT);
    const struct topology *t = system_machine_topology(f->machine);
    assert_int_equal(t->shard_count, 65);
    assert_int_equal(topology_shard(t, 3)->replicas[0].id, 196);
    assert_string_equal(topology_shard(t, 3)->home, "b");
    topology_unref(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SYS_TEST(registering_updates_the_address_but_never_backwards),
        SYS_TEST(a_new_node_joins_and_no_replica_moves),
        SYS_TEST(a_node_goes_only_when_it_is_empty_and_never_comes_back),
        SYS_TEST(labels_are_set_whole),
        SYS_TEST(the_map_changes_only_at_the_epoch_that_was_seen),
        SYS_TEST(overrides_come_and_go_and_survive_a_restart),
        SYS_TEST(replica_ids_are_given_out_once),
        SYS_TEST(a_shard_takes_only_ids_that_were_given_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
