#include "base/cq_log.h"

#include "unit/cq_log_expect.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define T0 UINT64_C(1700000000123456)

static void expect_line(enum cq_log_format format, const struct cq_log_field *fields, const char *want)
{
    const struct cq_log_options constants = {.role = "frontend", .node = "fe 1"};
    struct cq_buf out;
    cq_buf_init(&out, CQ_LOG_LINE_MAX);
    cq_log_render(&out, format, T0, &constants, CQ_WARN, "smtp.accepted", fields);
    cq_buf_byte(&out, '\0');
    assert_string_equal((const char *)out.data, want);
    cq_buf_fini(&out);
}

static void a_line_is_json_with_typed_fields(void **state)
{
    (void)state;
    struct cq_err err = {0};
    CQ_FAIL(&err, CQ_E_PROTO, "literal of %d", 12);
    const struct cq_log_field fields[] = {
        CQ_F_STR("session", "a\"b"),
        CQ_F_STR("none", NULL),
        CQ_F_SLICE("helo", CQ_SLICE("x\r\nFAKE")),
        CQ_F_U64("size_bytes", 5),
        CQ_F_I64("delta", -5),
        CQ_F_BOOL("tls", true),
        CQ_F_DOUBLE("ratio", 0.25),
        CQ_F_ACCOUNT(0xab),
        CQ_F_RC(CQ_E_TIMEOUT),
        CQ_F_ERR(&err),
        CQ_F_U64(NULL, 7),
        CQ_F_END,
    };
    expect_line(
        CQ_LOG_JSON, fields,
        "{\"ts\":\"2023-11-14T22:13:20.123456Z\",\"level\":\"warn\",\"event\":\"smtp.accepted\",\"role\":\"frontend\","
        "\"node\":\"fe 1\",\"session\":\"a\\\"b\",\"none\":null,\"helo\":\"x\\r\\nFAKE\",\"size_bytes\":5,\"delta\":-5,"
        "\"tls\":true,\"ratio\":0.25,\"account\":\"00000000000000ab\",\"rc\":\"CQ_E_TIMEOUT\",\"rc\":\"CQ_E_PROTO\","
        "\"error\":\"literal of 12\"}\n");
}

static void on_a_terminal_a_line_is_logfmt(void **state)
{
    (void)state;
    const struct cq_log_field fields[] = {
        CQ_F_STR("session", "ab-1"),
        CQ_F_SLICE("helo", CQ_SLICE("a b=\x1b[2J")),
        CQ_F_STR("empty", ""),
        CQ_F_U64("n", 1),
        CQ_F_END,
    };
    expect_line(
        CQ_LOG_LOGFMT, fields,
        "ts=2023-11-14T22:13:20.123456Z level=warn event=smtp.accepted role=frontend node=\"fe 1\" session=ab-1 "
        "helo=\"a b=\\u001b[2J\" empty=\"\" n=1\n");
}

static void an_error_that_is_ok_adds_nothing(void **state)
{
    (void)state;
    struct cq_err err = {0};
    const struct cq_log_field fields[] = {CQ_F_ERR(&err), CQ_F_ERR(NULL), CQ_F_END};
    expect_line(CQ_LOG_LOGFMT, fields,
                "ts=2023-11-14T22:13:20.123456Z level=warn event=smtp.accepted role=frontend node=\"fe 1\"\n");
}

static void long_texts_are_cut_and_long_lines_drop_whole_fields(void **state)
{
    (void)state;
    static char text[100000];
    memset(text, 'x', sizeof text);
    memcpy(text + CQ_LOG_TEXT_MAX - 1, "\xc3\xa9", 2); /* the cut would fall inside of a character */
    struct cq_log_field fields[30];
    for (size_t i = 0; i < 29; i++)
        fields[i] = CQ_F_SLICE("text", cq_slice_of(text, sizeof text));
    fields[28] = CQ_F_U64("last", 1);
    fields[29] = CQ_F_END;
    struct cq_buf out;
    cq_buf_init(&out, 2 * CQ_LOG_LINE_MAX);
    const struct cq_log_options constants = {0};
    cq_log_render(&out, CQ_LOG_JSON, T0, &constants, CQ_INFO, "e", fields);
    cq_buf_byte(&out, '\0');
    const char *line = (const char *)out.data;
    assert_true(out.len - 1 <= CQ_LOG_LINE_MAX);
    assert_non_null(strstr(line, "x...\""));
    assert_null(strstr(line, "\xc3..."));
    assert_non_null(strstr(line, ",\"last\":1,\"cut\":true}\n"));
    cq_buf_fini(&out);
}

struct taken {
    char text[CQ_LOG_LINE_MAX * 4];
    size_t len;
};

static int pipe_fds[2];

static int open_pipe(void **state)
{
    (void)state;
    return pipe(pipe_fds);
}

