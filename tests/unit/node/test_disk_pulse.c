#include "node/disk_pulse.h"

#include "unit/cq_cmocka.h"

#include "base/cq_time.h"

#define MS UINT64_C(1000)
#define S CQ_US_PER_S

static const struct disk_settings limits = {.stall_us = 3 * S, .slow_us = 1 * S, .calm_us = 10 * S, .fence_us = 20 * S};

/* A disk that is looked at every 100 ms. */
struct disk {
    struct disk_pulse pulse;
    struct disk_sample now;
};

static void start(struct disk *d)
{
    disk_pulse_init(&d->pulse, &limits);
    d->now = (struct disk_sample){.now_us = 1000 * S};
}

static enum disk_state look(struct disk *d, uint64_t after_us)
{
    d->now.now_us += after_us;
    return disk_pulse_take(&d->pulse, &d->now);
}

/* For so long, synced writes of that length, one after the other. */
static enum disk_state work(struct disk *d, uint64_t for_us, uint64_t each_us)
{
    uint64_t until = d->now.now_us + for_us, began = d->now.now_us, done = 0;
    while (d->now.now_us < until) {
        for (; began + (done + 1) * each_us <= d->now.now_us; done++) {
            d->now.syncs++;
            d->now.sync_us += each_us;
        }
        look(d, 100 * MS);
    }
    return d->pulse.state;
}

static void a_disk_that_does_nothing_is_well(void **state)
{
    (void)state;
    struct disk d;
    start(&d);
    for (int i = 0; i < 300; i++)
        assert_int_equal(look(&d, 100 * MS), DISK_WELL);
    assert_int_equal(d.pulse.sync_us, 0);
}

static void a_write_under_way_for_longer_than_the_limit_is_a_stall(void **state)
{
    (void)state;
    struct disk d;
    start(&d);
    work(&d, 10 * S, 5 * MS);
    d.now.busy_since_us = d.now.now_us;
    assert_int_equal(look(&d, limits.stall_us), DISK_WELL);
    assert_int_equal(look(&d, 1), DISK_STALLED);
}

static void after_a_stall_the_disk_must_be_well_for_a_while(void **state)
{
    (void)state;
    struct disk d;
    start(&d);
    d.now.busy_since_us = d.now.now_us;
    assert_int_equal(look(&d, 4 * S), DISK_STALLED);
    d.now.busy_since_us = 0;
    assert_int_equal(look(&d, 100 * MS), DISK_SLOW);
    assert_int_equal(look(&d, limits.calm_us - 100 * MS - 1), DISK_SLOW);
    assert_int_equal(look(&d, 1), DISK_WELL);
}

static void writes_that_take_long_on_the_average_are_slow(void **state)
{
    (void)state;
    static const struct {
        uint64_t each_us;
        enum disk_state is;
    } cases[] = {{2 * MS, DISK_WELL}, {500 * MS, DISK_WELL}, {900 * MS, DISK_WELL}, {1500 * MS, DISK_SLOW}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct disk d;
        start(&d);
        assert_int_equal(work(&d, 20 * S, cases[i].each_us), cases[i].is);
    }
}

static void two_slow_writes_say_nothing(void **state)
{
    (void)state;
    struct disk d;
    start(&d);
    look(&d, 100 * MS);
    d.now.syncs += 2;
    d.now.sync_us += 4 * S;
    assert_int_equal(look(&d, 100 * MS), DISK_WELL);
    d.now.syncs += 1;
    d.now.sync_us += 2 * S;
    assert_int_equal(look(&d, 100 * MS), DISK_SLOW);
}

static void a_store_that_will_hold_writes_up_is_slow(void **state)
{
    (void)state;
    struct disk d;
    start(&d);
    d.now.pressed = true;
    assert_int_equal(look(&d, 100 * MS), DISK_SLOW);
}

static void the_process_ends_only_past_the_fence(void **state)
{
    (void)state;
    struct disk d;
    start(&d);
    d.now.busy_since_us = d.now.now_us;
    look(&d, limits.fence_us);
    assert_false(disk_pulse_must_end(&d.pulse));
    look(&d, 1);
    assert_true(disk_pulse_must_end(&d.pulse));
    d.now.busy_since_us = d.now.now_us; /* another write */
    look(&d, 1);
    assert_false(disk_pulse_must_end(&d.pulse));
}

static void a_write_that_began_after_the_look_is_not_long(void **state)
{
    (void)state;
    struct disk d;
    start(&d);
    d.now.busy_since_us = d.now.now_us + 500 * MS;
    assert_int_equal(look(&d, 100 * MS), DISK_WELL);
    assert_int_equal(d.pulse.under_us, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_disk_that_does_nothing_is_well),
        cmocka_unit_test(a_write_under_way_for_longer_than_the_limit_is_a_stall),
        cmocka_unit_test(after_a_stall_the_disk_must_be_well_for_a_while),
        cmocka_unit_test(writes_that_take_long_on_the_average_are_slow),
        cmocka_unit_test(two_slow_writes_say_nothing),
        cmocka_unit_test(a_store_that_will_hold_writes_up_is_slow),
        cmocka_unit_test(the_process_ends_only_past_the_fence),
        cmocka_unit_test(a_write_that_began_after_the_look_is_not_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
