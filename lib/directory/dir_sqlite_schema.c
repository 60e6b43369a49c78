#include "directory/dir_sqlite_schema.h"

#include "base/cq_hash.h"
#include "base/cq_hex.h"

#include <stdio.h>
#include <string.h>

/* Ids are the 64-bit account ids in two's complement. Texts are canonical (dir_address.h). `change` is the feed: its
 * version is the version of the rows that the change touched. */
static const char *const migrations[] = {
    /* 1 */
    "CREATE TABLE domain ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " name TEXT NOT NULL UNIQUE,"
    " alias_of INTEGER REFERENCES domain(id),"
    " postmaster INTEGER REFERENCES account(id) ON DELETE SET NULL,"
    " version INTEGER NOT NULL DEFAULT 0,"
    " created_us INTEGER NOT NULL) STRICT;"
    "CREATE INDEX domain_alias_of ON domain(alias_of) WHERE alias_of IS NOT NULL;"
    "CREATE INDEX domain_postmaster ON domain(postmaster) WHERE postmaster IS NOT NULL;"

    "CREATE TABLE account ("
    " id INTEGER PRIMARY KEY,"
    " domain_id INTEGER NOT NULL REFERENCES domain(id),"
    " local TEXT NOT NULL,"
    " state TEXT NOT NULL CHECK (state IN ('creating', 'active', 'disabled', 'deleting')),"
    " plan TEXT NOT NULL,"
    " home_dc TEXT NOT NULL,"
    " services INTEGER NOT NULL,"
    " admin INTEGER NOT NULL CHECK (admin IN (0, 1)),"
    " quota_bytes INTEGER NOT NULL,"
    " quota_messages INTEGER NOT NULL,"
    " version INTEGER NOT NULL DEFAULT 0,"
    " created_us INTEGER NOT NULL,"
    " UNIQUE (domain_id, local)) STRICT;"
    "CREATE INDEX account_state ON account(state) WHERE state IN ('creating', 'deleting');"
    "CREATE INDEX account_first_of_domain ON account(domain_id, admin, created_us);"
    "CREATE INDEX account_first_of_all ON account(admin, created_us);"

    "CREATE TABLE address ("
    " domain_id INTEGER NOT NULL REFERENCES domain(id),"
    " local TEXT NOT NULL,"
    " kind TEXT NOT NULL CHECK (kind IN ('primary', 'alias', 'catchall')),"
    " PRIMARY KEY (domain_id, local)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE address_target ("
    " domain_id INTEGER NOT NULL,"
    " local TEXT NOT NULL,"
    " account_id INTEGER NOT NULL REFERENCES account(id) ON DELETE CASCADE,"
    " PRIMARY KEY (domain_id, local, account_id),"
    " FOREIGN KEY (domain_id, local) REFERENCES address(domain_id, local) ON DELETE CASCADE) STRICT, WITHOUT ROWID;"
    "CREATE INDEX address_target_account ON address_target(account_id);"

    "CREATE TABLE credential ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " account_id INTEGER NOT NULL REFERENCES account(id) ON DELETE CASCADE,"
    " kind TEXT NOT NULL CHECK (kind IN ('password', 'app_password')),"
    " scopes INTEGER NOT NULL,"
    " prefix TEXT NOT NULL,"
    " hash TEXT NOT NULL,"
    " label TEXT NOT NULL,"
    " created_us INTEGER NOT NULL,"
    " expires_us INTEGER NOT NULL,"
    " last_used_us INTEGER NOT NULL DEFAULT 0,"
    " version INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE INDEX credential_account ON credential(account_id);"
    "CREATE UNIQUE INDEX credential_prefix ON credential(account_id, prefix) WHERE kind = 'app_password';"
    "CREATE UNIQUE INDEX credential_password ON credential(account_id) WHERE kind = 'password';"

    "CREATE TABLE change ("
    " version INTEGER PRIMARY KEY AUTOINCREMENT,"
    " kind INTEGER NOT NULL,"
    " account_id INTEGER NOT NULL,"
    " credential_id INTEGER NOT NULL,"
    " at_us INTEGER NOT NULL) STRICT;",
    /* 2: how long an account has been in its state */
    "ALTER TABLE account ADD COLUMN state_us INTEGER NOT NULL DEFAULT 0;"
    "UPDATE account SET state_us = created_us;"
    "DROP INDEX account_state;"
    "CREATE INDEX account_pending ON account(state_us, id) WHERE state IN ('creating', 'deleting');",
};
#define MIGRATIONS (int)(sizeof migrations / sizeof *migrations)

