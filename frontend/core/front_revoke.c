#include "core/front_revoke.h"

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "core/front_session.h"

#include <stdlib.h>

#define ACCOUNTS_MAX 256 /* that changed since the last round; more: everybody is looked at */
#define LOGINS_MAX 256   /* different log-ins of one look; it is repeated until all were seen */

/* What a session rests on. Several sessions share one. */
struct login {
    uint64_t account, credential;
    enum dir_service service;
};

struct front_revoke {
    struct directory_watch watch;
    struct auth *auth;
    const struct front_workers *workers;
    uint64_t accounts[ACCOUNTS_MAX]; /* to look at */
    size_t count;
    bool everybody;
    uint64_t look; /* number of the present look; sessions carry that of their last one */
};

/* ---- What changed ---- */

static void mark(struct front_revoke *revoke, uint64_t account)
{
    for (size_t i = 0; i < revoke->count; i++)
        if (revoke->accounts[i] == account)
            return;
    if (revoke->count == ACCOUNTS_MAX)
        revoke->everybody = true;
    else
        revoke->accounts[revoke->count++] = account;
}

static void on_change(const struct dir_change *change, bool lost, void *ctx)
{
    struct front_revoke *revoke = ctx;
    if (lost)
        revoke->everybody = true;
    else if (change->account_id)
        mark(revoke, change->account_id);
}

/* ---- The log-ins of the live sessions ---- */

struct survey {
    uint64_t account; /* 0: everybody's */
    uint64_t look;
    struct login logins[LOGINS_MAX];
    size_t count;
    bool more; /* not all sessions were seen */
};

static bool is_new(const struct survey *survey, const struct front_session *session)
{
    for (size_t i = 0; i < survey->count; i++)
        if (survey->logins[i].account == session->account && survey->logins[i].credential == session->credential &&
            survey->logins[i].service == session->service)
            return false;
    return true;
}

static void survey_worker(struct front_worker *worker, void *arg)
{
    struct survey *survey = arg;
    cq_list_each (&worker->sessions, node) {
        struct front_session *session = cq_list_entry(node, struct front_session, link);
        if (!session->account || session->looked_at == survey->look ||
            (survey->account && session->account != survey->account))
            continue;
        if (is_new(survey, session)) {
            if (survey->count == LOGINS_MAX) {
                survey->more = true;
                return;
            }
            survey->logins[survey->count++] = (struct login){session->account, session->credential, session->service};
        }
        session->looked_at = survey->look;
    }
}

/* ---- Ending ---- */

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

/* false: nobody can tell now. */
static bool judge(struct front_revoke *revoke, struct login *login)
{
    struct cq_err err = {0};
    enum cq_rc rc = auth_session_check(revoke->auth, login->account, login->credential, login->service, &err);
    if (rc == CQ_E_DENIED) {
        cq_log(CQ_INFO, "session.revoked", CQ_F_ACCOUNT(login->account), CQ_F_ERR(&err));
        front_workers_each(revoke->workers, end_on_worker, login);
    }
    return rc == CQ_OK || rc == CQ_E_DENIED;
}

/* The sessions of an account, or (0) all. false: not all of it could be judged. */
static bool look_at(struct front_revoke *revoke, uint64_t account)
{
    struct survey *survey = cq_new(struct survey);
    bool settled = true;
    survey->account = account;
    survey->look = ++revoke->look;
    do {
        survey->count = 0;
        survey->more = false;
        front_workers_each(revoke->workers, survey_worker, survey);
        for (size_t i = 0; i < survey->count; i++)
            settled = judge(revoke, &survey->logins[i]) && settled;
    } while (survey->more && !io_fiber_cancelled());
    settled = settled && !survey->more;
    free(survey);
    return settled;
}

static void look_at_marked(struct front_revoke *revoke)
{
    size_t left = 0;
    if (revoke->everybody) {
        revoke->everybody = !look_at(revoke, 0);
        revoke->count = 0;
        return;
    }
    for (size_t i = 0; i < revoke->count; i++)
        if (!look_at(revoke, revoke->accounts[i]))
            revoke->accounts[left++] = revoke->accounts[i];
    revoke->count = left;
}

static bool has_expired(const struct front_session *session, void *arg)
{
    const uint64_t *now_us = arg;
    return session->expires_us && session->expires_us <= *now_us && !session->ended_us;
}

static void cut_on_worker(struct front_worker *worker, void *arg)
{
    uint64_t now_us = cq_time_wall_us();
    (void)arg;
    front_sessions_end(worker, has_expired, &now_us, FRONT_END_ACCOUNT);
    front_sessions_cut(worker, FRONT_REVOKE_CUT_US);
}

void front_revoke_round(struct front_revoke *revoke)
{
    struct cq_err err = {0};
    if (directory_watch_poll(&revoke->watch, &err) != CQ_OK)
        cq_log_limited(1, CQ_WARN, "directory.poll_failed", CQ_F_ERR(&err));
    look_at_marked(revoke);
    front_workers_each(revoke->workers, cut_on_worker, NULL);
}

/* ---- Life ---- */

struct front_revoke *front_revoke_new(struct directory *directory, struct auth *auth,
                                      const struct front_workers *workers)
{
    struct front_revoke *revoke = cq_new(struct front_revoke);
    revoke->watch = (struct directory_watch){.directory = directory, .changed = on_change, .ctx = revoke};
    revoke->auth = auth;
    revoke->workers = workers;
    return revoke;
}

void front_revoke_free(struct front_revoke **revoke)
{
    free(*revoke);
    *revoke = NULL;
}

enum cq_rc front_revoke_wait(struct front_revoke *revoke, uint64_t most_ms)
{
    return directory_watch_wait(&revoke->watch, most_ms);
}
