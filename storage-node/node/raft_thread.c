#include "node/raft_thread.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/cq_assert.h"
#include "base/cq_failpoint.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_rand.h"
#include "base/cq_time.h"
#include "node/raft_thread_private.h"
#include "reseed/reseed_record.h"

#define PROGRESS_ENTRIES 512 /* applied and not told to the Raft host: the thread is woken */

/* A message to the thread that needs more than a pointer. */
struct raft_message {
    struct raft_thread *thread;
    struct group *group;
    struct raft_boot *boot;
    struct raft_bytes *frame;
    struct raft_node node;
    struct raft_load *load;
    struct raft_job *job;
    struct writer_item item;
    void (*done)(void *arg, enum cq_rc rc, const struct cq_err *err);
    void *arg;
};

static struct raft_message *message_new(struct raft_thread *thread)
{
    struct raft_message *m = cq_new(struct raft_message);
    m->thread = thread;
    return m;
}

/* Time goes on before an input, once a turn, and its consequences come at the end of the turn. */
static void before_input(struct raft_thread *t)
{
    if (t->ticked_us != io_loop_now_us(t->loop)) {
        t->ticked_us = io_loop_now_us(t->loop);
        raft_host_tick(t->host, t->ticked_us);
    }
    io_loop_defer(t->loop, &t->flush);
}

/* ---- Outputs ---- */

static void out_send(void *ctx, const struct raft_node *to, enum raft_channel channel, const struct raft_frame *frame)
{
    struct raft_thread *t = ctx;
    t->config.send(t->config.ctx, to, channel, frame);
}

static void job_encode(struct writer_item *item, struct store_batch *batch)
{
    raft_job_encode(cq_containerof(item, struct raft_message, item)->job, batch);
}

static void on_persisted(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct raft_message *m = arg;
    struct raft_thread *t = m->thread;
    cq_failpoint(FAIL_PERSISTED);
    if (t->host) {
        before_input(t);
        raft_host_persisted(t->host, m->job);
    } else {
        raft_job_free(&m->job);
    }
    free(m);
}

static void job_durable(struct writer_item *item)
{
    struct raft_message *m = cq_containerof(item, struct raft_message, item);
    io_loop_post(m->thread->loop, on_persisted, m);
}

static const struct writer_item_ops job_ops = {.encode = job_encode, .durable = job_durable};

static void out_persist(void *ctx, struct raft_job *job)
{
    struct raft_thread *t = ctx;
    struct raft_message *m = message_new(t);
    m->job = job;
    m->item = (struct writer_item){.ops = &job_ops, .sync = true};
    writer_add(t->config.writer, &m->item);
}

static void on_loaded(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct raft_message *m = arg;
    if (m->thread->host) {
        before_input(m->thread);
        raft_host_loaded(m->thread->host, m->load);
    } else {
        raft_load_free(&m->load);
    }
    free(m);
}

static void load_run(void *arg)
{
    struct raft_message *m = arg;
    raft_load_run(m->load, m->thread->config.store);
    io_loop_post(m->thread->loop, on_loaded, m);
}

static void out_load(void *ctx, struct raft_load *load)
{
    struct raft_thread *t = ctx;
    struct raft_message *m = message_new(t);
    m->load = load;
    if (io_pool_submit(t->config.load_pool, load_run, m) != CQ_OK)
        load_run(m); /* the pool is full: slower here, but never lost */
}

static void out_commit(void *ctx, const struct raft_commit *commit)
{
    struct raft_thread *t = ctx;
    struct group *group = groups_find(t->config.groups, commit->group);
    cq_failpoint(FAIL_COMMITTED);
    apply_commit(group->apply, &(struct apply_entry){.position = {commit->index, commit->term},
                                                     .owner = commit->owner,
                                                     .entry = commit->entry,
                                                     .cookie = commit->cookie});
}

static struct raft_request *request_of(uint64_t cookie)
{
    return (struct raft_request *)(uintptr_t)cookie;
}

static uint64_t cookie_of(struct raft_request *request)
{
    return (uint64_t)(uintptr_t)request;
}

static void count_failure(const struct raft_request *request, enum cq_rc rc)
{
    if (request->is_read) {
        cq_metric_add(&raft_metrics, M_READS, 1, rc == CQ_E_NOT_LEADER ? R_NOT_LEADER : R_UNAVAILABLE);
        return;
    }
    unsigned result = rc == CQ_E_NOT_LEADER        ? P_NOT_LEADER
                      : rc == CQ_E_UNKNOWN_OUTCOME ? P_UNKNOWN
                      : rc == CQ_E_OVERLOADED      ? P_OVERLOADED
                                                   : P_UNAVAILABLE;
    cq_metric_add(&raft_metrics, M_PROPOSALS, 1, result);
}

