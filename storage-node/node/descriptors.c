#include "node/descriptors.h"

#include <sys/resource.h>

#include "base/cq_log.h"

bool descriptors_share(struct node_config *config, uint64_t limit)
{
    int64_t all = limit < INT64_MAX ? (int64_t)limit : INT64_MAX;
    int64_t files = config->store.open_files, connections = config->server.connections_max;
    if (files > all / 2)
        files = all / 2;
    int64_t left = (all - files - DESCRIPTORS_OTHER) / node_rpc_servers(&config->node);
    if (connections > left)
        connections = left > DESCRIPTORS_CONNECTIONS_MIN ? left : DESCRIPTORS_CONNECTIONS_MIN;
    bool lowered = files != config->store.open_files || connections != config->server.connections_max;
    config->store.open_files = files;
    config->server.connections_max = connections;
    return lowered;
}

void descriptors_fit(struct node_config *config)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    const struct rlimit most = {limit.rlim_max, limit.rlim_max};
    if (limit.rlim_cur != limit.rlim_max && setrlimit(RLIMIT_NOFILE, &most) == 0)
        limit = most;
    if (limit.rlim_cur == RLIM_INFINITY || !descriptors_share(config, limit.rlim_cur))
        return;
    cq_log(CQ_WARN, "node.few_descriptors", CQ_F_U64("limit", limit.rlim_cur),
           CQ_F_U64("open_files", (uint64_t)config->store.open_files),
           CQ_F_U64("connections_per_worker", (uint64_t)config->server.connections_max),
           CQ_F_STR("action", "raise the limit of open files (ulimit -n, LimitNOFILE=)"));
}
