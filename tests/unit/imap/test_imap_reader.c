#include "imap/imap_reader.h"

#include "unit/cq_cmocka.h"

#include "base/cq_mem.h"

#include <stdio.h>
#include <stdlib.h>

/* What a stream of bytes becomes, one line per event, so that two ways of feeding can be compared. */
static void note(struct cq_buf *log, const char *what, struct cq_slice text)
{
    cq_buf_cstr(log, what);
    cq_buf_byte(log, ' ');
    for (size_t i = 0; i < text.len; i++)
        cq_buf_byte(log, text.data[i] == '\r' ? '~' : text.data[i] == '\n' ? '$' : text.data[i]);
    cq_buf_byte(log, '\n');
}

enum append_policy { STREAM, REFUSE };

struct feeder {
    struct imap_reader reader;
    enum append_policy policy;
    uint64_t stream_left;
    bool closed;
    struct cq_buf log;
};

static void on_event(struct feeder *f, enum imap_read event)
{
    struct imap_reader *r = &f->reader;
    switch (event) {
    case IMAP_READ_MORE:
        break;
    case IMAP_READ_CONTINUE:
        note(&f->log, "continue", CQ_SLICE_NONE);
        break;
    case IMAP_READ_COMMAND:
        note(&f->log, "command", imap_reader_text(r));
        imap_reader_next(r);
        break;
    case IMAP_READ_APPEND:
        note(&f->log, r->append_plus ? "append+" : "append", imap_reader_text(r));
        if (f->policy == STREAM) {
            f->stream_left = r->append_size;
            imap_reader_stream_append(r);
        } else {
            imap_reader_refuse_append(r);
        }
        break;
    case IMAP_READ_BAD:
        note(&f->log, "bad", imap_reader_tag(r));
        note(&f->log, "  ", cq_slice_cstr(imap_reader_problem(r)));
        imap_reader_next(r);
        break;
    case IMAP_READ_CLOSE:
        note(&f->log, "close", cq_slice_cstr(imap_reader_problem(r)));
        f->closed = true;
    }
}

static void feed(struct feeder *f, struct cq_slice in)
{
    while (in.len && !f->closed) {
        size_t used = 0;
        if (f->stream_left) {
            used = in.len < f->stream_left ? in.len : (size_t)f->stream_left;
            f->stream_left -= used;
        } else {
            on_event(f, imap_reader_feed(&f->reader, in, &used));
        }
        in = cq_slice_skip(in, used);
    }
}

static struct cq_buf run(const struct imap_reader_limits *limits, enum append_policy policy, struct cq_slice in,
                         size_t piece)
{
    struct feeder f = {.policy = policy};
    imap_reader_init(&f.reader, limits);
    cq_buf_init(&f.log, 1 << 20);
    while (in.len) {
        /* An exact copy, so that a sanitizer sees a read past the piece. */
        struct cq_slice part = cq_slice_sub(in, 0, piece);
        uint8_t *copy = cq_memdup(part.data, part.len);
        feed(&f, cq_slice_of(copy, part.len));
        free(copy);
        in = cq_slice_skip(in, piece);
    }
    /* A refused synchronising literal is told by the next feed, also without input. */
    imap_reader_fini(&f.reader);
    return f.log;
}

static void check(const struct imap_reader_limits *limits, enum append_policy policy, struct cq_slice in,
                  const char *want)
{
    static const size_t pieces[] = {SIZE_MAX, 1, 2, 3, 7, 1000};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct cq_buf log = run(limits, policy, in, pieces[i]);
        cq_buf_byte(&log, 0);
        assert_string_equal((const char *)log.data, want);
        cq_buf_fini(&log);
    }
}

static void check_auth(const char *in, const char *want)
{
    check(&imap_reader_auth, STREAM, cq_slice_cstr(in), want);
}

static void lines_and_literals_become_commands_however_the_bytes_are_cut(void **state)
{
    (void)state;
    check_auth("a NOOP\r\n", "command a NOOP\n");
    check_auth("a NOOP\nb NOOP\r\n", "command a NOOP\ncommand b NOOP\n");
    check_auth("\r\n", "command \n");
    check_auth("a LOGIN {3}\r\njoe {4}\r\npass\r\n", "continue \ncontinue \ncommand a LOGIN {3}~$joe {4}~$pass\n");
    check_auth("a LOGIN {3+}\r\njoe {4+}\r\npa\r\n\r\nb NOOP\r\n",
               "command a LOGIN {3+}~$joe {4+}~$pa~$\ncommand b NOOP\n");
    check_auth("a SELECT {0}\r\n\r\n", "continue \ncommand a SELECT {0}~$\n");
    check_auth("a SELECT {0+}\r\n\r\n", "command a SELECT {0+}~$\n");
}

