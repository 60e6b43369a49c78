/* The server is wrong, gone, back again, read-only, silent: what callers get. */
#include "pg_server.h"

#include "directory/auth.h"
#include "io/io_fiber.h"
#include "unit/cq_cmocka.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct directory *open_with(struct dir_pg_config config)
{
    const struct directory_config settings = {.backend = DIRECTORY_POSTGRESQL, .postgresql = config, .threads = 2};
    struct directory *directory = NULL;
    struct cq_err err = {0};
    if (directory_open(&settings, &directory, &err) != CQ_OK)
        fail_msg("%s", err.text);
    return directory;
}

static struct directory *open_plain(void)
{
    return open_with(pg_server_config());
}

static enum cq_rc look(struct directory *directory, const char *name, struct cq_err *err)
{
    struct cq_pool *pool = cq_pool_new(1024);
    struct dir_domain domain;
    cq_err_clear(err);
    enum cq_rc rc = directory_domain(directory, cq_slice_cstr(name), pool, &domain, err);
    cq_pool_free(&pool);
    return rc;
}

/* After a failure nobody connects again for up to a second: that is meant. */
static void wait_until_it_answers(struct directory *directory)
{
    struct cq_err err = {0};
    for (int i = 0; i < 100 && cq_rc_retryable(look(directory, "a.test", &err)); i++)
        pg_server_sql("SELECT pg_sleep(0.05)");
}

static void expect_later(struct directory *directory, const char *words)
{
    struct cq_err err = {0};
    char trouble[DIRECTORY_TROUBLE_SIZE];
    enum cq_rc rc = look(directory, "a.test", &err);
    if (!cq_rc_retryable(rc) || !strstr(err.text, words) || strchr(err.text, '\n'))
        fail_msg("%s: %s, want \"%s\"", cq_rc_name(rc), err.text, words);
    directory_trouble(directory, trouble);
    assert_non_null(strstr(trouble, words));
}

/* ---- Settings and schema ---- */

static void settings_that_lead_nowhere_say_what_to_do(void **state)
{
    (void)state;
    static const struct {
        const char *dsn, *words;
    } rows[] = {
        {"host=%s/run user=chasqui dbname=nothing_here", "create it, or correct directory.postgresql.dsn"},
        {"host=%s/run user=nobody_here dbname=mail", "create it, or correct directory.postgresql.dsn"},
        {"host=%s/nowhere user=chasqui dbname=mail", "start PostgreSQL, or correct directory.postgresql.dsn"},
        {"host=%s/run user=chasqui dbname=mail target_session_attrs=standby", "PostgreSQL"},
        {"host=%s/nowhere,/nowhere user=chasqui dbname=mail", "start PostgreSQL, or correct directory.postgresql.dsn"},
    };
    pg_server_schema();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char dsn[256];
        snprintf(dsn, sizeof dsn, rows[i].dsn, pg_server_folder);
        struct dir_pg_config config = pg_server_config();
        config.dsn = dsn;
        struct directory *directory = open_with(config);
        expect_later(directory, rows[i].words);
        directory_close(&directory);
    }
}

static void the_host_that_is_the_primary_is_found(void **state)
{
    (void)state;
    char dsn[256];
    struct cq_err err = {0};
    struct dir_pg_config config = pg_server_config();
    snprintf(dsn, sizeof dsn, "host=/nowhere,%s/run user=chasqui dbname=mail target_session_attrs=read-write",
             pg_server_folder);
    config.dsn = dsn;
    pg_server_schema();
    struct directory *directory = open_with(config);
    assert_int_equal(look(directory, "a.test", &err), CQ_E_NOT_FOUND);
    directory_close(&directory);
    pg_server_do("read-only");
    directory = open_with(config);
    expect_later(directory, "promote one");
    pg_server_do("read-write");
    directory_close(&directory);
}

static void malformed_settings_are_refused_at_the_start(void **state)
{
    (void)state;
    static const char *const dsns[] = {"", "host=", "no such keyword=1", "postgresql://[::1"};
    for (size_t i = 0; i < sizeof dsns / sizeof *dsns; i++) {
        struct directory_config settings = {.backend = DIRECTORY_POSTGRESQL, .postgresql = pg_server_config()};
        struct directory *directory = NULL;
        struct cq_err err = {0};
        settings.postgresql.dsn = dsns[i];
        enum cq_rc rc = directory_open(&settings, &directory, &err);
        assert_true(i == 1 ? rc == CQ_OK : rc == CQ_E_CONFIG); /* an empty host is libpq's default */
        assert_true(rc == CQ_OK || strstr(err.text, "directory.postgresql.dsn"));
        directory_close(&directory);
    }
}

