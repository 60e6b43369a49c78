#include "events/event_file.h"

#include "unit/cq_cmocka.h"

#include "base/cq_buf.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/chasqui-events-XXXXXX";
static char path[64];

static uint64_t acknowledged[100000];
static size_t acknowledged_count;

static void on_acknowledged(void *ctx, uint64_t ticket)
{
    (void)ctx;
    acknowledged[acknowledged_count++] = ticket;
}

static int remove_one(const char *name, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag;
    return ftw->level == 0 ? 0 : remove(name);
}

static int fresh(void **state)
{
    (void)state;
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    acknowledged_count = 0;
    return 0;
}

static struct event_sink *open_sink_with(uint64_t max_size, int64_t keep, int sync)
{
    struct event_sink *sink = NULL;
    struct cq_err err = {0};
    const struct event_file_config config = {.path = path, .max_size = max_size, .keep = keep, .sync = sync};
    if (event_file_open(&config, &sink, &err) != CQ_OK)
        fail_msg("%s", err.text);
    sink->acknowledged = on_acknowledged;
    return sink;
}

static struct event_sink *open_sink(uint64_t max_size, int64_t keep)
{
    return open_sink_with(max_size, keep, EVENT_FILE_SYNC_BATCH);
}

static enum cq_rc publish(struct event_sink *sink, uint64_t ticket, const char *json)
{
    const struct event_record record = {.json = cq_slice_cstr(json), .ticket = ticket};
    return event_sink_publish(sink, &record, NULL);
}

static void assert_file(const char *suffix, const char *content)
{
    char name[100], got[4096];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    FILE *f = fopen(name, "r");
    if (!content) {
        assert_null(f);
        return;
    }
    if (!f)
        fail_msg("%s is missing", name);
    size_t n = fread(got, 1, sizeof got - 1, f);
    got[n] = 0;
    fclose(f);
    assert_string_equal(got, content);
}

static void events_are_lines_and_acknowledged_when_they_are_safe(void **state)
{
    (void)state;
    struct event_sink *sink = open_sink(1 << 20, 2);
    assert_int_equal(publish(sink, 1, "{\"a\":1}"), CQ_OK);
    assert_int_equal(publish(sink, 2, "{\"b\":2}"), CQ_OK);
    assert_int_equal(acknowledged_count, 0);
    assert_int_equal(event_sink_poll(sink, NULL), CQ_OK);
    assert_int_equal(acknowledged_count, 2);
    assert_int_equal(acknowledged[1], 2);
    assert_file("", "{\"a\":1}\n{\"b\":2}\n");
    assert_int_equal(event_sink_poll(sink, NULL), CQ_OK); /* nothing to do */
    assert_int_equal(acknowledged_count, 2);
    event_sink_close(&sink);
    sink = open_sink(1 << 20, 2);
    publish(sink, 3, "{}");
    event_sink_poll(sink, NULL);
    assert_file("", "{\"a\":1}\n{\"b\":2}\n{}\n");
    event_sink_close(&sink);
}

static void a_file_is_rotated_by_size_and_old_ones_go(void **state)
{
    (void)state;
    struct event_sink *sink = open_sink(10, 2);
    static const char *const events[] = {"aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd"};
    for (uint64_t i = 0; i < 4; i++) {
        publish(sink, i, events[i]);
        assert_int_equal(event_sink_poll(sink, NULL), CQ_OK);
    }
    assert_file("", "dddddddd\n");
    assert_file(".1", "cccccccc\n");
    assert_file(".2", "bbbbbbbb\n");
    assert_file(".3", NULL);
    event_sink_close(&sink);
    sink = open_sink(10, 0);
    publish(sink, 9, "eeeeeeee");
    assert_int_equal(event_sink_poll(sink, NULL), CQ_OK);
    assert_file("", "eeeeeeee\n");
    event_sink_close(&sink);
}

/* The C library's is not used: counts, and fails when told to. */
static unsigned folder_syncs;
static bool folder_sync_fails;

int fsync(int fd)
{
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
        folder_syncs++;
    errno = EIO;
    return folder_sync_fails ? -1 : 0;
}

static void new_names_are_safe_before_events_are_acknowledged(void **state)
{
    (void)state;
    folder_syncs = 0;
    struct event_sink *sink = open_sink(10, 2);
    assert_int_equal(folder_syncs, 1); /* the file is new */
    for (uint64_t i = 0; i < 3; i++) {
        publish(sink, i, "aaaaaaaa");
        assert_int_equal(event_sink_poll(sink, NULL), CQ_OK);
        assert_int_equal(folder_syncs, 1 + i); /* the first fits */
    }
    folder_sync_fails = true;
    publish(sink, 3, "aaaaaaaa");
    assert_int_equal(event_sink_poll(sink, NULL), CQ_E_IO);
    assert_int_equal(acknowledged_count, 3);
    folder_sync_fails = false;
    publish(sink, 3, "aaaaaaaa");
    assert_int_equal(event_sink_poll(sink, NULL), CQ_OK);
    assert_int_equal(acknowledged_count, 4);
    event_sink_close(&sink);
    folder_syncs = 0;
    sink = open_sink_with(10, 2, EVENT_FILE_SYNC_NEVER);
    publish(sink, 4, "aaaaaaaaaaaa");
    assert_int_equal(event_sink_poll(sink, NULL), CQ_OK);
    assert_int_equal(folder_syncs, 0);
    event_sink_close(&sink);
}

