/* Whether the disk under the store answers, judged from what the writer does: pure, times are arguments.
 *
 * A write that is under way for too long, or synced writes that take too long on the average, or a store that is about
 * to hold writes up, is trouble; the disk is well again when there has been none of it for a while. */
#ifndef DISK_PULSE_H
#define DISK_PULSE_H

#include "node/disk_config.h"

/* In the order of trouble; on the wire (health.h). */
enum disk_state { DISK_WELL, DISK_SLOW, DISK_STALLED, DISK_STATES };
const char *disk_state_name(enum disk_state state);

/* What is seen at one moment; the times are monotonic, in us. */
struct disk_sample {
    uint64_t now_us;
    uint64_t busy_since_us;  /* of the write that is under way; 0: none */
    uint64_t syncs, sync_us; /* all synced writes so far, and the time they took together */
    bool pressed;            /* the store will slow writes down soon, or does */
};

#define DISK_PULSE_SYNCS                                                                                               \
    3 /* the average is that of the last second, or of as many as have so many synced writes ...                       \
       */
#define DISK_PULSE_SECONDS 8 /* ... at most; when there were fewer, they say nothing */

struct disk_pulse {
    struct disk_settings limits;
    struct {
        uint64_t at_us, syncs, sync_us;
    } marks[DISK_PULSE_SECONDS]; /* a ring, one a second */
    size_t mark_count;           /* that were ever made */
    enum disk_state state;
    uint64_t trouble_us; /* when it was last seen */
    uint64_t sync_us;    /* average */
    uint64_t under_us;   /* how long the present write has been under way */
};

void disk_pulse_init(struct disk_pulse *pulse, const struct disk_settings *limits);

/* The state after this sample, which is also in pulse->state. */
enum disk_state disk_pulse_take(struct disk_pulse *pulse, const struct disk_sample *sample);

/* The present write has been under way for so long that the process must end. */
bool disk_pulse_must_end(const struct disk_pulse *pulse);

#endif
