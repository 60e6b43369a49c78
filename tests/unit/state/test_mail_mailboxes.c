/* CREATE, DELETE, RENAME, subscriptions, names. */
#include "unit/state/mail_helpers.h"

#include "state/mailbox_name.h"
#include "state/state_key.h"
#include "state/state_limits.h"

/* ---- names ---- */

static void names_are_judged_by_bytes_levels_and_characters(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum cq_rc want;
    } cases[] = {
        {"a", CQ_OK},
        {"a/b", CQ_OK},
        {" leading and trailing ", CQ_OK},
        {"100 %&*~ \\ \"quoted\"", CQ_OK},
        {"\xc3\xbcml\xc3\xa4ut/\xe6\x97\xa5\xe6\x9c\xac", CQ_OK},
        {"", CQ_E_INVALID},
        {"/", CQ_E_INVALID},
        {"/a", CQ_E_INVALID},
        {"a/", CQ_E_INVALID},
        {"a//b", CQ_E_INVALID},
        {"a\nb", CQ_E_INVALID},
        {"a\x7f", CQ_E_INVALID},
        {"a\xc2\x85", CQ_E_INVALID},    /* C1 */
        {"a\xff", CQ_E_INVALID},        /* not UTF-8 */
        {"a\xc3", CQ_E_INVALID},        /* cut short */
        {"\xed\xa0\x80", CQ_E_INVALID}, /* a surrogate */
        {"\xc0\xaf", CQ_E_INVALID},     /* overlong '/' */
        {"a/../b", CQ_OK},              /* names are keys, never paths */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (mailbox_name_check(cq_slice_cstr(cases[i].name), NULL) != cases[i].want)
            fail_msg("name \"%s\"", cases[i].name);
}

static void a_name_may_have_1000_bytes_and_32_levels_and_no_more(void **state)
{
    struct shard *s = *state;
    char name[1200];
    memset(name, 'x', sizeof name);
    name[STATE_NAME_MAX] = '\0';
    assert_int_equal(h_create(s, name, 0, NULL), CQ_OK);
    assert_non_null(h_mailbox(s, name));
    name[STATE_NAME_MAX] = 'x';
    name[STATE_NAME_MAX + 1] = '\0';
    assert_int_equal(h_create(s, name, 0, NULL), CQ_E_INVALID);

    for (size_t level = 0; level < 33; level++)
        memcpy(name + 2 * level, "d/", 2);
    name[2 * 32 - 1] = '\0';
    assert_int_equal(h_create(s, name, 0, NULL), CQ_OK);
    name[2 * 32 - 1] = '/';
    name[2 * 33 - 1] = '\0';
    assert_int_equal(h_create(s, name, 0, NULL), CQ_E_INVALID);
}

static void inbox_is_inbox_in_any_case_and_at_the_first_level_only(void **state)
{
    struct shard *s = *state;
    assert_int_equal(h_create(s, "iNbOx", 0, NULL), CQ_E_EXISTS);
    assert_int_equal(h_create(s, "inbox/Sub", 0, NULL), CQ_OK);
    assert_non_null(h_mailbox(s, "INBOX/Sub"));
    assert_int_equal(h_create(s, "x/inbox", 0, NULL), CQ_OK);
    assert_non_null(h_mailbox(s, "x/inbox"));
    assert_int_equal(h_create(s, "inboxes", 0, NULL), CQ_OK);
    assert_non_null(h_mailbox(s, "inboxes"));
}

/* ---- create ---- */

static void creating_makes_missing_parents_as_ordinary_mailboxes(void **state)
{
    struct shard *s = *state;
    uint64_t before = h_account(s)->modseq;
    assert_int_equal(h_create(s, "a/b/c", 0, NULL), CQ_OK);
    assert_int_equal(h_account(s)->modseq, before + 1);
    assert_int_equal(h_append(s, h_mailbox(s, "a")->id, (struct h_message){.text = "x"}), CQ_OK);
    assert_non_null(h_mailbox(s, "a/b"));
    assert_false(h_subscribed(s, "a/b/c"));
}

