/* Would another node lead better than this one? Pure.
 *
 * A leader goes by it when its own node is in trouble; only what is clearly better counts, so that nodes that share one
 * bad disk do not send leaders round (docs/trouble.md). */
#ifndef FITNESS_H
#define FITNESS_H

#include "node/disk_watch.h"
#include "node/health.h"

/* The other node is reached by more of the cluster's routers, or by fewer. Both false: by as many, or it is of a
 * release that does not count them. */
bool fitness_more_routers(const struct disk_look *own, const struct health_report *other);
bool fitness_fewer_routers(const struct disk_look *own, const struct health_report *other);

/* own: how this node is; other: what another one has told lately. In the order of what weighs most: a disk that hangs
 * leads nothing; a node that refuses for want of space goes to one that does not, at once; nobody goes where fewer
 * routers get; then routers, speed, room. */
bool fitness_is_better(const struct disk_look *own, const struct health_report *other);

/* What a leader refuses for want of space on its own disk, while most of its group's nodes have room. */
struct fitness_space {
    enum space_level refused; /* answered CQ_E_NO_SPACE */
    enum space_level passing; /* what is refused beyond that, only until another node leads: to be asked again */
};

/* majority: the level of the best majority. better: there is a node to go to; tried_us: for how long that has been
 * tried (0: not yet). After FITNESS_PASS_US of it clients are told: nothing waits for ever. */
#define FITNESS_PASS_US 5000000
struct fitness_space fitness_space(enum space_level own, enum space_level majority, bool better, uint64_t tried_us);

#endif
