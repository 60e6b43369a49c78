#include "imap/imap_response.h"

#include "unit/cq_cmocka.h"

#include "imap/imap_write.h"

static int setup(void **state)
{
    *state = cq_pool_new(4096);
    return 0;
}

static int teardown(void **state)
{
    struct cq_pool *pool = *state;
    cq_pool_free(&pool);
    return 0;
}

static struct imap_response parse(struct cq_pool *pool, const char *text)
{
    struct imap_response r;
    struct cq_err err;
    if (imap_response_parse(cq_slice_cstr(text), pool, &r, &err) != CQ_OK)
        fail_msg("%s: %s", text, err.text);
    return r;
}

static void statuses_have_codes_and_text(void **state)
{
    struct imap_response r = parse(*state, "a1 NO [TRYCREATE] No such mailbox");
    assert_int_equal(r.kind, IMAP_TAGGED);
    assert_slice(r.tag, "a1");
    assert_int_equal(r.status, IMAP_NO);
    assert_slice(r.code, "TRYCREATE");
    assert_slice(r.text, "No such mailbox");
    r = parse(*state, "* OK [PERMANENTFLAGS (\\Seen \\*)] Limited");
    assert_int_equal(r.kind, IMAP_UNTAGGED);
    assert_slice(r.code, "PERMANENTFLAGS (\\Seen \\*)");
    r = parse(*state, "+ idling");
    assert_int_equal(r.kind, IMAP_CONTINUATION);
    assert_slice(r.text, "idling");
    assert_int_equal(parse(*state, "* BYE").status, IMAP_BYE);
}

static void data_has_numbers_and_values(void **state)
{
    struct imap_response r = parse(*state, "* 172 EXISTS");
    assert_true(r.has_number);
    assert_int_equal(r.number, 172);
    assert_slice(r.name, "EXISTS");
    r = parse(*state, "* LIST (\\HasNoChildren) \"/\" {3}\r\na\"b");
    assert_int_equal(r.value_count, 4);
    assert_int_equal(r.values[0].count, 1);
    assert_int_equal(r.values[0].total, 2);
    assert_slice(r.values[2].text, "/");
    assert_slice(r.values[3].text, "a\"b");
}

static void fetch_items_are_found_by_name(void **state)
{
    struct imap_response r =
        parse(*state, "* 12 FETCH (FLAGS (\\Seen) BODY[HEADER.FIELDS (DATE \"A]\")]<0> {4}\r\nab)c UID 5 BODY NIL)");
    const struct imap_value *list = &r.values[0];
    assert_slice(imap_value_lookup(list, "BODY[HEADER.FIELDS (DATE \"A]\")]<0>")->text, "ab)c");
    assert_slice(imap_value_lookup(list, "UID")->text, "5");
    assert_int_equal(imap_value_lookup(list, "BODY")->type, IMAP_NIL);
    assert_null(imap_value_lookup(list, "ENVELOPE"));
    assert_slice(imap_value_member(imap_value_member(list, 1), 0)->text, "\\Seen");
    assert_null(imap_value_member(list, 8));
}

static void lists_may_touch_each_other(void **state)
{
    struct imap_response r = parse(*state, "* 1 FETCH (BODY ((\"a\" NIL)(\"b\" NIL) \"mixed\"))");
    const struct imap_value *body = imap_value_lookup(&r.values[0], "BODY");
    assert_int_equal(body->count, 3);
    assert_slice(imap_value_member(imap_value_member(body, 1), 0)->text, "b");
}

static void what_is_no_response_is_an_error(void **state)
{
    static const char *const cases[] = {
        "",      "a1",        "a1 FOO",   "*",       "* ",         "* 5",     "* 5 ",        "* 1 FETCH (",
        "* X )", "* X (\"a)", "* X {5}a", "* OK [a", "* X BODY[a", "* X (()", "* X \"\\a\"", "* X {9}\r\nabc"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct imap_response r;
        if (imap_response_parse(cq_slice_cstr(cases[i]), *state, &r, NULL) == CQ_OK)
            fail_msg("%s was taken", cases[i]);
    }
}

