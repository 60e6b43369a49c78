#include "node/fitness.h"

#include "unit/cq_cmocka.h"

#define OWN(...)                                                                                                       \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }
#define OTHER(...)                                                                                                     \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }
#define FULL(name) .space = name, .free_bytes = 10

struct row {
    const char *what;
    struct disk_look own;
    struct health_report other;
    bool better;
};

/* What a row does not name is well, quick, and half empty; disks have 1,000 octets. */
static void judge(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct disk_look own = rows[i].own;
        struct health_report other = rows[i].other;
        own.total_bytes = other.total_bytes = 1000;
        own.free_bytes = own.free_bytes ? own.free_bytes : 500;
        other.free_bytes = other.free_bytes ? other.free_bytes : 500;
        own.sync_us = own.sync_us ? own.sync_us : 1000;
        other.sync_us = other.sync_us ? other.sync_us : 1000;
        if (fitness_is_better(&own, &other) != rows[i].better)
            fail_msg("%s", rows[i].what);
    }
}

static void equals_do_not_send_leaders_round(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"both well", OWN(), OTHER(), false},
        {"both slow", OWN(.state = DISK_SLOW), OTHER(.disk = DISK_SLOW), false},
        {"both stalled", OWN(.state = DISK_STALLED), OTHER(.disk = DISK_STALLED), false},
        {"both full", OWN(FULL(SPACE_FULL), .tight = true), OTHER(FULL(SPACE_FULL)), false},
        {"deletes only and last: the same is refused", OWN(FULL(SPACE_LAST), .tight = true), OTHER(FULL(SPACE_DELETES)),
         false},
    };
    judge(rows, sizeof rows / sizeof *rows);
}

static void a_slow_disk_goes_to_one_four_times_as_fast(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"four times", OWN(.state = DISK_SLOW, .sync_us = 4000), OTHER(), true},
        {"a little less", OWN(.state = DISK_SLOW, .sync_us = 3999), OTHER(), false},
        {"the write under way counts", OWN(.state = DISK_STALLED, .under_us = 4000), OTHER(), true},
        {"the store is pressed", OWN(.state = DISK_SLOW, .pressed = true), OTHER(), true},
        {"to one that is slow itself", OWN(.state = DISK_SLOW, .sync_us = 9000), OTHER(.disk = DISK_SLOW), false},
        {"while well", OWN(.sync_us = 9000), OTHER(), false},
    };
    judge(rows, sizeof rows / sizeof *rows);
}

static void a_disk_that_fills_goes_to_a_roomier_one_when_that_lasts(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"for a while", OWN(.space = SPACE_NO_GROWTH, .free_bytes = 140, .tight = true), OTHER(.free_bytes = 190),
         true},
        {"not yet", OWN(.space = SPACE_NO_GROWTH, .free_bytes = 140), OTHER(), false},
        {"not worth it", OWN(.space = SPACE_NO_GROWTH, .free_bytes = 140, .tight = true), OTHER(.free_bytes = 189),
         false},
    };
    judge(rows, sizeof rows / sizeof *rows);
}

#define ROUTERS(n) .counts_routers = true, .routers = n

static void a_node_that_routers_do_not_reach_goes_to_one_that_more_of_them_reach(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"none here, two there", OWN(.cut = true), OTHER(ROUTERS(2)), true},
        {"one of two", OWN(.routers = 1, .cut = true), OTHER(ROUTERS(2)), true},
        {"not yet for a while", OWN(), OTHER(ROUTERS(2)), false},
        {"as many", OWN(.routers = 2, .cut = true), OTHER(ROUTERS(2)), false},
        {"fewer", OWN(.routers = 2, .cut = true), OTHER(ROUTERS(1)), false},
        {"none anywhere", OWN(.cut = true), OTHER(ROUTERS(0)), false},
        {"an older release does not say", OWN(.cut = true), OTHER(.routers = 2), false},
        {"a slow disk is reached at least", OWN(.cut = true), OTHER(.disk = DISK_SLOW, ROUTERS(2)), true},
        {"one that hangs is not worth it", OWN(.cut = true), OTHER(.disk = DISK_STALLED, ROUTERS(2)), false},
        {"one without space neither", OWN(.cut = true), OTHER(FULL(SPACE_FULL), ROUTERS(2)), false},
        {"a fast disk that nobody reaches", OWN(.state = DISK_SLOW, .sync_us = 9000, .routers = 2), OTHER(ROUTERS(0)),
         false},
        {"room that nobody reaches", OWN(FULL(SPACE_FULL), .routers = 2), OTHER(ROUTERS(0)), false},
        {"a disk that hangs is of no use", OWN(.state = DISK_STALLED, .under_us = 9000, .routers = 2),
         OTHER(ROUTERS(1)), true},
    };
    judge(rows, sizeof rows / sizeof *rows);
}

