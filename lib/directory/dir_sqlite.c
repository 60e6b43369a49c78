/* The embedded directory: SQLite in WAL mode. Several processes may have the file open; writers take turns, readers
 * wait for nobody. Connections are kept in a list and taken by one thread at a time; statements are prepared once for
 * each. Values reach SQL by binding only. */
#include "directory/dir_sqlite_schema.h"
#include "directory/directory_backend.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WAL_RETRY_MS 20
#define CHANGES_KEPT 100000 /* lines of the feed; an older reader is told CQ_E_STALE */

#define ACCOUNT_COLUMNS                                                                                                \
    "SELECT a.id, a.version, a.domain_id, a.local || '@' || d.name, a.state, a.services, a.admin, a.plan, a.home_dc, " \
    "a.quota_bytes, a.quota_messages, a.created_us, a.state_us FROM account a JOIN domain d ON d.id = a.domain_id "
#define DOMAIN_COLUMNS                                                                                                 \
    "SELECT d.id, d.name, d.alias_of, t.name, d.postmaster, d.version FROM domain d LEFT JOIN domain t ON t.id = "     \
    "d.alias_of "
#define ADDRESS_COLUMNS                                                                                                \
    "SELECT r.local || '@' || d.name, r.kind, r.domain_id, r.local FROM address r JOIN domain d ON d.id = "            \
    "r.domain_id "

#define STATEMENTS(X)                                                                                                  \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                                        \
    X(BEGIN_READ, "BEGIN")                                                                                             \
    X(COMMIT, "COMMIT")                                                                                                \
    X(ROLLBACK, "ROLLBACK")                                                                                            \
    X(DOMAIN_GET, DOMAIN_COLUMNS "WHERE d.name = ?1")                                                                  \
    X(DOMAIN_LIST, DOMAIN_COLUMNS "WHERE d.name > ?1 ORDER BY d.name LIMIT ?2")                                        \
    X(DOMAIN_ADD, "INSERT INTO domain (name, alias_of, created_us) VALUES (?1, nullif(?2, 0), ?3)")                    \
    X(DOMAIN_POSTMASTER, "UPDATE domain SET postmaster = nullif(?2, 0) WHERE id = ?1")                                 \
    X(DOMAIN_VERSION, "UPDATE domain SET version = ?2 WHERE id = ?1")                                                  \
    X(DOMAIN_REMOVE, "DELETE FROM domain WHERE id = ?1")                                                               \
    X(FIRST_OF_DOMAIN, "SELECT id FROM account WHERE state = 'active' AND admin = ?1 AND domain_id = ?2 "              \
                       "ORDER BY created_us LIMIT 1")                                                                  \
    X(FIRST_OF_ALL, "SELECT id FROM account WHERE state = 'active' AND admin = ?1 ORDER BY created_us LIMIT 1")        \
    X(ADDRESS_GET, ADDRESS_COLUMNS "WHERE r.domain_id = ?1 AND r.local = ?2")                                          \
    X(ADDRESS_OF_ACCOUNT, ADDRESS_COLUMNS "JOIN address_target t ON t.domain_id = r.domain_id AND t.local = r.local "  \
                                          "WHERE t.account_id = ?1 "                                                   \
                                          "ORDER BY r.kind != 'primary', d.name, r.local LIMIT ?2")                    \
    X(ADDRESS_OF_DOMAIN, ADDRESS_COLUMNS "WHERE r.domain_id = ?1 ORDER BY r.local LIMIT ?2")                           \
    X(ADDRESS_ADD, "INSERT INTO address (domain_id, local, kind) VALUES (?1, ?2, ?3)")                                 \
    X(ADDRESS_REMOVE, "DELETE FROM address WHERE domain_id = ?1 AND local = ?2")                                       \
    X(ADDRESS_REMOVE_EMPTY,                                                                                            \
      "DELETE FROM address WHERE domain_id = ?1 AND local = ?2 AND NOT EXISTS (SELECT 1 FROM address_target t "        \
      "WHERE t.domain_id = ?1 AND t.local = ?2)")                                                                      \
    X(TARGETS_GET, "SELECT account_id FROM address_target WHERE domain_id = ?1 AND local = ?2 ORDER BY account_id")    \
    X(TARGET_ADD, "INSERT INTO address_target (domain_id, local, account_id) VALUES (?1, ?2, ?3)")                     \
    X(TARGET_REMOVE, "DELETE FROM address_target WHERE domain_id = ?1 AND local = ?2 AND account_id = ?3")             \
    X(ADDRESSES_GONE_WITH, "DELETE FROM address WHERE (domain_id, local) IN (SELECT domain_id, local FROM "            \
                           "address_target WHERE account_id = ?1) AND (SELECT count(*) FROM address_target t WHERE "   \
                           "t.domain_id = address.domain_id AND t.local = address.local) = 1")                         \
    X(ACCOUNT_GET, ACCOUNT_COLUMNS "WHERE a.id = ?1")                                                                  \
    X(ACCOUNT_LIST, ACCOUNT_COLUMNS "WHERE a.id BETWEEN ?1 AND ?2 AND (?3 = 0 OR a.domain_id = ?3) "                   \
                                    "AND a.state IN (?4, ?5, ?6, ?7) ORDER BY a.id LIMIT ?8")                          \
    X(PENDING_LIST, ACCOUNT_COLUMNS "WHERE a.state IN ('creating', 'deleting') AND (a.state_us, a.id) > (?1, ?2) "     \
                                    "AND a.state_us <= ?3 ORDER BY a.state_us, a.id LIMIT ?4")                         \
    X(PENDING_COUNT, "SELECT state, count(*), min(state_us) FROM account WHERE state IN ('creating', 'deleting') "     \
                     "GROUP BY state")                                                                                 \
    X(ACCOUNT_ADD,                                                                                                     \
      "INSERT INTO account (id, domain_id, local, state, plan, home_dc, services, admin, quota_bytes, "                \
      "quota_messages, created_us, state_us) VALUES (?1, ?2, ?3, 'creating', ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")       \
    X(ACCOUNT_EXISTS, "SELECT 1 FROM account WHERE id = ?1")                                                           \
    X(ACCOUNT_UPDATE, "UPDATE account SET plan = CASE WHEN ?2 & 1 THEN ?3 ELSE plan END, "                             \
                      "services = CASE WHEN ?2 & 2 THEN ?4 ELSE services END, "                                        \
                      "quota_bytes = CASE WHEN ?2 & 4 THEN ?5 ELSE quota_bytes END, "                                  \
                      "quota_messages = CASE WHEN ?2 & 4 THEN ?6 ELSE quota_messages END, "                            \
                      "admin = CASE WHEN ?2 & 8 THEN ?7 ELSE admin END, "                                              \
                      "home_dc = CASE WHEN ?2 & 16 THEN ?8 ELSE home_dc END WHERE id = ?1")                            \
    X(ACCOUNT_STATE, "UPDATE account SET state = ?2, state_us = ?3 WHERE id = ?1")                                     \
    X(ACCOUNT_VERSION, "UPDATE account SET version = ?2 WHERE id = ?1")                                                \
    X(ACCOUNT_REMOVE, "DELETE FROM account WHERE id = ?1")                                                             \
    X(CREDENTIAL_LIST, "SELECT id, account_id, kind, scopes, prefix, hash, label, created_us, expires_us, "            \
                       "last_used_us, version FROM credential WHERE account_id = ?1 ORDER BY id")                      \
    X(CREDENTIAL_GET, "SELECT account_id, version, last_used_us FROM credential WHERE id = ?1")                        \
    X(CREDENTIAL_COUNT, "SELECT count(*) FROM credential WHERE account_id = ?1 AND kind = 'app_password'")             \
    X(CREDENTIAL_ADD,                                                                                                  \
      "INSERT INTO credential (account_id, kind, scopes, prefix, hash, label, created_us, expires_us) "                \
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")                                                                       \
    X(CREDENTIAL_VERSION, "UPDATE credential SET version = ?2 WHERE id = ?1")                                          \
    X(CREDENTIAL_REHASH, "UPDATE credential SET hash = ?2 WHERE id = ?1")                                              \
    X(CREDENTIAL_USED, "UPDATE credential SET last_used_us = ?2 WHERE id = ?1 AND last_used_us < ?2")                  \
    X(CREDENTIAL_REMOVE, "DELETE FROM credential WHERE id = ?1 AND account_id = ?2")                                   \
    X(PASSWORD_REMOVE, "DELETE FROM credential WHERE account_id = ?1 AND kind = 'password'")                           \
    X(CHANGE_ADD, "INSERT INTO change (kind, account_id, credential_id, at_us) VALUES (?1, ?2, ?3, ?4)")               \
    X(CHANGE_TRIM, "DELETE FROM change WHERE version <= ?1")                                                           \
    X(CHANGE_LIST, "SELECT version, kind, account_id, credential_id FROM change WHERE version > ?1 "                   \
                   "ORDER BY version LIMIT ?2")                                                                        \
    X(CHANGE_BOUNDS, "SELECT ifnull(min(version), 1), ifnull(max(version), 0) FROM change")

enum statement {
#define STATEMENT_ENUM(name, sql) S_##name,
    STATEMENTS(STATEMENT_ENUM)
#undef STATEMENT_ENUM
        S_COUNT
};

static const char *const statement_sql[S_COUNT] = {
#define STATEMENT_SQL(name, sql) [S_##name] = sql,
    STATEMENTS(STATEMENT_SQL)
#undef STATEMENT_SQL
};

struct connection {
    struct connection *next;
    sqlite3 *db;
    sqlite3_stmt *statements[S_COUNT]; /* prepared at first use */
    struct cq_err *err;                /* of the present call */
};

struct sqlite_backend {
    struct dir_backend base;
    char *path;
    int busy_timeout_ms;
    pthread_mutex_t lock;
    struct connection *free; /* under the lock */
};

/* ---- Connections ---- */

static enum cq_rc fail(struct connection *c)
{
    static const struct {
        int code;
        enum cq_rc rc;
    } rows[] = {
        {SQLITE_BUSY, CQ_E_UNAVAILABLE}, {SQLITE_LOCKED, CQ_E_UNAVAILABLE}, {SQLITE_CORRUPT, CQ_E_CORRUPT},
        {SQLITE_NOTADB, CQ_E_CORRUPT},   {SQLITE_FULL, CQ_E_NO_SPACE},      {SQLITE_CONSTRAINT, CQ_E_CONFLICT},
    };
    int code = sqlite3_errcode(c->db) & 0xff;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].code == code)
            return CQ_FAIL(c->err, rows[i].rc, "directory: %s", sqlite3_errmsg(c->db));
    return CQ_FAIL(c->err, CQ_E_IO, "directory: %s", sqlite3_errmsg(c->db));
}

