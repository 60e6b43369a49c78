/* Stories about the Raft host: logs are trimmed, and a member that its log was not kept for starts from a copied state.
 */
#include "raft_story.h"

#include "node/replica_record.h"
#include "raft_private.h"
#include "store/store_mem.h"

static void a_lagging_follower_is_served_from_the_store_and_then_the_log_is_trimmed(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *leader = story_leader(sim, 0);
    struct sim_node *slow = sim->nodes[(leader->index + 1) % 3];
    struct raft_group_status status;
    sim_node_crash(slow, true);
    for (uint64_t i = 1; i <= 300; i++)
        story_append(sim, leader, 0, i, 2000); /* ten times what the cache keeps */
    assert_int_equal(raft_host_status(leader->host, 1, &status), CQ_OK);
    assert_true(status.first_index == 1 && status.slowest_lag >= 300); /* not past what the slow one has */
    sim_node_start(slow);
    story_run(sim, 3 * SIM_S);
    story_numbers(slow, 0, 1, 300);
    story_append(sim, leader, 0, 301, 0);
    story_run(sim, SIM_S);
    story_append(sim, leader, 0, 302, 0);
    story_run(sim, SIM_S);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(raft_host_status(sim->nodes[i]->host, 1, &status), CQ_OK);
        assert_true(status.first_index > 200);
        assert_true(sim->nodes[i]->groups[0].first_index == status.first_index);
    }
    sim_node_crash(slow, false);
    sim_node_start(slow); /* from its marker */
    story_end(sim);
}

/* Appends until the leader's log begins after what the stopped node has. */
static struct sim_node *leave_behind(struct sim *sim, struct sim_node **leader_r)
{
    struct sim_node *leader = story_leader(sim, 0), *slow = sim->nodes[(leader->index + 1) % 3];
    story_append(sim, leader, 0, 1, 0);
    story_run(sim, SIM_S);
    sim_node_crash(slow, true);
    for (uint64_t i = 2; i <= 400; i++)
        story_append(sim, leader, 0, i, 0);
    story_run(sim, SIM_S);
    assert_true(story_status(leader).first_index > 100);
    *leader_r = leader;
    return slow;
}

