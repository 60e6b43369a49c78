#include "directory/dir_keeper.h"

#include "unit/cq_cmocka.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOUR_US UINT64_C(3600000000)

/* A database of accounts whose version the test counts, and a feed; it answers, or it is gone. */
static struct {
    struct dir_backend base;
    enum cq_rc down;
    unsigned asked;
    bool gone; /* account 7 was removed */
    bool trimmed;
    uint64_t version, head;
    uint64_t changed[4096]; /* accounts, by version of the feed */
} db;

static uint64_t mono_us, wall_us;
static struct dir_backend *cache;
static struct cq_pool *pool;
static struct cq_err err;
static char folder[64], path[96], other_path[128];
static struct dir_keeper_config config;

static uint64_t mono_clock(void)
{
    return mono_us;
}

static uint64_t wall_clock(void)
{
    return wall_us;
}

static enum cq_rc db_account(struct dir_backend *self, uint64_t id, struct cq_pool *p, struct dir_account *out,
                             struct cq_err *e)
{
    (void)self, (void)p, (void)e;
    db.asked++;
    if (db.down != CQ_OK)
        return db.down;
    *out = (struct dir_account){.id = id,
                                .version = db.version,
                                .address = CQ_SLICE("x@a.test"),
                                .state = DIR_ACTIVE,
                                .plan = dir_plan_find(CQ_SLICE(DIR_PLAN_DEFAULT))};
    return id == 7 && db.gone ? CQ_E_NOT_FOUND : CQ_OK;
}

static enum cq_rc db_changes(struct dir_backend *self, uint64_t since, size_t max, struct cq_pool *p,
                             struct dir_change **rows_r, size_t *count_r, uint64_t *head_r, struct cq_err *e)
{
    (void)self, (void)e;
    if (db.down != CQ_OK)
        return db.down;
    *head_r = db.head;
    *count_r = 0;
    if (db.trimmed || since > db.head)
        return CQ_E_STALE;
    *rows_r = cq_pool_calloc(p, max + 1, sizeof **rows_r);
    for (uint64_t v = since + 1; v <= db.head && *count_r < max; v++)
        (*rows_r)[(*count_r)++] =
            (struct dir_change){.version = v, .kind = DIR_CHANGED_ACCOUNT, .account_id = db.changed[v]};
    return CQ_OK;
}

static void db_close(struct dir_backend *self)
{
    (void)self;
}

static const struct dir_backend_ops db_ops = {
    .name = "memory", .close = db_close, .account_get = db_account, .changes = db_changes};

static void change(uint64_t id)
{
    db.changed[++db.head] = id;
}

static void poll_feed(uint64_t since)
{
    struct dir_change *rows;
    size_t count;
    uint64_t head;
    cache->ops->changes(cache, since, 1000, pool, &rows, &count, &head, &err);
}

static void new_cache(void)
{
    const struct dir_cache_config settings = {
        .fresh_us = 10000000, .stale_us = config.stale_us, .max = 5000, .now_us = mono_clock};
    cache = dir_cache_new(&db.base, &settings);
}

/* The process starts again, on a machine whose monotonic clock is anywhere. */
static void restart(void)
{
    cache->ops->close(cache);
    mono_us = 5;
    new_cache();
}

static int setup(void **state)
{
    (void)state;
    memset(&db, 0, sizeof db);
    db.base.ops = &db_ops;
    mono_us = 1000000;
    wall_us = UINT64_C(1800000000000000);
    snprintf(folder, sizeof folder, "/tmp/chasqui-known-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/known", folder);
    snprintf(other_path, sizeof other_path, "%s.new", path);
    config = (struct dir_keeper_config){.path = path,
                                        .key = {1},
                                        .origin = CQ_SLICE("mail"),
                                        .interval_us = 60000000,
                                        .stale_us = 24 * HOUR_US,
                                        .mono_us = mono_clock,
                                        .wall_us = wall_clock};
    pool = cq_pool_new(1024);
    new_cache();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cache->ops->close(cache);
    cq_pool_free(&pool);
    chmod(folder, 0700);
    unlink(path);
    unlink(other_path);
    rmdir(folder);
    return 0;
}

