/* The whole way of a front-end's calls: lib/mailstore, the local transport, the state machine, the store in memory. */
#include "unit/cq_cmocka.h"
#include "support/mailstore_local.h"

#include "base/cq_mem.h"
#include "base/cq_pool.h"
#include "mail/mail_build.h"
#include "state/mail_machine.h"

#include <stdlib.h>

struct fixture {
    struct mailstore_local *local;
    struct mailstore *store;
    struct mailstore_account account;
    struct cq_pool *pool;
    struct cq_err err;
};

#define ACCOUNT UINT64_C(0x1234000000000001)

static int setup(void **state)
{
    struct fixture *f = cq_new(struct fixture);
    static const uint8_t client[16] = "client of a test";
    f->local = mailstore_local_new();
    f->store = mailstore_new(mailstore_local_transport(f->local), client, 60000);
    f->account.id = ACCOUNT;
    f->pool = cq_pool_new(8192);
    struct mail_limits limits = {.directory_version = 1};
    assert_int_equal(mailstore_create_account(f->store, &f->account, &limits, CQ_SLICE("ana@example.test"), &f->err),
                     CQ_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    uint64_t records;
    assert_int_equal(mail_machine_verify(mailstore_local_machine(f->local, ACCOUNT), &records, &f->err), CQ_OK);
    mailstore_free(&f->store);
    mailstore_local_free(&f->local);
    cq_pool_free(&f->pool);
    free(f);
    return 0;
}

static uint64_t mailbox_named(struct fixture *f, const char *name)
{
    struct mail_mailbox_list list;
    assert_int_equal(mailstore_list(f->store, &f->account, f->pool, &list, &f->err), CQ_OK);
    for (size_t i = 0; i < list.count; i++) {
        if (cq_slice_eq(list.mailboxes[i].name, cq_slice_cstr(name)))
            return list.mailboxes[i].id;
    }
    return 0;
}

static struct mail_appended append_text(struct fixture *f, uint64_t mailbox, const char *text)
{
    struct cq_slice octets = cq_slice_cstr(text);
    struct cq_slice keyword = CQ_SLICE("$Forwarded");
    struct mail_new_message message = {
        .flags = MAIL_FLAGGED,
        .keywords = &keyword,
        .keyword_count = 1,
        .internal_date = 1234567,
        .summary = CQ_SLICE("a summary"),
        .octets = &octets,
        .octet_count = 1,
    };
    struct mail_appended appended;
    assert_int_equal(mailstore_append(f->store, &f->account, mailbox, &message, 1, &appended, &f->err), CQ_OK);
    return appended;
}

static void a_new_account_has_its_six_mailboxes(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"};
    static const enum mail_use uses[] = {MAIL_USE_ARCHIVE, MAIL_USE_DRAFTS, MAIL_USE_INBOX,
                                         MAIL_USE_JUNK,    MAIL_USE_SENT,   MAIL_USE_TRASH};
    struct mail_mailbox_list list;
    assert_int_equal(mailstore_list(f->store, &f->account, f->pool, &list, &f->err), CQ_OK);
    assert_int_equal(list.count, 6);
    assert_int_equal(list.subscription_count, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_slice(list.mailboxes[i].name, names[i]);
        assert_slice(list.subscriptions[i], names[i]);
        assert_int_equal(list.mailboxes[i].use, uses[i]);
        assert_int_equal(list.mailboxes[i].uidnext, 1);
    }
}

static void a_mailbox_is_found_by_its_name_as_the_list_has_it(void **state)
{
    struct fixture *f = *state;
    struct mail_mailbox_list list;
    struct mail_mailbox one;
    uint64_t id;
    assert_int_equal(mailstore_create(f->store, &f->account, CQ_SLICE("a/b"), MAIL_USE_NONE, &id, &f->err), CQ_OK);
    append_text(f, id, "Subject: one\r\n\r\n");
    assert_int_equal(mailstore_list(f->store, &f->account, f->pool, &list, &f->err), CQ_OK);
    assert_true(list.count >= 7);
    for (size_t i = 0; i < list.count; i++) {
        const struct mail_mailbox *want = &list.mailboxes[i];
        assert_int_equal(mailstore_find(f->store, &f->account, want->name, f->pool, &one, &f->err), CQ_OK);
        assert_true(one.id == want->id && one.uidnext == want->uidnext && one.messages == want->messages);
        assert_true(one.uidvalidity == want->uidvalidity && one.unseen == want->unseen && one.use == want->use);
        assert_true(one.highest_modseq == want->highest_modseq && one.recent_from == want->recent_from);
    }
    static const char *const missing[] = {"a/", "a/bc", "nothing", "inbox"};
    for (size_t i = 0; i < sizeof missing / sizeof *missing; i++)
        assert_int_equal(mailstore_find(f->store, &f->account, cq_slice_cstr(missing[i]), f->pool, &one, &f->err),
                         CQ_E_NO_MAILBOX);
    assert_int_equal(mailstore_delete(f->store, &f->account, id, &f->err), CQ_OK);
    assert_int_equal(mailstore_find(f->store, &f->account, CQ_SLICE("a/b"), f->pool, &one, &f->err), CQ_E_NO_MAILBOX);
}

static void an_appended_message_is_opened_fetched_and_read(void **state)
{
    struct fixture *f = *state;
    uint64_t inbox = mailbox_named(f, "INBOX");
    struct mail_appended appended = append_text(f, inbox, "Subject: hello\r\n\r\nworld\r\n");
    assert_int_equal(appended.first_uid, 1);
    assert_int_equal(appended.count, 1);

    struct mail_open open;
    assert_int_equal(mailstore_open(f->store, &f->account, inbox, f->pool, &open, &f->err), CQ_OK);
    assert_int_equal(open.mailbox.messages, 1);
    assert_int_equal(open.mailbox.uidvalidity, appended.uidvalidity);
    assert_int_equal(open.first_unseen_uid, 1);
    assert_int_equal(open.mailbox.keyword_count, 1);
    assert_slice(open.mailbox.keywords[0], "$Forwarded");
    assert_int_equal(uidset_size(&open.uids), 1);

    struct mail_records records;
    assert_int_equal(mailstore_fetch(f->store, &f->account, inbox, &open.uids, true, f->pool, &records, &f->err),
                     CQ_OK);
    struct fetch_record record;
    assert_int_equal(fetch_record_next(&records.records, &record), CQ_OK);
    assert_int_equal(record.uid, 1);
    assert_int_equal(record.size, 25);
    assert_int_equal(record.flags, MAIL_FLAGGED);
    assert_int_equal(record.internal_date, 1234567);
    assert_true(fetch_record_has_keyword(&record, 0));
    assert_slice(record.summary, "a summary");
    assert_int_equal(fetch_record_next(&records.records, &record), CQ_E_EOF);

    struct cq_slice octets;
    assert_int_equal(mailstore_read_body(f->store, &f->account, record.email, 9, 5, f->pool, &octets, &f->err), CQ_OK);
    assert_slice(octets, "hello");
}

static struct cq_slice fetched_summary(struct fixture *f, uint64_t mailbox, uint32_t uid, uint32_t summary)
{
    struct uid_range range = {uid, uid};
    struct mail_records records;
    struct fetch_record record;
    assert_int_equal(mailstore_fetch(f->store, &f->account, mailbox, &(struct uidset){&range, 1}, summary, f->pool,
                                     &records, &f->err),
                     CQ_OK);
    assert_int_equal(fetch_record_next(&records.records, &record), CQ_OK);
    assert_int_equal(record.uid, uid);
    return record.summary;
}

static void summaries_come_with_the_data_that_were_asked_for(void **state)
{
    struct fixture *f = *state;
    uint64_t inbox = mailbox_named(f, "INBOX");
    struct cq_slice octets = CQ_SLICE("Subject: hello\r\n\r\nworld\r\n");
    struct cq_buf summary;
    struct mail_appended appended;
    struct mail_summary s;
    cq_buf_init(&summary, MAIL_SUMMARY_MAX);
    mail_summary_of(octets, &summary);
    const struct mail_new_message message = {
        .summary = cq_buf_slice(&summary), .octets = &octets, .octet_count = 1, .internal_date = 1};
    assert_int_equal(mailstore_append(f->store, &f->account, inbox, &message, 1, &appended, &f->err), CQ_OK);
    append_text(f, inbox, "its summary is none");

    assert_int_equal(fetched_summary(f, inbox, 1, MAIL_FETCH_NO_SUMMARY).len, 0);
    assert_true(cq_slice_eq(fetched_summary(f, inbox, 1, MAIL_FETCH_SUMMARY), cq_buf_slice(&summary)));
    struct cq_slice some = fetched_summary(f, inbox, 1, mail_fetch_summary_of(MAIL_SUMMARY_DATA_ENVELOPE));
    assert_true(some.len < summary.len);
    assert_int_equal(mail_summary_open(some, &s, &f->err), CQ_OK);
    assert_true(s.envelope.len > 0 && s.structure.len == 0 && s.parts.len == 0 && s.size == octets.len);
    assert_slice(fetched_summary(f, inbox, 2, mail_fetch_summary_of(MAIL_SUMMARY_DATA_ENVELOPE)), "a summary");
    cq_buf_fini(&summary);
}

static void a_mailbox_is_opened_by_its_name_as_by_its_id(void **state)
{
    struct fixture *f = *state;
    struct mail_open named, open;
    uint64_t id = mailbox_named(f, "INBOX");
    for (unsigned i = 0; i < 5; i++)
        append_text(f, id, "x");
    assert_int_equal(mailstore_open(f->store, &f->account, id, f->pool, &open, &f->err), CQ_OK);
    assert_int_equal(mailstore_open_name(f->store, &f->account, CQ_SLICE("INBOX"), f->pool, &named, &f->err), CQ_OK);
    assert_true(named.mailbox.id == id && named.mailbox.uidnext == open.mailbox.uidnext);
    assert_true(named.mailbox.highest_modseq == open.mailbox.highest_modseq && uidset_size(&named.uids) == 5);
    static const char *const missing[] = {"", "inbox", "INBOX/x", "nothing"};
    for (size_t i = 0; i < sizeof missing / sizeof *missing; i++)
        assert_int_equal(
            mailstore_open_name(f->store, &f->account, cq_slice_cstr(missing[i]), f->pool, &named, &f->err),
            CQ_E_NO_MAILBOX);
}

/* Long ranges, single gaps, and both within the piece that is read of the set at once. */
static void an_opened_mailbox_has_the_uids_that_are_there(void **state)
{
    struct fixture *f = *state;
    uint64_t id = mailbox_named(f, "INBOX");
    static struct mail_new_message messages[1500];
    static const uint32_t gone[] = {1, 5, 700, 701, 703, 1024, 1025, 1500, 2048, 2999};
    struct cq_slice octets = CQ_SLICE("x");
    struct mail_appended appended;
    struct uidset expunged;
    struct uidset_builder builder;
    struct mail_open open;
    for (size_t i = 0; i < 1500; i++)
        messages[i] = (struct mail_new_message){.summary = CQ_SLICE("s"), .octets = &octets, .octet_count = 1};
    for (unsigned n = 0; n < 2; n++)
        assert_int_equal(mailstore_append(f->store, &f->account, id, messages, 1500, &appended, &f->err), CQ_OK);
    uidset_builder_init(&builder, f->pool);
    for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++)
        uidset_builder_add(&builder, gone[i], gone[i]);
    struct uidset set = uidset_builder_finish(&builder);
    const struct mail_store change = {.mailbox = id, .uids = &set, .mode = MAIL_STORE_ADD, .flags = MAIL_DELETED};
    struct uidset modified;
    uint64_t modseq;
    assert_int_equal(mailstore_store(f->store, &f->account, &change, f->pool, &modified, &modseq, &f->err), CQ_OK);
    assert_int_equal(mailstore_expunge(f->store, &f->account, id, &set, f->pool, &expunged, &f->err), CQ_OK);
    assert_int_equal(mailstore_open(f->store, &f->account, id, f->pool, &open, &f->err), CQ_OK);
    assert_int_equal(uidset_size(&open.uids), 3000 - sizeof gone / sizeof gone[0]);
    for (uint32_t uid = 1; uid <= 3000; uid++)
        assert_int_equal(uidset_contains(&open.uids, uid), !uidset_contains(&set, uid));
}

