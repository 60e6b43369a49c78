/* The life of a session: connection, timer, fiber. Commands are imap_dispatch.c's. */
#include "imap/imap_session.h"

#include "base/cq_assert.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "imap/imap_recent.h"
#include "imap/imap_reply.h"

#include <stdlib.h>

/* ---- Service ---- */

struct imap_service *imap_service_new(const struct imap_service_options *options)
{
    struct imap_service *service = cq_new(struct imap_service);
    *service = (struct imap_service){
        .loop = options->loop,
        .store = options->store,
        .config = options->config,
        .starttls = options->starttls,
        .ops = options->ops,
        .ahead_octets = options->ahead_octets,
    };
    cq_list_init(&service->sessions);
    cq_list_init(&service->unclaimed);
    return service;
}

void imap_service_free(struct imap_service **service)
{
    if (!*service)
        return;
    CQ_ASSERT(cq_list_empty(&(*service)->sessions));
    free(*service);
    *service = NULL;
}

size_t imap_service_sessions(const struct imap_service *service)
{
    return service->session_count;
}

/* ---- End ---- */

void imap_session_leave_mailbox(struct imap_session *session)
{
    cq_list_remove(&session->unclaimed);
    imap_view_free(&session->view);
    if (session->state == IMAP_SELECTED)
        session->state = IMAP_AUTHENTICATED;
}

void imap_session_end_idle(struct imap_session *session)
{
    session->idle.on = false;
    cq_buf_fini(&session->idle.tag);
    mailstore_unwatch(&session->idle.watcher);
}

static void free_session(struct imap_session *session)
{
    struct imap_service *service = session->service;
    void *host = session->host;
    imap_session_end_idle(session);
    imap_session_leave_mailbox(session);
    imap_reader_fini(&session->reader);
    io_timer_stop(&session->timer);
    cq_list_remove(&session->link);
    service->session_count--;
    service->ops->closed(host);
    io_conn_free(&session->conn);
    free(session);
}

static void say_bye(struct imap_session *session)
{
    if (session->bye_text && session->bye_code)
        io_conn_printf(session->conn, "* BYE [%s] %s\r\n", session->bye_code, session->bye_text);
    else if (session->bye_text)
        io_conn_printf(session->conn, "* BYE %s\r\n", session->bye_text);
    io_conn_close(session->conn);
}

void imap_session_bye(struct imap_session *session, const char *code, const char *text)
{
    if (session->closing || session->closed)
        return;
    session->closing = true;
    session->bye_code = code;
    session->bye_text = text;
    if (!session->running)
        say_bye(session);
}

static void end_now(struct imap_session *session)
{
    static const struct {
        const char *code, *text;
    } farewells[] = {
        [IMAP_END_DRAIN] = {"UNAVAILABLE", "This server is going down, please connect again"},
        [IMAP_END_KICKED] = {NULL, "The session was ended by an administrator"},
        [IMAP_END_ACCOUNT] = {"AUTHORIZATIONFAILED", "This account may not use IMAP any more"},
    };
    imap_session_bye(session, farewells[session->end].code, farewells[session->end].text);
}

void imap_session_end(struct imap_session *session, enum imap_end why)
{
    session->ending = true;
    session->end = why;
    if (!session->running && !session->handshake)
        end_now(session);
}

/* ---- Time ---- */

uint64_t imap_session_deadline(const struct imap_session *session, uint64_t seconds)
{
    return io_loop_deadline(session->service->loop, seconds * CQ_MS_PER_S);
}

/* Octets of a command do not move it: it runs from when the last command ended. */
void imap_session_arm(struct imap_session *session)
{
    const struct imap_config *config = session->service->config;
    uint64_t now = io_loop_now_us(session->service->loop);
    uint64_t due = now + config->autologout_us;
    if (session->state == IMAP_NOT_AUTHENTICATED) {
        uint64_t last = session->started_us + IMAP_PREAUTH_S * CQ_US_PER_S;
        due = now + config->login_timeout_us < last ? now + config->login_timeout_us : last;
    } else if (session->idle.on) {
        due = now + config->still_here_us;
    }
    io_timer_start_at(&session->timer, due);
}

static void run_fiber(struct imap_session *session);

static void on_timer(struct io_timer *timer)
{
    struct imap_session *session = cq_containerof(timer, struct imap_session, timer);
    if (session->running || session->closing || session->closed)
        return; /* a command has its own deadlines; the timer is armed again at its end */
    if (!session->idle.on) {
        imap_session_bye(session, session->state == IMAP_NOT_AUTHENTICATED ? NULL : "UNAVAILABLE",
                         "Nothing was heard for too long");
        return;
    }
    io_conn_write_cstr(session->conn, "* OK Still here\r\n");
    imap_session_arm(session);
    /* The store did not answer the last time, or \Recent is still to be claimed. */
    if (session->view && (session->view->dirty || imap_recent_waits(session)))
        imap_session_news(session);
}

/* ---- Fiber ---- */

