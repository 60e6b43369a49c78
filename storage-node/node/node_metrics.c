/* Gauges of the node as a whole: its store, its disk, its queues. Set before each scrape. */
#include <sys/statvfs.h>

#include "node/node_private.h"
#include "node/topology_keeper.h"
#include "state/command_version.h"

static const char *const store_kinds[] = {"table", "blob", "blob_live", "memtable", "cache"};
static const char *const disk_kinds[] = {"free", "total"};
static const char *const queues[] = {"writer", "apply", "read"};
static const char *const versions[] = {"known", "finalized"};

enum { M_STORE, M_PENDING, M_DELAYED, M_STOPPED, M_DISK, M_QUEUE, M_QUARANTINED, M_VERSION, M_ROWS };
static const struct cq_metric rows[M_ROWS] = {
    [M_STORE] = CQ_GAUGE("chasqui_store_bytes",
                         "Size of the store: tables, blob files (garbage included; live: an estimate without it), "
                         "tables in memory, block cache in use",
                         CQ_LABEL("kind", store_kinds)),
    [M_PENDING] = CQ_GAUGE("chasqui_store_pending_compaction_bytes", "Estimated debt of compaction"),
    [M_DELAYED] = CQ_GAUGE("chasqui_store_delayed_write_bytes_per_second",
                           "Rate that writes are slowed to because compaction is behind; 0: not slowed"),
    [M_STOPPED] = CQ_GAUGE("chasqui_store_writes_stopped", "1: writes wait for compaction"),
    [M_DISK] = CQ_GAUGE("chasqui_disk_bytes", "The file system of the data directory", CQ_LABEL("kind", disk_kinds)),
    [M_QUEUE] = CQ_GAUGE("chasqui_threadpool_queue_depth", "What waits for a thread", CQ_LABEL("pool", queues)),
    [M_QUARANTINED] = CQ_GAUGE("chasqui_raft_groups_quarantined",
                               "Replicas put aside because an entry crashed the process twice: a person must look"),
    [M_VERSION] =
        CQ_GAUGE("chasqui_command_version",
                 "The highest command version that this node can apply, and what its cluster has finalized: an "
                 "upgrade that nobody finalizes shows as a difference for days; 0: no cluster is known yet",
                 CQ_LABEL("version", versions)),
};
struct cq_metrics node_metrics = CQ_METRICS_OF(rows);

static void set_store(struct node *node)
{
    struct store_rocksdb_stats s;
    store_rocksdb_stats(node->dir.store, &s);
    const uint64_t bytes[] = {s.table_bytes, s.blob_bytes, s.blob_live_bytes, s.memtable_bytes, s.cache_bytes};
    for (unsigned i = 0; i < sizeof bytes / sizeof *bytes; i++)
        cq_gauge_set(&node_metrics, M_STORE, (int64_t)bytes[i], i);
    cq_gauge_set(&node_metrics, M_PENDING, (int64_t)s.pending_bytes);
    cq_gauge_set(&node_metrics, M_DELAYED, (int64_t)s.delayed_rate);
    cq_gauge_set(&node_metrics, M_STOPPED, (int64_t)s.stopped);
}

static void set_disk(const struct node *node)
{
    struct statvfs fs;
    if (statvfs(node->dir.path, &fs) != 0)
        return;
    cq_gauge_set(&node_metrics, M_DISK, (int64_t)(fs.f_bavail * fs.f_frsize), 0);
    cq_gauge_set(&node_metrics, M_DISK, (int64_t)(fs.f_blocks * fs.f_frsize), 1);
}

static int64_t quarantined(const struct node *node)
{
    int64_t count = 0;
    for (uint32_t id = 0; id < GROUPS_MAX; id++) {
        const struct group *group = groups_find(&node->groups, id);
        count += group && atomic_load(&group->quarantined) != 0;
    }
    return count;
}

static void set_versions(struct node *node)
{
    const struct topology *t = topology_keeper_get(node->keeper);
    cq_gauge_set(&node_metrics, M_VERSION, command_version_known, 0);
    cq_gauge_set(&node_metrics, M_VERSION, t && t->epoch ? t->finalized_version : 0, 1);
    topology_unref(&t);
}

void node_metrics_set(void *ctx)
{
    struct node *node = ctx;
    cq_gauge_set(&node_metrics, M_QUARANTINED, quarantined(node));
    set_versions(node);
    set_store(node);
    set_disk(node);
    cq_gauge_set(&node_metrics, M_QUEUE, (int64_t)writer_queue_length(node->writer), 0);
    cq_gauge_set(&node_metrics, M_QUEUE, (int64_t)apply_queue_length(node->apply), 1);
    cq_gauge_set(&node_metrics, M_QUEUE, (int64_t)io_pool_depth(node->read_pool), 2);
}
