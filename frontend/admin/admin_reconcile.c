#include "admin/admin_reconcile.h"

#include "admin/admin_missing.h"
#include "admin/admin_steps.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_rand.h"
#include "base/cq_time.h"
#include "io/io_fiber.h"

#include <stdlib.h>
#include <uthash.h>

#define PAGE 100                        /* rows of one question to the directory */
#define PAGES_MAX 20                    /* of a round: what is left alone costs reading too */
#define TROUBLE_MAX 3                   /* shards of a round that do not answer; then the cluster has other worries */
#define REST_FIRST_US UINT64_C(1000000) /* a shard that did not answer is left alone so long, */
#define REST_MAX_US UINT64_C(60000000)  /* doubled each time up to this */

/* ---- Settings and metrics ---- */

static const struct cq_setting setting_rows[] = {
    CQ_SET_DURATION(
        struct admin_reconcile_settings, interval_us, "reconcile.interval", "2s", "100ms", "1h",
        "How often accounts left half created or half deleted are looked for, on average; role admin only."),
    CQ_SET_DURATION(struct admin_reconcile_settings, age_min_us, "reconcile.age_min", "3s", "0", "1h",
                    "Younger ones are left to the command that is at work on them."),
    CQ_SET_INT(struct admin_reconcile_settings, batch, "reconcile.batch", "100", 1, 1000, "accounts",
               "Accounts that are finished in one round."),
    CQ_SET_INT(struct admin_reconcile_settings, audit, "reconcile.audit", "10", 0, 1000, "accounts",
               "Accounts whose shard is asked in each round whether it has them; 0: none."),
};

struct cq_config_part admin_reconcile_config_part(struct admin_reconcile_settings *values)
{
    return (struct cq_config_part)CQ_CONFIG_PART("Reconciler", setting_rows, values);
}

enum { M_PENDING, M_AGE, M_STEPS, M_AUDIT };
enum { CREATING, DELETING };
enum { DONE, UNAVAILABLE, FAILED };
enum { AUDIT_OK, AUDIT_LIMITS, AUDIT_MISSING, AUDIT_UNKNOWN };
static const char *const state_names[] = {"creating", "deleting"};
static const char *const step_names[] = {"done", "unavailable", "failed"};
static const char *const audit_names[] = {"ok", "limits_sent", "missing", "unavailable"};

static const struct cq_metric metric_rows[] = {
    [M_PENDING] = CQ_GAUGE("chasqui_accounts_pending", "Accounts that are half created or half deleted",
                           CQ_LABEL("state", state_names)),
    [M_AGE] = CQ_GAUGE_US("chasqui_accounts_pending_age_seconds", "How long the oldest of them has been so",
                          CQ_LABEL("state", state_names)),
    [M_STEPS] = CQ_COUNTER("chasqui_reconcile_steps_total", "Attempts to finish such an account",
                           CQ_LABEL("state", state_names), CQ_LABEL("result", step_names)),
    [M_AUDIT] = CQ_COUNTER("chasqui_reconcile_audits_total",
                           "Accounts whose shard was asked whether it has them; missing needs a person",
                           CQ_LABEL("result", audit_names)),
};
struct cq_metrics admin_reconcile_metrics = CQ_METRICS_OF(metric_rows);

/* ---- Shards that are left alone ---- */

struct rest {
    uint32_t group;
    uint64_t until_us, length_us;
    UT_hash_handle hh;
};

struct admin_reconciler {
    struct admin_reconcile_config config;
    struct rest *rests;          /* by group */
    uint64_t after_us, after_id; /* where the list of half done ones goes on */
    uint64_t audit_after_id;     /* where the audit goes on */
};

static struct rest *rest_of(struct admin_reconciler *r, uint32_t group)
{
    struct rest *rest;
    HASH_FIND(hh, r->rests, &group, sizeof group, rest);
    return rest;
}

static bool is_resting(struct admin_reconciler *r, uint32_t group, uint64_t now_us)
{
    const struct rest *rest = rest_of(r, group);
    return rest && now_us < rest->until_us;
}

