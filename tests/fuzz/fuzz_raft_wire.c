/* Frames from a peer: whatever decodes is encoded again and must decode to the same. */
#include "raft_wire.h"

#include "base/cq_assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode_again(const struct raft_wire_in *in)
{
    struct raft_wire_out out;
    raft_wire_out_init(&out);
    for (size_t i = 0; i < in->count; i++)
        raft_wire_add(&out, &in->messages[i]);
    struct raft_frame frame = raft_wire_finish(&out);
    CQ_ASSERT(frame.size == raft_wire_out_size(&out));
    raft_wire_out_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct raft_bytes *frame = raft_bytes_copy(cq_slice_of(data, size));
    struct cq_pool *pool = cq_pool_new(1024);
    struct raft_wire_in in;
    if (raft_wire_decode(frame, pool, &in, NULL) == CQ_OK)
        encode_again(&in);
    raft_wire_release(&in);
    cq_pool_free(&pool);
    raft_bytes_unref(&frame);
    return 0;
}
