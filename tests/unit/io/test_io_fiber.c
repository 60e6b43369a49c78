#include "io/io_fiber.h"

#include "unit/cq_cmocka.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cq_mem.h"
#include "io/io_pool.h"
#include "io/io_sanitize.h"
#include "io/io_watch.h"

static struct io_loop *manual_loop(size_t fibers_max)
{
    return io_loop_new(
        &(struct io_loop_options){.manual_clock = true, .fibers_max = fibers_max, .measure_stacks = true});
}

static void turns(struct io_loop *loop, int n)
{
    while (n--)
        io_loop_turn(loop, false);
}

static struct io_fiber_stats stats_of(struct io_loop *loop)
{
    struct io_fiber_stats stats;
    io_fiber_stats(loop, &stats);
    return stats;
}

/* What the fiber of a test does and what came of it. */
struct job {
    struct io_loop *loop;
    uint64_t deadline_us;
    enum cq_rc rc, second_rc;
    bool begun, ended;
    int depth;
    struct io_fiber_ref ref;
};

static void park_once(void *arg)
{
    struct job *job = arg;
    job->begun = true;
    job->rc = io_fiber_park(job->deadline_us);
    job->ended = true;
}

static struct job spawn_parked(struct io_loop *loop, struct job *job)
{
    *job = (struct job){.loop = loop, .deadline_us = IO_NO_DEADLINE};
    assert_int_equal(io_fiber_spawn(loop, park_once, job, &job->ref), CQ_OK);
    assert_false(job->begun); /* not inside spawn */
    turns(loop, 1);
    assert_true(job->begun);
    return *job;
}

static void a_parked_fiber_goes_on_when_it_is_woken(void **state)
{
    (void)state;
    struct io_loop *loop = manual_loop(4);
    struct job job;
    spawn_parked(loop, &job);
    turns(loop, 3);
    assert_false(job.ended);
    assert_true(io_fiber_alive(job.ref));
    io_fiber_wake(job.ref);
    assert_false(job.ended); /* not inside wake */
    turns(loop, 1);
    assert_true(job.ended);
    assert_int_equal(job.rc, CQ_OK);
    assert_false(io_fiber_alive(job.ref));
    io_loop_free(&loop);
}

static void a_park_ends_at_its_deadline(void **state)
{
    (void)state;
    struct io_loop *loop = manual_loop(4);
    struct job job = {.loop = loop, .deadline_us = io_loop_deadline(loop, 10)};
    io_fiber_spawn(loop, park_once, &job, NULL);
    turns(loop, 1);
    io_loop_clock_advance(loop, 9999);
    turns(loop, 2);
    assert_false(job.ended);
    io_loop_clock_advance(loop, 1);
    turns(loop, 1);
    assert_true(job.ended);
    assert_int_equal(job.rc, CQ_E_TIMEOUT);
    io_loop_free(&loop);
}

static void wake_self_then_park(void *arg)
{
    struct job *job = arg;
    io_fiber_wake(io_fiber_self());
    io_fiber_wake(io_fiber_self());
    job->rc = io_fiber_park(0); /* the permit wins over a deadline that has passed */
    job->second_rc = io_fiber_park(0);
    job->ended = true;
}

static void a_wake_before_the_park_is_remembered_once(void **state)
{
    (void)state;
    struct io_loop *loop = manual_loop(4);
    struct job job = {0};
    io_fiber_spawn(loop, wake_self_then_park, &job, NULL);
    turns(loop, 1);
    assert_true(job.ended);
    assert_int_equal(job.rc, CQ_OK);
    assert_int_equal(job.second_rc, CQ_E_TIMEOUT);
    io_loop_free(&loop);
}

static void a_stale_ref_does_nothing(void **state)
{
    (void)state;
    struct io_loop *loop = manual_loop(4);
    struct job first, second;
    spawn_parked(loop, &first);
    io_fiber_wake(first.ref);
    turns(loop, 1);
    spawn_parked(loop, &second);
    assert_ptr_equal(first.ref.fiber, second.ref.fiber); /* the memory is used again */
    io_fiber_wake(first.ref);
    io_fiber_cancel(first.ref);
    io_fiber_wake((struct io_fiber_ref){0});
    turns(loop, 2);
    assert_false(second.ended);
    io_fiber_wake(second.ref);
    turns(loop, 1);
    assert_int_equal(second.rc, CQ_OK);
    io_loop_free(&loop);
}

