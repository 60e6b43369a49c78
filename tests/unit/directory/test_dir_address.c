#include "directory/dir_address.h"
#include "directory/dir_types.h"

#include "unit/cq_cmocka.h"

#include <stdio.h>

static struct cq_pool *pool;

static int setup(void **state)
{
    (void)state;
    pool = cq_pool_new(4096);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cq_pool_free(&pool);
    return 0;
}

#define X10 "xxxxxxxxxx"
#define X64 X10 X10 X10 X10 X10 X10 "xxxx"
#define L63 X10 X10 X10 X10 X10 X10 "xxx"
#define D253 L63 "." L63 "." L63 "." X10 X10 X10 X10 X10 X10 "x"

static void one_mailbox_has_one_canonical_name(void **state)
{
    (void)state;
    static const struct {
        const char *text, *canonical, *base, *tag;
    } cases[] = {
        {"alice@example.test", "alice@example.test", "alice", ""},
        {"Alice@Example.TEST", "alice@example.test", "alice", ""},
        {"a.l.i.c.e@example.test", "a.l.i.c.e@example.test", "a.l.i.c.e", ""}, /* dots count */
        {"alice+Lists@example.test", "alice+lists@example.test", "alice", "lists"},
        {"a+b+c@example.test", "a+b+c@example.test", "a", "b+c"},
        {"a+@example.test", "a+@example.test", "a", ""},
        {"+tag@example.test", "+tag@example.test", "+tag", ""},
        {"two@signs@example.test", "two@signs@example.test", "two@signs", ""},
        {"@example.test", "@example.test", "", ""}, /* catch-all */
        {"x@B\xc3\x9c"
         "CHER.example",
         "x@xn--bcher-kva.example", "x", ""},
        {"x@b\x75\xcc\x88"
         "cher.example",
         "x@xn--bcher-kva.example", "x", ""}, /* decomposed */
        {"x@XN--BCHER-KVA.example", "x@xn--bcher-kva.example", "x", ""},
        {"J\xc3\x9cRGEN@example.test", "j\xc3\xbcrgen@example.test", "j\xc3\xbcrgen", ""},
        {"ju\xcc\x88rgen@example.test", "j\xc3\xbcrgen@example.test", "j\xc3\xbcrgen", ""},
        {"stra\xc3\x9f"
         "e@example.test",
         "stra\xc3\x9f"
         "e@example.test",
         "stra\xc3\x9f"
         "e",
         ""}, /* not strasse */
        {"o'brien@example.test", "o'brien@example.test", "o'brien", ""},
        {"' OR 1=1 --@example.test", "' or 1=1 --@example.test", "' or 1=1 --", ""},
        {"%_*?@example.test", "%_*?@example.test", "%_*?", ""},
        {X64 "@example.test", X64 "@example.test", X64, ""},
        {"x@" D253, "x@" D253, "x", ""},
        {"x@localhost", "x@localhost", "x", ""},
        {"x@1a.example", "x@1a.example", "x", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dir_address a;
        struct cq_err err = {0};
        if (dir_address_parse(cq_slice_cstr(cases[i].text), pool, &a, &err) != CQ_OK)
            fail_msg("%s: %s", cases[i].text, err.text);
        assert_slice(a.text, cases[i].canonical);
        assert_slice(a.base, cases[i].base);
        assert_slice(a.tag, cases[i].tag);
        assert_int_equal(a.local.len + 1 + a.domain.len, a.text.len);
    }
}

static void what_cannot_be_a_mailbox_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len; /* 0: strlen */
    } cases[] = {
        {"", 0},
        {"alice", 0},
        {"alice@", 0},
        {"@", 0},
        {"x@.example.test", 0},
        {"x@example..test", 0},
        {"x@example.test.", 0},
        {"x@-example.test", 0},
        {"x@example-.test", 0},
        {"x@exa_mple.test", 0},
        {"x@exa mple.test", 0},
        {"x@[192.0.2.1]", 0},
        {"x@192.0.2.1", 0},
        {"x@" L63 "x.test", 0},
        {"x@" D253 "x", 0},
        {X64 "x@example.test", 0},
        {"a\0b@example.test", 17},
        {"a@exam\0ple.test", 15},
        {"a\rb@example.test", 0},
        {"a\x7f@example.test", 0},
        {"\xff@example.test", 0},
        {"\xc0\xaf@example.test", 0},
        {"a\xe2\x80\xae@example.test", 0}, /* right-to-left override */
        {"x@\xff.test", 0},
        {"x@xn--a.test", 0}, /* no punycode */
        {"x@\xe2\x80\x8b.test", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dir_address a;
        size_t len = cases[i].len ? cases[i].len : strlen(cases[i].text);
        if (dir_address_parse(cq_slice_of(cases[i].text, len), pool, &a, NULL) != CQ_E_INVALID)
            fail_msg("case %zu (%s) was taken as %.*s", i, cases[i].text, CQ_SLICE_ARG(a.text));
    }
}

