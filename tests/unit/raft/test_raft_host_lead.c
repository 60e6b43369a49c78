/* Stories about the Raft host: who leads, who had rather not, and who must not because something of it is damaged or
 * forgotten. */
#include "raft_story.h"

#include "raft_private.h"
#include "store/store_mem.h"

static void a_dead_leaders_stand_in_takes_over_within_a_heartbeat_or_two(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *leader = story_leader(sim, 0);
    story_run(sim, 2 * SIM_S);
    sim_node_crash(leader, false);
    story_run(sim, 300 * SIM_MS); /* an election time-out is at least 1,000 */
    assert_non_null(sim_leader(sim, 0));
    story_end(sim);
}

static void leadership_is_handed_over_on_request(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *leader = story_leader(sim, 0);
    struct sim_node *to = sim->nodes[(leader->index + 2) % 3];
    story_append(sim, leader, 0, 1, 0);
    assert_int_equal(raft_host_transfer(to->host, 1, &leader->id), CQ_E_NOT_LEADER);
    assert_int_equal(raft_host_transfer(leader->host, 1, &(struct raft_node){{9}}), CQ_E_NOT_FOUND);
    assert_int_equal(raft_host_transfer(leader->host, 1, &to->id), CQ_OK);
    sim_node_turn(leader);
    story_run(sim, 200 * SIM_MS);
    assert_true(sim_leader(sim, 0) == to);
    story_append(sim, to, 0, 2, 0);
    story_end(sim);
}

static void a_reluctant_node_takes_no_lead_and_stands_last(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *leader = story_leader(sim, 0);
    struct sim_node *to = sim->nodes[(leader->index + 1) % 3], *other = sim->nodes[(leader->index + 2) % 3];
    story_append(sim, leader, 0, 1, 0);
    raft_host_reluctant(to->host, true);
    assert_int_equal(raft_host_transfer(leader->host, 1, &to->id), CQ_OK);
    sim_node_turn(leader);
    story_run(sim, 3 * SIM_S);
    assert_true(sim_leader(sim, 0) == leader); /* it gave up handing over */
    story_append(sim, leader, 0, 2, 0);
    sim_node_crash(leader, false);
    story_run(sim, 5 * SIM_S);
    assert_true(sim_leader(sim, 0) == other);
    sim_node_start(leader);
    story_run(sim, 3 * SIM_S);
    raft_host_reluctant(leader->host, true);
    sim_node_crash(other, false);
    story_run(sim, 20 * SIM_S); /* nobody else is there: it stands all the same */
    assert_true(sim_leader(sim, 0) != NULL && sim_leader(sim, 0) != other);
    story_end(sim);
}

static void a_leader_that_is_silenced_is_followed_by_another(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *leader = story_leader(sim, 0);
    story_append(sim, leader, 0, 1, 0);
    raft_host_reluctant(leader->host, true);
    raft_host_silence(leader->host, 1);
    story_run(sim, 5 * SIM_S);
    struct sim_node *next = sim_leader(sim, 0);
    assert_true(next && next != leader);
    story_append(sim, next, 0, 2, 0);
    raft_host_reluctant(leader->host, false);
    assert_int_equal(raft_host_transfer(next->host, 1, &leader->id), CQ_OK);
    sim_node_turn(next);
    story_run(sim, 500 * SIM_MS);
    assert_true(sim_leader(sim, 0) == leader); /* silence ended with the leadership */
    story_append(sim, leader, 0, 3, 0);
    story_end(sim);
}

/* ---- Replicas of which something is damaged ---- */

static void stop_leader_and_expect(struct sim *sim, struct sim_node *leader, struct sim_node *next, uint64_t number)
{
    sim_node_crash(leader, false);
    struct sim_node *elected = story_leader(sim, 0);
    assert_true(elected == next);
    story_append(sim, elected, 0, number, 700); /* the damaged one's acknowledgement is half of the majority */
    sim_node_start(leader);
    story_run(sim, 2 * SIM_S);
}

