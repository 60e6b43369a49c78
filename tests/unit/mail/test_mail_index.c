#include "mail/mail_index.h"

#include "unit/mail/mail_test.h"

/* Shows the parts, one a line: indented by depth, type, header and body as the texts they are. */
static void show(const struct mail_index *ix, struct cq_buf *out)
{
    for (uint32_t i = 0; i < mail_index_parts(ix); i++) {
        const struct mail_part *p = mail_index_part(ix, i);
        cq_buf_printf(out, "%*s%.*s/%.*s%s%s%s h%llu-%llu(%llu) b-%llu(%llu) c%u", p->depth, "", CQ_SLICE_ARG(p->type),
                      CQ_SLICE_ARG(p->subtype), p->is_message ? " msg" : "", p->opaque ? " opaque" : "",
                      p->untyped ? " untyped" : "", (unsigned long long)p->header_off, (unsigned long long)p->body_off,
                      (unsigned long long)p->header_lines, (unsigned long long)p->end_off,
                      (unsigned long long)p->body_lines, p->children);
        for (const struct mail_field *f = p->fields; f; f = f->next)
            cq_buf_printf(out, " [%d@%llu:%zu%s]", (int)f->id, (unsigned long long)f->off, f->value.len,
                          f->cut ? " cut" : "");
        cq_buf_byte(out, '\n');
    }
    cq_buf_printf(out, "size %llu received %u%s%s%s\n", (unsigned long long)mail_index_size(ix),
                  mail_index_received(ix), mail_index_has_8bit(ix) ? " 8bit" : "", mail_index_has_nul(ix) ? " nul" : "",
                  mail_index_cut(ix) ? " cut" : "");
}

static void index_in_steps(struct cq_slice message, size_t step, const struct mail_parse_limits *limits,
                           struct cq_buf *out)
{
    struct mail_index *ix = mail_index_new(limits, NULL);
    for (struct cq_slice rest = message; rest.len; rest = cq_slice_skip(rest, step)) {
        /* Exact copies on the heap: a sanitizer sees a read past a piece. */
        struct cq_slice piece = cq_slice_sub(rest, 0, step);
        uint8_t *copy = malloc(piece.len);
        memcpy(copy, piece.data, piece.len);
        mail_index_feed(ix, cq_slice_of(copy, piece.len));
        free(copy);
    }
    mail_index_finish(ix);
    show(ix, out);
    mail_index_free(&ix);
}

/* Whole and in pieces of 1, 2, 3, 7 and 64 octets: always the same. */
static void assert_index(unsigned row, struct cq_slice message, const struct mail_parse_limits *limits,
                         const char *want)
{
    const size_t steps[] = {SIZE_MAX, 1, 2, 3, 7, 64};
    for (unsigned i = 0; i < ROWS(steps); i++) {
        struct cq_buf out;
        cq_buf_init(&out, TEST_BUF_MAX);
        index_in_steps(message, steps[i], limits, &out);
        assert_row_text(row * 1000 + i, text_of(&out), want);
        cq_buf_fini(&out);
    }
}

