/* The golden log of the system shard (tests/golden/README.md): its entries are applied anew, and must answer and end as
 * they did when it was written. CQ_GOLDEN_WRITE=PATH writes one instead: commands of all kinds, chosen by chance with a
 * fixed seed from what the topology allows at that moment, and some that are wrong. */
#include "system/system_machine.h"

#include "base/cq_endian.h"
#include "base/cq_hash.h"
#include "base/cq_mem.h"
#include "cluster/move_plan.h"
#include "proto/mail.pb-c.h"
#include "proto/system.pb-c.h"
#include "state/entry.h"
#include "store/store_mem.h"

#include "unit/cq_cmocka.h"

#include <stdio.h>
#include <stdlib.h>

#define M(name) CHASQUI__SYSTEM__METHOD__##name
#define GOLDEN_END UINT32_MAX
#define TERM 3
#define STEPS 900
#define NODES 9

struct shard {
    struct store *store;
    struct machine *machine;
    struct cq_pool *pool;
    uint64_t index, time;
    enum cq_rc rc;
    uint64_t hash; /* of the last outcome */
    FILE *out;     /* NULL: replaying */
    uint64_t random;
};

static void shard_open(struct shard *s)
{
    struct cq_err err = {0};
    *s = (struct shard){
        .store = store_mem_new(), .pool = cq_pool_new(4096), .time = 1767225600000000, .random = 0x9e3779b97f4a7c15};
    const struct machine_config config = {.store = s->store, .group = 0, .generation = 1, .incarnation = 1};
    if (system_machine_open(&config, &s->machine, &err) != CQ_OK)
        fail_msg("%s", err.text);
}

static void shard_close(struct shard *s)
{
    s->machine->ops->close(s->machine);
    store_close(&s->store);
    cq_pool_free(&s->pool);
}

/* Everything that an outcome says but its text. */
static uint64_t hash_outcome(const struct machine_outcome *o)
{
    uint64_t h = (uint64_t)o->rc ^ o->entry_time;
    Chasqui__Mail__Answer *answer = chasqui__mail__answer__unpack(NULL, o->answer.len, o->answer.data);
    if (answer) {
        h ^= answer->entry_time;
        h = cq_xxh3_64_seed(cq_slice_of(answer->body.data, answer->body.len), h);
        chasqui__mail__answer__free_unpacked(answer, NULL);
    }
    return h;
}

static void apply(struct shard *s, struct cq_slice entry)
{
    struct machine_outcome outcome;
    cq_pool_clear(s->pool);
    s->machine->ops->apply(s->machine, (struct machine_position){++s->index, TERM}, entry, s->pool, &outcome);
    s->rc = outcome.rc;
    s->hash = hash_outcome(&outcome);
}

/* ---- Writing ---- */

static void put(struct shard *s, const void *bytes, size_t len)
{
    assert_int_equal(fwrite(bytes, 1, len, s->out), len);
}

static void put_entry(struct shard *s, struct cq_slice entry)
{
    uint8_t head[12];
    apply(s, entry);
    cq_put_le32(head, (uint32_t)entry.len);
    cq_put_le64(head + 4, s->hash);
    put(s, head, sizeof head);
    put(s, entry.data, entry.len);
}

static void run_as(struct shard *s, struct entry *entry, const ProtobufCMessage *message)
{
    struct cq_buf buf;
    uint8_t *body = cq_malloc(protobuf_c_message_get_packed_size(message) + 1);
    entry->body = cq_slice_of(body, protobuf_c_message_pack(message, body));
    entry->time = s->time += 1000;
    cq_buf_init(&buf, ENTRY_MAX);
    assert_int_equal(entry_encode(entry, &buf, NULL), CQ_OK);
    put_entry(s, cq_buf_slice(&buf));
    cq_buf_fini(&buf);
    free(body);
}

static void run(struct shard *s, uint32_t method, const ProtobufCMessage *message)
{
    struct entry entry = {.version = 1, .method = (uint16_t)method};
    run_as(s, &entry, message);
}

static uint32_t chance(struct shard *s, uint32_t below)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return (uint32_t)(s->random >> 33) % below;
}

