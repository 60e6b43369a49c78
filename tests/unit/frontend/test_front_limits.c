/* Limits as clients meet them: failed log-ins and sessions of an account, in POP3. */
#include "base/cq_metrics.h"
#include "limits/quota_client.h"
#include "pop3/pop3_service.h"
#include "unit/cq_cmocka.h"
#include "unit/frontend/front_bench.h"

#include <stdio.h>

static const struct pop3_service pop3 = {.idle_ms = 60000, .auth_without_tls = true};

static struct quota_limits limits;
static struct cq_pool *pool;

static int setup(void **state)
{
    static const char text[] = "limits: {auth_account: {count: 3, period: 1h}, sessions_account: 2}";
    struct cq_config_part part = quota_limits_config_part(&limits);
    struct cq_err err = {0};
    struct front_bench *bench;
    if (bench_setup(state) != 0)
        return 1;
    bench = *state;
    pool = cq_pool_new(1024);
    assert_int_equal(cq_config_parse(&part, 1, "f", cq_slice_cstr(text), pool, &err), CQ_OK);
    const struct quota_client_config config = {.loop = bench->worker.loop, .limits = &limits, .shares = 1};
    return quota_client_new(&config, &bench->worker.quota, &err) == CQ_OK ? 0 : 1;
}

static int teardown(void **state)
{
    struct front_bench *bench = *state;
    quota_client_free(&bench->worker.quota);
    cq_pool_free(&pool);
    return bench_teardown(state);
}

static void open_session(struct front_bench *bench, struct bench_client *client)
{
    pop3_session_start(&bench->worker, &pop3, bench_connect(bench, client));
    TALK(client, "S: +OK mx.example.test POP3 *");
}

#define WRONG "C: USER ana@example.test", "S: +OK", "C: PASS wrong"
#define RIGHT "C: USER ana@example.test", "S: +OK", "C: PASS " BENCH_PASSWORD

static void after_too_many_failures_the_right_password_waits_too(void **state)
{
    struct bench_client c;
    open_session(*state, &c);
    TALK(&c, WRONG, "S: -ERR [AUTH] *", WRONG, "S: -ERR [AUTH] *");
    bench_disconnect(&c);
    open_session(*state, &c);
    TALK(&c, WRONG, "S: -ERR [AUTH] *", RIGHT, "S: -ERR [LOGIN-DELAY] *");
    bench_disconnect(&c);
    open_session(*state, &c);
    TALK(&c, "C: USER ben@example.test", "S: +OK", "C: PASS " BENCH_PASSWORD, "S: +OK *"); /* others do not wait */
    bench_disconnect(&c);
}

/* A full-width letter, the Kelvin sign: the directory takes them for the plain ones. */
static void a_name_written_in_another_way_is_no_new_one(void **state)
{
    struct bench_client c;
    open_session(*state, &c);
    TALK(&c, "C: USER ana@\xef\xbd\x85xample.test", "S: +OK", "C: PASS wrong", "S: -ERR [AUTH] *", WRONG,
         "S: -ERR [AUTH] *");
    bench_disconnect(&c);
    open_session(*state, &c);
    TALK(&c, WRONG, "S: -ERR [AUTH] *",
         "C: USER ana@e\xef\xbd\x98"
         "ample.test",
         "S: +OK", "C: PASS " BENCH_PASSWORD, "S: -ERR [LOGIN-DELAY] *");
    bench_disconnect(&c);
}

/* The same account by an alias domain, and names that nobody has: both alike, or guesses would tell who is there. */
static void an_alias_domain_gives_no_new_budget(void **state)
{
    static const char *const users[] = {"ana", "nobody"};
    struct front_bench *bench = *state;
    struct bench_client c;
    struct cq_err err = {0};
    assert_int_equal(
        directory_domain_alias_add(bench->worker.directory, CQ_SLICE("alias.test"), CQ_SLICE("example.test"), &err),
        CQ_OK);
    for (size_t i = 0; i < 2; i++) {
        char here[64], there[64];
        snprintf(here, sizeof here, "C: USER %s@example.test", users[i]);
        snprintf(there, sizeof there, "C: USER %s@Alias.test", users[i]);
        open_session(bench, &c);
        TALK(&c, there, "S: +OK", "C: PASS wrong", "S: -ERR [AUTH] *", here, "S: +OK", "C: PASS wrong",
             "S: -ERR [AUTH] *");
        bench_disconnect(&c);
        open_session(bench, &c);
        TALK(&c, there, "S: +OK", "C: PASS wrong", "S: -ERR [AUTH] *", here, "S: +OK", "C: PASS " BENCH_PASSWORD,
             "S: -ERR [LOGIN-DELAY] *", there, "S: +OK", "C: PASS " BENCH_PASSWORD, "S: -ERR [LOGIN-DELAY] *");
        bench_disconnect(&c);
    }
}

static void an_account_has_so_many_sessions_at_once(void **state)
{
    struct bench_client a, b, c;
    open_session(*state, &a);
    open_session(*state, &b);
    open_session(*state, &c);
    TALK(&a, RIGHT, "S: +OK *");
    TALK(&b, RIGHT, "S: +OK *");
    TALK(&c, RIGHT, "S: -ERR [IN-USE] *");
    TALK(&a, "C: QUIT", "S: +OK *", "S.");
    TALK(&c, RIGHT, "S: +OK *", "C: QUIT", "S: +OK *", "S.");
    TALK(&b, "C: QUIT", "S: +OK *", "S.");
    bench_disconnect(&a);
    bench_disconnect(&b);
    bench_disconnect(&c);
}

static void a_lost_connection_gives_its_session_back(void **state)
{
    struct bench_client c;
    for (int i = 0; i < 5; i++) {
        open_session(*state, &c);
        TALK(&c, RIGHT, "S: +OK *");
        bench_disconnect(&c);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(after_too_many_failures_the_right_password_waits_too),
        TEST(a_name_written_in_another_way_is_no_new_one),
        TEST(an_alias_domain_gives_no_new_budget),
        TEST(an_account_has_so_many_sessions_at_once),
        TEST(a_lost_connection_gives_its_session_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
