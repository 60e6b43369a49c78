/* What a session asks of its shard when messages arrive: who has them as \Recent, and what of them is known without
 * asking again. */
#include "support/imap_fixture.h"

#include "imap/imap_fetch_head.h"
#include "imap/imap_recent.h"

#include "unit/cq_cmocka.h"

#include <proto/mail.pb-c.h>

#include <stdio.h>
#include <stdlib.h>

#define CLAIM CHASQUI__MAIL__METHOD__CLAIM_RECENT
#define FETCH CHASQUI__MAIL__METHOD__FETCH
#define READ_BODY CHASQUI__MAIL__METHOD__READ_BODY

#define HELLO CQ_SLICE("Subject: hello\r\nMessage-Id: <1@x>\r\n\r\nbody\r\n")

static struct imap_fixture *f;
static struct imap_peer ana, bob; /* two sessions of one account */
static struct cq_buf said;        /* the last answer */

static int setup(void **state)
{
    (void)state;
    f = imap_fixture_new();
    io_loop_clock_advance(f->loop, 5000000);
    cq_buf_init(&said, 64u << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    struct imap_peer *peers[] = {&ana, &bob};
    for (size_t i = 0; i < 2; i++)
        if (peers[i]->session)
            imap_peer_close(peers[i]);
    imap_fixture_free(&f);
    cq_buf_fini(&said);
    return 0;
}

/* The command's tag is its first word. */
static void say(struct imap_peer *peer, const char *command)
{
    char tag[16] = {0}, well[20];
    sscanf(command, "%15s", tag);
    snprintf(well, sizeof well, "%s OK", tag);
    cq_buf_reset(&said, SIZE_MAX);
    imap_peer_send(peer, cq_slice_cstr(command), SIZE_MAX);
    imap_peer_send(peer, CQ_SLICE("\r\n"), SIZE_MAX);
    assert_true(imap_peer_until(peer, tag, &said));
    if (!memmem(said.data, said.len, well, strlen(well)))
        fail_msg("%s: %.*s", command, (int)said.len, (const char *)said.data);
}

static bool heard(const char *text)
{
    return memmem(said.data, said.len, text, strlen(text)) != NULL;
}

static void begin(struct imap_peer *peer)
{
    imap_peer_connect(f, peer);
    say(peer, "l LOGIN ana secret");
    say(peer, "s SELECT INBOX");
    memset(f->calls, 0, sizeof f->calls);
}

/* Each message is told of before the next one comes. */
static void deliver_and_tell(struct imap_peer *peer, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        imap_fixture_deliver(f, HELLO);
        say(peer, "n NOOP");
    }
}

/* ---- \Recent ---- */

static void of_a_burst_the_first_message_is_claimed_at_once_and_the_others_together_after_a_second(void **state)
{
    (void)state;
    begin(&ana);
    for (int i = 0; i < 5; i++) {
        char recent[32];
        deliver_and_tell(&ana, 1);
        snprintf(recent, sizeof recent, "* %d RECENT", i + 1);
        assert_true(heard(recent));
        assert_int_equal(f->calls[CLAIM], 1);
    }
    io_loop_clock_advance(f->loop, IMAP_RECENT_PAUSE_US - 1);
    say(&ana, "n NOOP");
    assert_int_equal(f->calls[CLAIM], 1);
    io_loop_clock_advance(f->loop, 1);
    say(&ana, "n NOOP");
    assert_int_equal(f->calls[CLAIM], 2);
    io_loop_clock_advance(f->loop, IMAP_RECENT_PAUSE_US);
    say(&ana, "n NOOP");
    assert_int_equal(f->calls[CLAIM], 2); /* there is nothing to claim */
    imap_peer_close(&ana);
}

