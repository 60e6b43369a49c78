/* Synced batches a second of the RocksDB store: k entries of 170 bytes, each with a body, per batch.
 *
 *     bench_store FOLDER [SECONDS [BODY_BYTES]]
 *
 * The folder must not exist; it is left behind for a look. */
#include "store/store_rocksdb.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cq_endian.h"
#include "base/cq_mem.h"
#include "base/cq_rand.h"
#include "base/cq_time.h"

#define ENTRY_BYTES 170
#define SYNCS_MAX 1000000

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void fill_batch(struct store_batch *batch, uint64_t *index, uint32_t k, struct cq_slice body)
{
    static const uint8_t entry[ENTRY_BYTES];
    for (uint32_t i = 0; i < k; i++) {
        uint8_t key[28] = {0};
        cq_put_be64(key + 16, ++*index);
        store_batch_put(batch, STORE_LOG, cq_slice_of(key + 12, 12), cq_slice_of(entry, sizeof entry));
        store_batch_put(batch, STORE_CHUNK, cq_slice_of(key, sizeof key), body);
    }
}

static int run(struct store *store, uint32_t k, uint64_t seconds, struct cq_slice body)
{
    static uint32_t took_us[SYNCS_MAX];
    static uint64_t index;
    uint64_t start = cq_time_mono_us(), end = start + seconds * CQ_US_PER_S, now = start, syncs = 0;
    struct store_batch *batch = store_batch_new(store);
    while (now < end && syncs < SYNCS_MAX) {
        store_batch_clear(batch);
        fill_batch(batch, &index, k, body);
        struct cq_err err;
        if (store_write(store, batch, true, &err) != CQ_OK) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        uint64_t after = cq_time_mono_us();
        took_us[syncs++] = (uint32_t)(after - now);
        now = after;
    }
    store_batch_free(&batch);
    qsort(took_us, syncs, sizeof *took_us, by_value);
    double s = (double)(now - start) / 1e6;
    printf("%4u %9.0f %11.0f %7.1f %8.2f %8.2f\n", k, (double)syncs / s, (double)(syncs * k) / s,
           (double)(syncs * k * body.len) / s / 1e6, took_us[syncs / 2] / 1e3, took_us[syncs * 99 / 100] / 1e3);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_store FOLDER [SECONDS [BODY_BYTES]]\n");
        return 2;
    }
    uint64_t seconds = argc > 2 ? strtoull(argv[2], NULL, 10) : 3;
    size_t size = argc > 3 ? strtoull(argv[3], NULL, 10) : 16384;
    const struct store_rocksdb_config config = {.block_cache = 256 << 20,
                                                .write_buffer = 64 << 20,
                                                .write_buffers = 4,
                                                .wal_max = 512 << 20,
                                                .bytes_per_sync = 1 << 20,
                                                .background_jobs = 2,
                                                .open_files = 1000};
    struct store *store;
    struct cq_err err;
    if (store_rocksdb_open(argv[1], true, &config, &store, &err) != CQ_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    uint8_t *body = cq_malloc(size);
    cq_rand_bytes(body, size);
    printf("   k   syncs/s   entries/s    MB/s   p50 ms   p99 ms   (bodies of %zu bytes)\n", size);
    static const uint32_t ks[] = {1, 4, 16, 64};
    int rc = 0;
    for (size_t i = 0; i < sizeof ks / sizeof *ks && rc == 0; i++)
        rc = run(store, ks[i], seconds, cq_slice_of(body, size));
    free(body);
    store_close(&store);
    return rc;
}
