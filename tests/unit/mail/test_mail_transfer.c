#include "mail/mail_transfer.h"

#include "unit/mail/mail_test.h"

static const struct {
    enum mail_encoding encoding;
    const char *in, *want;
} CASES[] = {
    {MAIL_ENCODING_7BIT, "a=41 \r\n", "a=41 \r\n"},
    {MAIL_ENCODING_OTHER, "a=41", "a=41"},
    {MAIL_ENCODING_QP, "", ""},
    {MAIL_ENCODING_QP, "a=3Db=3dc", "a=b=c"},
    {MAIL_ENCODING_QP, "soft=\r\n break=\nhere", "soft breakhere"},
    {MAIL_ENCODING_QP, "soft= \t\r\nbreak", "softbreak"},
    {MAIL_ENCODING_QP, "blanks \t \r\nat the end \n", "blanks\r\nat the end\n"},
    {MAIL_ENCODING_QP, "inner \t blanks", "inner \t blanks"},
    {MAIL_ENCODING_QP, "the end  ", "the end"},
    {MAIL_ENCODING_QP, "no code =zz =4", "no code =zz =4"},
    {MAIL_ENCODING_QP, "no code =4z", "no code =4z"},
    {MAIL_ENCODING_QP, "ends in =", "ends in "},
    {MAIL_ENCODING_QP, "equals twice ==41", "equals twice =A"},
    {MAIL_ENCODING_QP, "= x", "= x"},
    {MAIL_ENCODING_QP, "=\rx", "=\rx"},
    {MAIL_ENCODING_QP, "a\rb \r \r\nc", "a\rb \r\r\nc"},
    {MAIL_ENCODING_QP, "=0D=0A", "\r\n"},
    {MAIL_ENCODING_BASE64, "", ""},
    {MAIL_ENCODING_BASE64, "aGVsbG8=", "hello"},
    {MAIL_ENCODING_BASE64, "aGVs\r\nbG8=\r\n", "hello"},
    {MAIL_ENCODING_BASE64, "aGVsbG8", "hello"},
    {MAIL_ENCODING_BASE64, "a-G*V s b!G8=", "hello"},
    {MAIL_ENCODING_BASE64, "aGk=aGk=", "hihi"},
    {MAIL_ENCODING_BASE64, "aGVsbG8gdGhlcmU=", "hello there"},
    {MAIL_ENCODING_BASE64, "a", ""},
    {MAIL_ENCODING_BASE64, "====", ""},
};

static void decode(enum mail_encoding encoding, struct cq_slice in, size_t step, struct cq_buf *out)
{
    struct mail_transfer t;
    mail_transfer_init(&t, encoding);
    for (; in.len; in = cq_slice_skip(in, step))
        mail_transfer_decode(&t, cq_slice_sub(in, 0, step), out);
    mail_transfer_finish(&t, out);
}

static void every_encoding_is_decoded_however_it_is_cut(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROWS(CASES); i++) {
        for (size_t step = 1; step < 30; step++) {
            struct cq_buf out;
            cq_buf_init(&out, TEST_BUF_MAX);
            decode(CASES[i].encoding, cq_slice_cstr(CASES[i].in), step, &out);
            assert_row_text(i, text_of(&out), CASES[i].want);
            cq_buf_fini(&out);
        }
    }
}

static void blanks_past_the_limit_are_kept(void **state)
{
    (void)state;
    for (int n = MAIL_TRANSFER_PENDING_MAX - 1; n <= MAIL_TRANSFER_PENDING_MAX + 1; n++) {
        struct cq_buf in, out;
        cq_buf_init(&in, TEST_BUF_MAX);
        cq_buf_init(&out, TEST_BUF_MAX);
        cq_buf_printf(&in, "a%*s\n=%*sb", n, "", n, "");
        decode(MAIL_ENCODING_QP, cq_buf_slice(&in), 1, &out);
        size_t kept = n > MAIL_TRANSFER_PENDING_MAX ? MAIL_TRANSFER_PENDING_MAX : 0;
        assert_int_equal(out.len, 1 + kept + 1 + 1 + (size_t)n + 1);
        cq_buf_fini(&in);
        cq_buf_fini(&out);
    }
}

static void an_encoding_is_known_by_its_token(void **state)
{
    (void)state;
    const struct {
        const char *value;
        enum mail_encoding want;
    } cases[] = {
        {"", MAIL_ENCODING_7BIT},         {" Base64 ", MAIL_ENCODING_BASE64},   {"QUOTED-PRINTABLE;", MAIL_ENCODING_QP},
        {"(c) 8bit", MAIL_ENCODING_8BIT}, {"binary (x)", MAIL_ENCODING_BINARY}, {"x-uuencode", MAIL_ENCODING_OTHER},
        {"7bit", MAIL_ENCODING_7BIT},     {"base 64", MAIL_ENCODING_OTHER},     {"(", MAIL_ENCODING_7BIT},
    };
    for (unsigned i = 0; i < ROWS(cases); i++)
        assert_int_equal(mail_encoding_of(cq_slice_cstr(cases[i].value)), cases[i].want);
}

static void base64_is_written_in_lines(void **state)
{
    (void)state;
    struct cq_buf out;
    cq_buf_init(&out, 1000);
    mail_base64_write(CQ_SLICE("hello there"), 0, &out);
    cq_buf_byte(&out, '|');
    mail_base64_write(CQ_SLICE("hello there"), 8, &out);
    cq_buf_byte(&out, '|');
    mail_base64_write(CQ_SLICE("hell"), 8, &out);
    assert_row_text(0, text_of(&out), "aGVsbG8gdGhlcmU=|aGVsbG8g\r\ndGhlcmU=\r\n|aGVsbA==\r\n");
    cq_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_encoding_is_decoded_however_it_is_cut),
        cmocka_unit_test(blanks_past_the_limit_are_kept),
        cmocka_unit_test(an_encoding_is_known_by_its_token),
        cmocka_unit_test(base64_is_written_in_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
