/* `cluster init`: once in a cluster's life, at any one of its first storage nodes. Asks all of them who they are, has
 * some of them make their replicas of the system shard, and gives the system shard its first command. May be repeated
 * until it has worked: a second cluster is never made. */
#ifndef CLUSTER_INIT_H
#define CLUSTER_INIT_H

#include "base/cq_err.h"
#include "base/cq_pool.h"

struct node;

/* On a fiber. `body`: encoded ClusterInit; *body_r: encoded Changed, in the pool. CQ_E_EXISTS: there is a cluster
 * already; CQ_E_INVALID, CQ_E_CONFLICT (a node of another cluster), CQ_E_UNAVAILABLE (a node does not answer). */
enum cq_rc cluster_init(struct node *node, struct cq_slice body, uint64_t deadline_us, struct cq_pool *pool,
                        struct cq_slice *body_r, struct cq_err *err);

/* What it asks of the nodes that hold the system shard. `body`: encoded BootstrapSystem. Again with the same: CQ_OK. */
enum cq_rc cluster_bootstrap_system(struct node *node, struct cq_slice body, struct cq_err *err);

#endif
