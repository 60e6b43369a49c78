/* The directory's suite: passwords and app passwords. */
#include "unit/directory/suite_private.h"

#include <stdio.h>

static void a_password_is_replaced_and_app_passwords_are_added(void **state)
{
    (void)state;
    struct dir_credential *rows;
    size_t n;
    uint64_t first, second;
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    uint64_t x = suite_add("x@a.test"), version = suite_get(x).version;
    struct dir_credential password = {.account_id = x, .scopes = DIR_ALL_SERVICES, .hash = S("one")};
    assert_ok(directory_credential_put(dir, &password, &first, &suite_err));
    assert_true(suite_get(x).version > version);
    uint64_t app = suite_put_app(x, "abcd", "phone");
    password.hash = S("two");
    assert_ok(directory_credential_put(dir, &password, &second, &suite_err));
    assert_true(second != first);
    assert_ok(directory_credential_list(dir, x, pool, &rows, &n, &suite_err));
    assert_int_equal(n, 2);
    assert_int_equal(rows[0].id, app);
    assert_int_equal(rows[0].kind, DIR_APP_PASSWORD);
    assert_slice(rows[0].prefix, "abcd");
    assert_slice(rows[0].label, "phone");
    assert_int_equal(rows[0].scopes, DIR_IMAP);
    assert_int_equal(rows[0].expires_us, 99);
    assert_true(rows[0].created_us && !rows[0].last_used_us);
    assert_int_equal(rows[1].id, second);
    assert_slice(rows[1].hash, "two");
    assert_true(rows[1].version > rows[0].version);
    assert_ok(directory_credential_list(dir, 0, pool, &rows, &n, &suite_err));
    assert_int_equal(n, 0);
}

static void wrong_credentials_are_refused(void **state)
{
    (void)state;
    static char longer[DIR_LABEL_MAX + 1];
    memset(longer, 'l', sizeof longer);
    uint64_t id;
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    uint64_t x = suite_add("x@a.test");
    const struct {
        struct dir_credential row;
        enum cq_rc rc;
    } cases[] = {
        {{.account_id = 5, .scopes = DIR_IMAP, .hash = S("h")}, CQ_E_NOT_FOUND},
        {{.account_id = x, .scopes = 0, .hash = S("h")}, CQ_E_INVALID},
        {{.account_id = x, .scopes = 8, .hash = S("h")}, CQ_E_INVALID},
        {{.account_id = x, .scopes = DIR_IMAP, .hash = S("h"), .prefix = S("abcd")}, CQ_E_INVALID},
        {{.account_id = x, .scopes = DIR_IMAP, .hash = S("h"), .kind = DIR_APP_PASSWORD}, CQ_E_INVALID},
        {{.account_id = x, .scopes = DIR_IMAP, .hash = S("h"), .label = cq_slice_of(longer, sizeof longer)},
         CQ_E_INVALID},
        {{.account_id = x, .scopes = DIR_IMAP, .hash = S("h"), .label = S("\xff")}, CQ_E_INVALID},
        {{.account_id = x, .scopes = DIR_IMAP, .hash = S("h"), .label = S("'; DROP TABLE credential; --")}, CQ_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_rc(directory_credential_put(dir, &cases[i].row, &id, &suite_err), cases[i].rc);
    suite_put_app(x, "abcd", "one");
    const struct dir_credential same = {
        .account_id = x, .kind = DIR_APP_PASSWORD, .scopes = DIR_IMAP, .prefix = S("abcd"), .hash = S("h")};
    assert_rc(directory_credential_put(dir, &same, &id, &suite_err), CQ_E_EXISTS);
    suite_put_app(suite_add("y@a.test"), "abcd", "another account may have the same prefix");
}

static void app_passwords_are_bounded(void **state)
{
    (void)state;
    uint64_t id;
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    uint64_t x = suite_add("x@a.test");
    for (int i = 0; i <= DIR_CREDENTIALS_MAX; i++) {
        char prefix[8];
        snprintf(prefix, sizeof prefix, "p%03d", i);
        const struct dir_credential row = {
            .account_id = x, .kind = DIR_APP_PASSWORD, .scopes = DIR_IMAP, .prefix = S(prefix), .hash = S("h")};
        assert_rc(directory_credential_put(dir, &row, &id, &suite_err), i < DIR_CREDENTIALS_MAX ? CQ_OK : CQ_E_LIMIT);
    }
}

static void use_rehash_and_removal_touch_the_right_row(void **state)
{
    (void)state;
    struct dir_credential *rows;
    size_t n;
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    uint64_t x = suite_add("x@a.test"), y = suite_add("y@a.test");
    uint64_t one = suite_put_app(x, "aaaa", "one"), two = suite_put_app(x, "bbbb", "two");
    uint64_t version = suite_get(x).version;
    assert_ok(directory_credential_used(dir, one, 500, &suite_err));
    assert_ok(directory_credential_used(dir, one, 400, &suite_err)); /* an older news changes nothing */
    assert_rc(directory_credential_used(dir, 12345, 1, &suite_err), CQ_E_NOT_FOUND);
    assert_int_equal(suite_get(x).version, version); /* use is no change that others must hear of */
    assert_ok(directory_credential_list(dir, x, pool, &rows, &n, &suite_err));
    assert_int_equal(rows[0].last_used_us, 500);
    assert_int_equal(rows[1].last_used_us, 0);
    uint64_t row_version = rows[0].version;
    assert_ok(directory_credential_rehash(dir, one, row_version, S("better"), &suite_err));
    assert_rc(directory_credential_rehash(dir, one, row_version + 1, S("worse"), &suite_err), CQ_E_CONFLICT);
    assert_rc(directory_credential_rehash(dir, 12345, 1, S("worse"), &suite_err), CQ_E_NOT_FOUND);
    assert_ok(directory_credential_list(dir, x, pool, &rows, &n, &suite_err));
    assert_slice(rows[0].hash, "better");
    assert_int_equal(rows[0].version, row_version);
    assert_rc(directory_credential_remove(dir, y, one, &suite_err), CQ_E_NOT_FOUND); /* not this account's */
    assert_ok(directory_credential_remove(dir, x, one, &suite_err));
    assert_rc(directory_credential_remove(dir, x, one, &suite_err), CQ_E_NOT_FOUND);
    assert_ok(directory_credential_list(dir, x, pool, &rows, &n, &suite_err));
    assert_int_equal(n, 1);
    assert_int_equal(rows[0].id, two);
    assert_true(suite_get(x).version > version);
}

int suite_credential_tests(const char *backend)
{
    const struct CMUnitTest tests[] = {
        TEST(a_password_is_replaced_and_app_passwords_are_added),
        TEST(wrong_credentials_are_refused),
        TEST(app_passwords_are_bounded),
        TEST(use_rehash_and_removal_touch_the_right_row),
    };
    return cmocka_run_group_tests_name(backend, tests, NULL, NULL);
}
