/* Rates in real Redis servers: shared, exact, and never waited for. */
#include "quota-service/quota_rates.h"

#include "base/cq_hex.h"
#include "base/cq_metrics.h"
#include "base/cq_rand.h"
#include "io/io_loop.h"
#include "support/redis/redis_fixture.h"
#include "unit/cq_cmocka.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TURNS_MAX 200000
#define SEC UINT64_C(1000000)

static struct io_loop *loop;
static struct io_pool *resolver;
static struct cq_pool *pool;
static struct redis_fixture server;

/* One instance of the quota-service, as far as rates go. */
struct instance {
    struct redis_settings redis;
    struct quota_limits limits;
    struct quota_state *memory;
    struct quota_rates *rates;
    bool up;
    char why[256];
};

static void on_redis(void *ctx, bool up, const char *why)
{
    struct instance *instance = ctx;
    instance->up = up;
    snprintf(instance->why, sizeof instance->why, "%s", why ? why : "");
}

static enum cq_rc open_instance(struct instance *instance, const char *settings, struct cq_err *err)
{
    struct cq_config_part parts[] = {quota_limits_config_part(&instance->limits), redis_config_part(&instance->redis)};
    const struct quota_settings memory = {
        .rate_keys_max = 1000, .count_keys_max = 1000, .lease_us = 15 * SEC, .instances = 2};
    enum cq_rc rc = cq_config_parse(parts, 2, "/test", cq_slice_cstr(settings), pool, err);
    if (rc != CQ_OK)
        return rc;
    instance->memory = quota_state_new(&memory, &instance->limits);
    const struct quota_rates_config config = {.loop = loop,
                                              .resolver = resolver,
                                              .cluster = "c1",
                                              .redis = &instance->redis,
                                              .limits = &instance->limits,
                                              .memory = instance->memory,
                                              .on_redis = on_redis,
                                              .ctx = instance};
    return quota_rates_new(&config, &instance->rates, err);
}

static void open_with(struct instance *instance, const char *more)
{
    char text[1024];
    struct cq_err err = {0};
    *instance = (struct instance){0};
    snprintf(text, sizeof text,
             "limits: {auth_address: {count: 100, period: 10h}, auth_account: {count: 3, period: 10h}, "
             "auth_pair: {count: 4, period: 10h, without_redis: closed}, connect: {count: 5, period: 10h}}\n"
             "redis: {servers: ['%s'], timeout: 500ms%s}\n",
             server.address, more);
    assert_int_equal(open_instance(instance, text, &err), CQ_OK);
}

static void close_instance(struct instance *instance)
{
    quota_rates_free(&instance->rates);
    quota_state_free(&instance->memory);
    for (int i = 0; i < 10; i++)
        io_loop_turn(loop, false);
}

#define TURN_UNTIL(condition)                                                                                          \
    for (int turns_ = 0; !(condition); turns_++) {                                                                     \
        assert_true(turns_ < TURNS_MAX);                                                                               \
        io_loop_turn(loop, true);                                                                                      \
    }

/* ---- Asking ---- */

struct asked {
    struct quota_question question;
    struct quota_answer answer;
    bool done;
};

static void on_done(struct quota_question *question, const struct quota_answer *answer)
{
    struct asked *asked = cq_containerof(question, struct asked, question);
    asked->answer = *answer;
    asked->done = true;
}

static void ask_later(struct instance *instance, struct asked *asked, enum quota_rate_op op,
                      const struct quota_rate_item *items, size_t count)
{
    asked->done = false;
    asked->question = (struct quota_question){.op = op, .count = count, .done = on_done};
    memcpy(asked->question.items, items, count * sizeof *items);
    quota_rates_ask(instance->rates, &asked->question);
}

static struct quota_answer ask(struct instance *instance, enum quota_rate_op op, const struct quota_rate_item *items,
                               size_t count)
{
    struct asked asked;
    ask_later(instance, &asked, op, items, count);
    TURN_UNTIL(asked.done);
    return asked.answer;
}

static struct quota_rate_item item(uint32_t kind, const char *key)
{
    return (struct quota_rate_item){kind, cq_slice_cstr(key), 1};
}

static bool take(struct instance *instance, uint32_t kind, const char *key)
{
    const struct quota_rate_item one = item(kind, key);
    return ask(instance, QUOTA_RATE_TAKE, &one, 1).allowed;
}

static int take_many(struct instance *instance, uint32_t kind, const char *key, int times)
{
    int allowed = 0;
    for (int i = 0; i < times; i++)
        allowed += take(instance, kind, key);
    return allowed;
}

