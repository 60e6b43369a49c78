#include "directory/dir_pg_statements.h"

static const char *const kinds[] = {[DIR_PASSWORD] = "password", [DIR_APP_PASSWORD] = "app_password"};

static void read_credential(const PGresult *result, int line, struct cq_pool *pool, struct dir_credential *row)
{
    bool is_app = cq_slice_eq(pg_peek(result, line, 2), cq_slice_cstr(kinds[DIR_APP_PASSWORD]));
    *row = (struct dir_credential){
        .id = pg_int(result, line, 0),
        .account_id = pg_int(result, line, 1),
        .kind = is_app ? DIR_APP_PASSWORD : DIR_PASSWORD,
        .scopes = (unsigned)pg_int(result, line, 3),
        .prefix = pg_text(result, line, 4, pool),
        .hash = pg_text(result, line, 5, pool),
        .label = pg_text(result, line, 6, pool),
        .created_us = pg_int(result, line, 7),
        .expires_us = pg_int(result, line, 8),
        .last_used_us = pg_int(result, line, 9),
        .version = pg_int(result, line, 10),
    };
}

static enum cq_rc credential_list(struct dir_backend *self, uint64_t account_id, struct cq_pool *pool,
                                  struct dir_credential **rows_r, size_t *count_r, struct cq_err *err)
{
    struct pg_params params = {0};
    PGresult *result;
    *count_r = 0;
    pg_param_int(&params, account_id);
    enum cq_rc rc = pg_ask(self, PG_CREDENTIAL_LIST, &params, &result, err);
    if (rc != CQ_OK)
        return rc;
    *rows_r = cq_pool_calloc(pool, (size_t)PQntuples(result) + 1, sizeof **rows_r);
    for (int i = 0; i < PQntuples(result); i++)
        read_credential(result, i, pool, &(*rows_r)[(*count_r)++]);
    PQclear(result);
    return CQ_OK;
}

static enum cq_rc credential_put(struct dir_backend *self, const struct dir_credential *row, uint64_t now_us,
                                 uint64_t *id_r, struct cq_err *err)
{
    struct pg_params params = {0};
    pg_param_int(&params, row->account_id);
    pg_param_text(&params, cq_slice_cstr(kinds[row->kind]));
    pg_param_int(&params, row->scopes);
    pg_param_text(&params, row->prefix);
    pg_param_text(&params, row->hash);
    pg_param_text(&params, row->label);
    pg_param_int(&params, row->expires_us);
    pg_param_int(&params, now_us);
    pg_param_int(&params, DIR_CREDENTIALS_MAX);
    return pg_do(self, PG_CREDENTIAL_PUT, &params, id_r, err);
}

static enum cq_rc credential_rehash(struct dir_backend *self, uint64_t id, uint64_t old_version, struct cq_slice hash,
                                    struct cq_err *err)
{
    struct pg_params params = {0};
    pg_param_int(&params, id);
    pg_param_int(&params, old_version);
    pg_param_text(&params, hash);
    return pg_do(self, PG_CREDENTIAL_REHASH, &params, NULL, err);
}

static enum cq_rc credential_used(struct dir_backend *self, uint64_t id, uint64_t now_us, struct cq_err *err)
{
    struct pg_params params = {0};
    pg_param_int(&params, id);
    pg_param_int(&params, now_us);
    return pg_do(self, PG_CREDENTIAL_USED, &params, NULL, err);
}

static enum cq_rc credential_remove(struct dir_backend *self, uint64_t account_id, uint64_t id, struct cq_err *err)
{
    struct pg_params params = {0};
    pg_param_int(&params, account_id);
    pg_param_int(&params, id);
    return pg_do(self, PG_CREDENTIAL_REMOVE, &params, NULL, err);
}

void dir_pg_add_credential_ops(struct dir_backend_ops *ops)
{
    ops->credential_list = credential_list;
    ops->credential_put = credential_put;
    ops->credential_rehash = credential_rehash;
    ops->credential_used = credential_used;
    ops->credential_remove = credential_remove;
}
