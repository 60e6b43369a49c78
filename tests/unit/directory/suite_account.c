/* The directory's suite: domains, accounts and their life, what a crash left half done. */
#include "unit/directory/suite_private.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- Domains ---- */

static void domains_are_kept_under_their_canonical_name(void **state)
{
    (void)state;
    struct dir_domain d, *list;
    size_t n;
    assert_ok(directory_domain_add(dir, S("Example.TEST"), &suite_err));
    assert_rc(directory_domain_add(dir, S("example.test"), &suite_err), CQ_E_EXISTS);
    assert_rc(directory_domain_add(dir, S("no host name"), &suite_err), CQ_E_INVALID);
    assert_ok(directory_domain_add(dir,
                                   S("b\xc3\xbc"
                                     "cher.example"),
                                   &suite_err));
    assert_ok(directory_domain(dir, S("EXAMPLE.test"), pool, &d, &suite_err));
    assert_slice(d.name, "example.test");
    assert_true(d.id && d.version && !d.alias_of && !d.postmaster);
    assert_rc(directory_domain(dir, S("other.test"), pool, &d, &suite_err), CQ_E_NOT_FOUND);
    assert_ok(directory_domain_list(dir, S(""), 10, pool, &list, &n, &suite_err));
    assert_int_equal(n, 2);
    assert_slice(list[0].name, "example.test");
    assert_slice(list[1].name, "xn--bcher-kva.example");
    assert_ok(directory_domain_list(dir, S("example.test"), 10, pool, &list, &n, &suite_err));
    assert_int_equal(n, 1);
    assert_ok(directory_domain_list(dir, S(""), 1, pool, &list, &n, &suite_err));
    assert_int_equal(n, 1);
    assert_ok(directory_domain_remove(dir, S("example.test"), &suite_err));
    assert_rc(directory_domain_remove(dir, S("example.test"), &suite_err), CQ_E_NOT_FOUND);
}

static void a_domain_in_use_is_not_removed(void **state)
{
    (void)state;
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    assert_ok(directory_domain_alias_add(dir, S("b.test"), S("a.test"), &suite_err));
    assert_rc(directory_domain_remove(dir, S("a.test"), &suite_err), CQ_E_CONFLICT);
    assert_ok(directory_domain_remove(dir, S("b.test"), &suite_err));
    uint64_t id = suite_add("x@a.test");
    assert_rc(directory_domain_remove(dir, S("a.test"), &suite_err), CQ_E_CONFLICT);
    assert_ok(directory_account_delete(dir, id, &suite_err));
    assert_ok(directory_account_remove(dir, id, &suite_err));
    assert_ok(directory_domain_remove(dir, S("a.test"), &suite_err));
}

static void alias_domains_are_one_step_deep(void **state)
{
    (void)state;
    struct dir_domain d;
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    assert_rc(directory_domain_alias_add(dir, S("b.test"), S("nowhere.test"), &suite_err), CQ_E_NOT_FOUND);
    assert_ok(directory_domain_alias_add(dir, S("b.test"), S("a.test"), &suite_err));
    assert_rc(directory_domain_alias_add(dir, S("c.test"), S("b.test"), &suite_err), CQ_E_INVALID);
    assert_rc(directory_domain_alias_add(dir, S("b.test"), S("a.test"), &suite_err), CQ_E_EXISTS);
    assert_ok(directory_domain(dir, S("b.test"), pool, &d, &suite_err));
    assert_slice(d.alias_of_name, "a.test");
    const struct dir_account_new new = {.address = S("x@b.test"), .services = DIR_IMAP};
    struct dir_account account;
    assert_rc(directory_account_create(dir, &new, pool, &account, &suite_err), CQ_E_INVALID);
    uint64_t id = suite_add("x@a.test");
    assert_rc(directory_alias_add(dir, S("y@b.test"), id, &suite_err), CQ_E_INVALID);
}

/* ---- Accounts ---- */