static void a_line_that_a_crash_cut_short_is_ended(void **state)
{
    (void)state;
    FILE *f = fopen(path, "w");
    fputs("{\"half\":", f);
    fclose(f);
    struct event_sink *sink = open_sink(1 << 20, 1);
    publish(sink, 1, "{}");
    event_sink_poll(sink, NULL);
    assert_file("", "{\"half\":\n{}\n");
    event_sink_close(&sink);
}

static void a_reopen_follows_a_rotation_from_outside(void **state)
{
    (void)state;
    char moved[100];
    snprintf(moved, sizeof moved, "%s.moved", path);
    struct event_sink *sink = open_sink(1 << 20, 1);
    publish(sink, 1, "{\"n\":1}");
    event_sink_poll(sink, NULL);
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(event_sink_reopen(sink, NULL), CQ_OK);
    publish(sink, 2, "{\"n\":2}");
    event_sink_poll(sink, NULL);
    assert_file(".moved", "{\"n\":1}\n");
    assert_file("", "{\"n\":2}\n");
    event_sink_close(&sink);
}

static void what_waits_is_bounded(void **state)
{
    (void)state;
    struct event_sink *sink = open_sink(1 << 30, 1);
    char *json = calloc(1, 100001);
    memset(json, 'x', 100000);
    uint64_t n = 0;
    while (publish(sink, n, json) == CQ_OK)
        n++;
    assert_in_range(n, 9, 11);
    assert_int_equal(event_sink_poll(sink, NULL), CQ_OK);
    assert_int_equal(acknowledged_count, n);
    assert_int_equal(publish(sink, n, json), CQ_OK);
    event_sink_close(&sink);
    free(json);
}

static void a_failed_write_acknowledges_nothing_and_may_be_repeated(void **state)
{
    (void)state;
    struct event_sink *sink = open_sink(5, 1);
    publish(sink, 1, "{\"n\":1}");
    assert_int_equal(event_sink_poll(sink, NULL), CQ_OK);
    char blocked[100];
    snprintf(blocked, sizeof blocked, "%s.1", path); /* the rotation cannot rename onto a folder that is not empty */
    mkdir(blocked, 0700);
    snprintf(blocked, sizeof blocked, "%s.1/x", path);
    mkdir(blocked, 0700);
    publish(sink, 2, "{\"n\":2}");
    struct cq_err err = {0};
    assert_int_equal(event_sink_poll(sink, &err), CQ_E_IO);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(acknowledged_count, 1);
    rmdir(blocked);
    publish(sink, 2, "{\"n\":2}");
    snprintf(blocked, sizeof blocked, "%s.1", path);
    rmdir(blocked);
    assert_int_equal(event_sink_poll(sink, NULL), CQ_OK);
    assert_int_equal(acknowledged[1], 2);
    assert_file("", "{\"n\":2}\n");
    event_sink_close(&sink);
}

static void a_broken_line_that_cannot_be_ended_swallows_no_event(void **state)
{
    (void)state;
    struct event_sink *sink = open_sink(1 << 20, 1);
    FILE *f = fopen(path, "w");
    fputs("{\"half\":", f);
    fclose(f);
    const struct rlimit full = {8, RLIM_INFINITY}, free_again = {RLIM_INFINITY, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    assert_int_equal(event_sink_reopen(sink, NULL), CQ_E_IO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &free_again), 0);
    publish(sink, 1, "{}");
    assert_int_equal(event_sink_poll(sink, NULL), CQ_OK);
    assert_int_equal(acknowledged_count, 1);
    assert_file("", "{\"half\":\n{}\n");
    event_sink_close(&sink);
}

static void a_folder_that_is_missing_is_named(void **state)
{
    (void)state;
    struct event_sink *sink = NULL;
    struct cq_err err = {0};
    const struct event_file_config config = {.path = "/no/such/folder/events", .max_size = 1, .keep = 1};
    assert_int_equal(event_file_open(&config, &sink, &err), CQ_E_IO);
    assert_non_null(strstr(err.text, "/no/such/folder/events"));
    assert_null(sink);
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    snprintf(path, sizeof path, "%s/events", dir);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(events_are_lines_and_acknowledged_when_they_are_safe, fresh),
        cmocka_unit_test_setup(a_file_is_rotated_by_size_and_old_ones_go, fresh),
        cmocka_unit_test_setup(new_names_are_safe_before_events_are_acknowledged, fresh),
        cmocka_unit_test_setup(a_line_that_a_crash_cut_short_is_ended, fresh),
        cmocka_unit_test_setup(a_reopen_follows_a_rotation_from_outside, fresh),
        cmocka_unit_test_setup(what_waits_is_bounded, fresh),
        cmocka_unit_test_setup(a_failed_write_acknowledges_nothing_and_may_be_repeated, fresh),
        cmocka_unit_test_setup(a_broken_line_that_cannot_be_ended_swallows_no_event, fresh),
        cmocka_unit_test_setup(a_folder_that_is_missing_is_named, fresh),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fresh(NULL);
    rmdir(dir);
    return failed;
}