static void a_replica_that_stands_last_counts_and_does_not_lead(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *leader = story_leader(sim, 0), *last = sim->nodes[(leader->index + 1) % 3];
    story_append(sim, leader, 0, 1, 0);
    for (uint64_t i = 2; i <= 7; i++) {
        leader = story_leader(sim, 0);
        assert_true(leader != last);
        raft_host_stand(last->host, 1, RAFT_STANDS_LAST);
        story_run(sim, SIM_S);
        stop_leader_and_expect(sim, leader, sim->nodes[3 - leader->index - last->index], i);
    }
    assert_int_equal(story_status(last).stand, RAFT_STANDS_LAST);
    story_numbers(last, 0, 1, 7);
    story_end(sim);
}

static void of_two_that_stand_last_one_leads_when_the_sound_one_is_away(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *leader = story_leader(sim, 0);
    story_append(sim, leader, 0, 1, 0);
    for (unsigned i = 0; i < 3; i++)
        if (sim->nodes[i] != leader)
            raft_host_stand(sim->nodes[i]->host, 1, RAFT_STANDS_LAST);
    sim_node_crash(leader, true);
    story_run(sim, 5 * SIM_S);
    assert_null(sim_leader(sim, 0));
    story_run(sim, 10 * SIM_S);
    struct sim_node *last = story_leader(sim, 0);
    story_append(sim, last, 0, 2, 900);
    assert_int_equal(raft_host_transfer(last->host, 1, NULL), CQ_E_NOT_FOUND); /* the other one is no better */
    sim_node_start(leader);
    story_run(sim, SIM_S);
    assert_int_equal(raft_host_transfer(last->host, 1, NULL), CQ_OK);
    sim_node_turn(last);
    story_run(sim, 500 * SIM_MS);
    assert_true(sim_leader(sim, 0) == leader);
    story_end(sim);
}

static void a_silent_replica_votes_and_acknowledges_and_applies_nothing(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *leader = story_leader(sim, 0), *silent = sim->nodes[(leader->index + 1) % 3];
    struct sim_node *sound = sim->nodes[3 - leader->index - silent->index];
    story_append(sim, leader, 0, 1, 0);
    story_run(sim, SIM_S);
    raft_host_stand(silent->host, 1, RAFT_SILENT);
    sim_node_crash(leader, true);
    assert_true(story_leader(sim, 0) == sound);
    for (uint64_t i = 2; i <= 200; i++)
        story_append(sim, sound, 0, i, 0);
    story_run(sim, SIM_S);
    story_numbers(silent, 0, 1, 1);
    assert_true(story_status(silent).first_index == 1 &&
                story_status(silent).last_index == story_status(sound).last_index);
    sim_node_crash(sound, true); /* alone it is nobody's leader, however long that lasts */
    story_run(sim, 30 * SIM_S);
    assert_null(sim_leader(sim, 0));
    sim_node_crash(silent, true); /* its log is whole: as a sound one it has everything */
    sim_node_start(silent);
    sim_node_start(leader);
    story_append(sim, story_leader(sim, 0), 0, 201, 0);
    story_end(sim);
}

static void a_silent_leader_refuses_and_hands_over(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *leader = story_leader(sim, 0);
    struct story_result results[8], read = {0};
    story_append(sim, leader, 0, 1, 0);
    for (uint64_t i = 0; i < 8; i++)
        assert_int_equal(story_propose(leader, 0, 2 + i, 100, &results[i]), CQ_OK);
    assert_int_equal(sim_node_read(leader, 0, story_note, &read, NULL), CQ_OK);
    raft_host_stand(leader->host, 1, RAFT_SILENT);
    struct story_result refused;
    assert_int_equal(story_propose(leader, 0, 99, 0, &refused), CQ_E_NOT_LEADER);
    assert_int_equal(raft_host_transfer(leader->host, 1, NULL), CQ_OK);
    sim_node_turn(leader);
    story_run(sim, SIM_S);
    for (unsigned i = 0; i < 8; i++) /* what was under way is answered, in one way or the other */
        assert_true(results[i].done && (results[i].rc == CQ_OK || results[i].rc == CQ_E_UNKNOWN_OUTCOME));
    assert_true(read.done && read.rc == CQ_E_NOT_LEADER);
    struct sim_node *next = story_leader(sim, 0);
    assert_true(next != leader);
    story_append(sim, next, 0, 99, 0);
    sim_node_crash(leader, true);
    sim_node_start(leader);
    story_end(sim);
}