static void connection_free(struct connection *c)
{
    for (int i = 0; i < S_COUNT; i++)
        sqlite3_finalize(c->statements[i]);
    sqlite3_close(c->db);
    free(c);
}

/* synchronous=FULL: an account that was answered "created" survives a power cut. */
static enum cq_rc set_up(struct connection *c, int busy_timeout_ms)
{
    static const char pragmas[] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; "
                                  "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;";
    int rc = SQLITE_BUSY;
    sqlite3_busy_timeout(c->db, busy_timeout_ms);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    /* Two processes that turn a new file to WAL at the same time: the busy handler is not asked there. */
    for (int waited_ms = 0; rc == SQLITE_BUSY && waited_ms <= busy_timeout_ms; waited_ms += WAL_RETRY_MS) {
        rc = sqlite3_exec(c->db, pragmas, NULL, NULL, NULL) & 0xff;
        if (rc == SQLITE_BUSY)
            sqlite3_sleep(WAL_RETRY_MS);
    }
    return rc == SQLITE_OK ? CQ_OK : fail(c);
}

static enum cq_rc connection_new(struct sqlite_backend *self, struct connection **connection_r, struct cq_err *err)
{
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    struct connection *c = cq_new(struct connection);
    c->err = err;
    if (sqlite3_open_v2(self->path, &c->db, flags, NULL) != SQLITE_OK) {
        CQ_FAIL(err, CQ_E_IO, "%s: %s", self->path, c->db ? sqlite3_errmsg(c->db) : "cannot be opened");
        connection_free(c);
        return CQ_E_IO;
    }
    enum cq_rc rc = set_up(c, self->busy_timeout_ms);
    if (rc != CQ_OK)
        connection_free(c);
    else
        *connection_r = c;
    return rc;
}

static enum cq_rc take(struct dir_backend *base, struct connection **connection_r, struct cq_err *err)
{
    struct sqlite_backend *self = cq_containerof(base, struct sqlite_backend, base);
    pthread_mutex_lock(&self->lock);
    struct connection *c = self->free;
    if (c)
        self->free = c->next;
    pthread_mutex_unlock(&self->lock);
    if (!c)
        return connection_new(self, connection_r, err);
    c->err = err;
    *connection_r = c;
    return CQ_OK;
}

static void give(struct dir_backend *base, struct connection *c)
{
    struct sqlite_backend *self = cq_containerof(base, struct sqlite_backend, base);
    CQ_ASSERT(sqlite3_get_autocommit(c->db));
    c->err = NULL;
    pthread_mutex_lock(&self->lock);
    c->next = self->free;
    self->free = c;
    pthread_mutex_unlock(&self->lock);
}

/* ---- Statements ---- */

/* A prepared statement without bindings. */
static enum cq_rc prepare(struct connection *c, enum statement which, sqlite3_stmt **stmt_r)
{
    if (!c->statements[which] &&
        sqlite3_prepare_v3(c->db, statement_sql[which], -1, SQLITE_PREPARE_PERSISTENT, &c->statements[which], NULL))
        return fail(c);
    *stmt_r = c->statements[which];
    return CQ_OK;
}

static void finish(sqlite3_stmt *stmt)
{
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
}

/* Borrowed until the statement is finished. */
static void bind_text(sqlite3_stmt *stmt, int index, struct cq_slice text)
{
    const char *data = text.len ? (const char *)text.data : "";
    CQ_ASSERT(sqlite3_bind_text64(stmt, index, data, text.len, SQLITE_STATIC, SQLITE_UTF8) == SQLITE_OK);
}

static void bind_int(sqlite3_stmt *stmt, int index, uint64_t value)
{
    CQ_ASSERT(sqlite3_bind_int64(stmt, index, (sqlite3_int64)value) == SQLITE_OK);
}

static uint64_t column_int(sqlite3_stmt *stmt, int index)
{
    return (uint64_t)sqlite3_column_int64(stmt, index);
}

static struct cq_slice column_text(sqlite3_stmt *stmt, int index, struct cq_pool *pool)
{
    const void *text = sqlite3_column_text(stmt, index);
    return cq_pool_slice(pool, cq_slice_of(text, (size_t)sqlite3_column_bytes(stmt, index)));
}

static struct cq_slice column_peek(sqlite3_stmt *stmt, int index)
{
    const void *text = sqlite3_column_text(stmt, index);
    return cq_slice_of(text, (size_t)sqlite3_column_bytes(stmt, index));
}

/* The next row: CQ_OK, CQ_E_NOT_FOUND (without a text) when there is none, or what went wrong. */
static enum cq_rc step(struct connection *c, sqlite3_stmt *stmt)
{
    switch (sqlite3_step(stmt)) {
    case SQLITE_ROW:
        return CQ_OK;
    case SQLITE_DONE:
        return CQ_E_NOT_FOUND;
    default:
        return fail(c);
    }
}

