/* From an event of the reader to a handler and its answer: state, TLS, junk, changes, timing and counting are judged
 * here and nowhere else. */
#include "base/cq_log.h"
#include "base/cq_time.h"
#include "core/front_metrics.h"
#include "imap/imap_reply.h"
#include "imap/imap_sync.h"

void imap_run_init(struct imap_run *run, struct imap_session *session)
{
    *run = (struct imap_run){.session = session, .pool = cq_pool_new(2048)};
    cq_buf_init(&run->out, IMAP_OUT_MAX);
}

void imap_run_fini(struct imap_run *run)
{
    imap_out_send(run);
    cq_buf_fini(&run->out);
    cq_pool_free(&run->pool);
}

/* ---- Junk ---- */

static void junk(struct imap_session *session)
{
    unsigned max = session->state == IMAP_NOT_AUTHENTICATED ? IMAP_JUNK_PREAUTH_MAX : IMAP_JUNK_MAX;
    if (++session->junk >= max)
        imap_session_bye(session, NULL, "Too many bad commands");
}

/* A browser that was led here (ALPACA): nothing of what it sent is repeated. */
static bool is_http(const struct imap_head *head)
{
    static const char *const verbs[] = {"GET",     "POST",  "PUT",   "HEAD", "OPTIONS",
                                        "CONNECT", "PATCH", "TRACE", "PRI",  "DELETE"};
    if (head->verb != IMAP_UNKNOWN || head->arguments.len == 0 || !strchr("/*", head->arguments.data[0]))
        return false;
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (cq_slice_eq(head->tag, cq_slice_cstr(verbs[i])))
            return true;
    return false;
}

/* ---- One command ---- */

static bool bad(struct imap_run *run, const char *text)
{
    imap_bad(run, text);
    junk(run->session);
    return false;
}

static bool refuse(struct imap_run *run, const char *code, const char *text)
{
    imap_no(run, code, text);
    return false;
}

static const char *state_problem(unsigned allowed, enum imap_state state)
{
    if (state == IMAP_NOT_AUTHENTICATED)
        return "Log in first";
    if (allowed == IMAP_SELECTED)
        return "No mailbox is selected";
    return allowed == IMAP_AUTHENTICATED ? "Not while a mailbox is selected" : "You are logged in already";
}

/* May the command run? The table's row answers, and the grammar. */
static bool admit(struct imap_run *run, const struct imap_head *head)
{
    struct imap_session *session = run->session;
    const char *problem;
    if (head->tag.len == 0)
        return bad(run, "Expected a tag");
    if (head->verb == IMAP_UNKNOWN)
        return bad(run, "Unknown command");
    run->row = &imap_verb_rows[head->verb];
    if (!(run->row->states & session->state))
        return bad(run, state_problem(run->row->states, session->state));
    if (run->row->flags & IMAP_V_TLS && !imap_session_is_private(session))
        return refuse(run, "PRIVACYREQUIRED", "Encryption is required: STARTTLS first");
    if (!imap_command_parse(head, run->pool, &run->command, &problem))
        return bad(run, problem);
    if (run->row->flags & IMAP_V_WRITE && session->view->read_only)
        return refuse(run, "CANNOT", "The mailbox is selected read-only");
    return true;
}

/* Changes are asked for when the command wants them, when something is known to have changed, and when EXPUNGEs wait
 * that may be sent now. */
static bool wants_changes(const struct imap_run *run)
{
    const struct imap_view *view = run->session->view;
    unsigned flags = run->row->flags;
    return flags & IMAP_V_SYNC || view->dirty || (view->gone && !(flags & IMAP_V_NUMBERS));
}

/* What has changed is told before the tagged answer. A failure is the command's own only when it asked for changes. */
static void tell_changes(struct imap_run *run)
{
    struct imap_session *session = run->session;
    struct cq_err err = {0};
    bool numbers = run->row->flags & IMAP_V_NUMBERS;
    if (session->closing || session->closed || !session->view || run->row->flags & IMAP_V_LEAVES)
        return;
    enum cq_rc rc = wants_changes(run) ? imap_sync(run, numbers, &err) : CQ_OK;
    if (rc == CQ_E_NO_MAILBOX)
        imap_session_bye(session, NULL, "The selected mailbox was deleted");
    else if (rc != CQ_OK && (run->command.verb == IMAP_NOOP || run->command.verb == IMAP_CHECK))
        imap_fail(run, rc, &err);
    if (numbers && session->view->gone && run->result == IMAP_RESULT_OK && !run->code)
        imap_ok(run, "EXPUNGEISSUED", "Some messages are no more"); /* RFC 5530: a NOOP will tell which */
}

static void count(const struct imap_run *run, enum imap_verb verb, uint64_t started_us)
{
    static const enum front_m_result results[] = {
        [IMAP_RESULT_OK] = FRONT_M_OK, [IMAP_RESULT_NO] = FRONT_M_NO, [IMAP_RESULT_BAD] = FRONT_M_BAD};
    run->session->commands++;
    front_count_command(FRONT_IMAP, verb, results[run->result], cq_time_mono_us() - started_us);
    cq_log(CQ_DEBUG, "imap.command", CQ_F_STR("session", run->session->id), CQ_F_STR("command", imap_verb_name(verb)),
           CQ_F_U64("result", run->result), CQ_F_U64("duration_us", cq_time_mono_us() - started_us));
}

