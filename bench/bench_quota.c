/* Checks of rates at a running quota-service, with so many outstanding over so many connections, and prints rates,
 * latencies and the service's processor time. Each check draws one of KEYS keys. `take` has one item, as a new
 * connection has; `peek` three, as a log-in has.
 *
 *     bench_quota CA CERT KEY CLUSTER ADDRESS PID take|peek KEYS CONNECTIONS OUTSTANDING SECONDS */
#include "base/cq_assert.h"
#include "base/cq_rand.h"
#include "base/cq_time.h"
#include "limits/quota_kinds.h"
#include "proto/quota.pb-c.h"
#include "rpc/rpc_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SAMPLES_MAX 4000000
#define CONNECTIONS_MAX 64
#define WARM_UP_US 1000000
#define DEADLINE_US 5000000

struct check {
    struct rpc_client *client;
    uint64_t sent_us;
};

static struct {
    struct io_loop *loop;
    struct cq_prng prng;
    bool peek;
    uint32_t keys;
    uint64_t from_us, until_us;
    size_t open, count, failed, refused;
    uint32_t took_us[SAMPLES_MAX];
} b;

static int by_value(const void *x, const void *y)
{
    uint32_t a = *(const uint32_t *)x, c = *(const uint32_t *)y;
    return a < c ? -1 : a > c;
}

static size_t write_message(uint8_t *out)
{
    static const uint32_t peeked[] = {QUOTA_AUTH_ACCOUNT, QUOTA_AUTH_ADDRESS, QUOTA_AUTH_PAIR};
    Chasqui__Quota__Rates message = CHASQUI__QUOTA__RATES__INIT;
    Chasqui__Quota__Rate items[3], *pointers[3];
    char key[32];
    int len = snprintf(key, sizeof key, "user%07u@example.test", cq_prng_below(&b.prng, b.keys));
    message.n_items = b.peek ? 3 : 1;
    message.items = pointers;
    message.peek = b.peek;
    for (size_t i = 0; i < message.n_items; i++) {
        chasqui__quota__rate__init(&items[i]);
        items[i].kind = b.peek ? peeked[i] : QUOTA_CONNECT;
        items[i].key = (ProtobufCBinaryData){(size_t)len, (uint8_t *)key};
        items[i].cost = 1;
        pointers[i] = &items[i];
    }
    return chasqui__quota__rates__pack(&message, out);
}

static void on_done(void *ctx, enum rpc_fate fate, const struct rpc_reply_in *reply);

static void send_check(struct check *check)
{
    uint8_t message[256];
    check->sent_us = cq_time_mono_us();
    const struct rpc_call call = {.method = CHASQUI__QUOTA__METHOD__RATE_CHECK,
                                  .deadline_us = check->sent_us + DEADLINE_US,
                                  .message = cq_slice_of(message, write_message(message))};
    CQ_ASSERT(rpc_call_start(check->client, &call, on_done, check));
}

static void on_done(void *ctx, enum rpc_fate fate, const struct rpc_reply_in *reply)
{
    struct check *check = ctx;
    uint64_t now = cq_time_mono_us();
    Chasqui__Quota__Verdict *verdict = NULL;
    if (fate == RPC_ANSWERED && reply->rc == CQ_OK)
        verdict = chasqui__quota__verdict__unpack(NULL, reply->message.len, reply->message.data);
    if (check->sent_us >= b.from_us && now <= b.until_us && b.count < SAMPLES_MAX) {
        b.took_us[b.count++] = (uint32_t)(now - check->sent_us);
        b.failed += !verdict;
        b.refused += verdict && !verdict->allowed;
    }
    chasqui__quota__verdict__free_unpacked(verdict, NULL);
    if (now < b.until_us)
        send_check(check);
    else
        b.open--;
}

