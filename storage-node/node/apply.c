#include "node/apply.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cq_assert.h"
#include "base/cq_list.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"

static const char *const results[] = {"ok", "refused"};
static const struct cq_metric rows[APPLY_M_ROWS] = {
    [APPLY_M_ENTRIES] =
        CQ_COUNTER("chasqui_raft_applied_entries_total", "Entries applied; refused: the command's outcome is an error",
                   CQ_LABEL("result", results)),
    [APPLY_M_RUN_ENTRIES] = CQ_HISTOGRAM("chasqui_apply_run_entries",
                                         "Entries applied between two hand-overs of effects", CQ_BUCKETS_COUNT),
    [APPLY_M_SECONDS] = CQ_HISTOGRAM("chasqui_apply_run_duration_seconds",
                                     "Time of a run of an apply thread: entries and reads", CQ_BUCKETS_LATENCY),
};
struct cq_metrics apply_metrics = CQ_METRICS_OF(rows);

enum item_kind { ITEM_COMMIT, ITEM_CALL, ITEM_WRITTEN, ITEM_DETACH, ITEM_ATTACH, ITEM_CLOSE };

struct item {
    struct cq_list link;
    struct apply_group *group;
    enum item_kind kind;
    union {
        struct apply_entry commit;
        struct apply_call *call;
        struct machine_effects *written;
        struct {
            struct machine *machine; /* ITEM_ATTACH */
            void (*done)(void *arg);
            void *arg;
        } change;
    } u;
};

struct apply_thread {
    struct apply *apply;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct cq_list queue; /* of items; under lock */
    size_t queued;        /* of them those that somebody waits for */
    bool stopping;
    /* The thread's own. */
    struct cq_list touched; /* groups that the run has applied to */
    struct cq_list held;    /* groups whose effects are held back, the longest first */
    struct cq_pool *pool;
};

struct apply_group {
    struct apply_thread *thread;
    uint32_t id;
    struct machine *machine;
    void *ctx;
    /* All below is the thread's own. */
    struct cq_list touched, held;
    uint64_t held_since_us;
    size_t held_entries, held_bytes;
    struct apply_call *waiting; /* for their index, in the order of index, then of arrival */
    size_t effects_under_way;   /* taken and not written */
    enum cq_rc health;
    struct apply_point points[APPLY_POINTS]; /* a ring */
    size_t point_count;                      /* that were ever put into it */
    bool closing, detaching;
    atomic_bool ending;        /* either of them; for the writer's thread */
    void (*closed)(void *arg); /* or detached */
    void *closed_arg;
};

struct apply {
    struct apply_config config;
    unsigned threads;
    struct apply_thread thread[APPLY_THREADS_MAX];
};

/* Effects on their way through the writer. */
struct effects_item {
    struct writer_item base;
    struct apply_group *group; /* gone when `durable` comes late: only its id is used there */
    struct apply *apply;
    uint32_t id;
    uint64_t index;
    struct machine_effects *effects;
};

/* ---- The queue ---- */

static void enqueue(struct apply_thread *t, struct item *item)
{
    pthread_mutex_lock(&t->lock);
    cq_list_push_back(&t->queue, &item->link);
    if (t->queued++ == 0)
        pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
}

/* That effects are written only frees memory: the thread hears of it when it is awake for another reason, unless the
 * end of a machine waits for it. The flag is looked at under the lock: a thread that sets it and then finds the queue
 * empty has set it before this. */
static void enqueue_written(struct apply_thread *t, struct item *item)
{
    pthread_mutex_lock(&t->lock);
    cq_list_push_back(&t->queue, &item->link);
    if (atomic_load(&item->group->ending) && t->queued++ == 0)
        pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
}

static struct item *item_new(struct apply_group *group, enum item_kind kind)
{
    struct item *item = cq_new(struct item);
    item->group = group;
    item->kind = kind;
    return item;
}

void apply_commit(struct apply_group *group, const struct apply_entry *entry)
{
    struct item *item = item_new(group, ITEM_COMMIT);
    item->u.commit = *entry;
    item->u.commit.owner = raft_bytes_ref(entry->owner);
    enqueue(group->thread, item);
}

