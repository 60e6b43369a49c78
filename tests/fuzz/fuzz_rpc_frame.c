/* The frame reader: first byte: the portion in which the rest is fed. What one feeding gives, feeding whole gives too,
 * and every frame encodes to a header that decodes to the same. */
#include "base/cq_assert.h"
#include "rpc/rpc_frame.h"

#define PAYLOAD_MAX 4096

static uint64_t fnv1a(struct cq_slice s, uint64_t hash)
{
    for (size_t i = 0; i < s.len; i++)
        hash = (hash ^ s.data[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t digest_of(const struct rpc_frame *frame, const struct rpc_payload *payload, uint64_t before)
{
    uint8_t header[RPC_FRAME_HEADER_SIZE];
    struct rpc_frame again;
    rpc_frame_encode(frame, header);
    CQ_ASSERT(rpc_frame_decode(header, PAYLOAD_MAX, &again, NULL) == CQ_OK);
    CQ_ASSERT(again.payload_len == frame->payload_len && again.message_len == frame->message_len);
    struct cq_slice message = rpc_frame_message(frame, payload), raw = rpc_frame_raw(frame, payload);
    CQ_ASSERT(message.len + raw.len == frame->payload_len);
    return fnv1a(raw, fnv1a(message, fnv1a(cq_slice_of(header, sizeof header), before)));
}

static uint64_t feed(const uint8_t *data, size_t size, size_t piece)
{
    struct rpc_frame_reader reader;
    uint64_t digest = 1;
    enum cq_rc rc = CQ_E_AGAIN;
    rpc_frame_reader_init(&reader, PAYLOAD_MAX);
    for (size_t at = 0; at < size && rc == CQ_E_AGAIN; at += piece) {
        struct cq_slice input = cq_slice_of(data + at, piece < size - at ? piece : size - at);
        struct rpc_frame frame;
        struct rpc_payload *payload = NULL;
        struct cq_err err = {0};
        while ((rc = rpc_frame_reader_next(&reader, &input, &frame, &payload, &err)) == CQ_OK) {
            digest = digest_of(&frame, payload, digest);
            rpc_payload_unref(&payload);
        }
    }
    rpc_frame_reader_fini(&reader);
    return digest * 64 + (uint64_t)rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    size_t piece = data[0] ? data[0] : 1;
    CQ_ASSERT(feed(data + 1, size - 1, piece) == feed(data + 1, size - 1, size));
    return 0;
}
