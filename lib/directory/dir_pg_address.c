#include "directory/dir_pg_statements.h"

static const char *const kind_names[] = {
    [DIR_PRIMARY] = "primary", [DIR_ALIAS] = "alias", [DIR_CATCH_ALL] = "catchall"};

static enum dir_address_kind kind_of(struct cq_slice text)
{
    for (int i = DIR_PRIMARY; i < DIR_CATCH_ALL; i++)
        if (cq_slice_eq(text, cq_slice_cstr(kind_names[i])))
            return (enum dir_address_kind)i;
    return DIR_CATCH_ALL;
}

/* The address whose lines begin at *line: one line for each account behind it. Moves *line past them. A line without an
 * account is one whose account has no id yet: nothing may be said about the address. */
static enum cq_rc read_address(const PGresult *result, int *line, struct cq_pool *pool, struct dir_address_row *row,
                               struct cq_err *err)
{
    int first = *line, end = first;
    struct cq_slice address = pg_peek(result, first, 0);
    while (end < PQntuples(result) && cq_slice_eq(pg_peek(result, end, 0), address))
        end++;
    *line = end;
    uint64_t *ids = cq_pool_calloc(pool, (size_t)(end - first), sizeof *ids);
    *row = (struct dir_address_row){
        .address = cq_pool_slice(pool, address), .kind = kind_of(pg_peek(result, first, 1)), .targets = ids};
    for (int i = first; i < end; i++) {
        if (pg_null(result, i, 2))
            return CQ_FAIL(err, CQ_E_BEHIND,
                           "an account behind the address has no id yet, or its row vanished a short while ago");
        ids[row->target_count++] = pg_int(result, i, 2);
    }
    return CQ_OK;
}

static enum cq_rc address_get(struct dir_backend *self, uint64_t domain_id, struct cq_slice local, struct cq_pool *pool,
                              struct dir_address_row *row_r, struct cq_err *err)
{
    struct pg_params params = {0};
    PGresult *result;
    int line = 0;
    pg_param_int(&params, domain_id);
    pg_param_text(&params, local);
    enum cq_rc rc = pg_ask(self, PG_ADDRESS_GET, &params, &result, err);
    if (rc == CQ_OK)
        rc = PQntuples(result) ? read_address(result, &line, pool, row_r, err) : CQ_E_NOT_FOUND;
    PQclear(result);
    return rc;
}

static enum cq_rc target_add(struct dir_backend *self, uint64_t domain_id, struct cq_slice local,
                             enum dir_address_kind kind, uint64_t account_id, struct cq_err *err)
{
    struct pg_params params = {0};
    pg_param_int(&params, domain_id);
    pg_param_text(&params, local);
    pg_param_text(&params, cq_slice_cstr(kind_names[kind]));
    pg_param_int(&params, account_id);
    pg_param_int(&params, DIR_TARGETS_MAX);
    return pg_do(self, PG_TARGET_ADD, &params, NULL, err);
}

static enum cq_rc target_remove(struct dir_backend *self, uint64_t domain_id, struct cq_slice local,
                                uint64_t account_id, struct cq_err *err)
{
    struct pg_params params = {0};
    pg_param_int(&params, domain_id);
    pg_param_text(&params, local);
    pg_param_int(&params, account_id);
    return pg_do(self, PG_TARGET_REMOVE, &params, NULL, err);
}

static enum cq_rc address_list(struct dir_backend *self, uint64_t account_id, uint64_t domain_id, size_t max,
                               struct cq_pool *pool, struct dir_address_row **rows_r, size_t *count_r,
                               struct cq_err *err)
{
    struct pg_params params = {0};
    PGresult *result;
    *count_r = 0;
    pg_param_int(&params, account_id ? account_id : domain_id);
    pg_param_int(&params, max);
    enum cq_rc rc = pg_ask(self, account_id ? PG_ADDRESS_OF_ACCOUNT : PG_ADDRESS_OF_DOMAIN, &params, &result, err);
    if (rc != CQ_OK)
        return rc;
    *rows_r = cq_pool_calloc(pool, (size_t)PQntuples(result) + 1, sizeof **rows_r);
    for (int line = 0; line < PQntuples(result);)
        if (read_address(result, &line, pool, &(*rows_r)[*count_r], NULL) == CQ_OK)
            ++*count_r;
    PQclear(result);
    return CQ_OK;
}

void dir_pg_add_address_ops(struct dir_backend_ops *ops)
{
    ops->address_get = address_get;
    ops->target_add = target_add;
    ops->target_remove = target_remove;
    ops->address_list = address_list;
}
