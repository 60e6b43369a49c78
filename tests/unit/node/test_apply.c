#include "node/apply.h"

#include "unit/cq_cmocka.h"
#include "unit/node/fake_machine.h"

#include "base/cq_endian.h"
#include "base/cq_mem.h"
#include "base/cq_rand.h"
#include "store/store_mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define GROUPS 8
#define OUTCOMES_MAX 4096

struct seen {
    uint64_t index[OUTCOMES_MAX]; /* cookies in the order of their outcomes */
    enum cq_rc rc[OUTCOMES_MAX];
    uint64_t answer[OUTCOMES_MAX];
    size_t outcomes;
    size_t notices;
    uint64_t applied, durable;
    enum cq_rc failed;
    bool closing;
};

struct scene {
    struct store *store;
    struct writer *writer;
    struct apply *apply;
    struct apply_group *group[GROUPS];
    uint64_t next[GROUPS]; /* index of the next entry */
    unsigned hold_ms;
    pthread_mutex_t lock;
    pthread_cond_t change;
    struct seen seen[GROUPS]; /* under lock */
};

static struct seen *lock_seen(struct scene *s, uint32_t group)
{
    pthread_mutex_lock(&s->lock);
    return &s->seen[group];
}

static void unlock(struct scene *s)
{
    pthread_cond_broadcast(&s->change);
    pthread_mutex_unlock(&s->lock);
}

static void on_outcome(void *ctx, uint32_t group, uint64_t cookie, const struct machine_outcome *outcome)
{
    struct seen *seen = lock_seen(ctx, group);
    seen->index[seen->outcomes] = cookie;
    seen->rc[seen->outcomes] = outcome->rc;
    seen->answer[seen->outcomes] = outcome->answer.len == 8 ? cq_get_be64(outcome->answer.data) : 0;
    seen->outcomes++;
    unlock(ctx);
}

static void on_notice(void *ctx, struct apply_group *group, uint64_t account, struct cq_slice notice)
{
    (void)account;
    assert_int_equal(notice.len, 8);
    lock_seen(ctx, apply_group_id(group))->notices++;
    unlock(ctx);
}

static void on_applied(void *ctx, struct apply_group *group, const struct machine *machine, uint64_t index)
{
    (void)machine;
    struct seen *seen = lock_seen(ctx, apply_group_id(group));
    if (index >= seen->applied)
        seen->applied = index;
    else
        seen->failed = CQ_E_INTERNAL; /* it went back */
    unlock(ctx);
}

static void on_durable(void *ctx, uint32_t group, uint64_t index)
{
    struct seen *seen = lock_seen(ctx, group);
    if (index > seen->durable && (index <= seen->applied || seen->closing))
        seen->durable = index;
    else
        seen->failed = CQ_E_INTERNAL;
    unlock(ctx);
}

static void on_failed(void *ctx, struct apply_group *group, enum cq_rc rc)
{
    lock_seen(ctx, apply_group_id(group))->failed = rc;
    unlock(ctx);
}

static void on_fatal(void *ctx, const struct cq_err *err)
{
    (void)ctx;
    fail_msg("%s", err->text);
}

static void start(struct scene *s)
{
    s->writer = writer_new(&(struct writer_config){.store = s->store, .fatal = on_fatal});
    s->apply = apply_new(&(struct apply_config){.writer = s->writer,
                                                .threads = 3,
                                                .hold_ms = s->hold_ms,
                                                .output = {.ctx = s,
                                                           .outcome = on_outcome,
                                                           .notice = on_notice,
                                                           .applied = on_applied,
                                                           .durable = on_durable,
                                                           .failed = on_failed}});
    for (uint32_t g = 0; g < GROUPS; g++) {
        uint64_t sum, applied;
        fake_machine_stored(s->store, g, &sum, &applied);
        s->group[g] = apply_group_open(s->apply, g, fake_machine_open(s->store, g));
        s->next[g] = applied + 1;
        memset(&s->seen[g], 0, sizeof s->seen[g]);
    }
}

static void on_closed(void *arg)
{
    *(atomic_bool *)arg = true;
}

