#include "mail/mail_render.h"
#include "mail/mail_summary.h"

#include "unit/mail/mail_test.h"

static struct mail_index *index_of(struct cq_slice message)
{
    struct mail_index *ix = mail_index_new(NULL, NULL);
    mail_index_feed(ix, message);
    mail_index_finish(ix);
    return ix;
}

static void envelope(const char *message, bool utf8, size_t max, struct cq_buf *out, bool *cut)
{
    struct mail_index *ix = index_of(cq_slice_cstr(message));
    mail_render_envelope(ix, mail_index_part(ix, 0), utf8, max, out, cut);
    mail_index_free(&ix);
}

static const struct {
    const char *message, *want;
} ENVELOPES[] = {
    {"", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"},
    {"Date: Mon, 7 Feb 1994 21:52:25 -0800 (PST)\r\nFrom: Fred Foobar <foobar@Blurdybloop.TEST>\r\n"
     "Subject: afternoon meeting\r\nTo: mooch@owatagu.test\r\nMessage-Id: <B27397-0100000@Blurdybloop.TEST>\r\n\r\n",
     "(\"Mon, 7 Feb 1994 21:52:25 -0800 (PST)\" \"afternoon meeting\" "
     "((\"Fred Foobar\" NIL \"foobar\" \"Blurdybloop.TEST\")) ((\"Fred Foobar\" NIL \"foobar\" \"Blurdybloop.TEST\")) "
     "((\"Fred Foobar\" NIL \"foobar\" \"Blurdybloop.TEST\")) ((NIL NIL \"mooch\" \"owatagu.test\")) NIL NIL NIL "
     "\"<B27397-0100000@Blurdybloop.TEST>\")"},
    {"From: a@x\nSender: b@y\nReply-To: c@z\nCc: d@w\nBcc: e@v\nIn-Reply-To: <1@x>\n\n",
     "(NIL NIL ((NIL NIL \"a\" \"x\")) ((NIL NIL \"b\" \"y\")) ((NIL NIL \"c\" \"z\")) NIL ((NIL NIL \"d\" \"w\")) "
     "((NIL NIL \"e\" \"v\")) \"<1@x>\" NIL)"},
    /* Empty is not absent for texts, but for lists. */
    {"Date:\nSubject: \nFrom:\nSender: \nTo: (nobody)\nMessage-ID:\n\n",
     "(\"\" \"\" NIL NIL NIL NIL NIL NIL NIL \"\")"},
    /* Sender empty: From. */
    {"From: a@x\nSender:\n\n",
     "(NIL NIL ((NIL NIL \"a\" \"x\")) ((NIL NIL \"a\" \"x\")) ((NIL NIL \"a\" \"x\")) NIL NIL "
     "NIL NIL NIL)"},
    /* Groups. */
    {"To: undisclosed-recipients:;\nCc: G: a@x, B <b@y>; , c@z\n\n",
     "(NIL NIL NIL NIL NIL ((NIL NIL \"undisclosed-recipients\" NIL)(NIL NIL NIL NIL)) "
     "((NIL NIL \"G\" NIL)(NIL NIL \"a\" \"x\")(\"B\" NIL \"b\" \"y\")(NIL NIL NIL NIL)(NIL NIL \"c\" \"z\")) NIL NIL "
     "NIL)"},
    /* Quoting: quotes and backslashes everywhere, in a Message-ID too. */
    {"Subject: say \"a\\b\"\nFrom: \"A \\\"B\\\" C\" <\"x y\"@z>\nMessage-ID: <\"a\\\"b\"@c>\n\n",
     "(NIL \"say \\\"a\\\\b\\\"\" ((\"A \\\"B\\\" C\" NIL \"x y\" \"z\")) ((\"A \\\"B\\\" C\" NIL \"x y\" \"z\")) "
     "((\"A \\\"B\\\" C\" NIL \"x y\" \"z\")) NIL NIL NIL NIL \"<\\\"a\\\\\\\"b\\\"@c>\")"},
    /* Routes, missing parts. */
    {"To: <@r1,@r2:a@x>, joe, <>, @x\n\n",
     "(NIL NIL NIL NIL NIL ((NIL \"@r1,@r2\" \"a\" \"x\")(NIL NIL \"joe\" \"MISSING_DOMAIN\")"
     "(NIL NIL \"MISSING_MAILBOX\" \"MISSING_DOMAIN\")(NIL NIL \"MISSING_MAILBOX\" \"x\")) NIL NIL NIL NIL)"},
    /* Folding; the first of several texts, all of several lists. */
    {"Subject: a\r\n\tb\r\nSubject: c\r\nTo: a@x,\r\n b@y\r\nTo: c@z\r\n\r\n",
     "(NIL \"a\tb\" NIL NIL NIL ((NIL NIL \"a\" \"x\")(NIL NIL \"b\" \"y\")(NIL NIL \"c\" \"z\")) NIL NIL NIL NIL)"},
    /* Encoded words stay as they are. */
    {"Subject: =?utf-8?q?=C3=A4?=\n\n", "(NIL \"=?utf-8?q?=C3=A4?=\" NIL NIL NIL NIL NIL NIL NIL NIL)"},
};

static void an_envelope_is_as_rfc_3501_says(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROWS(ENVELOPES); i++) {
        struct cq_buf out;
        bool cut = false;
        cq_buf_init(&out, TEST_BUF_MAX);
        envelope(ENVELOPES[i].message, false, MAIL_ENVELOPE_MIN, &out, &cut);
        assert_row_text(i, text_of(&out), ENVELOPES[i].want);
        assert_false(cut);
        cq_buf_reset(&out, SIZE_MAX);
        envelope(ENVELOPES[i].message, true, MAIL_ENVELOPE_MIN, &out, &cut);
        assert_row_text(i, text_of(&out), ENVELOPES[i].want);
        cq_buf_fini(&out);
    }
}

