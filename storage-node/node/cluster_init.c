#include "node/cluster_init.h"

#include "base/cq_log.h"
#include "cluster/placement.h"
#include "node/call_codec.h"
#include "node/node.h"
#include "node/system_client.h"
#include "node/topology_keeper.h"
#include "proto/system.pb-c.h"

#define NODES_MAX 64      /* first nodes of a cluster */
#define SYSTEM_REPLICAS 3 /* of the system shard, when there are so many nodes */

/* One making of a cluster. Messages live until the end (free_all). */
struct plan {
    struct node *node;
    struct cq_pool *pool;
    uint64_t deadline_us;
    Chasqui__System__ClusterInit *request;
    Chasqui__System__NodeInfo *infos[NODES_MAX];
    Chasqui__System__Node *nodes[NODES_MAX]; /* inside infos */
    size_t node_count;
    Chasqui__System__Replica replica[SYSTEM_REPLICAS];
    Chasqui__System__Replica *replicas[SYSTEM_REPLICAS];
    uint32_t replica_node[SYSTEM_REPLICAS];
    size_t replica_count;
};

static enum cq_rc ask_node(struct plan *p, const char *address, struct cq_err *err)
{
    struct cq_slice body;
    enum cq_rc rc = node_call(p->node, address, CHASQUI__SYSTEM__METHOD__NODE_INFO, CQ_SLICE_NONE, p->deadline_us,
                              p->pool, &body, err);
    if (rc != CQ_OK)
        return rc;
    Chasqui__System__NodeInfo *info = chasqui__system__node_info__unpack(NULL, body.len, body.data);
    if (!info)
        return CQ_FAIL(err, CQ_E_PROTO, "%s: its answer does not decode", address);
    size_t n = p->node_count++;
    p->infos[n] = info;
    p->nodes[n] = info->node;
    if (!info->node || info->node->uuid.len != TOPOLOGY_UUID_SIZE)
        return CQ_FAIL(err, CQ_E_PROTO, "%s: it does not say who it is", address);
    if (strcmp(info->cluster, p->node->dir.cluster) != 0)
        return CQ_FAIL(err, CQ_E_CONFLICT, "%s: it is a node of cluster \"%.63s\"", address, info->cluster);
    if (info->epoch > 0)
        return CQ_FAIL(err, CQ_E_EXISTS, "%s: it belongs to an initialised cluster already", address);
    for (size_t i = 0; i < n; i++)
        if (memcmp(p->nodes[i]->uuid.data, info->node->uuid.data, TOPOLOGY_UUID_SIZE) == 0)
            return CQ_FAIL(err, CQ_E_INVALID, "%s: it is the same node as another address", address);
    return CQ_OK;
}

static enum cq_rc ask_nodes(struct plan *p, struct cq_err *err)
{
    if (p->request->n_addresses == 0 || p->request->n_addresses > NODES_MAX)
        return CQ_FAIL(err, CQ_E_INVALID, "%zu addresses; 1 to %d storage nodes begin a cluster",
                       p->request->n_addresses, NODES_MAX);
    enum cq_rc rc = CQ_OK;
    for (size_t i = 0; i < p->request->n_addresses && rc == CQ_OK; i++)
        rc = ask_node(p, p->request->addresses[i], err);
    return rc;
}

static const char *text(const char *s)
{
    return s ? s : "";
}

