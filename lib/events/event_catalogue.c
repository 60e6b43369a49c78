#include "events/event_catalogue.h"

#include "proto/edge.pb-c.h"
#include "proto/outbox.pb-c.h"

const char *const event_stream_names[EVENT_STREAM_COUNT] = {
#define STREAM_NAME(stream, name) [stream] = name,
    EVENT_STREAMS(STREAM_NAME)
#undef STREAM_NAME
};

#define ROW(type, stream, name, key, help)                                                                             \
    {CHASQUI__OUTBOX__TYPE__##type, stream, name, key, EVENT_AT_LEAST_ONCE, help},
#define EDGE_ROW(type, stream, name, key, help)                                                                        \
    {CHASQUI__EDGE__TYPE__##type, stream, name, key, EVENT_BEST_EFFORT, help},
const struct event_row event_rows[] = {EVENT_CATALOGUE(ROW) EVENT_EDGE_CATALOGUE(EDGE_ROW)};
const size_t event_row_count = sizeof event_rows / sizeof *event_rows;

const struct event_row *event_row_find(int type)
{
    for (size_t i = 0; i < event_row_count; i++)
        if (event_rows[i].type == type)
            return &event_rows[i];
    return NULL;
}

/* The type is field 1, a varint, and what packs writes fields in the order of their numbers. */
const struct event_row *event_row_peek(struct cq_slice packed)
{
    uint32_t value = 0;
    if (!packed.len || packed.data[0] != 0x08)
        return NULL;
    for (size_t i = 1; i < packed.len && i < 5; i++) {
        value |= (packed.data[i] & UINT32_C(0x7f)) << (7 * (i - 1));
        if (packed.data[i] < 0x80)
            return event_row_find((int)value);
    }
    return NULL;
}
