/* The reconciler over a real directory and the shard's state machine; what goes wrong is put in between. */
#include "admin/admin_missing.h"
#include "admin/admin_reconcile.h"
#include "admin/admin_steps.h"
#include "unit/cq_cmocka.h"
#include "unit/cq_log_expect.h"
#include "unit/frontend/front_bench.h"

#include <proto/mail.pb-c.h>
#include <stdio.h>
#include <stdlib.h>

#define GROUPS 4 /* of the bench */
#define SECOND UINT64_C(1000000)

static struct front_bench *bench;
static struct admin_reconciler *reconciler;
static struct cq_pool *pool;
static struct cq_err err;
static struct admin_reconcile_settings settings;

static uint32_t group_of(void *ctx, uint64_t account)
{
    (void)ctx;
    return 1 + dir_slot_of(account) % GROUPS;
}

static struct admin_reconciler *another(void)
{
    const struct admin_reconcile_config config = {.directory = bench->worker.directory,
                                                  .store = bench->worker.mailstore,
                                                  .settings = &settings,
                                                  .group_of = group_of};
    return admin_reconciler_new(&config);
}

static int setup(void **state)
{
    int rc = bench_setup(state);
    cq_log_expect_setup(NULL);
    bench = *state;
    pool = cq_pool_new(4096);
    settings = (struct admin_reconcile_settings){.interval_us = SECOND, .batch = 100, .audit = 0};
    reconciler = another();
    cq_metrics_register(&admin_reconcile_metrics);
    cq_metrics_register(&admin_missing_metrics);
    return rc;
}

static int teardown(void **state)
{
    int logged = cq_log_expect_teardown(NULL);
    admin_reconciler_free(&reconciler);
    cq_pool_free(&pool);
    return bench_teardown(state) || logged;
}

static struct admin_round round_at(uint64_t now_us)
{
    struct admin_round done;
    admin_reconcile_round(reconciler, now_us, &done);
    return done;
}

/* A row without its shard's half: what a crash leaves. */
static uint64_t half_created(const char *name, uint16_t slot)
{
    struct dir_account account;
    struct cq_slice hash;
    assert_int_equal(auth_hash_password(bench->worker.auth, CQ_SLICE(BENCH_PASSWORD), pool, &hash, &err), CQ_OK);
    const struct dir_account_new wanted = {.address = cq_slice_cstr(cq_pool_printf(pool, "%s@example.test", name)),
                                           .slot = slot,
                                           .services = DIR_ALL_SERVICES,
                                           .quota_bytes = 12345,
                                           .password_hash = hash};
    assert_int_equal(directory_account_create(bench->worker.directory, &wanted, pool, &account, &err), CQ_OK);
    return account.id;
}

static uint64_t half_deleted(const char *name, uint16_t slot)
{
    struct dir_account account;
    uint64_t id = half_created(name, slot);
    assert_int_equal(directory_account(bench->worker.directory, id, pool, &account, &err), CQ_OK);
    assert_int_equal(admin_finish_creating(bench->worker.directory, bench->worker.mailstore, &account, &err), CQ_OK);
    assert_int_equal(directory_account_delete(bench->worker.directory, id, &err), CQ_OK);
    return id;
}

static enum cq_rc in_shard(uint64_t id)
{
    struct mailstore_account shard = {.id = id};
    struct mail_account_state state;
    return mailstore_get_account(bench->worker.mailstore, &shard, pool, &state, &err);
}

/* DIR_STATE_COUNT: the row is gone. */
static enum dir_state in_directory(uint64_t id)
{
    struct dir_account account;
    enum cq_rc rc = directory_account(bench->worker.directory, id, pool, &account, &err);
    assert_true(rc == CQ_OK || rc == CQ_E_NOT_FOUND);
    return rc == CQ_OK ? account.state : DIR_STATE_COUNT;
}

static enum cq_rc create_in_shard(uint64_t id)
{
    struct mailstore_account shard = {.id = id};
    const struct mail_limits limits = {0};
    return mailstore_create_account(bench->worker.mailstore, &shard, &limits, CQ_SLICE("x@example.test"), &err);
}

/* ---- One account ---- */

static void an_account_left_creating_is_opened_with_its_password(void **state)
{
    (void)state;
    uint64_t id = half_created("new", 5);
    assert_int_equal(in_shard(id), CQ_E_NO_ACCOUNT);
    assert_int_equal(round_at(0).finished, 1);
    assert_int_equal(in_directory(id), DIR_ACTIVE);
    struct auth_identity identity;
    const struct auth_login login = {DIR_IMAP, CQ_SLICE("new@example.test"), CQ_SLICE(BENCH_PASSWORD)};
    assert_int_equal(auth_verify(bench->worker.auth, &login, pool, &identity, &err), CQ_OK);
    assert_true(identity.account.id == id);
    struct mailstore_account shard = {.id = id};
    struct mail_mailbox_list list;
    struct mail_account_state known;
    assert_int_equal(mailstore_list(bench->worker.mailstore, &shard, pool, &list, &err), CQ_OK);
    assert_int_equal(list.count, 6);
    assert_int_equal(mailstore_get_account(bench->worker.mailstore, &shard, pool, &known, &err), CQ_OK);
    assert_int_equal(known.limits.quota_bytes, 12345);
    assert_int_equal(round_at(0).finished, 0);
}