static void changes_tell_what_is_new_what_changed_and_what_vanished(void **state)
{
    struct fixture *f = *state;
    uint64_t inbox = mailbox_named(f, "INBOX");
    append_text(f, inbox, "one");
    append_text(f, inbox, "two");
    append_text(f, inbox, "three");
    uint64_t since = f->account.modseq;

    struct uid_range second = {2, 2}, third = {3, 3};
    struct uidset set = {&second, 1}, set3 = {&third, 1}, modified, expunged;
    uint64_t modseq;
    struct mail_store seen = {.mailbox = inbox, .uids = &set3, .mode = MAIL_STORE_ADD, .flags = MAIL_SEEN};
    struct mail_store deleted = {.mailbox = inbox, .uids = &set, .mode = MAIL_STORE_ADD, .flags = MAIL_DELETED};
    assert_int_equal(mailstore_store(f->store, &f->account, &seen, f->pool, &modified, &modseq, &f->err), CQ_OK);
    assert_int_equal(mailstore_store(f->store, &f->account, &deleted, f->pool, &modified, &modseq, &f->err), CQ_OK);
    assert_int_equal(mailstore_expunge(f->store, &f->account, inbox, NULL, f->pool, &expunged, &f->err), CQ_OK);
    assert_int_equal(uidset_size(&expunged), 1);
    append_text(f, inbox, "four");

    struct mail_changes changes;
    assert_int_equal(mailstore_changes(f->store, &f->account, inbox, since, f->pool, &changes, &f->err), CQ_OK);
    assert_false(changes.more);
    assert_int_equal(changes.messages, 3);
    assert_int_equal(changes.uidnext, 5);
    assert_int_equal(uidset_size(&changes.vanished), 1);
    assert_true(uidset_contains(&changes.vanished, 2));
    struct fetch_record record;
    assert_int_equal(fetch_record_next(&changes.records.records, &record), CQ_OK);
    assert_int_equal(record.uid, 3);
    assert_int_equal(record.flags, MAIL_FLAGGED | MAIL_SEEN);
    assert_int_equal(fetch_record_next(&changes.records.records, &record), CQ_OK);
    assert_int_equal(record.uid, 4);
    assert_int_equal(fetch_record_next(&changes.records.records, &record), CQ_E_EOF);
    assert_int_equal(mailstore_changes(f->store, &f->account, inbox, changes.until_modseq, f->pool, &changes, &f->err),
                     CQ_OK);
    assert_int_equal(changes.records.records.len, 0);
}

