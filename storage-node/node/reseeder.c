/* Who is re-seeded when, and the steps of one attempt. What an attempt asks is in reseeder_ask.c, the flip and what is
 * around it in reseeder_flip.c. */
#include "node/reseeder_private.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/cq_assert.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "node/reseed_sessions.h"

#define LOOK_MS 1000         /* between two looks at all groups */
#define CLEANUP_CHUNKS 65536 /* of one step: about 2 MiB of keys */
#define HAND_OVER_MS 5000    /* how long a leader tries to hand over before this attempt ends */

static const char *const results[] = {"done", "failed", "digest", "cancelled"};
static const char *const phases[] = {"chunks", "state"};
static const struct cq_metric rows[RM_ROWS] = {
    [RM_RUNNING] = CQ_GAUGE("chasqui_reseed_running", "Replicas of this node that are being re-seeded now"),
    [RM_WAITING] = CQ_GAUGE("chasqui_reseed_waiting", "Replicas of this node that need to be re-seeded and wait"),
    [RM_SESSIONS] = CQ_GAUGE("chasqui_reseed_sources", "Copies that are being read from this node"),
    [RM_ATTEMPTS] = CQ_COUNTER("chasqui_reseed_attempts_total",
                               "Attempts to re-seed a replica; digest: the copy was not what the source said",
                               CQ_LABEL("result", results)),
    [RM_BYTES] = CQ_COUNTER("chasqui_reseed_bytes_total", "Bytes copied from other nodes", CQ_LABEL("phase", phases)),
    [RM_SECONDS] =
        CQ_HISTOGRAM("chasqui_reseed_duration_seconds",
                     "Time of an attempt that succeeded, from its beginning to the flip", CQ_BUCKETS_LATENCY),
    [RM_REMOVED] = CQ_COUNTER("chasqui_reseed_chunks_removed_total", "Chunks that nothing named after a flip"),
};
struct cq_metrics reseeder_metrics = CQ_METRICS_OF(rows);

static const char *const show_names[] = {
    [SHOW_NOTHING] = "",    [SHOW_WAITING] = "waiting", [SHOW_CHUNKS] = "chunks", [SHOW_SUMMARIES] = "summaries",
    [SHOW_STATE] = "state", [SHOW_CLEANUP] = "cleanup"};

const char *reseeder_state_name(const struct group *group)
{
    return show_names[atomic_load(&group->reseed_state)];
}

void reseeder_show(struct group *group, enum reseed_show show)
{
    atomic_store(&group->reseed_state, (int)show);
}

/* ---- Wishes ---- */

static const char *const reasons[] = {[RESEED_JOIN] = "no vote yet", [RESEED_BEHIND] = "behind the log",
                                      [RESEED_SUSPECT] = "damaged",  [RESEED_LOST] = "lost",
                                      [RESEED_NEW] = "new",          [RESEED_RECOVER] = "recovered by force"};

static void on_look_soon(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct reseeder *r = arg;
    if (!r->stopped)
        io_timer_start(&r->look, 1);
}

void reseeder_want(struct reseeder *r, struct group *group, enum reseed_reason why)
{
    int wish = (int)why + 1, old = atomic_load(&group->reseed_wish);
    do {
        if (old >= wish)
            return;
    } while (!atomic_compare_exchange_weak(&group->reseed_wish, &old, wish));
    if (atomic_load(&group->reseed_state) == SHOW_NOTHING)
        reseeder_show(group, SHOW_WAITING);
    cq_log(why == RESEED_NEW ? CQ_INFO : CQ_WARN, "reseed.wanted", CQ_F_U64("group", group->record.group),
           CQ_F_STR("why", reasons[why]));
    io_loop_post(r->loop, on_look_soon, r);
}

void reseeder_distrust(struct reseeder *r, struct group *group, enum reseed_suspect how)
{
    int old = atomic_load(&group->distrust);
    while (old != SUSPECT_STATE && old != (int)how && !atomic_compare_exchange_weak(&group->distrust, &old, (int)how))
        ;
    raft_thread_stand(r->config.node->raft, group);
    reseeder_want(r, group, RESEED_SUSPECT);
}

