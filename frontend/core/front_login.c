#include "core/front_login.h"

#include "base/cq_log.h"
#include "core/front_events.h"

#define LOGIN_POOL 2048

bool front_sasl_plain(struct cq_slice message, struct cq_slice *login_r, struct cq_slice *password_r)
{
    struct cq_slice rest = message;
    if (cq_slice_find(rest, '\0') == rest.len)
        return false;
    struct cq_slice authzid = cq_slice_cut(&rest, '\0');
    if (cq_slice_find(rest, '\0') == rest.len)
        return false;
    *login_r = cq_slice_cut(&rest, '\0');
    *password_r = rest;
    if (cq_slice_find(rest, '\0') != rest.len || login_r->len == 0)
        return false;
    return authzid.len == 0 || cq_slice_eq(authzid, *login_r);
}

static const char *reason_of(enum cq_rc rc, const struct auth_identity *identity)
{
    if (rc == CQ_E_RATE)
        return "too_many_failures";
    return rc == CQ_E_LIMIT ? "too_many_sessions" : auth_reason_name(identity->reason);
}

/* Few enough failures before, then the password, then room for one more session of the account. */
static enum cq_rc attempt(struct front_session *session, const struct auth_login *login, struct cq_pool *pool,
                          struct auth_identity *identity, uint64_t *retry_after_s, struct cq_err *err)
{
    struct quota_client *quota = session->worker->quota;
    struct cq_slice name = login->login;
    if (quota) /* a name that is written in another way is no new one to guess at */
        name = directory_login_name(session->worker->directory, name, pool);
    enum cq_rc rc = quota ? quota_auth_allowed(quota, name, &session->addr, retry_after_s, err) : CQ_OK;
    if (rc != CQ_OK)
        return rc;
    rc = auth_verify(session->worker->auth, login, pool, identity, err);
    if (rc == CQ_E_AUTH && quota)
        quota_auth_failed(quota, name, &session->addr);
    if (rc == CQ_OK && quota && !session->counted)
        rc = quota_session_begin(quota, identity->account.id, err);
    session->counted = session->counted || (rc == CQ_OK && quota);
    return rc;
}

/* The row was read before the hash was computed, and the session is on the list only now: what changed in between is
 * seen here, what changes from now on is found by front_revoke.c. */
static enum cq_rc look_again(const struct front_session *session, const struct auth_identity *identity,
                             struct cq_pool *pool, struct cq_err *err)
{
    const struct front_worker *worker = session->worker;
    struct dir_account now;
    enum cq_rc rc = directory_account(worker->directory, session->account, pool, &now, err);
    if (rc == CQ_E_NOT_FOUND)
        return CQ_FAIL(err, CQ_E_DENIED, "the account was removed meanwhile");
    if (rc != CQ_OK || now.version == identity->account.version)
        return rc;
    return auth_session_check(worker->auth, session->account, session->credential, session->service, err);
}

/* The order of events is that of things: who logged in, then the session. */
static void tell(struct front_session *session, const struct front_attempt *attempt)
{
    front_event_auth(session, attempt);
    if (attempt->rc == CQ_OK)
        front_event_opened(session);
    if (attempt->rc != CQ_E_LIMIT)
        return;
    const struct front_limited limited = {
        .limit = FRONT_LIMIT_SESSIONS_ACCOUNT,
        .session = session,
        .account = attempt->identity->account.id,
    };
    front_event_limited(session->worker, &limited);
}

enum cq_rc front_login(struct front_session *session, enum dir_service service, const char *mechanism,
                       struct cq_slice login, struct cq_slice password, struct cq_err *err)
{
    struct cq_pool *pool = cq_pool_new(LOGIN_POOL);
    const struct auth_login what = {.service = service, .login = login, .password = password};
    struct auth_identity identity = {.reason = AUTH_BACKEND};
    struct front_attempt told = {.mechanism = mechanism, .login = login, .identity = &identity};
    enum cq_rc rc = attempt(session, &what, pool, &identity, &told.retry_after_s, err);
    if (rc == CQ_OK) {
        front_session_identify(session, &identity, service);
        rc = look_again(session, &identity, pool, err);
        if (rc != CQ_OK) {
            identity.reason = rc == CQ_E_DENIED ? AUTH_ACCOUNT_STATE : AUTH_BACKEND;
            front_session_forget(session);
        }
    }
    cq_log(CQ_INFO, rc == CQ_OK ? "auth.succeeded" : "auth.failed", CQ_F_STR("session", session->id),
           CQ_F_STR("protocol", front_protocol_name(session->protocol)), CQ_F_STR("mechanism", mechanism),
           CQ_F_STR("remote_ip", session->peer), CQ_F_STR("login", front_login_to_tell(login, pool)),
           CQ_F_ACCOUNT(session->account), CQ_F_STR("reason", reason_of(rc, &identity)));
    told.rc = rc;
    tell(session, &told);
    cq_pool_free(&pool);
    return rc;
}
