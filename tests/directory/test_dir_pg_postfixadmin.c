/* postfixadmin's tables through the views of lib/directory/pg/compat/postfixadmin.sql. */
#include "pg_server.h"

#include "directory/auth.h"
#include "unit/cq_cmocka.h"

#include <stdio.h>
#include <stdlib.h>

static struct directory *dir;
static struct auth *auth;
static struct cq_pool *pool;
static struct cq_err err;

static int setup(void **state)
{
    (void)state;
    const struct auth_config cheap = {.argon2_memory = 8192, .argon2_passes = 1};
    const struct directory_config settings = {.backend = DIRECTORY_POSTGRESQL, .postgresql = pg_server_config()};
    pool = cq_pool_new(4096);
    pg_server_schema();
    pg_server_file(CHASQUI_TESTS "/directory/postfixadmin.sql");
    pg_server_file(CHASQUI_TESTS "/../lib/directory/pg/compat/postfixadmin.sql");
    assert_int_equal(directory_open(&settings, &dir, &err), CQ_OK);
    assert_int_equal(auth_new(&cheap, dir, &auth, &err), CQ_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    auth_free(&auth);
    directory_close(&dir);
    cq_pool_free(&pool);
    return 0;
}

/* What the reconciler does: all that is creating becomes active, all that is deleting goes. Returns how many. */
static size_t reconcile(void)
{
    const struct dir_pending_query query = {.max = 100};
    struct dir_account *rows;
    size_t count;
    if (directory_pending_list(dir, &query, pool, &rows, &count, &err) != CQ_OK)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(rows[i].state == DIR_CREATING ? directory_account_activate(dir, rows[i].id, &err)
                                                       : directory_account_remove(dir, rows[i].id, &err),
                         CQ_OK);
    return count;
}

static enum cq_rc resolve(const char *address, struct dir_resolution *r)
{
    cq_err_clear(&err);
    return directory_resolve(dir, cq_slice_cstr(address), pool, r, &err);
}

/* "found 2", "no user", "no domain", "disabled", "later" */
static const char *answer(const char *address)
{
    struct dir_resolution r;
    enum cq_rc rc = resolve(address, &r);
    if (rc == CQ_E_UNAVAILABLE)
        return "later";
    if (rc != CQ_OK)
        fail_msg("%s: %s %s", address, cq_rc_name(rc), err.text);
    static const char *const names[] = {
        [DIR_NO_USER] = "no user", [DIR_NO_DOMAIN] = "no domain", [DIR_USER_DISABLED] = "disabled"};
    return r.answer == DIR_FOUND ? cq_pool_printf(pool, "found %zu", r.account_count) : names[r.answer];
}

static enum cq_rc log_in(const char *login, const char *password, struct auth_identity *identity)
{
    const struct auth_login attempt = {DIR_IMAP, cq_slice_cstr(login), cq_slice_cstr(password)};
    cq_err_clear(&err);
    return auth_verify(auth, &attempt, pool, identity, &err);
}

static void all_that_the_program_says_is_understood(void **state)
{
    (void)state;
    struct directory_schema schema;
    if (directory_schema(dir, DIRECTORY_SCHEMA_CHECK, &schema, &err) != CQ_OK)
        fail_msg("%s", err.text);
    pg_server_file(CHASQUI_TESTS "/../lib/directory/pg/compat/postfixadmin.sql"); /* again: nothing happens */
    assert_int_equal(reconcile(), 2);
    pg_server_file(CHASQUI_TESTS "/../lib/directory/pg/compat/postfixadmin.sql");
    assert_int_equal(reconcile(), 0);
}

static void addresses_are_found_as_postfix_would(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"anna@a.test", "found 1"},        {"ANNA@A.TEST", "found 1"},     {"anna+tag@a.test", "found 1"},
        {"bert@a.test", "found 1"},        {"bert@b.test", "found 1"},     {"both@a.test", "found 2"},
        {"chain@a.test", "found 2"},       {"loop@a.test", "found 1"},     {"out@a.test", "later"},
        {"any@a.test", "found 1"},         {"anna@off.test", "no domain"}, {"anna@c.test", "no domain"},
        {"' OR 1=1 --@a.test", "found 1"}, /* the catch-all */
    };
    assert_string_equal(answer("anna@a.test"), "later"); /* its shard does not know it yet */
    assert_int_equal(reconcile(), 2);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(answer(rows[i][0]), rows[i][1]) != 0)
            fail_msg("%s: %s, want %s", rows[i][0], answer(rows[i][0]), rows[i][1]);
    pg_server_sql("DELETE FROM public.alias WHERE address = '@a.test'");
    assert_string_equal(answer("any@a.test"), "no user");
    assert_string_equal(answer("%@a.test"), "no user");
}