static void a_literal_that_looks_like_a_header_or_holds_line_ends_is_only_a_literal(void **state)
{
    (void)state;
    check_auth("a SEARCH TEXT {4+}\r\n{5+}\r\nb NOOP\r\n", "command a SEARCH TEXT {4+}~${5+}\ncommand b NOOP\n");
    check_auth("a SEARCH TEXT {12+}\r\nx NOOP\r\ny\r\rz ALL\r\n", "command a SEARCH TEXT {12+}~$x NOOP~$y~~z ALL\n");
}

static void a_quoted_string_that_looks_like_a_header_is_only_a_string(void **state)
{
    (void)state;
    check_auth("a SEARCH TEXT \"{5}\"\r\n", "command a SEARCH TEXT \"{5}\"\n");
    check_auth("a SEARCH TEXT \"x\\\" {5}\r\nb NOOP\r\n", "command a SEARCH TEXT \"x\\\" {5}\ncommand b NOOP\n");
}

static void an_open_quote_before_a_literal_that_does_not_wait_closes_the_connection(void **state)
{
    (void)state;
    check_auth("a SEARCH TEXT \"x {5+}\r\nb NOOP\r\n", "close Quoted string without end\n");
}

static void the_message_of_append_is_handed_out(void **state)
{
    (void)state;
    check_auth("a APPEND INBOX {5}\r\nHello\r\nb NOOP\r\n", "append a APPEND INBOX {5}\ncommand \ncommand b NOOP\n");
    check_auth("a APPEND INBOX (\\Seen) \"17-Jul-1996 02:44:25 -0700\" {5+}\r\nHello\r\nb NOOP\r\n",
               "append+ a APPEND INBOX (\\Seen) \"17-Jul-1996 02:44:25 -0700\" {5+}\ncommand \ncommand b NOOP\n");
    check_auth("a APPEND {5}\r\nINBOX {300000+}\r\n", "continue \nappend+ a APPEND {5}~$INBOX {300000+}\n");
    /* Something after the message is a rest that the handler judges. */
    check_auth("a APPEND INBOX {5+}\r\nHello x\r\n", "append+ a APPEND INBOX {5+}\ncommand  x\n");
}

static void a_refused_append_leaves_no_octet_behind(void **state)
{
    (void)state;
    check(&imap_reader_auth, REFUSE, CQ_SLICE("a APPEND x {9+}\r\nb LOGOUT\n\r\nc NOOP\r\n"),
          "append+ a APPEND x {9+}\nbad a\n   \ncommand c NOOP\n");
    check(&imap_reader_auth, REFUSE, CQ_SLICE("a APPEND x {9+}\r\nb LOGOUT\n {2+}\r\n\r\n\r\nc NOOP\r\n"),
          "append+ a APPEND x {9+}\nbad a\n   \ncommand c NOOP\n");
    check(&imap_reader_auth, REFUSE, CQ_SLICE("a APPEND x {0+}\r\n\r\nc NOOP\r\n"),
          "append+ a APPEND x {0+}\nbad a\n   \ncommand c NOOP\n");
    check(&imap_reader_auth, REFUSE, CQ_SLICE("a APPEND x {9}\r\nc NOOP\r\n"),
          "append a APPEND x {9}\nbad a\n   \ncommand c NOOP\n");
    check(&imap_reader_auth, REFUSE, CQ_SLICE("a APPEND x {67108865+}\r\nc"),
          "append+ a APPEND x {67108865+}\nclose Literal too big\n");
}

static void before_login_append_has_no_message_and_literals_are_small(void **state)
{
    (void)state;
    check(&imap_reader_preauth, STREAM, CQ_SLICE("a APPEND INBOX {5}\r\nHello\r\n"),
          "continue \ncommand a APPEND INBOX {5}~$Hello\n");
    check(&imap_reader_preauth, STREAM, CQ_SLICE("a LOGIN {4097}\r\nb NOOP\r\n"),
          "bad a\n   Literal too big\ncommand b NOOP\n");
    check(&imap_reader_preauth, STREAM, CQ_SLICE("a LOGIN {4097+}\r\nb NOOP\r\n"), "close Literal too big\n");
    check(&imap_reader_preauth, STREAM, CQ_SLICE("a LOGIN {99999999999999999999999}\r\nb NOOP\r\n"),
          "bad a\n   Literal too big\ncommand b NOOP\n");
    check(&imap_reader_preauth, STREAM, CQ_SLICE("a LOGIN {99999999999999999999999+}\r\nb NOOP\r\n"),
          "close Literal too big\n");
}

