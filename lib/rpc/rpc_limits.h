/* What a peer may send in RPC (docs/formats/rpc-frame.md), beside the settings rpc.server.* and rpc.client.*. */
#ifndef RPC_LIMITS_H
#define RPC_LIMITS_H

#include "base/cq_limits.h"

/* clang-format off */
#define RPC_LIMITS(X)                                                                                                  \
    X(RPC_FRAME_MAX, 16 << 20, "bytes", "A whole frame", "closed")                                                     \
    X(RPC_HELLO_MAX, 4096, "bytes", "The payload of a frame before the peer's HELLO was seen", "closed")               \
    X(RPC_HELLO_TEXT_MAX, 255, "bytes", "One text of HELLO", "closed")                                                 \
    X(RPC_CLUSTER_ID_MAX, 63, "bytes", "The id of a cluster: [a-z0-9-]", "closed")                                     \
    X(RPC_METHOD_MAX, 1023, "methods", "The largest number of a method", "CQ_E_UNSUPPORTED")                           \
    X(RPC_LINK_PINGS_MAX, 3, "pings", "PINGs without an answer", "the connection counts as dead")                      \
    X(RPC_LISTENERS_MAX, 4, "addresses", "Addresses that one server listens on", "a wrong configuration")              \
    X(RPC_CLIENT_CONNECTIONS_MAX, 8, "connections", "Connections of one client to its server", "a wrong configuration")
/* clang-format on */
CQ_LIMITS_ENUM(RPC_LIMITS);

extern const struct cq_limit rpc_limit_rows[];
extern const size_t rpc_limit_row_count;

#endif