static void an_account_is_born_creating_with_its_slot(void **state)
{
    (void)state;
    struct dir_account a, holder;
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    const struct dir_account_new new = {
        .address = S("Alice@A.test"),
        .slot = 0xfedc,
        .home_dc = S("dc-b"),
        .plan = S("business"),
        .services = DIR_IMAP | DIR_SMTP,
        .admin = true,
        .quota_bytes = 1u << 30,
        .quota_messages = 1000,
    };
    assert_ok(directory_account_create(dir, &new, pool, &a, &suite_err));
    assert_int_equal(dir_slot_of(a.id), 0xfedc);
    a = suite_get(a.id);
    assert_slice(a.address, "alice@a.test");
    assert_int_equal(a.state, DIR_CREATING);
    assert_int_equal(a.services, DIR_IMAP | DIR_SMTP);
    assert_int_equal(a.plan->messages_per_day, 2000);
    assert_slice(a.home_dc, "dc-b");
    assert_true(a.admin && a.version && a.created_us);
    assert_int_equal(a.quota_bytes, 1u << 30);
    assert_int_equal(a.quota_messages, 1000);
    /* again: told who has it, so that a create that was cut short goes on */
    assert_rc(directory_account_create(dir, &new, pool, &holder, &suite_err), CQ_E_EXISTS);
    assert_true(holder.id == a.id);
    assert_int_equal(holder.state, DIR_CREATING);
}

static void what_cannot_be_created_is_refused(void **state)
{
    (void)state;
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    uint64_t id = suite_add("taken@a.test");
    assert_ok(directory_alias_add(dir, S("info@a.test"), id, &suite_err));
    static const struct {
        const char *address, *plan;
        unsigned services;
        uint64_t quota;
        enum cq_rc rc;
    } cases[] = {
        {"x@nowhere.test", "", DIR_IMAP, 0, CQ_E_NOT_FOUND},
        {"x+tag@a.test", "", DIR_IMAP, 0, CQ_E_INVALID},
        {"a b@a.test", "", DIR_IMAP, 0, CQ_E_INVALID},
        {"@a.test", "", DIR_IMAP, 0, CQ_E_INVALID},
        {"x", "", DIR_IMAP, 0, CQ_E_INVALID},
        {"x@a.test", "golden", DIR_IMAP, 0, CQ_E_INVALID},
        {"x@a.test", "", 8, 0, CQ_E_INVALID},
        {"x@a.test", "", DIR_IMAP, UINT64_MAX, CQ_E_INVALID},
        {"TAKEN@a.test", "", DIR_IMAP, 0, CQ_E_EXISTS},
        {"info@a.test", "", DIR_IMAP, 0, CQ_E_EXISTS},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dir_account a;
        const struct dir_account_new new = {.address = S(cases[i].address),
                                            .plan = S(cases[i].plan),
                                            .services = cases[i].services,
                                            .quota_bytes = cases[i].quota};
        assert_rc(directory_account_create(dir, &new, pool, &a, &suite_err), cases[i].rc);
        assert_true(cases[i].rc == CQ_E_EXISTS || a.id == 0);
    }
}

static void the_life_cycle_allows_what_it_says_and_nothing_else(void **state)
{
    (void)state;
    typedef enum cq_rc change_fn(struct directory *, uint64_t, struct cq_err *);
    change_fn *const fns[] = {directory_account_activate, directory_account_disable, directory_account_enable,
                              directory_account_delete};
    /* rows: from state; columns: activate, disable, enable, delete */
    static const enum cq_rc want[DIR_STATE_COUNT][4] = {
        [DIR_CREATING] = {CQ_OK, CQ_E_CONFLICT, CQ_E_CONFLICT, CQ_OK},
        [DIR_ACTIVE] = {CQ_OK, CQ_OK, CQ_OK, CQ_OK},
        [DIR_DISABLED] = {CQ_E_CONFLICT, CQ_OK, CQ_OK, CQ_OK},
        [DIR_DELETING] = {CQ_E_CONFLICT, CQ_E_CONFLICT, CQ_E_CONFLICT, CQ_OK},
    };
    static const enum dir_state after[4] = {DIR_ACTIVE, DIR_DISABLED, DIR_ACTIVE, DIR_DELETING};
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    for (int from = 0; from < DIR_VANISHED; from++) /* vanished: of other programs' tables only */
        for (int to = 0; to < 4; to++) {
            char address[64];
            snprintf(address, sizeof address, "x%d-%d@a.test", from, to);
            uint64_t id = suite_create(address, 1, false);
            if (from == DIR_ACTIVE || from == DIR_DISABLED)
                assert_ok(directory_account_activate(dir, id, &suite_err));
            if (from == DIR_DISABLED)
                assert_ok(directory_account_disable(dir, id, &suite_err));
            if (from == DIR_DELETING)
                assert_ok(directory_account_delete(dir, id, &suite_err));
            uint64_t version = suite_get(id).version;
            assert_rc(fns[to](dir, id, &suite_err), want[from][to]);
            struct dir_account a = suite_get(id);
            bool changed = want[from][to] == CQ_OK && after[to] != (enum dir_state)from;
            assert_int_equal(a.state, want[from][to] == CQ_OK ? after[to] : (enum dir_state)from);
            assert_int_equal(a.version > version, changed);
        }
    assert_rc(directory_account_activate(dir, 12345, &suite_err), CQ_E_NOT_FOUND);
}

