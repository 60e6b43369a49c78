#include "store/store_rocksdb.h"

#include "unit/cq_cmocka.h"
#include "unit/store/store_suite.h"

#include "base/cq_hash.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rocksdb/c.h>

static const struct store_rocksdb_config config = {
    .block_cache = 8 << 20,
    .write_buffer = 1 << 20, /* small: flushes happen in the test too */
    .write_buffers = 4,
    .wal_max = 16 << 20,
    .bytes_per_sync = 1 << 20,
    .background_jobs = 2,
    .open_files = 64,
};
static char base_dir[] = "/tmp/chasqui-store-XXXXXX";
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

static struct store *open_or_die(bool create)
{
    struct cq_err err = {0};
    struct store *store = NULL;
    if (store_rocksdb_open(db_path, create, &config, &store, &err) != CQ_OK)
        fprintf(stderr, "open: %s\n", err.text);
    return store;
}

static struct store *create_store(void *ctx)
{
    (void)ctx;
    wipe(db_path);
    return open_or_die(true);
}

static struct store *reopen_store(void *ctx, struct store *store)
{
    (void)ctx;
    store_close(&store);
    return open_or_die(false);
}

static void destroy_store(void *ctx, struct store *store)
{
    (void)ctx;
    store_close(&store);
    wipe(db_path);
}

static int fresh(void **state)
{
    *state = NULL;
    wipe(db_path);
    return 0;
}

static void assert_open(bool create, enum cq_rc rc, const char *text)
{
    struct store *store = NULL;
    struct cq_err err = {0};
    assert_int_equal(store_rocksdb_open(db_path, create, &config, &store, &err), rc);
    if (rc != CQ_OK)
        assert_null(store);
    if (text && !strstr(err.text, text))
        fail_msg("\"%s\" does not contain \"%s\"", err.text, text);
    store_close(&store);
}

static void a_store_is_made_only_when_asked(void **state)
{
    (void)state;
    assert_open(false, CQ_E_NOT_FOUND, "there is no store");
    assert_int_equal(mkdir(db_path, 0700), 0);
    assert_open(false, CQ_E_NOT_FOUND, "there is no store");
    assert_open(true, CQ_OK, NULL);
    assert_open(true, CQ_E_EXISTS, "already");
    assert_open(false, CQ_OK, NULL);
}

static void a_second_process_is_refused_clearly(void **state)
{
    (void)state;
    struct store *store = open_or_die(true);
    assert_open(false, CQ_E_UNAVAILABLE, "another process has it open");
    store_close(&store);
    assert_open(false, CQ_OK, NULL);
}

static void put_raw(const char *family, const char *key, const char *value, size_t value_len)
{
    static const char *const names[] = {"default", "log", "chunk", "state", "local"};
    rocksdb_options_t *o = rocksdb_options_create();
    const rocksdb_options_t *options[] = {o, o, o, o, o};
    rocksdb_column_family_handle_t *cf[5];
    char *err = NULL;
    rocksdb_t *db = rocksdb_open_column_families(o, db_path, 5, names, options, cf, &err);
    assert_null(err);
    rocksdb_column_family_handle_t *target = cf[0];
    if (strcmp(family, "default") != 0)
        target = rocksdb_create_column_family(db, o, family, &err);
    assert_null(err);
    rocksdb_writeoptions_t *w = rocksdb_writeoptions_create();
    rocksdb_put_cf(db, w, target, key, strlen(key), value, value_len, &err);
    assert_null(err);
    rocksdb_writeoptions_destroy(w);
    if (target != cf[0])
        rocksdb_column_family_handle_destroy(target);
    for (int i = 0; i < 5; i++)
        rocksdb_column_family_handle_destroy(cf[i]);
    rocksdb_close(db);
    rocksdb_options_destroy(o);
}

