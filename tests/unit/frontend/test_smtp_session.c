/* Conversations with the MX, submission and LMTP. */
#include "smtp/smtp_service.h"

#include "core/front_session.h"

#include "unit/cq_cmocka.h"
#include "unit/frontend/front_bench.h"

#include <stdlib.h>

static const struct smtp_service mx = {.kind = SMTP_MX, .size_max = 100000, .recipients_max = 3, .idle_ms = 60000};
static const struct smtp_service submission = {
    .kind = SMTP_SUBMISSION, .size_max = 100000, .recipients_max = 100, .idle_ms = 60000, .auth_without_tls = true};
static const struct smtp_service lmtp = {
    .kind = SMTP_LMTP, .size_max = 100000, .recipients_max = 100, .idle_ms = 60000};

static void open_session(struct front_bench *bench, struct bench_client *client, const struct smtp_service *service)
{
    smtp_session_start(&bench->worker, service, bench_connect(bench, client));
    TALK(client, service->kind == SMTP_LMTP ? "S: 220 mx.example.test LMTP *" : "S: 220 mx.example.test ESMTP *");
}

#define HELLO "C: EHLO client.test", "S+ 250 ENHANCEDSTATUSCODES"
/* printf 'ana@example.test\0...' for SASL PLAIN: NUL ana@example.test NUL correct horse */
#define PLAIN_ANA "AGFuYUBleGFtcGxlLnRlc3QAY29ycmVjdCBob3JzZQ=="
#define LOGIN_ANA "C: AUTH PLAIN " PLAIN_ANA, "S: 235 *"

static void a_message_is_stored_behind_its_trace_fields(void **state)
{
    struct front_bench *bench = *state;
    struct bench_client c;
    struct cq_pool *pool = cq_pool_new(4096);
    size_t before = bench_count(bench, bench->ana);
    open_session(bench, &c, &mx);
    TALK(&c, HELLO, "C: MAIL FROM:<x@elsewhere.test> SIZE=100 BODY=8BITMIME", "S: 250 2.1.0 *",
         "C: RCPT TO:<Ana+lists@Example.TEST>", "S: 250 2.1.5 *", "C: DATA", "S: 354 *", "C: Subject: hi",
         "C:", "C: ..dot", "C: .", "S: 250 2.0.0 *", "C: QUIT", "S: 221 *", "S.");
    bench_disconnect(&c);
    assert_int_equal(bench_count(bench, bench->ana), before + 1);
    char *text = cq_pool_cstr(pool, bench_message(bench, bench->ana, before + 1, pool));
    assert_int_equal(strncmp(text, "Return-Path: <x@elsewhere.test>\r\n", 33), 0);
    assert_non_null(strstr(text, "Delivered-To: ana+lists@example.test\r\n"));
    assert_non_null(strstr(text, "by mx.example.test"));
    assert_non_null(strstr(text, "for <Ana+lists@Example.TEST>"));
    assert_string_equal(strstr(text, "Subject: hi"), "Subject: hi\r\n\r\n.dot\r\n");
    cq_pool_free(&pool);
}

static void order_and_arguments_are_enforced(void **state)
{
    struct bench_client c;
    open_session(*state, &c, &mx);
    TALK(&c, "C: MAIL FROM:<a@b>", "S: 503 5.5.1 *", "C: EHLO two words", "S: 501 *", "C: DATA", "S: 503 *", HELLO,
         "C: RCPT TO:<ana@example.test>", "S: 503 *", "C: MAIL FROM:<a@b> FOO=1", "S: 555 *",
         "C: MAIL FROM:<a@b> SIZE=100001", "S: 552 5.3.4 *", "C: MAIL FROM:a@b", "S: 501 *", "C: MAIL FROM:<a@b>",
         "S: 250 *", "C: MAIL FROM:<a@b>", "S: 503 *", "C: DATA", "S: 554 *", "C: RSET", "S: 250 *", "C: DATA",
         "S: 503 *", "C: VRFY ana", "S: 252 *", "C: NOOP x", "S: 250 *", "C: AUTH PLAIN x", "S: 500 *");
    bench_disconnect(&c);
}

static void nobody_relays(void **state)
{
    struct bench_client c;
    open_session(*state, &c, &mx);
    TALK(&c, HELLO, "C: MAIL FROM:<ana@example.test>", "S: 250 *", "C: RCPT TO:<x@elsewhere.test>", "S: 550 5.7.1 *",
         "C: RCPT TO:<@example.test:x@elsewhere.test>", "S: 550 5.7.1 *", "C: RCPT TO:<nobody@example.test>",
         "S: 550 5.1.1 *", "C: RCPT TO:<x%elsewhere.test@example.test>", "S: 550 5.1.1 *",
         "C: RCPT TO:<\"x@elsewhere.test\"@example.test>", "S: 550 5.1.1 *", "C: RCPT TO:<ana@[127.0.0.1]>", "S: 550 *",
         "C: RCPT TO:<>", "S: 553 *", "C: RCPT TO:<postmaster>", "S: 250 *", "C: RCPT TO:<postmaster@example.test>",
         "S: 250 *");
    bench_disconnect(&c);
}

