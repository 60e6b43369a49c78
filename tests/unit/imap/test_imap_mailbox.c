#include "imap/imap_mailbox.h"

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

static void a_canonical_name_goes_there_and_back(void **state)
{
    static const struct {
        const char *wire, *utf8;
    } cases[] = {
        {"INBOX", "INBOX"},
        {"Sent Mail", "Sent Mail"},
        {"a&-b", "a&b"},
        {"&-", "&"},
        {"&-&-", "&&"},
        {"100%*?.#", "100%*?.#"},
        {"~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"}, /* RFC 3501 5.1.3 */
        {"Entw&APw-rfe", "Entwürfe"},
        {"&AOQA9gD8-", "äöü"},
        {"&2D3eAA-", "😀"},
        {"&AOk-&-", "é&"},
        {" trailing ", " trailing "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cq_slice name;
        struct cq_buf wire;
        cq_buf_init(&wire, 1000);
        assert_true(imap_utf7_decode(cq_slice_cstr(cases[i].wire), *state, &name));
        assert_slice(name, cases[i].utf8);
        assert_true(imap_utf7_encode(&wire, name));
        assert_slice(cq_buf_slice(&wire), cases[i].wire);
        cq_buf_fini(&wire);
    }
}

static void a_name_has_one_spelling_only(void **state)
{
    static const char *const cases[] = {
        "&AGEAYg-",           /* "ab" must stand for itself */
        "&AOk-&AOk-",         /* two runs beside each other */
        "&U,BTFw-&ZeVnLIqe-", /* RFC 3501 5.1.3: superfluous shift */
        "&AOl-",              /* bits that are not zero at the end */
        "&AOkA-",             /* half a character */
        "&AOk",               /* no end */
        "&",
        "a&",       /* no end */
        "&2D0-",    /* half a surrogate pair */
        "&3gA-",    /* the other half */
        "&2D3YPQ-", /* two first halves */
        "&A-",
        "&AAA-", /* too little; NUL */
        "&AAo-",
        "&IKg-x\nx", /* a line end as a character, a line end */
        "\xc3\xa9",
        "a\x7f", /* 8-bit on the wire, DEL */
        "&AO k-",
        "&AO/pAOk-", /* wrong alphabet */
        "&ACY-",     /* "&" must be "&-" */
        "&AIU-",     /* C1 control */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cq_slice name;
        if (imap_utf7_decode(cq_slice_cstr(cases[i]), *state, &name))
            fail_msg("%s was taken", cases[i]);
    }
}

static void every_code_point_survives(void **state)
{
    struct cq_pool *pool = *state;
    for (uint32_t c = 0xa0; c < 0x110000; c += c < 0x3000 ? 1 : 97) {
        uint8_t utf8[8];
        size_t n = 0;
        if ((c >= 0xd800 && c < 0xe000) || c == 0x2028 || c == 0x2029)
            continue;
        if (c < 0x800) {
            utf8[n++] = (uint8_t)(0xc0 | c >> 6);
        } else if (c < 0x10000) {
            utf8[n++] = (uint8_t)(0xe0 | c >> 12);
            utf8[n++] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        } else {
            utf8[n++] = (uint8_t)(0xf0 | c >> 18);
            utf8[n++] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
            utf8[n++] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        }
        utf8[n++] = (uint8_t)(0x80 | (c & 0x3f));
        utf8[n++] = 'x';
        struct cq_buf wire;
        struct cq_slice back;
        cq_buf_init(&wire, 100);
        assert_true(imap_utf7_encode(&wire, cq_slice_of(utf8, n)));
        assert_true(imap_utf7_decode(cq_buf_slice(&wire), pool, &back));
        assert_true(cq_slice_eq(back, cq_slice_of(utf8, n)));
        cq_buf_fini(&wire);
        cq_pool_clear(pool);
    }
}

static void names_are_normalised_and_inbox_has_one_case(void **state)
{
    static const struct {
        const char *wire, *name; /* NULL: refused */
    } cases[] = {
        {"inbox", "INBOX"},
        {"iNbOx/sub", "INBOX/sub"},
        {"inboxes", "inboxes"},
        {"x/inbox", "x/inbox"},
        {"e&AwE-", "é"}, /* e + U+0301 */
        {"", NULL},
        {"/", NULL},
        {"a/", NULL},
        {"/a", NULL},
        {"a//b", NULL},
        {"..", ".."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cq_slice name;
        const char *problem;
        bool ok = imap_mailbox_parse(cq_slice_cstr(cases[i].wire), *state, &name, &problem);
        assert_int_equal(ok, cases[i].name != NULL);
        if (ok)
            assert_slice(name, cases[i].name);
        else
            assert_non_null(problem);
    }
}

static void a_name_of_exactly_the_limit_is_taken(void **state)
{
    uint8_t name[IMAP_MAILBOX_MAX + 1];
    struct cq_slice got;
    const char *problem;
    memset(name, 'x', sizeof name);
    assert_true(imap_mailbox_parse(cq_slice_of(name, IMAP_MAILBOX_MAX), *state, &got, &problem));
    assert_false(imap_mailbox_parse(cq_slice_of(name, IMAP_MAILBOX_MAX + 1), *state, &got, &problem));
}

static void patterns_match_as_rfc_3501_says(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool match;
    } cases[] = {
        {"*", "a/b/c", true},
        {"%", "a", true},
        {"%", "a/b", false},
        {"%/%", "a/b", true},
        {"%/%", "a", false},
        {"a*", "a", true},
        {"a*", "a/b", true},
        {"a/*", "a", false},
        {"a%", "ab", true},
        {"a%", "a/b", false},
        {"*b", "a/b", true},
        {"%b", "a/b", false},
        {"*/%", "a/b/c", true},
        {"%/*", "a/b/c", true},
        {"%*%", "a/b", true},
        {"", "", true},
        {"", "a", false},
        {"a", "", false},
        {"inbox", "INBOX", true},
        {"INBOX", "INBOX", true},
        {"in%", "INBOX", true},
        {"inbox/x", "INBOX/x", true},
        {"inbox/X", "INBOX/x", false},
        {"A", "a", false},
        {"x/inbox", "x/INBOX", false},
        {"*x*y*z*", "axbyczd", true},
        {"*x*y*z*", "azbycxd", false},
        {"a%b*c", "aXbY/Zc", true},
        {"a%b*c", "aX/bYc", false},
        {"%%%%", "abc", true},
        {"**", "", true},
        {"100%", "100%", true},
        {"inbox", "inboxes", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool match = imap_pattern_match(cq_slice_cstr(cases[i].pattern), cq_slice_cstr(cases[i].name));
        if (match != cases[i].match)
            fail_msg("%s against %s: %d", cases[i].pattern, cases[i].name, match);
    }
}

static bool slow_match(const char *p, const char *n)
{
    if (!*p)
        return !*n;
    if (*p == '*' || *p == '%')
        return slow_match(p + 1, n) || (*n && (*p == '*' || *n != '/') && slow_match(p, n + 1));
    return *p == *n && slow_match(p + 1, n + 1);
}

static void the_matcher_agrees_with_the_plain_definition(void **state)
{
    (void)state;
    static const char letters[] = "ab/*%";
    uint32_t seed = 1;
    for (int i = 0; i < 100000; i++) {
        char p[7] = "", n[9] = "";
        for (unsigned k = 0; k < 1 + seed % 6; k++)
            p[k] = letters[(seed = seed * 1103515245 + 12345) >> 16 & 0xff % 5];
        for (unsigned k = 0; k < 6; k++)
            p[k] = p[k] ? letters[((seed = seed * 1103515245 + 12345) >> 16) % 5] : 0;
        for (unsigned k = 0; k < (seed >> 20) % 8; k++)
            n[k] = letters[((seed = seed * 1103515245 + 12345) >> 16) % 3];
        if (slow_match(p, n) != imap_pattern_match(cq_slice_cstr(p), cq_slice_cstr(n)))
            fail_msg("%s against %s", p, n);
    }
}

static void no_pattern_is_slow(void **state)
{
    (void)state;
    char pattern[IMAP_PATTERN_MAX + 1], name[IMAP_MAILBOX_MAX + 1];
    for (size_t i = 0; i < IMAP_PATTERN_MAX; i += 2)
        memcpy(pattern + i, i % 4 ? "*a" : "%a", 2);
    memset(name, 'a', sizeof name);
    /* A backtracking matcher would not end here. */
    assert_false(imap_pattern_match(cq_slice_of(pattern, IMAP_PATTERN_MAX), cq_slice_of(name, 400)));
    assert_true(imap_pattern_match(cq_slice_of(pattern, IMAP_PATTERN_MAX), cq_slice_of(name, 1000)));
}

static void a_pattern_has_its_reference_in_front(void **state)
{
    struct cq_slice pattern;
    const char *problem;
    assert_true(imap_pattern_parse(CQ_SLICE("a/"), CQ_SLICE("%"), *state, &pattern, &problem));
    assert_slice(pattern, "a/%");
    assert_true(imap_pattern_parse(CQ_SLICE(""), CQ_SLICE("Entw&APw-*"), *state, &pattern, &problem));
    assert_slice(pattern, "Entwü*");
    assert_false(imap_pattern_parse(CQ_SLICE(""), CQ_SLICE("&AGE-"), *state, &pattern, &problem));
}

static void parents_are_found(void **state)
{
    (void)state;
    assert_slice(imap_mailbox_parent(CQ_SLICE("a/b/c")), "a/b");
    assert_slice(imap_mailbox_parent(CQ_SLICE("a")), "");
    assert_true(imap_mailbox_is_below(CQ_SLICE("a/b"), CQ_SLICE("a")));
    assert_false(imap_mailbox_is_below(CQ_SLICE("ab"), CQ_SLICE("a")));
    assert_false(imap_mailbox_is_below(CQ_SLICE("a"), CQ_SLICE("a")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_canonical_name_goes_there_and_back),
        cmocka_unit_test(a_name_has_one_spelling_only),
        cmocka_unit_test(every_code_point_survives),
        cmocka_unit_test(names_are_normalised_and_inbox_has_one_case),
        cmocka_unit_test(a_name_of_exactly_the_limit_is_taken),
        cmocka_unit_test(patterns_match_as_rfc_3501_says),
        cmocka_unit_test(the_matcher_agrees_with_the_plain_definition),
        cmocka_unit_test(no_pattern_is_slow),
        cmocka_unit_test(a_pattern_has_its_reference_in_front),
        cmocka_unit_test(parents_are_found),
    };
    return cmocka_run_group_tests_name("imap_mailbox", tests, setup, teardown);
}