static void stop(struct scene *s)
{
    atomic_bool closed[GROUPS];
    for (uint32_t g = 0; g < GROUPS; g++) {
        atomic_init(&closed[g], false);
        lock_seen(s, g)->closing = true;
        unlock(s);
        if (s->group[g])
            apply_group_close(s->group[g], on_closed, &closed[g]);
    }
    for (uint32_t g = 0; g < GROUPS; g++)
        while (s->group[g] && !atomic_load(&closed[g]))
            sched_yield();
    writer_free(&s->writer);
    apply_free(&s->apply);
    assert_int_equal(fake_machine_count(), 0);
}

static int setup(void **state)
{
    struct scene *s = cq_new(struct scene);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->change, NULL);
    s->store = store_mem_new();
    start(s);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct scene *s = *state;
    stop(s);
    store_close(&s->store);
    pthread_cond_destroy(&s->change);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return 0;
}

#define WAIT_UNTIL(s, condition)                                                                                       \
    do {                                                                                                               \
        pthread_mutex_lock(&(s)->lock);                                                                                \
        while (!(condition))                                                                                           \
            pthread_cond_wait(&(s)->change, &(s)->lock);                                                               \
        pthread_mutex_unlock(&(s)->lock);                                                                              \
    } while (0)

/* The cookie is the index when somebody waits. */
static uint64_t commit_bytes(struct scene *s, uint32_t group, struct cq_slice bytes, bool waits)
{
    uint64_t index = s->next[group]++;
    struct raft_bytes *owner = bytes.len ? raft_bytes_copy(bytes) : NULL;
    struct apply_entry entry = {.position = {index, 1},
                                .owner = owner,
                                .entry = owner ? raft_bytes_slice(owner) : CQ_SLICE_NONE,
                                .cookie = waits ? index : 0};
    apply_commit(s->group[group], &entry);
    raft_bytes_unref(&owner);
    return index;
}

static uint64_t commit(struct scene *s, uint32_t group, uint64_t n, bool waits)
{
    uint8_t bytes[8];
    cq_put_be64(bytes, n);
    return commit_bytes(s, group, cq_slice_of(bytes, 8), waits);
}

/* A synced item behind everything that the writer has. */
struct nudge {
    struct writer_item base;
    atomic_bool done;
};

static void nudge_encode(struct writer_item *item, struct store_batch *batch)
{
    (void)item;
    store_batch_put(batch, STORE_LOCAL, CQ_SLICE("nudge"), CQ_SLICE("x"));
}

static void nudge_durable(struct writer_item *item)
{
    atomic_store(&cq_containerof(item, struct nudge, base)->done, true);
}

static void sync_writer(struct scene *s)
{
    static const struct writer_item_ops ops = {.encode = nudge_encode, .durable = nudge_durable};
    struct nudge nudge = {.base = {.ops = &ops, .sync = true}};
    writer_add(s->writer, &nudge.base);
    while (!atomic_load(&nudge.done))
        sched_yield();
}

struct probe {
    struct apply_call base;
    struct scene *scene;
    uint64_t sum, applied;
    enum cq_rc rc;
    bool ran;
    struct probe *after; /* must have run */
};

static void probe_run(struct apply_call *call, struct apply_group *group, struct machine *machine, enum cq_rc rc)
{
    (void)group;
    struct probe *p = cq_containerof(call, struct probe, base);
    pthread_mutex_lock(&p->scene->lock);
    p->rc = rc;
    if (machine) {
        p->sum = fake_machine_sum(machine);
        p->applied = machine->ops->applied(machine);
    }
    if (p->after && !p->after->ran)
        p->rc = CQ_E_INTERNAL;
    p->ran = true;
    unlock(p->scene);
}

static void probe(struct scene *s, struct probe *p, uint32_t group, uint64_t index)
{
    *p = (struct probe){.base = {.run = probe_run, .index = index}, .scene = s};
    apply_call(s->group[group], &p->base);
}

/* What is stored of all that was told as applied: a run tells that before it hands its effects to the writer, and a
 * call that comes then runs behind its end. */
