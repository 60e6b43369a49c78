#include "directory/dir_pg_statements.h"

static void read_domain(const PGresult *result, int row, struct cq_pool *pool, struct dir_domain *domain)
{
    *domain = (struct dir_domain){
        .id = pg_int(result, row, 0),
        .name = pg_text(result, row, 1, pool),
        .alias_of = pg_int(result, row, 2),
        .alias_of_name = pg_text(result, row, 3, pool),
        .postmaster = pg_int(result, row, 4),
        .version = pg_int(result, row, 5),
    };
}

static enum cq_rc domain_get(struct dir_backend *self, struct cq_slice name, struct cq_pool *pool,
                             struct dir_domain *domain_r, struct cq_err *err)
{
    struct pg_params params = {0};
    PGresult *result;
    pg_param_text(&params, name);
    enum cq_rc rc = pg_ask(self, PG_DOMAIN_GET, &params, &result, err);
    if (rc == CQ_OK && PQntuples(result) == 0)
        rc = CQ_E_NOT_FOUND;
    if (rc == CQ_OK && pg_null(result, 0, 0))
        rc = CQ_FAIL(err, CQ_E_BEHIND, "the domain has no id yet");
    if (rc == CQ_OK)
        read_domain(result, 0, pool, domain_r);
    PQclear(result);
    return rc;
}

static enum cq_rc domain_list(struct dir_backend *self, struct cq_slice after, size_t max, struct cq_pool *pool,
                              struct dir_domain **rows_r, size_t *count_r, struct cq_err *err)
{
    struct pg_params params = {0};
    PGresult *result;
    pg_param_text(&params, after);
    pg_param_int(&params, max);
    *count_r = 0;
    enum cq_rc rc = pg_ask(self, PG_DOMAIN_LIST, &params, &result, err);
    if (rc != CQ_OK)
        return rc;
    *rows_r = cq_pool_calloc(pool, (size_t)PQntuples(result) + 1, sizeof **rows_r);
    for (int i = 0; i < PQntuples(result); i++)
        read_domain(result, i, pool, &(*rows_r)[(*count_r)++]);
    PQclear(result);
    return CQ_OK;
}

static enum cq_rc domain_add(struct dir_backend *self, struct cq_slice name, uint64_t alias_of, uint64_t now_us,
                             struct cq_err *err)
{
    struct pg_params params = {0};
    pg_param_text(&params, name);
    pg_param_int(&params, alias_of);
    pg_param_int(&params, now_us);
    return pg_do(self, PG_DOMAIN_ADD, &params, NULL, err);
}

static enum cq_rc domain_set_postmaster(struct dir_backend *self, uint64_t domain_id, uint64_t account_id,
                                        struct cq_err *err)
{
    struct pg_params params = {0};
    pg_param_int(&params, domain_id);
    pg_param_int(&params, account_id);
    return pg_do(self, PG_DOMAIN_POSTMASTER, &params, NULL, err);
}

static enum cq_rc domain_remove(struct dir_backend *self, uint64_t domain_id, struct cq_err *err)
{
    struct pg_params params = {0};
    pg_param_int(&params, domain_id);
    return pg_do(self, PG_DOMAIN_REMOVE, &params, NULL, err);
}

static enum cq_rc first_account(struct dir_backend *self, uint64_t domain_id, bool admin, uint64_t *account_id_r,
                                struct cq_err *err)
{
    struct pg_params params = {0};
    *account_id_r = 0;
    pg_param_bool(&params, admin);
    pg_param_int(&params, domain_id);
    enum cq_rc rc = pg_do(self, PG_FIRST_ACCOUNT, &params, account_id_r, err);
    return rc == CQ_OK && *account_id_r == 0 ? CQ_E_NOT_FOUND : rc;
}

void dir_pg_add_domain_ops(struct dir_backend_ops *ops)
{
    ops->domain_get = domain_get;
    ops->domain_list = domain_list;
    ops->domain_add = domain_add;
    ops->domain_set_postmaster = domain_set_postmaster;
    ops->domain_remove = domain_remove;
    ops->first_account = first_account;
}
