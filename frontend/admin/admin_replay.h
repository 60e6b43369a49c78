/* One piece of "events replay" (proto/admin.proto): the lines that come with the request, or a part of the dead
 * letters, are sent to Kafka again. chasquictl asks for piece after piece. */
#ifndef ADMIN_REPLAY_H
#define ADMIN_REPLAY_H

#include "rpc/rpc_server.h"

#define ADMIN_REPLAY_MESSAGE_MAX (512u << 10) /* a position per partition */
#define ADMIN_REPLAY_LINES_MAX (1u << 20)     /* bytes of the lines of a piece; two of the longest fit */

void admin_on_replay(struct rpc_request *rpc, void *ctx); /* ctx: struct admin_service */

#endif
