/* Sessions of changed accounts end: a real directory and authentication, sessions that note what they are told. */
#include "core/front_revoke.h"

#include "core/front_login.h"
#include "core/front_session.h"
#include "base/cq_time.h"
#include "directory/directory_backend.h"
#include "unit/cq_cmocka.h"
#include "unit/frontend/front_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SESSIONS_MAX 600

static struct front_bench *bench;
static struct front_revoke *revoker;
static struct cq_err err;

/* ---- Sessions ---- */

struct fake {
    struct front_session front;
    struct bench_client client;
    struct io_conn *conn;
    int ended; /* times */
    enum front_end why;
    bool closed, used;
};

static struct fake fakes[SESSIONS_MAX];

static void on_end(struct front_session *session, enum front_end why)
{
    struct fake *fake = cq_containerof(session, struct fake, front);
    fake->ended++;
    fake->why = why;
}

static void on_closed(struct io_conn *conn, const struct cq_err *why, void *ctx)
{
    struct fake *fake = ctx;
    (void)conn, (void)why;
    fake->closed = true;
}

static void on_input(struct io_conn *conn, void *ctx)
{
    (void)conn, (void)ctx;
}

static const struct io_conn_ops ops = {.on_input = on_input, .on_closed = on_closed};

static struct fake *open_fake(int i)
{
    struct fake *fake = &fakes[i];
    *fake = (struct fake){.used = true};
    fake->conn = bench_connect(bench, &fake->client);
    io_conn_set_ops(fake->conn, &ops, fake);
    front_session_init(&fake->front, &bench->worker, FRONT_IMAP, fake->conn, on_end);
    return fake;
}

static struct fake *log_in(int i, const char *login, const char *password, enum dir_service service)
{
    struct fake *fake = open_fake(i);
    assert_int_equal(front_login(&fake->front, service, "PLAIN", cq_slice_cstr(login), cq_slice_cstr(password), &err),
                     CQ_OK);
    return fake;
}

/* One that is logged in without the cost of a hash. */
static struct fake *pretend(int i, uint64_t account, uint64_t credential)
{
    struct fake *fake = open_fake(i);
    fake->front.account = account;
    fake->front.credential = credential;
    fake->front.service = DIR_IMAP;
    return fake;
}

/* ---- A directory that fails when the test says so ---- */

static struct {
    const struct dir_backend_ops *real;
    struct dir_backend_ops ops;
    bool down;
    void (*meanwhile)(void); /* once, while a log-in computes its hash */
} faulty;

static enum cq_rc faulty_account_get(struct dir_backend *self, uint64_t id, struct cq_pool *pool,
                                     struct dir_account *account_r, struct cq_err *e)
{
    if (faulty.down)
        return CQ_FAIL(e, CQ_E_UNAVAILABLE, "the database is down");
    return faulty.real->account_get(self, id, pool, account_r, e);
}

static enum cq_rc faulty_credential_list(struct dir_backend *self, uint64_t account_id, struct cq_pool *pool,
                                         struct dir_credential **rows_r, size_t *count_r, struct cq_err *e)
{
    enum cq_rc rc = faulty.real->credential_list(self, account_id, pool, rows_r, count_r, e);
    void (*meanwhile)(void) = faulty.meanwhile;
    faulty.meanwhile = NULL;
    if (meanwhile)
        meanwhile();
    return rc;
}

static struct directory *open_faulty(const char *folder)
{
    struct dir_backend *backend;
    char path[64];
    const struct directory_config config = {0};
    snprintf(path, sizeof path, "%s/directory", folder);
    assert_int_equal(dir_sqlite_open(path, 1000000, &backend, &err), CQ_OK);
    faulty.real = backend->ops;
    faulty.ops = *backend->ops;
    faulty.ops.account_get = faulty_account_get;
    faulty.ops.credential_list = faulty_credential_list;
    faulty.down = false;
    faulty.meanwhile = NULL;
    backend->ops = &faulty.ops;
    return directory_new(backend, &config);
}

