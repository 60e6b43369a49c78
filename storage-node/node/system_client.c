#include "node/system_client.h"

#include "io/io_fiber.h"
#include "node/call_codec.h"
#include "node/node.h"
#include "node/topology_keeper.h"

#define ROUND_PAUSE_MS 100 /* between two rounds over all addresses */
#define CALL_MS 3000       /* one attempt of a system_call */

enum cq_rc node_call(struct node *node, const char *address, uint16_t method, struct cq_slice body,
                     uint64_t deadline_us, struct cq_pool *pool, struct cq_slice *body_r, struct cq_err *err)
{
    struct rpc_client_limits limits = node->config->client;
    struct rpc_reply_in reply = {0};
    const char *text = "";
    limits.connections = 1;
    struct rpc_client *client = rpc_client_new(&(struct rpc_client_config){.loop = io_loop_self(),
                                                                           .resolver = node->resolver,
                                                                           .tls = node->client_tls,
                                                                           .address = address,
                                                                           .peer_roles = RPC_ROLE_STORAGE,
                                                                           .hello = &node->hello,
                                                                           .limits = limits});
    const struct rpc_call call = {.method = method, .deadline_us = deadline_us, .message = call_pack(body, pool)};
    enum rpc_fate fate = rpc_call(client, &call, pool, &reply, err);
    rpc_client_free(&client);
    if (fate != RPC_ANSWERED)
        return cq_err_context(err, "%s", address), reply.rc;
    enum cq_rc rc = answer_body(reply.message, pool, body_r, &text, err);
    if (reply.rc != CQ_OK)
        return CQ_FAIL(err, reply.rc, "%s: %s", address, rc == CQ_OK && text[0] ? text : cq_rc_text(reply.rc));
    return rc;
}

/* May another node, or the same one later, give a better answer? */
static bool try_on(enum cq_rc rc)
{
    return rc == CQ_E_NOT_LEADER || rc == CQ_E_UNAVAILABLE || rc == CQ_E_TIMEOUT || rc == CQ_E_OVERLOADED ||
           rc == CQ_E_UNKNOWN_OUTCOME || rc == CQ_E_IO;
}

struct attempt {
    struct node *node;
    uint16_t method;
    struct cq_slice body;
    uint64_t deadline_us;
    struct cq_pool *pool;
    struct cq_slice *body_r;
    struct cq_err *err;
};

static enum cq_rc attempt(const struct attempt *a, const char *address)
{
    uint64_t deadline = io_loop_deadline(io_loop_self(), CALL_MS);
    return node_call(a->node, address, a->method, a->body, deadline < a->deadline_us ? deadline : a->deadline_us,
                     a->pool, a->body_r, a->err);
}

/* The leader of group 0 as this node knows it. */
static enum cq_rc ask_known_leader(const struct attempt *a, const struct topology *topology)
{
    const struct group *group = groups_find(&a->node->groups, GROUP_SYSTEM);
    const struct topology_shard *shard = topology_shard(topology, GROUP_SYSTEM);
    if (!group || !shard)
        return CQ_E_NOT_LEADER;
    const struct topology_replica *replica = topology_replica(shard, atomic_load(&group->leader));
    return replica ? attempt(a, topology->nodes[replica->node].address) : CQ_E_NOT_LEADER;
}

static enum cq_rc ask_all(const struct attempt *a, const char *const *addresses, size_t count,
                          const struct topology *topology)
{
    enum cq_rc rc = CQ_E_UNAVAILABLE;
    size_t all = count ? count : topology ? topology->node_count : 0;
    for (size_t i = 0; i < all && try_on(rc); i++)
        if (count || topology->nodes[i].state != TOPOLOGY_NODE_GONE)
            rc = attempt(a, count ? addresses[i] : topology->nodes[i].address);
    return rc;
}

enum cq_rc system_call(struct node *node, const char *const *addresses, size_t address_count, uint16_t method,
                       struct cq_slice body, uint64_t deadline_us, struct cq_pool *pool, struct cq_slice *body_r,
                       struct cq_err *err)
{
    const struct attempt a = {node, method, body, deadline_us, pool, body_r, err};
    enum cq_rc rc = CQ_E_UNAVAILABLE;
    do {
        const struct topology *topology = topology_keeper_get(node->keeper);
        rc = topology ? ask_known_leader(&a, topology) : CQ_E_NOT_LEADER;
        if (try_on(rc))
            rc = ask_all(&a, addresses, address_count, topology);
        topology_unref(&topology);
        if (!try_on(rc))
            return rc;
        if (io_fiber_sleep(ROUND_PAUSE_MS) != CQ_OK)
            return CQ_FAIL(err, CQ_E_CANCELLED, "cancelled");
    } while (io_loop_now_us(io_loop_self()) < deadline_us && !atomic_load(&node->stopping));
    return rc;
}