/* A statement that gives no rows; it is finished after. Bind between prepare and this. */
static enum cq_rc execute(struct connection *c, sqlite3_stmt *stmt)
{
    enum cq_rc rc = sqlite3_step(stmt) == SQLITE_DONE ? CQ_OK : fail(c);
    finish(stmt);
    return rc;
}

/* A statement with up to three numbers. */
static enum cq_rc execute_ints(struct connection *c, enum statement which, size_t count, const uint64_t *values)
{
    sqlite3_stmt *stmt = NULL;
    enum cq_rc rc = prepare(c, which, &stmt);
    for (size_t i = 0; i < count && rc == CQ_OK; i++)
        bind_int(stmt, (int)i + 1, values[i]);
    return rc == CQ_OK ? execute(c, stmt) : rc;
}

#define EXECUTE(c, which, ...)                                                                                         \
    execute_ints(c, which, sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t), (const uint64_t[]){__VA_ARGS__})

static enum cq_rc execute_plain(struct connection *c, enum statement which)
{
    return execute_ints(c, which, 0, NULL);
}

/* (domain_id, local) and perhaps an account id. */
static enum cq_rc execute_address(struct connection *c, enum statement which, uint64_t domain_id, struct cq_slice local,
                                  uint64_t account_id)
{
    sqlite3_stmt *stmt = NULL;
    enum cq_rc rc = prepare(c, which, &stmt);
    if (rc != CQ_OK)
        return rc;
    bind_int(stmt, 1, domain_id);
    bind_text(stmt, 2, local);
    if (sqlite3_bind_parameter_count(stmt) == 3)
        bind_int(stmt, 3, account_id);
    return execute(c, stmt);
}

/* Rows changed by the last statement: nothing found is an answer too. */
static enum cq_rc expect_changed(struct connection *c, const char *what)
{
    return sqlite3_changes(c->db) ? CQ_OK : CQ_FAIL(c->err, CQ_E_NOT_FOUND, "no such %s", what);
}

static bool violates(struct connection *c, int extended_code)
{
    return sqlite3_extended_errcode(c->db) == extended_code;
}

/* ---- Transactions and the feed ---- */

typedef enum cq_rc work_fn(struct connection *c, void *arg);

/* One write transaction around `work`; it holds when CQ_OK comes back, nothing of it otherwise. */
static enum cq_rc transact(struct dir_backend *base, work_fn *work, void *arg, struct cq_err *err)
{
    struct connection *c;
    enum cq_rc rc = take(base, &c, err);
    if (rc != CQ_OK)
        return rc;
    rc = execute_plain(c, S_BEGIN);
    if (rc == CQ_OK) {
        rc = work(c, arg);
        if (rc == CQ_OK)
            rc = execute_plain(c, S_COMMIT);
        if (!sqlite3_get_autocommit(c->db)) { /* the work or the commit failed; keep the first error's text */
            c->err = NULL;
            execute_plain(c, S_ROLLBACK);
        }
    }
    give(base, c);
    return rc;
}

/* One read; no transaction of its own, a statement sees one moment. */
static enum cq_rc read_with(struct dir_backend *base, work_fn *work, void *arg, struct cq_err *err)
{
    struct connection *c;
    enum cq_rc rc = take(base, &c, err);
    if (rc != CQ_OK)
        return rc;
    rc = work(c, arg);
    give(base, c);
    return rc;
}

/* Adds a line to the feed and tells its version. */
static enum cq_rc note_change(struct connection *c, enum dir_change_kind kind, uint64_t account_id,
                              uint64_t credential_id, uint64_t *version_r)
{
    enum cq_rc rc = EXECUTE(c, S_CHANGE_ADD, (uint64_t)kind, account_id, credential_id, cq_time_wall_us());
    *version_r = (uint64_t)sqlite3_last_insert_rowid(c->db);
    if (rc == CQ_OK && *version_r % 64 == 0 && *version_r > CHANGES_KEPT)
        rc = EXECUTE(c, S_CHANGE_TRIM, *version_r - CHANGES_KEPT);
    return rc;
}

/* The same for what belongs to an account, whose version rises with it. */
static enum cq_rc touch_account(struct connection *c, enum dir_change_kind kind, uint64_t account_id,
                                uint64_t credential_id, uint64_t *version_r)
{
    enum cq_rc rc = note_change(c, kind, account_id, credential_id, version_r);
    return rc == CQ_OK ? EXECUTE(c, S_ACCOUNT_VERSION, account_id, *version_r) : rc;
}

/* ---- Lists that grow in a pool ---- */

struct rows {
    struct cq_pool *pool;
    char *data;
    size_t size; /* of one row */
    size_t count;
    size_t room;
};

static void *rows_add(struct rows *rows)
{
    if (rows->count == rows->room) {
        size_t room = rows->room ? rows->room * 2 : 8;
        char *data = cq_pool_calloc(rows->pool, room, rows->size);
        if (rows->count)
            memcpy(data, rows->data, rows->count * rows->size);
        rows->data = data;
        rows->room = room;
    }
    return rows->data + rows->count++ * rows->size;
}

/* What a call gets and gives, for the functions that run inside transact and read_with. */
struct args {
    struct cq_slice text;
    uint64_t id, id2, number, now_us;
    size_t max;
    struct cq_pool *pool;
    const void *in;
    const struct dir_plan *plan;
    void *out;
    struct rows rows;
    enum dir_address_kind kind;
    enum dir_state to;
    unsigned from;
};

/* ---- Domains ---- */

static void read_domain(sqlite3_stmt *stmt, struct cq_pool *pool, struct dir_domain *domain)
{
    *domain = (struct dir_domain){
        .id = column_int(stmt, 0),
        .name = column_text(stmt, 1, pool),
        .alias_of = column_int(stmt, 2),
        .alias_of_name = column_text(stmt, 3, pool),
        .postmaster = column_int(stmt, 4),
        .version = column_int(stmt, 5),
    };
}

static enum cq_rc work_domain_get(struct connection *c, void *arg)
{
    struct args *a = arg;
    sqlite3_stmt *stmt = NULL;
    enum cq_rc rc = prepare(c, S_DOMAIN_GET, &stmt);
    if (rc != CQ_OK)
        return rc;
    bind_text(stmt, 1, a->text);
    rc = step(c, stmt);
    if (rc == CQ_OK)
        read_domain(stmt, a->pool, a->out);
    finish(stmt);
    return rc;
}

static enum cq_rc domain_get(struct dir_backend *self, struct cq_slice name, struct cq_pool *pool,
                             struct dir_domain *domain_r, struct cq_err *err)
{
    struct args args = {.text = name, .pool = pool, .out = domain_r};
    return read_with(self, work_domain_get, &args, err);
}

static enum cq_rc work_domain_list(struct connection *c, void *arg)
{
    struct args *a = arg;
    sqlite3_stmt *stmt = NULL;
    enum cq_rc rc = prepare(c, S_DOMAIN_LIST, &stmt);
    if (rc != CQ_OK)
        return rc;
    bind_text(stmt, 1, a->text);
    bind_int(stmt, 2, a->max);
    while ((rc = step(c, stmt)) == CQ_OK)
        read_domain(stmt, a->pool, rows_add(&a->rows));
    finish(stmt);
    return rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
}

static enum cq_rc domain_list(struct dir_backend *self, struct cq_slice after, size_t max, struct cq_pool *pool,
                              struct dir_domain **rows_r, size_t *count_r, struct cq_err *err)
{
    struct args args = {.text = after, .max = max, .pool = pool, .rows = {.pool = pool, .size = sizeof **rows_r}};
    enum cq_rc rc = read_with(self, work_domain_list, &args, err);
    *rows_r = (struct dir_domain *)(void *)args.rows.data;
    *count_r = args.rows.count;
    return rc;
}