static void a_literal_of_exactly_the_limit_is_taken(void **state)
{
    (void)state;
    struct cq_buf in;
    cq_buf_init(&in, 1 << 20);
    cq_buf_cstr(&in, "a LOGIN {4096+}\r\n");
    for (int i = 0; i < 4096; i++)
        cq_buf_byte(&in, 'x');
    cq_buf_cstr(&in, " y\r\n");
    struct cq_buf log = run(&imap_reader_preauth, STREAM, cq_buf_slice(&in), 100);
    assert_memory_equal(log.data, "command a LOGIN {4096+}~$xxx", 27);
    assert_memory_equal(log.data + log.len - 4, "x y\n", 4);
    cq_buf_fini(&log);
    cq_buf_fini(&in);
}

/* A command of `count` letters with what comes before and after it. */
static struct cq_buf long_line(const char *before, size_t count, const char *after)
{
    struct cq_buf in;
    cq_buf_init(&in, 4 << 20);
    cq_buf_cstr(&in, before);
    for (size_t i = 0; i < count; i++)
        cq_buf_byte(&in, 'x');
    cq_buf_cstr(&in, after);
    return in;
}

static void check_long(const struct imap_reader_limits *limits, const char *before, size_t count, const char *after,
                       const char *want_end)
{
    static const size_t pieces[] = {SIZE_MAX, 1, 4096, 777};
    struct cq_buf in = long_line(before, count, after);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct cq_buf log = run(limits, STREAM, cq_buf_slice(&in), pieces[i]);
        size_t n = strlen(want_end);
        assert_true(log.len >= n);
        cq_buf_byte(&log, 0);
        assert_string_equal((const char *)log.data + log.len - 1 - n, want_end);
        cq_buf_fini(&log);
    }
    cq_buf_fini(&in);
}

static void a_long_command_is_refused_as_a_whole_and_the_next_one_is_understood(void **state)
{
    (void)state;
    const struct imap_reader_limits *pre = &imap_reader_preauth, *auth = &imap_reader_auth;
    check_long(pre, "a LOGIN ", 8192 - 9, "\r\nb NOOP\r\n", "x\ncommand b NOOP\n"); /* exactly: the CR counts */
    check_long(pre, "a LOGIN ", 8192 - 7, "\nb NOOP\r\n", "bad a\n   Command too long\ncommand b NOOP\n");
    check_long(pre, "a LOGIN ", 20000, "\r\nb NOOP\r\n", "bad a\n   Command too long\ncommand b NOOP\n");
    check_long(pre, "a LOGIN ", 100000, "\r\nb NOOP\r\n", "close Command too long\n");
    check_long(pre, "", 9000, "\r\nb NOOP\r\n", "bad *\n   Command too long\ncommand b NOOP\n");
    check_long(auth, "a SEARCH TEXT ", 300000, "\r\nb NOOP\r\n", "bad a\n   Command too long\ncommand b NOOP\n");
    /* Literals of what is thrown away are thrown away with it. */
    check_long(auth, "a SEARCH TEXT ", 300000, " {9+}\r\nz LOGOUT\n ALL\r\nb NOOP\r\n",
               "bad a\n   Command too long\ncommand b NOOP\n");
    check_long(auth, "a SEARCH TEXT ", 300000, " {9}\r\nb NOOP\r\n", "bad a\n   Command too long\ncommand b NOOP\n");
    check_long(auth, "a SEARCH TEXT ", 1 << 18, "{9+}\r\nz LOGOUT\n ALL\r\nb NOOP\r\n",
               "bad a\n   Command too long\ncommand b NOOP\n");
}

static void a_header_cut_by_the_limit_is_still_found(void **state)
{
    (void)state;
    for (size_t cut = 0; cut < 12; cut++)
        check_long(&imap_reader_auth, "a X ", IMAP_COMMAND_MAX - 4 - cut, " {9+}\r\nz LOGOUT\n\r\nb NOOP\r\n",
                   "bad a\n   Command too long\ncommand b NOOP\n");
}