static const struct {
    const char *message, *want;
} CASES[] = {
    /* 0: nothing at all */
    {"", "text/plain msg untyped h0-0(0) b-0(0) c0\nsize 0 received 0\n"},
    /* 1: a simple message */
    {"Subject: x\r\n\r\nhello\r\n", "text/plain msg untyped h0-14(2) b-21(1) c0 [10@0:2]\nsize 21 received 0\n"},
    /* 2: bare LF */
    {"Subject: x\n\nhello\nyou", "text/plain msg untyped h0-12(2) b-21(1) c0 [10@0:2]\nsize 21 received 0\n"},
    /* 3: no empty line */
    {"Subject: x\r\n", "text/plain msg untyped h0-12(1) b-12(0) c0 [10@0:2]\nsize 12 received 0\n"},
    /* 4: no line end at all */
    {"Subject: x", "text/plain msg untyped h0-10(0) b-10(0) c0 [10@0:2]\nsize 10 received 0\n"},
    /* 5: an empty header */
    {"\r\nbody", "text/plain msg untyped h0-2(1) b-6(0) c0\nsize 6 received 0\n"},
    /* 6: a bare CR is no line end */
    {"Subject: x\r\r\n\ry", "text/plain msg untyped h0-15(1) b-15(0) c0 [10@0:3]\nsize 15 received 0\n"},
    /* 7: a multipart of two */
    {"Content-Type: multipart/mixed; boundary=b\r\n\r\nintro\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: "
     "text/html\r\n\r\ntwo\r\n\r\n--b--\r\nend\r\n",
     "multipart/mixed msg h0-45(2) b-115(11) c2 [0@0:28]\n"
     " text/plain untyped h57-59(1) b-62(0) c0\n"
     " text/html h69-96(2) b-101(1) c0 [0@69:10]\n"
     "size 115 received 0\n"},
    /* 8: the same with bare LF and blanks behind boundaries */
    {"Content-Type: multipart/mixed; boundary=\"b\"\n\n--b \t\n\none\n--b--  ",
     "multipart/mixed msg h0-45(2) b-63(3) c1 [0@0:30]\n"
     " text/plain untyped h51-52(1) b-55(0) c0\n"
     "size 63 received 0\n"},
    /* 9: the boundary right after the empty line, and right after the part's header */
    {"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n--b\r\nX: y\r\n--b--",
     "multipart/mixed msg h0-45(2) b-68(4) c2 [0@0:28]\n"
     " text/plain untyped h50-52(1) b-52(0) c0\n"
     " text/plain untyped h57-63(1) b-63(0) c0\n"
     "size 68 received 0\n"},
    /* 10: never closed */
    {"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none", "multipart/mixed msg h0-43(2) b-51(2) c1 [0@0:28]\n"
                                                                " text/plain untyped h47-48(1) b-51(0) c0\n"
                                                                "size 51 received 0\n"},
    /* 11: the boundary never comes: plain text */
    {"Content-Type: multipart/mixed; boundary=b\n\n--c\n--bb\n--b-\n -\n--\n",
     "text/plain msg untyped h0-43(2) b-63(5) c0 [0@0:28]\nsize 63 received 0\n"},
    /* 12: no boundary parameter */
    {"Content-Type: multipart/mixed\n\n--\n",
     "text/plain msg untyped h0-31(2) b-34(1) c0 [0@0:16]\nsize 34 received 0\n"},
    /* 13: nested, the inner one is closed by the outer boundary */
    {"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=ab\n\n--ab\n\n1\n"
     "--a\n\n2\n--a--\n",
     "multipart/mixed msg h0-43(2) b-118(10) c2 [0@0:28]\n"
     " multipart/alternative h47-97(2) b-104(2) c1 [0@47:35]\n"
     "  text/plain untyped h102-103(1) b-104(0) c0\n"
     " text/plain untyped h109-110(1) b-111(0) c0\n"
     "size 118 received 0\n"},
    /* 14: the same boundary for both: the innermost takes it */
    {"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; "
     "boundary=a\n\n--a\n\n1\n--a--\n\n2\n"
     "--a--\n",
     "multipart/mixed msg h0-43(2) b-112(10) c1 [0@0:28]\n"
     " multipart/mixed h47-90(2) b-105(5) c1 [0@47:28]\n"
     "  text/plain untyped h94-95(1) b-96(0) c0\n"
     "size 112 received 0\n"},
    /* 15: message/rfc822 */
    {"Content-Type: message/rfc822\r\n\r\nSubject: in\r\nContent-Type: text/html\r\n\r\nhi",
     "message/rfc822 msg h0-32(2) b-74(3) c1 [0@0:15]\n"
     " text/html msg h32-72(3) b-74(0) c0 [10@32:3] [0@45:10]\n"
     "size 74 received 0\n"},
    /* 16: a digest's default, and its parts' own types */
    {"Content-Type: multipart/digest; boundary=d\n\n--d\n\nSubject: 1\n\nx\n--d\nContent-Type: "
     "text/plain\n\ny\n--d--\n",
     "multipart/digest msg h0-44(2) b-101(10) c2 [0@0:29]\n"
     " message/rfc822 untyped h48-49(1) b-62(2) c1\n"
     "  text/plain msg untyped h49-61(2) b-62(0) c0 [10@49:2]\n"
     " text/plain h67-93(2) b-94(0) c0 [0@67:11]\n"
     "size 101 received 0\n"},
    /* 17: message/rfc822 whose header never ends */
    {"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n--b\nContent-Type: "
     "message/rfc822\n\n"
     "Subject: x\n--b--\n",
     "multipart/mixed msg h0-43(2) b-127(7) c2 [0@0:28]\n"
     " message/rfc822 h47-76(1) b-76(0) c1 [0@47:15]\n"
     "  text/plain msg untyped h76-76(0) b-76(0) c0\n"
     " message/rfc822 h80-110(2) b-120(0) c1 [0@80:15]\n"
     "  text/plain msg untyped h110-121(1) b-121(0) c0 [10@110:2]\n"
     "size 127 received 0\n"},
    /* 18: after the closing boundary nothing starts a part */
    {"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n1\n--b--\n--b\n\n2\n",
     "multipart/mixed msg h0-43(2) b-63(7) c1 [0@0:28]\n"
     " text/plain untyped h47-48(1) b-49(0) c0\n"
     "size 63 received 0\n"},
    /* 19: fields: folded, obsolete blanks, case, junk lines, received */
    {"received: a\r\n\tb\r\nReceived: c\r\nSUBJECT \t: x\r\n y\r\njunk\r\n z\r\nFrom: a@b\r\n\r\n",
     "text/plain msg untyped h0-71(9) b-71(0) c0 [10@30:6] [11@58:4]\nsize 71 received 2\n"},
    /* 20: envelope fields are kept of messages, not of other parts */
    {"Content-Type: multipart/mixed; boundary=b\n\n--b\nSubject: no\nReceived: no\nContent-ID: <1>\n\n--b--\n",
     "multipart/mixed msg h0-43(2) b-95(6) c1 [0@0:28]\n"
     " text/plain untyped h47-89(4) b-89(0) c0 [3@72:4]\n"
     "size 95 received 0\n"},
    /* 21: types that cannot be understood */
    {"Content-Type: text\n\n", "text/plain msg untyped h0-20(2) b-20(0) c0 [0@0:5]\nsize 20 received 0\n"},
    /* 22: a boundary that ends in two hyphens */
    {"Content-Type: multipart/mixed; boundary=\"b--\"\n\n--b--\n\n1\n--b----\n",
     "multipart/mixed msg h0-47(2) b-64(4) c1 [0@0:32]\n"
     " text/plain untyped h53-54(1) b-55(0) c0\n"
     "size 64 received 0\n"},
    /* 23: raw 8-bit text */
    {"Subject: \xc3\xa4\n\n", "text/plain msg untyped h0-13(2) b-13(0) c0 [10@0:3]\nsize 13 received 0 8bit\n"},
    /* 24: types with octets that no type has */
    {"Content-Type: te\x05xt/html\n\n", "text/plain msg untyped h0-26(2) b-26(0) c0 [0@0:11]\nsize 26 received 0\n"},
    /* 25: a multipart inside a part that is not a container stays its body */
    {"Content-Type: application/x-mime; boundary=b\n\n--b\n\n1\n--b--\n",
     "application/x-mime msg h0-46(2) b-59(4) c0 [0@0:31]\nsize 59 received 0\n"},
};