static enum cq_rc touch_domain(struct connection *c, uint64_t domain_id)
{
    uint64_t version;
    enum cq_rc rc = note_change(c, DIR_CHANGED_DOMAIN, 0, 0, &version);
    return rc == CQ_OK ? EXECUTE(c, S_DOMAIN_VERSION, domain_id, version) : rc;
}

static enum cq_rc work_domain_add(struct connection *c, void *arg)
{
    struct args *a = arg;
    sqlite3_stmt *stmt = NULL;
    enum cq_rc rc = prepare(c, S_DOMAIN_ADD, &stmt);
    if (rc != CQ_OK)
        return rc;
    bind_text(stmt, 1, a->text);
    bind_int(stmt, 2, a->id);
    bind_int(stmt, 3, a->now_us);
    rc = execute(c, stmt);
    if (rc != CQ_OK && violates(c, SQLITE_CONSTRAINT_UNIQUE))
        return CQ_FAIL(c->err, CQ_E_EXISTS, "the domain exists already");
    return rc == CQ_OK ? touch_domain(c, (uint64_t)sqlite3_last_insert_rowid(c->db)) : rc;
}

static enum cq_rc domain_add(struct dir_backend *self, struct cq_slice name, uint64_t alias_of, uint64_t now_us,
                             struct cq_err *err)
{
    struct args args = {.text = name, .id = alias_of, .now_us = now_us};
    return transact(self, work_domain_add, &args, err);
}

static enum cq_rc work_domain_set_postmaster(struct connection *c, void *arg)
{
    struct args *a = arg;
    enum cq_rc rc = EXECUTE(c, S_DOMAIN_POSTMASTER, a->id, a->id2);
    if (rc == CQ_OK)
        rc = expect_changed(c, "domain");
    return rc == CQ_OK ? touch_domain(c, a->id) : rc;
}

static enum cq_rc domain_set_postmaster(struct dir_backend *self, uint64_t domain_id, uint64_t account_id,
                                        struct cq_err *err)
{
    struct args args = {.id = domain_id, .id2 = account_id};
    return transact(self, work_domain_set_postmaster, &args, err);
}

static enum cq_rc work_domain_remove(struct connection *c, void *arg)
{
    struct args *a = arg;
    uint64_t version;
    enum cq_rc rc = EXECUTE(c, S_DOMAIN_REMOVE, a->id);
    if (rc != CQ_OK && violates(c, SQLITE_CONSTRAINT_FOREIGNKEY))
        return CQ_FAIL(c->err, CQ_E_CONFLICT, "the domain still has accounts, addresses or alias domains");
    if (rc == CQ_OK)
        rc = expect_changed(c, "domain");
    return rc == CQ_OK ? note_change(c, DIR_CHANGED_DOMAIN, 0, 0, &version) : rc;
}

static enum cq_rc domain_remove(struct dir_backend *self, uint64_t domain_id, struct cq_err *err)
{
    struct args args = {.id = domain_id};
    return transact(self, work_domain_remove, &args, err);
}

static enum cq_rc work_first_account(struct connection *c, void *arg)
{
    struct args *a = arg;
    sqlite3_stmt *stmt = NULL;
    enum cq_rc rc = prepare(c, a->id ? S_FIRST_OF_DOMAIN : S_FIRST_OF_ALL, &stmt);
    if (rc != CQ_OK)
        return rc;
    bind_int(stmt, 1, a->number);
    if (a->id)
        bind_int(stmt, 2, a->id);
    rc = step(c, stmt);
    if (rc == CQ_OK)
        *(uint64_t *)a->out = column_int(stmt, 0);
    finish(stmt);
    return rc;
}

static enum cq_rc first_account(struct dir_backend *self, uint64_t domain_id, bool admin, uint64_t *account_id_r,
                                struct cq_err *err)
{
    struct args args = {.id = domain_id, .number = admin, .out = account_id_r};
    return read_with(self, work_first_account, &args, err);
}

/* ---- Addresses ---- */

static const char *const kind_names[] = {
    [DIR_PRIMARY] = "primary", [DIR_ALIAS] = "alias", [DIR_CATCH_ALL] = "catchall"};

static enum dir_address_kind kind_of(struct cq_slice text)
{
    for (int i = DIR_PRIMARY; i < DIR_CATCH_ALL; i++)
        if (cq_slice_eq(text, cq_slice_cstr(kind_names[i])))
            return (enum dir_address_kind)i;
    return DIR_CATCH_ALL;
}

static enum cq_rc read_targets(struct connection *c, uint64_t domain_id, struct cq_slice local, struct cq_pool *pool,
                               struct dir_address_row *row)
{
    struct rows ids = {.pool = pool, .size = sizeof(uint64_t)};
    sqlite3_stmt *stmt = NULL;
    enum cq_rc rc = prepare(c, S_TARGETS_GET, &stmt);
    if (rc != CQ_OK)
        return rc;
    bind_int(stmt, 1, domain_id);
    bind_text(stmt, 2, local);
    while ((rc = step(c, stmt)) == CQ_OK)
        *(uint64_t *)rows_add(&ids) = column_int(stmt, 0);
    finish(stmt);
    row->targets = (uint64_t *)(void *)ids.data;
    row->target_count = ids.count;
    return rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
}

static enum cq_rc read_address(struct connection *c, sqlite3_stmt *stmt, struct cq_pool *pool,
                               struct dir_address_row *row)
{
    *row = (struct dir_address_row){.address = column_text(stmt, 0, pool), .kind = kind_of(column_peek(stmt, 1))};
    return read_targets(c, column_int(stmt, 2), column_peek(stmt, 3), pool, row);
}

static enum cq_rc work_address_get(struct connection *c, void *arg)
{
    struct args *a = arg;
    sqlite3_stmt *stmt = NULL;
    enum cq_rc rc = prepare(c, S_ADDRESS_GET, &stmt);
    if (rc != CQ_OK)
        return rc;
    bind_int(stmt, 1, a->id);
    bind_text(stmt, 2, a->text);
    rc = step(c, stmt);
    if (rc == CQ_OK)
        rc = read_address(c, stmt, a->pool, a->out);
    finish(stmt);
    return rc;
}

static enum cq_rc address_get(struct dir_backend *self, uint64_t domain_id, struct cq_slice local, struct cq_pool *pool,
                              struct dir_address_row *row_r, struct cq_err *err)
{
    struct args args = {.id = domain_id, .text = local, .pool = pool, .out = row_r};
    return read_with(self, work_address_get, &args, err);
}

/* The address row of an alias: there already, or made now. */
static enum cq_rc ensure_alias(struct connection *c, const struct args *a)
{
    struct dir_address_row row;
    struct cq_pool *tmp = cq_pool_new(1024);
    struct args get = {.id = a->id, .text = a->text, .pool = tmp, .out = &row};
    enum cq_rc rc = work_address_get(c, &get);
    if (rc == CQ_OK && row.kind != a->kind)
        rc = CQ_FAIL(c->err, CQ_E_EXISTS, "the address is an account's own");
    else if (rc == CQ_OK && row.target_count >= DIR_TARGETS_MAX)
        rc = CQ_FAIL(c->err, CQ_E_LIMIT, "an alias has at most %d accounts", DIR_TARGETS_MAX);
    else if (rc == CQ_E_NOT_FOUND) {
        sqlite3_stmt *stmt = NULL;
        rc = prepare(c, S_ADDRESS_ADD, &stmt);
        if (rc == CQ_OK) {
            bind_int(stmt, 1, a->id);
            bind_text(stmt, 2, a->text);
            bind_text(stmt, 3, cq_slice_cstr(kind_names[a->kind]));
            rc = execute(c, stmt);
        }
    }
    cq_pool_free(&tmp);
    return rc;
}

