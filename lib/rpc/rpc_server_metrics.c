/* Metrics per method. The methods of a process are known when it starts: label values are made from its tables. */
#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "rpc/rpc_server_private.h"

enum { M_REQUESTS, M_DURATION, M_RUNNING, M_REFUSED, M_COUNT };

static const char *const refusal_names[] = {"certificate", "role", "method", "size", "load"};

static const char *const result_names[CQ_RC_COUNT] = {
#define RESULT_NAME(name, retry, text) [name] = #name,
    CQ_RC_LIST(RESULT_NAME)
#undef RESULT_NAME
};

/* Filled once, before threads: [method number] = label index + 1. */
static uint16_t label_of[RPC_METHOD_MAX + 1];
static const char *names[RPC_METHOD_MAX + 1];
static struct cq_metric rows[M_COUNT];
static struct cq_metrics metrics = {.rows = rows, .count = M_COUNT};

static size_t collect_names(const struct rpc_service *services, size_t count)
{
    size_t n = 0;
    for (size_t s = 0; s < count; s++)
        for (size_t i = 0; i < services[s].count; i++) {
            const struct rpc_method *row = &services[s].methods[i];
            CQ_ASSERT(row->method <= RPC_METHOD_MAX);
            if (label_of[row->method])
                continue;
            names[n] = row->name;
            label_of[row->method] = (uint16_t)++n;
        }
    return n;
}

void rpc_server_metrics_register(const struct rpc_service *services, size_t count)
{
    if (metrics.state)
        return;
    const struct cq_metric_label method = {.name = "method", .values = names, .count = collect_names(services, count)};
    rows[M_REQUESTS] = (struct cq_metric)CQ_COUNTER("chasqui_rpc_server_requests_total", "Requests by their result");
    rows[M_REQUESTS].labels[0] = method;
    rows[M_REQUESTS].labels[1] = (struct cq_metric_label)CQ_LABEL("result", result_names);
    rows[M_DURATION] = (struct cq_metric)CQ_HISTOGRAM("chasqui_rpc_server_request_duration_seconds",
                                                      "From a request's arrival to its answer", CQ_BUCKETS_LATENCY);
    rows[M_DURATION].labels[0] = method;
    rows[M_RUNNING] = (struct cq_metric)CQ_GAUGE("chasqui_rpc_server_running", "Requests that are not answered yet");
    rows[M_REFUSED] = (struct cq_metric)CQ_COUNTER("chasqui_rpc_server_refused_total",
                                                   "Connections and requests that were not looked at, by the reason",
                                                   CQ_LABEL("reason", refusal_names));
    cq_metrics_register(&metrics);
}

void rpc_server_count(const struct rpc_method *row, enum cq_rc rc, uint64_t duration_us)
{
    uint16_t label = label_of[row->method];
    if (!label)
        return;
    unsigned result = (unsigned)rc < CQ_RC_COUNT ? (unsigned)rc : CQ_E_INTERNAL;
    cq_metric_add(&metrics, M_REQUESTS, 1, label - 1u, result);
    cq_metric_observe(&metrics, M_DURATION, duration_us, label - 1u);
}

void rpc_server_count_refusal(enum rpc_refusal reason)
{
    cq_metric_add(&metrics, M_REFUSED, 1, reason);
}

void rpc_server_count_running(int delta)
{
    cq_gauge_add(&metrics, M_RUNNING, delta);
}
