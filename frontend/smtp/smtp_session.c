#include "smtp/smtp_session.h"

#include "base/cq_assert.h"
#include "base/cq_line.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "core/front_metrics.h"

#include <stdlib.h>

#define TRANSACTION_POOL 2048

void smtp_say(struct smtp_session *session, unsigned code, const char *enhanced, const char *text)
{
    io_conn_printf(session->pump.front.conn, "%u %s%s%s\r\n", code, enhanced ? enhanced : "", enhanced ? " " : "",
                   text);
    session->code = code;
    if (code >= 500)
        session->errors++;
    if (code >= 400)
        smtp_tell_refusal(session, &(struct smtp_reply){code, enhanced, text});
}

void smtp_answer(struct smtp_session *session, struct smtp_reply reply)
{
    smtp_say(session, reply.code, reply.enhanced, reply.text);
}

bool smtp_is_tls(const struct smtp_session *session)
{
    return io_conn_tls(session->pump.front.conn) != NULL;
}

bool smtp_may_auth(const struct smtp_session *session)
{
    return session->service->kind == SMTP_SUBMISSION && !session->pump.front.account &&
           (smtp_is_tls(session) || session->service->auth_without_tls);
}

void smtp_transaction_begin(struct smtp_session *session)
{
    CQ_ASSERT(!session->transaction.pool);
    session->transaction = (struct smtp_transaction){.pool = cq_pool_new(TRANSACTION_POOL)};
    front_ulid(session->transaction.message_id);
}

void smtp_transaction_end(struct smtp_session *session)
{
    if (session->transaction.open)
        front_count_transaction(session->pump.front.protocol, session->transaction.code);
    cq_pool_free(&session->transaction.pool);
    session->transaction = (struct smtp_transaction){.pool = NULL};
}

/* ---- Dispatch ---- */

static const struct smtp_verb *find_verb(const struct smtp_session *session, struct cq_slice name)
{
    for (size_t i = 0; i < smtp_verb_count; i++)
        if (smtp_verbs[i].kinds & 1u << session->service->kind &&
            cq_slice_caseeq(name, cq_slice_cstr(smtp_verbs[i].name)))
            return &smtp_verbs[i];
    return NULL;
}