static void an_account_left_deleting_goes_and_its_id_is_never_used_again(void **state)
{
    (void)state;
    uint64_t id = half_deleted("old", 5);
    assert_int_equal(in_shard(id), CQ_OK);
    assert_int_equal(round_at(0).finished, 1);
    assert_int_equal(in_directory(id), DIR_STATE_COUNT);
    assert_int_equal(in_shard(id), CQ_E_NO_ACCOUNT);
    assert_int_equal(create_in_shard(id), CQ_E_CONFLICT);
    assert_true(half_created("old", 5) != id); /* the address is free */
}

static void a_creation_that_comes_late_finds_the_tombstone_of_an_account_that_never_was(void **state)
{
    (void)state;
    uint64_t id = half_created("never", 6);
    assert_int_equal(directory_account_delete(bench->worker.directory, id, &err), CQ_OK);
    assert_int_equal(round_at(0).finished, 1);
    assert_int_equal(in_directory(id), DIR_STATE_COUNT);
    assert_int_equal(create_in_shard(id), CQ_E_CONFLICT);
    assert_int_equal(in_shard(id), CQ_E_NO_ACCOUNT);
}

/* ---- Whatever goes wrong in between ---- */

struct crash {
    int after;    /* calls that work */
    bool applied; /* the one that fails has happened */
    int calls;
};

static enum cq_rc crashing(void *arg, const struct mailstore_call *call, bool applied)
{
    struct crash *crash = arg;
    (void)call;
    if (applied != crash->applied)
        return CQ_OK;
    return crash->calls++ == crash->after ? CQ_E_UNKNOWN_OUTCOME : CQ_OK;
}

static void whatever_call_is_lost_the_next_round_ends_it(void **state)
{
    (void)state;
    int number = 0;
    for (int deleting = 0; deleting < 3; deleting++)
        for (int applied = 0; applied < 2; applied++)
            for (int after = 0; after < 3; after++) {
                char name[32];
                snprintf(name, sizeof name, "crash%d", number++);
                uint64_t id = deleting == 1 ? half_deleted(name, 9) : half_created(name, 9);
                if (deleting == 2) /* one that the shard never knew */
                    assert_int_equal(directory_account_delete(bench->worker.directory, id, &err), CQ_OK);
                struct crash crash = {.after = after, .applied = applied};
                mailstore_local_set_fault(bench->local, crashing, &crash);
                struct admin_round first = round_at(0);
                mailstore_local_set_fault(bench->local, NULL, NULL);
                assert_int_equal(first.finished + first.failed, 1);
                assert_int_equal(first.failed, crash.calls > after);
                struct admin_round second = round_at(10 * SECOND);
                assert_int_equal(first.finished + second.finished, 1);
                assert_int_equal(in_directory(id), deleting ? DIR_STATE_COUNT : DIR_ACTIVE);
                assert_int_equal(in_shard(id), deleting ? CQ_E_NO_ACCOUNT : CQ_OK);
            }
}

struct intruder {
    struct admin_reconciler *other;
    int calls, at;
};

/* Another front-end's whole round falls into one of ours, at any of its calls. */
static enum cq_rc intrude(void *arg, const struct mailstore_call *call, bool applied)
{
    struct intruder *intruder = arg;
    (void)call;
    if (!applied && intruder->other && intruder->calls++ == intruder->at) {
        struct admin_reconciler *other = intruder->other;
        struct admin_round done;
        intruder->other = NULL;
        admin_reconcile_round(other, 0, &done);
        assert_int_equal(done.failed, 0);
    }
    return CQ_OK;
}

static void several_at_once_do_no_harm(void **state)
{
    (void)state;
    for (int at = 0; at < 5; at++) {
        char name[3][32];
        for (int i = 0; i < 3; i++)
            snprintf(name[i], sizeof name[i], "both%d-%d", at, i);
        uint64_t created = half_created(name[0], 1), deleted = half_deleted(name[1], 2);
        uint64_t never = half_created(name[2], 3);
        assert_int_equal(directory_account_delete(bench->worker.directory, never, &err), CQ_OK);
        struct admin_reconciler *other = another();
        struct intruder intruder = {.other = other, .at = at};
        mailstore_local_set_fault(bench->local, intrude, &intruder);
        assert_int_equal(round_at(0).failed, 0);
        mailstore_local_set_fault(bench->local, NULL, NULL);
        assert_null(intruder.other);
        admin_reconciler_free(&other);
        assert_int_equal(in_directory(created), DIR_ACTIVE);
        assert_int_equal(in_directory(deleted), DIR_STATE_COUNT);
        assert_int_equal(in_directory(never), DIR_STATE_COUNT);
        assert_int_equal(in_shard(created), CQ_OK);
        assert_int_equal(in_shard(deleted), CQ_E_NO_ACCOUNT);
        assert_int_equal(in_shard(never), CQ_E_NO_ACCOUNT);
    }
}

