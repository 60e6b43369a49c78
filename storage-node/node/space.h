/* How full the disk of a node is, and what a group's leader still accepts: pure.
 *
 * Long before a write can fail, what makes the store grow is refused; deleting goes on to the end, so that space can be
 * made from inside (docs/trouble.md). */
#ifndef SPACE_H
#define SPACE_H

#include "base/cq_slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rising; on the wire (health.h). */
enum space_level {
    SPACE_FREE,
    SPACE_NO_GROWTH, /* nothing that adds messages, copies or accounts */
    SPACE_DELETES,   /* deletes, and what they need; membership and votes of course */
    SPACE_LAST,      /* the same, and the ballast has been given up */
    SPACE_FULL,      /* the same, and as a follower this node takes no entries until there is space */
    SPACE_LEVELS
};
const char *space_level_name(enum space_level level);

/* Per cent used at which the levels begin. */
struct space_limits {
    int64_t no_growth, deletes, last;
};
#define SPACE_FULL_PERCENT 99
#define SPACE_BACK_PERCENT 1 /* a level ends so much below where it begins */

struct space_sample {
    uint64_t free_bytes, total_bytes; /* total: what is in use and what is free for us together */
    uint64_t needed_bytes;            /* for what is in memory and must still be written: with less, the disk is full */
};
enum space_level space_judge(const struct space_limits *limits, const struct space_sample *sample,
                             enum space_level before);
uint32_t space_used_permille(uint64_t free_bytes, uint64_t total_bytes);

/* What holds for a group whose voters' nodes are at these levels: the best majority decides, for it can commit alone.
 * Sorts them. */
enum space_level space_of_voters(enum space_level *levels, size_t count);

/* At this level of its own disk a leader refuses what a majority with room would take. */
static inline bool space_refuses(enum space_level level)
{
    return level >= SPACE_DELETES;
}

/* Whether a command is accepted at this level. message: the Call's body, of methods where it matters; one that does not
 * decode is allowed: apply refuses it. */
bool space_allows(enum space_level level, uint32_t method, struct cq_slice message);

#endif