static enum cq_rc account(uint64_t id)
{
    struct dir_account row;
    return cache->ops->account_get(cache, id, pool, &row, &err);
}

static size_t save(void)
{
    size_t rows;
    if (dir_keeper_save(cache, &config, &rows, &err) != CQ_OK)
        fail_msg("%s", err.text);
    return rows;
}

static size_t load(void)
{
    size_t rows;
    if (dir_keeper_load(cache, &config, &rows, &err) != CQ_OK)
        fail_msg("%s", err.text);
    return rows;
}

static void expect_no_load(enum cq_rc expected, const char *words)
{
    size_t rows;
    enum cq_rc rc = dir_keeper_load(cache, &config, &rows, &err);
    if (rc != expected || !strstr(err.text, words) || !strstr(err.text, path) || strchr(err.text, '\n'))
        fail_msg("%s: %s, want %s, \"%s\"", cq_rc_name(rc), err.text, cq_rc_name(expected), words);
    assert_int_equal(rows, 0);
    db.down = CQ_E_UNAVAILABLE;
    assert_int_equal(account(7), CQ_E_UNAVAILABLE);
    db.down = CQ_OK;
}

/* ---- Tests ---- */

static void who_was_known_is_known_after_a_restart_in_an_outage_and_nobody_else(void **state)
{
    (void)state;
    assert_int_equal(account(7), CQ_OK);
    db.gone = true;
    db.down = CQ_E_UNAVAILABLE;
    assert_int_equal(save(), 1);
    restart();
    assert_int_equal(load(), 1);
    assert_int_equal(account(7), CQ_OK);
    assert_int_equal(account(8), CQ_E_UNAVAILABLE); /* never "no such account" */
}

static void while_the_database_answers_it_is_asked_and_not_the_file(void **state)
{
    (void)state;
    struct dir_account row;
    assert_int_equal(account(7), CQ_OK);
    save();
    restart();
    load();
    poll_feed(0);
    db.asked = 0;
    db.version = 5;
    assert_int_equal(cache->ops->account_get(cache, 7, pool, &row, &err), CQ_OK);
    assert_true(db.asked == 1 && row.version == 5);
    db.gone = true;
    mono_us += 11000000;
    assert_int_equal(account(7), CQ_E_NOT_FOUND);
}

static void a_row_gets_no_younger_by_restarts(void **state)
{
    (void)state;
    assert_int_equal(account(7), CQ_OK);
    db.down = CQ_E_UNAVAILABLE;
    for (int i = 0; i < 4; i++) { /* 20 hours, over four processes that each write the file again */
        mono_us += 5 * HOUR_US;
        wall_us += 5 * HOUR_US;
        save();
        restart();
        load();
        assert_int_equal(account(7), CQ_OK);
    }
    mono_us += 4 * HOUR_US - 1;
    wall_us += 4 * HOUR_US - 1;
    assert_int_equal(account(7), CQ_OK);
    mono_us += 1;
    assert_int_equal(account(7), CQ_E_UNAVAILABLE);
    assert_int_equal(save(), 0); /* and it does not go into the file */
}

static void files_that_are_no_good_are_refused_in_one_line_and_nothing_of_them_stays(void **state)
{
    (void)state;
    for (uint64_t id = 1; id < 3000; id++)
        account(id);
    assert_int_equal(save(), 2999);
    restart();
    config.key[0]++;
    expect_no_load(CQ_E_CORRUPT, "another key");
    config.key[0]--;
    config.origin = CQ_SLICE("other");
    expect_no_load(CQ_E_CONFLICT, "\"mail\"");
    config.origin = CQ_SLICE("mail");
    wall_us += 24 * HOUR_US;
    expect_no_load(CQ_E_STALE, "24 h ago");
    wall_us -= 24 * HOUR_US + DIR_KEEPER_FUTURE_MAX_US + 1;
    expect_no_load(CQ_E_STALE, "set the clock");
    wall_us += 1;
    assert_int_equal(load(), 2999);
    restart();
    int fd = open(path, O_RDWR);
    struct stat st;
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(ftruncate(fd, st.st_size - 1), 0); /* all rows are there, but its end */
    expect_no_load(CQ_E_CORRUPT, "cut short");
    assert_int_equal(pwrite(fd, "x", 1, st.st_size / 2), 1);
    expect_no_load(CQ_E_CORRUPT, "damaged");
    assert_int_equal(ftruncate(fd, 0), 0);
    expect_no_load(CQ_E_CORRUPT, "cut short");
    close(fd);
    unlink(path);
    expect_no_load(CQ_E_NOT_FOUND, "not there");
    assert_int_equal(mkdir(path, 0700), 0);
    expect_no_load(CQ_E_IO, "directory");
    rmdir(path);
}