static void a_newer_format_is_refused(void **state)
{
    (void)state;
    static const uint8_t two[] = {0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0};
    uint8_t record[sizeof two];
    memcpy(record, two, sizeof two);
    uint64_t sum = cq_xxh3_64(cq_slice_of(two, 4));
    for (int i = 0; i < 8; i++)
        record[4 + i] = (uint8_t)(sum >> (56 - 8 * i));
    assert_open(true, CQ_OK, NULL);
    put_raw("default", "chasqui.store", (const char *)record, sizeof record);
    assert_open(false, CQ_E_VERSION, "store format 2; this release knows 1");
    put_raw("default", "chasqui.store", (const char *)two, sizeof two);
    assert_open(false, CQ_E_CORRUPT, "damaged");
    put_raw("default", "chasqui.store", "", 0);
    assert_open(false, CQ_E_CORRUPT, "damaged");
}

static void an_unknown_family_is_refused(void **state)
{
    (void)state;
    assert_open(true, CQ_OK, NULL);
    put_raw("search", "k", "v", 1);
    assert_open(false, CQ_E_VERSION, "\"search\"");
}

/* The newest file of the folder whose name ends so. */
static bool newest_file(const char *suffix, char *path, size_t size)
{
    char command[200];
    snprintf(command, sizeof command, "ls -t %s/*%s 2>/dev/null | head -1", db_path, suffix);
    FILE *p = popen(command, "r");
    bool found = fgets(path, (int)size, p) != NULL;
    pclose(p);
    path[strcspn(path, "\n")] = 0;
    return found;
}

