#include "io/io_loop.h"

#include "unit/cq_cmocka.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cq_mem.h"
#include "io/io_watch.h"

static struct io_loop *manual_loop(void)
{
    return io_loop_new(&(struct io_loop_options){.name = "test", .manual_clock = true});
}

/* ---- Timers ---- */

struct fired {
    struct io_timer timer;
    int number;
    int *order, *count;
};

static void note_fired(struct io_timer *timer)
{
    struct fired *fired = cq_containerof(timer, struct fired, timer);
    fired->order[(*fired->count)++] = fired->number;
}

static void timers_fire_in_the_order_of_their_times(void **state)
{
    (void)state;
    enum { N = 1000 };
    struct io_loop *loop = manual_loop();
    struct fired *fired = cq_calloc(N, sizeof *fired);
    int order[N], count = 0;
    for (int i = 0; i < N; i++) {
        fired[i] = (struct fired){.number = (i * 7919) % N, .order = order, .count = &count};
        io_timer_init(&fired[i].timer, loop, note_fired);
        io_timer_start(&fired[i].timer, 1 + (uint64_t)fired[i].number);
    }
    for (int i = 0; i < N; i += 3)
        io_timer_stop(&fired[i].timer);
    for (int i = 0; i < N; i += 3) /* moved back to where they were, by way of somewhere else */
        io_timer_start(&fired[i].timer, (uint64_t)(N - i));
    for (int i = 0; i < N; i += 3)
        io_timer_start(&fired[i].timer, 1 + (uint64_t)fired[i].number);
    io_loop_turn(loop, false);
    assert_int_equal(count, 0);
    io_loop_clock_advance(loop, 500 * 1000);
    io_loop_turn(loop, false);
    assert_int_equal(count, 500);
    io_loop_clock_advance(loop, 500 * 1000);
    io_loop_turn(loop, false);
    assert_int_equal(count, N);
    for (int i = 0; i < N; i++)
        assert_int_equal(order[i], i);
    free(fired);
    io_loop_free(&loop);
}

static void restart_at_once(struct io_timer *timer)
{
    struct fired *fired = cq_containerof(timer, struct fired, timer);
    ++*fired->count;
    io_timer_start_at(timer, 0);
}

static void a_timer_that_restarts_itself_runs_once_a_turn(void **state)
{
    (void)state;
    struct io_loop *loop = manual_loop();
    int count = 0;
    struct fired fired = {.count = &count};
    io_timer_init(&fired.timer, loop, restart_at_once);
    io_timer_start(&fired.timer, 0);
    for (int i = 1; i <= 3; i++) {
        io_loop_clock_advance(loop, 1);
        io_loop_turn(loop, false);
        assert_int_equal(count, i);
    }
    io_timer_stop(&fired.timer);
    io_timer_stop(&fired.timer);
    io_loop_free(&loop);
}

static void stop_the_loop(struct io_timer *timer)
{
    io_loop_stop(timer->loop);
}

static void the_real_clock_runs_timers_too(void **state)
{
    (void)state;
    struct io_loop *loop = io_loop_new(NULL);
    struct io_timer timer;
    uint64_t begin = io_loop_now_us(loop);
    io_timer_init(&timer, loop, stop_the_loop);
    io_timer_start(&timer, 2);
    io_loop_run(loop);
    assert_true(io_loop_now_us(loop) - begin >= 2000);
    assert_true(io_loop_heartbeat_age_us(loop) < 10 * 1000 * 1000);
    io_loop_free(&loop);
    assert_null(loop);
}

static void deadlines_do_not_overflow(void **state)
{
    (void)state;
    struct io_loop *loop = manual_loop();
    assert_int_equal(io_loop_deadline(loop, UINT64_MAX), IO_NO_DEADLINE);
    assert_int_equal(io_loop_deadline(loop, UINT64_MAX / 1000), IO_NO_DEADLINE);
    assert_int_equal(io_loop_deadline(loop, 5), io_loop_now_us(loop) + 5000);
    io_loop_free(&loop);
}

/* ---- Posts ---- */

enum { POSTERS = 4, POSTS = 5000 };

struct poster {
    struct io_loop *loop;
    pthread_t thread;
    int id;
};

struct post_seen {
    int poster, number;
};