static enum cq_rc work_target_add(struct connection *c, void *arg)
{
    struct args *a = arg;
    uint64_t version;
    enum cq_rc rc = ensure_alias(c, a);
    if (rc != CQ_OK)
        return rc;
    rc = execute_address(c, S_TARGET_ADD, a->id, a->text, a->id2);
    if (rc != CQ_OK && violates(c, SQLITE_CONSTRAINT_PRIMARYKEY))
        return CQ_FAIL(c->err, CQ_E_EXISTS, "the alias goes to this account already");
    return rc == CQ_OK ? touch_account(c, DIR_CHANGED_ADDRESS, a->id2, 0, &version) : rc;
}

static enum cq_rc target_add(struct dir_backend *self, uint64_t domain_id, struct cq_slice local,
                             enum dir_address_kind kind, uint64_t account_id, struct cq_err *err)
{
    struct args args = {.id = domain_id, .text = local, .kind = kind, .id2 = account_id};
    return transact(self, work_target_add, &args, err);
}

static enum cq_rc work_target_remove(struct connection *c, void *arg)
{
    struct args *a = arg;
    struct dir_address_row row;
    struct args get = {.id = a->id, .text = a->text, .pool = a->pool, .out = &row};
    uint64_t version;
    enum cq_rc rc = work_address_get(c, &get);
    if (rc == CQ_OK && row.kind == DIR_PRIMARY)
        rc = CQ_FAIL(c->err, CQ_E_NOT_FOUND, "the address is an account's own, no alias");
    if (rc != CQ_OK)
        return rc;
    rc = a->id2 ? execute_address(c, S_TARGET_REMOVE, a->id, a->text, a->id2)
                : execute_address(c, S_ADDRESS_REMOVE, a->id, a->text, 0);
    if (rc == CQ_OK)
        rc = expect_changed(c, "target of the alias");
    if (rc == CQ_OK && a->id2)
        rc = execute_address(c, S_ADDRESS_REMOVE_EMPTY, a->id, a->text, 0);
    for (size_t i = 0; rc == CQ_OK && i < row.target_count; i++)
        if (!a->id2 || row.targets[i] == a->id2)
            rc = touch_account(c, DIR_CHANGED_ADDRESS, row.targets[i], 0, &version);
    return rc;
}

static enum cq_rc target_remove(struct dir_backend *self, uint64_t domain_id, struct cq_slice local,
                                uint64_t account_id, struct cq_err *err)
{
    struct args args = {.id = domain_id, .text = local, .id2 = account_id, .pool = cq_pool_new(1024)};
    enum cq_rc rc = transact(self, work_target_remove, &args, err);
    cq_pool_free(&args.pool);
    return rc;
}

static enum cq_rc work_address_list(struct connection *c, void *arg)
{
    struct args *a = arg;
    sqlite3_stmt *stmt = NULL;
    enum cq_rc rc = prepare(c, a->id ? S_ADDRESS_OF_ACCOUNT : S_ADDRESS_OF_DOMAIN, &stmt);
    if (rc != CQ_OK)
        return rc;
    bind_int(stmt, 1, a->id ? a->id : a->id2);
    bind_int(stmt, 2, a->max);
    while ((rc = step(c, stmt)) == CQ_OK)
        if ((rc = read_address(c, stmt, a->pool, rows_add(&a->rows))) != CQ_OK)
            break;
    finish(stmt);
    return rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
}

static enum cq_rc address_list(struct dir_backend *self, uint64_t account_id, uint64_t domain_id, size_t max,
                               struct cq_pool *pool, struct dir_address_row **rows_r, size_t *count_r,
                               struct cq_err *err)
{
    struct args args = {
        .id = account_id, .id2 = domain_id, .max = max, .pool = pool, .rows = {.pool = pool, .size = sizeof **rows_r}};
    enum cq_rc rc = read_with(self, work_address_list, &args, err);
    *rows_r = (struct dir_address_row *)(void *)args.rows.data;
    *count_r = args.rows.count;
    return rc;
}

/* ---- Accounts ---- */

/* A plan or state that this build does not know was written by a newer one: refused, not guessed. */
static enum cq_rc read_account(struct connection *c, sqlite3_stmt *stmt, struct cq_pool *pool,
                               struct dir_account *account)
{
    *account = (struct dir_account){
        .id = column_int(stmt, 0),
        .version = column_int(stmt, 1),
        .domain_id = column_int(stmt, 2),
        .address = column_text(stmt, 3, pool),
        .services = (unsigned)column_int(stmt, 5),
        .admin = column_int(stmt, 6) != 0,
        .plan = dir_plan_find(column_peek(stmt, 7)),
        .home_dc = column_text(stmt, 8, pool),
        .quota_bytes = column_int(stmt, 9),
        .quota_messages = column_int(stmt, 10),
        .created_us = column_int(stmt, 11),
        .state_us = column_int(stmt, 12),
    };
    if (!dir_state_parse(column_peek(stmt, 4), &account->state) || !account->plan)
        return CQ_FAIL(c->err, CQ_E_VERSION,
                       "directory: an account has a state or plan that this version does not know");
    return CQ_OK;
}

static enum cq_rc work_account_get(struct connection *c, void *arg)
{
    struct args *a = arg;
    sqlite3_stmt *stmt = NULL;
    enum cq_rc rc = prepare(c, S_ACCOUNT_GET, &stmt);
    if (rc != CQ_OK)
        return rc;
    bind_int(stmt, 1, a->id);
    rc = step(c, stmt);
    if (rc == CQ_OK)
        rc = read_account(c, stmt, a->pool, a->out);
    finish(stmt);
    return rc;
}

static enum cq_rc account_get(struct dir_backend *self, uint64_t id, struct cq_pool *pool,
                              struct dir_account *account_r, struct cq_err *err)
{
    struct args args = {.id = id, .pool = pool, .out = account_r};
    return read_with(self, work_account_get, &args, err);
}

static enum cq_rc account_exists(struct connection *c, uint64_t id)
{
    sqlite3_stmt *stmt = NULL;
    enum cq_rc rc = prepare(c, S_ACCOUNT_EXISTS, &stmt);
    if (rc != CQ_OK)
        return rc;
    bind_int(stmt, 1, id);
    rc = step(c, stmt);
    finish(stmt);
    return rc;
}

static enum cq_rc insert_account(struct connection *c, const struct dir_account_row *row)
{
    sqlite3_stmt *stmt = NULL;
    enum cq_rc rc = prepare(c, S_ACCOUNT_ADD, &stmt);
    if (rc != CQ_OK)
        return rc;
    bind_int(stmt, 1, row->id);
    bind_int(stmt, 2, row->domain_id);
    bind_text(stmt, 3, row->local);
    bind_text(stmt, 4, cq_slice_cstr(row->plan->name));
    bind_text(stmt, 5, row->home_dc);
    bind_int(stmt, 6, row->services);
    bind_int(stmt, 7, row->admin);
    bind_int(stmt, 8, row->quota_bytes);
    bind_int(stmt, 9, row->quota_messages);
    bind_int(stmt, 10, row->now_us);
    bind_int(stmt, 11, cq_time_wall_us());
    return execute(c, stmt);
}

static const char *const credential_kinds[] = {[DIR_PASSWORD] = "password", [DIR_APP_PASSWORD] = "app_password"};

static enum cq_rc insert_credential(struct connection *c, const struct dir_credential *row, uint64_t now_us)
{
    sqlite3_stmt *stmt = NULL;
    enum cq_rc rc = prepare(c, S_CREDENTIAL_ADD, &stmt);
    if (rc != CQ_OK)
        return rc;
    bind_int(stmt, 1, row->account_id);
    bind_text(stmt, 2, cq_slice_cstr(credential_kinds[row->kind]));
    bind_int(stmt, 3, row->scopes);
    bind_text(stmt, 4, row->prefix);
    bind_text(stmt, 5, row->hash);
    bind_text(stmt, 6, row->label);
    bind_int(stmt, 7, now_us);
    bind_int(stmt, 8, row->expires_us);
    rc = execute(c, stmt);
    if (rc != CQ_OK && violates(c, SQLITE_CONSTRAINT_UNIQUE))
        return CQ_FAIL(c->err, CQ_E_EXISTS, "the prefix is in use");
    return rc;
}

