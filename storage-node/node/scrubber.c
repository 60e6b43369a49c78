#include "node/scrubber.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/cq_assert.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_rand.h"
#include "base/cq_time.h"
#include "node/node.h"
#include "node/reseeder.h"
#include "reseed/replica_check.h"

#define STEP_MIN (64u << 10)
#define STEP_MAX (2u << 20)
#define STEPS_PER_S 8
#define BEHIND_MAX_US (CQ_US_PER_S / 2) /* of a slow disk is made up for */

static const char *const askers[] = {"scrub", "verify"};
static const char *const kinds[] = {"record", "digest", "chunk", "missing", "read", "divergence"};
enum { M_BYTES, M_CORRUPT, M_REPLICAS, M_LAST, M_ROWS };
static const struct cq_metric rows[M_ROWS] = {
    [M_BYTES] =
        CQ_COUNTER("chasqui_scrub_bytes_total", "Bytes of replicas that were read and checked", CQ_LABEL("by", askers)),
    [M_CORRUPT] = CQ_COUNTER("chasqui_corruption_detected_total",
                             "Damage that was met; read: by a request, apply or a copy; divergence: the replica is "
                             "sound and not what most others are",
                             CQ_LABEL("kind", kinds)),
    [M_REPLICAS] = CQ_COUNTER("chasqui_scrub_replicas_total", "Replicas that were checked to their end and found sound",
                              CQ_LABEL("by", askers)),
    [M_LAST] = CQ_GAUGE("chasqui_scrub_last_completed_timestamp_seconds",
                        "When the scrub last ended a round through all replicas of this node; 0: not since the start"),
};
struct cq_metrics scrubber_metrics = CQ_METRICS_OF(rows);

static const char *const state_names[] = {
    [SCRUB_NONE] = "",       [SCRUB_WAITING] = "waiting", [SCRUB_RUNNING] = "running",
    [SCRUB_SOUND] = "sound", [SCRUB_DAMAGED] = "damaged", [SCRUB_FAILED] = "failed",
};

const char *scrub_state_name(enum scrub_state state)
{
    return state_names[state];
}

void corruption_detected(enum corruption_kind kind)
{
    cq_metric_add(&scrubber_metrics, M_CORRUPT, 1, kind);
}

struct scrubber {
    struct scrubber_config config;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct scrub_result *results[GROUPS_MAX]; /* of verifications; under lock, like what is in them */
    bool started, stopped;
    pthread_t verify_thread, scrub_thread;
};

/* ---- Waiting ---- */

/* With the lock, until then (monotonic), or until somebody wakes it. */
static void wait_until(struct scrubber *s, uint64_t until_us)
{
    struct timespec at = {.tv_sec = (time_t)(until_us / CQ_US_PER_S), .tv_nsec = (long)(until_us % CQ_US_PER_S) * 1000};
    pthread_cond_timedwait(&s->wake, &s->lock, &at);
}

/* False: the process stops. */
static bool sleep_until(struct scrubber *s, uint64_t until_us)
{
    pthread_mutex_lock(&s->lock);
    while (!s->stopped && cq_time_mono_us() < until_us)
        wait_until(s, until_us);
    bool goes_on = !s->stopped;
    pthread_mutex_unlock(&s->lock);
    return goes_on;
}

/* ---- One replica ---- */

struct run {
    struct scrubber *scrubber;
    struct group *group;
    unsigned asker; /* of the metrics */
    uint64_t rate, due_us;
    struct replica_check check;
    struct cq_err err;
};

/* A replica that is being copied, or has stopped, is somebody else's concern. */
static bool is_in_use(const struct group *group)
{
    return !atomic_load(&group->failed) && atomic_load(&group->reseed_wish) == 0 && !reseeder_state_name(group)[0];
}

static bool pace(struct run *run, uint64_t bytes)
{
    uint64_t now = cq_time_mono_us();
    cq_metric_add(&scrubber_metrics, M_BYTES, bytes, run->asker);
    if (run->due_us + BEHIND_MAX_US < now)
        run->due_us = now - BEHIND_MAX_US;
    run->due_us += bytes * CQ_US_PER_S / run->rate;
    return sleep_until(run->scrubber, run->due_us);
}