static int last_number[POSTERS], seen_total;

static void post_seen(struct io_loop *loop, void *arg)
{
    struct post_seen *seen = arg;
    assert_int_equal(seen->number, last_number[seen->poster] + 1);
    last_number[seen->poster] = seen->number;
    if (++seen_total == POSTERS * POSTS)
        io_loop_stop(loop);
    free(seen);
}

static void *poster_main(void *arg)
{
    struct poster *poster = arg;
    for (int i = 1; i <= POSTS; i++) {
        struct post_seen seen = {poster->id, i};
        io_loop_post(poster->loop, post_seen, cq_memdup(&seen, sizeof seen));
    }
    return NULL;
}

static void posts_of_each_thread_arrive_once_and_in_order(void **state)
{
    (void)state;
    struct io_loop *loop = io_loop_new(NULL);
    struct poster posters[POSTERS];
    for (int i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){.loop = loop, .id = i};
        pthread_create(&posters[i].thread, NULL, poster_main, &posters[i]);
    }
    io_loop_run(loop);
    for (int i = 0; i < POSTERS; i++) {
        pthread_join(posters[i].thread, NULL);
        assert_int_equal(last_number[i], POSTS);
    }
    io_loop_free(&loop);
}

static void count_post(struct io_loop *loop, void *arg)
{
    (void)loop;
    ++*(int *)arg;
}

static void one_turn_runs_a_bounded_number_of_posts(void **state)
{
    (void)state;
    struct io_loop *loop = io_loop_new(NULL);
    int count = 0;
    for (int i = 0; i < IO_POSTS_PER_TURN + 5; i++)
        io_loop_post(loop, count_post, &count);
    io_loop_turn(loop, true);
    assert_int_equal(count, IO_POSTS_PER_TURN);
    io_loop_turn(loop, true); /* work is left, so this one does not wait */
    assert_int_equal(count, IO_POSTS_PER_TURN + 5);
    io_loop_free(&loop);
}

struct self_post {
    struct io_defer defer;
    struct io_loop *loop;
    int count;
};

static void post_to_own_loop(struct io_defer *defer)
{
    struct self_post *self = cq_containerof(defer, struct self_post, defer);
    io_loop_post(self->loop, count_post, &self->count);
}

static void a_loop_does_not_sleep_on_what_it_posts_to_itself(void **state)
{
    (void)state;
    struct io_loop *loop =
        io_loop_new(&(struct io_loop_options){.manual_clock = true}); /* nothing else would wake it */
    struct self_post self = {.defer.fn = post_to_own_loop, .loop = loop};
    io_loop_defer(loop, &self.defer);
    io_loop_turn(loop, true);
    assert_int_equal(self.count, 0); /* the end of a turn is after its posts */
    io_loop_turn(loop, true);
    assert_int_equal(self.count, 1);
    io_loop_free(&loop);
}

static void posts_that_are_left_run_before_the_loop_is_freed(void **state)
{
    (void)state;
    struct io_loop *loop = io_loop_new(NULL);
    int count = 0;
    for (int i = 0; i < 2 * IO_POSTS_PER_TURN + 5; i++)
        io_loop_post(loop, count_post, &count);
    io_loop_free(&loop);
    assert_int_equal(count, 2 * IO_POSTS_PER_TURN + 5);
}

static void post_again(struct io_loop *loop, void *arg)
{
    if (++*(int *)arg < 3)
        io_loop_post(loop, post_again, arg);
}

static void a_post_by_a_post_is_for_the_next_turn(void **state)
{
    (void)state;
    struct io_loop *loop = io_loop_new(NULL);
    int count = 0;
    io_loop_post(loop, post_again, &count);
    for (int i = 1; i <= 3; i++) {
        io_loop_turn(loop, true);
        assert_int_equal(count, i);
    }
    io_loop_free(&loop);
}

/* ---- Deferred callbacks ---- */

struct later {
    struct io_defer defer;
    struct io_loop *loop;
    struct later *then, *cancel;
    int runs;
};

static void later_runs(struct io_defer *defer)
{
    struct later *later = cq_containerof(defer, struct later, defer);
    later->runs++;
    if (later->then)
        io_loop_defer(later->loop, &later->then->defer);
    if (later->cancel)
        io_defer_cancel(&later->cancel->defer);
}