static void rows_without_an_id_are_later_and_get_one(void **state)
{
    (void)state;
    struct auth_identity identity;
    struct dir_resolution r;
    reconcile();
    pg_server_sql("DELETE FROM public.alias WHERE address = '@a.test'");
    pg_server_sql("ALTER TABLE public.mailbox DISABLE TRIGGER ALL; ALTER TABLE public.domain DISABLE TRIGGER ALL;"
                  "INSERT INTO public.mailbox (username, local_part, domain, password) SELECT 'carl@a.test', 'carl', "
                  "'a.test', password FROM public.mailbox WHERE username = 'anna@a.test';"
                  "INSERT INTO public.domain (domain) VALUES ('d.test');"
                  "INSERT INTO public.mailbox (username, local_part, domain) VALUES ('dora@d.test', 'dora', 'd.test');"
                  "ALTER TABLE public.mailbox ENABLE TRIGGER ALL; ALTER TABLE public.domain ENABLE TRIGGER ALL");
    assert_string_equal(answer("carl@a.test"), "later");
    assert_string_equal(answer("dora@d.test"), "later");
    assert_int_equal(log_in("carl@a.test", "correct horse", &identity), CQ_E_UNAVAILABLE);
    assert_int_equal(reconcile(), 2);
    assert_string_equal(answer("carl@a.test"), "found 1");
    assert_string_equal(answer("dora@d.test"), "found 1");
    assert_int_equal(log_in("carl@a.test", "correct horse", &identity), CQ_OK);
    assert_int_equal(resolve("carl@a.test", &r), CQ_OK);
    assert_true(r.accounts[0].id != 0);
}

static void log_in_takes_their_hash_and_keeps_ours_beside_it(void **state)
{
    (void)state;
    struct auth_identity identity, again;
    struct dir_credential *rows;
    size_t count;
    assert_int_equal(log_in("anna@a.test", "correct horse", &identity), CQ_E_UNAVAILABLE); /* not created yet */
    reconcile();
    assert_int_equal(log_in("anna@a.test", "wrong", &identity), CQ_E_AUTH);
    assert_int_equal(log_in("anna@a.test", "correct horse", &identity), CQ_OK);
    assert_int_equal(directory_credential_list(dir, identity.account.id, pool, &rows, &count, &err), CQ_OK);
    assert_true(count == 1 && cq_slice_starts(rows[0].hash, CQ_SLICE("$argon2id$")));
    assert_true(rows[0].last_used_us > 0);
    assert_int_equal(log_in("anna@a.test", "correct horse", &again), CQ_OK);
    assert_true(again.credential_id == identity.credential_id); /* sessions go on */
    assert_int_equal(log_in("bert@b.test", "correct horse", &identity), CQ_OK);
    pg_server_sql("UPDATE public.mailbox SET password = '$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6X' "
                  "WHERE username = 'anna@a.test'");
    assert_int_equal(log_in("anna@a.test", "correct horse", &identity), CQ_E_AUTH);
    assert_int_equal(auth_session_check(auth, again.account.id, again.credential_id, DIR_IMAP, &err), CQ_E_DENIED);
}

struct heard {
    size_t count;
    struct dir_change last;
};

static void hear(const struct dir_change *change, bool lost, void *ctx)
{
    struct heard *heard = ctx;
    assert_false(lost);
    heard->count++;
    heard->last = *change;
}

