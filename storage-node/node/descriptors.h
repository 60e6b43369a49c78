/* The process's descriptors, shared out before anybody needs one: a store that finds none for its next file would fail
 * a write, and a failed write ends the node. So the connections are limited to what the store leaves. */
#ifndef DESCRIPTORS_H
#define DESCRIPTORS_H

#include "node/node_config.h"

#define DESCRIPTORS_OTHER 160          /* the store's own files beside tables, admin port, loops, logs, other nodes */
#define DESCRIPTORS_CONNECTIONS_MIN 16 /* of each worker, whatever the limit */

/* What fits into `limit` descriptors: lowers store.open_files (to half of the limit at most) and
 * rpc.server.connections_max (of each worker). True: something was lowered. Pure. */
bool descriptors_share(struct node_config *config, uint64_t limit);

/* Raises the process's limit as far as it may be, and shares it out; says so when something had to be lowered. */
void descriptors_fit(struct node_config *config);

#endif