static size_t step_bytes(uint64_t rate)
{
    uint64_t bytes = rate / STEPS_PER_S;
    return bytes < STEP_MIN ? STEP_MIN : bytes > STEP_MAX ? STEP_MAX : (size_t)bytes;
}

static void show(struct run *run, struct scrub_result *result)
{
    if (!result)
        return;
    pthread_mutex_lock(&run->scrubber->lock);
    result->index = run->check.mark.index;
    result->records = run->check.records;
    result->chunks = run->check.chunks;
    result->bytes = run->check.bytes;
    pthread_mutex_unlock(&run->scrubber->lock);
}

static enum cq_rc read_all(struct run *run, struct scrub_result *result)
{
    const struct replica_record mine = group_replica_record(run->group), *record = &mine;
    enum cq_rc rc = replica_check_begin(&run->check, run->scrubber->config.node->dir.store, record->group,
                                        record->generation, &run->err);
    run->check.no_chunks = record->group == GROUP_SYSTEM;
    run->due_us = cq_time_mono_us();
    while (rc == CQ_OK) {
        uint64_t before = run->check.bytes;
        rc = replica_check_step(&run->check, step_bytes(run->rate), &run->err);
        show(run, result);
        if (!pace(run, run->check.bytes - before) && rc == CQ_OK)
            rc = CQ_FAIL(&run->err, CQ_E_CANCELLED, "the node stops");
    }
    replica_check_end(&run->check);
    return rc;
}

static void distrust(struct run *run)
{
    corruption_detected((enum corruption_kind)(run->check.found - CHECK_RECORD));
    cq_log(CQ_ERROR, "scrub.damaged", CQ_F_U64("group", run->group->record.group), CQ_F_STR("by", askers[run->asker]),
           CQ_F_U64("index", run->check.mark.index), CQ_F_ERR(&run->err));
    reseeder_distrust(run->scrubber->config.node->reseeder, run->group,
                      run->check.found == CHECK_DIGEST ? SUSPECT_STATE : SUSPECT_PARTS);
}

