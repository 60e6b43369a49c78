/* Stories about the Raft host on several nodes: entries are replicated, refused, overwritten; reads are confirmed. Of
 * who leads, of logs and their trimming, and of members there are stories beside this. */
#include "raft_story.h"

#include "raft_private.h"

static void three_nodes_elect_one_leader_and_replicate(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *leader = story_leader(sim, 0);
    for (uint64_t i = 1; i <= 20; i++)
        story_append(sim, leader, 0, i, i % 3 == 0 ? 5000 : 0);
    story_run(sim, 500 * SIM_MS);
    for (unsigned i = 0; i < 3; i++)
        story_numbers(sim->nodes[i], 0, 1, 20);
    story_end(sim);
}

static void a_follower_refuses_proposals_and_names_the_leader(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *leader = story_leader(sim, 0);
    struct sim_node *other = sim->nodes[(leader->index + 1) % 3];
    struct story_result result;
    struct raft_node hint;
    story_run(sim, 200 * SIM_MS);
    assert_int_equal(story_propose(other, 0, 1, 0, &result), CQ_E_NOT_LEADER);
    assert_true(raft_host_leader(other->host, 1, &hint) && raft_node_eq(&hint, &leader->id));
    assert_int_equal(sim_node_read(other, 0, story_note, &result, NULL), CQ_E_NOT_LEADER);
    story_end(sim);
}

static void acknowledged_entries_survive_the_leaders_power_cut(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    for (uint64_t round = 0; round < 6; round++) {
        struct sim_node *leader = story_leader(sim, 0);
        for (uint64_t i = 1; i <= 10; i++)
            story_append(sim, leader, 0, round * 10 + i, 300);
        sim_node_crash(leader, true);
        story_run(sim, 3 * SIM_S);
        sim_node_start(leader);
    }
    story_run(sim, 3 * SIM_S);
    for (unsigned i = 0; i < 3; i++)
        story_numbers(sim->nodes[i], 0, 1, 60);
    story_end(sim);
}

static void all_nodes_lose_power_at_once_and_nothing_acknowledged_is_lost(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    for (uint64_t round = 0; round < 5; round++) {
        struct sim_node *leader = story_leader(sim, 0);
        for (uint64_t i = 1; i <= 10; i++)
            story_append(sim, leader, 0, round * 10 + i, 300);
        for (unsigned i = 0; i < 3; i++)
            sim_node_crash(sim->nodes[i], true);
        for (unsigned i = 0; i < 3; i++)
            sim_node_start(sim->nodes[i]);
    }
    story_run(sim, 4 * SIM_S);
    for (unsigned i = 0; i < 3; i++)
        story_numbers(sim->nodes[i], 0, 1, 50);
    story_end(sim);
}

static void a_leader_without_its_majority_confirms_no_read(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *leader = story_leader(sim, 0);
    struct story_result result = {0};
    story_append(sim, leader, 0, 1, 0);
    assert_int_equal(sim_node_read(leader, 0, story_note, &result, NULL), CQ_OK);
    sim_node_turn(leader);
    story_run(sim, 50 * SIM_MS);
    assert_true(result.done && result.rc == CQ_OK && result.index >= 2);
    for (unsigned i = 0; i < 3; i++) {
        sim_net_block(sim, leader->index, i, true);
        sim_net_block(sim, i, leader->index, true);
    }
    result = (struct story_result){0};
    assert_int_equal(sim_node_read(leader, 0, story_note, &result, NULL), CQ_OK);
    sim_node_turn(leader);
    story_run(sim, 2500 * SIM_MS);
    assert_true(result.done && result.rc != CQ_OK);
    story_end(sim);
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
        struct sim *sim = story_begin(nodes, 1);
        struct sim_node *leader = story_leader(sim, 0);
        const struct raft_group *group = raft_host_find(leader->host, 1);
        size_t rounds_of_all = 0;
        story_append(sim, leader, 0, 1, 0);
        for (unsigned i = 0; i < 3 * RAFT_READ_ALL_EVERY; i++) {
            struct story_result result = {0};
            assert_int_equal(sim_node_read(leader, 0, story_note, &result, NULL), CQ_OK);
            sim_node_turn(leader);
            bool all = leader->host->round % RAFT_READ_ALL_EVERY == 1;
            assert_int_equal(asked_in(group, leader->host->round), all ? nodes - 1 : nodes / 2);
            rounds_of_all += all;
            story_run(sim, 50 * SIM_MS);
            assert_true(result.done && result.rc == CQ_OK);
        }
        assert_int_equal(rounds_of_all, 3);
        story_end(sim);
    }
}

static void read_within(struct sim *sim, struct sim_node *leader, uint64_t us)
{
    struct story_result result = {0};
    assert_int_equal(sim_node_read(leader, 0, story_note, &result, NULL), CQ_OK);
    sim_node_turn(leader);
    story_run(sim, us);
    assert_true(result.done && result.rc == CQ_OK);
}

