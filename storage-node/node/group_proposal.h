/* Commands that the node proposes for its own groups (background.c, outbox_relay.c): fire and be told on the control
 * loop. */
#ifndef GROUP_PROPOSAL_H
#define GROUP_PROPOSAL_H

#include <protobuf-c/protobuf-c.h>

#include "node/group.h"

struct node;

/* `after` is called once, on the control loop. reply: the encoded Answer, borrowed; empty without an outcome. */
typedef void group_proposal_fn(void *arg, enum cq_rc rc, struct cq_slice reply);
void group_propose(struct node *node, struct group *group, uint32_t method, const ProtobufCMessage *message,
                   group_proposal_fn *after, void *arg);

#endif