static void removing_takes_what_belongs_to_the_account_and_frees_the_address(void **state)
{
    (void)state;
    struct dir_account a;
    struct dir_credential *rows;
    size_t n;
    uint64_t credential;
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    uint64_t x = suite_add("x@a.test"), y = suite_add("y@a.test");
    assert_ok(directory_alias_add(dir, S("only-x@a.test"), x, &suite_err));
    assert_ok(directory_alias_add(dir, S("both@a.test"), x, &suite_err));
    assert_ok(directory_alias_add(dir, S("both@a.test"), y, &suite_err));
    assert_ok(directory_domain_postmaster(dir, S("a.test"), x, &suite_err));
    const struct dir_credential password = {.account_id = x, .scopes = DIR_IMAP, .hash = S("h")};
    assert_ok(directory_credential_put(dir, &password, &credential, &suite_err));
    assert_rc(directory_account_remove(dir, x, &suite_err), CQ_E_CONFLICT); /* not deleting yet */
    assert_ok(directory_account_delete(dir, x, &suite_err));
    assert_ok(directory_account_remove(dir, x, &suite_err));
    assert_ok(directory_account_remove(dir, x, &suite_err)); /* gone already */
    assert_rc(directory_account(dir, x, pool, &a, &suite_err), CQ_E_NOT_FOUND);
    suite_expect_answer("x@a.test", DIR_NO_USER);
    suite_expect_answer("only-x@a.test", DIR_NO_USER);
    suite_expect_one("both@a.test", DIR_VIA_ALIAS, y);
    suite_expect_one("postmaster@a.test", DIR_VIA_POSTMASTER, y);
    assert_ok(directory_credential_list(dir, x, pool, &rows, &n, &suite_err));
    assert_int_equal(n, 0);
    uint64_t again = suite_add("x@a.test");
    assert_true(again != x);
}

/* ---- Half done ---- */

static void expect_pending(const struct dir_pending_query *query, size_t count, const uint64_t *ids)
{
    struct dir_account *rows;
    size_t n;
    assert_ok(directory_pending_list(dir, query, pool, &rows, &n, &suite_err));
    assert_int_equal(n, count);
    for (size_t i = 0; i < n; i++) {
        assert_true(rows[i].id == ids[i]);
        assert_true(i == 0 || rows[i].state_us >= rows[i - 1].state_us);
        assert_true(rows[i].state == DIR_CREATING || rows[i].state == DIR_DELETING);
    }
}

