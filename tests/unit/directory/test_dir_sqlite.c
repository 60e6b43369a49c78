#include "directory/directory_backend.h"

#include "io/io_fiber.h"
#include "io/io_loop.h"
#include "unit/cq_cmocka.h"
#include "unit/directory/suite.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
static char path[96];

static struct directory *open_again(void *ctx)
{
    (void)ctx;
    const struct directory_config config = {.sqlite_path = path, .busy_timeout_us = 60000000};
    struct directory *directory = NULL;
    struct cq_err err = {0};
    if (directory_open(&config, &directory, &err) != CQ_OK)
        fail_msg("%s", err.text);
    return directory;
}

static struct directory *create(void *ctx)
{
    snprintf(folder, sizeof folder, "/tmp/chasqui-dir-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/directory.db", folder);
    return open_again(ctx);
}

static void destroy(void *ctx)
{
    (void)ctx;
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
    rmdir(folder);
}

static enum cq_rc open_error(struct cq_err *err)
{
    const struct directory_config config = {.sqlite_path = path};
    struct directory *directory = NULL;
    enum cq_rc rc = directory_open(&config, &directory, err);
    directory_close(&directory);
    return rc;
}

static void execute(const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void the_file_is_for_its_owner_alone(void **state)
{
    (void)state;
    struct stat st;
    struct directory *directory = create(NULL);
    assert_int_equal(directory_domain_add(directory, CQ_SLICE("a.test"), NULL), CQ_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    directory_close(&directory);
    destroy(NULL);
}

static void a_newer_schema_is_refused(void **state)
{
    (void)state;
    struct cq_err err = {0};
    struct directory *directory = create(NULL);
    directory_close(&directory);
    execute("INSERT INTO schema_migrations VALUES (999, 'x', 'now')");
    assert_int_equal(open_error(&err), CQ_E_VERSION);
    assert_non_null(strstr(err.text, "version 999"));
    destroy(NULL);
}

static void another_migration_under_the_same_number_is_refused(void **state)
{
    (void)state;
    struct cq_err err = {0};
    struct directory *directory = create(NULL);
    directory_close(&directory);
    execute("UPDATE schema_migrations SET checksum = '0123456789abcdef'");
    assert_int_equal(open_error(&err), CQ_E_CORRUPT);
    destroy(NULL);
}

static void a_file_that_is_no_database_is_refused(void **state)
{
    (void)state;
    struct cq_err err = {0};
    struct directory *directory = create(NULL);
    directory_close(&directory);
    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_true(write(fd, "this is not a database, and it is long enough to look at it", 60) > 0);
    close(fd);
    assert_int_equal(open_error(&err), CQ_E_CORRUPT);
    destroy(NULL);
    assert_int_equal(open_error(&err), CQ_E_IO); /* no such folder */
}

static void what_only_a_newer_version_knows_is_not_guessed(void **state)
{
    (void)state;
    struct dir_account account, read;
    struct cq_pool *pool = cq_pool_new(1024);
    struct directory *directory = create(NULL);
    const struct dir_account_new new = {.address = CQ_SLICE("x@a.test"), .services = DIR_IMAP};
    assert_int_equal(directory_domain_add(directory, CQ_SLICE("a.test"), NULL), CQ_OK);
    assert_int_equal(directory_account_create(directory, &new, pool, &account, NULL), CQ_OK);
    execute("UPDATE account SET plan = 'golden'");
    assert_int_equal(directory_account(directory, account.id, pool, &read, NULL), CQ_E_VERSION);
    directory_close(&directory);
    cq_pool_free(&pool);
    destroy(NULL);
}

static void a_locked_database_means_later(void **state)
{
    (void)state;
    struct cq_err err = {0};
    struct cq_pool *pool = cq_pool_new(1024);
    struct dir_resolution r;
    struct directory *directory = create(NULL);
    directory_close(&directory);
    const struct directory_config config = {.sqlite_path = path, .busy_timeout_us = 1000};
    assert_int_equal(directory_open(&config, &directory, &err), CQ_OK);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(directory_domain_add(directory, CQ_SLICE("a.test"), &err), CQ_E_UNAVAILABLE);
    assert_false(directory_healthy(directory));
    assert_int_equal(directory_resolve(directory, CQ_SLICE("x@a.test"), pool, &r, &err),
                     CQ_OK); /* readers do not wait */
    assert_int_equal(r.answer, DIR_NO_DOMAIN);
    assert_true(directory_healthy(directory));
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(db);
    assert_int_equal(directory_domain_add(directory, CQ_SLICE("a.test"), &err), CQ_OK);
    directory_close(&directory);
    cq_pool_free(&pool);
    destroy(NULL);
}

static void a_trimmed_feed_tells_old_readers_to_start_over(void **state)
{
    (void)state;
    struct cq_pool *pool = cq_pool_new(1024);
    struct dir_change *changes;
    size_t count;
    uint64_t head = 0;
    struct directory *directory = create(NULL);
    for (int i = 0; i < 4; i++) {
        char name[16];
        snprintf(name, sizeof name, "d%d.test", i);
        assert_int_equal(directory_domain_add(directory, cq_slice_cstr(name), NULL), CQ_OK);
    }
    execute("DELETE FROM change WHERE version <= 2");
    assert_int_equal(directory_changes(directory, 1, 10, pool, &changes, &count, &head, NULL), CQ_E_STALE);
    assert_int_equal(head, 4);
    assert_int_equal(directory_changes(directory, 2, 10, pool, &changes, &count, &head, NULL), CQ_OK);
    assert_int_equal(count, 2);
    directory_close(&directory);
    cq_pool_free(&pool);
    destroy(NULL);
}

/* ---- On fibers: the loop goes on while the pool works ---- */

struct on_fiber {
    struct io_loop *loop;
    struct directory *directory;
    enum cq_rc rc;
    int ticks;
    int done;
};

static void fiber_work(void *arg)
{
    struct on_fiber *f = arg;
    struct cq_pool *pool = cq_pool_new(1024);
    struct dir_resolution r;
    struct cq_err err = {0};
    f->rc = directory_domain_add(f->directory, CQ_SLICE("fiber.test"), &err);
    if (f->rc == CQ_E_EXISTS)
        f->rc = CQ_OK;
    if (f->rc == CQ_OK)
        f->rc = directory_resolve(f->directory, CQ_SLICE("x@fiber.test"), pool, &r, &err);
    if (f->rc == CQ_OK && r.answer != DIR_NO_USER)
        f->rc = CQ_E_INTERNAL;
    cq_pool_free(&pool);
    if (++f->done == 8)
        io_loop_stop(f->loop);
}

static void calls_on_fibers_go_to_the_pool(void **state)
{
    (void)state;
    struct directory *directory = create(NULL);
    directory_close(&directory);
    const struct directory_config config = {
        .sqlite_path = path, .busy_timeout_us = 60000000, .threads = 2, .queue_max = 100};
    assert_int_equal(directory_open(&config, &directory, NULL), CQ_OK);
    struct on_fiber f = {.loop = io_loop_new(NULL), .directory = directory};
    for (int i = 0; i < 8; i++)
        assert_int_equal(io_fiber_spawn(f.loop, fiber_work, &f, NULL), CQ_OK);
    io_loop_run(f.loop);
    assert_int_equal(f.rc, CQ_OK);
    assert_int_equal(f.done, 8);
    directory_close(&directory);
    io_loop_free(&f.loop);
    destroy(NULL);
}

int main(void)
{
    const struct dir_suite suite = {.name = "sqlite", .create = create, .again = open_again, .destroy = destroy};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_is_for_its_owner_alone),
        cmocka_unit_test(a_newer_schema_is_refused),
        cmocka_unit_test(another_migration_under_the_same_number_is_refused),
        cmocka_unit_test(a_file_that_is_no_database_is_refused),
        cmocka_unit_test(what_only_a_newer_version_knows_is_not_guessed),
        cmocka_unit_test(a_locked_database_means_later),
        cmocka_unit_test(a_trimmed_feed_tells_old_readers_to_start_over),
        cmocka_unit_test(calls_on_fibers_go_to_the_pool),
    };
    return dir_suite_run(&suite) + cmocka_run_group_tests(tests, NULL, NULL);
}
