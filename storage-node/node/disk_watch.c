#include "node/disk_watch.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cq_assert.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "node/ballast.h"
#include "node/fitness.h"
#include "node/node.h"

#define TICK_MS 100
#define TELL_US 500000     /* between two reports to the others */
#define ASK_US 500000      /* between two attempts to hand one group over */
#define STORE_MS 1000      /* between two questions to the store and the file system */
#define LASTING_US 3000000 /* what comes and goes with flushes and compactions moves nobody */
#define WORTH_PERMILLE 50  /* so much less must be in use elsewhere */
#define CUT_US 1500000     /* routers that end are missed by all nodes within so long */
#define SILENT_US 10000000 /* a node that has said nothing for so long is counted on by nobody who needs space */
#define TIGHT_TRIM 16      /* entries at which logs are trimmed while space is short; of them so many are kept */
#define TIGHT_KEEP 4
#define RECLAIM_TIGHT_US 5000000 /* between two rewritings of what is left of deleted bodies, while space is short */
#define RECLAIM_PART 10          /* otherwise one chunk of so many must have been deleted since the last */
#define BALLAST_ROOM 50          /* per mille below disk.growth_limit that must be left when it is made */
#define EXIT_STALLED 75

static const char *const states[] = {"well", "slow", "stalled"};
static const char *const levels[] = {"free", "no_growth", "deletes", "last", "full"};
enum { M_STATE, M_SYNC, M_MOVED, M_SILENCED, M_SPACE, M_BALLAST, M_REFUSED, M_RECLAIMED, M_ROWS };
static const struct cq_metric rows[M_ROWS] = {
    [M_STATE] = CQ_GAUGE("chasqui_disk_state", "1: this is how the disk of the data directory answers",
                         CQ_LABEL("state", states)),
    [M_SYNC] = {.name = "chasqui_disk_sync_seconds",
                .help = "What a synced write takes, on the average of the last few",
                .type = CQ_METRIC_GAUGE,
                .unit = CQ_METRIC_US},
    [M_MOVED] = CQ_COUNTER("chasqui_disk_leaders_moved_total",
                           "Times that this node asked another one to lead a group, because of its own disk"),
    [M_SILENCED] = CQ_COUNTER("chasqui_disk_leaders_silenced_total",
                              "Times that it fell silent as a leader, because nobody had taken over in time"),
    [M_SPACE] = CQ_GAUGE("chasqui_disk_space_level", "1: the level that the use of the file system has reached",
                         CQ_LABEL("level", levels)),
    [M_BALLAST] = CQ_GAUGE("chasqui_disk_ballast_bytes", "Size of the ballast; 0: there is none"),
    [M_REFUSED] = CQ_COUNTER("chasqui_disk_refused_total", "Commands refused for want of space, by the level",
                             CQ_LABEL("level", levels)),
    [M_RECLAIMED] = CQ_COUNTER("chasqui_store_reclaims_total",
                               "Times that what is left of deleted bodies' files was rewritten to give space back"),
};
struct cq_metrics disk_watch_metrics = CQ_METRICS_OF(rows);

struct disk_watch {
    struct node *node;
    /* The Raft thread's. */
    struct io_timer timer;
    struct disk_pulse pulse;
    uint64_t told_us, cut_since_us;
    enum space_level told_space;
    struct asked {
        uint64_t first_us, last_us; /* of the attempts to hand it over; 0: none */
        unsigned attempts;
    } asked[GROUPS_MAX];
    /* The thread that asks the store. */
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping; /* under lock, like the next one */
    struct disk_look look;
    struct io_pool *compact; /* one thread */
    _Atomic bool compacting;
    _Atomic uint64_t removed;  /* chunks deleted so far */
    _Atomic bool ballast_gone; /* given up by hand: not made again before the space is there twice over */
    uint64_t reclaimed, reclaimed_us, pressed_since_us, tight_since_us; /* the thread's own */
};

