/* Records come in batches of which the next ones are under way while the present one is written; whatever goes wrong
 * meanwhile, no record is missing, doubled or old without the client hearing of it. */
#include "support/imap_fixture.h"

#include "core/front_ahead.h"
#include "imap/imap_session.h"
#include "mail/mail_build.h"

#include "unit/cq_cmocka.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define MESSAGES 7000u
#define FETCH CHASQUI__MAIL__METHOD__FETCH

#include <proto/mail.pb-c.h>

static struct imap_fixture *f;
static struct imap_peer peer;
static uint64_t inbox;

static void say_ok(const char *command, const char *tag)
{
    struct cq_buf out;
    char want[16];
    cq_buf_init(&out, 64u << 20);
    imap_peer_send(&peer, cq_slice_cstr(command), SIZE_MAX);
    assert_true(imap_peer_until(&peer, tag, &out));
    snprintf(want, sizeof want, "%s OK", tag);
    assert_non_null(memmem(out.data, out.len, want, strlen(want)));
    cq_buf_fini(&out);
}

static void fill(void)
{
    static struct mail_new_message messages[1000];
    struct cq_slice message = CQ_SLICE("From: a@example.test\r\nSubject: one of many\r\n\r\nbody\r\n");
    struct mail_mailbox_list list;
    struct mail_appended appended;
    struct cq_pool *pool = cq_pool_new(4096);
    struct cq_buf summary;
    cq_buf_init(&summary, MAIL_SUMMARY_MAX);
    mail_summary_of(message, &summary);
    assert_int_equal(mailstore_list(f->store, &f->account, pool, &list, NULL), CQ_OK);
    for (size_t i = 0; i < list.count; i++)
        if (list.mailboxes[i].use == MAIL_USE_INBOX)
            inbox = list.mailboxes[i].id;
    for (size_t i = 0; i < 1000; i++)
        messages[i] = (struct mail_new_message){
            .internal_date = 1767225600, .summary = cq_buf_slice(&summary), .octets = &message, .octet_count = 1};
    for (uint32_t done = 0; done < MESSAGES; done += 1000)
        assert_int_equal(mailstore_append(f->store, &f->account, inbox, messages, 1000, &appended, NULL), CQ_OK);
    cq_buf_fini(&summary);
    cq_pool_free(&pool);
}

static int setup(void **state)
{
    (void)state;
    f = imap_fixture_new();
    fill();
    imap_peer_connect(f, &peer);
    say_ok("l LOGIN ana secret\r\n", "l");
    say_ok("s SELECT INBOX\r\n", "s");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    imap_peer_close(&peer);
    imap_fixture_free(&f);
    return 0;
}

static void send_only(const char *command)
{
    assert_int_equal(send(peer.fd, command, strlen(command), 0), (ssize_t)strlen(command));
    imap_fixture_settle(f);
}

/* Untagged lines with FETCH, each number from 1 on once, in order; other lines go to `others`. */
static unsigned count_fetches(struct cq_slice answer, struct cq_buf *others)
{
    unsigned next = 1;
    while (answer.len) {
        struct cq_slice line = cq_slice_cut(&answer, '\n');
        char want[32];
        int len = snprintf(want, sizeof want, "* %u FETCH (", next);
        if (cq_slice_starts(line, cq_slice_of(want, (size_t)len))) {
            next++;
        } else if (others) {
            cq_buf_slice_add(others, line);
            cq_buf_byte(others, '\n');
        }
    }
    return next - 1;
}

static void expect_all(const char *tag, const char *tagged)
{
    struct cq_buf out, others;
    cq_buf_init(&out, 64u << 20);
    cq_buf_init(&others, 1u << 20);
    assert_true(imap_peer_until(&peer, tag, &out));
    assert_int_equal(count_fetches(cq_buf_slice(&out), &others), MESSAGES);
    assert_true(cq_slice_starts(cq_buf_slice(&others), cq_slice_cstr(tagged)));
    cq_buf_fini(&out);
    cq_buf_fini(&others);
}

/* ---- What is asked, and when ---- */

static struct {
    size_t calls;
    int unread[64]; /* octets of the answer that the client could have read when the call was made */
} seen;

static void look(void *arg)
{
    (void)arg;
    if (seen.calls < 64)
        ioctl(peer.fd, FIONREAD, &seen.unread[seen.calls]);
    seen.calls++;
}