static void read_stored(struct scene *s, uint32_t group, uint64_t *sum_r, uint64_t *applied_r)
{
    struct probe behind;
    probe(s, &behind, group, 0);
    WAIT_UNTIL(s, behind.ran);
    sync_writer(s);
    fake_machine_stored(s->store, group, sum_r, applied_r);
}

static void outcomes_come_once_in_order_to_those_who_wait(void **state)
{
    struct scene *s = *state;
    uint64_t sum = 0;
    for (uint64_t n = 1; n <= 1000; n++)
        commit(s, 1, n, n % 2 == 0);
    WAIT_UNTIL(s, s->seen[1].applied == 1000);
    assert_int_equal(s->seen[1].outcomes, 500);
    assert_int_equal(s->seen[1].notices, 1000);
    for (uint64_t n = 1, at = 0; n <= 1000; n++) {
        sum += n;
        if (n % 2)
            continue;
        assert_int_equal(s->seen[1].index[at], n);
        assert_int_equal(s->seen[1].answer[at], sum);
        assert_int_equal(s->seen[1].rc[at], CQ_OK);
        at++;
    }
}

static void an_empty_entry_only_moves_the_index(void **state)
{
    struct scene *s = *state;
    commit_bytes(s, 2, CQ_SLICE_NONE, false);
    commit(s, 2, 5, false);
    commit_bytes(s, 2, CQ_SLICE_NONE, true);
    WAIT_UNTIL(s, s->seen[2].applied == 3);
    assert_int_equal(s->seen[2].outcomes, 1);
    uint64_t sum, applied;
    read_stored(s, 2, &sum, &applied);
    assert_int_equal(sum, 5);
    assert_int_equal(applied, 3);
}

static void a_refused_command_is_told_and_changes_nothing_else(void **state)
{
    struct scene *s = *state;
    commit(s, 0, 5, true);
    commit_bytes(s, 0, CQ_SLICE("bad"), true);
    commit(s, 0, 6, true);
    WAIT_UNTIL(s, s->seen[0].outcomes == 3);
    assert_int_equal(s->seen[0].rc[1], CQ_E_PROTO);
    assert_int_equal(s->seen[0].answer[2], 11);
}

static void a_call_waits_for_its_index(void **state)
{
    struct scene *s = *state;
    struct probe now, third, third_too, second;
    probe(s, &now, 4, 0);
    probe(s, &third, 4, 3);
    probe(s, &third_too, 4, 3);
    third_too.after = &third;
    probe(s, &second, 4, 2);
    WAIT_UNTIL(s, now.ran);
    assert_int_equal(now.applied, 0);
    commit(s, 4, 10, false);
    WAIT_UNTIL(s, s->seen[4].applied >= 1);
    pthread_mutex_lock(&s->lock);
    assert_false(second.ran || third.ran);
    pthread_mutex_unlock(&s->lock);
    commit(s, 4, 20, false);
    commit(s, 4, 30, false);
    WAIT_UNTIL(s, second.ran && third.ran && third_too.ran);
    assert_true(second.sum == 30 || second.sum == 60);
    assert_int_equal(third.sum, 60);
    assert_int_equal(third_too.rc, CQ_OK);
}

static void a_call_sees_what_is_not_written_yet(void **state)
{
    struct scene *s = *state;
    for (int n = 0; n < 100; n++) {
        struct probe p;
        uint64_t index = commit(s, 3, 1, false);
        probe(s, &p, 3, index);
        WAIT_UNTIL(s, p.ran);
        assert_int_equal(p.sum, n + 1);
    }
}