static int64_t fallbacks(enum quota_rate kind, enum quota_policy policy)
{
    return cq_metric_value(&quota_rates_metrics, 0, (unsigned)kind - 1, policy);
}

/* ---- Before and after ---- */

static int setup(void **state)
{
    (void)state;
    cq_metrics_register(&quota_metrics);
    cq_metrics_register(&quota_rates_metrics);
    cq_metrics_register(&redis_metrics);
    pool = cq_pool_new(4096);
    loop = io_loop_new(NULL);
    resolver = io_pool_new("resolver", 1, 16);
    server = (struct redis_fixture){0};
    return 0;
}

static int setup_server(void **state)
{
    setup(state);
    redis_fixture_start(&server);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    io_loop_free(&loop);
    io_pool_free(&resolver);
    cq_pool_free(&pool);
    redis_fixture_end(&server);
    return 0;
}

/* ---- What Redis decides ---- */

static void instances_share_a_limit_exactly(void **state)
{
    (void)state;
    enum { INSTANCES = 10, EACH = 50 };
    static struct instance all[INSTANCES];
    static struct asked asked[INSTANCES * EACH];
    const struct quota_rate_item one = item(QUOTA_AUTH_ADDRESS, "192.0.2.1");
    int allowed = 0;
    for (int i = 0; i < INSTANCES; i++) {
        open_with(&all[i], "");
        TURN_UNTIL(all[i].up);
    }
    for (int i = 0; i < INSTANCES * EACH; i++)
        ask_later(&all[i % INSTANCES], &asked[i], QUOTA_RATE_TAKE, &one, 1);
    for (int i = 0; i < INSTANCES * EACH; i++) {
        TURN_UNTIL(asked[i].done);
        allowed += asked[i].answer.allowed;
    }
    assert_int_equal(allowed, 100);
    for (int i = 0; i < INSTANCES; i++)
        close_instance(&all[i]);
}

static void redis_and_memory_decide_alike(void **state)
{
    (void)state;
    struct instance one;
    struct cq_prng prng = {.state = 1};
    char key[8];
    open_with(&one, "");
    TURN_UNTIL(one.up);
    struct quota_state *memory = quota_state_new(
        &(struct quota_settings){.rate_keys_max = 1000, .count_keys_max = 1, .lease_us = SEC}, &one.limits);
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "%u", cq_prng_below(&prng, 20));
        struct quota_rate_item what = item(1 + cq_prng_below(&prng, QUOTA_RATE_END - 1), key);
        what.cost = cq_prng_below(&prng, 3);
        if (cq_prng_below(&prng, 4) == 0) {
            ask(&one, QUOTA_RATE_CHARGE, &what, 1);
            quota_state_charge(memory, &what, 1, 100 * SEC);
            continue;
        }
        bool peek = cq_prng_below(&prng, 2);
        bool here = quota_state_check(memory, &what, 1, peek, 100 * SEC).allowed;
        assert_int_equal(ask(&one, peek ? QUOTA_RATE_PEEK : QUOTA_RATE_TAKE, &what, 1).allowed, here);
    }
    quota_state_free(&memory);
    close_instance(&one);
}

static void a_refused_question_pays_for_none_of_its_items(void **state)
{
    (void)state;
    struct instance one;
    const struct quota_rate_item both[] = {item(QUOTA_AUTH_ADDRESS, "a"), item(QUOTA_AUTH_ACCOUNT, "b")};
    open_with(&one, "");
    TURN_UNTIL(one.up);
    for (int i = 0; i < 3; i++)
        assert_true(ask(&one, QUOTA_RATE_TAKE, both, 2).allowed);
    for (int i = 0; i < 200; i++) {
        struct quota_answer answer = ask(&one, QUOTA_RATE_TAKE, both, 2);
        assert_false(answer.allowed);
        assert_int_equal(answer.refused, 1);
        assert_in_range(answer.retry_after_us, 3 * 3600 * SEC, 4 * 3600 * SEC);
    }
    assert_int_equal(take_many(&one, QUOTA_AUTH_ADDRESS, "a", 200), 97);
    close_instance(&one);
}

static void keys_end_by_themselves_and_hide_names(void **state)
{
    (void)state;
    struct instance one;
    char line[256];
    open_with(&one, "");
    TURN_UNTIL(one.up);
    take(&one, QUOTA_AUTH_ACCOUNT, "alice@example.test");
    redis_fixture_cli(&server, "--raw KEYS '*'", line, sizeof line);
    assert_non_null(strstr(line, "chasqui:c1:rate:auth_account:"));
    assert_null(strstr(line, "alice"));
    char command[320];
    snprintf(command, sizeof command, "--raw PTTL %s", line);
    redis_fixture_cli(&server, command, line, sizeof line);
    assert_in_range(atoll(line), 3 * 3600 * 1000, 10 * 3600 * 1000);
    close_instance(&one);
}

