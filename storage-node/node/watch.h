/* Watches: streams that tell when something of an account has changed. A watch says no more than that; the session asks
 * the change feed.
 *
 * The first item of a stream is empty: from then on nothing is missed, so anything may have changed before. An empty
 * item later says the same after a gap (the receiver was too slow). The stream ends with CQ_E_NOT_LEADER when this
 * replica leads no more.
 *
 * The table of a group belongs to its apply thread, the stream to the worker's loop; messages go both ways in order. */
#ifndef WATCH_H
#define WATCH_H

#include "node/apply.h"
#include "node/group.h"
#include "node/worker.h"
#include "rpc/rpc_server.h"

#define WATCH_GROUP_MAX 200000 /* watches of one group; more: CQ_E_OVERLOADED */

/* Begins a stream for the request's account. On the worker's loop. */
void watch_begin(struct worker *worker, struct rpc_request *request, struct group *group);

/* On the group's apply thread. */
void watch_notify(struct group *group, uint64_t account, struct cq_slice notice);

/* Ends all streams of a group with this code. Any thread. */
void watch_end_all(struct group *group, enum cq_rc rc);

struct watch_table *watch_table_new(void);
void watch_table_free(struct watch_table **table); /* it has no watches any more */

extern struct cq_metrics watch_metrics;

#endif
