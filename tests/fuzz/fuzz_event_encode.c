/* Records of an outbox and of a front-end, whatever bytes they are: what is encoded is JSON that reads back as the
 * event that it was, and a message that unpacks. */
#include "base/cq_assert.h"
#include "events/event_data.h"
#include "events/event_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct event_source source = {
    .cluster = "c\"1",
    .node = "n1",
    .dc = "a",
    .role = "storage",
    .version = "1",
    .type_prefix = "test",
    .protobuf = true,
    .pii_key = "0123456789abcdef",
    .pii_key_len = 16,
};

static void check(struct cq_pool *pool, const struct event_record *record)
{
    struct event_read read;
    struct cq_err err = {0};
    /* A key that is empty or longer than attributes may be, and times after the year 9999, are refused; nothing else.
     */
    if (record->key.len && 3 * record->key.len <= EVENT_ATTRIBUTE_MAX && event_time_ok(record->time)) {
        enum cq_rc rc = event_line_read(record->json, pool, &read, &err);
        CQ_ASSERT(rc == CQ_OK);
        CQ_ASSERT(cq_slice_eq(read.record.id, record->id) && cq_slice_eq(read.record.value, record->data));
        CQ_ASSERT(cq_slice_eq(read.record.stream, record->stream));
    }
    struct event_read packed = {.record = *record};
    CQ_ASSERT(event_stream_find(record->stream, &packed.stream));
    packed.record.value = record->protobuf;
    packed.record.value_type = CQ_SLICE(EVENT_TYPE_PROTOBUF);
    CQ_ASSERT(event_value_read(pool, &packed));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct event_place place = {.shard = 7, .index = 12, .sub_index = 1};
    const struct event_stamp stamp = {.number = 3};
    struct event_record record;
    struct cq_slice bytes = cq_slice_of(data, size);
    if (!size)
        return 0;
    source.pii = (enum event_pii)(data[0] % 3);
    struct cq_pool *pool = cq_pool_new(4096);
    if (event_encode(&source, &place, cq_slice_skip(bytes, 1), pool, &record, NULL, NULL) == CQ_OK)
        check(pool, &record);
    if (event_encode_edge(&source, &stamp, cq_slice_skip(bytes, 1), pool, &record, NULL, NULL) == CQ_OK)
        check(pool, &record);
    cq_pool_free(&pool);
    return 0;
}