static void request_failed(struct raft_request *request, enum cq_rc rc)
{
    count_failure(request, rc);
    request->done(request, rc, rc != CQ_E_UNKNOWN_OUTCOME, NULL);
}

static void out_proposal_failed(void *ctx, uint32_t group, uint64_t cookie, enum cq_rc rc,
                                const struct raft_node *leader)
{
    (void)ctx, (void)group, (void)leader;
    request_failed(request_of(cookie), rc);
}

static void out_read_ready(void *ctx, uint32_t group, uint64_t cookie, uint64_t index)
{
    (void)group;
    struct raft_thread *t = ctx;
    struct raft_request *request = request_of(cookie);
    cq_metric_add(&raft_metrics, M_READS, 1, R_SERVED);
    cq_metric_observe(&raft_metrics, M_READ_SECONDS, io_loop_now_us(t->loop) - request->started_us);
    request->call.index = index;
    apply_call(request->group->apply, &request->call);
}

static void out_read_failed(void *ctx, uint32_t group, uint64_t cookie, enum cq_rc rc, const struct raft_node *leader)
{
    (void)ctx, (void)group, (void)leader;
    request_failed(request_of(cookie), rc);
}

static void out_role_changed(void *ctx, const struct raft_role_change *change)
{
    struct raft_thread *t = ctx;
    struct group *group = groups_find(t->config.groups, change->group);
    if (!group)
        return;
    atomic_store(&group->role, (int)change->role);
    atomic_store(&group->term, change->term);
    for (size_t i = 0; i < t->changed_count; i++)
        if (t->changed[i] == group)
            return;
    t->changed[t->changed_count++] = group;
}

static void out_trimmed(void *ctx, uint32_t id, uint64_t first_index)
{
    struct raft_thread *t = ctx;
    struct group *group = groups_find(t->config.groups, id);
    cq_failpoint(FAIL_TRIMMED);
    if (!group)
        return;
    atomic_store(&group->first_index, first_index);
    t->config.trimmed(t->config.ctx, group);
}

static void out_behind(void *ctx, uint32_t id)
{
    struct raft_thread *t = ctx;
    struct group *group = groups_find(t->config.groups, id);
    if (group && t->config.behind)
        t->config.behind(t->config.ctx, group);
}

static void out_damaged(void *ctx, uint32_t id)
{
    struct raft_thread *t = ctx;
    struct group *group = groups_find(t->config.groups, id);
    if (group)
        t->config.damaged(t->config.ctx, group);
}

static void out_group_failed(void *ctx, uint32_t id, const struct cq_err *why)
{
    struct raft_thread *t = ctx;
    struct group *group = groups_find(t->config.groups, id);
    cq_log(CQ_ERROR, "raft.replica_failed", CQ_F_U64("group", id), CQ_F_ERR(why));
    if (!group)
        return;
    atomic_store(&group->failed, true);
    atomic_store(&group->role, RAFT_GROUP_FOLLOWER);
    atomic_store(&group->leader, 0);
    t->config.failed(t->config.ctx, group, why->rc);
}

/* ---- After a flush ---- */

static uint64_t leader_replica(struct raft_thread *t, uint32_t group)
{
    struct raft_node leader;
    struct raft_member members[RAFT_MEMBERS_MAX];
    if (!raft_host_leader(t->host, group, &leader))
        return 0;
    size_t count = raft_host_members(t->host, group, members, RAFT_MEMBERS_MAX);
    for (size_t i = 0; i < count && i < RAFT_MEMBERS_MAX; i++)
        if (raft_node_eq(&members[i].node, &leader))
            return members[i].replica;
    return 0;
}

static void announce_changes(struct raft_thread *t)
{
    for (size_t i = 0; i < t->changed_count; i++) {
        struct group *group = t->changed[i];
        uint64_t leader = group_leads(group) ? group->record.replica : leader_replica(t, group->record.group);
        if (leader && leader != atomic_exchange(&group->leader, leader))
            cq_metric_add(&raft_metrics, M_LEADER_CHANGES, 1);
        else if (!leader)
            atomic_store(&group->leader, 0);
        t->config.changed(t->config.ctx, group);
    }
    t->changed_count = 0;
}