static bool lasts(uint64_t *since_us, bool now, uint64_t us)
{
    if (!now)
        *since_us = 0;
    else if (*since_us == 0)
        *since_us = cq_time_mono_us();
    return now && cq_time_mono_us() - *since_us >= us;
}

/* ---- The other nodes ---- */

static uint8_t routers_of(struct node *node)
{
    size_t count = router_table_count(&node->routers, cq_time_mono_us());
    return (uint8_t)(count < HEALTH_ROUTERS_MAX ? count : HEALTH_ROUTERS_MAX);
}

static bool report_of(struct node *node, const struct raft_node *other, struct health_report *report_r)
{
    return node_peer_since(node, other->uuid) != 0 &&
           health_table_get(&node->health, other, cq_time_mono_us(), report_r);
}

bool disk_watch_fit(struct node *node, const uint8_t uuid[static 16])
{
    struct raft_node other;
    struct health_report report;
    memcpy(other.uuid, uuid, sizeof other.uuid);
    const struct disk_look own = {.routers = routers_of(node)};
    return report_of(node, &other, &report) && report.disk == DISK_WELL && report.space == SPACE_FREE &&
           !fitness_fewer_routers(&own, &report);
}

typedef bool compare_fn(const struct disk_look *own, const struct health_report *other);

static bool is_somebody(struct node *node, compare_fn *compare, const struct disk_look *own)
{
    bool found = false;
    uint64_t now = cq_time_mono_us();
    pthread_mutex_lock(&node->health.lock);
    for (size_t i = 0; i < node->health.count && !found; i++)
        found = now < node->health.rows[i].at_us + HEALTH_FRESH_US && compare(own, &node->health.rows[i].report);
    pthread_mutex_unlock(&node->health.lock);
    return found;
}

/* ---- Leaders leave ---- */

/* The voters that would lead better; one of them, so that all groups' leaders do not go to one node, and another one
 * after an attempt in vain. */
static bool choose(struct disk_watch *w, struct raft_host *host, uint32_t group, const struct disk_look *own,
                   struct raft_node *to_r)
{
    struct raft_member members[RAFT_MEMBERS_MAX];
    struct raft_node fit[RAFT_MEMBERS_MAX];
    struct health_report report;
    size_t n = 0, count = raft_host_members(host, group, members, RAFT_MEMBERS_MAX);
    for (size_t i = 0; i < count && i < RAFT_MEMBERS_MAX; i++)
        if (members[i].role == RAFT_MEMBER_VOTER && report_of(w->node, &members[i].node, &report) &&
            fitness_is_better(own, &report))
            fit[n++] = members[i].node;
    if (n)
        *to_r = fit[(group + w->asked[group].attempts) % n];
    return n > 0;
}

static enum space_level level_of(struct disk_watch *w, const struct raft_node *other)
{
    struct health_report report;
    uint64_t at_us;
    if (!health_table_last(&w->node->health, other, &report, &at_us))
        return SPACE_FREE;
    return cq_time_mono_us() > at_us + SILENT_US ? SPACE_FULL : (enum space_level)report.space;
}

/* The level of the best majority of the group's voters. */
static enum space_level space_of_group(struct disk_watch *w, struct raft_host *host, const struct group *group,
                                       const struct disk_look *own)
{
    struct raft_member members[RAFT_MEMBERS_MAX];
    enum space_level at[RAFT_MEMBERS_MAX];
    size_t voters = 0, count = raft_host_members(host, group->record.group, members, RAFT_MEMBERS_MAX);
    for (size_t i = 0; i < count && i < RAFT_MEMBERS_MAX; i++) {
        if (members[i].role != RAFT_MEMBER_VOTER)
            continue;
        bool self = members[i].replica == group->record.replica;
        at[voters++] = self ? own->space : level_of(w, &members[i].node);
    }
    return space_of_voters(at, voters);
}