static void a_password_file_that_is_missing_is_named(void **state)
{
    (void)state;
    struct dir_pg_config config = pg_server_config();
    config.password_file = "/nowhere/password";
    struct directory *directory = open_with(config);
    expect_later(directory, "/nowhere/password");
    directory_close(&directory);
}

static void a_schema_that_is_missing_old_or_new_is_told_apart(void **state)
{
    (void)state;
    struct directory_schema schema;
    struct cq_err err = {0};
    pg_server_sql("DROP SCHEMA IF EXISTS mail CASCADE");
    struct directory *directory = open_plain();
    expect_later(directory, "chasquictl db migrate");
    assert_int_equal(directory_schema(directory, DIRECTORY_SCHEMA_LOOK, &schema, &err), CQ_OK);
    assert_string_equal(schema.state, "empty");
    assert_int_equal(directory_schema(directory, DIRECTORY_SCHEMA_CHECK, &schema, &err), CQ_E_UNAVAILABLE);
    assert_int_equal(directory_schema(directory, DIRECTORY_SCHEMA_MIGRATE, &schema, &err), CQ_OK);
    assert_string_equal(schema.state, "current");
    assert_int_equal(directory_schema(directory, DIRECTORY_SCHEMA_MIGRATE, &schema, &err), CQ_OK); /* again: nothing */
    if (directory_schema(directory, DIRECTORY_SCHEMA_CHECK, &schema, &err) != CQ_OK)
        fail_msg("%s", err.text);
    assert_int_equal(look(directory, "a.test", &err), CQ_E_NOT_FOUND); /* the same process goes on */
    directory_close(&directory);

    pg_server_sql("INSERT INTO mail.schema_migrations VALUES (999, 'x', 'y', 1, now())");
    directory = open_plain();
    assert_int_equal(look(directory, "a.test", &err), CQ_E_NOT_FOUND); /* newer, and made for us too */
    directory_close(&directory);
    pg_server_sql("UPDATE mail.schema_migrations SET works_with = 998 WHERE version = 999");
    directory = open_plain();
    expect_later(directory, "install the newer Chasqui");
    directory_close(&directory);

    pg_server_sql("DELETE FROM mail.schema_migrations"); /* what a program before the first release left */
    directory = open_plain();
    expect_later(directory, "the schema is version 0, this program needs");
    directory_close(&directory);

    pg_server_schema();
    pg_server_sql("UPDATE mail.schema_migrations SET checksum = '0123456789abcdef'");
    directory = open_plain();
    assert_int_equal(directory_schema(directory, DIRECTORY_SCHEMA_MIGRATE, &schema, &err), CQ_E_CORRUPT);
    directory_close(&directory);
}

static void the_check_finds_what_a_site_left_out(void **state)
{
    (void)state;
    struct directory_schema schema;
    struct cq_err err = {0};
    pg_server_schema();
    struct directory *directory = open_plain();
    pg_server_sql("DROP VIEW mail.lookup_credential");
    assert_int_equal(directory_schema(directory, DIRECTORY_SCHEMA_CHECK, &schema, &err), CQ_E_CONFIG);
    assert_non_null(strstr(err.text, "lookup_credential"));
    pg_server_schema();
    pg_server_sql("DROP FUNCTION mail.credential_used(bigint, bigint)");
    assert_int_equal(directory_schema(directory, DIRECTORY_SCHEMA_CHECK, &schema, &err), CQ_E_CONFIG);
    pg_server_schema();
    pg_server_sql("DELETE FROM mail.feed");
    assert_int_equal(directory_schema(directory, DIRECTORY_SCHEMA_CHECK, &schema, &err), CQ_E_CONFIG);
    directory_close(&directory);
}

/* ---- Going and coming back ---- */