static void every_construct_has_its_structure_however_it_is_cut(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROWS(CASES); i++)
        assert_index(i, cq_slice_cstr(CASES[i].message), NULL, CASES[i].want);
}

static void a_nul_is_seen(void **state)
{
    (void)state;
    assert_index(0, CQ_SLICE("\n\0\n"), NULL, "text/plain msg untyped h0-1(1) b-3(1) c0\nsize 3 received 0 nul\n");
}

/* depth multiparts in each other, each with one part. */
static void nested(struct cq_buf *out, unsigned depth)
{
    cq_buf_cstr(out, "Content-Type: multipart/mixed; boundary=b0\n\n");
    for (unsigned i = 1; i < depth; i++)
        cq_buf_printf(out, "--b%u\nContent-Type: multipart/mixed; boundary=b%u\n\n", i - 1, i);
    cq_buf_printf(out, "--b%u\n\nx", depth - 1);
}

static void nesting_deeper_than_the_limit_is_one_opaque_part(void **state)
{
    (void)state;
    for (unsigned depth = 98; depth <= 102; depth++) {
        struct cq_buf m;
        struct mail_index *ix = mail_index_new(NULL, NULL);
        cq_buf_init(&m, TEST_BUF_MAX);
        nested(&m, depth);
        mail_index_feed(ix, cq_buf_slice(&m));
        mail_index_finish(ix);
        uint32_t parts = mail_index_parts(ix);
        const struct mail_part *last = mail_index_part(ix, parts - 1);
        assert_int_equal(parts, depth <= 100 ? depth + 1 : 101);
        assert_int_equal(last->opaque, depth > 100);
        assert_int_equal(mail_index_cut(ix), depth > 100);
        assert_int_equal(last->end_off, m.len);
        mail_index_free(&ix);
        cq_buf_fini(&m);
    }
}