static void a_staged_body_is_stored_whole(void **state)
{
    struct fixture *f = *state;
    uint64_t inbox = mailbox_named(f, "INBOX");
    struct mail_stage stage;
    static uint8_t octets[700000];
    for (size_t i = 0; i < sizeof octets; i++)
        octets[i] = (uint8_t)(i * 2654435761u >> 24);
    mailstore_stage_init(&stage, (const uint8_t *)"0123456789abcdef");
    struct cq_slice first = cq_slice_of(octets, 500000), second = cq_slice_of(octets + 500000, 200000);
    assert_int_equal(mailstore_stage(f->store, &f->account, &stage, &first, 1, &f->err), CQ_OK);
    assert_int_equal(mailstore_stage(f->store, &f->account, &stage, &second, 1, &f->err), CQ_OK);
    struct mail_new_message message = {.stage = &stage, .summary = CQ_SLICE("s")};
    struct mail_appended appended;
    assert_int_equal(mailstore_append(f->store, &f->account, inbox, &message, 1, &appended, &f->err), CQ_OK);
    mailstore_local_restart(f->local);
    struct cq_slice back;
    assert_int_equal(mailstore_read_body(f->store, &f->account, 1, 499990, 20, f->pool, &back, &f->err), CQ_OK);
    assert_int_equal(back.len, 20);
    assert_memory_equal(back.data, octets + 499990, 20);
}