static void each_mailbox_has_another_id_and_a_greater_uidvalidity(void **state)
{
    struct shard *s = *state;
    uint64_t first, second;
    assert_int_equal(h_create(s, "again", 0, &first), CQ_OK);
    uint32_t uidvalidity = h_mailbox(s, "again")->uidvalidity;
    assert_int_equal(h_delete(s, first), CQ_OK);
    assert_int_equal(h_create(s, "again", 0, &second), CQ_OK);
    assert_true(second > first);
    assert_true(h_mailbox(s, "again")->uidvalidity > uidvalidity);
}

static void a_special_use_has_one_mailbox(void **state)
{
    struct shard *s = *state;
    assert_int_equal(h_create(s, "Sent Items", CHASQUI__MAIL__SPECIAL_USE__USE_SENT, NULL), CQ_E_CONFLICT);
    assert_null(h_mailbox(s, "Sent Items"));
    assert_int_equal(h_delete(s, h_mailbox(s, "Sent")->id), CQ_OK);
    assert_int_equal(h_create(s, "Sent Items", CHASQUI__MAIL__SPECIAL_USE__USE_SENT, NULL), CQ_OK);
    assert_int_equal(h_mailbox(s, "Sent Items")->use, CHASQUI__MAIL__SPECIAL_USE__USE_SENT);
    assert_int_equal(h_create(s, "Other", CHASQUI__MAIL__SPECIAL_USE__USE_INBOX, NULL), CQ_E_INVALID);
    assert_int_equal(h_create(s, "Other", 77, NULL), CQ_E_INVALID);
    assert_int_equal(h_create(s, "Other", -1, NULL), CQ_E_INVALID);
}

static void a_failed_create_leaves_no_parents(void **state)
{
    struct shard *s = *state;
    uint64_t before = h_account(s)->modseq;
    assert_int_equal(h_create(s, "p/q", CHASQUI__MAIL__SPECIAL_USE__USE_TRASH, NULL), CQ_E_CONFLICT);
    assert_null(h_mailbox(s, "p"));
    assert_int_equal(h_account(s)->modseq, before);
    assert_int_equal(h_account(s)->mailboxes, 6);
}

static void an_account_has_at_most_10000_mailboxes(void **state)
{
    struct shard *s = *state;
    char name[32];
    for (int i = 6; i < STATE_MAILBOXES_MAX; i++) {
        snprintf(name, sizeof name, "m%d", i);
        assert_int_equal(h_create(s, name, 0, NULL), CQ_OK);
    }
    assert_int_equal(h_create(s, "one more", 0, NULL), CQ_E_LIMIT);
    assert_int_equal(h_list(s)->n_mailboxes, STATE_MAILBOXES_MAX);
    assert_int_equal(h_delete(s, h_mailbox(s, "m77")->id), CQ_OK);
    assert_int_equal(h_create(s, "one more", 0, NULL), CQ_OK);
}

/* ---- delete ---- */

static void inbox_and_parents_cannot_be_deleted(void **state)
{
    struct shard *s = *state;
    uint64_t child;
    assert_int_equal(h_delete(s, INBOX), CQ_E_DENIED);
    assert_int_equal(h_create(s, "p/q", 0, &child), CQ_OK);
    assert_int_equal(h_delete(s, h_mailbox(s, "p")->id), CQ_E_CONFLICT);
    assert_int_equal(h_delete(s, child), CQ_OK);
    assert_int_equal(h_delete(s, h_mailbox(s, "p")->id), CQ_OK);
    assert_int_equal(h_delete(s, child), CQ_E_NO_MAILBOX);
    assert_int_equal(h_delete(s, 0), CQ_E_NO_MAILBOX);
    assert_int_equal(h_delete(s, UINT64_MAX), CQ_E_NO_MAILBOX);
}

static void a_sibling_whose_name_begins_alike_is_no_child(void **state)
{
    struct shard *s = *state;
    assert_int_equal(h_create(s, "work", 0, NULL), CQ_OK);
    assert_int_equal(h_create(s, "work-old", 0, NULL), CQ_OK);
    assert_int_equal(h_create(s, "work.old", 0, NULL), CQ_OK);
    assert_int_equal(h_rename(s, "work", "job"), CQ_OK);
    assert_non_null(h_mailbox(s, "work-old"));
    assert_non_null(h_mailbox(s, "work.old"));
    assert_int_equal(h_delete(s, h_mailbox(s, "job")->id), CQ_OK);
}