static void what_postfixadmin_does_is_in_the_feed(void **state)
{
    (void)state;
    struct heard heard = {0};
    struct dir_resolution r;
    struct directory_watch watch = {.directory = dir, .changed = hear, .ctx = &heard};
    reconcile();
    assert_int_equal(resolve("anna@a.test", &r), CQ_OK);
    uint64_t id = r.accounts[0].id, version = r.accounts[0].version;
    assert_int_equal(directory_watch_poll(&watch, &err), CQ_OK);
    static const struct {
        const char *sql;
        enum dir_change_kind kind;
        const char *answer;
    } rows[] = {
        {"UPDATE public.mailbox SET password = 'x' WHERE username = 'anna@a.test'", DIR_CHANGED_CREDENTIAL, "found 1"},
        {"UPDATE public.mailbox SET active = false WHERE username = 'anna@a.test'", DIR_CHANGED_ACCOUNT, "disabled"},
        {"UPDATE public.mailbox SET active = true WHERE username = 'anna@a.test'", DIR_CHANGED_ACCOUNT, "found 1"},
        {"DELETE FROM public.mailbox WHERE username = 'anna@a.test'", DIR_CHANGED_ACCOUNT, "later"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        heard.count = 0;
        pg_server_sql(rows[i].sql);
        assert_int_equal(directory_watch_poll(&watch, &err), CQ_OK);
        assert_true(heard.count == 1 && heard.last.kind == rows[i].kind && heard.last.account_id == id);
        if (i < 3) {
            assert_string_equal(answer("anna@a.test"), rows[i].answer);
            struct dir_account account;
            assert_int_equal(directory_account(dir, id, pool, &account, &err), CQ_OK);
            assert_true(account.version > version);
            version = account.version;
        }
    }
    assert_int_equal(reconcile(), 1);
    struct dir_account account;
    assert_int_equal(directory_account(dir, id, pool, &account, &err), CQ_E_NOT_FOUND);
    pg_server_sql("INSERT INTO public.mailbox (username, local_part, domain) VALUES ('anna@a.test', 'anna', 'a.test')");
    assert_int_equal(reconcile(), 1);
    assert_int_equal(resolve("anna@a.test", &r), CQ_OK);
    assert_true(r.accounts[0].id != id); /* another account: nobody gets another's mail */
}

static void a_table_that_is_loaded_anew_costs_nobody_his_mail(void **state)
{
    (void)state;
    struct dir_resolution r;
    reconcile();
    assert_int_equal(resolve("anna@a.test", &r), CQ_OK);
    uint64_t id = r.accounts[0].id;
    pg_server_sql("DELETE FROM public.alias WHERE address = '@a.test'");
    pg_server_sql("CREATE TABLE public.saved AS TABLE public.mailbox; TRUNCATE public.mailbox");
    assert_string_equal(answer("anna@a.test"), "later");
    assert_string_equal(answer("bert@a.test"), "later");
    assert_int_equal(reconcile(), 0); /* none of them is deleted */
    assert_string_equal(answer("anna@a.test"), "later");
    pg_server_sql("INSERT INTO public.mailbox SELECT * FROM public.saved; DROP TABLE public.saved");
    assert_int_equal(reconcile(), 0);
    assert_int_equal(resolve("anna@a.test", &r), CQ_OK);
    assert_true(r.account_count == 1 && r.accounts[0].id == id);
    pg_server_sql("ALTER TABLE public.mailbox DISABLE TRIGGER ALL;"
                  "DELETE FROM public.mailbox WHERE username = 'anna@a.test';"
                  "ALTER TABLE public.mailbox ENABLE TRIGGER ALL");
    assert_int_equal(reconcile(), 1); /* one is: that is somebody's decision */
}

static void what_is_postfixadmins_is_refused_and_untouched(void **state)
{
    (void)state;
    struct dir_account account;
    struct dir_resolution r;
    reconcile();
    assert_int_equal(resolve("anna@a.test", &r), CQ_OK);
    const struct dir_account_new new = {.address = CQ_SLICE("new@a.test"), .services = DIR_IMAP};
    assert_int_equal(directory_domain_add(dir, CQ_SLICE("new.test"), &err), CQ_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "postfixadmin"));
    assert_int_equal(directory_account_create(dir, &new, pool, &account, &err), CQ_E_UNSUPPORTED);
    assert_int_equal(auth_set_password(auth, r.accounts[0].id, CQ_SLICE("new secret"), &err), CQ_E_UNSUPPORTED);
    assert_int_equal(directory_account_disable(dir, r.accounts[0].id, &err), CQ_E_UNSUPPORTED);
    assert_int_equal(directory_account_delete(dir, r.accounts[0].id, &err), CQ_E_UNSUPPORTED);
    assert_int_equal(directory_alias_add(dir, CQ_SLICE("i@a.test"), r.accounts[0].id, &err), CQ_E_UNSUPPORTED);
    assert_string_equal(answer("anna@a.test"), "found 1");
    assert_true(directory_healthy(dir));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_that_the_program_says_is_understood),
        TEST(addresses_are_found_as_postfix_would),
        TEST(rows_without_an_id_are_later_and_get_one),
        TEST(log_in_takes_their_hash_and_keeps_ours_beside_it),
        TEST(what_postfixadmin_does_is_in_the_feed),
        TEST(what_is_postfixadmins_is_refused_and_untouched),
        TEST(a_table_that_is_loaded_anew_costs_nobody_his_mail),
    };
    pg_server_new();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pg_server_remove();
    return failed;
}
