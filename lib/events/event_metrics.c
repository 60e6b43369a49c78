#include "events/event_metrics.h"

static const char *const streams[] = {
#define STREAM_LABEL(stream, name) name,
    EVENT_STREAMS(STREAM_LABEL)
#undef STREAM_LABEL
};
static const char *const results[] = {"acknowledged", "failed"};
static const char *const reasons[] = {
#define DROP_LABEL(name, label) label,
    EVENT_DROPS(DROP_LABEL)
#undef DROP_LABEL
};

static const struct cq_metric rows[] = {
    [EVENT_M_PRODUCED] = CQ_COUNTER("chasqui_events_produced_total", "Events given to the sink",
                                    CQ_LABEL("topic", streams), CQ_LABEL("result", results)),
    [EVENT_M_DROPPED] = CQ_COUNTER("chasqui_events_dropped_total", "Events that were never published",
                                   CQ_LABEL("stream", streams), CQ_LABEL("reason", reasons)),
    [EVENT_M_WAITING] = CQ_GAUGE("chasqui_events_waiting_bytes", "Best-effort events in memory that wait for the sink"),
};
struct cq_metrics event_metrics = CQ_METRICS_OF(rows);

static unsigned stream_of(const struct event_row *row)
{
    return row ? row->stream : EVENT_MAILBOX;
}

void event_count_produced(const struct event_row *row, enum event_m_result result)
{
    cq_metric_add(&event_metrics, EVENT_M_PRODUCED, 1, stream_of(row), result);
}

void event_count_dropped(const struct event_row *row, enum event_drop reason)
{
    event_count_dropped_many((enum event_stream)stream_of(row), reason, 1);
}

void event_count_dropped_many(enum event_stream stream, enum event_drop reason, uint64_t count)
{
    cq_metric_add(&event_metrics, EVENT_M_DROPPED, count, stream, reason);
}
