/* Decoding a topology: what is accepted encodes and decodes to the same, and every look-up is in bounds. */
#include "base/cq_assert.h"
#include "cluster/placement.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct topology *t = NULL, *again = NULL;
    struct cq_buf buf;
    if (topology_decode(cq_slice_of(data, size), &t, NULL) != CQ_OK)
        return 0;
    cq_buf_init(&buf, TOPOLOGY_ENCODED_MAX);
    if (topology_encode(t, &buf)) {
        CQ_ASSERT(topology_decode(cq_buf_slice(&buf), &again, NULL) == CQ_OK);
        CQ_ASSERT(topology_same(t, again) && t->epoch == again->epoch);
        topology_unref(&again);
    }
    for (uint32_t slot = 0; t->range_count && slot < TOPOLOGY_SLOTS; slot += 97)
        CQ_ASSERT(topology_shard(t, topology_group_of_slot(t, slot)));
    const char *home = placement_home(t, cq_slice_of(data, size));
    uint32_t slot = 0;
    CQ_ASSERT(!home || placement_slot(t, home, cq_slice_of(data, size), &slot));
    CQ_ASSERT(slot < TOPOLOGY_SLOTS);
    topology_unref(&t);
    cq_buf_fini(&buf);
    return 0;
}