/* What this node refuses as the group's leader. */
static void set_space(struct group *group, struct fitness_space space)
{
    atomic_store(&group->space, (int)space.refused);
    atomic_store(&group->space_passing, (int)space.passing);
}

static void leave(struct disk_watch *w, struct raft_host *host, uint32_t group, const struct raft_node *to)
{
    struct asked *asked = &w->asked[group];
    uint64_t now = cq_time_mono_us();
    if (asked->first_us == 0)
        asked->first_us = now;
    uint64_t tried = now - asked->first_us;
    if (w->pulse.state == DISK_STALLED && tried > 2 * node_election_us(&w->node->config->node)) {
        raft_host_silence(host, group);
        cq_metric_add(&disk_watch_metrics, M_SILENCED, 1);
        asked->first_us = now;
    } else if (now - asked->last_us >= ASK_US) {
        asked->last_us = now;
        asked->attempts++;
        raft_host_transfer(host, group, to);
        cq_metric_add(&disk_watch_metrics, M_MOVED, 1);
    }
}

static void look_at(struct disk_watch *w, struct raft_host *host, struct group *group, const struct disk_look *own,
                    bool elsewhere)
{
    uint32_t id = group->record.group;
    struct asked *asked = &w->asked[id];
    struct raft_node to;
    if (!group_leads(group)) {
        set_space(group, (struct fitness_space){0});
        *asked = (struct asked){0};
        return;
    }
    bool better = elsewhere && choose(w, host, id, own, &to);
    uint64_t tried = better && asked->first_us ? cq_time_mono_us() - asked->first_us : 0;
    set_space(group, fitness_space(own->space, space_of_group(w, host, group, own), better, tried));
    if (better)
        leave(w, host, id, &to);
    else
        *asked = (struct asked){0};
}

/* On the Raft thread, inside raft_thread_run(). */
static void act(struct raft_host *host, void *arg)
{
    struct disk_watch *w = arg;
    const struct raft_settings usual = node_raft_settings(&w->node->config->node);
    struct disk_look own;
    if (!host)
        return;
    disk_watch_look(w, &own);
    bool elsewhere = is_somebody(w->node, fitness_is_better, &own), tight = own.space > SPACE_FREE;
    raft_host_reluctant(host, elsewhere);
    raft_host_full(host, own.space == SPACE_FULL);
    raft_host_trim_at(host, tight && usual.trim_entries > TIGHT_TRIM ? TIGHT_TRIM : usual.trim_entries,
                      tight && usual.trim_keep > TIGHT_KEEP ? TIGHT_KEEP : usual.trim_keep);
    for (uint32_t id = 0; id < GROUPS_MAX; id++) {
        struct group *group = groups_find(&w->node->groups, id);
        if (group)
            look_at(w, host, group, &own, elsewhere);
    }
}

/* ---- The look at the disk ---- */

static void fence(const struct disk_watch *w)
{
    cq_log(CQ_ERROR, "disk.fenced", CQ_F_STR("action", "the process ends: a write has not come back"),
           CQ_F_U64("under_way_ms", w->pulse.under_us / 1000));
    apply_marks_forgive(w->node->marks);
    _exit(EXIT_STALLED);
}

static void log_change(const struct disk_watch *w, enum disk_state before)
{
    cq_log(w->pulse.state == DISK_WELL ? CQ_INFO : CQ_WARN, "disk.state",
           CQ_F_STR("state", disk_state_name(w->pulse.state)), CQ_F_STR("before", disk_state_name(before)),
           CQ_F_U64("sync_ms", w->pulse.sync_us / 1000), CQ_F_U64("under_way_ms", w->pulse.under_us / 1000),
           CQ_F_BOOL("pressed", w->look.pressed));
    for (unsigned i = 0; i < DISK_STATES; i++)
        cq_gauge_set(&disk_watch_metrics, M_STATE, i == w->pulse.state, i);
}