static void a_server_that_was_restarted_is_found_again(void **state)
{
    (void)state;
    struct cq_err err = {0};
    pg_server_schema();
    struct directory *directory = open_plain();
    assert_int_equal(directory_domain_add(directory, CQ_SLICE("a.test"), &err), CQ_OK);
    pg_server_do("stop");
    expect_later(directory, "directory.postgresql.dsn");
    assert_int_equal(directory_domain_add(directory, CQ_SLICE("b.test"), &err), CQ_E_UNAVAILABLE);
    assert_false(directory_healthy(directory));
    pg_server_do("start");
    wait_until_it_answers(directory);
    assert_int_equal(look(directory, "a.test", &err), CQ_OK);
    assert_true(directory_healthy(directory));
    pg_server_do("kill"); /* an idle connection that died is not noticed by the caller */
    pg_server_do("start");
    assert_int_equal(look(directory, "a.test", &err), CQ_OK);
    assert_int_equal(directory_domain_add(directory, CQ_SLICE("b.test"), &err), CQ_OK);
    directory_close(&directory);
}

static void a_connection_that_is_ended_by_the_administrator_is_replaced(void **state)
{
    (void)state;
    struct cq_err err = {0};
    pg_server_schema();
    struct directory *directory = open_plain();
    for (int i = 0; i < 5; i++) {
        assert_int_equal(look(directory, "a.test", &err), CQ_E_NOT_FOUND);
        pg_server_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'chasqui'");
    }
    directory_close(&directory);
}

static void a_read_only_server_still_answers_questions(void **state)
{
    (void)state;
    struct cq_err err = {0};
    pg_server_schema();
    pg_server_sql("ALTER DATABASE mail SET default_transaction_read_only = on");
    struct directory *directory = open_plain();
    assert_int_equal(look(directory, "a.test", &err), CQ_E_NOT_FOUND);
    assert_int_equal(directory_domain_add(directory, CQ_SLICE("a.test"), &err), CQ_E_UNAVAILABLE);
    assert_non_null(strstr(err.text, "read-only"));
    pg_server_sql("ALTER DATABASE mail RESET default_transaction_read_only");
    assert_int_equal(directory_domain_add(directory, CQ_SLICE("a.test"), &err), CQ_OK); /* on a new connection */
    directory_close(&directory);
}

/* The primary is killed, the standby is promoted: the same process finds it. */
static void another_host_that_is_promoted_takes_over(void **state)
{
    (void)state;
    char dsn[512], folder[] = "/tmp/chasqui-pg-XXXXXX";
    struct cq_err err = {0};
    struct dir_pg_config config = pg_server_config();
    pg_server_schema();
    assert_non_null(mkdtemp(folder));
    pg_server_with(pg_server_folder, "standby", folder);
    snprintf(dsn, sizeof dsn, "host=%s/run,%s/run user=chasqui dbname=mail target_session_attrs=read-write", folder,
             pg_server_folder);
    config.dsn = dsn;
    struct directory *directory = open_with(config);
    assert_int_equal(directory_domain_add(directory, CQ_SLICE("a.test"), &err), CQ_OK);
    pg_server_sql(
        "DO $$ BEGIN WHILE NOT EXISTS (SELECT 1 FROM pg_stat_replication WHERE replay_lsn >= "
        "pg_current_wal_insert_lsn()) LOOP PERFORM pg_sleep(0.05), pg_stat_clear_snapshot(); END LOOP; END $$");
    pg_server_do("kill");
    expect_later(directory, "no host of directory.postgresql.dsn is a primary");
    pg_server_with(folder, "promote", "");
    for (int i = 0; i < 200 && cq_rc_retryable(look(directory, "a.test", &err)); i++)
        usleep(50000);
    assert_int_equal(look(directory, "a.test", &err), CQ_OK); /* it has what the first one had */
    assert_int_equal(directory_domain_add(directory, CQ_SLICE("b.test"), &err), CQ_OK);
    directory_close(&directory);
    pg_server_with(folder, "remove", "");
    pg_server_do("start");
}