/* The entry is right, its body is not: nobody has lied, and somebody else has it. */
static void a_body_that_does_not_read_is_told_and_stops_nobody(void **state)
{
    (void)state;
    struct sim *sim = story_begin(3, 1);
    struct sim_node *leader = story_leader(sim, 0), *slow = sim->nodes[(leader->index + 1) % 3];
    struct sim_node *third = sim->nodes[3 - leader->index - slow->index];
    story_append(sim, leader, 0, 1, 0);
    sim_node_crash(slow, true);
    for (uint64_t i = 2; i <= 60; i++)
        story_append(sim, leader, 0, i, 8000); /* more than the cache keeps */
    struct store_batch *batch = store_batch_new(leader->store);
    struct store_iter *iter = store_iter_new(leader->store, NULL, STORE_CHUNK, CQ_SLICE_NONE, CQ_SLICE_NONE);
    assert_int_equal(store_iter_next(iter), CQ_OK);
    store_batch_put(batch, STORE_CHUNK, store_iter_key(iter), CQ_SLICE("not what was written"));
    store_iter_free(&iter);
    assert_int_equal(store_write(leader->store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
    sim_node_start(slow);
    story_run(sim, 2 * SIM_S);
    assert_true(leader->groups[0].damaged > 0 && !story_status(leader).failed);
    assert_true(sim_toy_count(slow->groups[0].machine) < 60);
    story_append(sim, leader, 0, 61, 0); /* the others go on */
    raft_host_stand(leader->host, 1, RAFT_STANDS_LAST);
    assert_int_equal(raft_host_transfer(leader->host, 1, NULL), CQ_OK);
    sim_node_turn(leader);
    story_run(sim, 2 * SIM_S);
    assert_true(sim_leader(sim, 0) == third);
    story_numbers(slow, 0, 1, 61);
    story_end(sim);
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
        story_copy_family(from, to, (enum store_family)f);
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
    struct sim *sim = story_begin(3, 1);
    struct store *older[3];
    struct sim_node *leader = story_leader(sim, 0);
    for (uint64_t i = 1; i <= 10; i++)
        story_append(sim, leader, 0, i, 300);
    story_run(sim, SIM_S);
    struct sim_node *knows = sim->nodes[(leader->index + 1) % 3];
    for (unsigned i = 0; i < 3; i++) {
        older[i] = store_mem_new();
        copy_store(sim->nodes[i]->store, older[i]);
    }
    for (uint64_t i = 11; i <= 30; i++)
        story_append(sim, leader, 0, i, 300);
    story_run(sim, SIM_S);
    for (unsigned i = 0; i < 3; i++)
        if (sim->nodes[i] != knows)
            sim_node_crash(sim->nodes[i], true);
    story_run(sim, 10 * SIM_S); /* it stands, and stands */
    for (unsigned i = 0; i < 3; i++)
        if (sim->nodes[i] != knows)
            recover(sim->nodes[i], older[i]);
    struct sim_node *next = story_leader(sim, 0);
    assert_true(next == knows);
    story_append(sim, next, 0, 31, 300);
    story_run(sim, 2 * SIM_S);
    for (unsigned i = 0; i < 3; i++) {
        story_numbers(sim->nodes[i], 0, 1, 31);
        store_close(&older[i]);
    }
    story_end(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dead_leaders_stand_in_takes_over_within_a_heartbeat_or_two),
        cmocka_unit_test(leadership_is_handed_over_on_request),
        cmocka_unit_test(a_reluctant_node_takes_no_lead_and_stands_last),
        cmocka_unit_test(a_leader_that_is_silenced_is_followed_by_another),
        cmocka_unit_test(a_replica_that_stands_last_counts_and_does_not_lead),
        cmocka_unit_test(of_two_that_stand_last_one_leads_when_the_sound_one_is_away),
        cmocka_unit_test(a_silent_replica_votes_and_acknowledges_and_applies_nothing),
        cmocka_unit_test(a_silent_leader_refuses_and_hands_over),
        cmocka_unit_test(a_body_that_does_not_read_is_told_and_stops_nobody),
        cmocka_unit_test(of_two_that_forgot_and_one_that_did_not_that_one_leads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