void apply_call(struct apply_group *group, struct apply_call *call)
{
    struct item *item = item_new(group, ITEM_CALL);
    item->u.call = call;
    enqueue(group->thread, item);
}

static void enqueue_change(struct apply_group *group, enum item_kind kind, struct machine *machine,
                           void (*done)(void *arg), void *arg)
{
    struct item *item = item_new(group, kind);
    item->u.change.machine = machine;
    item->u.change.done = done;
    item->u.change.arg = arg;
    enqueue(group->thread, item);
}

void apply_group_detach(struct apply_group *group, void (*done)(void *arg), void *arg)
{
    enqueue_change(group, ITEM_DETACH, NULL, done, arg);
}

void apply_group_attach(struct apply_group *group, struct machine *machine, void (*done)(void *arg), void *arg)
{
    enqueue_change(group, ITEM_ATTACH, machine, done, arg);
}

void apply_group_close(struct apply_group *group, void (*closed)(void *arg), void *arg)
{
    enqueue_change(group, ITEM_CLOSE, NULL, closed, arg);
}

/* ---- Effects ---- */

static void effects_encode(struct writer_item *base, struct store_batch *batch)
{
    struct effects_item *e = cq_containerof(base, struct effects_item, base);
    e->group->machine->ops->effects_encode(e->effects, batch);
}

static void effects_written(struct writer_item *base)
{
    struct effects_item *e = cq_containerof(base, struct effects_item, base);
    struct item *item = item_new(e->group, ITEM_WRITTEN);
    item->u.written = e->effects;
    enqueue_written(e->group->thread, item);
}

static void effects_durable(struct writer_item *base)
{
    struct effects_item *e = cq_containerof(base, struct effects_item, base);
    const struct apply_output *out = &e->apply->config.output;
    if (out->durable)
        out->durable(out->ctx, e->id, e->index);
    free(e);
}

static const struct writer_item_ops effects_ops = {
    .encode = effects_encode, .written = effects_written, .durable = effects_durable};

static void take_effects(struct apply_group *g)
{
    cq_list_remove(&g->held);
    g->held_entries = g->held_bytes = 0;
    struct machine_effects *effects = g->machine ? g->machine->ops->effects_take(g->machine) : NULL;
    if (!effects)
        return;
    struct effects_item *e = cq_new(struct effects_item);
    e->base.ops = &effects_ops;
    e->base.lazy = true; /* what they change can be seen without them */
    e->group = g;
    e->apply = g->thread->apply;
    e->id = g->id;
    e->index = g->machine->ops->applied(g->machine);
    e->effects = effects;
    g->effects_under_way++;
    writer_add(e->apply->config.writer, &e->base);
}

static uint64_t held_until_us(const struct apply_thread *t)
{
    struct cq_list *first = cq_list_first(&t->held);
    uint64_t hold_us = t->apply->config.hold_ms * UINT64_C(1000);
    return first ? cq_list_entry(first, struct apply_group, held)->held_since_us + hold_us : UINT64_MAX;
}

static void hold_effects(struct apply_group *g)
{
    struct apply_thread *t = g->thread;
    if (t->apply->config.hold_ms == 0 || g->held_entries >= APPLY_HOLD_ENTRIES || g->held_bytes >= APPLY_HOLD_BYTES) {
        take_effects(g);
    } else if (cq_list_empty(&g->held)) {
        g->held_since_us = cq_time_mono_us();
        cq_list_push_back(&t->held, &g->held);
    }
}

static void take_held(struct apply_thread *t)
{
    if (cq_list_empty(&t->held))
        return;
    uint64_t now = cq_time_mono_us();
    while (held_until_us(t) <= now)
        take_effects(cq_list_entry(cq_list_first(&t->held), struct apply_group, held));
}

/* ---- Calls ---- */

static void run_call(struct apply_group *g, struct apply_call *call, enum cq_rc rc)
{
    call->next = NULL;
    call->run(call, g, rc == CQ_OK ? g->machine : NULL, rc);
}

