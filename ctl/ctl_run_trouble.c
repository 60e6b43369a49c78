/* What an operator tells one node, or all nodes of a shard, when they are in trouble of their own (docs/trouble.md). */
#include "ctl_storage.h"

#include <stdio.h>
#include <string.h>

static const struct topology_node *find_node(struct ctl *ctl, const struct topology *t, struct cq_slice name)
{
    for (size_t i = 0; i < t->node_count; i++)
        if (cq_slice_eq(name, cq_slice_cstr(t->nodes[i].address)) ||
            cq_slice_eq(name, cq_slice_cstr(ctl_uuid_text(ctl, t->nodes[i].uuid))))
            return &t->nodes[i];
    fprintf(stderr, "chasquictl: there is no node \"%.*s\"; see chasquictl node list\n", (int)name.len, name.data);
    return NULL;
}

/* A row when it was done. if_any: a node that has nothing of the kind is passed over. */
static enum ctl_exit tell(struct ctl *ctl, const struct topology_node *node, uint16_t method,
                          const ProtobufCMessage *message, bool if_any, struct ctl_rows *rows)
{
    const struct ctl_call call = {.address = node->address,
                                  .peer_roles = RPC_ROLE_STORAGE,
                                  .method = method,
                                  .command = true,
                                  .message = ctl_wrap(ctl, message)};
    struct rpc_reply_in reply;
    struct cq_err err = {0};
    enum rpc_fate fate = ctl_rpc(ctl, &call, &reply, &err);
    if (fate == RPC_ANSWERED && reply.rc == CQ_E_NOT_FOUND && if_any)
        return CTL_DONE;
    if (fate != RPC_ANSWERED || reply.rc != CQ_OK)
        return ctl_complain(node->address, fate, &reply, &err);
    CTL_ADD_ROW(ctl, rows, ctl_uuid_text(ctl, node->uuid), cq_pool_cstr(ctl->pool, cq_slice_cstr(node->address)));
    return CTL_DONE;
}

enum ctl_exit ctl_release_ballast(struct ctl *ctl, const struct ctl_request *request, struct ctl_rows *rows)
{
    Chasqui__Mail__Empty message = CHASQUI__MAIL__EMPTY__INIT;
    const struct topology *topology;
    struct cq_slice name = CQ_SLICE_NONE;
    enum ctl_exit status = ctl_topology(ctl, &topology);
    if (status != CTL_DONE)
        return status;
    ctl_field(request, "node", &name);
    const struct topology_node *node = find_node(ctl, topology, name);
    status = node ? tell(ctl, node, CHASQUI__SYSTEM__METHOD__RELEASE_BALLAST, &message.base, false, rows) : CTL_REFUSED;
    topology_unref(&topology);
    return status;
}

/* All nodes, because one that could not be reached may be asked again. */
enum ctl_exit ctl_release_shard(struct ctl *ctl, uint32_t shard, struct ctl_rows *rows)
{
    Chasqui__System__ReleaseReplica message = CHASQUI__SYSTEM__RELEASE_REPLICA__INIT;
    const struct topology *topology;
    enum ctl_exit status = ctl_topology(ctl, &topology), one;
    if (status != CTL_DONE)
        return status;
    const struct topology_shard *found = topology_shard(topology, shard);
    message.group = shard;
    for (size_t i = 0; found && i < found->replica_count; i++) {
        one = tell(ctl, &topology->nodes[found->replicas[i].node], CHASQUI__SYSTEM__METHOD__RELEASE_REPLICA,
                   &message.base, true, rows);
        if (one != CTL_DONE)
            status = one;
    }
    if (!found || (status == CTL_DONE && rows->count == 0)) {
        fprintf(stderr, "chasquictl: shard %u is not put aside anywhere; see chasquictl shard show %u\n", shard, shard);
        status = CTL_REFUSED;
    }
    topology_unref(&topology);
    return status;
}
