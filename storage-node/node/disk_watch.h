/* The node watches its own disk, so that its trouble stays its own: leaderships go to nodes whose disks answer, before
 * clients wait, and a process whose write hangs for too long ends (docs/trouble.md). In the same way it hands over when
 * routers do not reach it, and reach others.
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
    bool pressed;      /* for a while, the store has been about to slow writes down, or has */
    bool tight;        /* for a while, space has not been SPACE_FREE */
    uint64_t free_bytes, total_bytes;
    uint64_t ballast_bytes;
    enum space_level space;
    uint8_t routers; /* as in health.h */
    bool cut;        /* for a while, more of them have reached another node */
};
void disk_watch_look(struct disk_watch *watch, struct disk_look *look_r);

/* Whether leadership may be handed to this node: it said lately that its disk is well and has room, and as many
 * routers reach it. Any thread. */
bool disk_watch_fit(struct node *node, const uint8_t uuid[static 16]);

/* A command was refused for want of space, at this level. Any thread. */
void disk_watch_refused(enum space_level level);

/* So many chunks were deleted: their space is still to come back. Any thread. */
void disk_watch_removed(struct disk_watch *watch, size_t chunks);

/* Gives the ballast up, until there is space for it again. CQ_E_NOT_FOUND: there is none; CQ_E_IO. May wait for the
 * disk. */
enum cq_rc disk_watch_release_ballast(struct disk_watch *watch, struct cq_err *err);

extern struct cq_metrics disk_watch_metrics;

#endif
