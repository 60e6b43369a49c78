/* Raises a group's active command version (state/command_version.h) to what the cluster has finalized: at the group's
 * leader, when every member's node, with a vote or without, can apply it. Finalizing has looked at all nodes already,
 * and lets none in that cannot; this looks again, because what is raised is never taken back. */
#ifndef VERSION_RAISE_H
#define VERSION_RAISE_H

#include "cluster/topology.h"
#include "io/io_fiber.h"
#include "node/group.h"

struct node;

/* Of one group; all 0 but node and group. The control loop's. */
struct version_raise {
    struct node *node;
    struct group *group;
    bool under_way;
    struct io_fiber_ref fiber;
};

/* This node leads the group: proposes what is missing, unless that is under way. Safe to repeat. */
void version_raise_look(struct version_raise *raise, const struct topology *topology);
/* On the control loop, before it ends. */
void version_raise_stop(struct version_raise *raise);

#endif
