/* Stories about the Raft host on several nodes, with the toy machine in the simulator. */
#include "sim_toy.h"

#include "node/replica_record.h"
#include "raft_private.h"
#include "store/store_mem.h"

#include "unit/cq_cmocka.h"

#include <stdlib.h>

/* ---- The story's world ---- */

static void nobody_committed(struct sim *sim, uint32_t group, uint64_t index, uint64_t term, struct cq_slice entry)
{
    (void)sim, (void)group, (void)index, (void)term, (void)entry;
}

static void nobody_applied(struct sim *sim, struct sim_node *node, const struct raft_commit *commit,
                           const struct machine_outcome *outcome)
{
    (void)sim, (void)node, (void)commit, (void)outcome;
}

static const struct sim_app toy_app = {sim_toy_open, nobody_committed, nobody_applied};

static struct sim *world_keeping(unsigned nodes, unsigned groups, uint64_t keep_entries)
{
    const struct sim_options options = {
        .seed = 42, .nodes = nodes, .groups = groups, .trace = getenv("SIM_TRACE"), .keep_entries = keep_entries};
    struct sim *sim = sim_new(&options, &toy_app, NULL);
    assert_non_null(sim);
    return sim;
}

static struct sim *world(unsigned nodes, unsigned groups)
{
    return world_keeping(nodes, groups, 0);
}

static void run_for(struct sim *sim, uint64_t us)
{
    sim_run(sim, sim->now + us);
    if (sim->failures)
        fail_msg("%s", sim->failure);
}

static struct sim_node *wait_leader(struct sim *sim, unsigned group)
{
    for (int i = 0; i < 100; i++) {
        run_for(sim, 100 * SIM_MS);
        struct sim_node *leader = sim_leader(sim, group);
        struct raft_group_status status;
        if (leader && raft_host_status(leader->host, group + 1, &status) == CQ_OK && status.has_leader)
            return leader;
    }
    fail_msg("no leader in 10 seconds");
    return NULL;
}

struct result {
    bool done;
    enum cq_rc rc;
    uint64_t index;
};

static void note_result(struct sim *sim, struct sim_node *node, void *arg, enum cq_rc rc, uint64_t index,
                        const struct machine_outcome *outcome)
{
    (void)sim, (void)node, (void)outcome;
    *(struct result *)arg = (struct result){true, rc, index};
}

static enum cq_rc propose(struct sim_node *node, unsigned group, uint64_t number, uint32_t chunk, struct result *result)
{
    struct sim_toy_entry entry;
    sim_toy_entry(group, number, chunk, &entry);
    *result = (struct result){0};
    enum cq_rc rc = sim_node_propose(node, &entry.proposal, note_result, result, NULL);
    sim_toy_release(&entry);
    sim_node_turn(node);
    return rc;
}

/* Appends the number and waits for it. */
static void append(struct sim *sim, struct sim_node *node, unsigned group, uint64_t number, uint32_t chunk)
{
    struct result result;
    assert_int_equal(propose(node, group, number, chunk, &result), CQ_OK);
    for (int i = 0; i < 1000 && !result.done; i++)
        run_for(sim, 5 * SIM_MS);
    assert_true(result.done);
    assert_int_equal(result.rc, CQ_OK);
}

static void end(struct sim *sim)
{
    sim_net_heal(sim);
    for (unsigned i = 0; i < sim->options.nodes; i++) {
        if (!sim_node_up(sim->nodes[i]))
            sim_node_start(sim->nodes[i]);
    }
    run_for(sim, 8 * SIM_S);
    sim_check_end(sim);
    if (sim->failures)
        fail_msg("%s", sim->failure);
    sim_free(&sim);
}

static void assert_numbers(const struct sim_node *node, unsigned group, uint64_t first, uint64_t count)
{
    const struct machine *machine = node->groups[group].machine;
    assert_int_equal(sim_toy_count(machine), count);
    for (uint64_t i = 0; i < count; i++)
        assert_true(sim_toy_at(machine, i) == first + i);
}

/* ---- Stories ---- */

static void three_nodes_elect_one_leader_and_replicate(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct sim_node *leader = wait_leader(sim, 0);
    for (uint64_t i = 1; i <= 20; i++)
        append(sim, leader, 0, i, i % 3 == 0 ? 5000 : 0);
    run_for(sim, 500 * SIM_MS);
    for (unsigned i = 0; i < 3; i++)
        assert_numbers(sim->nodes[i], 0, 1, 20);
    end(sim);
}

static void a_follower_refuses_proposals_and_names_the_leader(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct sim_node *leader = wait_leader(sim, 0);
    struct sim_node *other = sim->nodes[(leader->index + 1) % 3];
    struct result result;
    struct raft_node hint;
    run_for(sim, 200 * SIM_MS);
    assert_int_equal(propose(other, 0, 1, 0, &result), CQ_E_NOT_LEADER);
    assert_true(raft_host_leader(other->host, 1, &hint) && raft_node_eq(&hint, &leader->id));
    assert_int_equal(sim_node_read(other, 0, note_result, &result, NULL), CQ_E_NOT_LEADER);
    end(sim);
}

static void acknowledged_entries_survive_the_leaders_power_cut(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    for (uint64_t round = 0; round < 6; round++) {
        struct sim_node *leader = wait_leader(sim, 0);
        for (uint64_t i = 1; i <= 10; i++)
            append(sim, leader, 0, round * 10 + i, 300);
        sim_node_crash(leader, true);
        run_for(sim, 3 * SIM_S);
        sim_node_start(leader);
    }
    run_for(sim, 3 * SIM_S);
    for (unsigned i = 0; i < 3; i++)
        assert_numbers(sim->nodes[i], 0, 1, 60);
    end(sim);
}

