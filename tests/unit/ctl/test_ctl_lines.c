/* Files of lines, as events replay reads them. */
#include "ctl_lines.h"

#include "unit/cq_cmocka.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[] = "/tmp/chasqui-lines-XXXXXX";
static char path[64];

static void write_file(const char *suffix, const char *text)
{
    char name[100];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* All lines, each in brackets. */
static const char *all(struct ctl_lines *lines)
{
    static char out[256];
    enum ctl_exit status = CTL_DONE;
    ssize_t len;
    out[0] = '\0';
    while ((len = ctl_lines_next(lines, &status)) > 0)
        snprintf(out + strlen(out), sizeof out - strlen(out), "[%.*s]", (int)len, lines->line);
    assert_int_equal(status, CTL_DONE);
    assert_int_equal(ctl_lines_next(lines, &status), 0); /* the end stays the end */
    ctl_lines_fini(lines);
    return out;
}

static void rotated_files_come_first_and_a_line_that_is_being_written_is_left(void **state)
{
    (void)state;
    write_file("", "e\n{\"half");
    write_file(".1", "c\nd\n");
    write_file(".2", "a\nb\n");
    write_file(".4", "behind a gap\n");
    struct ctl_lines lines = {.path = path};
    assert_int_equal(ctl_lines_rotated(&lines), 2);
    assert_string_equal(all(&lines), "[e\n]");
    lines = (struct ctl_lines){.path = path, .rotated = 2};
    assert_string_equal(all(&lines), "[a\n][b\n][c\n][d\n][e\n]");
}

static void the_last_line_of_standard_input_needs_no_end(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""}, {"a\n", "[a\n]"}, {"a\nb", "[a\n][b]"}, {"b", "[b]"}, {"\n", "[\n]"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_file("", cases[i][0]);
        assert_non_null(freopen(path, "r", stdin));
        struct ctl_lines lines = {.path = "-"};
        assert_string_equal(all(&lines), cases[i][1]);
    }
}

static void a_file_that_is_not_there_is_told(void **state)
{
    (void)state;
    enum ctl_exit status = CTL_DONE;
    struct ctl_lines lines = {.path = "/nonexistent/events"};
    assert_int_equal(ctl_lines_next(&lines, &status), 0);
    assert_int_equal(status, CTL_USAGE);
    ctl_lines_fini(&lines);
}

static int remove_all(void **state)
{
    static const char *const suffixes[] = {"", ".1", ".2", ".4"};
    (void)state;
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char name[100];
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rotated_files_come_first_and_a_line_that_is_being_written_is_left),
        cmocka_unit_test(the_last_line_of_standard_input_needs_no_end),
        cmocka_unit_test(a_file_that_is_not_there_is_told),
    };
    if (!mkdtemp(dir))
        return 1;
    snprintf(path, sizeof path, "%s/events", dir);
    return cmocka_run_group_tests(tests, NULL, remove_all);
}
