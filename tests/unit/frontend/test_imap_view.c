#include "imap/imap_view.h"

#include "unit/cq_cmocka.h"

static int setup(void **state)
{
    *state = cq_pool_new(65536);
    return 0;
}

static int teardown(void **state)
{
    struct cq_pool *pool = *state;
    cq_pool_free(&pool);
    return 0;
}

static struct imap_view *view_of(struct uid_range *ranges, size_t count, uint32_t uidnext)
{
    struct mail_open open = {.mailbox = {.id = 7, .uidnext = uidnext, .highest_modseq = 5}, .uids = {ranges, count}};
    return imap_view_new(&open, false);
}

static bool parse(struct cq_pool *pool, const char *text, struct imap_seqset *set)
{
    struct imap_parser p;
    imap_parser_init(&p, cq_slice_cstr(text), pool);
    return imap_parse_seqset(&p, set) && imap_at_end(&p);
}

static const char *show(struct cq_pool *pool, const struct uidset *set)
{
    struct cq_buf out;
    cq_buf_init(&out, 10000);
    for (size_t i = 0; i < set->count; i++)
        cq_buf_printf(&out, "%s%u:%u", i ? "," : "", set->ranges[i].first, set->ranges[i].last);
    const char *text = cq_pool_cstr(pool, cq_buf_slice(&out));
    cq_buf_fini(&out);
    return text;
}

static void numbers_and_uids_are_each_others_map(void **state)
{
    (void)state;
    struct uid_range ranges[] = {{3, 5}, {9, 9}, {100000, 100001}};
    struct imap_view *view = view_of(ranges, 3, 200000);
    static const uint32_t uids[] = {3, 4, 5, 9, 100000, 100001};
    assert_int_equal(imap_view_exists(view), 6);
    assert_int_equal(imap_view_last_uid(view), 100001);
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(imap_view_uid(view, i + 1), uids[i]);
        assert_int_equal(imap_view_seq(view, uids[i]), i + 1);
    }
    assert_int_equal(imap_view_seq(view, 6), 0);
    imap_view_free(&view);
}

static void sets_are_resolved_as_rfc_3501_says(void **state)
{
    struct uid_range ranges[] = {{3, 5}, {9, 9}, {20, 21}};
    struct imap_view *view = view_of(ranges, 3, 30);
    static const struct {
        const char *set;
        bool uid;
        const char *uids; /* NULL: refused */
    } cases[] = {
        {"1", false, "3:3"},
        {"1:3", false, "3:5"},
        {"3:1", false, "3:5"},
        {"*", false, "21:21"},
        {"1:*", false, "3:21"},
        {"6:*", false, "21:21"},
        {"7", false, NULL},
        {"1:7", false, NULL},
        {"7:*", false, "21:21"},
        {"4,1", false, "3:3,9:9"},
        {"1,1:2,2", false, "3:4"},
        {"3", true, "3:3"},
        {"1:4", true, "1:4"},
        {"9:*", true, "9:21"},
        {"25:*", true, "21:21"},
        {"25", true, ""},
        {"*", true, "21:21"},
        {"22:29", true, ""},
        {"5:4294967295", true, "5:21"},
        {"*:9", true, "9:21"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct imap_seqset set;
        struct uidset uids;
        assert_true(parse(*state, cases[i].set, &set));
        bool ok = imap_view_resolve(view, &set, cases[i].uid, *state, &uids);
        if (ok != (cases[i].uids != NULL))
            fail_msg("%s: %d", cases[i].set, ok);
        if (ok)
            assert_string_equal(show(*state, &uids), cases[i].uids);
    }
    imap_view_free(&view);
}

static void in_an_empty_mailbox_a_star_means_nothing(void **state)
{
    struct imap_view *view = view_of(NULL, 0, 1);
    static const char *const sets[] = {"*", "1:*", "*:5"};
    for (size_t i = 0; i < 3; i++) {
        struct imap_seqset set;
        struct uidset uids;
        assert_true(parse(*state, sets[i], &set));
        assert_true(imap_view_resolve(view, &set, false, *state, &uids));
        assert_int_equal(uids.count, 0);
        assert_true(imap_view_resolve(view, &set, true, *state, &uids));
        assert_int_equal(uids.count, 0);
    }
    imap_view_free(&view);
}

static void pieces_have_at_most_so_many_messages_and_together_are_the_set(void **state)
{
    struct uid_range ranges[] = {{3, 5}, {9, 9}, {20, 27}};
    struct imap_view *view = view_of(ranges, 3, 30);
    struct uid_range wanted[] = {{1, 4}, {6, 25}};
    struct uidset uids = {wanted, 2};
    for (uint32_t max = 1; max < 12; max++) {
        uint32_t next = 1, messages = 0;
        while (next) {
            struct uidset piece = imap_view_piece(view, &uids, next, max, *state, &next);
            struct uidset there = imap_view_existing(view, &piece, *state);
            assert_true(uidset_size(&there) > 0 && uidset_size(&there) <= max);
            messages += (uint32_t)uidset_size(&there);
        }
        assert_int_equal(messages, 9); /* 3, 4, 9, 20 to 25 */
    }
    imap_view_free(&view);
}

static void note(void *arg, uint32_t seq)
{
    cq_buf_printf(arg, "%u ", seq);
}

static void what_vanished_keeps_its_number_until_it_is_told(void **state)
{
    (void)state;
    struct uid_range ranges[] = {{1, 10}}, gone[] = {{2, 3}, {9, 9}, {11, 50}};
    struct imap_view *view = view_of(ranges, 1, 11);
    struct uidset vanished = {gone, 3};
    struct cq_buf told;
    cq_buf_init(&told, 1000);
    imap_view_vanish(view, &vanished);
    imap_view_vanish(view, &vanished);
    assert_int_equal(imap_view_exists(view), 10);
    assert_int_equal(imap_view_seq(view, 10), 10);
    assert_true(imap_view_is_gone(view, 9));
    assert_false(imap_view_is_gone(view, 11));
    imap_view_tell_gone(view, note, &told);
    assert_slice(cq_buf_slice(&told), "9 3 2 ");
    assert_int_equal(imap_view_exists(view), 7);
    assert_int_equal(imap_view_seq(view, 10), 7);
    assert_null(view->gone);
    cq_buf_fini(&told);
    imap_view_free(&view);
}

static void recent_counts_only_what_is_there(void **state)
{
    (void)state;
    struct uid_range ranges[] = {{1, 3}}, one = {2, 2};
    struct imap_view *view = view_of(ranges, 1, 4);
    struct uidset vanished = {&one, 1};
    struct cq_buf told;
    imap_view_claim(view, 2, 6); /* two of them are not known yet */
    imap_view_claim(view, 0, 0);
    assert_int_equal(imap_view_recent_count(view), 2);
    imap_view_vanish(view, &vanished);
    cq_buf_init(&told, 100);
    imap_view_tell_gone(view, note, &told);
    assert_int_equal(imap_view_recent_count(view), 1);
    assert_true(imap_view_is_recent(view, 5));
    cq_buf_fini(&told);
    imap_view_free(&view);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_and_uids_are_each_others_map),
        cmocka_unit_test(sets_are_resolved_as_rfc_3501_says),
        cmocka_unit_test(in_an_empty_mailbox_a_star_means_nothing),
        cmocka_unit_test(pieces_have_at_most_so_many_messages_and_together_are_the_set),
        cmocka_unit_test(what_vanished_keeps_its_number_until_it_is_told),
        cmocka_unit_test(recent_counts_only_what_is_there),
    };
    return cmocka_run_group_tests_name("imap_view", tests, setup, teardown);
}