static void what_is_half_done_is_listed_from_the_oldest(void **state)
{
    (void)state;
    struct dir_pending pending;
    const struct dir_pending_query all = {.max = 10}, two = {.max = 2}, old = {.age_min_us = 3600000000, .max = 10};
    const struct dir_pending_query oldest_of_all = {.age_min_us = UINT64_MAX, .max = 10}, none = {.max = 0};
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    expect_pending(&all, 0, NULL);
    assert_ok(directory_pending_count(dir, &pending, &suite_err));
    assert_true(!pending.creating && !pending.deleting && !pending.creating_age_max_us && !pending.deleting_age_max_us);

    uint64_t deleted = suite_create("deleted@a.test", 0xffff, false); /* the oldest row, but not the oldest state */
    uint64_t first = suite_create("first@a.test", 0xfffe, false);     /* ids above 2^63 and below */
    uint64_t second = suite_create("second@a.test", 1, false);
    uint64_t active = suite_add("active@a.test"), disabled = suite_add("disabled@a.test");
    assert_ok(directory_account_disable(dir, disabled, &suite_err));
    assert_true(suite_get(active).state_us >= suite_get(active).created_us && suite_get(first).state_us);
    assert_ok(directory_account_delete(dir, deleted, &suite_err));
    expect_pending(&all, 3, (const uint64_t[]){first, second, deleted});
    expect_pending(&two, 2, (const uint64_t[]){first, second});
    expect_pending(&none, 0, NULL);
    expect_pending(&old, 0, NULL);
    expect_pending(&oldest_of_all, 0, NULL);
    struct dir_account at = suite_get(second);
    const struct dir_pending_query next = {.after_us = at.state_us, .after_id = at.id, .max = 10};
    expect_pending(&next, 1, &deleted);
    assert_ok(directory_pending_count(dir, &pending, &suite_err));
    assert_int_equal(pending.creating, 2);
    assert_int_equal(pending.deleting, 1);
    assert_true(pending.creating_age_max_us >= pending.deleting_age_max_us);
    assert_true(pending.creating_age_max_us < 3600000000);

    assert_ok(directory_account_delete(dir, deleted, &suite_err)); /* asked for again: it stays as old as it was */
    assert_ok(directory_account_activate(dir, first, &suite_err));
    expect_pending(&all, 2, (const uint64_t[]){second, deleted});
    assert_ok(directory_account_remove(dir, deleted, &suite_err));
    expect_pending(&all, 1, &second);
}

static void an_account_is_born_with_its_password_or_without(void **state)
{
    (void)state;
    struct dir_account with, without;
    struct dir_credential *rows;
    size_t n;
    uint64_t id;
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    struct dir_account_new new = {
        .address = S("with@a.test"), .slot = 3, .services = DIR_IMAP, .password_hash = S("$argon2id$x")};
    assert_ok(directory_account_create(dir, &new, pool, &with, &suite_err));
    assert_ok(directory_credential_list(dir, with.id, pool, &rows, &n, &suite_err));
    assert_int_equal(n, 1);
    assert_int_equal(rows[0].kind, DIR_PASSWORD);
    assert_int_equal(rows[0].scopes, DIR_ALL_SERVICES);
    assert_slice(rows[0].hash, "$argon2id$x");
    assert_true(rows[0].id && rows[0].version && rows[0].created_us && !rows[0].expires_us && !rows[0].prefix.len);
    assert_true(with.version >= rows[0].version);
    new.address = S("without@a.test");
    new.password_hash = S("");
    assert_ok(directory_account_create(dir, &new, pool, &without, &suite_err));
    assert_ok(directory_credential_list(dir, without.id, pool, &rows, &n, &suite_err));
    assert_int_equal(n, 0);
    /* refused: nothing of it is there, and the one that holds the address keeps its password */
    new.address = S("with@a.test");
    new.password_hash = S("another");
    assert_rc(directory_account_create(dir, &new, pool, &without, &suite_err), CQ_E_EXISTS);
    assert_ok(directory_credential_list(dir, with.id, pool, &rows, &n, &suite_err));
    assert_int_equal(n, 1);
    assert_slice(rows[0].hash, "$argon2id$x");
    const struct dir_credential replaced = {.account_id = with.id, .scopes = DIR_ALL_SERVICES, .hash = S("new")};
    assert_ok(directory_credential_put(dir, &replaced, &id, &suite_err));
    assert_ok(directory_credential_list(dir, with.id, pool, &rows, &n, &suite_err));
    assert_int_equal(n, 1);
    assert_slice(rows[0].hash, "new");
}