/* ---- One attempt ---- */

static enum cq_rc begin(struct attempt *a, struct cq_err *err)
{
    const struct replica_record mine = group_replica_record(a->group), *record = &mine;
    const struct reseed_plan plan = {.group = record->group,
                                     .incarnation = record->incarnation,
                                     .generation = record->generation,
                                     .replica = record->replica,
                                     .suspect = a->suspect};
    struct store_batch *batch = store_batch_recorder_new();
    enum cq_rc rc = reseed_begin(&a->target, a->node->dir.store, &plan, batch, err);
    if (rc == CQ_OK && store_batch_bytes(batch))
        rc = reseeder_write(a, batch, true, err);
    store_batch_free(&batch);
    return rc;
}

static void tell_end(const struct attempt *a, enum cq_rc rc, const struct cq_err *err)
{
    uint64_t us = cq_time_mono_us() - a->began_us;
    unsigned result = rc == CQ_OK ? 0 : a->digest ? 2 : rc == CQ_E_CANCELLED ? 3 : 1;
    cq_metric_add(&reseeder_metrics, RM_ATTEMPTS, 1, result);
    if (rc == CQ_OK) {
        cq_metric_observe(&reseeder_metrics, RM_SECONDS, us);
        cq_log(CQ_INFO, "reseed.done", CQ_F_U64("group", a->group->record.group),
               CQ_F_U64("index", a->offer.mark.index), CQ_F_U64("generation", a->group->record.generation),
               CQ_F_U64("chunks", a->target.chunks), CQ_F_U64("chunk_bytes", a->target.chunk_bytes),
               CQ_F_U64("state_bytes", a->target.state_bytes), CQ_F_U64("duration_ms", us / 1000));
    } else if (rc != CQ_E_CANCELLED) {
        cq_log(a->digest ? CQ_ERROR : CQ_WARN, "reseed.attempt_failed", CQ_F_U64("group", a->group->record.group),
               CQ_F_ERR(err));
    }
}

/* A vote last, when nothing is missing any more. Who leads has it already, and nobody else to ask. */
static enum cq_rc become_voter(struct attempt *a, struct cq_err *err)
{
    bool leads = group_leads(a->group);
    enum cq_rc rc = leads ? CQ_OK : reseeder_find_source(a, err);
    if (rc == CQ_OK && !leads)
        rc = reseeder_join(a, true, err);
    return rc == CQ_OK ? reseeder_tell_map(a, err) : rc;
}

static enum cq_rc run_steps(struct attempt *a, struct cq_err *err)
{
    enum cq_rc rc = a->lost ? reseeder_take_id(a, err) : CQ_OK;
    if (rc == CQ_OK)
        rc = begin(a, err);
    if (rc == CQ_OK && a->group->record.generation)
        rc = reseeder_hand_over(a, HAND_OVER_MS, err);
    if (rc == CQ_OK)
        rc = reseeder_find_source(a, err);
    if (rc == CQ_OK && a->lost)
        rc = reseeder_join(a, false, err);
    if (rc == CQ_OK)
        rc = reseed_copy(&a->target, &(struct reseed_io){a, reseeder_ask, reseeder_write_page}, &a->offer, &a->digest,
                         err);
    if (rc == CQ_OK)
        rc = reseeder_flip(a, err);
    reseeder_close_session(a, rc == CQ_OK);
    if (rc != CQ_OK)
        reseeder_keep_log(a, false);
    return rc;
}

static enum reseed_suspect suspicion(const struct group *group, int wish)
{
    int how = atomic_load(&group->distrust);
    if (wish == RESEED_LOST + 1)
        return SUSPECT_STATE;
    return wish != RESEED_SUSPECT + 1 ? SUSPECT_NONE : how ? (enum reseed_suspect)how : SUSPECT_PARTS;
}

