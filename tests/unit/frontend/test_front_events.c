/* What clients do, as events: conversations with sessions, and what a sink got of them. */
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "events/event_ring.h"
#include "limits/quota_client.h"
#include "pop3/pop3_service.h"
#include "smtp/smtp_service.h"
#include "unit/cq_cmocka.h"
#include "unit/frontend/front_bench.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const struct pop3_service pop3 = {.idle_ms = 60000, .auth_without_tls = true};
static const struct smtp_service mx = {
    .kind = SMTP_MX, .size_max = 100000, .recipients_max = 5, .idle_ms = 60000, .auth_without_tls = true};
static const struct smtp_service lmtp = {
    .kind = SMTP_LMTP, .size_max = 100000, .recipients_max = 5, .idle_ms = 60000, .auth_without_tls = true};
static const struct smtp_service submission = {
    .kind = SMTP_SUBMISSION, .size_max = 100000, .recipients_max = 5, .idle_ms = 60000, .auth_without_tls = true};

/* ---- A sink in memory ---- */

static struct {
    struct event_sink base;
    json_t *events; /* array of all that came */
} sink;

static enum cq_rc take(struct event_sink *base, const struct event_record *record, struct cq_err *err)
{
    json_t *event = json_loadb((const char *)record->json.data, record->json.len, JSON_REJECT_DUPLICATES, NULL);
    (void)err;
    assert_non_null(event);
    assert_null(memmem(record->json.data, record->json.len, BENCH_PASSWORD, strlen(BENCH_PASSWORD)));
    json_array_append_new(sink.events, event);
    base->acknowledged(base->ctx, record->ticket);
    return CQ_OK;
}

static enum cq_rc poll_nothing(struct event_sink *base, struct cq_err *err)
{
    (void)base;
    (void)err;
    return CQ_OK;
}

static void close_nothing(struct event_sink *base)
{
    (void)base;
}

static const struct event_sink_ops ops = {take, poll_nothing, poll_nothing, close_nothing};

static int setup(void **state)
{
    if (bench_setup(state) != 0)
        return 1;
    struct front_bench *bench = *state;
    sink.base.ops = &ops;
    sink.events = json_array();
    const struct event_ring_config config = {
        .sink = &sink.base,
        .source = {.cluster = "c", .node = "fe", .dc = "a", .role = "frontend", .version = "1", .type_prefix = "x"},
        .no_thread = true,
    };
    bench->worker.events = event_ring_new(&config);
    return 0;
}

static int teardown(void **state)
{
    struct front_bench *bench = *state;
    event_ring_free(&bench->worker.events);
    json_decref(sink.events);
    return bench_teardown(state);
}

/* ---- Looking at events ---- */

/* Forgets what came before; then what the conversation leaves is all there is. */
static void begin(struct front_bench *bench, struct bench_client *client, const struct smtp_service *service)
{
    assert_int_equal(event_ring_write(bench->worker.events, NULL), CQ_OK);
    json_array_clear(sink.events);
    if (service)
        smtp_session_start(&bench->worker, service, bench_connect(bench, client));
    else
        pop3_session_start(&bench->worker, &pop3, bench_connect(bench, client));
}

static void finish(struct front_bench *bench, struct bench_client *client)
{
    bench_disconnect(client);
    assert_int_equal(event_ring_write(bench->worker.events, NULL), CQ_OK);
}

static const json_t *event_at(size_t n, const char *type)
{
    const json_t *event = json_array_get(sink.events, n);
    const char *got = json_string_value(json_object_get(event, "type"));
    if (!got || strcmp(got, type) != 0)
        fail_msg("event %zu of %zu is %s, not %s", n, json_array_size(sink.events), got ? got : "(none)", type);
    return event;
}

static const char *field(const json_t *event, const char *name)
{
    return json_string_value(json_object_get(json_object_get(event, "data"), name));
}

/* Pairs of a field and its value, "" for one that must not be there; NULL ends. */
static void assert_fields(const json_t *event, const char *const *pairs)
{
    for (; *pairs; pairs += 2) {
        const json_t *value = json_object_get(json_object_get(event, "data"), pairs[0]);
        char *got = json_is_string(value) ? strdup(json_string_value(value)) : json_dumps(value, JSON_ENCODE_ANY);
        if (strcmp(got ? got : "", pairs[1]) != 0)
            fail_msg("%s is \"%s\", not \"%s\"", pairs[0], got ? got : "", pairs[1]);
        free(got);
    }
}
#define FIELDS(event, ...) assert_fields((event), (const char *const[]){__VA_ARGS__, NULL})