static void messages_in_messages_stop_at_the_depth_limit(void **state)
{
    (void)state;
    struct cq_buf m;
    struct mail_index *ix = mail_index_new(NULL, NULL);
    cq_buf_init(&m, TEST_BUF_MAX);
    for (unsigned i = 0; i < 100000; i++)
        cq_buf_cstr(&m, "Content-Type: message/rfc822\n\n");
    mail_index_feed(ix, cq_buf_slice(&m));
    mail_index_finish(ix);
    assert_int_equal(mail_index_parts(ix), 101);
    assert_true(mail_index_part(ix, 100)->opaque);
    mail_index_free(&ix);
    cq_buf_fini(&m);
}

static void parts_over_the_limit_stay_in_the_last_one(void **state)
{
    (void)state;
    const struct mail_parse_limits limits = {.parts = 3};
    assert_index(0, CQ_SLICE("Content-Type: multipart/mixed; boundary=b\n\n--b\n\n1\n--b\n\n2\n--b\n\n3\n--b--\n"),
                 &limits,
                 "multipart/mixed msg h0-43(2) b-70(10) c2 [0@0:28]\n"
                 " text/plain untyped h47-48(1) b-49(0) c0\n"
                 " text/plain untyped h54-55(1) b-70(5) c0\n"
                 "size 70 received 0 cut\n");
}

static void a_field_over_the_limit_is_cut(void **state)
{
    (void)state;
    const struct mail_parse_limits limits = {.field_octets = 8, .fields = 2};
    assert_index(0, CQ_SLICE("Subject: 123456\nSubject: 12345678\nSubject: x\n\n"), &limits,
                 "text/plain msg untyped h0-46(4) b-46(0) c0 [10@0:7] [10@16:8 cut]\nsize 46 received 0 cut\n");
}

static void the_memory_for_headers_is_bounded(void **state)
{
    (void)state;
    struct cq_buf m;
    const struct mail_parse_limits limits = {.header_octets = 10000};
    struct mail_index *ix = mail_index_new(&limits, NULL);
    cq_buf_init(&m, TEST_BUF_MAX);
    for (unsigned i = 0; i < 50; i++)
        cq_buf_printf(&m, "To: %0500d\n", i);
    mail_index_feed(ix, cq_buf_slice(&m));
    mail_index_finish(ix);
    assert_true(mail_index_cut(ix));
    size_t kept = 0;
    for (const struct mail_field *f = mail_index_part(ix, 0)->fields; f; f = f->next)
        kept += f->value.len;
    assert_in_range(kept, 8000, 10000);
    mail_index_free(&ix);
    cq_buf_fini(&m);
}

static void boundaries_are_as_long_as_their_limit_and_not_longer(void **state)
{
    (void)state;
    for (int len = MAIL_BOUNDARY_MAX - 1; len <= MAIL_BOUNDARY_MAX + 1; len++) {
        struct cq_buf m;
        struct mail_index *ix = mail_index_new(NULL, NULL);
        cq_buf_init(&m, TEST_BUF_MAX);
        cq_buf_printf(&m, "Content-Type: multipart/mixed; boundary=%0*d\n\n--%0*d\n\nx\n--%0*d--\n", len, 7, len, 7,
                      len, 7);
        for (size_t i = 0; i < m.len; i++)
            mail_index_feed(ix, cq_slice_of(m.data + i, 1));
        mail_index_finish(ix);
        assert_int_equal(mail_index_parts(ix), len <= MAIL_BOUNDARY_MAX ? 2 : 1);
        assert_int_equal(mail_index_part(ix, 0)->opaque, len > MAIL_BOUNDARY_MAX);
        mail_index_free(&ix);
        cq_buf_fini(&m);
    }
}

/* Lines around the length up to which a line is judged. */
static void long_lines_are_judged_alike_however_they_are_cut(void **state)
{
    (void)state;
    for (int pad = 1010; pad < 1040; pad++) {
        struct cq_buf m, whole, pieces;
        cq_buf_init(&m, TEST_BUF_MAX);
        cq_buf_init(&whole, TEST_BUF_MAX);
        cq_buf_init(&pieces, TEST_BUF_MAX);
        cq_buf_printf(&m, "Content-Type: multipart/mixed; boundary=b\nX%0*d: y\nSubject%*s: z\n\n", pad, 0, pad, "");
        cq_buf_printf(&m, "--b%*s\n\nx\n--b%*s\r\n--%0*d\n--b%*s", pad, "", pad, "", pad, 1, pad, "");
        index_in_steps(cq_buf_slice(&m), SIZE_MAX, NULL, &whole);
        for (size_t step = 1; step < 2100; step += step < 4 ? 1 : 509) {
            cq_buf_reset(&pieces, SIZE_MAX);
            index_in_steps(cq_buf_slice(&m), step, NULL, &pieces);
            assert_row_text(pad, text_of(&pieces), text_of(&whole));
        }
        cq_buf_fini(&m);
        cq_buf_fini(&whole);
        cq_buf_fini(&pieces);
    }
}

