/* Raft frames from the other nodes: one-way messages that go on to the Raft thread. */
#ifndef SERVICE_RAFT_H
#define SERVICE_RAFT_H

#include "node/worker.h"

struct rpc_service service_raft(struct worker *worker);

/* A storage node has said HELLO: it is dialled too. Any thread. */
void service_raft_met(struct node *node, const struct rpc_hello *hello);

#endif