static const char *text_of(const json_t *event, const char *name)
{
    return json_string_value(json_object_get(event, name));
}

/* ---- Conversations ---- */

static void a_session_leaves_who_logged_in_and_how_it_went(void **state)
{
    struct bench_client c;
    begin(*state, &c, NULL);
    TALK(&c, "S: +OK *", "C: USER ana@example.test", "S: +OK", "C: PASS " BENCH_PASSWORD, "S: +OK *", "C: QUIT",
         "S: +OK *", "S.");
    finish(*state, &c);
    assert_int_equal(json_array_size(sink.events), 3);
    const json_t *login = event_at(0, "x.mail.auth.auth.succeeded.v1");
    const json_t *opened = event_at(1, "x.mail.auth.session.opened.v1");
    const json_t *closed = event_at(2, "x.mail.auth.session.closed.v1");
    FIELDS(login, "mechanism", "PASS", "reason", "ok", "protocol", "pop3", "address", "ana@example.test", "login",
           "ana@example.test", "app_password_id", "", "role", "frontend", "node_id", "fe", "dc", "a");
    FIELDS(opened, "address", "ana@example.test", "protocol", "pop3");
    FIELDS(closed, "address", "ana@example.test", "commands", "3", "reason", "client");
    assert_int_equal(strtoull(field(closed, "bytes_in"), NULL, 10),
                     strlen("USER ana@example.test\r\nPASS \r\nQUIT\r\n") + strlen(BENCH_PASSWORD));
    for (size_t i = 0; i < 3; i++) {
        const json_t *event = json_array_get(sink.events, i);
        assert_string_equal(field(event, "session_id"), field(login, "session_id"));
        assert_string_equal(text_of(event, "partitionkey"), field(login, "account_id"));
        assert_int_equal(text_of(event, "id")[14], '7'); /* UUID version 7 */
        if (i)
            assert_true(strcmp(text_of(event, "sequence"), text_of(json_array_get(sink.events, i - 1), "sequence")) >
                        0);
    }
}

static void a_wrong_password_and_an_unknown_user_look_the_same(void **state)
{
    struct bench_client c;
    begin(*state, &c, NULL);
    TALK(&c, "S: +OK *", "C: USER ana@example.test", "S: +OK", "C: PASS wrong-wrong", "S: -ERR *",
         "C: USER nobody@example.test", "S: +OK", "C: PASS wrong-wrong", "S: -ERR *", "C: USER Ana@Example.test",
         "S: +OK", "C: PASS wrong-wrong", "S: -ERR *");
    finish(*state, &c);
    assert_int_equal(json_array_size(sink.events), 3); /* a session without log-in leaves no more */
    const json_t *wrong = event_at(0, "x.mail.auth.auth.failed.v1");
    const json_t *unknown = event_at(1, "x.mail.auth.auth.failed.v1");
    FIELDS(wrong, "reason", "bad_credentials", "login", "ana@example.test", "account_id", "", "address", "");
    FIELDS(unknown, "reason", "bad_credentials", "login", "nobody@example.test", "account_id", "", "address", "");
    assert_string_equal(text_of(wrong, "partitionkey"),
                        text_of(event_at(2, "x.mail.auth.auth.failed.v1"), "partitionkey"));
    assert_string_not_equal(text_of(wrong, "partitionkey"), text_of(unknown, "partitionkey"));
    assert_int_equal(strlen(text_of(wrong, "partitionkey")), EVENT_HASH_SIZE - 1);
}

static bool note_line(enum cq_log_level level, const char *event, struct cq_slice line, void *text)
{
    (void)level, (void)event;
    cq_buf_slice_add(text, line);
    return false;
}

/* Somebody types a password where the name belongs. */
static void a_name_that_is_no_address_is_not_told(void **state)
{
    static const char *const names[] = {"hunter2", "p@ssword", "tr0ub4dor&3 @home"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct bench_client c;
        struct cq_buf log;
        char user[64];
        cq_buf_init(&log, 1u << 20);
        cq_log_set_tap(note_line, &log);
        begin(*state, &c, NULL);
        snprintf(user, sizeof user, "C: USER %s", names[i]);
        TALK(&c, "S: +OK *", user, "S: +OK", "C: PASS x", "S: -ERR *");
        finish(*state, &c);
        cq_log_set_tap(NULL, NULL);
        cq_buf_byte(&log, '\0');
        assert_non_null(strstr((const char *)log.data, "auth.failed"));
        assert_null(strstr((const char *)log.data, names[i]));
        cq_buf_fini(&log);
        FIELDS(event_at(0, "x.mail.auth.auth.failed.v1"), "login", "", "login_domain", "");
        char *all = json_dumps(sink.events, 0);
        assert_null(strstr(all, names[i]));
        free(all);
    }
}

