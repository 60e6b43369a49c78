#include "events/event_catalogue.h"

#include "proto/outbox.pb-c.h"

const char *const event_stream_names[EVENT_STREAM_COUNT] = {[EVENT_INBOUND] = "mail.inbound",
                                                            [EVENT_DELIVERY] = "mail.delivery",
                                                            [EVENT_MAILBOX] = "mail.mailbox",
                                                            [EVENT_LIMITS] = "mail.limits"};

#define ROW(type, stream, name, key, help) {CHASQUI__OUTBOX__TYPE__##type, stream, name, key, help},
const struct event_row event_rows[] = {EVENT_CATALOGUE(ROW)};
const size_t event_row_count = sizeof event_rows / sizeof *event_rows;

const struct event_row *event_row_find(int type)
{
    for (size_t i = 0; i < event_row_count; i++)
        if (event_rows[i].type == type)
            return &event_rows[i];
    return NULL;
}
