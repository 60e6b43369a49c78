/* A command as it comes from the network: method, encoded Call, and the bytes that follow. Whatever is accepted must
 * decode as an entry whose chunks are the bodies, octet for octet.
 *
 * Input: method u8 (200 and more: a command of the system shard), length of the message u16 little-endian, message,
 * raw. */
#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "node/call_entry.h"
#include "state/entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct raft_request *request)
{
    struct cq_pool *pool = cq_pool_new(4096);
    struct entry entry;
    CQ_ASSERT(entry_decode(raft_bytes_slice(request->entry), pool, &entry, NULL) == CQ_OK);
    CQ_ASSERT(entry.chunk_count == request->body_count);
    for (size_t i = 0; i < entry.chunk_count; i++) {
        CQ_ASSERT(entry.chunks[i].length == request->bodies[i].octets.len);
        CQ_ASSERT(cq_hash128_eq(entry.chunks[i].hash, cq_xxh3_128(request->bodies[i].octets)));
    }
    cq_pool_free(&pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    struct cq_slice rest = cq_slice_of(data + 3, size - 3);
    size_t message = cq_get_le16(data + 1);
    const struct call_entry call = {.method = data[0],
                                    .account = 1,
                                    .time = 1,
                                    .version = 1,
                                    .message = cq_slice_sub(rest, 0, message),
                                    .raw = cq_slice_skip(rest, message)};
    struct raft_request request = {0};
    struct cq_pool *pool = cq_pool_new(4096);
    if (call_entry_build(&call, data[0] >= 200, pool, &request, NULL) == CQ_OK)
        check(&request);
    raft_request_fini(&request);
    cq_pool_free(&pool);
    return 0;
}
