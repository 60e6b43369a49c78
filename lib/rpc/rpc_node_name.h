/* Which storage nodes a certificate names: the names "chasqui://CLUSTER/node/UUID" (lower-case digits, as `node list`
 * shows it) among its URIs, beside its roles (rpc_role.h). Pure. */
#ifndef RPC_NODE_NAME_H
#define RPC_NODE_NAME_H

#include "base/cq_slice.h"

/* May who has these names (NULL-terminated; may be NULL) speak for this node? A certificate that names nodes of the
 * cluster speaks for those alone; one that names none, for any: it is shared by all. */
bool rpc_uris_allow_node(const char *const *uris, struct cq_slice cluster, const uint8_t node[static 16]);

#endif