static enum cq_rc attempt(struct reseeder *r, struct group *group, int wish)
{
    struct attempt *a = cq_new(struct attempt);
    struct cq_err err = {0};
    a->reseeder = r;
    a->node = r->config.node;
    a->group = group;
    a->lost = wish == RESEED_LOST + 1;
    a->suspect = suspicion(group, wish);
    a->began_us = cq_time_mono_us();
    atomic_store(&group->reseed_bytes, 0);
    atomic_store(&group->reseed_chunks, 0);
    bool joins = wish == RESEED_JOIN + 1;
    enum cq_rc rc = joins ? become_voter(a, &err) : run_steps(a, &err);
    if (!joins)
        tell_end(a, rc, &err);
    else if (rc != CQ_OK && rc != CQ_E_CANCELLED)
        cq_log(CQ_WARN, "reseed.no_vote_yet", CQ_F_U64("group", group->record.group), CQ_F_ERR(&err));
    reseed_target_fini(&a->target);
    rpc_client_free(&a->client);
    free(a);
    return rc;
}

/* ---- A forced recovery ---- */

/* What was begun for its replacement is given up; it begins again as it is in the store, in a term far above. */
static enum cq_rc put_recovery(struct attempt *a, struct store_batch *batch, struct cq_err *err)
{
    struct store *store = a->node->dir.store;
    uint32_t group = a->group->record.group;
    struct reseed_record record;
    enum cq_rc rc = raft_boot_recover(store, batch, group, a->group->former, err);
    if (rc != CQ_OK)
        return rc;
    replica_withhold_delete(batch, group);
    rc = reseed_record_read(store, group, &record, err);
    if (rc == CQ_OK)
        reseed_abandon(batch, &record);
    return rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
}

static enum cq_rc recover(struct reseeder *r, struct group *group)
{
    struct attempt a = {.reseeder = r, .node = r->config.node, .group = group};
    struct store_batch *batch = store_batch_recorder_new();
    struct cq_err err = {0};
    if (!group->former) { /* it has been replaced meanwhile: others were enough for a majority */
        store_batch_free(&batch);
        return CQ_OK;
    }
    enum cq_rc rc = put_recovery(&a, batch, &err);
    if (rc == CQ_OK) {
        reseeder_write(&a, batch, true, NULL);
        rc = reseeder_take_back(&a, &err);
    }
    store_batch_free(&batch);
    if (rc == CQ_OK)
        cq_log(CQ_WARN, "group.recovered", CQ_F_U64("group", group->record.group),
               CQ_F_U64("replica", group->record.replica));
    else
        cq_log(CQ_ERROR, "group.not_recovered", CQ_F_U64("group", group->record.group), CQ_F_ERR(&err));
    return rc;
}

/* ---- The clean-up after a flip ---- */

static enum cq_rc clean_up(struct reseeder *r, struct group *group, struct reseed_record *record, struct cq_err *err)
{
    struct attempt a = {.reseeder = r, .node = r->config.node, .group = group};
    struct store *store = a.node->dir.store;
    bool done = false;
    enum cq_rc rc = CQ_OK;
    reseeder_show(group, SHOW_CLEANUP);
    reseeder_compact_begin(&a, record);
    while (rc == CQ_OK && !done) {
        uint64_t removed = 0;
        struct store_batch *batch = store_batch_recorder_new();
        const struct reseed_cleanup how = {.incarnation = group->record.incarnation,
                                           .log_first = atomic_load(&group->first_index),
                                           .chunks_max = CLEANUP_CHUNKS};
        rc = reseed_cleanup_step(store, record, &how, batch, &removed, &done, err);
        if (rc == CQ_OK)
            rc = reseeder_write(&a, batch, false, err);
        store_batch_free(&batch);
        cq_metric_add(&reseeder_metrics, RM_REMOVED, removed);
        if (rc == CQ_OK && io_fiber_sleep(1) != CQ_OK)
            rc = CQ_E_CANCELLED;
    }
    if (rc == CQ_OK)
        reseeder_compact(&a);
    return rc;
}

