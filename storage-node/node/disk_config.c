#include "node/disk_config.h"

static const struct cq_setting rows[] = {
    CQ_SET_DURATION(
        struct disk_settings, stall_us, "disk.stall_limit", "3s", "50ms", "10m",
        "A write that is under way for longer means that the disk stalls: the node hands its leaderships to "
        "replicas on nodes whose disks answer, and takes none meanwhile."),
    CQ_SET_DURATION(struct disk_settings, slow_us, "disk.slow_limit", "1s", "10ms", "10m",
                    "The same when synced writes take longer than this on the average of the last few."),
    CQ_SET_DURATION(struct disk_settings, calm_us, "disk.calm_time", "10s", "100ms", "1h",
                    "How long the disk must have been well before the node takes leaderships again."),
    CQ_SET_DURATION(
        struct disk_settings, fence_us, "disk.fence_limit", "20s", "1s", "1h",
        "A write that is under way for longer ends the process (status 75); whoever supervises it starts it "
        "again."),
};

struct cq_config_part disk_config_part(struct disk_settings *values)
{
    return (struct cq_config_part)CQ_CONFIG_PART("disk", rows, values);
}