static const struct {
    const char *message, *ascii, *utf8;
} RAW[] = {
    {"Subject: gr\xc3\xbc\xc3\x9f dich\n\n",
     "(NIL \"=?utf-8?Q?gr=C3=BC=C3=9F_dich?=\" NIL NIL NIL NIL NIL NIL NIL NIL)",
     "(NIL \"gr\xc3\xbc\xc3\x9f dich\" NIL NIL NIL NIL NIL NIL NIL NIL)"},
    /* Latin 1 and an encoded word in one text. */
    {"Subject: gr\xfc\xdf =?utf-8?q?=C3=A4?=\n\n", "(NIL \"=?utf-8?B?Z3LDvMOfIMOk?=\" NIL NIL NIL NIL NIL NIL NIL NIL)",
     "(NIL \"gr\xc3\xbc\xc3\x9f =?utf-8?q?=C3=A4?=\" NIL NIL NIL NIL NIL NIL NIL NIL)"},
    {"To: J\xc3\xb6rg Lange <j@x>\n\n",
     "(NIL NIL NIL NIL NIL ((\"=?utf-8?Q?J=C3=B6rg_Lange?=\" NIL \"j\" \"x\")) NIL NIL NIL NIL)",
     "(NIL NIL NIL NIL NIL ((\"J\xc3\xb6rg Lange\" NIL \"j\" \"x\")) NIL NIL NIL NIL)"},
    /* RFC 6858: the address itself is not ASCII. */
    {"To: Jo <j\xc3\xb6@x>\n\n",
     "(NIL NIL NIL NIL NIL ((\"=?utf-8?Q?Jo_j=C3=B6=40x?=\" NIL \"invalid\" \"internationalized-address.invalid\")) "
     "NIL "
     "NIL "
     "NIL NIL)",
     "(NIL NIL NIL NIL NIL ((\"Jo\" NIL \"j\xc3\xb6\" \"x\")) NIL NIL NIL NIL)"},
};

