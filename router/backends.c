#include "router/backends.h"

#include "base/cq_assert.h"
#include "base/cq_hex.h"
#include "base/cq_list.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct backend {
    struct cq_list link;
    struct backends *backends;
    struct rpc_client *client;
    uint8_t uuid[TOPOLOGY_UUID_SIZE];
    bool wanted; /* by the topology that is being set */
};

struct backends {
    struct rpc_client_config like;
    struct backend_board *board;
    unsigned worker;
    struct cq_list list;
};

/* ---- Board ---- */

#define BOARD_WORKERS 64

struct board_node {
    struct cq_list link;
    char address[TOPOLOGY_ADDRESS_MAX + 1];
    uint64_t known; /* bits: workers that have it in their topology */
    uint64_t up;    /* bits: workers that are connected */
};

struct backend_board {
    pthread_mutex_t lock;
    struct cq_list nodes;
};

struct backend_board *backend_board_new(void)
{
    struct backend_board *board = cq_new(struct backend_board);
    pthread_mutex_init(&board->lock, NULL);
    cq_list_init(&board->nodes);
    return board;
}

void backend_board_free(struct backend_board **board)
{
    if (!*board)
        return;
    cq_list_each_safe (&(*board)->nodes, node) {
        free(cq_list_entry(node, struct board_node, link));
    }
    pthread_mutex_destroy(&(*board)->lock);
    free(*board);
    *board = NULL;
}

static struct board_node *board_find(struct backend_board *board, const char *address)
{
    cq_list_each (&board->nodes, at) {
        struct board_node *node = cq_list_entry(at, struct board_node, link);
        if (!strcmp(node->address, address))
            return node;
    }
    struct board_node *node = cq_new(struct board_node);
    snprintf(node->address, sizeof node->address, "%s", address);
    cq_list_init(&node->link);
    cq_list_push_back(&board->nodes, &node->link);
    return node;
}

static void board_set(struct backends *backends, const char *address, bool known, bool up)
{
    uint64_t bit = UINT64_C(1) << backends->worker % BOARD_WORKERS;
    pthread_mutex_lock(&backends->board->lock);
    struct board_node *node = board_find(backends->board, address);
    node->known = known ? node->known | bit : node->known & ~bit;
    node->up = up ? node->up | bit : node->up & ~bit;
    if (!node->known) {
        cq_list_remove(&node->link);
        free(node);
    }
    pthread_mutex_unlock(&backends->board->lock);
}

void backend_board_collect(struct cq_metric_out *out, void *ctx)
{
    struct backend_board *board = ctx;
    pthread_mutex_lock(&board->lock);
    cq_list_each (&board->nodes, at) {
        struct board_node *node = cq_list_entry(at, struct board_node, link);
        const char *label = node->address;
        cq_metric_out_sample(out, &label, node->up != 0);
    }
    pthread_mutex_unlock(&board->lock);
}

/* ---- Backends ---- */

/* An address may have become another node's: its answers are refusals (it does not lead what we ask for), so this only
 * tells why. */
static void check_identity(const struct backend *backend, const struct rpc_hello *peer)
{
    if (peer->has_node && memcmp(peer->node, backend->uuid, sizeof backend->uuid) != 0)
        cq_log_limited(1, CQ_WARN, "router.other_node_at_address",
                       CQ_F_STR("address", rpc_client_address(backend->client)));
}

static void on_state(void *ctx, struct rpc_client *client, bool up, bool clean, const struct rpc_hello *peer)
{
    struct backend *backend = ctx;
    (void)clean;
    if (up)
        check_identity(backend, peer);
    board_set(backend->backends, rpc_client_address(client), true, rpc_client_up(client));
}

static struct backend *backend_find(struct backends *backends, const uint8_t uuid[static TOPOLOGY_UUID_SIZE])
{
    cq_list_each (&backends->list, at) {
        struct backend *backend = cq_list_entry(at, struct backend, link);
        if (!memcmp(backend->uuid, uuid, sizeof backend->uuid))
            return backend;
    }
    return NULL;
}

static void backend_new(struct backends *backends, const struct topology_node *node)
{
    struct backend *backend = cq_new(struct backend);
    struct rpc_client_config config = backends->like;
    memcpy(backend->uuid, node->uuid, sizeof backend->uuid);
    backend->backends = backends;
    backend->wanted = true;
    config.address = node->address;
    config.peer_roles = RPC_ROLE_STORAGE;
    config.eager = true;
    config.on_state = on_state;
    config.on_state_ctx = backend;
    board_set(backends, node->address, true, false);
    backend->client = rpc_client_new(&config);
    cq_list_init(&backend->link);
    cq_list_push_back(&backends->list, &backend->link);
}

static void backend_free(struct backend *backend)
{
    board_set(backend->backends, rpc_client_address(backend->client), false, false);
    cq_list_remove(&backend->link);
    rpc_client_free(&backend->client); /* its calls are told; they may look for other backends: this one is gone */
    free(backend);
}

/* The first backend that is not wanted, or NULL: callbacks may have changed the list. */
static struct backend *unwanted(struct backends *backends)
{
    cq_list_each (&backends->list, at) {
        struct backend *backend = cq_list_entry(at, struct backend, link);
        if (!backend->wanted)
            return backend;
    }
    return NULL;
}

void backends_set_topology(struct backends *backends, const struct topology *topology)
{
    struct backend *backend;
    cq_list_each (&backends->list, at) {
        cq_list_entry(at, struct backend, link)->wanted = false;
    }
    for (size_t i = 0; i < topology->node_count; i++) {
        const struct topology_node *node = &topology->nodes[i];
        backend = backend_find(backends, node->uuid);
        if (backend && !strcmp(rpc_client_address(backend->client), node->address))
            backend->wanted = node->state != TOPOLOGY_NODE_GONE;
    }
    while ((backend = unwanted(backends)))
        backend_free(backend);
    for (size_t i = 0; i < topology->node_count; i++)
        if (topology->nodes[i].state != TOPOLOGY_NODE_GONE && !backend_find(backends, topology->nodes[i].uuid))
            backend_new(backends, &topology->nodes[i]);
}

struct rpc_client *backends_find(struct backends *backends, const uint8_t uuid[static TOPOLOGY_UUID_SIZE])
{
    struct backend *backend = backend_find(backends, uuid);
    return backend ? backend->client : NULL;
}

struct backends *backends_new(const struct rpc_client_config *like, struct backend_board *board, unsigned worker)
{
    struct backends *backends = cq_new(struct backends);
    backends->like = *like;
    backends->board = board;
    backends->worker = worker;
    cq_list_init(&backends->list);
    return backends;
}

void backends_free(struct backends **backends_p)
{
    struct backends *backends = *backends_p;
    struct cq_list *node;
    if (!backends)
        return;
    while ((node = cq_list_first(&backends->list)))
        backend_free(cq_list_entry(node, struct backend, link));
    free(backends);
    *backends_p = NULL;
}