static void updates_change_what_they_name(void **state)
{
    (void)state;
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    uint64_t id = suite_add("x@a.test");
    uint64_t version = suite_get(id).version;
    struct dir_account_update update = {.what = DIR_SET_PLAN | DIR_SET_QUOTA,
                                        .expected_version = version,
                                        .plan = S("business"),
                                        .quota_bytes = 5,
                                        .quota_messages = 6,
                                        .services = 0,
                                        .admin = true};
    assert_ok(directory_account_update(dir, id, &update, &suite_err));
    struct dir_account a = suite_get(id);
    assert_int_equal(a.plan->messages_per_day, 2000);
    assert_int_equal(a.quota_bytes, 5);
    assert_int_equal(a.quota_messages, 6);
    assert_int_equal(a.services, DIR_ALL_SERVICES);
    assert_false(a.admin);
    assert_true(a.version > version);
    assert_rc(directory_account_update(dir, id, &update, &suite_err), CQ_E_CONFLICT); /* the old version */
    update = (struct dir_account_update){.what = DIR_SET_SERVICES | DIR_SET_ADMIN | DIR_SET_HOME_DC,
                                         .services = DIR_POP,
                                         .admin = true,
                                         .home_dc = S("c")};
    assert_ok(directory_account_update(dir, id, &update, &suite_err));
    a = suite_get(id);
    assert_int_equal(a.services, DIR_POP);
    assert_true(a.admin);
    assert_slice(a.home_dc, "c");
    assert_int_equal(a.quota_bytes, 5);
    update = (struct dir_account_update){.what = DIR_SET_PLAN, .plan = S("golden")};
    assert_rc(directory_account_update(dir, id, &update, &suite_err), CQ_E_INVALID);
    assert_rc(directory_account_update(dir, 1, &(struct dir_account_update){0}, &suite_err), CQ_E_NOT_FOUND);
}

static void lists_page_through_all_ids_in_order(void **state)
{
    (void)state;
    static const uint16_t slots[] = {0, 1, 0x7fff, 0x8000, 0xffff, 0x8000, 3};
    struct dir_account *rows;
    size_t n, total = 0;
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    assert_ok(directory_domain_add(dir, S("b.test"), &suite_err));
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        char address[64];
        snprintf(address, sizeof address, "u%zu@%c.test", i, i % 2 ? 'b' : 'a');
        uint64_t id = suite_create(address, slots[i], false);
        if (i == 5)
            assert_ok(directory_account_delete(dir, id, &suite_err));
    }
    struct dir_account_filter filter = {.max = 2};
    do {
        assert_ok(directory_account_list(dir, &filter, pool, &rows, &n, &suite_err));
        for (size_t i = 0; i < n; i++) {
            assert_true(rows[i].id > filter.after_id);
            filter.after_id = rows[i].id;
        }
        total += n;
    } while (n);
    assert_int_equal(total, 7);
    filter = (struct dir_account_filter){.domain = S("b.test"), .max = 100};
    assert_ok(directory_account_list(dir, &filter, pool, &rows, &n, &suite_err));
    assert_int_equal(n, 3);
    filter = (struct dir_account_filter){.states = 1u << DIR_DELETING, .max = 100};
    assert_ok(directory_account_list(dir, &filter, pool, &rows, &n, &suite_err));
    assert_int_equal(n, 1);
    assert_int_equal(dir_slot_of(rows[0].id), 0x8000);
    filter = (struct dir_account_filter){.domain = S("c.test"), .max = 100};
    assert_rc(directory_account_list(dir, &filter, pool, &rows, &n, &suite_err), CQ_E_NOT_FOUND);
}

int suite_account_tests(const char *backend)
{
    const struct CMUnitTest tests[] = {
        TEST(domains_are_kept_under_their_canonical_name),
        TEST(a_domain_in_use_is_not_removed),
        TEST(alias_domains_are_one_step_deep),
        TEST(an_account_is_born_creating_with_its_slot),
        TEST(what_cannot_be_created_is_refused),
        TEST(the_life_cycle_allows_what_it_says_and_nothing_else),
        TEST(removing_takes_what_belongs_to_the_account_and_frees_the_address),
        TEST(what_is_half_done_is_listed_from_the_oldest),
        TEST(an_account_is_born_with_its_password_or_without),
        TEST(updates_change_what_they_name),
        TEST(lists_page_through_all_ids_in_order),
    };
    return cmocka_run_group_tests_name(backend, tests, NULL, NULL);
}