static void watch_calls(void)
{
    memset(&seen, 0, sizeof seen);
    f->before_call = look;
}

static void the_next_batches_are_asked_for_before_the_first_is_written(void **state)
{
    (void)state;
    watch_calls();
    send_only("c FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE)\r\n");
    assert_in_range(seen.calls, IMAP_RECORDS_AHEAD, IMAP_RECORDS_AHEAD + 2); /* the client does not read */
    assert_int_equal(seen.unread[IMAP_RECORDS_AHEAD - 1], 0);
    expect_all("c", "c OK");
    f->before_call = NULL;
    assert_true(seen.calls <= 1 + MESSAGES / 1000);
    assert_int_equal(f->ahead_octets, 0);
}

static void what_fits_into_one_batch_is_one_read(void **state)
{
    (void)state;
    watch_calls();
    say_ok("c FETCH 1:1000 (FLAGS ENVELOPE)\r\n", "c");
    assert_int_equal(seen.calls, 1);
    say_ok("d UID FETCH 1:5000 (FLAGS)\r\n", "d");
    assert_int_equal(seen.calls, 2);
    f->before_call = NULL;
}

static void sets_with_gaps_are_cut_between_the_messages_that_are_there(void **state)
{
    (void)state;
    struct cq_buf out;
    cq_buf_init(&out, 64u << 20);
    say_ok("a STORE 2:6999 +FLAGS.SILENT (\\Deleted)\r\n", "a");
    say_ok("b EXPUNGE\r\n", "b");
    watch_calls();
    imap_peer_send(&peer, CQ_SLICE("c UID FETCH 1:3,5000:4294967295 (FLAGS ENVELOPE)\r\n"), SIZE_MAX);
    assert_true(imap_peer_until(&peer, "c", &out));
    f->before_call = NULL;
    assert_int_equal(count_fetches(cq_buf_slice(&out), NULL), 2);
    assert_int_equal(seen.calls, 1);
    cq_buf_fini(&out);
}

static unsigned at_once, most_at_once;

/* A store that takes a few turns. */
static void take_turns(void *arg)
{
    (void)arg;
    f->before_call = take_turns; /* of the other fibers too */
    at_once++;
    most_at_once = at_once > most_at_once ? at_once : most_at_once;
    for (int i = 0; i < 5; i++)
        assert_int_equal(io_fiber_yield(), CQ_OK);
    at_once--;
}