static void park_twice(void *arg)
{
    struct job *job = arg;
    job->rc = io_fiber_park(IO_NO_DEADLINE);
    job->second_rc = io_fiber_sleep(1000);
    assert_true(io_fiber_cancelled());
    job->ended = true;
}

static void a_cancel_ends_the_present_and_all_later_parks(void **state)
{
    (void)state;
    struct io_loop *loop = manual_loop(4);
    struct job job = {0};
    io_fiber_spawn(loop, park_twice, &job, &job.ref);
    turns(loop, 1);
    io_fiber_cancel(job.ref);
    io_fiber_cancel(job.ref);
    turns(loop, 1);
    assert_true(job.ended);
    assert_int_equal(job.rc, CQ_E_CANCELLED);
    assert_int_equal(job.second_rc, CQ_E_CANCELLED);
    io_loop_free(&loop);
}

static void a_fiber_can_be_cancelled_before_it_begins(void **state)
{
    (void)state;
    struct io_loop *loop = manual_loop(4);
    struct job job = {0};
    io_fiber_spawn(loop, park_twice, &job, &job.ref);
    io_fiber_cancel(job.ref);
    turns(loop, 1);
    assert_true(job.ended);
    assert_int_equal(job.rc, CQ_E_CANCELLED);
    io_loop_free(&loop);
}

static void park_shielded(void *arg)
{
    struct job *job = arg;
    io_fiber_shield(true);
    job->rc = io_fiber_park(IO_NO_DEADLINE);
    io_fiber_shield(false);
    job->second_rc = io_fiber_park(IO_NO_DEADLINE);
    job->ended = true;
}

static void a_shielded_park_is_not_cancelled_the_next_one_is(void **state)
{
    (void)state;
    struct io_loop *loop = manual_loop(4);
    struct job job = {0};
    io_fiber_spawn(loop, park_shielded, &job, &job.ref);
    turns(loop, 1);
    io_fiber_cancel(job.ref);
    turns(loop, 2);
    assert_false(job.ended);
    io_fiber_wake(job.ref);
    turns(loop, 1);
    assert_true(job.ended);
    assert_int_equal(job.rc, CQ_OK);
    assert_int_equal(job.second_rc, CQ_E_CANCELLED);
    io_loop_free(&loop);
}

static void sleep_once(void *arg)
{
    struct job *job = arg;
    job->rc = io_fiber_sleep(5);
    job->ended = true;
}

static void sleep_is_not_shortened_by_a_wake(void **state)
{
    (void)state;
    struct io_loop *loop = manual_loop(4);
    struct job job = {0};
    io_fiber_spawn(loop, sleep_once, &job, &job.ref);
    turns(loop, 1);
    io_fiber_wake(job.ref);
    turns(loop, 2);
    assert_false(job.ended);
    io_loop_clock_advance(loop, 5000);
    turns(loop, 1);
    assert_true(job.ended);
    assert_int_equal(job.rc, CQ_OK);
    io_loop_free(&loop);
}

static void yield_three_times(void *arg)
{
    struct job *job = arg;
    for (job->depth = 0; job->depth < 3; job->depth++)
        assert_int_equal(io_fiber_yield(), CQ_OK);
    job->ended = true;
}

static void a_yield_goes_on_in_the_next_turn(void **state)
{
    (void)state;
    struct io_loop *loop = manual_loop(4);
    struct job job = {0};
    io_fiber_spawn(loop, yield_three_times, &job, NULL);
    for (int i = 0; i < 3; i++) {
        turns(loop, 1);
        assert_int_equal(job.depth, i);
    }
    turns(loop, 1);
    assert_true(job.ended);
    io_loop_free(&loop);
}

/* ---- Many ---- */

#ifdef __SANITIZE_THREAD__
enum { MANY = 500 };
#else
enum { MANY = 5000 };
#endif

static int ended_count;