/* What re-seeding does, in short: the leader's state as it is written, and a log that fits. `to` is not running. */
static enum raft_install_log copy_state(struct sim_node *leader, struct sim_node *to)
{
    struct raft_member members[3];
    struct raft_install install = {.group = 1, .replica = sim_replica(0, to->index), .members = members};
    install.index = leader->groups[0].written_applied;
    install.term = raft_log_term(&raft_host_find(leader->host, 1)->log, install.index);
    install.member_count = raft_host_conf_at(leader->host, 1, install.index, &install.conf_index, members, 3);
    assert_int_equal(install.member_count, 3);
    story_copy_family(leader->store, to->store, STORE_STATE);
    story_copy_family(leader->store, to->store, STORE_LOCAL);
    enum raft_install_log log = RAFT_INSTALL_KEPT;
    struct store_batch *batch = store_batch_new(to->store);
    const struct replica_record record = {1, 1, install.replica, sim_incarnation(0)}; /* not the leader's */
    replica_record_put(batch, &record);
    assert_int_equal(raft_boot_install(to->store, batch, &install, &log, NULL), CQ_OK);
    assert_int_equal(store_write(to->store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
    return log;
}

static void a_member_beyond_the_bound_is_left_behind_and_told_so(void **state)
{
    (void)state;
    struct sim *sim = story_begin_keeping(3, 1, 100);
    struct sim_node *leader, *slow = leave_behind(sim, &leader);
    uint64_t term = story_status(leader).term;
    sim_node_start(slow);
    story_run(sim, 3 * SIM_S);
    assert_true(slow->groups[0].behind > 0);
    assert_int_equal(story_status(leader).behind, 1);
    story_numbers(slow, 0, 1, 1);
    for (uint64_t i = 401; i <= 410; i++) /* the others go on, under the same leader */
        story_append(sim, leader, 0, i, 0);
    assert_true(story_status(leader).term == term);
    sim_node_crash(slow, true);
    assert_int_equal(copy_state(leader, slow), RAFT_INSTALL_REPLACED);
    sim_node_start(slow);
    story_run(sim, SIM_S);
    assert_int_equal(slow->groups[0].behind, 0); /* although its leader thought so at first */
    story_end(sim);
}

static void a_copied_state_joins_where_it_stands(void **state)
{
    (void)state;
    struct sim *sim = story_begin_keeping(3, 1, 100);
    struct sim_node *leader, *slow = leave_behind(sim, &leader);
    copy_state(leader, slow);
    sim_node_start(slow);
    story_append(sim, leader, 0, 401, 3000);
    story_run(sim, 2 * SIM_S);
    story_numbers(slow, 0, 1, 401);
    assert_int_equal(slow->groups[0].behind, 0);
    assert_true(story_status(slow).first_index > 300 &&
                story_status(slow).last_index == story_status(leader).last_index);
    sim_node_crash(leader, true); /* and counts: with the third one away it is half of the majority */
    struct sim_node *third = sim->nodes[3 - leader->index - slow->index];
    struct sim_node *next = story_leader(sim, 0);
    story_append(sim, next, 0, 402, 0);
    assert_true(next == slow || next == third);
    story_end(sim);
}

static void a_hold_keeps_the_log_until_the_copied_replica_has_joined(void **state)
{
    (void)state;
    struct sim *sim = story_begin_keeping(3, 1, 100);
    struct sim_node *leader, *slow = leave_behind(sim, &leader);
    uint64_t replica = sim_replica(0, slow->index), index = leader->groups[0].written_applied;
    assert_int_equal(raft_host_hold(leader->host, 1, replica, 5), CQ_E_BEHIND);
    assert_int_equal(raft_host_hold(leader->host, 1, replica, index), CQ_OK);
    copy_state(leader, slow);
    for (uint64_t i = 401; i <= 800; i++)
        story_append(sim, leader, 0, i, 0);
    story_run(sim, SIM_S);
    assert_true(story_status(leader).first_index <= index + 1 && story_status(leader).holds == 1);
    sim_node_start(slow);
    story_run(sim, 2 * SIM_S);
    story_numbers(slow, 0, 1, 800);
    story_append(sim, leader, 0, 801, 0);
    story_run(sim, SIM_S);
    assert_true(story_status(leader).holds == 0 && story_status(leader).first_index > 700);
    story_end(sim);
}

static void a_released_hold_lets_the_log_go(void **state)
{
    (void)state;
    struct sim *sim = story_begin_keeping(3, 1, 100);
    struct sim_node *leader, *slow = leave_behind(sim, &leader);
    uint64_t replica = sim_replica(0, slow->index), index = leader->groups[0].written_applied;
    assert_int_equal(raft_host_hold(leader->host, 1, replica, index), CQ_OK);
    for (uint64_t i = 401; i <= 700; i++)
        story_append(sim, leader, 0, i, 0);
    raft_host_release(leader->host, 1, replica);
    story_append(sim, leader, 0, 701, 0);
    story_run(sim, SIM_S);
    assert_true(story_status(leader).first_index > index + 1);
    copy_state(leader, slow);
    sim_node_start(slow);
    story_end(sim);
}

/* A replica whose state alone was bad: what it acknowledged after the copied state stays. */
static void a_log_that_has_the_copied_entry_stays(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *leader = story_leader(sim, 0), *node = sim->nodes[(leader->index + 1) % 3];
    for (uint64_t i = 1; i <= 20; i++)
        story_append(sim, leader, 0, i, 0);
    story_run(sim, SIM_S);
    sim_node_crash(node, true);
    uint64_t last = story_status(leader).last_index;
    assert_int_equal(copy_state(leader, node), RAFT_INSTALL_KEPT);
    sim_node_start(node);
    assert_true(story_status(node).first_index == 1 && story_status(node).last_index == last);
    story_run(sim, SIM_S);
    story_numbers(node, 0, 1, 20);
    story_end(sim);
}

static void a_state_older_than_the_log_is_refused(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *leader = story_leader(sim, 0);
    for (uint64_t i = 1; i <= 300; i++)
        story_append(sim, leader, 0, i, 0);
    story_run(sim, SIM_S);
    struct raft_member members[3];
    struct raft_install install = {.group = 1, .replica = sim_replica(0, 0), .index = 5, .term = 2, .members = members};
    struct store_batch *batch = store_batch_new(sim->nodes[0]->store);
    enum raft_install_log log;
    struct cq_err err;
    install.member_count = raft_host_members(leader->host, 1, members, 3);
    assert_true(story_status(sim->nodes[0]).first_index > 100);
    assert_int_equal(raft_boot_install(sim->nodes[0]->store, batch, &install, &log, &err), CQ_E_BEHIND);
    install.index = 0;
    assert_int_equal(raft_boot_install(sim->nodes[0]->store, batch, &install, &log, &err), CQ_E_INVALID);
    store_batch_free(&batch);
    story_end(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lagging_follower_is_served_from_the_store_and_then_the_log_is_trimmed),
        cmocka_unit_test(a_member_beyond_the_bound_is_left_behind_and_told_so),
        cmocka_unit_test(a_copied_state_joins_where_it_stands),
        cmocka_unit_test(a_hold_keeps_the_log_until_the_copied_replica_has_joined),
        cmocka_unit_test(a_released_hold_lets_the_log_go),
        cmocka_unit_test(a_log_that_has_the_copied_entry_stays),
        cmocka_unit_test(a_state_older_than_the_log_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