static void tell(struct disk_watch *w)
{
    uint8_t bytes[HEALTH_SIZE];
    struct disk_look own;
    disk_watch_look(w, &own);
    const struct health_report report = {.disk = own.state,
                                         .space = (uint8_t)own.space,
                                         .sync_us = (uint32_t)(own.sync_us < UINT32_MAX ? own.sync_us : UINT32_MAX),
                                         .free_bytes = own.free_bytes,
                                         .total_bytes = own.total_bytes,
                                         .counts_routers = true,
                                         .routers = own.routers};
    health_encode(&report, bytes);
    w->told_us = cq_time_mono_us();
    w->told_space = own.space;
    if (w->node->peers)
        peers_tell(w->node->peers, METHOD_NODE_HEALTH, cq_slice_of(bytes, sizeof bytes));
}

static void look_at_routers(struct disk_watch *w)
{
    struct disk_look own = {.routers = routers_of(w->node)};
    own.cut = lasts(&w->cut_since_us, is_somebody(w->node, fitness_more_routers, &own), CUT_US);
    pthread_mutex_lock(&w->lock);
    bool changed = own.cut != w->look.cut;
    w->look.routers = own.routers;
    w->look.cut = own.cut;
    pthread_mutex_unlock(&w->lock);
    if (changed)
        cq_log(own.cut ? CQ_WARN : CQ_INFO, "node.routers", CQ_F_U64("heard", own.routers),
               CQ_F_STR("state", own.cut ? "fewer than reach another node" : "as many as elsewhere"));
}

static void take_sample(struct disk_watch *w)
{
    struct writer_pulse writer;
    writer_pulse(w->node->writer, &writer);
    pthread_mutex_lock(&w->lock);
    disk_pulse_take(&w->pulse, &(struct disk_sample){.now_us = cq_time_mono_us(),
                                                     .busy_since_us = writer.busy_since_us,
                                                     .syncs = writer.syncs,
                                                     .sync_us = writer.sync_us,
                                                     .pressed = w->look.pressed});
    w->look.state = w->pulse.state;
    w->look.sync_us = w->pulse.sync_us;
    w->look.under_us = w->pulse.under_us;
    pthread_mutex_unlock(&w->lock);
    cq_gauge_set(&disk_watch_metrics, M_SYNC, (int64_t)w->pulse.sync_us);
}

static void on_tick(struct io_timer *timer)
{
    struct disk_watch *w = cq_containerof(timer, struct disk_watch, timer);
    enum disk_state before = w->pulse.state;
    take_sample(w);
    look_at_routers(w);
    if (disk_pulse_must_end(&w->pulse))
        fence(w);
    if (w->pulse.state != before)
        log_change(w, before);
    struct disk_look look;
    disk_watch_look(w, &look);
    bool now = w->pulse.state != before || look.space != w->told_space || cq_time_mono_us() - w->told_us >= TELL_US;
    if (now)
        tell(w);
    if (now || w->pulse.state != DISK_WELL)
        raft_thread_run(w->node->raft, act, w);
    io_timer_start(timer, TICK_MS);
}

/* ---- What may wait: the store's own view ---- */

static bool wait_for(struct disk_watch *w, uint64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(ms * 1000000);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (!w->stopping && pthread_cond_timedwait(&w->wake, &w->lock, &until) == 0)
        ;
    return !w->stopping;
}

static void reclaim_run(void *arg)
{
    struct disk_watch *w = arg;
    struct disk_look look;
    disk_watch_look(w, &look);
    store_rocksdb_reclaim(w->node->dir.store, look.free_bytes);
    cq_metric_add(&disk_watch_metrics, M_RECLAIMED, 1);
    atomic_store(&w->compacting, false);
}

