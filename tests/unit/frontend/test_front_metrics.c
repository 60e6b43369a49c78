/* What clients do, as counts: conversations with sessions, and how the metrics moved. */
#include "core/front_metrics.h"
#include "core/front_session.h"
#include "imap/imap_command.h"
#include "pop3/pop3_session.h"
#include "smtp/smtp_session.h"
#include "unit/cq_cmocka.h"
#include "unit/frontend/front_bench.h"

#include <stdio.h>

static const struct pop3_service pop3 = {.idle_ms = 60000, .auth_without_tls = true};
static const struct smtp_service mx = {.kind = SMTP_MX, .size_max = 100000, .recipients_max = 3, .idle_ms = 60000};
static const struct smtp_service lmtp = {.kind = SMTP_LMTP, .size_max = 100000, .recipients_max = 3, .idle_ms = 60000};

static unsigned place_of(enum front_protocol protocol, const char *label)
{
    for (unsigned i = 0; front_command_label(protocol, i); i++)
        if (strcmp(front_command_label(protocol, i), label) == 0)
            return i;
    fail_msg("%s is not counted", label);
    return 0;
}

/* The labels of all protocols stand in one list; where each begins follows from those before it. */
static unsigned index_of(const char *label)
{
    unsigned index = 0;
    for (enum front_protocol p = 0; p < FRONT_PROTOCOL_COUNT; p++)
        for (unsigned i = 0; front_command_label(p, i); i++, index++)
            if (strcmp(front_command_label(p, i), label) == 0)
                return index;
    fail_msg("%s is not counted", label);
    return 0;
}

static int64_t commands(const char *label, enum front_m_result result)
{
    return cq_metric_value(&front_metrics, FRONT_M_COMMANDS, index_of(label), result);
}

static int64_t live(enum front_protocol protocol, enum front_m_state state)
{
    return cq_metric_value(&front_metrics, FRONT_M_LIVE, protocol, state);
}

static void the_lists_are_the_protocols_tables(void **state)
{
    (void)state;
    char label[64];
    for (unsigned i = 0; i < smtp_verb_count; i++) {
        snprintf(label, sizeof label, "submission,%s", smtp_verbs[i].name);
        assert_int_equal(place_of(FRONT_SUBMISSION, label), i);
        snprintf(label, sizeof label, "lmtp,%s", smtp_verbs[i].name);
        assert_int_equal(place_of(FRONT_LMTP, label), i);
    }
    for (unsigned i = 0; i < pop3_verb_count; i++) {
        snprintf(label, sizeof label, "pop3,%s", pop3_verbs[i].name);
        assert_int_equal(place_of(FRONT_POP3, label), i);
    }
    assert_string_equal(front_command_label(FRONT_SMTP, (unsigned)smtp_verb_count), "smtp,unknown");
    assert_string_equal(front_command_label(FRONT_POP3, (unsigned)pop3_verb_count), "pop3,unknown");
    assert_string_equal(front_command_label(FRONT_IMAP, IMAP_UNKNOWN), "imap,unknown");
    assert_string_equal(front_command_label(FRONT_IMAP, IMAP_UID_FETCH), "imap,UID FETCH");
    assert_null(front_command_label(FRONT_SMTP, (unsigned)smtp_verb_count + 1));
}