static void a_refused_recipient_is_told_with_the_whole_answer(void **state)
{
    struct bench_client c;
    begin(*state, &c, &mx);
    TALK(&c, "S: 220 *", "C: EHLO client.example", "S+ 250 *", "C: MAIL FROM:<bob@elsewhere.test>", "S: 250 *",
         "C: RCPT TO:<nobody@example.test>", "S: 550 *", "C: RCPT TO:<x@elsewhere.test>", "S: 550 *", "C: RCPT TO:<>",
         "S: 553 *", "C: QUIT", "S: 221 *", "S.");
    finish(*state, &c);
    assert_int_equal(json_array_size(sink.events), 3);
    const json_t *unknown = event_at(0, "x.mail.inbound.message.rejected.v1");
    FIELDS(unknown, "stage", "rcpt", "verb", "RCPT", "reason", "unknown_user", "code", "550", "enhanced", "5.1.1",
           "text", "No such user here", "protocol", "smtp", "ehlo", "client.example", "envelope_from",
           "bob@elsewhere.test", "recipient", "nobody@example.test", "recipients", "");
    assert_string_equal(text_of(unknown, "partitionkey"), field(unknown, "session_id"));
    FIELDS(event_at(1, "x.mail.inbound.message.rejected.v1"), "reason", "relay_denied", "enhanced", "5.7.1",
           "recipient", "x@elsewhere.test");
    FIELDS(event_at(2, "x.mail.inbound.message.rejected.v1"), "reason", "malformed_address", "code", "553", "recipient",
           "");
}

static void every_stage_tells_its_refusals_and_nothing_else_does(void **state)
{
    struct bench_client c;
    begin(*state, &c, &mx);
    TALK(&c, "S: 220 *", "C: EHLO bad_name..", "S: 501 *", "C: JUNK", "S: 500 *", "C: EHLO c.example", "S+ 250 *",
         "C: MAIL FROM:<a@b.test> SIZE=999999", "S: 552 *", "C: MAIL FROM:<a@b.test>", "S: 250 *", "C: STARTTLS",
         "S: 503 *", "C: RCPT TO:<ana@example.test>", "S: 250 *", "C: DATA", "S: 354 *", "C! Subject: x\n\r\n", "C: .",
         "S: 550 *", "S.");
    finish(*state, &c);
    assert_int_equal(json_array_size(sink.events), 3);
    FIELDS(event_at(0, "x.mail.inbound.message.rejected.v1"), "stage", "ehlo", "code", "501");
    FIELDS(event_at(1, "x.mail.inbound.message.rejected.v1"), "stage", "mail", "reason", "too_big", "envelope_from",
           "a@b.test");
    FIELDS(event_at(2, "x.mail.inbound.message.rejected.v1"), "stage", "data", "reason", "bare_newline", "recipient",
           "ana@example.test", "recipients", "1");
}

static void lmtp_tells_each_recipient_that_did_not_get_it(void **state)
{
    struct bench_client c;
    char *big = cq_malloc(4096);
    memset(big, 'x', 4000);
    memcpy(big, "C: ", 3);
    for (size_t i = 900; i < 4000; i += 900) /* lines */
        memcpy(big + i, "\r\n", 2);
    big[4000] = '\0';
    begin(*state, &c, &lmtp);
    TALK(&c, "S: 220 *", "C: LHLO c.example", "S+ 250 *", "C: MAIL FROM:<a@b.test>", "S: 250 *",
         "C: RCPT TO:<ben@example.test>", "S: 250 *", "C: RCPT TO:<ana@example.test>", "S: 250 *", "C: DATA",
         "S: 354 *", "C: Subject: big", "C: ", big, "C: .", "S: 552 *", "S: 250 *", "C: QUIT", "S: 221 *", "S.");
    finish(*state, &c);
    free(big);
    assert_int_equal(json_array_size(sink.events), 1);
    FIELDS(event_at(0, "x.mail.inbound.message.rejected.v1"), "stage", "data", "reason", "over_quota", "recipient",
           "ben@example.test", "protocol", "lmtp", "recipients", "2");
}

