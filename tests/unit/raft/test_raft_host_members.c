/* Stories about the Raft host: members change, come back under a new id, and know nothing at first. */
#include "raft_story.h"

#include "raft_private.h"

static void reconfigured(struct sim *sim, const struct raft_member *members, size_t count)
{
    enum cq_rc rc = CQ_E_CONFLICT;
    for (int i = 0; i < 100 && rc != CQ_OK; i++) {
        struct sim_node *leader = story_leader(sim, 0);
        rc = raft_host_reconfigure(leader->host, 1, members, count);
        sim_node_turn(leader);
        story_run(sim, 50 * SIM_MS);
    }
    assert_int_equal(rc, CQ_OK);
    for (int i = 0; i < 100 && !story_status(sim_leader(sim, 0)).conf_committed; i++)
        story_run(sim, 50 * SIM_MS);
    assert_true(story_status(sim_leader(sim, 0)).conf_committed);
}

static void only_one_change_at_a_time_is_taken(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *leader = story_leader(sim, 0);
    struct raft_member now[4], wrong[4];
    story_append(sim, leader, 0, 1, 0);
    assert_int_equal(raft_host_members(leader->host, 1, now, 3), 3);
    now[3] = (struct raft_member){.replica = 5000, .node = {{9}}, .role = RAFT_MEMBER_STANDBY};
    assert_int_equal(raft_host_reconfigure(leader->host, 1, now, 3), CQ_E_INVALID); /* none */
    memcpy(wrong, now, sizeof wrong);
    wrong[(leader->index + 1) % 3].replica = 4999; /* an exchange */
    assert_int_equal(raft_host_reconfigure(leader->host, 1, wrong, 3), CQ_E_INVALID);
    memcpy(wrong, now, sizeof wrong);
    wrong[leader->index].role = RAFT_MEMBER_STANDBY; /* itself */
    assert_int_equal(raft_host_reconfigure(leader->host, 1, wrong, 3), CQ_E_INVALID);
    memcpy(wrong, now, sizeof wrong);
    wrong[3].node = wrong[0].node; /* a node twice */
    assert_int_equal(raft_host_reconfigure(leader->host, 1, wrong, 4), CQ_E_INVALID);
    struct sim_node *follower = sim->nodes[(leader->index + 1) % 3];
    assert_int_equal(raft_host_reconfigure(follower->host, 1, now, 4), CQ_E_NOT_LEADER);
    assert_int_equal(raft_host_reconfigure(leader->host, 1, now, 4), CQ_OK);
    assert_int_equal(raft_host_reconfigure(leader->host, 1, now, 3), CQ_E_CONFLICT); /* not committed yet */
    sim_node_turn(leader);
    story_run(sim, SIM_S);
    assert_true(story_status(leader).conf_committed);
    assert_int_equal(raft_host_members(follower->host, 1, wrong, 4), 4);
    story_append(sim, leader, 0, 2, 0);
    reconfigured(sim, now, 3);
    story_end(sim);
}

/* The leader gives a vote and dies before the one who got it hears of that: the third needs that vote. */
static void who_was_just_given_a_vote_uses_it_without_knowing(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *leader = story_leader(sim, 0), *given = sim->nodes[(leader->index + 1) % 3];
    struct raft_member members[3];
    story_append(sim, leader, 0, 1, 0);
    assert_int_equal(raft_host_members(leader->host, 1, members, 3), 3);
    members[given->index].role = RAFT_MEMBER_STANDBY;
    reconfigured(sim, members, 3);
    story_append(sim, leader, 0, 2, 0);
    story_run(sim, SIM_S);
    sim_net_block(sim, leader->index, given->index, true);
    members[given->index].role = RAFT_MEMBER_VOTER;
    assert_int_equal(raft_host_reconfigure(leader->host, 1, members, 3), CQ_OK);
    sim_node_turn(leader);
    story_run(sim, 100 * SIM_MS);
    assert_int_equal(raft_host_members(given->host, 1, members, 3), 3);
    assert_int_equal(members[given->index].role, RAFT_MEMBER_STANDBY); /* as far as it knows */
    sim_node_crash(leader, true);
    story_run(sim, 5 * SIM_S);
    struct sim_node *next = story_leader(sim, 0);
    assert_true(next != leader && next != given);
    story_append(sim, next, 0, 3, 0);
    sim_net_heal(sim);
    sim_node_start(leader);
    story_end(sim);
}

