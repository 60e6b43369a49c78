#include "node/disk_watch.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cq_assert.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "node/node.h"

#define TICK_MS 100
#define TELL_US 500000 /* between two reports to the others */
#define ASK_US 500000  /* between two attempts to hand one group over */
#define STORE_MS 1000  /* between two questions to the store */
#define EXIT_STALLED 75

static const char *const states[] = {"well", "slow", "stalled"};
enum { M_STATE, M_SYNC, M_MOVED, M_SILENCED, M_ROWS };
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
};
struct cq_metrics disk_watch_metrics = CQ_METRICS_OF(rows);

struct disk_watch {
    struct node *node;
    /* The Raft thread's. */
    struct io_timer timer;
    struct disk_pulse pulse;
    uint64_t told_us;
    struct {
        uint64_t first_us, last_us; /* of the attempts to hand it over; 0: none */
    } asked[GROUPS_MAX];
    /* The thread that asks the store. */
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping; /* under lock, like the next ones */
    struct disk_look look;
};

/* ---- The other nodes ---- */

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
    return report_of(node, &other, &report) && report.disk == DISK_WELL;
}

/* Better enough that moving there is worth while: nodes that share one slow disk do not send leaders round. */
static bool is_better(const struct disk_look *own, const struct health_report *other)
{
    uint64_t cost = own->sync_us > own->under_us ? own->sync_us : own->under_us;
    return own->state != DISK_WELL && other->disk == DISK_WELL && (own->pressed || other->sync_us * 4ull <= cost);
}

static bool somebody_is_better(struct node *node, const struct disk_look *own)
{
    bool found = false;
    uint64_t now = cq_time_mono_us();
    pthread_mutex_lock(&node->health.lock);
    for (size_t i = 0; i < node->health.count && !found; i++)
        found = now < node->health.rows[i].at_us + HEALTH_FRESH_US && is_better(own, &node->health.rows[i].report);
    pthread_mutex_unlock(&node->health.lock);
    return found;
}

/* ---- Leaders leave ---- */

/* The voters that would lead better; one of them, so that all groups' leaders do not go to one node. */
static bool choose(struct node *node, struct raft_host *host, uint32_t group, const struct disk_look *own,
                   struct raft_node *to_r)
{
    struct raft_member members[RAFT_MEMBERS_MAX];
    struct raft_node fit[RAFT_MEMBERS_MAX];
    struct health_report report;
    size_t n = 0, count = raft_host_members(host, group, members, RAFT_MEMBERS_MAX);
    for (size_t i = 0; i < count && i < RAFT_MEMBERS_MAX; i++)
        if (members[i].role == RAFT_MEMBER_VOTER && report_of(node, &members[i].node, &report) &&
            is_better(own, &report))
            fit[n++] = members[i].node;
    if (n)
        *to_r = fit[group % n];
    return n > 0;
}

static void leave(struct disk_watch *w, struct raft_host *host, uint32_t group, const struct raft_node *to)
{
    uint64_t now = cq_time_mono_us();
    if (w->asked[group].first_us == 0)
        w->asked[group].first_us = now;
    uint64_t tried = now - w->asked[group].first_us;
    if (w->pulse.state == DISK_STALLED && tried > 2 * w->node->config->node.election_us) {
        raft_host_silence(host, group);
        cq_metric_add(&disk_watch_metrics, M_SILENCED, 1);
        w->asked[group].first_us = now;
    } else if (now - w->asked[group].last_us >= ASK_US) {
        w->asked[group].last_us = now;
        raft_host_transfer(host, group, to);
        cq_metric_add(&disk_watch_metrics, M_MOVED, 1);
    }
}

/* On the Raft thread, inside raft_thread_run(). */
static void act(struct raft_host *host, void *arg)
{
    struct disk_watch *w = arg;
    struct disk_look own;
    struct raft_node to;
    if (!host)
        return;
    disk_watch_look(w, &own);
    bool elsewhere = somebody_is_better(w->node, &own);
    raft_host_reluctant(host, elsewhere);
    for (uint32_t id = 0; id < GROUPS_MAX; id++) {
        const struct group *group = groups_find(&w->node->groups, id);
        if (elsewhere && group && group_leads(group) && choose(w->node, host, id, &own, &to))
            leave(w, host, id, &to);
        else
            w->asked[id].first_us = w->asked[id].last_us = 0;
    }
}

/* ---- The look at the disk ---- */

static void fence(const struct disk_watch *w)
{
    cq_log(CQ_ERROR, "disk.fenced", CQ_F_STR("action", "the process ends: a write has not come back"),
           CQ_F_U64("under_way_ms", w->pulse.under_us / 1000));
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
    const struct health_report report = {
        .disk = w->pulse.state, .sync_us = (uint32_t)(w->pulse.sync_us < UINT32_MAX ? w->pulse.sync_us : UINT32_MAX)};
    health_encode(&report, bytes);
    w->told_us = cq_time_mono_us();
    if (w->node->peers)
        peers_tell(w->node->peers, METHOD_NODE_HEALTH, cq_slice_of(bytes, sizeof bytes));
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
    if (disk_pulse_must_end(&w->pulse))
        fence(w);
    if (w->pulse.state != before)
        log_change(w, before);
    if (w->pulse.state != before || cq_time_mono_us() - w->told_us >= TELL_US)
        tell(w);
    if (w->pulse.state != DISK_WELL || before != DISK_WELL)
        raft_thread_run(w->node->raft, act, w);
    io_timer_start(timer, TICK_MS);
}

/* ---- What may wait: the store's own view ---- */

static bool wait_for(struct disk_watch *w, uint64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    while (!w->stopping && pthread_cond_timedwait(&w->wake, &w->lock, &until) == 0)
        ;
    return !w->stopping;
}

static void *store_main(void *arg)
{
    struct disk_watch *w = arg;
    pthread_mutex_lock(&w->lock);
    while (wait_for(w, STORE_MS)) {
        pthread_mutex_unlock(&w->lock);
        bool pressed = store_rocksdb_pressed(w->node->dir.store);
        pthread_mutex_lock(&w->lock);
        w->look.pressed = pressed;
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
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
    w->started = false;
}

void disk_watch_free(struct disk_watch **watch)
{
    struct disk_watch *w = *watch;
    if (!w)
        return;
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
