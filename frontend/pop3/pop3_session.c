#include "pop3/pop3_session.h"

#include "base/cq_line.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "core/front_metrics.h"

#include <stdlib.h>

static struct pop3_session *of(struct front_pump *pump)
{
    return cq_containerof(pump, struct pop3_session, pump);
}

void pop3_say(struct pop3_session *session, const char *line)
{
    session->refused = session->refused || line[0] == '-';
    io_conn_printf(session->pump.front.conn, "%s\r\n", line);
}

/* RFC 2449 8 and RFC 3206. */
static const struct {
    enum cq_rc rc;
    const char *line;
} errors[] = {
    {CQ_E_AUTH, "-ERR [AUTH] User name or password is wrong"},
    {CQ_E_DENIED, "-ERR [AUTH] This account may not use POP3"},
    {CQ_E_RATE, "-ERR [LOGIN-DELAY] Too many attempts, please wait"},
    {CQ_E_LIMIT, "-ERR [IN-USE] Too many connections of this account"},
    {CQ_E_NOT_FOUND, "-ERR That message has gone"},
    {CQ_E_CORRUPT, "-ERR [SYS/PERM] The message is damaged"},
};

void pop3_say_error(struct pop3_session *session, enum cq_rc rc)
{
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].rc == rc) {
            pop3_say(session, errors[i].line);
            return;
        }
    pop3_say(session, "-ERR [SYS/TEMP] Storage is unavailable, please try again");
}

struct pop3_message *pop3_find(struct pop3_session *session, struct cq_slice number)
{
    uint32_t n;
    if (pop3_number(number, (uint32_t)session->count, &n) && !session->messages[n - 1].deleted)
        return &session->messages[n - 1];
    pop3_say(session, "-ERR No such message");
    return NULL;
}

bool pop3_may_auth(const struct pop3_session *session)
{
    return io_conn_tls(session->pump.front.conn) || session->service->auth_without_tls;
}

/* ---- Dispatch ---- */

static void unknown(struct pop3_session *session)
{
    unsigned max = session->pump.front.account ? POP3_JUNK_MAX : POP3_JUNK_BEFORE_LOGIN;
    session->junk++;
    pop3_say(session, session->junk < max ? "-ERR Unknown command" : "-ERR Closing: this is no mail client");
    session->pump.closing = session->junk >= max;
    if (session->pump.closing)
        session->pump.front.ended_by = "server";
}

static bool is_http(struct cq_slice keyword)
{
    static const char *const verbs[] = {"GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "PATCH"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (cq_slice_caseeq(keyword, cq_slice_cstr(verbs[i])))
            return true;
    return false;
}

static const struct pop3_verb *find_verb(struct cq_slice keyword)
{
    for (size_t i = 0; i < pop3_verb_count; i++)
        if (cq_slice_caseeq(keyword, cq_slice_cstr(pop3_verbs[i].name)))
            return &pop3_verbs[i];
    return NULL;
}

static enum front_m_result run(struct pop3_session *session, const struct pop3_verb *verb, struct cq_slice rest)
{
    unsigned state = session->messages ? POP3_TRANSACTION : POP3_AUTHORIZATION;
    if (!(verb->states & state)) {
        pop3_say(session, "-ERR Not now");
        return FRONT_M_BAD;
    }
    if (verb->flags & POP3_NO_ARGUMENT && cq_slice_trim(rest).len) {
        pop3_say(session, "-ERR No arguments here");
        return FRONT_M_BAD;
    }
    verb->run(session, rest);
    return session->refused ? FRONT_M_NO : FRONT_M_OK;
}

static void dispatch(struct pop3_session *session, struct cq_slice line)
{
    struct cq_slice keyword, rest;
    enum front_m_result result = FRONT_M_BAD;
    uint64_t started_us = cq_time_mono_us();
    pop3_split(line, &keyword, &rest);
    const struct pop3_verb *verb = find_verb(keyword);
    session->refused = false;
    if (is_http(keyword))
        session->pump.closing = true;
    else if (verb)
        result = run(session, verb, rest);
    else
        unknown(session);
    front_count_command(FRONT_POP3, verb ? (unsigned)(verb - pop3_verbs) : FRONT_NO_COMMAND, result,
                        cq_time_mono_us() - started_us);
}

static bool step(struct front_pump *pump)
{
    uint8_t storage[POP3_LINE_MAX];
    size_t used = 0;
    struct cq_slice line = CQ_SLICE_NONE;
    enum cq_rc rc = cq_line_take(io_conn_input(pump->front.conn), POP3_LINE_MAX, &line, &used);
    if (rc == CQ_E_AGAIN)
        return false;
    if (rc != CQ_OK) {
        pop3_say(of(pump), rc == CQ_E_LIMIT ? "-ERR Line too long" : "-ERR NUL or bare CR in a command");
        pump->closing = true;
        return false;
    }
    if (line.len)
        memcpy(storage, line.data, line.len);
    io_conn_consume(pump->front.conn, used);
    dispatch(of(pump), cq_slice_of(storage, line.len));
    return true;
}

/* ---- Life ---- */

static void farewell(struct front_pump *pump, enum front_farewell why)
{
    static const char *const words[] = {
        [FRONT_FAREWELL_DRAIN] = "-ERR [SYS/TEMP] Closing, please come back",
        [FRONT_FAREWELL_KICKED] = "-ERR The session was ended by an administrator",
        [FRONT_FAREWELL_ACCOUNT] = "-ERR [AUTH] This account may not use POP3 any more",
        [FRONT_FAREWELL_IDLE] = "-ERR [SYS/TEMP] Nothing was heard for too long",
        [FRONT_FAREWELL_BUSY] = "-ERR [SYS/TEMP] Too busy, please come back",
    };
    pop3_say(of(pump), words[why]);
}

static bool between(const struct front_pump *pump)
{
    (void)pump;
    return true; /* nothing is deleted before QUIT, so any moment is good */
}

static void release(struct front_pump *pump)
{
    struct pop3_session *session = of(pump);
    free(session->messages);
    free(session);
}

static const struct front_pump_ops pump_ops = {step, farewell, between, release};

void pop3_session_start(struct front_worker *worker, const struct pop3_service *service, struct io_conn *conn)
{
    struct pop3_session *session = cq_new(struct pop3_session);
    session->service = service;
    front_pump_start(&session->pump, worker, FRONT_POP3, conn, &pump_ops, service->idle_ms, POP3_INPUT_MAX);
    io_conn_printf(conn, "+OK %s POP3 Chasqui\r\n", worker->hostname);
}
