#include "imap/imap_fetch.h"

#include "unit/cq_cmocka.h"

#include "imap/imap_limits.h"

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

static bool parse(struct cq_pool *pool, const char *text, struct imap_fetch *fetch, const char **problem)
{
    struct imap_parser p;
    imap_parser_init(&p, cq_slice_cstr(text), pool);
    bool ok = imap_parse_fetch(&p, fetch) && imap_parse_end(&p);
    *problem = p.problem;
    return ok;
}

static void items_and_macros_are_understood(void **state)
{
    static const struct {
        const char *text;
        size_t count;
        uint32_t kinds;
    } cases[] = {
        {"FLAGS", 1, IMAP_FETCH_FLAGS},
        {"(FLAGS UID)", 2, IMAP_FETCH_FLAGS | IMAP_FETCH_UID},
        {"(uid FLAGS uid)", 2, IMAP_FETCH_FLAGS | IMAP_FETCH_UID},
        {"ALL", 4, IMAP_FETCH_FLAGS | IMAP_FETCH_INTERNALDATE | IMAP_FETCH_SIZE | IMAP_FETCH_ENVELOPE},
        {"fast", 3, IMAP_FETCH_FLAGS | IMAP_FETCH_INTERNALDATE | IMAP_FETCH_SIZE},
        {"FULL", 5,
         IMAP_FETCH_FLAGS | IMAP_FETCH_INTERNALDATE | IMAP_FETCH_SIZE | IMAP_FETCH_ENVELOPE | IMAP_FETCH_STRUCTURE},
        {"(BODY BODYSTRUCTURE RFC822.SIZE)", 3, IMAP_FETCH_STRUCTURE | IMAP_FETCH_BODYSTRUCTURE | IMAP_FETCH_SIZE},
        {"(MODSEQ)", 1, IMAP_FETCH_MODSEQ},
        {"(BODY[] BODY[] BODY.PEEK[HEADER])", 3, IMAP_FETCH_OCTETS},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct imap_fetch f;
        const char *problem;
        assert_true(parse(*state, cases[i].text, &f, &problem));
        assert_int_equal(f.count, cases[i].count);
        assert_int_equal(f.kinds, cases[i].kinds);
    }
}