/* A standby alone: questions are answered, changes are not possible, and the line says so. */
static void a_hot_standby_answers_questions_and_says_why_it_takes_no_changes(void **state)
{
    (void)state;
    char dsn[512], folder[] = "/tmp/chasqui-pg-XXXXXX";
    struct directory_schema schema;
    struct cq_err err = {0};
    struct dir_pg_config config = pg_server_config();
    pg_server_schema();
    pg_server_sql("INSERT INTO mail.domain (name) VALUES ('a.test')");
    assert_non_null(mkdtemp(folder));
    pg_server_with(pg_server_folder, "standby", folder);
    snprintf(dsn, sizeof dsn, "host=%s/run user=chasqui dbname=mail", folder);
    config.dsn = config.admin_dsn = dsn;
    struct directory *directory = open_with(config);
    enum cq_rc known = look(directory, "a.test", &err), unknown = look(directory, "b.test", &err);
    enum cq_rc change = directory_domain_add(directory, CQ_SLICE("b.test"), &err);
    bool told = strstr(err.text, "read-only: name the primary") != NULL;
    enum cq_rc check = directory_schema(directory, DIRECTORY_SCHEMA_CHECK, &schema, &err);
    directory_close(&directory);
    pg_server_with(folder, "remove", "");
    assert_int_equal(known, CQ_OK);
    assert_int_equal(unknown, CQ_E_NOT_FOUND);
    assert_int_equal(change, CQ_E_UNAVAILABLE);
    assert_true(told);
    assert_int_equal(check, CQ_E_CONFIG);
    assert_non_null(strstr(err.text, "the server is read-only: name the primary"));
}

static void a_silent_server_costs_one_timeout(void **state)
{
    (void)state;
    struct cq_err err = {0};
    struct dir_pg_config config = pg_server_config();
    config.timeout_us = 300000;
    pg_server_schema();
    struct directory *directory = open_with(config);
    assert_int_equal(look(directory, "a.test", &err), CQ_E_NOT_FOUND);
    pg_server_do("pause");
    enum cq_rc first = look(directory, "a.test", &err), second = look(directory, "a.test", &err);
    pg_server_do("go-on");
    assert_int_equal(first, CQ_E_TIMEOUT);
    assert_true(cq_rc_retryable(second));
    wait_until_it_answers(directory);
    assert_int_equal(look(directory, "a.test", &err), CQ_E_NOT_FOUND);
    directory_close(&directory);
}

/* ---- On fibers ---- */

#define FIBERS 200

struct crowd {
    struct io_loop *loop;
    struct directory *directory;
    int left;
    int ok, later, wrong;
};

static void ask(void *arg)
{
    struct crowd *crowd = arg;
    struct cq_pool *pool = cq_pool_new(1024);
    char address[64];
    for (int i = 0; i < 5; i++) {
        struct dir_resolution r;
        int n = (crowd->left + i) % 10;
        snprintf(address, sizeof address, "u%d@a.test", n);
        enum cq_rc rc = directory_resolve(crowd->directory, cq_slice_cstr(address), pool, &r, NULL);
        bool right = rc == CQ_OK && r.answer == (n < 5 ? DIR_FOUND : DIR_NO_USER) &&
                     (n >= 5 || cq_slice_eq(r.accounts[0].address, cq_slice_cstr(address)));
        ++*(right ? &crowd->ok : rc != CQ_OK && cq_rc_retryable(rc) ? &crowd->later : &crowd->wrong);
    }
    cq_pool_free(&pool);
    if (--crowd->left == 0)
        io_loop_stop(crowd->loop);
}

static void add_users(struct directory *directory)
{
    struct cq_pool *pool = cq_pool_new(1024);
    assert_int_equal(directory_domain_add(directory, CQ_SLICE("a.test"), NULL), CQ_OK);
    for (int i = 0; i < 5; i++) {
        char address[64];
        struct dir_account account;
        snprintf(address, sizeof address, "u%d@a.test", i);
        const struct dir_account_new new = {.address = cq_slice_cstr(address), .services = DIR_IMAP};
        assert_int_equal(directory_account_create(directory, &new, pool, &account, NULL), CQ_OK);
        assert_int_equal(directory_account_activate(directory, account.id, NULL), CQ_OK);
    }
    cq_pool_free(&pool);
}

static struct crowd run_crowd(struct directory *directory, void (*meanwhile)(void *arg))
{
    struct crowd crowd = {.loop = io_loop_new(NULL), .directory = directory, .left = FIBERS};
    for (int i = 0; i < FIBERS; i++)
        assert_int_equal(io_fiber_spawn(crowd.loop, ask, &crowd, NULL), CQ_OK);
    if (meanwhile)
        assert_int_equal(io_fiber_spawn(crowd.loop, meanwhile, &crowd, NULL), CQ_OK);
    io_loop_run(crowd.loop);
    io_loop_free(&crowd.loop);
    return crowd;
}

