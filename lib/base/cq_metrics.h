/* Metrics: tables of rows; a registry that prints them for Prometheus; counters that cost one plain store.
 *
 *     static const char *const results[] = {"ok", "failed"};
 *     enum { SMTP_M_TRANSACTIONS, SMTP_M_SIZE };
 *     static const struct cq_metric smtp_rows[] = {
 *         [SMTP_M_TRANSACTIONS] = CQ_COUNTER("chasqui_smtp_transactions_total", "Transactions that ended",
 *                                            CQ_LABEL("result", results)),
 *         [SMTP_M_SIZE] = CQ_HISTOGRAM("chasqui_message_size_bytes", "Size of messages", CQ_BUCKETS_SIZE),
 *     };
 *     struct cq_metrics smtp_metrics = CQ_METRICS_OF(smtp_rows);          // one per module
 *     cq_metrics_register(&smtp_metrics);                                 // by the program, before its threads
 *     cq_metric_add(&smtp_metrics, SMTP_M_TRANSACTIONS, 1, SMTP_OK);      // label values by index
 *     cq_metric_observe(&smtp_metrics, SMTP_M_SIZE, bytes);
 *
 * Names: "chasqui_" + noun + base unit + "_total" for counters (prometheus.io/docs/practices/naming). Labels have a
 * fixed list of values, all of which exist with 0 from the start; never a user, address, domain or id.
 * Labels of which only some combinations exist are one label whose name and values have commas at the same places:
 * CQ_LABEL("protocol,command", {"imap,SELECT", "smtp,EHLO"}) is shown as protocol="imap",command="SELECT".
 * Values are integers; a row whose unit is CQ_METRIC_US counts microseconds and is shown in seconds.
 * Counters and histograms are kept per thread and added up at the scrape; gauges are shared and atomic.
 * A module that was not registered counts into nothing: library code never has to ask. */
#ifndef CQ_METRICS_H
#define CQ_METRICS_H

#include "base/cq_buf.h"

#define CQ_METRIC_LABELS_MAX 3
#define CQ_METRIC_CELLS_MAX 16384 /* of one process: 64-bit counts over all modules; registering past it is a bug */
#define CQ_METRICS_TEXT_MAX (4u << 20) /* a scrape is at most this many bytes */

enum cq_metric_type { CQ_METRIC_COUNTER, CQ_METRIC_GAUGE, CQ_METRIC_HISTOGRAM };
enum cq_metric_unit { CQ_METRIC_ONE, CQ_METRIC_US }; /* how the integer is shown: as it is; divided by 10^6 */

struct cq_metric_label {
    const char *name;
    const char *const *values;
    size_t count;
};

/* Upper bounds (le), rising, in the row's integer unit; +Inf is implied. */
struct cq_metric_buckets {
    const uint64_t *le;
    size_t count;
    enum cq_metric_unit unit;
};

extern const struct cq_metric_buckets cq_buckets_latency;  /* 0.5 ms .. 60 s: a command, an RPC */
extern const struct cq_metric_buckets cq_buckets_io;       /* 50 us .. 5 s: fsync, commit, a query */
extern const struct cq_metric_buckets cq_buckets_delivery; /* 0.1 s .. 5 d */
extern const struct cq_metric_buckets cq_buckets_duration; /* 1 s .. 1 d: a session */
extern const struct cq_metric_buckets cq_buckets_size;     /* 1 KiB .. 100 MiB, bytes */
extern const struct cq_metric_buckets cq_buckets_count;    /* 1 .. 10,000 things */

#define CQ_BUCKETS_LATENCY (&cq_buckets_latency)
#define CQ_BUCKETS_IO (&cq_buckets_io)
#define CQ_BUCKETS_DELIVERY (&cq_buckets_delivery)
#define CQ_BUCKETS_DURATION (&cq_buckets_duration)
#define CQ_BUCKETS_SIZE (&cq_buckets_size)
#define CQ_BUCKETS_COUNT (&cq_buckets_count)

struct cq_metric_out;

/* Fills a gauge whose label values are known only at run time (node names, certificates): calls
 * cq_metric_out_sample once per label combination. Runs in the scraping thread. */
typedef void cq_metric_collect_fn(struct cq_metric_out *out, void *ctx);

struct cq_metric {
    const char *name;
    const char *help;
    enum cq_metric_type type;
    enum cq_metric_unit unit;
    const struct cq_metric_buckets *buckets;             /* histograms */
    struct cq_metric_label labels[CQ_METRIC_LABELS_MAX]; /* values NULL: known at run time only, by a collector */
};

#define CQ_LABEL(label, array)                                                                                         \
    {                                                                                                                  \
        .name = (label), .values = (array), .count = sizeof(array) / sizeof *(array)                                   \
    }
#define CQ_LABEL_DYNAMIC(label)                                                                                        \
    {                                                                                                                  \
        .name = (label)                                                                                                \
    }
#define CQ_COUNTER(n, h, ...)                                                                                          \
    {                                                                                                                  \
        .name = (n), .help = (h), .type = CQ_METRIC_COUNTER, .labels = { __VA_ARGS__ }                                 \
    }
