#include "mail/mail_build.h"
#include "mail/mail_envelope.h"
#include "mail/mail_match.h"

#include "unit/mail/mail_test.h"

static const char MESSAGE[] =
    "From: =?utf-8?q?J=C3=B6rg?= Lange <joerg@example.test>\r\nSubject: =?iso-8859-1?q?Gr=FC=DFe?= aus\r\n Berlin\r\n"
    "To: G: a@x, \"Bob, B\" <b@y>;, c@z\r\nX-Empty:\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n"
    "--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    "Sch=F6ne Gr=FC=\r\n=DFe\r\n"
    "--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>some <b>bo</b>ld&nbsp;text</p><style>hidden</style>\r\n"
    "--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
    "Content-Disposition: attachment; filename*=utf-8''Stra%C3%9Fe.pdf\r\n\r\nattached\r\n"
    "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner =?utf-8?q?w=C3=B6rd?=\r\n\r\ninner body\r\n"
    "--b--\r\nepilogue\r\n";

static const struct {
    const char *needle;
    bool body, text;
} CASES[] = {
    {"", true, true},
    {"sch\xc3\xb6ne gr\xc3\xbc\xc3\x9f"
     "e",
     true, true}, /* over a soft line break */
    {"SCH\xc3\x96NE", true, true},
    {"some bold", true, true},
    {"hidden", false, false},
    {"<b>", false, false},
    {"attached", false, false}, /* attachments are not read */
    {"stra\xc3\x9f"
     "e.pdf",
     true, true},
    {"inner w\xc3\xb6rd", true, true},
    {"inner body", true, true},
    {"subject: inner", true, true},
    {"application/pdf", true, true},
    {"J\xc3\xb6rg Lange", false, true},
    {"joerg@EXAMPLE.test", false, true},
    {"Gr\xc3\xbc\xc3\x9f"
     "e aus Berlin",
     false, true},
    {"X-Empty:", false, true},
    {"preamble", false, false}, /* belongs to no part */
    {"nowhere", false, false},
};

static bool match(const char *message, const char *text, enum mail_match_scope scope, size_t step)
{
    struct cq_buf record;
    struct mail_summary s;
    struct cq_slice octets = cq_slice_cstr(message);
    uint64_t off, len, last = 0;
    bool found;
    cq_buf_init(&record, MAIL_SUMMARY_MAX);
    mail_summary_of(octets, &record);
    assert_int_equal(mail_summary_open(cq_buf_slice(&record), &s, NULL), CQ_OK);
    struct mail_needle *needle = mail_needle_new(cq_slice_cstr(text));
    struct mail_matcher *m = mail_matcher_new(&s, needle, scope);
    while (mail_matcher_want(m, &off, &len)) {
        assert_true(off >= last && len > 0 && off + len <= s.size);
        last = off;
        mail_matcher_feed(m, cq_slice_sub(octets, off, len < step ? len : step));
    }
    assert_int_equal(mail_matcher_result(m, &found), CQ_OK);
    mail_matcher_free(&m);
    bool at_once;
    assert_int_equal(mail_match_message(&s, octets, needle, scope, &at_once), CQ_OK);
    assert_int_equal(found, at_once);
    mail_needle_free(&needle);
    cq_buf_fini(&record);
    return found;
}

static void body_and_text_are_searched_decoded_however_they_come(void **state)
{
    (void)state;
    const size_t steps[] = {1, 7, SIZE_MAX};
    for (unsigned i = 0; i < ROWS(CASES); i++) {
        for (unsigned k = 0; k < ROWS(steps); k++) {
            if (match(MESSAGE, CASES[i].needle, MAIL_MATCH_BODY, steps[k]) != CASES[i].body)
                fail_msg("row %u: BODY", i);
            if (match(MESSAGE, CASES[i].needle, MAIL_MATCH_TEXT, steps[k]) != CASES[i].text)
                fail_msg("row %u: TEXT", i);
        }
    }
}

static void a_header_field_is_searched_decoded(void **state)
{
    (void)state;
    const struct {
        const char *name, *needle;
        bool found;
    } cases[] = {
        {"subject",
         "gr\xc3\xbc\xc3\x9f"
         "e",
         true},
        {"Subject", "aus berlin", true},
        {"Subject", "Lange", false},
        {"From", "j\xc3\xb6rg", true},
        {"X-Empty", "", true},
        {"X-Absent", "", false},
        {"X-Empty", "x", false},
        {"From", "From", false},
    };
    for (unsigned i = 0; i < ROWS(cases); i++) {
        struct mail_needle *needle = mail_needle_new(cq_slice_cstr(cases[i].needle));
        if (mail_match_header(CQ_SLICE(MESSAGE), cq_slice_cstr(cases[i].name), needle) != cases[i].found)
            fail_msg("row %u", i);
        mail_needle_free(&needle);
    }
}