static void a_worker_that_holds_enough_reads_one_batch_after_the_other(void **state)
{
    (void)state;
    static const struct {
        size_t held;
        unsigned most;
    } rows[] = {{0, IMAP_RECORDS_AHEAD},
                {FRONT_AHEAD_WORKER_MAX - 2 * IMAP_RECORDS_BATCH, 2},
                {FRONT_AHEAD_WORKER_MAX - IMAP_RECORDS_BATCH + 1, 1},
                {FRONT_AHEAD_WORKER_MAX, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        f->ahead_octets = rows[i].held;
        at_once = most_at_once = 0;
        f->before_call = take_turns;
        imap_peer_send(&peer, CQ_SLICE("c FETCH 1:* (FLAGS ENVELOPE)\r\n"), SIZE_MAX);
        expect_all("c", "c OK");
        f->before_call = NULL;
        assert_int_equal(most_at_once, rows[i].most);
        assert_int_equal(f->ahead_octets, rows[i].held);
    }
}

/* ---- What happens meanwhile ---- */

static struct {
    unsigned calls;
    bool changed;
} late;

/* The first batch is read after the others, and after a change of what those have read. */
static void the_first_is_read_last(void *arg)
{
    f->before_call = the_first_is_read_last; /* of the other fibers too */
    (void)arg;
    if (late.calls++ > 0)
        return;
    while (late.calls < IMAP_RECORDS_AHEAD)
        assert_int_equal(io_fiber_yield(), CQ_OK);
    f->before_call = NULL;
    struct uid_range range = {1500, 1500};
    const struct uidset uids = {&range, 1};
    const struct mail_store change = {.mailbox = inbox, .uids = &uids, .mode = MAIL_STORE_ADD, .flags = MAIL_FLAGGED};
    struct cq_pool *pool = cq_pool_new(1024);
    struct uidset modified;
    uint64_t modseq;
    assert_int_equal(mailstore_store(f->store, &f->account, &change, pool, &modified, &modseq, NULL), CQ_OK);
    cq_pool_free(&pool);
    late.changed = true;
}

static void flags_that_changed_behind_a_batch_that_was_read_early_are_told(void **state)
{
    (void)state;
    struct cq_buf out;
    cq_buf_init(&out, 64u << 20);
    memset(&late, 0, sizeof late);
    f->before_call = the_first_is_read_last;
    imap_peer_send(&peer, CQ_SLICE("c FETCH 1:* (FLAGS ENVELOPE)\r\n"), SIZE_MAX);
    assert_true(imap_peer_until(&peer, "c", &out));
    f->before_call = NULL;
    assert_true(late.changed);
    assert_int_equal(count_fetches(cq_buf_slice(&out), NULL), MESSAGES);
    assert_non_null(memmem(out.data, out.len, "* 1500 FETCH (UID 1500 FLAGS (\\Flagged", 38));
    cq_buf_fini(&out);
}

static void a_batch_that_cannot_be_read_is_told_in_the_tagged_answer(void **state)
{
    (void)state;
    for (unsigned after = 0; after < IMAP_RECORDS_AHEAD + 1; after++) {
        struct cq_buf out;
        cq_buf_init(&out, 64u << 20);
        f->fault = CQ_E_UNAVAILABLE;
        f->fault_method = FETCH;
        f->fault_after = after;
        imap_peer_send(&peer, CQ_SLICE("c FETCH 1:* (FLAGS ENVELOPE)\r\n"), SIZE_MAX);
        assert_true(imap_peer_until(&peer, "c", &out));
        f->fault = CQ_OK;
        assert_in_range(count_fetches(cq_buf_slice(&out), NULL), after * 1000, MESSAGES - 1);
        assert_non_null(memmem(out.data, out.len, "c NO [UNAVAILABLE]", 18));
        assert_int_equal(f->ahead_octets, 0);
        cq_buf_fini(&out);
    }
    say_ok("n NOOP\r\n", "n");
}

static unsigned quick, waiting, cancelled;

/* After some quick calls the store takes for ever; only a cancel ends it. */
static void wait_for_ever(void *arg)
{
    (void)arg;
    if (quick) {
        quick--;
        return;
    }
    f->before_call = wait_for_ever; /* of the other fibers too */
    waiting++;
    enum cq_rc rc;
    do
        rc = io_fiber_park(IO_NO_DEADLINE);
    while (rc == CQ_OK);
    waiting--;
    cancelled++;
}

static void a_client_that_goes_while_batches_are_under_way_leaves_nothing(void **state)
{
    (void)state;
    quick = 1;
    waiting = cancelled = 0;
    f->before_call = wait_for_ever;
    send_only("c FETCH 1:* (ENVELOPE BODYSTRUCTURE ENVELOPE BODYSTRUCTURE ENVELOPE ENVELOPE ENVELOPE ENVELOPE)\r\n");
    assert_in_range(waiting, IMAP_RECORDS_AHEAD - 1, IMAP_RECORDS_AHEAD);
    unsigned before = waiting;
    imap_peer_close(&peer); /* in the middle of the first batch */
    f->before_call = NULL;
    assert_int_equal(waiting, 0);
    assert_int_equal(cancelled, before);
    assert_int_equal(f->ahead_octets, 0);
    assert_int_equal(imap_service_sessions(f->service), 0);
    imap_peer_connect(f, &peer); /* teardown closes it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_next_batches_are_asked_for_before_the_first_is_written, setup, teardown),
        cmocka_unit_test_setup_teardown(what_fits_into_one_batch_is_one_read, setup, teardown),
        cmocka_unit_test_setup_teardown(sets_with_gaps_are_cut_between_the_messages_that_are_there, setup, teardown),
        cmocka_unit_test_setup_teardown(a_worker_that_holds_enough_reads_one_batch_after_the_other, setup, teardown),
        cmocka_unit_test_setup_teardown(flags_that_changed_behind_a_batch_that_was_read_early_are_told, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_batch_that_cannot_be_read_is_told_in_the_tagged_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_that_goes_while_batches_are_under_way_leaves_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