/* CQ_OK: sound. CQ_E_CORRUPT: the replica is suspect now. Others: it was not read to its end. */
static enum cq_rc check_replica(struct run *run, struct scrub_result *result)
{
    if (!run->group)
        return CQ_FAIL(&run->err, CQ_E_NOT_FOUND, "the replica is here no more");
    uint32_t generation = run->group->record.generation;
    if (!is_in_use(run->group))
        return CQ_FAIL(&run->err, CQ_E_UNAVAILABLE, "the replica is out of service or is being copied");
    enum cq_rc rc = read_all(run, result);
    if (rc == CQ_E_CORRUPT && generation != run->group->record.generation)
        return CQ_FAIL(&run->err, CQ_E_UNAVAILABLE, "the replica has been copied meanwhile");
    if (rc == CQ_E_CORRUPT)
        distrust(run);
    if (rc == CQ_E_EOF)
        cq_metric_add(&scrubber_metrics, M_REPLICAS, 1, run->asker);
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

/* ---- Verifications ---- */

void scrubber_verify(struct scrubber *s, const struct group *group)
{
    uint32_t id = group->record.group;
    pthread_mutex_lock(&s->lock);
    if (!s->results[id])
        s->results[id] = cq_new(struct scrub_result);
    struct scrub_result *result = s->results[id];
    if (result->state != SCRUB_WAITING && result->state != SCRUB_RUNNING)
        *result = (struct scrub_result){.state = SCRUB_WAITING};
    pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

void scrubber_look(struct scrubber *s, const struct group *group, struct scrub_result *result_r)
{
    pthread_mutex_lock(&s->lock);
    const struct scrub_result *result = s->results[group->record.group];
    *result_r = result ? *result : (struct scrub_result){.state = SCRUB_NONE};
    pthread_mutex_unlock(&s->lock);
}

/* The next group that waits, now running; GROUPS_MAX: the process stops. */
static uint32_t take_next(struct scrubber *s)
{
    uint32_t id = GROUPS_MAX;
    pthread_mutex_lock(&s->lock);
    while (!s->stopped && id == GROUPS_MAX) {
        for (id = 0; id < GROUPS_MAX && (!s->results[id] || s->results[id]->state != SCRUB_WAITING);)
            id++;
        if (id == GROUPS_MAX)
            pthread_cond_wait(&s->wake, &s->lock);
    }
    if (s->stopped)
        id = GROUPS_MAX;
    if (id < GROUPS_MAX)
        s->results[id]->state = SCRUB_RUNNING;
    pthread_mutex_unlock(&s->lock);
    return id;
}

static void verify_group(struct scrubber *s, uint32_t id)
{
    struct run run = {
        .scrubber = s, .group = groups_find(&s->config.node->groups, id), .asker = 1, .rate = s->config.verify_rate};
    struct scrub_result *result = s->results[id];
    enum cq_rc rc = check_replica(&run, result);
    pthread_mutex_lock(&s->lock);
    result->state = rc == CQ_OK ? SCRUB_SOUND : rc == CQ_E_CORRUPT ? SCRUB_DAMAGED : SCRUB_FAILED;
    if (rc != CQ_OK)
        memcpy(result->text, run.err.text, sizeof result->text);
    pthread_mutex_unlock(&s->lock);
}

static void *verify_main(void *arg)
{
    struct scrubber *s = arg;
    for (uint32_t id; (id = take_next(s)) < GROUPS_MAX;)
        verify_group(s, id);
    return NULL;
}

/* ---- The scrub ---- */

/* From a group that is another one after each start, so that a node that is often restarted gets around too. False:
 * the process stops. */
static bool scrub_round(struct scrubber *s)
{
    uint32_t first = (uint32_t)(cq_rand_u64() % GROUPS_MAX);
    for (uint32_t i = 0; i < GROUPS_MAX; i++) {
        struct run run = {.scrubber = s, .asker = 0, .rate = s->config.scrub_rate};
        run.group = groups_find(&s->config.node->groups, (first + i) % GROUPS_MAX);
        if (!run.group || !is_in_use(run.group))
            continue;
        enum cq_rc rc = check_replica(&run, NULL);
        if (rc == CQ_E_CANCELLED)
            return false;
        if (rc != CQ_OK && rc != CQ_E_CORRUPT && rc != CQ_E_NOT_FOUND)
            cq_log(CQ_WARN, "scrub.not_read", CQ_F_U64("group", run.group->record.group), CQ_F_ERR(&run.err));
    }
    cq_gauge_set(&scrubber_metrics, M_LAST, (int64_t)(cq_time_wall_us() / CQ_US_PER_S));
    return true;
}

static void *scrub_main(void *arg)
{
    struct scrubber *s = arg;
    uint64_t interval = s->config.scrub_interval_us, first = SCRUB_FIRST_S * CQ_US_PER_S;
    uint64_t next = cq_time_mono_us() + (interval < first ? interval : first);
    while (sleep_until(s, next)) {
        next = cq_time_mono_us() + interval;
        if (!scrub_round(s))
            break;
    }
    return NULL;
}

/* ---- Life ---- */

struct scrubber *scrubber_new(const struct scrubber_config *config)
{
    struct scrubber *s = cq_new(struct scrubber);
    pthread_condattr_t monotonic;
    s->config = *config;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return s;
}

void scrubber_start(struct scrubber *s)
{
    s->started = true;
    CQ_ASSERT(pthread_create(&s->verify_thread, NULL, verify_main, s) == 0);
    pthread_setname_np(s->verify_thread, "verify");
    if (s->config.scrub_rate == 0)
        return;
    CQ_ASSERT(pthread_create(&s->scrub_thread, NULL, scrub_main, s) == 0);
    pthread_setname_np(s->scrub_thread, "scrub");
}

void scrubber_stop(struct scrubber *s)
{
    if (!s || !s->started)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopped = true;
    pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->verify_thread, NULL);
    if (s->config.scrub_rate)
        pthread_join(s->scrub_thread, NULL);
    s->started = false;
}

void scrubber_free(struct scrubber **scrubber)
{
    struct scrubber *s = *scrubber;
    if (!s)
        return;
    scrubber_stop(s);
    for (uint32_t id = 0; id < GROUPS_MAX; id++)
        free(s->results[id]);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s);
    *scrubber = NULL;
}
