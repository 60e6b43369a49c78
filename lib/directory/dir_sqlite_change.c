/* The feed of changes: one line for each, its version is the version of the rows that changed. */
#include "directory/dir_sqlite_private.h"

#include "base/cq_time.h"

#define CHANGES_KEPT 100000 /* lines; an older reader is told CQ_E_STALE */
#define TRIM_EVERY 64       /* changes */

enum cq_rc sq_note(struct sq *c, enum dir_change_kind kind, uint64_t account_id, uint64_t credential_id,
                   uint64_t *version_r)
{
    enum cq_rc rc = SQ_RUN(c, S_CHANGE_ADD, SQ_N(kind), SQ_N(account_id), SQ_N(credential_id), SQ_N(cq_time_wall_us()));
    *version_r = sq_last_id(c);
    if (rc == CQ_OK && *version_r % TRIM_EVERY == 0 && *version_r > CHANGES_KEPT)
        rc = SQ_RUN(c, S_CHANGE_TRIM, SQ_N(*version_r - CHANGES_KEPT));
    return rc;
}

enum cq_rc sq_touch_account(struct sq *c, enum dir_change_kind kind, uint64_t account_id, uint64_t credential_id,
                            uint64_t *version_r)
{
    uint64_t version;
    enum cq_rc rc = sq_note(c, kind, account_id, credential_id, &version);
    if (version_r)
        *version_r = version;
    return rc == CQ_OK ? SQ_RUN(c, S_ACCOUNT_VERSION, SQ_N(account_id), SQ_N(version)) : rc;
}

struct bounds {
    uint64_t first, last;
};

static enum cq_rc read_bounds(struct sq *c, sqlite3_stmt *stmt, struct cq_pool *pool, void *row_r)
{
    (void)c, (void)pool;
    *(struct bounds *)row_r = (struct bounds){sq_int(stmt, 0), sq_int(stmt, 1)};
    return CQ_OK;
}

static enum cq_rc read_change(struct sq *c, sqlite3_stmt *stmt, struct cq_pool *pool, void *row_r)
{
    (void)c, (void)pool;
    *(struct dir_change *)row_r = (struct dir_change){
        .version = sq_int(stmt, 0),
        .kind = (enum dir_change_kind)sq_int(stmt, 1),
        .account_id = sq_int(stmt, 2),
        .credential_id = sq_int(stmt, 3),
    };
    return CQ_OK;
}

/* Trimmed, or an older copy of the database came back: the reader must start over. */
static enum cq_rc judge(struct sq *c, uint64_t since, const struct bounds *bounds)
{
    if (since + 1 >= bounds->first && since <= bounds->last)
        return CQ_OK;
    return CQ_FAIL(c->err, CQ_E_STALE, "the feed has versions %llu to %llu", (unsigned long long)bounds->first,
                   (unsigned long long)bounds->last);
}

static enum cq_rc changes(struct dir_backend *self, uint64_t since, size_t max, struct cq_pool *pool,
                          struct dir_change **rows_r, size_t *count_r, uint64_t *head_r, struct cq_err *err)
{
    struct sq *c;
    struct bounds bounds = {0};
    struct sq_rows rows = {.pool = pool, .size = sizeof **rows_r};
    enum cq_rc rc = sq_begin(self, SQ_SNAPSHOT, &c, err);
    if (rc == CQ_OK)
        rc = sq_get(c, read_bounds, pool, &bounds, S_CHANGE_BOUNDS, SQ_NO_VALUES);
    if (rc == CQ_OK) {
        *head_r = bounds.last;
        rc = judge(c, since, &bounds);
    }
    if (rc == CQ_OK)
        rc = SQ_LIST(c, read_change, &rows, S_CHANGE_LIST, SQ_N(since), SQ_N(max));
    *rows_r = rows.data;
    *count_r = rows.count;
    return sq_end(c, rc);
}

void dir_sqlite_add_change_ops(struct dir_backend_ops *ops)
{
    ops->changes = changes;
}
