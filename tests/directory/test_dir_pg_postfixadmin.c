/* postfixadmin's tables through the views of lib/directory/pg/compat/postfixadmin.sql. */
#include "pg_server.h"

#include "base/cq_time.h"
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
}

#define PASSWORD_OF_BERT "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"
#define DELETE_ANNA "DELETE FROM public.mailbox WHERE username = 'anna@a.test'"
#define INSERT_ANNA                                                                                                    \
    "INSERT INTO public.mailbox (username, local_part, domain, password) VALUES ('anna@a.test', 'anna', 'a.test', "    \
    "'" PASSWORD_OF_BERT "')"
#define NO_TRIGGERS(sql) "SET session_replication_role = replica; " sql "; RESET session_replication_role"

/* What vanished did so this much earlier. */
#define PASS(interval)                                                                                                 \
    pg_server_sql("UPDATE mail.pfa_account SET vanished_us = vanished_us - "                                           \
                  "(extract(epoch FROM interval '" interval "') * 1000000)::bigint")

/* Its id, and no alias or catch-all speaks for it. */
static uint64_t anna(void)
{
    struct dir_resolution r;
    reconcile();
    pg_server_sql("DELETE FROM public.alias WHERE address IN ('@a.test', 'anna@a.test')");
    assert_int_equal(resolve("anna@a.test", &r), CQ_OK);
    assert_int_equal(r.account_count, 1);
    return r.accounts[0].id;
}

static const char *state_of(uint64_t id)
{
    struct dir_account account;
    enum cq_rc rc = directory_account(dir, id, pool, &account, &err);
    return rc == CQ_OK ? dir_state_name(account.state) : cq_rc_name(rc);
}

static bool is_anna(uint64_t id)
{
    struct dir_resolution r;
    return resolve("anna@a.test", &r) == CQ_OK && r.account_count == 1 && r.accounts[0].id == id;
}

static void a_mailbox_that_vanishes_keeps_its_account_for_a_while(void **state)
{
    (void)state;
    struct auth_identity identity, old;
    uint64_t id = anna();
    assert_int_equal(log_in("anna@a.test", "correct horse", &old), CQ_OK);
    pg_server_sql(DELETE_ANNA);
    assert_int_equal(reconcile(), 0);
    assert_string_equal(state_of(id), "vanished");
    assert_int_equal(auth_session_check(auth, id, old.credential_id, DIR_IMAP, &err), CQ_E_DENIED);
    assert_string_equal(answer("anna@a.test"), "later"); /* it may be back in a moment */
    assert_int_equal(log_in("anna@a.test", "correct horse", &identity), CQ_E_UNAVAILABLE);
    PASS("61 min");
    assert_string_equal(answer("anna@a.test"), "disabled");
    assert_int_equal(log_in("anna@a.test", "correct horse", &identity), CQ_E_AUTH);

    struct dir_account *rows;
    size_t count;
    const struct dir_account_filter filter = {.states = 1u << DIR_VANISHED, .max = 10};
    assert_int_equal(directory_account_list(dir, &filter, pool, &rows, &count, &err), CQ_OK);
    assert_true(count == 1 && rows[0].id == id && rows[0].state_us < cq_time_wall_us() - UINT64_C(3600000000));

    PASS("6 days 22 hours 58 min"); /* a minute is left */
    assert_int_equal(reconcile(), 0);
    PASS("2 min");
    assert_int_equal(reconcile(), 1);
    assert_string_equal(state_of(id), "CQ_E_NOT_FOUND");
    assert_string_equal(answer("anna@a.test"), "no user");
    pg_server_sql(INSERT_ANNA);
    assert_int_equal(reconcile(), 1);
    assert_true(anna() != id); /* another account: nobody gets another's mail */
}

static void the_same_address_is_the_same_account_again(void **state)
{
    (void)state;
    static const char *const backs[] = {
        INSERT_ANNA,
        NO_TRIGGERS(INSERT_ANNA),
        "INSERT INTO public.mailbox (username, local_part, domain, password) VALUES ('Anna@a.test', 'Anna', 'a.test', "
        "'" PASSWORD_OF_BERT "')",
    };
    uint64_t id = anna();
    for (size_t i = 0; i < sizeof backs / sizeof *backs; i++) {
        struct auth_identity identity;
        pg_server_sql(i == 1 ? NO_TRIGGERS(DELETE_ANNA) : DELETE_ANNA);
        assert_int_equal(reconcile(), 0);
        PASS("6 days");
        assert_string_equal(state_of(id), "vanished");
        pg_server_sql(backs[i]);
        assert_int_equal(reconcile(), 0);
        if (!is_anna(id))
            fail_msg("row %zu: %s", i, answer("anna@a.test"));
        assert_int_equal(log_in("anna@a.test", "correct horse", &identity), CQ_OK);
        PASS("8 days"); /* nothing runs against it any more */
        assert_int_equal(reconcile(), 0);
        assert_true(is_anna(id));
    }
}

