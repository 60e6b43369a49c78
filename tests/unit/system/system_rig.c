#include "system_rig.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cq_mem.h"
#include "proto/mail.pb-c.h"
#include "state/entry.h"
#include "store/store_mem.h"

static void sys_open_machine(struct sys_fixture *f)
{
    const struct machine_config config = {
        .store = f->store, .group = 0, .generation = 1, .incarnation = 1, .known = f->known};
    struct cq_err err = {0};
    if (system_machine_open(&config, &f->machine, &err) != CQ_OK)
        fail_msg("%s", err.text);
}

int sys_setup(void **state)
{
    struct sys_fixture *f = cq_new(struct sys_fixture);
    f->store = store_mem_new();
    f->pool = cq_pool_new(4096);
    f->time = 1000000;
    sys_open_machine(f);
    *state = f;
    return 0;
}

static void sys_drop_answer(struct sys_fixture *f)
{
    if (f->answer)
        chasqui__mail__answer__free_unpacked(f->answer, NULL);
    f->answer = NULL;
}

int sys_teardown(void **state)
{
    struct sys_fixture *f = *state;
    sys_drop_answer(f);
    if (f->machine)
        f->machine->ops->close(f->machine);
    store_close(&f->store);
    cq_pool_free(&f->pool);
    free(f);
    return 0;
}

/* Takes all effects and writes them. */
void sys_flush(struct sys_fixture *f)
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

void sys_reopen(struct sys_fixture *f)
{
    sys_flush(f);
    f->machine->ops->close(f->machine);
    sys_open_machine(f);
}

enum cq_rc sys_apply_bytes(struct sys_fixture *f, struct cq_slice entry)
{
    sys_drop_answer(f);
    f->machine->ops->apply(f->machine, (struct machine_position){++f->index, 1}, entry, f->pool, &f->last);
    f->answer = chasqui__mail__answer__unpack(NULL, f->last.answer.len, f->last.answer.data);
    assert_non_null(f->answer);
    return f->last.rc;
}

enum cq_rc sys_apply_body(struct sys_fixture *f, uint32_t method, struct cq_slice body)
{
    struct entry entry = {
        .version = f->version ? f->version : 1, .method = (uint16_t)method, .time = f->time++, .body = body};
    struct cq_buf buf;
    cq_buf_init(&buf, ENTRY_MAX);
    assert_int_equal(entry_encode(&entry, &buf, NULL), CQ_OK);
    enum cq_rc rc = sys_apply_bytes(f, cq_buf_slice(&buf));
    cq_buf_fini(&buf);
    return rc;
}

enum cq_rc sys_apply(struct sys_fixture *f, uint32_t method, const ProtobufCMessage *message)
{
    uint8_t *bytes = cq_malloc(protobuf_c_message_get_packed_size(message) + 1);
    enum cq_rc rc = sys_apply_body(f, method, cq_slice_of(bytes, protobuf_c_message_pack(message, bytes)));
    free(bytes);
    return rc;
}

uint64_t sys_epoch(const struct sys_fixture *f)
{
    const struct topology *t = system_machine_topology(f->machine);
    uint64_t value = t->epoch;
    topology_unref(&t);
    return value;
}

static char uuids[16][17];

ProtobufCBinaryData sys_uuid(unsigned n)
{
    snprintf(uuids[n], sizeof uuids[n], "node-%02u-abcdefgh", n);
    return (ProtobufCBinaryData){16, (uint8_t *)uuids[n]};
}

void sys_init_fill(struct sys_init *init, unsigned nodes)
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
        init->nodes[i].uuid = sys_uuid(nodes - 1 - i); /* not in order */
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

void sys_init_cluster(struct sys_fixture *f)
{
    struct sys_init init;
    sys_init_fill(&init, 3);
    assert_int_equal(sys_apply(f, M(INIT_CLUSTER), &init.msg.base), CQ_OK);
}

const struct topology_node *sys_node_of(const struct topology *t, unsigned n)
{
    return &t->nodes[topology_node_index(t, sys_uuid(n).data)];
}

enum cq_rc sys_register_node(struct sys_fixture *f, unsigned n, char *address, uint64_t boot)
{
    Chasqui__System__RegisterNode reg = CHASQUI__SYSTEM__REGISTER_NODE__INIT;
    Chasqui__System__Node node = CHASQUI__SYSTEM__NODE__INIT;
    Chasqui__System__Labels labels = CHASQUI__SYSTEM__LABELS__INIT;
    labels.dc = "from-settings";
    node.uuid = sys_uuid(n);
    node.address = address;
    node.boot = boot;
    node.labels = &labels;
    reg.node = &node;
    return sys_apply(f, M(REGISTER_NODE), &reg.base);
}

enum cq_rc sys_set_state(struct sys_fixture *f, unsigned n, int node_state)
{
    Chasqui__System__SetNodeState msg = CHASQUI__SYSTEM__SET_NODE_STATE__INIT;
    msg.uuid = sys_uuid(n);
    msg.state = (Chasqui__System__NodeState)node_state;
    return sys_apply(f, M(SET_NODE_STATE), &msg.base);
}

enum cq_rc sys_decommission(struct sys_fixture *f, unsigned n, bool force)
{
    Chasqui__System__DecommissionNode msg = CHASQUI__SYSTEM__DECOMMISSION_NODE__INIT;
    msg.node = sys_uuid(n);
    msg.force = force;
    return sys_apply(f, M(DECOMMISSION_NODE), &msg.base);
}

uint64_t sys_allocate(struct sys_fixture *f, uint32_t count)
{
    Chasqui__System__AllocateReplicas msg = CHASQUI__SYSTEM__ALLOCATE_REPLICAS__INIT;
    msg.count = count;
    if (sys_apply(f, M(ALLOCATE_REPLICAS), &msg.base) != CQ_OK)
        return 0;
    Chasqui__System__AllocateReplicasReply *reply =
        chasqui__system__allocate_replicas_reply__unpack(NULL, f->answer->body.len, f->answer->body.data);
    uint64_t first = reply->first;
    assert_int_equal(reply->count, count);
    chasqui__system__allocate_replicas_reply__free_unpacked(reply, NULL);
    return first;
}

void sys_digest_of(const struct sys_fixture *f, uint8_t out[16])
{
    f->machine->ops->digest(f->machine, out);
}

void sys_add_node(struct sys_fixture *f, unsigned n)
{
    Chasqui__System__RegisterNode reg = CHASQUI__SYSTEM__REGISTER_NODE__INIT;
    Chasqui__System__Node node = CHASQUI__SYSTEM__NODE__INIT;
    Chasqui__System__Labels labels = CHASQUI__SYSTEM__LABELS__INIT;
    labels.dc = "a";
    node.uuid = sys_uuid(n);
    node.address = "new:1";
    node.labels = &labels;
    node.boot = 1;
    reg.node = &node;
    assert_int_equal(sys_apply(f, M(REGISTER_NODE), &reg.base), CQ_OK);
}

enum cq_rc sys_join(struct sys_fixture *f, unsigned n)
{
    Chasqui__System__JoinNode msg = CHASQUI__SYSTEM__JOIN_NODE__INIT;
    msg.node = sys_uuid(n);
    return sys_apply(f, M(JOIN_NODE), &msg.base);
}