/* The node that is asked first falls silent: only the first read waits for it. */
static void a_follower_that_does_not_answer_holds_up_one_read_for_a_moment_and_no_other(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *leader = story_leader(sim, 0);
    story_append(sim, leader, 0, 1, 0);
    for (unsigned i = 0; i < RAFT_READ_ALL_EVERY + 2; i++)
        read_within(sim, leader, 10 * SIM_MS);
    for (unsigned i = 0; i < 3; i++) {
        if (raft_node_eq(&sim->nodes[i]->host->self, &leader->host->quickest->node))
            sim_net_block(sim, i, leader->index, true);
    }
    struct story_result result = {0};
    assert_int_equal(sim_node_read(leader, 0, story_note, &result, NULL), CQ_OK);
    sim_node_turn(leader);
    story_run(sim, (RAFT_READ_HEDGE_MS - RAFT_TICK_MS) * SIM_MS);
    assert_false(result.done);
    story_run(sim, 3 * RAFT_TICK_MS * SIM_MS);
    assert_true(result.done && result.rc == CQ_OK);
    for (unsigned i = 0; i < 3 * RAFT_READ_ALL_EVERY; i++)
        read_within(sim, leader, 10 * SIM_MS);
    story_end(sim);
}

static void a_deposed_leaders_tail_is_overwritten_and_its_outcome_is_unknown(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *old = story_leader(sim, 0);
    struct story_result lost[5];
    story_append(sim, old, 0, 1, 100);
    for (unsigned i = 0; i < 3; i++)
        sim_net_block(sim, old->index, i, true);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(story_propose(old, 0, 900 + i, 4000, &lost[i]), CQ_OK);
    story_run(sim, 4 * SIM_S);
    struct sim_node *leader = sim_leader(sim, 0);
    assert_true(leader && leader != old);
    story_append(sim, leader, 0, 2, 100);
    for (unsigned i = 0; i < 5; i++)
        assert_true(lost[i].done && lost[i].rc == CQ_E_UNKNOWN_OUTCOME);
    sim_net_heal(sim);
    story_run(sim, 3 * SIM_S);
    for (unsigned i = 0; i < 3; i++)
        story_numbers(sim->nodes[i], 0, 1, 2);
    sim_node_crash(old, true);
    sim_node_start(old);
    story_end(sim);
}

static void proposals_over_the_limit_are_refused_and_taken_again_later(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *leader = story_leader(sim, 0);
    struct story_result results[80];
    unsigned taken = 0;
    enum cq_rc rc = CQ_OK;
    for (; taken < 80; taken++) {
        struct sim_toy_entry entry;
        sim_toy_entry(0, taken + 1, 512u << 10, &entry);
        results[taken] = (struct story_result){0};
        rc = sim_node_propose(leader, &entry.proposal, story_note, &results[taken], NULL);
        sim_toy_release(&entry);
        if (rc != CQ_OK)
            break;
    }
    assert_int_equal(rc, CQ_E_OVERLOADED);
    assert_int_equal(taken, 63); /* 32 MiB, and an entry is a little more than its body */
    sim_node_turn(leader);
    story_run(sim, 2 * SIM_S);
    for (unsigned i = 0; i < taken; i++)
        assert_true(results[i].done && results[i].rc == CQ_OK);
    story_append(sim, leader, 0, taken + 1, 0);
    story_end(sim);
}

static void many_groups_share_nodes_and_idle_cheaply(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, SIM_GROUPS_MAX);
    for (unsigned g = 0; g < SIM_GROUPS_MAX; g++)
        story_append(sim, story_leader(sim, g), g, 100 + g, 10);
    story_run(sim, SIM_S);
    for (unsigned g = 0; g < SIM_GROUPS_MAX; g++)
        story_numbers(sim->nodes[0], g, 100 + g, 1);
    story_end(sim);
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
    struct sim *sim = story_begin(3, 1);
    struct sim_node *first = story_leader(sim, 0);
    for (uint64_t n = 1; n <= 5; n++)
        story_append(sim, first, 0, n, 0);
    sim_node_crash(first, false);
    struct sim_node *leader = story_leader(sim, 0);
    story_run(sim, SIM_S);
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
    story_end(sim);
}

static void the_story_of_a_seed_is_always_the_same(void **state)
{
    (void)state;
    uint64_t prints[2];
    for (unsigned i = 0; i < 2; i++) {
        struct sim *sim = story_begin(3, 2);
        struct sim_node *leader = story_leader(sim, 0);
        for (uint64_t n = 1; n < 10; n++)
            story_append(sim, leader, 0, n, 100);
        sim_node_crash(leader, true);
        story_run(sim, 3 * SIM_S);
        prints[i] = sim->fingerprint;
        story_end(sim);
    }
    assert_true(prints[0] == prints[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_nodes_elect_one_leader_and_replicate),
        cmocka_unit_test(a_follower_refuses_proposals_and_names_the_leader),
        cmocka_unit_test(acknowledged_entries_survive_the_leaders_power_cut),
        cmocka_unit_test(all_nodes_lose_power_at_once_and_nothing_acknowledged_is_lost),
        cmocka_unit_test(a_leader_without_its_majority_confirms_no_read),
        cmocka_unit_test(a_read_asks_as_many_voters_as_a_majority_needs_and_now_and_then_all),
        cmocka_unit_test(a_follower_that_does_not_answer_holds_up_one_read_for_a_moment_and_no_other),
        cmocka_unit_test(a_deposed_leaders_tail_is_overwritten_and_its_outcome_is_unknown),
        cmocka_unit_test(proposals_over_the_limit_are_refused_and_taken_again_later),
        cmocka_unit_test(many_groups_share_nodes_and_idle_cheaply),
        cmocka_unit_test(an_append_of_an_older_term_is_refused_with_what_the_log_has),
        cmocka_unit_test(the_story_of_a_seed_is_always_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