static void the_address_of_what_vanished_can_be_anothers(void **state)
{
    (void)state;
    uint64_t id = anna();
    struct dir_resolution r;
    assert_int_equal(resolve("bert@a.test", &r), CQ_OK);
    uint64_t bert = r.accounts[0].id;
    pg_server_sql(DELETE_ANNA);
    PASS("61 min");
    pg_server_sql("INSERT INTO public.alias (address, goto, domain) VALUES ('anna@a.test', 'bert@a.test', 'a.test')");
    assert_true(is_anna(bert));
    pg_server_sql("DELETE FROM public.alias WHERE address = 'anna@a.test'");
    assert_string_equal(answer("anna@a.test"), "disabled");

    pg_server_sql(
        "UPDATE public.mailbox SET username = 'anna@a.test', local_part = 'anna' WHERE username = 'Bert@a.test'");
    assert_true(is_anna(bert));
    struct auth_identity identity;
    assert_int_equal(log_in("anna@a.test", "correct horse", &identity), CQ_OK);
    assert_true(identity.account.id == bert);
    assert_int_equal(reconcile(), 0);
    assert_string_equal(state_of(id), "vanished");
    pg_server_sql(DELETE_ANNA); /* there are two now, and the last one is it */
    assert_string_equal(answer("anna@a.test"), "later");
    pg_server_sql(INSERT_ANNA);
    assert_true(is_anna(bert));
    PASS("7 days");
    assert_int_equal(reconcile(), 1);
    assert_string_equal(state_of(id), "CQ_E_NOT_FOUND");
    assert_true(is_anna(bert));
}

static void no_time_runs_against_a_mailbox_while_nobody_looks(void **state)
{
    (void)state;
    uint64_t id = anna();
    pg_server_sql(DELETE_ANNA);
    assert_int_equal(reconcile(), 0);
    PASS("6 days");
    /* A copy of the database of a month ago comes back. */
    pg_server_sql("UPDATE mail.pfa_account SET vanished_us = vanished_us - 30 * 86400000000;"
                  "UPDATE mail.pfa_watch SET looked_us = looked_us - 30 * 86400000000");
    assert_int_equal(reconcile(), 0);
    assert_string_equal(state_of(id), "vanished");
    PASS("23 h");
    assert_int_equal(reconcile(), 0);
    PASS("2 h");
    assert_int_equal(reconcile(), 1);
}

static void an_operator_can_delete_what_vanished_at_once(void **state)
{
    (void)state;
    uint64_t id = anna();
    assert_int_equal(directory_account_delete(dir, id, &err), CQ_E_UNSUPPORTED);
    pg_server_sql(DELETE_ANNA);
    assert_int_equal(directory_account_enable(dir, id, &err), CQ_E_CONFLICT);
    assert_int_equal(directory_account_delete(dir, id, &err), CQ_OK);
    assert_int_equal(reconcile(), 1);
    pg_server_sql(INSERT_ANNA);
    uint64_t next = anna();
    assert_true(next != id);
    pg_server_sql(DELETE_ANNA "; SELECT mail.pfa_forget('anna@a.test')");
    assert_int_equal(reconcile(), 1);
    assert_string_equal(state_of(next), "CQ_E_NOT_FOUND");
}

static void a_domain_that_is_loaded_anew_is_later(void **state)
{
    (void)state;
    uint64_t id = anna();
    pg_server_sql("CREATE TABLE public.saved AS TABLE public.mailbox; DELETE FROM public.alias;"
                  "DELETE FROM public.mailbox; DELETE FROM public.domain WHERE domain = 'a.test'");
    assert_int_equal(reconcile(), 0);
    assert_string_equal(answer("anna@a.test"), "later");
    pg_server_sql("INSERT INTO public.domain (domain) VALUES ('a.test');"
                  "INSERT INTO public.mailbox SELECT * FROM public.saved; DROP TABLE public.saved");
    assert_int_equal(reconcile(), 0);
    assert_true(is_anna(id));
    pg_server_sql("DELETE FROM public.mailbox; DELETE FROM public.domain WHERE domain = 'a.test'");
    PASS("61 min");
    assert_string_equal(answer("anna@a.test"), "no domain");
}

/* As after an upgrade: the migration has run, the file has not. */
static void what_an_older_chasqui_left_deletes_nothing(void **state)
{
    (void)state;
    const struct dir_pending_query query = {.max = 100};
    const struct dir_pg_config config = pg_server_config();
    struct directory_schema schema;
    struct dir_pg_schema migrated;
    struct dir_account *rows;
    size_t count;
    uint64_t id = anna();
    pg_server_sql("DROP FUNCTION mail.bind_new(bigint); DELETE FROM mail.schema_migrations WHERE version = 2;"
                  "CREATE OR REPLACE FUNCTION mail.pfa_unbind(gone text) RETURNS void LANGUAGE sql AS $$ UPDATE "
                  "mail.pfa_account SET state = 'deleting' WHERE username = gone $$");
    assert_int_equal(dir_pg_schema_migrate(&config, &migrated, &err), CQ_OK);
    pg_server_sql(DELETE_ANNA);
    assert_int_equal(directory_pending_list(dir, &query, pool, &rows, &count, &err), CQ_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "run postfixadmin.sql"));
    assert_int_equal(directory_schema(dir, DIRECTORY_SCHEMA_CHECK, &schema, &err), CQ_E_CONFIG);
    assert_non_null(strstr(err.text, "run postfixadmin.sql"));
    pg_server_file(CHASQUI_TESTS "/../lib/directory/pg/compat/postfixadmin.sql");
    assert_int_equal(reconcile(), 0);
    assert_string_equal(state_of(id), "vanished");
    assert_int_equal(directory_schema(dir, DIRECTORY_SCHEMA_CHECK, &schema, &err), CQ_OK);
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
    assert_int_equal(reconcile(), 0); /* one that is gone is somebody's decision: its time runs */
    assert_string_equal(state_of(id), "vanished");
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
        TEST(a_mailbox_that_vanishes_keeps_its_account_for_a_while),
        TEST(the_same_address_is_the_same_account_again),
        TEST(the_address_of_what_vanished_can_be_anothers),
        TEST(no_time_runs_against_a_mailbox_while_nobody_looks),
        TEST(an_operator_can_delete_what_vanished_at_once),
        TEST(a_domain_that_is_loaded_anew_is_later),
        TEST(what_an_older_chasqui_left_deletes_nothing),
    };
    pg_server_new();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pg_server_remove();
    return failed;
}
