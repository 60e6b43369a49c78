/* When may the voters of a group be changed? The rule alone. */
#include "raft/raft_host.h"

#include "unit/cq_cmocka.h"

#define LAST 1000
#define NEAR 64

/* One letter a member: v a voter that is well, d dead, b behind the log, l too many entries away, n new (has nothing),
 * e at the edge; s a stand-by that is well. */
static struct raft_progress member(char kind)
{
    struct raft_progress p = {.member = {.replica = 1, .role = kind == 's' ? RAFT_MEMBER_STANDBY : RAFT_MEMBER_VOTER},
                              .match = LAST,
                              .connected = kind != 'd',
                              .behind = kind == 'b'};
    if (kind == 'l')
        p.match = LAST - NEAR - 1;
    if (kind == 'e')
        p.match = LAST - NEAR;
    if (kind == 'n')
        p.match = 0;
    return p;
}

static bool has_majority(const char *kinds, uint64_t last)
{
    struct raft_progress all[RAFT_MEMBERS_MAX];
    size_t count = 0;
    for (; kinds[count]; count++)
        all[count] = member(kinds[count]);
    return raft_progress_has_majority(all, count, last, NEAR);
}

static void a_majority_must_be_connected_and_near(void **state)
{
    (void)state;
    static const struct {
        const char *kinds;
        bool well;
    } rows[] = {
        {"v", true},     {"d", false},   {"", false},    {"vv", true},    {"vd", false},   {"vvv", true},
        {"vvd", true},   {"vdd", false}, {"vvvd", true}, {"vvdd", false}, {"vve", true},   {"vld", false},
        {"ved", true},   {"vbd", false}, {"vbv", true},  {"vdds", false}, {"vvdd", false}, {"vvvdd", true},
        {"vndd", false}, {"vvn", true},  {"vn", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (has_majority(rows[i].kinds, LAST) != rows[i].well)
            fail_msg("%s", rows[i].kinds);
}

/* In a young group everything is near; who has nothing at all is not. */
static void who_has_nothing_is_never_near(void **state)
{
    (void)state;
    struct raft_progress all[] = {member('v'), member('n')};
    all[0].match = 5;
    assert_false(raft_progress_has_majority(all, 2, 5, NEAR));
    all[1].match = 1;
    assert_true(raft_progress_has_majority(all, 2, 5, NEAR));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_majority_must_be_connected_and_near),
        cmocka_unit_test(who_has_nothing_is_never_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