static int close_pipe(void **state)
{
    (void)state;
    cq_log_init(&(struct cq_log_options){.level = CQ_INFO});
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return 0;
}

static void read_pipe(char *text, size_t size)
{
    ssize_t n = read(pipe_fds[0], text, size - 1);
    text[n > 0 ? n : 0] = '\0';
}

static unsigned evaluated;

static uint64_t evaluate(void)
{
    return ++evaluated;
}

static void fields_are_evaluated_only_when_the_level_is_on(void **state)
{
    (void)state;
    char text[8192];
    uint64_t before = cq_log_count(CQ_INFO);
    cq_log_init(&(struct cq_log_options){.role = "test", .level = CQ_INFO, .fd = pipe_fds[1]});
    cq_log(CQ_DEBUG, "not.written", CQ_F_U64("n", evaluate()));
    assert_int_equal(evaluated, 0);
    cq_log(CQ_INFO, "written", CQ_F_U64("n", evaluate()));
    cq_log(CQ_INFO, "bare");
    assert_int_equal(evaluated, 1);
    read_pipe(text, sizeof text);
    assert_non_null(strstr(text, "\"event\":\"written\",\"role\":\"test\",\"n\":1}\n"));
    assert_non_null(strstr(text, "\"event\":\"bare\",\"role\":\"test\"}\n"));
    assert_null(strstr(text, "not.written"));
    assert_int_equal(cq_log_count(CQ_INFO) - before, 2);
    cq_log_set_level(CQ_DEBUG);
    cq_log(CQ_DEBUG, "now.written");
    read_pipe(text, sizeof text);
    assert_non_null(strstr(text, "now.written"));
}

static void a_flood_from_one_call_site_is_limited_and_counted(void **state)
{
    (void)state;
    uint64_t before = cq_log_count(CQ_WARN), suppressed = 0;
    cq_log_init(&(struct cq_log_options){.level = CQ_INFO, .fd = pipe_fds[1]});
    for (int i = 0; i < 1000; i++)
        cq_log_limited(5, CQ_WARN, "flood", CQ_F_U64("i", 1));
    assert_in_range(cq_log_count(CQ_WARN) - before, 5, 10); /* ten when a second ended meanwhile */
    struct cq_log_site site = {.second = 1, .count = 1005};
    assert_true(cq_log_site_pass(&site, 5, &suppressed));
    assert_int_equal(suppressed, 1000);
}

static void *log_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10; i++)
        cq_log(CQ_INFO, "thread", CQ_F_STR("text", "0123456789"));
    return NULL;
}

static void lines_of_threads_never_mix(void **state)
{
    (void)state;
    pthread_t threads[4];
    char text[32768];
    cq_log_init(&(struct cq_log_options){.level = CQ_INFO, .fd = pipe_fds[1]});
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, log_many, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    read_pipe(text, sizeof text);
    struct cq_slice rest = cq_slice_cstr(text);
    int lines = 0;
    while (rest.len) {
        struct cq_slice line = cq_slice_cut(&rest, '\n');
        assert_true(cq_slice_starts(line, CQ_SLICE("{\"ts\":")));
        assert_true(line.data[line.len - 1] == '}');
        assert_true(line.len < 130);
        lines++;
    }
    assert_int_equal(lines, 40);
}

static void the_tap_of_tests_sees_errors(void **state)
{
    (void)state;
    cq_log_expect("expected.error");
    cq_log(CQ_ERROR, "expected.error");
    assert_int_equal(cq_log_expect_state.unexpected, 0);
    cq_log(CQ_ERROR, "other.error");
    assert_int_equal(cq_log_expect_state.unexpected, 1);
    assert_int_equal(cq_log_expect_teardown(NULL), -1); /* so it would fail a test */
    cq_log_expect_setup(NULL);
}

static void levels_have_names(void **state)
{
    (void)state;
    enum cq_log_level level = CQ_DEBUG;
    assert_true(cq_log_level_parse(CQ_SLICE("error"), &level));
    assert_int_equal(level, CQ_ERROR);
    assert_false(cq_log_level_parse(CQ_SLICE("Error"), &level));
    assert_string_equal(cq_log_level_name(CQ_WARN), "warn");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_json_with_typed_fields),
        cmocka_unit_test(on_a_terminal_a_line_is_logfmt),
        cmocka_unit_test(an_error_that_is_ok_adds_nothing),
        cmocka_unit_test(long_texts_are_cut_and_long_lines_drop_whole_fields),
        cmocka_unit_test_setup_teardown(fields_are_evaluated_only_when_the_level_is_on, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(a_flood_from_one_call_site_is_limited_and_counted, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(lines_of_threads_never_mix, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(the_tap_of_tests_sees_errors, cq_log_expect_setup, cq_log_expect_teardown),
        cmocka_unit_test(levels_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
