#include "base/cq_secret.h"

#include "unit/cq_cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/chasqui-secret-XXXXXX";

static int setup(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 || close(fd);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

static enum cq_rc read_of(const void *text, size_t len, char secret[static CQ_SECRET_SIZE], struct cq_err *err)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    memset(secret, 'x', CQ_SECRET_SIZE);
    return cq_secret_read(path, secret, err);
}

static void the_first_line_counts_without_its_end(void **state)
{
    (void)state;
    static const char *const files[] = {"s e c", "s e c\n", "s e c\r\n", "s e c\nmore\n"};
    char secret[CQ_SECRET_SIZE];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        assert_int_equal(read_of(files[i], strlen(files[i]), secret, NULL), CQ_OK);
        assert_string_equal(secret, "s e c");
        for (size_t at = 5; at < sizeof secret; at++) /* nothing of the other lines stays */
            assert_int_equal(secret[at], 0);
    }
}

static void what_is_no_secret_is_refused_and_not_kept(void **state)
{
    (void)state;
    char secret[CQ_SECRET_SIZE], longest[CQ_SECRET_SIZE];
    struct cq_err err = {0};
    memset(longest, 'k', sizeof longest);
    assert_int_equal(read_of(longest, sizeof longest - 1, secret, &err), CQ_OK);
    assert_int_equal(strlen(secret), sizeof longest - 1);
    assert_int_equal(read_of(longest, sizeof longest, secret, &err), CQ_E_CONFIG);
    assert_null(memchr(secret, 'k', sizeof secret));
    assert_null(strstr(err.text, "kk"));
    assert_int_equal(read_of("", 0, secret, &err), CQ_E_CONFIG);
    assert_int_equal(read_of("\nsecond", 7, secret, &err), CQ_E_CONFIG);
    assert_int_equal(read_of("a\0b", 3, secret, &err), CQ_E_CONFIG);
    assert_int_equal(cq_secret_read("/nowhere/secret", secret, &err), CQ_E_CONFIG);
    assert_non_null(strstr(err.text, "/nowhere/secret"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_line_counts_without_its_end),
        cmocka_unit_test(what_is_no_secret_is_refused_and_not_kept),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