/* The operator removes the account while the reconciler opens it. */
static enum cq_rc remove_meanwhile(void *arg, const struct mailstore_call *call, bool applied)
{
    uint64_t *id = arg;
    if (applied && *id == call->account) {
        *id = 0;
        assert_int_equal(directory_account_delete(bench->worker.directory, call->account, &err), CQ_OK);
    }
    return CQ_OK;
}

static void an_account_that_is_removed_while_it_is_opened_is_no_failure(void **state)
{
    (void)state;
    uint64_t id = half_created("both", 1), removed = id;
    mailstore_local_set_fault(bench->local, remove_meanwhile, &removed);
    struct admin_round first = round_at(0);
    mailstore_local_set_fault(bench->local, NULL, NULL);
    assert_int_equal(removed, 0);
    assert_int_equal(first.finished + first.failed, 0);
    assert_int_equal(in_directory(id), DIR_DELETING);
    assert_int_equal(round_at(0).finished, 1);
    assert_int_equal(in_shard(id), CQ_E_NO_ACCOUNT);
}

/* ---- Many ---- */

static void young_ones_are_left_to_the_command_at_work(void **state)
{
    (void)state;
    settings.age_min_us = 3600 * SECOND;
    uint64_t id = half_created("young", 1);
    assert_int_equal(round_at(0).finished, 0);
    assert_int_equal(in_directory(id), DIR_CREATING);
    assert_int_equal(cq_metric_value(&admin_reconcile_metrics, 0, 0), 1); /* but they are counted */
    assert_int_equal(cq_metric_value(&admin_reconcile_metrics, 0, 1), 0);
}

static void a_round_is_bounded_and_the_next_goes_on(void **state)
{
    (void)state;
    settings.batch = 3;
    for (int i = 0; i < 7; i++)
        half_created(cq_pool_printf(pool, "many%d", i), (uint16_t)i);
    assert_int_equal(round_at(0).finished, 3);
    assert_int_equal(round_at(0).finished, 3);
    assert_int_equal(round_at(0).finished, 1);
    assert_int_equal(round_at(0).finished, 0);
}

static void what_cannot_be_finished_does_not_stand_in_the_way(void **state)
{
    (void)state;
    cq_log_expect("account.cannot_be_finished");
    settings.batch = 1;
    uint64_t stuck = half_deleted("stuck", 1);
    assert_int_equal(round_at(0).finished, 1);
    /* The row of an older copy of the directory: its shard has the tombstone. */
    uint64_t again = half_created("stuck", 1);
    struct mailstore_account shard = {.id = again};
    assert_int_equal(create_in_shard(again), CQ_OK);
    assert_int_equal(mailstore_delete_account(bench->worker.mailstore, &shard, &err), CQ_OK);
    uint64_t behind = half_created("behind", 1);
    struct admin_round first = round_at(0), second = round_at(0);
    assert_int_equal(first.failed, 1);
    assert_int_equal(second.finished, 1);
    assert_int_equal(in_directory(again), DIR_CREATING);
    assert_int_equal(in_directory(behind), DIR_ACTIVE);
    assert_true(stuck != again);
}

static enum cq_rc group_is_down(void *arg, const struct mailstore_call *call, bool applied)
{
    const uint32_t *down = arg; /* 0: all */
    return !applied && (!*down || group_of(NULL, call->account) == *down) ? CQ_E_UNAVAILABLE : CQ_OK;
}

static void a_shard_that_does_not_answer_is_left_alone_for_a_while_and_others_go_on(void **state)
{
    (void)state;
    uint32_t down = group_of(NULL, UINT64_C(1) << 48);
    for (int i = 0; i < 5; i++)
        half_created(cq_pool_printf(pool, "down%d", i), 1);
    half_created("up", 2);
    mailstore_local_set_fault(bench->local, group_is_down, &down);
    struct admin_round first = round_at(100 * SECOND);
    assert_int_equal(first.failed, 1); /* one call is enough to know */
    assert_int_equal(first.left_alone, 4);
    assert_int_equal(first.finished, 1);
    assert_int_equal(round_at(100 * SECOND + SECOND / 3).left_alone, 5);
    struct admin_round later = round_at(102 * SECOND); /* 1 s has passed: it is tried again, and rests longer */
    assert_int_equal(later.failed, 1);
    assert_int_equal(round_at(102 * SECOND + SECOND * 9 / 10).left_alone, 5);
    mailstore_local_set_fault(bench->local, NULL, NULL);
    assert_int_equal(round_at(105 * SECOND).finished, 5);
}