static void nesting_has_a_limit(void **state)
{
    char text[2000] = "* X ";
    struct imap_response r;
    memset(text + 4, '(', 300);
    memset(text + 304, ')', 300);
    assert_int_equal(imap_response_parse(cq_slice_of(text, 604), *state, &r, NULL), CQ_OK);
    memset(text + 4, '(', 301);
    memset(text + 305, ')', 301);
    assert_int_equal(imap_response_parse(cq_slice_of(text, 606), *state, &r, NULL), CQ_E_PROTO);
}

static void the_reader_cuts_a_stream_of_responses(void **state)
{
    (void)state;
    const char *in = "* 1 FETCH (BODY[] {8}\r\na\r\nb\r\nc\r)\r\n* OK \"done\r\na OK x\r\n";
    struct imap_reader_limits limits = imap_response_limits(1 << 16);
    struct imap_reader r;
    size_t got = 0;
    imap_reader_init(&r, &limits);
    for (; *in; in++) {
        size_t used;
        if (imap_reader_feed(&r, cq_slice_of(in, 1), &used) != IMAP_READ_COMMAND)
            continue;
        static const size_t want[] = {32, 10, 6};
        assert_int_equal(imap_reader_text(&r).len, want[got++]);
        imap_reader_next(&r);
    }
    assert_int_equal(got, 3);
    imap_reader_fini(&r);
}

static void strings_are_written_in_the_simplest_form_that_is_right(void **state)
{
    (void)state;
    static const struct {
        struct cq_slice value;
        const char *astring, *string;
    } cases[] = {
        {{(const uint8_t *)"abc", 3}, "abc", "\"abc\""},
        {{(const uint8_t *)"", 0}, "\"\"", "\"\""},
        {{(const uint8_t *)"NIL", 3}, "\"NIL\"", "\"NIL\""},
        {{(const uint8_t *)"a b", 3}, "\"a b\"", "\"a b\""},
        {{(const uint8_t *)"a\"\\", 3}, "\"a\\\"\\\\\"", "\"a\\\"\\\\\""},
        {{(const uint8_t *)"a\r\n", 3}, "{3}\r\na\r\n", "{3}\r\na\r\n"},
        {{(const uint8_t *)"\xc3\xa9", 2}, "{2}\r\n\xc3\xa9", "{2}\r\n\xc3\xa9"},
        {{(const uint8_t *)"a\0b", 3}, "{3}\r\na?b", "{3}\r\na?b"},
        {{(const uint8_t *)"a%b", 3}, "\"a%b\"", "\"a%b\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cq_buf out;
        cq_buf_init(&out, 100);
        assert_true(imap_write_astring(&out, cases[i].value));
        assert_slice(cq_buf_slice(&out), cases[i].astring);
        cq_buf_reset(&out, 100);
        assert_true(imap_write_string(&out, cases[i].value));
        assert_slice(cq_buf_slice(&out), cases[i].string);
        cq_buf_fini(&out);
    }
}

static void nobodys_text_can_end_the_line(void **state)
{
    (void)state;
    struct cq_buf out;
    cq_buf_init(&out, 100);
    imap_write_text(&out, CQ_SLICE("a\r\n* BYE \xc3\xa9"));
    assert_slice(cq_buf_slice(&out), "a??* BYE ??");
    cq_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses_have_codes_and_text),
        cmocka_unit_test(data_has_numbers_and_values),
        cmocka_unit_test(fetch_items_are_found_by_name),
        cmocka_unit_test(lists_may_touch_each_other),
        cmocka_unit_test(what_is_no_response_is_an_error),
        cmocka_unit_test(nesting_has_a_limit),
        cmocka_unit_test(the_reader_cuts_a_stream_of_responses),
        cmocka_unit_test(strings_are_written_in_the_simplest_form_that_is_right),
        cmocka_unit_test(nobodys_text_can_end_the_line),
    };
    return cmocka_run_group_tests_name("imap_response", tests, setup, teardown);
}
