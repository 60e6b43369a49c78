/* What a peer says of itself in the first frame (proto/rpc.proto), as plain values. Its roles are told by its
 * certificate alone. Pure. */
#ifndef RPC_HELLO_H
#define RPC_HELLO_H

#include "base/cq_buf.h"
#include "base/cq_err.h"
#include "rpc/rpc_limits.h"
#include "rpc/rpc_role.h"

struct rpc_hello {
    char cluster[RPC_CLUSTER_ID_MAX + 1];
    char program[RPC_HELLO_TEXT_MAX + 1];
    char version[RPC_HELLO_TEXT_MAX + 1];
    char address[RPC_HELLO_TEXT_MAX + 1]; /* host:port where it is dialled; "": it is not */
    uint8_t node[16];                     /* UUID of a storage node */
    bool has_node;
    uint64_t boot; /* of a storage node: counts its starts */
};

/* Sets a text field: cut to its size, NUL-terminated. */
#define RPC_HELLO_SET(field, text) rpc_hello_text((field), sizeof(field), (text))
void rpc_hello_text(char *out, size_t size, const char *text);

bool rpc_hello_encode(struct cq_buf *out, const struct rpc_hello *hello);

/* CQ_E_PROTO: malformed, or a value over its limit. */
enum cq_rc rpc_hello_decode(struct cq_slice bytes, struct rpc_hello *hello_r, struct cq_err *err);

#endif
