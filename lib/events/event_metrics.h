/* What is counted of events, the same in every process that publishes some. */
#ifndef EVENT_METRICS_H
#define EVENT_METRICS_H

#include "base/cq_metrics.h"
#include "events/event_catalogue.h"

enum event_metric { EVENT_M_PRODUCED, EVENT_M_DROPPED, EVENT_M_WAITING };
enum event_m_result { EVENT_M_ACKNOWLEDGED, EVENT_M_FAILED };

/* X(reason, label) */
#define EVENT_DROPS(X)                                                                                                 \
    X(EVENT_DROP_NO_SINK, "no_sink")         /* none is configured */                                                  \
    X(EVENT_DROP_MALFORMED, "malformed")     /* a record that does not decode or is too big: a defect */               \
    X(EVENT_DROP_OUTBOX_FULL, "outbox_full") /* past events.outbox.max_bytes: trimmed by the log */                    \
    X(EVENT_DROP_OVERFLOW, "overflow")       /* best effort: the sink is slower than the events */                     \
    X(EVENT_DROP_STOPPED, "stopped")         /* best effort: the process ended while the sink failed */

enum event_drop {
#define EVENT_DROP_ENUM(name, label) name,
    EVENT_DROPS(EVENT_DROP_ENUM)
#undef EVENT_DROP_ENUM
};

extern struct cq_metrics event_metrics;

/* A row that is NULL counts as mail.mailbox, where events of unknown types go. */
void event_count_produced(const struct event_row *row, enum event_m_result result);
void event_count_dropped(const struct event_row *row, enum event_drop reason);
void event_count_dropped_many(enum event_stream stream, enum event_drop reason, uint64_t count);

#endif
