/* The metrics that every process has. */
#include "base/cq_metrics.h"

#include "base/cq_log.h"
#include "base/cq_time.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    M_BUILD_INFO,
    M_CPU,
    M_OPEN_FDS,
    M_MAX_FDS,
    M_RESIDENT,
    M_VIRTUAL,
    M_START,
    M_THREADS,
    M_LOG,
};

static const char *const level_values[] = {
#define LEVEL_TEXT(name, text) text,
    CQ_LOG_LEVELS(LEVEL_TEXT)
#undef LEVEL_TEXT
};

static const struct cq_metric rows[] = {
    [M_BUILD_INFO] = CQ_GAUGE("chasqui_build_info", "What runs here; always 1", CQ_LABEL_DYNAMIC("version"),
                              CQ_LABEL_DYNAMIC("commit"), CQ_LABEL_DYNAMIC("role")),
    [M_CPU] = CQ_COUNTER_US("process_cpu_seconds_total", "CPU time of the process, user and system"),
    [M_OPEN_FDS] = CQ_GAUGE("process_open_fds", "Open file descriptors"),
    [M_MAX_FDS] = CQ_GAUGE("process_max_fds", "Limit of open file descriptors"),
    [M_RESIDENT] = CQ_GAUGE("process_resident_memory_bytes", "Resident memory"),
    [M_VIRTUAL] = CQ_GAUGE("process_virtual_memory_bytes", "Address space"),
    [M_START] = CQ_GAUGE_US("process_start_time_seconds", "When the process registered its metrics, Unix time"),
    [M_THREADS] = CQ_GAUGE("process_threads", "Threads"),
    [M_LOG] = CQ_COUNTER("chasqui_log_messages_total", "Lines logged", CQ_LABEL("level", level_values)),
};

struct cq_metrics cq_process_metrics = CQ_METRICS_OF(rows);

static const char *build_labels[3];

static void collect_build_info(struct cq_metric_out *out, void *ctx)
{
    (void)ctx;
    cq_metric_out_sample(out, build_labels, 1);
}

static void collect_cpu(struct cq_metric_out *out, void *ctx)
{
    (void)ctx;
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return;
    int64_t us = ((int64_t)usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * (int64_t)CQ_US_PER_S;
    cq_metric_out_sample(out, NULL, us + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void collect_log(struct cq_metric_out *out, void *ctx)
{
    (void)ctx;
    for (int level = 0; level < CQ_LOG_LEVEL_COUNT; level++)
        cq_metric_out_sample(out, &level_values[level], (int64_t)cq_log_count((enum cq_log_level)level));
}

static int64_t count_entries(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return 0;
    int64_t n = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void set_memory(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return;
    long long pages = 0, resident = 0;
    if (fscanf(file, "%lld %lld", &pages, &resident) == 2) {
        long page = sysconf(_SC_PAGESIZE);
        cq_gauge_set(&cq_process_metrics, M_VIRTUAL, pages * page);
        cq_gauge_set(&cq_process_metrics, M_RESIDENT, resident * page);
    }
    fclose(file);
}

static void set_gauges(void *ctx)
{
    (void)ctx;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        cq_gauge_set(&cq_process_metrics, M_MAX_FDS, (int64_t)limit.rlim_cur);
    cq_gauge_set(&cq_process_metrics, M_OPEN_FDS, count_entries("/proc/self/fd"));
    cq_gauge_set(&cq_process_metrics, M_THREADS, count_entries("/proc/self/task"));
    set_memory();
}

void cq_process_metrics_register(const char *role, const char *version, const char *commit)
{
    if (cq_process_metrics.state)
        return;
    build_labels[0] = version;
    build_labels[1] = commit;
    build_labels[2] = role;
    cq_metrics_register(&cq_process_metrics);
    cq_metrics_collect(&cq_process_metrics, M_BUILD_INFO, collect_build_info, NULL);
    cq_metrics_collect(&cq_process_metrics, M_CPU, collect_cpu, NULL);
    cq_metrics_collect(&cq_process_metrics, M_LOG, collect_log, NULL);
    cq_gauge_set(&cq_process_metrics, M_START, (int64_t)cq_time_wall_us());
    cq_metrics_before_scrape(set_gauges, NULL);
}
