/* The groups of this node. A struct group is made when its replica is opened and lives until the process ends, so any
 * thread may keep a pointer; what changes in it is atomic.
 *
 * Three threads work for a group: the Raft thread (its log and elections), its apply thread (the machine), and the RPC
 * workers, which only look at the hints below to refuse early. */
#ifndef GROUP_H
#define GROUP_H

#include <stdatomic.h>

#include "node/apply.h"
#include "node/replica_record.h"
#include "raft/raft_host.h"

#define GROUPS_MAX 4097 /* of a node: the system shard and TOPOLOGY_SHARDS_MAX */
#define GROUP_SYSTEM 0

struct raft_thread;
struct watch_table;

/* As struct replica_record. A flip, and an id that is taken for a replacement, change it while others look. */
struct group_replica {
    uint32_t group; /* fixed */
    _Atomic uint32_t generation;
    _Atomic uint64_t replica, incarnation;
};

struct group {
    struct group_replica record;
    struct apply_group *apply;
    struct raft_thread *raft;

    /* Hints for other threads than the Raft thread, which sets them. */
    _Atomic int role; /* enum raft_group_role */
    _Atomic uint64_t term;
    _Atomic uint64_t leader;      /* replica id; 0: not known */
    _Atomic uint64_t quarantined; /* index of the entry that crashed apply: the replica is put aside; 0: it is not */
    _Atomic bool failed;          /* the replica has stopped */
    _Atomic bool absent;          /* it was destroyed: groups_find() does not find it, until there is another one */

    _Atomic uint64_t time;          /* us: no entry of ours has a later time; never falls */
    _Atomic uint64_t applied;       /* by the apply thread */
    _Atomic uint64_t durable;       /* by the writer */
    _Atomic uint64_t first_index;   /* of the log, durably */
    _Atomic bool progress_listed;   /* the Raft thread will look at applied and durable */
    struct group *progress_next;    /* the next one that it will look at */
    _Atomic uint64_t progress_told; /* applied, as the Raft thread knows it */
    _Atomic uint64_t commit_index;  /* as of the last look of the Raft thread */
    _Atomic int space;              /* enum space_level: what this node refuses as the group's leader */
    _Atomic int space_passing;      /* the same, while it hands the group over to a node with room: to be asked again */
    _Atomic uint32_t active_version; /* of commands, as of the last applied entry; never falls */
    _Atomic bool caught_up;          /* since the start, applied has once reached what the leader had committed */

    /* Re-seeding (reseeder.h). */
    _Atomic int reseed_wish;        /* 0, or enum reseed_reason + 1 */
    uint64_t former;                /* the reseeder's: id of the replica that a new one replaces; 0: none is known */
    _Atomic bool recovered;         /* by force: whoever has forgotten nothing leads before it */
    _Atomic int distrust;           /* enum reseed_suspect */
    _Atomic int reseed_state;       /* enum reseed_show */
    _Atomic uint64_t reseed_bytes;  /* copied in this attempt */
    _Atomic uint64_t reseed_chunks; /* of them chunks, in number */

    struct watch_table *watches; /* the apply thread's */
};

/* A table of groups by number; reading needs no lock. */
struct groups {
    _Atomic(struct group *) by_id[GROUPS_MAX];
};

/* Also one whose replica was destroyed: its struct stays, because threads may still hold it. */
static inline struct group *groups_at(const struct groups *groups, uint32_t id)
{
    return id < GROUPS_MAX ? atomic_load_explicit(&groups->by_id[id], memory_order_acquire) : NULL;
}

static inline struct group *groups_find(const struct groups *groups, uint32_t id)
{
    struct group *group = groups_at(groups, id);
    return group && !atomic_load_explicit(&group->absent, memory_order_acquire) ? group : NULL;
}

static inline void group_set_absent(struct group *group, bool absent)
{
    atomic_store_explicit(&group->absent, absent, memory_order_release);
}

static inline struct replica_record group_replica_record(const struct group *group)
{
    return (struct replica_record){.group = group->record.group,
                                   .generation = group->record.generation,
                                   .replica = group->record.replica,
                                   .incarnation = group->record.incarnation};
}

static inline void group_set_record(struct group *group, const struct replica_record *record)
{
    if (group->record.group != record->group) /* it is being made */
        group->record.group = record->group;
    group->record.incarnation = record->incarnation;
    group->record.replica = record->replica;
    group->record.generation = record->generation;
}

static inline bool group_leads(const struct group *group)
{
    return atomic_load_explicit(&group->role, memory_order_relaxed) == RAFT_GROUP_LEADER;
}

/* The version of the next entry of this group. */
uint16_t group_command_version(const struct group *group);

/* The time of the next entry of this group: `now` (us since 1970) or the last one's, whichever is later. */
uint64_t group_entry_time(struct group *group, uint64_t now);

/* An outcome carried this entry time. */
void group_saw_time(struct group *group, uint64_t entry_time);

#endif
