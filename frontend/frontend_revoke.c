/* Follows the directory's changes: a session whose account was disabled or deleted, whose service was switched off or
 * whose credential was revoked is ended, within a few seconds. */
#include "frontend.h"

#include "base/cq_log.h"
#include "base/cq_mem.h"

#include <stdlib.h>

#define POLL_MS 2000
#define LOGINS_MAX 1024 /* different (account, credential, service) of one look; the rest is for the next */

struct login {
    uint64_t account, credential;
    enum dir_service service;
};

/* The different log-ins of the sessions of one account (0: of all). */
struct survey {
    uint64_t account;
    struct login logins[LOGINS_MAX];
    size_t count;
};

static bool known(const struct survey *survey, const struct front_session *session)
{
    for (size_t i = 0; i < survey->count; i++)
        if (survey->logins[i].account == session->account && survey->logins[i].credential == session->credential &&
            survey->logins[i].service == session->service)
            return true;
    return false;
}

static void survey_worker(struct front_worker *worker, void *arg)
{
    struct survey *survey = arg;
    cq_list_each (&worker->sessions, node) {
        const struct front_session *session = cq_list_entry(node, struct front_session, link);
        if (!session->account || (survey->account && session->account != survey->account) ||
            survey->count == LOGINS_MAX || known(survey, session))
            continue;
        survey->logins[survey->count++] = (struct login){session->account, session->credential, session->service};
    }
}

static bool has_login(const struct front_session *session, void *arg)
{
    const struct login *login = arg;
    return session->account == login->account && session->credential == login->credential &&
           session->service == login->service;
}

static void end_on_worker(struct front_worker *worker, void *arg)
{
    front_sessions_end(worker, has_login, arg, FRONT_END_ACCOUNT);
}

static void look_at(struct frontend *frontend, uint64_t account)
{
    struct survey *survey = cq_new(struct survey);
    survey->account = account;
    front_workers_each(&frontend->every, survey_worker, survey);
    for (size_t i = 0; i < survey->count; i++) {
        struct login *login = &survey->logins[i];
        struct cq_err err = {0};
        enum cq_rc rc = auth_session_check(frontend->auth, login->account, login->credential, login->service, &err);
        if (rc != CQ_E_DENIED)
            continue; /* "later" keeps it: a directory that is down ends nobody's session */
        cq_log(CQ_INFO, "session.revoked", CQ_F_ACCOUNT(login->account));
        front_workers_each(&frontend->every, end_on_worker, login);
    }
    free(survey);
}

static void on_change(const struct dir_change *change, bool lost, void *ctx)
{
    if (lost)
        look_at(ctx, 0);
    else if (change->account_id)
        look_at(ctx, change->account_id);
}

static void follow(void *arg)
{
    struct frontend *frontend = arg;
    frontend->watch = (struct directory_watch){
        .directory = frontend->directory,
        .changed = on_change,
        .ctx = frontend,
    };
    do {
        struct cq_err err = {0};
        if (directory_watch_poll(&frontend->watch, &err) != CQ_OK)
            cq_log_limited(1, CQ_WARN, "directory.poll_failed", CQ_F_ERR(&err));
    } while (io_fiber_sleep(POLL_MS) == CQ_OK && !frontend->stopping);
}

void frontend_revoke_start(struct frontend *frontend)
{
    io_fiber_spawn(frontend->control->front.loop, follow, frontend, NULL);
}