static void what_changed_while_nobody_listened_is_heard_when_the_feed_is_read_again(void **state)
{
    (void)state;
    change(8);
    poll_feed(0);
    for (uint64_t id = 7; id < 10; id++)
        assert_int_equal(account(id), CQ_OK);
    save();
    restart();
    load();
    change(7);
    for (int i = 0; i < 1500; i++) /* more than a page */
        change(4711);
    change(9);
    poll_feed(0); /* the new reader sees the old changes first, then goes on from the end */
    poll_feed(db.head);
    db.down = CQ_E_UNAVAILABLE;
    assert_int_equal(account(7), CQ_E_UNAVAILABLE); /* disabled, perhaps: not known any more */
    assert_int_equal(account(8), CQ_OK);
    assert_int_equal(account(9), CQ_E_UNAVAILABLE);
}

static void rows_are_written_with_what_was_heard_even_before_it_was_caught_up_with(void **state)
{
    (void)state;
    poll_feed(0);
    account(7), account(8);
    save();
    restart();
    load();
    change(7);
    account(9); /* learnt, so it may be written; the feed was not read yet */
    save();
    restart();
    load();
    poll_feed(db.head);
    db.down = CQ_E_UNAVAILABLE;
    assert_int_equal(account(7), CQ_E_UNAVAILABLE);
    assert_int_equal(account(8), CQ_OK);
}

static void when_the_feed_does_not_reach_back_nothing_of_the_file_is_trusted(void **state)
{
    (void)state;
    for (int other = 0; other < 2; other++) {
        db.down = CQ_OK;
        db.trimmed = false;
        db.head = 100;
        poll_feed(0);
        account(7);
        save();
        restart();
        load();
        account(8);
        if (other)
            db.head = 3; /* an older copy of the database came back */
        else
            db.trimmed = true;
        poll_feed(0);
        db.down = CQ_E_UNAVAILABLE;
        assert_int_equal(account(7), CQ_E_UNAVAILABLE);
        assert_int_equal(account(8), CQ_OK); /* that one is not of the file */
        restart();
    }
}

static void a_file_that_cannot_be_written_leaves_the_old_one(void **state)
{
    (void)state;
    size_t rows;
    account(7);
    save();
    assert_int_equal(mkdir(other_path, 0700), 0); /* root may write everywhere, but not over this */
    assert_int_equal(dir_keeper_save(cache, &config, &rows, &err), CQ_E_IO);
    assert_non_null(strstr(err.text, other_path));
    rmdir(other_path);
    restart();
    assert_int_equal(load(), 1);
    config.path = "/nowhere/known";
    assert_int_equal(dir_keeper_save(cache, &config, &rows, &err), CQ_E_IO);
}

static void rows_that_are_used_while_they_are_written_are_written_once(void **state)
{
    (void)state;
    size_t rows;
    for (uint64_t id = 1; id <= 1000; id++)
        account(id);
    struct dir_cache_look look;
    dir_cache_look(cache, &look);
    assert_int_equal(look.rows, 1000);
    db.down = CQ_E_UNAVAILABLE;
    for (uint64_t id = 1; id <= 500; id++)
        account(id); /* the order of use is another now */
    rows = save();
    assert_int_equal(rows, 1000);
}

struct walked {
    size_t count;
    uint64_t used;
};

static void see(const struct dir_row *row, void *ctx)
{
    struct walked *walked = ctx;
    assert_true(row->kind == DIR_ROW_ACCOUNT);
    walked->count++;
}