static void a_pop3_session_is_counted_from_greeting_to_end(void **state)
{
    struct front_bench *bench = *state;
    struct bench_client c;
    int64_t connections = cq_metric_value(&front_metrics, FRONT_M_CONNECTIONS, FRONT_POP3, FRONT_M_PLAIN);
    int64_t in = cq_metric_value(&front_metrics, FRONT_M_BYTES, FRONT_POP3, FRONT_M_IN);
    pop3_session_start(&bench->worker, &pop3, bench_connect(bench, &c));
    TALK(&c, "S: +OK *");
    assert_int_equal(live(FRONT_POP3, FRONT_M_PREAUTH), 1);
    TALK(&c, "C: USER ana@example.test", "S: +OK", "C: PASS wrong-wrong", "S: -ERR *", "C: STAT", "S: -ERR Not now",
         "C: FOO", "S: -ERR *", "C: USER ana@example.test", "S: +OK", "C: PASS " BENCH_PASSWORD, "S: +OK *");
    assert_int_equal(live(FRONT_POP3, FRONT_M_PREAUTH), 0);
    assert_int_equal(live(FRONT_POP3, FRONT_M_AUTHENTICATED), 1);
    TALK(&c, "C: QUIT", "S: +OK *", "S.");
    bench_disconnect(&c);
    assert_int_equal(live(FRONT_POP3, FRONT_M_AUTHENTICATED), 0);
    assert_int_equal(cq_metric_value(&front_metrics, FRONT_M_CONNECTIONS, FRONT_POP3, FRONT_M_PLAIN), connections + 1);
    assert_int_equal(cq_metric_value(&front_metrics, FRONT_M_DURATION, FRONT_POP3), connections + 1);
    assert_true(cq_metric_value(&front_metrics, FRONT_M_BYTES, FRONT_POP3, FRONT_M_IN) > in + 50);
    assert_int_equal(commands("pop3,USER", FRONT_M_OK), 2);
    assert_int_equal(commands("pop3,PASS", FRONT_M_OK), 1);
    assert_int_equal(commands("pop3,PASS", FRONT_M_NO), 1);
    assert_int_equal(commands("pop3,STAT", FRONT_M_BAD), 1);
    assert_int_equal(commands("pop3,unknown", FRONT_M_BAD), 1);
    assert_int_equal(cq_metric_value(&front_metrics, FRONT_M_AUTH, FRONT_POP3, FRONT_M_PASS, FRONT_AUTH_OK), 1);
    assert_int_equal(
        cq_metric_value(&front_metrics, FRONT_M_AUTH, FRONT_POP3, FRONT_M_PASS, FRONT_AUTH_BAD_CREDENTIALS), 1);
}

static int64_t recipients(unsigned label)
{
    return cq_metric_value(&front_metrics, FRONT_M_RECIPIENTS, label);
}

static void a_transaction_counts_once_its_recipients_and_messages_each(void **state)
{
    struct front_bench *bench = *state;
    struct bench_client c;
    smtp_session_start(&bench->worker, &mx, bench_connect(bench, &c));
    TALK(&c, "S: 220 *", "C: EHLO c.example", "S+ 250 *", "C: MAIL FROM:<a@b.test>", "S: 250 *",
         "C: RCPT TO:<nobody@example.test>", "S: 550 *", "C: RCPT TO:<x@elsewhere.test>", "S: 550 *", "C: RCPT TO:<@>",
         "S: 553 *", "C: RCPT TO:<ana@example.test> X=Y", "S: 555 *", "C: RCPT TO:<ana@example.test>", "S: 250 *",
         "C: RCPT TO:<ana+1@example.test>", "S: 250 *", "C: RCPT TO:<ana+2@example.test>", "S: 250 *",
         "C: RCPT TO:<ana+3@example.test>", "S: 452 *", "C: DATA", "S: 354 *", "C: Subject: x", "C: ", "C: y", "C: .",
         "S: 250 *");
    TALK(&c, "C: MAIL FROM:<a@b.test>", "S: 250 *", "C: RSET", "S: 250 *"); /* given up */
    TALK(&c, "C: MAIL FROM:<a@b.test> SIZE=1000000", "S: 552 *");           /* never begun */
    TALK(&c, "C: MAIL FROM:<a@b.test>", "S: 250 *", "C: RCPT TO:<ana@example.test>", "S: 250 *", "C: DATA", "S: 354 *",
         "C! Subject: x\n\r\n.\r\n", "S: 550 *", "S.");
    bench_disconnect(&c);
    static const int64_t wanted[] = {4, 1, 1, 0, 1, 1, 1, 0, 0}; /* in the order of the label's values */
    for (unsigned i = 0; i < sizeof wanted / sizeof *wanted; i++)
        assert_int_equal(recipients(i), wanted[i]);
    assert_int_equal(cq_metric_value(&front_metrics, FRONT_M_TRANSACTIONS, 0, FRONT_M_ACCEPTED), 1);
    assert_int_equal(cq_metric_value(&front_metrics, FRONT_M_TRANSACTIONS, 0, FRONT_M_REJECTED_MAIL), 1);
    assert_int_equal(cq_metric_value(&front_metrics, FRONT_M_TRANSACTIONS, 0, FRONT_M_ABORTED), 1);
    assert_int_equal(cq_metric_value(&front_metrics, FRONT_M_RECEIVED, 0, FRONT_M_ACCEPTED), 1);
    assert_int_equal(cq_metric_value(&front_metrics, FRONT_M_RECEIVED, 0, FRONT_M_REJECTED_MAIL), 1);
    assert_int_equal(cq_metric_value(&front_metrics, FRONT_M_SIZE, 0), 2);
    assert_int_equal(cq_metric_value(&front_metrics, FRONT_M_COMMIT), 1);
    assert_int_equal(commands("smtp,RCPT", FRONT_M_OK), 4);
    assert_int_equal(commands("smtp,RCPT", FRONT_M_NO), 5);
    assert_int_equal(commands("smtp,DATA", FRONT_M_OK), 1);
    assert_int_equal(commands("smtp,EHLO", FRONT_M_OK), 1);
}