static void what_one_session_has_as_recent_and_not_yet_claimed_no_other_of_the_worker_has(void **state)
{
    (void)state;
    begin(&ana);
    deliver_and_tell(&ana, 2); /* the second one is not claimed */
    imap_peer_connect(f, &bob);
    say(&bob, "l LOGIN ana secret");
    say(&bob, "s SELECT INBOX");
    assert_true(heard("* 0 RECENT"));
    deliver_and_tell(&bob, 1);
    assert_true(heard("* 1 RECENT"));
    io_loop_clock_advance(f->loop, IMAP_RECENT_PAUSE_US);
    say(&ana, "n NOOP");
    assert_true(heard("* 3 EXISTS"));
    assert_true(heard("* 2 RECENT"));
    say(&ana, "f FETCH 1:3 FLAGS");
    assert_true(heard("* 2 FETCH (FLAGS (\\Recent))"));
    assert_true(heard("* 3 FETCH (FLAGS ())"));
    imap_peer_close(&ana);
    imap_peer_close(&bob);
}

static void what_waits_to_be_claimed_is_claimed_by_the_command_that_leaves_the_mailbox(void **state)
{
    (void)state;
    static const char *const leaving[] = {"x UNSELECT", "x CLOSE", "x LOGOUT", "x SELECT Archive"};
    for (size_t i = 0; i < sizeof leaving / sizeof *leaving; i++) {
        begin(&ana);
        deliver_and_tell(&ana, 2);
        assert_int_equal(f->calls[CLAIM], 1);
        say(&ana, leaving[i]);
        assert_int_equal(f->calls[CLAIM], 2);
        imap_peer_close(&ana);
        imap_peer_connect(f, &bob);
        say(&bob, "l LOGIN ana secret");
        say(&bob, "s SELECT INBOX");
        assert_true(heard("* 0 RECENT"));
        imap_peer_close(&bob);
    }
}

static void an_idling_session_claims_what_is_left_with_the_next_sign_of_life(void **state)
{
    (void)state;
    begin(&ana);
    deliver_and_tell(&ana, 2);
    imap_peer_send(&ana, CQ_SLICE("i IDLE\r\n"), SIZE_MAX);
    imap_fixture_settle(f);
    assert_int_equal(f->calls[CLAIM], 1);
    io_loop_clock_advance(f->loop, f->config.still_here_us);
    imap_fixture_settle(f);
    assert_int_equal(f->calls[CLAIM], 2);
    imap_peer_close(&ana);
}

static void a_session_that_breaks_off_leaves_what_it_has_not_claimed_to_the_next(void **state)
{
    (void)state;
    begin(&ana);
    deliver_and_tell(&ana, 3);
    imap_peer_close(&ana);
    begin(&bob);
    assert_true(heard("* 2 RECENT"));
    imap_peer_close(&bob);
}

/* ---- What never changes ---- */

static void header_size_and_octets_of_a_message_just_told_of_cost_one_read_of_octets_and_no_other(void **state)
{
    (void)state;
    static const char *const commands[] = {
        "f FETCH 1 (BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])",
        "f UID FETCH 1 (UID RFC822.SIZE INTERNALDATE BODY.PEEK[HEADER])",
        "f FETCH * BODY.PEEK[]",
        "f FETCH 1 (BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[HEADER.FIELDS.NOT (SUBJECT)] BODY.PEEK[HEADER])",
    };
    begin(&ana);
    deliver_and_tell(&ana, 1);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        memset(f->calls, 0, sizeof f->calls);
        say(&ana, commands[i]);
        assert_int_equal(f->calls[FETCH], 0);
        assert_int_equal(f->calls[READ_BODY], 1);
    }
    memset(f->calls, 0, sizeof f->calls);
    say(&ana, "f FETCH 1 (UID RFC822.SIZE INTERNALDATE)");
    assert_true(heard("* 1 FETCH (UID 1 RFC822.SIZE 43 INTERNALDATE \" 1-Jan-2026 00:00:00 +0000\")\r\n"));
    assert_int_equal(f->calls[FETCH] + f->calls[READ_BODY], 0);
    imap_peer_close(&ana);
}