static void a_copy_of_more_than_one_entry_takes_is_one_call(void **state)
{
    struct fixture *f = *state;
    uint64_t inbox = mailbox_named(f, "INBOX"), sent = mailbox_named(f, "Sent");
    static struct mail_new_message messages[3000];
    struct mail_appended appended;
    struct uid_range all = {1, UINT32_MAX};
    struct uidset set = {&all, 1};
    struct mail_copied copied;
    for (int i = 0; i < 4; i++)
        assert_int_equal(mailstore_append(f->store, &f->account, inbox, messages, 3000, &appended, &f->err), CQ_OK);
    uint64_t commands = mailstore_local_commands(f->local);
    assert_int_equal(mailstore_copy(f->store, &f->account, inbox, sent, &set, false, f->pool, &copied, &f->err), CQ_OK);
    assert_int_equal(uidset_size(&copied.copied), 12000);
    assert_int_equal(copied.first_uid, 1);
    assert_int_equal(mailstore_local_commands(f->local), commands + 4);
    assert_int_equal(mailstore_copy(f->store, &f->account, inbox, sent, &set, true, f->pool, &copied, &f->err), CQ_OK);
    assert_int_equal(uidset_size(&copied.copied), 12000);
    assert_int_equal(copied.first_uid, 12001);
    /* The next command waits until the rows of the moved messages are gone. */
    assert_int_equal(append_text(f, inbox, "new").first_uid, 12001);
}

