#include "smtp/smtp_session.h"

#include "base/cq_assert.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"

#include <stdlib.h>

#define TRANSACTION_POOL 2048

void smtp_say(struct smtp_session *session, unsigned code, const char *enhanced, const char *text)
{
    io_conn_printf(session->conn, "%u %s%s%s\r\n", code, enhanced ? enhanced : "", enhanced ? " " : "", text);
    if (code >= 500)
        session->errors++;
}

void smtp_answer(struct smtp_session *session, struct smtp_reply reply)
{
    smtp_say(session, reply.code, reply.enhanced, reply.text);
}

bool smtp_is_tls(const struct smtp_session *session)
{
    return io_conn_tls(session->conn) != NULL;
}

bool smtp_may_auth(const struct smtp_session *session)
{
    return session->service->kind == SMTP_SUBMISSION && !session->front.account &&
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
    if (verb->flags & SMTP_NEEDS_AUTH && session->service->kind == SMTP_SUBMISSION && !session->front.account)
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
    unsigned max = session->front.account || session->service->kind == SMTP_MX ? SMTP_JUNK_MAX : SMTP_JUNK_BEFORE_LOGIN;
    session->junk++;
    if (is_http(verb) || session->junk > max) {
        smtp_say(session, 421, "4.7.0", "Closing: this is no mail client");
        session->closing = true;
        return;
    }
    smtp_say(session, 500, "5.5.2", "Command not recognised");
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
    struct smtp_reply reply = allowed(session, verb, rest);
    if (!reply.code && verb->check)
        reply = verb->check(session, rest);
    if (reply.code)
        smtp_answer(session, reply);
    else
        verb->proceed(session, rest);
    if (session->errors > SMTP_ERRORS_MAX) {
        smtp_say(session, 421, "4.7.0", "Too many errors");
        session->closing = true;
    }
}

/* Takes the next command line off the input into `line`, which outlives the input buffer. False: there is none yet. */
static bool next_line(struct smtp_session *session, uint8_t storage[static SMTP_LINE_MAX], struct cq_slice *line_r)
{
    size_t used = 0;
    struct cq_slice line = CQ_SLICE_NONE;
    enum cq_rc rc = smtp_line(io_conn_input(session->conn), SMTP_LINE_MAX, &line, &used);
    if (rc == CQ_E_AGAIN)
        return false;
    if (rc == CQ_E_LIMIT) {
        smtp_say(session, 500, "5.5.2", "Line too long");
        session->closing = true; /* the rest of the line would be read as commands */
        return false;
    }
    if (rc == CQ_OK && line.len)
        memcpy(storage, line.data, line.len);
    *line_r = cq_slice_of(storage, line.len);
    io_conn_consume(session->conn, used);
    if (rc == CQ_E_PROTO) {
        smtp_say(session, 500, "5.5.2", "NUL or bare CR in a command");
        session->closing = true;
        return false;
    }
    return true;
}

enum cq_rc smtp_read_line(struct smtp_session *session, size_t max, struct cq_pool *pool, struct cq_slice *line_r)
{
    uint64_t deadline = io_loop_deadline(session->front.worker->loop, session->service->idle_ms);
    for (;;) {
        size_t used = 0;
        struct cq_slice line;
        enum cq_rc rc = smtp_line(io_conn_input(session->conn), max, &line, &used);
        if (rc == CQ_OK)
            *line_r = cq_pool_slice(pool, line);
        if (rc == CQ_OK || rc == CQ_E_PROTO)
            io_conn_consume(session->conn, used);
        if (rc != CQ_E_AGAIN)
            return rc;
        rc = io_conn_read_more(session->conn, deadline);
        if (rc != CQ_OK)
            return rc;
    }
}

/* ---- Life ---- */

static void release(struct smtp_session *session)
{
    smtp_transaction_end(session);
    front_session_fini(&session->front);
    io_conn_free(&session->conn);
    free(session);
}

static void farewell(struct smtp_session *session)
{
    smtp_say(session, 421, "4.3.2", "Going away, please come back");
    session->closing = true;
}

/* Handles all commands that have arrived, on one fiber; a session that waits for input has none. */
static void run(void *arg)
{
    struct smtp_session *session = arg;
    uint8_t storage[SMTP_LINE_MAX];
    struct cq_slice line;
    while (!session->closing && !session->closed && !session->restart && next_line(session, storage, &line)) {
        dispatch(session, line);
        if (io_conn_flush(session->conn, io_loop_deadline(session->front.worker->loop, session->service->idle_ms)) !=
            CQ_OK)
            break;
    }
    session->running = false;
    if (session->closed) {
        release(session);
        return;
    }
    if (session->ending && !session->closing && !session->transaction.pool)
        farewell(session);
    if (session->closing)
        io_conn_close(session->conn);
    else if (!session->restart)
        io_conn_resume(session->conn);
}

static void on_input(struct io_conn *conn, void *ctx)
{
    struct smtp_session *session = ctx;
    if (session->running || session->closing)
        return;
    io_conn_pause(conn);
    session->running = true;
    if (io_fiber_spawn_queued(session->front.worker->loop, run, session, NULL) == CQ_OK)
        return;
    session->running = false;
    smtp_say(session, 421, "4.3.2", "Too busy, please come back");
    session->closing = true;
    io_conn_close(conn);
}

static void on_tls(struct io_conn *conn, void *ctx)
{
    struct smtp_session *session = ctx;
    session->restart = false;
    io_conn_resume(conn);
}

static void on_idle(struct io_conn *conn, void *ctx)
{
    struct smtp_session *session = ctx;
    if (session->running)
        return; /* a handler has its own deadlines */
    smtp_say(session, 421, "4.4.2", "Idle for too long");
    session->closing = true;
    io_conn_close(conn);
}

static void on_closed(struct io_conn *conn, const struct cq_err *why, void *ctx)
{
    struct smtp_session *session = ctx;
    (void)conn;
    (void)why;
    session->closed = true;
    if (!session->running)
        release(session);
}

static const struct io_conn_ops conn_ops = {
    .on_input = on_input,
    .on_tls = on_tls,
    .on_idle = on_idle,
    .on_closed = on_closed,
};

static void on_end(struct front_session *front, enum front_end why)
{
    struct smtp_session *session = cq_containerof(front, struct smtp_session, front);
    (void)why;
    session->ending = true;
    /* Between transactions at once; in one, after it (its 250 may be on the way). */
    if (session->running || session->closing || session->restart)
        return;
    farewell(session);
    io_conn_close(session->conn);
}

static const enum front_protocol protocols[] = {
    [SMTP_MX] = FRONT_SMTP,
    [SMTP_SUBMISSION] = FRONT_SUBMISSION,
    [SMTP_LMTP] = FRONT_LMTP,
};

void smtp_session_start(struct front_worker *worker, const struct smtp_service *service, struct io_conn *conn)
{
    struct smtp_session *session = cq_new(struct smtp_session);
    session->service = service;
    session->conn = conn;
    front_session_init(&session->front, worker, protocols[service->kind], conn, on_end);
    io_conn_set_ops(conn, &conn_ops, session);
    io_conn_set_idle(conn, service->idle_ms);
    io_conn_printf(conn, "220 %s %s Chasqui\r\n", worker->hostname, service->kind == SMTP_LMTP ? "LMTP" : "ESMTP");
}
