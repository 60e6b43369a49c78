/* The system shard's machine over a store in memory: entries in, outcomes, topology, digest and effects out. */
#include "system/system_machine.h"

#include "base/cq_endian.h"
#include "base/cq_mem.h"
#include "base/cq_rand.h"
#include "proto/mail.pb-c.h"
#include "proto/system.pb-c.h"
#include "state/entry.h"
#include "store/store_mem.h"

#include "unit/cq_cmocka.h"

#include <stdio.h>
#include <stdlib.h>

#define M(name) CHASQUI__SYSTEM__METHOD__##name

struct fixture {
    struct store *store;
    struct machine *machine;
    struct cq_pool *pool;
    uint64_t index, time;
    uint16_t known, version; /* of the build, of the entries; 0: 1 */
    struct machine_outcome last;
    Chasqui__Mail__Answer *answer;
};

static void open_machine(struct fixture *f)
{
    const struct machine_config config = {
        .store = f->store, .group = 0, .generation = 1, .incarnation = 1, .known = f->known};
    struct cq_err err = {0};
    if (system_machine_open(&config, &f->machine, &err) != CQ_OK)
        fail_msg("%s", err.text);
}

static int setup(void **state)
{
    struct fixture *f = cq_new(struct fixture);
    f->store = store_mem_new();
    f->pool = cq_pool_new(4096);
    f->time = 1000000;
    open_machine(f);
    *state = f;
    return 0;
}

static void drop_answer(struct fixture *f)
{
    if (f->answer)
        chasqui__mail__answer__free_unpacked(f->answer, NULL);
    f->answer = NULL;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    drop_answer(f);
    if (f->machine)
        f->machine->ops->close(f->machine);
    store_close(&f->store);
    cq_pool_free(&f->pool);
    free(f);
    return 0;
}

/* Takes all effects and writes them. */
static void flush(struct fixture *f)
{
    struct machine_effects *effects = f->machine->ops->effects_take(f->machine);
    if (!effects)
        return;
    struct store_batch *batch = store_batch_new(f->store);
    f->machine->ops->effects_encode(effects, batch);
    assert_int_equal(store_write(f->store, batch, false, NULL), CQ_OK);
    f->machine->ops->effects_written(f->machine, effects);
    store_batch_free(&batch);
}

static void reopen(struct fixture *f)
{
    flush(f);
    f->machine->ops->close(f->machine);
    open_machine(f);
}

static enum cq_rc apply_bytes(struct fixture *f, struct cq_slice entry)
{
    drop_answer(f);
    f->machine->ops->apply(f->machine, (struct machine_position){++f->index, 1}, entry, f->pool, &f->last);
    f->answer = chasqui__mail__answer__unpack(NULL, f->last.answer.len, f->last.answer.data);
    assert_non_null(f->answer);
    return f->last.rc;
}

static enum cq_rc apply_body(struct fixture *f, uint32_t method, struct cq_slice body)
{
    struct entry entry = {
        .version = f->version ? f->version : 1, .method = (uint16_t)method, .time = f->time++, .body = body};
    struct cq_buf buf;
    cq_buf_init(&buf, ENTRY_MAX);
    assert_int_equal(entry_encode(&entry, &buf, NULL), CQ_OK);
    enum cq_rc rc = apply_bytes(f, cq_buf_slice(&buf));
    cq_buf_fini(&buf);
    return rc;
}

static enum cq_rc apply(struct fixture *f, uint32_t method, const ProtobufCMessage *message)
{
    uint8_t *bytes = cq_malloc(protobuf_c_message_get_packed_size(message) + 1);
    enum cq_rc rc = apply_body(f, method, cq_slice_of(bytes, protobuf_c_message_pack(message, bytes)));
    free(bytes);
    return rc;
}

static uint64_t epoch(const struct fixture *f)
{
    const struct topology *t = system_machine_topology(f->machine);
    uint64_t value = t->epoch;
    topology_unref(&t);
    return value;
}

/* ---- Messages ---- */

static char uuids[16][17];

static ProtobufCBinaryData uuid(unsigned n)
{
    snprintf(uuids[n], sizeof uuids[n], "node-%02u-abcdefgh", n);
    return (ProtobufCBinaryData){16, (uint8_t *)uuids[n]};
}

struct init {
    Chasqui__System__InitCluster msg;
    Chasqui__System__Node nodes[16], *node_ptrs[16];
    Chasqui__System__Labels labels[16];
    Chasqui__System__Replica system[16], *system_ptrs[16];
};

static void init_fill(struct init *init, unsigned nodes)
{
    static char *dcs[] = {"a", "b", "c"};
    static char *addresses[] = {"h0:1", "h1:1", "h2:1", "h3:1", "h4:1", "h5:1", "h6:1", "h7:1",
                                "h8:1", "h9:1", "ha:1", "hb:1", "hc:1", "hd:1", "he:1", "hf:1"};
    chasqui__system__init_cluster__init(&init->msg);
    for (unsigned i = 0; i < nodes; i++) {
        chasqui__system__node__init(&init->nodes[i]);
        chasqui__system__labels__init(&init->labels[i]);
        chasqui__system__replica__init(&init->system[i]);
        init->labels[i].dc = dcs[i % 3];
        init->nodes[i].uuid = uuid(nodes - 1 - i); /* not in order */
        init->nodes[i].address = addresses[i];
        init->nodes[i].labels = &init->labels[i];
        init->node_ptrs[i] = &init->nodes[i];
        init->system[i].id = i + 1;
        init->system[i].node = init->nodes[i].uuid;
        init->system[i].voter = 1;
        init->system_ptrs[i] = &init->system[i];
    }
    init->msg.cluster = "c1";
    init->msg.n_nodes = nodes;
    init->msg.nodes = init->node_ptrs;
    init->msg.shards = 64;
    init->msg.replicas = 3;
    init->msg.n_system = 3;
    init->msg.system = init->system_ptrs;
}

static void init_cluster(struct fixture *f)
{
    struct init init;
    init_fill(&init, 3);
    assert_int_equal(apply(f, M(INIT_CLUSTER), &init.msg.base), CQ_OK);
}

/* ---- Tests ---- */