/* ---- APPEND of more than one entry takes ---- */

/* Octets that differ everywhere: what is read back tells where it came from. */
static uint8_t octets[2u << 20];

static void fill_octets(void)
{
    for (size_t i = 0; i < sizeof octets; i++)
        octets[i] = (uint8_t)(i * 2654435761u >> 24);
}

static enum cq_rc append_many(struct fixture *f, uint64_t mailbox, const struct mail_new_message *messages,
                              size_t count)
{
    struct mail_appended appended = {0};
    uint32_t first = 0;
    struct mail_open open;
    assert_int_equal(mailstore_open(f->store, &f->account, mailbox, f->pool, &open, &f->err), CQ_OK);
    first = open.mailbox.uidnext;
    enum cq_rc rc = mailstore_append(f->store, &f->account, mailbox, messages, count, &appended, &f->err);
    assert_int_equal(appended.first_uid, rc == CQ_OK ? first : 0);
    assert_int_equal(appended.count, rc == CQ_OK ? count : 0);
    assert_int_equal(mailstore_open(f->store, &f->account, mailbox, f->pool, &open, &f->err), CQ_OK);
    assert_int_equal(open.mailbox.uidnext, rc == CQ_OK ? first + count : first);
    return rc;
}

static void expect_octets(struct fixture *f, uint64_t email, struct cq_slice want)
{
    struct cq_slice got;
    for (uint64_t at = 0; at < want.len; at += got.len) {
        assert_int_equal(mailstore_read_body(f->store, &f->account, email, at, 1u << 20, f->pool, &got, &f->err),
                         CQ_OK);
        assert_true(got.len > 0 && got.len <= want.len - at);
        assert_memory_equal(got.data, want.data + at, got.len);
    }
}

