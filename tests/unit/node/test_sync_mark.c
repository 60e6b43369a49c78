#include "node/sync_mark.h"

#include "unit/cq_cmocka.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char base_dir[] = "/tmp/chasqui-mark-XXXXXX";
static char path[64];

static void nobody(void *ctx, const struct cq_err *err)
{
    (void)ctx;
    fail_msg("%s", err->text);
}

static const struct sync_mark_config config = {.path = path, .fatal = nobody};

static int fresh(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

static void write_marks(const uint64_t *sequences, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct sync_mark *mark;
        assert_int_equal(sync_mark_open(&config, &mark, NULL), CQ_OK);
        sync_mark_synced(mark, sequences[i]);
        sync_mark_free(&mark);
    }
}

static uint64_t read_mark(void)
{
    uint64_t sequence = 99;
    assert_int_equal(sync_mark_read(path, &sequence, NULL), CQ_OK);
    return sequence;
}

static void put(off_t at, const void *bytes, size_t len)
{
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, at), (ssize_t)len);
    close(fd);
}

static void without_a_file_nothing_was_ever_synced(void **state)
{
    (void)state;
    assert_true(read_mark() == 0);
    struct sync_mark *mark;
    assert_int_equal(sync_mark_open(&config, &mark, NULL), CQ_OK);
    sync_mark_free(&mark);
    assert_true(read_mark() == 0);
}

static void the_last_one_that_was_told_is_in_the_file_after_the_end(void **state)
{
    (void)state;
    struct sync_mark *mark;
    assert_int_equal(sync_mark_open(&config, &mark, NULL), CQ_OK);
    for (uint64_t i = 1; i <= 100000; i++)
        sync_mark_synced(mark, i);
    sync_mark_free(&mark);
    assert_true(read_mark() == 100000);
}

static void it_may_fall_which_whoever_opened_the_store_has_judged(void **state)
{
    (void)state;
    write_marks((const uint64_t[]){70, 12, 13}, 3);
    assert_true(read_mark() == 13);
}

static void one_copy_that_does_not_read_is_made_good_by_the_other(void **state)
{
    (void)state;
    static const uint8_t zeroes[4096];
    for (off_t at = 0; at <= 4096; at += 4096) {
        unlink(path);
        write_marks((const uint64_t[]){5, 6}, 2);
        put(at, zeroes, at ? 32 : sizeof zeroes);
        assert_true(read_mark() == 5 || read_mark() == 6);
        write_marks((const uint64_t[]){7, 8}, 2);
        assert_true(read_mark() == 8);
    }
}

static void two_copies_that_do_not_read_are_damage_and_not_a_beginning(void **state)
{
    (void)state;
    write_marks((const uint64_t[]){5, 6}, 2);
    put(9, "x", 1);
    put(4096 + 9, "x", 1);
    uint64_t sequence;
    assert_int_equal(sync_mark_read(path, &sequence, NULL), CQ_E_CORRUPT);
    write_marks((const uint64_t[]){9}, 1); /* whoever judged it goes on */
    assert_true(read_mark() == 9);
    put(0, "", 1);
    assert_int_equal(truncate(path, 1), 0);
    assert_int_equal(sync_mark_read(path, &sequence, NULL), CQ_E_CORRUPT);
}

int main(void)
{
    if (!mkdtemp(base_dir))
        return 1;
    snprintf(path, sizeof path, "%s/synced", base_dir);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(without_a_file_nothing_was_ever_synced, fresh),
        cmocka_unit_test_setup(the_last_one_that_was_told_is_in_the_file_after_the_end, fresh),
        cmocka_unit_test_setup(it_may_fall_which_whoever_opened_the_store_has_judged, fresh),
        cmocka_unit_test_setup(one_copy_that_does_not_read_is_made_good_by_the_other, fresh),
        cmocka_unit_test_setup(two_copies_that_do_not_read_are_damage_and_not_a_beginning, fresh),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    rmdir(base_dir);
    return failed;
}