static char uuids[NODES][17], addresses[NODES][16];

static ProtobufCBinaryData uuid(uint32_t n)
{
    snprintf(uuids[n], sizeof uuids[n], "node-%02u-golden-1", n);
    return (ProtobufCBinaryData){16, (uint8_t *)uuids[n]};
}

static void describe(uint32_t n, uint64_t boot, Chasqui__System__Node *node, Chasqui__System__Labels *labels)
{
    static char *const dcs[] = {"a", "b", "c"}, *const zones[] = {"a1", "b1", "c1", "a2", "b2", "c2"};
    chasqui__system__node__init(node);
    chasqui__system__labels__init(labels);
    snprintf(addresses[n], sizeof addresses[n], "h%u:%u", n, (unsigned)boot);
    labels->region = "r";
    labels->dc = dcs[n % 3];
    labels->zone = zones[n % 6];
    labels->host = addresses[n];
    node->uuid = uuid(n);
    node->address = addresses[n];
    node->labels = labels;
    node->version = "0.1";
    node->boot = boot;
    node->command_version = n % 2; /* 0 stands for 1 */
}

static void init(struct shard *s)
{
    Chasqui__System__InitCluster msg = CHASQUI__SYSTEM__INIT_CLUSTER__INIT;
    Chasqui__System__Node nodes[3], *node_list[3];
    Chasqui__System__Labels labels[3];
    Chasqui__System__Replica system[3], *system_list[3];
    for (uint32_t n = 0; n < 3; n++) {
        describe(n, 1, &nodes[n], &labels[n]);
        chasqui__system__replica__init(&system[n]);
        system[n].id = n + 1;
        system[n].node = uuid(n);
        system[n].voter = 1;
        node_list[n] = &nodes[n];
        system_list[n] = &system[n];
    }
    msg.cluster = "golden";
    msg.nodes = node_list;
    msg.system = system_list;
    msg.n_nodes = msg.n_system = 3;
    msg.shards = 12;
    msg.replicas = 3;
    run(s, M(INIT_CLUSTER), &msg.base);
}

static void register_node(struct shard *s, const struct topology *t)
{
    Chasqui__System__RegisterNode msg = CHASQUI__SYSTEM__REGISTER_NODE__INIT;
    Chasqui__System__Node node;
    Chasqui__System__Labels labels;
    (void)t;
    describe(chance(s, NODES), 1 + chance(s, 5), &node, &labels);
    msg.node = &node;
    run(s, M(REGISTER_NODE), &msg.base);
}

static void set_labels(struct shard *s, const struct topology *t)
{
    Chasqui__System__SetLabels msg = CHASQUI__SYSTEM__SET_LABELS__INIT;
    Chasqui__System__Node node;
    Chasqui__System__Labels labels;
    (void)t;
    describe(chance(s, NODES), 9, &node, &labels);
    msg.uuid = node.uuid;
    msg.labels = &labels;
    run(s, M(SET_LABELS), &msg.base);
}

/* One that has left goes, as the planner lets it; others are asked to only now and then, and refuse. */
static void set_node_state(struct shard *s, const struct topology *t)
{
    Chasqui__System__SetNodeState msg = CHASQUI__SYSTEM__SET_NODE_STATE__INIT;
    msg.uuid = uuid(3 + chance(s, NODES - 3));
    msg.state = chance(s, 8) ? CHASQUI__SYSTEM__NODE_STATE__NODE_UP : CHASQUI__SYSTEM__NODE_STATE__NODE_GONE;
    for (uint32_t n = 0; n < t->node_count; n++)
        if (move_plan_has_left(t, n)) {
            msg.uuid = (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t)t->nodes[n].uuid};
            msg.state = CHASQUI__SYSTEM__NODE_STATE__NODE_GONE;
        }
    run(s, M(SET_NODE_STATE), &msg.base);
}