static void all_nodes_lose_power_at_once_and_nothing_acknowledged_is_lost(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    for (uint64_t round = 0; round < 5; round++) {
        struct sim_node *leader = wait_leader(sim, 0);
        for (uint64_t i = 1; i <= 10; i++)
            append(sim, leader, 0, round * 10 + i, 300);
        for (unsigned i = 0; i < 3; i++)
            sim_node_crash(sim->nodes[i], true);
        for (unsigned i = 0; i < 3; i++)
            sim_node_start(sim->nodes[i]);
    }
    run_for(sim, 4 * SIM_S);
    for (unsigned i = 0; i < 3; i++)
        assert_numbers(sim->nodes[i], 0, 1, 50);
    end(sim);
}

static void a_dead_leaders_stand_in_takes_over_within_a_heartbeat_or_two(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct sim_node *leader = wait_leader(sim, 0);
    run_for(sim, 2 * SIM_S);
    sim_node_crash(leader, false);
    run_for(sim, 300 * SIM_MS); /* an election time-out is at least 1,000 */
    assert_non_null(sim_leader(sim, 0));
    end(sim);
}

static void a_leader_without_its_majority_confirms_no_read(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct sim_node *leader = wait_leader(sim, 0);
    struct result result = {0};
    append(sim, leader, 0, 1, 0);
    assert_int_equal(sim_node_read(leader, 0, note_result, &result, NULL), CQ_OK);
    sim_node_turn(leader);
    run_for(sim, 50 * SIM_MS);
    assert_true(result.done && result.rc == CQ_OK && result.index >= 2);
    for (unsigned i = 0; i < 3; i++) {
        sim_net_block(sim, leader->index, i, true);
        sim_net_block(sim, i, leader->index, true);
    }
    result = (struct result){0};
    assert_int_equal(sim_node_read(leader, 0, note_result, &result, NULL), CQ_OK);
    sim_node_turn(leader);
    run_for(sim, 2500 * SIM_MS);
    assert_true(result.done && result.rc != CQ_OK);
    end(sim);
}

static size_t asked_in(const struct raft_group *group, uint64_t round)
{
    size_t count = 0;
    for (size_t i = 0; i < group->stream_count; i++)
        count += group->streams[i].asked_round == round;
    return count;
}

static void a_read_asks_as_many_voters_as_a_majority_needs_and_now_and_then_all(void **state)
{
    (void)state;
    for (unsigned nodes = 1; nodes <= 5; nodes++) {
        struct sim *sim = world(nodes, 1);
        struct sim_node *leader = wait_leader(sim, 0);
        const struct raft_group *group = raft_host_find(leader->host, 1);
        size_t rounds_of_all = 0;
        append(sim, leader, 0, 1, 0);
        for (unsigned i = 0; i < 3 * RAFT_READ_ALL_EVERY; i++) {
            struct result result = {0};
            assert_int_equal(sim_node_read(leader, 0, note_result, &result, NULL), CQ_OK);
            sim_node_turn(leader);
            bool all = leader->host->round % RAFT_READ_ALL_EVERY == 1;
            assert_int_equal(asked_in(group, leader->host->round), all ? nodes - 1 : nodes / 2);
            rounds_of_all += all;
            run_for(sim, 50 * SIM_MS);
            assert_true(result.done && result.rc == CQ_OK);
        }
        assert_int_equal(rounds_of_all, 3);
        end(sim);
    }
}

static void read_within(struct sim *sim, struct sim_node *leader, uint64_t us)
{
    struct result result = {0};
    assert_int_equal(sim_node_read(leader, 0, note_result, &result, NULL), CQ_OK);
    sim_node_turn(leader);
    run_for(sim, us);
    assert_true(result.done && result.rc == CQ_OK);
}

/* The node that is asked first falls silent: only the first read waits for it. */
static void a_follower_that_does_not_answer_holds_up_one_read_for_a_moment_and_no_other(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct sim_node *leader = wait_leader(sim, 0);
    append(sim, leader, 0, 1, 0);
    for (unsigned i = 0; i < RAFT_READ_ALL_EVERY + 2; i++)
        read_within(sim, leader, 10 * SIM_MS);
    for (unsigned i = 0; i < 3; i++) {
        if (raft_node_eq(&sim->nodes[i]->host->self, &leader->host->quickest->node))
            sim_net_block(sim, i, leader->index, true);
    }
    struct result result = {0};
    assert_int_equal(sim_node_read(leader, 0, note_result, &result, NULL), CQ_OK);
    sim_node_turn(leader);
    run_for(sim, (RAFT_READ_HEDGE_MS - RAFT_TICK_MS) * SIM_MS);
    assert_false(result.done);
    run_for(sim, 3 * RAFT_TICK_MS * SIM_MS);
    assert_true(result.done && result.rc == CQ_OK);
    for (unsigned i = 0; i < 3 * RAFT_READ_ALL_EVERY; i++)
        read_within(sim, leader, 10 * SIM_MS);
    end(sim);
}

