/* The transport of a mailstore through the routers: calls go round them and on to the next when one is lost; a command
 * that was sent again keeps its request id, so it acts once. Watches are opened again after a loss; the stream's first
 * item is empty, so the watcher hears of the gap. One per loop. */
#ifndef MAILSTORE_RPC_H
#define MAILSTORE_RPC_H

#include "base/cq_config.h"
#include "cluster/topology.h"
#include "mailstore/mailstore.h"
#include "rpc/rpc_client.h"

struct mailstore_rpc_config {
    struct io_loop *loop;
    struct io_pool *resolver;      /* borrowed */
    struct io_tls *tls;            /* with a certificate of the role frontend (or admin); borrowed */
    const struct rpc_hello *hello; /* ours; borrowed */
    struct cq_strings routers;     /* host:port; copied */
    struct rpc_client_limits limits;
};

#define MAILSTORE_RPC_ROUTERS_MAX 64

/* CQ_E_CONFIG: no router is named, or too many. Connections are made by and by. */
enum cq_rc mailstore_rpc_new(const struct mailstore_rpc_config *config, struct mailstore_transport **transport_r,
                             struct cq_err *err);

/* Calls that run end with CQ_E_CANCELLED when their fibers go on; watches end without a word. */
void mailstore_rpc_free(struct mailstore_transport **transport);

/* Is there a connection to any router at this moment? */
bool mailstore_rpc_up(const struct mailstore_transport *transport);

/* The topology as a router knows it, with a reference of the caller's. On a fiber, at most a few seconds.
 * `transport` is a struct mailstore_transport from mailstore_rpc_new. CQ_E_UNAVAILABLE, CQ_E_CANCELLED, CQ_E_PROTO. */
enum cq_rc mailstore_rpc_topology(void *transport, const struct topology **topology_r, struct cq_err *err);

#endif