static void many_fibers_share_few_connections_and_each_gets_its_own_answer(void **state)
{
    (void)state;
    pg_server_schema();
    struct dir_pg_config config = pg_server_config();
    config.connections = 2;
    struct directory *directory = open_with(config);
    add_users(directory);
    struct crowd crowd = run_crowd(directory, NULL);
    assert_int_equal(crowd.ok, FIBERS * 5);
    directory_close(&directory);
}

static void end_all(void *arg)
{
    (void)arg;
    for (int i = 0; i < 4; i++) {
        pg_server_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'chasqui'");
        io_fiber_sleep(10);
    }
}

static void a_lost_connection_never_makes_an_answer_about_a_user(void **state)
{
    (void)state;
    pg_server_schema();
    struct directory *directory = open_plain();
    add_users(directory);
    struct crowd crowd = run_crowd(directory, end_all);
    assert_int_equal(crowd.wrong, 0);
    assert_int_equal(crowd.ok + crowd.later, FIBERS * 5);
    wait_until_it_answers(directory);
    assert_int_equal(run_crowd(directory, NULL).ok, FIBERS * 5); /* and it is over when it is over */
    directory_close(&directory);
}

static void a_fiber_that_is_cancelled_leaves_the_others_their_answers(void **state)
{
    (void)state;
    pg_server_schema();
    struct dir_pg_config config = pg_server_config();
    config.connections = 1;
    struct directory *directory = open_with(config);
    add_users(directory);
    struct crowd crowd = {.loop = io_loop_new(NULL), .directory = directory, .left = FIBERS};
    struct io_fiber_ref refs[FIBERS];
    for (int i = 0; i < FIBERS; i++)
        assert_int_equal(io_fiber_spawn(crowd.loop, ask, &crowd, &refs[i]), CQ_OK);
    for (int i = 0; i < 3; i++)
        io_loop_turn(crowd.loop, true);
    for (int i = 0; i < FIBERS; i += 2)
        io_fiber_cancel(refs[i]);
    io_loop_run(crowd.loop);
    io_loop_free(&crowd.loop);
    assert_true(crowd.ok >= FIBERS / 2 * 5);
    directory_close(&directory);
}

/* ---- Those who are known ---- */

static enum cq_rc log_in(struct auth *auth, const char *login, const char *password)
{
    struct cq_pool *pool = cq_pool_new(1024);
    struct auth_identity identity;
    const struct auth_login attempt = {DIR_IMAP, cq_slice_cstr(login), cq_slice_cstr(password)};
    enum cq_rc rc = auth_verify(auth, &attempt, pool, &identity, NULL);
    cq_pool_free(&pool);
    return rc;
}

static enum cq_rc resolve(struct directory *directory, const char *address, enum dir_answer *answer_r)
{
    struct cq_pool *pool = cq_pool_new(1024);
    struct dir_resolution r = {0};
    enum cq_rc rc = directory_resolve(directory, cq_slice_cstr(address), pool, &r, NULL);
    *answer_r = r.answer;
    cq_pool_free(&pool);
    return rc;
}

