#include "node/data_dir.h"
#include "node/replica_record.h"

#include "unit/cq_cmocka.h"

#include "base/cq_hash.h"
#include "base/cq_hex.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct store_rocksdb_config config = {
    .block_cache = 8 << 20,
    .write_buffer = 1 << 20,
    .write_buffers = 2,
    .wal_max = 16 << 20,
    .background_jobs = 2,
    .open_files = 64,
};
static char base_dir[] = "/tmp/chasqui-data-XXXXXX";
static char path[64];

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
    return 0;
}

static const char *in_dir(const char *name)
{
    static char full[200];
    snprintf(full, sizeof full, "%s/%s", path, name);
    return full;
}

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(in_dir(name), "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static struct data_dir open_ok(const char *cluster)
{
    struct data_dir dir;
    struct cq_err err = {0};
    if (data_dir_open(&dir, path, cluster, &config, &err) != CQ_OK)
        fail_msg("%s", err.text);
    assert_non_null(dir.store);
    return dir;
}

static void assert_refused(const char *cluster, enum cq_rc rc, const char *text)
{
    struct data_dir dir;
    struct cq_err err = {0};
    assert_int_equal(data_dir_open(&dir, path, cluster, &config, &err), rc);
    if (!strstr(err.text, text))
        fail_msg("\"%s\" does not contain \"%s\"", err.text, text);
    assert_null(dir.store);
}

static void a_node_keeps_its_identity_and_counts_its_starts(void **state)
{
    (void)state;
    struct data_dir a = open_ok("test-1");
    assert_true(a.created);
    assert_int_equal(a.boot, 1);
    assert_int_equal(a.node[6] >> 4, 4);
    data_dir_close(&a);
    for (uint64_t boot = 2; boot < 5; boot++) {
        struct data_dir b = open_ok("test-1");
        assert_false(b.created);
        assert_int_equal(b.boot, boot);
        assert_memory_equal(a.node, b.node, 16);
        data_dir_close(&b);
    }
}

static void two_directories_are_two_nodes(void **state)
{
    (void)state;
    struct data_dir a = open_ok("test");
    data_dir_close(&a);
    wipe(path);
    struct data_dir b = open_ok("test");
    data_dir_close(&b);
    assert_memory_not_equal(a.node, b.node, 16);
}

static void a_second_process_is_refused(void **state)
{
    (void)state;
    struct data_dir a = open_ok("test");
    assert_refused("test", CQ_E_UNAVAILABLE, "another process uses this directory");
    data_dir_close(&a);
    a = open_ok("test");
    data_dir_close(&a);
}

static void another_clusters_directory_is_refused(void **state)
{
    (void)state;
    struct data_dir a = open_ok("one");
    data_dir_close(&a);
    assert_refused("two", CQ_E_CONFLICT, "belongs to cluster \"one\", the settings say \"two\"");
    a = open_ok("one");
    assert_int_equal(a.boot, 2);
    data_dir_close(&a);
}

static void a_wrong_cluster_id_or_path_is_refused(void **state)
{
    (void)state;
    static const char *const clusters[] = {"", "Big", "a b", "x/y", "a\nb"};
    for (size_t i = 0; i < sizeof clusters / sizeof *clusters; i++)
        assert_refused(clusters[i], CQ_E_INVALID, "cluster");
    struct data_dir dir;
    assert_int_equal(data_dir_open(&dir, "", "test", &config, NULL), CQ_E_INVALID);
    assert_int_equal(data_dir_open(&dir, "/no/such/parent/dir", "test", &config, NULL), CQ_E_IO);
}

static void a_folder_with_other_things_is_not_taken(void **state)
{
    (void)state;
    assert_int_equal(mkdir(path, 0700), 0);
    write_file("mail.db", "x");
    assert_refused("test", CQ_E_CORRUPT, "\"mail.db\"");
    assert_int_equal(unlink(in_dir("mail.db")), 0);
    struct data_dir a = open_ok("test");
    data_dir_close(&a);
}

static void a_node_that_was_removed_starts_no_more(void **state)
{
    (void)state;
    struct data_dir dir = open_ok("c1");
    assert_int_equal(data_dir_bury(&dir, NULL), CQ_OK);
    assert_int_equal(data_dir_bury(&dir, NULL), CQ_OK);
    data_dir_close(&dir);
    assert_refused("c1", CQ_E_DENIED, "removed from its cluster");
    wipe(path);
    dir = open_ok("c1"); /* an empty directory is a new node */
    assert_true(dir.created);
    data_dir_close(&dir);
}

static void a_lost_store_is_never_made_anew(void **state)
{
    (void)state;
    struct data_dir a = open_ok("test");
    data_dir_close(&a);
    wipe(in_dir("store"));
    assert_refused("test", CQ_E_CORRUPT, "the store is gone");
    assert_int_not_equal(access(in_dir("store"), F_OK), 0);
}

static void a_lost_identity_is_never_made_anew(void **state)
{
    (void)state;
    struct data_dir a = open_ok("test");
    data_dir_close(&a);
    assert_int_equal(unlink(in_dir("identity")), 0);
    assert_refused("test", CQ_E_CORRUPT, "no file \"identity\"");
}

static void a_first_start_that_was_cut_short_is_finished(void **state)
{
    (void)state;
    assert_int_equal(mkdir(path, 0700), 0);
    write_file("identity.new", "half");
    struct data_dir a = open_ok("test");
    data_dir_close(&a);
    assert_int_equal(unlink(in_dir("boot")), 0); /* died after the store was made */
    a = open_ok("test");
    assert_int_equal(a.boot, 1);
    data_dir_close(&a);
    assert_int_equal(unlink(in_dir("boot")), 0); /* died before */
    wipe(in_dir("store"));
    a = open_ok("test");
    data_dir_close(&a);
}

static void damaged_files_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"identity", "boot"};
    for (size_t i = 0; i < 2; i++) {
        wipe(path);
        struct data_dir a = open_ok("test");
        data_dir_close(&a);
        int fd = open(in_dir(names[i]), O_RDWR);
        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, "Z", 1, 20), 1);
        close(fd);
        assert_refused("test", CQ_E_CORRUPT, "damaged");
        assert_int_equal(truncate(in_dir(names[i]), 0), 0);
        assert_refused("test", CQ_E_CORRUPT, "damaged");
    }
}

