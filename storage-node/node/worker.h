/* The RPC workers: threads with one loop and one RPC server each, which share the listening port (SO_REUSEPORT); or one
 * server on the loop of another thread. */
#ifndef WORKER_H
#define WORKER_H

#include "io/io_loop.h"
#include "io/io_tls.h"
#include "rpc/rpc_server.h"

struct node;
struct worker;

struct worker_config {
    struct node *node;
    unsigned number;
    struct io_tls *tls;
    const struct rpc_hello *hello;
    struct rpc_server_limits limits;
    struct io_loop *loop; /* that turns already and serves; NULL: one of its own, in a thread of its own. Borrowed */
};

struct worker *worker_new(const struct worker_config *config);

/* Listens and starts the thread, if it has one. CQ_E_IO names the address. */
enum cq_rc worker_start(struct worker *worker, const char *listen, struct cq_err *err);

/* Any thread: no new connections, GOODBYE on all, what runs may finish. worker_drained() tells when it has. */
void worker_drain(struct worker *worker);
bool worker_drained(const struct worker *worker);

/* Closes the server, ends the thread. What other threads still post to a loop of its own runs in worker_free(). */
void worker_stop(struct worker *worker);
void worker_free(struct worker **worker);

/* The metrics of all methods; before threads. */
void worker_metrics_register(void);

struct node *worker_node(const struct worker *worker);
struct io_loop *worker_loop(const struct worker *worker);

#endif
