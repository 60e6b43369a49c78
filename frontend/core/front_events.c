#include "core/front_events.h"

#include "base/cq_log.h"
#include "base/cq_time.h"
#include "directory/dir_address.h"
#include "events/event_ring.h"

#include <stdio.h>

#define EVENT_POOL 1024

/* protobuf-c has no const; nothing here is written to. */
static char *lend(const char *text)
{
    return (char *)(uintptr_t)(text ? text : "");
}

static void fill_peer(Chasqui__Edge__Session *out, enum front_protocol protocol, const struct io_addr *peer,
                      char ip[static IO_ADDR_TEXT_SIZE])
{
    chasqui__edge__session__init(out);
    out->protocol = lend(front_protocol_name(protocol));
    out->client_ip = lend(io_addr_format_ip(peer, ip));
    out->client_port = peer->port;
}

static void fill_session(Chasqui__Edge__Session *out, const struct front_session *session,
                         char ip[static IO_ADDR_TEXT_SIZE])
{
    const struct io_tls_info *tls = io_conn_is_open(session->conn) ? io_conn_tls(session->conn) : NULL;
    fill_peer(out, session->protocol, &session->addr, ip);
    out->session_id = lend(session->id);
    out->tls_version = lend(tls ? tls->version : NULL);
    out->tls_cipher = lend(tls ? tls->cipher : NULL);
    out->tls_sni = lend(tls ? tls->sni : NULL);
}

/* ---- Sessions ---- */

void front_event_opened(const struct front_session *session)
{
    Chasqui__Edge__Event event = CHASQUI__EDGE__EVENT__INIT;
    Chasqui__Edge__Session who;
    char ip[IO_ADDR_TEXT_SIZE];
    if (!session->worker->events)
        return;
    fill_session(&who, session, ip);
    event.type = CHASQUI__EDGE__TYPE__SESSION_OPENED;
    event.account = session->account;
    event.address = lend(session->address);
    event.session = &who;
    event_ring_put(session->worker->events, &event);
}

void front_event_closed(const struct front_session *session)
{
    Chasqui__Edge__Event event = CHASQUI__EDGE__EVENT__INIT;
    Chasqui__Edge__Session who;
    Chasqui__Edge__End end = CHASQUI__EDGE__END__INIT;
    struct io_conn_counters counters;
    char ip[IO_ADDR_TEXT_SIZE];
    if (!session->worker->events)
        return;
    fill_session(&who, session, ip);
    io_conn_counters(session->conn, &counters);
    uint64_t us = cq_time_mono_us() - session->began_us;
    end.duration_ms = us / 1000 < UINT32_MAX ? (uint32_t)(us / 1000) : UINT32_MAX;
    end.bytes_in = counters.bytes_in;
    end.bytes_out = counters.bytes_out;
    end.commands = session->commands;
    end.reason = lend(session->ended_by ? session->ended_by : "client");
    event.type = CHASQUI__EDGE__TYPE__SESSION_CLOSED;
    event.account = session->account;
    event.address = lend(session->address);
    event.session = &who;
    event.end = &end;
    event_ring_put(session->worker->events, &event);
}

/* ---- Log-ins ---- */

const char *front_auth_reason(enum cq_rc rc, enum auth_reason reason)
{
    if (rc == CQ_E_RATE)
        return "too_many_failures";
    if (rc == CQ_E_LIMIT)
        return "too_many_sessions";
    if (rc == CQ_E_AUTH) /* unknown user, wrong or expired password */
        return "bad_credentials";
    return auth_reason_name(reason);
}

const char *front_login_to_tell(struct cq_slice login, struct cq_pool *pool)
{
    struct dir_address address;
    if (cq_slice_find(login, '@') == login.len || dir_address_parse(login, pool, &address, NULL) != CQ_OK)
        return "";
    if (cq_slice_find(address.domain, '.') == address.domain.len)
        return "";
    return cq_pool_cstr(pool, address.text);
}

/* Whose log-in it was is told when the password was right. Otherwise a hash of the name keeps the order, whether the
 * name exists or not. */
static void fill_auth(Chasqui__Edge__Event *event, const struct front_session *session,
                      const struct front_attempt *attempt, char hash[static EVENT_HASH_SIZE])
{
    const struct auth_identity *identity = attempt->identity;
    event->account = attempt->rc == CQ_OK ? session->account : 0;
    event->type = attempt->rc == CQ_OK       ? CHASQUI__EDGE__TYPE__AUTH_SUCCEEDED
                  : attempt->rc == CQ_E_RATE ? CHASQUI__EDGE__TYPE__AUTH_BLOCKED
                                             : CHASQUI__EDGE__TYPE__AUTH_FAILED;
    if (event->account) {
        event->address = lend(session->address);
        event->auth->app_password_id = identity->kind == DIR_APP_PASSWORD ? identity->credential_id : 0;
        return;
    }
    event_ring_hash(session->worker->events, attempt->login, hash);
    event->key = hash;
}

