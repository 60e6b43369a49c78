#include "router/backends.h"

#include "base/cq_assert.h"
#include "base/cq_hex.h"
#include "base/cq_list.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_rand.h"
#include "proto/mail.pb-c.h"
#include "proto/system.pb-c.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct backend {
    struct cq_list link;
    struct backends *backends;
    struct rpc_client *client;
    uint8_t uuid[TOPOLOGY_UUID_SIZE];
    bool wanted;               /* by the topology that is being set */
    struct rpc_pending *asked; /* ROUTER_HERE, not answered yet ... */
    unsigned beats;            /* ... at so many beats */
    bool silent;               /* until it answers again */
};

struct backends {
    struct rpc_client_config like;
    struct io_timer beat;
    uint8_t here[64]; /* the request: RouterHere in a Call */
    size_t here_len;
    void (*on_silent)(void *ctx);
    void *on_silent_ctx;
    struct backend_board *board;
    unsigned worker, beat_ms;
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

/* ---- Is it there, and does it know that we are? ----
 *
 * Packets that are dropped tell nobody. So each node is asked once a second; time is counted in beats of the loop, so
 * that a loop that stood still itself blames nobody. */

static void log_silence(const struct backend *backend)
{
    cq_log(backend->silent ? CQ_WARN : CQ_INFO, backend->silent ? "router.node_silent" : "router.node_heard",
           CQ_F_STR("address", rpc_client_address(backend->client)), CQ_F_U64("worker", backend->backends->worker));
}

static void on_answer(void *ctx, enum rpc_fate fate, const struct rpc_reply_in *reply)
{
    struct backend *backend = ctx;
    (void)reply; /* whatever it is: one that does not know the method is there as well */
    backend->asked = NULL;
    backend->beats = 0;
    if (fate != RPC_ANSWERED || !backend->silent)
        return;
    backend->silent = false;
    log_silence(backend);
}

static void ask(struct backend *backend)
{
    const struct backends *backends = backend->backends;
    const struct rpc_call call = {.method = CHASQUI__SYSTEM__METHOD__ROUTER_HERE,
                                  .message = cq_slice_of(backends->here, backends->here_len),
                                  .deadline_us = io_loop_deadline(backends->like.loop, BACKEND_ASK_MS)};
    if (!backend->asked && rpc_client_up(backend->client))
        backend->asked = rpc_call_start(backend->client, &call, on_answer, backend);
}

static size_t pack_here(uint8_t *out)
{
    Chasqui__System__RouterHere here = CHASQUI__SYSTEM__ROUTER_HERE__INIT;
    Chasqui__Mail__Call call = CHASQUI__MAIL__CALL__INIT;
    uint8_t id[16], body[32];
    cq_rand_bytes(id, sizeof id);
    here.id = (ProtobufCBinaryData){sizeof id, id};
    call.body = (ProtobufCBinaryData){chasqui__system__router_here__pack(&here, body), body};
    return chasqui__mail__call__pack(&call, out);
}

static void on_state(void *ctx, struct rpc_client *client, bool up, bool clean, const struct rpc_hello *peer)
{
    struct backend *backend = ctx;
    (void)clean;
    if (up)
        check_identity(backend, peer);
    if (up && backend->client)
        ask(backend);
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

static struct rpc_client *dial(struct backend *backend, const char *address)
{
    struct rpc_client_config config = backend->backends->like;
    config.address = address;
    config.peer_roles = RPC_ROLE_STORAGE;
    config.eager = true;
    config.on_state = on_state;
    config.on_state_ctx = backend;
    return rpc_client_new(&config);
}

static void backend_new(struct backends *backends, const struct topology_node *node)
{
    struct backend *backend = cq_new(struct backend);
    memcpy(backend->uuid, node->uuid, sizeof backend->uuid);
    backend->backends = backends;
    backend->wanted = true;
    board_set(backends, node->address, true, false);
    backend->client = dial(backend, node->address);
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

/* What is under way there is sent elsewhere, streams begin anew: nobody waits for a connection to die by itself. */
static void backend_dial_again(struct backend *backend)
{
    struct rpc_client *old = backend->client;
    backend->client = dial(backend, rpc_client_address(old));
    rpc_client_free(&old);
}

static void backend_beat(struct backend *backend)
{
    if (!backend->asked) {
        ask(backend);
        return;
    }
    backend->beats++;
    if (backend->beats >= BACKEND_SILENT_BEATS && !backend->silent) {
        backend->silent = true;
        log_silence(backend);
    }
    if (backend->beats < BACKEND_DROP_BEATS)
        return;
    backend_dial_again(backend);
    if (backend->backends->on_silent)
        backend->backends->on_silent(backend->backends->on_silent_ctx);
}

static void on_beat(struct io_timer *timer)
{
    struct backends *backends = cq_containerof(timer, struct backends, beat);
    io_timer_start(timer, backends->beat_ms);
    cq_list_each_safe (&backends->list, at) {
        backend_beat(cq_list_entry(at, struct backend, link));
    }
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
    return backend && !backend->silent ? backend->client : NULL;
}

void backends_on_silent(struct backends *backends, void (*silent)(void *ctx), void *ctx)
{
    backends->on_silent = silent;
    backends->on_silent_ctx = ctx;
}

struct backends *backends_new(const struct rpc_client_config *like, struct backend_board *board, unsigned worker,
                              unsigned beat_ms)
{
    struct backends *backends = cq_new(struct backends);
    backends->like = *like;
    backends->board = board;
    backends->worker = worker;
    backends->beat_ms = beat_ms;
    backends->here_len = pack_here(backends->here);
    cq_list_init(&backends->list);
    io_timer_init(&backends->beat, like->loop, on_beat);
    io_timer_start(&backends->beat, beat_ms);
    return backends;
}

void backends_free(struct backends **backends_p)
{
    struct backends *backends = *backends_p;
    struct cq_list *node;
    if (!backends)
        return;
    io_timer_stop(&backends->beat);
    while ((node = cq_list_first(&backends->list)))
        backend_free(cq_list_entry(node, struct backend, link));
    free(backends);
    *backends_p = NULL;
}