static void bounce(void *arg)
{
    struct job *job = arg;
    for (int i = 0; i < 3; i++)
        io_fiber_sleep(1 + (uint64_t)(job->depth * 31 % 17));
    ended_count++;
}

static void thousands_of_fibers_live_at_once_and_all_end(void **state)
{
    (void)state;
    struct io_loop *loop = manual_loop(MANY);
    struct job *jobs = cq_calloc(MANY, sizeof *jobs);
    ended_count = 0;
    for (int i = 0; i < MANY; i++) {
        jobs[i].depth = i;
        assert_int_equal(io_fiber_spawn(loop, bounce, &jobs[i], NULL), CQ_OK);
    }
    turns(loop, MANY / IO_RESUMES_PER_TURN + 1);
    assert_int_equal(stats_of(loop).running, MANY);
    while (stats_of(loop).running) {
        io_loop_clock_advance(loop, 1000);
        turns(loop, 1);
    }
    assert_int_equal(ended_count, MANY);
    assert_true(stats_of(loop).stacks <= 256); /* the rest was given back */
    free(jobs);
    io_loop_free(&loop);
}

static void the_number_of_stacks_is_bounded(void **state)
{
    (void)state;
    struct io_loop *loop = manual_loop(2);
    struct job jobs[4] = {0};
    for (int i = 0; i < 2; i++)
        spawn_parked(loop, &jobs[i]);
    assert_int_equal(io_fiber_spawn(loop, park_once, &jobs[2], NULL), CQ_E_OVERLOADED);
    for (int i = 2; i < 4; i++) {
        jobs[i].deadline_us = IO_NO_DEADLINE;
        assert_int_equal(io_fiber_spawn_queued(loop, park_once, &jobs[i], &jobs[i].ref), CQ_OK);
    }
    turns(loop, 2);
    assert_false(jobs[2].begun);
    assert_int_equal(stats_of(loop).queued, 2);
    io_fiber_wake(jobs[1].ref);
    turns(loop, 1);
    assert_true(jobs[2].begun); /* in order, as soon as a stack is free */
    assert_false(jobs[3].begun);
    assert_int_equal(stats_of(loop).refused, 1);
    for (int i = 0; i < 4; i++)
        io_fiber_wake(jobs[i].ref);
    turns(loop, 2);
    io_fiber_wake(jobs[3].ref);
    turns(loop, 2);
    assert_true(jobs[3].ended);
    io_loop_free(&loop);
}

static void the_loop_cancels_what_is_left_when_it_is_freed(void **state)
{
    (void)state;
    struct io_loop *loop = manual_loop(1);
    struct job parked, queued = {.deadline_us = IO_NO_DEADLINE};
    spawn_parked(loop, &parked);
    io_fiber_spawn_queued(loop, park_once, &queued, NULL);
    io_loop_free(&loop);
    assert_true(parked.ended && queued.ended);
    assert_int_equal(parked.rc, CQ_E_CANCELLED);
    assert_int_equal(queued.rc, CQ_E_CANCELLED);
}

/* ---- Stacks ---- */

static __attribute__((noinline)) int dig(int depth)
{
    volatile char frame[512];
    frame[0] = (char)depth;
    __asm__ volatile("" : : "r"(frame) : "memory"); /* all of it is wanted */
    int below = depth ? dig(depth - 1) : 0;
    return below + (frame[0] == (char)depth);
}

static void dig_and_suspend(void *arg)
{
    struct job *job = arg;
    job->depth = dig(60);
    io_fiber_yield();
    job->depth += dig(60);
    job->ended = true;
}

static void deep_calls_fit_and_the_high_water_mark_shows_them(void **state)
{
    (void)state;
    struct io_loop *loop = manual_loop(8);
    struct job jobs[8] = {0};
    for (int i = 0; i < 8; i++)
        io_fiber_spawn(loop, dig_and_suspend, &jobs[i], NULL);
    turns(loop, 3);
    for (int i = 0; i < 8; i++) {
        assert_true(jobs[i].ended);
        assert_int_equal(jobs[i].depth, 122);
    }
    size_t high = io_fiber_stack_high_water(loop);
    assert_true(high >= 61 * 512);
    assert_true(high < stats_of(loop).stack_size);
    io_loop_free(&loop);
}