static void lmtp_counts_an_answer_for_each_recipient(void **state)
{
    struct front_bench *bench = *state;
    struct bench_client c;
    smtp_session_start(&bench->worker, &lmtp, bench_connect(bench, &c));
    TALK(&c, "S: 220 *", "C: LHLO c.example", "S+ 250 *", "C: MAIL FROM:<a@b.test>", "S: 250 *",
         "C: RCPT TO:<ana@example.test>", "S: 250 *", "C: RCPT TO:<ben@example.test>", "S: 250 *", "C: DATA",
         "S: 354 *", "C: Subject: x", "C: ", "C: y", "C: .", "S: 250 *", "S: 250 *", "C: QUIT", "S: 221 *", "S.");
    bench_disconnect(&c);
    assert_int_equal(cq_metric_value(&front_metrics, FRONT_M_TRANSACTIONS, 2, FRONT_M_ACCEPTED), 1);
    assert_int_equal(cq_metric_value(&front_metrics, FRONT_M_RECEIVED, 2, FRONT_M_ACCEPTED), 2);
    assert_int_equal(cq_metric_value(&front_metrics, FRONT_M_SIZE, 2), 1);
}

static void what_no_row_knows_is_counted_too(void **state)
{
    (void)state;
    front_count_auth(FRONT_IMAP, "X-NEW", "some_reason");
    assert_int_equal(cq_metric_value(&front_metrics, FRONT_M_AUTH, FRONT_IMAP, FRONT_M_OTHER, FRONT_AUTH_BACKEND), 1);
    front_count_recipient(451, "new_reason");
    assert_int_equal(recipients(8), 1);
    front_count_command(FRONT_IMAP, 12345, FRONT_M_BAD, 0);
    assert_int_equal(commands("imap,unknown", FRONT_M_BAD), 1);
    assert_int_equal(front_outcome(0), FRONT_M_ABORTED);
    assert_int_equal(front_outcome(250), FRONT_M_ACCEPTED);
    assert_int_equal(front_outcome(451), FRONT_M_DEFERRED);
    assert_int_equal(front_outcome(550), FRONT_M_REJECTED_MAIL);
    assert_int_equal(front_outcome(999), FRONT_M_REJECTED_MAIL);
}

static int setup(void **state)
{
    cq_metrics_register(&front_metrics);
    return bench_setup(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lists_are_the_protocols_tables),
        cmocka_unit_test(a_pop3_session_is_counted_from_greeting_to_end),
        cmocka_unit_test(a_transaction_counts_once_its_recipients_and_messages_each),
        cmocka_unit_test(lmtp_counts_an_answer_for_each_recipient),
        cmocka_unit_test(what_no_row_knows_is_counted_too),
    };
    return cmocka_run_group_tests(tests, setup, bench_teardown);
}
