#include "cluster/move_plan.h"

#include "unit/cluster/cluster_fixture.h"
#include "unit/cq_cmocka.h"

/* ---- One move: topology and view in, next step out ---- */

struct row {
    const char *name;
    enum topology_move_step step;
    bool cancelled;
    struct move_view view;
    enum move_act act;
    enum topology_move_step to;
};

#define LED .led = true, .settled = true
#define STEP MOVE_ACT_STEP

static const struct row rows[] = {
    {"a queued move waits for its turn", TOPOLOGY_MOVE_QUEUED, false, {LED}, MOVE_ACT_WAIT, 0},
    {"a queued move that was cancelled is over", TOPOLOGY_MOVE_QUEUED, true, {0}, STEP, TOPOLOGY_MOVE_NONE},
    {"without a leader nothing is done", TOPOLOGY_MOVE_ADDING, false, {0}, MOVE_ACT_WAIT, 0},
    {"while a change is not committed nothing is done", TOPOLOGY_MOVE_ADDING, false, {.led = true}, MOVE_ACT_WAIT, 0},
    {"the new replica is added without a vote", TOPOLOGY_MOVE_ADDING, false, {LED}, MOVE_ACT_ADD, 0},
    {"a member without a vote copies",
     TOPOLOGY_MOVE_ADDING,
     false,
     {LED, .new_member = MOVE_WITHOUT_VOTE},
     STEP,
     TOPOLOGY_MOVE_COPYING},
    {"one that was not added yet is taken back at once", TOPOLOGY_MOVE_ADDING, true, {LED}, STEP, TOPOLOGY_MOVE_NONE},
    {"a copy that lacks too much waits",
     TOPOLOGY_MOVE_COPYING,
     false,
     {LED, .new_member = MOVE_WITHOUT_VOTE, .lag = MOVE_NEAR + 1},
     MOVE_ACT_WAIT,
     0},
    {"a copy that lacks little gets its vote",
     TOPOLOGY_MOVE_COPYING,
     false,
     {LED, .new_member = MOVE_WITHOUT_VOTE, .lag = MOVE_NEAR},
     MOVE_ACT_PROMOTE,
     0},
    {"one whose membership was lost is added again", TOPOLOGY_MOVE_COPYING, false, {LED}, MOVE_ACT_ADD, 0},
    {"a copy is taken back: first its membership",
     TOPOLOGY_MOVE_COPYING,
     true,
     {LED, .new_member = MOVE_WITHOUT_VOTE},
     MOVE_ACT_REMOVE_NEW,
     0},
    {"a copy is taken back: then the record", TOPOLOGY_MOVE_COPYING, true, {LED}, STEP, TOPOLOGY_MOVE_NONE},
    {"a voter is recorded",
     TOPOLOGY_MOVE_COPYING,
     false,
     {LED, .new_member = MOVE_VOTER},
     STEP,
     TOPOLOGY_MOVE_REMOVING},
    {"a voter is not taken back any more",
     TOPOLOGY_MOVE_COPYING,
     true,
     {LED, .new_member = MOVE_VOTER},
     STEP,
     TOPOLOGY_MOVE_REMOVING},
    {"leadership goes over before the old one goes",
     TOPOLOGY_MOVE_REMOVING,
     false,
     {LED, .new_member = MOVE_VOTER, .old_member = MOVE_VOTER, .old_leads = true},
     MOVE_ACT_HAND_OVER,
     0},
    {"then the old one is removed",
     TOPOLOGY_MOVE_REMOVING,
     false,
     {LED, .new_member = MOVE_VOTER, .old_member = MOVE_VOTER},
     MOVE_ACT_REMOVE_OLD,
     0},
    {"the old one stays while the new one has no vote",
     TOPOLOGY_MOVE_REMOVING,
     false,
     {LED, .new_member = MOVE_NO_MEMBER, .old_member = MOVE_VOTER},
     MOVE_ACT_WAIT,
     0},
    {"an old one that is no member is recorded",
     TOPOLOGY_MOVE_REMOVING,
     false,
     {LED, .new_member = MOVE_VOTER},
     STEP,
     TOPOLOGY_MOVE_CLEANING},
    {"the old node destroys it",
     TOPOLOGY_MOVE_CLEANING,
     false,
     {.old_answers = true, .old_is_there = true},
     MOVE_ACT_WAIT,
     0},
    {"then the move is over", TOPOLOGY_MOVE_CLEANING, false, {.old_answers = true}, STEP, TOPOLOGY_MOVE_NONE},
    {"a dead node is not waited for", TOPOLOGY_MOVE_CLEANING, false, {.old_is_there = true}, STEP, TOPOLOGY_MOVE_NONE},
};