/* ---- A group's fiber ---- */

struct job {
    struct reseeder *reseeder;
    struct group *group;
};

/* What the store says is unfinished comes first. */
static enum cq_rc finish_cleanup(struct reseeder *r, struct group *group)
{
    struct reseed_record record;
    struct cq_err err = {0};
    enum cq_rc rc = reseed_record_read(r->config.node->dir.store, group->record.group, &record, &err);
    if (rc == CQ_OK && record.phase == RESEED_CLEANUP)
        rc = clean_up(r, group, &record, &err);
    if (rc == CQ_E_NOT_FOUND)
        rc = CQ_OK;
    if (rc != CQ_OK && rc != CQ_E_CANCELLED)
        cq_log(CQ_WARN, "reseed.cleanup_failed", CQ_F_U64("group", group->record.group), CQ_F_ERR(&err));
    return rc;
}

static void run_group(void *arg)
{
    struct job *job = arg;
    struct reseeder *r = job->reseeder;
    struct group *group = job->group;
    struct reseed_slot *slot = &r->at[group->record.group];
    enum cq_rc rc = finish_cleanup(r, group), cleaned = rc;
    int wish = atomic_load(&group->reseed_wish);
    slot->forced = wish == RESEED_RECOVER + 1;
    if (rc == CQ_OK && wish) {
        rc = slot->forced ? recover(r, group) : attempt(r, group, wish);
        if (rc != CQ_OK && slot->forced)
            atomic_compare_exchange_strong(&group->reseed_wish, &wish, RESEED_LOST + 1);
        if (rc == CQ_OK) {
            bool lost = wish == RESEED_LOST + 1;
            atomic_compare_exchange_strong(&group->reseed_wish, &wish, 0);
            if (lost) /* after a restart topology_keeper.c sees that it has still to be done */
                reseeder_want(r, group, RESEED_JOIN);
            cleaned = finish_cleanup(r, group);
        }
    }
    reseeder_show(group, atomic_load(&group->reseed_wish) ? SHOW_WAITING : SHOW_NOTHING);
    slot->unfinished = cleaned != CQ_OK;
    slot->not_before_us = rc == CQ_OK && cleaned == CQ_OK ? 0 : cq_time_mono_us() + r->config.retry_us;
    slot->running = slot->forced = false;
    r->running--;
    free(job);
    if (!r->stopped)
        io_timer_start(&r->look, 1);
}

static bool is_forced(const struct group *group)
{
    return atomic_load(&group->reseed_wish) == RESEED_RECOVER + 1;
}

static bool is_due(struct reseeder *r, const struct group *group)
{
    const struct reseed_slot *slot = &r->at[group->record.group];
    return (atomic_load(&group->reseed_wish) || slot->unfinished) && !slot->running &&
           (is_forced(group) || cq_time_mono_us() >= slot->not_before_us);
}

/* What runs now, for a replacement that may wait for a majority for ever, gives way. */
static void give_way(struct reseeder *r, const struct group *group)
{
    const struct reseed_slot *slot = &r->at[group->record.group];
    if (is_forced(group) && slot->running && !slot->forced)
        io_fiber_cancel(slot->fiber);
}