static enum cq_rc work_account_add(struct connection *c, void *arg)
{
    const struct dir_account_row *row = ((struct args *)arg)->in;
    const struct dir_credential password = {
        .account_id = row->id, .kind = DIR_PASSWORD, .scopes = DIR_ALL_SERVICES, .hash = row->password_hash};
    sqlite3_stmt *stmt = NULL;
    uint64_t version;
    enum cq_rc rc = account_exists(c, row->id);
    if (rc != CQ_E_NOT_FOUND)
        return rc == CQ_OK ? CQ_FAIL(c->err, CQ_E_CONFLICT, "the account id is in use") : rc;
    rc = prepare(c, S_ADDRESS_ADD, &stmt);
    if (rc != CQ_OK)
        return rc;
    bind_int(stmt, 1, row->domain_id);
    bind_text(stmt, 2, row->local);
    bind_text(stmt, 3, cq_slice_cstr(kind_names[DIR_PRIMARY]));
    rc = execute(c, stmt);
    if (rc != CQ_OK && violates(c, SQLITE_CONSTRAINT_PRIMARYKEY))
        return CQ_FAIL(c->err, CQ_E_EXISTS, "the address is taken");
    if (rc == CQ_OK)
        rc = insert_account(c, row);
    if (rc == CQ_OK)
        rc = execute_address(c, S_TARGET_ADD, row->domain_id, row->local, row->id);
    if (rc == CQ_OK && row->password_hash.len)
        rc = insert_credential(c, &password, row->now_us);
    uint64_t credential = (uint64_t)sqlite3_last_insert_rowid(c->db);
    if (rc == CQ_OK)
        rc = touch_account(c, DIR_CHANGED_ACCOUNT, row->id, 0, &version);
    return rc == CQ_OK && row->password_hash.len ? EXECUTE(c, S_CREDENTIAL_VERSION, credential, version) : rc;
}

static enum cq_rc account_add(struct dir_backend *self, const struct dir_account_row *row, struct cq_err *err)
{
    struct args args = {.in = row};
    return transact(self, work_account_add, &args, err);
}

/* The account as it is inside of the transaction. */
static enum cq_rc look_at(struct connection *c, uint64_t id, struct dir_account *account)
{
    struct cq_pool *tmp = cq_pool_new(1024);
    struct args args = {.id = id, .pool = tmp, .out = account};
    enum cq_rc rc = work_account_get(c, &args);
    cq_pool_free(&tmp);
    account->address = account->home_dc = CQ_SLICE_NONE;
    return rc;
}

static enum cq_rc work_account_update(struct connection *c, void *arg)
{
    struct args *a = arg;
    const struct dir_account_update *update = a->in;
    struct dir_account now;
    sqlite3_stmt *stmt = NULL;
    uint64_t version;
    enum cq_rc rc = look_at(c, a->id, &now);
    if (rc == CQ_OK && update->expected_version && update->expected_version != now.version)
        rc = CQ_FAIL(c->err, CQ_E_CONFLICT, "the account has changed meanwhile");
    if (rc == CQ_OK)
        rc = prepare(c, S_ACCOUNT_UPDATE, &stmt);
    if (rc != CQ_OK)
        return rc;
    bind_int(stmt, 1, a->id);
    bind_int(stmt, 2, update->what);
    bind_text(stmt, 3, cq_slice_cstr(a->plan ? a->plan->name : ""));
    bind_int(stmt, 4, update->services);
    bind_int(stmt, 5, update->quota_bytes);
    bind_int(stmt, 6, update->quota_messages);
    bind_int(stmt, 7, update->admin);
    bind_text(stmt, 8, update->home_dc);
    rc = execute(c, stmt);
    return rc == CQ_OK ? touch_account(c, DIR_CHANGED_ACCOUNT, a->id, 0, &version) : rc;
}

static enum cq_rc account_update(struct dir_backend *self, uint64_t id, const struct dir_account_update *update,
                                 const struct dir_plan *plan, struct cq_err *err)
{
    struct args args = {.id = id, .in = update, .plan = plan};
    return transact(self, work_account_update, &args, err);
}

static enum cq_rc work_account_set_state(struct connection *c, void *arg)
{
    struct args *a = arg;
    struct dir_account now;
    sqlite3_stmt *stmt = NULL;
    uint64_t version;
    enum cq_rc rc = look_at(c, a->id, &now);
    if (rc != CQ_OK || now.state == a->to)
        return rc;
    if (!(a->from & 1u << now.state))
        return CQ_FAIL(c->err, CQ_E_CONFLICT, "the account is %s", dir_state_name(now.state));
    rc = prepare(c, S_ACCOUNT_STATE, &stmt);
    if (rc != CQ_OK)
        return rc;
    bind_int(stmt, 1, a->id);
    bind_text(stmt, 2, cq_slice_cstr(dir_state_name(a->to)));
    bind_int(stmt, 3, cq_time_wall_us());
    rc = execute(c, stmt);
    return rc == CQ_OK ? touch_account(c, DIR_CHANGED_ACCOUNT, a->id, 0, &version) : rc;
}

static enum cq_rc account_set_state(struct dir_backend *self, uint64_t id, unsigned from, enum dir_state to,
                                    struct cq_err *err)
{
    struct args args = {.id = id, .from = from, .to = to};
    return transact(self, work_account_set_state, &args, err);
}

/* Its own address and the aliases that go to nobody else go first; targets and credentials follow by foreign key. */
static enum cq_rc work_account_remove(struct connection *c, void *arg)
{
    struct args *a = arg;
    struct dir_account now;
    uint64_t version;
    enum cq_rc rc = look_at(c, a->id, &now);
    if (rc != CQ_OK)
        return rc;
    if (now.state != DIR_DELETING)
        return CQ_FAIL(c->err, CQ_E_CONFLICT, "the account is %s", dir_state_name(now.state));
    rc = EXECUTE(c, S_ADDRESSES_GONE_WITH, a->id);
    if (rc == CQ_OK)
        rc = EXECUTE(c, S_ACCOUNT_REMOVE, a->id);
    return rc == CQ_OK ? note_change(c, DIR_CHANGED_ACCOUNT, a->id, 0, &version) : rc;
}

static enum cq_rc account_remove(struct dir_backend *self, uint64_t id, struct cq_err *err)
{
    struct args args = {.id = id};
    return transact(self, work_account_remove, &args, err);
}

/* One run of ids that are neighbours as signed numbers too. */
static enum cq_rc list_range(struct connection *c, struct args *a, int64_t low, int64_t high)
{
    const struct dir_account_query *query = a->in;
    sqlite3_stmt *stmt = NULL;
    enum cq_rc rc = prepare(c, S_ACCOUNT_LIST, &stmt);
    if (rc != CQ_OK)
        return rc;
    bind_int(stmt, 1, (uint64_t)low);
    bind_int(stmt, 2, (uint64_t)high);
    bind_int(stmt, 3, query->domain_id);
    for (int state = 0; state < DIR_STATE_COUNT; state++)
        if (query->states & 1u << state)
            bind_text(stmt, 4 + state, cq_slice_cstr(dir_state_name((enum dir_state)state)));
    bind_int(stmt, 8, query->max - a->rows.count);
    while ((rc = step(c, stmt)) == CQ_OK)
        if ((rc = read_account(c, stmt, a->pool, rows_add(&a->rows))) != CQ_OK)
            break;
    finish(stmt);
    return rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
}

