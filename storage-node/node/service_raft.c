#include "node/service_raft.h"

#include <stdlib.h>

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "node/node.h"
#include "node/topology_keeper.h"

/* Message and raw bytes are one run of octets: the frame. */
static void on_frame(struct rpc_request *request, void *ctx)
{
    struct node *node = worker_node(ctx);
    const struct rpc_hello *hello = rpc_peer_hello(rpc_request_peer(request));
    const struct rpc_payload *payload = rpc_request_payload_peek(request);
    struct raft_node from;
    if (hello->has_node && payload && payload->len && topology_keeper_admits(node->keeper, hello, NULL) == CQ_OK) {
        memcpy(from.uuid, hello->node, sizeof from.uuid);
        raft_thread_receive(node->raft, &from, raft_bytes_copy(cq_slice_of(payload->data, payload->len)));
    }
    rpc_reply_rc(request, CQ_OK);
}

static void on_health(struct rpc_request *request, void *ctx)
{
    struct node *node = worker_node(ctx);
    const struct rpc_hello *hello = rpc_peer_hello(rpc_request_peer(request));
    struct health_report report;
    struct raft_node from;
    if (hello->has_node && health_decode(rpc_request_message(request), &report) == CQ_OK) {
        memcpy(from.uuid, hello->node, sizeof from.uuid);
        health_table_set(&node->health, &from, &report, cq_time_mono_us());
    }
    rpc_reply_rc(request, CQ_OK);
}

#define ROW(m, name)                                                                                                   \
    {                                                                                                                  \
        m, name, RPC_ROLE_STORAGE, RPC_METHOD_ONEWAY | RPC_METHOD_INLINE, RAFT_FRAME_MAX, RAFT_FRAME_MAX, on_frame     \
    }

static const struct rpc_method methods[] = {
    ROW(METHOD_RAFT_CONTROL, "RAFT_CONTROL"),
    ROW(METHOD_RAFT_APPEND, "RAFT_APPEND"),
    {METHOD_NODE_HEALTH, "NODE_HEALTH", RPC_ROLE_STORAGE, RPC_METHOD_ONEWAY | RPC_METHOD_INLINE, HEALTH_MESSAGE_MAX, 0,
     on_health},
};

struct rpc_service service_raft(struct worker *worker)
{
    return (struct rpc_service){methods, sizeof methods / sizeof *methods, worker};
}

struct met {
    struct node *node;
    char address[RPC_HELLO_TEXT_MAX + 1];
};

static void on_met(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct met *met = arg;
    if (met->node->peers)
        peers_add(met->node->peers, met->address);
    free(met);
}

void service_raft_met(struct node *node, const struct rpc_hello *hello)
{
    struct cq_err err = {0};
    if (!hello->has_node || !hello->address[0])
        return;
    if (topology_keeper_admits(node->keeper, hello, &err) != CQ_OK) {
        cq_log(CQ_ERROR, "peer.refused", CQ_F_ERR(&err)); /* once a connection; what it sends is dropped */
        return;
    }
    topology_keeper_met(node->keeper, hello->address);
    struct met *met = cq_new(struct met);
    met->node = node;
    RPC_HELLO_SET(met->address, hello->address);
    io_loop_post(raft_thread_loop(node->raft), on_met, met);
}
