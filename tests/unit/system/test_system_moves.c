/* The system shard's machine: moves of replicas, step by step. */
#include "system_rig.h"

static enum cq_rc step(struct sys_fixture *f, uint64_t replica, int before, int to)
{
    Chasqui__System__StepMove msg = CHASQUI__SYSTEM__STEP_MOVE__INIT;
    msg.replica = replica;
    msg.before = (Chasqui__System__MoveStep)before;
    msg.to = (Chasqui__System__MoveStep)to;
    return sys_apply(f, M(STEP_MOVE), &msg.base);
}

/* The first move of a shard that is not group 0, or of any with 0. */
static struct topology_move first_move(struct sys_fixture *f, size_t *count_r)
{
    const struct topology *t = system_machine_topology(f->machine);
    struct topology_move move = {0};
    *count_r = t->move_count;
    for (size_t i = 0; i < t->move_count && !move.group; i++)
        move = t->moves[i];
    topology_unref(&t);
    return move;
}

static const struct topology_replica *find(const struct topology *t, const struct topology_move *move, uint64_t id)
{
    return topology_replica(topology_shard(t, move->group), id);
}

static void a_move_goes_step_by_step_and_the_map_follows(void **state)
{
    struct sys_fixture *f = *state;
    size_t count, left;
    sys_init_cluster(f);
    sys_add_node(f, 7);
    assert_int_equal(sys_join(f, 7), CQ_OK);
    struct topology_move move = first_move(f, &count);
    assert_true(count > 20 && count < 60 && move.step == TOPOLOGY_MOVE_QUEUED);
    assert_int_equal(sys_join(f, 7), CQ_OK); /* again: nothing more */
    assert_int_equal((first_move(f, &left), left), count);
    assert_int_equal(step(f, move.replica, 1, 3), CQ_E_CONFLICT); /* none is left out */
    assert_int_equal(step(f, move.replica, 2, 3), CQ_E_CONFLICT);
    for (int to = TOPOLOGY_MOVE_ADDING; to <= TOPOLOGY_MOVE_CLEANING; to++) {
        assert_int_equal(step(f, move.replica, to - 1, to), CQ_OK);
        assert_int_equal(step(f, move.replica, to - 1, to), CQ_OK); /* safe to repeat */
        sys_reopen(f);
        const struct topology *t = system_machine_topology(f->machine);
        const struct topology_replica *new = find(t, &move, move.replica), *old = find(t, &move, move.old);
        assert_true(new &&new->voter == (to >= TOPOLOGY_MOVE_REMOVING));
        assert_int_equal(old != NULL, to < TOPOLOGY_MOVE_CLEANING);
        assert_true(topology_shard(t, move.group)->moved);
        assert_int_equal(topology_move(t, move.replica)->step, to);
        topology_unref(&t);
    }
    assert_int_equal(step(f, move.replica, TOPOLOGY_MOVE_CLEANING, TOPOLOGY_MOVE_NONE), CQ_OK);
    assert_int_equal(step(f, move.replica, TOPOLOGY_MOVE_CLEANING, TOPOLOGY_MOVE_NONE), CQ_OK);
    assert_int_equal((first_move(f, &left), left), count - 1);
}

static void what_has_no_vote_is_taken_back_and_what_has_stays(void **state)
{
    struct sys_fixture *f = *state;
    Chasqui__System__CancelMoves cancel = CHASQUI__SYSTEM__CANCEL_MOVES__INIT;
    size_t count, left;
    sys_init_cluster(f);
    sys_add_node(f, 7);
    assert_int_equal(sys_join(f, 7), CQ_OK);
    struct topology_move move = first_move(f, &count);
    cancel.group = move.group;
    assert_int_equal(step(f, move.replica, 1, 2), CQ_OK);
    assert_int_equal(step(f, move.replica, 2, 0), CQ_E_CONFLICT); /* nobody has cancelled it */
    assert_int_equal(sys_apply(f, M(CANCEL_MOVES), &cancel.base), CQ_OK);
    assert_int_equal(step(f, move.replica, 2, 0), CQ_OK);
    const struct topology *t = system_machine_topology(f->machine);
    assert_null(find(t, &move, move.replica));
    assert_non_null(find(t, &move, move.old));
    topology_unref(&t);
    assert_int_equal(sys_apply(f, M(CANCEL_MOVES), &cancel.base), CQ_E_NOT_FOUND);
    move = first_move(f, &left);
    assert_int_equal(left, count - 1);
    cancel.group = move.group;
    for (int to = TOPOLOGY_MOVE_ADDING; to <= TOPOLOGY_MOVE_REMOVING; to++)
        assert_int_equal(step(f, move.replica, to - 1, to), CQ_OK);
    assert_int_equal(sys_apply(f, M(CANCEL_MOVES), &cancel.base), CQ_E_CONFLICT);
    move = first_move(f, &left);
    assert_int_equal(left, count - 1);
}

