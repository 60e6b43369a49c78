/* A store that comes back with less than was once synced, with real files. What a node does before it has a Raft
 * thread: all of it is data_dir_open(). */
#include "node/data_dir.h"
#include "node/replica_record.h"
#include "node/sync_mark.h"

#include "unit/cq_cmocka.h"

#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define GROUPS 3
#define RECORDS 64
#define RECORD_SIZE (16u << 10) /* so that the log has several of its 32 KiB blocks */

static const struct store_rocksdb_config config = {
    .block_cache = 8 << 20,
    .write_buffer = 32 << 20,
    .write_buffers = 4,
    .wal_max = 64 << 20,
    .background_jobs = 2,
    .open_files = 64,
};
static char base_dir[] = "/tmp/chasqui-amnesia-XXXXXX";
static char path[64], copy[64];

static int remove_one(const char *name, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(name);
}

static void wipe(const char *name)
{
    nftw(name, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int fresh(void **state)
{
    (void)state;
    wipe(path);
    wipe(copy);
    return 0;
}

static void run(const char *format, const char *a, const char *b)
{
    char command[512];
    snprintf(command, sizeof command, format, a, b);
    assert_int_equal(system(command), 0);
}

static struct data_dir open_ok(void)
{
    struct data_dir dir;
    struct cq_err err = {0};
    if (data_dir_open(&dir, path, "test", &config, &err) != CQ_OK)
        fail_msg("%s", err.text);
    return dir;
}

static void no_failure(void *ctx, const struct cq_err *err)
{
    (void)ctx;
    fail_msg("%s", err->text);
}

static void write_record(struct store *store, unsigned number)
{
    static uint8_t value[RECORD_SIZE];
    uint8_t key[2] = {'x', (uint8_t)number};
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (uint8_t)(i * number + i / 251);
    struct store_batch *batch = store_batch_new(store);
    store_batch_put(batch, STORE_LOCAL, cq_slice_of(key, sizeof key), cq_slice_of(value, sizeof value));
    assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
}

/* A node with replicas writes for a while and loses its power (nothing is flushed); its mark is as far as the last
 * sync. */
static void live(unsigned from, unsigned to)
{
    struct data_dir dir = open_ok();
    struct store_batch *batch = store_batch_new(dir.store);
    for (uint32_t g = 0; g < GROUPS; g++)
        replica_record_put(batch, &(struct replica_record){.group = g, .generation = 1, .replica = g + 1});
    assert_int_equal(store_write(dir.store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
    struct sync_mark *mark;
    char file[DATA_DIR_FILE_SIZE];
    data_dir_file(&dir, "synced", file);
    assert_int_equal(sync_mark_open(&(struct sync_mark_config){.path = file, .fatal = no_failure}, &mark, NULL), CQ_OK);
    for (unsigned i = from; i < to; i++) {
        write_record(dir.store, i);
        sync_mark_synced(mark, store_rocksdb_sequence(dir.store));
    }
    sync_mark_free(&mark);
    data_dir_close(&dir);
}

static size_t withheld(const struct data_dir *dir)
{
    size_t count = 0;
    for (uint32_t g = 0; g < GROUPS; g++) {
        enum replica_withheld why;
        assert_int_equal(replica_withheld_read(dir->store, g, &why, NULL), CQ_OK);
        count += why == REPLICA_FORGETS;
    }
    return count;
}

/* Nobody can say which replicas such a store may have held: none is made again under an id that the map names. */
static bool makes_none_again(const struct data_dir *dir)
{
    uint64_t made;
    assert_int_equal(replica_floor_read(dir->store, &made, NULL), CQ_OK);
    return made == REPLICA_FLOOR_UNKNOWN;
}

static void assert_forgets(size_t count)
{
    struct data_dir dir = open_ok();
    assert_int_equal(dir.forgot, count);
    assert_int_equal(withheld(&dir), count);
    assert_true(count == 0 || makes_none_again(&dir));
    data_dir_close(&dir);
}

/* The last log file. */
static void log_file(char *name, size_t size)
{
    char pattern[128];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/store/*.log", path);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    snprintf(name, size, "%s", found.gl_pathv[found.gl_pathc - 1]);
    globfree(&found);
}

static off_t size_of(const char *name)
{
    struct stat st;
    assert_int_equal(stat(name, &st), 0);
    return st.st_size;
}

static void a_store_that_has_everything_is_believed(void **state)
{
    (void)state;
    live(0, RECORDS);
    assert_forgets(0);
    struct data_dir dir = open_ok();
    assert_int_equal(withheld(&dir), 0);
    assert_false(makes_none_again(&dir));
    data_dir_close(&dir);
}

static void what_was_never_synced_may_be_missing(void **state)
{
    (void)state;
    char name[256];
    live(0, RECORDS);
    struct data_dir dir = open_ok();
    write_record(dir.store, 200); /* the mark was not written after it: the blind window */
    data_dir_close(&dir);
    log_file(name, sizeof name);
    assert_int_equal(truncate(name, size_of(name) - 100), 0);
    assert_forgets(0);
}

static void a_log_that_was_cut_makes_all_replicas_withheld_until_they_are_replaced(void **state)
{
    (void)state;
    char name[256];
    live(0, RECORDS);
    log_file(name, sizeof name);
    assert_int_equal(truncate(name, size_of(name) / 2), 0);

    assert_forgets(GROUPS);
    struct data_dir dir = open_ok(); /* it is not forgotten that something was forgotten */
    assert_int_equal(withheld(&dir), GROUPS);
    struct store_batch *batch = store_batch_new(dir.store);
    replica_withhold_delete(batch, 1);
    assert_int_equal(store_write(dir.store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
    assert_int_equal(withheld(&dir), GROUPS - 1);
    data_dir_close(&dir);
}

static void a_zeroed_block_in_the_middle_of_the_log_does_the_same(void **state)
{
    (void)state;
    static const uint8_t zeroes[32 << 10];
    static const struct {
        off_t at; /* in blocks of 32 KiB */
        size_t size;
    } cases[] = {{0, 4096}, {4, 4096}, {4, sizeof zeroes}, {9, 512}, {12, sizeof zeroes}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[256];
        fresh(NULL);
        live(0, RECORDS);
        log_file(name, sizeof name);
        int fd = open(name, O_RDWR);
        assert_int_equal(pwrite(fd, zeroes, cases[i].size, cases[i].at * (off_t)sizeof zeroes + 2048),
                         (ssize_t)cases[i].size);
        close(fd);
        struct data_dir dir = open_ok();
        if (dir.forgot != GROUPS && i > 0) /* in the first block are the records of the replicas themselves */
            fail_msg("case %zu: %zu replicas withheld", i, dir.forgot);
        if (!makes_none_again(&dir))
            fail_msg("case %zu: a replica that was forgotten would be made again", i);
        data_dir_close(&dir);
    }
}

static void an_older_copy_of_the_store_is_noticed(void **state)
{
    (void)state;
    char store[128], saved[128];
    live(0, 5);
    snprintf(store, sizeof store, "%s/store", path);
    snprintf(saved, sizeof saved, "%s/store", copy);
    assert_int_equal(mkdir(copy, 0700), 0);
    run("cp -r %s %s", store, saved);
    live(5, 20);
    wipe(store);
    run("cp -r %s %s", saved, store);

    assert_forgets(GROUPS);
}

static void a_mark_that_does_not_read_is_not_taken_for_good_news(void **state)
{
    (void)state;
    char name[128];
    live(0, 5);
    snprintf(name, sizeof name, "%s/synced", path);
    assert_int_equal(truncate(name, 10), 0);

    assert_forgets(GROUPS);
}

static void a_store_that_was_made_anew_is_not_held_against_the_old_mark(void **state)
{
    (void)state;
    char name[128];
    live(0, 20);
    snprintf(name, sizeof name, "%s/store", path);
    wipe(name);
    snprintf(name, sizeof name, "%s/boot", path);
    assert_int_equal(unlink(name), 0);
    assert_forgets(0);
    assert_forgets(0);
}

static void damage_that_was_noted_opens_the_store_quiet_until_it_is_gone(void **state)
{
    (void)state;
    live(0, 5);
    struct data_dir dir = open_ok();
    assert_false(dir.damaged);
    assert_int_equal(data_dir_note_damage(&dir, "Corruption: a blob\nof some file", NULL), CQ_OK);
    data_dir_close(&dir);
    for (int i = 0; i < 2; i++) {
        dir = open_ok();
        assert_true(dir.damaged);
        write_record(dir.store, 7);
        data_dir_close(&dir);
    }
    dir = open_ok();
    assert_int_equal(store_rocksdb_unquiet(dir.store, NULL), CQ_OK);
    assert_int_equal(data_dir_damage_gone(&dir, NULL), CQ_OK);
    data_dir_close(&dir);
    dir = open_ok();
    assert_false(dir.damaged);
    data_dir_close(&dir);
}

int main(void)
{
    if (!mkdtemp(base_dir))
        return 1;
    snprintf(path, sizeof path, "%s/data", base_dir);
    snprintf(copy, sizeof copy, "%s/copy", base_dir);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_store_that_has_everything_is_believed, fresh),
        cmocka_unit_test_setup(what_was_never_synced_may_be_missing, fresh),
        cmocka_unit_test_setup(a_log_that_was_cut_makes_all_replicas_withheld_until_they_are_replaced, fresh),
        cmocka_unit_test_setup(a_zeroed_block_in_the_middle_of_the_log_does_the_same, fresh),
        cmocka_unit_test_setup(an_older_copy_of_the_store_is_noticed, fresh),
        cmocka_unit_test_setup(a_mark_that_does_not_read_is_not_taken_for_good_news, fresh),
        cmocka_unit_test_setup(a_store_that_was_made_anew_is_not_held_against_the_old_mark, fresh),
        cmocka_unit_test_setup(damage_that_was_noted_opens_the_store_quiet_until_it_is_gone, fresh),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    wipe(base_dir);
    return failed;
}
