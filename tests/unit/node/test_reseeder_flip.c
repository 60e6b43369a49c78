/* The flip, on one real node: what it must not do when the replica has turned out not to know what it promised. */
#include "node/reseeder_private.h"

#include "unit/cq_cmocka.h"

#include <stdlib.h>

#include "base/cq_mem.h"
#include "raft/raft_log_format.h"
#include "store/store_mem.h"
#include "unit/node/node_rig.h"

/* A copy of an empty state at the index of the first configuration, ready to be flipped in. */
static struct attempt *copied(struct node *node, enum reseed_suspect suspect)
{
    struct attempt *a = cq_new(struct attempt);
    const struct replica_record record = group_replica_record(node_rig_group(node));
    const struct reseed_plan plan = {.group = record.group,
                                     .incarnation = record.incarnation,
                                     .generation = record.generation,
                                     .replica = record.replica,
                                     .suspect = suspect};
    struct store_batch *batch = store_batch_recorder_new();
    a->reseeder = node->reseeder;
    a->node = node;
    a->group = node_rig_group(node);
    a->suspect = suspect;
    assert_int_equal(reseed_begin(&a->target, node->dir.store, &plan, batch, NULL), CQ_OK);
    assert_int_equal(reseeder_write(a, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
    a->target.record.phase = RESEED_STATE;
    a->offer.mark.index = a->offer.mark.term = a->offer.conf_index = 1;
    a->offer.member_count = 1;
    a->offer.members[0] = (struct raft_member){.replica = RIG_REPLICA, .role = RAFT_MEMBER_VOTER};
    memcpy(a->offer.members[0].node.uuid, node->dir.node, 16);
    return a;
}

static enum cq_rc flip(struct attempt *a, struct cq_err *err)
{
    enum cq_rc rc = reseeder_flip(a, err);
    reseed_target_fini(&a->target);
    free(a);
    return rc;
}

static enum replica_withheld withheld(struct node *node)
{
    enum replica_withheld why;
    assert_int_equal(replica_withheld_read(node->dir.store, RIG_GROUP, &why, NULL), CQ_OK);
    return why;
}

static uint32_t stored_generation(struct node *node)
{
    struct replica_record record;
    size_t count;
    assert_int_equal(replica_records_read(node->dir.store, &record, 1, &count, NULL), CQ_OK);
    assert_int_equal(count, 1);
    assert_int_equal(record.replica, RIG_REPLICA);
    return record.generation;
}

static void wait_for_wish(struct node *node, enum reseed_reason why)
{
    while (atomic_load(&node_rig_group(node)->reseed_wish) != (int)why + 1)
        assert_int_equal(io_fiber_sleep(1), CQ_OK);
}

/* It takes part in nothing: no host has it, and its former id is known, so that a new one takes its place. */
static void assert_set_aside(struct node *node)
{
    struct group *group = node_rig_group(node);
    wait_for_wish(node, RESEED_LOST);
    assert_int_equal(withheld(node), REPLICA_REFUTED);
    assert_int_equal(group->former, RIG_REPLICA);
    assert_true(atomic_load(&group->failed));
    assert_false(group_leads(group));
}

static void flips(struct node *node)
{
    struct cq_err err = {0};
    if (flip(copied(node, SUSPECT_PARTS), &err) != CQ_OK)
        fail_msg("%s", err.text);
    assert_int_equal(stored_generation(node), 2);
    while (!group_leads(node_rig_group(node)))
        assert_int_equal(io_fiber_sleep(1), CQ_OK);
}

static void a_copy_takes_the_place_of_what_was_there(void **state)
{
    (void)state;
    node_rig_run(flips);
}

static void is_refuted_meanwhile(struct node *node)
{
    struct cq_err err = {0};
    struct attempt *a = copied(node, SUSPECT_NONE);
    node_group_withhold(node, node_rig_group(node));
    assert_int_equal(flip(a, &err), CQ_E_CONFLICT);
    assert_int_equal(stored_generation(node), 1);
    assert_set_aside(node);
}

static void a_replica_that_was_refuted_while_it_was_copied_comes_back_under_no_old_id(void **state)
{
    (void)state;
    node_rig_run(is_refuted_meanwhile);
}

static void its_log_does_not_read(struct node *node)
{
    struct cq_err err = {0};
    uint8_t key[RAFT_ENTRY_KEY_SIZE];
    struct attempt *a = copied(node, SUSPECT_PARTS);
    raft_entry_key(RIG_GROUP, RIG_REPLICA, 1, key);
    assert_true(store_mem_corrupt(node->dir.store, STORE_LOG, cq_slice_of(key, sizeof key), 3));
    assert_int_equal(flip(a, &err), CQ_E_CORRUPT);
    assert_int_equal(stored_generation(node), 1);
    assert_set_aside(node);
}

static void a_replica_whose_log_turns_out_damaged_is_replaced_by_a_new_one(void **state)
{
    (void)state;
    node_rig_run(its_log_does_not_read);
}

/* The place of a replica that was put aside, moved away and destroyed. */
static void comes_again(struct node *node)
{
    struct group *group = node_rig_group(node);
    atomic_store(&group->quarantined, 5);
    group_set_absent(group, true);
    node_group_new(node, RIG_GROUP, RIG_REPLICA + 1);
    assert_ptr_equal(node_rig_group(node), group);
    assert_int_equal(group->record.replica, RIG_REPLICA + 1);
    assert_int_equal(atomic_load(&group->quarantined), 0);
    wait_for_wish(node, RESEED_NEW);
}

static void a_replica_that_comes_to_a_used_place_is_not_put_aside_for_another_ones_entry(void **state)
{
    (void)state;
    node_rig_run(comes_again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_takes_the_place_of_what_was_there),
        cmocka_unit_test(a_replica_that_was_refuted_while_it_was_copied_comes_back_under_no_old_id),
        cmocka_unit_test(a_replica_whose_log_turns_out_damaged_is_replaced_by_a_new_one),
        cmocka_unit_test(a_replica_that_comes_to_a_used_place_is_not_put_aside_for_another_ones_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