static void recipients_have_a_limit(void **state)
{
    struct bench_client c;
    open_session(*state, &c, &mx);
    TALK(&c, HELLO, "C: MAIL FROM:<>", "S: 250 *", "C: RCPT TO:<ana@example.test>", "S: 250 *",
         "C: RCPT TO:<ana+1@example.test>", "S: 250 *", "C: RCPT TO:<ana+2@example.test>", "S: 250 *",
         "C: RCPT TO:<ana+3@example.test>", "S: 452 4.5.3 *");
    bench_disconnect(&c);
}

static void smuggled_ends_are_refused_and_the_connection_closed(void **state)
{
    struct front_bench *bench = *state;
    struct bench_client c;
    size_t before = bench_count(bench, bench->ana);
    open_session(bench, &c, &mx);
    TALK(&c, HELLO, "C: MAIL FROM:<>", "S: 250 *", "C: RCPT TO:<ana@example.test>", "S: 250 *", "C: DATA", "S: 354 *",
         "C! a\n.\nMAIL FROM:<evil@example.test>\r\nRCPT TO:<ana@example.test>\r\n.\r\n", "S: 550 5.5.2 *", "S.");
    bench_disconnect(&c);
    assert_int_equal(bench_count(bench, bench->ana), before);
}

static void too_big_is_said_when_it_has_been_read(void **state)
{
    struct front_bench *bench = *state;
    struct bench_client c;
    char line[1002];
    memset(line, 'x', 1000);
    line[999] = '\r';
    line[1000] = '\n';
    line[1001] = '\0';
    open_session(bench, &c, &mx);
    TALK(&c, HELLO, "C: MAIL FROM:<>", "S: 250 *", "C: RCPT TO:<ana@example.test>", "S: 250 *", "C: DATA", "S: 354 *");
    for (int i = 0; i < 150; i++)
        bench_send(&c, cq_slice_cstr(line));
    TALK(&c, "C: .", "S: 552 5.3.4 *", "C: NOOP", "S: 250 *");
    bench_disconnect(&c);
}

static void a_full_mailbox_says_so(void **state)
{
    struct front_bench *bench = *state;
    struct bench_client c;
    char big[3001];
    memset(big, 'y', 3000);
    big[3000] = '\0';
    open_session(bench, &c, &mx);
    TALK(&c, HELLO, "C: MAIL FROM:<>", "S: 250 *", "C: RCPT TO:<ben@example.test>", "S: 250 *", "C: DATA", "S: 354 *");
    bench_send(&c, cq_slice_cstr(big));
    TALK(&c, "C:", "C: .", "S: 552 5.2.2 *");
    bench_disconnect(&c);
}

static enum cq_rc ben_is_down(void *arg, const struct mailstore_call *call, bool applied)
{
    struct front_bench *bench = arg;
    return !applied && call->command && call->account == bench->ben ? CQ_E_UNAVAILABLE : CQ_OK;
}

static void a_retry_after_451_doubles_nothing(void **state)
{
    struct front_bench *bench = *state;
    struct bench_client c;
    size_t ana = bench_count(bench, bench->ana), ben = bench_count(bench, bench->ben);
    for (int attempt = 0; attempt < 3; attempt++) {
        mailstore_local_set_fault(bench->local, attempt == 0 ? ben_is_down : NULL, bench);
        open_session(bench, &c, &mx);
        TALK(&c, HELLO, "C: MAIL FROM:<r@elsewhere.test>", "S: 250 *", "C: RCPT TO:<ana@example.test>", "S: 250 *",
             "C: RCPT TO:<ben@example.test>", "S: 250 *", "C: DATA", "S: 354 *", "C: Subject: again", "C:", "C: .",
             attempt == 0 ? "S: 451 4.3.2 *" : "S: 250 *");
        bench_disconnect(&c);
        /* The first retry is absorbed where it was stored; after a 250 the same mail is a new mail. */
        assert_int_equal(bench_count(bench, bench->ana), ana + (attempt < 2 ? 1 : 2));
        assert_int_equal(bench_count(bench, bench->ben), ben + (size_t)attempt);
    }
}

