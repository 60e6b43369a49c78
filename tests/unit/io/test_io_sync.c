#include "io/io_sync.h"

#include "unit/cq_cmocka.h"

static struct io_loop *loop;

static int setup(void **state)
{
    (void)state;
    loop = io_loop_new(&(struct io_loop_options){.manual_clock = true});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    io_loop_free(&loop);
    return 0;
}

static void turns(int n)
{
    while (n--)
        io_loop_turn(loop, false);
}

struct user {
    struct io_event *event;
    struct io_sem *sem;
    struct io_queue *queue;
    uint64_t deadline_us;
    int number;
    enum cq_rc rc;
    bool ended;
    struct io_fiber_ref ref;
};

static int order[16], order_count;

static void start(struct user *users, int n, io_fiber_fn *fn)
{
    order_count = 0;
    for (int i = 0; i < n; i++) {
        users[i].number = i;
        if (!users[i].deadline_us)
            users[i].deadline_us = IO_NO_DEADLINE;
        assert_int_equal(io_fiber_spawn(loop, fn, &users[i], &users[i].ref), CQ_OK);
    }
    turns(1);
}

static void wait_event(void *arg)
{
    struct user *user = arg;
    user->rc = io_event_wait(user->event, user->deadline_us);
    order[order_count++] = user->number;
    user->ended = true;
}

static void an_event_wakes_all_who_wait_and_stays_set(void **state)
{
    (void)state;
    struct io_event event = {0};
    struct user users[4] = {{.event = &event}, {.event = &event}, {.event = &event}, {.event = &event}};
    users[2].deadline_us = io_loop_deadline(loop, 1);
    start(users, 3, wait_event);
    io_loop_clock_advance(loop, 1000);
    turns(1);
    assert_int_equal(order_count, 1);
    assert_int_equal(users[2].rc, CQ_E_TIMEOUT);
    io_event_set(&event);
    turns(1);
    assert_int_equal(order_count, 3);
    assert_int_equal(users[0].rc, CQ_OK);
    assert_int_equal(users[1].rc, CQ_OK);
    start(&users[3], 1, wait_event);
    assert_true(users[3].ended); /* did not wait */
    io_event_reset(&event);
    users[3].deadline_us = 1;
    start(&users[3], 1, wait_event);
    assert_int_equal(users[3].rc, CQ_E_TIMEOUT);
}

static void hold_sem(void *arg)
{
    struct user *user = arg;
    user->rc = io_sem_take(user->sem, user->deadline_us);
    if (user->rc == CQ_OK) {
        order[order_count++] = user->number;
        io_fiber_sleep(10);
        io_sem_give(user->sem);
    }
    user->ended = true;
}

static void a_semaphore_serves_in_order_and_loses_nothing_to_a_cancel(void **state)
{
    (void)state;
    struct io_sem sem = {.count = 1};
    struct user users[4] = {{.sem = &sem}, {.sem = &sem}, {.sem = &sem}, {.sem = &sem}};
    start(users, 4, hold_sem);
    assert_int_equal(order_count, 1);
    assert_false(io_sem_try(&sem));
    io_fiber_cancel(users[1].ref); /* waiting: leaves the line */
    turns(1);
    assert_int_equal(users[1].rc, CQ_E_CANCELLED);
    io_loop_clock_advance(loop, 10000);
    turns(1);
    assert_int_equal(order_count, 2);
    assert_int_equal(order[1], 2);
    io_fiber_cancel(users[2].ref); /* holds it: its sleep ends and it gives it back */
    turns(1);
    assert_int_equal(order_count, 3);
    assert_int_equal(order[2], 3);
    io_loop_clock_advance(loop, 10000);
    turns(2);
    assert_true(users[3].ended);
    assert_int_equal(sem.count, 1);
    assert_true(io_sem_try(&sem));
}

static void give_then_cancel(void *arg)
{
    struct user *user = arg;
    io_sem_give(user->sem);
    io_fiber_cancel(user[1].ref);
}

static void cancel_then_give(void *arg)
{
    struct user *user = arg;
    io_fiber_cancel(user[1].ref);
    io_sem_give(user->sem);
}