static enum cq_rc sql_error(sqlite3 *db, struct cq_err *err)
{
    int code = sqlite3_errcode(db) & 0xff;
    enum cq_rc rc = code == SQLITE_BUSY || code == SQLITE_LOCKED      ? CQ_E_UNAVAILABLE
                    : code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? CQ_E_CORRUPT
                                                                      : CQ_E_IO;
    return CQ_FAIL(err, rc, "directory: %s", sqlite3_errmsg(db));
}

static enum cq_rc execute(sqlite3 *db, const char *sql, struct cq_err *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? CQ_OK : sql_error(db, err);
}

static void checksum(int number, char out[static CQ_HEX64_SIZE])
{
    cq_hex_u64(cq_xxh3_64(cq_slice_cstr(migrations[number - 1])), out);
}

/* Compares what was applied with what we have; *applied_r is the highest number. */
static enum cq_rc check_applied(sqlite3 *db, int *applied_r, struct cq_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum cq_rc rc = CQ_OK;
    int step;
    *applied_r = 0;
    if (sqlite3_prepare_v2(db, "SELECT version, checksum FROM schema_migrations ORDER BY version", -1, &stmt, NULL))
        return sql_error(db, err);
    while (rc == CQ_OK && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
        char ours[CQ_HEX64_SIZE];
        int version = sqlite3_column_int(stmt, 0);
        if (version > MIGRATIONS) {
            rc = CQ_FAIL(err, CQ_E_VERSION, "directory: its schema is version %d, this program knows up to %d", version,
                         MIGRATIONS);
            break;
        }
        checksum(version, ours);
        if (strcmp(ours, (const char *)sqlite3_column_text(stmt, 1)) != 0)
            rc = CQ_FAIL(err, CQ_E_CORRUPT, "directory: migration %d in the database is not this program's", version);
        *applied_r = version;
    }
    if (rc == CQ_OK && step != SQLITE_DONE)
        rc = sql_error(db, err);
    sqlite3_finalize(stmt);
    return rc;
}

static enum cq_rc apply(sqlite3 *db, int number, struct cq_err *err)
{
    char sum[CQ_HEX64_SIZE], note[256];
    checksum(number, sum);
    enum cq_rc rc = execute(db, migrations[number - 1], err);
    snprintf(note, sizeof note,
             "INSERT INTO schema_migrations (version, checksum, applied_at) VALUES (%d, '%s', datetime('now'))", number,
             sum);
    return rc == CQ_OK ? execute(db, note, err) : cq_err_context(err, "migration %d", number);
}

static enum cq_rc migrate_inside(sqlite3 *db, struct cq_err *err)
{
    int applied = 0;
    enum cq_rc rc = execute(db,
                            "CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY, "
                            "checksum TEXT NOT NULL, applied_at TEXT NOT NULL) STRICT",
                            err);
    if (rc == CQ_OK)
        rc = check_applied(db, &applied, err);
    for (int number = applied + 1; rc == CQ_OK && number <= MIGRATIONS; number++)
        rc = apply(db, number, err);
    return rc;
}

enum cq_rc dir_sqlite_migrate(sqlite3 *db, struct cq_err *err)
{
    enum cq_rc rc = execute(db, "BEGIN IMMEDIATE", err);
    if (rc != CQ_OK)
        return rc;
    rc = migrate_inside(db, err);
    if (rc == CQ_OK)
        return execute(db, "COMMIT", err);
    execute(db, "ROLLBACK", NULL);
    return rc;
}
