#include "mail/mail_fold.h"

#include "unit/mail/mail_test.h"

static const struct {
    const char *a, *b;
    bool same;
} CASES[] = {
    {"abc", "ABC", true},
    {"\xc3\xa4", "\xc3\x84", true},  /* a umlaut */
    {"\xc3\xa4", "a\xcc\x88", true}, /* composed and not */
    {"\xcf\x83", "\xcf\x82", true},  /* sigma, final sigma */
    {"\xcf\x83", "\xce\xa3", true},  /* sigma, capital sigma */
    {"\xc4\xb1", "i", true},         /* Turkish dotless i: its title case is I */
    {"\xc4\xb0", "i\xcc\x87", true}, /* capital I with dot */
    {"\xc3\x9f", "ss", false},       /* sharp s has no simple title case */
    {"\xc3\x9f", "\xc3\x9f", true},
    {"\xef\xac\x81", "fi", false}, /* title case first: its parts stay small letters */
    {"\xc2\xbd",
     "1\xe2\x81\x84"
     "2",
     true},                                                         /* one half: compatibility mapping */
    {"\xea\xb0\x81", "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", true}, /* Hangul */
    {"\xef\xbc\xa1", "a", true},                                    /* full-width A */
    {"\xff", "\xef\xbf\xbd", true},
    {"a", "b", false},
};

static void text_is_compared_as_rfc_5051_says(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROWS(CASES); i++) {
        struct cq_buf a, b;
        cq_buf_init(&a, 1000);
        cq_buf_init(&b, 1000);
        mail_fold(cq_slice_cstr(CASES[i].a), &a);
        mail_fold(cq_slice_cstr(CASES[i].b), &b);
        if (cq_slice_eq(cq_buf_slice(&a), cq_buf_slice(&b)) != CASES[i].same)
            fail_msg("row %u", i);
        assert_true(a.len <= MAIL_FOLD_GROWTH * strlen(CASES[i].a));
        cq_buf_fini(&a);
        cq_buf_fini(&b);
    }
}

static void every_character_grows_within_its_bound(void **state)
{
    (void)state;
    struct cq_buf out;
    cq_buf_init(&out, TEST_BUF_MAX);
    for (uint32_t cp = 0x80; cp < 0x110000; cp++) {
        uint8_t u[4];
        size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
        for (size_t i = n; i-- > 1;)
            u[i] = (uint8_t)(0x80 | (cp >> 6 * (n - 1 - i) & 63));
        u[0] = (uint8_t)((0xf00 >> n & 0xff) | cp >> 6 * (n - 1));
        cq_buf_reset(&out, SIZE_MAX);
        mail_fold(cq_slice_of(u, n), &out);
        assert_in_range(out.len, 1, MAIL_FOLD_GROWTH * n);
    }
    cq_buf_fini(&out);
}

static bool find_in_pieces(const char *needle, struct cq_slice text, size_t step)
{
    struct mail_needle *n = mail_needle_new(cq_slice_cstr(needle));
    struct mail_finder f;
    mail_finder_init(&f, n);
    for (; text.len; text = cq_slice_skip(text, step))
        mail_finder_feed(&f, cq_slice_sub(text, 0, step));
    bool found = f.found;
    mail_finder_fini(&f);
    mail_needle_free(&n);
    return found;
}

static void a_string_is_found_wherever_it_is_and_however_the_text_is_cut(void **state)
{
    (void)state;
    struct cq_buf text;
    cq_buf_init(&text, TEST_BUF_MAX);
    for (unsigned i = 0; i < 20000; i++)
        cq_buf_cstr(&text, "xyzneedlneedle");
    cq_buf_cstr(&text, "NEEDLES end");
    const size_t steps[] = {1, 3, 100, 4096, 70000, SIZE_MAX};
    for (unsigned i = 0; i < ROWS(steps); i++) {
        assert_true(find_in_pieces("needles", cq_buf_slice(&text), steps[i]));
        assert_true(find_in_pieces("xyzn", cq_buf_slice(&text), steps[i]));
        assert_true(find_in_pieces("S end", cq_buf_slice(&text), steps[i]));
        assert_false(find_in_pieces("needless", cq_buf_slice(&text), steps[i]));
        assert_true(find_in_pieces("", cq_buf_slice(&text), steps[i]));
    }
    cq_buf_fini(&text);
    assert_true(find_in_pieces("", CQ_SLICE_NONE, 1));
    assert_false(find_in_pieces("a", CQ_SLICE_NONE, 1));
}

static void a_hostile_needle_takes_linear_time(void **state)
{
    (void)state;
    struct cq_buf text;
    char needle[8001];
    cq_buf_init(&text, TEST_BUF_MAX);
    memset(needle, 'a', sizeof needle - 1);
    needle[sizeof needle - 1] = '\0';
    needle[sizeof needle - 2] = 'b';
    while (text.len < (8u << 20))
        cq_buf_cstr(&text, "aaaaaaaaaaaaaaaa");
    assert_false(find_in_pieces(needle, cq_buf_slice(&text), 4096));
    cq_buf_fini(&text);
}

static void a_needle_over_the_limit_is_refused(void **state)
{
    (void)state;
    char *text = calloc(1, MAIL_NEEDLE_MAX + 1);
    struct mail_needle *needle = mail_needle_new(cq_slice_of(text, MAIL_NEEDLE_MAX));
    assert_non_null(needle);
    mail_needle_free(&needle);
    assert_null(mail_needle_new(cq_slice_of(text, MAIL_NEEDLE_MAX + 1)));
    free(text);
}

static void a_restart_parts_two_texts(void **state)
{
    (void)state;
    struct mail_needle *needle = mail_needle_new(CQ_SLICE("ab"));
    struct mail_finder f;
    mail_finder_init(&f, needle);
    assert_false(mail_finder_feed(&f, CQ_SLICE("a")));
    mail_finder_restart(&f);
    assert_false(mail_finder_feed(&f, CQ_SLICE("b")));
    assert_false(mail_finder_feed(&f, CQ_SLICE("a")));
    assert_true(mail_finder_feed(&f, CQ_SLICE("b")));
    mail_finder_fini(&f);
    mail_needle_free(&needle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_compared_as_rfc_5051_says),
        cmocka_unit_test(every_character_grows_within_its_bound),
        cmocka_unit_test(a_string_is_found_wherever_it_is_and_however_the_text_is_cut),
        cmocka_unit_test(a_hostile_needle_takes_linear_time),
        cmocka_unit_test(a_needle_over_the_limit_is_refused),
        cmocka_unit_test(a_restart_parts_two_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