static void a_walk_sees_each_row_once_whatever_is_used_and_dropped_meanwhile(void **state)
{
    (void)state;
    struct walked walked = {0};
    for (uint64_t id = 1; id <= 2000; id++)
        account(id);
    db.down = CQ_E_UNAVAILABLE;
    account(1);
    dir_cache_walk_begin(cache);
    for (uint64_t step = 0; dir_cache_walk_next(cache, see, &walked); step++)
        for (uint64_t id = 1 + step * 100; id < 101 + step * 100; id++)
            account(id); /* seen or not: goes to the end */
    assert_int_equal(walked.count, 2000);
    walked.count = 0;
    db.down = CQ_OK;
    dir_cache_walk_begin(cache);
    dir_cache_walk_next(cache, see, &walked);
    for (uint64_t id = 1; id <= 2000; id++)
        change(id);
    poll_feed(0); /* the next rows of the walk are gone */
    poll_feed(1000);
    while (dir_cache_walk_next(cache, see, &walked)) {
    }
    assert_int_equal(walked.count, DIR_CACHE_WALK_STEP);
}

static void the_thread_writes_at_its_end_what_was_learnt_and_loads_it_at_its_start(void **state)
{
    (void)state;
    struct dir_keeper *keeper = dir_keeper_new(cache, &config);
    account(7);
    dir_keeper_free(&keeper);
    restart();
    db.down = CQ_E_UNAVAILABLE;
    keeper = dir_keeper_new(cache, &config);
    assert_int_equal(account(7), CQ_OK);
    dir_keeper_free(&keeper);
}

static void a_file_that_was_refused_is_not_replaced_before_something_was_learnt(void **state)
{
    (void)state;
    account(7);
    save();
    restart();
    config.key[0]++; /* the operator mounted the wrong key */
    db.down = CQ_E_UNAVAILABLE;
    struct dir_keeper *keeper = dir_keeper_new(cache, &config);
    assert_int_equal(account(7), CQ_E_UNAVAILABLE);
    dir_keeper_free(&keeper);
    config.key[0]--;
    assert_int_equal(load(), 1);
}

static void hear(const struct dir_change *row, bool lost, void *ctx)
{
    (void)row;
    *(unsigned *)ctx += lost;
}

static void who_was_let_in_before_the_feed_could_be_read_is_looked_at_again(void **state)
{
    (void)state;
    static const struct directory_config settings = {0};
    unsigned lost = 0;
    for (int i = 0; i < 2; i++) {
        struct directory *directory = directory_new(&db.base, &settings);
        struct directory_watch watch = {.directory = directory, .changed = hear, .ctx = &lost};
        db.down = i ? CQ_E_UNAVAILABLE : CQ_OK;
        assert_int_equal(directory_watch_poll(&watch, &err), db.down);
        db.down = CQ_OK;
        assert_int_equal(directory_watch_poll(&watch, &err), CQ_OK);
        assert_int_equal(directory_watch_poll(&watch, &err), CQ_OK);
        assert_int_equal(lost, i);
        directory_close(&directory);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_was_known_is_known_after_a_restart_in_an_outage_and_nobody_else),
        TEST(while_the_database_answers_it_is_asked_and_not_the_file),
        TEST(a_row_gets_no_younger_by_restarts),
        TEST(files_that_are_no_good_are_refused_in_one_line_and_nothing_of_them_stays),
        TEST(what_changed_while_nobody_listened_is_heard_when_the_feed_is_read_again),
        TEST(rows_are_written_with_what_was_heard_even_before_it_was_caught_up_with),
        TEST(when_the_feed_does_not_reach_back_nothing_of_the_file_is_trusted),
        TEST(a_file_that_cannot_be_written_leaves_the_old_one),
        TEST(rows_that_are_used_while_they_are_written_are_written_once),
        TEST(a_walk_sees_each_row_once_whatever_is_used_and_dropped_meanwhile),
        TEST(the_thread_writes_at_its_end_what_was_learnt_and_loads_it_at_its_start),
        TEST(who_was_let_in_before_the_feed_could_be_read_is_looked_at_again),
        TEST(a_file_that_was_refused_is_not_replaced_before_something_was_learnt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