static void a_deleted_mailbox_frees_its_quota_at_once_and_its_records_later(void **state)
{
    struct shard *s = *state;
    uint64_t id;
    assert_int_equal(h_create(s, "big", 0, &id), CQ_OK);
    for (int i = 0; i < 30; i++)
        assert_int_equal(h_append(s, id, (struct h_message){.text = "0123456789", .flags = i % 2 ? 8 : 0}), CQ_OK);
    assert_int_equal(h_flag(s, id, 1, 3, 1, 8), CQ_OK);
    assert_int_equal(h_expunge(s, id), CQ_OK);
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "stays"}), CQ_OK);
    uint64_t full = h_keys(s, STORE_STATE);
    assert_int_equal(h_delete(s, id), CQ_OK);
    assert_int_equal(h_account(s)->used_bytes, 5);
    assert_int_equal(h_account(s)->used_messages, 1);
    assert_int_equal(h_reclaim(s), CQ_OK);
    assert_false(mail_machine_reclaim_due(shard_machine(s, 0), shard_time(s)));
    assert_true(h_keys(s, STORE_STATE) < full - 13 * 4);
    assert_int_equal(h_dead_chunks(s), 30);
}

/* ---- rename ---- */

static void renaming_moves_children_and_keeps_ids_messages_and_uidvalidity(void **state)
{
    struct shard *s = *state;
    uint64_t a, b;
    assert_int_equal(h_create(s, "a", 0, &a), CQ_OK);
    assert_int_equal(h_create(s, "a/b", 0, &b), CQ_OK);
    assert_int_equal(h_append(s, b, (struct h_message){.text = "x"}), CQ_OK);
    uint32_t uidvalidity = h_mailbox(s, "a/b")->uidvalidity;
    assert_int_equal(h_rename(s, "a", "new/place"), CQ_OK);
    assert_null(h_mailbox(s, "a"));
    assert_null(h_mailbox(s, "a/b"));
    assert_int_equal(h_mailbox(s, "new/place")->id, a);
    const Chasqui__Mail__Mailbox *moved = h_mailbox(s, "new/place/b");
    assert_int_equal(moved->id, b);
    assert_int_equal(moved->uidvalidity, uidvalidity);
    assert_int_equal(moved->messages, 1);
    assert_non_null(h_mailbox(s, "new"));
}

static void renaming_keeps_subscriptions_and_takes_none_away(void **state)
{
    struct shard *s = *state;
    Chasqui__Mail__SetSubscribed set = W(SET_SUBSCRIBED);
    assert_int_equal(h_create(s, "a/b", 0, NULL), CQ_OK);
    set.name = (char *)"a/b";
    set.subscribed = true;
    assert_int_equal(h_run(s, M(SET_SUBSCRIBED), &set).rc, CQ_OK);
    assert_int_equal(h_rename(s, "a", "c"), CQ_OK);
    assert_true(h_subscribed(s, "c/b"));
    assert_true(h_subscribed(s, "a/b"));
    assert_false(h_subscribed(s, "c"));
}

static void renames_that_cannot_be_are_refused(void **state)
{
    struct shard *s = *state;
    char deep[80] = "";
    assert_int_equal(h_create(s, "a/b", 0, NULL), CQ_OK);
    for (int i = 0; i < 31; i++)
        memcpy(deep + 2 * i, "d/", 2);
    deep[62] = 'd';
    static const struct {
        const char *from, *to;
        enum cq_rc want;
    } cases[] = {
        {"none", "x", CQ_E_NO_MAILBOX}, {"a", "Sent", CQ_E_EXISTS},      {"a", "a", CQ_E_EXISTS},
        {"a", "a/b/c", CQ_E_INVALID},   {"a", "a/x", CQ_E_INVALID},      {"a", "", CQ_E_INVALID},
        {"", "x", CQ_E_INVALID},        {"a", "INBOX", CQ_E_EXISTS},     {"a", "inbox", CQ_E_EXISTS},
        {"INBOX", "Sent", CQ_E_EXISTS}, {"INBOX", "inbox", CQ_E_EXISTS},
    };
    uint64_t before = h_account(s)->modseq;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(h_rename(s, cases[i].from, cases[i].to), cases[i].want);
    assert_int_equal(h_rename(s, "a", deep), CQ_E_INVALID); /* a/b would be too deep */
    assert_int_equal(h_account(s)->modseq, before);
    assert_null(h_mailbox(s, "d"));
}