void front_event_auth(const struct front_session *session, const struct front_attempt *attempt)
{
    static struct cq_log_site blocked;
    Chasqui__Edge__Event event = CHASQUI__EDGE__EVENT__INIT;
    Chasqui__Edge__Session who;
    Chasqui__Edge__Auth auth = CHASQUI__EDGE__AUTH__INIT;
    char ip[IO_ADDR_TEXT_SIZE], hash[EVENT_HASH_SIZE];
    uint64_t suppressed = 0;
    const char *reason = front_auth_reason(attempt->rc, attempt->identity->reason);
    front_count_auth(session->protocol, attempt->mechanism, reason);
    if (attempt->rc == CQ_E_RATE)
        cq_metric_add(&front_metrics, FRONT_M_LIMITED, 1, FRONT_LIMIT_AUTH, 0);
    if (!session->worker->events)
        return;
    if (attempt->rc == CQ_E_RATE && !cq_log_site_pass(&blocked, FRONT_EVENTS_PER_SECOND, &suppressed))
        return;
    struct cq_pool *pool = cq_pool_new(EVENT_POOL);
    fill_session(&who, session, ip);
    event.session = &who;
    event.auth = &auth;
    fill_auth(&event, session, attempt, hash);
    auth.mechanism = lend(attempt->mechanism);
    auth.reason = lend(reason);
    auth.login = lend(front_login_to_tell(attempt->login, pool));
    auth.retry_after_seconds = (uint32_t)attempt->retry_after_s;
    auth.suppressed = (uint32_t)suppressed;
    event_ring_put(session->worker->events, &event);
    cq_pool_free(&pool);
}

/* ---- Refusals ---- */

static void put_rejection(struct event_ring *ring, Chasqui__Edge__Session *who, const char *key,
                          const struct front_rejection *rejection, uint64_t suppressed)
{
    Chasqui__Edge__Event event = CHASQUI__EDGE__EVENT__INIT;
    Chasqui__Edge__Rejection what = CHASQUI__EDGE__REJECTION__INIT;
    struct cq_pool *pool = cq_pool_new(EVENT_POOL);
    who->ehlo = lend(rejection->ehlo);
    what.stage = lend(rejection->stage);
    what.reason = lend(rejection->reason);
    what.code = rejection->code;
    what.enhanced = lend(rejection->enhanced);
    what.verb = lend(rejection->verb);
    what.text = lend(rejection->text);
    what.envelope_from = cq_pool_cstr(pool, rejection->envelope_from);
    what.recipient = cq_pool_cstr(pool, rejection->recipient);
    what.recipients = rejection->recipients;
    what.message_id = lend(rejection->message_id);
    what.size_bytes = rejection->size < UINT32_MAX ? (uint32_t)rejection->size : UINT32_MAX;
    what.suppressed = (uint32_t)suppressed;
    event.type = CHASQUI__EDGE__TYPE__MESSAGE_REJECTED;
    event.key = lend(key);
    event.session = who;
    event.rejection = &what;
    event_ring_put(ring, &event);
    cq_pool_free(&pool);
}

void front_event_rejected(const struct front_session *session, const struct front_rejection *rejection)
{
    Chasqui__Edge__Session who;
    char ip[IO_ADDR_TEXT_SIZE];
    if (!session->worker->events)
        return;
    fill_session(&who, session, ip);
    put_rejection(session->worker->events, &who, session->id, rejection, 0);
}

void front_event_turned_away(struct front_worker *worker, enum front_protocol protocol, const struct io_addr *peer,
                             const struct front_rejection *rejection)
{
    static struct cq_log_site site;
    Chasqui__Edge__Session who;
    char ip[IO_ADDR_TEXT_SIZE];
    uint64_t suppressed = 0;
    if (!worker->events || !cq_log_site_pass(&site, FRONT_EVENTS_PER_SECOND, &suppressed))
        return;
    fill_peer(&who, protocol, peer, ip);
    put_rejection(worker->events, &who, ip, rejection, suppressed);
}

/* ---- Limits ---- */

/* What the settings say; nothing for a limit of the account's plan. */
static void fill_limit(Chasqui__Edge__Limit *out, enum front_limit limit, const struct quota_limits *settings)
{
    out->limit_name = lend(front_limit_name(limit));
    out->key_kind = lend(front_limit_key(limit));
    out->action = lend("refused");
    if (!settings)
        return;
    if (limit == FRONT_LIMIT_CONNECT) {
        out->limit = (uint32_t)settings->rates[QUOTA_CONNECT].count;
        out->window_seconds = (uint32_t)(settings->rates[QUOTA_CONNECT].period_us / CQ_US_PER_S);
    } else if (limit == FRONT_LIMIT_SESSIONS_ADDRESS) {
        out->limit = (uint32_t)settings->counts[QUOTA_SESSIONS_ADDRESS];
    } else if (limit == FRONT_LIMIT_SESSIONS_ACCOUNT) {
        out->limit = (uint32_t)settings->counts[QUOTA_SESSIONS_ACCOUNT];
    }
}

void front_event_limited(struct front_worker *worker, const struct front_limited *limited)
{
    static struct cq_log_site sites[FRONT_LIMIT_COUNT];
    Chasqui__Edge__Event event = CHASQUI__EDGE__EVENT__INIT;
    Chasqui__Edge__Session who;
    Chasqui__Edge__Limit limit = CHASQUI__EDGE__LIMIT__INIT;
    char ip[IO_ADDR_TEXT_SIZE];
    uint64_t suppressed = 0;
    cq_metric_add(&front_metrics, FRONT_M_LIMITED, 1, limited->limit, 0);
    if (!worker->events || !cq_log_site_pass(&sites[limited->limit], FRONT_EVENTS_PER_SECOND, &suppressed))
        return;
    if (limited->session)
        fill_session(&who, limited->session, ip);
    else
        fill_peer(&who, limited->protocol, limited->peer, ip);
    fill_limit(&limit, limited->limit, worker->limits);
    limit.retry_after_seconds = (uint32_t)limited->retry_after_s;
    limit.suppressed = (uint32_t)suppressed;
    event.type = CHASQUI__EDGE__TYPE__RATE_LIMITED;
    event.account = limited->account;
    event.key = limited->account ? lend(NULL) : ip;
    event.session = &who;
    event.limit = &limit;
    event_ring_put(worker->events, &event);
}
