#include "mail/mail_param.h"

#include "unit/mail/mail_test.h"

static const struct {
    const char *value, *want; /* type/subtype then joined parameters */
} CASES[] = {
    {"text/plain", "text/plain"},
    {" Text / HTML ; charset = utf-8", "Text/HTML charset=[utf-8]"},
    {"text/plain; charset=\"utf-8\"; format=flowed", "text/plain charset=[utf-8] format=[flowed]"},
    {"text/plain; charset=us-ascii (Plain text)", "text/plain charset=[us-ascii]"},
    {"text/plain (c); (d) charset (e) = (f) us-ascii", "text/plain charset=[us-ascii]"},
    {"text/plain; name=a b.pdf; x=y z", "text/plain name=[a b.pdf] x=[y]"},
    {"text/plain; name=\"a\\\"b\\\\c;d\"", "text/plain name=[a\"b\\c;d]"},
    {"text/plain; name=\"never closed", "text/plain name=[never closed]"},
    {"text/plain; name=\"backslash\\", "text/plain name=[backslash\\]"},
    {"text/plain;;; ; a=1;", "text/plain a=[1]"},
    {"text/plain; novalue; a=1", "text/plain a=[1]"},
    {"text/plain; =1; a=1", "text/plain a=[1]"},
    {"text/plain a=1; b=2", "text/plain b=[2]"},
    {"text/plain; a=1; A=2", "text/plain a=[1]"},
    {"text/plain; a=", "text/plain a=[]"},
    {"text", "/"},
    {"text/", "/"},
    {"/plain", "/"},
    {"", "/"},
    {";a=b", "/ a=[b]"},
    {"text/plain; a=\"x\r\n y\"", "text/plain a=[x y]"},
    {"a/b/c; d=e", "a/b d=[e]"},
    {"a/b; filename*=utf-8'en'%C3%A4", "a/b filename*=[utf-8'en'%C3%A4]"},
    {"a/b; filename*0=one; filename*1=\" two\"", "a/b filename=[one two]"},
    {"a/b; filename*1=two; filename*0=one;", "a/b filename=[onetwo]"},
    {"a/b; filename*0*=utf-8''%C3; filename*1*=%A4; filename*2=\" x\"", "a/b filename*=[utf-8''%C3%A4%20x]"},
    {"a/b; filename*0=a; filename*1*=%C3%A4", "a/b filename*=[''a%C3%A4]"},
    {"a/b; filename*0=a; filename*2=c", "a/b filename=[a]"},
    {"a/b; filename*1=b", "a/b filename*1=[b]"},
    {"a/b; filename=plain; filename*=utf-8''ext", "a/b filename=[plain] filename*=[utf-8''ext]"},
    {"a/b; x*y=1", "a/b x*y=[1]"},
    {"a/b; x**=1", "a/b x**=[1]"},
    {"a/b; *=1", "a/b *=[1]"},
};

static void show(struct cq_slice value, struct cq_buf *out)
{
    struct cq_pool *pool = cq_pool_new(100);
    struct mail_params params;
    uint32_t count;
    mail_params_parse(value, true, 100, pool, &params);
    cq_buf_printf(out, "%.*s/%.*s", CQ_SLICE_ARG(params.type), CQ_SLICE_ARG(params.subtype));
    struct mail_joined_param *list = mail_params_join(&params, pool, &count);
    for (uint32_t i = 0; i < count; i++)
        cq_buf_printf(out, " %.*s=[%.*s]", CQ_SLICE_ARG(list[i].name), CQ_SLICE_ARG(list[i].value));
    cq_pool_free(&pool);
}

static void parameters_are_parsed_and_joined(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROWS(CASES); i++) {
        struct cq_buf out;
        struct cq_slice value = cq_slice_cstr(CASES[i].value);
        char *copy = malloc(value.len ? value.len : 1);
        memcpy(copy, value.data, value.len);
        cq_buf_init(&out, 10000);
        show(cq_slice_of(copy, value.len), &out);
        assert_row_text(i, text_of(&out), CASES[i].want);
        cq_buf_fini(&out);
        free(copy);
    }
}

static const struct {
    const char *value, *name, *want; /* NULL: there is none */
} GET[] = {
    {"a/b; filename=x", "filename", "x"},
    {"a/b; FileName=x", "filename", "x"},
    {"a/b; filename=x", "name", NULL},
    {"a/b; filename*=utf-8''%C3%A4", "filename", "\xc3\xa4"},
    {"a/b; filename*=iso-8859-1'de'%E4", "filename", "\xc3\xa4"},
    {"a/b; filename*=%E4", "filename", "\xc3\xa4"},
    {"a/b; filename*=no-such''%E4", "filename", "\xc3\xa4"},
    {"a/b; filename*0*=utf-8''%C3; filename*1*=%A4x", "filename", "\xc3\xa4x"},
    {"a/b; filename=plain; filename*=utf-8''ext", "filename", "ext"},
    {"a/b; filename=\"=?utf-8?q?=C3=A4?=\"", "filename", "\xc3\xa4"},
    {"a/b; filename=\"\xc3\xa4\"", "filename", "\xc3\xa4"},
    {"a/b; filename*0=a; filename*1=b", "filename", "ab"},
    {"a/b; filename*=utf-8''%zz%4", "filename", "%zz%4"},
};

static void a_value_is_decoded_by_rfc_2231_or_rfc_2047(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROWS(GET); i++) {
        struct cq_pool *pool = cq_pool_new(100);
        struct mail_params params;
        struct cq_buf out;
        cq_buf_init(&out, 10000);
        mail_params_parse(cq_slice_cstr(GET[i].value), true, 100, pool, &params);
        assert_int_equal(mail_params_get(&params, cq_slice_cstr(GET[i].name), &out), GET[i].want != NULL);
        assert_row_text(i, text_of(&out), GET[i].want ? GET[i].want : "");
        cq_buf_fini(&out);
        cq_pool_free(&pool);
    }
}

static void parameters_over_the_limit_are_left_out(void **state)
{
    (void)state;
    for (unsigned n = 99; n <= 101; n++) {
        struct cq_pool *pool = cq_pool_new(100);
        struct mail_params params;
        struct cq_buf in;
        cq_buf_init(&in, TEST_BUF_MAX);
        cq_buf_cstr(&in, "a/b");
        for (unsigned i = 0; i < n; i++)
            cq_buf_printf(&in, "; p*%u=x", i);
        mail_params_parse(cq_buf_slice(&in), true, 100, pool, &params);
        assert_int_equal(params.count, n < 100 ? n : 100);
        assert_int_equal(params.cut, n > 100);
        cq_buf_fini(&in);
        cq_pool_free(&pool);
    }
}

static void a_flood_of_parameters_takes_linear_time(void **state)
{
    (void)state;
    const char *patterns[] = {";", "; a*0*=x", "; \"", ";(", "; a=\"\\\"", "; a=b (", ";=\"\""};
    for (unsigned i = 0; i < ROWS(patterns); i++) {
        struct cq_buf in, out;
        cq_buf_init(&in, TEST_BUF_MAX);
        cq_buf_init(&out, TEST_BUF_MAX);
        cq_buf_cstr(&in, "a/b");
        while (in.len < (1u << 20))
            cq_buf_cstr(&in, patterns[i]);
        show(cq_buf_slice(&in), &out);
        cq_buf_fini(&in);
        cq_buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_parsed_and_joined),
        cmocka_unit_test(a_value_is_decoded_by_rfc_2231_or_rfc_2047),
        cmocka_unit_test(parameters_over_the_limit_are_left_out),
        cmocka_unit_test(a_flood_of_parameters_takes_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