static void a_deposed_leaders_tail_is_overwritten_and_its_outcome_is_unknown(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct sim_node *old = wait_leader(sim, 0);
    struct result lost[5];
    append(sim, old, 0, 1, 100);
    for (unsigned i = 0; i < 3; i++)
        sim_net_block(sim, old->index, i, true);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(propose(old, 0, 900 + i, 4000, &lost[i]), CQ_OK);
    run_for(sim, 4 * SIM_S);
    struct sim_node *leader = sim_leader(sim, 0);
    assert_true(leader && leader != old);
    append(sim, leader, 0, 2, 100);
    for (unsigned i = 0; i < 5; i++)
        assert_true(lost[i].done && lost[i].rc == CQ_E_UNKNOWN_OUTCOME);
    sim_net_heal(sim);
    run_for(sim, 3 * SIM_S);
    for (unsigned i = 0; i < 3; i++)
        assert_numbers(sim->nodes[i], 0, 1, 2);
    sim_node_crash(old, true);
    sim_node_start(old);
    end(sim);
}

static void a_lagging_follower_is_served_from_the_store_and_then_the_log_is_trimmed(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct sim_node *leader = wait_leader(sim, 0);
    struct sim_node *slow = sim->nodes[(leader->index + 1) % 3];
    struct raft_group_status status;
    sim_node_crash(slow, true);
    for (uint64_t i = 1; i <= 300; i++)
        append(sim, leader, 0, i, 2000); /* ten times what the cache keeps */
    assert_int_equal(raft_host_status(leader->host, 1, &status), CQ_OK);
    assert_true(status.first_index == 1 && status.slowest_lag >= 300); /* not past what the slow one has */
    sim_node_start(slow);
    run_for(sim, 3 * SIM_S);
    assert_numbers(slow, 0, 1, 300);
    append(sim, leader, 0, 301, 0);
    run_for(sim, SIM_S);
    append(sim, leader, 0, 302, 0);
    run_for(sim, SIM_S);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(raft_host_status(sim->nodes[i]->host, 1, &status), CQ_OK);
        assert_true(status.first_index > 200);
        assert_true(sim->nodes[i]->groups[0].first_index == status.first_index);
    }
    sim_node_crash(slow, false);
    sim_node_start(slow); /* from its marker */
    end(sim);
}

/* ---- Members that the log was not kept for ---- */

static struct raft_group_status status_of(struct sim_node *node)
{
    struct raft_group_status status;
    assert_int_equal(raft_host_status(node->host, 1, &status), CQ_OK);
    return status;
}

/* Appends until the leader's log begins after what the stopped node has. */
static struct sim_node *leave_behind(struct sim *sim, struct sim_node **leader_r)
{
    struct sim_node *leader = wait_leader(sim, 0), *slow = sim->nodes[(leader->index + 1) % 3];
    append(sim, leader, 0, 1, 0);
    run_for(sim, SIM_S);
    sim_node_crash(slow, true);
    for (uint64_t i = 2; i <= 400; i++)
        append(sim, leader, 0, i, 0);
    run_for(sim, SIM_S);
    assert_true(status_of(leader).first_index > 100);
    *leader_r = leader;
    return slow;
}