static void one_round(void *arg)
{
    (void)arg;
    front_revoke_round(revoker);
    io_loop_stop(bench->worker.loop);
}

static void round_now(void)
{
    io_fiber_spawn(bench->worker.loop, one_round, NULL, NULL);
    io_loop_run(bench->worker.loop);
}

static struct front_worker *workers[1];
static struct front_workers all = {workers, 1};

static int setup(void **state)
{
    int rc = bench_setup(state);
    bench = *state;
    auth_free(&bench->worker.auth);
    directory_close(&bench->worker.directory);
    bench->worker.directory = open_faulty(bench->folder);
    const struct auth_config auth = {.argon2_memory = 8u << 20, .argon2_passes = 1};
    assert_int_equal(auth_new(&auth, bench->worker.directory, &bench->worker.auth, &err), CQ_OK);
    workers[0] = &bench->worker;
    revoker = front_revoke_new(bench->worker.directory, bench->worker.auth, &all);
    round_now();
    return rc;
}

static int teardown(void **state)
{
    for (int i = 0; i < SESSIONS_MAX; i++) {
        if (!fakes[i].used)
            continue;
        front_session_fini(&fakes[i].front);
        io_conn_free(&fakes[i].conn);
        close(fakes[i].client.fd);
        cq_buf_fini(&fakes[i].client.got);
        fakes[i].used = false;
    }
    front_revoke_free(&revoker);
    return bench_teardown(state);
}

static uint64_t credential_of(uint64_t account)
{
    struct cq_pool *pool = cq_pool_new(1024);
    struct dir_credential *rows;
    size_t n = 0;
    assert_int_equal(directory_credential_list(bench->worker.directory, account, pool, &rows, &n, &err), CQ_OK);
    uint64_t id = n ? rows[0].id : 0;
    cq_pool_free(&pool);
    return id;
}

/* ---- What ends a session, and whose ---- */

static uint64_t app_password; /* of ana */

static void disable(void)
{
    assert_int_equal(directory_account_disable(bench->worker.directory, bench->ana, &err), CQ_OK);
}

static void delete (void)
{
    assert_int_equal(directory_account_delete(bench->worker.directory, bench->ana, &err), CQ_OK);
}

static void remove_row(void)
{
    delete ();
    assert_int_equal(directory_account_remove(bench->worker.directory, bench->ana, &err), CQ_OK);
}

static void services(unsigned set)
{
    const struct dir_account_update update = {.what = DIR_SET_SERVICES, .services = set};
    assert_int_equal(directory_account_update(bench->worker.directory, bench->ana, &update, &err), CQ_OK);
}

static void imap_off(void)
{
    services(DIR_POP | DIR_SMTP);
}

static void pop_off(void)
{
    services(DIR_IMAP | DIR_SMTP);
}

static void smtp_off(void)
{
    services(DIR_IMAP | DIR_POP);
}

static void change_password(void)
{
    assert_int_equal(auth_set_password(bench->worker.auth, bench->ana, CQ_SLICE("another secret"), &err), CQ_OK);
}

static void revoke_app_password(void)
{
    assert_int_equal(directory_credential_remove(bench->worker.directory, bench->ana, app_password, &err), CQ_OK);
}

static void change_quota(void)
{
    const struct dir_account_update update = {.what = DIR_SET_QUOTA, .quota_bytes = 5};
    assert_int_equal(directory_account_update(bench->worker.directory, bench->ana, &update, &err), CQ_OK);
}

