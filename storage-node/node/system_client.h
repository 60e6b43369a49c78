/* Requests to the system shard and to single nodes, from a node: over lib/rpc like everybody's, to itself too. On a
 * fiber of any loop; a connection is made for each request (these are rare). */
#ifndef SYSTEM_CLIENT_H
#define SYSTEM_CLIENT_H

#include "base/cq_err.h"
#include "base/cq_pool.h"

struct node;

/* To the node at this address. `body` is the method's message; the answer's body lives in the pool. The result is the
 * method's or the transport's; err has the node's text. */
enum cq_rc node_call(struct node *node, const char *address, uint16_t method, struct cq_slice body,
                     uint64_t deadline_us, struct cq_pool *pool, struct cq_slice *body_r, struct cq_err *err);

/* To the leader of group 0, wherever it is: the known leader first, then every address (of `addresses`, or of the
 * topology when there are none) until one leads; again and again until the deadline. Only for requests that may be
 * repeated. */
enum cq_rc system_call(struct node *node, const char *const *addresses, size_t address_count, uint16_t method,
                       struct cq_slice body, uint64_t deadline_us, struct cq_pool *pool, struct cq_slice *body_r,
                       struct cq_err *err);

#endif