static void raw_8bit_text_is_encoded_unless_the_session_takes_utf8(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROWS(RAW); i++) {
        struct cq_buf out;
        bool cut = false;
        cq_buf_init(&out, TEST_BUF_MAX);
        envelope(RAW[i].message, false, MAIL_ENVELOPE_MIN, &out, &cut);
        assert_row_text(i, text_of(&out), RAW[i].ascii);
        cq_buf_reset(&out, SIZE_MAX);
        envelope(RAW[i].message, true, MAIL_ENVELOPE_MIN, &out, &cut);
        assert_row_text(i, text_of(&out), RAW[i].utf8);
        cq_buf_fini(&out);
    }
}

static const struct {
    const char *message, *bodystructure, *body;
} STRUCTURES[] = {
    {"", "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)",
     "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)"},
    {"Content-Type: TEXT/Html; charset=\"utf-8\"\nContent-Transfer-Encoding: Quoted-Printable\nContent-ID: <1@x>\n"
     "Content-Description: a \"text\"\nContent-MD5: Q2hlY2s=\nContent-Disposition: inline\nContent-Language: en, de\n"
     "Content-Location: http://x/\n\n1\n2\n3",
     "(\"TEXT\" \"Html\" (\"charset\" \"utf-8\") \"<1@x>\" \"a \\\"text\\\"\" \"quoted-printable\" 5 2 \"Q2hlY2s=\" "
     "(\"inline\" NIL) (\"en\" \"de\") \"http://x/\")",
     "(\"TEXT\" \"Html\" (\"charset\" \"utf-8\") \"<1@x>\" \"a \\\"text\\\"\" \"quoted-printable\" 5 2)"},
    {"Content-Type: application/pdf; name=x.pdf\nContent-Disposition: attachment; filename*0=a; filename*1=b\n"
     "Content-Language: en\n\nx",
     "(\"application\" \"pdf\" (\"name\" \"x.pdf\") NIL NIL \"7bit\" 1 NIL (\"attachment\" (\"filename\" \"ab\")) "
     "\"en\" "
     "NIL)",
     "(\"application\" \"pdf\" (\"name\" \"x.pdf\") NIL NIL \"7bit\" 1)"},
    {"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n1\n--b\nContent-Type: image/png\n\n2\n--b--\n",
     "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL)"
     "(\"image\" \"png\" NIL NIL NIL \"7bit\" 1 NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)",
     "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0)(\"image\" \"png\" NIL NIL NIL \"7bit\" 1) "
     "\"mixed\")"},
    {"Content-Type: message/rfc822\n\nSubject: in\n\nbody\n",
     "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 18 (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) "
     "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 5 1 NIL NIL NIL NIL) 3 NIL NIL NIL NIL)",
     "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 18 (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) "
     "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 5 1) 3)"},
    /* Nested: a multipart in a message in a multipart. */
    {"Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: message/rfc822\n\nContent-Type: "
     "multipart/alternative; boundary=i\n\n--i\n\nx\n--i--\n--o--\n",
     "((\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 61 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ((\"text\" \"plain\" "
     "(\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL) \"alternative\" (\"boundary\" \"i\") NIL NIL "
     "NIL) "
     "5 NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"o\") NIL NIL NIL)",
     "((\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 61 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ((\"text\" \"plain\" "
     "(\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0) \"alternative\") 5) \"mixed\")"},
    /* A multipart whose boundary never comes, one without a boundary; an unknown encoding; a broken disposition. */
    {"Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: x-uu\nContent-Disposition: \n\nx",
     "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"x-uu\" 1 0 NIL NIL NIL NIL)",
     "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"x-uu\" 1 0)"},
};