static void flip_byte(const char *path, off_t at)
{
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* What the child does: `count` synced batches, then it ends without closing, as by a kill. */
static int child(int count, bool flush)
{
    struct store *store = open_or_die(false);
    uint8_t body[3000];
    for (int i = 0; i < count; i++) {
        memset(body, i, sizeof body);
        uint8_t key = (uint8_t)i;
        struct store_batch *b = store_batch_new(store);
        store_batch_put(b, STORE_CHUNK, cq_slice_of(&key, 1), cq_slice_of(body, sizeof body));
        store_batch_put(b, STORE_STATE, cq_slice_of(&key, 1), CQ_SLICE("v"));
        if (store_write(store, b, true, NULL) != CQ_OK)
            _exit(1);
        store_batch_free(&b);
    }
    _exit(flush && store_rocksdb_flush(store, NULL) != CQ_OK);
}

/* RocksDB's threads do not survive a fork: the child is this program again. */
static void write_and_die(int count, bool flush)
{
    char count_text[16];
    snprintf(count_text, sizeof count_text, "%d", count);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        execl("/proc/self/exe", "test", db_path, count_text, flush ? "1" : "0", (char *)NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static int count_keys(struct store *store)
{
    int n = 0;
    struct store_iter *i = store_iter_new(store, NULL, STORE_STATE, CQ_SLICE_NONE, CQ_SLICE_NONE);
    while (store_iter_next(i) == CQ_OK)
        n++;
    store_iter_free(&i);
    return n;
}

static void synced_batches_survive_a_kill(void **state)
{
    (void)state;
    assert_open(true, CQ_OK, NULL);
    write_and_die(20, false);
    struct store *store = open_or_die(false);
    assert_int_equal(count_keys(store), 20);
    store_close(&store);
}

static void a_torn_tail_of_the_wal_is_forgiven_and_costs_its_batch_alone(void **state)
{
    (void)state;
    assert_open(true, CQ_OK, NULL);
    write_and_die(20, false);
    char path[200];
    struct stat st;
    assert_true(newest_file(".log", path, sizeof path));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 100), 0);
    struct store *store = open_or_die(false);
    assert_int_equal(count_keys(store), 19);
    struct cq_buf out;
    cq_buf_init(&out, 4000);
    assert_int_equal(store_get(store, NULL, STORE_CHUNK, CQ_SLICE("\x13"), &out, NULL), CQ_E_NOT_FOUND);
    cq_buf_fini(&out);
    store_close(&store);
}

static void damage_in_the_middle_of_the_wal_is_refused(void **state)
{
    (void)state;
    assert_open(true, CQ_OK, NULL);
    write_and_die(20, false);
    char path[200];
    assert_true(newest_file(".log", path, sizeof path));
    flip_byte(path, 10000);
    assert_open(false, CQ_E_CORRUPT, "orruption");
}

static void a_damaged_body_is_an_error_and_never_served(void **state)
{
    (void)state;
    assert_open(true, CQ_OK, NULL);
    write_and_die(20, true);
    char path[200];
    assert_true(newest_file(".blob", path, sizeof path));
    flip_byte(path, 30000); /* inside the tenth body */
    struct store *store = open_or_die(false);
    struct cq_buf out;
    cq_buf_init(&out, 100000);
    int bad = 0;
    for (int i = 0; i < 20; i++) {
        uint8_t key = (uint8_t)i;
        enum cq_rc rc = store_get(store, NULL, STORE_CHUNK, cq_slice_of(&key, 1), &out, NULL);
        assert_true(rc == CQ_OK || rc == CQ_E_CORRUPT);
        bad += rc == CQ_E_CORRUPT;
    }
    assert_int_equal(bad, 1);
    cq_buf_fini(&out);
    store_close(&store);
}

static void a_damaged_table_is_an_error_of_the_iterator(void **state)
{
    (void)state;
    assert_open(true, CQ_OK, NULL);
    write_and_die(200, true);
    struct store *store = open_or_die(false);
    assert_int_equal(count_keys(store), 200);
    store_close(&store);
    char list[200];
    snprintf(list, sizeof list, "ls %s/*.sst", db_path);
    FILE *p = popen(list, "r");
    char path[200];
    while (fgets(path, sizeof path, p)) {
        path[strcspn(path, "\n")] = 0;
        flip_byte(path, 50);
    }
    pclose(p);
    store = NULL;
    if (store_rocksdb_open(db_path, false, &config, &store, NULL) != CQ_OK)
        return; /* refusing to open is as good */
    struct store_iter *i = store_iter_new(store, NULL, STORE_STATE, CQ_SLICE_NONE, CQ_SLICE_NONE);
    enum cq_rc rc;
    while ((rc = store_iter_next(i)) == CQ_OK)
        ;
    assert_int_equal(rc, CQ_E_CORRUPT);
    store_iter_free(&i);
    store_close(&store);
}

static void statistics_tell_sizes(void **state)
{
    (void)state;
    assert_open(true, CQ_OK, NULL);
    write_and_die(100, true);
    struct store *store = open_or_die(false);
    struct store_rocksdb_stats stats;
    store_rocksdb_stats(store, &stats);
    assert_in_range(stats.blob_bytes, 100 * 3000, 100 * 3200);
    assert_true(stats.table_bytes > 1000);
    assert_int_equal(stats.keys_estimate, 100);
    assert_int_equal(stats.stopped, 0);
    store_close(&store);
}

int main(int argc, char **argv)
{
    if (argc == 4) {
        snprintf(db_path, sizeof db_path, "%s", argv[1]);
        return child((int)strtol(argv[2], NULL, 10), argv[3][0] == '1');
    }
    if (!mkdtemp(base_dir))
        return 1;
    snprintf(db_path, sizeof db_path, "%s/db", base_dir);
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_store_is_made_only_when_asked, fresh),
        cmocka_unit_test_setup(a_second_process_is_refused_clearly, fresh),
        cmocka_unit_test_setup(a_newer_format_is_refused, fresh),
        cmocka_unit_test_setup(an_unknown_family_is_refused, fresh),
        cmocka_unit_test_setup(synced_batches_survive_a_kill, fresh),
        cmocka_unit_test_setup(a_torn_tail_of_the_wal_is_forgiven_and_costs_its_batch_alone, fresh),
        cmocka_unit_test_setup(damage_in_the_middle_of_the_wal_is_refused, fresh),
        cmocka_unit_test_setup(a_damaged_body_is_an_error_and_never_served, fresh),
        cmocka_unit_test_setup(a_damaged_table_is_an_error_of_the_iterator, fresh),
        cmocka_unit_test_setup(statistics_tell_sizes, fresh),
    };
    const struct store_backend rocks = {
        .name = "store on RocksDB", .create = create_store, .reopen = reopen_store, .destroy = destroy_store};
    int failed = store_suite_run(&rocks);
    failed += cmocka_run_group_tests_name("RocksDB store", tests, NULL, NULL);
    wipe(base_dir);
    return failed;
}
