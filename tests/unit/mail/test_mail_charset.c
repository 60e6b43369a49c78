#include "mail/mail_charset.h"
#include "mail/mail_word.h"

#include "unit/mail/mail_test.h"

static const struct {
    const char *charset, *in, *want;
} CASES[] = {
    {"utf-8", "h\xc3\xa4", "h\xc3\xa4"},
    {"UTF-8", "\xe2\x82\xac\xf0\x9f\x98\x80", "\xe2\x82\xac\xf0\x9f\x98\x80"},
    {"utf-8",
     "a\xff"
     "b",
     "a\xef\xbf\xbd"
     "b"},
    {"utf-8", "a\xc3", "a\xef\xbf\xbd"},
    {"utf-8", "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate */
    {"utf-8", "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},                 /* overlong */
    {"us-ascii", "h\xc3\xa4\xe4", "h\xc3\xa4\xef\xbf\xbd"},
    {"", "h\xc3\xa4", "h\xc3\xa4"},
    {"no-such-charset", "h\xc3\xa4", "h\xc3\xa4"},
    {"../../etc/passwd", "x", "x"},
    {"utf-8//TRANSLIT", "h\xc3\xa4", "h\xc3\xa4"},
    {"iso-8859-1", "h\xe4\x80", "h\xc3\xa4\xe2\x82\xac"}, /* taken for windows-1252 */
    {" ISO-8859-15 ", "\xa4", "\xe2\x82\xac"},
    {"windows-1251", "\xcf\xf0", "\xd0\x9f\xd1\x80"},
    {"koi8-r", "\xf0\xd2", "\xd0\x9f\xd1\x80"},
    {"shift_jis", "\x93\xfa\x96\x7b", "\xe6\x97\xa5\xe6\x9c\xac"},
    {"shift_jis", "\x93", "\xef\xbf\xbd"},
    {"iso-2022-jp", "a\x1b$BF|K\\\x1b(Bb",
     "a\xe6\x97\xa5\xe6\x9c\xac"
     "b"},
    {"gb2312", "\xc4\xe3", "\xe4\xbd\xa0"},
    {"big5", "\xa7\x41", "\xe4\xbd\xa0"},
    {"euc-kr", "\xb0\xa1", "\xea\xb0\x80"},
};

static void every_charset_becomes_utf8_however_it_is_cut(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROWS(CASES); i++) {
        for (size_t step = 1; step < 10; step++) {
            struct cq_slice in = cq_slice_cstr(CASES[i].in);
            struct mail_charset *cs = mail_charset_new(cq_slice_cstr(CASES[i].charset));
            struct cq_buf out;
            cq_buf_init(&out, 100000);
            for (; in.len; in = cq_slice_skip(in, step)) {
                mail_charset_decode(cs, cq_slice_sub(in, 0, step), &out);
                assert_true(mail_is_utf8(cq_buf_slice(&out))); /* whole characters at each step */
            }
            mail_charset_finish(cs, &out);
            assert_row_text(i, text_of(&out), CASES[i].want);
            cq_buf_fini(&out);
            mail_charset_free(&cs);
        }
    }
}

static void only_listed_charsets_are_known(void **state)
{
    (void)state;
    assert_true(mail_charset_known(CQ_SLICE("Utf-8")));
    assert_true(mail_charset_known(CQ_SLICE("US-ASCII")));
    assert_true(mail_charset_known(CQ_SLICE("windows-1252")));
    assert_false(mail_charset_known(CQ_SLICE("")));
    assert_false(mail_charset_known(CQ_SLICE("utf-8//IGNORE")));
    assert_false(mail_charset_known(CQ_SLICE("ebcdic-us")));
    assert_false(mail_charset_known(CQ_SLICE("utf-8\0x")));
}

static void every_octet_in_every_charset_gives_utf8(void **state)
{
    (void)state;
    const char *names[] = {"utf-8",       "us-ascii",  "iso-8859-1", "iso-8859-8-i", "windows-1255", "windows-1258",
                           "hz-gb-2312",  "big5",      "big5-hkscs", "euc-jp",       "iso-2022-jp",  "shift_jis",
                           "iso-2022-kr", "utf-16",    "utf-16le",   "utf-32",       "tis-620",      "gb18030",
                           "euc-kr",      "macintosh", "koi8-u",     "ibm866",       "windows-874"};
    for (unsigned i = 0; i < ROWS(names); i++) {
        struct mail_charset *cs = mail_charset_new(cq_slice_cstr(names[i]));
        struct cq_buf out;
        uint32_t x = 12345;
        cq_buf_init(&out, TEST_BUF_MAX);
        for (unsigned k = 0; k < 20000; k++) {
            x = x * 1103515245u + 12345;
            uint8_t c = (uint8_t)(x >> 16);
            mail_charset_decode(cs, cq_slice_of(&c, 1), &out);
        }
        mail_charset_finish(cs, &out);
        assert_true(mail_is_utf8(cq_buf_slice(&out)));
        assert_true(out.len <= MAIL_CHARSET_GROWTH * 20016);
        cq_buf_fini(&out);
        mail_charset_free(&cs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_charset_becomes_utf8_however_it_is_cut),
        cmocka_unit_test(only_listed_charsets_are_known),
        cmocka_unit_test(every_octet_in_every_charset_gives_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