/* Ids are unsigned; SQLite's integers are not: first those below 2^63, then the others. */
static enum cq_rc work_account_list(struct connection *c, void *arg)
{
    struct args *a = arg;
    const struct dir_account_query *query = a->in;
    enum cq_rc rc = CQ_OK;
    if (query->after_id == UINT64_MAX)
        return CQ_OK;
    uint64_t from = query->after_id + 1;
    if (from <= INT64_MAX)
        rc = list_range(c, a, (int64_t)from, INT64_MAX);
    if (rc == CQ_OK && a->rows.count < query->max)
        rc = list_range(c, a, from <= INT64_MAX ? INT64_MIN : (int64_t)from, -1);
    return rc;
}

static enum cq_rc account_list(struct dir_backend *self, const struct dir_account_query *query, struct cq_pool *pool,
                               struct dir_account **rows_r, size_t *count_r, struct cq_err *err)
{
    struct args args = {.in = query, .pool = pool, .rows = {.pool = pool, .size = sizeof **rows_r}};
    enum cq_rc rc = read_with(self, work_account_list, &args, err);
    *rows_r = (struct dir_account *)(void *)args.rows.data;
    *count_r = args.rows.count;
    return rc;
}

/* ---- Half done ---- */

static enum cq_rc work_pending_list(struct connection *c, void *arg)
{
    struct args *a = arg;
    const struct dir_pending_query *query = a->in;
    uint64_t now_us = cq_time_wall_us();
    sqlite3_stmt *stmt = NULL;
    enum cq_rc rc = prepare(c, S_PENDING_LIST, &stmt);
    if (rc != CQ_OK)
        return rc;
    bind_int(stmt, 1, query->after_us);
    bind_int(stmt, 2, query->after_id);
    bind_int(stmt, 3, query->age_min_us ? now_us - query->age_min_us : INT64_MAX);
    bind_int(stmt, 4, query->max);
    while ((rc = step(c, stmt)) == CQ_OK)
        if ((rc = read_account(c, stmt, a->pool, rows_add(&a->rows))) != CQ_OK)
            break;
    finish(stmt);
    return rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
}

static enum cq_rc pending_list(struct dir_backend *self, const struct dir_pending_query *query, struct cq_pool *pool,
                               struct dir_account **rows_r, size_t *count_r, struct cq_err *err)
{
    struct args args = {.in = query, .pool = pool, .rows = {.pool = pool, .size = sizeof **rows_r}};
    enum cq_rc rc = read_with(self, work_pending_list, &args, err);
    *rows_r = (struct dir_account *)(void *)args.rows.data;
    *count_r = args.rows.count;
    return rc;
}

static enum cq_rc work_pending_count(struct connection *c, void *arg)
{
    struct dir_pending *pending = ((struct args *)arg)->out;
    uint64_t now_us = cq_time_wall_us();
    sqlite3_stmt *stmt = NULL;
    enum cq_rc rc = prepare(c, S_PENDING_COUNT, &stmt);
    if (rc != CQ_OK)
        return rc;
    while ((rc = step(c, stmt)) == CQ_OK) {
        bool creating = cq_slice_eq(column_peek(stmt, 0), cq_slice_cstr(dir_state_name(DIR_CREATING)));
        uint64_t since_us = column_int(stmt, 2), age_us = since_us < now_us ? now_us - since_us : 0;
        *(creating ? &pending->creating : &pending->deleting) = column_int(stmt, 1);
        *(creating ? &pending->creating_age_max_us : &pending->deleting_age_max_us) = age_us;
    }
    finish(stmt);
    return rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
}

static enum cq_rc pending_count(struct dir_backend *self, struct dir_pending *pending_r, struct cq_err *err)
{
    struct args args = {.out = pending_r};
    return read_with(self, work_pending_count, &args, err);
}

/* ---- Credentials ---- */

static void read_credential(sqlite3_stmt *stmt, struct cq_pool *pool, struct dir_credential *row)
{
    bool is_app = cq_slice_eq(column_peek(stmt, 2), cq_slice_cstr(credential_kinds[DIR_APP_PASSWORD]));
    *row = (struct dir_credential){
        .id = column_int(stmt, 0),
        .account_id = column_int(stmt, 1),
        .kind = is_app ? DIR_APP_PASSWORD : DIR_PASSWORD,
        .scopes = (unsigned)column_int(stmt, 3),
        .prefix = column_text(stmt, 4, pool),
        .hash = column_text(stmt, 5, pool),
        .label = column_text(stmt, 6, pool),
        .created_us = column_int(stmt, 7),
        .expires_us = column_int(stmt, 8),
        .last_used_us = column_int(stmt, 9),
        .version = column_int(stmt, 10),
    };
}

static enum cq_rc work_credential_list(struct connection *c, void *arg)
{
    struct args *a = arg;
    sqlite3_stmt *stmt = NULL;
    enum cq_rc rc = prepare(c, S_CREDENTIAL_LIST, &stmt);
    if (rc != CQ_OK)
        return rc;
    bind_int(stmt, 1, a->id);
    while ((rc = step(c, stmt)) == CQ_OK)
        read_credential(stmt, a->pool, rows_add(&a->rows));
    finish(stmt);
    return rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
}

static enum cq_rc credential_list(struct dir_backend *self, uint64_t account_id, struct cq_pool *pool,
                                  struct dir_credential **rows_r, size_t *count_r, struct cq_err *err)
{
    struct args args = {.id = account_id, .pool = pool, .rows = {.pool = pool, .size = sizeof **rows_r}};
    enum cq_rc rc = read_with(self, work_credential_list, &args, err);
    *rows_r = (struct dir_credential *)(void *)args.rows.data;
    *count_r = args.rows.count;
    return rc;
}

/* Makes room: the old password goes, one more app password must be allowed. */
static enum cq_rc prepare_room(struct connection *c, const struct dir_credential *row)
{
    sqlite3_stmt *stmt = NULL;
    if (row->kind == DIR_PASSWORD)
        return EXECUTE(c, S_PASSWORD_REMOVE, row->account_id);
    enum cq_rc rc = prepare(c, S_CREDENTIAL_COUNT, &stmt);
    if (rc != CQ_OK)
        return rc;
    bind_int(stmt, 1, row->account_id);
    rc = step(c, stmt);
    if (rc == CQ_OK && column_int(stmt, 0) >= DIR_CREDENTIALS_MAX)
        rc = CQ_FAIL(c->err, CQ_E_LIMIT, "an account has at most %d app passwords", DIR_CREDENTIALS_MAX);
    finish(stmt);
    return rc;
}

static enum cq_rc work_credential_put(struct connection *c, void *arg)
{
    struct args *a = arg;
    const struct dir_credential *row = a->in;
    uint64_t version;
    enum cq_rc rc = account_exists(c, row->account_id);
    if (rc == CQ_OK)
        rc = prepare_room(c, row);
    if (rc == CQ_OK)
        rc = insert_credential(c, row, a->now_us);
    if (rc != CQ_OK)
        return rc;
    uint64_t id = *(uint64_t *)a->out = (uint64_t)sqlite3_last_insert_rowid(c->db);
    rc = touch_account(c, DIR_CHANGED_CREDENTIAL, row->account_id, id, &version);
    return rc == CQ_OK ? EXECUTE(c, S_CREDENTIAL_VERSION, id, version) : rc;
}

static enum cq_rc credential_put(struct dir_backend *self, const struct dir_credential *row, uint64_t now_us,
                                 uint64_t *id_r, struct cq_err *err)
{
    struct args args = {.in = row, .now_us = now_us, .out = id_r};
    return transact(self, work_credential_put, &args, err);
}

struct credential_facts {
    uint64_t account_id, version, last_used_us;
};