static void many_literals_are_bounded_together(void **state)
{
    (void)state;
    struct cq_buf in;
    cq_buf_init(&in, 4 << 20);
    cq_buf_cstr(&in, "a SEARCH");
    for (int i = 0; i < 20000; i++)
        cq_buf_cstr(&in, " TEXT {8+}\r\naaaabbbb");
    cq_buf_cstr(&in, "\r\nb NOOP\r\n");
    check(&imap_reader_auth, STREAM, cq_buf_slice(&in), "bad a\n   Command too long\ncommand b NOOP\n");
    cq_buf_fini(&in);
}

static void authenticate_may_be_twice_as_long(void **state)
{
    (void)state;
    const struct imap_reader_limits *pre = &imap_reader_preauth;
    check_long(pre, "a AUTHENTICATE PLAIN ", 16000, "\r\nb NOOP\r\n", "x\ncommand b NOOP\n");
    check_long(pre, "a authenticate PLAIN ", 16384, "\r\nb NOOP\r\n", "bad a\n   Command too long\ncommand b NOOP\n");
}

static void nul_and_bare_cr_are_refused(void **state)
{
    (void)state;
    check(&imap_reader_auth, STREAM, CQ_SLICE("a SEL\0ECT x\r\nb NOOP\r\n"),
          "bad a\n   NUL in command\ncommand b NOOP\n");
    check(&imap_reader_auth, STREAM, CQ_SLICE("a SEARCH TEXT {3+}\r\nx\0y ALL\r\nb NOOP\r\n"),
          "bad a\n   NUL in literal\ncommand b NOOP\n");
    check(&imap_reader_auth, STREAM, CQ_SLICE("a SEARCH TEXT \0 {9+}\r\nx LOGOUT\n\r\nb NOOP\r\n"),
          "bad a\n   NUL in command\ncommand b NOOP\n");
    check_auth("a SELECT x\ry\r\nb NOOP\r\n", "bad a\n   CR without LF\ncommand b NOOP\n");
}

static void a_line_of_a_dialogue_has_no_literals(void **state)
{
    (void)state;
    struct imap_reader r;
    size_t used;
    imap_reader_init(&r, &imap_reader_preauth);
    imap_reader_next_line(&r);
    assert_int_equal(imap_reader_feed(&r, CQ_SLICE("abc{5+}\r\nx"), &used), IMAP_READ_COMMAND);
    assert_int_equal(used, 9);
    assert_slice(imap_reader_text(&r), "abc{5+}");
    imap_reader_next(&r);
    assert_true(imap_reader_at_start(&r));
    imap_reader_fini(&r);
}

static void an_idle_reader_keeps_little_memory(void **state)
{
    (void)state;
    struct imap_reader r;
    size_t used;
    struct cq_buf in = long_line("a SEARCH TEXT ", 100000, "\r\n");
    imap_reader_init(&r, &imap_reader_auth);
    assert_int_equal(imap_reader_feed(&r, cq_buf_slice(&in), &used), IMAP_READ_COMMAND);
    assert_int_equal(used, in.len);
    imap_reader_next(&r);
    assert_true(r.text.cap <= 512);
    assert_true(sizeof r <= 192);
    imap_reader_fini(&r);
    cq_buf_fini(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_and_literals_become_commands_however_the_bytes_are_cut),
        cmocka_unit_test(a_literal_that_looks_like_a_header_or_holds_line_ends_is_only_a_literal),
        cmocka_unit_test(a_quoted_string_that_looks_like_a_header_is_only_a_string),
        cmocka_unit_test(an_open_quote_before_a_literal_that_does_not_wait_closes_the_connection),
        cmocka_unit_test(the_message_of_append_is_handed_out),
        cmocka_unit_test(a_refused_append_leaves_no_octet_behind),
        cmocka_unit_test(before_login_append_has_no_message_and_literals_are_small),
        cmocka_unit_test(a_literal_of_exactly_the_limit_is_taken),
        cmocka_unit_test(a_long_command_is_refused_as_a_whole_and_the_next_one_is_understood),
        cmocka_unit_test(a_header_cut_by_the_limit_is_still_found),
        cmocka_unit_test(many_literals_are_bounded_together),
        cmocka_unit_test(authenticate_may_be_twice_as_long),
        cmocka_unit_test(nul_and_bare_cr_are_refused),
        cmocka_unit_test(a_line_of_a_dialogue_has_no_literals),
        cmocka_unit_test(an_idle_reader_keeps_little_memory),
    };
    return cmocka_run_group_tests_name("imap_reader", tests, NULL, NULL);
}