static void an_append_of_more_than_an_entry_takes_is_stored_whole(void **state)
{
    struct fixture *f = *state;
    uint64_t inbox = mailbox_named(f, "INBOX");
    fill_octets();
    /* Sizes, how many of each, commands. */
    static const struct {
        size_t size, count, commands;
    } cases[] = {
        {512u << 10, 2, 1},       /* all that an entry takes */
        {(512u << 10) - 1, 3, 2}, /* the largest one goes ahead */
        {(512u << 10) + 1, 1, 3}, /* one that no entry takes: two pieces */
        {300000, 60, 58},         {700000, 3, 7}, {1000, 1048, 1}, {1000, 1049, 2}, {0, 5, 1},
    };
    uint64_t email = 1;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mail_new_message *messages = cq_pool_calloc(f->pool, cases[i].count, sizeof *messages);
        struct cq_slice *parts = cq_pool_calloc(f->pool, 2 * cases[i].count, sizeof *parts);
        for (size_t m = 0; m < cases[i].count; m++) { /* in two slices, cut anywhere */
            size_t cut = cases[i].size ? m * 7919 % cases[i].size : 0;
            parts[2 * m] = cq_slice_of(octets + m, cut);
            parts[2 * m + 1] = cq_slice_of(octets + m + cut, cases[i].size - cut);
            messages[m] = (struct mail_new_message){.octets = parts + 2 * m, .octet_count = 2};
        }
        uint64_t commands = mailstore_local_commands(f->local);
        assert_int_equal(append_many(f, inbox, messages, cases[i].count), CQ_OK);
        assert_int_equal(mailstore_local_commands(f->local) - commands, cases[i].commands);
        for (size_t m = 0; m < cases[i].count; m++)
            expect_octets(f, email++, cq_slice_of(octets + m, cases[i].size));
    }
}

/* Fails one call of the shard: the transport that it stands before goes on with the others. */
struct failing {
    struct mailstore_transport base;
    struct mailstore_transport *real;
    int calls_left;
    enum cq_rc rc;
};

static enum cq_rc failing_call(struct mailstore_transport *transport, const struct mailstore_call *call,
                               struct cq_pool *pool, struct mailstore_answer *answer_r, struct cq_err *err)
{
    struct failing *f = (struct failing *)transport;
    if (call->command && f->calls_left-- == 0)
        return CQ_FAIL(err, f->rc, "as the test wants");
    return f->real->call(f->real, call, pool, answer_r, err);
}

static void an_append_that_fails_anywhere_stores_no_message(void **state)
{
    struct fixture *f = *state;
    uint64_t inbox = mailbox_named(f, "INBOX");
    struct cq_slice body = cq_slice_of(octets, 500000);
    struct mail_new_message messages[5];
    for (size_t m = 0; m < 5; m++)
        messages[m] = (struct mail_new_message){.octets = &body, .octet_count = 1};
    struct failing failing = {.base.call = failing_call, .real = mailstore_local_transport(f->local)};
    struct mailstore *whole = f->store;
    f->store = mailstore_new(&failing.base, (const uint8_t *)"another client..", 60000);
    for (int call = 0; call < 4; call++) {
        failing.calls_left = call;
        failing.rc = CQ_E_UNKNOWN_OUTCOME;
        /* Before the last command it is known that nothing was stored. */
        assert_int_equal(append_many(f, inbox, messages, 5), call < 3 ? CQ_E_UNAVAILABLE : CQ_E_UNKNOWN_OUTCOME);
    }
    mailstore_free(&f->store);
    f->store = whole;
    struct mail_limits limits = {.directory_version = 2, .quota_bytes = 2400000};
    assert_int_equal(mailstore_set_limits(f->store, &f->account, &limits, &f->err), CQ_OK);
    assert_int_equal(append_many(f, inbox, messages, 5), CQ_E_OVER_QUOTA);
    assert_int_equal(append_many(f, inbox, messages, 4), CQ_OK);
    /* What was staged for nothing goes. */
    mailstore_local_set_time(f->local, mailstore_local_time(f->local) + UINT64_C(3601000000));
    assert_int_equal(append_text(f, inbox, "x").count, 1);
    mailstore_local_reclaim(f->local);
}