static void before_init_there_is_epoch_0_and_nothing_else_works(void **state)
{
    struct fixture *f = *state;
    Chasqui__System__RegisterNode reg = CHASQUI__SYSTEM__REGISTER_NODE__INIT;
    Chasqui__System__AllocateReplicas alloc = CHASQUI__SYSTEM__ALLOCATE_REPLICAS__INIT;
    Chasqui__System__SetShardMap map = CHASQUI__SYSTEM__SET_SHARD_MAP__INIT;
    Chasqui__System__SetLabels labels = CHASQUI__SYSTEM__SET_LABELS__INIT;
    labels.uuid = uuid(0);
    alloc.count = 1;
    assert_int_equal(epoch(f), 0);
    assert_int_equal(apply(f, M(REGISTER_NODE), &reg.base), CQ_E_UNAVAILABLE);
    assert_int_equal(apply(f, M(ALLOCATE_REPLICAS), &alloc.base), CQ_E_UNAVAILABLE);
    assert_int_equal(apply(f, M(SET_SHARD_MAP), &map.base), CQ_E_UNAVAILABLE);
    assert_int_equal(apply(f, M(SET_LABELS), &labels.base), CQ_E_NOT_FOUND);
    assert_int_equal(epoch(f), 0);
}

static void init_makes_64_shards_with_replicas_and_leaders_spread_over_three_nodes(void **state)
{
    struct fixture *f = *state;
    init_cluster(f);
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
    struct fixture *f = *state;
    struct init init;
    init_cluster(f);
    init_fill(&init, 3);
    init.msg.shards = 128;
    assert_int_equal(apply(f, M(INIT_CLUSTER), &init.msg.base), CQ_OK);
    assert_int_equal(epoch(f), 1);
    init.msg.cluster = "c2";
    assert_int_equal(apply(f, M(INIT_CLUSTER), &init.msg.base), CQ_E_EXISTS);
    assert_int_equal(epoch(f), 1);
}

static void i_nothing(struct init *i)
{
    (void)i;
}
static void i_no_cluster(struct init *i)
{
    i->msg.cluster = "";
}
static void i_cluster_case(struct init *i)
{
    i->msg.cluster = "C1";
}
static void i_cluster_63(struct init *i)
{
    i->msg.cluster = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
}
static void i_cluster_64(struct init *i)
{
    i->msg.cluster = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
}
static void i_no_nodes(struct init *i)
{
    i->msg.n_nodes = 0;
}
static void i_no_shards(struct init *i)
{
    i->msg.shards = 0;
}
static void i_most_shards(struct init *i)
{
    i->msg.shards = 4096;
}
static void i_too_many_shards(struct init *i)
{
    i->msg.shards = 4097;
}
static void i_no_replicas(struct init *i)
{
    i->msg.replicas = 0;
}
static void i_one_replica(struct init *i)
{
    i->msg.replicas = 1;
}
static void i_more_replicas_than_nodes(struct init *i)
{
    i->msg.replicas = 4;
}
static void i_no_system(struct init *i)
{
    i->msg.n_system = 0;
}
static void i_system_elsewhere(struct init *i)
{
    i->system[0].node = uuid(9);
}
static void i_system_id_0(struct init *i)
{
    i->system[0].id = 0;
}
static void i_system_twice(struct init *i)
{
    i->system[0].id = 2;
}
static void i_node_twice(struct init *i)
{
    i->nodes[0].uuid = i->nodes[1].uuid;
}
static void i_short_uuid(struct init *i)
{
    i->nodes[0].uuid.len = 15;
}
static void i_no_address(struct init *i)
{
    i->nodes[0].address = "";
}
static void i_no_labels(struct init *i)
{
    i->nodes[0].labels = NULL;
}

static void a_wrong_init_is_refused_alike_and_changes_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        void (*change)(struct init *init);
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
        setup(&own);
        struct fixture *f = own;
        struct init init;
        init_fill(&init, 3);
        cases[i].change(&init);
        enum cq_rc rc = apply(f, M(INIT_CLUSTER), &init.msg.base);
        if (rc != cases[i].rc)
            fail_msg("%s: %s (%s)", cases[i].name, cq_rc_name(rc), f->answer->text);
        assert_int_equal(epoch(f), rc == CQ_OK);
        assert_int_equal(f->answer->text[0] != 0, rc != CQ_OK);
        teardown(&own);
    }
}

static const struct topology_node *node_of(const struct topology *t, unsigned n)
{
    return &t->nodes[topology_node_index(t, uuid(n).data)];
}

static enum cq_rc register_node(struct fixture *f, unsigned n, char *address, uint64_t boot)
{
    Chasqui__System__RegisterNode reg = CHASQUI__SYSTEM__REGISTER_NODE__INIT;
    Chasqui__System__Node node = CHASQUI__SYSTEM__NODE__INIT;
    Chasqui__System__Labels labels = CHASQUI__SYSTEM__LABELS__INIT;
    labels.dc = "from-settings";
    node.uuid = uuid(n);
    node.address = address;
    node.boot = boot;
    node.labels = &labels;
    reg.node = &node;
    return apply(f, M(REGISTER_NODE), &reg.base);
}

static void registering_updates_the_address_but_never_backwards(void **state)
{
    struct fixture *f = *state;
    init_cluster(f);
    assert_int_equal(register_node(f, 0, "new:1", 5), CQ_OK);
    assert_int_equal(epoch(f), 2);
    assert_int_equal(register_node(f, 0, "new:1", 5), CQ_OK);
    assert_int_equal(epoch(f), 2); /* the same again: no change */
    assert_int_equal(register_node(f, 0, "late:1", 4), CQ_OK);
    const struct topology *t = system_machine_topology(f->machine);
    assert_int_equal(t->epoch, 2);
    assert_string_equal(node_of(t, 0)->address, "new:1");
    assert_string_not_equal(node_of(t, 0)->dc, "from-settings"); /* labels of a known node stay */
    topology_unref(&t);
}