static void on_look(struct io_timer *timer)
{
    struct reseeder *r = cq_containerof(timer, struct reseeder, look);
    unsigned waiting = 0;
    reseed_sessions_look(r->config.node->sessions);
    for (uint32_t id = 0; id < GROUPS_MAX; id++) {
        struct group *group = groups_find(&r->config.node->groups, id);
        if (group)
            give_way(r, group);
        if (!group || !is_due(r, group)) {
            waiting += group && atomic_load(&group->reseed_wish) && !r->at[id].running;
            continue;
        }
        if (r->running >= r->config.concurrency && !is_forced(group)) {
            waiting++;
            continue;
        }
        struct job *job = cq_new(struct job);
        *job = (struct job){r, group};
        r->at[id].running = true;
        r->running++;
        if (io_fiber_spawn(r->loop, run_group, job, &r->at[id].fiber) == CQ_OK)
            continue;
        r->at[id].running = false;
        r->running--;
        free(job);
    }
    cq_gauge_set(&reseeder_metrics, RM_RUNNING, r->running);
    cq_gauge_set(&reseeder_metrics, RM_WAITING, waiting);
    cq_gauge_set(&reseeder_metrics, RM_SESSIONS, reseed_sessions_count(r->config.node->sessions));
    if (!r->stopped)
        io_timer_start(timer, LOOK_MS);
}

/* ---- Life ---- */

struct reseeder *reseeder_new(const struct reseeder_config *config)
{
    struct reseeder *r = cq_new(struct reseeder);
    r->config = *config;
    r->loop = io_loop_new(&(struct io_loop_options){.name = "reseed"});
    io_timer_init(&r->look, r->loop, on_look);
    return r;
}

static void *thread_main(void *arg)
{
    io_loop_run(((struct reseeder *)arg)->loop);
    return NULL;
}

/* A replica that was taken for damaged is still that after a restart. A copy that was begun for one that was behind
 * goes on: its leader may have taken it along from its log meanwhile, and nobody else would finish it or remove it. */
static void note_copy(struct reseeder *r, struct group *group, const struct reseed_record *record)
{
    if (record->suspect)
        reseeder_distrust(r, group, record->suspect);
    else if (!group->former && record->replica == group->record.replica)
        reseeder_want(r, group, RESEED_BEHIND);
}

/* Without a group, it was to be a replica's that is not made yet: the shard map may want it no more. */
static void note_unfinished(struct reseeder *r)
{
    for (uint32_t id = 0; id < GROUPS_MAX; id++) {
        struct group *group = groups_find(&r->config.node->groups, id);
        struct reseed_record record;
        if (reseed_record_read(r->config.node->dir.store, id, &record, NULL) != CQ_OK)
            continue;
        r->at[id].unfinished = group && record.phase == RESEED_CLEANUP;
        if (!group)
            r->begun[id] = record.replica;
        else if (record.phase != RESEED_CLEANUP && group->record.generation)
            note_copy(r, group, &record);
    }
}

void reseeder_start(struct reseeder *r)
{
    note_unfinished(r);
    io_timer_start(&r->look, LOOK_MS);
    r->straying = io_fiber_spawn(r->loop, reseeder_strays, r, &r->strays) == CQ_OK;
    CQ_ASSERT(pthread_create(&r->thread, NULL, thread_main, r) == 0);
    pthread_setname_np(r->thread, "reseed");
    r->started = true;
}

static void on_stop_step(struct io_timer *timer)
{
    struct reseeder *r = cq_containerof(timer, struct reseeder, look);
    if (r->running == 0 && !r->straying && r->fetching == 0)
        io_loop_stop(r->loop);
    else
        io_timer_start(timer, 5);
}

static void on_stop(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct reseeder *r = arg;
    r->stopped = true;
    io_fiber_cancel(r->strays);
    for (uint32_t id = 0; id < GROUPS_MAX; id++)
        if (r->at[id].running)
            io_fiber_cancel(r->at[id].fiber);
    io_timer_stop(&r->look);
    io_timer_init(&r->look, r->loop, on_stop_step);
    io_timer_start(&r->look, 1);
}

void reseeder_stop(struct reseeder *r)
{
    if (!r || !r->started)
        return;
    io_loop_post(r->loop, on_stop, r);
    pthread_join(r->thread, NULL);
    r->started = false;
}

void reseeder_free(struct reseeder **reseeder)
{
    struct reseeder *r = *reseeder;
    if (!r)
        return;
    reseeder_stop(r);
    io_timer_stop(&r->look);
    io_loop_free(&r->loop);
    free(r);
    *reseeder = NULL;
}