static void a_section_is_written_as_it_was_read(void **state)
{
    static const struct {
        const char *text, *name;
        bool seen;
    } cases[] = {
        {"BODY[]", "BODY[]", true},
        {"BODY.PEEK[]", "BODY[]", false},
        {"body[header]", "BODY[HEADER]", true},
        {"BODY[TEXT]<5.10>", "BODY[TEXT]<5>", true},
        {"BODY.PEEK[1.2.3.MIME]<0.1>", "BODY[1.2.3.MIME]<0>", false},
        {"BODY[4294967295]", "BODY[4294967295]", true},
        {"BODY[HEADER.FIELDS (Date \"From\" {2+}\r\nTo)]", "BODY[HEADER.FIELDS (Date From To)]", true},
        {"BODY[1.HEADER.FIELDS.NOT (\"X Y\")]", "BODY[1.HEADER.FIELDS.NOT (\"X Y\")]", true},
        {"RFC822", "RFC822", true},
        {"RFC822.TEXT", "RFC822.TEXT", true},
        {"RFC822.HEADER", "RFC822.HEADER", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct imap_fetch f;
        struct cq_buf out;
        const char *problem;
        cq_buf_init(&out, 1000);
        assert_true(parse(*state, cases[i].text, &f, &problem));
        assert_int_equal(f.count, 1);
        assert_int_equal(f.sets_seen, cases[i].seen);
        assert_true(imap_write_fetch_name(&out, &f.items[0]));
        assert_slice(cq_buf_slice(&out), cases[i].name);
        cq_buf_fini(&out);
    }
}

static void a_section_has_its_parts(void **state)
{
    struct imap_fetch f;
    const char *problem;
    assert_true(parse(*state, "BODY[1.22.HEADER.FIELDS (A b C)]<7.9>", &f, &problem));
    const struct imap_fetch_item *item = &f.items[0];
    assert_int_equal(item->section.part_count, 2);
    assert_int_equal(item->section.part[0], 1);
    assert_int_equal(item->section.part[1], 22);
    assert_int_equal(item->section.text, IMAP_SECTION_FIELDS);
    assert_int_equal(item->section.field_count, 3);
    assert_slice(item->section.fields[1], "b");
    assert_true(item->partial);
    assert_int_equal(item->offset, 7);
    assert_int_equal(item->length, 9);
}

static void changedsince_is_a_modifier(void **state)
{
    struct imap_fetch f;
    const char *problem;
    assert_true(parse(*state, "(FLAGS) (CHANGEDSINCE 9223372036854775807)", &f, &problem));
    assert_true(f.has_changed_since);
    assert_int_equal(f.changed_since, INT64_MAX);
    assert_false(parse(*state, "(FLAGS) (CHANGEDSINCE 9223372036854775808)", &f, &problem));
}

static void what_is_no_fetch_is_refused_with_a_sentence(void **state)
{
    static const char *const cases[] = {
        "",
        "()",
        "FLAG",
        "FLAGSX",
        "(FLAGS",
        "(FLAGS )",
        "(FLAGS  UID)",
        "FLAGS UID",
        "(ALL)",
        "(FLAGS FULL)",
        "BODY[",
        "BODY[1.]",
        "BODY[0]",
        "BODY[1.0]",
        "BODY[.1]",
        "BODY[MIME]",
        "BODY[HEADER.FIELDS]",
        "BODY[HEADER.FIELDS ()]",
        "BODY[HEADER.FIELDS (A]",
        "BODY[HEADER.FIELDS (\"\")]",
        "BODY[1HEADER]",
        "BODY[TEXT.1]",
        "BODY[]<1>",
        "BODY[]<1.0>",
        "BODY[]<.5>",
        "BODY[]<5.5",
        "BODY.PEEK",
        "BODY.PEEK[1.2",
        "RFC822[]",
        "FLAGS (CHANGEDSINCE)",
        "FLAGS (VANISHED)",
        "FLAGS (CHANGEDSINCE 5",
        "FLAGS ",
        "BODY[4294967296]",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct imap_fetch f;
        const char *problem = NULL;
        if (parse(*state, cases[i], &f, &problem))
            fail_msg("%s was taken", cases[i]);
        assert_non_null(problem);
    }
}

static struct cq_buf repeat(const char *before, const char *text, size_t n, const char *after)
{
    struct cq_buf out;
    cq_buf_init(&out, 1 << 20);
    cq_buf_cstr(&out, before);
    for (size_t i = 0; i < n; i++)
        cq_buf_cstr(&out, text);
    cq_buf_cstr(&out, after);
    cq_buf_byte(&out, 0);
    return out;
}

static void limits_hold_exactly(void **state)
{
    static const struct {
        const char *before, *text, *after;
        size_t max;
    } cases[] = {
        {"BODY[1", ".1", "]", IMAP_SECTION_DEPTH_MAX - 1},
        {"BODY[HEADER.FIELDS (x", " x", ")]", IMAP_FETCH_FIELDS_MAX - 1},
        {"(BODY[]", " BODY[]", ")", IMAP_FETCH_ITEMS_MAX - 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t over = 0; over < 2; over++) {
            struct imap_fetch f;
            const char *problem;
            struct cq_buf text = repeat(cases[i].before, cases[i].text, cases[i].max + over, cases[i].after);
            assert_int_equal(parse(*state, (const char *)text.data, &f, &problem), over == 0);
            cq_buf_fini(&text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_and_macros_are_understood),
        cmocka_unit_test(a_section_is_written_as_it_was_read),
        cmocka_unit_test(a_section_has_its_parts),
        cmocka_unit_test(changedsince_is_a_modifier),
        cmocka_unit_test(what_is_no_fetch_is_refused_with_a_sentence),
        cmocka_unit_test(limits_hold_exactly),
    };
    return cmocka_run_group_tests_name("imap_fetch", tests, setup, teardown);
}