static void a_deferred_callback_runs_once_at_the_end_of_the_turn(void **state)
{
    (void)state;
    struct io_loop *loop = io_loop_new(NULL);
    struct later last = {.defer.fn = later_runs, .loop = loop};
    struct later cancelled = {.defer.fn = later_runs, .loop = loop};
    struct later first = {.defer.fn = later_runs, .loop = loop, .then = &last, .cancel = &cancelled};
    io_loop_defer(loop, &first.defer);
    io_loop_defer(loop, &cancelled.defer);
    io_loop_defer(loop, &first.defer);
    io_loop_turn(loop, true);
    assert_int_equal(first.runs, 1);
    assert_int_equal(last.runs, 1); /* in the same turn */
    assert_int_equal(cancelled.runs, 0);
    io_defer_cancel(&last.defer);
    io_loop_free(&loop);
}

static void callbacks_that_defer_each_other_do_not_hold_the_turn(void **state)
{
    (void)state;
    struct io_loop *loop = io_loop_new(NULL);
    struct later again = {.defer.fn = later_runs, .loop = loop};
    again.then = &again;
    io_loop_defer(loop, &again.defer);
    io_loop_turn(loop, true);
    assert_int_equal(again.runs, IO_DEFER_ROUNDS);
    io_loop_turn(loop, true);
    assert_int_equal(again.runs, 2 * IO_DEFER_ROUNDS);
    io_defer_cancel(&again.defer);
    io_loop_free(&loop);
}

/* ---- Descriptors and signals ---- */

static void note_events(struct io_watch *watch, unsigned events, void *arg)
{
    *(unsigned *)arg |= events;
    io_watch_set(watch, 0);
}

static void a_watch_tells_what_a_descriptor_is_ready_for(void **state)
{
    (void)state;
    struct io_loop *loop = io_loop_new(NULL);
    int fds[2];
    unsigned readable = 0, writable = 0;
    assert_int_equal(pipe(fds), 0);
    struct io_watch *in = io_watch_new(loop, fds[0], IO_READABLE, note_events, &readable);
    struct io_watch *out = io_watch_new(loop, fds[1], IO_WRITABLE, note_events, &writable);
    io_loop_turn(loop, true);
    assert_int_equal(readable, 0);
    assert_int_equal(writable, IO_WRITABLE);
    assert_int_equal(write(fds[1], "x", 1), 1);
    io_loop_turn(loop, true);
    assert_int_equal(readable, IO_READABLE);
    io_watch_free(&in);
    io_watch_free(&out);
    close(fds[0]);
    close(fds[1]);
    io_loop_free(&loop);
}

static void note_signal(struct io_loop *loop, int signum, void *arg)
{
    *(int *)arg = signum;
    io_loop_stop(loop);
}

static void a_signal_arrives_as_a_callback(void **state)
{
    (void)state;
    struct io_loop *loop = io_loop_new(NULL);
    int got = 0;
    struct io_signal *sig = io_signal_new(loop, SIGUSR1, note_signal, &got);
    raise(SIGUSR1);
    io_loop_run(loop);
    assert_int_equal(got, SIGUSR1);
    io_signal_free(&sig);
    io_loop_free(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_in_the_order_of_their_times),
        cmocka_unit_test(a_timer_that_restarts_itself_runs_once_a_turn),
        cmocka_unit_test(the_real_clock_runs_timers_too),
        cmocka_unit_test(deadlines_do_not_overflow),
        cmocka_unit_test(posts_of_each_thread_arrive_once_and_in_order),
        cmocka_unit_test(one_turn_runs_a_bounded_number_of_posts),
        cmocka_unit_test(a_loop_does_not_sleep_on_what_it_posts_to_itself),
        cmocka_unit_test(posts_that_are_left_run_before_the_loop_is_freed),
        cmocka_unit_test(a_post_by_a_post_is_for_the_next_turn),
        cmocka_unit_test(a_deferred_callback_runs_once_at_the_end_of_the_turn),
        cmocka_unit_test(callbacks_that_defer_each_other_do_not_hold_the_turn),
        cmocka_unit_test(a_watch_tells_what_a_descriptor_is_ready_for),
        cmocka_unit_test(a_signal_arrives_as_a_callback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
