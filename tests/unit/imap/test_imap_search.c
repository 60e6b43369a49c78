#include "imap/imap_search.h"

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

static bool parse(struct cq_pool *pool, const char *text, struct imap_search *search, const char **problem)
{
    struct imap_parser p;
    imap_parser_init(&p, cq_slice_cstr(text), pool);
    bool ok = imap_parse_search(&p, search) && imap_parse_end(&p);
    *problem = p.problem;
    return ok;
}

/* The program in one line: a key per word, in its order. */
static void show(const struct imap_search *s, struct cq_buf *out)
{
    static const char *const names[] = {
        [IMAP_SEARCH_AND] = "and",       [IMAP_SEARCH_OR] = "or",
        [IMAP_SEARCH_NOT] = "not",       [IMAP_SEARCH_ALL] = "all",
        [IMAP_SEARCH_SEQ] = "seq",       [IMAP_SEARCH_UID] = "uid",
        [IMAP_SEARCH_FLAG] = "flag",     [IMAP_SEARCH_KEYWORD] = "keyword",
        [IMAP_SEARCH_BEFORE] = "before", [IMAP_SEARCH_ON] = "on",
        [IMAP_SEARCH_SINCE] = "since",   [IMAP_SEARCH_SENTBEFORE] = "sentbefore",
        [IMAP_SEARCH_SENTON] = "senton", [IMAP_SEARCH_SENTSINCE] = "sentsince",
        [IMAP_SEARCH_LARGER] = "larger", [IMAP_SEARCH_SMALLER] = "smaller",
        [IMAP_SEARCH_MODSEQ] = "modseq", [IMAP_SEARCH_HEADER] = "header",
        [IMAP_SEARCH_BODY] = "body",     [IMAP_SEARCH_TEXT] = "text",
    };
    for (size_t i = 0; i < s->count; i++) {
        const struct imap_search_key *k = &s->keys[i];
        cq_buf_printf(out, i ? " %s" : "%s", names[k->op]);
        if (k->op == IMAP_SEARCH_AND)
            cq_buf_printf(out, "%zu", k->u.count);
        if (k->op == IMAP_SEARCH_FLAG)
            cq_buf_printf(out, "%u", k->u.flag);
        if (k->op == IMAP_SEARCH_HEADER)
            cq_buf_printf(out, "(%.*s:%.*s)", CQ_SLICE_ARG(k->u.header.field), CQ_SLICE_ARG(k->u.header.text));
        if (k->op == IMAP_SEARCH_KEYWORD || k->op == IMAP_SEARCH_BODY || k->op == IMAP_SEARCH_TEXT)
            cq_buf_printf(out, "(%.*s)", CQ_SLICE_ARG(k->u.text));
        if (k->op >= IMAP_SEARCH_BEFORE && k->op <= IMAP_SEARCH_SENTSINCE)
            cq_buf_printf(out, "%d", k->u.day);
        if (k->op == IMAP_SEARCH_LARGER || k->op == IMAP_SEARCH_SMALLER)
            cq_buf_printf(out, "%u", k->u.size);
        if (k->op == IMAP_SEARCH_MODSEQ)
            cq_buf_printf(out, "%llu", (unsigned long long)k->u.modseq);
    }
}

