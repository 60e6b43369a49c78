/* Who a peer is: the roles in its certificate's URI names, "chasqui://CLUSTER/role/NAME" (RFC 5280 section 4.2.1.6,
 * uniformResourceIdentifier). A certificate may name several roles; names of another cluster count for nothing. Pure.
 */
#ifndef RPC_ROLE_H
#define RPC_ROLE_H

#include "base/cq_slice.h"
#include "rpc/rpc_limits.h"

/* X(name, bit, text) */
#define RPC_ROLES(X)                                                                                                   \
    X(RPC_ROLE_FRONTEND, 1, "frontend")                                                                                \
    X(RPC_ROLE_ADMIN, 2, "admin")                                                                                      \
    X(RPC_ROLE_ROUTER, 4, "router")                                                                                    \
    X(RPC_ROLE_STORAGE, 8, "storage")                                                                                  \
    X(RPC_ROLE_QUOTA, 16, "quota")                                                                                     \
    X(RPC_ROLE_OPERATOR, 32, "operator")

enum rpc_role {
#define RPC_ROLE_ENUM(name, bit, text) name = (bit),
    RPC_ROLES(RPC_ROLE_ENUM)
#undef RPC_ROLE_ENUM
};
#define RPC_ROLE_ALL 63u

/* The role that one URI gives in this cluster; 0: none. Compared exactly: no case folding, no escapes. */
uint32_t rpc_role_of_uri(struct cq_slice uri, struct cq_slice cluster);

/* All of them; 0: the peer may do nothing here. */
uint32_t rpc_roles_of_uris(const struct cq_slice *uris, size_t count, struct cq_slice cluster);

bool rpc_cluster_id_valid(struct cq_slice id);

/* "frontend,admin" and a NUL into out, for logs. */
#define RPC_ROLES_TEXT_SIZE 64
void rpc_roles_text(uint32_t roles, char out[static RPC_ROLES_TEXT_SIZE]);

#endif
