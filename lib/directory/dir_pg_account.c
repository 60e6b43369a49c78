#include "directory/dir_pg_statements.h"

/* A plan or state that this build does not know was written by a newer one: refused, not guessed. */
static enum cq_rc read_account(const PGresult *result, int row, struct cq_pool *pool, struct dir_account *account,
                               struct cq_err *err)
{
    *account = (struct dir_account){
        .id = pg_int(result, row, 0),
        .version = pg_int(result, row, 1),
        .domain_id = pg_int(result, row, 2),
        .address = pg_text(result, row, 3, pool),
        .services = (unsigned)pg_int(result, row, 5),
        .admin = pg_bool(result, row, 6),
        .plan = dir_plan_find(pg_peek(result, row, 7)),
        .home_dc = pg_text(result, row, 8, pool),
        .quota_bytes = pg_int(result, row, 9),
        .quota_messages = pg_int(result, row, 10),
        .created_us = pg_int(result, row, 11),
        .state_us = pg_int(result, row, 12),
    };
    if (!dir_state_parse(pg_peek(result, row, 4), &account->state) || !account->plan)
        return CQ_FAIL(err, CQ_E_VERSION, "directory: an account has a state or plan that this version does not know");
    return CQ_OK;
}

static enum cq_rc account_get(struct dir_backend *self, uint64_t id, struct cq_pool *pool,
                              struct dir_account *account_r, struct cq_err *err)
{
    struct pg_params params = {0};
    PGresult *result;
    pg_param_int(&params, id);
    enum cq_rc rc = pg_ask(self, PG_ACCOUNT_GET, &params, &result, err);
    if (rc == CQ_OK)
        rc = PQntuples(result) ? read_account(result, 0, pool, account_r, err) : CQ_E_NOT_FOUND;
    PQclear(result);
    return rc;
}

static enum cq_rc account_add(struct dir_backend *self, const struct dir_account_row *row, struct cq_err *err)
{
    struct pg_params params = {0};
    pg_param_int(&params, row->id);
    pg_param_int(&params, row->domain_id);
    pg_param_text(&params, row->local);
    pg_param_text(&params, cq_slice_cstr(row->plan->name));
    pg_param_text(&params, row->home_dc);
    pg_param_int(&params, row->services);
    pg_param_bool(&params, row->admin);
    pg_param_int(&params, row->quota_bytes);
    pg_param_int(&params, row->quota_messages);
    pg_param_int(&params, row->now_us);
    pg_param_text(&params, row->password_hash);
    return pg_do(self, PG_ACCOUNT_ADD, &params, NULL, err);
}

static enum cq_rc account_update(struct dir_backend *self, uint64_t id, const struct dir_account_update *update,
                                 const struct dir_plan *plan, struct cq_err *err)
{
    struct pg_params params = {0};
    pg_param_int(&params, id);
    pg_param_int(&params, update->what);
    pg_param_int(&params, update->expected_version);
    pg_param_text(&params, cq_slice_cstr(plan ? plan->name : ""));
    pg_param_int(&params, update->services);
    pg_param_int(&params, update->quota_bytes);
    pg_param_int(&params, update->quota_messages);
    pg_param_bool(&params, update->admin);
    pg_param_text(&params, update->home_dc);
    return pg_do(self, PG_ACCOUNT_UPDATE, &params, NULL, err);
}

/* Bits as "creating,active". */
static struct cq_slice state_names(unsigned states, struct cq_buf *out)
{
    for (int state = 0; state < DIR_STATE_COUNT; state++)
        if (states & 1u << state)
            cq_buf_printf(out, "%s%s", out->len ? "," : "", dir_state_name((enum dir_state)state));
    return cq_buf_slice(out);
}

static enum cq_rc account_set_state(struct dir_backend *self, uint64_t id, unsigned from, enum dir_state to,
                                    struct cq_err *err)
{
    struct pg_params params = {0};
    struct cq_buf names;
    cq_buf_init(&names, 256);
    pg_param_int(&params, id);
    pg_param_text(&params, state_names(from, &names));
    pg_param_text(&params, cq_slice_cstr(dir_state_name(to)));
    enum cq_rc rc = pg_do(self, PG_ACCOUNT_STATE, &params, NULL, err);
    cq_buf_fini(&names);
    return rc;
}

