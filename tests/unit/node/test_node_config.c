#include "node/node_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void a_profile_gives_the_times_that_are_not_set(void **state)
{
    (void)state;
    static const struct {
        int profile;
        uint64_t election_us, heartbeat_us;
        uint32_t election_ms, heartbeat_ms;
    } cases[] = {
        {RAFT_LAN, 0, 0, 1000, 100},     {RAFT_WAN, 0, 0, 1500, 150},          {RAFT_WAN, 700000, 0, 700, 150},
        {RAFT_LAN, 0, 30000, 1000, 30},  {RAFT_WAN, 3000000, 80000, 3000, 80}, {RAFT_LAN, 50000, 10000, 50, 10},
        {RAFT_LAN, 49999, 9999, 50, 10}, /* too short: the least that is allowed */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct node_settings settings = {.raft_profile = cases[i].profile,
                                               .election_us = cases[i].election_us,
                                               .heartbeat_us = cases[i].heartbeat_us,
                                               .trim_entries = 64};
        struct raft_settings raft = node_raft_settings(&settings);
        assert_int_equal(raft.election_ms, cases[i].election_ms);
        assert_int_equal(raft.heartbeat_ms, cases[i].heartbeat_ms);
        assert_int_equal(node_election_us(&settings), cases[i].election_ms * UINT64_C(1000));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_profile_gives_the_times_that_are_not_set)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
