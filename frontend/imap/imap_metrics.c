#include "imap/imap_metrics.h"

#include "imap/imap_command.h"

static const char *const commands[] = {
#define COMMAND_NAME(symbol, name) name,
    IMAP_VERBS(COMMAND_NAME)
#undef COMMAND_NAME
        "unknown",
};
static const char *const results[] = {"ok", "no", "bad"};
static const char *const login_results[] = {"ok", "failed", "unavailable"};

static const struct cq_metric rows[] = {
    [IMAP_M_COMMANDS] = CQ_COUNTER("chasqui_imap_commands_total", "IMAP commands that ended",
                                   CQ_LABEL("command", commands), CQ_LABEL("result", results)),
    [IMAP_M_DURATION] =
        CQ_HISTOGRAM("chasqui_imap_command_duration_seconds", "From a whole command to its tagged answer",
                     CQ_BUCKETS_LATENCY, CQ_LABEL("command", commands)),
    [IMAP_M_SESSIONS] = CQ_GAUGE("chasqui_imap_sessions", "IMAP connections"),
    [IMAP_M_LOGINS] =
        CQ_COUNTER("chasqui_imap_logins_total", "IMAP log-ins that ended", CQ_LABEL("result", login_results)),
};
struct cq_metrics imap_metrics = CQ_METRICS_OF(rows);