/* For a half to the whole of a time that doubles, so that not all front-ends come back together. */
static void let_rest(struct admin_reconciler *r, uint32_t group, uint64_t now_us)
{
    struct rest *rest = rest_of(r, group);
    if (!rest) {
        rest = cq_new(struct rest);
        rest->group = group;
        HASH_ADD(hh, r->rests, group, sizeof rest->group, rest);
    }
    uint64_t length_us = rest->length_us ? rest->length_us * 2 : REST_FIRST_US;
    rest->length_us = length_us < REST_MAX_US ? length_us : REST_MAX_US;
    rest->until_us = now_us + rest->length_us / 2 + cq_rand_below(rest->length_us / 2 + 1);
}

static void has_answered(struct admin_reconciler *r, uint32_t group)
{
    struct rest *rest = rest_of(r, group);
    if (!rest)
        return;
    HASH_DEL(r->rests, rest);
    free(rest);
}

/* ---- Life ---- */

struct admin_reconciler *admin_reconciler_new(const struct admin_reconcile_config *config)
{
    struct admin_reconciler *r = cq_new(struct admin_reconciler);
    r->config = *config;
    return r;
}

void admin_reconciler_free(struct admin_reconciler **reconciler)
{
    struct admin_reconciler *r = *reconciler;
    struct rest *rest, *next;
    if (!r)
        return;
    HASH_ITER (hh, r->rests, rest, next) {
        HASH_DEL(r->rests, rest);
        free(rest);
    }
    free(r);
    *reconciler = NULL;
}

/* ---- One round ---- */

struct work {
    struct admin_reconciler *r;
    uint64_t now_us;
    size_t tried, trouble; /* accounts; shards that did not answer */
    struct admin_round *round;
};

/* The shard, or the way to it, is in trouble: another try later may work. Everything else is an answer. */
static bool is_trouble(enum cq_rc rc)
{
    return cq_rc_retryable(rc) || rc == CQ_E_UNKNOWN_OUTCOME || rc == CQ_E_TIMEOUT || rc == CQ_E_CANCELLED;
}

static void note_answer(struct work *w, uint32_t group, enum cq_rc rc)
{
    if (is_trouble(rc)) {
        let_rest(w->r, group, w->now_us);
        w->trouble++;
    } else {
        has_answered(w->r, group);
    }
}

static bool may_go_on(const struct work *w)
{
    return w->tried < (size_t)w->r->config.settings->batch && w->trouble < TROUBLE_MAX && !io_fiber_cancelled();
}

static void log_attempt(const struct dir_account *account, uint32_t group, enum cq_rc rc, const struct cq_err *err)
{
    const char *state = dir_state_name(account->state);
    if (rc == CQ_OK)
        cq_log(CQ_INFO, "account.finished", CQ_F_ACCOUNT(account->id), CQ_F_STR("state", state));
    else if (is_trouble(rc))
        cq_log_limited(1, CQ_WARN, "account.not_finished", CQ_F_ACCOUNT(account->id), CQ_F_STR("state", state),
                       CQ_F_U64("group", group), CQ_F_ERR(err));
    else
        cq_log_limited(1, CQ_ERROR, "account.cannot_be_finished", CQ_F_ACCOUNT(account->id), CQ_F_STR("state", state),
                       CQ_F_U64("group", group), CQ_F_ERR(err));
}

/* The row as it is now in the database: a page is up to seconds old, and an operator or another front-end may have been
 * there. false: it has another state, or nobody can tell. */
static bool look_again(struct directory *directory, const struct dir_account *seen, struct cq_pool *pool,
                       struct dir_account *now_r)
{
    const struct dir_pending_query query = {.after_us = seen->state_us, .after_id = seen->id - 1, .max = 1};
    struct dir_account *rows;
    size_t count = 0;
    enum cq_rc rc = directory_pending_list(directory, &query, pool, &rows, &count, NULL);
    if (rc != CQ_OK || count == 0 || rows[0].id != seen->id || rows[0].state_us != seen->state_us)
        return false;
    *now_r = rows[0];
    return true;
}