static void copy_family(struct store *from, struct store *to, enum store_family family)
{
    struct store_batch *batch = store_batch_new(to);
    struct store_iter *iter = store_iter_new(from, NULL, family, CQ_SLICE_NONE, CQ_SLICE_NONE);
    while (store_iter_next(iter) == CQ_OK)
        store_batch_put(batch, family, store_iter_key(iter), store_iter_value(iter));
    store_iter_free(&iter);
    assert_int_equal(store_write(to, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
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
    copy_family(leader->store, to->store, STORE_STATE);
    copy_family(leader->store, to->store, STORE_LOCAL);
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
    struct sim *sim = world_keeping(3, 1, 100);
    struct sim_node *leader, *slow = leave_behind(sim, &leader);
    uint64_t term = status_of(leader).term;
    sim_node_start(slow);
    run_for(sim, 3 * SIM_S);
    assert_true(slow->groups[0].behind > 0);
    assert_int_equal(status_of(leader).behind, 1);
    assert_numbers(slow, 0, 1, 1);
    for (uint64_t i = 401; i <= 410; i++) /* the others go on, under the same leader */
        append(sim, leader, 0, i, 0);
    assert_true(status_of(leader).term == term);
    sim_node_crash(slow, true);
    assert_int_equal(copy_state(leader, slow), RAFT_INSTALL_REPLACED);
    sim_node_start(slow);
    run_for(sim, SIM_S);
    assert_int_equal(slow->groups[0].behind, 0); /* although its leader thought so at first */
    end(sim);
}

static void a_copied_state_joins_where_it_stands(void **state)
{
    (void)state;
    struct sim *sim = world_keeping(3, 1, 100);
    struct sim_node *leader, *slow = leave_behind(sim, &leader);
    copy_state(leader, slow);
    sim_node_start(slow);
    append(sim, leader, 0, 401, 3000);
    run_for(sim, 2 * SIM_S);
    assert_numbers(slow, 0, 1, 401);
    assert_int_equal(slow->groups[0].behind, 0);
    assert_true(status_of(slow).first_index > 300 && status_of(slow).last_index == status_of(leader).last_index);
    sim_node_crash(leader, true); /* and counts: with the third one away it is half of the majority */
    struct sim_node *third = sim->nodes[3 - leader->index - slow->index];
    struct sim_node *next = wait_leader(sim, 0);
    append(sim, next, 0, 402, 0);
    assert_true(next == slow || next == third);
    end(sim);
}

static void a_hold_keeps_the_log_until_the_copied_replica_has_joined(void **state)
{
    (void)state;
    struct sim *sim = world_keeping(3, 1, 100);
    struct sim_node *leader, *slow = leave_behind(sim, &leader);
    uint64_t replica = sim_replica(0, slow->index), index = leader->groups[0].written_applied;
    assert_int_equal(raft_host_hold(leader->host, 1, replica, 5), CQ_E_BEHIND);
    assert_int_equal(raft_host_hold(leader->host, 1, replica, index), CQ_OK);
    copy_state(leader, slow);
    for (uint64_t i = 401; i <= 800; i++)
        append(sim, leader, 0, i, 0);
    run_for(sim, SIM_S);
    assert_true(status_of(leader).first_index <= index + 1 && status_of(leader).holds == 1);
    sim_node_start(slow);
    run_for(sim, 2 * SIM_S);
    assert_numbers(slow, 0, 1, 800);
    append(sim, leader, 0, 801, 0);
    run_for(sim, SIM_S);
    assert_true(status_of(leader).holds == 0 && status_of(leader).first_index > 700);
    end(sim);
}

static void a_released_hold_lets_the_log_go(void **state)
{
    (void)state;
    struct sim *sim = world_keeping(3, 1, 100);
    struct sim_node *leader, *slow = leave_behind(sim, &leader);
    uint64_t replica = sim_replica(0, slow->index), index = leader->groups[0].written_applied;
    assert_int_equal(raft_host_hold(leader->host, 1, replica, index), CQ_OK);
    for (uint64_t i = 401; i <= 700; i++)
        append(sim, leader, 0, i, 0);
    raft_host_release(leader->host, 1, replica);
    append(sim, leader, 0, 701, 0);
    run_for(sim, SIM_S);
    assert_true(status_of(leader).first_index > index + 1);
    copy_state(leader, slow);
    sim_node_start(slow);
    end(sim);
}

/* A replica whose state alone was bad: what it acknowledged after the copied state stays. */
static void a_log_that_has_the_copied_entry_stays(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct sim_node *leader = wait_leader(sim, 0), *node = sim->nodes[(leader->index + 1) % 3];
    for (uint64_t i = 1; i <= 20; i++)
        append(sim, leader, 0, i, 0);
    run_for(sim, SIM_S);
    sim_node_crash(node, true);
    uint64_t last = status_of(leader).last_index;
    assert_int_equal(copy_state(leader, node), RAFT_INSTALL_KEPT);
    sim_node_start(node);
    assert_true(status_of(node).first_index == 1 && status_of(node).last_index == last);
    run_for(sim, SIM_S);
    assert_numbers(node, 0, 1, 20);
    end(sim);
}

static void a_state_older_than_the_log_is_refused(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct sim_node *leader = wait_leader(sim, 0);
    for (uint64_t i = 1; i <= 300; i++)
        append(sim, leader, 0, i, 0);
    run_for(sim, SIM_S);
    struct raft_member members[3];
    struct raft_install install = {.group = 1, .replica = sim_replica(0, 0), .index = 5, .term = 2, .members = members};
    struct store_batch *batch = store_batch_new(sim->nodes[0]->store);
    enum raft_install_log log;
    struct cq_err err;
    install.member_count = raft_host_members(leader->host, 1, members, 3);
    assert_true(status_of(sim->nodes[0]).first_index > 100);
    assert_int_equal(raft_boot_install(sim->nodes[0]->store, batch, &install, &log, &err), CQ_E_BEHIND);
    install.index = 0;
    assert_int_equal(raft_boot_install(sim->nodes[0]->store, batch, &install, &log, &err), CQ_E_INVALID);
    store_batch_free(&batch);
    end(sim);
}

/* ---- Other members ---- */

static void reconfigured(struct sim *sim, const struct raft_member *members, size_t count)
{
    enum cq_rc rc = CQ_E_CONFLICT;
    for (int i = 0; i < 100 && rc != CQ_OK; i++) {
        struct sim_node *leader = wait_leader(sim, 0);
        rc = raft_host_reconfigure(leader->host, 1, members, count);
        sim_node_turn(leader);
        run_for(sim, 50 * SIM_MS);
    }
    assert_int_equal(rc, CQ_OK);
    for (int i = 0; i < 100 && !status_of(sim_leader(sim, 0)).conf_committed; i++)
        run_for(sim, 50 * SIM_MS);
    assert_true(status_of(sim_leader(sim, 0)).conf_committed);
}

static void only_one_change_at_a_time_is_taken(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct sim_node *leader = wait_leader(sim, 0);
    struct raft_member now[4], wrong[4];
    append(sim, leader, 0, 1, 0);
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
    run_for(sim, SIM_S);
    assert_true(status_of(leader).conf_committed);
    assert_int_equal(raft_host_members(follower->host, 1, wrong, 4), 4);
    append(sim, leader, 0, 2, 0);
    reconfigured(sim, now, 3);
    end(sim);
}

/* The leader gives a vote and dies before the one who got it hears of that: the third needs that vote. */
static void who_was_just_given_a_vote_uses_it_without_knowing(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct sim_node *leader = wait_leader(sim, 0), *given = sim->nodes[(leader->index + 1) % 3];
    struct raft_member members[3];
    append(sim, leader, 0, 1, 0);
    assert_int_equal(raft_host_members(leader->host, 1, members, 3), 3);
    members[given->index].role = RAFT_MEMBER_STANDBY;
    reconfigured(sim, members, 3);
    append(sim, leader, 0, 2, 0);
    run_for(sim, SIM_S);
    sim_net_block(sim, leader->index, given->index, true);
    members[given->index].role = RAFT_MEMBER_VOTER;
    assert_int_equal(raft_host_reconfigure(leader->host, 1, members, 3), CQ_OK);
    sim_node_turn(leader);
    run_for(sim, 100 * SIM_MS);
    assert_int_equal(raft_host_members(given->host, 1, members, 3), 3);
    assert_int_equal(members[given->index].role, RAFT_MEMBER_STANDBY); /* as far as it knows */
    sim_node_crash(leader, true);
    run_for(sim, 5 * SIM_S);
    struct sim_node *next = wait_leader(sim, 0);
    assert_true(next != leader && next != given);
    append(sim, next, 0, 3, 0);
    sim_net_heal(sim);
    sim_node_start(leader);
    end(sim);
}

/* A replica lost everything: its old id goes, its node comes back under a new one, without a vote first. */
static void a_lost_replica_comes_back_under_a_new_id(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct sim_node *leader = wait_leader(sim, 0), *node = sim->nodes[(leader->index + 1) % 3];
    struct raft_member members[3], left[3];
    size_t count = 0;
    for (uint64_t i = 1; i <= 50; i++)
        append(sim, leader, 0, i, 100);
    assert_int_equal(raft_host_members(leader->host, 1, members, 3), 3);
    raft_host_remove(node->host, 1); /* as if it had never been */
    for (size_t i = 0; i < 3; i++)
        if (!raft_node_eq(&members[i].node, &node->id))
            left[count++] = members[i];
    reconfigured(sim, left, 2);
    left[2] = (struct raft_member){.replica = 5000, .node = node->id, .role = RAFT_MEMBER_STANDBY};
    reconfigured(sim, left, 3);
    append(sim, leader, 0, 51, 0); /* two of two */
    run_for(sim, SIM_S);

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
        run_for(sim, 50 * SIM_MS);
    assert_true(raft_host_match(leader->host, 1, 5000) >= install.index);
    left[2].role = RAFT_MEMBER_VOTER;
    reconfigured(sim, left, 3);
    assert_true(status_of(node).last_index >= install.index && status_of(node).replica == 5000);
    assert_int_equal(raft_host_members(node->host, 1, members, 3), 3);
    assert_true(members[2].replica == 5000 && members[2].role == RAFT_MEMBER_VOTER);
    sim_free(&sim);
}

static void proposals_over_the_limit_are_refused_and_taken_again_later(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct sim_node *leader = wait_leader(sim, 0);
    struct result results[80];
    unsigned taken = 0;
    enum cq_rc rc = CQ_OK;
    for (; taken < 80; taken++) {
        struct sim_toy_entry entry;
        sim_toy_entry(0, taken + 1, 512u << 10, &entry);
        results[taken] = (struct result){0};
        rc = sim_node_propose(leader, &entry.proposal, note_result, &results[taken], NULL);
        sim_toy_release(&entry);
        if (rc != CQ_OK)
            break;
    }
    assert_int_equal(rc, CQ_E_OVERLOADED);
    assert_int_equal(taken, 63); /* 32 MiB, and an entry is a little more than its body */
    sim_node_turn(leader);
    run_for(sim, 2 * SIM_S);
    for (unsigned i = 0; i < taken; i++)
        assert_true(results[i].done && results[i].rc == CQ_OK);
    append(sim, leader, 0, taken + 1, 0);
    end(sim);
}

static void leadership_is_handed_over_on_request(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct sim_node *leader = wait_leader(sim, 0);
    struct sim_node *to = sim->nodes[(leader->index + 2) % 3];
    append(sim, leader, 0, 1, 0);
    assert_int_equal(raft_host_transfer(to->host, 1, &leader->id), CQ_E_NOT_LEADER);
    assert_int_equal(raft_host_transfer(leader->host, 1, &(struct raft_node){{9}}), CQ_E_NOT_FOUND);
    assert_int_equal(raft_host_transfer(leader->host, 1, &to->id), CQ_OK);
    sim_node_turn(leader);
    run_for(sim, 200 * SIM_MS);
    assert_true(sim_leader(sim, 0) == to);
    append(sim, to, 0, 2, 0);
    end(sim);
}

static void a_reluctant_node_takes_no_lead_and_stands_last(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct sim_node *leader = wait_leader(sim, 0);
    struct sim_node *to = sim->nodes[(leader->index + 1) % 3], *other = sim->nodes[(leader->index + 2) % 3];
    append(sim, leader, 0, 1, 0);
    raft_host_reluctant(to->host, true);
    assert_int_equal(raft_host_transfer(leader->host, 1, &to->id), CQ_OK);
    sim_node_turn(leader);
    run_for(sim, 3 * SIM_S);
    assert_true(sim_leader(sim, 0) == leader); /* it gave up handing over */
    append(sim, leader, 0, 2, 0);
    sim_node_crash(leader, false);
    run_for(sim, 5 * SIM_S);
    assert_true(sim_leader(sim, 0) == other);
    sim_node_start(leader);
    run_for(sim, 3 * SIM_S);
    raft_host_reluctant(leader->host, true);
    sim_node_crash(other, false);
    run_for(sim, 20 * SIM_S); /* nobody else is there: it stands all the same */
    assert_true(sim_leader(sim, 0) != NULL && sim_leader(sim, 0) != other);
    end(sim);
}

static void a_leader_that_is_silenced_is_followed_by_another(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct sim_node *leader = wait_leader(sim, 0);
    append(sim, leader, 0, 1, 0);
    raft_host_reluctant(leader->host, true);
    raft_host_silence(leader->host, 1);
    run_for(sim, 5 * SIM_S);
    struct sim_node *next = sim_leader(sim, 0);
    assert_true(next && next != leader);
    append(sim, next, 0, 2, 0);
    raft_host_reluctant(leader->host, false);
    assert_int_equal(raft_host_transfer(next->host, 1, &leader->id), CQ_OK);
    sim_node_turn(next);
    run_for(sim, 500 * SIM_MS);
    assert_true(sim_leader(sim, 0) == leader); /* silence ended with the leadership */
    append(sim, leader, 0, 3, 0);
    end(sim);
}

/* ---- Replicas of which something is damaged ---- */

static void stop_leader_and_expect(struct sim *sim, struct sim_node *leader, struct sim_node *next, uint64_t number)
{
    sim_node_crash(leader, false);
    struct sim_node *elected = wait_leader(sim, 0);
    assert_true(elected == next);
    append(sim, elected, 0, number, 700); /* the damaged one's acknowledgement is half of the majority */
    sim_node_start(leader);
    run_for(sim, 2 * SIM_S);
}

static void a_replica_that_stands_last_counts_and_does_not_lead(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct sim_node *leader = wait_leader(sim, 0), *last = sim->nodes[(leader->index + 1) % 3];
    append(sim, leader, 0, 1, 0);
    for (uint64_t i = 2; i <= 7; i++) {
        leader = wait_leader(sim, 0);
        assert_true(leader != last);
        raft_host_stand(last->host, 1, RAFT_STANDS_LAST);
        run_for(sim, SIM_S);
        stop_leader_and_expect(sim, leader, sim->nodes[3 - leader->index - last->index], i);
    }
    assert_int_equal(status_of(last).stand, RAFT_STANDS_LAST);
    assert_numbers(last, 0, 1, 7);
    end(sim);
}

static void of_two_that_stand_last_one_leads_when_the_sound_one_is_away(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct sim_node *leader = wait_leader(sim, 0);
    append(sim, leader, 0, 1, 0);
    for (unsigned i = 0; i < 3; i++)
        if (sim->nodes[i] != leader)
            raft_host_stand(sim->nodes[i]->host, 1, RAFT_STANDS_LAST);
    sim_node_crash(leader, true);
    run_for(sim, 5 * SIM_S);
    assert_null(sim_leader(sim, 0));
    run_for(sim, 10 * SIM_S);
    struct sim_node *last = wait_leader(sim, 0);
    append(sim, last, 0, 2, 900);
    assert_int_equal(raft_host_transfer(last->host, 1, NULL), CQ_E_NOT_FOUND); /* the other one is no better */
    sim_node_start(leader);
    run_for(sim, SIM_S);
    assert_int_equal(raft_host_transfer(last->host, 1, NULL), CQ_OK);
    sim_node_turn(last);
    run_for(sim, 500 * SIM_MS);
    assert_true(sim_leader(sim, 0) == leader);
    end(sim);
}

static void a_silent_replica_votes_and_acknowledges_and_applies_nothing(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct sim_node *leader = wait_leader(sim, 0), *silent = sim->nodes[(leader->index + 1) % 3];
    struct sim_node *sound = sim->nodes[3 - leader->index - silent->index];
    append(sim, leader, 0, 1, 0);
    run_for(sim, SIM_S);
    raft_host_stand(silent->host, 1, RAFT_SILENT);
    sim_node_crash(leader, true);
    assert_true(wait_leader(sim, 0) == sound);
    for (uint64_t i = 2; i <= 200; i++)
        append(sim, sound, 0, i, 0);
    run_for(sim, SIM_S);
    assert_numbers(silent, 0, 1, 1);
    assert_true(status_of(silent).first_index == 1 && status_of(silent).last_index == status_of(sound).last_index);
    sim_node_crash(sound, true); /* alone it is nobody's leader, however long that lasts */
    run_for(sim, 30 * SIM_S);
    assert_null(sim_leader(sim, 0));
    sim_node_crash(silent, true); /* its log is whole: as a sound one it has everything */
    sim_node_start(silent);
    sim_node_start(leader);
    append(sim, wait_leader(sim, 0), 0, 201, 0);
    end(sim);
}

static void a_silent_leader_refuses_and_hands_over(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct sim_node *leader = wait_leader(sim, 0);
    struct result results[8], read = {0};
    append(sim, leader, 0, 1, 0);
    for (uint64_t i = 0; i < 8; i++)
        assert_int_equal(propose(leader, 0, 2 + i, 100, &results[i]), CQ_OK);
    assert_int_equal(sim_node_read(leader, 0, note_result, &read, NULL), CQ_OK);
    raft_host_stand(leader->host, 1, RAFT_SILENT);
    struct result refused;
    assert_int_equal(propose(leader, 0, 99, 0, &refused), CQ_E_NOT_LEADER);
    assert_int_equal(raft_host_transfer(leader->host, 1, NULL), CQ_OK);
    sim_node_turn(leader);
    run_for(sim, SIM_S);
    for (unsigned i = 0; i < 8; i++) /* what was under way is answered, in one way or the other */
        assert_true(results[i].done && (results[i].rc == CQ_OK || results[i].rc == CQ_E_UNKNOWN_OUTCOME));
    assert_true(read.done && read.rc == CQ_E_NOT_LEADER);
    struct sim_node *next = wait_leader(sim, 0);
    assert_true(next != leader);
    append(sim, next, 0, 99, 0);
    sim_node_crash(leader, true);
    sim_node_start(leader);
    end(sim);
}

/* The entry is right, its body is not: nobody has lied, and somebody else has it. */
static void a_body_that_does_not_read_is_told_and_stops_nobody(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct sim_node *leader = wait_leader(sim, 0), *slow = sim->nodes[(leader->index + 1) % 3];
    struct sim_node *third = sim->nodes[3 - leader->index - slow->index];
    append(sim, leader, 0, 1, 0);
    sim_node_crash(slow, true);
    for (uint64_t i = 2; i <= 60; i++)
        append(sim, leader, 0, i, 8000); /* more than the cache keeps */
    struct store_batch *batch = store_batch_new(leader->store);
    struct store_iter *iter = store_iter_new(leader->store, NULL, STORE_CHUNK, CQ_SLICE_NONE, CQ_SLICE_NONE);
    assert_int_equal(store_iter_next(iter), CQ_OK);
    store_batch_put(batch, STORE_CHUNK, store_iter_key(iter), CQ_SLICE("not what was written"));
    store_iter_free(&iter);
    assert_int_equal(store_write(leader->store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
    sim_node_start(slow);
    run_for(sim, 2 * SIM_S);
    assert_true(leader->groups[0].damaged > 0 && !status_of(leader).failed);
    assert_true(sim_toy_count(slow->groups[0].machine) < 60);
    append(sim, leader, 0, 61, 0); /* the others go on */
    raft_host_stand(leader->host, 1, RAFT_STANDS_LAST);
    assert_int_equal(raft_host_transfer(leader->host, 1, NULL), CQ_OK);
    sim_node_turn(leader);
    run_for(sim, 2 * SIM_S);
    assert_true(sim_leader(sim, 0) == third);
    assert_numbers(slow, 0, 1, 61);
    end(sim);
}

/* ---- A forced recovery ---- */

static void copy_store(struct store *from, struct store *to)
{
    struct store_batch *batch = store_batch_new(to);
    for (int f = 0; f < STORE_FAMILY_COUNT; f++) {
        struct store_iter *iter = store_iter_new(to, NULL, (enum store_family)f, CQ_SLICE_NONE, CQ_SLICE_NONE);
        while (store_iter_next(iter) == CQ_OK)
            store_batch_delete(batch, (enum store_family)f, store_iter_key(iter));
        store_iter_free(&iter);
    }
    assert_int_equal(store_write(to, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
    for (int f = 0; f < STORE_FAMILY_COUNT; f++)
        copy_family(from, to, (enum store_family)f);
}

static void recover(struct sim_node *node, struct store *older)
{
    copy_store(older, node->store);
    struct store_batch *batch = store_batch_new(node->store);
    assert_int_equal(raft_boot_recover(node->store, batch, 1, sim_replica(0, node->index), NULL), CQ_OK);
    assert_int_equal(store_write(node->store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
    sim_node_start(node);
    raft_host_stand(node->host, 1, RAFT_STANDS_LAST);
}

static void of_two_that_forgot_and_one_that_did_not_that_one_leads(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct store *older[3];
    struct sim_node *leader = wait_leader(sim, 0);
    for (uint64_t i = 1; i <= 10; i++)
        append(sim, leader, 0, i, 300);
    run_for(sim, SIM_S);
    struct sim_node *knows = sim->nodes[(leader->index + 1) % 3];
    for (unsigned i = 0; i < 3; i++) {
        older[i] = store_mem_new();
        copy_store(sim->nodes[i]->store, older[i]);
    }
    for (uint64_t i = 11; i <= 30; i++)
        append(sim, leader, 0, i, 300);
    run_for(sim, SIM_S);
    for (unsigned i = 0; i < 3; i++)
        if (sim->nodes[i] != knows)
            sim_node_crash(sim->nodes[i], true);
    run_for(sim, 10 * SIM_S); /* it stands, and stands */
    for (unsigned i = 0; i < 3; i++)
        if (sim->nodes[i] != knows)
            recover(sim->nodes[i], older[i]);
    struct sim_node *next = wait_leader(sim, 0);
    assert_true(next == knows);
    append(sim, next, 0, 31, 300);
    run_for(sim, 2 * SIM_S);
    for (unsigned i = 0; i < 3; i++) {
        assert_numbers(sim->nodes[i], 0, 1, 31);
        store_close(&older[i]);
    }
    end(sim);
}

static void many_groups_share_nodes_and_idle_cheaply(void **state)
{
    (void)state;
    struct sim *sim = world(3, SIM_GROUPS_MAX);
    for (unsigned g = 0; g < SIM_GROUPS_MAX; g++)
        append(sim, wait_leader(sim, g), g, 100 + g, 10);
    run_for(sim, SIM_S);
    for (unsigned g = 0; g < SIM_GROUPS_MAX; g++)
        assert_numbers(sim->nodes[0], g, 100 + g, 1);
    end(sim);
}

/* What a node says next on its control connection. */
static struct raft_wire said(struct sim_node *node, const struct sim_node *to)
{
    struct raft_frame frame = raft_wire_finish(&raft_peer_get(node->host, &to->id)->control);
    struct raft_bytes *bytes = raft_bytes_copy(frame.head);
    struct cq_pool *pool = cq_pool_new(1024);
    struct raft_wire_in in;
    assert_int_equal(raft_wire_decode(bytes, pool, &in, NULL), CQ_OK);
    assert_true(in.count > 0);
    struct raft_wire last = in.messages[in.count - 1];
    raft_wire_release(&in);
    raft_bytes_unref(&bytes);
    cq_pool_free(&pool);
    return last;
}

static void hear_append(struct sim_node *node, const struct sim_node *from, uint64_t term, uint64_t previous)
{
    const struct raft_wire append = {.type = RAFT_WIRE_APPEND,
                                     .group = 1,
                                     .from = sim_replica(0, from->index),
                                     .to = sim_replica(0, node->index),
                                     .term = term,
                                     .index = previous,
                                     .index_term = previous ? 1 : 0};
    struct raft_wire_out out;
    raft_wire_out_init(&out);
    raft_wire_add(&out, &append);
    struct raft_bytes *bytes = raft_bytes_copy(raft_wire_finish(&out).head);
    assert_int_equal(raft_host_receive(node->host, &from->id, bytes, NULL), CQ_OK);
    raft_bytes_unref(&bytes);
    raft_wire_out_fini(&out);
}

/* libraft alone would answer with whatever is on its stack, and to a previous index of 0 with a success. */
static void an_append_of_an_older_term_is_refused_with_what_the_log_has(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
    struct sim_node *first = wait_leader(sim, 0);
    for (uint64_t n = 1; n <= 5; n++)
        append(sim, first, 0, n, 0);
    sim_node_crash(first, false);
    struct sim_node *leader = wait_leader(sim, 0);
    run_for(sim, SIM_S);
    struct sim_node *follower = sim->nodes[3 - first->index - leader->index];
    const struct raft_group *group = raft_host_find(follower->host, 1);
    uint64_t term = raft_current_term(&group->raft), last = raft_log_last(&group->log);
    assert_true(term > 1 && last >= 6);
    const struct {
        uint64_t previous, rejected, index;
    } cases[] = {{0, 1, 0}, {1, 1, 0}, {4, 4, 3}, {last, last, last - 1}, {last + 50, last + 50, last}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hear_append(follower, leader, term - 1, cases[i].previous);
        struct raft_wire answer = said(follower, leader);
        assert_int_equal(answer.type, RAFT_WIRE_APPEND_RESULT);
        assert_true(answer.term == term && answer.rejected == cases[i].rejected && answer.index == cases[i].index);
        assert_true(raft_current_term(&group->raft) == term);
    }
    end(sim);
}

static void the_story_of_a_seed_is_always_the_same(void **state)
{
    (void)state;
    uint64_t prints[2];
    for (unsigned i = 0; i < 2; i++) {
        struct sim *sim = world(3, 2);
        struct sim_node *leader = wait_leader(sim, 0);
        for (uint64_t n = 1; n < 10; n++)
            append(sim, leader, 0, n, 100);
        sim_node_crash(leader, true);
        run_for(sim, 3 * SIM_S);
        prints[i] = sim->fingerprint;
        end(sim);
    }
    assert_true(prints[0] == prints[1]);
}

static void a_replica_whose_log_lost_an_applied_entry_does_not_start(void **state)
{
    (void)state;
    struct sim *sim = world(3, 1);
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
    struct sim *sim = world(3, 1);
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
        cmocka_unit_test(three_nodes_elect_one_leader_and_replicate),
        cmocka_unit_test(a_follower_refuses_proposals_and_names_the_leader),
        cmocka_unit_test(acknowledged_entries_survive_the_leaders_power_cut),
        cmocka_unit_test(all_nodes_lose_power_at_once_and_nothing_acknowledged_is_lost),
        cmocka_unit_test(a_dead_leaders_stand_in_takes_over_within_a_heartbeat_or_two),
        cmocka_unit_test(a_leader_without_its_majority_confirms_no_read),
        cmocka_unit_test(a_read_asks_as_many_voters_as_a_majority_needs_and_now_and_then_all),
        cmocka_unit_test(a_follower_that_does_not_answer_holds_up_one_read_for_a_moment_and_no_other),
        cmocka_unit_test(a_deposed_leaders_tail_is_overwritten_and_its_outcome_is_unknown),
        cmocka_unit_test(a_lagging_follower_is_served_from_the_store_and_then_the_log_is_trimmed),
        cmocka_unit_test(a_member_beyond_the_bound_is_left_behind_and_told_so),
        cmocka_unit_test(a_copied_state_joins_where_it_stands),
        cmocka_unit_test(a_hold_keeps_the_log_until_the_copied_replica_has_joined),
        cmocka_unit_test(a_released_hold_lets_the_log_go),
        cmocka_unit_test(a_log_that_has_the_copied_entry_stays),
        cmocka_unit_test(a_state_older_than_the_log_is_refused),
        cmocka_unit_test(only_one_change_at_a_time_is_taken),
        cmocka_unit_test(who_was_just_given_a_vote_uses_it_without_knowing),
        cmocka_unit_test(a_lost_replica_comes_back_under_a_new_id),
        cmocka_unit_test(proposals_over_the_limit_are_refused_and_taken_again_later),
        cmocka_unit_test(leadership_is_handed_over_on_request),
        cmocka_unit_test(a_reluctant_node_takes_no_lead_and_stands_last),
        cmocka_unit_test(a_leader_that_is_silenced_is_followed_by_another),
        cmocka_unit_test(a_replica_that_stands_last_counts_and_does_not_lead),
        cmocka_unit_test(of_two_that_stand_last_one_leads_when_the_sound_one_is_away),
        cmocka_unit_test(a_silent_replica_votes_and_acknowledges_and_applies_nothing),
        cmocka_unit_test(a_silent_leader_refuses_and_hands_over),
        cmocka_unit_test(a_body_that_does_not_read_is_told_and_stops_nobody),
        cmocka_unit_test(of_two_that_forgot_and_one_that_did_not_that_one_leads),
        cmocka_unit_test(many_groups_share_nodes_and_idle_cheaply),
        cmocka_unit_test(an_append_of_an_older_term_is_refused_with_what_the_log_has),
        cmocka_unit_test(the_story_of_a_seed_is_always_the_same),
        cmocka_unit_test(a_replica_whose_log_lost_an_applied_entry_does_not_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
