/* Conversations with POP3. */
#include "pop3/pop3_service.h"

#include "smtp/smtp_service.h"
#include "unit/cq_cmocka.h"
#include "unit/frontend/front_bench.h"

static const struct pop3_service plain = {.idle_ms = 60000, .auth_without_tls = true};
static const struct pop3_service closed_in_clear = {.idle_ms = 60000};

static void open_session(struct front_bench *bench, struct bench_client *client, const struct pop3_service *service)
{
    pop3_session_start(&bench->worker, service, bench_connect(bench, client));
    TALK(client, "S: +OK mx.example.test POP3 *");
}

#define LOGIN "C: USER ana@example.test", "S: +OK", "C: PASS " BENCH_PASSWORD

/* Ana's INBOX gets one message more. */
static void deliver(struct front_bench *bench, const char *body)
{
    struct mailstore_account account = {.id = bench->ana};
    struct cq_slice octets = cq_slice_cstr(body);
    const struct mail_new_message message = {.octets = &octets, .octet_count = 1};
    const struct mail_delivery delivery = {.use = MAIL_USE_INBOX};
    struct cq_err err = {0};
    bool absorbed;
    assert_int_equal(mailstore_deliver(bench->worker.mailstore, &account, &message, &delivery, &absorbed, &err), CQ_OK);
}

static void nothing_is_deleted_before_quit(void **state)
{
    struct front_bench *bench = *state;
    struct bench_client c;
    deliver(bench, "Subject: one\r\n\r\nfirst\r\n");
    deliver(bench, "Subject: two\r\n\r\n.second\r\nmore\r\n");
    open_session(bench, &c, &plain);
    TALK(&c, LOGIN, "S: +OK 2 messages", "C: STAT", "S: +OK 2 54", "C: LIST", "S: +OK", "S: 1 23", "S: 2 31", "S: .",
         "C: LIST 2", "S: +OK 2 31", "C: RETR 2", "S: +OK 31 octets", "S: Subject: two", "S:", "S: ..second", "S: more",
         "S: .", "C: TOP 2 1", "S: +OK *", "S: Subject: two", "S:", "S: ..second", "S: .", "C: TOP 2 0", "S: +OK *",
         "S: Subject: two", "S:", "S: .", "C: DELE 1", "S: +OK *", "C: RETR 1", "S: -ERR *", "C: LIST 1", "S: -ERR *",
         "C: STAT", "S: +OK 1 31", "C: RSET", "S: +OK", "C: STAT", "S: +OK 2 54", "C: DELE 1", "S: +OK *");
    bench_disconnect(&c); /* without QUIT */
    assert_int_equal(bench_count(bench, bench->ana), 2);
    open_session(bench, &c, &plain);
    TALK(&c, LOGIN, "S: +OK 2 messages", "C: UIDL", "S: +OK", "S: 1 *", "S: 2 *", "S: .", "C: UIDL 3", "S: -ERR *",
         "C: DELE 1", "S: +OK *", "C: QUIT", "S: +OK *", "S.");
    bench_disconnect(&c);
    assert_int_equal(bench_count(bench, bench->ana), 1);
}

static void two_sessions_need_no_lock(void **state)
{
    struct front_bench *bench = *state;
    struct bench_client a;
    open_session(bench, &a, &plain);
    TALK(&a, LOGIN, "S: +OK 1 messages");
    deliver(bench, "Subject: later\r\n\r\n");
    TALK(&a, "C: STAT", "S: +OK 1 *", "C: QUIT", "S: +OK *", "S.");
    bench_disconnect(&a);
    open_session(bench, &a, &plain);
    TALK(&a, LOGIN, "S: +OK 2 messages");
    bench_disconnect(&a);
}

static void credentials_are_refused_alike(void **state)
{
    struct bench_client c;
    open_session(*state, &c, &plain);
    TALK(&c, "C: STAT", "S: -ERR *", "C: PASS x", "S: -ERR *", "C: USER ana@example.test", "S: +OK", "C: PASS wrong",
         "S: -ERR [AUTH] *", "C: USER nobody@example.test", "S: +OK", "C: PASS wrong", "S: -ERR [AUTH] *", "C: AUTH",
         "S: +OK", "S: PLAIN", "S: .", "C: AUTH PLAIN", "S: + ", "C: *", "S: -ERR *",
         "C: AUTH PLAIN AGFuYUBleGFtcGxlLnRlc3QAY29ycmVjdCBob3JzZQ==", "S: +OK *");
    bench_disconnect(&c);
}

static void nothing_secret_is_taken_in_clear(void **state)
{
    struct bench_client c;
    open_session(*state, &c, &closed_in_clear);
    TALK(&c, "C: CAPA", "S: +OK *", "S: TOP", "S: UIDL", "S: RESP-CODES", "S: AUTH-RESP-CODE", "S: PIPELINING",
         "S: IMPLEMENTATION Chasqui", "S: .", "C: USER ana@example.test", "S: -ERR [AUTH] *", "C: AUTH PLAIN",
         "S: -ERR [AUTH] *");
    bench_disconnect(&c);
}

static enum cq_rc storage_is_down(void *arg, const struct mailstore_call *call, bool applied)
{
    (void)arg;
    (void)call;
    return applied ? CQ_OK : CQ_E_UNAVAILABLE;
}

static void an_outage_is_never_an_empty_maildrop(void **state)
{
    struct front_bench *bench = *state;
    struct bench_client c;
    mailstore_local_set_fault(bench->local, storage_is_down, NULL);
    open_session(bench, &c, &plain);
    TALK(&c, LOGIN, "S: -ERR [SYS/TEMP] *", "S.");
    bench_disconnect(&c);
    mailstore_local_set_fault(bench->local, NULL, NULL);
}

static void a_thousand_pipelined_commands_are_answered(void **state)
{
    struct bench_client c;
    open_session(*state, &c, &plain);
    TALK(&c, LOGIN, "S: +OK *");
    for (int i = 0; i < 1000; i++)
        bench_send(&c, CQ_SLICE("RETR 1\r\n"));
    for (int i = 0; i < 1000; i++)
        TALK(&c, "S: +OK *", "S+ .");
    bench_disconnect(&c);
}

static void junk_and_http_are_closed(void **state)
{
    struct bench_client c;
    open_session(*state, &c, &plain);
    TALK(&c, "C: A", "S: -ERR *", "C: B", "S: -ERR *", "C: C", "S: -ERR *", "S.");
    bench_disconnect(&c);
    open_session(*state, &c, &plain);
    TALK(&c, "C: POST / HTTP/1.1", "S.");
    bench_disconnect(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_deleted_before_quit),
        cmocka_unit_test(two_sessions_need_no_lock),
        cmocka_unit_test(credentials_are_refused_alike),
        cmocka_unit_test(nothing_secret_is_taken_in_clear),
        cmocka_unit_test(an_outage_is_never_an_empty_maildrop),
        cmocka_unit_test(a_thousand_pipelined_commands_are_answered),
        cmocka_unit_test(junk_and_http_are_closed),
    };
    return cmocka_run_group_tests(tests, bench_setup, bench_teardown);
}
