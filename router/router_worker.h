/* One worker of the router: a loop on a thread of its own, with its connections, its copy of the topology and the
 * requests that are under way. Workers share nothing that changes. */
#ifndef ROUTER_WORKER_H
#define ROUTER_WORKER_H

#include "base/cq_rand.h"
#include "io/admin_http.h"
#include "router/backends.h"
#include "router/router_config.h"
#include "router/routes.h"
#include "rpc/rpc_server.h"

struct topology_watch;

/* What all workers are made from; borrowed for their life. */
struct router_shared {
    const struct router_config *config;
    const struct rpc_hello *hello;
    struct io_tls *server_tls, *client_tls;
    struct io_pool *resolver;
    struct backend_board *board;
    struct admin_http *admin; /* NULL: none */
    unsigned beat_ms;         /* of backends.h; 0: BACKEND_BEAT_MS */
};

struct router_worker {
    const struct router_shared *shared;
    unsigned number;
    uint16_t port; /* where it listens */
    struct io_loop *loop;
    struct rpc_server *server;
    struct rpc_service service;
    struct routes *routes;
    struct backends *backends;
    struct topology_watch *watch;
    struct cq_prng jitter;
    struct admin_check *ready; /* is the topology known? */
    char ready_name[32];
    struct admin_heartbeat *heartbeat;
    struct io_timer beat;
};

/* Makes everything and listens; nothing runs before the loop does. On an error *worker_r is NULL. */
enum cq_rc router_worker_new(const struct router_shared *shared, unsigned number, struct router_worker **worker_r,
                             struct cq_err *err);

/* The loop must not run. */
void router_worker_free(struct router_worker **worker);

/* From the topology's subscription: a newer one, and who leads. */
void router_worker_set_topology(struct router_worker *worker, const struct topology *topology);

void router_worker_answer_topology(struct router_worker *worker, struct rpc_request *request);

/* ---- topology_watch.c: keeps a stream of the topology open to any storage node ---- */
struct topology_watch *topology_watch_new(struct router_worker *worker);
/* Ends it; the fiber still has to run for the last time. */
void topology_watch_free(struct topology_watch **watch);
/* The present source is behind what others have seen: go to the next one. */
void topology_watch_hurry(struct topology_watch *watch);

#endif