static void each_state_has_its_next_step(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        const struct topology_move move = {.replica = 9, .step = row->step, .cancelled = row->cancelled};
        struct move_next next = move_plan_next(&move, &row->view);
        if (next.act != row->act || next.to != row->to)
            fail_msg("%s: got %d %d", row->name, (int)next.act, (int)next.to);
    }
}

/* From any recorded step, with a group that does what it is told, a move ends and both ways lead to what was wanted. */
static void a_move_ends_from_any_step(void **state)
{
    (void)state;
    for (int start = TOPOLOGY_MOVE_QUEUED; start <= TOPOLOGY_MOVE_CLEANING; start++)
        for (int cancel = 0; cancel < 2; cancel++) {
            struct topology_move move = {.replica = 9, .step = (enum topology_move_step)start, .cancelled = cancel};
            struct move_view v = {LED, .old_member = MOVE_VOTER, .old_leads = true, .old_answers = true};
            v.new_member = start >= TOPOLOGY_MOVE_REMOVING ? MOVE_VOTER : MOVE_NO_MEMBER;
            if (start == TOPOLOGY_MOVE_CLEANING)
                v.old_member = MOVE_NO_MEMBER;
            int turns = 0;
            for (; move.step != TOPOLOGY_MOVE_NONE && turns < 20; turns++) {
                struct move_next next = move_plan_next(&move, &v);
                if (next.act == MOVE_ACT_STEP)
                    move.step = next.to;
                else if (next.act == MOVE_ACT_ADD)
                    v.new_member = MOVE_WITHOUT_VOTE;
                else if (next.act == MOVE_ACT_PROMOTE)
                    v.new_member = MOVE_VOTER;
                else if (next.act == MOVE_ACT_HAND_OVER)
                    v.old_leads = false;
                else if (next.act == MOVE_ACT_REMOVE_OLD)
                    v.old_member = MOVE_NO_MEMBER;
                else if (next.act == MOVE_ACT_REMOVE_NEW)
                    v.new_member = MOVE_NO_MEMBER;
                else if (move.step == TOPOLOGY_MOVE_QUEUED)
                    move.step = TOPOLOGY_MOVE_ADDING; /* its turn */
            }
            assert_int_equal(move.step, TOPOLOGY_MOVE_NONE);
            bool back = cancel && start < TOPOLOGY_MOVE_REMOVING;
            assert_int_equal(v.new_member, back ? MOVE_NO_MEMBER : MOVE_VOTER);
            assert_int_equal(v.old_member, back ? MOVE_VOTER : MOVE_NO_MEMBER);
        }
}

/* ---- Which may begin ---- */

struct world {
    struct topology_node nodes[6];
    struct topology_replica replicas[4][3];
    struct topology_shard shards[4];
    struct topology_move moves[8];
    struct topology t;
};

/* Shards 0 to 3 on nodes 0, 1, 2; nodes 3 to 5 are free. */
static void world_fill(struct world *w)
{
    *w = (struct world){.t = {.cluster = "c", .epoch = 1}};
    for (uint32_t i = 0; i < 6; i++)
        w->nodes[i] = fixture_node(i, "d", "", "");
    fixture_sort(w->nodes, 6);
    for (uint32_t s = 0; s < 4; s++) {
        for (uint32_t r = 0; r < 3; r++)
            w->replicas[s][r] = (struct topology_replica){.id = s * 3 + r + 1, .node = r, .voter = true};
        w->shards[s] = (struct topology_shard){.group = s, .home = "", .replicas = w->replicas[s], .replica_count = 3};
    }
    w->t.nodes = w->nodes;
    w->t.node_count = 6;
    w->t.shards = w->shards;
    w->t.shard_count = 4;
    w->t.moves = w->moves;
}