#ifndef __SANITIZE_ADDRESS__
static void dig_too_deep(void *arg)
{
    (void)arg;
    dig(1000);
}

/* In a child process: it must die of it, not write into somebody else's memory. */
static void a_stack_that_is_too_small_ends_the_process(void **state)
{
    (void)state;
    int status;
    pid_t child = fork();
    if (child == 0) {
        struct io_loop *loop = manual_loop(2);
        signal(SIGSEGV, SIG_DFL);
        io_fiber_spawn(loop, dig_too_deep, NULL, NULL);
        turns(loop, 2);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_true(WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGBUS);
}
#endif

/* ---- Threads ---- */

struct remote {
    struct io_loop *loop;
    struct io_fiber_ref ref;
    pthread_t thread;
    int rounds;
    _Atomic int go, value;
};

static void *remote_main(void *arg)
{
    struct remote *remote = arg;
    for (int i = 1; i <= remote->rounds; i++) {
        while (atomic_load(&remote->go) < i)
            usleep(1);
        atomic_store(&remote->value, i);
        io_fiber_wake_remote(remote->loop, remote->ref);
    }
    return NULL;
}

static void wait_for_remote(void *arg)
{
    struct remote *remote = arg;
    remote->ref = io_fiber_self();
    pthread_create(&remote->thread, NULL, remote_main, remote);
    for (int i = 1; i <= remote->rounds; i++) {
        atomic_store(&remote->go, i);
        while (atomic_load(&remote->value) < i)
            assert_int_equal(io_fiber_park(IO_NO_DEADLINE), CQ_OK);
    }
    pthread_join(remote->thread, NULL);
    io_loop_stop(remote->loop);
}

static void another_thread_can_wake_a_fiber(void **state)
{
    (void)state;
    struct io_loop *loop = io_loop_new(NULL);
    struct remote remote = {.loop = loop, .rounds = 200};
    io_fiber_spawn(loop, wait_for_remote, &remote, NULL);
    io_loop_run(loop);
    assert_int_equal(atomic_load(&remote.value), 200);
    io_loop_free(&loop);
}

struct pool_use {
    struct io_pool *pool;
    struct io_loop *loop;
    int value, jobs_left;
    enum cq_rc rc;
};

static void add_one(void *arg)
{
    ++*(int *)arg;
}

static void use_pool(void *arg)
{
    struct pool_use *use = arg;
    int local = 0;
    for (int i = 0; i < 50; i++)
        assert_int_equal(io_pool_run(use->pool, add_one, &local, IO_NO_DEADLINE), CQ_OK);
    use->value += local;
    if (--use->jobs_left == 0)
        io_loop_stop(use->loop);
}

static void a_pool_runs_jobs_while_fibers_wait(void **state)
{
    (void)state;
    struct io_loop *loop = io_loop_new(NULL);
    struct io_pool *pool = io_pool_new("test", 3, 100);
    struct pool_use use = {.pool = pool, .loop = loop, .jobs_left = 20};
    for (int i = 0; i < 20; i++)
        io_fiber_spawn(loop, use_pool, &use, NULL);
    io_loop_run(loop);
    assert_int_equal(use.value, 20 * 50);
    io_pool_free(&pool);
    io_loop_free(&loop);
}

struct gate {
    pthread_mutex_t lock;
    int ran;
};

static void pass_gate(void *arg)
{
    struct gate *gate = arg;
    pthread_mutex_lock(&gate->lock);
    gate->ran++;
    pthread_mutex_unlock(&gate->lock);
}

struct queued_job {
    struct io_pool *pool;
    struct gate *gate;
    enum cq_rc rc;
    bool ended;
};

static void run_queued(void *arg)
{
    struct queued_job *job = arg;
    job->rc = io_pool_run(job->pool, pass_gate, job->gate, IO_NO_DEADLINE);
    job->ended = true;
}

/* One thread, held at the gate by the first job. */
static void a_cancelled_job_that_has_not_begun_never_runs(void **state)
{
    (void)state;
    struct io_loop *loop = io_loop_new(NULL);
    struct io_pool *pool = io_pool_new("test", 1, 2);
    struct gate gate = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct queued_job jobs[4];
    struct io_fiber_ref refs[4];
    pthread_mutex_lock(&gate.lock);
    for (int i = 0; i < 4; i++) {
        jobs[i] = (struct queued_job){.pool = pool, .gate = &gate};
        io_fiber_spawn(loop, run_queued, &jobs[i], &refs[i]);
        io_loop_turn(loop, false);
        while (i == 0 && io_pool_depth(pool))
            usleep(1); /* until the thread has taken the first */
    }
    assert_true(jobs[3].ended);
    assert_int_equal(jobs[3].rc, CQ_E_OVERLOADED);
    io_fiber_cancel(refs[0]);
    io_fiber_cancel(refs[1]);
    io_loop_turn(loop, false);
    assert_false(jobs[0].ended); /* it runs: this waits for its end */
    assert_true(jobs[1].ended);
    assert_int_equal(jobs[1].rc, CQ_E_CANCELLED);
    pthread_mutex_unlock(&gate.lock);
    while (!jobs[0].ended || !jobs[2].ended)
        io_loop_turn(loop, true);
    assert_int_equal(jobs[0].rc, CQ_OK);
    assert_int_equal(jobs[2].rc, CQ_OK);
    assert_int_equal(gate.ran, 2);
    io_pool_free(&pool);
    io_loop_free(&loop);
}

struct fd_user {
    int fd;
    uint64_t deadline_us;
    enum cq_rc rc;
    unsigned events;
};

static void wait_fd(void *arg)
{
    struct fd_user *user = arg;
    user->rc = io_wait_fd(user->fd, IO_READABLE, user->deadline_us, &user->events);
}

static void a_fiber_waits_for_a_descriptor(void **state)
{
    (void)state;
    struct io_loop *loop = manual_loop(4);
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    struct fd_user user = {.fd = fds[0], .deadline_us = io_loop_deadline(loop, 1)};
    io_fiber_spawn(loop, wait_fd, &user, NULL);
    turns(loop, 1);
    io_loop_clock_advance(loop, 1000);
    turns(loop, 2);
    assert_int_equal(user.rc, CQ_E_TIMEOUT);
    user.deadline_us = IO_NO_DEADLINE;
    io_fiber_spawn(loop, wait_fd, &user, NULL);
    turns(loop, 1);
    assert_int_equal(write(fds[1], "x", 1), 1);
    turns(loop, 2);
    assert_int_equal(user.rc, CQ_OK);
    assert_int_equal(user.events, IO_READABLE);
    close(fds[0]);
    close(fds[1]);
    io_loop_free(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_parked_fiber_goes_on_when_it_is_woken),
        cmocka_unit_test(a_park_ends_at_its_deadline),
        cmocka_unit_test(a_wake_before_the_park_is_remembered_once),
        cmocka_unit_test(a_stale_ref_does_nothing),
        cmocka_unit_test(a_cancel_ends_the_present_and_all_later_parks),
        cmocka_unit_test(a_fiber_can_be_cancelled_before_it_begins),
        cmocka_unit_test(a_shielded_park_is_not_cancelled_the_next_one_is),
        cmocka_unit_test(sleep_is_not_shortened_by_a_wake),
        cmocka_unit_test(a_yield_goes_on_in_the_next_turn),
        cmocka_unit_test(thousands_of_fibers_live_at_once_and_all_end),
        cmocka_unit_test(the_number_of_stacks_is_bounded),
        cmocka_unit_test(the_loop_cancels_what_is_left_when_it_is_freed),
        cmocka_unit_test(deep_calls_fit_and_the_high_water_mark_shows_them),
#ifndef __SANITIZE_ADDRESS__
        cmocka_unit_test(a_stack_that_is_too_small_ends_the_process),
#endif
        cmocka_unit_test(another_thread_can_wake_a_fiber),
        cmocka_unit_test(a_pool_runs_jobs_while_fibers_wait),
        cmocka_unit_test(a_cancelled_job_that_has_not_begun_never_runs),
        cmocka_unit_test(a_fiber_waits_for_a_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
