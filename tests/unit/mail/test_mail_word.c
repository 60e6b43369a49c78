#include "mail/mail_word.h"

#include "unit/mail/mail_test.h"

static const struct {
    const char *in, *want;
} DECODE[] = {
    {"", ""},
    {"plain text", "plain text"},
    {"folded\r\n text", "folded text"},
    {"=?utf-8?q?h=C3=A4_x?=", "h\xc3\xa4 x"},
    {"=?UTF-8?Q?a?= =?utf-8?q?b?=", "ab"},
    {"=?utf-8?q?a?=\r\n =?utf-8?q?b?=", "ab"},
    {"=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c"},
    {"=?utf-8?q?a?==?utf-8?q?b?=", "ab"},
    {"x=?utf-8?q?a?=y", "xay"},
    {"\"=?utf-8?q?a?=\"", "\"a\""},
    {"=?utf-8?b?aMOk?=", "h\xc3\xa4"},
    {"=?utf-8?b?w?= =?utf-8?b?w6Q=?=", "\xc3\xa4"},    /* the first word is empty: one character of base64 */
    {"=?utf-8?b?ww==?= =?utf-8?b?pA==?=", "\xc3\xa4"}, /* a character split over two words */
    {"=?utf-8?q?=C3?= =?utf-8?q?=A4?=", "\xc3\xa4"},
    {"=?utf-8?q?=C3?= x", "\xef\xbf\xbd x"},
    {"=?iso-8859-1?q?=E4?= =?utf-8?q?=C3=A4?=", "\xc3\xa4\xc3\xa4"},
    {"=?iso-8859-1*de?q?=E4?=", "\xc3\xa4"},
    {"=?iso-2022-jp?b?GyRCRnwbKEI=?= =?iso-2022-jp?b?GyRCS1wbKEI=?=", "\xe6\x97\xa5\xe6\x9c\xac"},
    {"=?utf-8?q?a b?=", "a b"},
    {"=?utf-8?q?a=?=", "a="},
    {"=?utf-8?q?=0D=0A=00?=", "   "},
    {"=?no-such?q?a?=", "=?no-such?q?a?="},
    {"=?utf-8?x?a?=", "=?utf-8?x?a?="},
    {"=?utf-8?q?a", "=?utf-8?q?a"},
    {"=?utf-8?q?a?", "=?utf-8?q?a?"},
    {"=?utf-8?q", "=?utf-8?q"},
    {"=?", "=?"},
    {"==?\?==", "==?\?=="},
    {"=?utf-8?q?\?=", ""},
    {"raw \xc3\xa4", "raw \xc3\xa4"},
    {"raw \xe4 \x80", "raw \xc3\xa4 \xe2\x82\xac"},
    {"raw \xe4 =?utf-8?q?=C3=A4?=", "raw \xc3\xa4 \xc3\xa4"},
};

static void encoded_words_are_decoded(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROWS(DECODE); i++) {
        struct cq_buf out;
        cq_buf_init(&out, 10000);
        mail_word_decode(cq_slice_cstr(DECODE[i].in), &out);
        assert_row_text(i, text_of(&out), DECODE[i].want);
        cq_buf_fini(&out);
    }
}

static void hostile_words_take_linear_time(void **state)
{
    (void)state;
    const char *patterns[] = {"=?",
                              "=?a?q?",
                              "=",
                              "=?utf-8?q?",
                              "=?utf-8?q?a?=",
                              "=?utf-8?b?",
                              "=?gbk?q?a?= =?big5?q?a?=",
                              "=?iso-8859-2?q?a?=\n=?utf-16?q?a?= "};
    for (unsigned i = 0; i < ROWS(patterns); i++) {
        struct cq_buf in, out;
        cq_buf_init(&in, TEST_BUF_MAX);
        cq_buf_init(&out, TEST_BUF_MAX);
        while (in.len < (1u << 20))
            cq_buf_cstr(&in, patterns[i]);
        mail_word_decode(cq_buf_slice(&in), &out);
        assert_true(mail_is_utf8(cq_buf_slice(&out)));
        cq_buf_fini(&in);
        cq_buf_fini(&out);
    }
}

static const struct {
    const char *in, *want;
} ENCODE[] = {
    {"", ""},
    {"plain (text), \"quoted\"", "plain (text), \"quoted\""},
    {"h\xc3\xa4 xyz", "=?utf-8?Q?h=C3=A4_xyz?="},
    {"\xe6\x97\xa5\xe6\x9c\xac", "=?utf-8?B?5pel5pys?="},
    {"a =?b", "=?utf-8?Q?a_=3D=3Fb?="},
    {"a\tb", "=?utf-8?Q?a=09b?="},
};

static void text_is_encoded_only_when_it_must_be(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROWS(ENCODE); i++) {
        struct cq_buf out;
        cq_buf_init(&out, 10000);
        mail_word_encode(cq_slice_cstr(ENCODE[i].in), &out);
        assert_row_text(i, text_of(&out), ENCODE[i].want);
        cq_buf_fini(&out);
    }
}

static void long_text_becomes_words_of_75_that_decode_to_it(void **state)
{
    (void)state;
    const char *characters[] = {"\xc3\xa4",         "a\xc3\xa4",         "\xe6\x97\xa5",
                                "\xf0\x9f\x98\x80", "a \xe2\x82\xac b ", "aaaaaaaaa\xc3\xa4"};
    for (unsigned i = 0; i < ROWS(characters); i++) {
        struct cq_buf in, out, back;
        cq_buf_init(&in, 10000);
        cq_buf_init(&out, 100000);
        cq_buf_init(&back, 100000);
        for (unsigned k = 0; k < 100; k++)
            cq_buf_cstr(&in, characters[i]);
        mail_word_encode(cq_buf_slice(&in), &out);
        struct cq_slice rest = cq_buf_slice(&out);
        while (rest.len)
            assert_in_range(cq_slice_cut(&rest, ' ').len, 12, 75);
        mail_word_decode(cq_buf_slice(&out), &back);
        assert_row_text(i, text_of(&back), text_of(&in));
        cq_buf_fini(&in);
        cq_buf_fini(&out);
        cq_buf_fini(&back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoded_words_are_decoded),
        cmocka_unit_test(hostile_words_take_linear_time),
        cmocka_unit_test(text_is_encoded_only_when_it_must_be),
        cmocka_unit_test(long_text_becomes_words_of_75_that_decode_to_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