/* The space of deleted bodies: when there were many, or when it is needed. */
static void consider_reclaim(struct disk_watch *w, enum space_level level)
{
    bool tight = level > SPACE_FREE;
    uint64_t now = cq_time_mono_us(), removed = atomic_load(&w->removed);
    uint64_t every_us = tight ? RECLAIM_TIGHT_US : w->node->config->disk.reclaim_us;
    if (removed == w->reclaimed || atomic_load(&w->compacting) || now - w->reclaimed_us < every_us)
        return;
    uint64_t worth = tight ? 1 : store_rocksdb_chunks(w->node->dir.store) / RECLAIM_PART;
    if (removed - w->reclaimed < worth)
        return;
    w->reclaimed = removed;
    w->reclaimed_us = now;
    atomic_store(&w->compacting, true);
    if (io_pool_submit(w->compact, reclaim_run, w) != CQ_OK)
        atomic_store(&w->compacting, false);
}

static void give_ballast_up(struct disk_watch *w)
{
    struct cq_err err = {0};
    if (ballast_release(w->node->dir.path, &err) == CQ_OK)
        cq_log(CQ_ERROR, "disk.ballast_released", CQ_F_STR("why", "the disk is all but full: make space on it"));
    else
        cq_log_limited(1, CQ_ERROR, "disk.ballast_not_released", CQ_F_ERR(&err));
}

/* With the ballast, the use must stay well below the first limit. */
static bool has_room(const struct disk_watch *w, uint64_t free_bytes, uint64_t total_bytes, uint64_t wanted)
{
    uint64_t most = (uint64_t)w->node->config->disk.space.no_growth * 10;
    if (atomic_load(&w->ballast_gone))
        wanted *= 2;
    return wanted < free_bytes && space_used_permille(free_bytes - wanted, total_bytes) + BALLAST_ROOM <= most;
}

static void keep_ballast(struct disk_watch *w, enum space_level level, uint64_t free_bytes, uint64_t total_bytes)
{
    struct cq_err err = {0};
    uint64_t has = ballast_size(w->node->dir.path);
    uint64_t wanted = ballast_size_wanted(total_bytes, w->node->config->disk.ballast);
    if (has && level >= SPACE_LAST) {
        give_ballast_up(w);
    } else if (!has && wanted && level == SPACE_FREE && has_room(w, free_bytes, total_bytes, wanted)) {
        atomic_store(&w->ballast_gone, false);
        if (ballast_make(w->node->dir.path, wanted, &err) == CQ_OK)
            cq_log(CQ_INFO, "disk.ballast_made", CQ_F_U64("size_bytes", wanted));
        else
            cq_log_limited(1, CQ_WARN, "disk.ballast_not_made", CQ_F_ERR(&err));
    }
}

static void log_space(const struct disk_look *look, enum space_level before)
{
    bool better = look->space < before, first = look->space == SPACE_NO_GROWTH;
    cq_log(better  ? CQ_INFO
           : first ? CQ_WARN
                   : CQ_ERROR,
           "disk.space", CQ_F_STR("level", space_level_name(look->space)), CQ_F_STR("before", space_level_name(before)),
           CQ_F_U64("used_percent", space_used_permille(look->free_bytes, look->total_bytes) / 10),
           CQ_F_U64("free_bytes", look->free_bytes));
}

static void show_space(const struct disk_look *look)
{
    for (unsigned i = 0; i < SPACE_LEVELS; i++)
        cq_gauge_set(&disk_watch_metrics, M_SPACE, i == look->space, i);
    cq_gauge_set(&disk_watch_metrics, M_BALLAST, (int64_t)look->ballast_bytes);
}

/* What is in memory goes to a file, and what arrives meanwhile to the write-ahead log; a compaction may be under way.
 */
static uint64_t needed(const struct disk_watch *w)
{
    return 4 * w->node->config->store.write_buffer + 2 * store_rocksdb_unflushed(w->node->dir.store);
}

