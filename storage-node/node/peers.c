#include "node/peers.h"

#include <stdlib.h>

#include "base/cq_list.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_metrics.h"

#define CHANNELS 2
#define SLICES_KEEP 256
#define APPEND_GRACE_MS 50 /* a dead process ends both connections: which end is seen first says nothing */

static const char *const channel_names[] = {[RAFT_CONTROL] = "control", [RAFT_APPEND] = "append"};
static const char *const send_results[] = {"sent", "not_connected", "overloaded"};

enum { M_CONNECTED, M_FRAMES, M_BYTES, M_ROWS };
static const struct cq_metric rows[M_ROWS] = {
    [M_CONNECTED] = CQ_GAUGE("chasqui_raft_peers_connected", "Other storage nodes with both connections up"),
    [M_FRAMES] = CQ_COUNTER("chasqui_raft_frames_total", "Raft frames to other nodes",
                            CQ_LABEL("channel", channel_names), CQ_LABEL("result", send_results)),
    [M_BYTES] = CQ_COUNTER("chasqui_raft_sent_bytes_total", "Bytes of Raft frames to other nodes, bodies included",
                           CQ_LABEL("channel", channel_names)),
};
struct cq_metrics peers_metrics = CQ_METRICS_OF(rows);

/* One address and its two connections. */
struct peer {
    struct cq_list link;
    struct peers *peers;
    char *address;
    struct rpc_client *client[CHANNELS];
    bool up[CHANNELS];
    bool known; /* node is what the last HELLO said */
    struct raft_node node;
    bool announced; /* `up` was told, `gone` was not */
    bool given_up;  /* it is ourselves, or another way to a connected node */
    bool alias;     /* the latter: dialled again when that node is gone */
    struct io_defer end;
    struct io_timer append_gone;
};

struct peers {
    struct peers_config config;
    struct cq_list list;
    size_t count;
    struct cq_slice *slices; /* scratch of send */
    size_t slices_max;
    struct io_defer revive;
};

static struct peer *find_node(struct peers *peers, const struct raft_node *node)
{
    cq_list_each (&peers->list, at) {
        struct peer *peer = cq_list_entry(at, struct peer, link);
        if (peer->known && !peer->given_up && raft_node_eq(&peer->node, node))
            return peer;
    }
    return NULL;
}

static bool is_self(const struct peers *peers, const struct raft_node *node)
{
    return memcmp(node->uuid, peers->config.hello->node, sizeof node->uuid) == 0;
}

static void announce(struct peer *peer)
{
    struct peers *peers = peer->peers;
    char text[RAFT_NODE_TEXT_SIZE];
    raft_node_text(&peer->node, text);
    cq_log(CQ_INFO, "peer.connected", CQ_F_STR("peer", text), CQ_F_STR("address", peer->address));
    peer->announced = true;
    cq_gauge_add(&peers_metrics, M_CONNECTED, 1);
    peers->config.up(peers->config.ctx, &peer->node);
}

static void withdraw(struct peer *peer, bool planned)
{
    struct peers *peers = peer->peers;
    char text[RAFT_NODE_TEXT_SIZE];
    raft_node_text(&peer->node, text);
    cq_log(CQ_INFO, "peer.gone", CQ_F_STR("peer", text), CQ_F_STR("address", peer->address),
           CQ_F_BOOL("planned", planned));
    peer->announced = false;
    cq_gauge_add(&peers_metrics, M_CONNECTED, -1);
    peers->config.gone(peers->config.ctx, &peer->node, planned);
    io_loop_defer(peers->config.loop, &peers->revive);
}

static void peer_stop(struct peer *peer)
{
    for (int c = 0; c < CHANNELS; c++) {
        rpc_client_free(&peer->client[c]);
        peer->up[c] = false;
    }
}

/* Not inside a callback of its clients. The peer stays in the list, so that the address is not dialled again. */
static void on_end(struct io_defer *defer)
{
    peer_stop(cq_containerof(defer, struct peer, end));
}

static void give_up(struct peer *peer, const char *why)
{
    cq_log(CQ_INFO, "peer.address_given_up", CQ_F_STR("address", peer->address), CQ_F_STR("why", why));
    peer->given_up = true;
    io_loop_defer(peer->peers->config.loop, &peer->end);
}

/* A connection is up: whose is it? */
static void learn(struct peer *peer, const struct rpc_hello *hello)
{
    struct raft_node node;
    if (!hello->has_node) {
        cq_log_limited(1, CQ_WARN, "peer.not_a_storage_node", CQ_F_STR("address", peer->address));
        return;
    }
    memcpy(node.uuid, hello->node, sizeof node.uuid);
    if (is_self(peer->peers, &node)) {
        give_up(peer, "it is this node");
        return;
    }
    struct peer *other = find_node(peer->peers, &node);
    if (other && other != peer && other->announced) {
        peer->alias = peer->known = true;
        peer->node = node;
        give_up(peer, "the node is connected under another address");
        return;
    }
    if (peer->known && !raft_node_eq(&peer->node, &node)) {
        /* The address has passed to another node: both connections must be to the new one. */
        if (peer->announced)
            withdraw(peer, true);
    }
    peer->known = true;
    peer->node = node;
}

static void on_state(void *ctx, struct rpc_client *client, bool up, bool clean, const struct rpc_hello *hello)
{
    struct peer *peer = ctx;
    int channel = client == peer->client[RAFT_CONTROL] ? RAFT_CONTROL : RAFT_APPEND;
    peer->up[channel] = up;
    if (up && !peer->given_up)
        learn(peer, hello);
    if (peer->given_up)
        return;
    bool both = peer->known && peer->up[RAFT_CONTROL] && peer->up[RAFT_APPEND];
    if (both && !peer->announced)
        announce(peer);
    else if (peer->announced && !peer->up[RAFT_CONTROL])
        withdraw(peer, clean);
    else if (peer->announced && !up)
        io_timer_start(&peer->append_gone, APPEND_GRACE_MS);
}