#define CQ_COUNTER_US(n, h, ...)                                                                                       \
    {                                                                                                                  \
        .name = (n), .help = (h), .type = CQ_METRIC_COUNTER, .unit = CQ_METRIC_US, .labels = { __VA_ARGS__ }           \
    }
#define CQ_GAUGE(n, h, ...)                                                                                            \
    {                                                                                                                  \
        .name = (n), .help = (h), .type = CQ_METRIC_GAUGE, .labels = { __VA_ARGS__ }                                   \
    }
#define CQ_GAUGE_US(n, h, ...)                                                                                         \
    {                                                                                                                  \
        .name = (n), .help = (h), .type = CQ_METRIC_GAUGE, .unit = CQ_METRIC_US, .labels = { __VA_ARGS__ }             \
    }
#define CQ_HISTOGRAM(n, h, b, ...)                                                                                     \
    {                                                                                                                  \
        .name = (n), .help = (h), .type = CQ_METRIC_HISTOGRAM, .buckets = (b), .labels = { __VA_ARGS__ }               \
    }

/* A module's table. Static storage, one per module; the private members belong to the registry. */
struct cq_metrics {
    const struct cq_metric *rows;
    size_t count;
    struct cq_metrics_state *state; /* NULL until registered */
};

#define CQ_METRICS_OF(array)                                                                                           \
    {                                                                                                                  \
        .rows = (array), .count = sizeof(array) / sizeof *(array)                                                      \
    }

/* Adds the module's rows, all zero. Again for the same module: nothing. Asserts on a name that exists already, a name
 * or label that Prometheus would refuse, or too many cells. Call before threads count (the pointer is not atomic). */
void cq_metrics_register(struct cq_metrics *module);

/* ---- Counting. Label values by index in the order of the row; pass none for a row without labels. ---- */

/* The number of label values given must be the row's: cq_metric_add(m, ROW, 1, listener, result). */
#define cq_metric_add(module, row, n, ...)                                                                             \
    cq_metric_add_at((module), (row), (n), (const unsigned[CQ_METRIC_LABELS_MAX + 1]){0, __VA_ARGS__})
#define cq_metric_observe(module, row, value, ...)                                                                     \
    cq_metric_observe_at((module), (row), (value), (const unsigned[CQ_METRIC_LABELS_MAX + 1]){0, __VA_ARGS__})
#define cq_gauge_set(module, row, value, ...)                                                                          \
    cq_gauge_set_at((module), (row), (value), (const unsigned[CQ_METRIC_LABELS_MAX + 1]){0, __VA_ARGS__})
#define cq_gauge_add(module, row, delta, ...)                                                                          \
    cq_gauge_add_at((module), (row), (delta), (const unsigned[CQ_METRIC_LABELS_MAX + 1]){0, __VA_ARGS__})

void cq_metric_add_at(const struct cq_metrics *module, size_t row, uint64_t n, const unsigned *index);
void cq_metric_observe_at(const struct cq_metrics *module, size_t row, uint64_t value, const unsigned *index);
void cq_gauge_set_at(const struct cq_metrics *module, size_t row, int64_t value, const unsigned *index);
void cq_gauge_add_at(const struct cq_metrics *module, size_t row, int64_t delta, const unsigned *index);

/* The present value, summed over threads (a histogram: the number of observations). For tests and admin answers. */
#define cq_metric_value(module, row, ...)                                                                              \
    cq_metric_value_at((module), (row), (const unsigned[CQ_METRIC_LABELS_MAX + 1]){0, __VA_ARGS__})
int64_t cq_metric_value_at(const struct cq_metrics *module, size_t row, const unsigned *index);

/* ---- Collectors and the scrape ---- */

/* The row's samples come from `collect` (replaces its cells). Call after cq_metrics_register, before threads. */
void cq_metrics_collect(struct cq_metrics *module, size_t row, cq_metric_collect_fn *collect, void *ctx);

/* A function that runs before each scrape, to set gauges (queue depths, ages). */
typedef void cq_metrics_before_fn(void *ctx);
void cq_metrics_before_scrape(cq_metrics_before_fn *fn, void *ctx);

/* One sample from within a collector; label_values as many as the row has labels. They are escaped. */
void cq_metric_out_sample(struct cq_metric_out *out, const char *const *label_values, int64_t value);

/* Everything, in the Prometheus text format 0.0.4. False: over CQ_METRICS_TEXT_MAX or out's maximum. */
bool cq_metrics_scrape(struct cq_buf *out);

/* All rows in the order of registration: for generated documents and checks. */
typedef void cq_metrics_walk_fn(const struct cq_metric *row, void *ctx);
void cq_metrics_walk(cq_metrics_walk_fn *fn, void *ctx);

/* One Markdown table row per metric: "| name | type | labels | help |". The reference page merges those of all
 * programs. */
void cq_metrics_print_docs(struct cq_buf *out);

/* chasqui_build_info, process_* and chasqui_log_messages_total. Registered by every program. */
extern struct cq_metrics cq_process_metrics;
void cq_process_metrics_register(const char *role, const char *version, const char *commit);

#endif