/* How far the group's machine has come, as far as it is known now. */
static void tell_progress(struct raft_thread *t, struct group *group)
{
    uint64_t durable = atomic_load(&group->durable), applied = atomic_load(&group->applied);
    if (applied < durable) /* the writer was quicker than the apply thread's word of it: what is durable was applied */
        applied = durable;
    raft_host_applied(t->host, group->record.group, applied);
    raft_host_durable_applied(t->host, group->record.group, durable);
    atomic_store(&group->progress_told, applied);
}

/* All groups that others have put into the list since the last time. */
static void take_progress(struct raft_thread *t)
{
    struct group *group = atomic_exchange(&t->progress, NULL);
    while (group) {
        struct group *next = group->progress_next;
        atomic_store(&group->progress_listed, false); /* before its numbers are read: later ones list it again */
        if (t->host)
            tell_progress(t, group);
        group = next;
    }
}

static void on_flush(struct io_defer *defer)
{
    struct raft_thread *t = cq_containerof(defer, struct raft_thread, flush);
    if (!t->host)
        return;
    take_progress(t);
    raft_host_flush(t->host);
    announce_changes(t);
    io_timer_start_at(&t->tick, raft_host_next_us(t->host));
}

static void on_tick(struct io_timer *timer)
{
    before_input(cq_containerof(timer, struct raft_thread, tick));
}

/* ---- Inputs ---- */

static void on_propose(struct io_loop *loop, void *arg)
{
    struct raft_request *request = arg;
    struct raft_thread *t = request->thread;
    enum cq_rc rc = CQ_E_UNAVAILABLE;
    request->started_us = io_loop_now_us(loop);
    if (t->host) {
        before_input(t);
        rc = raft_host_propose(t->host, &(struct raft_proposal){.group = request->group->record.group,
                                                                .owner = request->entry,
                                                                .entry = raft_bytes_slice(request->entry),
                                                                .bodies = request->bodies,
                                                                .body_count = request->body_count,
                                                                .cookie = cookie_of(request)});
    }
    if (rc != CQ_OK)
        request_failed(request, rc);
}

void raft_thread_propose(struct raft_thread *thread, struct raft_request *request)
{
    request->thread = thread;
    request->is_read = false;
    io_loop_post(thread->loop, on_propose, request);
}

static void on_read(struct io_loop *loop, void *arg)
{
    struct raft_request *request = arg;
    struct raft_thread *t = request->thread;
    enum cq_rc rc = CQ_E_UNAVAILABLE;
    request->started_us = io_loop_now_us(loop);
    if (t->host) {
        before_input(t);
        rc = raft_host_read(t->host, request->group->record.group, cookie_of(request));
    }
    if (rc != CQ_OK)
        request_failed(request, rc);
}

void raft_thread_read(struct raft_thread *thread, struct raft_request *request)
{
    request->thread = thread;
    request->is_read = true;
    io_loop_post(thread->loop, on_read, request);
}

void raft_request_fini(struct raft_request *request)
{
    raft_bytes_unref(&request->entry);
    for (size_t i = 0; i < request->body_count; i++)
        raft_bytes_unref(&request->bodies[i].owner);
    free(request->bodies);
    request->bodies = NULL;
    request->body_count = 0;
}

void raft_thread_outcome(uint64_t cookie, const struct machine_outcome *outcome)
{
    struct raft_request *request = request_of(cookie);
    cq_failpoint(FAIL_ANSWER);
    cq_metric_add(&raft_metrics, M_PROPOSALS, 1, P_APPLIED);
    cq_metric_observe(&raft_metrics, M_COMMIT_SECONDS, cq_time_mono_us() - request->started_us);
    request->done(request, outcome->rc, false, outcome);
}

static void on_receive(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct raft_message *m = arg;
    struct raft_thread *t = m->thread;
    struct cq_err err = {0};
    if (t->host) {
        before_input(t);
        if (raft_host_receive(t->host, &m->node, m->frame, &err) != CQ_OK)
            cq_log_limited(1, CQ_WARN, "raft.frame_refused", CQ_F_ERR(&err));
    }
    raft_bytes_unref(&m->frame);
    free(m);
}

void raft_thread_receive(struct raft_thread *thread, const struct raft_node *from, struct raft_bytes *frame)
{
    struct raft_message *m = message_new(thread);
    m->node = *from;
    m->frame = frame;
    io_loop_post(thread->loop, on_receive, m);
}

void raft_thread_peer_up(struct raft_thread *t, const struct raft_node *node)
{
    if (!t->host)
        return;
    before_input(t);
    raft_host_peer_connected(t->host, node);
}

