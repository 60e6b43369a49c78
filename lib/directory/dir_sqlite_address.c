/* Addresses and the accounts behind them. */
#include "directory/dir_sqlite_private.h"

static const char *const kind_names[] = {
    [DIR_PRIMARY] = "primary", [DIR_ALIAS] = "alias", [DIR_CATCH_ALL] = "catchall"};

static enum dir_address_kind kind_of(struct cq_slice text)
{
    for (int i = DIR_PRIMARY; i < DIR_CATCH_ALL; i++)
        if (cq_slice_eq(text, cq_slice_cstr(kind_names[i])))
            return (enum dir_address_kind)i;
    return DIR_CATCH_ALL;
}

static enum cq_rc read_address(struct sq *c, sqlite3_stmt *stmt, struct cq_pool *pool, void *row_r)
{
    struct dir_address_row *row = row_r;
    struct sq_rows ids = {.pool = pool, .size = sizeof(uint64_t)};
    enum cq_rc rc = SQ_LIST(c, sq_read_int, &ids, S_TARGETS_GET, SQ_N(sq_int(stmt, 2)), SQ_T(sq_peek(stmt, 3)));
    *row = (struct dir_address_row){
        .address = sq_text(stmt, 0, pool),
        .kind = kind_of(sq_peek(stmt, 1)),
        .targets = ids.data,
        .target_count = ids.count,
    };
    return rc;
}

static enum cq_rc get(struct sq *c, uint64_t domain_id, struct cq_slice local, struct cq_pool *pool,
                      struct dir_address_row *row_r)
{
    return SQ_GET(c, read_address, pool, row_r, S_ADDRESS_GET, SQ_N(domain_id), SQ_T(local));
}

enum cq_rc sq_address_add(struct sq *c, uint64_t domain_id, struct cq_slice local, enum dir_address_kind kind)
{
    return SQ_RUN(c, S_ADDRESS_ADD, SQ_N(domain_id), SQ_T(local), SQ_TEXT(kind_names[kind]));
}

static enum cq_rc address_get(struct dir_backend *self, uint64_t domain_id, struct cq_slice local, struct cq_pool *pool,
                              struct dir_address_row *row_r, struct cq_err *err)
{
    struct sq *c;
    enum cq_rc rc = sq_begin(self, SQ_READ, &c, err);
    if (rc == CQ_OK)
        rc = get(c, domain_id, local, pool, row_r);
    return sq_end(c, rc);
}

/* The address row of an alias: there already, or made now. */
static enum cq_rc ensure_alias(struct sq *c, uint64_t domain_id, struct cq_slice local, enum dir_address_kind kind)
{
    struct cq_pool *tmp = cq_pool_new(1024);
    struct dir_address_row row;
    enum cq_rc rc = get(c, domain_id, local, tmp, &row);
    if (rc == CQ_E_NOT_FOUND)
        rc = sq_address_add(c, domain_id, local, kind);
    else if (rc == CQ_OK && row.kind != kind)
        rc = CQ_FAIL(c->err, CQ_E_EXISTS, "the address is an account's own");
    else if (rc == CQ_OK && row.target_count >= DIR_TARGETS_MAX)
        rc = CQ_FAIL(c->err, CQ_E_LIMIT, "an alias has at most %d accounts", DIR_TARGETS_MAX);
    cq_pool_free(&tmp);
    return rc;
}

static enum cq_rc target_add(struct dir_backend *self, uint64_t domain_id, struct cq_slice local,
                             enum dir_address_kind kind, uint64_t account_id, struct cq_err *err)
{
    struct sq *c;
    enum cq_rc rc = sq_begin(self, SQ_WRITE, &c, err);
    if (rc == CQ_OK)
        rc = ensure_alias(c, domain_id, local, kind);
    if (rc == CQ_OK) {
        rc = SQ_RUN(c, S_TARGET_ADD, SQ_N(domain_id), SQ_T(local), SQ_N(account_id));
        if (rc != CQ_OK && sq_violates(c, SQLITE_CONSTRAINT_PRIMARYKEY))
            rc = CQ_FAIL(err, CQ_E_EXISTS, "the alias goes to this account already");
    }
    if (rc == CQ_OK)
        rc = sq_touch_account(c, DIR_CHANGED_ADDRESS, account_id, 0, NULL);
    return sq_end(c, rc);
}

/* One target, and the row with the last of them; or (0) the row with all. */
static enum cq_rc remove_targets(struct sq *c, uint64_t domain_id, struct cq_slice local, uint64_t account_id)
{
    enum cq_rc rc = account_id ? SQ_RUN(c, S_TARGET_REMOVE, SQ_N(domain_id), SQ_T(local), SQ_N(account_id))
                               : SQ_RUN(c, S_ADDRESS_REMOVE, SQ_N(domain_id), SQ_T(local));
    if (rc == CQ_OK)
        rc = sq_expect(c, "target of the alias");
    if (rc == CQ_OK && account_id)
        rc = SQ_RUN(c, S_ADDRESS_REMOVE_EMPTY, SQ_N(domain_id), SQ_T(local));
    return rc;
}

static enum cq_rc target_remove(struct dir_backend *self, uint64_t domain_id, struct cq_slice local,
                                uint64_t account_id, struct cq_err *err)
{
    struct sq *c;
    struct cq_pool *tmp = cq_pool_new(1024);
    struct dir_address_row row = {.target_count = 0};
    enum cq_rc rc = sq_begin(self, SQ_WRITE, &c, err);
    if (rc == CQ_OK)
        rc = get(c, domain_id, local, tmp, &row);
    if (rc == CQ_OK && row.kind == DIR_PRIMARY)
        rc = CQ_FAIL(err, CQ_E_NOT_FOUND, "the address is an account's own, no alias");
    if (rc == CQ_OK)
        rc = remove_targets(c, domain_id, local, account_id);
    for (size_t i = 0; rc == CQ_OK && i < row.target_count; i++)
        if (!account_id || row.targets[i] == account_id)
            rc = sq_touch_account(c, DIR_CHANGED_ADDRESS, row.targets[i], 0, NULL);
    cq_pool_free(&tmp);
    return sq_end(c, rc);
}

static enum cq_rc address_list(struct dir_backend *self, uint64_t account_id, uint64_t domain_id, size_t max,
                               struct cq_pool *pool, struct dir_address_row **rows_r, size_t *count_r,
                               struct cq_err *err)
{
    struct sq *c;
    struct sq_rows rows = {.pool = pool, .size = sizeof **rows_r};
    enum sq_statement which = account_id ? S_ADDRESS_OF_ACCOUNT : S_ADDRESS_OF_DOMAIN;
    enum cq_rc rc = sq_begin(self, SQ_READ, &c, err);
    if (rc == CQ_OK)
        rc = SQ_LIST(c, read_address, &rows, which, SQ_N(account_id ? account_id : domain_id), SQ_N(max));
    *rows_r = rows.data;
    *count_r = rows.count;
    return sq_end(c, rc);
}

void dir_sqlite_add_address_ops(struct dir_backend_ops *ops)
{
    ops->address_get = address_get;
    ops->target_add = target_add;
    ops->target_remove = target_remove;
    ops->address_list = address_list;
}