static void hostile_lines_take_linear_time(void **state)
{
    (void)state;
    const char *patterns[] = {"--\n",  "-\n", "\n",  "--b\n",     "--b--\n", "--b\n\n",
                              "To:\n", ":\n", " \n", "--b99\n--", "\r"};
    for (unsigned i = 0; i < ROWS(patterns); i++) {
        struct cq_buf m;
        struct mail_index *ix = mail_index_new(NULL, NULL);
        cq_buf_init(&m, TEST_BUF_MAX);
        nested(&m, 100);
        cq_buf_byte(&m, '\n');
        while (m.len < (4u << 20))
            cq_buf_cstr(&m, patterns[i]);
        mail_index_feed(ix, cq_buf_slice(&m));
        mail_index_finish(ix);
        assert_int_equal(mail_index_size(ix), m.len);
        assert_in_range(mail_index_parts(ix), 1, 10000);
        mail_index_free(&ix);
        cq_buf_fini(&m);
    }
}

static void an_index_can_be_used_again(void **state)
{
    (void)state;
    struct mail_index *ix = mail_index_new(NULL, NULL);
    for (unsigned i = 0; i < 3; i++) {
        struct cq_buf out;
        cq_buf_init(&out, TEST_BUF_MAX);
        mail_index_feed(ix, cq_slice_cstr(CASES[7].message));
        mail_index_finish(ix);
        show(ix, &out);
        assert_row_text(i, text_of(&out), CASES[7].want);
        mail_index_clear(ix);
        cq_buf_fini(&out);
    }
    mail_index_free(&ix);
}

struct seen {
    struct cq_buf text;
};

static void seen_begin(void *ctx, const struct mail_part *part)
{
    struct seen *s = ctx;
    cq_buf_printf(&s->text, "<%.*s:", CQ_SLICE_ARG(part->subtype));
}

static void seen_body(void *ctx, const struct mail_part *part, struct cq_slice octets)
{
    struct seen *s = ctx;
    (void)part;
    cq_buf_slice_add(&s->text, octets);
}

static void seen_end(void *ctx, const struct mail_part *part)
{
    struct seen *s = ctx;
    (void)part;
    cq_buf_byte(&s->text, '>');
}

static void an_observer_sees_the_bodies_of_leaf_parts(void **state)
{
    (void)state;
    for (size_t step = 1; step < 200; step += 66) {
        struct seen seen;
        cq_buf_init(&seen.text, TEST_BUF_MAX);
        const struct mail_index_observer observer = {seen_begin, seen_body, seen_end, &seen};
        struct mail_index *ix = mail_index_new(NULL, &observer);
        struct cq_slice m = cq_slice_cstr(CASES[7].message);
        for (; m.len; m = cq_slice_skip(m, step))
            mail_index_feed(ix, cq_slice_sub(m, 0, step));
        mail_index_finish(ix);
        assert_row_text(step, text_of(&seen.text), "<plain:one\r\n><html:two\r\n\r\n>");
        mail_index_free(&ix);
        cq_buf_fini(&seen.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_construct_has_its_structure_however_it_is_cut),
        cmocka_unit_test(a_nul_is_seen),
        cmocka_unit_test(nesting_deeper_than_the_limit_is_one_opaque_part),
        cmocka_unit_test(messages_in_messages_stop_at_the_depth_limit),
        cmocka_unit_test(parts_over_the_limit_stay_in_the_last_one),
        cmocka_unit_test(a_field_over_the_limit_is_cut),
        cmocka_unit_test(the_memory_for_headers_is_bounded),
        cmocka_unit_test(boundaries_are_as_long_as_their_limit_and_not_longer),
        cmocka_unit_test(long_lines_are_judged_alike_however_they_are_cut),
        cmocka_unit_test(hostile_lines_take_linear_time),
        cmocka_unit_test(an_index_can_be_used_again),
        cmocka_unit_test(an_observer_sees_the_bodies_of_leaf_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