static void a_long_body_is_searched_in_little_memory(void **state)
{
    (void)state;
    struct cq_buf m;
    cq_buf_init(&m, TEST_BUF_MAX);
    cq_buf_cstr(&m, "Content-Type: text/plain\r\n\r\n");
    for (unsigned i = 0; i < 400000; i++)
        cq_buf_cstr(&m, "some line of text\r\n");
    cq_buf_cstr(&m, "the needle");
    cq_buf_byte(&m, 0);
    assert_true(match((const char *)m.data, "text\r\nthe needle", MAIL_MATCH_BODY, 100000));
    assert_false(match((const char *)m.data, "the needles", MAIL_MATCH_BODY, 100000));
    cq_buf_fini(&m);
}

static void an_envelope_is_split_and_read_again(void **state)
{
    (void)state;
    struct cq_buf record, out;
    struct mail_summary s;
    struct cq_slice members[MAIL_ENVELOPE_FIELDS];
    cq_buf_init(&record, MAIL_SUMMARY_MAX);
    cq_buf_init(&out, 10000);
    mail_summary_of(CQ_SLICE(MESSAGE), &record);
    assert_int_equal(mail_summary_open(cq_buf_slice(&record), &s, NULL), CQ_OK);
    assert_true(mail_envelope_split(mail_summary_envelope(&s, true), members));
    for (unsigned i = 0; i < MAIL_ENVELOPE_FIELDS; i++) {
        mail_envelope_text(members[i], &out);
        cq_buf_byte(&out, '\n');
    }
    assert_row_text(0, text_of(&out),
                    "\nGr\xc3\xbc\xc3\x9f"
                    "e aus Berlin\nJ\xc3\xb6rg Lange <joerg@example.test>\n"
                    "J\xc3\xb6rg Lange <joerg@example.test>\nJ\xc3\xb6rg Lange <joerg@example.test>\n"
                    "G:, <a@x>, Bob, B <b@y>, <c@z>\n\n\n\n\n");
    cq_buf_reset(&out, 10000);
    assert_true(mail_envelope_first_local(members[MAIL_ENVELOPE_TO], &out));
    assert_false(mail_envelope_first_local(members[MAIL_ENVELOPE_CC], &out));
    assert_row_text(1, text_of(&out), "a");
    cq_buf_fini(&record);
    cq_buf_fini(&out);
}

static void what_is_no_envelope_is_refused(void **state)
{
    (void)state;
    const char *bad[] = {"",
                         "(",
                         "()",
                         "(NIL)",
                         "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL",
                         "(((((((",
                         "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ",
                         "(\"a NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
                         "({5}\r\nab NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
                         "(\"a\\",
                         "({99999999999999999999}\r\n)",
                         "({18446744073709551615}\r\nx NIL NIL NIL NIL NIL NIL NIL NIL NIL)"};
    for (unsigned i = 0; i < ROWS(bad); i++) {
        struct cq_slice members[MAIL_ENVELOPE_FIELDS];
        if (mail_envelope_split(cq_slice_cstr(bad[i]), members))
            fail_msg("row %u", i);
    }
}

static void an_envelope_field_contains_a_string(void **state)
{
    (void)state;
    const struct {
        enum mail_envelope_field field;
        const char *needle;
        bool found;
    } cases[] = {
        {MAIL_ENVELOPE_FROM, "J\xc3\x96RG", true},
        {MAIL_ENVELOPE_FROM, "joerg@example.test", true},
        {MAIL_ENVELOPE_TO, "bob", true},
        {MAIL_ENVELOPE_TO, "a@x", true},
        {MAIL_ENVELOPE_CC, "", false},
        {MAIL_ENVELOPE_SUBJECT,
         "gr\xc3\xbc\xc3\x9f"
         "e AUS berlin",
         true},
        {MAIL_ENVELOPE_SUBJECT, "jo", false},
    };
    struct cq_buf record;
    struct mail_summary s;
    cq_buf_init(&record, MAIL_SUMMARY_MAX);
    mail_summary_of(CQ_SLICE(MESSAGE), &record);
    assert_int_equal(mail_summary_open(cq_buf_slice(&record), &s, NULL), CQ_OK);
    for (unsigned i = 0; i < ROWS(cases); i++) {
        struct mail_needle *needle = mail_needle_new(cq_slice_cstr(cases[i].needle));
        if (mail_envelope_contains(mail_summary_envelope(&s, true), cases[i].field, needle) != cases[i].found)
            fail_msg("row %u", i);
        mail_needle_free(&needle);
    }
    cq_buf_fini(&record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(body_and_text_are_searched_decoded_however_they_come),
        cmocka_unit_test(a_header_field_is_searched_decoded),
        cmocka_unit_test(a_long_body_is_searched_in_little_memory),
        cmocka_unit_test(an_envelope_is_split_and_read_again),
        cmocka_unit_test(what_is_no_envelope_is_refused),
        cmocka_unit_test(an_envelope_field_contains_a_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
