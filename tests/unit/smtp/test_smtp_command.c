#include "smtp/smtp_command.h"

#include "unit/cq_cmocka.h"

static struct cq_pool *pool;

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
        cmocka_unit_test(mail_parameters_are_known_or_named),
        cmocka_unit_test(recipients_have_no_parameters_and_are_never_null),
        cmocka_unit_test(verbs_are_split_from_what_follows),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