static void set_shard_map(struct shard *s, const struct topology *t)
{
    Chasqui__System__SetShardMap msg = CHASQUI__SYSTEM__SET_SHARD_MAP__INIT;
    Chasqui__System__SlotRange ranges[2] = {CHASQUI__SYSTEM__SLOT_RANGE__INIT, CHASQUI__SYSTEM__SLOT_RANGE__INIT};
    Chasqui__System__SlotRange *range_list[2] = {&ranges[0], &ranges[1]};
    Chasqui__System__Override override = CHASQUI__SYSTEM__OVERRIDE__INIT, *override_list[1] = {&override};
    uint64_t clear = (uint64_t)chance(s, 8) << 48;
    ranges[0].last = 1000 + chance(s, 60000);
    ranges[1].first = ranges[0].last + 1;
    ranges[1].last = 65535;
    ranges[0].group = 1 + chance(s, 12);
    ranges[1].group = 1 + chance(s, 13); /* 13 is none */
    override.account = (uint64_t)chance(s, 8) << 48;
    override.group = 1 + chance(s, 12);
    msg.if_epoch = t->epoch - !chance(s, 5);
    msg.slots = range_list;
    msg.n_slots = chance(s, 3) ? 0 : 2;
    msg.overrides = override_list;
    msg.n_overrides = 1;
    msg.clear = &clear;
    msg.n_clear = chance(s, 2);
    run(s, M(SET_SHARD_MAP), &msg.base);
}

static void set_shard(struct shard *s, const struct topology *t)
{
    Chasqui__System__SetShard msg = CHASQUI__SYSTEM__SET_SHARD__INIT;
    Chasqui__System__Shard shard = CHASQUI__SYSTEM__SHARD__INIT;
    const struct topology_shard *old = &t->shards[chance(s, (uint32_t)t->shard_count)];
    Chasqui__System__Replica replicas[TOPOLOGY_REPLICAS_MAX], *list[TOPOLOGY_REPLICAS_MAX];
    for (size_t i = 0; i < old->replica_count; i++) {
        chasqui__system__replica__init(&replicas[i]);
        replicas[i].id = old->replicas[i].id;
        replicas[i].voter = old->replicas[i].voter;
        replicas[i].node = (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t)t->nodes[old->replicas[i].node].uuid};
        list[i] = &replicas[i];
    }
    shard.group = old->group;
    shard.home = chance(s, 2) ? "a" : "b";
    shard.replicas = list;
    shard.n_replicas = old->replica_count;
    shard.preferred = old->replica_count ? old->replicas[chance(s, (uint32_t)old->replica_count)].id : 0;
    msg.if_epoch = t->epoch - !chance(s, 5);
    msg.shard = &shard;
    run(s, M(SET_SHARD), &msg.base);
}

static void allocate_replicas(struct shard *s, const struct topology *t)
{
    Chasqui__System__AllocateReplicas msg = CHASQUI__SYSTEM__ALLOCATE_REPLICAS__INIT;
    (void)t;
    msg.count = chance(s, 4);
    run(s, M(ALLOCATE_REPLICAS), &msg.base);
}

static void prefer_leader(struct shard *s, const struct topology *t)
{
    Chasqui__System__PreferLeader msg = CHASQUI__SYSTEM__PREFER_LEADER__INIT;
    (void)t;
    msg.group = chance(s, 14);
    msg.node = uuid(chance(s, NODES));
    run(s, M(PREFER_LEADER), &msg.base);
}

static void join_node(struct shard *s, const struct topology *t)
{
    Chasqui__System__JoinNode msg = CHASQUI__SYSTEM__JOIN_NODE__INIT;
    (void)t;
    msg.node = uuid(chance(s, NODES));
    run(s, M(JOIN_NODE), &msg.base);
}

static void drain_node(struct shard *s, const struct topology *t)
{
    Chasqui__System__DrainNode msg = CHASQUI__SYSTEM__DRAIN_NODE__INIT;
    (void)t;
    msg.node = uuid(chance(s, NODES));
    msg.undo = chance(s, 3) != 0;
    run(s, M(DRAIN_NODE), &msg.base);
}

static void decommission_node(struct shard *s, const struct topology *t)
{
    Chasqui__System__DecommissionNode msg = CHASQUI__SYSTEM__DECOMMISSION_NODE__INIT;
    (void)t;
    msg.node = uuid(chance(s, NODES));
    msg.force = chance(s, 2) != 0;
    run(s, M(DECOMMISSION_NODE), &msg.base);
}

