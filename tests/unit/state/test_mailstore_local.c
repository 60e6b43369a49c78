/* The whole way of a front-end's calls: lib/mailstore, the local transport, the state machine, the store in memory. */
#include "unit/cq_cmocka.h"
#include "support/mailstore_local.h"

#include "base/cq_mem.h"
#include "base/cq_pool.h"
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
        cmocka_unit_test_setup_teardown(an_appended_message_is_opened_fetched_and_read, setup, teardown),
        cmocka_unit_test_setup_teardown(changes_tell_what_is_new_what_changed_and_what_vanished, setup, teardown),
        cmocka_unit_test_setup_teardown(a_staged_body_is_stored_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(a_copy_of_more_than_one_entry_takes_is_one_call, setup, teardown),
        cmocka_unit_test_setup_teardown(a_watch_hears_of_every_change_of_its_account, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