static void programs_become_postfix(void **state)
{
    static const struct {
        const char *text, *program;
    } cases[] = {
        {"ALL", "all"},
        {"all seen", "all flag1 and2"},
        {"(ALL)", "all"},
        {"((ALL))", "all"},
        {"NOT SEEN", "flag1 not"},
        {"UNSEEN", "flag1 not"},
        {"NEW", "flag32 flag1 not and2"},
        {"OLD", "flag32 not"},
        {"NOT NOT NOT ALL", "all not not not"},
        {"OR SEEN DELETED", "flag1 flag8 or"},
        {"OR OR SEEN DELETED ANSWERED", "flag1 flag8 or flag2 or"},
        {"OR SEEN OR DELETED ANSWERED FLAGGED", "flag1 flag8 flag2 or or flag4 and2"},
        {"OR (SEEN DRAFT) NOT (DELETED NOT FLAGGED)", "flag1 flag16 and2 flag8 flag4 not and2 not or"},
        {"FROM \"Smith\" SINCE 1-Feb-1994 NOT DELETED", "header(From:Smith) since8797 flag8 not and3"},
        {"HEADER \"X-Foo\" \"\"", "header(X-Foo:)"},
        {"SUBJECT {5+}\r\na b c TO x CC y BCC z", "header(Subject:a b c) header(To:x) header(Cc:y) header(Bcc:z) and4"},
        {"BODY a TEXT \"b \\\"c\\\"\"", "body(a) text(b \"c\") and2"},
        {"BODY {1+}\r\n ", "body( )"},
        {"KEYWORD $Forwarded UNKEYWORD x", "keyword($Forwarded) keyword(x) not and2"},
        {"BEFORE 1-Jan-1970 ON \"2-Jan-1970\" SINCE 3-Jan-1970", "before0 on1 since2 and3"},
        {"SENTBEFORE 1-Jan-1970 SENTON 2-Jan-1970 SENTSINCE 3-Jan-1970", "sentbefore0 senton1 sentsince2 and3"},
        {"LARGER 0 SMALLER 4294967295", "larger0 smaller4294967295 and2"},
        {"MODSEQ 620162338", "modseq620162338"},
        {"MODSEQ \"/flags/\\\\draft\" all 620162338", "modseq620162338"},
        {"1:3,* UID 5:*", "seq uid and2"},
        {"CHARSET UTF-8 TEXT x", "text(x)"},
        {"CHARSET \"utf-8\" (OR 1 2) (3)", "seq seq or seq and2"},
        {"UNANSWERED UNDELETED UNDRAFT UNFLAGGED", "flag2 not flag8 not flag16 not flag4 not and4"},
        {"RECENT", "flag32"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct imap_search s;
        struct cq_buf out;
        const char *problem;
        cq_buf_init(&out, 1000);
        if (!parse(*state, cases[i].text, &s, &problem))
            fail_msg("%s: %s", cases[i].text, problem);
        show(&s, &out);
        assert_slice(cq_buf_slice(&out), cases[i].program);
        cq_buf_fini(&out);
    }
}

static void the_stack_that_evaluation_needs_is_known(void **state)
{
    struct imap_search s;
    const char *problem;
    assert_true(parse(*state, "SEEN OR 1 OR 2 (3 4 5)", &s, &problem));
    assert_int_equal(s.stack_max, 6);
    assert_true(imap_search_has(&s, IMAP_SEARCH_SEQ));
    assert_false(imap_search_has(&s, IMAP_SEARCH_BODY));
}

static void what_is_no_program_is_refused_with_a_sentence(void **state)
{
    static const char *const cases[] = {
        "",
        "()",
        "( ALL)",
        "(ALL",
        "ALL)",
        "(ALL))",
        "NOT",
        "NOT ",
        "OR ALL",
        "OR ALL ",
        "OR (ALL) )",
        "OR (ALL",
        "(OR ALL) ALL",
        "(NOT) ALL",
        "ALL ",
        "ALL  SEEN",
        "FOO",
        "SEENX",
        "FROM",
        "FROM ",
        "HEADER x",
        "LARGER -1",
        "LARGER x",
        "KEYWORD",
        "UID",
        "UID x",
        "0",
        "1:",
        "1,,2",
        "BEFORE x",
        "SINCE 30-Feb-2020",
        "CHARSET",
        "CHARSET UTF-8",
        "CHARSET \"\" ALL",
        "MODSEQ",
        "MODSEQ x",
        "MODSEQ \"/flags/x\" 5",
        "MODSEQ \"/flags/x\" foo 5",
        "RETURN () ALL",
        "NOT(ALL)",
        "$",
        "TEXT a\"b",
        "SEEN,DELETED",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct imap_search s;
        const char *problem = NULL;
        if (parse(*state, cases[i], &s, &problem))
            fail_msg("'%s' was taken", cases[i]);
        assert_non_null(problem);
    }
}

static bool parse_repeated(struct cq_pool *pool, const char *before, const char *text, size_t n, const char *after)
{
    struct cq_buf out;
    struct imap_search s;
    const char *problem;
    cq_buf_init(&out, 1 << 20);
    cq_buf_cstr(&out, before);
    for (size_t i = 0; i < n; i++)
        cq_buf_cstr(&out, text);
    cq_buf_cstr(&out, after);
    cq_buf_byte(&out, 0);
    bool ok = parse(pool, (const char *)out.data, &s, &problem);
    cq_buf_fini(&out);
    return ok;
}

static void nesting_and_keys_have_limits(void **state)
{
    /* The whole program is one level. */
    assert_true(parse_repeated(*state, "", "NOT ", IMAP_SEARCH_DEPTH_MAX - 1, "ALL"));
    assert_false(parse_repeated(*state, "", "NOT ", IMAP_SEARCH_DEPTH_MAX, "ALL"));
    assert_false(parse_repeated(*state, "", "(", 100000, ""));
    assert_false(parse_repeated(*state, "", "OR ALL ", 20000, "ALL"));
    assert_true(parse_repeated(*state, "ALL", " ALL", IMAP_SEARCH_KEYS_MAX - 2, ""));
    assert_false(parse_repeated(*state, "ALL", " ALL", IMAP_SEARCH_KEYS_MAX - 1, ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(programs_become_postfix),
        cmocka_unit_test(the_stack_that_evaluation_needs_is_known),
        cmocka_unit_test(what_is_no_program_is_refused_with_a_sentence),
        cmocka_unit_test(nesting_and_keys_have_limits),
    };
    return cmocka_run_group_tests_name("imap_search", tests, setup, teardown);
}