/* ---- Trouble ---- */

static void a_lost_script_is_sent_again(void **state)
{
    (void)state;
    struct instance one;
    char line[64];
    open_with(&one, "");
    TURN_UNTIL(one.up);
    int64_t before = fallbacks(QUOTA_AUTH_ACCOUNT, QUOTA_POLICY_LOCAL);
    assert_int_equal(take_many(&one, QUOTA_AUTH_ACCOUNT, "k", 2), 2);
    redis_fixture_cli(&server, "SCRIPT FLUSH", line, sizeof line);
    assert_int_equal(take_many(&one, QUOTA_AUTH_ACCOUNT, "k", 5), 1);
    assert_int_equal(fallbacks(QUOTA_AUTH_ACCOUNT, QUOTA_POLICY_LOCAL), before);
    close_instance(&one);
}

static void without_redis_each_limit_has_its_policy(void **state)
{
    (void)state;
    struct instance one;
    open_with(&one, "");
    TURN_UNTIL(one.up);
    redis_fixture_kill(&server);
    TURN_UNTIL(!one.up);
    assert_int_equal(take_many(&one, QUOTA_AUTH_ADDRESS, "a", 200), 50); /* local: 100 over two instances */
    assert_int_equal(take_many(&one, QUOTA_CONNECT, "a", 200), 200);     /* open */
    assert_int_equal(take_many(&one, QUOTA_AUTH_PAIR, "a", 200), 0);     /* closed */
    assert_true(fallbacks(QUOTA_CONNECT, QUOTA_POLICY_OPEN) >= 200);
    redis_fixture_start(&server);
    TURN_UNTIL(one.up);
    assert_int_equal(take_many(&one, QUOTA_AUTH_PAIR, "a", 200), 4);
    close_instance(&one);
}

static void a_redis_that_hangs_is_left_within_the_timeout(void **state)
{
    (void)state;
    struct instance one;
    open_with(&one, "");
    TURN_UNTIL(one.up);
    redis_fixture_signal(&server, SIGSTOP);
    uint64_t from = io_loop_now_us(loop);
    assert_int_equal(take_many(&one, QUOTA_AUTH_ACCOUNT, "a", 100), 1); /* 3 over two instances */
    assert_true(io_loop_now_us(loop) - from < 10 * SEC);                /* one timeout, not a hundred */
    assert_false(one.up);
    assert_non_null(strstr(one.why, "redis.timeout"));
    redis_fixture_signal(&server, SIGCONT);
    TURN_UNTIL(one.up);
    assert_true(take(&one, QUOTA_AUTH_PAIR, "a"));
    close_instance(&one);
}

static void closing_answers_what_waits(void **state)
{
    (void)state;
    struct instance one;
    struct asked asked[3];
    const struct quota_rate_item what = item(QUOTA_AUTH_ADDRESS, "a");
    open_with(&one, "");
    TURN_UNTIL(one.up);
    redis_fixture_signal(&server, SIGSTOP);
    for (int i = 0; i < 3; i++)
        ask_later(&one, &asked[i], QUOTA_RATE_TAKE, &what, 1);
    io_loop_turn(loop, false);
    quota_rates_free(&one.rates);
    for (int i = 0; i < 3; i++)
        assert_true(asked[i].done && asked[i].answer.allowed);
    redis_fixture_signal(&server, SIGCONT);
    close_instance(&one);
}

/* ---- Getting in ---- */

static void put_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    fclose(file);
}

static void an_acl_user_and_tls_get_in_and_others_are_told_why(void **state)
{
    (void)state;
    struct instance one;
    char more[512], password[96];
    redis_fixture_make_tls(&server);
    server.tls = true;
    memcpy(server.args,
           (const char *[]){"--user", "quota", "on", ">tr0ub4dor", "~chasqui:*", "+@all", "--user", "default", "off"},
           9 * sizeof *server.args);
    redis_fixture_start(&server);
    snprintf(password, sizeof password, "%s/password", server.dir);
    put_file(password, "tr0ub4dor\n");
    snprintf(more, sizeof more, ", user: quota, password_file: %s, tls: {enabled: true, ca: %s/ca.pem}", password,
             server.dir);
    open_with(&one, more);
    TURN_UNTIL(one.up);
    assert_int_equal(take_many(&one, QUOTA_AUTH_PAIR, "a", 10), 4);
    close_instance(&one);

    put_file(password, "wrong\n");
    open_with(&one, more);
    TURN_UNTIL(one.why[0]);
    assert_non_null(strstr(one.why, "redis.password_file"));
    assert_null(strstr(one.why, "wrong\n"));
    close_instance(&one);

    open_with(&one, ", user: quota");
    one.why[0] = 0;
    TURN_UNTIL(one.why[0]);
    assert_non_null(strstr(one.why, "TLS"));
    close_instance(&one);
}