static void a_node_leaves_only_when_all_can_go_elsewhere(void **state)
{
    struct sys_fixture *f = *state;
    Chasqui__System__SetNodeState gone = CHASQUI__SYSTEM__SET_NODE_STATE__INIT;
    size_t count;
    sys_init_cluster(f);
    uint64_t before = sys_epoch(f);
    assert_int_equal(sys_decommission(f, 0, true), CQ_E_NO_SPACE);
    assert_int_equal(sys_epoch(f), before); /* nothing has begun */
    sys_add_node(f, 7);
    sys_add_node(f, 0); /* a later start of an old one changes no move */
    assert_int_equal(sys_join(f, 7), CQ_OK);
    first_move(f, &count);
    sys_add_node(f, 5); /* the indexes of the nodes behind it move */
    const struct topology *t = system_machine_topology(f->machine);
    for (size_t i = 0; i < t->move_count; i++)
        assert_memory_equal(t->nodes[t->moves[i].to].uuid, sys_uuid(7).data, 16);
    topology_unref(&t);
    assert_int_equal(sys_decommission(f, 5, false), CQ_OK); /* holds nothing */
    gone.uuid = sys_uuid(5);
    gone.state = CHASQUI__SYSTEM__NODE_STATE__NODE_GONE;
    assert_int_equal(sys_apply(f, M(SET_NODE_STATE), &gone.base), CQ_OK);
    assert_int_equal(sys_join(f, 5), CQ_E_DENIED);
    assert_int_equal(sys_decommission(f, 5, false), CQ_OK);
}

static enum cq_rc undo_drain(struct sys_fixture *f, unsigned n)
{
    Chasqui__System__DrainNode msg = CHASQUI__SYSTEM__DRAIN_NODE__INIT;
    msg.node = sys_uuid(n);
    msg.undo = true;
    return sys_apply(f, M(DRAIN_NODE), &msg.base);
}

static enum topology_node_state state_of(struct sys_fixture *f, unsigned n)
{
    const struct topology *t = system_machine_topology(f->machine);
    enum topology_node_state state = t->nodes[topology_node_index(t, sys_uuid(n).data)].state;
    topology_unref(&t);
    return state;
}

/* New replicas of the moves from, or to, a node. */
static size_t moves_of(struct sys_fixture *f, unsigned n, bool from, uint64_t replicas_r[TOPOLOGY_MOVES_MAX])
{
    const struct topology *t = system_machine_topology(f->machine);
    uint32_t node = topology_node_index(t, sys_uuid(n).data);
    size_t count = 0;
    for (size_t i = 0; i < t->move_count; i++)
        if ((from ? t->moves[i].from : t->moves[i].to) == node)
            replicas_r[count++] = t->moves[i].replica;
    topology_unref(&t);
    return count;
}

static void go_as_far_as(struct sys_fixture *f, uint64_t replica, int last)
{
    for (int to = TOPOLOGY_MOVE_ADDING; to <= last; to++)
        assert_int_equal(step(f, replica, to - 1, to), CQ_OK);
}

static void end_move(struct sys_fixture *f, uint64_t replica)
{
    assert_int_equal(step(f, replica, TOPOLOGY_MOVE_CLEANING, TOPOLOGY_MOVE_NONE), CQ_OK);
}

/* Three nodes and an empty fourth one; the first one leaves. Returns how many of its replicas go. */
static size_t node_0_leaves(struct sys_fixture *f, uint64_t replicas_r[TOPOLOGY_MOVES_MAX])
{
    sys_init_cluster(f);
    sys_add_node(f, 7);
    assert_int_equal(sys_set_state(f, 7, TOPOLOGY_NODE_UP), CQ_OK);
    assert_int_equal(sys_decommission(f, 0, true), CQ_OK);
    size_t count = moves_of(f, 0, true, replicas_r);
    assert_int_equal(count, 65);
    return count;
}

static void a_node_whose_leaving_was_taken_back_is_not_let_go(void **state)
{
    struct sys_fixture *f = *state;
    sys_init_cluster(f);
    for (unsigned n = 7; n < 9; n++) {
        sys_add_node(f, n);
        assert_int_equal(sys_decommission(f, n, false), CQ_OK); /* holds nothing: the planner lets it go */
    }
    assert_int_equal(undo_drain(f, 7), CQ_OK); /* comes first: */
    assert_int_equal(sys_set_state(f, 7, TOPOLOGY_NODE_GONE), CQ_E_CONFLICT);
    assert_int_equal(state_of(f, 7), TOPOLOGY_NODE_UP);
    assert_int_equal(sys_set_state(f, 8, TOPOLOGY_NODE_GONE), CQ_OK); /* the other order */
    assert_int_equal(undo_drain(f, 8), CQ_E_CONFLICT);
    assert_int_equal(state_of(f, 8), TOPOLOGY_NODE_GONE);
}

