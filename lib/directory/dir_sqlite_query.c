#include "directory/dir_sqlite_private.h"

#include "base/cq_assert.h"

#define ROWS_FIRST 8

static const char *const statement_sql[S_COUNT] = {
#define STATEMENT_SQL(name, sql) [S_##name] = sql,
    SQ_STATEMENTS(STATEMENT_SQL)
#undef STATEMENT_SQL
};

static void bind_value(sqlite3_stmt *stmt, int index, const struct sq_value *value)
{
    const char *data = value->text.len ? (const char *)value->text.data : "";
    int rc = value->is_text ? sqlite3_bind_text64(stmt, index, data, value->text.len, SQLITE_STATIC, SQLITE_UTF8)
                            : sqlite3_bind_int64(stmt, index, (sqlite3_int64)value->number);
    CQ_ASSERT(rc == SQLITE_OK);
}

/* Texts are borrowed until the statement is finished. */
static enum cq_rc open_statement(struct sq *c, enum sq_statement which, const struct sq_value *values, size_t count,
                                 sqlite3_stmt **stmt_r)
{
    sqlite3_stmt **stmt = &c->statements[which];
    if (!*stmt && sqlite3_prepare_v3(c->db, statement_sql[which], -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL))
        return sq_fail(c);
    CQ_ASSERT((size_t)sqlite3_bind_parameter_count(*stmt) == count);
    for (size_t i = 0; i < count; i++)
        bind_value(*stmt, (int)i + 1, &values[i]);
    *stmt_r = *stmt;
    return CQ_OK;
}

static void finish(sqlite3_stmt *stmt)
{
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
}

/* The next row: CQ_OK, CQ_E_NOT_FOUND (without a text) when there is none, or what went wrong. */
static enum cq_rc step(struct sq *c, sqlite3_stmt *stmt)
{
    switch (sqlite3_step(stmt)) {
    case SQLITE_ROW:
        return CQ_OK;
    case SQLITE_DONE:
        return CQ_E_NOT_FOUND;
    default:
        return sq_fail(c);
    }
}

enum cq_rc sq_run(struct sq *c, enum sq_statement which, const struct sq_value *values, size_t count)
{
    sqlite3_stmt *stmt;
    enum cq_rc rc = open_statement(c, which, values, count, &stmt);
    if (rc != CQ_OK)
        return rc;
    rc = sqlite3_step(stmt) == SQLITE_DONE ? CQ_OK : sq_fail(c);
    finish(stmt);
    return rc;
}

enum cq_rc sq_expect(struct sq *c, const char *what)
{
    return sqlite3_changes(c->db) ? CQ_OK : CQ_FAIL(c->err, CQ_E_NOT_FOUND, "no such %s", what);
}

uint64_t sq_last_id(const struct sq *c)
{
    return (uint64_t)sqlite3_last_insert_rowid(c->db);
}

enum cq_rc sq_get(struct sq *c, sq_read_fn *read, struct cq_pool *pool, void *row_r, enum sq_statement which,
                  const struct sq_value *values, size_t count)
{
    sqlite3_stmt *stmt;
    enum cq_rc rc = open_statement(c, which, values, count, &stmt);
    if (rc != CQ_OK)
        return rc;
    rc = step(c, stmt);
    if (rc == CQ_OK)
        rc = read(c, stmt, pool, row_r);
    finish(stmt);
    return rc;
}

static void *add_row(struct sq_rows *rows)
{
    if (rows->count == rows->room) {
        size_t room = rows->room ? rows->room * 2 : ROWS_FIRST;
        void *data = cq_pool_calloc(rows->pool, room, rows->size);
        if (rows->count)
            memcpy(data, rows->data, rows->count * rows->size);
        rows->data = data;
        rows->room = room;
    }
    return (char *)rows->data + rows->count++ * rows->size;
}

enum cq_rc sq_list(struct sq *c, sq_read_fn *read, struct sq_rows *rows, enum sq_statement which,
                   const struct sq_value *values, size_t count)
{
    sqlite3_stmt *stmt;
    enum cq_rc rc = open_statement(c, which, values, count, &stmt);
    if (rc != CQ_OK)
        return rc;
    while ((rc = step(c, stmt)) == CQ_OK)
        if ((rc = read(c, stmt, rows->pool, add_row(rows))) != CQ_OK)
            break;
    finish(stmt);
    return rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
}

uint64_t sq_int(sqlite3_stmt *stmt, int column)
{
    return (uint64_t)sqlite3_column_int64(stmt, column);
}

struct cq_slice sq_peek(sqlite3_stmt *stmt, int column)
{
    const void *text = sqlite3_column_text(stmt, column);
    return cq_slice_of(text, (size_t)sqlite3_column_bytes(stmt, column));
}

struct cq_slice sq_text(sqlite3_stmt *stmt, int column, struct cq_pool *pool)
{
    return cq_pool_slice(pool, sq_peek(stmt, column));
}

enum cq_rc sq_read_int(struct sq *c, sqlite3_stmt *stmt, struct cq_pool *pool, void *row_r)
{
    (void)c, (void)pool;
    *(uint64_t *)row_r = sq_int(stmt, 0);
    return CQ_OK;
}
