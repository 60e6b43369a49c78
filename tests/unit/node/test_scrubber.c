#include "node/scrubber.h"

#include "node/reseeder_private.h"
#include "unit/cq_cmocka.h"
#include "unit/node/node_rig.h"

#define RATE (64u << 20)

static enum scrub_state wait_for_end(struct scrubber *s, const struct group *group)
{
    struct scrub_result result;
    for (;;) {
        scrubber_look(s, group, &result);
        if (result.state != SCRUB_WAITING && result.state != SCRUB_RUNNING)
            return result.state;
        assert_int_equal(io_fiber_sleep(1), CQ_OK);
    }
}

static struct scrubber *asked(struct node *node)
{
    struct scrubber *s =
        scrubber_new(&(struct scrubber_config){.node = node, .verify_rate = RATE, .scrub_interval_us = UINT32_MAX});
    scrubber_verify(s, node_rig_group(node));
    return s;
}

/* Effects are written a moment after they are applied, and with them the mark of the state. */
static void write_what_is_applied(struct node *node)
{
    struct attempt a = {.reseeder = node->reseeder, .node = node, .group = node_rig_group(node)};
    while (atomic_load(&a.group->durable) == 0) {
        struct store_batch *batch = store_batch_recorder_new();
        assert_int_equal(reseeder_write(&a, batch, true, NULL), CQ_OK);
        store_batch_free(&batch);
        assert_int_equal(io_fiber_sleep(1), CQ_OK);
    }
}

static void is_sound(struct node *node)
{
    struct scrubber *s = asked(node);
    write_what_is_applied(node);
    scrubber_start(s);
    assert_int_equal(wait_for_end(s, node_rig_group(node)), SCRUB_SOUND);
    scrubber_free(&s);
}

static void a_replica_is_found_sound(void **state)
{
    (void)state;
    node_rig_run(is_sound);
}

static void goes_before_its_turn(struct node *node)
{
    struct group *group = node_rig_group(node);
    struct scrubber *s = asked(node);
    group_set_absent(group, true);
    scrubber_start(s);
    assert_int_equal(wait_for_end(s, group), SCRUB_FAILED);
    scrubber_free(&s);
}

static void a_replica_that_is_destroyed_before_its_turn_is_only_not_checked(void **state)
{
    (void)state;
    node_rig_run(goes_before_its_turn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replica_is_found_sound),
        cmocka_unit_test(a_replica_that_is_destroyed_before_its_turn_is_only_not_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
