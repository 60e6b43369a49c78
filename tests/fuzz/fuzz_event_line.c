/* Lines and values from outside, read as "events replay" does. What is taken for an event must be one: its value is
 * read once more, alone, and tells the same. */
#include "base/cq_assert.h"
#include "events/event_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cq_pool *pool = cq_pool_new(4096);
    struct event_read read, again = {0};
    struct cq_err err = {0};
    if (event_line_read(cq_slice_of(data, size), pool, &read, &err) == CQ_OK) {
        CQ_ASSERT(read.record.value.len >= 2 && read.record.value.data[0] == '{');
        CQ_ASSERT(event_time_ok(read.record.time) && read.record.id.len && read.record.key.len);
        again.record = read.record;
        CQ_ASSERT(event_value_read(pool, &again));
        CQ_ASSERT(cq_slice_eq(again.address, read.address) && cq_slice_eq(again.account_id, read.account_id));
    }
    again = (struct event_read){.stream = (enum event_stream)(size % EVENT_STREAM_COUNT)};
    again.record.value = cq_slice_of(data, size);
    again.record.value_type = CQ_SLICE(EVENT_TYPE_PROTOBUF);
    event_value_read(pool, &again);
    cq_pool_free(&pool);
    return 0;
}