static void finish(struct work *w, const struct dir_account *seen, struct cq_pool *pool)
{
    const struct admin_reconcile_config *config = &w->r->config;
    uint32_t group = config->group_of(config->ctx, seen->id);
    struct dir_account account, now;
    struct cq_err err = {0};
    if (is_resting(w->r, group, w->now_us)) {
        w->round->left_alone++;
        return;
    }
    if (!look_again(config->directory, seen, pool, &account))
        return;
    bool creating = account.state == DIR_CREATING;
    w->tried++;
    enum cq_rc rc = creating ? admin_finish_creating(config->directory, config->store, &account, &err)
                             : admin_finish_deleting(config->directory, config->store, &account, &err);
    if (rc != CQ_OK && !is_trouble(rc) && !look_again(config->directory, &account, pool, &now))
        return; /* refused because somebody came between */
    note_answer(w, group, rc);
    cq_metric_add(&admin_reconcile_metrics, M_STEPS, 1, creating ? CREATING : DELETING,
                  rc == CQ_OK      ? DONE
                  : is_trouble(rc) ? UNAVAILABLE
                                   : FAILED);
    *(rc == CQ_OK ? &w->round->finished : &w->round->failed) += 1;
    log_attempt(&account, group, rc, &err);
}

/* One page. false: the list ends here, or the directory does not answer. */
static bool finish_page(struct work *w, struct cq_pool *pool)
{
    struct admin_reconciler *r = w->r;
    const struct dir_pending_query query = {
        .age_min_us = r->config.settings->age_min_us, .after_us = r->after_us, .after_id = r->after_id, .max = PAGE};
    struct dir_account *accounts;
    struct cq_err err = {0};
    size_t count = 0, i = 0;
    if (directory_pending_list(r->config.directory, &query, pool, &accounts, &count, &err) != CQ_OK) {
        cq_log_limited(1, CQ_WARN, "reconcile.directory_failed", CQ_F_ERR(&err));
        return false;
    }
    for (; i < count && may_go_on(w); i++) {
        finish(w, &accounts[i], pool);
        r->after_us = accounts[i].state_us;
        r->after_id = accounts[i].id;
    }
    if (i < PAGE && i == count) /* the end: from the oldest again, in the next round */
        r->after_us = r->after_id = 0;
    return count == PAGE;
}

static void finish_some(struct work *w)
{
    bool more = true;
    for (int page = 0; more && page < PAGES_MAX && may_go_on(w); page++) {
        struct cq_pool *pool = cq_pool_new(16u << 10);
        more = finish_page(w, pool);
        cq_pool_free(&pool);
    }
}

/* ---- The audit ---- */

static bool limits_differ(const struct mail_limits *a, const struct mail_limits *b)
{
    return a->quota_bytes != b->quota_bytes || a->quota_messages != b->quota_messages ||
           a->sending_messages_day != b->sending_messages_day ||
           a->sending_recipients_day != b->sending_recipients_day || a->recipients_message != b->recipients_message;
}

static unsigned audit_one(struct work *w, const struct dir_account *account, struct cq_pool *pool)
{
    const struct admin_reconcile_config *config = &w->r->config;
    struct mailstore_account shard = {.id = account->id};
    struct mail_account_state state;
    struct mail_limits wanted = admin_limits(account);
    struct cq_err err = {0};
    enum cq_rc rc = mailstore_get_account(config->store, &shard, pool, &state, &err);
    note_answer(w, config->group_of(config->ctx, account->id), rc);
    if (rc == CQ_E_NO_ACCOUNT)
        return AUDIT_MISSING;
    if (rc != CQ_OK)
        return AUDIT_UNKNOWN;
    if (!limits_differ(&state.limits, &wanted) || state.limits.directory_version > wanted.directory_version)
        return AUDIT_OK;
    return mailstore_set_limits(config->store, &shard, &wanted, &err) == CQ_OK ? AUDIT_LIMITS : AUDIT_UNKNOWN;
}

