#include "node/apply_marks.h"

#include "unit/cq_cmocka.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* A data directory, and runs of a process in it: each a child that ends in its own way. */
static char dir[64];

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/chasqui-marks.XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, APPLY_MARKS_FILE);
    unlink(path);
    return rmdir(dir);
}

enum ending { ENDS_WELL, ABORTS, IS_KILLED, FORGIVES, CRASHES_BESIDE };

static void run_child(uint32_t group, uint64_t index, enum ending ending)
{
    struct apply_marks *marks;
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    if (apply_marks_open(dir, &marks, NULL) != CQ_OK)
        _exit(99);
    apply_marks_watch_signals();
    apply_marks_thread_start();
    apply_marks_begin(marks, group, index - 1);
    apply_marks_end(marks, group);
    if (ending != CRASHES_BESIDE)
        apply_marks_begin(marks, group, index);
    if (ending == ABORTS || ending == CRASHES_BESIDE)
        abort();
    if (ending == IS_KILLED)
        kill(getpid(), SIGKILL);
    if (ending == FORGIVES)
        apply_marks_forgive(marks);
    else
        apply_marks_end(marks, group);
    _exit(0);
}

static void run(uint32_t group, uint64_t index, enum ending ending)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        run_child(group, index, ending);
    assert_int_equal(waitpid(child, &status, 0), child);
    const int signal_of[] = {[ABORTS] = SIGABRT, [CRASHES_BESIDE] = SIGABRT, [IS_KILLED] = SIGKILL, [FORGIVES] = 0};
    assert_int_equal(WIFSIGNALED(status) ? WTERMSIG(status) : 0, signal_of[ending]);
}

static bool is_aside(uint32_t group, struct apply_blame *blame)
{
    struct apply_marks *marks;
    assert_int_equal(apply_marks_open(dir, &marks, NULL), CQ_OK);
    bool aside = apply_marks_quarantined(marks, group, blame);
    apply_marks_close(&marks);
    return aside;
}

static void the_second_crash_at_one_entry_puts_its_group_aside(void **state)
{
    (void)state;
    struct apply_blame blame;
    run(3, 77, ABORTS);
    assert_false(is_aside(3, &blame));
    assert_int_equal(blame.index, 77);
    run(3, 77, ABORTS);
    assert_true(is_aside(3, &blame));
    assert_int_equal(blame.crashes, 2);
    assert_true(is_aside(3, &blame)); /* and it stays so */
    assert_false(is_aside(4, &blame));
    assert_int_equal(blame.index, 0);
}

static void crashes_at_different_entries_put_nothing_aside(void **state)
{
    (void)state;
    struct apply_blame blame;
    for (uint64_t index = 10; index < 16; index++)
        run(1, index, ABORTS);
    assert_false(is_aside(1, &blame));
    assert_int_equal(blame.index, 15);
    assert_int_equal(blame.crashes, 1);
}

static void a_run_that_got_past_the_entry_does_not_count_against_it_again(void **state)
{
    (void)state;
    struct apply_blame blame;
    run(1, 10, ABORTS);
    run(1, 20, ENDS_WELL);
    assert_false(is_aside(1, &blame));
    run(1, 21, ABORTS);
    assert_false(is_aside(1, &blame));
}

static void being_killed_at_one_entry_counts_less(void **state)
{
    (void)state;
    struct apply_blame blame;
    for (int i = 1; i < APPLY_MARKS_ENDS; i++) {
        run(0, 5, IS_KILLED);
        assert_false(is_aside(0, &blame));
    }
    run(0, 5, IS_KILLED);
    assert_true(is_aside(0, &blame));
    assert_int_equal(blame.ends, APPLY_MARKS_ENDS);
    assert_int_equal(blame.crashes, 0);
}

static void nobody_is_blamed_for_what_no_entry_has_done(void **state)
{
    (void)state;
    struct apply_blame blame;
    for (int i = 0; i < 3; i++) {
        run(2, 9, CRASHES_BESIDE);
        run(2, 9, FORGIVES);
        run(2, 9, ENDS_WELL);
    }
    assert_false(is_aside(2, &blame));
    assert_int_equal(blame.index, 0);
}

static void a_release_is_remembered(void **state)
{
    (void)state;
    struct apply_blame blame;
    struct apply_marks *marks;
    struct cq_err err = {0};
    run(3, 77, ABORTS);
    run(3, 77, ABORTS);
    assert_int_equal(apply_marks_open(dir, &marks, NULL), CQ_OK);
    assert_int_equal(apply_marks_release(marks, 4, &err), CQ_E_NOT_FOUND);
    assert_int_equal(apply_marks_release(marks, APPLY_MARKS_GROUPS, &err), CQ_E_NOT_FOUND);
    assert_int_equal(apply_marks_release(marks, 3, &err), CQ_OK);
    assert_int_equal(apply_marks_release(marks, 3, &err), CQ_E_NOT_FOUND);
    apply_marks_close(&marks);
    assert_false(is_aside(3, &blame));
    run(3, 77, ABORTS);
    assert_false(is_aside(3, &blame));
}

static void what_does_not_read_is_begun_anew(void **state)
{
    (void)state;
    static const struct {
        off_t at;
        const char *octets;
    } damages[] = {{0, "x"}, {16, "\x09"}, {32 + 3 * 32 + 16, "\x01\x02\x03"}, {32 + 3 * 32 + 12, "\xff"}};
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        struct apply_blame blame;
        char path[128];
        run(3, 77, ABORTS);
        run(3, 77, ABORTS);
        snprintf(path, sizeof path, "%s/%s", dir, APPLY_MARKS_FILE);
        int fd = open(path, O_WRONLY);
        assert_int_equal(pwrite(fd, damages[i].octets, strlen(damages[i].octets), damages[i].at),
                         strlen(damages[i].octets));
        close(fd);
        assert_false(is_aside(3, &blame));
        unlink(path);
    }
}

static void without_marks_nothing_is_noted(void **state)
{
    (void)state;
    struct apply_blame blame;
    apply_marks_begin(NULL, 1, 1);
    apply_marks_end(NULL, 1);
    apply_marks_forgive(NULL);
    assert_false(apply_marks_quarantined(NULL, 1, &blame));
}

#define MARKS_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MARKS_TEST(the_second_crash_at_one_entry_puts_its_group_aside),
        MARKS_TEST(crashes_at_different_entries_put_nothing_aside),
        MARKS_TEST(a_run_that_got_past_the_entry_does_not_count_against_it_again),
        MARKS_TEST(being_killed_at_one_entry_counts_less),
        MARKS_TEST(nobody_is_blamed_for_what_no_entry_has_done),
        MARKS_TEST(a_release_is_remembered),
        MARKS_TEST(what_does_not_read_is_begun_anew),
        cmocka_unit_test(without_marks_nothing_is_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
