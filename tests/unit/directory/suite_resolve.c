/* The directory's suite: who gets mail, who sends as whom, who logs in. */
#include "unit/directory/suite_private.h"

#include "base/cq_rand.h"

#include <stdio.h>
#include <stdlib.h>

static void addresses_are_found_by_the_rules_in_their_order(void **state)
{
    (void)state;
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    assert_ok(directory_domain_add(dir, S("b.test"), &suite_err));
    assert_ok(directory_domain_alias_add(dir, S("alias.test"), S("a.test"), &suite_err));
    uint64_t alice = suite_add("alice@a.test"), bob = suite_add("bob@a.test"), all = suite_add("all@b.test");
    assert_ok(directory_alias_add(dir, S("Info@a.test"), bob, &suite_err));
    assert_ok(directory_alias_add(dir, S("@b.test"), all, &suite_err));
    static const struct {
        const char *address;
        enum dir_answer answer;
        enum dir_via via;
        char who;
    } cases[] = {
        {"alice@a.test", DIR_FOUND, DIR_VIA_PRIMARY, 'a'},
        {"ALICE@A.TEST", DIR_FOUND, DIR_VIA_PRIMARY, 'a'},
        {"alice+news@a.test", DIR_FOUND, DIR_VIA_PLUS, 'a'},
        {"alice@alias.test", DIR_FOUND, DIR_VIA_PRIMARY, 'a'},
        {"alice+x@alias.test", DIR_FOUND, DIR_VIA_PLUS, 'a'},
        {"info@a.test", DIR_FOUND, DIR_VIA_ALIAS, 'b'},
        {"info+x@alias.test", DIR_FOUND, DIR_VIA_PLUS, 'b'},
        {"anything@b.test", DIR_FOUND, DIR_VIA_CATCH_ALL, 'c'},
        {"any+thing@b.test", DIR_FOUND, DIR_VIA_CATCH_ALL, 'c'},
        {"all@b.test", DIR_FOUND, DIR_VIA_PRIMARY, 'c'},
        {"a.lice@a.test", DIR_NO_USER, 0, 0},
        {"nobody@a.test", DIR_NO_USER, 0, 0},
        {"nobody+alice@a.test", DIR_NO_USER, 0, 0},
        {"@b.test", DIR_NO_USER, 0, 0},
        {"alice@elsewhere.test", DIR_NO_DOMAIN, 0, 0},
        {"alice@[127.0.0.1]", DIR_NO_DOMAIN, 0, 0},
        {"alice", DIR_NO_DOMAIN, 0, 0},
        {"", DIR_NO_DOMAIN, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (cases[i].who)
            suite_expect_one(cases[i].address, cases[i].via,
                             cases[i].who == 'a'   ? alice
                             : cases[i].who == 'b' ? bob
                                                   : all);
        else
            suite_expect_answer(cases[i].address, cases[i].answer);
    }
    struct dir_resolution r = suite_resolve("Alice+News@A.test");
    assert_slice(r.address.text, "alice+news@a.test");
    assert_slice(r.address.tag, "news");
    assert_slice(r.accounts[0].address, "alice@a.test");
}

static void hostile_names_are_found_or_not_and_never_interpreted(void **state)
{
    (void)state;
    static char longer[10000];
    memset(longer, 'a', sizeof longer);
    memcpy(longer + sizeof longer - 7, "@a.test", 7);
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    uint64_t id = suite_add("o'brien@a.test");
    suite_add("percent%@a.test");
    suite_expect_one("o'brien@a.test", DIR_VIA_PRIMARY, id);
    static const struct cq_slice cases[] = {
        {(const uint8_t *)"%@a.test", 8},
        {(const uint8_t *)"_'brien@a.test", 14},
        {(const uint8_t *)"*@a.test", 8},
        {(const uint8_t *)"o'brien' OR '1'='1@a.test", 25},
        {(const uint8_t *)"'; DROP TABLE account; --@a.test", 32},
        {(const uint8_t *)"o\\'brien@a.test", 15},
        {(const uint8_t *)"o'brien\0@a.test", 15},
        {(const uint8_t *)"\0@a.test", 8},
        {(const uint8_t *)"\xff\xfe@a.test", 9},
        {(const uint8_t *)longer, sizeof longer},
        {(const uint8_t *)"\"o'brien\"@a.test", 16},
        {(const uint8_t *)"percent%25@a.test", 17},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dir_resolution r;
        struct dir_account a;
        assert_ok(directory_resolve(dir, cases[i], pool, &r, &suite_err));
        assert_int_equal(r.account_count, 0);
        assert_true(r.answer == DIR_NO_USER || r.answer == DIR_NO_DOMAIN);
        assert_rc(directory_account_by_login(dir, cases[i], pool, &a, &suite_err), CQ_E_NOT_FOUND);
        assert_rc(directory_may_send_as(dir, id, cases[i], &suite_err), CQ_E_DENIED);
    }
    struct dir_account_filter filter = {.max = 10};
    struct dir_account *rows;
    size_t n;
    assert_ok(directory_account_list(dir, &filter, pool, &rows, &n, &suite_err));
    assert_int_equal(n, 2);
}

static void an_alias_may_have_many_accounts(void **state)
{
    (void)state;
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    uint64_t x = suite_add("x@a.test"), y = suite_add("y@a.test");
    assert_ok(directory_alias_add(dir, S("team@a.test"), x, &suite_err));
    assert_ok(directory_alias_add(dir, S("team@a.test"), y, &suite_err));
    assert_rc(directory_alias_add(dir, S("Team@a.test"), y, &suite_err), CQ_E_EXISTS);
    assert_rc(directory_alias_add(dir, S("x@a.test"), y, &suite_err), CQ_E_EXISTS); /* an account's own address */
    assert_rc(directory_alias_add(dir, S("new@a.test"), 99, &suite_err), CQ_E_NOT_FOUND);
    assert_rc(directory_alias_add(dir, S("a+b@a.test"), x, &suite_err), CQ_E_INVALID);
    assert_rc(directory_alias_add(dir, S("new@other.test"), x, &suite_err), CQ_E_NOT_FOUND);
    struct dir_resolution r = suite_resolve("team@a.test");
    assert_int_equal(r.account_count, 2);
    assert_int_equal(r.via, DIR_VIA_ALIAS);

    struct dir_address_row *rows;
    size_t n;
    assert_ok(directory_address_list(dir, x, S(""), 100, pool, &rows, &n, &suite_err));
    assert_int_equal(n, 2);
    assert_slice(rows[0].address, "x@a.test");
    assert_int_equal(rows[0].kind, DIR_PRIMARY);
    assert_slice(rows[1].address, "team@a.test");
    assert_int_equal(rows[1].target_count, 2);
    assert_ok(directory_address_list(dir, 0, S("a.test"), 100, pool, &rows, &n, &suite_err));
    assert_int_equal(n, 3);
    assert_ok(directory_address_list(dir, 0, S("a.test"), 1, pool, &rows, &n, &suite_err));
    assert_int_equal(n, 1);

    assert_ok(directory_alias_remove(dir, S("team@a.test"), x, &suite_err));
    suite_expect_one("team@a.test", DIR_VIA_ALIAS, y);
    assert_rc(directory_alias_remove(dir, S("team@a.test"), x, &suite_err), CQ_E_NOT_FOUND);
    assert_ok(directory_alias_remove(dir, S("team@a.test"), 0, &suite_err));
    suite_expect_answer("team@a.test", DIR_NO_USER);
    assert_rc(directory_alias_remove(dir, S("team@a.test"), 0, &suite_err), CQ_E_NOT_FOUND);
    assert_rc(directory_alias_remove(dir, S("x@a.test"), 0, &suite_err), CQ_E_NOT_FOUND); /* no alias */
    suite_expect_one("x@a.test", DIR_VIA_PRIMARY, x);
}

static void the_accounts_of_one_alias_are_bounded(void **state)
{
    (void)state;
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    for (int i = 0; i <= DIR_TARGETS_MAX; i++) {
        char address[64];
        snprintf(address, sizeof address, "u%d@a.test", i);
        assert_rc(directory_alias_add(dir, S("team@a.test"), suite_create(address, 1, false), &suite_err),
                  i < DIR_TARGETS_MAX ? CQ_OK : CQ_E_LIMIT);
    }
}

static void the_state_of_the_accounts_decides_the_answer(void **state)
{
    (void)state;
    struct dir_resolution r;
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    uint64_t creating = suite_create("c@a.test", 1, false), on = suite_add("on@a.test"), off = suite_add("off@a.test");
    assert_ok(directory_account_disable(dir, off, &suite_err));
    assert_rc(directory_resolve(dir, S("c@a.test"), pool, &r, &suite_err), CQ_E_UNAVAILABLE);
    suite_expect_answer("off@a.test", DIR_USER_DISABLED);
    assert_ok(directory_alias_add(dir, S("team@a.test"), off, &suite_err));
    suite_expect_answer("team@a.test", DIR_USER_DISABLED);
    assert_ok(directory_alias_add(dir, S("team@a.test"), on, &suite_err));
    suite_expect_one("team@a.test", DIR_VIA_ALIAS, on);
    assert_ok(directory_alias_add(dir, S("team@a.test"), creating, &suite_err));
    assert_rc(directory_resolve(dir, S("team@a.test"), pool, &r, &suite_err), CQ_E_UNAVAILABLE);
    assert_ok(directory_account_delete(dir, creating, &suite_err));
    assert_rc(directory_resolve(dir, S("c@a.test"), pool, &r, &suite_err), CQ_E_UNAVAILABLE); /* deleting: 451 */
    assert_ok(directory_account_enable(dir, off, &suite_err));
    suite_expect_one("off@a.test", DIR_VIA_PRIMARY, off);
}

static void postmaster_always_finds_somebody(void **state)
{
    (void)state;
    struct dir_resolution r;
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    assert_ok(directory_domain_add(dir, S("b.test"), &suite_err));
    assert_ok(directory_domain_alias_add(dir, S("c.test"), S("b.test"), &suite_err));
    assert_rc(directory_resolve(dir, S("postmaster@a.test"), pool, &r, &suite_err),
              CQ_E_UNAVAILABLE); /* nobody at all yet */
    uint64_t user = suite_add("user@a.test");
    suite_expect_one("postmaster@b.test", DIR_VIA_POSTMASTER, user); /* somebody somewhere */
    uint64_t other = suite_add("other@b.test");
    suite_expect_one("Postmaster@b.test", DIR_VIA_POSTMASTER, other); /* the domain's first account */
    uint64_t admin = suite_add_admin("admin@a.test");
    suite_expect_one("postmaster@a.test", DIR_VIA_POSTMASTER, admin); /* the domain's first admin */
    suite_expect_one("postmaster@b.test", DIR_VIA_POSTMASTER, other);
    suite_expect_one("POSTMASTER", DIR_VIA_POSTMASTER, admin); /* RFC 5321: without a domain */
    suite_expect_one("postmaster@c.test", DIR_VIA_POSTMASTER, other);
    assert_rc(directory_domain_postmaster(dir, S("c.test"), user, &suite_err), CQ_E_INVALID);
    assert_rc(directory_domain_postmaster(dir, S("b.test"), 77, &suite_err), CQ_E_NOT_FOUND);
    assert_ok(directory_domain_postmaster(dir, S("b.test"), user, &suite_err));
    suite_expect_one("postmaster@c.test", DIR_VIA_POSTMASTER, user); /* chosen */
    assert_ok(directory_account_disable(dir, user, &suite_err));
    suite_expect_one("postmaster@b.test", DIR_VIA_POSTMASTER, other); /* the chosen one is off */
    assert_ok(directory_alias_add(dir, S("@a.test"), other, &suite_err));
    suite_expect_one("postmaster@a.test", DIR_VIA_POSTMASTER, admin); /* before the catch-all */
    uint64_t own = suite_create("postmaster@a.test", 3, false);
    suite_expect_one("postmaster@a.test", DIR_VIA_POSTMASTER, admin); /* its own account is not ready */
    assert_ok(directory_account_activate(dir, own, &suite_err));
    suite_expect_one("postmaster@a.test", DIR_VIA_PRIMARY, own);
    assert_ok(directory_account_disable(dir, own, &suite_err));
    suite_expect_one("postmaster@a.test", DIR_VIA_POSTMASTER, admin);
    suite_expect_answer("postmaster@nowhere.test", DIR_NO_DOMAIN);
}

static void an_account_sends_as_its_own_addresses_only(void **state)
{
    (void)state;
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    assert_ok(directory_domain_add(dir, S("b.test"), &suite_err));
    assert_ok(directory_domain_alias_add(dir, S("alias.test"), S("a.test"), &suite_err));
    uint64_t x = suite_add_admin("x@a.test"), y = suite_add("y@a.test");
    assert_ok(directory_alias_add(dir, S("info@a.test"), x, &suite_err));
    assert_ok(directory_alias_add(dir, S("@b.test"), y, &suite_err));
    static const struct {
        const char *address;
        bool x, y;
    } cases[] = {
        {"x@a.test", true, false},
        {"X+tag@A.test", true, false},
        {"x@alias.test", true, false},
        {"info@a.test", true, false},
        {"info@alias.test", true, false},
        {"y@a.test", false, true},
        {"postmaster@a.test", true, false},
        {"ceo@b.test", false, false}, /* a catch-all gives no right */
        {"x@elsewhere.test", false, false},
        {"nobody@a.test", false, false},
        {"", false, false},
        {"x@a.test\r\nBcc: z@a.test", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_rc(directory_may_send_as(dir, x, S(cases[i].address), &suite_err), cases[i].x ? CQ_OK : CQ_E_DENIED);
        assert_rc(directory_may_send_as(dir, y, S(cases[i].address), &suite_err), cases[i].y ? CQ_OK : CQ_E_DENIED);
    }
}

static void log_in_is_by_the_primary_address(void **state)
{
    (void)state;
    struct dir_account a;
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    assert_ok(directory_domain_alias_add(dir, S("b.test"), S("a.test"), &suite_err));
    uint64_t x = suite_add("x@a.test");
    assert_ok(directory_alias_add(dir, S("info@a.test"), x, &suite_err));
    assert_ok(directory_alias_add(dir, S("@a.test"), x, &suite_err));
    static const struct {
        const char *login;
        bool ok;
    } cases[] = {
        {"x@a.test", true},
        {"X@A.TEST", true},
        {"x@b.test", true},
        {"info@a.test", false},
        {"x+tag@a.test", false},
        {"zzz@a.test", false},
        {"@a.test", false},
        {"x", false},
        {"", false},
        {"postmaster", false},
        {"x@c.test", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_rc(directory_account_by_login(dir, S(cases[i].login), pool, &a, &suite_err),
                  cases[i].ok ? CQ_OK : CQ_E_NOT_FOUND);
        assert_true(!cases[i].ok || a.id == x);
    }
    assert_ok(directory_account_disable(dir, x, &suite_err));
    assert_ok(
        directory_account_by_login(dir, S("x@a.test"), pool, &a, &suite_err)); /* the state is the caller's to judge */
    assert_int_equal(a.state, DIR_DISABLED);
}

int suite_resolve_tests(const char *backend)
{
    const struct CMUnitTest tests[] = {
        TEST(addresses_are_found_by_the_rules_in_their_order),
        TEST(hostile_names_are_found_or_not_and_never_interpreted),
        TEST(an_alias_may_have_many_accounts),
        TEST(the_accounts_of_one_alias_are_bounded),
        TEST(the_state_of_the_accounts_decides_the_answer),
        TEST(postmaster_always_finds_somebody),
        TEST(an_account_sends_as_its_own_addresses_only),
        TEST(log_in_is_by_the_primary_address),
    };
    return cmocka_run_group_tests_name(backend, tests, NULL, NULL);
}
