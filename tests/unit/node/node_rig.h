/* A node without disk, network and other nodes, for tests of what it does with its replicas: a store in memory, the
 * writer, one apply thread, the Raft thread with its real links, and one replica that is the only voter of its group,
 * so that it leads. Tests run on a fiber of the control loop. */
#ifndef NODE_RIG_H
#define NODE_RIG_H

#include "node/node_private.h"

#define RIG_GROUP 1
#define RIG_REPLICA 7

/* Makes a node, opens the replica, waits until it leads, runs fn(node) on a fiber, and frees everything. */
void node_rig_run(void (*fn)(struct node *node));

struct group *node_rig_group(struct node *node);

#endif
