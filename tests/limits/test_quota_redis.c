/* Rates in real Redis servers: shared, exact, and never waited for. */
#include "quota-service/quota_hot.h"
#include "quota-service/quota_rates.h"

#include "base/cq_hex.h"
#include "base/cq_metrics.h"
#include "base/cq_rand.h"
#include "io/io_loop.h"
#include "support/redis/redis_fixture.h"
#include "unit/cq_cmocka.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

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
    struct quota_settings quota;
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
    instance->quota.rate_keys_max = instance->quota.count_keys_max = 1000;
    instance->quota.lease_us = 15 * SEC;
    instance->quota.instances = instance->quota.instances ? instance->quota.instances : 2;
    enum cq_rc rc = cq_config_parse(parts, 2, "/test", cq_slice_cstr(settings), pool, err);
    if (rc != CQ_OK)
        return rc;
    instance->memory = quota_state_new(&instance->quota, &instance->limits);
    const struct quota_rates_config config = {.loop = loop,
                                              .resolver = resolver,
                                              .cluster = "c1",
                                              .redis = &instance->redis,
                                              .limits = &instance->limits,
                                              .memory = instance->memory,
                                              .quota = &instance->quota,
                                              .on_redis = on_redis,
                                              .ctx = instance};
    return quota_rates_new(&config, &instance->rates, err);
}

static void open_with(struct instance *instance, const char *more)
{
    char text[1024];
    struct cq_err err = {0};
    *instance = (struct instance){.quota = instance->quota};
    snprintf(text, sizeof text,
             "limits: {auth_address: {count: 100, period: 10h}, auth_account: {count: 3, period: 10h}, "
             "auth_pair: {count: 4, period: 10h, without_redis: closed}, connect: {count: 5, period: 10h}}\n"
             "redis: {servers: ['%s'], timeout: 500ms%s}\n",
             server.address, more);
    assert_int_equal(open_instance(instance, text, &err), CQ_OK);
}

#define TURN_UNTIL(condition)                                                                                          \
    for (int turns_ = 0; !(condition); turns_++) {                                                                     \
        assert_true(turns_ < TURNS_MAX);                                                                               \
        io_loop_turn(loop, true);                                                                                      \
    }

/* With keys that are hot at five questions in a second. */
static void open_hot(struct instance *instance, int64_t instances)
{
    instance->quota = (struct quota_settings){.instances = instances, .hot_rate = 5, .hot_lease_us = 5 * SEC};
    open_with(instance, "");
    TURN_UNTIL(instance->up);
}