static void long_input_is_refused_unread(void **state)
{
    (void)state;
    struct cq_pool *own = cq_pool_new(4096);
    char text[10000];
    struct dir_address a;
    memset(text, 'x', sizeof text);
    memcpy(text + sizeof text - 5, "@a.bc", 5);
    assert_int_equal(dir_address_parse(cq_slice_of(text, sizeof text), own, &a, NULL), CQ_E_INVALID);
    assert_int_equal(dir_address_parts(cq_slice_of(text, 9000), CQ_SLICE("a.bc"), own, &a, NULL), CQ_E_INVALID);
    assert_true(cq_pool_used(own) < 100);
    cq_pool_free(&own);
}

static void only_dot_atoms_without_plus_can_be_created(void **state)
{
    (void)state;
    static const struct {
        const char *local;
        bool ok;
    } cases[] = {
        {"alice", true}, {"a.b", true},    {"a'b", true},   {"j\xc3\xbc", true}, {"postmaster", true}, {"a-b_c", true},
        {"", false},     {".a", false},    {"a.", false},   {"a..b", false},     {"a b", false},       {"a@b", false},
        {"a+b", false},  {"a\"b", false},  {"a,b", false},  {"a\\b", false},     {"(a)", false},       {"\xff", false},
        {X64, true},     {X64 "x", false}, {"a\nb", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (dir_local_creatable(cq_slice_cstr(cases[i].local)) != cases[i].ok)
            fail_msg("%s", cases[i].local);
    assert_false(dir_local_creatable(cq_slice_of("a\0b", 3)));
}

static void plans_and_states_have_names(void **state)
{
    (void)state;
    enum dir_state s = DIR_CREATING;
    assert_int_equal(dir_plan_find(CQ_SLICE("personal"))->messages_per_day, 500);
    assert_int_equal(dir_plan_find(CQ_SLICE("business"))->messages_per_day, 2000);
    assert_int_equal(dir_plan_find(CQ_SLICE("business"))->recipients_per_message, 100);
    assert_int_equal(dir_plan_find(CQ_SLICE("business"))->recipients_per_day, 10000);
    assert_null(dir_plan_find(CQ_SLICE("")));
    assert_null(dir_plan_at(2));
    assert_true(dir_state_parse(CQ_SLICE("deleting"), &s) && s == DIR_DELETING);
    assert_false(dir_state_parse(CQ_SLICE("Active"), &s));
    assert_string_equal(dir_state_name(DIR_ACTIVE), "active");
    assert_int_equal(dir_slot_of(UINT64_C(0xabcd000000000001)), 0xabcd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_mailbox_has_one_canonical_name),
        cmocka_unit_test(what_cannot_be_a_mailbox_is_refused),
        cmocka_unit_test(long_input_is_refused_unread),
        cmocka_unit_test(only_dot_atoms_without_plus_can_be_created),
        cmocka_unit_test(plans_and_states_have_names),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
