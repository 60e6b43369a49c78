#include "pop3/pop3_command.h"

#include "unit/cq_cmocka.h"

static void stuffed_is(const char *in, bool limited, uint64_t lines, const char *expected)
{
    for (size_t step = 1; step <= strlen(in) + 1; step++) {
        struct cq_buf out;
        struct pop3_stuffer stuffer;
        cq_buf_init(&out, 4096);
        pop3_stuffer_init(&stuffer, limited, lines);
        for (struct cq_slice rest = cq_slice_cstr(in); rest.len; rest = cq_slice_skip(rest, step))
            pop3_stuff(&stuffer, cq_slice_sub(rest, 0, step), &out);
        pop3_stuff_end(&stuffer, &out);
        assert_slice(cq_buf_slice(&out), expected);
        cq_buf_fini(&out);
    }
}

static void dots_are_doubled_and_lines_end_with_crlf(void **state)
{
    (void)state;
    stuffed_is("", false, 0, ".\r\n");
    stuffed_is("a\r\n", false, 0, "a\r\n.\r\n");
    stuffed_is("a", false, 0, "a\r\n.\r\n");
    stuffed_is(".\r\n..\r\n", false, 0, "..\r\n...\r\n.\r\n");
    stuffed_is("a.b\r\n.c", false, 0, "a.b\r\n..c\r\n.\r\n");
    stuffed_is("a\nb\n", false, 0, "a\r\nb\r\n.\r\n");
    stuffed_is("a\rb\n.\n\r\n\r", false, 0, "a\rb\r\n..\r\n\r\n\r\n.\r\n");
    stuffed_is("a\r\n.\r\nQUIT\r\n", false, 0, "a\r\n..\r\nQUIT\r\n.\r\n");
}

static void top_stops_after_its_lines(void **state)
{
    (void)state;
    static const char message[] = "A: 1\r\nB: 2\r\n\r\none\r\n\r\nthree\r\n";
    stuffed_is(message, true, 0, "A: 1\r\nB: 2\r\n\r\n.\r\n");
    stuffed_is(message, true, 1, "A: 1\r\nB: 2\r\n\r\none\r\n.\r\n");
    stuffed_is(message, true, 2, "A: 1\r\nB: 2\r\n\r\none\r\n\r\n.\r\n");
    stuffed_is(message, true, 99, "A: 1\r\nB: 2\r\n\r\none\r\n\r\nthree\r\n.\r\n");
    stuffed_is("A: 1\n\nx\n", true, 0, "A: 1\r\n\r\n.\r\n");
}

static void numbers_are_within_the_maildrop(void **state)
{
    (void)state;
    uint32_t number;
    uint64_t lines;
    assert_true(pop3_number(CQ_SLICE(" 3 "), 3, &number));
    assert_int_equal(number, 3);
    assert_false(pop3_number(CQ_SLICE("0"), 3, &number));
    assert_false(pop3_number(CQ_SLICE("4"), 3, &number));
    assert_false(pop3_number(CQ_SLICE("-1"), 3, &number));
    assert_false(pop3_number(CQ_SLICE(""), 3, &number));
    assert_true(pop3_number_and_count(CQ_SLICE("2 10"), 3, &number, &lines));
    assert_int_equal(lines, 10);
    assert_false(pop3_number_and_count(CQ_SLICE("2"), 3, &number, &lines));
    assert_false(pop3_number_and_count(CQ_SLICE("2 x"), 3, &number, &lines));
}

static void a_password_keeps_its_blanks(void **state)
{
    (void)state;
    struct cq_slice keyword, rest;
    pop3_split(CQ_SLICE("PASS  a b "), &keyword, &rest);
    assert_slice(keyword, "PASS");
    assert_slice(rest, " a b ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dots_are_doubled_and_lines_end_with_crlf),
        cmocka_unit_test(top_stops_after_its_lines),
        cmocka_unit_test(numbers_are_within_the_maildrop),
        cmocka_unit_test(a_password_keeps_its_blanks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