/* The same nodes for the same addresses, so that a repetition makes the same replicas. */
static void place_system(struct plan *p)
{
    struct topology_node nodes[NODES_MAX] = {0};
    for (size_t i = 0; i < p->node_count; i++) {
        const Chasqui__System__Node *n = p->nodes[i];
        memcpy(nodes[i].uuid, n->uuid.data, TOPOLOGY_UUID_SIZE);
        nodes[i].address = n->address;
        nodes[i].region = n->labels ? text(n->labels->region) : "";
        nodes[i].dc = n->labels ? text(n->labels->dc) : "";
        nodes[i].zone = n->labels ? text(n->labels->zone) : "";
        nodes[i].host = n->labels ? text(n->labels->host) : "";
        nodes[i].version = "";
        nodes[i].state = TOPOLOGY_NODE_UP;
    }
    struct ring *ring = placement_ring(nodes, p->node_count);
    size_t want = p->node_count < SYSTEM_REPLICAS ? 1 : SYSTEM_REPLICAS;
    p->replica_count = placement_replicas(nodes, p->node_count, ring, GROUP_SYSTEM, "", want, p->replica_node);
    ring_free(&ring);
    for (size_t i = 0; i < p->replica_count; i++) {
        chasqui__system__replica__init(&p->replica[i]);
        p->replica[i].id = i + 1;
        p->replica[i].node = p->nodes[p->replica_node[i]]->uuid;
        p->replica[i].voter = true;
        p->replicas[i] = &p->replica[i];
    }
}

static enum cq_rc bootstrap_nodes(struct plan *p, struct cq_err *err)
{
    Chasqui__System__BootstrapSystem message = CHASQUI__SYSTEM__BOOTSTRAP_SYSTEM__INIT;
    message.cluster = p->node->dir.cluster;
    message.replicas = p->replicas;
    message.n_replicas = p->replica_count;
    message.nodes = p->nodes;
    message.n_nodes = p->node_count;
    struct cq_slice body = message_pack(&message.base, p->pool), reply;
    enum cq_rc rc = CQ_OK;
    for (size_t i = 0; i < p->replica_count && rc == CQ_OK; i++)
        rc = node_call(p->node, p->nodes[p->replica_node[i]]->address, CHASQUI__SYSTEM__METHOD__BOOTSTRAP_SYSTEM, body,
                       p->deadline_us, p->pool, &reply, err);
    return rc;
}

static enum cq_rc first_command(struct plan *p, struct cq_slice *body_r, struct cq_err *err)
{
    Chasqui__System__InitCluster message = CHASQUI__SYSTEM__INIT_CLUSTER__INIT;
    const char *addresses[SYSTEM_REPLICAS];
    message.cluster = p->node->dir.cluster;
    message.nodes = p->nodes;
    message.n_nodes = p->node_count;
    message.shards = p->request->shards ? p->request->shards : PLACEMENT_SHARDS;
    message.replicas = p->request->replicas                 ? p->request->replicas
                       : p->node_count < PLACEMENT_REPLICAS ? (uint32_t)p->node_count
                                                            : PLACEMENT_REPLICAS;
    message.system = p->replicas;
    message.n_system = p->replica_count;
    for (size_t i = 0; i < p->replica_count; i++)
        addresses[i] = p->nodes[p->replica_node[i]]->address;
    return system_call(p->node, addresses, p->replica_count, CHASQUI__SYSTEM__METHOD__INIT_CLUSTER,
                       message_pack(&message.base, p->pool), p->deadline_us, p->pool, body_r, err);
}

static void free_all(struct plan *p)
{
    for (size_t i = 0; i < p->node_count; i++)
        chasqui__system__node_info__free_unpacked(p->infos[i], NULL);
    if (p->request)
        chasqui__system__cluster_init__free_unpacked(p->request, NULL);
}

enum cq_rc cluster_init(struct node *node, struct cq_slice body, uint64_t deadline_us, struct cq_pool *pool,
                        struct cq_slice *body_r, struct cq_err *err)
{
    struct plan plan = {.node = node, .pool = pool, .deadline_us = deadline_us};
    if (topology_keeper_epoch(node->keeper) > 0)
        return CQ_FAIL(err, CQ_E_EXISTS, "the cluster \"%s\" is initialised already", node->dir.cluster);
    plan.request = chasqui__system__cluster_init__unpack(NULL, body.len, body.data);
    enum cq_rc rc = plan.request ? ask_nodes(&plan, err) : CQ_FAIL(err, CQ_E_PROTO, "the request does not decode");
    if (rc == CQ_OK) {
        place_system(&plan);
        rc = bootstrap_nodes(&plan, err);
    }
    if (rc == CQ_OK)
        rc = first_command(&plan, body_r, err);
    if (rc == CQ_OK)
        cq_log(CQ_INFO, "cluster.initialised", CQ_F_STR("cluster", node->dir.cluster),
               CQ_F_U64("nodes", plan.node_count));
    free_all(&plan);
    return rc;
}