static void look_at_space(struct disk_watch *w)
{
    struct statvfs fs;
    if (statvfs(w->node->dir.path, &fs) != 0)
        return;
    const struct space_sample sample = {.free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize,
                                        .total_bytes = (uint64_t)(fs.f_blocks - fs.f_bfree + fs.f_bavail) * fs.f_frsize,
                                        .needed_bytes = needed(w)};
    uint64_t ballast = ballast_size(w->node->dir.path);
    pthread_mutex_lock(&w->lock);
    enum space_level before = w->look.space;
    w->look.free_bytes = sample.free_bytes;
    w->look.total_bytes = sample.total_bytes;
    w->look.ballast_bytes = ballast;
    w->look.space = space_judge(&w->node->config->disk.space, &sample, before);
    const struct disk_look look = w->look;
    pthread_mutex_unlock(&w->lock);
    if (look.space != before)
        log_space(&look, before);
    show_space(&look);
    keep_ballast(w, look.space, sample.free_bytes, sample.total_bytes);
    consider_reclaim(w, look.space);
}

static void *store_main(void *arg)
{
    struct disk_watch *w = arg;
    bool go_on = true;
    while (go_on) {
        look_at_space(w);
        bool pressed = store_rocksdb_pressed(w->node->dir.store);
        pthread_mutex_lock(&w->lock);
        w->look.pressed = lasts(&w->pressed_since_us, pressed, LASTING_US);
        w->look.tight = lasts(&w->tight_since_us, w->look.space != SPACE_FREE, LASTING_US);
        go_on = wait_for(w, w->look.space == SPACE_FREE ? STORE_MS : TICK_MS);
        pthread_mutex_unlock(&w->lock);
    }
    return NULL;
}

enum cq_rc disk_watch_release_ballast(struct disk_watch *w, struct cq_err *err)
{
    atomic_store(&w->ballast_gone, true);
    return ballast_release(w->node->dir.path, err);
}

void disk_watch_refused(enum space_level level)
{
    cq_metric_add(&disk_watch_metrics, M_REFUSED, 1, level);
}

void disk_watch_removed(struct disk_watch *w, size_t chunks)
{
    atomic_fetch_add(&w->removed, chunks);
}

/* ---- Life ---- */

struct disk_watch *disk_watch_new(struct node *node)
{
    struct disk_watch *w = cq_new(struct disk_watch);
    pthread_condattr_t monotonic;
    w->node = node;
    disk_pulse_init(&w->pulse, &node->config->disk);
    io_timer_init(&w->timer, raft_thread_loop(node->raft), on_tick);
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    cq_gauge_set(&disk_watch_metrics, M_STATE, 1, DISK_WELL);
    w->compact = io_pool_new("compact", 1, 1);
    return w;
}

static void on_start(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct disk_watch *w = arg;
    io_timer_start(&w->timer, TICK_MS);
}

void disk_watch_start(struct disk_watch *w)
{
    io_loop_post(raft_thread_loop(w->node->raft), on_start, w);
    CQ_ASSERT(pthread_create(&w->thread, NULL, store_main, w) == 0);
    pthread_setname_np(w->thread, "disk");
    w->started = true;
}

static void on_stop(struct io_loop *loop, void *arg)
{
    (void)loop;
    io_timer_stop(&((struct disk_watch *)arg)->timer);
}

void disk_watch_stop(struct disk_watch *w)
{
    if (!w || !w->started)
        return;
    io_loop_post(raft_thread_loop(w->node->raft), on_stop, w);
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    store_rocksdb_reclaim_stop(w->node->dir.store);
    io_pool_free(&w->compact);
    w->started = false;
}

void disk_watch_free(struct disk_watch **watch)
{
    struct disk_watch *w = *watch;
    if (!w)
        return;
    io_pool_free(&w->compact);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
    *watch = NULL;
}

void disk_watch_look(struct disk_watch *w, struct disk_look *look_r)
{
    pthread_mutex_lock(&w->lock);
    *look_r = w->look;
    pthread_mutex_unlock(&w->lock);
}
