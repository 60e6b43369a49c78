/* Two builds of the machine in one process: linked with tests/upgrade/command_version_next.c it knows version 2, and a
 * replica opened with known 1 is the older one. */
#include "unit/cq_cmocka.h"

#include "state/command_version.h"
#include "support/shard.h"

#define M(name) CHASQUI__MAIL__METHOD__##name
#define ACCOUNT 1

enum { NEW, OLD, REPLICAS };

static struct machine_outcome raise_to(struct shard *s, uint32_t version)
{
    Chasqui__Mail__RaiseVersion raise = CHASQUI__MAIL__RAISE_VERSION__INIT;
    raise.version = version;
    return shard_run(s, &(struct shard_call){.method = M(RAISE_VERSION), .message = &raise.base});
}

static struct machine_outcome create_mailbox(struct shard *s, uint16_t version, const char *name)
{
    Chasqui__Mail__CreateMailbox create = CHASQUI__MAIL__CREATE_MAILBOX__INIT;
    create.name = (char *)(uintptr_t)name;
    return shard_run(s,
                     &(struct shard_call){
                         .method = M(CREATE_MAILBOX), .account = ACCOUNT, .message = &create.base, .version = version});
}

static bool replicas_are_equal(struct shard *s)
{
    uint8_t digests[REPLICAS][16];
    for (unsigned i = 0; i < REPLICAS; i++)
        shard_machine(s, i)->ops->digest(shard_machine(s, i), digests[i]);
    return shard_catch_up(s, OLD, shard_last_index(s)) &&
           (shard_machine(s, OLD)->ops->digest(shard_machine(s, OLD), digests[OLD]), true) &&
           memcmp(digests[NEW], digests[OLD], 16) == 0;
}

static int setup(void **state)
{
    struct shard *s = shard_new(REPLICAS);
    Chasqui__Mail__CreateAccount create = CHASQUI__MAIL__CREATE_ACCOUNT__INIT;
    Chasqui__Mail__Limits limits = CHASQUI__MAIL__LIMITS__INIT;
    create.limits = &limits;
    create.address = "a@example.test";
    assert_int_equal(shard_build(s, OLD, 1), CQ_OK);
    shard_own_all(s);
    assert_int_equal(
        shard_run(s, &(struct shard_call){.method = M(CREATE_ACCOUNT), .account = ACCOUNT, .message = &create.base}).rc,
        CQ_OK);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    shard_free((struct shard **)state);
    return 0;
}

static void a_leader_proposes_at_the_lower_of_what_is_active_and_what_it_knows(void **state)
{
    (void)state;
    static const struct {
        uint32_t active;
        uint16_t proposes;
    } cases[] = {{0, 1}, {1, 1}, {2, 2}, {3, 2}, {UINT16_MAX, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(command_version_propose(cases[i].active), cases[i].proposes);
}

static void a_version_above_the_active_one_is_refused_by_old_and_new_builds_alike(void **state)
{
    struct shard *s = *state;
    static const uint16_t versions[] = {2, 3, UINT16_MAX};
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++)
        assert_int_equal(create_mailbox(s, versions[i], "Refused").rc, CQ_E_VERSION);
    assert_int_equal(create_mailbox(s, 1, "Taken").rc, CQ_OK);
    assert_true(replicas_are_equal(s));
    assert_int_equal(shard_machine(s, OLD)->ops->health(shard_machine(s, OLD)), CQ_OK);
}

static void a_raised_group_takes_both_versions_and_the_new_one_does_something_else(void **state)
{
    struct shard *s = *state;
    assert_int_equal(shard_build(s, OLD, 2), CQ_OK); /* both are new now */
    assert_int_equal(mail_machine_active_version(shard_machine(s, NEW)), 1);
    assert_int_equal(raise_to(s, 2).rc, CQ_OK);
    assert_int_equal(raise_to(s, 2).rc, CQ_OK); /* again: nothing */
    assert_int_equal(raise_to(s, 1).rc, CQ_OK); /* never back */
    assert_int_equal(mail_machine_active_version(shard_machine(s, NEW)), 2);
    assert_int_equal(create_mailbox(s, 1, "Old").rc, CQ_OK);
    assert_int_equal(create_mailbox(s, 2, "New").rc, CQ_OK);
    assert_true(replicas_are_equal(s));
    shard_crash(s, OLD, 0); /* it is in the store, or comes again from the log */
    assert_true(replicas_are_equal(s));
    assert_int_equal(mail_machine_active_version(shard_machine(s, OLD)), 2);
    assert_int_equal(raise_to(s, 65536).rc, CQ_E_INVALID);
}

static void an_old_build_stops_at_the_raise_and_a_new_one_goes_on_from_there(void **state)
{
    struct shard *s = *state;
    assert_true(replicas_are_equal(s));
    uint64_t before = shard_last_index(s);
    assert_int_equal(raise_to(s, 2).rc, CQ_OK);
    assert_int_equal(create_mailbox(s, 2, "New").rc, CQ_OK);
    shard_catch_up(s, OLD, shard_last_index(s));
    struct machine *old = shard_machine(s, OLD);
    assert_int_equal(old->ops->health(old), CQ_E_VERSION);
    assert_int_equal(old->ops->applied(old), before);
    assert_null(old->ops->effects_take(old)); /* nothing of it reaches the store */
    assert_int_equal(shard_build(s, OLD, 2), CQ_OK);
    assert_true(replicas_are_equal(s));
}

static void a_store_above_what_a_build_knows_is_not_opened_and_the_text_says_what_to_do(void **state)
{
    struct shard *s = *state;
    assert_int_equal(raise_to(s, 2).rc, CQ_OK);
    assert_int_equal(shard_build(s, NEW, 1), CQ_E_VERSION);
    assert_non_null(strstr(shard_err(s)->text, "version 2 is finalized"));
    assert_int_equal(create_mailbox(s, 2, "Still").rc, CQ_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_leader_proposes_at_the_lower_of_what_is_active_and_what_it_knows),
        cmocka_unit_test_setup_teardown(a_version_above_the_active_one_is_refused_by_old_and_new_builds_alike, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_raised_group_takes_both_versions_and_the_new_one_does_something_else, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_old_build_stops_at_the_raise_and_a_new_one_goes_on_from_there, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_store_above_what_a_build_knows_is_not_opened_and_the_text_says_what_to_do,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