/* Behind those with the same index. */
static void wait_for_index(struct apply_group *g, struct apply_call *call)
{
    struct apply_call **at = &g->waiting;
    while (*at && (*at)->index <= call->index)
        at = &(*at)->next;
    call->next = *at;
    *at = call;
}

static void run_waiting(struct apply_group *g, enum cq_rc rc)
{
    uint64_t applied = rc == CQ_OK ? g->machine->ops->applied(g->machine) : UINT64_MAX;
    while (g->waiting && g->waiting->index <= applied) {
        struct apply_call *call = g->waiting;
        g->waiting = call->next;
        run_call(g, call, rc);
    }
}

static void do_call(struct apply_group *g, struct apply_call *call)
{
    if (g->closing)
        run_call(g, call, CQ_E_UNAVAILABLE);
    else if (g->health != CQ_OK)
        run_call(g, call, g->health);
    else if (call->index > g->machine->ops->applied(g->machine))
        wait_for_index(g, call);
    else
        run_call(g, call, CQ_OK);
}

/* ---- Entries ---- */

static void check_health(struct apply_group *g)
{
    const struct apply_output *out = &g->thread->apply->config.output;
    enum cq_rc rc = g->machine->ops->health(g->machine);
    if (rc == CQ_OK || g->health != CQ_OK)
        return;
    g->health = rc;
    cq_list_remove(&g->held);
    out->failed(out->ctx, g, rc);
    run_waiting(g, rc);
}

static void put_point(const struct apply_group *g, struct apply_point *point_r)
{
    point_r->index = g->machine->ops->applied(g->machine);
    g->machine->ops->digest(g->machine, point_r->digest);
}

static void note_point(struct apply_group *g, uint64_t index)
{
    if (index % APPLY_POINT_EVERY == 0 && g->machine->ops->applied(g->machine) == index)
        put_point(g, &g->points[g->point_count++ % APPLY_POINTS]);
}

size_t apply_group_points(const struct apply_group *g, struct apply_point points_r[static APPLY_POINTS + 1])
{
    size_t n = 0;
    if (!g->machine || g->health != CQ_OK)
        return 0;
    for (size_t i = g->point_count > APPLY_POINTS ? g->point_count - APPLY_POINTS : 0; i < g->point_count; i++)
        points_r[n++] = g->points[i % APPLY_POINTS];
    put_point(g, &points_r[n++]);
    return n;
}

/* A group that has failed, or is closing, answers nobody: the outcome is not known here. */
static void do_commit(struct apply_group *g, const struct apply_entry *entry)
{
    const struct apply_output *out = &g->thread->apply->config.output;
    struct apply_marks *marks = g->thread->apply->config.marks;
    struct cq_pool *pool = g->thread->pool;
    struct machine_outcome outcome = {.rc = CQ_E_UNKNOWN_OUTCOME};
    cq_pool_clear(pool);
    if (g->health == CQ_OK && !g->closing) {
        struct machine_outcome applied = {0};
        apply_marks_begin(marks, g->id, entry->position.index);
        g->machine->ops->apply(g->machine, entry->position, entry->entry, pool, &applied);
        apply_marks_end(marks, g->id);
        check_health(g);
        if (g->health == CQ_OK) {
            outcome = applied;
            note_point(g, entry->position.index);
        }
    }
    if (entry->cookie)
        out->outcome(out->ctx, g->id, entry->cookie, &outcome);
    if (outcome.notice.len)
        out->notice(out->ctx, g, outcome.account, outcome.notice);
    cq_metric_add(&apply_metrics, APPLY_M_ENTRIES, 1, outcome.rc != CQ_OK);
    g->held_entries++;
    g->held_bytes += entry->entry.len;
    if (cq_list_empty(&g->touched))
        cq_list_push_back(&g->thread->touched, &g->touched);
}

/* ---- The end of a machine, and of a group ---- */

static void close_machine(struct apply_group *g)
{
    cq_list_remove(&g->touched);
    cq_list_remove(&g->held);
    if (g->machine)
        g->machine->ops->close(g->machine);
    g->machine = NULL;
}