static void renaming_inbox_moves_its_messages_and_leaves_it_and_its_children(void **state)
{
    struct shard *s = *state;
    struct fetch_record record;
    assert_int_equal(h_create(s, "INBOX/sub", 0, NULL), CQ_OK);
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "one", .keyword = (char *)"k"}), CQ_OK);
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "two", .flags = 8}), CQ_OK);
    assert_int_equal(h_rename(s, "INBOX", "old/2025"), CQ_OK);
    const Chasqui__Mail__Mailbox *inbox = h_mailbox(s, "INBOX");
    assert_int_equal(inbox->id, INBOX);
    assert_int_equal(inbox->messages, 0);
    assert_int_equal(inbox->uidnext, 3);
    assert_non_null(h_mailbox(s, "INBOX/sub"));
    const Chasqui__Mail__Mailbox *moved = h_mailbox(s, "old/2025");
    assert_int_equal(moved->messages, 2);
    assert_int_equal(moved->deleted, 1);
    assert_int_equal(h_account(s)->used_messages, 2);
    assert_true(h_fetch(s, h_mailbox(s, "old/2025")->id, 1, &record));
    assert_true(fetch_record_has_keyword(&record, 0));
}

/* ---- subscriptions ---- */

static void any_valid_name_can_be_subscribed_twice_and_unsubscribed_twice(void **state)
{
    struct shard *s = *state;
    Chasqui__Mail__SetSubscribed set = W(SET_SUBSCRIBED);
    set.name = (char *)"not/there";
    for (int round = 0; round < 4; round++) {
        set.subscribed = round < 2;
        uint64_t before = h_account(s)->modseq;
        assert_int_equal(h_run(s, M(SET_SUBSCRIBED), &set).rc, CQ_OK);
        assert_int_equal(h_account(s)->modseq, before + (round % 2 == 0));
        assert_int_equal(h_subscribed(s, "not/there"), round < 2);
    }
    set.name = (char *)"bad//name";
    assert_int_equal(h_run(s, M(SET_SUBSCRIBED), &set).rc, CQ_E_INVALID);
}

static void names_of_an_account_have_four_mebibytes_together(void **state)
{
    struct shard *s = *state;
    Chasqui__Mail__SetSubscribed set = W(SET_SUBSCRIBED);
    char name[STATE_NAME_MAX + 1];
    int i = 0;
    enum cq_rc rc;
    memset(name, 'n', sizeof name);
    name[STATE_NAME_MAX] = '\0';
    set.name = name;
    set.subscribed = true;
    do {
        snprintf(name, 10, "%08d", i++);
        name[8] = 'n';
        rc = h_run(s, M(SET_SUBSCRIBED), &set).rc;
    } while (rc == CQ_OK);
    assert_int_equal(rc, CQ_E_LIMIT);
    assert_in_range(i, STATE_NAMES_BYTES_MAX / STATE_NAME_MAX, STATE_NAMES_BYTES_MAX / STATE_NAME_MAX + 2);
    assert_int_equal(h_create(s, "small", 0, NULL), CQ_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_judged_by_bytes_levels_and_characters),
        H_TEST(a_name_may_have_1000_bytes_and_32_levels_and_no_more),
        H_TEST(inbox_is_inbox_in_any_case_and_at_the_first_level_only),
        H_TEST(creating_makes_missing_parents_as_ordinary_mailboxes),
        H_TEST(each_mailbox_has_another_id_and_a_greater_uidvalidity),
        H_TEST(a_special_use_has_one_mailbox),
        H_TEST(a_failed_create_leaves_no_parents),
        H_TEST(an_account_has_at_most_10000_mailboxes),
        H_TEST(inbox_and_parents_cannot_be_deleted),
        H_TEST(a_sibling_whose_name_begins_alike_is_no_child),
        H_TEST(a_deleted_mailbox_frees_its_quota_at_once_and_its_records_later),
        H_TEST(renaming_moves_children_and_keeps_ids_messages_and_uidvalidity),
        H_TEST(renaming_keeps_subscriptions_and_takes_none_away),
        H_TEST(renames_that_cannot_be_are_refused),
        H_TEST(renaming_inbox_moves_its_messages_and_leaves_it_and_its_children),
        H_TEST(any_valid_name_can_be_subscribed_twice_and_unsubscribed_twice),
        H_TEST(names_of_an_account_have_four_mebibytes_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