/* Only bodies are concerned: the node lives. */
static void on_append_gone(struct io_timer *timer)
{
    struct peer *peer = cq_containerof(timer, struct peer, append_gone);
    if (peer->announced && !peer->up[RAFT_APPEND])
        withdraw(peer, true);
}

static struct rpc_client *dial(struct peer *peer)
{
    const struct peers_config *config = &peer->peers->config;
    return rpc_client_new(&(struct rpc_client_config){.loop = config->loop,
                                                      .resolver = config->resolver,
                                                      .tls = config->tls,
                                                      .address = peer->address,
                                                      .peer_roles = RPC_ROLE_STORAGE,
                                                      .hello = config->hello,
                                                      .limits = config->limits,
                                                      .eager = true,
                                                      .on_state = on_state,
                                                      .on_state_ctx = peer});
}

static void peer_start(struct peer *peer)
{
    for (int c = 0; c < CHANNELS; c++)
        peer->client[c] = dial(peer);
}

/* Another way to a node that is gone may be the way to it now. */
static void on_revive(struct io_defer *defer)
{
    struct peers *peers = cq_containerof(defer, struct peers, revive);
    cq_list_each (&peers->list, at) {
        struct peer *peer = cq_list_entry(at, struct peer, link);
        const struct peer *other = peer->alias ? find_node(peers, &peer->node) : NULL;
        if (!peer->alias || (other && other->announced) || peer->client[RAFT_CONTROL])
            continue;
        peer->alias = peer->given_up = peer->known = false;
        peer_start(peer);
    }
}

void peers_add(struct peers *peers, const char *address)
{
    cq_list_each (&peers->list, at)
        if (strcmp(cq_list_entry(at, struct peer, link)->address, address) == 0)
            return;
    if (peers->count >= PEERS_MAX) {
        cq_log_limited(1, CQ_WARN, "peer.too_many_addresses", CQ_F_STR("address", address));
        return;
    }
    struct peer *peer = cq_new(struct peer);
    peer->peers = peers;
    peer->address = cq_strndup(address, strlen(address));
    peer->end.fn = on_end;
    io_timer_init(&peer->append_gone, peers->config.loop, on_append_gone);
    cq_list_push_back(&peers->list, &peer->link);
    peers->count++;
    peer_start(peer);
}

/* The frame's parts; valid until the next call. */
static const struct cq_slice *body_slices(struct peers *peers, const struct raft_frame *frame)
{
    if (peers->slices_max < frame->body_count) {
        peers->slices_max = frame->body_count + SLICES_KEEP;
        peers->slices = cq_realloc(peers->slices, peers->slices_max * sizeof *peers->slices);
    }
    for (size_t i = 0; i < frame->body_count; i++)
        peers->slices[i] = frame->bodies[i].octets;
    return peers->slices;
}

void peers_send(struct peers *peers, const struct raft_node *to, enum raft_channel channel,
                const struct raft_frame *frame)
{
    struct peer *peer = find_node(peers, to);
    if (!peer || !peer->announced) {
        cq_metric_add(&peers_metrics, M_FRAMES, 1, channel, 1);
        return;
    }
    const struct rpc_call call = {.method = channel == RAFT_CONTROL ? METHOD_RAFT_CONTROL : METHOD_RAFT_APPEND,
                                  .deadline_us = UINT64_MAX,
                                  .message = frame->head,
                                  .raw = body_slices(peers, frame),
                                  .raw_count = frame->body_count};
    enum cq_rc rc = rpc_oneway(peer->client[channel], &call);
    cq_metric_add(&peers_metrics, M_FRAMES, 1, channel, rc == CQ_OK ? 0 : 2);
    if (rc == CQ_OK)
        cq_metric_add(&peers_metrics, M_BYTES, frame->size, channel);
    else
        cq_log_limited(1, CQ_WARN, "peer.frame_dropped", CQ_F_STR("address", peer->address), CQ_F_RC(rc),
                       CQ_F_U64("size_bytes", frame->size));
}

void peers_tell(struct peers *peers, uint16_t method, struct cq_slice message)
{
    const struct rpc_call call = {.method = method, .deadline_us = UINT64_MAX, .message = message};
    cq_list_each (&peers->list, at) {
        const struct peer *peer = cq_list_entry(at, struct peer, link);
        if (peer->announced)
            (void)rpc_oneway(peer->client[RAFT_CONTROL], &call); /* the next one says it again */
    }
}

const char *peers_address(struct peers *peers, const struct raft_node *node)
{
    const struct peer *peer = find_node(peers, node);
    return peer && peer->announced ? peer->address : NULL;
}

struct peers *peers_new(const struct peers_config *config)
{
    struct peers *peers = cq_new(struct peers);
    peers->config = *config;
    peers->config.limits.connections = 1; /* one-way messages keep their order on one connection */
    cq_list_init(&peers->list);
    peers->revive.fn = on_revive;
    return peers;
}

void peers_free(struct peers **peers_p)
{
    struct peers *peers = *peers_p;
    if (!peers)
        return;
    cq_list_each_safe (&peers->list, at) {
        struct peer *peer = cq_list_entry(at, struct peer, link);
        cq_list_remove(at);
        peer->given_up = true;
        io_defer_cancel(&peer->end);
        io_timer_stop(&peer->append_gone);
        peer_stop(peer);
        free(peer->address);
        free(peer);
    }
    io_defer_cancel(&peers->revive);
    free(peers->slices);
    free(peers);
    *peers_p = NULL;
}
