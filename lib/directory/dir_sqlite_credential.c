#include "directory/dir_sqlite_private.h"

static const char *const kind_names[] = {[DIR_PASSWORD] = "password", [DIR_APP_PASSWORD] = "app_password"};

static enum cq_rc read_credential(struct sq *c, sqlite3_stmt *stmt, struct cq_pool *pool, void *row_r)
{
    (void)c;
    bool is_app = cq_slice_eq(sq_peek(stmt, 2), cq_slice_cstr(kind_names[DIR_APP_PASSWORD]));
    *(struct dir_credential *)row_r = (struct dir_credential){
        .id = sq_int(stmt, 0),
        .account_id = sq_int(stmt, 1),
        .kind = is_app ? DIR_APP_PASSWORD : DIR_PASSWORD,
        .scopes = (unsigned)sq_int(stmt, 3),
        .prefix = sq_text(stmt, 4, pool),
        .hash = sq_text(stmt, 5, pool),
        .label = sq_text(stmt, 6, pool),
        .created_us = sq_int(stmt, 7),
        .expires_us = sq_int(stmt, 8),
        .last_used_us = sq_int(stmt, 9),
        .version = sq_int(stmt, 10),
    };
    return CQ_OK;
}

static enum cq_rc credential_list(struct dir_backend *self, uint64_t account_id, struct cq_pool *pool,
                                  struct dir_credential **rows_r, size_t *count_r, struct cq_err *err)
{
    struct sq *c;
    struct sq_rows rows = {.pool = pool, .size = sizeof **rows_r};
    enum cq_rc rc = sq_begin(self, SQ_READ, &c, err);
    if (rc == CQ_OK)
        rc = SQ_LIST(c, read_credential, &rows, S_CREDENTIAL_LIST, SQ_N(account_id));
    *rows_r = rows.data;
    *count_r = rows.count;
    return sq_end(c, rc);
}

/* ---- Adding ---- */

/* The old password goes; one more app password must be allowed. */
static enum cq_rc make_room(struct sq *c, const struct dir_credential *row)
{
    uint64_t count = 0;
    if (row->kind == DIR_PASSWORD)
        return SQ_RUN(c, S_PASSWORD_REMOVE, SQ_N(row->account_id));
    enum cq_rc rc = SQ_GET(c, sq_read_int, NULL, &count, S_CREDENTIAL_COUNT, SQ_N(row->account_id));
    if (rc == CQ_OK && count >= DIR_CREDENTIALS_MAX)
        return CQ_FAIL(c->err, CQ_E_LIMIT, "an account has at most %d app passwords", DIR_CREDENTIALS_MAX);
    return rc;
}

enum cq_rc sq_credential_add(struct sq *c, const struct dir_credential *row, uint64_t now_us, uint64_t *id_r)
{
    enum cq_rc rc =
        SQ_RUN(c, S_CREDENTIAL_ADD, SQ_N(row->account_id), SQ_TEXT(kind_names[row->kind]), SQ_N(row->scopes),
               SQ_T(row->prefix), SQ_T(row->hash), SQ_T(row->label), SQ_N(now_us), SQ_N(row->expires_us));
    if (rc != CQ_OK && sq_violates(c, SQLITE_CONSTRAINT_UNIQUE))
        return CQ_FAIL(c->err, CQ_E_EXISTS, "the prefix is in use");
    *id_r = sq_last_id(c);
    return rc;
}

static enum cq_rc credential_put(struct dir_backend *self, const struct dir_credential *row, uint64_t now_us,
                                 uint64_t *id_r, struct cq_err *err)
{
    struct sq *c;
    uint64_t version, one;
    enum cq_rc rc = sq_begin(self, SQ_WRITE, &c, err);
    if (rc == CQ_OK)
        rc = SQ_GET(c, sq_read_int, NULL, &one, S_ACCOUNT_EXISTS, SQ_N(row->account_id));
    if (rc == CQ_OK)
        rc = make_room(c, row);
    if (rc == CQ_OK)
        rc = sq_credential_add(c, row, now_us, id_r);
    if (rc == CQ_OK)
        rc = sq_touch_account(c, DIR_CHANGED_CREDENTIAL, row->account_id, *id_r, &version);
    if (rc == CQ_OK)
        rc = SQ_RUN(c, S_CREDENTIAL_VERSION, SQ_N(*id_r), SQ_N(version));
    return sq_end(c, rc);
}

/* ---- Changing ---- */

static enum cq_rc credential_rehash(struct dir_backend *self, uint64_t id, uint64_t old_version, struct cq_slice hash,
                                    struct cq_err *err)
{
    struct sq *c;
    uint64_t version = 0;
    enum cq_rc rc = sq_begin(self, SQ_WRITE, &c, err);
    if (rc == CQ_OK)
        rc = SQ_GET(c, sq_read_int, NULL, &version, S_CREDENTIAL_GET_VERSION, SQ_N(id));
    if (rc == CQ_OK && version != old_version)
        rc = CQ_FAIL(err, CQ_E_CONFLICT, "the credential has changed meanwhile");
    if (rc == CQ_OK)
        rc = SQ_RUN(c, S_CREDENTIAL_REHASH, SQ_N(id), SQ_T(hash));
    return sq_end(c, rc);
}

/* No line in the feed: nobody's cache depends on it. */
static enum cq_rc credential_used(struct dir_backend *self, uint64_t id, uint64_t now_us, struct cq_err *err)
{
    struct sq *c;
    uint64_t version;
    enum cq_rc rc = sq_begin(self, SQ_WRITE, &c, err);
    if (rc == CQ_OK)
        rc = SQ_GET(c, sq_read_int, NULL, &version, S_CREDENTIAL_GET_VERSION, SQ_N(id));
    if (rc == CQ_OK)
        rc = SQ_RUN(c, S_CREDENTIAL_USED, SQ_N(id), SQ_N(now_us));
    return sq_end(c, rc);
}

static enum cq_rc credential_remove(struct dir_backend *self, uint64_t account_id, uint64_t id, struct cq_err *err)
{
    struct sq *c;
    enum cq_rc rc = sq_begin(self, SQ_WRITE, &c, err);
    if (rc == CQ_OK)
        rc = SQ_RUN(c, S_CREDENTIAL_REMOVE, SQ_N(id), SQ_N(account_id));
    if (rc == CQ_OK)
        rc = sq_expect(c, "credential");
    if (rc == CQ_OK)
        rc = sq_touch_account(c, DIR_CHANGED_CREDENTIAL, account_id, id, NULL);
    return sq_end(c, rc);
}

void dir_sqlite_add_credential_ops(struct dir_backend_ops *ops)
{
    ops->credential_list = credential_list;
    ops->credential_put = credential_put;
    ops->credential_rehash = credential_rehash;
    ops->credential_used = credential_used;
    ops->credential_remove = credential_remove;
}
