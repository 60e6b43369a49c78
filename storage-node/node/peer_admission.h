/* May a peer speak for the node that its HELLO names? Its certificate says that it is a storage node of this cluster;
 * what the system shard knows of that node says the rest. Pure. */
#ifndef PEER_ADMISSION_H
#define PEER_ADMISSION_H

#include "base/cq_err.h"
#include "cluster/topology.h"
#include "rpc/rpc_hello.h"

/* `t` may be NULL: nothing is known yet. CQ_OK also for a node that the topology does not know: it is about to join.
 * CQ_E_DENIED: removed from the cluster; CQ_E_CONFLICT: it comes with an older copy of its data directory, or there are
 * two of it. */
enum cq_rc peer_admit(const struct topology *t, const struct rpc_hello *hello, struct cq_err *err);

#endif
