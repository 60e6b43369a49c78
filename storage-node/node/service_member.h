/* Requests to the node that leads a group, about the group's members: who they are, one change of them, another leader
 * (proto/system.proto, 250 to 259). Storage nodes ask them of each other; the operator asks for leaders. */
#ifndef SERVICE_MEMBER_H
#define SERVICE_MEMBER_H

#include "node/worker.h"

struct rpc_service service_member(struct worker *worker);

#endif
