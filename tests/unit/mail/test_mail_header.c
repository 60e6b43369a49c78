#include "mail/mail_header.h"

#include "unit/mail/mail_test.h"

static void fields_are_found_folded_and_unfolded(void **state)
{
    (void)state;
    struct mail_header_iter iter;
    struct mail_header_field f;
    struct cq_buf out;
    cq_buf_init(&out, 10000);
    mail_header_iter_init(&iter, CQ_SLICE("A: 1\r\nB :\r\n  2\r\n\t3 \r\nno field\nC:4\n\nD: not the header"));
    while (mail_header_next(&iter, &f)) {
        cq_buf_printf(&out, "%.*s=", CQ_SLICE_ARG(f.name));
        mail_header_unfold(f.value, &out);
        cq_buf_printf(&out, "/%zu ", f.raw.len);
    }
    assert_row_text(0, text_of(&out), "A=1/6 B=2\t3/15 =no field/9 C=4/4 ");
    cq_buf_fini(&out);
}

static void a_line_without_a_name_is_no_field(void **state)
{
    (void)state;
    char longest[MAIL_HEADER_NAME_MAX + 2];
    size_t at;
    const char *none[] = {"", ":", ": x", " a: x", "a b: x", "\xc3\xa4: x", "a", "a\r\n", "\n", "a\x7f: x"};
    for (unsigned i = 0; i < ROWS(none); i++)
        assert_int_equal(mail_header_name_length(cq_slice_cstr(none[i]), &at), 0);
    assert_int_equal(mail_header_name_length(CQ_SLICE("a:"), &at), 1);
    assert_int_equal(at, 2);
    assert_int_equal(mail_header_name_length(CQ_SLICE("ab \t: x"), &at), 2);
    assert_int_equal(at, 5);
    memset(longest, 'a', sizeof longest);
    longest[MAIL_HEADER_NAME_MAX - 1] = ':';
    assert_int_equal(mail_header_name_length(cq_slice_of(longest, sizeof longest), &at), MAIL_HEADER_NAME_MAX - 1);
    memset(longest, 'a', sizeof longest);
    longest[MAIL_HEADER_NAME_MAX] = ':';
    assert_int_equal(mail_header_name_length(cq_slice_of(longest, sizeof longest), &at), 0);
}

static void the_header_ends_with_its_empty_line(void **state)
{
    (void)state;
    const struct {
        const char *text;
        size_t len;
    } cases[] = {{"", 0},           {"\n", 1},          {"\r\n", 2},
                 {"a: b", 4},       {"a: b\n\nc", 6},   {"a: b\r\n\r\nc", 8},
                 {"a\n\r\r\nb", 6}, {"a: b\n \n\nc", 8}};
    for (unsigned i = 0; i < ROWS(cases); i++)
        assert_int_equal(mail_header_length(cq_slice_cstr(cases[i].text)), cases[i].len);
}

static void a_filter_keeps_or_leaves_out_what_is_listed(void **state)
{
    (void)state;
    const struct cq_slice names[] = {CQ_SLICE("subject"), CQ_SLICE("TO"), CQ_SLICE("absent")};
    const char *header = "From: a\r\nSubject: s\r\n t\r\njunk\r\nTo: b\r\nto: c\r\n\r\n";
    struct cq_buf out;
    cq_buf_init(&out, 1000);
    mail_header_filter(cq_slice_cstr(header), names, 3, false, &out);
    assert_row_text(0, text_of(&out), "Subject: s\r\n t\r\nTo: b\r\nto: c\r\n\r\n");
    cq_buf_reset(&out, 1000);
    mail_header_filter(cq_slice_cstr(header), names, 3, true, &out);
    assert_row_text(1, text_of(&out), "From: a\r\njunk\r\n\r\n");
    cq_buf_reset(&out, 1000);
    mail_header_filter(CQ_SLICE("To: x"), names, 3, false, &out);
    assert_row_text(2, text_of(&out), "To: x\r\n\r\n");
    cq_buf_fini(&out);
}

static void unfolding_leaves_no_line_end_and_no_nul(void **state)
{
    (void)state;
    struct cq_buf out;
    cq_buf_init(&out, 1000);
    mail_header_unfold(CQ_SLICE(" \r\n a\r\n b\0c\rd\n\te \r\n"), &out);
    assert_row_text(0, text_of(&out), "a bcd\te");
    cq_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_found_folded_and_unfolded),
        cmocka_unit_test(a_line_without_a_name_is_no_field),
        cmocka_unit_test(the_header_ends_with_its_empty_line),
        cmocka_unit_test(a_filter_keeps_or_leaves_out_what_is_listed),
        cmocka_unit_test(unfolding_leaves_no_line_end_and_no_nul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