static void finish(struct imap_session *session)
{
    session->running = false;
    session->fiber = (struct io_fiber_ref){0};
    if (session->closed) {
        free_session(session);
        return;
    }
    if (session->ending && !session->closing && !session->handshake) {
        end_now(session);
        return;
    }
    if (session->closing) {
        say_bye(session);
        return;
    }
    imap_session_arm(session);
    if (session->handshake)
        return;
    if (session->idle.on && session->view && session->view->dirty && !session->idle.failed)
        imap_session_news(session);
    else
        io_conn_resume(session->conn);
}

static void fiber_main(void *arg)
{
    struct imap_session *session = arg;
    if (session->news)
        imap_idle_update(session);
    else
        imap_dispatch(session);
    finish(session);
}

static void run_fiber(struct imap_session *session)
{
    io_conn_pause(session->conn);
    session->running = true;
    if (io_fiber_spawn_queued(session->service->loop, fiber_main, session, &session->fiber) == CQ_OK)
        return;
    session->running = false;
    imap_session_bye(session, "UNAVAILABLE", "Too busy, please connect again later");
}

void imap_session_news(struct imap_session *session)
{
    session->news = true;
    run_fiber(session);
}

/* ---- Connection ---- */

bool imap_session_feed(struct imap_session *session)
{
    for (;;) {
        struct cq_slice in = io_conn_input(session->conn);
        size_t used;
        if (in.len == 0)
            return false;
        session->event = imap_reader_feed(&session->reader, in, &used);
        io_conn_consume(session->conn, used);
        if (session->event == IMAP_READ_CONTINUE)
            io_conn_write_cstr(session->conn, "+ Go on\r\n");
        else if (session->event != IMAP_READ_MORE)
            return true;
    }
}

static void on_input(struct io_conn *conn, void *ctx)
{
    struct imap_session *session = ctx;
    (void)conn;
    if (session->running || session->closing || session->handshake || !imap_session_feed(session))
        return;
    session->news = false;
    run_fiber(session);
}

static void on_tls(struct io_conn *conn, void *ctx)
{
    struct imap_session *session = ctx;
    session->handshake = false;
    imap_reader_next(&session->reader);
    imap_session_arm(session);
    if (session->ending)
        end_now(session);
    else
        io_conn_resume(conn);
}

static void on_closed(struct io_conn *conn, const struct cq_err *why, void *ctx)
{
    struct imap_session *session = ctx;
    struct io_conn_counters counters;
    io_conn_counters(conn, &counters);
    cq_log(CQ_INFO, "imap.closed", CQ_F_STR("session", session->id), CQ_F_ACCOUNT(session->account.id),
           CQ_F_STR("client", session->client), CQ_F_U64("in_bytes", counters.bytes_in),
           CQ_F_U64("out_bytes", counters.bytes_out),
           CQ_F_U64("duration_us", io_loop_now_us(session->service->loop) - session->started_us), CQ_F_ERR(why));
    session->closed = true;
    if (session->running)
        io_fiber_cancel(session->fiber);
    else
        free_session(session);
}

static const struct io_conn_ops conn_ops = {.on_input = on_input, .on_tls = on_tls, .on_closed = on_closed};

enum cq_rc imap_session_read_line(struct imap_session *session, struct cq_slice *line_r)
{
    uint64_t deadline = io_loop_now_us(session->service->loop) + session->service->config->login_timeout_us;
    imap_reader_next_line(&session->reader);
    while (!imap_session_feed(session)) {
        enum cq_rc rc = io_conn_read_more(session->conn, deadline);
        if (rc != CQ_OK)
            return rc;
    }
    if (session->event != IMAP_READ_COMMAND)
        return CQ_E_TOO_BIG;
    *line_r = imap_reader_text(&session->reader);
    return CQ_OK;
}

bool imap_session_is_private(const struct imap_session *session)
{
    return session->service->config->login_without_tls || io_conn_tls(session->conn) != NULL;
}

struct imap_session *imap_session_start(struct imap_service *service, struct io_conn *conn, const char *id, void *host)
{
    struct imap_session *session = cq_new(struct imap_session);
    *session = (struct imap_session){
        .service = service,
        .conn = conn,
        .id = id,
        .host = host,
        .state = IMAP_NOT_AUTHENTICATED,
        .started_us = io_loop_now_us(service->loop),
    };
    imap_reader_init(&session->reader, &imap_reader_preauth);
    io_timer_init(&session->timer, service->loop, on_timer);
    cq_list_init(&session->link);
    cq_list_init(&session->unclaimed);
    cq_list_push_back(&service->sessions, &session->link);
    service->session_count++;
    io_conn_set_input_max(conn, IMAP_INPUT_MAX);
    io_conn_set_ops(conn, &conn_ops, session);
    struct cq_buf greeting;
    cq_buf_init(&greeting, 1024);
    cq_buf_cstr(&greeting, "* OK [");
    imap_write_capability(&greeting, session);
    cq_buf_cstr(&greeting, "] Chasqui ready\r\n");
    io_conn_write(conn, cq_buf_slice(&greeting));
    cq_buf_fini(&greeting);
    imap_session_arm(session);
    return session;
}

void imap_session_info(const struct imap_session *session, struct imap_session_info *info_r)
{
    *info_r = (struct imap_session_info){
        .account = session->account.id,
        .selected = session->view != NULL,
        .idle = session->idle.on,
        .client = session->client,
        .commands = session->commands,
        .bye = session->bye_text != NULL,
    };
}
