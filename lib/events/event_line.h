/* An event that was published once, read again: a line of a file of events (event_file.h), or a record of a Kafka
 * topic. Both come from outside: nothing is believed that is not looked at. */
#ifndef EVENT_LINE_H
#define EVENT_LINE_H

#include "base/cq_pool.h"
#include "events/event_catalogue.h"
#include "events/event_sink.h"

#define EVENT_LINE_MAX (512u << 10) /* bytes of one; more than any event has */
#define EVENT_ATTRIBUTE_MAX 256     /* bytes of an attribute */

struct event_read {
    struct event_record record; /* its value is what the event's was */
    enum event_stream stream;
    struct cq_slice account_id, address; /* of the data; empty: not told */
};

/* A line without its end. Slices are of the line or of the pool. CQ_E_PROTO: it is no event of ours; the text says what
 * is missing. The value is the data, to the byte. */
enum cq_rc event_line_read(struct cq_slice line, struct cq_pool *pool, struct event_read *read_r, struct cq_err *err);

/* Of a record: `record` has its attributes and its value; fills in what the value tells. False: the value does not
 * decode. */
bool event_value_read(struct cq_pool *pool, struct event_read *read);

/* "mail.delivery" to its stream. */
bool event_stream_find(struct cq_slice name, enum event_stream *stream_r);

/* As cq_time_rfc3339 writes it, so that texts sort as times do. */
bool event_time_ok(struct cq_slice text);

#endif