static void an_append_of_too_much_is_refused_before_anything_is_sent(void **state)
{
    struct fixture *f = *state;
    struct cq_slice body = cq_slice_of(octets, 300000);
    static struct mail_new_message messages[MAIL_APPEND_STAGES_MAX + 4];
    struct mail_appended appended;
    uint64_t commands = mailstore_local_commands(f->local);
    for (size_t m = 0; m < sizeof messages / sizeof messages[0]; m++)
        messages[m] = (struct mail_new_message){.octets = &body, .octet_count = 1};
    assert_int_equal(
        mailstore_append(f->store, &f->account, 1, messages, MAIL_APPEND_STAGES_MAX + 4, &appended, &f->err),
        CQ_E_TOO_BIG); /* 3 fit the entry */
    body.len = sizeof octets;
    assert_int_equal(mailstore_append(f->store, &f->account, 1, messages, MAIL_APPEND_BYTES_MAX / sizeof octets + 1,
                                      &appended, &f->err),
                     CQ_E_TOO_BIG);
    assert_int_equal(mailstore_local_commands(f->local), commands);
}

static void of_summaries_that_do_not_fit_the_longest_are_left_out(void **state)
{
    struct fixture *f = *state;
    uint64_t inbox = mailbox_named(f, "INBOX");
    static const size_t lengths[] = {1000, 512u << 10, 400000, 2000, 500000, 0};
    struct mail_new_message messages[6];
    struct uid_range all = {1, 6};
    struct mail_records records;
    struct fetch_record record;
    for (size_t m = 0; m < 6; m++)
        messages[m] = (struct mail_new_message){.summary = cq_slice_of(octets + m, lengths[m])};
    assert_int_equal(append_many(f, inbox, messages, 6), CQ_OK);
    for (uint32_t uid = 1; uid <= 6; uid++) {
        all = (struct uid_range){uid, uid};
        assert_int_equal(
            mailstore_fetch(f->store, &f->account, inbox, &(struct uidset){&all, 1}, true, f->pool, &records, &f->err),
            CQ_OK);
        assert_int_equal(fetch_record_next(&records.records, &record), CQ_OK);
        if (uid == 2) /* the longest: without it the others fit */
            assert_int_equal(record.summary.len, 0);
        else
            assert_true(cq_slice_eq(record.summary, messages[uid - 1].summary));
    }
}

static void changed(void *arg, struct cq_slice notice)
{
    assert_true(notice.len > 0);
    ++*(int *)arg;
}

static void a_watch_hears_of_every_change_of_its_account(void **state)
{
    struct fixture *f = *state;
    int heard = 0;
    struct mailstore_transport *transport = mailstore_local_transport(f->local);
    struct mailstore_watch *watch = transport->watch(transport, ACCOUNT, changed, &heard);
    struct mailstore_watch *other = transport->watch(transport, ACCOUNT + 1, changed, &heard);
    append_text(f, mailbox_named(f, "INBOX"), "one");
    assert_int_equal(heard, 1);
    transport->unwatch(transport, watch);
    transport->unwatch(transport, other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_account_has_its_six_mailboxes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_mailbox_is_found_by_its_name_as_the_list_has_it, setup, teardown),
        cmocka_unit_test_setup_teardown(an_appended_message_is_opened_fetched_and_read, setup, teardown),
        cmocka_unit_test_setup_teardown(summaries_come_with_the_data_that_were_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(a_mailbox_is_opened_by_its_name_as_by_its_id, setup, teardown),
        cmocka_unit_test_setup_teardown(an_opened_mailbox_has_the_uids_that_are_there, setup, teardown),
        cmocka_unit_test_setup_teardown(changes_tell_what_is_new_what_changed_and_what_vanished, setup, teardown),
        cmocka_unit_test_setup_teardown(a_staged_body_is_stored_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(a_copy_of_more_than_one_entry_takes_is_one_call, setup, teardown),
        cmocka_unit_test_setup_teardown(an_append_of_more_than_an_entry_takes_is_stored_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(an_append_that_fails_anywhere_stores_no_message, setup, teardown),
        cmocka_unit_test_setup_teardown(an_append_of_too_much_is_refused_before_anything_is_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(of_summaries_that_do_not_fit_the_longest_are_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(a_watch_hears_of_every_change_of_its_account, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
