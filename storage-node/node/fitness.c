#include "node/fitness.h"

#include "node/space.h"

#define WORTH_PERMILLE 50 /* so much less of the disk must be in use elsewhere */
#define WORTH_SPEED 4     /* and so many times faster must a synced write be */

static bool is_faster(const struct disk_look *own, const struct health_report *other)
{
    uint64_t cost = own->sync_us > own->under_us ? own->sync_us : own->under_us;
    return own->pressed || other->sync_us * (uint64_t)WORTH_SPEED <= cost;
}

static bool is_roomier(const struct disk_look *own, const struct health_report *other)
{
    return own->tight && other->space < own->space &&
           space_used_permille(other->free_bytes, other->total_bytes) + WORTH_PERMILLE <=
               space_used_permille(own->free_bytes, own->total_bytes);
}

bool fitness_more_routers(const struct disk_look *own, const struct health_report *other)
{
    return other->counts_routers && other->routers > own->routers;
}

bool fitness_fewer_routers(const struct disk_look *own, const struct health_report *other)
{
    return other->counts_routers && other->routers < own->routers;
}

bool fitness_is_better(const struct disk_look *own, const struct health_report *other)
{
    bool refuses = space_refuses(own->space), other_refuses = space_refuses((enum space_level)other->space);
    if (other->disk == DISK_STALLED)
        return false;
    if (own->state != DISK_STALLED && fitness_fewer_routers(own, other))
        return false;
    if (own->state != DISK_STALLED && refuses != other_refuses)
        return refuses; /* however slow: a slow disk takes writes, a full one does not */
    if (own->cut && fitness_more_routers(own, other))
        return true;
    if (other->disk != DISK_WELL)
        return false;
    return own->state != DISK_WELL ? is_faster(own, other) : is_roomier(own, other);
}

struct fitness_space fitness_space(enum space_level own, enum space_level majority, bool better, uint64_t tried_us)
{
    if (!space_refuses(own) || own <= majority)
        return (struct fitness_space){.refused = majority};
    if (better && tried_us < FITNESS_PASS_US)
        return (struct fitness_space){.refused = majority, .passing = own};
    return (struct fitness_space){.refused = own};
}
