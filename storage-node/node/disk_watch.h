/* The node watches its own disk, so that its trouble stays its own: leaderships go to nodes whose disks answer, before
 * clients wait, and a process whose write hangs for too long ends (docs/trouble.md).
 *
 * The judging happens on the Raft thread, which never waits for the disk: while the writer hangs, this goes on. What
 * may itself wait for the disk or for the store's locks is asked by a thread of its own, whose last answer is used. */
#ifndef DISK_WATCH_H
#define DISK_WATCH_H

#include "base/cq_metrics.h"
#include "node/disk_pulse.h"

struct node;
struct disk_watch;

struct disk_watch *disk_watch_new(struct node *node);
void disk_watch_start(struct disk_watch *watch); /* after the Raft thread */
/* Any thread; before the Raft thread stops. */
void disk_watch_stop(struct disk_watch *watch);
void disk_watch_free(struct disk_watch **watch);

/* What was seen last. Any thread. */
struct disk_look {
    enum disk_state state;
    uint64_t sync_us;  /* average of a synced write */
    uint64_t under_us; /* how long the present write has been under way */
    bool pressed;      /* the store is about to slow writes down, or does */
};
void disk_watch_look(struct disk_watch *watch, struct disk_look *look_r);

/* Whether leadership may be handed to this node: it said lately that its disk is well. Any thread. */
bool disk_watch_fit(struct node *node, const uint8_t uuid[static 16]);

extern struct cq_metrics disk_watch_metrics;

#endif
