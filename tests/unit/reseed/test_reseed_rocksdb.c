/* Re-seeding on RocksDB. */
#include "store/store_rocksdb.h"
#include "unit/cq_cmocka.h"
#include "unit/reseed/reseed_suite.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

static char base_dir[] = "/tmp/chasqui-reseed-XXXXXX";
static char db_path[64];

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static void wipe(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct store *create(void)
{
    static const struct store_rocksdb_config config = {
        .block_cache = 8 << 20,
        .write_buffer = 1 << 20,
        .write_buffers = 4,
        .wal_max = 16 << 20,
        .bytes_per_sync = 1 << 20,
        .background_jobs = 2,
        .open_files = 64,
    };
    struct cq_err err = {0};
    struct store *store = NULL;
    wipe(db_path);
    if (store_rocksdb_open(db_path, true, &config, &store, &err) != CQ_OK)
        fail_msg("open: %s", err.text);
    return store;
}

static void destroy(struct store *store)
{
    store_close(&store);
    wipe(db_path);
}

int main(void)
{
    if (!mkdtemp(base_dir))
        return 1;
    snprintf(db_path, sizeof db_path, "%s/store", base_dir);
    const struct reseed_backend backend = {create, destroy};
    int failed = reseed_suite_run(&backend) + check_suite_run(&backend);
    wipe(base_dir);
    return failed;
}