/* ana may send three messages a day. */
static void the_daily_limit_is_told_as_a_limit_and_as_a_refusal(void **state)
{
    struct bench_client c;
    begin(*state, &c, &submission);
    TALK(&c, "S: 220 *", "C: EHLO c.example", "S+ 250 *",
         "C: AUTH PLAIN AGFuYUBleGFtcGxlLnRlc3QAY29ycmVjdCBob3JzZQ==", "S: 235 *");
    for (int i = 0; i < 4; i++)
        TALK(&c, "C: MAIL FROM:<ana@example.test>", "S: 250 *", "C: RCPT TO:<ana@example.test>", "S: 250 *", "C: DATA",
             "S: 354 *", "C: From: ana@example.test", "C: ", "C: hello", "C: .", i < 3 ? "S: 250 *" : "S: 550 5.4.5 *");
    TALK(&c, "C: QUIT", "S: 221 *", "S.");
    finish(*state, &c);
    assert_int_equal(json_array_size(sink.events), 5);
    event_at(0, "x.mail.auth.auth.succeeded.v1");
    event_at(1, "x.mail.auth.session.opened.v1");
    const json_t *limited = event_at(2, "x.mail.limits.rate_limited.v1");
    FIELDS(limited, "limit_name", "sending_daily", "key_kind", "account", "action", "refused", "protocol",
           "submission");
    assert_string_equal(text_of(limited, "partitionkey"), field(limited, "account_id"));
    FIELDS(event_at(3, "x.mail.inbound.message.rejected.v1"), "reason", "daily_limit", "stage", "data");
    event_at(4, "x.mail.auth.session.closed.v1");
}

static void too_many_failures_and_sessions_are_told_as_such(void **state)
{
    struct front_bench *bench = *state;
    static const char text[] = "limits: {auth_account: {count: 1, period: 1h}, sessions_account: 1}";
    struct quota_limits limits;
    struct cq_config_part part = quota_limits_config_part(&limits);
    struct cq_pool *pool = cq_pool_new(1024);
    struct cq_err err = {0};
    struct bench_client a, b;
    assert_int_equal(cq_config_parse(&part, 1, "f", cq_slice_cstr(text), pool, &err), CQ_OK);
    const struct quota_client_config config = {.loop = bench->worker.loop, .limits = &limits, .shares = 1};
    assert_int_equal(quota_client_new(&config, &bench->worker.quota, &err), CQ_OK);
    bench->worker.limits = &limits;
    begin(bench, &a, NULL);
    TALK(&a, "S: +OK *", "C: USER ana@example.test", "S: +OK", "C: PASS " BENCH_PASSWORD, "S: +OK *");
    pop3_session_start(&bench->worker, &pop3, bench_connect(bench, &b));
    TALK(&b, "S: +OK *", "C: USER ana@example.test", "S: +OK", "C: PASS " BENCH_PASSWORD, "S: -ERR [IN-USE] *",
         "C: USER ben@example.test", "S: +OK", "C: PASS wrong-wrong", "S: -ERR [AUTH] *", "C: USER ben@example.test",
         "S: +OK", "C: PASS " BENCH_PASSWORD, "S: -ERR [LOGIN-DELAY] *");
    TALK(&a, "C: QUIT", "S: +OK *", "S.");
    finish(bench, &b);
    finish(bench, &a);
    assert_int_equal(json_array_size(sink.events), 7);
    FIELDS(event_at(2, "x.mail.auth.auth.failed.v1"), "reason", "too_many_sessions", "login", "ana@example.test");
    FIELDS(event_at(3, "x.mail.limits.rate_limited.v1"), "limit_name", "sessions_account", "limit", "1");
    FIELDS(event_at(4, "x.mail.auth.auth.failed.v1"), "reason", "bad_credentials");
    const json_t *blocked = event_at(5, "x.mail.auth.auth.blocked.v1");
    FIELDS(blocked, "reason", "too_many_failures", "login", "ben@example.test", "account_id", "");
    assert_true(json_integer_value(json_object_get(json_object_get(blocked, "data"), "retry_after_seconds")) > 0);
    quota_client_free(&bench->worker.quota);
    bench->worker.limits = NULL;
    cq_pool_free(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_leaves_who_logged_in_and_how_it_went),
        cmocka_unit_test(a_wrong_password_and_an_unknown_user_look_the_same),
        cmocka_unit_test(a_name_that_is_no_address_is_not_told),
        cmocka_unit_test(a_refused_recipient_is_told_with_the_whole_answer),
        cmocka_unit_test(every_stage_tells_its_refusals_and_nothing_else_does),
        cmocka_unit_test(lmtp_tells_each_recipient_that_did_not_get_it),
        cmocka_unit_test(the_daily_limit_is_told_as_a_limit_and_as_a_refusal),
        cmocka_unit_test(too_many_failures_and_sessions_are_told_as_such),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