static void a_new_node_joins_and_no_replica_moves(void **state)
{
    struct fixture *f = *state;
    init_cluster(f);
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
        assert_int_equal(apply(f, M(REGISTER_NODE), &reg.base), CQ_OK);
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

static enum cq_rc set_state(struct fixture *f, unsigned n, int node_state)
{
    Chasqui__System__SetNodeState msg = CHASQUI__SYSTEM__SET_NODE_STATE__INIT;
    msg.uuid = uuid(n);
    msg.state = (Chasqui__System__NodeState)node_state;
    return apply(f, M(SET_NODE_STATE), &msg.base);
}

static enum cq_rc decommission(struct fixture *f, unsigned n, bool force)
{
    Chasqui__System__DecommissionNode msg = CHASQUI__SYSTEM__DECOMMISSION_NODE__INIT;
    msg.node = uuid(n);
    msg.force = force;
    return apply(f, M(DECOMMISSION_NODE), &msg.base);
}

static void a_node_goes_only_when_it_is_empty_and_never_comes_back(void **state)
{
    struct fixture *f = *state;
    init_cluster(f);
    assert_int_equal(set_state(f, 0, TOPOLOGY_NODE_DRAINING), CQ_OK);
    assert_int_equal(set_state(f, 0, TOPOLOGY_NODE_GONE), CQ_E_CONFLICT);
    assert_int_equal(set_state(f, 0, 0), CQ_E_INVALID);
    assert_int_equal(set_state(f, 0, 5), CQ_E_INVALID);
    assert_int_equal(set_state(f, 7, TOPOLOGY_NODE_UP), CQ_E_NOT_FOUND);
    assert_int_equal(register_node(f, 7, "new:1", 1), CQ_OK);
    assert_int_equal(set_state(f, 7, TOPOLOGY_NODE_GONE), CQ_E_CONFLICT); /* nobody has said that it leaves */
    assert_int_equal(decommission(f, 7, false), CQ_OK);
    assert_int_equal(set_state(f, 7, TOPOLOGY_NODE_GONE), CQ_OK);
    assert_int_equal(set_state(f, 7, TOPOLOGY_NODE_GONE), CQ_OK);
    assert_int_equal(set_state(f, 7, TOPOLOGY_NODE_UP), CQ_E_DENIED);
    assert_int_equal(register_node(f, 7, "new:1", 2), CQ_E_DENIED);
}

static void labels_are_set_whole(void **state)
{
    struct fixture *f = *state;
    Chasqui__System__SetLabels msg = CHASQUI__SYSTEM__SET_LABELS__INIT;
    Chasqui__System__Labels labels = CHASQUI__SYSTEM__LABELS__INIT;
    init_cluster(f);
    labels.zone = "z9";
    msg.uuid = uuid(1);
    msg.labels = &labels;
    assert_int_equal(apply(f, M(SET_LABELS), &msg.base), CQ_OK);
    const struct topology *t = system_machine_topology(f->machine);
    assert_string_equal(node_of(t, 1)->zone, "z9");
    assert_string_equal(node_of(t, 1)->dc, "");
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

static uint32_t group_of(const struct fixture *f, uint64_t account)
{
    const struct topology *t = system_machine_topology(f->machine);
    uint32_t group = topology_group_of(t, account);
    topology_unref(&t);
    return group;
}

static void the_map_changes_only_at_the_epoch_that_was_seen(void **state)
{
    struct fixture *f = *state;
    struct map map;
    init_cluster(f);
    map_fill(&map, 1);
    map.ranges[0] = (Chasqui__System__SlotRange){map.ranges[0].base, 0, 9, 64};
    map.ranges[1] = (Chasqui__System__SlotRange){map.ranges[1].base, 10, 65535, 2};
    map.msg.n_slots = 2;
    assert_int_equal(apply(f, M(SET_SHARD_MAP), &map.msg.base), CQ_OK);
    assert_int_equal(epoch(f), 2);
    assert_int_equal(group_of(f, UINT64_C(9) << 48), 64);
    assert_int_equal(group_of(f, UINT64_C(10) << 48), 2);
    assert_int_equal(apply(f, M(SET_SHARD_MAP), &map.msg.base), CQ_E_CONFLICT);
    map.msg.if_epoch = 2;
    map.ranges[1].first = 11; /* a gap */
    assert_int_equal(apply(f, M(SET_SHARD_MAP), &map.msg.base), CQ_E_INVALID);
    assert_int_equal(epoch(f), 2);
}

static void overrides_come_and_go_and_survive_a_restart(void **state)
{
    struct fixture *f = *state;
    struct map map;
    init_cluster(f);
    map_fill(&map, 1);
    map.overrides[0].account = 500;
    map.overrides[0].group = 7;
    map.overrides[1].account = 400;
    map.overrides[1].group = 8;
    map.msg.n_overrides = 2;
    assert_int_equal(apply(f, M(SET_SHARD_MAP), &map.msg.base), CQ_OK);
    assert_int_equal(group_of(f, 500), 7);
    assert_int_equal(group_of(f, 400), 8);
    reopen(f);
    assert_int_equal(group_of(f, 500), 7);
    map_fill(&map, 2);
    map.overrides[0].account = 500;
    map.overrides[0].group = 9;
    map.msg.n_overrides = 1;
    map.clear[0] = 400;
    map.clear[1] = 123; /* has none */
    map.msg.n_clear = 2;
    assert_int_equal(apply(f, M(SET_SHARD_MAP), &map.msg.base), CQ_OK);
    reopen(f);
    assert_int_equal(group_of(f, 500), 9);
    assert_int_equal(group_of(f, 400), 1);
    assert_int_equal(epoch(f), 3);
    map_fill(&map, 3);
    map.overrides[0].account = map.overrides[1].account = 5;
    map.overrides[0].group = map.overrides[1].group = 1;
    map.msg.n_overrides = 2;
    assert_int_equal(apply(f, M(SET_SHARD_MAP), &map.msg.base), CQ_E_INVALID); /* one account twice */
}

static uint64_t allocate(struct fixture *f, uint32_t count)
{
    Chasqui__System__AllocateReplicas msg = CHASQUI__SYSTEM__ALLOCATE_REPLICAS__INIT;
    msg.count = count;
    if (apply(f, M(ALLOCATE_REPLICAS), &msg.base) != CQ_OK)
        return 0;
    Chasqui__System__AllocateReplicasReply *reply =
        chasqui__system__allocate_replicas_reply__unpack(NULL, f->answer->body.len, f->answer->body.data);
    uint64_t first = reply->first;
    assert_int_equal(reply->count, count);
    chasqui__system__allocate_replicas_reply__free_unpacked(reply, NULL);
    return first;
}

static void replica_ids_are_given_out_once(void **state)
{
    struct fixture *f = *state;
    init_cluster(f);
    assert_int_equal(allocate(f, 1), 196); /* 3 of group 0 and 3 of 64 shards are taken */
    assert_int_equal(allocate(f, 4096), 197);
    assert_int_equal(allocate(f, 0), 0);
    assert_int_equal(allocate(f, 4097), 0);
    reopen(f);
    assert_int_equal(allocate(f, 2), 4293);
    assert_int_equal(epoch(f), 1);
}

static void a_shard_takes_only_ids_that_were_given_out(void **state)
{
    struct fixture *f = *state;
    Chasqui__System__SetShard msg = CHASQUI__SYSTEM__SET_SHARD__INIT;
    Chasqui__System__Shard shard = CHASQUI__SYSTEM__SHARD__INIT;
    Chasqui__System__Replica replica = CHASQUI__SYSTEM__REPLICA__INIT, *list[] = {&replica};
    init_cluster(f);
    replica.id = 196;
    replica.node = uuid(0);
    shard.group = 3;
    shard.home = "b";
    shard.replicas = list;
    shard.n_replicas = 1;
    shard.preferred = 196;
    msg.if_epoch = 1;
    assert_int_equal(apply(f, M(SET_SHARD), &msg.base), CQ_E_INVALID); /* no shard */
    msg.shard = &shard;
    assert_int_equal(apply(f, M(SET_SHARD), &msg.base), CQ_E_INVALID); /* an id from nowhere */
    assert_int_equal(allocate(f, 1), 196);
    assert_int_equal(apply(f, M(SET_SHARD), &msg.base), CQ_OK);
    assert_int_equal(apply(f, M(SET_SHARD), &msg.base), CQ_E_CONFLICT);
    const struct topology *t = system_machine_topology(f->machine);
    assert_int_equal(t->shard_count, 65);
    assert_int_equal(topology_shard(t, 3)->replicas[0].id, 196);
    assert_string_equal(topology_shard(t, 3)->home, "b");
    topology_unref(&t);
}

static void any_bytes_are_an_entry_with_an_outcome(void **state)
{
    struct fixture *f = *state;
    struct cq_prng prng = {7};
    init_cluster(f);
    assert_int_not_equal(apply_bytes(f, CQ_SLICE_NONE), CQ_OK);
    assert_int_not_equal(apply_bytes(f, CQ_SLICE("garbage that is no entry")), CQ_OK);
    assert_int_equal(apply_body(f, 999, CQ_SLICE_NONE), CQ_E_UNSUPPORTED);
    assert_int_equal(apply_body(f, M(GET_TOPOLOGY), CQ_SLICE_NONE), CQ_E_UNSUPPORTED);
    for (int i = 0; i < 3000; i++) {
        uint8_t body[64];
        size_t len = cq_prng_below(&prng, sizeof body);
        for (size_t b = 0; b < len; b++)
            body[b] = (uint8_t)cq_prng_next(&prng);
        apply_body(f, 200 + cq_prng_below(&prng, 8), cq_slice_of(body, len));
    }
    assert_int_equal(f->machine->ops->health(f->machine), CQ_OK);
    assert_int_equal(f->machine->ops->applied(f->machine), f->index);
}

static void wrong_versions_accounts_and_times_are_refused(void **state)
{
    struct fixture *f = *state;
    init_cluster(f);
    static const struct {
        struct entry entry;
        enum cq_rc rc;
    } cases[] = {
        {{.version = 2, .method = M(ALLOCATE_REPLICAS), .time = 5}, CQ_E_VERSION},
        {{.version = 0, .method = M(ALLOCATE_REPLICAS), .time = 5}, CQ_E_VERSION},
        {{.version = 1, .method = M(ALLOCATE_REPLICAS), .account = 1, .time = 5}, CQ_E_INVALID},
        {{.version = 1, .method = M(ALLOCATE_REPLICAS), .time = ENTRY_TIME_END}, CQ_E_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cq_buf buf;
        cq_buf_init(&buf, ENTRY_MAX);
        assert_int_equal(entry_encode(&cases[i].entry, &buf, NULL), CQ_OK);
        enum cq_rc rc = apply_bytes(f, cq_buf_slice(&buf));
        /* The entry's own decoder may refuse it first. */
        if (rc != cases[i].rc && rc != CQ_E_CORRUPT)
            fail_msg("case %zu: %s", i, cq_rc_name(rc));
        cq_buf_fini(&buf);
    }
    assert_int_equal(epoch(f), 1);
}

static void the_entry_time_never_falls(void **state)
{
    struct fixture *f = *state;
    init_cluster(f);
    uint64_t high = system_machine_time(f->machine);
    f->time = 5;
    allocate(f, 1);
    assert_int_equal(system_machine_time(f->machine), high);
    assert_int_equal(f->last.entry_time, high);
    f->time = high + 100;
    allocate(f, 0); /* refused, but its time counts */
    assert_int_equal(system_machine_time(f->machine), high + 100);
    reopen(f);
    assert_int_equal(system_machine_time(f->machine), high + 100);
}

static void digest_of(const struct fixture *f, uint8_t out[16])
{
    f->machine->ops->digest(f->machine, out);
}

static void the_same_entries_give_the_same_digest_however_they_are_written(void **state)
{
    struct fixture *f = *state;
    void *other_state = NULL;
    setup(&other_state);
    struct fixture *other = other_state;
    for (int i = 0; i < 2; i++) {
        struct fixture *one = i ? other : f;
        init_cluster(one);
        if (i)
            reopen(one);
        register_node(one, 0, "x:1", 2);
        if (i)
            flush(one);
        register_node(one, 5, "y:1", 1);
        allocate(one, 3);
        set_state(one, 5, TOPOLOGY_NODE_UP);
    }
    uint8_t a[16], b[16], zero[16] = {0};
    digest_of(f, a);
    digest_of(other, b);
    assert_memory_equal(a, b, 16);
    assert_memory_not_equal(a, zero, 16);
    reopen(f);
    digest_of(f, b);
    assert_memory_equal(a, b, 16);
    allocate(f, 1);
    digest_of(f, b);
    assert_memory_not_equal(a, b, 16);
    teardown(&other_state);
}

static void an_entry_that_was_applied_is_ignored(void **state)
{
    struct fixture *f = *state;
    uint8_t before[16], after[16];
    Chasqui__System__AllocateReplicas msg = CHASQUI__SYSTEM__ALLOCATE_REPLICAS__INIT;
    msg.count = 5;
    init_cluster(f);
    apply(f, M(ALLOCATE_REPLICAS), &msg.base);
    digest_of(f, before);
    f->index--;
    assert_int_equal(apply(f, M(ALLOCATE_REPLICAS), &msg.base), CQ_OK);
    assert_int_equal(f->last.answer.len, 0);
    digest_of(f, after);
    assert_memory_equal(before, after, 16);
    assert_int_equal(allocate(f, 1), 201); /* the five once */
}

static const struct topology *read_topology(struct fixture *f, uint64_t known)
{
    Chasqui__System__GetTopology ask = CHASQUI__SYSTEM__GET_TOPOLOGY__INIT;
    Chasqui__Mail__Call call = CHASQUI__MAIL__CALL__INIT;
    uint8_t body[32], message[64];
    struct cq_buf answer, raw;
    const struct topology *t = NULL;
    ask.known_epoch = known;
    call.body = (ProtobufCBinaryData){chasqui__system__get_topology__pack(&ask, body), body};
    const struct machine_read read = {.method = M(GET_TOPOLOGY),
                                      .message = cq_slice_of(message, chasqui__mail__call__pack(&call, message))};
    cq_buf_init(&answer, 1 << 20);
    cq_buf_init(&raw, 1 << 20);
    assert_int_equal(f->machine->ops->read(f->machine, &read, f->pool, &answer, &raw, NULL), CQ_OK);
    Chasqui__Mail__Answer *msg = chasqui__mail__answer__unpack(NULL, answer.len, answer.data);
    assert_int_equal(msg->entry_time, system_machine_time(f->machine));
    assert_int_equal(topology_decode(cq_slice_of(msg->body.data, msg->body.len), &t, NULL), CQ_OK);
    chasqui__mail__answer__free_unpacked(msg, NULL);
    cq_buf_fini(&answer);
    cq_buf_fini(&raw);
    return t;
}

static void add_node(struct fixture *f, unsigned n)
{
    Chasqui__System__RegisterNode reg = CHASQUI__SYSTEM__REGISTER_NODE__INIT;
    Chasqui__System__Node node = CHASQUI__SYSTEM__NODE__INIT;
    Chasqui__System__Labels labels = CHASQUI__SYSTEM__LABELS__INIT;
    labels.dc = "a";
    node.uuid = uuid(n);
    node.address = "new:1";
    node.labels = &labels;
    node.boot = 1;
    reg.node = &node;
    assert_int_equal(apply(f, M(REGISTER_NODE), &reg.base), CQ_OK);
}

static enum cq_rc join(struct fixture *f, unsigned n)
{
    Chasqui__System__JoinNode msg = CHASQUI__SYSTEM__JOIN_NODE__INIT;
    msg.node = uuid(n);
    return apply(f, M(JOIN_NODE), &msg.base);
}

static void the_topology_is_read_whole_or_only_its_epoch(void **state)
{
    struct fixture *f = *state;
    const struct topology *t = read_topology(f, 0);
    assert_int_equal(t->epoch, 0);
    topology_unref(&t);
    init_cluster(f);
    t = read_topology(f, 0);
    assert_int_equal(t->epoch, 1);
    assert_int_equal(t->shard_count, 65);
    topology_unref(&t);
    t = read_topology(f, 1);
    assert_int_equal(t->epoch, 1);
    assert_int_equal(t->shard_count, 0);
    topology_unref(&t);
    add_node(f, 7);
    assert_int_equal(join(f, 7), CQ_OK);
    t = read_topology(f, 0);
    assert_true(t->move_count > 0);
    topology_unref(&t);
    t = read_topology(f, epoch(f)); /* moves name nodes, which are left out */
    assert_int_equal(t->move_count, 0);
    topology_unref(&t);
}

static void reads_that_are_none_are_refused(void **state)
{
    struct fixture *f = *state;
    struct cq_buf out;
    cq_buf_init(&out, 1000);
    struct machine_read read = {.method = M(INIT_CLUSTER)};
    assert_int_equal(f->machine->ops->read(f->machine, &read, f->pool, &out, &out, NULL), CQ_E_UNSUPPORTED);
    read = (struct machine_read){.method = M(GET_TOPOLOGY), .message = CQ_SLICE("\xff\xff")};
    assert_int_equal(f->machine->ops->read(f->machine, &read, f->pool, &out, &out, NULL), CQ_E_PROTO);
    cq_buf_fini(&out);
    assert_true(system_method_find(M(INIT_CLUSTER))->command);
    assert_false(system_method_find(M(GET_TOPOLOGY))->command);
    assert_null(system_method_find(M(WATCH_TOPOLOGY)));
    assert_null(system_method_find(20));
}

static void a_corrupt_record_is_found_at_the_start(void **state)
{
    struct fixture *f = *state;
    init_cluster(f);
    flush(f);
    f->machine->ops->close(f->machine);
    f->machine = NULL;
    uint8_t key[17] = {0}; /* group 0, generation 1, account 0, 'Y' */
    cq_put_be32(key + 4, 1);
    key[16] = 'Y';
    assert_true(store_mem_corrupt(f->store, STORE_STATE, cq_slice_of(key, sizeof key), 40));
    const struct machine_config config = {.store = f->store, .group = 0, .generation = 1, .incarnation = 1};
    assert_int_equal(system_machine_open(&config, &f->machine, NULL), CQ_E_CORRUPT);
}

/* ---- Command versions ---- */

static uint32_t finalized(const struct fixture *f)
{
    return system_machine_active_version(f->machine);
}

/* The first three nodes (uuid 2, 1, 0 at h0, h1, h2), each as a build that knows up to its version. */
static void init_versions(struct fixture *f, const uint32_t versions[3])
{
    struct init init;
    init_fill(&init, 3);
    for (unsigned i = 0; i < 3; i++)
        init.nodes[i].command_version = versions[i];
    assert_int_equal(apply(f, M(INIT_CLUSTER), &init.msg.base), CQ_OK);
}

static enum cq_rc register_version(struct fixture *f, unsigned n, uint32_t version, uint64_t boot)
{
    Chasqui__System__RegisterNode reg = CHASQUI__SYSTEM__REGISTER_NODE__INIT;
    Chasqui__System__Node node = CHASQUI__SYSTEM__NODE__INIT;
    char address[8];
    snprintf(address, sizeof address, "n%u:1", n);
    node.uuid = uuid(n);
    node.address = address;
    node.command_version = version;
    node.boot = boot;
    reg.node = &node;
    return apply(f, M(REGISTER_NODE), &reg.base);
}

static enum cq_rc finalize(struct fixture *f, uint32_t version)
{
    Chasqui__System__FinalizeVersion msg = CHASQUI__SYSTEM__FINALIZE_VERSION__INIT;
    msg.version = version;
    return apply(f, M(FINALIZE_VERSION), &msg.base);
}

static void set_known(struct fixture *f, uint16_t known)
{
    f->known = known;
    reopen(f);
}

static void a_new_cluster_starts_at_what_all_its_first_nodes_can_apply(void **state)
{
    static const struct {
        uint32_t nodes[3], finalized;
    } cases[] = {{{0, 0, 0}, 1}, {{3, 3, 3}, 3}, {{3, 2, 3}, 2}, {{3, 0, 2}, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture *f;
        setup((void **)&f);
        set_known(f, 3);
        init_versions(f, cases[i].nodes);
        assert_int_equal(finalized(f), cases[i].finalized);
        reopen(f);
        assert_int_equal(finalized(f), cases[i].finalized);
        teardown((void **)&f);
    }
    (void)state;
}

static void finalizing_needs_every_node_that_has_not_gone_and_names_the_others(void **state)
{
    struct fixture *f = *state;
    Chasqui__System__SetNodeState gone = CHASQUI__SYSTEM__SET_NODE_STATE__INIT;
    set_known(f, 3);
    init_cluster(f);
    assert_int_equal(finalize(f, 2), CQ_E_CONFLICT);
    for (unsigned n = 0; n < 3; n++)
        assert_int_equal(register_version(f, n, n == 1 ? 3 : 2, 1), CQ_OK);
    assert_int_equal(register_version(f, 7, 0, 1), CQ_OK); /* an old one that only waits */
    assert_int_equal(finalize(f, 2), CQ_E_CONFLICT);
    assert_non_null(strstr(f->answer->text, "n7:1"));
    assert_null(strstr(f->answer->text, "n1:1"));
    assert_int_equal(finalized(f), 1);
    assert_int_equal(decommission(f, 7, false), CQ_OK);
    assert_int_equal(finalize(f, 2), CQ_E_CONFLICT); /* it leaves, but has not gone */
    gone.uuid = uuid(7);
    gone.state = CHASQUI__SYSTEM__NODE_STATE__NODE_GONE;
    assert_int_equal(apply(f, M(SET_NODE_STATE), &gone.base), CQ_OK);
    assert_int_equal(finalize(f, 3), CQ_E_CONFLICT); /* one above what all can */
    assert_int_equal(finalize(f, 2), CQ_OK);
    uint64_t now = epoch(f);
    assert_int_equal(finalize(f, 2), CQ_OK); /* again, and back: nothing */
    assert_int_equal(finalize(f, 1), CQ_OK);
    assert_int_equal(epoch(f), now);
    assert_int_equal(finalized(f), 2);
    assert_int_equal(finalize(f, UINT32_MAX), CQ_E_CONFLICT);
}

static void a_node_below_the_finalized_version_is_not_registered(void **state)
{
    struct fixture *f = *state;
    set_known(f, 2);
    init_versions(f, (const uint32_t[]){2, 2, 2});
    uint64_t now = epoch(f);
    assert_int_equal(register_version(f, 0, 1, 5), CQ_E_VERSION); /* it was rolled back */
    assert_int_equal(register_version(f, 9, 0, 1), CQ_E_VERSION); /* a new one */
    assert_non_null(strstr(f->answer->text, "version 2 is finalized"));
    assert_int_equal(register_version(f, 3, 65536, 1), CQ_E_INVALID);
    assert_int_equal(epoch(f), now);
    assert_int_equal(register_version(f, 0, 3, 6), CQ_OK);
}

static void entries_above_the_finalized_version_are_refused_and_up_to_it_taken(void **state)
{
    struct fixture *f = *state;
    set_known(f, 2);
    init_cluster(f);
    f->version = 2;
    assert_int_equal(register_version(f, 0, 2, 1), CQ_E_VERSION);
    f->version = 1;
    for (unsigned n = 0; n < 3; n++)
        assert_int_equal(register_version(f, n, 2, 1), CQ_OK);
    assert_int_equal(finalize(f, 2), CQ_OK);
    f->version = 2;
    assert_int_equal(register_version(f, 0, 2, 2), CQ_OK);
    f->version = 1;
    assert_int_equal(register_version(f, 0, 2, 3), CQ_OK);
    f->version = 3;
    assert_int_equal(register_version(f, 0, 2, 4), CQ_E_VERSION);
}

static void an_old_build_stops_at_the_entry_that_finalizes_more_than_it_knows(void **state)
{
    struct fixture *f = *state;
    Chasqui__System__FinalizeVersion msg = CHASQUI__SYSTEM__FINALIZE_VERSION__INIT;
    uint8_t bytes[16], digest[2][16];
    init_cluster(f);
    for (unsigned n = 0; n < 3; n++)
        assert_int_equal(register_version(f, n, 2, 1), CQ_OK); /* as nodes might say that lie about their build */
    flush(f);
    f->machine->ops->digest(f->machine, digest[0]);
    uint64_t applied = f->machine->ops->applied(f->machine);
    msg.version = 2;
    struct entry entry = {.version = 1, .method = M(FINALIZE_VERSION), .time = f->time};
    entry.body = cq_slice_of(bytes, protobuf_c_message_pack(&msg.base, bytes));
    struct cq_buf buf;
    cq_buf_init(&buf, ENTRY_MAX);
    assert_int_equal(entry_encode(&entry, &buf, NULL), CQ_OK);
    f->machine->ops->apply(f->machine, (struct machine_position){++f->index, 1}, cq_buf_slice(&buf), f->pool, &f->last);
    assert_int_equal(f->machine->ops->health(f->machine), CQ_E_VERSION);
    assert_int_equal(f->machine->ops->applied(f->machine), applied);
    assert_null(f->machine->ops->effects_take(f->machine));
    f->machine->ops->digest(f->machine, digest[1]);
    assert_memory_equal(digest[0], digest[1], 16);
    set_known(f, 2); /* the upgrade: the same entry again */
    f->machine->ops->apply(f->machine, (struct machine_position){f->index, 1}, cq_buf_slice(&buf), f->pool, &f->last);
    assert_int_equal(f->last.rc, CQ_OK);
    assert_int_equal(finalized(f), 2);
    cq_buf_fini(&buf);
    flush(f);
    struct machine *older = NULL;
    const struct machine_config config = {.store = f->store, .group = 0, .generation = 1, .incarnation = 1, .known = 1};
    assert_int_equal(system_machine_open(&config, &older, NULL), CQ_E_VERSION);
}

/* ---- Moves ---- */

static enum cq_rc step(struct fixture *f, uint64_t replica, int before, int to)
{
    Chasqui__System__StepMove msg = CHASQUI__SYSTEM__STEP_MOVE__INIT;
    msg.replica = replica;
    msg.before = (Chasqui__System__MoveStep)before;
    msg.to = (Chasqui__System__MoveStep)to;
    return apply(f, M(STEP_MOVE), &msg.base);
}

/* The first move of a shard that is not group 0, or of any with 0. */
static struct topology_move first_move(struct fixture *f, size_t *count_r)
{
    const struct topology *t = system_machine_topology(f->machine);
    struct topology_move move = {0};
    *count_r = t->move_count;
    for (size_t i = 0; i < t->move_count && !move.group; i++)
        move = t->moves[i];
    topology_unref(&t);
    return move;
}

static const struct topology_replica *find(const struct topology *t, const struct topology_move *move, uint64_t id)
{
    return topology_replica(topology_shard(t, move->group), id);
}

static void a_move_goes_step_by_step_and_the_map_follows(void **state)
{
    struct fixture *f = *state;
    size_t count, left;
    init_cluster(f);
    add_node(f, 7);
    assert_int_equal(join(f, 7), CQ_OK);
    struct topology_move move = first_move(f, &count);
    assert_true(count > 20 && count < 60 && move.step == TOPOLOGY_MOVE_QUEUED);
    assert_int_equal(join(f, 7), CQ_OK); /* again: nothing more */
    assert_int_equal((first_move(f, &left), left), count);
    assert_int_equal(step(f, move.replica, 1, 3), CQ_E_CONFLICT); /* none is left out */
    assert_int_equal(step(f, move.replica, 2, 3), CQ_E_CONFLICT);
    for (int to = TOPOLOGY_MOVE_ADDING; to <= TOPOLOGY_MOVE_CLEANING; to++) {
        assert_int_equal(step(f, move.replica, to - 1, to), CQ_OK);
        assert_int_equal(step(f, move.replica, to - 1, to), CQ_OK); /* safe to repeat */
        reopen(f);
        const struct topology *t = system_machine_topology(f->machine);
        const struct topology_replica *new = find(t, &move, move.replica), *old = find(t, &move, move.old);
        assert_true(new &&new->voter == (to >= TOPOLOGY_MOVE_REMOVING));
        assert_int_equal(old != NULL, to < TOPOLOGY_MOVE_CLEANING);
        assert_true(topology_shard(t, move.group)->moved);
        assert_int_equal(topology_move(t, move.replica)->step, to);
        topology_unref(&t);
    }
    assert_int_equal(step(f, move.replica, TOPOLOGY_MOVE_CLEANING, TOPOLOGY_MOVE_NONE), CQ_OK);
    assert_int_equal(step(f, move.replica, TOPOLOGY_MOVE_CLEANING, TOPOLOGY_MOVE_NONE), CQ_OK);
    assert_int_equal((first_move(f, &left), left), count - 1);
}

static void what_has_no_vote_is_taken_back_and_what_has_stays(void **state)
{
    struct fixture *f = *state;
    Chasqui__System__CancelMoves cancel = CHASQUI__SYSTEM__CANCEL_MOVES__INIT;
    size_t count, left;
    init_cluster(f);
    add_node(f, 7);
    assert_int_equal(join(f, 7), CQ_OK);
    struct topology_move move = first_move(f, &count);
    cancel.group = move.group;
    assert_int_equal(step(f, move.replica, 1, 2), CQ_OK);
    assert_int_equal(step(f, move.replica, 2, 0), CQ_E_CONFLICT); /* nobody has cancelled it */
    assert_int_equal(apply(f, M(CANCEL_MOVES), &cancel.base), CQ_OK);
    assert_int_equal(step(f, move.replica, 2, 0), CQ_OK);
    const struct topology *t = system_machine_topology(f->machine);
    assert_null(find(t, &move, move.replica));
    assert_non_null(find(t, &move, move.old));
    topology_unref(&t);
    assert_int_equal(apply(f, M(CANCEL_MOVES), &cancel.base), CQ_E_NOT_FOUND);
    move = first_move(f, &left);
    assert_int_equal(left, count - 1);
    cancel.group = move.group;
    for (int to = TOPOLOGY_MOVE_ADDING; to <= TOPOLOGY_MOVE_REMOVING; to++)
        assert_int_equal(step(f, move.replica, to - 1, to), CQ_OK);
    assert_int_equal(apply(f, M(CANCEL_MOVES), &cancel.base), CQ_E_CONFLICT);
    move = first_move(f, &left);
    assert_int_equal(left, count - 1);
}

static void a_node_leaves_only_when_all_can_go_elsewhere(void **state)
{
    struct fixture *f = *state;
    Chasqui__System__SetNodeState gone = CHASQUI__SYSTEM__SET_NODE_STATE__INIT;
    size_t count;
    init_cluster(f);
    uint64_t before = epoch(f);
    assert_int_equal(decommission(f, 0, true), CQ_E_NO_SPACE);
    assert_int_equal(epoch(f), before); /* nothing has begun */
    add_node(f, 7);
    add_node(f, 0); /* a later start of an old one changes no move */
    assert_int_equal(join(f, 7), CQ_OK);
    first_move(f, &count);
    add_node(f, 5); /* the indexes of the nodes behind it move */
    const struct topology *t = system_machine_topology(f->machine);
    for (size_t i = 0; i < t->move_count; i++)
        assert_memory_equal(t->nodes[t->moves[i].to].uuid, uuid(7).data, 16);
    topology_unref(&t);
    assert_int_equal(decommission(f, 5, false), CQ_OK); /* holds nothing */
    gone.uuid = uuid(5);
    gone.state = CHASQUI__SYSTEM__NODE_STATE__NODE_GONE;
    assert_int_equal(apply(f, M(SET_NODE_STATE), &gone.base), CQ_OK);
    assert_int_equal(join(f, 5), CQ_E_DENIED);
    assert_int_equal(decommission(f, 5, false), CQ_OK);
}

static enum cq_rc undo_drain(struct fixture *f, unsigned n)
{
    Chasqui__System__DrainNode msg = CHASQUI__SYSTEM__DRAIN_NODE__INIT;
    msg.node = uuid(n);
    msg.undo = true;
    return apply(f, M(DRAIN_NODE), &msg.base);
}

static enum topology_node_state state_of(struct fixture *f, unsigned n)
{
    const struct topology *t = system_machine_topology(f->machine);
    enum topology_node_state state = t->nodes[topology_node_index(t, uuid(n).data)].state;
    topology_unref(&t);
    return state;
}

/* New replicas of the moves from, or to, a node. */
static size_t moves_of(struct fixture *f, unsigned n, bool from, uint64_t replicas_r[TOPOLOGY_MOVES_MAX])
{
    const struct topology *t = system_machine_topology(f->machine);
    uint32_t node = topology_node_index(t, uuid(n).data);
    size_t count = 0;
    for (size_t i = 0; i < t->move_count; i++)
        if ((from ? t->moves[i].from : t->moves[i].to) == node)
            replicas_r[count++] = t->moves[i].replica;
    topology_unref(&t);
    return count;
}

static void go_as_far_as(struct fixture *f, uint64_t replica, int last)
{
    for (int to = TOPOLOGY_MOVE_ADDING; to <= last; to++)
        assert_int_equal(step(f, replica, to - 1, to), CQ_OK);
}

static void end_move(struct fixture *f, uint64_t replica)
{
    assert_int_equal(step(f, replica, TOPOLOGY_MOVE_CLEANING, TOPOLOGY_MOVE_NONE), CQ_OK);
}

/* Three nodes and an empty fourth one; the first one leaves. Returns how many of its replicas go. */
static size_t node_0_leaves(struct fixture *f, uint64_t replicas_r[TOPOLOGY_MOVES_MAX])
{
    init_cluster(f);
    add_node(f, 7);
    assert_int_equal(set_state(f, 7, TOPOLOGY_NODE_UP), CQ_OK);
    assert_int_equal(decommission(f, 0, true), CQ_OK);
    size_t count = moves_of(f, 0, true, replicas_r);
    assert_int_equal(count, 65);
    return count;
}

static void a_node_whose_leaving_was_taken_back_is_not_let_go(void **state)
{
    struct fixture *f = *state;
    init_cluster(f);
    for (unsigned n = 7; n < 9; n++) {
        add_node(f, n);
        assert_int_equal(decommission(f, n, false), CQ_OK); /* holds nothing: the planner lets it go */
    }
    assert_int_equal(undo_drain(f, 7), CQ_OK); /* comes first: */
    assert_int_equal(set_state(f, 7, TOPOLOGY_NODE_GONE), CQ_E_CONFLICT);
    assert_int_equal(state_of(f, 7), TOPOLOGY_NODE_UP);
    assert_int_equal(set_state(f, 8, TOPOLOGY_NODE_GONE), CQ_OK); /* the other order */
    assert_int_equal(undo_drain(f, 8), CQ_E_CONFLICT);
    assert_int_equal(state_of(f, 8), TOPOLOGY_NODE_GONE);
}

static void a_node_that_a_move_names_is_not_let_go(void **state)
{
    struct fixture *f = *state;
    static uint64_t replicas[TOPOLOGY_MOVES_MAX];
    size_t count = node_0_leaves(f, replicas);
    for (size_t i = 0; i < count; i++)
        go_as_far_as(f, replicas[i], TOPOLOGY_MOVE_CLEANING);
    for (size_t i = 0; i < count; i++) { /* the map has none on it; it destroys them yet */
        assert_int_equal(set_state(f, 0, TOPOLOGY_NODE_GONE), CQ_E_CONFLICT);
        end_move(f, replicas[i]);
    }
    assert_int_equal(set_state(f, 0, TOPOLOGY_NODE_GONE), CQ_OK);
}

/* Five of 65 have gone, two more vote elsewhere, one copies. Of the two, the one that the map has already elsewhere is
 * planned at once when, by the ring, another one than the new replica gives way. */
static void what_has_left_a_node_comes_back_when_its_leaving_is_taken_back(void **state)
{
    struct fixture *f = *state;
    static uint64_t replicas[TOPOLOGY_MOVES_MAX];
    node_0_leaves(f, replicas);
    for (size_t i = 0; i < 8; i++)
        go_as_far_as(f, replicas[i],
                     i < 6    ? TOPOLOGY_MOVE_CLEANING
                     : i == 6 ? TOPOLOGY_MOVE_REMOVING
                              : TOPOLOGY_MOVE_COPYING);
    for (size_t i = 0; i < 5; i++)
        end_move(f, replicas[i]);
    assert_int_equal(undo_drain(f, 0), CQ_OK);
    Chasqui__System__Planned *planned =
        chasqui__system__planned__unpack(NULL, f->answer->body.len, f->answer->body.data);
    assert_non_null(planned);
    assert_int_equal(planned->epoch, epoch(f));
    size_t back = moves_of(f, 0, false, replicas);
    assert_true(back == 5 || back == 6);
    assert_int_equal(planned->n_moves, 57 + 1 + back); /* 57 had not begun */
    chasqui__system__planned__free_unpacked(planned, NULL);
    assert_int_equal(moves_of(f, 0, true, replicas), 3);
    uint64_t now = epoch(f);
    assert_int_equal(undo_drain(f, 0), CQ_OK); /* again */
    assert_int_equal(join(f, 0), CQ_OK);       /* there is nothing that it could get now */
    assert_int_equal(epoch(f), now);
    assert_int_equal(moves_of(f, 0, true, replicas), 3);
    end_move(f, replicas[0]);
    assert_int_equal(step(f, replicas[1], TOPOLOGY_MOVE_REMOVING, TOPOLOGY_MOVE_CLEANING), CQ_OK);
    end_move(f, replicas[1]);
    assert_int_equal(join(f, 0), CQ_OK); /* those that could not be taken back then */
    assert_int_equal(moves_of(f, 0, false, replicas), 7);
}

static void a_node_that_was_only_drained_gets_nothing_when_that_ends(void **state)
{
    struct fixture *f = *state;
    static uint64_t replicas[TOPOLOGY_MOVES_MAX];
    init_cluster(f);
    add_node(f, 7);
    assert_int_equal(set_state(f, 7, TOPOLOGY_NODE_UP), CQ_OK);
    assert_int_equal(set_state(f, 7, TOPOLOGY_NODE_DRAINING), CQ_OK);
    assert_int_equal(undo_drain(f, 7), CQ_OK);
    assert_int_equal(moves_of(f, 7, false, replicas), 0);
    assert_int_equal(state_of(f, 7), TOPOLOGY_NODE_UP);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_new_cluster_starts_at_what_all_its_first_nodes_can_apply),
        TEST(finalizing_needs_every_node_that_has_not_gone_and_names_the_others),
        TEST(a_node_below_the_finalized_version_is_not_registered),
        TEST(entries_above_the_finalized_version_are_refused_and_up_to_it_taken),
        TEST(an_old_build_stops_at_the_entry_that_finalizes_more_than_it_knows),
        TEST(a_move_goes_step_by_step_and_the_map_follows),
        TEST(what_has_no_vote_is_taken_back_and_what_has_stays),
        TEST(a_node_leaves_only_when_all_can_go_elsewhere),
        TEST(a_node_whose_leaving_was_taken_back_is_not_let_go),
        TEST(a_node_that_a_move_names_is_not_let_go),
        TEST(what_has_left_a_node_comes_back_when_its_leaving_is_taken_back),
        TEST(a_node_that_was_only_drained_gets_nothing_when_that_ends),
        TEST(before_init_there_is_epoch_0_and_nothing_else_works),
        TEST(init_makes_64_shards_with_replicas_and_leaders_spread_over_three_nodes),
        TEST(init_again_changes_nothing_and_another_cluster_is_refused),
        TEST(a_wrong_init_is_refused_alike_and_changes_nothing),
        TEST(registering_updates_the_address_but_never_backwards),
        TEST(a_new_node_joins_and_no_replica_moves),
        TEST(a_node_goes_only_when_it_is_empty_and_never_comes_back),
        TEST(labels_are_set_whole),
        TEST(the_map_changes_only_at_the_epoch_that_was_seen),
        TEST(overrides_come_and_go_and_survive_a_restart),
        TEST(replica_ids_are_given_out_once),
        TEST(a_shard_takes_only_ids_that_were_given_out),
        TEST(any_bytes_are_an_entry_with_an_outcome),
        TEST(wrong_versions_accounts_and_times_are_refused),
        TEST(the_entry_time_never_falls),
        TEST(the_same_entries_give_the_same_digest_however_they_are_written),
        TEST(an_entry_that_was_applied_is_ignored),
        TEST(the_topology_is_read_whole_or_only_its_epoch),
        TEST(reads_that_are_none_are_refused),
        TEST(a_corrupt_record_is_found_at_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