void raft_thread_peer_gone(struct raft_thread *t, const struct raft_node *node, bool planned)
{
    if (!t->host)
        return;
    before_input(t);
    raft_host_peer_gone(t->host, node, planned);
}

static void on_progress(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct raft_thread *t = arg;
    atomic_store(&t->progress_posted, false);
    if (t->host)
        before_input(t);
}

/* Nothing waits for it but the hand-out of commits, far behind it, and trimming: so the thread is told when it has
 * something else to do, too, and is woken only when it has not been for long. */
void raft_thread_progress(struct raft_thread *t, struct group *group)
{
    if (!atomic_exchange(&group->progress_listed, true)) {
        group->progress_next = atomic_load(&t->progress);
        while (!atomic_compare_exchange_weak(&t->progress, &group->progress_next, group))
            ;
    }
    uint64_t applied = atomic_load(&group->applied), told = atomic_load(&group->progress_told);
    if (applied > told && applied - told >= PROGRESS_ENTRIES && !atomic_exchange(&t->progress_posted, true))
        io_loop_post(t->loop, on_progress, t);
}

/* ---- Groups ---- */

static enum raft_stand stand_of(const struct group *group)
{
    static const enum raft_stand stands[] = {
        [SUSPECT_NONE] = RAFT_STANDS, [SUSPECT_STATE] = RAFT_SILENT, [SUSPECT_PARTS] = RAFT_STANDS_LAST};
    enum raft_stand stand = stands[atomic_load(&group->distrust)];
    return stand == RAFT_STANDS && atomic_load(&group->recovered) ? RAFT_STANDS_LAST : stand;
}

static void on_add(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct raft_message *m = arg;
    struct raft_thread *t = m->thread;
    struct cq_err err = {0};
    enum cq_rc rc = CQ_E_UNAVAILABLE;
    if (t->host) {
        const struct replica_record mine = group_replica_record(m->group), *record = &mine;
        before_input(t);
        rc = raft_host_add(t->host,
                           &(struct raft_group_config){.group = record->group,
                                                       .replica = record->replica,
                                                       .incarnation = record->incarnation,
                                                       .stand = stand_of(m->group),
                                                       .applied = atomic_load(&m->group->applied)},
                           &m->boot, &err);
        if (rc != CQ_OK) {
            cq_log(CQ_ERROR, "raft.group_not_opened", CQ_F_U64("group", record->group), CQ_F_ERR(&err));
            atomic_store(&m->group->failed, true);
        }
    }
    raft_boot_free(&m->boot);
    if (m->done)
        m->done(m->arg, rc, &err);
    free(m);
}

void raft_thread_add(struct raft_thread *thread, struct group *group, struct raft_boot *boot,
                     void (*done)(void *arg, enum cq_rc rc, const struct cq_err *err), void *arg)
{
    struct raft_message *m = message_new(thread);
    group->raft = thread;
    m->group = group;
    m->boot = boot;
    m->done = done;
    m->arg = arg;
    io_loop_post(thread->loop, on_add, m);
}

static void on_drop(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct group *group = arg;
    struct raft_thread *t = group->raft;
    atomic_store(&group->failed, true);
    atomic_store(&group->role, RAFT_GROUP_FOLLOWER);
    atomic_store(&group->leader, 0);
    if (!t->host)
        return;
    before_input(t);
    raft_host_remove(t->host, group->record.group);
    t->config.changed(t->config.ctx, group);
}

void raft_thread_drop(struct raft_thread *thread, struct group *group)
{
    io_loop_post(thread->loop, on_drop, group);
}

static void on_stand(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct group *group = arg;
    struct raft_thread *t = group->raft;
    enum raft_stand stand = stand_of(group);
    if (stand == RAFT_SILENT)
        atomic_store(&group->failed, true);
    if (!t->host)
        return;
    before_input(t);
    raft_host_stand(t->host, group->record.group, stand);
    if (group_leads(group))
        raft_host_transfer(t->host, group->record.group, NULL);
}

void raft_thread_stand(struct raft_thread *thread, struct group *group)
{
    io_loop_post(thread->loop, on_stand, group);
}

void raft_thread_take_out(struct raft_thread *t, struct raft_host *host, struct group *group)
{
    raft_host_flush(host);
    atomic_store(&group->failed, true);
    atomic_store(&group->role, RAFT_GROUP_FOLLOWER);
    atomic_store(&group->leader, 0);
    raft_host_remove(host, group->record.group);
    raft_host_flush(host);
    t->config.changed(t->config.ctx, group);
}

