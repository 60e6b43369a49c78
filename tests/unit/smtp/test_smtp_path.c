#include "smtp/smtp_path.h"

#include "unit/cq_cmocka.h"

static struct cq_pool *pool;

#define L64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void paths_are_taken_strictly(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        const char *local, *domain, *written;
    } cases[] = {
        {"<a@b>", true, "a", "b", "a@b"},
        {"<a.b+c@d-e.example>", true, "a.b+c", "d-e.example", "a.b+c@d-e.example"},
        {"<\"a b\"@c>", true, "a b", "c", "\"a b\"@c"},
        {"<\"a\\\"b\\\\\"@c>", true, "a\"b\\", "c", "\"a\\\"b\\\\\"@c"},
        {"<\"plain\"@c>", true, "plain", "c", "plain@c"},
        {"<\"\"@c>", true, "", "c", "\"\"@c"},
        {"<@x,@y.z:a@b>", true, "a", "b", "a@b"},
        {"<a@[192.0.2.1]>", true, "a", "[192.0.2.1]", "a@[192.0.2.1]"},
        {"<a@[IPv6:2001:db8::1]>", true, "a", "[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]"},
        {"<PostMaster>", true, "PostMaster", "", "PostMaster"},
        {"<" L64 "@b>", true, L64, "b", L64 "@b"},
        {"<\xc3\xa4@b>", true, "\xc3\xa4", "b", "\xc3\xa4@b"},
        {"<" L64 "a@b>", false, NULL, NULL, NULL},
        {"<a>", false, NULL, NULL, NULL},
        {"<a@>", false, NULL, NULL, NULL},
        {"<@b>", false, NULL, NULL, NULL},
        {"<a@b", false, NULL, NULL, NULL},
        {"a@b", false, NULL, NULL, NULL},
        {"<a@b c>", false, NULL, NULL, NULL},
        {"<a b@c>", false, NULL, NULL, NULL},
        {"<a..b@c>", false, NULL, NULL, NULL},
        {"<.a@c>", false, NULL, NULL, NULL},
        {"<a@.c>", false, NULL, NULL, NULL},
        {"<a@c.>", false, NULL, NULL, NULL},
        {"<a@c..d>", false, NULL, NULL, NULL},
        {"<a@b@c>", false, NULL, NULL, NULL},
        {"<\"a@b>", false, NULL, NULL, NULL},
        {"<\"a\x01\"@b>", false, NULL, NULL, NULL},
        {"<;sleep 66;>", false, NULL, NULL, NULL},
        {"<a@[192.0.2.1>", false, NULL, NULL, NULL},
        {"<a@[]>", false, NULL, NULL, NULL},
        {"<@x:>", false, NULL, NULL, NULL},
        {"<@x,a@b>", false, NULL, NULL, NULL},
        {"", false, NULL, NULL, NULL},
        {"<", false, NULL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cq_slice text = cq_slice_cstr(cases[i].text);
        struct smtp_path path;
        bool ok = smtp_path_take(&text, true, pool, &path);
        if (ok != cases[i].ok)
            fail_msg("%s", cases[i].text);
        if (!ok)
            continue;
        assert_int_equal(text.len, 0);
        assert_slice(path.local, cases[i].local);
        assert_slice(path.domain, cases[i].domain);
        assert_slice(smtp_path_text(&path, pool), cases[i].written);
    }
}

static void the_null_path_is_for_senders_only(void **state)
{
    (void)state;
    struct cq_slice text = CQ_SLICE("<> SIZE=1");
    struct smtp_path path;
    assert_false(smtp_path_take(&text, false, pool, &path));
    assert_true(smtp_path_take(&text, true, pool, &path));
    assert_true(path.null);
    assert_slice(text, " SIZE=1");
    assert_int_equal(smtp_path_text(&path, pool).len, 0);
}

static void utf8_is_noticed(void **state)
{
    (void)state;
    struct cq_slice text = CQ_SLICE("<a@\xc3\xa4.example>");
    struct smtp_path path;
    assert_true(smtp_path_take(&text, false, pool, &path));
    assert_true(path.utf8);
}

static void helo_names_have_no_blanks_or_controls(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
    } cases[] = {{"client.example", true}, {"my_pc", true},  {"[192.0.2.1]", true}, {"", false},
                 {"a b", false},           {"a\x01", false}, {"-", true},           {"a.", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(smtp_domain_ok(cq_slice_cstr(cases[i].text)), cases[i].ok);
}

static int setup(void **state)
{
    (void)state;
    pool = cq_pool_new(1024);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cq_pool_free(&pool);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_taken_strictly),
        cmocka_unit_test(the_null_path_is_for_senders_only),
        cmocka_unit_test(utf8_is_noticed),
        cmocka_unit_test(helo_names_have_no_blanks_or_controls),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