static void a_machine_that_fails_fails_alone_and_once(void **state)
{
    struct scene *s = *state;
    commit(s, 5, 1, true);
    struct probe far;
    probe(s, &far, 5, 100);
    commit(s, 5, FAKE_POISON, true);
    commit(s, 5, 2, true);
    WAIT_UNTIL(s, s->seen[5].outcomes == 3 && far.ran);
    assert_int_equal(s->seen[5].failed, CQ_E_CORRUPT);
    assert_int_equal(s->seen[5].rc[0], CQ_OK);
    assert_int_equal(s->seen[5].rc[1], CQ_E_UNKNOWN_OUTCOME);
    assert_int_equal(s->seen[5].rc[2], CQ_E_UNKNOWN_OUTCOME);
    assert_int_equal(far.rc, CQ_E_CORRUPT);
    struct probe late;
    probe(s, &late, 5, 0);
    WAIT_UNTIL(s, late.ran);
    assert_int_equal(late.rc, CQ_E_CORRUPT);
    commit(s, 6, 7, true); /* another group goes on */
    WAIT_UNTIL(s, s->seen[6].outcomes == 1);
    assert_int_equal(s->seen[6].answer[0], 7);
}

static void closing_fails_the_calls_that_wait_and_writes_the_rest(void **state)
{
    struct scene *s = *state;
    for (uint64_t n = 1; n <= 300; n++)
        commit(s, 7, 1, false);
    struct probe p;
    probe(s, &p, 7, 1000);
    atomic_bool closed;
    atomic_init(&closed, false);
    lock_seen(s, 7)->closing = true;
    unlock(s);
    apply_group_close(s->group[7], on_closed, &closed);
    while (!atomic_load(&closed))
        sched_yield();
    s->group[7] = NULL;
    assert_true(p.ran);
    assert_int_equal(p.rc, CQ_E_UNAVAILABLE);
    uint64_t sum, applied;
    fake_machine_stored(s->store, 7, &sum, &applied);
    assert_int_equal(sum, 300);
    assert_int_equal(applied, 300);
}

static void wait_for(atomic_bool *done)
{
    while (!atomic_load(done))
        sched_yield();
}

static void a_machine_is_taken_out_written_and_another_takes_its_place(void **state)
{
    struct scene *s = *state;
    atomic_bool out = false, in = false;
    for (uint64_t n = 1; n <= 300; n++)
        commit(s, 5, 1, false);
    struct probe before, between, after;
    probe(s, &before, 5, 1000);
    apply_group_detach(s->group[5], on_closed, &out);
    wait_for(&out);
    assert_true(before.ran && before.rc == CQ_E_UNAVAILABLE);
    assert_int_equal(fake_machine_count(), GROUPS - 1);
    uint64_t sum, applied;
    fake_machine_stored(s->store, 5, &sum, &applied);
    assert_true(sum == 300 && applied == 300);
    probe(s, &between, 5, 0);
    WAIT_UNTIL(s, between.ran);
    assert_int_equal(between.rc, CQ_E_UNAVAILABLE);
    apply_group_attach(s->group[5], fake_machine_open(s->store, 5), on_closed, &in);
    wait_for(&in);
    commit(s, 5, 7, false);
    probe(s, &after, 5, 301);
    WAIT_UNTIL(s, after.ran);
    assert_true(after.rc == CQ_OK && after.sum == 307);
}

static void a_failed_machine_is_replaced_too(void **state)
{
    struct scene *s = *state;
    atomic_bool out = false, in = false;
    commit(s, 3, 4, false);
    WAIT_UNTIL(s, s->seen[3].applied == 1);
    commit(s, 3, FAKE_POISON, false);
    WAIT_UNTIL(s, s->seen[3].failed != CQ_OK);
    apply_group_detach(s->group[3], on_closed, &out);
    wait_for(&out);
    apply_group_attach(s->group[3], fake_machine_open(s->store, 3), on_closed, &in);
    wait_for(&in);
    struct probe p;
    probe(s, &p, 3, 0);
    WAIT_UNTIL(s, p.ran);
    assert_int_equal(p.rc, CQ_OK);
    assert_true(p.sum == 4);
}

struct point_probe {
    struct apply_call base;
    struct apply_point at[APPLY_POINTS + 1];
    size_t count;
    atomic_bool ran;
};

static void point_probe_run(struct apply_call *call, struct apply_group *group, struct machine *machine, enum cq_rc rc)
{
    (void)machine, (void)rc;
    struct point_probe *p = cq_containerof(call, struct point_probe, base);
    p->count = apply_group_points(group, p->at);
    atomic_store(&p->ran, true);
}