static enum cq_rc look_at_credential(struct connection *c, uint64_t id, struct credential_facts *facts)
{
    sqlite3_stmt *stmt = NULL;
    enum cq_rc rc = prepare(c, S_CREDENTIAL_GET, &stmt);
    if (rc != CQ_OK)
        return rc;
    bind_int(stmt, 1, id);
    rc = step(c, stmt);
    if (rc == CQ_OK)
        *facts = (struct credential_facts){column_int(stmt, 0), column_int(stmt, 1), column_int(stmt, 2)};
    finish(stmt);
    return rc;
}

static enum cq_rc work_credential_rehash(struct connection *c, void *arg)
{
    struct args *a = arg;
    struct credential_facts facts;
    sqlite3_stmt *stmt = NULL;
    enum cq_rc rc = look_at_credential(c, a->id, &facts);
    if (rc == CQ_OK && facts.version != a->number)
        rc = CQ_FAIL(c->err, CQ_E_CONFLICT, "the credential has changed meanwhile");
    if (rc == CQ_OK)
        rc = prepare(c, S_CREDENTIAL_REHASH, &stmt);
    if (rc != CQ_OK)
        return rc;
    bind_int(stmt, 1, a->id);
    bind_text(stmt, 2, a->text);
    return execute(c, stmt);
}

static enum cq_rc credential_rehash(struct dir_backend *self, uint64_t id, uint64_t old_version, struct cq_slice hash,
                                    struct cq_err *err)
{
    struct args args = {.id = id, .number = old_version, .text = hash};
    return transact(self, work_credential_rehash, &args, err);
}

/* No line in the feed: nobody's cache depends on it. */
static enum cq_rc work_credential_used(struct connection *c, void *arg)
{
    struct args *a = arg;
    struct credential_facts facts;
    enum cq_rc rc = look_at_credential(c, a->id, &facts);
    return rc == CQ_OK ? EXECUTE(c, S_CREDENTIAL_USED, a->id, a->now_us) : rc;
}

static enum cq_rc credential_used(struct dir_backend *self, uint64_t id, uint64_t now_us, struct cq_err *err)
{
    struct args args = {.id = id, .now_us = now_us};
    return transact(self, work_credential_used, &args, err);
}

static enum cq_rc work_credential_remove(struct connection *c, void *arg)
{
    struct args *a = arg;
    uint64_t version;
    enum cq_rc rc = EXECUTE(c, S_CREDENTIAL_REMOVE, a->id2, a->id);
    if (rc == CQ_OK)
        rc = expect_changed(c, "credential");
    return rc == CQ_OK ? touch_account(c, DIR_CHANGED_CREDENTIAL, a->id, a->id2, &version) : rc;
}

static enum cq_rc credential_remove(struct dir_backend *self, uint64_t account_id, uint64_t id, struct cq_err *err)
{
    struct args args = {.id = account_id, .id2 = id};
    return transact(self, work_credential_remove, &args, err);
}

/* ---- Changes ---- */

/* Inside of a read transaction: bounds and lines are of one moment. */
static enum cq_rc read_changes(struct connection *c, struct args *a)
{
    sqlite3_stmt *stmt = NULL;
    enum cq_rc rc = prepare(c, S_CHANGE_BOUNDS, &stmt);
    if (rc == CQ_OK)
        rc = step(c, stmt);
    if (rc != CQ_OK)
        return rc;
    uint64_t first = column_int(stmt, 0), last = column_int(stmt, 1);
    finish(stmt);
    *(uint64_t *)a->out = last;
    if (a->number + 1 < first || a->number > last) /* trimmed, or an older copy of the database came back */
        return CQ_FAIL(c->err, CQ_E_STALE, "the feed has versions %llu to %llu", (unsigned long long)first,
                       (unsigned long long)last);
    rc = prepare(c, S_CHANGE_LIST, &stmt);
    if (rc != CQ_OK)
        return rc;
    bind_int(stmt, 1, a->number);
    bind_int(stmt, 2, a->max);
    while ((rc = step(c, stmt)) == CQ_OK)
        *(struct dir_change *)rows_add(&a->rows) = (struct dir_change){
            .version = column_int(stmt, 0),
            .kind = (enum dir_change_kind)column_int(stmt, 1),
            .account_id = column_int(stmt, 2),
            .credential_id = column_int(stmt, 3),
        };
    finish(stmt);
    return rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
}

static enum cq_rc work_changes(struct connection *c, void *arg)
{
    enum cq_rc rc = execute_plain(c, S_BEGIN_READ);
    if (rc == CQ_OK)
        rc = read_changes(c, arg);
    struct cq_err *err = c->err;
    c->err = NULL;
    if (!sqlite3_get_autocommit(c->db))
        execute_plain(c, S_ROLLBACK);
    c->err = err;
    return rc;
}

static enum cq_rc changes(struct dir_backend *self, uint64_t since, size_t max, struct cq_pool *pool,
                          struct dir_change **rows_r, size_t *count_r, uint64_t *head_r, struct cq_err *err)
{
    struct args args = {
        .number = since, .max = max, .pool = pool, .out = head_r, .rows = {.pool = pool, .size = sizeof **rows_r}};
    enum cq_rc rc = read_with(self, work_changes, &args, err);
    *rows_r = (struct dir_change *)(void *)args.rows.data;
    *count_r = args.rows.count;
    return rc;
}

/* ---- Life ---- */

static void sqlite_close(struct dir_backend *base)
{
    struct sqlite_backend *self = cq_containerof(base, struct sqlite_backend, base);
    while (self->free) {
        struct connection *c = self->free;
        self->free = c->next;
        connection_free(c);
    }
    pthread_mutex_destroy(&self->lock);
    free(self->path);
    free(self);
}

static const struct dir_backend_ops sqlite_ops = {
    .name = "sqlite",
    .close = sqlite_close,
    .domain_get = domain_get,
    .domain_list = domain_list,
    .domain_add = domain_add,
    .domain_set_postmaster = domain_set_postmaster,
    .domain_remove = domain_remove,
    .first_account = first_account,
    .address_get = address_get,
    .target_add = target_add,
    .target_remove = target_remove,
    .address_list = address_list,
    .account_get = account_get,
    .account_add = account_add,
    .account_update = account_update,
    .account_set_state = account_set_state,
    .account_remove = account_remove,
    .account_list = account_list,
    .pending_list = pending_list,
    .pending_count = pending_count,
    .credential_list = credential_list,
    .credential_put = credential_put,
    .credential_rehash = credential_rehash,
    .credential_used = credential_used,
    .credential_remove = credential_remove,
    .changes = changes,
};

/* The file holds password hashes: nobody else reads it. SQLite gives -wal and -shm the same rights. */
static enum cq_rc make_file(const char *path, struct cq_err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno != EEXIST) /* one that exists is left alone: closing it would drop SQLite's locks on it */
        return CQ_FAIL(err, CQ_E_IO, "%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return CQ_OK;
}

static enum cq_rc work_migrate(struct connection *c, void *arg)
{
    (void)arg;
    return dir_sqlite_migrate(c->db, c->err);
}

enum cq_rc dir_sqlite_open(const char *path, uint64_t busy_timeout_us, struct dir_backend **backend_r,
                           struct cq_err *err)
{
    enum cq_rc rc = make_file(path, err);
    if (rc != CQ_OK)
        return rc;
    struct sqlite_backend *self = cq_new(struct sqlite_backend);
    self->base.ops = &sqlite_ops;
    self->path = cq_strndup(path, strlen(path));
    self->busy_timeout_ms = (int)(busy_timeout_us / 1000);
    pthread_mutex_init(&self->lock, NULL);
    rc = read_with(&self->base, work_migrate, NULL, err);
    if (rc != CQ_OK)
        sqlite_close(&self->base);
    else
        *backend_r = &self->base;
    return rc;
}