static void the_known_log_in_and_get_mail_while_the_server_is_away(void **state)
{
    (void)state;
    static const char *const gone[][2] = {{"stop", "start"}, {"pause", "go-on"}};
    const struct auth_config cheap = {.argon2_memory = 8192, .argon2_passes = 1};
    const struct directory_config settings = {.backend = DIRECTORY_POSTGRESQL,
                                              .postgresql = pg_server_config(),
                                              .cache_max = 1000,
                                              .cache_fresh_us = 10000000,
                                              .cache_stale_us = 60000000};
    struct cq_err err = {0};
    enum dir_answer answer;
    for (size_t i = 0; i < 2; i++) {
        struct directory_config config = settings;
        struct directory *directory;
        struct auth *auth;
        struct dir_account account;
        struct cq_pool *pool = cq_pool_new(1024);
        config.postgresql.timeout_us = 500000;
        pg_server_schema();
        assert_int_equal(directory_open(&config, &directory, &err), CQ_OK);
        assert_int_equal(auth_new(&cheap, directory, &auth, &err), CQ_OK);
        add_users(directory);
        assert_int_equal(directory_account_by_login(directory, CQ_SLICE("u1@a.test"), pool, &account, &err), CQ_OK);
        assert_int_equal(auth_set_password(auth, account.id, CQ_SLICE("correct horse"), &err), CQ_OK);
        assert_int_equal(log_in(auth, "u1@a.test", "correct horse"), CQ_OK);
        pg_server_do(gone[i][0]);
        enum cq_rc right = log_in(auth, "u1@a.test", "correct horse"), wrong = log_in(auth, "u1@a.test", "wrong");
        enum cq_rc other = log_in(auth, "u2@a.test", "correct horse");
        enum cq_rc known = resolve(directory, "u1@a.test", &answer);
        bool found = answer == DIR_FOUND;
        enum cq_rc unknown = resolve(directory, "nobody@a.test", &answer);
        enum cq_rc elsewhere = resolve(directory, "x@never-seen.test", &answer);
        pg_server_do(gone[i][1]);
        assert_int_equal(right, CQ_OK);
        assert_int_equal(wrong, CQ_E_AUTH);
        assert_true(cq_rc_retryable(other));
        assert_true(known == CQ_OK && found);
        assert_true(cq_rc_retryable(unknown)); /* never "no such user" */
        assert_true(cq_rc_retryable(elsewhere));
        auth_free(&auth);
        directory_close(&directory);
        cq_pool_free(&pool);
    }
}

/* The row that the cache has tells the time before: nobody asks for it again. */
static void many_log_ins_are_one_write_of_the_last_use(void **state)
{
    (void)state;
    const struct auth_config cheap = {.argon2_memory = 8192, .argon2_passes = 1};
    const struct directory_config settings = {.backend = DIRECTORY_POSTGRESQL,
                                              .postgresql = pg_server_config(),
                                              .cache_max = 1000,
                                              .cache_fresh_us = 30000000,
                                              .cache_stale_us = 60000000};
    struct directory *directory;
    struct auth *auth;
    struct dir_account account;
    struct cq_err err = {0};
    struct cq_pool *pool = cq_pool_new(1024);
    pg_server_schema();
    assert_int_equal(directory_open(&settings, &directory, &err), CQ_OK);
    assert_int_equal(auth_new(&cheap, directory, &auth, &err), CQ_OK);
    add_users(directory);
    assert_int_equal(directory_account_by_login(directory, CQ_SLICE("u1@a.test"), pool, &account, &err), CQ_OK);
    assert_int_equal(auth_set_password(auth, account.id, CQ_SLICE("correct horse"), &err), CQ_OK);
    pg_server_sql("CREATE TABLE IF NOT EXISTS public.uses (n int); DELETE FROM public.uses; "
                  "CREATE OR REPLACE FUNCTION mail.count_use() RETURNS trigger LANGUAGE plpgsql AS "
                  "$$ BEGIN INSERT INTO public.uses VALUES (1); RETURN NEW; END $$; "
                  "CREATE TRIGGER uses AFTER UPDATE ON mail.credential FOR EACH ROW EXECUTE FUNCTION mail.count_use()");
    struct dir_change *rows;
    size_t count;
    uint64_t head;
    for (int i = 0; i < 20; i++) {
        directory_changes(directory, 0, 100, pool, &rows, &count, &head, &err); /* vouches for the cache */
        assert_int_equal(log_in(auth, "u1@a.test", "correct horse"), CQ_OK);
    }
    pg_server_sql("SELECT 1 / (count(*) = 1)::int FROM public.uses"); /* an error when there are others */
    auth_free(&auth);
    directory_close(&directory);
    cq_pool_free(&pool);
}

/* ---- The feed, with other people's SQL ---- */

struct heard {
    size_t accounts, credentials, addresses, domains, lost;
    uint64_t account, credential;
};

static void hear(const struct dir_change *change, bool lost, void *ctx)
{
    struct heard *heard = ctx;
    if (lost) {
        heard->lost++;
        return;
    }
    ++*(change->kind == DIR_CHANGED_ACCOUNT      ? &heard->accounts
        : change->kind == DIR_CHANGED_CREDENTIAL ? &heard->credentials
        : change->kind == DIR_CHANGED_ADDRESS    ? &heard->addresses
                                                 : &heard->domains);
    heard->account = change->account_id;
    heard->credential = change->credential_id;
}