/* ---- At the nodes that hold the system shard ---- */

static enum cq_rc read_members(const Chasqui__System__BootstrapSystem *m, struct raft_member *members,
                               struct cq_err *err)
{
    if (m->n_replicas == 0 || m->n_replicas > RAFT_MEMBERS_MAX)
        return CQ_FAIL(err, CQ_E_INVALID, "%zu replicas", m->n_replicas);
    for (size_t i = 0; i < m->n_replicas; i++) {
        if (m->replicas[i]->node.len != sizeof members[i].node.uuid)
            return CQ_FAIL(err, CQ_E_PROTO, "a node's id of %zu bytes", m->replicas[i]->node.len);
        members[i] = (struct raft_member){.replica = m->replicas[i]->id, .role = RAFT_MEMBER_VOTER};
        memcpy(members[i].node.uuid, m->replicas[i]->node.data, sizeof members[i].node.uuid);
    }
    return CQ_OK;
}

static enum cq_rc make_replica(struct node *node, const struct raft_member *members, size_t count, struct cq_err *err)
{
    struct node_group_spec spec = {
        .record = {.group = GROUP_SYSTEM, .generation = 1, .incarnation = group_first_incarnation(GROUP_SYSTEM)},
        .members = members,
        .member_count = count};
    for (size_t i = 0; i < count; i++)
        if (memcmp(members[i].node.uuid, node->dir.node, sizeof node->dir.node) == 0)
            spec.record.replica = members[i].replica;
    if (spec.record.replica == 0)
        return CQ_FAIL(err, CQ_E_INVALID, "this node is not among the replicas");
    const struct group *group = groups_find(&node->groups, GROUP_SYSTEM);
    if (group)
        return group->record.replica == spec.record.replica
                   ? CQ_OK
                   : CQ_FAIL(err, CQ_E_EXISTS, "this node holds another replica of the system shard");
    enum cq_rc rc = node_group_open(node, &spec, err);
    return rc == CQ_E_EXISTS ? CQ_OK : rc;
}

static void dial(struct node *node, const Chasqui__System__BootstrapSystem *m)
{
    for (size_t i = 0; i < m->n_nodes; i++)
        if (m->nodes[i]->uuid.len == 16 && memcmp(m->nodes[i]->uuid.data, node->dir.node, 16) != 0)
            node_dial(node, m->nodes[i]->address);
}

enum cq_rc cluster_bootstrap_system(struct node *node, struct cq_slice body, struct cq_err *err)
{
    struct raft_member members[RAFT_MEMBERS_MAX];
    Chasqui__System__BootstrapSystem *m = chasqui__system__bootstrap_system__unpack(NULL, body.len, body.data);
    if (!m)
        return CQ_FAIL(err, CQ_E_PROTO, "the request does not decode");
    enum cq_rc rc = CQ_OK;
    if (strcmp(m->cluster, node->dir.cluster) != 0)
        rc = CQ_FAIL(err, CQ_E_CONFLICT, "this is a node of cluster \"%s\"", node->dir.cluster);
    if (rc == CQ_OK)
        rc = read_members(m, members, err);
    if (rc == CQ_OK)
        rc = make_replica(node, members, m->n_replicas, err);
    if (rc == CQ_OK)
        dial(node, m);
    chasqui__system__bootstrap_system__free_unpacked(m, NULL);
    return rc;
}