static void a_bodystructure_is_as_rfc_3501_says_and_body_is_it_without_extensions(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROWS(STRUCTURES); i++) {
        struct mail_index *ix = index_of(cq_slice_cstr(STRUCTURES[i].message));
        struct cq_buf out, cuts, body;
        cq_buf_init(&out, TEST_BUF_MAX);
        cq_buf_init(&cuts, TEST_BUF_MAX);
        cq_buf_init(&body, TEST_BUF_MAX);
        assert_true(mail_render_structure(ix, false, &out, &cuts));
        assert_row_text(i, text_of(&out), STRUCTURES[i].bodystructure);
        struct mail_summary s = {.structure = cq_buf_slice(&out), .cuts = cq_buf_slice(&cuts)};
        mail_summary_body(&s, false, &body);
        assert_row_text(i, text_of(&body), STRUCTURES[i].body);
        cq_buf_fini(&out);
        cq_buf_fini(&cuts);
        cq_buf_fini(&body);
        mail_index_free(&ix);
    }
}

static const struct {
    const char *message, *ascii, *utf8;
} RAW_PARAMS[] = {
    {"Content-Type: a/b; name=\"h\xc3\xa4\"\nContent-Description: \xc3\xa4\n\n",
     "(\"a\" \"b\" (\"name*\" \"utf-8''h%C3%A4\") NIL \"=?utf-8?B?w6Q=?=\" \"7bit\" 0 NIL NIL NIL NIL)",
     "(\"a\" \"b\" (\"name\" \"h\xc3\xa4\") NIL \"\xc3\xa4\" \"7bit\" 0 NIL NIL NIL NIL)"},
    {"Content-Type: a/b; name*=iso-8859-1''\xe4\n\n",
     "(\"a\" \"b\" (\"name*\" \"iso-8859-1''%E4\") NIL NIL \"7bit\" 0 NIL NIL NIL NIL)",
     "(\"a\" \"b\" (\"name*\" \"iso-8859-1''\xc3\xa4\") NIL NIL \"7bit\" 0 NIL NIL NIL NIL)"},
    {"Content-Type: message/global\n\n\n",
     "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 1 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) "
     "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL) 1 NIL NIL NIL NIL)",
     "(\"message\" \"global\" NIL NIL NIL \"7bit\" 1 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) "
     "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL) 1 NIL NIL NIL NIL)"},
};

static void raw_8bit_parameters_are_encoded_by_rfc_2231(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROWS(RAW_PARAMS); i++) {
        struct mail_index *ix = index_of(cq_slice_cstr(RAW_PARAMS[i].message));
        struct cq_buf out, cuts;
        cq_buf_init(&out, TEST_BUF_MAX);
        cq_buf_init(&cuts, TEST_BUF_MAX);
        assert_true(mail_render_structure(ix, false, &out, &cuts));
        assert_row_text(i, text_of(&out), RAW_PARAMS[i].ascii);
        cq_buf_reset(&out, SIZE_MAX);
        cq_buf_reset(&cuts, SIZE_MAX);
        assert_true(mail_render_structure(ix, true, &out, &cuts));
        assert_row_text(i, text_of(&out), RAW_PARAMS[i].utf8);
        cq_buf_fini(&out);
        cq_buf_fini(&cuts);
        mail_index_free(&ix);
    }
}

static void a_string_is_quoted_when_it_can_be_and_a_literal_otherwise(void **state)
{
    (void)state;
    const struct {
        struct cq_slice text;
        const char *ascii, *utf8;
    } cases[] = {
        {CQ_SLICE(""), "\"\"", "\"\""},
        {CQ_SLICE("a"), "\"a\"", "\"a\""},
        {CQ_SLICE("a\"\\"), "\"a\\\"\\\\\"", "\"a\\\"\\\\\""},
        {CQ_SLICE("a\rb"), "{3}\r\na\rb", "{3}\r\na\rb"},
        {CQ_SLICE("a\nb"), "{3}\r\na\nb", "{3}\r\na\nb"},
        {CQ_SLICE("\xc3\xa4"), "{2}\r\n\xc3\xa4", "\"\xc3\xa4\""},
        {CQ_SLICE("\xe4"), "{1}\r\n\xe4", "{1}\r\n\xe4"},
        {CQ_SLICE("a\0b"), "\"ab\"", "\"ab\""},
        {CQ_SLICE("\0a\n\0b\0"), "{3}\r\na\nb", "{3}\r\na\nb"},
    };
    for (unsigned i = 0; i < ROWS(cases); i++) {
        struct cq_buf out;
        cq_buf_init(&out, 1000);
        mail_imap_string(cases[i].text, &out);
        assert_row_text(i, text_of(&out), cases[i].ascii);
        cq_buf_reset(&out, 1000);
        mail_imap_utf8_string(cases[i].text, &out);
        assert_row_text(i, text_of(&out), cases[i].utf8);
        cq_buf_fini(&out);
    }
}