static enum cq_rc account_remove(struct dir_backend *self, uint64_t id, struct cq_err *err)
{
    struct pg_params params = {0};
    pg_param_int(&params, id);
    return pg_do(self, PG_ACCOUNT_REMOVE, &params, NULL, err);
}

static enum cq_rc read_accounts(const PGresult *result, struct cq_pool *pool, struct dir_account **rows_r,
                                size_t *count_r, struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    *rows_r = cq_pool_calloc(pool, (size_t)PQntuples(result) + 1, sizeof **rows_r);
    for (int i = 0; i < PQntuples(result) && rc == CQ_OK; i++)
        rc = read_account(result, i, pool, &(*rows_r)[(*count_r)++], err);
    return rc;
}

static enum cq_rc account_list(struct dir_backend *self, const struct dir_account_query *query, struct cq_pool *pool,
                               struct dir_account **rows_r, size_t *count_r, struct cq_err *err)
{
    struct pg_params params = {0};
    struct cq_buf names;
    PGresult *result;
    *count_r = 0;
    cq_buf_init(&names, 256);
    pg_param_int(&params, query->after_id);
    pg_param_int(&params, query->domain_id);
    pg_param_text(&params, state_names(query->states, &names));
    pg_param_int(&params, query->max);
    enum cq_rc rc = pg_ask(self, PG_ACCOUNT_LIST, &params, &result, err);
    if (rc == CQ_OK)
        rc = read_accounts(result, pool, rows_r, count_r, err);
    PQclear(result);
    cq_buf_fini(&names);
    return rc;
}

/* ---- Half done ---- */

/* Whoever looks from the start for what is half done gives rows of a site's own tables their id first. */
static enum cq_rc pending_list(struct dir_backend *self, const struct dir_pending_query *query, struct cq_pool *pool,
                               struct dir_account **rows_r, size_t *count_r, struct cq_err *err)
{
    struct pg_params params = {0}, keep = {0};
    PGresult *result;
    *count_r = 0;
    pg_param_int(&keep, pg_backend_of(self)->config.vanished_keep_us);
    enum cq_rc rc = query->after_us ? CQ_OK : pg_do(self, PG_BIND_NEW, &keep, NULL, err);
    if (rc != CQ_OK)
        return rc;
    pg_param_int(&params, query->after_us);
    pg_param_int(&params, query->after_id);
    pg_param_int(&params, query->age_min_us);
    pg_param_int(&params, query->max);
    rc = pg_ask(self, PG_PENDING_LIST, &params, &result, err);
    if (rc == CQ_OK)
        rc = read_accounts(result, pool, rows_r, count_r, err);
    PQclear(result);
    return rc;
}

static enum cq_rc pending_count(struct dir_backend *self, struct dir_pending *pending_r, struct cq_err *err)
{
    const struct pg_params none = {0};
    PGresult *result;
    enum cq_rc rc = pg_ask(self, PG_PENDING_COUNT, &none, &result, err);
    for (int i = 0; rc == CQ_OK && i < PQntuples(result); i++) {
        bool creating = cq_slice_eq(pg_peek(result, i, 0), cq_slice_cstr(dir_state_name(DIR_CREATING)));
        *(creating ? &pending_r->creating : &pending_r->deleting) = pg_int(result, i, 1);
        *(creating ? &pending_r->creating_age_max_us : &pending_r->deleting_age_max_us) = pg_int(result, i, 2);
    }
    PQclear(result);
    return rc;
}

void dir_pg_add_account_ops(struct dir_backend_ops *ops)
{
    ops->account_get = account_get;
    ops->account_add = account_add;
    ops->account_update = account_update;
    ops->account_set_state = account_set_state;
    ops->account_remove = account_remove;
    ops->account_list = account_list;
    ops->pending_list = pending_list;
    ops->pending_count = pending_count;
}