/* The client's words as they came are in no log: they may hold passwords and mail. */
static void run_command(struct imap_session *session)
{
    struct imap_run run;
    struct imap_head head;
    uint64_t started_us = cq_time_mono_us();
    imap_command_head(imap_reader_text(&session->reader), &head);
    if (is_http(&head)) {
        imap_session_bye(session, NULL, "This is no web server");
        return;
    }
    imap_run_init(&run, session);
    if (session->event == IMAP_READ_APPEND || head.verb == IMAP_AUTHENTICATE) /* these read on: the text ends then */
        imap_command_head(cq_pool_slice(run.pool, imap_reader_text(&session->reader)), &head);
    run.command.tag = head.tag.len ? head.tag : CQ_SLICE("*");
    run.command.verb = head.verb;
    if (admit(&run, &head)) {
        run.row->handle(&run);
        tell_changes(&run);
        if (session->state != IMAP_NOT_AUTHENTICATED && run.result != IMAP_RESULT_BAD)
            session->junk = 0;
    }
    if (!run.silent)
        imap_reply_send(&run);
    count(&run, head.verb, started_us);
    session->handshake = run.start_tls;
    imap_run_fini(&run);
}

/* What a handler left of its command's literal is thrown away by the reader. */
static void end_command(struct imap_session *session)
{
    if (imap_reader_awaits_append(&session->reader))
        imap_reader_refuse_append(&session->reader);
    else if (session->idle.on)
        imap_reader_next_line(&session->reader);
    else
        imap_reader_next(&session->reader);
}

static void start_tls(struct imap_session *session)
{
    imap_reader_next(&session->reader);
    if (!io_conn_start_tls(session->conn, session->service->starttls))
        return;
    /* What came in clear behind the command would be read as if TLS had brought it (CVE-2011-0411). */
    cq_log(CQ_WARN, "tls.injection", CQ_F_STR("session", session->id), CQ_F_STR("protocol", "imap"));
    session->handshake = false;
    session->closing = true;
    io_conn_abort(session->conn, CQ_E_PROTO, "octets in clear after STARTTLS");
}

/* ---- The other events ---- */

static void refuse_command(struct imap_session *session)
{
    const char *problem = imap_reader_problem(&session->reader);
    if (!*problem)
        return; /* it was answered before its octets had come */
    struct cq_slice tag = imap_reader_tag(&session->reader);
    if (session->idle.on)
        imap_session_end_idle(session);
    io_conn_printf(session->conn, "%.*s BAD %s\r\n", CQ_SLICE_ARG(tag), problem);
    front_count_command(FRONT_IMAP, FRONT_NO_COMMAND, FRONT_M_BAD, 0);
    junk(session);
}

/* RFC 2177: DONE, and nothing else. */
static void end_idle(struct imap_session *session)
{
    struct imap_run run;
    bool done = cq_slice_caseeq(imap_reader_text(&session->reader), CQ_SLICE("DONE"));
    imap_run_init(&run, session);
    run.command.verb = IMAP_IDLE;
    run.command.tag = cq_pool_slice(run.pool, cq_buf_slice(&session->idle.tag));
    run.row = &imap_verb_rows[IMAP_IDLE];
    imap_session_end_idle(session);
    if (done) {
        tell_changes(&run);
    } else {
        imap_bad(&run, "Expected DONE");
        junk(session);
    }
    imap_reply_send(&run);
    imap_run_fini(&run);
}

static void handle(struct imap_session *session)
{
    switch (session->event) {
    case IMAP_READ_COMMAND:
    case IMAP_READ_APPEND:
        if (session->idle.on)
            end_idle(session);
        else
            run_command(session);
        break;
    case IMAP_READ_BAD:
        refuse_command(session);
        break;
    default:
        imap_session_bye(session, session->reader.too_big ? "TOOBIG" : NULL, imap_reader_problem(&session->reader));
    }
    if (session->closing || session->closed)
        return;
    if (session->handshake)
        start_tls(session);
    else
        end_command(session);
}

void imap_dispatch(struct imap_session *session)
{
    do {
        handle(session);
        if (session->closing || session->closed || session->handshake || session->ending)
            return;
        if (io_conn_flush(session->conn, imap_session_deadline(session, IMAP_STALL_S)) != CQ_OK) {
            io_conn_abort(session->conn, CQ_E_TIMEOUT, "the client does not read");
            return;
        }
    } while (imap_session_feed(session));
}

void imap_idle_update(struct imap_session *session)
{
    struct imap_run run;
    struct cq_err err = {0};
    imap_run_init(&run, session);
    run.command.verb = IMAP_IDLE;
    enum cq_rc rc = imap_sync(&run, false, &err);
    session->idle.failed = rc != CQ_OK;
    if (rc == CQ_E_NO_MAILBOX)
        imap_session_bye(session, NULL, "The selected mailbox was deleted");
    imap_run_fini(&run);
}