static void plan(struct world *w, uint32_t group, uint32_t from, uint32_t to, enum topology_move_step step)
{
    size_t n = w->t.move_count++;
    w->moves[n] = (struct topology_move){
        .replica = 100 + n, .old = group * 3 + from + 1, .group = group, .from = from, .to = to, .step = step};
}

static void moves_begin_oldest_first_within_the_bounds(void **state)
{
    (void)state;
    struct world w;
    uint64_t begun[8];
    world_fill(&w);
    plan(&w, 0, 0, 3, TOPOLOGY_MOVE_QUEUED);
    plan(&w, 1, 0, 3, TOPOLOGY_MOVE_QUEUED); /* node 0 and 3 are busy then */
    plan(&w, 2, 1, 4, TOPOLOGY_MOVE_QUEUED);
    plan(&w, 3, 2, 5, TOPOLOGY_MOVE_QUEUED);
    assert_int_equal(move_plan_begin(&w.t, 1, 8, begun, 8), 3);
    assert_int_equal(begun[0], 100);
    assert_int_equal(begun[1], 102);
    assert_int_equal(begun[2], 103);
    assert_int_equal(move_plan_begin(&w.t, 2, 8, begun, 8), 4);
    assert_int_equal(move_plan_begin(&w.t, 2, 2, begun, 8), 2);
    assert_int_equal(move_plan_begin(&w.t, 2, 8, begun, 1), 1);
    w.moves[0].step = TOPOLOGY_MOVE_COPYING;
    assert_int_equal(move_plan_begin(&w.t, 1, 8, begun, 8), 2);
    assert_int_equal(begun[0], 102);
}

static void two_moves_of_one_shard_come_one_after_the_other(void **state)
{
    (void)state;
    struct world w;
    uint64_t begun[8];
    world_fill(&w);
    plan(&w, 1, 0, 3, TOPOLOGY_MOVE_CLEANING);
    plan(&w, 1, 1, 4, TOPOLOGY_MOVE_QUEUED);
    assert_int_equal(move_plan_begin(&w.t, 9, 9, begun, 8), 0);
    w.moves[0].step = TOPOLOGY_MOVE_QUEUED;
    assert_int_equal(move_plan_begin(&w.t, 9, 9, begun, 8), 1);
}

static void a_cancelled_move_never_begins(void **state)
{
    (void)state;
    struct world w;
    uint64_t begun[8];
    world_fill(&w);
    plan(&w, 1, 0, 3, TOPOLOGY_MOVE_QUEUED);
    w.moves[0].cancelled = true;
    assert_int_equal(move_plan_begin(&w.t, 9, 9, begun, 8), 0);
}

static void a_leaving_node_has_left_when_nothing_names_it(void **state)
{
    (void)state;
    struct world w;
    world_fill(&w);
    w.nodes[3].state = w.nodes[0].state = TOPOLOGY_NODE_DRAINING;
    assert_false(move_plan_has_left(&w.t, 3)); /* only drained */
    w.nodes[3].leaving = w.nodes[0].leaving = true;
    assert_true(move_plan_has_left(&w.t, 3));
    assert_false(move_plan_has_left(&w.t, 0)); /* it holds replicas */
    plan(&w, 1, 0, 3, TOPOLOGY_MOVE_QUEUED);
    assert_false(move_plan_has_left(&w.t, 3));
    w.t.move_count = 0;
    w.nodes[3].state = TOPOLOGY_NODE_GONE;
    assert_false(move_plan_has_left(&w.t, 3)); /* known already */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_state_has_its_next_step),
        cmocka_unit_test(a_move_ends_from_any_step),
        cmocka_unit_test(moves_begin_oldest_first_within_the_bounds),
        cmocka_unit_test(two_moves_of_one_shard_come_one_after_the_other),
        cmocka_unit_test(a_cancelled_move_never_begins),
        cmocka_unit_test(a_leaving_node_has_left_when_nothing_names_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