static void a_long_string_is_a_literal(void **state)
{
    (void)state;
    char text[MAIL_QUOTED_MAX + 1];
    struct cq_buf out;
    cq_buf_init(&out, 10000);
    memset(text, 'x', sizeof text);
    mail_imap_string(cq_slice_of(text, MAIL_QUOTED_MAX), &out);
    assert_int_equal(out.data[0], '"');
    cq_buf_reset(&out, 10000);
    mail_imap_string(cq_slice_of(text, MAIL_QUOTED_MAX + 1), &out);
    assert_memory_equal(out.data, "{1001}\r\nx", 9);
    cq_buf_fini(&out);
}

/* Headers that would make a huge ENVELOPE. */
static void an_envelope_never_passes_its_limit(void **state)
{
    (void)state;
    const char *patterns[] = {"a@x,", "\xc3\xa4", "\"", "\xe4@\xe4,", "=?utf-8?q?a?=\xe4 ", "a <b@c>,", "\\", "G:a@b;"};
    const char *names[] = {"Date", "Subject", "From", "To", "In-Reply-To", "Message-ID"};
    for (unsigned i = 0; i < ROWS(patterns); i++) {
        struct cq_buf m;
        cq_buf_init(&m, TEST_BUF_MAX);
        for (unsigned k = 0; k < ROWS(names); k++) {
            cq_buf_printf(&m, "%s: ", names[k]);
            for (size_t n = m.len; m.len < n + 50000;)
                cq_buf_cstr(&m, patterns[i]);
            cq_buf_byte(&m, '\n');
        }
        struct mail_index *ix = index_of(cq_buf_slice(&m));
        for (size_t max = MAIL_ENVELOPE_MIN; max <= 65536; max *= 4) {
            for (int utf8 = 0; utf8 < 2; utf8++) {
                struct cq_buf out;
                bool cut = false;
                cq_buf_init(&out, max); /* an overflow would be seen */
                mail_render_envelope(ix, mail_index_part(ix, 0), utf8, max, &out, &cut);
                assert_true(cq_buf_ok(&out));
                assert_true(cut);
                assert_int_equal(out.data[out.len - 1], ')');
                cq_buf_fini(&out);
            }
        }
        mail_index_free(&ix);
        cq_buf_fini(&m);
    }
}

static void a_structure_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct mail_index *ix = index_of(cq_slice_cstr(STRUCTURES[5].message));
    for (size_t max = 0; max < 300; max++) {
        struct cq_buf out, cuts;
        cq_buf_init(&out, max);
        cq_buf_init(&cuts, 1000);
        assert_int_equal(mail_render_structure(ix, false, &out, &cuts), max >= strlen(STRUCTURES[5].bodystructure));
        cq_buf_fini(&out);
        cq_buf_fini(&cuts);
    }
    mail_index_free(&ix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_envelope_is_as_rfc_3501_says),
        cmocka_unit_test(raw_8bit_text_is_encoded_unless_the_session_takes_utf8),
        cmocka_unit_test(a_bodystructure_is_as_rfc_3501_says_and_body_is_it_without_extensions),
        cmocka_unit_test(raw_8bit_parameters_are_encoded_by_rfc_2231),
        cmocka_unit_test(a_string_is_quoted_when_it_can_be_and_a_literal_otherwise),
        cmocka_unit_test(a_long_string_is_a_literal),
        cmocka_unit_test(an_envelope_never_passes_its_limit),
        cmocka_unit_test(a_structure_that_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
