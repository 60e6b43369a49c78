/* The connections of one worker to the storage nodes of the topology. */
#ifndef ROUTER_BACKENDS_H
#define ROUTER_BACKENDS_H

#include "cluster/topology.h"
#include "rpc/rpc_client.h"

struct backends;
struct backend_board;

/* `like` says loop, resolver, tls, hello and limits of the clients. */
struct backends *backends_new(const struct rpc_client_config *like, struct backend_board *board, unsigned worker,
                              unsigned beat_ms);
void backends_free(struct backends **backends);

/* Dials nodes that are new or have moved, drops those that are gone: their calls end (RPC_SENT or RPC_NOT_SENT). */
void backends_set_topology(struct backends *backends, const struct topology *topology);

/* NULL: there is no such node (any more), or it is silent: its packets, or ours, are lost, or it stands still. It is
 * asked for a sign of life (ROUTER_HERE) at each beat; after two without an answer it is silent, until one comes; after
 * five the connection is given up and dialled anew. The request also tells the node that routers reach it. */
#define BACKEND_BEAT_MS 1000
#define BACKEND_SILENT_BEATS 2
#define BACKEND_DROP_BEATS 5
#define BACKEND_ASK_MS 60000
struct rpc_client *backends_find(struct backends *backends, const uint8_t uuid[static TOPOLOGY_UUID_SIZE]);

/* Told when a connection was given up. On the loop's stack. */
void backends_on_silent(struct backends *backends, void (*silent)(void *ctx), void *ctx);

/* ---- What the metrics show: which nodes any worker is connected to. Thread-safe. ---- */

struct backend_board *backend_board_new(void);
void backend_board_free(struct backend_board **board);
void backend_board_collect(struct cq_metric_out *out, void *board);

#endif