static void ask_points(struct scene *s, uint32_t group, struct point_probe *p)
{
    *p = (struct point_probe){.base = {.run = point_probe_run}};
    apply_call(s->group[group], &p->base);
    wait_for(&p->ran);
}

/* Every entry adds 1: the digest at an index is the index. */
static void assert_points(const struct point_probe *p, uint64_t last)
{
    size_t ring = last / APPLY_POINT_EVERY < APPLY_POINTS ? (size_t)(last / APPLY_POINT_EVERY) : APPLY_POINTS;
    assert_int_equal(p->count, ring + 1);
    for (size_t i = 0; i < p->count; i++) {
        assert_int_equal(cq_get_be64(p->at[i].digest), p->at[i].index);
        assert_int_equal(p->at[i].index,
                         i == ring ? last : (last / APPLY_POINT_EVERY - ring + 1 + i) * APPLY_POINT_EVERY);
    }
}

static void digests_are_kept_at_the_same_indexes_whatever_the_runs(void **state)
{
    struct scene *s = *state;
    static const uint64_t stops[] = {0, 1, 63, 64, 65, 640, 4095, 4096, 4097, 4160, 10000};
    struct point_probe p;
    uint64_t at = 0;
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        for (; at < stops[i]; at++)
            commit(s, 6, 1, false);
        ask_points(s, 6, &p);
        assert_points(&p, stops[i]);
    }
}

/* Those of a machine that was taken out may be of a state that was wrong. */
static void another_machine_begins_without_the_digests_of_the_last(void **state)
{
    struct scene *s = *state;
    atomic_bool out = false, in = false;
    struct point_probe p;
    for (int n = 0; n < 200; n++)
        commit(s, 5, 1, false);
    apply_group_detach(s->group[5], on_closed, &out);
    wait_for(&out);
    ask_points(s, 5, &p);
    assert_int_equal(p.count, 0);
    apply_group_attach(s->group[5], fake_machine_open(s->store, 5), on_closed, &in);
    wait_for(&in);
    ask_points(s, 5, &p);
    assert_int_equal(p.count, 1);
    assert_int_equal(p.at[0].index, 200);
}

static void a_group_without_a_machine_answers_and_closes(void **state)
{
    struct scene *s = *state;
    atomic_bool closed = false;
    struct probe p;
    struct apply_group *kept = s->group[2];
    s->group[2] = apply_group_open(s->apply, 2, NULL);
    probe(s, &p, 2, 0);
    WAIT_UNTIL(s, p.ran);
    assert_int_equal(p.rc, CQ_E_UNAVAILABLE);
    apply_group_close(s->group[2], on_closed, &closed);
    wait_for(&closed);
    s->group[2] = kept;
}

#define HOLD_FOR_EVER_MS 3600000

static void restart_holding(struct scene *s, unsigned hold_ms)
{
    stop(s);
    s->hold_ms = hold_ms;
    start(s);
}

static uint64_t stored_index(struct scene *s, uint32_t group)
{
    uint64_t sum, applied;
    read_stored(s, group, &sum, &applied);
    return applied;
}

static void effects_are_held_back_until_they_are_of_many_entries(void **state)
{
    struct scene *s = *state;
    restart_holding(s, HOLD_FOR_EVER_MS);
    for (unsigned n = 1; n < APPLY_HOLD_ENTRIES; n++)
        commit(s, 1, 1, n % 2);
    struct probe p;
    probe(s, &p, 1, APPLY_HOLD_ENTRIES - 1);
    WAIT_UNTIL(s, p.ran);
    assert_int_equal(p.sum, APPLY_HOLD_ENTRIES - 1); /* they can be seen */
    assert_int_equal(stored_index(s, 1), 0);
    commit(s, 1, 1, false);
    commit(s, 1, 1, false);
    WAIT_UNTIL(s, s->seen[1].applied == APPLY_HOLD_ENTRIES + 1);
    assert_true(stored_index(s, 1) >= APPLY_HOLD_ENTRIES);
}