static void a_round_gives_up_when_the_whole_cluster_is_in_trouble(void **state)
{
    (void)state;
    uint32_t all = 0;
    for (uint16_t slot = 0; slot < GROUPS; slot++)
        half_created(cq_pool_printf(pool, "g%d", slot), slot);
    mailstore_local_set_fault(bench->local, group_is_down, &all);
    struct admin_round first = round_at(0);
    assert_int_equal(first.failed, 3); /* of four groups */
    settings.audit = 10;
    assert_int_equal(round_at(100 * SECOND).missing, 0); /* no answer is not "no account" */
    mailstore_local_set_fault(bench->local, NULL, NULL);
    size_t finished = 0;
    for (uint64_t s = 200; s < 203; s++)
        finished += round_at(s * SECOND).finished;
    assert_int_equal(finished, GROUPS);
}

/* ---- The audit ---- */

static void an_active_account_that_its_shard_does_not_know_is_an_alarm_and_stays_unavailable(void **state)
{
    (void)state;
    cq_log_expect("account.missing");
    settings.audit = 100;
    uint64_t id = half_created("lost", 3);
    assert_int_equal(directory_account_activate(bench->worker.directory, id, &err), CQ_OK);
    uint64_t before = (uint64_t)cq_metric_value(&admin_missing_metrics, 0);
    struct admin_round done = round_at(0);
    assert_int_equal(done.audited, 3); /* ana, ben and this one */
    assert_int_equal(done.missing, 1);
    assert_int_equal((uint64_t)cq_metric_value(&admin_missing_metrics, 0), before + 1);
    assert_int_equal(in_directory(id), DIR_ACTIVE);
    assert_int_equal(in_shard(id), CQ_E_NO_ACCOUNT);
}

static void an_account_that_is_being_made_or_removed_is_no_alarm(void **state)
{
    (void)state;
    uint64_t created = half_created("made", 3), deleted = half_deleted("removed", 3);
    assert_false(admin_missing_check(bench->worker.directory, created));
    assert_false(admin_missing_check(bench->worker.directory, deleted));
    assert_false(admin_missing_check(bench->worker.directory, 77));
    settings.audit = 100;
    assert_int_equal(round_at(0).missing, 0);
}

static void the_audit_goes_round_all_accounts_and_sends_limits_that_were_missed(void **state)
{
    (void)state;
    settings.audit = 2;
    uint64_t id = half_created("third", 60000);
    assert_int_equal(round_at(0).finished, 1);
    for (int i = 0; i < 2; i++) /* ana's and ben's limits are the bench's own: no plan has them */
        round_at(0);
    const struct dir_account_update update = {.what = DIR_SET_QUOTA, .quota_bytes = 999};
    assert_int_equal(directory_account_update(bench->worker.directory, id, &update, &err), CQ_OK);
    size_t audited = 0, sent = 0;
    for (int i = 0; i < 4; i++) { /* 2, 1, 2, 1 of three */
        struct admin_round done = round_at(0);
        audited += done.audited;
        sent += done.limits_sent;
    }
    assert_int_equal(audited, 6);
    assert_int_equal(sent, 1);
    struct mailstore_account shard = {.id = id};
    struct mail_account_state known;
    assert_int_equal(mailstore_get_account(bench->worker.mailstore, &shard, pool, &known, &err), CQ_OK);
    assert_int_equal(known.limits.quota_bytes, 999);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_account_left_creating_is_opened_with_its_password),
        TEST(an_account_left_deleting_goes_and_its_id_is_never_used_again),
        TEST(a_creation_that_comes_late_finds_the_tombstone_of_an_account_that_never_was),
        TEST(whatever_call_is_lost_the_next_round_ends_it),
        TEST(several_at_once_do_no_harm),
        TEST(an_account_that_is_removed_while_it_is_opened_is_no_failure),
        TEST(young_ones_are_left_to_the_command_at_work),
        TEST(a_round_is_bounded_and_the_next_goes_on),
        TEST(what_cannot_be_finished_does_not_stand_in_the_way),
        TEST(a_shard_that_does_not_answer_is_left_alone_for_a_while_and_others_go_on),
        TEST(a_round_gives_up_when_the_whole_cluster_is_in_trouble),
        TEST(an_active_account_that_its_shard_does_not_know_is_an_alarm_and_stays_unavailable),
        TEST(an_account_that_is_being_made_or_removed_is_no_alarm),
        TEST(the_audit_goes_round_all_accounts_and_sends_limits_that_were_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
