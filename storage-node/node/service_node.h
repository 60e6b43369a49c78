/* Requests to the node itself: who it is, the making of a cluster, its replicas, and the stream of the topology. */
#ifndef SERVICE_NODE_H
#define SERVICE_NODE_H

#include "node/worker.h"

struct rpc_service service_node(struct worker *worker);

#endif