static void close_instance(struct instance *instance)
{
    quota_rates_free(&instance->rates);
    quota_state_free(&instance->memory);
    for (int i = 0; i < 10; i++)
        io_loop_turn(loop, false);
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
    cq_metrics_register(&quota_redis_metrics);
    cq_metrics_register(&quota_hot_metrics);
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

/* ---- Keys in frequent use ---- */

/* So many questions of each instance in turn, one after the other; how many were allowed. */
static int take_in_turn(struct instance *all, int instances, int each)
{
    int allowed = 0;
    for (int i = 0; i < instances * each; i++)
        allowed += take(&all[i % instances], QUOTA_AUTH_ADDRESS, "192.0.2.1");
    return allowed;
}

static void ten_instances_with_leases_share_a_limit(void **state)
{
    (void)state;
    enum { INSTANCES = 10 };
    static struct instance all[INSTANCES];
    for (int i = 0; i < INSTANCES; i++)
        open_hot(&all[i], INSTANCES);
    int64_t leases = cq_metric_value(&quota_hot_metrics, 1, 0);
    assert_int_equal(take_in_turn(all, INSTANCES, 50), 100);
    assert_true(cq_metric_value(&quota_hot_metrics, 1, 0) > leases);
    for (int i = 0; i < INSTANCES; i++)
        close_instance(&all[i]);
}

static void an_instance_that_dies_loses_its_lease_and_no_more(void **state)
{
    (void)state;
    struct instance dies = {0}, lives = {0};
    open_hot(&dies, 1);
    open_hot(&lives, 1);
    int64_t leased = cq_metric_value(&quota_hot_metrics, 2, 0), used = cq_metric_value(&quota_hot_metrics, 2, 1);
    assert_int_equal(take_in_turn(&dies, 1, 20), 20);
    int64_t lost =
        cq_metric_value(&quota_hot_metrics, 2, 0) - leased - cq_metric_value(&quota_hot_metrics, 2, 1) + used;
    assert_true(lost > 0);
    close_instance(&dies);
    assert_int_equal(take_in_turn(&lives, 1, 200), 80 - lost);
    close_instance(&lives);
}

static int64_t questions(void)
{
    char line[64];
    redis_fixture_cli(&server, "INFO commandstats | sed -n 's/^cmdstat_evalsha:calls=\\([0-9]*\\).*/\\1/p'", line,
                      sizeof line);
    return atoll(line);
}

static void a_key_in_frequent_use_costs_few_questions(void **state)
{
    (void)state;
    struct instance one = {0};
    open_hot(&one, 1);
    const struct quota_rate_item peeked = item(QUOTA_AUTH_ADDRESS, "192.0.2.9");
    int64_t before = questions();
    assert_int_equal(take_many(&one, QUOTA_AUTH_ADDRESS, "192.0.2.1", 1000), 100); /* and then refusals */
    for (int i = 0; i < 1000; i++)
        assert_true(ask(&one, QUOTA_RATE_PEEK, &peeked, 1).allowed);
    assert_in_range(questions() - before, 10, 200);
    before = questions();
    for (int i = 0; i < 20; i++) /* not in frequent use: all are asked, in one call */
        assert_true(take(&one, QUOTA_CONNECT, (const char[]){(char)('a' + i), 0}));
    assert_int_equal(questions() - before, 20);
    close_instance(&one);
}

static void questions_of_one_turn_go_together(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    static struct asked asked[COUNT];
    static char keys[COUNT][8];
    struct instance one = {0};
    open_with(&one, "");
    TURN_UNTIL(one.up);
    int64_t before = questions();
    for (int i = 0; i < COUNT; i++) {
        snprintf(keys[i], sizeof keys[i], "%d", i / 4);
        const struct quota_rate_item what = item(QUOTA_AUTH_ACCOUNT, keys[i]);
        ask_later(&one, &asked[i], QUOTA_RATE_TAKE, &what, 1);
    }
    for (int i = 0; i < COUNT; i++) {
        TURN_UNTIL(asked[i].done);
        assert_int_equal(asked[i].answer.allowed, i % 4 < 3); /* in their order, each key by its own limit of 3 */
    }
    assert_int_equal(questions() - before, (COUNT + QUOTA_BATCH_MAX - 1) / QUOTA_BATCH_MAX);
    close_instance(&one);
}

static void a_broken_key_spoils_no_other_one(void **state)
{
    (void)state;
    struct asked asked[3];
    struct instance one = {0};
    char key[256], command[320], line[64];
    const struct quota_rate_item all[] = {item(QUOTA_AUTH_PAIR, "a"), item(QUOTA_AUTH_PAIR, "b"),
                                          item(QUOTA_AUTH_PAIR, "c")};
    open_with(&one, "");
    TURN_UNTIL(one.up);
    assert_true(take(&one, QUOTA_AUTH_PAIR, "b"));
    redis_fixture_cli(&server, "--raw KEYS '*auth_pair*'", key, sizeof key);
    snprintf(command, sizeof command, "EVAL \"redis.call('DEL', KEYS[1]) redis.call('LPUSH', KEYS[1], 'x')\" 1 %s",
             key);
    redis_fixture_cli(&server, command, line, sizeof line);
    for (int i = 0; i < 3; i++)
        ask_later(&one, &asked[i], QUOTA_RATE_TAKE, &all[i], 1);
    for (int i = 0; i < 3; i++) {
        TURN_UNTIL(asked[i].done);
        assert_int_equal(asked[i].answer.allowed, i != 1); /* b's own policy: closed */
    }
    assert_true(one.up);
    snprintf(command, sizeof command, "SET %s nonsense", key);
    redis_fixture_cli(&server, command, line, sizeof line);
    assert_true(take(&one, QUOTA_AUTH_PAIR, "b"));
    close_instance(&one);
}

static void redis_and_memory_decide_alike(void **state)
{
    (void)state;
    struct instance one = {0};
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
    struct instance one = {0};
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
    struct instance one = {0};
    char line[256];
    open_with(&one, "");
    TURN_UNTIL(one.up);
    take(&one, QUOTA_AUTH_ACCOUNT, "alice@example.test");
    redis_fixture_cli(&server, "--raw KEYS '*auth_account*'", line, sizeof line);
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
    struct instance one = {0};
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
    struct instance one = {0};
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
    struct instance one = {0};
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
    struct instance one = {0};
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
    struct instance one = {0};
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

/* The rights that quota-service/README.md names. */
#define RIGHTS "-@all", "+auth", "+role", "+script|load", "+eval", "+evalsha", "+time", "+get", "+set", "+del"

static void start_with_user(const char *const *rights, size_t count)
{
    size_t n = 0;
    const char *const user[] = {"--user", "quota", "on", ">tr0ub4dor", "resetchannels", "~chasqui:*"};
    memcpy(server.args, user, sizeof user);
    n = sizeof user / sizeof *user;
    memcpy(server.args + n, rights, count * sizeof *rights);
    server.args[n + count] = NULL;
    redis_fixture_start(&server);
    char password[96];
    snprintf(password, sizeof password, "%s/password", server.dir);
    put_file(password, "tr0ub4dor\n");
}

static void the_documented_rights_are_enough_and_all_needed(void **state)
{
    (void)state;
    static const char *const rights[] = {RIGHTS};
    enum { COUNT = sizeof rights / sizeof *rights };
    struct instance one = {0};
    char more[160];
    start_with_user(rights, COUNT);
    snprintf(more, sizeof more, ", user: quota, password_file: %s/password", server.dir);
    open_with(&one, more);
    TURN_UNTIL(one.up);
    assert_int_equal(take_many(&one, QUOTA_AUTH_PAIR, "a", 10), 4);
    close_instance(&one);
    for (size_t without = 2; without < COUNT; without++) { /* AUTH is never refused */
        const char *fewer[COUNT];
        size_t n = 0;
        for (size_t i = 0; i < COUNT; i++)
            if (i != without)
                fewer[n++] = rights[i];
        if (strcmp(rights[without], "+eval") == 0 || strcmp(rights[without], "+del") == 0)
            continue; /* needed when the script was lost, and when a debt is paid by a refund */
        redis_fixture_kill(&server);
        start_with_user(fewer, n);
        open_with(&one, more);
        TURN_UNTIL(one.why[0] || one.up);
        assert_false(one.up);
        assert_non_null(strstr(one.why, "ACL of redis.user"));
        close_instance(&one);
    }
}

/* ---- Redis Cluster: not supported, and said so ---- */

static void start_node(struct redis_fixture *node, char bus[static 8])
{
    snprintf(bus, 8, "%d", redis_fixture_free_port());
    memcpy(node->args, (const char *[]){"--cluster-enabled", "yes", "--cluster-port", bus, NULL},
           5 * sizeof *node->args);
    redis_fixture_start(node);
}

static void cli(const struct redis_fixture *node, const char *command, const char *wanted)
{
    char line[256] = "";
    for (int i = 0; i < 600 && !strstr(line, wanted); i++) {
        redis_fixture_cli(node, command, line, sizeof line);
        if (!strstr(line, wanted))
            poll(NULL, 0, 50); /* nodes tell each other by gossip */
    }
    assert_non_null(strstr(line, wanted));
}

static void expect_told(const struct instance *one)
{
    assert_false(one->up);
    if (!strstr(one->why, "Redis Cluster, which is not supported") || !strstr(one->why, "redis.sentinels"))
        fail_msg("%s", one->why);
}

static void a_cluster_without_slots_is_named(void **state)
{
    (void)state;
    struct instance one = {0};
    char bus[8];
    start_node(&server, bus);
    open_with(&one, "");
    TURN_UNTIL(one.up || one.why[0]);
    expect_told(&one);
    assert_non_null(strstr(one.why, "CLUSTERDOWN"));
    assert_int_equal(take_many(&one, QUOTA_AUTH_PAIR, "a", 1), 0); /* without_redis: closed */
    cli(&server, "CLUSTER ADDSLOTSRANGE 0 16383", "OK");
    TURN_UNTIL(one.up); /* a node that has all is like any other */
    assert_int_equal(take_many(&one, QUOTA_AUTH_PAIR, "a", 10), 4);
    close_instance(&one);
}

static void a_node_with_some_of_the_slots_is_named_and_left_alone(void **state)
{
    (void)state;
    struct redis_fixture other = {0}, *nodes[] = {&server, &other};
    char buses[2][8], meet[80];
    for (int i = 0; i < 2; i++)
        start_node(nodes[i], buses[i]);
    cli(&server, "CLUSTER ADDSLOTSRANGE 0 8191", "OK");
    cli(&other, "CLUSTER ADDSLOTSRANGE 8192 16383", "OK");
    snprintf(meet, sizeof meet, "CLUSTER MEET 127.0.0.1 %d %s", other.port, buses[1]);
    cli(&server, meet, "OK");
    unsigned came_up = 0;
    for (int i = 0; i < 2; i++) { /* one of them has the slot of the trial */
        struct instance one = {0};
        struct cq_err err = {0};
        char text[256];
        cli(nodes[i], "CLUSTER INFO", "cluster_state:ok");
        snprintf(text, sizeof text, "redis: {servers: ['%s'], timeout: 500ms}\n", nodes[i]->address);
        assert_int_equal(open_instance(&one, text, &err), CQ_OK);
        TURN_UNTIL(one.up || one.why[0]);
        came_up += one.up;
        for (int key = 0; key < 64 && one.up; key++) {
            char name[8];
            snprintf(name, sizeof name, "k%d", key);
            take_many(&one, QUOTA_AUTH_PAIR, name, 1);
            for (int turns = 0; turns < 10; turns++)
                io_loop_turn(loop, false);
        }
        expect_told(&one);
        assert_non_null(strstr(one.why, "MOVED"));
        for (int turns = 0; turns < 10; turns++) { /* longer than the pause after other trouble */
            poll(NULL, 0, 20);
            io_loop_turn(loop, false);
            assert_false(one.up);
        }
        close_instance(&one);
    }
    assert_int_equal(came_up, 1);
    redis_fixture_end(&other);
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
    struct instance one = {0};
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

/* ---- A server that is none ---- */

/* Answers as a master would until a connection is up, then with something else. */
struct impostor {
    int listener, port;
    const char *hostile; /* what it says to the first check of each connection */
    size_t len;
    pthread_t thread;
};

static bool hears(int fd, char *line, size_t size, const char *what)
{
    ssize_t n = recv(fd, line, size - 1, 0);
    line[n > 0 ? n : 0] = '\0';
    return n > 0 && memmem(line, (size_t)n, what, strlen(what));
}

static bool says(int fd, const char *text, size_t len)
{
    return send(fd, text, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static bool welcomes(int fd)
{
    static const char role[] = "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n", sha[] = "$3\r\nabc\r\n", one[] = "$1\r\n1\r\n";
    char line[8192];
    return hears(fd, line, sizeof line, "ROLE") && says(fd, role, sizeof role - 1) &&
           hears(fd, line, sizeof line, "SCRIPT") && says(fd, sha, sizeof sha - 1) &&
           hears(fd, line, sizeof line, "EVALSHA") && says(fd, one, sizeof one - 1);
}

static void *impostor_thread(void *arg)
{
    const struct impostor *impostor = arg;
    char line[8192];
    for (int fd; (fd = accept(impostor->listener, NULL, NULL)) >= 0; close(fd))
        if (welcomes(fd) && hears(fd, line, sizeof line, "EVALSHA") && says(fd, impostor->hostile, impostor->len))
            while (recv(fd, line, sizeof line, 0) > 0) /* until it is left */
                ;
    return NULL;
}

static void impostor_start(struct impostor *impostor)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    impostor->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(bind(impostor->listener, (struct sockaddr *)&addr, len), 0);
    assert_return_code(listen(impostor->listener, 16), 0);
    assert_return_code(getsockname(impostor->listener, (struct sockaddr *)&addr, &len), 0);
    impostor->port = ntohs(addr.sin_port);
    snprintf(server.address, sizeof server.address, "127.0.0.1:%d", impostor->port);
    assert_int_equal(pthread_create(&impostor->thread, NULL, impostor_thread, impostor), 0);
}

static void impostor_end(struct impostor *impostor)
{
    shutdown(impostor->listener, SHUT_RDWR);
    pthread_join(impostor->thread, NULL);
    close(impostor->listener);
}

#define SAYS(text) text, sizeof(text) - 1

static void a_hostile_server_decides_nothing(void **state)
{
    (void)state;
    static char endless[80000] = "$536870912\r\n";
    static const struct {
        const char *text;
        size_t len;
        enum { STAYS, LEAVES, LEAVES_AFTER_A_GOOD_ANSWER } then;
    } cases[] = {
        {SAYS("+1\r\n"), STAYS},                                      /* no bulk string */
        {SAYS(":1\r\n"), STAYS},                                      /* the same */
        {SAYS("$-1\r\n"), STAYS},                                     /* nothing */
        {SAYS("$0\r\n\r\n"), STAYS},                                  /* no number */
        {SAYS("$3\r\n1 1\r\n"), STAYS},                               /* two numbers for one */
        {SAYS("$2\r\n1 \r\n"), STAYS},                                /* one and a bit */
        {SAYS("$3\r\n1\0001\r\n"), STAYS},                            /* a NUL */
        {SAYS("$2\r\nno\r\n"), STAYS},                                /* a word */
        {SAYS("*1\r\n$1\r\n1\r\n"), STAYS},                           /* in an array */
        {SAYS("-ERR \033[31m unknown\r\n"), STAYS},                   /* an error that nobody knows */
        {SAYS("-NOSCRIPT no\r\n-NOSCRIPT no\r\n"), STAYS},            /* again and again */
        {SAYS("$1\r\n1\r\n$1\r\n1\r\n"), LEAVES_AFTER_A_GOOD_ANSWER}, /* an answer to no question */
        {SAYS("HTTP/1.1 400 Bad Request\r\n"), LEAVES},
        {SAYS("*2147483647\r\n*2147483647\r\n"), LEAVES},
        {endless, sizeof endless, LEAVES},
        {SAYS("-READONLY no\r\n"), LEAVES},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct impostor impostor = {.hostile = cases[i].text, .len = cases[i].len};
        struct instance one = {0};
        impostor_start(&impostor);
        open_with(&one, "");
        TURN_UNTIL(one.up);
        int64_t before = fallbacks(QUOTA_AUTH_PAIR, QUOTA_POLICY_CLOSED);
        bool allowed = take(&one, QUOTA_AUTH_PAIR, "a"); /* closed without Redis */
        bool decided_here = fallbacks(QUOTA_AUTH_PAIR, QUOTA_POLICY_CLOSED) > before;
        assert_int_equal(allowed, !decided_here);
        assert_int_equal(decided_here, cases[i].then != LEAVES_AFTER_A_GOOD_ANSWER);
        if (cases[i].then != STAYS)
            TURN_UNTIL(!one.up);
        close_instance(&one);
        impostor_end(&impostor);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(instances_share_a_limit_exactly, setup_server, teardown),
        cmocka_unit_test_setup_teardown(redis_and_memory_decide_alike, setup_server, teardown),
        cmocka_unit_test_setup_teardown(ten_instances_with_leases_share_a_limit, setup_server, teardown),
        cmocka_unit_test_setup_teardown(an_instance_that_dies_loses_its_lease_and_no_more, setup_server, teardown),
        cmocka_unit_test_setup_teardown(a_key_in_frequent_use_costs_few_questions, setup_server, teardown),
        cmocka_unit_test_setup_teardown(questions_of_one_turn_go_together, setup_server, teardown),
        cmocka_unit_test_setup_teardown(a_broken_key_spoils_no_other_one, setup_server, teardown),
        cmocka_unit_test_setup_teardown(the_documented_rights_are_enough_and_all_needed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refused_question_pays_for_none_of_its_items, setup_server, teardown),
        cmocka_unit_test_setup_teardown(keys_end_by_themselves_and_hide_names, setup_server, teardown),
        cmocka_unit_test_setup_teardown(a_lost_script_is_sent_again, setup_server, teardown),
        cmocka_unit_test_setup_teardown(without_redis_each_limit_has_its_policy, setup_server, teardown),
        cmocka_unit_test_setup_teardown(a_redis_that_hangs_is_left_within_the_timeout, setup_server, teardown),
        cmocka_unit_test_setup_teardown(closing_answers_what_waits, setup_server, teardown),
        cmocka_unit_test_setup_teardown(an_acl_user_and_tls_get_in_and_others_are_told_why, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_goes_in_clear_beyond_this_machine, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cluster_without_slots_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(a_node_with_some_of_the_slots_is_named_and_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_hostile_server_decides_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_replica_that_sentinel_promotes_is_followed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