static void effects_are_not_held_longer_than_their_time(void **state)
{
    struct scene *s = *state;
    restart_holding(s, 1);
    commit(s, 1, 1, false);
    commit(s, 2, 1, false);
    while (stored_index(s, 1) < 1 || stored_index(s, 2) < 1)
        sched_yield();
}

static void effects_that_are_held_are_written_when_the_group_closes(void **state)
{
    struct scene *s = *state;
    restart_holding(s, HOLD_FOR_EVER_MS);
    commit(s, 1, 5, false);
    commit(s, 4, 6, false);
    restart_holding(s, 0);
    assert_int_equal(stored_index(s, 1), 1);
    assert_int_equal(stored_index(s, 4), 1);
}

static void after_a_crash_what_was_called_durable_is_there_and_the_rest_is_consistent(void **state)
{
    struct scene *s = *state;
    struct cq_prng prng = {11};
    uint64_t expected[GROUPS][2000] = {0}; /* the sum at each index */
    for (int life = 0; life < 5; life++) {
        for (int n = 0; n < 800; n++) {
            uint32_t g = cq_prng_below(&prng, GROUPS);
            uint64_t add = cq_prng_below(&prng, 100);
            uint64_t index = commit(s, g, add, false);
            expected[g][index] = expected[g][index - 1] + add;
            if (n == 400)
                sync_writer(s);
        }
        uint64_t durable[GROUPS];
        stop(s); /* a clean stop; the store then loses what no sync has covered, which is nothing */
        for (uint32_t g = 0; g < GROUPS; g++)
            durable[g] = s->seen[g].durable;
        store_mem_crash(s->store, 0);
        for (uint32_t g = 0; g < GROUPS; g++) {
            uint64_t sum, applied;
            fake_machine_stored(s->store, g, &sum, &applied);
            assert_int_equal(applied, durable[g]);
            assert_int_equal(applied, s->next[g] - 1);
            assert_int_equal(sum, expected[g][applied]);
            assert_int_equal(s->seen[g].failed, CQ_OK);
        }
        start(s);
    }
}

struct feeder {
    struct scene *s;
    uint32_t group;
};

static void *feed(void *arg)
{
    struct feeder *f = arg;
    for (int n = 0; n < 2000; n++)
        commit(f->s, f->group, 1, n % 10 == 0);
    return NULL;
}

static void groups_are_independent_under_load(void **state)
{
    struct scene *s = *state;
    pthread_t threads[GROUPS];
    struct feeder feeders[GROUPS];
    for (uint32_t g = 0; g < GROUPS; g++) {
        feeders[g] = (struct feeder){s, g};
        pthread_create(&threads[g], NULL, feed, &feeders[g]);
    }
    for (uint32_t g = 0; g < GROUPS; g++)
        pthread_join(threads[g], NULL);
    for (uint32_t g = 0; g < GROUPS; g++)
        WAIT_UNTIL(s, s->seen[g].applied == 2000 && s->seen[g].outcomes == 200);
    sync_writer(s);
    WAIT_UNTIL(s, s->seen[0].durable > 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(outcomes_come_once_in_order_to_those_who_wait),
        CASE(an_empty_entry_only_moves_the_index),
        CASE(a_refused_command_is_told_and_changes_nothing_else),
        CASE(a_call_waits_for_its_index),
        CASE(a_call_sees_what_is_not_written_yet),
        CASE(a_machine_that_fails_fails_alone_and_once),
        CASE(closing_fails_the_calls_that_wait_and_writes_the_rest),
        CASE(a_machine_is_taken_out_written_and_another_takes_its_place),
        CASE(a_failed_machine_is_replaced_too),
        CASE(digests_are_kept_at_the_same_indexes_whatever_the_runs),
        CASE(another_machine_begins_without_the_digests_of_the_last),
        CASE(a_group_without_a_machine_answers_and_closes),
        CASE(effects_are_held_back_until_they_are_of_many_entries),
        CASE(effects_are_not_held_longer_than_their_time),
        CASE(effects_that_are_held_are_written_when_the_group_closes),
        CASE(after_a_crash_what_was_called_durable_is_there_and_the_rest_is_consistent),
        CASE(groups_are_independent_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
