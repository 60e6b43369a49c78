/* HELLO: what is accepted is within its limits, and encodes and decodes to the same. */
#include "base/cq_assert.h"
#include "rpc/rpc_hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rpc_hello hello, again;
    struct cq_buf buf;
    if (rpc_hello_decode(cq_slice_of(data, size), &hello, NULL) != CQ_OK)
        return 0;
    cq_buf_init(&buf, 4096);
    CQ_ASSERT(rpc_hello_encode(&buf, &hello));
    CQ_ASSERT(rpc_hello_decode(cq_buf_slice(&buf), &again, NULL) == CQ_OK);
    CQ_ASSERT(!strcmp(hello.cluster, again.cluster) && !strcmp(hello.program, again.program) &&
              !strcmp(hello.version, again.version) && !strcmp(hello.address, again.address));
    CQ_ASSERT(hello.has_node == again.has_node && hello.boot == again.boot);
    CQ_ASSERT(!hello.has_node || !memcmp(hello.node, again.node, sizeof hello.node));
    cq_buf_fini(&buf);
    return 0;
}