static bool is_moving(const struct topology *t, uint32_t group)
{
    for (size_t i = 0; i < t->move_count; i++)
        if (t->moves[i].group == group)
            return true;
    return false;
}

/* From a node that holds it; mostly to one that may take it, of a shard that does not move. */
static void move_shard(struct shard *s, const struct topology *t)
{
    Chasqui__System__MoveShard msg = CHASQUI__SYSTEM__MOVE_SHARD__INIT;
    for (unsigned tries = 0; tries < 40; tries++) {
        const struct topology_shard *shard = &t->shards[chance(s, (uint32_t)t->shard_count)];
        uint32_t from = shard->replicas[chance(s, (uint32_t)shard->replica_count)].node;
        uint32_t to = chance(s, (uint32_t)t->node_count);
        msg.group = shard->group;
        msg.from = (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t)t->nodes[from].uuid};
        msg.to = (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t)t->nodes[to].uuid};
        if (!is_moving(t, shard->group) && t->nodes[to].state == TOPOLOGY_NODE_UP && !topology_replica_on(shard, to))
            break;
    }
    msg.force = chance(s, 2) != 0;
    run(s, M(MOVE_SHARD), &msg.base);
}

static void cancel_moves(struct shard *s, const struct topology *t)
{
    Chasqui__System__CancelMoves msg = CHASQUI__SYSTEM__CANCEL_MOVES__INIT;
    msg.group = t->move_count && chance(s, 2) ? t->moves[chance(s, (uint32_t)t->move_count)].group : chance(s, 13);
    run(s, M(CANCEL_MOVES), &msg.base);
}

static void step_move(struct shard *s, const struct topology *t)
{
    Chasqui__System__StepMove msg = CHASQUI__SYSTEM__STEP_MOVE__INIT;
    if (!t->move_count)
        return;
    const struct topology_move *move = &t->moves[chance(s, (uint32_t)t->move_count)];
    bool ends = move->step == TOPOLOGY_MOVE_CLEANING || (move->cancelled && move->step < TOPOLOGY_MOVE_REMOVING);
    msg.replica = move->replica;
    msg.before = (Chasqui__System__MoveStep)move->step;
    msg.to = (Chasqui__System__MoveStep)(ends ? TOPOLOGY_MOVE_NONE : move->step + 1);
    run(s, M(STEP_MOVE), &msg.base);
}

static void finalize_version(struct shard *s, const struct topology *t)
{
    Chasqui__System__FinalizeVersion msg = CHASQUI__SYSTEM__FINALIZE_VERSION__INIT;
    (void)t;
    msg.version = chance(s, 4);
    run(s, M(FINALIZE_VERSION), &msg.base);
}

/* What no node of ours would propose. */
static void wrong(struct shard *s, const struct topology *t)
{
    Chasqui__System__AllocateReplicas msg = CHASQUI__SYSTEM__ALLOCATE_REPLICAS__INIT;
    struct entry entry = {.version = 1, .method = M(ALLOCATE_REPLICAS)};
    (void)t;
    msg.count = 1;
    switch (chance(s, 4)) {
    case 0:
        entry.version = (uint16_t)(chance(s, 2) * 2); /* 0, or above what is active */
        break;
    case 1:
        entry.account = 1;
        break;
    case 2:
        entry.method = 219;
        break;
    default:
        put_entry(s, cq_slice_cstr("no entry at all"));
        return;
    }
    run_as(s, &entry, &msg.base);
}

static const struct {
    void (*run)(struct shard *s, const struct topology *t);
    uint32_t weight;
} commands[] = {
    {register_node, 6}, {set_labels, 2},    {set_node_state, 2},    {set_shard_map, 4},     {set_shard, 4},
    {join_node, 6},     {prefer_leader, 4}, {drain_node, 3},        {decommission_node, 2}, {move_shard, 6},
    {cancel_moves, 2},  {step_move, 60},    {allocate_replicas, 2}, {finalize_version, 2},  {wrong, 2},
};