struct run {
    struct raft_thread *thread;
    void (*fn)(struct raft_host *host, void *arg);
    void *arg;
};

static void on_run(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct run *run = arg;
    if (run->thread->host)
        before_input(run->thread);
    run->fn(run->thread->host, run->arg);
    free(run);
}

void raft_thread_run(struct raft_thread *thread, void (*fn)(struct raft_host *host, void *arg), void *arg)
{
    struct run *run = cq_new(struct run);
    *run = (struct run){thread, fn, arg};
    io_loop_post(thread->loop, on_run, run);
}

static void on_hand_over(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct raft_thread *t = arg;
    if (!t->host)
        return;
    before_input(t);
    for (uint32_t id = 0; id < GROUPS_MAX; id++) {
        struct group *group = groups_find(t->config.groups, id);
        if (group && group_leads(group))
            raft_host_transfer(t->host, id, NULL);
    }
}

void raft_thread_hand_over(struct raft_thread *thread)
{
    io_loop_post(thread->loop, on_hand_over, thread);
}

static void on_transfer(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct raft_message *m = arg;
    if (m->thread->host) {
        before_input(m->thread);
        raft_host_transfer(m->thread->host, m->group->record.group, &m->node);
    }
    free(m);
}

void raft_thread_transfer(struct raft_thread *thread, struct group *group, const struct raft_node *to)
{
    struct raft_message *m = message_new(thread);
    m->group = group;
    m->node = *to;
    io_loop_post(thread->loop, on_transfer, m);
}

/* ---- Life ---- */

static void *thread_main(void *arg)
{
    struct raft_thread *t = arg;
    io_loop_run(t->loop);
    return NULL;
}

struct raft_thread *raft_thread_new(const struct raft_thread_config *config)
{
    struct raft_thread *t = cq_new(struct raft_thread);
    t->config = *config;
    t->loop = io_loop_new(&(struct io_loop_options){.name = "raft"});
    t->flush.fn = on_flush;
    io_timer_init(&t->tick, t->loop, on_tick);
    raft_thread_look_init(t);
    pthread_mutex_init(&t->lock, NULL);
    const struct raft_output output = {.ctx = t,
                                       .send = out_send,
                                       .persist = out_persist,
                                       .load = out_load,
                                       .commit = out_commit,
                                       .proposal_failed = out_proposal_failed,
                                       .read_ready = out_read_ready,
                                       .read_failed = out_read_failed,
                                       .role_changed = out_role_changed,
                                       .trimmed = out_trimmed,
                                       .behind = out_behind,
                                       .damaged = out_damaged,
                                       .group_failed = out_group_failed};
    t->host = raft_host_new(&config->self, &config->settings, &output, cq_rand_u64(), cq_time_mono_us());
    return t;
}

void raft_thread_start(struct raft_thread *t)
{
    raft_thread_look_start(t);
    io_timer_start_at(&t->tick, raft_host_next_us(t->host));
    CQ_ASSERT(pthread_create(&t->thread, NULL, thread_main, t) == 0);
    pthread_setname_np(t->thread, "raft");
    t->started = true;
}

/* Forgetting the groups fails what waits in them; then the host goes. */
static void on_stop(struct io_loop *loop, void *arg)
{
    struct raft_thread *t = arg;
    for (uint32_t id = 0; id < GROUPS_MAX; id++)
        if (groups_find(t->config.groups, id))
            raft_host_remove(t->host, id);
    raft_host_flush(t->host);
    raft_host_free(&t->host);
    io_defer_cancel(&t->flush);
    io_timer_stop(&t->tick);
    io_timer_stop(&t->summary_timer);
    io_loop_stop(loop);
}

void raft_thread_stop(struct raft_thread *t)
{
    if (!t || !t->started)
        return;
    io_loop_post(t->loop, on_stop, t);
    pthread_join(t->thread, NULL);
    t->started = false;
}

void raft_thread_free(struct raft_thread **thread)
{
    struct raft_thread *t = *thread;
    if (!t)
        return;
    raft_thread_stop(t);
    io_timer_stop(&t->tick);
    io_timer_stop(&t->summary_timer);
    io_loop_free(&t->loop); /* runs the posts that are left: they find no host */
    raft_host_free(&t->host);
    pthread_mutex_destroy(&t->lock);
    free(t);
    *thread = NULL;
}

struct io_loop *raft_thread_loop(struct raft_thread *thread)
{
    return thread->loop;
}
