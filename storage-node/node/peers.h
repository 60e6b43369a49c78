/* The connections to the other storage nodes, for Raft: two to each (control and append), so that bodies never delay a
 * heartbeat. Frames go out as one-way messages of lib/rpc; those of others come in through the RPC workers.
 *
 * Addresses are only a cache: a node is known by the UUID in its HELLO, and every dial resolves the name again. There
 * is one pair of connections per address that we were told (seeds, the topology, the HELLOs of callers); a second way
 * to a node that is connected already is given up.
 *
 * Everything here happens on the Raft thread, except what says so. */
#ifndef PEERS_H
#define PEERS_H

#include "io/io_loop.h"
#include "io/io_pool.h"
#include "io/io_tls.h"
#include "raft/raft_host.h"
#include "rpc/rpc_client.h"
#include "rpc/rpc_hello.h"

struct peers;

/* Method numbers of the one-way messages (docs/formats/rpc-frame.md): message and raw bytes together are one Raft
 * frame. */
enum { METHOD_RAFT_CONTROL = 260, METHOD_RAFT_APPEND = 261, METHOD_NODE_HEALTH = 262 };

#define PEERS_MAX 1024

struct peers_config {
    struct io_loop *loop;
    struct io_pool *resolver;
    struct io_tls *tls;
    const struct rpc_hello *hello; /* ours; borrowed */
    struct rpc_client_limits limits;
    /* Both connections are up; one has gone (planned: it said GOODBYE, or only bodies are concerned). */
    void (*up)(void *ctx, const struct raft_node *node);
    void (*gone)(void *ctx, const struct raft_node *node, bool planned);
    void *ctx;
};

struct peers *peers_new(const struct peers_config *config);

/* Says GOODBYE on all connections and frees. */
void peers_free(struct peers **peers);

/* Dials this address from now on, unless it does already or the node is connected under another. */
void peers_add(struct peers *peers, const char *address);

/* Drops the frame when the node is not connected or too much waits already: Raft sends again. */
void peers_send(struct peers *peers, const struct raft_node *to, enum raft_channel channel,
                const struct raft_frame *frame);

/* A one-way message on the control connection to every node that is connected. */
void peers_tell(struct peers *peers, uint16_t method, struct cq_slice message);

/* For a look: the address under which a node is connected, or NULL. */
const char *peers_address(struct peers *peers, const struct raft_node *node);

extern struct cq_metrics peers_metrics;

#endif