static void what_may_change_is_always_asked_for(void **state)
{
    (void)state;
    static const char *const commands[] = {
        "f FETCH 1 FLAGS",           "f FETCH 1 (UID MODSEQ)",   "f FETCH 1 (FLAGS BODY.PEEK[HEADER])",
        "f FETCH 1 BODY[HEADER]",    "f FETCH 1 RFC822",         "f UID FETCH 1 (BODY[])",
        "f FETCH 1 BODY.PEEK[TEXT]", "f FETCH 1 (UID ENVELOPE)", "f FETCH 1 BODY.PEEK[1.MIME]",
        "f FETCH 1 BODYSTRUCTURE",
    };
    begin(&ana);
    deliver_and_tell(&ana, 1);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        memset(f->calls, 0, sizeof f->calls);
        say(&ana, commands[i]);
        assert_true(f->calls[FETCH] > 0);
    }
    imap_peer_close(&ana);
}

static void flags_that_another_session_has_set_are_seen_at_once(void **state)
{
    (void)state;
    begin(&ana);
    deliver_and_tell(&ana, 1);
    begin(&bob);
    say(&bob, "t STORE 1 +FLAGS.SILENT (\\Flagged)");
    say(&ana, "f FETCH 1 FLAGS");
    assert_true(heard("\\Flagged"));
    imap_peer_close(&ana);
    imap_peer_close(&bob);
}

static void a_known_message_that_is_expunged_meanwhile_has_no_octets_and_its_end_is_told(void **state)
{
    (void)state;
    begin(&ana);
    imap_fixture_deliver(f, HELLO);
    imap_fixture_deliver(f, CQ_SLICE("Subject: second\r\n\r\n"));
    say(&ana, "n NOOP");
    begin(&bob);
    say(&bob, "t STORE 1 +FLAGS.SILENT (\\Deleted)");
    say(&bob, "x EXPUNGE");
    say(&ana, "f FETCH 1:2 BODY.PEEK[HEADER.FIELDS (SUBJECT)]");
    assert_false(heard("hello"));
    assert_true(heard("second"));
    assert_true(heard("EXPUNGEISSUED"));
    say(&ana, "n NOOP");
    assert_true(heard("* 1 EXPUNGE"));
    say(&ana, "f FETCH 1 BODY.PEEK[HEADER.FIELDS (SUBJECT)]");
    assert_true(heard("second"));
    imap_peer_close(&ana);
    imap_peer_close(&bob);
}

static void only_the_newest_messages_are_known_and_older_ones_are_asked_for(void **state)
{
    (void)state;
    begin(&ana);
    for (int i = 0; i < IMAP_KNOWN_MAX + 1; i++)
        imap_fixture_deliver(f, HELLO);
    say(&ana, "n NOOP");
    memset(f->calls, 0, sizeof f->calls);
    say(&ana, "f FETCH 2:17 RFC822.SIZE");
    assert_int_equal(f->calls[FETCH], 0);
    say(&ana, "f FETCH 1 RFC822.SIZE");
    assert_int_equal(f->calls[FETCH], 1);
    say(&ana, "f FETCH 1:* RFC822.SIZE");
    assert_int_equal(f->calls[FETCH], 2);
    imap_peer_close(&ana);
}

/* ---- The same octets, known or not ---- */

static struct cq_slice filled(struct cq_pool *pool, const char *start, size_t size, const char *end)
{
    size_t n = strlen(start), m = strlen(end);
    char *text = cq_pool_alloc(pool, size);
    memset(text, 'x', size);
    memcpy(text, start, n);
    memcpy(text + size - m, end, m);
    return cq_slice_of(text, size);
}