static void a_newer_releases_directory_is_refused(void **state)
{
    (void)state;
    struct data_dir a = open_ok("test");
    data_dir_close(&a);
    char text[200];
    snprintf(text, sizeof text, "chasqui-node 2\ncluster test\nnode 00\n");
    char sum[CQ_HEX64_SIZE];
    cq_hex_u64(cq_xxh3_64(cq_slice_cstr(text)), sum);
    snprintf(text + strlen(text), 50, "xxh3 %s\n", sum);
    write_file("identity", text);
    assert_refused("test", CQ_E_VERSION, "newer release (format 2; this one knows 1)");
}

/* The operator's way to begin a node again under its old identity: it remembers that it has forgotten. */
static void a_node_begun_again_knows_that_its_replicas_are_lost(void **state)
{
    (void)state;
    uint64_t made = 0;
    struct data_dir dir = open_ok("test-1");
    assert_int_equal(replica_floor_read(dir.store, &made, NULL), CQ_OK);
    assert_true(made == 0);
    data_dir_close(&dir);
    wipe(in_dir("store"));
    assert_int_equal(unlink(in_dir("boot")), 0);
    for (int start = 0; start < 2; start++) {
        dir = open_ok("test-1");
        assert_false(dir.created);
        assert_int_equal(replica_floor_read(dir.store, &made, NULL), CQ_OK);
        assert_true(made == REPLICA_FLOOR_UNKNOWN);
        data_dir_close(&dir);
    }
}

int main(void)
{
    if (!mkdtemp(base_dir))
        return 1;
    snprintf(path, sizeof path, "%s/data", base_dir);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_node_keeps_its_identity_and_counts_its_starts, fresh),
        cmocka_unit_test_setup(two_directories_are_two_nodes, fresh),
        cmocka_unit_test_setup(a_second_process_is_refused, fresh),
        cmocka_unit_test_setup(another_clusters_directory_is_refused, fresh),
        cmocka_unit_test_setup(a_wrong_cluster_id_or_path_is_refused, fresh),
        cmocka_unit_test_setup(a_folder_with_other_things_is_not_taken, fresh),
        cmocka_unit_test_setup(a_node_that_was_removed_starts_no_more, fresh),
        cmocka_unit_test_setup(a_lost_store_is_never_made_anew, fresh),
        cmocka_unit_test_setup(a_node_begun_again_knows_that_its_replicas_are_lost, fresh),
        cmocka_unit_test_setup(a_lost_identity_is_never_made_anew, fresh),
        cmocka_unit_test_setup(a_first_start_that_was_cut_short_is_finished, fresh),
        cmocka_unit_test_setup(damaged_files_are_refused, fresh),
        cmocka_unit_test_setup(a_newer_releases_directory_is_refused, fresh),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    wipe(base_dir);
    return failed;
}
