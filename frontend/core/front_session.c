#include "core/front_session.h"

#include "base/cq_rand.h"
#include "base/cq_time.h"
#include "core/front_events.h"
#include "core/front_metrics.h"

#include <stdio.h>

void front_ulid(char out[static FRONT_SESSION_ID_SIZE])
{
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    uint64_t ms = cq_time_wall_us() / 1000;
    uint8_t random[16];
    cq_rand_bytes(random, sizeof random);
    for (int i = 9; i >= 0; i--, ms >>= 5)
        out[i] = digits[ms & 31];
    for (int i = 0; i < 16; i++)
        out[10 + i] = digits[random[i] & 31];
    out[26] = '\0';
}

void front_session_init(struct front_session *session, struct front_worker *worker, enum front_protocol protocol,
                        struct io_conn *conn, front_end_fn *end)
{
    *session = (struct front_session){
        .worker = worker,
        .conn = conn,
        .protocol = protocol,
        .end = end,
        .started_us = cq_time_wall_us(),
        .began_us = cq_time_mono_us(),
    };
    front_ulid(session->id);
    session->addr = *io_conn_peer(conn);
    io_addr_format_ip(&session->addr, session->peer);
    cq_list_init(&session->link);
    cq_list_push_back(&worker->sessions, &session->link);
    cq_metric_add(&front_metrics, FRONT_M_CONNECTIONS, 1, protocol,
                  io_conn_tls(conn) ? FRONT_M_IMPLICIT : FRONT_M_PLAIN);
    cq_gauge_add(&front_metrics, FRONT_M_LIVE, 1, protocol, FRONT_M_PREAUTH);
}

static unsigned state_of(const struct front_session *session)
{
    return session->account ? FRONT_M_AUTHENTICATED : FRONT_M_PREAUTH;
}

static void count_end(const struct front_session *session)
{
    struct io_conn_counters counters;
    io_conn_counters(session->conn, &counters);
    cq_gauge_add(&front_metrics, FRONT_M_LIVE, -1, session->protocol, state_of(session));
    cq_metric_observe(&front_metrics, FRONT_M_DURATION, cq_time_mono_us() - session->began_us, session->protocol);
    cq_metric_add(&front_metrics, FRONT_M_BYTES, counters.bytes_in, session->protocol, FRONT_M_IN);
    cq_metric_add(&front_metrics, FRONT_M_BYTES, counters.bytes_out, session->protocol, FRONT_M_OUT);
}

void front_session_fini(struct front_session *session)
{
    struct quota_client *quota = session->worker->quota;
    count_end(session);
    if (session->account)
        front_event_closed(session);
    cq_list_remove(&session->link);
    if (quota && session->counted)
        quota_session_end(quota, session->account);
    if (quota && session->protocol != FRONT_LMTP)
        quota_connection_end(quota, &session->addr);
    session->counted = false;
}

void front_session_identify(struct front_session *session, const struct auth_identity *identity,
                            enum dir_service service)
{
    cq_gauge_add(&front_metrics, FRONT_M_LIVE, -1, session->protocol, state_of(session));
    session->account = identity->account.id;
    cq_gauge_add(&front_metrics, FRONT_M_LIVE, 1, session->protocol, state_of(session));
    session->credential = identity->credential_id;
    session->expires_us = identity->expires_us;
    session->service = service;
    snprintf(session->address, sizeof session->address, "%.*s", CQ_SLICE_ARG(identity->account.address));
}

void front_session_forget(struct front_session *session)
{
    struct quota_client *quota = session->worker->quota;
    if (quota && session->counted)
        quota_session_end(quota, session->account);
    session->counted = false;
    cq_gauge_add(&front_metrics, FRONT_M_LIVE, -1, session->protocol, state_of(session));
    session->account = session->credential = session->expires_us = 0;
    cq_gauge_add(&front_metrics, FRONT_M_LIVE, 1, session->protocol, state_of(session));
    session->address[0] = '\0';
}

static const char *const end_names[] = {
    [FRONT_END_DRAIN] = "drain", [FRONT_END_KICKED] = "kicked", [FRONT_END_ACCOUNT] = "account"};

size_t front_sessions_end(struct front_worker *worker, bool (*match)(const struct front_session *, void *), void *arg,
                          enum front_end why)
{
    size_t ended = 0;
    cq_list_each_safe (&worker->sessions, node) {
        struct front_session *session = cq_list_entry(node, struct front_session, link);
        if (!match(session, arg))
            continue;
        if (why != FRONT_END_DRAIN && !session->ended_us)
            session->ended_us = cq_time_mono_us();
        session->ended_by = end_names[why];
        session->end(session, why);
        ended++;
    }
    return ended;
}

size_t front_sessions_cut(struct front_worker *worker, uint64_t after_us)
{
    uint64_t now_us = cq_time_mono_us();
    size_t cut = 0;
    cq_list_each_safe (&worker->sessions, node) {
        struct front_session *session = cq_list_entry(node, struct front_session, link);
        if (!session->ended_us || now_us - session->ended_us < after_us)
            continue;
        io_conn_abort(session->conn, CQ_E_CANCELLED, "thrown out, and did not go");
        cut++;
    }
    return cut;
}
