/* Where events go: a file (event_file.h) or Kafka (event_kafka.h); event_config.h opens what the settings say. One
 * thread uses a sink: the outbox relay's, or that of a front-end's ring (event_ring.h).
 *
 * At least once: an event is acknowledged when the sink has it safely; whoever publishes keeps it until then and
 * publishes it again, under the same id, when no acknowledgement comes. */
#ifndef EVENT_SINK_H
#define EVENT_SINK_H

#include "base/cq_err.h"
#include "base/cq_slice.h"

#define EVENT_TYPE_JSON "application/json"
#define EVENT_TYPE_PROTOBUF "application/protobuf"

/* One event, encoded (event_encode.h). Borrowed for the call. */
struct event_record {
    struct cq_slice stream; /* "mail.delivery": the topic without prefix and version */
    struct cq_slice type;   /* "chasqui.mail.delivery.delivery.local.v1" */
    struct cq_slice key;    /* events with the same key keep their order */
    struct cq_slice id;     /* the CloudEvents id: the same at each repetition */
    struct cq_slice source; /* these three: CloudEvents attributes */
    struct cq_slice time;
    struct cq_slice dataschema;
    struct cq_slice sequence;        /* extension: place in the source, as text that sorts */
    struct cq_slice json;            /* a CloudEvents JSON object (structured mode), without a line end */
    struct cq_slice data;            /* the data alone, a JSON object: a part of `json` */
    struct cq_slice protobuf;        /* the same data as the stream's public message (proto/events.proto), ... */
    struct cq_slice protobuf_schema; /* ... and what its dataschema is; both empty unless it is wanted */
    struct cq_slice value;           /* of an event that is sent again: its value as it was, instead of `data` or ... */
    struct cq_slice value_type;      /* ... `protobuf`, and its content type */
    uint64_t ticket;                 /* the publisher's, given back in the acknowledgement */
};

struct event_sink {
    const struct event_sink_ops *ops;
    /* Called in poll() for each event, in the order of publish() per key. Set by the publisher. */
    void (*acknowledged)(void *ctx, uint64_t ticket);
    /* Called in poll() for an event that will never be taken, instead of putting it where such events are kept. NULL:
     * they are kept there, and acknowledged. */
    void (*refused)(void *ctx, uint64_t ticket, const char *why);
    void *ctx;
};

struct event_sink_ops {
    /* CQ_OK: taken; CQ_E_OVERLOADED: poll first; CQ_E_IO: it failed, and so did everything that is not acknowledged. */
    enum cq_rc (*publish)(struct event_sink *sink, const struct event_record *record, struct cq_err *err);
    /* Does what is due and acknowledges what is safe. CQ_E_IO: nothing more is safe; publish again later. */
    enum cq_rc (*poll)(struct event_sink *sink, struct cq_err *err);
    /* Opens files anew (after a rotation from outside), reads certificates again. */
    enum cq_rc (*reopen)(struct event_sink *sink, struct cq_err *err);
    void (*close)(struct event_sink *sink);
};

static inline enum cq_rc event_sink_publish(struct event_sink *sink, const struct event_record *record,
                                            struct cq_err *err)
{
    return sink->ops->publish(sink, record, err);
}

static inline enum cq_rc event_sink_poll(struct event_sink *sink, struct cq_err *err)
{
    return sink->ops->poll(sink, err);
}

static inline enum cq_rc event_sink_reopen(struct event_sink *sink, struct cq_err *err)
{
    return sink->ops->reopen(sink, err);
}

static inline void event_sink_close(struct event_sink **sink)
{
    if (*sink)
        (*sink)->ops->close(*sink);
    *sink = NULL;
}

#endif