static void lmtp_answers_for_each_recipient(void **state)
{
    struct front_bench *bench = *state;
    struct bench_client c;
    open_session(bench, &c, &lmtp);
    mailstore_local_set_fault(bench->local, ben_is_down, bench);
    TALK(&c, "C: EHLO x", "S: 500 *", "C: LHLO client.test", "S+ 250 ENHANCEDSTATUSCODES", "C: MAIL FROM:<>",
         "S: 250 *", "C: RCPT TO:<ana@example.test>", "S: 250 *", "C: RCPT TO:<nobody@example.test>", "S: 550 *",
         "C: RCPT TO:<ben@example.test>", "S: 250 *", "C: RCPT TO:<ana+again@example.test>", "S: 250 *", "C: DATA",
         "S: 354 *", "C: Subject: l", "C:", "C: .", "S: 250 2.0.0 *", "S: 451 4.3.2 *", "S: 250 2.0.0 *", "C: QUIT",
         "S: 221 *");
    mailstore_local_set_fault(bench->local, NULL, NULL);
    bench_disconnect(&c);
}

static void nul_is_refused_in_lmtp(void **state)
{
    struct bench_client c;
    open_session(*state, &c, &lmtp);
    TALK(&c, "C: LHLO client.test", "S+ 250 ENHANCEDSTATUSCODES", "C: MAIL FROM:<>", "S: 250 *",
         "C: RCPT TO:<ana@example.test>", "S: 250 *", "C: DATA", "S: 354 *");
    bench_send(&c, CQ_SLICE("a\0b\r\n.\r\n"));
    TALK(&c, "S: 550 5.6.0 *");
    bench_disconnect(&c);
}

static void submission_needs_a_login_and_an_identity(void **state)
{
    struct bench_client c;
    open_session(*state, &c, &submission);
    TALK(&c, HELLO, "C: MAIL FROM:<ana@example.test>", "S: 530 5.7.0 *", "C: AUTH", "S: 501 *", "C: AUTH GSSAPI",
         "S: 504 *", "C: AUTH PLAIN !!", "S: 501 *", "C: AUTH PLAIN", "S: 334 *", "C: *", "S: 501 *",
         "C: AUTH PLAIN AGFuYUBleGFtcGxlLnRlc3QAd3Jvbmc=", "S: 535 5.7.8 *",
         "C: AUTH PLAIN AG5vYm9keUBleGFtcGxlLnRlc3QAd3Jvbmc=", "S: 535 5.7.8 *", "C: AUTH LOGIN", "S: 334 VXNlcm5hbWU6",
         "C: YW5hQGV4YW1wbGUudGVzdA==", "S: 334 UGFzc3dvcmQ6", "C: Y29ycmVjdCBob3JzZQ==", "S: 235 *",
         "C: AUTH PLAIN " PLAIN_ANA, "S: 503 *", "C: MAIL FROM:<ben@example.test>", "S: 553 5.7.1 *",
         "C: MAIL FROM:<x@elsewhere.test>", "S: 553 5.7.1 *", "C: MAIL FROM:<ana+tag@example.test>", "S: 250 *",
         "C: RCPT TO:<x@elsewhere.test>", "S: 550 5.7.1 *", "C: RCPT TO:<ana@example.test>", "S: 250 *", "C: DATA",
         "S: 354 *", "C: From: ben@example.test", "C:", "C: .", "S: 550 5.7.1 *", "C: MAIL FROM:<ana@example.test>",
         "S: 250 *", "C: RCPT TO:<ana@example.test>", "S: 250 *", "C: DATA", "S: 354 *", "C: Subject: no from",
         "C:", "C: .", "S: 550 5.7.1 *");
    bench_disconnect(&c);
}

static void the_daily_limit_is_exact_and_says_when_it_clears(void **state)
{
    struct front_bench *bench = *state;
    struct bench_client c;
    size_t before = bench_count(bench, bench->ana);
    open_session(bench, &c, &submission);
    TALK(&c, HELLO, LOGIN_ANA);
    for (int i = 0; i < 4; i++)
        TALK(&c, "C: MAIL FROM:<ana@example.test>", "S: 250 *", "C: RCPT TO:<ana@example.test>", "S: 250 *", "C: DATA",
             "S: 354 *", "C: From: ana@example.test", "C:", "C: .",
             i < 3 ? "S: 250 *" : "S: 550 5.4.5 Daily sending limit reached; it clears at 20*");
    bench_disconnect(&c);
    assert_int_equal(bench_count(bench, bench->ana), before + 3);
}

static void junk_and_http_are_closed(void **state)
{
    struct bench_client c;
    open_session(*state, &c, &submission);
    TALK(&c, "C: FOO", "S: 500 *", "C: BAR", "S: 500 *", "C: BAZ", "S: 421 *", "S.");
    bench_disconnect(&c);
    open_session(*state, &c, &mx);
    TALK(&c, "C: GET / HTTP/1.1", "S: 421 *", "S.");
    bench_disconnect(&c);
}