/* What a majority has room for must not be refused: no waiting, whatever the disks' speed. */
static void a_full_disk_goes_at_once_to_whoever_has_room(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"at once", OWN(FULL(SPACE_DELETES)), OTHER(), true},
        {"by a hair", OWN(.space = SPACE_DELETES, .free_bytes = 79), OTHER(.space = SPACE_NO_GROWTH, .free_bytes = 81),
         true},
        {"slow as well, like the others", OWN(FULL(SPACE_FULL), .state = DISK_SLOW), OTHER(.disk = DISK_SLOW), true},
        {"not to one that hangs", OWN(FULL(SPACE_FULL)), OTHER(.disk = DISK_STALLED), false},
        {"not back, however slow", OWN(.state = DISK_SLOW, .sync_us = 9000), OTHER(FULL(SPACE_FULL)), false},
        {"one that hangs is worse", OWN(.state = DISK_STALLED, .under_us = 9000), OTHER(FULL(SPACE_FULL)), true},
        {"no growth refuses nobody", OWN(.space = SPACE_NO_GROWTH, .free_bytes = 100), OTHER(), false},
    };
    judge(rows, sizeof rows / sizeof *rows);
}

static void clients_are_not_refused_while_the_leadership_passes(void **state)
{
    (void)state;
    static const struct {
        enum space_level own, majority;
        bool better;
        uint64_t tried_us;
        enum space_level refused, passing;
    } rows[] = {
        {SPACE_FREE, SPACE_FREE, false, 0, SPACE_FREE, SPACE_FREE},
        {SPACE_FREE, SPACE_FULL, false, 0, SPACE_FULL, SPACE_FREE},          /* followers decide */
        {SPACE_NO_GROWTH, SPACE_FREE, true, 0, SPACE_FREE, SPACE_FREE},      /* others have room: nothing is refused */
        {SPACE_FULL, SPACE_FREE, true, 0, SPACE_FREE, SPACE_FULL},           /* another one will take it */
        {SPACE_FULL, SPACE_NO_GROWTH, true, 0, SPACE_NO_GROWTH, SPACE_FULL}, /* that one would refuse growth, too */
        {SPACE_FULL, SPACE_FREE, true, FITNESS_PASS_US - 1, SPACE_FREE, SPACE_FULL},
        {SPACE_FULL, SPACE_FREE, true, FITNESS_PASS_US, SPACE_FULL, SPACE_FREE}, /* nobody takes it: say so */
        {SPACE_FULL, SPACE_FREE, false, 0, SPACE_FULL, SPACE_FREE},
        {SPACE_FULL, SPACE_FULL, true, 0, SPACE_FULL, SPACE_FREE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fitness_space got = fitness_space(rows[i].own, rows[i].majority, rows[i].better, rows[i].tried_us);
        assert_int_equal(got.refused, rows[i].refused);
        assert_int_equal(got.passing, rows[i].passing);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_do_not_send_leaders_round),
        cmocka_unit_test(a_slow_disk_goes_to_one_four_times_as_fast),
        cmocka_unit_test(a_disk_that_fills_goes_to_a_roomier_one_when_that_lasts),
        cmocka_unit_test(a_full_disk_goes_at_once_to_whoever_has_room),
        cmocka_unit_test(a_node_that_routers_do_not_reach_goes_to_one_that_more_of_them_reach),
        cmocka_unit_test(clients_are_not_refused_while_the_leadership_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
