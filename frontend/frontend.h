/* The front-end: all its parts, wired. One control loop on the main thread (signals, the directory's changes, the role
 * admin, the drain) and N workers, each a thread with its own loop, listeners, router clients and sessions. */
#ifndef FRONTEND_H
#define FRONTEND_H

#include "admin/admin_reconcile.h"
#include "admin/admin_missing.h"
#include "admin/admin_service.h"
#include "core/front_workers.h"
#include "frontend_config.h"
#include "frontend_worker.h"
#include "io/io_fiber.h"
#include "io/io_watch.h"

#include <stdatomic.h>

#define FRONTEND_WORKERS_MAX 256

struct frontend {
    const struct frontend_config *config;
    struct io_pool *resolver;
    struct io_pool *admin_pool; /* for commands that wait for others; NULL without the role */
    struct rpc_hello hello;
    struct io_tls *link_client, *link_server;  /* to and from the other parts */
    struct io_tls *tls[LISTEN_PROTOCOL_COUNT]; /* for clients: a session of one service is no good at another */
    struct directory *directory;
    struct auth *auth;
    struct body_cache *bodies; /* NULL: none are kept */
    struct frontend_worker *workers[FRONTEND_WORKERS_MAX];
    size_t worker_count;
    struct frontend_worker *control; /* the main thread's: no listeners */
    struct front_worker *all[FRONTEND_WORKERS_MAX + 1];
    struct front_workers every; /* those of the workers, for lists and for ending sessions */
    struct admin_http *admin_http;
    struct admin_check *ready;
    const struct topology *map; /* as it was a few seconds ago; NULL before the first */
    struct admin_service admin;
    struct rpc_server *admin_rpc;
    struct admin_reconciler *reconciler; /* NULL without the role admin */
    struct io_fiber_ref reconciling, revoking;
    atomic_uint missing_questions; /* frontend_missing.c */
    struct event_ring *events;
    struct io_signal *signals[3];
    bool stopping;
};

/* Opens everything and listens; whatever fails is undone. */
enum cq_rc frontend_start(const struct frontend_config *config, struct frontend **frontend_r, struct cq_err *err);
/* Until SIGTERM, SIGINT or a drain by the admin port; then ends all sessions in good order. */
void frontend_run(struct frontend *frontend);
void frontend_free(struct frontend **frontend);

/* Registers all metrics of the process; before threads. */
void frontend_metrics_register(void);

/* frontend_revoke.c: follows the directory and ends sessions whose account or credential may not go on. */
void frontend_revoke_start(struct frontend *frontend);

/* frontend_missing.c: a shard has said NO_ACCOUNT to a session; any worker's thread. ctx: the struct frontend. */
void frontend_missing(void *ctx, uint64_t account);

#endif
