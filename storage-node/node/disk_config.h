/* Settings "disk.*": when a node's own disk counts as in trouble, and what then. */
#ifndef DISK_CONFIG_H
#define DISK_CONFIG_H

#include "base/cq_config.h"
#include "node/space.h"

struct disk_settings {
    uint64_t stall_us, slow_us, calm_us, fence_us;
    struct space_limits space;
    uint64_t ballast, reclaim_us;
};

struct cq_config_part disk_config_part(struct disk_settings *values);

#endif