/* A replica lost everything: its old id goes, its node comes back under a new one, without a vote first. */
static void a_lost_replica_comes_back_under_a_new_id(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *leader = story_leader(sim, 0), *node = sim->nodes[(leader->index + 1) % 3];
    struct raft_member members[3], left[3];
    size_t count = 0;
    for (uint64_t i = 1; i <= 50; i++)
        story_append(sim, leader, 0, i, 100);
    assert_int_equal(raft_host_members(leader->host, 1, members, 3), 3);
    raft_host_remove(node->host, 1); /* as if it had never been */
    for (size_t i = 0; i < 3; i++)
        if (!raft_node_eq(&members[i].node, &node->id))
            left[count++] = members[i];
    reconfigured(sim, left, 2);
    left[2] = (struct raft_member){.replica = 5000, .node = node->id, .role = RAFT_MEMBER_STANDBY};
    reconfigured(sim, left, 3);
    story_append(sim, leader, 0, 51, 0); /* two of two */
    story_run(sim, SIM_S);

    struct raft_install install = {.group = 1, .replica = 5000, .members = members};
    install.index = leader->groups[0].written_applied;
    install.term = raft_log_term(&raft_host_find(leader->host, 1)->log, install.index);
    install.member_count = raft_host_conf_at(leader->host, 1, install.index, &install.conf_index, members, 3);
    assert_int_equal(install.member_count, 3);
    struct store_batch *batch = store_batch_new(node->store);
    enum raft_install_log log;
    struct raft_boot *boot = NULL;
    assert_int_equal(raft_boot_install(node->store, batch, &install, &log, NULL), CQ_OK);
    assert_int_equal(store_write(node->store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
    assert_int_equal(raft_boot_read(node->store, 1, 5000, &boot, NULL), CQ_OK);
    const struct raft_group_config config = {
        .group = 1, .replica = 5000, .incarnation = 7000, .applied = install.index};
    assert_int_equal(raft_host_add(node->host, &config, &boot, NULL), CQ_OK);
    sim_node_turn(node);
    for (int i = 0; i < 100 && raft_host_match(leader->host, 1, 5000) < install.index; i++)
        story_run(sim, 50 * SIM_MS);
    assert_true(raft_host_match(leader->host, 1, 5000) >= install.index);
    left[2].role = RAFT_MEMBER_VOTER;
    reconfigured(sim, left, 3);
    assert_true(story_status(node).last_index >= install.index && story_status(node).replica == 5000);
    assert_int_equal(raft_host_members(node->host, 1, members, 3), 3);
    assert_true(members[2].replica == 5000 && members[2].role == RAFT_MEMBER_VOTER);
    sim_free(&sim);
}

static void a_replica_whose_log_lost_an_applied_entry_does_not_start(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *node = sim->nodes[0];
    struct raft_boot *boot;
    struct cq_err err;
    raft_host_remove(node->host, 1);
    assert_int_equal(raft_boot_read(node->store, 1, sim_replica(0, 0), &boot, &err), CQ_OK);
    const struct raft_group_config config = {.group = 1, .replica = sim_replica(0, 0), .applied = 2};
    assert_int_equal(raft_host_add(node->host, &config, &boot, &err), CQ_E_CORRUPT);
    assert_null(boot);
    sim_free(&sim);
}

static void a_replica_that_knows_nothing_waits_for_its_leader(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *node = sim->nodes[0];
    const struct raft_group_config config = {.group = 9, .replica = 77};
    struct raft_group_status status;
    assert_int_equal(raft_host_add(node->host, &config, NULL, NULL), CQ_OK);
    assert_int_equal(raft_host_add(node->host, &config, NULL, NULL), CQ_E_EXISTS);
    assert_int_equal(raft_host_status(node->host, 9, &status), CQ_OK);
    assert_true(status.term == 0 && status.last_index == 0 && status.role == RAFT_GROUP_FOLLOWER);
    assert_int_equal(raft_host_read(node->host, 9, 1), CQ_E_NOT_LEADER);
    raft_host_tick(node->host, sim_node_clock(node) + 60 * SIM_S); /* and does not stand for election */
    assert_int_equal(raft_host_status(node->host, 9, &status), CQ_OK);
    assert_true(status.term == 0);
    raft_host_remove(node->host, 9);
    assert_int_equal(raft_host_status(node->host, 9, &status), CQ_E_NOT_FOUND);
    sim_free(&sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replica_that_knows_nothing_waits_for_its_leader),
        cmocka_unit_test(only_one_change_at_a_time_is_taken),
        cmocka_unit_test(who_was_just_given_a_vote_uses_it_without_knowing),
        cmocka_unit_test(a_lost_replica_comes_back_under_a_new_id),
        cmocka_unit_test(a_replica_whose_log_lost_an_applied_entry_does_not_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