/* User and system time of a process in seconds. */
static double cpu_of(const char *pid)
{
    char path[64], line[1024] = "";
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file || !fgets(line, sizeof line, file) || !strrchr(line, ')') ||
        sscanf(strrchr(line, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        fprintf(stderr, "bench_quota: no process %s\n", pid);
    if (file)
        fclose(file);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static struct io_tls *open_tls(char **argv)
{
    const struct io_tls_client_options options = {.ca_file = argv[0], .cert_file = argv[1], .key_file = argv[2]};
    struct io_tls *tls = NULL;
    struct cq_err err = {0};
    if (io_tls_client_new(&options, &tls, &err) != CQ_OK) {
        fprintf(stderr, "bench_quota: %s\n", err.text);
        exit(1);
    }
    return tls;
}

static void turn_until_us(uint64_t until_us)
{
    while (cq_time_mono_us() < until_us)
        io_loop_turn(b.loop, true);
}

static void print(double seconds, double used)
{
    qsort(b.took_us, b.count, sizeof *b.took_us, by_value);
    if (!b.count)
        return;
    double per_check = used * 1e6 / (double)b.count;
    printf("%8.0f checks/s  p50 %6.2f ms  p99 %6.2f ms   service %5.1f us each: %7.0f checks/s of one core   refused "
           "%zu, failed %zu\n",
           (double)b.count / seconds, b.took_us[b.count / 2] / 1e3, b.took_us[b.count * 99 / 100] / 1e3, per_check,
           1e6 / per_check, b.refused, b.failed);
}

int main(int argc, char **argv)
{
    if (argc != 12) {
        fprintf(stderr, "usage: bench_quota CA CERT KEY CLUSTER ADDRESS PID take|peek KEYS CONNECTIONS OUTSTANDING "
                        "SECONDS\n");
        return 2;
    }
    struct rpc_hello hello = {0};
    size_t connections = strtoul(argv[9], NULL, 10), outstanding = strtoul(argv[10], NULL, 10);
    double seconds = strtod(argv[11], NULL);
    struct rpc_client *clients[CONNECTIONS_MAX];
    struct check *checks = calloc(outstanding, sizeof *checks);
    connections = connections < CONNECTIONS_MAX ? connections : CONNECTIONS_MAX;
    b.peek = strcmp(argv[7], "peek") == 0;
    b.keys = (uint32_t)strtoul(argv[8], NULL, 10);
    b.prng.state = 1;
    b.loop = io_loop_new(NULL);
    struct io_tls *tls = open_tls(argv + 1);
    struct io_pool *resolver = io_pool_new("resolver", 1, 16);
    RPC_HELLO_SET(hello.cluster, argv[4]);
    RPC_HELLO_SET(hello.program, "bench_quota");
    struct rpc_client_config config = {.loop = b.loop,
                                       .resolver = resolver,
                                       .tls = tls,
                                       .address = argv[5],
                                       .peer_roles = RPC_ROLE_QUOTA,
                                       .hello = &hello,
                                       .limits = rpc_client_limits_default(),
                                       .eager = true};
    config.limits.connections = 1;
    for (size_t i = 0; i < connections; i++)
        clients[i] = rpc_client_new(&config);
    turn_until_us(cq_time_mono_us() + WARM_UP_US / 2);
    b.from_us = cq_time_mono_us() + WARM_UP_US;
    b.until_us = b.from_us + (uint64_t)(seconds * 1e6);
    for (size_t i = 0; i < outstanding; i++, b.open++) {
        checks[i].client = clients[i % connections];
        send_check(&checks[i]);
    }
    turn_until_us(b.from_us);
    double before = cpu_of(argv[6]);
    turn_until_us(b.until_us);
    double used = cpu_of(argv[6]) - before;
    while (b.open)
        io_loop_turn(b.loop, true);
    print(seconds, used);
    for (size_t i = 0; i < connections; i++)
        rpc_client_free(&clients[i]);
    for (int i = 0; i < 10; i++)
        io_loop_turn(b.loop, false);
    io_tls_free(&tls);
    io_loop_free(&b.loop);
    io_pool_free(&resolver);
    free(checks);
    return b.count ? 0 : 1;
}
