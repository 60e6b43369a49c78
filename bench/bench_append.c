/* Appends to a running cluster of storage nodes, with so many outstanding, and prints rates and latencies.
 *
 *     bench_append CA CERT KEY CLUSTER SECONDS BYTES OUTSTANDING ADDRESS... */
#include "storage_client.h"

#include <stdlib.h>

#include "base/cq_time.h"

#define SAMPLES_MAX 4000000

static uint32_t took_us[SAMPLES_MAX];
static size_t count;
static uint32_t body_size;
static uint64_t seconds;

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void append_fiber(void *arg)
{
    struct session *s = arg;
    struct client *c = s->client;
    struct cq_err err = {0};
    static const struct mail_limits limits = {.directory_version = 1};
    uint8_t *octets = octets_of(1, body_size);
    const struct cq_slice body = cq_slice_of(octets, body_size);
    const struct mail_new_message message = {
        .internal_date = 1700000000, .summary = CQ_SLICE("summary"), .octets = &body, .octet_count = 1};
    enum cq_rc rc = mailstore_create_account(s->store, &s->account, &limits, CQ_SLICE("x@test"), &err);
    while (rc != CQ_OK || !find_inbox(s)) {
        io_fiber_sleep(100);
        rc = mailstore_create_account(s->store, &s->account, &limits, CQ_SLICE("x@test"), &err);
    }
    if (!c->until_us)
        c->until_us = cq_time_mono_us() + seconds * CQ_US_PER_S;
    while (cq_time_mono_us() < c->until_us && count < SAMPLES_MAX) {
        struct mail_appended appended;
        uint64_t start = cq_time_mono_us();
        cq_pool_clear(s->pool);
        rc = mailstore_append(s->store, &s->account, s->inbox, &message, 1, &appended, &err);
        if (rc != CQ_OK)
            complain(s, "append", rc, &err);
        took_us[count++] = (uint32_t)(cq_time_mono_us() - start);
    }
    free(octets);
    c->running--;
}

int main(int argc, char **argv)
{
    static struct client client;
    if (argc < 9) {
        fprintf(stderr, "usage: bench_append CA CERT KEY CLUSTER SECONDS BYTES OUTSTANDING ADDRESS...\n");
        return 2;
    }
    seconds = strtoull(argv[5], NULL, 10);
    body_size = (uint32_t)strtoul(argv[6], NULL, 10);
    client.accounts = (unsigned)strtoul(argv[7], NULL, 10);
    int rc = run_sessions(&client, argv + 1, argv + 8, argc - 8, append_fiber);
    qsort(took_us, count, sizeof *took_us, by_value);
    if (count)
        printf("%4u outstanding, %u bytes: %8.0f /s %7.1f MB/s   p50 %.2f ms  p99 %.2f ms\n", client.accounts,
               body_size, (double)count / (double)seconds, (double)count * body_size / (double)seconds / 1e6,
               took_us[count / 2] / 1e3, took_us[count * 99 / 100] / 1e3);
    return rc;
}
