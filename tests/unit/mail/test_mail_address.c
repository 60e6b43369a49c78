#include "mail/mail_address.h"

#include "unit/mail/mail_test.h"

/* Shows addresses as name|route|local|domain, groups as {name ... }. */
static void show(struct cq_slice value, struct cq_buf *out)
{
    struct mail_address_parser p;
    struct mail_address a;
    mail_address_parser_init(&p, value);
    while (mail_address_next(&p, &a)) {
        if (out->len)
            cq_buf_byte(out, ' ');
        if (a.kind == MAIL_ADDRESS_GROUP_START)
            cq_buf_printf(out, "{%.*s", CQ_SLICE_ARG(a.name));
        else if (a.kind == MAIL_ADDRESS_GROUP_END)
            cq_buf_byte(out, '}');
        else
            cq_buf_printf(out, "(%.*s|%.*s|%.*s|%.*s)", CQ_SLICE_ARG(a.name), CQ_SLICE_ARG(a.route),
                          CQ_SLICE_ARG(a.local), CQ_SLICE_ARG(a.domain));
    }
    mail_address_parser_fini(&p);
}

static const struct {
    const char *value, *want;
} CASES[] = {
    {"", ""},
    {"joe@example.test", "(||joe|example.test)"},
    {"<joe@example.test>", "(||joe|example.test)"},
    {"Joe Doe <joe@example.test>", "(Joe Doe||joe|example.test)"},
    {"\"Doe, Joe\" <joe@example.test>", "(Doe, Joe||joe|example.test)"},
    {"\"Joe \\\"X\\\" Doe\" <joe@example.test>", "(Joe \"X\" Doe||joe|example.test)"},
    {"joe@example.test (Joe Doe)", "(Joe Doe||joe|example.test)"},
    {"(hidden) joe@example.test", "(hidden||joe|example.test)"},
    {"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "(Pete||pete|silly.test)"},
    {"John Q. Public <j.q@example.test>", "(John Q. Public||j.q|example.test)"},
    {"a@x, b@y", "(||a|x) (||b|y)"},
    {"a@x; b@y", "(||a|x) (||b|y)"},
    {"a@x b@y", "(||a|x) (||b|y)"},
    {"a@x,, ,b@y,", "(||a|x) (||b|y)"},
    {"<a@x> <b@y>", "(||a|x) (||b|y)"},
    {"Group: a@x, B <b@y>;", "{Group (||a|x) (B||b|y) }"},
    {"undisclosed-recipients:;", "{undisclosed-recipients }"},
    {"A Group(Some people):Chris Jones <c@(Chris's host.)public.test>, joe@example.test;",
     "{A Group (Chris Jones||c|public.test) (||joe|example.test) }"},
    {"G: a@x", "{G (||a|x) }"}, /* never closed */
    {"G: a@x; b@y", "{G (||a|x) } (||b|y)"},
    {"<@r1.test,@r2.test:joe@example.test>", "(|@r1.test,@r2.test|joe|example.test)"},
    {"<@r1.test:joe@example.test>", "(|@r1.test|joe|example.test)"},
    {"\"joe doe\"@example.test", "(||joe doe|example.test)"},
    {"\"a@b\"@example.test", "(||a@b|example.test)"},
    {"joe . doe @ example . test", "(||joe.doe|example.test)"},
    {"Joe joe@example.test", "(Joe||joe|example.test)"},
    {"joe@[192.0.2.1]", "(||joe|[192.0.2.1])"},
    {"joe@example.test <joe@example.test>", "(joe@example.test||joe|example.test)"},
    {"joe", "(||joe|)"},
    {"Joe Doe", "(||Joe Doe|)"},
    {"<>", "(|||)"},
    {"<joe>", "(||joe|)"},
    {"joe@", "(||joe|)"},
    {"@example.test", "(|||example.test)"},
    {"a@b@c", "(||a@b|c)"},
    {"Joe <joe@example.test", "(Joe||joe|example.test)"},
    {"Joe <joe@example.test, bob@example.test", "(Joe||joe|example.test) (||bob|example.test)"},
    {"=?utf-8?Q?Doe,_Joe?= <joe@example.test>", "(=?utf-8?Q?Doe,_Joe?=||joe|example.test)"},
    {"J\xc3\xb6 <j@x>", "(J\xc3\xb6||j|x)"},
    {"Joe\r\n Doe\r\n <joe@example.test>", "(Joe Doe||joe|example.test)"},
    {"\"Joe\r\n Doe\" <joe@example.test>", "(Joe Doe||joe|example.test)"},
    {"Joe \"Doe\" <j@x>", "(Joe Doe||j|x)"},
    {"(unclosed", ""},
    {"(ends in a backslash\\", ""},
    {"joe@x (\\", "(\\||joe|x)"},
    {"\"ends in a backslash\\", "(||ends in a backslash\\|)"},
    {"joe\\", "(||joe|)"},
    {"<joe@x\\", "(||joe|x)"},
    {"(((((deep)))))a@x", "(((((deep))))||a|x)"},
    {"Joe <joe@sub ample.test>, b@y", "(Joe||joe|sub) (||b|y)"},
    {"<joe@[192.0.2.1>, b@y", "(||joe|[192.0.2.1) (||b|y)"},
    {"<<a@x>>", "(|||) (||a|x)"},
    {":;:;", "{ } { }"},
};

static void every_construct_gives_its_addresses(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROWS(CASES); i++) {
        struct cq_buf out;
        /* An exact copy on the heap, so that a sanitizer sees a read past the end. */
        struct cq_slice value = cq_slice_cstr(CASES[i].value);
        char *copy = malloc(value.len ? value.len : 1);
        memcpy(copy, value.data, value.len);
        cq_buf_init(&out, TEST_BUF_MAX);
        show(cq_slice_of(copy, value.len), &out);
        assert_row_text(i, text_of(&out), CASES[i].want);
        cq_buf_fini(&out);
        free(copy);
    }
}

