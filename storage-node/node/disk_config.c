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
    CQ_SET_INT(struct disk_settings, space.no_growth, "disk.growth_limit", "85", 10, 98, "per cent",
               "Use of the file system from which a shard's leader refuses what makes the store grow: new messages, "
               "copies, accounts. What counts is the best majority of the shard's replicas."),
    CQ_SET_INT(struct disk_settings, space.deletes, "disk.delete_limit", "92", 10, 98, "per cent",
               "Use from which it accepts nothing but deletes, membership and votes."),
    CQ_SET_INT(struct disk_settings, space.last, "disk.last_limit", "97", 10, 98, "per cent",
               "Use at which the ballast is given up."),
    CQ_SET_SIZE(struct disk_settings, ballast, "disk.ballast", "256MiB", "0", "1TiB",
                "Size of the ballast at most: a file that keeps room for the way back from a full disk. It has a "
                "hundredth of the file system, 64 MiB at least. 0: none."),
    CQ_SET_DURATION(struct disk_settings, reclaim_us, "disk.reclaim_interval", "10m", "1s", "1000h",
                    "Between two rewritings of the files that hold bodies, so that the space of deleted ones comes "
                    "back: when a tenth of them was deleted since the last one. While space is short it is done at "
                    "once."),
};

struct cq_config_part disk_config_part(struct disk_settings *values)
{
    return (struct cq_config_part)CQ_CONFIG_PART("disk", rows, values);
}