static void nothing_goes_in_clear_beyond_this_machine(void **state)
{
    (void)state;
    struct instance one = {0};
    struct cq_err err = {0};
    assert_int_equal(open_instance(&one, "redis: {servers: ['192.0.2.1:6379']}\n", &err), CQ_OK);
    TURN_UNTIL(one.why[0]);
    assert_non_null(strstr(one.why, "redis.tls"));
    close_instance(&one);
    assert_int_equal(open_instance(&one, "redis: {servers: ['127.0.0.1:1'], password_file: /nowhere}\n", &err),
                     CQ_E_CONFIG);
    assert_non_null(strstr(err.text, "/nowhere"));
    quota_state_free(&one.memory);
}

static void a_replica_that_sentinel_promotes_is_followed(void **state)
{
    (void)state;
    struct redis_fixture replica = {0}, sentinel = {.sentinel = true};
    struct instance one;
    struct cq_err err = {0};
    char master_port[8], text[512], file[96];
    redis_fixture_start(&server);
    snprintf(master_port, sizeof master_port, "%d", server.port);
    memcpy(replica.args, (const char *[]){"--replicaof", "127.0.0.1", master_port}, 3 * sizeof *replica.args);
    redis_fixture_start(&replica);

    snprintf(sentinel.dir, sizeof sentinel.dir, "/tmp/chasqui-redis-XXXXXX");
    assert_non_null(mkdtemp(sentinel.dir));
    snprintf(file, sizeof file, "%s/sentinel.conf", sentinel.dir);
    snprintf(text, sizeof text,
             "sentinel monitor m 127.0.0.1 %d 1\nsentinel down-after-milliseconds m 300\n"
             "sentinel failover-timeout m 3000\n",
             server.port);
    put_file(file, text);
    sentinel.args[0] = file;
    redis_fixture_start(&sentinel);

    snprintf(text, sizeof text,
             "limits: {auth_pair: {count: 4, period: 10h}}\n"
             "redis: {sentinels: ['%s'], sentinel_master: m, timeout: 500ms}\n",
             sentinel.address);
    one = (struct instance){0};
    assert_int_equal(open_instance(&one, text, &err), CQ_OK);
    TURN_UNTIL(one.up);
    assert_int_equal(take_many(&one, QUOTA_AUTH_PAIR, "a", 3), 3);
    char role[64];
    for (int i = 0; i < 300; i++) { /* the replica must be known to the Sentinel, else there is nobody to promote */
        redis_fixture_cli(&sentinel, "--raw SENTINEL replicas m", role, sizeof role);
        if (role[0])
            break;
        usleep(100000);
    }
    assert_true(role[0]);
    redis_fixture_kill(&server);
    TURN_UNTIL(!one.up);
    TURN_UNTIL(one.up);
    redis_fixture_cli(&replica, "--raw ROLE", role, sizeof role);
    assert_string_equal(role, "master");
    int more = take_many(&one, QUOTA_AUTH_PAIR, "a", 10); /* replication is asynchronous: a lost write forgives */
    assert_in_range(more, 1, 4);
    close_instance(&one);
    redis_fixture_end(&sentinel);
    redis_fixture_end(&replica);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(instances_share_a_limit_exactly, setup_server, teardown),
        cmocka_unit_test_setup_teardown(redis_and_memory_decide_alike, setup_server, teardown),
        cmocka_unit_test_setup_teardown(a_refused_question_pays_for_none_of_its_items, setup_server, teardown),
        cmocka_unit_test_setup_teardown(keys_end_by_themselves_and_hide_names, setup_server, teardown),
        cmocka_unit_test_setup_teardown(a_lost_script_is_sent_again, setup_server, teardown),
        cmocka_unit_test_setup_teardown(without_redis_each_limit_has_its_policy, setup_server, teardown),
        cmocka_unit_test_setup_teardown(a_redis_that_hangs_is_left_within_the_timeout, setup_server, teardown),
        cmocka_unit_test_setup_teardown(closing_answers_what_waits, setup_server, teardown),
        cmocka_unit_test_setup_teardown(an_acl_user_and_tls_get_in_and_others_are_told_why, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_goes_in_clear_beyond_this_machine, setup, teardown),
        cmocka_unit_test_setup_teardown(a_replica_that_sentinel_promotes_is_followed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