/* An HTTP request sent to a mail port is an attack across protocols (ALPACA), and never a mail client. */
static bool is_http(struct cq_slice verb)
{
    static const char *const verbs[] = {"GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "PATCH"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (cq_slice_caseeq(verb, cq_slice_cstr(verbs[i])))
            return true;
    return false;
}

static struct smtp_reply allowed(const struct smtp_session *session, const struct smtp_verb *verb, struct cq_slice rest)
{
    if (verb->flags & SMTP_NEEDS_HELO && !session->helo[0])
        return (struct smtp_reply){503, "5.5.1", "Say hello first"};
    if (verb->flags & SMTP_NEEDS_AUTH && session->service->kind == SMTP_SUBMISSION && !session->pump.front.account)
        return (struct smtp_reply){530, "5.7.0", "Authentication required"};
    if (verb->flags & SMTP_NO_TRANSACTION && session->transaction.pool)
        return (struct smtp_reply){503, "5.5.1", "A mail transaction is open"};
    if (verb->flags & SMTP_NEEDS_MAIL && !session->transaction.pool)
        return (struct smtp_reply){503, "5.5.1", "Need MAIL first"};
    if (verb->flags & SMTP_NEEDS_RCPT && session->transaction.recipient_count == 0)
        return (struct smtp_reply){554, "5.5.1", "No valid recipients"};
    if (verb->flags & SMTP_NO_ARGUMENT && rest.len)
        return (struct smtp_reply){501, "5.5.4", "No arguments here"};
    return SMTP_GO_ON;
}

static void unknown(struct smtp_session *session, struct cq_slice verb)
{
    unsigned max =
        session->pump.front.account || session->service->kind == SMTP_MX ? SMTP_JUNK_MAX : SMTP_JUNK_BEFORE_LOGIN;
    session->junk++;
    front_count_command(session->pump.front.protocol, FRONT_NO_COMMAND, FRONT_M_BAD, 0);
    if (is_http(verb) || session->junk >= max) {
        smtp_say(session, 421, "4.7.0", "Closing: this is no mail client");
        session->pump.front.ended_by = "server";
        session->pump.closing = true;
        return;
    }
    smtp_say(session, 500, "5.5.2", "Command not recognised");
}

static void run(struct smtp_session *session, const struct smtp_verb *verb, struct cq_slice rest)
{
    struct smtp_reply reply = allowed(session, verb, rest);
    if (!reply.code && verb->check)
        reply = verb->check(session, rest);
    if (reply.code)
        smtp_answer(session, reply);
    else
        verb->proceed(session, rest);
}

/* RFC 5321 4.2.2: 500 to 504 are about the command, not about what it asks for. */
static enum front_m_result result_of(unsigned code)
{
    if (code < 400)
        return FRONT_M_OK;
    return code >= 500 && code <= 504 ? FRONT_M_BAD : FRONT_M_NO;
}

static void dispatch(struct smtp_session *session, struct cq_slice line)
{
    struct cq_slice name, rest;
    smtp_split(line, &name, &rest);
    const struct smtp_verb *verb = find_verb(session, name);
    if (!verb) {
        unknown(session, name);
        return;
    }
    uint64_t started_us = cq_time_mono_us();
    session->verb = verb;
    session->code = 0;
    session->concerning = CQ_SLICE_NONE;
    session->message_size = 0;
    run(session, verb, rest);
    session->verb = NULL;
    front_count_command(session->pump.front.protocol, (unsigned)(verb - smtp_verbs), result_of(session->code),
                        cq_time_mono_us() - started_us);
    if (session->errors > SMTP_ERRORS_MAX) {
        smtp_say(session, 421, "4.7.0", "Too many errors");
        session->pump.front.ended_by = "server";
        session->pump.closing = true;
    }
}

/* Takes the next command line off the input into `line`, which outlives the input buffer. False: there is none yet. */
static bool next_line(struct smtp_session *session, uint8_t storage[static SMTP_LINE_MAX], struct cq_slice *line_r)
{
    size_t used = 0;
    struct cq_slice line = CQ_SLICE_NONE;
    enum cq_rc rc = cq_line_take(io_conn_input(session->pump.front.conn), SMTP_LINE_MAX, &line, &used);
    if (rc == CQ_E_AGAIN)
        return false;
    if (rc == CQ_E_LIMIT) {
        smtp_say(session, 500, "5.5.2", "Line too long");
        session->pump.closing = true; /* the rest of the line would be read as commands */
        return false;
    }
    if (rc == CQ_OK && line.len)
        memcpy(storage, line.data, line.len);
    *line_r = cq_slice_of(storage, line.len);
    io_conn_consume(session->pump.front.conn, used);
    if (rc == CQ_E_PROTO) {
        smtp_say(session, 500, "5.5.2", "NUL or bare CR in a command");
        session->pump.closing = true;
        return false;
    }
    return true;
}

/* ---- Life ---- */

static struct smtp_session *of(struct front_pump *pump)
{
    return cq_containerof(pump, struct smtp_session, pump);
}

static bool step(struct front_pump *pump)
{
    uint8_t storage[SMTP_LINE_MAX];
    struct cq_slice line;
    if (!next_line(of(pump), storage, &line))
        return false;
    dispatch(of(pump), line);
    return true;
}

static void farewell(struct front_pump *pump, enum front_farewell why)
{
    static const struct smtp_reply words[] = {
        [FRONT_FAREWELL_DRAIN] = {421, "4.3.2", "Going away, please come back"},
        [FRONT_FAREWELL_KICKED] = {421, "4.7.0", "The session was ended by an administrator"},
        [FRONT_FAREWELL_ACCOUNT] = {421, "4.7.0", "This account may not submit mail any more"},
        [FRONT_FAREWELL_IDLE] = {421, "4.4.2", "Idle for too long"},
        [FRONT_FAREWELL_BUSY] = {421, "4.3.2", "Too busy, please come back"},
    };
    smtp_answer(of(pump), words[why]);
}

/* In a transaction its 250 may be on the way. */
static bool between(const struct front_pump *pump)
{
    return !cq_containerof((struct front_pump *)(uintptr_t)pump, struct smtp_session, pump)->transaction.pool;
}

static void release(struct front_pump *pump)
{
    struct smtp_session *session = of(pump);
    smtp_transaction_end(session);
    free(session);
}

static const struct front_pump_ops pump_ops = {step, farewell, between, release};

static const enum front_protocol protocols[] = {
    [SMTP_MX] = FRONT_SMTP,
    [SMTP_SUBMISSION] = FRONT_SUBMISSION,
    [SMTP_LMTP] = FRONT_LMTP,
};

void smtp_session_start(struct front_worker *worker, const struct smtp_service *service, struct io_conn *conn)
{
    struct smtp_session *session = cq_new(struct smtp_session);
    session->service = service;
    front_pump_start(&session->pump, worker, protocols[service->kind], conn, &pump_ops, service->idle_ms,
                     SMTP_INPUT_IDLE);
    io_conn_printf(conn, "220 %s %s Chasqui\r\n", worker->hostname, service->kind == SMTP_LMTP ? "LMTP" : "ESMTP");
}
