/* Forwarding. Of what passes through, only the frame's fixed header is looked at; the payload goes on as it came.
 *
 * A request without a stream is small (it is wholly here) and is sent again, to the next replica, when one refuses it
 * unseen, does not lead, or is lost, until its deadline: commands carry a request id, so that a second arrival answers
 * what the first did. At the deadline the answer is CQ_E_UNAVAILABLE when no replica can have acted on it, else, for a
 * command, CQ_E_UNKNOWN_OUTCOME. A stream is sent again only until its first item has come. */
#ifndef ROUTER_FORWARD_H
#define ROUTER_FORWARD_H

#include "router/router_worker.h"

void forward_start(struct router_worker *worker, struct rpc_request *request);
void relay_start(struct router_worker *worker, struct rpc_request *request);

#endif