static void each_change_ends_the_sessions_that_it_concerns_and_no_other(void **state)
{
    /* columns: imap, pop and smtp by the password; imap by the app password */
    static const struct {
        void (*change)(void);
        bool ends[4];
    } cases[] = {
        {disable, {1, 1, 1, 1}},         {delete, {1, 1, 1, 1}},
        {remove_row, {1, 1, 1, 1}},      {imap_off, {1, 0, 0, 1}},
        {pop_off, {0, 1, 0, 0}},         {smtp_off, {0, 0, 1, 0}},
        {change_password, {1, 1, 1, 0}}, {revoke_app_password, {0, 0, 0, 1}},
        {change_quota, {0, 0, 0, 0}},
    };
    static const enum dir_service service[] = {DIR_IMAP, DIR_POP, DIR_SMTP};
    teardown(state);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char app[AUTH_APP_PASSWORD_SIZE];
        const struct auth_app_password what = {.scopes = DIR_ALL_SERVICES};
        assert_int_equal(setup(state), 0);
        assert_int_equal(auth_app_password_add(bench->worker.auth, bench->ana, &what, app, &app_password, &err), CQ_OK);
        for (int s = 0; s < 3; s++)
            log_in(s, "ana@example.test", BENCH_PASSWORD, service[s]);
        log_in(3, "ana@example.test", app, DIR_IMAP);
        struct fake *ben = log_in(4, "ben@example.test", BENCH_PASSWORD, DIR_IMAP), *nobody = open_fake(5);
        round_now();
        for (int s = 0; s < 6; s++)
            assert_int_equal(fakes[s].ended, 0);
        cases[i].change();
        round_now();
        for (int s = 0; s < 4; s++) {
            if (fakes[s].ended != cases[i].ends[s])
                fail_msg("case %zu, session %d: ended %d times", i, s, fakes[s].ended);
            assert_true(!fakes[s].ended || fakes[s].why == FRONT_END_ACCOUNT);
        }
        assert_true(!ben->ended && !nobody->ended);
        teardown(state);
    }
    setup(state);
}

static void a_check_that_could_not_be_answered_is_made_again(void **state)
{
    (void)state;
    struct fake *fake = log_in(0, "ana@example.test", BENCH_PASSWORD, DIR_IMAP);
    disable();
    faulty.down = true;
    round_now(); /* takes the change from the feed, cannot judge */
    round_now();
    assert_int_equal(fake->ended, 0);
    faulty.down = false;
    round_now();
    assert_int_equal(fake->ended, 1);
}

static void a_change_between_the_password_and_the_session_ends_the_log_in(void **state)
{
    (void)state;
    static void (*const changes[])(void) = {change_password, disable, remove_row};
    for (int i = 0; i < 3; i++) {
        struct fake *fake = open_fake(i);
        faulty.meanwhile = changes[i];
        assert_int_equal(front_login(&fake->front, DIR_IMAP, "PLAIN", CQ_SLICE("ana@example.test"),
                                     i ? CQ_SLICE("another secret") : CQ_SLICE(BENCH_PASSWORD), &err),
                         CQ_E_DENIED);
        assert_null(faulty.meanwhile);
        assert_true(!fake->front.account && !fake->front.credential && !fake->front.address[0]);
        if (i == 1)
            assert_int_equal(directory_account_enable(bench->worker.directory, bench->ana, &err), CQ_OK);
    }
}

static void a_harmless_change_meanwhile_lets_the_log_in_pass(void **state)
{
    (void)state;
    faulty.meanwhile = change_quota;
    struct fake *fake = log_in(0, "ana@example.test", BENCH_PASSWORD, DIR_IMAP);
    assert_null(faulty.meanwhile);
    assert_true(fake->front.account == bench->ana);
}

/* ---- Many ---- */