static bool every_session(const struct front_session *session, void *arg)
{
    (void)session;
    (void)arg;
    return true;
}

static void who_drains_ends_a_transaction_first_and_who_is_thrown_out_does_not(void **state)
{
    static const struct {
        enum front_end why;
        const char *farewell;
    } cases[] = {{FRONT_END_ACCOUNT, "S: 421 4.7.0 This account *"}, {FRONT_END_KICKED, "S: 421 4.7.0 *"}};
    struct front_bench *bench = *state;
    struct bench_client c;
    size_t before = bench_count(bench, bench->ana);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        open_session(bench, &c, &submission);
        TALK(&c, HELLO, LOGIN_ANA, "C: MAIL FROM:<ana@example.test>", "S: 250 *");
        front_sessions_end(&bench->worker, every_session, NULL, cases[i].why);
        TALK(&c, cases[i].farewell, "S.");
        bench_disconnect(&c);
    }
    open_session(bench, &c, &mx);
    TALK(&c, HELLO, "C: MAIL FROM:<>", "S: 250 *", "C: RCPT TO:<ana@example.test>", "S: 250 *");
    front_sessions_end(&bench->worker, every_session, NULL, FRONT_END_DRAIN);
    TALK(&c, "C: DATA", "S: 354 *", "C: Subject: last", "C:", "C: .", "S: 250 *", "S: 421 4.3.2 *", "S.");
    bench_disconnect(&c);
    assert_int_equal(bench_count(bench, bench->ana), before + 1);
}

static void pipelined_commands_are_answered_in_order(void **state)
{
    struct bench_client c;
    open_session(*state, &c, &mx);
    TALK(&c, "C! EHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<ana@example.test>\r\nRCPT TO:<no@example.test>\r\nDATA\r\n",
         "S+ 250 ENHANCEDSTATUSCODES", "S: 250 2.1.0 *", "S: 250 2.1.5 *", "S: 550 *", "S: 354 *",
         "C! x: y\r\n\r\nz\r\n.\r\nQUIT\r\n", "S: 250 2.0.0 *", "S: 221 *", "S.");
    bench_disconnect(&c);
}

static void loops_are_stopped(void **state)
{
    struct bench_client c;
    open_session(*state, &c, &mx);
    TALK(&c, HELLO, "C: MAIL FROM:<>", "S: 250 *", "C: RCPT TO:<ana@example.test>", "S: 250 *", "C: DATA", "S: 354 *",
         "C: Delivered-To: ana@example.test", "C:", "C: .", "S: 554 5.4.6 *", "C: MAIL FROM:<>", "S: 250 *",
         "C: RCPT TO:<ana@example.test>", "S: 250 *", "C: DATA", "S: 354 *");
    for (int i = 0; i < 101; i++)
        bench_send(&c, CQ_SLICE("Received: from a by b; Sun, 22 Nov 2026 05:37:00 +0000\r\n"));
    TALK(&c, "C:", "C: .", "S: 554 5.4.6 *");
    bench_disconnect(&c);
}

static void long_lines_are_refused_and_closed(void **state)
{
    struct bench_client c;
    char line[4000];
    memset(line, 'a', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    open_session(*state, &c, &mx);
    bench_send(&c, cq_slice_cstr(line));
    TALK(&c, "S: 500 5.5.2 *", "S.");
    bench_disconnect(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_stored_behind_its_trace_fields),
        cmocka_unit_test(order_and_arguments_are_enforced),
        cmocka_unit_test(nobody_relays),
        cmocka_unit_test(recipients_have_a_limit),
        cmocka_unit_test(smuggled_ends_are_refused_and_the_connection_closed),
        cmocka_unit_test(too_big_is_said_when_it_has_been_read),
        cmocka_unit_test(a_full_mailbox_says_so),
        cmocka_unit_test(a_retry_after_451_doubles_nothing),
        cmocka_unit_test(lmtp_answers_for_each_recipient),
        cmocka_unit_test(nul_is_refused_in_lmtp),
        cmocka_unit_test(submission_needs_a_login_and_an_identity),
        cmocka_unit_test(the_daily_limit_is_exact_and_says_when_it_clears),
        cmocka_unit_test(junk_and_http_are_closed),
        cmocka_unit_test(who_drains_ends_a_transaction_first_and_who_is_thrown_out_does_not),
        cmocka_unit_test(pipelined_commands_are_answered_in_order),
        cmocka_unit_test(loops_are_stopped),
        cmocka_unit_test(long_lines_are_refused_and_closed),
    };
    return cmocka_run_group_tests(tests, bench_setup, bench_teardown);
}
