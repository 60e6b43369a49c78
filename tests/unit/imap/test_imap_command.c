#include "imap/imap_command.h"

#include "unit/cq_cmocka.h"

#include <stdio.h>

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

static bool parse(struct cq_pool *pool, const char *text, struct imap_command *c, const char **problem)
{
    struct imap_head head;
    imap_command_head(cq_slice_cstr(text), &head);
    return imap_command_parse(&head, pool, c, problem);
}

static struct imap_command must_parse(struct cq_pool *pool, const char *text)
{
    struct imap_command c;
    const char *problem;
    if (!parse(pool, text, &c, &problem))
        fail_msg("%s: %s", text, problem);
    return c;
}

static void the_head_is_found_whatever_follows(void **state)
{
    (void)state;
    static const struct {
        const char *text, *tag;
        enum imap_verb verb;
    } cases[] = {
        {"a1 NOOP", "a1", IMAP_NOOP},
        {"a1 noop junk", "a1", IMAP_NOOP},
        {"a1 NOOPS", "a1", IMAP_UNKNOWN},
        {"a1 UID FETCH 1 x", "a1", IMAP_UID_FETCH},
        {"a1 uid expunge", "a1", IMAP_UID_EXPUNGE},
        {"a1 UID", "a1", IMAP_UNKNOWN},
        {"a1 UID NOOP", "a1", IMAP_UNKNOWN},
        {"a1", "a1", IMAP_UNKNOWN},
        {"a1 ", "a1", IMAP_UNKNOWN},
        {"", "", IMAP_UNKNOWN},
        {" NOOP", "", IMAP_UNKNOWN},
        {"a+1 NOOP", "", IMAP_UNKNOWN},
        {"a(1 NOOP", "", IMAP_UNKNOWN},
        {"* NOOP", "", IMAP_UNKNOWN},
        {"GET / HTTP/1.1", "GET", IMAP_UNKNOWN},
        {"a]1 LOGOUT", "a]1", IMAP_LOGOUT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct imap_head head;
        imap_command_head(cq_slice_cstr(cases[i].text), &head);
        assert_slice(head.tag, cases[i].tag);
        assert_int_equal(head.verb, cases[i].verb);
    }
}

static void every_verb_is_found_by_its_name(void **state)
{
    (void)state;
    for (unsigned v = 0; v < IMAP_VERB_COUNT; v++) {
        char text[64];
        struct imap_head head;
        snprintf(text, sizeof text, "t %s", imap_verb_name((enum imap_verb)v));
        imap_command_head(cq_slice_cstr(text), &head);
        assert_int_equal(head.verb, v);
    }
}

static void commands_without_arguments_take_none(void **state)
{
    static const char *const verbs[] = {"CAPABILITY", "NOOP",  "LOGOUT", "STARTTLS", "NAMESPACE",
                                        "IDLE",       "CHECK", "CLOSE",  "UNSELECT", "EXPUNGE"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        char text[64];
        struct imap_command c;
        const char *problem;
        snprintf(text, sizeof text, "t %s", verbs[i]);
        must_parse(*state, text);
        snprintf(text, sizeof text, "t %s x", verbs[i]);
        assert_false(parse(*state, text, &c, &problem));
        snprintf(text, sizeof text, "t %s ", verbs[i]);
        assert_false(parse(*state, text, &c, &problem));
    }
}

static void login_takes_any_kind_of_string(void **state)
{
    static const char *const cases[] = {"a LOGIN joe pa]ss", "a LOGIN \"joe\" \"pa]ss\"",
                                        "a LOGIN {3+}\r\njoe {5}\r\npa]ss"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct imap_command c = must_parse(*state, cases[i]);
        assert_slice(c.u.login.user, "joe");
        assert_slice(c.u.login.password, "pa]ss");
    }
    struct imap_command c = must_parse(*state, "a LOGIN joe \"\"");
    assert_slice(c.u.login.password, "");
    c = must_parse(*state, "a LOGIN \"j\\\\o\\\"e\" x");
    assert_slice(c.u.login.user, "j\\o\"e");
}

static void authenticate_may_bring_an_initial_response(void **state)
{
    struct imap_command c = must_parse(*state, "a AUTHENTICATE PLAIN");
    assert_slice(c.u.authenticate.mechanism, "PLAIN");
    assert_false(c.u.authenticate.has_initial);
    c = must_parse(*state, "a AUTHENTICATE PLAIN AGFiYwBkZWY=");
    assert_true(c.u.authenticate.has_initial);
    assert_slice(c.u.authenticate.initial, "AGFiYwBkZWY=");
    c = must_parse(*state, "a AUTHENTICATE EXTERNAL =");
    assert_slice(c.u.authenticate.initial, "=");
}

static void the_arguments_of_mailbox_commands_are_found(void **state)
{
    struct imap_command c = must_parse(*state, "a SELECT INBOX (CONDSTORE)");
    assert_slice(c.u.select.mailbox, "INBOX");
    assert_true(c.u.select.condstore);
    assert_false(must_parse(*state, "a EXAMINE \"a b\"").u.select.condstore);
    c = must_parse(*state, "a RENAME {1}\r\na \"b c\"");
    assert_slice(c.u.rename.from, "a");
    assert_slice(c.u.rename.to, "b c");
    c = must_parse(*state, "a LIST \"\" %");
    assert_slice(c.u.list.reference, "");
    assert_slice(c.u.list.pattern, "%");
    c = must_parse(*state, "a LIST (SPECIAL-USE) \"\" * RETURN (CHILDREN SPECIAL-USE)");
    assert_true(c.u.list.special_use);
    assert_slice(c.u.list.pattern, "*");
    c = must_parse(*state, "a LSUB x/ \"*\"");
    assert_slice(c.u.list.pattern, "*");
    c = must_parse(*state, "a LIST \"\" \"\"");
    assert_slice(c.u.list.pattern, "");
    c = must_parse(*state, "a STATUS x (messages UIDNEXT highestmodseq)");
    assert_int_equal(c.u.status.items, IMAP_STATUS_MESSAGES | IMAP_STATUS_UIDNEXT | IMAP_STATUS_HIGHESTMODSEQ);
}

static void append_ends_with_the_header_of_its_message(void **state)
{
    struct imap_command c =
        must_parse(*state, "a APPEND \"x y\" (\\Seen \\recent $Fwd) \"17-Jul-1996 02:44:25 -0700\" {310+}");
    assert_slice(c.u.append.mailbox, "x y");
    assert_int_equal(c.u.append.flags.system, IMAP_SEEN);
    assert_int_equal(c.u.append.flags.keyword_count, 1);
    assert_true(c.u.append.has_date);
    assert_int_equal(c.u.append.date, 837596665);
    assert_int_equal(c.u.append.size, 310);
    assert_true(c.u.append.plus);
    assert_true(imap_command_awaits_message(CQ_SLICE("a APPEND x {5}")));
    assert_true(imap_command_awaits_message(CQ_SLICE("a APPEND {1}\r\nx () {5}")));
    assert_false(imap_command_awaits_message(CQ_SLICE("a APPEND {5}")));
    assert_false(imap_command_awaits_message(CQ_SLICE("a APPEND x (\\Foo) {5}")));
    assert_false(imap_command_awaits_message(CQ_SLICE("a SEARCH TEXT {5}")));
}

static void sets_are_as_written(void **state)
{
    struct imap_command c = must_parse(*state, "a COPY 2,4:7,9,12:*,* x");
    assert_int_equal(c.set.count, 5);
    assert_int_equal(c.set.ranges[0].first, 2);
    assert_int_equal(c.set.ranges[0].last, 2);
    assert_int_equal(c.set.ranges[1].last, 7);
    assert_int_equal(c.set.ranges[3].last, 0);
    assert_int_equal(c.set.ranges[4].first, 0);
    assert_slice(c.u.mailbox.mailbox, "x");
    assert_true(imap_seqset_contains(&c.set, 14, 15));
    assert_false(imap_seqset_contains(&c.set, 8, 15));
    assert_true(imap_seqset_contains(&c.set, 8, 8));
    struct imap_range r = imap_range_resolve((struct imap_range){559, 0}, 7);
    assert_int_equal(r.first, 7);
    assert_int_equal(r.last, 559);
}

static void store_has_modes_and_modifiers(void **state)
{
    struct imap_command c = must_parse(*state, "a STORE 1 +FLAGS.SILENT (\\Deleted a A b)");
    assert_int_equal(c.u.store.mode, IMAP_STORE_ADD);
    assert_true(c.u.store.silent);
    assert_int_equal(c.u.store.flags.system, IMAP_DELETED);
    assert_int_equal(c.u.store.flags.keyword_count, 2);
    c = must_parse(*state, "a UID STORE 1 -flags \\Seen \\Draft");
    assert_int_equal(c.u.store.mode, IMAP_STORE_REMOVE);
    assert_int_equal(c.u.store.flags.system, IMAP_SEEN | IMAP_DRAFT);
    c = must_parse(*state, "a STORE 1 (UNCHANGEDSINCE 12) FLAGS ()");
    assert_int_equal(c.u.store.mode, IMAP_STORE_REPLACE);
    assert_true(c.u.store.has_unchanged_since);
    assert_int_equal(c.u.store.unchanged_since, 12);
}

static void id_has_fields(void **state)
{
    struct imap_command c = must_parse(*state, "a ID (\"name\" \"x\" \"version\" NIL)");
    assert_int_equal(c.u.id.count, 2);
    assert_slice(c.u.id.fields[0].value, "x");
    assert_true(c.u.id.fields[1].nil);
    assert_int_equal(must_parse(*state, "a ID NIL").u.id.count, 0);
    assert_int_equal(must_parse(*state, "a ID ()").u.id.count, 0);
}

static void wrong_arguments_are_refused_with_a_sentence_that_does_not_repeat_them(void **state)
{
    static const char *const cases[] = {
        "a",
        "a FOO",
        "a LOGIN",
        "a LOGIN secret",
        "a LOGIN secret ",
        "a LOGIN secret hunter2 more",
        "a LOGIN \"secret hunter2",
        "a LOGIN \"secret\\x\" hunter2",
        "a LOGIN {6}\r\nsecre",
        "a LOGIN {6}secret hunter2",
        "a AUTHENTICATE",
        "a AUTHENTICATE PLAIN ",
        "a AUTHENTICATE \"PLAIN\"",
        "a ENABLE",
        "a ENABLE (secret)",
        "a ID",
        "a ID secret",
        "a ID (secret secret)",
        "a ID (\"secret\")",
        "a ID ((((((((((",
        "a SELECT",
        "a SELECT (secret)",
        "a SELECT secret x",
        "a SELECT secret (FOO)",
        "a SELECT secret (CONDSTORE",
        "a CREATE a b",
        "a RENAME a",
        "a LIST \"\"",
        "a LIST \"\" %(",
        "a LIST (REMOTE) \"\" %",
        "a LIST \"\" % RETURN (STATUS)",
        "a LSUB (SPECIAL-USE) \"\" %",
        "a STATUS x",
        "a STATUS x ()",
        "a STATUS x (FOO)",
        "a STATUS x MESSAGES",
        "a APPEND x",
        "a APPEND x secret",
        "a APPEND x {5}\r\nHello",
        "a APPEND x (\\Seen){5}",
        "a APPEND x \"secret\" {5}",
        "a FETCH 1",
        "a FETCH x FLAGS",
        "a FETCH 0 FLAGS",
        "a FETCH 1, FLAGS",
        "a FETCH 4294967296 FLAGS",
        "a STORE 1 FLAGS",
        "a STORE 1 FOO ()",
        "a STORE 1 FLAGS (\\Secret)",
        "a STORE 1 (UNCHANGEDSINCE 1)FLAGS ()",
        "a COPY 1",
        "a UID EXPUNGE",
        "a SEARCH",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct imap_command c;
        const char *problem = NULL;
        if (parse(*state, cases[i], &c, &problem))
            fail_msg("%s was taken", cases[i]);
        assert_non_null(problem);
        assert_null(strstr(problem, "secret"));
        assert_null(strstr(problem, "hunter2"));
    }
}

static void a_long_keyword_is_refused(void **state)
{
    char text[400];
    struct imap_command c;
    const char *problem;
    memset(text, 'k', sizeof text);
    memcpy(text, "a STORE 1 FLAGS ", 16);
    text[16 + IMAP_KEYWORD_MAX] = 0;
    assert_true(parse(*state, text, &c, &problem));
    text[16 + IMAP_KEYWORD_MAX] = 'k';
    text[17 + IMAP_KEYWORD_MAX] = 0;
    assert_false(parse(*state, text, &c, &problem));
}

static void a_tag_has_a_limit(void **state)
{
    (void)state;
    char text[400];
    struct imap_head head;
    memset(text, 't', sizeof text);
    memcpy(text + IMAP_TAG_MAX, " NOOP", sizeof " NOOP");
    imap_command_head(cq_slice_cstr(text), &head);
    assert_int_equal(head.tag.len, IMAP_TAG_MAX);
    memset(text, 't', sizeof text);
    memcpy(text + IMAP_TAG_MAX + 1, " NOOP", sizeof " NOOP");
    imap_command_head(cq_slice_cstr(text), &head);
    assert_int_equal(head.tag.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_head_is_found_whatever_follows),
        cmocka_unit_test(every_verb_is_found_by_its_name),
        cmocka_unit_test(commands_without_arguments_take_none),
        cmocka_unit_test(login_takes_any_kind_of_string),
        cmocka_unit_test(authenticate_may_bring_an_initial_response),
        cmocka_unit_test(the_arguments_of_mailbox_commands_are_found),
        cmocka_unit_test(append_ends_with_the_header_of_its_message),
        cmocka_unit_test(sets_are_as_written),
        cmocka_unit_test(store_has_modes_and_modifiers),
        cmocka_unit_test(id_has_fields),
        cmocka_unit_test(wrong_arguments_are_refused_with_a_sentence_that_does_not_repeat_them),
        cmocka_unit_test(a_long_keyword_is_refused),
        cmocka_unit_test(a_tag_has_a_limit),
    };
    return cmocka_run_group_tests_name("imap_command", tests, setup, teardown);
}
