#include "node/member_change.h"

#include "unit/cq_cmocka.h"
#include "unit/node/node_rig.h"

static const struct raft_node other = {{0x22, 1, 2, 3}};

static enum cq_rc change(struct node *node, Chasqui__System__MemberChange what, uint64_t replica, struct cq_err *err)
{
    return member_change(node, node_rig_group(node), what, replica, &other, err);
}

static enum cq_rc add(struct node *node, uint64_t replica, struct cq_err *err)
{
    return change(node, CHASQUI__SYSTEM__MEMBER_CHANGE__MEMBER_ADD, replica, err);
}

/* The one member besides the leader; 0: there is none. */
static uint64_t other_member(struct node *node)
{
    struct member_look look;
    struct cq_err err = {0};
    assert_int_equal(member_look(node, node_rig_group(node), &look, &err), CQ_OK);
    assert_true(look.committed && look.count <= 2);
    for (size_t i = 0; i < look.count; i++)
        if (look.members[i].member.replica != RIG_REPLICA)
            return look.members[i].member.replica;
    return 0;
}

static void adds_and_removes(struct node *node)
{
    struct cq_err err = {0};
    for (int again = 0; again < 2; again++) {
        assert_int_equal(add(node, 20, &err), CQ_OK);
        assert_int_equal(other_member(node), 20);
    }
    assert_int_equal(change(node, CHASQUI__SYSTEM__MEMBER_CHANGE__MEMBER_PROMOTE, 20, &err), CQ_E_BEHIND);
    assert_int_equal(change(node, CHASQUI__SYSTEM__MEMBER_CHANGE__MEMBER_PROMOTE, 21, &err), CQ_E_NOT_FOUND);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(change(node, CHASQUI__SYSTEM__MEMBER_CHANGE__MEMBER_REMOVE, 0, &err), CQ_OK);
        assert_int_equal(other_member(node), 0);
    }
}

static void a_member_is_added_and_removed_however_often_it_is_asked(void **state)
{
    (void)state;
    node_rig_run(adds_and_removes);
}

/* A move that was taken back may have left its replica in the group: the next one to that node does not wait for it. */
static void replaces_what_is_left(struct node *node)
{
    struct cq_err err = {0};
    assert_int_equal(add(node, 20, &err), CQ_OK);
    assert_int_equal(add(node, 21, &err), CQ_OK);
    assert_int_equal(other_member(node), 21);
    assert_int_equal(add(node, 20, &err), CQ_E_CONFLICT); /* an old wish does not undo a later one */
    assert_int_equal(other_member(node), 21);
}

static void what_an_earlier_move_left_gives_way_to_a_later_one(void **state)
{
    (void)state;
    node_rig_run(replaces_what_is_left);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_is_added_and_removed_however_often_it_is_asked),
        cmocka_unit_test(what_an_earlier_move_left_gives_way_to_a_later_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