static void what_an_operator_changes_by_hand_is_in_the_feed(void **state)
{
    (void)state;
    struct heard heard = {0};
    struct cq_err err = {0};
    struct cq_pool *pool = cq_pool_new(1024);
    struct dir_credential *rows;
    size_t count;
    pg_server_schema();
    struct directory *directory = open_plain();
    add_users(directory);
    struct dir_account account;
    assert_int_equal(directory_account_by_login(directory, CQ_SLICE("u1@a.test"), pool, &account, &err), CQ_OK);
    const struct dir_credential password = {
        .account_id = account.id, .kind = DIR_PASSWORD, .scopes = DIR_IMAP, .hash = CQ_SLICE("h")};
    uint64_t id;
    assert_int_equal(directory_credential_put(directory, &password, &id, &err), CQ_OK);
    struct directory_watch watch = {.directory = directory, .changed = hear, .ctx = &heard};
    assert_int_equal(directory_watch_poll(&watch, &err), CQ_OK);
    pg_server_sql("UPDATE mail.account SET state = 'disabled' WHERE local = 'u1'");
    assert_int_equal(directory_watch_poll(&watch, &err), CQ_OK);
    assert_int_equal(heard.accounts, 1);
    assert_true(heard.account == account.id);
    pg_server_sql("UPDATE mail.credential SET hash = 'another'");
    assert_int_equal(directory_watch_poll(&watch, &err), CQ_OK);
    assert_int_equal(heard.credentials, 1);
    assert_int_equal(heard.credential, id);
    assert_int_equal(directory_credential_list(directory, account.id, pool, &rows, &count, &err), CQ_OK);
    assert_true(count == 1 && rows[0].id != id); /* sessions of the old password find it gone */
    pg_server_sql("DELETE FROM mail.credential");
    pg_server_sql("DELETE FROM mail.address_target WHERE local = 'u2'");
    pg_server_sql("INSERT INTO mail.domain (name) VALUES ('b.test')");
    assert_int_equal(directory_watch_poll(&watch, &err), CQ_OK);
    assert_int_equal(heard.credentials, 2);
    assert_int_equal(heard.addresses, 1);
    assert_int_equal(heard.domains, 1);
    assert_int_equal(heard.lost, 0);
    directory_close(&directory);
    cq_pool_free(&pool);
}

struct waiter {
    struct io_loop *loop;
    struct directory_watch watch;
    uint64_t waited_us[2];
};

static void wait_for_changes(void *arg)
{
    struct waiter *w = arg;
    struct cq_err err = {0};
    directory_watch_poll(&w->watch, &err);
    directory_watch_wait(&w->watch, 100); /* connects */
    for (int i = 0; i < 2; i++) {
        uint64_t began_us = io_loop_now_us(w->loop);
        if (i == 0)
            pg_server_sql("UPDATE mail.account SET admin = NOT admin WHERE local = 'u1'");
        directory_watch_wait(&w->watch, i == 0 ? 20000 : 200);
        w->waited_us[i] = io_loop_now_us(w->loop) - began_us;
        directory_watch_poll(&w->watch, &err);
    }
    pg_server_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'");
    directory_watch_wait(&w->watch, 50); /* finds the connection gone, and waits all the same */
    directory_watch_wait(&w->watch, 50);
    io_loop_stop(w->loop);
}

static void a_change_ends_the_wait_for_it(void **state)
{
    (void)state;
    struct heard heard = {0};
    struct dir_pg_config config = pg_server_config();
    config.listen_dsn = pg_server_dsn;
    pg_server_schema();
    struct directory *directory = open_with(config);
    add_users(directory);
    struct waiter w = {.loop = io_loop_new(NULL), .watch = {.directory = directory, .changed = hear, .ctx = &heard}};
    assert_int_equal(io_fiber_spawn(w.loop, wait_for_changes, &w, NULL), CQ_OK);
    io_loop_run(w.loop);
    io_loop_free(&w.loop);
    assert_true(w.waited_us[0] < 10000000);
    assert_true(w.waited_us[1] >= 190000); /* nothing changed: the whole time */
    assert_int_equal(heard.accounts, 1);
    directory_close(&directory);
}