static void take_and_keep(void *arg)
{
    struct user *user = arg;
    user->rc = io_sem_take(user->sem, IO_NO_DEADLINE);
    user->ended = true;
}

static void a_hand_over_wins_over_a_cancel_of_the_same_turn(void **state)
{
    (void)state;
    io_fiber_fn *const orders[] = {give_then_cancel, cancel_then_give};
    for (int i = 0; i < 2; i++) {
        struct io_sem sem = {.count = 0};
        struct user users[2] = {{.sem = &sem}, {.sem = &sem}};
        start(&users[1], 1, take_and_keep);
        start(&users[0], 1, orders[i]);
        turns(1);
        assert_true(users[1].ended);
        assert_int_equal(users[1].rc, CQ_OK);
        assert_int_equal(sem.count, 0);
    }
}

static int received[64], received_count;

static void produce(void *arg)
{
    struct user *user = arg;
    for (int i = 0; i < 20 && user->rc == CQ_OK; i++)
        user->rc = io_queue_put(user->queue, (void *)(intptr_t)(i + 1), user->deadline_us);
    user->ended = true;
}

static void consume(void *arg)
{
    struct user *user = arg;
    void *item;
    while ((user->rc = io_queue_get(user->queue, &item, user->deadline_us)) == CQ_OK) {
        received[received_count++] = (int)(intptr_t)item;
        io_fiber_yield();
    }
    user->ended = true;
}

static void a_queue_is_bounded_ordered_and_ends_after_its_close(void **state)
{
    (void)state;
    struct io_queue queue;
    io_queue_init(&queue, 3);
    struct user producer = {.queue = &queue}, consumer = {.queue = &queue};
    received_count = 0;
    start(&producer, 1, produce);
    assert_int_equal(queue.count, 3);
    assert_false(producer.ended);
    assert_int_equal(io_queue_try_put(&queue, &queue), CQ_E_OVERLOADED);
    start(&consumer, 1, consume);
    turns(50);
    assert_true(producer.ended);
    assert_int_equal(received_count, 20);
    for (int i = 0; i < 20; i++)
        assert_int_equal(received[i], i + 1);
    assert_int_equal(io_queue_try_put(&queue, (void *)(intptr_t)21), CQ_OK);
    io_queue_close(&queue);
    assert_int_equal(io_queue_try_put(&queue, &queue), CQ_E_EOF);
    turns(3);
    assert_int_equal(received[20], 21); /* what was there is still given */
    assert_true(consumer.ended);
    assert_int_equal(consumer.rc, CQ_E_EOF);
    void *item;
    assert_int_equal(io_queue_try_get(&queue, &item), CQ_E_EOF);
    io_queue_fini(&queue);
}

static void queue_waits_end_at_their_deadlines(void **state)
{
    (void)state;
    struct io_queue queue;
    void *item;
    io_queue_init(&queue, 1);
    struct user user = {.queue = &queue, .deadline_us = io_loop_deadline(loop, 1)};
    assert_int_equal(io_queue_try_get(&queue, &item), CQ_E_AGAIN);
    start(&user, 1, consume);
    io_loop_clock_advance(loop, 1000);
    turns(1);
    assert_int_equal(user.rc, CQ_E_TIMEOUT);
    user = (struct user){.queue = &queue, .deadline_us = io_loop_deadline(loop, 1)};
    start(&user, 1, produce);
    io_loop_clock_advance(loop, 1000);
    turns(1);
    assert_int_equal(user.rc, CQ_E_TIMEOUT);
    io_queue_fini(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_event_wakes_all_who_wait_and_stays_set, setup, teardown),
        cmocka_unit_test_setup_teardown(a_semaphore_serves_in_order_and_loses_nothing_to_a_cancel, setup, teardown),
        cmocka_unit_test_setup_teardown(a_hand_over_wins_over_a_cancel_of_the_same_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(a_queue_is_bounded_ordered_and_ends_after_its_close, setup, teardown),
        cmocka_unit_test_setup_teardown(queue_waits_end_at_their_deadlines, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
