#include "smtp/smtp_command.h"

#include "unit/cq_cmocka.h"

static struct cq_pool *pool;

static void lines_end_where_they_should(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        size_t len, max;
        enum cq_rc rc;
        const char *line;
        size_t used;
    } cases[] = {
        {"NOOP\r\nQUIT\r\n", 12, 100, CQ_OK, "NOOP", 6},
        {"NOOP\nQUIT", 9, 100, CQ_OK, "NOOP", 5},
        {"NOOP", 4, 100, CQ_E_AGAIN, NULL, 0},
        {"", 0, 100, CQ_E_AGAIN, NULL, 0},
        {"1234\r\n", 6, 6, CQ_OK, "1234", 6},
        {"12345\r\n", 7, 6, CQ_E_LIMIT, NULL, 0},
        {"123456", 6, 6, CQ_E_LIMIT, NULL, 0},
        {"a\0b\r\n", 5, 100, CQ_E_PROTO, "", 5},
        {"a\rb\r\n", 5, 100, CQ_E_PROTO, "", 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cq_slice line;
        size_t used = 0;
        assert_int_equal(smtp_line(cq_slice_of(cases[i].in, cases[i].len), cases[i].max, &line, &used), cases[i].rc);
        assert_int_equal(used, cases[i].used);
        if (cases[i].rc == CQ_OK)
            assert_slice(line, cases[i].line);
    }
}

static void mail_parameters_are_known_or_named(void **state)
{
    (void)state;
    static const struct {
        const char *rest;
        enum smtp_parse result;
        const char *param;
    } cases[] = {
        {"FROM:<a@b>", SMTP_PARSE_OK, ""},
        {"from: <a@b>", SMTP_PARSE_OK, ""},
        {"FROM:<>", SMTP_PARSE_OK, ""},
        {"FROM:<a@b> SIZE=1000 BODY=8BITMIME SMTPUTF8", SMTP_PARSE_OK, ""},
        {"FROM:<a@b> size=99999999999999999999", SMTP_PARSE_OK, ""},
        {"FROM:<a@b> AUTH=<>", SMTP_PARSE_OK, ""},
        {"FROM:<a@b> SIZE=", SMTP_PARSE_PARAM, "SIZE"},
        {"FROM:<a@b> SIZE=1 SIZE=2", SMTP_PARSE_PARAM, "SIZE"},
        {"FROM:<a@b> SIZE=-1", SMTP_PARSE_PARAM, "SIZE"},
        {"FROM:<a@b> BODY=BINARYMIME", SMTP_PARSE_PARAM, "BODY"},
        {"FROM:<a@b> FOO=1", SMTP_PARSE_PARAM, "FOO"},
        {"FROM:<a@b>SIZE=1", SMTP_PARSE_SYNTAX, ""},
        {"FROM:a@b", SMTP_PARSE_SYNTAX, ""},
        {"TO:<a@b>", SMTP_PARSE_SYNTAX, ""},
        {"FROM:<a@@b>", SMTP_PARSE_ADDRESS, ""},
        {"", SMTP_PARSE_SYNTAX, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct smtp_mail mail;
        struct cq_slice param;
        assert_int_equal(smtp_parse_mail(cq_slice_cstr(cases[i].rest), pool, &mail, &param), cases[i].result);
        assert_slice(param, cases[i].param);
    }
    struct smtp_mail mail;
    struct cq_slice param;
    assert_int_equal(smtp_parse_mail(CQ_SLICE("FROM:<a@b> size=99999999999999999999"), pool, &mail, &param),
                     SMTP_PARSE_OK);
    assert_int_equal(mail.size, UINT64_MAX);
}

static void recipients_have_no_parameters_and_are_never_null(void **state)
{
    (void)state;
    struct smtp_rcpt rcpt;
    struct cq_slice param;
    assert_int_equal(smtp_parse_rcpt(CQ_SLICE("TO:<a@b>"), pool, &rcpt, &param), SMTP_PARSE_OK);
    assert_int_equal(smtp_parse_rcpt(CQ_SLICE("TO:<>"), pool, &rcpt, &param), SMTP_PARSE_ADDRESS);
    assert_int_equal(smtp_parse_rcpt(CQ_SLICE("TO:<a@b> NOTIFY=NEVER"), pool, &rcpt, &param), SMTP_PARSE_PARAM);
    assert_slice(param, "NOTIFY");
}

static void verbs_are_split_from_what_follows(void **state)
{
    (void)state;
    struct cq_slice verb, rest;
    smtp_split(CQ_SLICE("  MAIL   FROM:<a@b>  "), &verb, &rest);
    assert_slice(verb, "MAIL");
    assert_slice(rest, "FROM:<a@b>");
    smtp_split(CQ_SLICE("QUIT"), &verb, &rest);
    assert_slice(verb, "QUIT");
    assert_slice(rest, "");
    smtp_split(CQ_SLICE(""), &verb, &rest);
    assert_slice(verb, "");
}

static int setup(void **state)
{
    (void)state;
    pool = cq_pool_new(1024);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cq_pool_free(&pool);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_end_where_they_should),
        cmocka_unit_test(mail_parameters_are_known_or_named),
        cmocka_unit_test(recipients_have_no_parameters_and_are_never_null),
        cmocka_unit_test(verbs_are_split_from_what_follows),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
