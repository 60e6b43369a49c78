#include "node/group.h"

#include "state/command_version.h"

static uint64_t raise_to(_Atomic uint64_t *at, uint64_t value)
{
    uint64_t old = atomic_load_explicit(at, memory_order_relaxed);
    while (old < value &&
           !atomic_compare_exchange_weak_explicit(at, &old, value, memory_order_relaxed, memory_order_relaxed))
        ;
    return old < value ? value : old;
}

uint16_t group_command_version(const struct group *group)
{
    return command_version_propose(atomic_load_explicit(&group->active_version, memory_order_relaxed));
}

uint64_t group_entry_time(struct group *group, uint64_t now)
{
    return raise_to(&group->time, now);
}

void group_saw_time(struct group *group, uint64_t entry_time)
{
    raise_to(&group->time, entry_time);
}
