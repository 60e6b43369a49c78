#include "io/io_metrics.h"

#include "io/io_tls_private.h"

#include <string.h>

static const char *const handshake_results[] = {"full", "resumed", "failed"};
static const char *const handshake_protocols[] = {"imap", "pop3", "smtp",   "submission",
                                                  "lmtp", "rpc",  "client", "other"};
static const char *const reload_results[] = {"ok", "failed"};

static const struct cq_metric rows[] = {
    [IO_M_LOOP_LAG] = CQ_HISTOGRAM("chasqui_event_loop_lag_seconds",
                                   "Longest turn or latest timer of a loop in each second", CQ_BUCKETS_IO),
    [IO_M_FIBERS_REFUSED] = CQ_COUNTER("chasqui_fibers_refused_total", "Fibers that did not start: all stacks in use"),
    [IO_M_ACCEPTED] =
        CQ_COUNTER("chasqui_accepted_connections_total", "Connections that the kernel gave to a listener"),
    [IO_M_ACCEPT_PAUSES] =
        CQ_COUNTER("chasqui_accept_pauses_total", "Times that accepting paused for want of descriptors or memory"),
    [IO_M_PROXY_FAILURES] =
        CQ_COUNTER("chasqui_proxy_header_failures_total", "Connections of a listed proxy without a good PROXY header"),
    [IO_M_TLS_HANDSHAKES] =
        CQ_COUNTER("chasqui_tls_handshakes_total",
                   "TLS handshakes; client: those that this process began, as with other parts and Redis",
                   CQ_LABEL("protocol", handshake_protocols), CQ_LABEL("result", handshake_results)),
    [IO_M_TLS_RELOADS] =
        CQ_COUNTER("chasqui_tls_reloads_total", "Changed certificate, key or ticket files that were read",
                   CQ_LABEL("result", reload_results)),
    [IO_M_TLS_NOT_AFTER] =
        CQ_GAUGE("chasqui_tls_certificate_not_after_timestamp_seconds",
                 "When the first certificate in use of a service expires", CQ_LABEL_DYNAMIC("service")),
    [IO_M_TLS_STALE] =
        CQ_GAUGE("chasqui_tls_files_stale", "1: the files of a service were refused, older ones are in use",
                 CQ_LABEL_DYNAMIC("service")),
};

struct cq_metrics io_metrics = CQ_METRICS_OF(rows);

unsigned io_metrics_protocol(const char *service)
{
    unsigned i = 0, other = sizeof handshake_protocols / sizeof *handshake_protocols - 1;
    while (i < other && strcmp(handshake_protocols[i], service) != 0)
        i++;
    return i;
}

static void not_after_sample(const char *service, const struct io_tls_stats *stats, void *out)
{
    if (stats->not_after_s)
        cq_metric_out_sample(out, &service, stats->not_after_s);
}

static void stale_sample(const char *service, const struct io_tls_stats *stats, void *out)
{
    cq_metric_out_sample(out, &service, stats->stale);
}

static void collect_not_after(struct cq_metric_out *out, void *ctx)
{
    (void)ctx;
    io_tls_walk(not_after_sample, out);
}

static void collect_stale(struct cq_metric_out *out, void *ctx)
{
    (void)ctx;
    io_tls_walk(stale_sample, out);
}

void io_metrics_register(void)
{
    cq_metrics_register(&io_metrics);
    cq_metrics_collect(&io_metrics, IO_M_TLS_NOT_AFTER, collect_not_after, NULL);
    cq_metrics_collect(&io_metrics, IO_M_TLS_STALE, collect_stale, NULL);
}
