/* What /readyz, /startupz and /livez look at. */
#include <stdio.h>

#include "io/admin_http.h"
#include "node/disk_watch.h"
#include "node/node_private.h"
#include "node/outbox_relay.h"
#include "node/topology_keeper.h"

static bool check_groups(void *ctx, char text[static ADMIN_TEXT_MAX])
{
    struct node *node = ctx;
    struct raft_summary s;
    if (atomic_load(&node->removed)) {
        snprintf(text, ADMIN_TEXT_MAX, "removed from the cluster: stop this process");
        return false;
    }
    raft_thread_summary(node->raft, &s);
    uint32_t all = s.leading + s.following + s.leaderless + s.failed, open = 0;
    for (uint32_t id = 0; id < GROUPS_MAX; id++)
        open += groups_find(&node->groups, id) != NULL;
    if (all < open) {
        snprintf(text, ADMIN_TEXT_MAX, "opening %u replicas", open);
        return false;
    }
    if (all == 0) {
        bool waits = topology_keeper_epoch(node->keeper) == 0;
        snprintf(text, ADMIN_TEXT_MAX, waits ? "waits for cluster init" : "holds no replicas");
        return true;
    }
    snprintf(text, ADMIN_TEXT_MAX, "%u replicas: %u lead, %u follow, %u without a leader, %u failed, %u catching up",
             all, s.leading, s.following, s.leaderless, s.failed, s.not_caught_up);
    return s.leaderless == 0 && s.not_caught_up == 0;
}

static bool check_stopping(void *ctx, char text[static ADMIN_TEXT_MAX])
{
    bool stopping = atomic_load(&((struct node *)ctx)->stopping);
    snprintf(text, ADMIN_TEXT_MAX, stopping ? "stopping" : "running");
    return !stopping;
}

/* Never a reason not to be ready: mail does not wait for events. */
static bool tell_events(void *ctx, char text[static ADMIN_TEXT_MAX])
{
    outbox_relay_tell(((struct node *)ctx)->relay, text, ADMIN_TEXT_MAX);
    return true;
}

static bool loop_turns(struct io_loop *loop, char text[static ADMIN_TEXT_MAX])
{
    uint64_t age_ms = io_loop_heartbeat_age_us(loop) / 1000;
    snprintf(text, ADMIN_TEXT_MAX, "last turn %llu ms ago", (unsigned long long)age_ms);
    return age_ms < 30000;
}

static bool check_raft_loop(void *ctx, char text[static ADMIN_TEXT_MAX])
{
    return loop_turns(raft_thread_loop(((struct node *)ctx)->raft), text);
}

static bool check_worker_loop(void *ctx, char text[static ADMIN_TEXT_MAX])
{
    return loop_turns(worker_loop(ctx), text);
}

/* The other groups are served. */
static bool check_quarantine(void *ctx, char text[static ADMIN_TEXT_MAX])
{
    struct node *node = ctx;
    size_t len = 0;
    snprintf(text, ADMIN_TEXT_MAX, "nothing is put aside");
    for (uint32_t id = 0; id < GROUPS_MAX && len < ADMIN_TEXT_MAX; id++) {
        const struct group *group = groups_find(&node->groups, id);
        if (group && atomic_load(&group->quarantined))
            len +=
                (size_t)snprintf(text + len, ADMIN_TEXT_MAX - len, "%sshard %u at entry %llu",
                                 len ? ", " : "put aside: ", id, (unsigned long long)atomic_load(&group->quarantined));
    }
    return true;
}

/* A full node is ready: it serves reads and deletes. */
static bool check_space(void *ctx, char text[static ADMIN_TEXT_MAX])
{
    struct disk_look look;
    disk_watch_look(((struct node *)ctx)->disk_watch, &look);
    snprintf(text, ADMIN_TEXT_MAX, "%s: %u %% used, %llu MiB free, ballast %llu MiB", space_level_name(look.space),
             space_used_permille(look.free_bytes, look.total_bytes) / 10, (unsigned long long)look.free_bytes >> 20,
             (unsigned long long)look.ballast_bytes >> 20);
    return true;
}

/* A node whose disk is slow is ready: its replicas follow, and others lead. */
static bool check_disk(void *ctx, char text[static ADMIN_TEXT_MAX])
{
    struct disk_look look;
    disk_watch_look(((struct node *)ctx)->disk_watch, &look);
    snprintf(text, ADMIN_TEXT_MAX, "%s: a synced write takes %llu ms, the present one %llu ms%s",
             disk_state_name(look.state), (unsigned long long)look.sync_us / 1000,
             (unsigned long long)look.under_us / 1000, look.pressed ? "; compaction is behind" : "");
    return look.state != DISK_STALLED;
}

void node_checks_add(struct node *node)
{
    admin_check_add_fn(node->admin, "disk", ADMIN_READY, check_disk, node);
    admin_check_add_fn(node->admin, "quarantine", ADMIN_READY, check_quarantine, node);
    admin_check_add_fn(node->admin, "space", ADMIN_READY, check_space, node);
    admin_check_add_fn(node->admin, "groups", ADMIN_READY | ADMIN_STARTUP, check_groups, node);
    admin_check_add_fn(node->admin, "stopping", ADMIN_READY, check_stopping, node);
    admin_check_add_fn(node->admin, "events", ADMIN_READY, tell_events, node);
    admin_check_add_fn(node->admin, "raft_loop", ADMIN_LIVE, check_raft_loop, node);
    for (unsigned i = 0; i < node->worker_count; i++)
        admin_check_add_fn(node->admin, io_loop_name(worker_loop(node->workers[i])), ADMIN_LIVE, check_worker_loop,
                           node->workers[i]);
}