static void a_node_that_a_move_names_is_not_let_go(void **state)
{
    struct sys_fixture *f = *state;
    static uint64_t replicas[TOPOLOGY_MOVES_MAX];
    size_t count = node_0_leaves(f, replicas);
    for (size_t i = 0; i < count; i++)
        go_as_far_as(f, replicas[i], TOPOLOGY_MOVE_CLEANING);
    for (size_t i = 0; i < count; i++) { /* the map has none on it; it destroys them yet */
        assert_int_equal(sys_set_state(f, 0, TOPOLOGY_NODE_GONE), CQ_E_CONFLICT);
        end_move(f, replicas[i]);
    }
    assert_int_equal(sys_set_state(f, 0, TOPOLOGY_NODE_GONE), CQ_OK);
}

/* Five of 65 have gone, two more vote elsewhere, one copies. Of the two, the one that the map has already elsewhere is
 * planned at once when, by the ring, another one than the new replica gives way. */
static void what_has_left_a_node_comes_back_when_its_leaving_is_taken_back(void **state)
{
    struct sys_fixture *f = *state;
    static uint64_t replicas[TOPOLOGY_MOVES_MAX];
    node_0_leaves(f, replicas);
    for (size_t i = 0; i < 8; i++)
        go_as_far_as(f, replicas[i],
                     i < 6    ? TOPOLOGY_MOVE_CLEANING
                     : i == 6 ? TOPOLOGY_MOVE_REMOVING
                              : TOPOLOGY_MOVE_COPYING);
    for (size_t i = 0; i < 5; i++)
        end_move(f, replicas[i]);
    assert_int_equal(undo_drain(f, 0), CQ_OK);
    Chasqui__System__Planned *planned =
        chasqui__system__planned__unpack(NULL, f->answer->body.len, f->answer->body.data);
    assert_non_null(planned);
    assert_int_equal(planned->epoch, sys_epoch(f));
    size_t back = moves_of(f, 0, false, replicas);
    assert_true(back == 5 || back == 6);
    assert_int_equal(planned->n_moves, 57 + 1 + back); /* 57 had not begun */
    chasqui__system__planned__free_unpacked(planned, NULL);
    assert_int_equal(moves_of(f, 0, true, replicas), 3);
    uint64_t now = sys_epoch(f);
    assert_int_equal(undo_drain(f, 0), CQ_OK); /* again */
    assert_int_equal(sys_join(f, 0), CQ_OK);   /* there is nothing that it could get now */
    assert_int_equal(sys_epoch(f), now);
    assert_int_equal(moves_of(f, 0, true, replicas), 3);
    end_move(f, replicas[0]);
    assert_int_equal(step(f, replicas[1], TOPOLOGY_MOVE_REMOVING, TOPOLOGY_MOVE_CLEANING), CQ_OK);
    end_move(f, replicas[1]);
    assert_int_equal(sys_join(f, 0), CQ_OK); /* those that could not be taken back then */
    assert_int_equal(moves_of(f, 0, false, replicas), 7);
}

static void a_node_that_was_only_drained_gets_nothing_when_that_ends(void **state)
{
    struct sys_fixture *f = *state;
    static uint64_t replicas[TOPOLOGY_MOVES_MAX];
    sys_init_cluster(f);
    sys_add_node(f, 7);
    assert_int_equal(sys_set_state(f, 7, TOPOLOGY_NODE_UP), CQ_OK);
    assert_int_equal(sys_set_state(f, 7, TOPOLOGY_NODE_DRAINING), CQ_OK);
    assert_int_equal(undo_drain(f, 7), CQ_OK);
    assert_int_equal(moves_of(f, 7, false, replicas), 0);
    assert_int_equal(state_of(f, 7), TOPOLOGY_NODE_UP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SYS_TEST(a_move_goes_step_by_step_and_the_map_follows),
        SYS_TEST(what_has_no_vote_is_taken_back_and_what_has_stays),
        SYS_TEST(a_node_leaves_only_when_all_can_go_elsewhere),
        SYS_TEST(a_node_whose_leaving_was_taken_back_is_not_let_go),
        SYS_TEST(a_node_that_a_move_names_is_not_let_go),
        SYS_TEST(what_has_left_a_node_comes_back_when_its_leaving_is_taken_back),
        SYS_TEST(a_node_that_was_only_drained_gets_nothing_when_that_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
