#include "unit/cq_cmocka.h"

#include "support/shard.h"

#include <stdio.h>

static void entries_of_earlier_builds_still_give_the_same_answers_and_digest(void **state)
{
    (void)state;
    static const char *const logs[] = {"mail-1.log", "mail-2.log"};
    for (size_t i = 0; i < sizeof logs / sizeof logs[0]; i++) {
        char path[1024];
        uint64_t at;
        snprintf(path, sizeof path, "%s/%s", GOLDEN_FOLDER, logs[i]);
        if (!shard_replay_log(path, &at))
            fail_msg("%s differs at index %llu", logs[i], (unsigned long long)at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_of_earlier_builds_still_give_the_same_answers_and_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
