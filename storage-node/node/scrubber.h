/* Checks of this node's replicas (reseed/replica_check.h), on two threads of their own, within a rate: those that an
 * operator asks for (chasquictl verify), and the scrub, which goes through all replicas every now and then. A replica
 * that is found damaged becomes suspect, as one that a read finds (reseeder.h); nobody else is disturbed. */
#ifndef SCRUBBER_H
#define SCRUBBER_H

#include "base/cq_metrics.h"
#include "node/group.h"

struct node;
struct scrubber;

struct scrubber_config {
    struct node *node;
    uint64_t verify_rate; /* bytes a second */
    uint64_t scrub_rate;  /* 0: there is no scrub */
    uint64_t scrub_interval_us;
};

#define SCRUB_FIRST_S 600 /* after the start, or the interval when that is shorter */

struct scrubber *scrubber_new(const struct scrubber_config *config);
void scrubber_start(struct scrubber *scrubber);
void scrubber_stop(struct scrubber *scrubber); /* what is under way is given up */
void scrubber_free(struct scrubber **scrubber);

/* What the last verification of a replica has come to; lost when the process ends. */
enum scrub_state {
    SCRUB_NONE,
    SCRUB_WAITING,
    SCRUB_RUNNING,
    SCRUB_SOUND,
    SCRUB_DAMAGED,
    SCRUB_FAILED /* it could not be read to its end: text says why */
};
struct scrub_result {
    enum scrub_state state;
    uint64_t index; /* of the snapshot whose records were read */
    uint64_t records, chunks, bytes;
    char text[CQ_ERR_TEXT_SIZE];
};

/* Any thread: begins a verification, unless one waits or runs. */
void scrubber_verify(struct scrubber *scrubber, const struct group *group);
void scrubber_look(struct scrubber *scrubber, const struct group *group, struct scrub_result *result_r);
const char *scrub_state_name(enum scrub_state state);

/* Where damage was met: a metric. */
enum corruption_kind {
    CORRUPT_RECORD, /* as enum check_found, less one */
    CORRUPT_DIGEST,
    CORRUPT_CHUNK,
    CORRUPT_MISSING,
    CORRUPT_READ,      /* by somebody's request, by apply, or by another replica's copying */
    CORRUPT_DIVERGENCE /* the replica is sound by itself, and not what most others are */
};
void corruption_detected(enum corruption_kind kind);

extern struct cq_metrics scrubber_metrics;

#endif