static void hostile_nesting_is_linear_and_iterative(void **state)
{
    (void)state;
    const char *patterns[] = {"(", "<", "\"", "@", ":", ";", ",", "=?a?q?x", "a ", "\\", "a@b ", "<a", "((\\"};
    for (unsigned i = 0; i < ROWS(patterns); i++) {
        struct cq_buf in, out;
        cq_buf_init(&in, TEST_BUF_MAX);
        cq_buf_init(&out, TEST_BUF_MAX);
        while (in.len < (1u << 20))
            cq_buf_cstr(&in, patterns[i]);
        show(cq_buf_slice(&in), &out); /* a quadratic parser would not end within the test's time */
        cq_buf_fini(&in);
        cq_buf_fini(&out);
    }
}

static void an_address_is_written_so_that_it_parses_to_itself(void **state)
{
    (void)state;
    const struct {
        const char *local, *domain, *want;
    } cases[] = {
        {"joe", "example.test", "joe@example.test"},
        {"joe.doe", "x", "joe.doe@x"},
        {"joe doe", "x", "\"joe doe\"@x"},
        {"a\"b\\c", "x", "\"a\\\"b\\\\c\"@x"},
        {".joe", "x", "\".joe\"@x"},
        {"joe..doe", "x", "\"joe..doe\"@x"},
        {"", "x", "\"\"@x"},
        {"joe", "", "joe"},
    };
    for (unsigned i = 0; i < ROWS(cases); i++) {
        struct cq_buf out;
        struct mail_address a = {.local = cq_slice_cstr(cases[i].local), .domain = cq_slice_cstr(cases[i].domain)};
        cq_buf_init(&out, 1000);
        mail_address_write(&a, &out);
        assert_row_text(i, text_of(&out), cases[i].want);
        cq_buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_construct_gives_its_addresses),
        cmocka_unit_test(hostile_nesting_is_linear_and_iterative),
        cmocka_unit_test(an_address_is_written_so_that_it_parses_to_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