static void a_slow_writer_is_not_overtaken_in_the_feed(void **state)
{
    (void)state;
    struct heard heard = {0};
    struct cq_err err = {0};
    pg_server_schema();
    struct directory *directory = open_plain();
    add_users(directory);
    struct directory_watch watch = {.directory = directory, .changed = hear, .ctx = &heard};
    assert_int_equal(directory_watch_poll(&watch, &err), CQ_OK);
    PGconn *slow = PQconnectdb(pg_server_dsn), *quick = PQconnectdb(pg_server_dsn);
    PQclear(PQexec(slow, "BEGIN"));
    PQclear(PQexec(slow, "UPDATE mail.account SET admin = true WHERE local = 'u1'"));
    assert_int_equal(PQsendQuery(quick, "UPDATE mail.account SET admin = true WHERE local = 'u2'"), 1);
    for (int i = 0; i < 20; i++)
        pg_server_sql("SELECT pg_sleep(0.01)"); /* the quick one would be done by now, if it did not wait */
    assert_int_equal(directory_watch_poll(&watch, &err), CQ_OK);
    assert_int_equal(heard.accounts, 0);
    PQclear(PQexec(slow, "COMMIT"));
    PQclear(PQgetResult(quick));
    assert_int_equal(directory_watch_poll(&watch, &err), CQ_OK);
    assert_int_equal(heard.accounts, 2);
    PQfinish(slow);
    PQfinish(quick);
    directory_close(&directory);
}

/* "bouncer": what needs many connections and fibers, through PgBouncer. */
int main(int argc, char **argv)
{
    const struct CMUnitTest through_bouncer[] = {
        cmocka_unit_test(a_schema_that_is_missing_old_or_new_is_told_apart),
        cmocka_unit_test(many_fibers_share_few_connections_and_each_gets_its_own_answer),
        cmocka_unit_test(a_lost_connection_never_makes_an_answer_about_a_user),
        cmocka_unit_test(a_fiber_that_is_cancelled_leaves_the_others_their_answers),
        cmocka_unit_test(what_an_operator_changes_by_hand_is_in_the_feed),
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_that_lead_nowhere_say_what_to_do),
        cmocka_unit_test(the_host_that_is_the_primary_is_found),
        cmocka_unit_test(malformed_settings_are_refused_at_the_start),
        cmocka_unit_test(a_password_file_that_is_missing_is_named),
        cmocka_unit_test(a_schema_that_is_missing_old_or_new_is_told_apart),
        cmocka_unit_test(the_check_finds_what_a_site_left_out),
        cmocka_unit_test(a_server_that_was_restarted_is_found_again),
        cmocka_unit_test(a_connection_that_is_ended_by_the_administrator_is_replaced),
        cmocka_unit_test(a_read_only_server_still_answers_questions),
        cmocka_unit_test(another_host_that_is_promoted_takes_over),
        cmocka_unit_test(a_hot_standby_answers_questions_and_says_why_it_takes_no_changes),
        cmocka_unit_test(a_silent_server_costs_one_timeout),
        cmocka_unit_test(many_fibers_share_few_connections_and_each_gets_its_own_answer),
        cmocka_unit_test(a_lost_connection_never_makes_an_answer_about_a_user),
        cmocka_unit_test(a_fiber_that_is_cancelled_leaves_the_others_their_answers),
        cmocka_unit_test(the_known_log_in_and_get_mail_while_the_server_is_away),
        cmocka_unit_test(many_log_ins_are_one_write_of_the_last_use),
        cmocka_unit_test(what_an_operator_changes_by_hand_is_in_the_feed),
        cmocka_unit_test(a_change_ends_the_wait_for_it),
        cmocka_unit_test(a_slow_writer_is_not_overtaken_in_the_feed),
    };
    pg_server_new();
    bool bouncer = argc > 1 && strcmp(argv[1], "bouncer") == 0;
    if (bouncer)
        pg_server_bounce();
    int failed =
        bouncer ? cmocka_run_group_tests(through_bouncer, NULL, NULL) : cmocka_run_group_tests(tests, NULL, NULL);
    pg_server_remove();
    return failed;
}