static void a_header_reads_the_same_whether_the_message_is_known_or_not(void **state)
{
    (void)state;
    static const char *const items[] = {
        "BODY.PEEK[HEADER]",
        "BODY.PEEK[HEADER]<3.5>",
        "BODY.PEEK[HEADER]<9000.5>",
        "BODY.PEEK[HEADER.FIELDS (SUBJECT X)]",
        "BODY.PEEK[HEADER.FIELDS (SUBJECT)]<2.4>",
        "BODY.PEEK[HEADER.FIELDS.NOT (SUBJECT)]",
        "BODY.PEEK[]<1.3>",
        "(BODY.PEEK[HEADER] BODY.PEEK[] BODY.PEEK[HEADER.FIELDS (X)])",
    };
    struct cq_pool *pool = cq_pool_new(65536);
    const struct cq_slice messages[] = {
        HELLO,
        CQ_SLICE("\r\nno header\r\n"),
        CQ_SLICE("Subject: lf\nX: y\n\nbody\n"),
        CQ_SLICE("Subject: no end\r\nX: y"),
        CQ_SLICE("Subject: no body\r\n\r\n"),
        CQ_SLICE("no colon\r\nSubject: after it\r\n\r\n."),
        CQ_SLICE("\n"),
        CQ_SLICE("x"),
        filled(pool, "Subject: s\r\nX: ", IMAP_HEAD_READ - 1, "\r\n\r\n"),
        filled(pool, "Subject: s\r\nX: ", IMAP_HEAD_READ, "\r\n\r\n"),
        filled(pool, "Subject: s\r\nX: ", IMAP_HEAD_READ, "xx\r\n"),
        filled(pool, "Subject: s\r\nX: ", IMAP_HEAD_READ + 1, "\r\n\r\n"),
        filled(pool, "Subject: s\r\nX: ", IMAP_HEAD_READ + 2, "\r\n\r\nx"),
        filled(pool, "Subject: s\r\nX: ", 3 * IMAP_HEAD_READ, "\r\n\r\nbody"),
        filled(pool, "Subject: s\r\n\r\nX: ", 3 * IMAP_HEAD_READ, "body"),
    };
    for (size_t m = 0; m < sizeof messages / sizeof *messages; m++) {
        imap_fixture_new_account(f, IMAP_FIXTURE_ACCOUNT + 1 + m);
        begin(&ana);
        imap_fixture_deliver(f, messages[m]);
        say(&ana, "n NOOP");
        begin(&bob);
        for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
            char command[200];
            snprintf(command, sizeof command, "f FETCH 1 %s", items[i]);
            say(&bob, command);
            assert_true(f->calls[FETCH] > 0);
            struct cq_slice want = cq_pool_slice(pool, cq_buf_slice(&said));
            memset(f->calls, 0, sizeof f->calls);
            say(&ana, command);
            if (messages[m].len < IMAP_HEAD_READ)
                assert_int_equal(f->calls[FETCH], 0);
            memset(f->calls, 0, sizeof f->calls);
            if (!cq_slice_eq(want, cq_buf_slice(&said)))
                fail_msg("message %zu, %s: %.*s, not %.*s", m, items[i], (int)said.len, (const char *)said.data,
                         CQ_SLICE_ARG(want));
        }
        imap_peer_close(&ana);
        imap_peer_close(&bob);
    }
    cq_pool_free(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(of_a_burst_the_first_message_is_claimed_at_once_and_the_others_together_after_a_second),
        T(what_one_session_has_as_recent_and_not_yet_claimed_no_other_of_the_worker_has),
        T(what_waits_to_be_claimed_is_claimed_by_the_command_that_leaves_the_mailbox),
        T(an_idling_session_claims_what_is_left_with_the_next_sign_of_life),
        T(a_session_that_breaks_off_leaves_what_it_has_not_claimed_to_the_next),
        T(header_size_and_octets_of_a_message_just_told_of_cost_one_read_of_octets_and_no_other),
        T(what_may_change_is_always_asked_for),
        T(flags_that_another_session_has_set_are_seen_at_once),
        T(a_known_message_that_is_expunged_meanwhile_has_no_octets_and_its_end_is_told),
        T(only_the_newest_messages_are_known_and_older_ones_are_asked_for),
        T(a_header_reads_the_same_whether_the_message_is_known_or_not),
    };
    return cmocka_run_group_tests_name("imap_news", tests, NULL, NULL);
}
