#include "rpc/rpc_hello.h"

#include "proto/rpc.pb-c.h"
#include "rpc/rpc_frame.h"

#include <stdio.h>
#include <stdlib.h>

void rpc_hello_text(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text ? text : "");
}

bool rpc_hello_encode(struct cq_buf *out, const struct rpc_hello *hello)
{
    Chasqui__Rpc__Hello msg = CHASQUI__RPC__HELLO__INIT;
    msg.cluster = (char *)hello->cluster;
    msg.program = (char *)hello->program;
    msg.version = (char *)hello->version;
    msg.address = (char *)hello->address;
    msg.boot = hello->boot;
    if (hello->has_node)
        msg.node = (ProtobufCBinaryData){sizeof hello->node, (uint8_t *)hello->node};
    size_t len = chasqui__rpc__hello__get_packed_size(&msg);
    uint8_t *at = cq_buf_reserve(out, len);
    if (!at)
        return false;
    cq_buf_commit(out, chasqui__rpc__hello__pack(&msg, at));
    return true;
}

static bool copy_text(char *out, size_t size, const char *text)
{
    size_t len = strlen(text);
    if (len >= size)
        return false;
    memcpy(out, text, len + 1);
    return true;
}

static enum cq_rc hello_copy(struct rpc_hello *out, const Chasqui__Rpc__Hello *msg, struct cq_err *err)
{
    *out = (struct rpc_hello){.boot = msg->boot, .has_node = msg->node.len == sizeof out->node};
    if (!copy_text(out->cluster, sizeof out->cluster, msg->cluster) ||
        !copy_text(out->program, sizeof out->program, msg->program) ||
        !copy_text(out->version, sizeof out->version, msg->version) ||
        !copy_text(out->address, sizeof out->address, msg->address))
        return CQ_FAIL(err, CQ_E_PROTO, "HELLO with a text over its limit");
    if (msg->node.len != 0 && !out->has_node)
        return CQ_FAIL(err, CQ_E_PROTO, "HELLO with a node id of %zu bytes", msg->node.len);
    if (out->has_node)
        memcpy(out->node, msg->node.data, sizeof out->node);
    return CQ_OK;
}

enum cq_rc rpc_hello_decode(struct cq_slice bytes, struct rpc_hello *hello_r, struct cq_err *err)
{
    if (bytes.len > RPC_HELLO_MAX)
        return CQ_FAIL(err, CQ_E_PROTO, "HELLO of %zu bytes", bytes.len);
    Chasqui__Rpc__Hello *msg = chasqui__rpc__hello__unpack(NULL, bytes.len, bytes.data);
    if (!msg)
        return CQ_FAIL(err, CQ_E_PROTO, "HELLO does not decode");
    enum cq_rc rc = hello_copy(hello_r, msg, err);
    chasqui__rpc__hello__free_unpacked(msg, NULL);
    return rc;
}
