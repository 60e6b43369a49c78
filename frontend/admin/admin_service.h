/* The role admin: carries out the operator's commands (lib/admin) that chasquictl sends over mTLS. It writes the
 * directory and sends the shard commands that belong to that; what is left half done by a fault is finished by the
 * reconciler (admin_reconcile.h), which every front-end with the role runs. */
#ifndef ADMIN_SERVICE_H
#define ADMIN_SERVICE_H

#include "cluster/topology.h"
#include "core/front_workers.h"
#include "events/event_kafka.h"
#include "io/io_pool.h"
#include "rpc/rpc_server.h"

struct admin_service {
    struct front_worker *worker; /* on whose loop it runs */
    struct front_workers workers;
    const char *node; /* this front-end's name */
    const struct event_kafka_config *kafka;
    struct io_pool *pool; /* for what waits for Kafka */
    /* The present topology with a reference of the caller's, for placing new accounts. On a fiber. */
    enum cq_rc (*topology)(void *ctx, const struct topology **topology_r, struct cq_err *err);
    void *topology_ctx;
};

/* The method table for an rpc_server; ctx of the service is a struct admin_service. */
struct rpc_service admin_rpc_service(struct admin_service *service);

#endif