static void free_when_written(struct apply_group *g)
{
    if (!(g->closing || g->detaching) || g->effects_under_way > 0)
        return;
    close_machine(g);
    void (*closed)(void *arg) = g->closed;
    void *arg = g->closed_arg;
    bool ends = g->closing;
    g->detaching = false;
    atomic_store(&g->ending, false);
    if (ends)
        free(g);
    if (closed)
        closed(arg);
}

static void do_detach(struct apply_group *g, void (*done)(void *arg), void *arg)
{
    CQ_ASSERT(!g->detaching && !g->closing);
    if (g->health == CQ_OK)
        take_effects(g);
    g->health = CQ_E_UNAVAILABLE;
    g->detaching = true;
    atomic_store(&g->ending, true);
    g->closed = done;
    g->closed_arg = arg;
    run_waiting(g, CQ_E_UNAVAILABLE);
    free_when_written(g);
}

static void do_attach(struct apply_group *g, struct machine *machine, void (*done)(void *arg), void *arg)
{
    CQ_ASSERT(!g->detaching && !g->closing && g->health != CQ_OK && g->effects_under_way == 0);
    close_machine(g);
    g->machine = machine;
    g->health = CQ_OK;
    g->point_count = 0;
    done(arg);
}

/* A detach that is under way ends with it. */
static void do_close(struct apply_group *g, void (*closed)(void *arg), void *arg)
{
    if (g->detaching)
        g->closed(g->closed_arg);
    if (g->health == CQ_OK)
        take_effects(g);
    g->detaching = false;
    g->closing = true;
    atomic_store(&g->ending, true);
    g->closed = closed;
    g->closed_arg = arg;
    run_waiting(g, CQ_E_UNAVAILABLE);
    free_when_written(g);
}

static void do_written(struct apply_group *g, struct machine_effects *effects)
{
    g->machine->ops->effects_written(g->machine, effects);
    g->effects_under_way--;
    free_when_written(g);
}

/* ---- The thread ---- */

/* Returns the bytes of the item's entry. */
static size_t do_item(struct item *item)
{
    size_t bytes = 0;
    switch (item->kind) {
    case ITEM_COMMIT:
        bytes = item->u.commit.entry.len;
        do_commit(item->group, &item->u.commit);
        raft_bytes_unref(&item->u.commit.owner);
        break;
    case ITEM_CALL:
        do_call(item->group, item->u.call);
        break;
    case ITEM_WRITTEN:
        do_written(item->group, item->u.written);
        break;
    case ITEM_DETACH:
        do_detach(item->group, item->u.change.done, item->u.change.arg);
        break;
    case ITEM_ATTACH:
        do_attach(item->group, item->u.change.machine, item->u.change.done, item->u.change.arg);
        break;
    case ITEM_CLOSE:
        do_close(item->group, item->u.change.done, item->u.change.arg);
        break;
    }
    free(item);
    return bytes;
}

/* Tells how far the run has come, and runs the calls that waited for it. */
static void end_run(struct apply_thread *t)
{
    const struct apply_output *out = &t->apply->config.output;
    struct cq_list *link;
    while ((link = cq_list_first(&t->touched)) != NULL) {
        struct apply_group *g = cq_list_entry(link, struct apply_group, touched);
        cq_list_remove(link);
        if (g->health != CQ_OK || g->closing)
            continue;
        out->applied(out->ctx, g, g->machine, g->machine->ops->applied(g->machine));
        hold_effects(g); /* after it: what is durable is never ahead of what was told as applied */
        run_waiting(g, CQ_OK);
    }
}

static void run_some(struct apply_thread *t, struct cq_list *todo)
{
    uint64_t start = cq_time_mono_us();
    size_t items = 0, bytes = 0, entries = 0;
    struct cq_list *link;
    while (items < APPLY_RUN_ITEMS && bytes < APPLY_RUN_BYTES && (link = cq_list_first(todo)) != NULL) {
        struct item *item = cq_list_entry(link, struct item, link);
        cq_list_remove(link);
        entries += item->kind == ITEM_COMMIT;
        items++;
        bytes += do_item(item);
    }
    end_run(t);
    if (entries)
        cq_metric_observe(&apply_metrics, APPLY_M_RUN_ENTRIES, entries);
    cq_metric_observe(&apply_metrics, APPLY_M_SECONDS, cq_time_mono_us() - start);
}