static void note_audit(struct work *w, unsigned result)
{
    cq_metric_add(&admin_reconcile_metrics, M_AUDIT, 1, result);
    w->round->missing += result == AUDIT_MISSING;
    w->round->limits_sent += result == AUDIT_LIMITS;
}

/* Their shards do not know them: were they being removed, or are they alarms? */
static void judge_missing(struct work *w, const uint64_t *ids, size_t count)
{
    if (count == 0 || !admin_missing_wait())
        return;
    for (size_t i = 0; i < count; i++)
        note_audit(w, admin_missing_check(w->r->config.directory, ids[i]) ? AUDIT_MISSING : AUDIT_OK);
}

static void audit_page(struct work *w, const struct dir_account *accounts, size_t count, struct cq_pool *pool)
{
    const struct admin_reconcile_config *config = &w->r->config;
    uint64_t *missing = cq_pool_calloc(pool, count + 1, sizeof *missing);
    size_t missing_count = 0;
    for (size_t i = 0; i < count && w->trouble < TROUBLE_MAX && !io_fiber_cancelled(); i++) {
        if (w->r->audit_after_id)
            w->r->audit_after_id = accounts[i].id;
        if (is_resting(w->r, config->group_of(config->ctx, accounts[i].id), w->now_us))
            continue;
        unsigned result = audit_one(w, &accounts[i], pool);
        w->round->audited++;
        if (result == AUDIT_MISSING)
            missing[missing_count++] = accounts[i].id;
        else
            note_audit(w, result);
    }
    judge_missing(w, missing, missing_count);
}

static void audit_some(struct work *w)
{
    struct admin_reconciler *r = w->r;
    const struct dir_account_filter filter = {
        .states = DIR_STATES_KEPT, .after_id = r->audit_after_id, .max = (size_t)r->config.settings->audit};
    struct dir_account *accounts;
    size_t count = 0;
    struct cq_pool *pool = cq_pool_new(16u << 10);
    if (directory_account_list(r->config.directory, &filter, pool, &accounts, &count, NULL) != CQ_OK)
        count = 0;
    r->audit_after_id = count == filter.max ? accounts[0].id : 0; /* 0: the last page, then from the start */
    audit_page(w, accounts, count, pool);
    cq_pool_free(&pool);
}

static void show_gauges(struct directory *directory)
{
    struct dir_pending pending;
    if (directory_pending_count(directory, &pending, NULL) != CQ_OK)
        return; /* the directory's own metrics tell */
    cq_gauge_set(&admin_reconcile_metrics, M_PENDING, (int64_t)pending.creating, CREATING);
    cq_gauge_set(&admin_reconcile_metrics, M_PENDING, (int64_t)pending.deleting, DELETING);
    cq_gauge_set(&admin_reconcile_metrics, M_AGE, (int64_t)pending.creating_age_max_us, CREATING);
    cq_gauge_set(&admin_reconcile_metrics, M_AGE, (int64_t)pending.deleting_age_max_us, DELETING);
}

void admin_reconcile_round(struct admin_reconciler *r, uint64_t now_us, struct admin_round *round_r)
{
    struct work work = {.r = r, .now_us = now_us, .round = round_r};
    *round_r = (struct admin_round){0};
    finish_some(&work);
    if (r->config.settings->audit > 0)
        audit_some(&work);
    show_gauges(r->config.directory);
}

void admin_reconcile_run(struct admin_reconciler *r, const bool *stop)
{
    uint64_t interval_ms = r->config.settings->interval_us / 1000;
    while (io_fiber_sleep(interval_ms / 2 + cq_rand_below(interval_ms + 1)) == CQ_OK && !*stop) {
        struct admin_round round;
        admin_reconcile_round(r, cq_time_mono_us(), &round);
    }
}
