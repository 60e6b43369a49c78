#include "directory/dir_sqlite_private.h"

static enum cq_rc read_domain(struct sq *c, sqlite3_stmt *stmt, struct cq_pool *pool, void *row_r)
{
    (void)c;
    *(struct dir_domain *)row_r = (struct dir_domain){
        .id = sq_int(stmt, 0),
        .name = sq_text(stmt, 1, pool),
        .alias_of = sq_int(stmt, 2),
        .alias_of_name = sq_text(stmt, 3, pool),
        .postmaster = sq_int(stmt, 4),
        .version = sq_int(stmt, 5),
    };
    return CQ_OK;
}

static enum cq_rc domain_get(struct dir_backend *self, struct cq_slice name, struct cq_pool *pool,
                             struct dir_domain *domain_r, struct cq_err *err)
{
    struct sq *c;
    enum cq_rc rc = sq_begin(self, SQ_READ, &c, err);
    if (rc == CQ_OK)
        rc = SQ_GET(c, read_domain, pool, domain_r, S_DOMAIN_GET, SQ_T(name));
    return sq_end(c, rc);
}

static enum cq_rc domain_list(struct dir_backend *self, struct cq_slice after, size_t max, struct cq_pool *pool,
                              struct dir_domain **rows_r, size_t *count_r, struct cq_err *err)
{
    struct sq *c;
    struct sq_rows rows = {.pool = pool, .size = sizeof **rows_r};
    enum cq_rc rc = sq_begin(self, SQ_READ, &c, err);
    if (rc == CQ_OK)
        rc = SQ_LIST(c, read_domain, &rows, S_DOMAIN_LIST, SQ_T(after), SQ_N(max));
    *rows_r = rows.data;
    *count_r = rows.count;
    return sq_end(c, rc);
}

static enum cq_rc touch(struct sq *c, uint64_t domain_id)
{
    uint64_t version;
    enum cq_rc rc = sq_note(c, DIR_CHANGED_DOMAIN, 0, 0, &version);
    return rc == CQ_OK ? SQ_RUN(c, S_DOMAIN_VERSION, SQ_N(domain_id), SQ_N(version)) : rc;
}

static enum cq_rc domain_add(struct dir_backend *self, struct cq_slice name, uint64_t alias_of, uint64_t now_us,
                             struct cq_err *err)
{
    struct sq *c;
    enum cq_rc rc = sq_begin(self, SQ_WRITE, &c, err);
    if (rc == CQ_OK) {
        rc = SQ_RUN(c, S_DOMAIN_ADD, SQ_T(name), SQ_N(alias_of), SQ_N(now_us));
        if (rc != CQ_OK && sq_violates(c, SQLITE_CONSTRAINT_UNIQUE))
            rc = CQ_FAIL(err, CQ_E_EXISTS, "the domain exists already");
    }
    if (rc == CQ_OK)
        rc = touch(c, sq_last_id(c));
    return sq_end(c, rc);
}

static enum cq_rc domain_set_postmaster(struct dir_backend *self, uint64_t domain_id, uint64_t account_id,
                                        struct cq_err *err)
{
    struct sq *c;
    enum cq_rc rc = sq_begin(self, SQ_WRITE, &c, err);
    if (rc == CQ_OK)
        rc = SQ_RUN(c, S_DOMAIN_POSTMASTER, SQ_N(domain_id), SQ_N(account_id));
    if (rc == CQ_OK)
        rc = sq_expect(c, "domain");
    if (rc == CQ_OK)
        rc = touch(c, domain_id);
    return sq_end(c, rc);
}

static enum cq_rc domain_remove(struct dir_backend *self, uint64_t domain_id, struct cq_err *err)
{
    struct sq *c;
    uint64_t version;
    enum cq_rc rc = sq_begin(self, SQ_WRITE, &c, err);
    if (rc == CQ_OK) {
        rc = SQ_RUN(c, S_DOMAIN_REMOVE, SQ_N(domain_id));
        if (rc != CQ_OK && sq_violates(c, SQLITE_CONSTRAINT_FOREIGNKEY))
            rc = CQ_FAIL(err, CQ_E_CONFLICT, "the domain still has accounts, addresses or alias domains");
    }
    if (rc == CQ_OK)
        rc = sq_expect(c, "domain");
    if (rc == CQ_OK)
        rc = sq_note(c, DIR_CHANGED_DOMAIN, 0, 0, &version);
    return sq_end(c, rc);
}

static enum cq_rc first_account(struct dir_backend *self, uint64_t domain_id, bool admin, uint64_t *account_id_r,
                                struct cq_err *err)
{
    struct sq *c;
    enum cq_rc rc = sq_begin(self, SQ_READ, &c, err);
    if (rc == CQ_OK && domain_id)
        rc = SQ_GET(c, sq_read_int, NULL, account_id_r, S_FIRST_OF_DOMAIN, SQ_N(admin), SQ_N(domain_id));
    else if (rc == CQ_OK)
        rc = SQ_GET(c, sq_read_int, NULL, account_id_r, S_FIRST_OF_ALL, SQ_N(admin));
    return sq_end(c, rc);
}

void dir_sqlite_add_domain_ops(struct dir_backend_ops *ops)
{
    ops->domain_get = domain_get;
    ops->domain_list = domain_list;
    ops->domain_add = domain_add;
    ops->domain_set_postmaster = domain_set_postmaster;
    ops->domain_remove = domain_remove;
    ops->first_account = first_account;
}