/* The feed was trimmed: nobody knows what changed, so every session is looked at, also those past one look's bound. */
static void a_lost_feed_means_a_look_at_everybody(void **state)
{
    (void)state;
    uint64_t credential = credential_of(bench->ana);
    for (int i = 0; i < SESSIONS_MAX; i++) /* each another log-in; all but the last one are no credentials of ana's */
        pretend(i, bench->ana, i + 1 < SESSIONS_MAX ? 1000000 + (uint64_t)i : credential);
    round_now();
    assert_int_equal(fakes[0].ended, 0);
    for (int i = 0; i < 300; i++) { /* more accounts than are kept one by one */
        char name[32];
        struct dir_account account;
        struct cq_pool *pool = cq_pool_new(1024);
        snprintf(name, sizeof name, "n%d@example.test", i);
        const struct dir_account_new wanted = {.address = cq_slice_cstr(name), .slot = 1};
        assert_int_equal(directory_account_create(bench->worker.directory, &wanted, pool, &account, &err), CQ_OK);
        cq_pool_free(&pool);
    }
    round_now();
    for (int i = 0; i < SESSIONS_MAX; i++)
        assert_int_equal(fakes[i].ended, i + 1 < SESSIONS_MAX);
}

/* ---- Those that do not go ---- */

static void who_was_thrown_out_and_stays_is_cut_off(void **state)
{
    (void)state;
    struct fake *slow = log_in(0, "ana@example.test", BENCH_PASSWORD, DIR_IMAP);
    struct fake *other = log_in(1, "ben@example.test", BENCH_PASSWORD, DIR_IMAP);
    disable();
    round_now();
    assert_true(slow->ended == 1 && slow->front.ended_us && !slow->closed);
    assert_int_equal(front_sessions_cut(&bench->worker, FRONT_REVOKE_CUT_US), 0); /* it has time to go */
    slow->front.ended_us -= FRONT_REVOKE_CUT_US;
    round_now();
    for (int i = 0; i < 10; i++)
        io_loop_turn(bench->worker.loop, false);
    assert_true(slow->closed && !other->closed && !other->ended);
}

static void an_app_password_that_comes_to_its_end_ends_its_sessions(void **state)
{
    (void)state;
    char app[AUTH_APP_PASSWORD_SIZE];
    uint64_t hour_us = UINT64_C(3600000000);
    const struct auth_app_password what = {.scopes = DIR_ALL_SERVICES, .expires_us = cq_time_wall_us() + hour_us};
    assert_int_equal(auth_app_password_add(bench->worker.auth, bench->ana, &what, app, &app_password, &err), CQ_OK);
    struct fake *by_app = log_in(0, "ana@example.test", app, DIR_IMAP);
    struct fake *by_password = log_in(1, "ana@example.test", BENCH_PASSWORD, DIR_IMAP);
    round_now();
    assert_true(by_app->front.expires_us == what.expires_us && !by_app->ended);
    by_app->front.expires_us -= hour_us;
    round_now();
    round_now();
    assert_true(by_app->ended == 1 && by_app->why == FRONT_END_ACCOUNT);
    assert_true(!by_password->front.expires_us && !by_password->ended);
}

static bool any(const struct front_session *session, void *arg)
{
    (void)session, (void)arg;
    return true;
}

static void who_drains_has_the_time_that_the_drain_gives(void **state)
{
    (void)state;
    struct fake *fake = log_in(0, "ana@example.test", BENCH_PASSWORD, DIR_IMAP);
    assert_int_equal(front_sessions_end(&bench->worker, any, NULL, FRONT_END_DRAIN), 1);
    assert_int_equal(fake->ended, 1);
    assert_int_equal(front_sessions_cut(&bench->worker, 0), 0);
    assert_int_equal(front_sessions_end(&bench->worker, any, NULL, FRONT_END_KICKED), 1);
    assert_int_equal(front_sessions_cut(&bench->worker, 0), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_change_ends_the_sessions_that_it_concerns_and_no_other),
        TEST(a_check_that_could_not_be_answered_is_made_again),
        TEST(a_change_between_the_password_and_the_session_ends_the_log_in),
        TEST(a_harmless_change_meanwhile_lets_the_log_in_pass),
        TEST(a_lost_feed_means_a_look_at_everybody),
        TEST(who_was_thrown_out_and_stays_is_cut_off),
        TEST(an_app_password_that_comes_to_its_end_ends_its_sessions),
        TEST(who_drains_has_the_time_that_the_drain_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