static void list_move(struct cq_list *to, struct cq_list *from)
{
    struct cq_list *link;
    while ((link = cq_list_first(from)) != NULL) {
        cq_list_remove(link);
        cq_list_push_back(to, link);
    }
}

/* False: the time has come. */
static bool wait_until(struct apply_thread *t, uint64_t us)
{
    const struct timespec until = {(time_t)(us / CQ_US_PER_S), (long)(us % CQ_US_PER_S) * 1000};
    if (us == UINT64_MAX)
        return pthread_cond_wait(&t->wake, &t->lock) == 0;
    return pthread_cond_timedwait(&t->wake, &t->lock, &until) == 0;
}

/* Waits for items, and no longer than effects are held: false when the thread stops and no items are left. */
static bool take_queue(struct apply_thread *t, struct cq_list *todo)
{
    uint64_t until = held_until_us(t);
    pthread_mutex_lock(&t->lock);
    while (cq_list_empty(&t->queue) && !t->stopping && wait_until(t, until))
        ;
    list_move(todo, &t->queue);
    t->queued = 0;
    bool stopping = t->stopping;
    pthread_mutex_unlock(&t->lock);
    return !stopping || !cq_list_empty(todo);
}

static void *thread_main(void *arg)
{
    struct apply_thread *t = arg;
    struct cq_list todo;
    cq_list_init(&todo);
    apply_marks_thread_start();
    while (take_queue(t, &todo)) {
        while (!cq_list_empty(&todo))
            run_some(t, &todo);
        take_held(t);
    }
    apply_marks_thread_end();
    return NULL;
}

/* ---- Life ---- */

static void thread_start(struct apply *apply, unsigned n)
{
    struct apply_thread *t = &apply->thread[n];
    t->apply = apply;
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC); /* the clock of cq_time_mono_us() */
    pthread_cond_init(&t->wake, &attr);
    pthread_condattr_destroy(&attr);
    cq_list_init(&t->queue);
    cq_list_init(&t->touched);
    cq_list_init(&t->held);
    t->pool = cq_pool_new(APPLY_POOL_KEEP);
    CQ_ASSERT(pthread_create(&t->thread, NULL, thread_main, t) == 0);
    char name[16];
    snprintf(name, sizeof name, "apply-%u", n);
    pthread_setname_np(t->thread, name);
}

static void thread_stop(struct apply_thread *t)
{
    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    cq_pool_free(&t->pool);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
}

struct apply *apply_new(const struct apply_config *config)
{
    CQ_ASSERT(config->threads >= 1 && config->threads <= APPLY_THREADS_MAX);
    struct apply *apply = cq_new(struct apply);
    apply->config = *config;
    apply->threads = config->threads;
    for (unsigned n = 0; n < apply->threads; n++)
        thread_start(apply, n);
    return apply;
}

void apply_free(struct apply **apply)
{
    if (!*apply)
        return;
    for (unsigned n = 0; n < (*apply)->threads; n++)
        thread_stop(&(*apply)->thread[n]);
    free(*apply);
    *apply = NULL;
}

struct apply_group *apply_group_open(struct apply *apply, uint32_t group, struct machine *machine)
{
    struct apply_group *g = cq_new(struct apply_group);
    g->thread = &apply->thread[group % apply->threads];
    g->id = group;
    g->machine = machine;
    g->health = machine ? CQ_OK : CQ_E_UNAVAILABLE;
    cq_list_init(&g->touched);
    cq_list_init(&g->held);
    return g;
}

uint32_t apply_group_id(const struct apply_group *group)
{
    return group->id;
}

void apply_group_set_ctx(struct apply_group *group, void *ctx)
{
    group->ctx = ctx;
}

void *apply_group_ctx(const struct apply_group *group)
{
    return group->ctx;
}

size_t apply_queue_length(struct apply *apply)
{
    size_t n = 0;
    for (unsigned i = 0; i < apply->threads; i++) {
        pthread_mutex_lock(&apply->thread[i].lock);
        n += apply->thread[i].queued;
        pthread_mutex_unlock(&apply->thread[i].lock);
    }
    return n;
}
