/* chasqui-storage-node: holds replicas of shards. Only wires; start reading at node.c. */
#include <malloc.h>
#include <stdio.h>

#include "base/cq_args.h"
#include "base/cq_log.h"
#include "node/descriptors.h"
#include "node/node.h"
#include "node/node_limits.h"

#define EXIT_START 1

/* Bodies and RocksDB's tables in memory come and go all the time. glibc would give their pages back to the kernel and
 * take new ones, a fault and a cleared page for each 4 KiB; so freed memory is kept for the next one, up to this much
 * of it at the end of each heap. */
#define KEEP_FREE (64 << 20)      /* bytes */
#define MAP_ALONE_FROM (32 << 20) /* bytes of one allocation; smaller ones come from the heap */

static void keep_freed_memory(void)
{
    mallopt(M_TRIM_THRESHOLD, KEEP_FREE);
    mallopt(M_MMAP_THRESHOLD, MAP_ALONE_FROM);
}

int main(int argc, char **argv)
{
    static struct node_config config;
    struct cq_config_part parts[NODE_CONFIG_PARTS];
    struct cq_pool *pool = cq_pool_new(16384);
    struct cq_err err = {0};
    int status = 0;
    keep_freed_memory();
    node_config_parts(&config, parts);
    node_metrics_register();
    const struct cq_program program = {.name = "chasqui-storage-node",
                                       .version = CHASQUI_VERSION,
                                       .about = "Holds replicas of the cluster's shards: mail, queues, events.",
                                       .parts = parts,
                                       .part_count = NODE_CONFIG_PARTS,
                                       .limits = node_limit_tables,
                                       .limit_count = node_limit_table_count};
    if (!cq_program_start(&program, argc, argv, pool, &status)) {
        cq_pool_free(&pool);
        return status;
    }
    cq_log_init(&(struct cq_log_options){.role = "storage",
                                         .node = config.node.advertise[0] ? config.node.advertise : config.node.listen,
                                         .format = (enum cq_log_format)config.log.format,
                                         .level = (enum cq_log_level)config.log.level});
    struct node *node = NULL;
    apply_marks_watch_signals();
    descriptors_fit(&config);
    if (node_start(&config, &node, &err) == CQ_OK) {
        node_run(node);
        node_free(&node);
    } else {
        cq_log(CQ_ERROR, "node.not_started", CQ_F_ERR(&err));
        status = EXIT_START;
    }
    cq_pool_free(&pool);
    return status;
}