static void write_log(const char *path)
{
    struct shard s;
    uint8_t digest[16], end[4];
    uint32_t sum = 0;
    shard_open(&s);
    s.out = fopen(path, "wb");
    assert_non_null(s.out);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        sum += commands[i].weight;
    register_node(&s, NULL); /* there is no cluster yet */
    init(&s);
    init(&s);
    for (unsigned step = 0; step < STEPS; step++) {
        const struct topology *t = system_machine_topology(s.machine);
        uint32_t at = chance(&s, sum);
        size_t i = 0;
        while (at >= commands[i].weight)
            at -= commands[i++].weight;
        commands[i].run(&s, t);
        topology_unref(&t);
    }
    cq_put_le32(end, GOLDEN_END);
    s.machine->ops->digest(s.machine, digest);
    put(&s, end, sizeof end);
    put(&s, digest, sizeof digest);
    assert_int_equal(fclose(s.out), 0);
    shard_close(&s);
}

/* ---- Replaying ---- */

static unsigned done[UINT16_MAX + 1], refused[UINT16_MAX + 1]; /* by method */

/* The next entry; false after the last. */
static bool replay_next(struct shard *s, FILE *f)
{
    uint8_t head[12], want[16], digest[16];
    struct entry entry = {0};
    assert_int_equal(fread(head, 1, 4, f), 4);
    uint32_t len = cq_get_le32(head);
    if (len == GOLDEN_END) {
        assert_int_equal(fread(want, 1, sizeof want, f), sizeof want);
        s->machine->ops->digest(s->machine, digest);
        assert_memory_equal(want, digest, sizeof want);
        return false;
    }
    assert_true(len <= ENTRY_MAX && fread(head + 4, 1, 8, f) == 8);
    uint8_t *bytes = cq_malloc(len);
    assert_int_equal(fread(bytes, 1, len, f), len);
    apply(s, cq_slice_of(bytes, len));
    if (s->hash != cq_get_le64(head + 4))
        fail_msg("another outcome at index %llu: %s", (unsigned long long)s->index, cq_rc_name(s->rc));
    struct cq_pool *pool = cq_pool_new(1024);
    if (entry_decode(cq_slice_of(bytes, len), pool, &entry, NULL) == CQ_OK)
        ++*(s->rc == CQ_OK ? &done[entry.method] : &refused[entry.method]);
    cq_pool_free(&pool);
    free(bytes);
    return true;
}

static void entries_of_earlier_builds_still_give_the_same_answers_and_digest(void **state)
{
    (void)state;
    struct shard s;
    FILE *f = fopen(GOLDEN_FOLDER "/system-1.log", "rb");
    assert_non_null(f);
    shard_open(&s);
    while (replay_next(&s, f))
        ;
    assert_int_equal(fgetc(f), EOF);
    fclose(f);
    shard_close(&s);
}

static void the_log_has_every_command_of_its_version_done_and_refused(void **state)
{
    (void)state;
    static const uint16_t of_version_1[] = {
        M(INIT_CLUSTER), M(REGISTER_NODE), M(SET_LABELS),        M(SET_NODE_STATE),    M(SET_SHARD_MAP),
        M(SET_SHARD),    M(JOIN_NODE),     M(DRAIN_NODE),        M(DECOMMISSION_NODE), M(MOVE_SHARD),
        M(CANCEL_MOVES), M(STEP_MOVE),     M(ALLOCATE_REPLICAS), M(PREFER_LEADER),     M(FINALIZE_VERSION)};
    for (size_t i = 0; i < sizeof of_version_1 / sizeof *of_version_1; i++) {
        uint16_t method = of_version_1[i];
        bool never_refused = method == M(INIT_CLUSTER) || method == M(CANCEL_MOVES) || method == M(STEP_MOVE);
        if (!done[method] || (!refused[method] && !never_refused))
            fail_msg("%s: %u done, %u refused", system_method_find(method)->name, done[method], refused[method]);
    }
}

int main(void)
{
    const char *path = getenv("CQ_GOLDEN_WRITE");
    if (path) {
        write_log(path);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_of_earlier_builds_still_give_the_same_answers_and_digest),
        cmocka_unit_test(the_log_has_every_command_of_its_version_done_and_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
