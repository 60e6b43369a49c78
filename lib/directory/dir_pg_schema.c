/* Migrations: pg/NNNN_name.sql, embedded in the program in their order. A migration that was released is never changed:
 * its checksum is kept in the database and compared. Its first line says since which program version's schema the
 * result can be used ("-- works-with: 1"), so that old programs go on while a cluster is upgraded. */
#include "directory/dir_pg_schema.h"

#include "directory/dir_pg_statements.h"

#include "base/cq_hash.h"
#include "base/cq_hex.h"
#include "base/cq_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOCK_KEY "7236574812345601" /* pg_advisory_lock of migrations: any number that is ours */
#define CONNECT_US UINT64_C(10000000)
#define SERVER_MIN 130000

#define NEWEST ((int)dir_pg_migration_count)

static struct cq_slice sql_of(int version)
{
    return cq_slice_of(dir_pg_migrations[version - 1].sql, dir_pg_migrations[version - 1].len);
}

static int works_with(int version)
{
    static const char key[] = "-- works-with: ";
    struct cq_slice sql = sql_of(version);
    uint64_t number = 0;
    if (!cq_slice_starts(sql, CQ_SLICE(key)))
        return version;
    sql = cq_slice_skip(sql, sizeof key - 1);
    return cq_slice_u64(cq_slice_trim(cq_slice_cut(&sql, '\n')), 1000000, &number) ? (int)number : version;
}

static void checksum(int version, char out[static CQ_HEX64_SIZE])
{
    cq_hex_u64(cq_xxh3_64(sql_of(version)), out);
}

/* ---- A new connection of the backend ---- */

static enum cq_rc misfit(int version, int oldest, struct cq_err *err)
{
    if (version < NEWEST)
        return CQ_FAIL(err, CQ_E_UNAVAILABLE,
                       "PostgreSQL: the schema is version %d, this program needs %d; run: chasquictl db migrate",
                       version, NEWEST);
    if (oldest > NEWEST)
        return CQ_FAIL(err, CQ_E_UNAVAILABLE,
                       "PostgreSQL: the schema is version %d and needs a program that knows %d, this one knows %d; "
                       "install the newer Chasqui here",
                       version, oldest, NEWEST);
    return CQ_OK;
}

enum cq_rc pg_schema_fits(struct pg_conn *conn, uint64_t deadline_us, struct cq_err *err)
{
    static const char sql[] = "SELECT coalesce(max(version), 0)::bigint, coalesce(max(works_with), 0)::bigint "
                              "FROM mail.schema_migrations";
    const struct pg_params none = {0};
    PGresult *result;
    bool again;
    enum cq_rc rc = pg_conn_exchange(conn, sql, &none, deadline_us, &result, err);
    if (rc != CQ_OK)
        return rc == CQ_E_IO ? cq_err_set(err, CQ_E_UNAVAILABLE, "PostgreSQL: the connection was lost at once") : rc;
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        rc = pg_result_error(result, &again, err);
    else
        rc = misfit((int)pg_int(result, 0, 0), (int)pg_int(result, 0, 1), err);
    PQclear(result);
    return rc;
}

/* ---- For operators: plain blocking calls on a connection of its own ---- */

static enum cq_rc failed(PGresult *result, struct cq_err *err)
{
    bool again;
    enum cq_rc rc = pg_result_error(result, &again, err);
    PQclear(result);
    return rc;
}

static enum cq_rc execute(PGconn *pg, const char *sql, struct cq_err *err)
{
    PGresult *result = PQexec(pg, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        return failed(result, err);
    PQclear(result);
    return CQ_OK;
}

/* One row of texts; the caller clears. */
static enum cq_rc select_row(PGconn *pg, const char *sql, PGresult **result_r, struct cq_err *err)
{
    PGresult *result = PQexec(pg, sql);
    *result_r = NULL;
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        return failed(result, err);
    *result_r = result;
    return CQ_OK;
}

static enum cq_rc open_admin(const struct dir_pg_config *config, PGconn **pg_r, struct cq_err *err)
{
    const char *dsn = config->admin_dsn[0] ? config->admin_dsn : config->dsn;
    enum cq_rc rc = pg_connect(config, dsn, pg_deadline(CONNECT_US), pg_r, err);
    if (rc != CQ_OK)
        return rc;
    if (PQserverVersion(*pg_r) < SERVER_MIN)
        rc = CQ_FAIL(err, CQ_E_VERSION, "PostgreSQL: the server is %d, 13 or newer is needed",
                     PQserverVersion(*pg_r) / 10000);
    if (rc == CQ_OK)
        rc = execute(*pg_r, "SET client_min_messages = warning", err);
    if (rc != CQ_OK) {
        PQfinish(*pg_r);
        *pg_r = NULL;
    }
    return rc;
}

/* What was applied, compared with what we have. */
static enum cq_rc read_applied(PGconn *pg, struct dir_pg_schema *schema, struct cq_err *err)
{
    PGresult *result;
    enum cq_rc rc = select_row(pg, "SELECT version, checksum, works_with FROM mail.schema_migrations ORDER BY version",
                               &result, err);
    if (rc != CQ_OK)
        return rc;
    for (int i = 0; i < PQntuples(result) && rc == CQ_OK; i++) {
        char ours[CQ_HEX64_SIZE];
        int version = (int)strtol(PQgetvalue(result, i, 0), NULL, 10);
        int oldest = (int)strtol(PQgetvalue(result, i, 2), NULL, 10);
        schema->version = version;
        schema->oldest = oldest > schema->oldest ? oldest : schema->oldest;
        if (version < 1 || version > NEWEST)
            continue;
        checksum(version, ours);
        if (strcmp(ours, PQgetvalue(result, i, 1)) != 0)
            rc = CQ_FAIL(err, CQ_E_CORRUPT,
                         "PostgreSQL: migration %d in the database is not this program's; it was made by another build",
                         version);
    }
    PQclear(result);
    return rc;
}

static enum cq_rc look(PGconn *pg, struct dir_pg_schema *schema, struct cq_err *err)
{
    PGresult *result;
    *schema = (struct dir_pg_schema){.newest = NEWEST};
    snprintf(schema->server, sizeof schema->server, "%s", PQparameterStatus(pg, "server_version"));
    enum cq_rc rc = select_row(pg, "SELECT to_regclass('mail.schema_migrations') IS NOT NULL", &result, err);
    if (rc != CQ_OK)
        return rc;
    bool there = PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    rc = there ? read_applied(pg, schema, err) : CQ_OK;
    schema->state = schema->version == 0        ? DIR_PG_EMPTY
                    : schema->version < NEWEST  ? DIR_PG_OLDER
                    : schema->version == NEWEST ? DIR_PG_CURRENT
                                                : DIR_PG_NEWER;
    return rc;
}

enum cq_rc dir_pg_schema_look(const struct dir_pg_config *config, struct dir_pg_schema *schema_r, struct cq_err *err)
{
    PGconn *pg = NULL;
    enum cq_rc rc = open_admin(config, &pg, err);
    if (rc == CQ_OK)
        rc = look(pg, schema_r, err);
    PQfinish(pg);
    return rc;
}

/* ---- Migrating ---- */

static enum cq_rc apply(PGconn *pg, int version, struct cq_err *err)
{
    char sum[CQ_HEX64_SIZE], note[400];
    checksum(version, sum);
    snprintf(note, sizeof note,
             "INSERT INTO mail.schema_migrations (version, name, checksum, works_with) VALUES (%d, '%s', '%s', %d)",
             version, dir_pg_migrations[version - 1].name, sum, works_with(version));
    enum cq_rc rc = execute(pg, "BEGIN", err);
    if (rc == CQ_OK)
        rc = execute(pg, (const char *)dir_pg_migrations[version - 1].sql, err);
    if (rc == CQ_OK)
        rc = execute(pg, note, err);
    if (rc == CQ_OK)
        rc = execute(pg, "COMMIT", err);
    if (rc != CQ_OK) {
        execute(pg, "ROLLBACK", NULL);
        return cq_err_context(err, "migration %d (%s)", version, dir_pg_migrations[version - 1].name);
    }
    cq_log(CQ_INFO, "directory.postgresql.migrated", CQ_F_U64("version", (uint64_t)version));
    return CQ_OK;
}

static enum cq_rc migrate(PGconn *pg, struct dir_pg_schema *schema, struct cq_err *err)
{
    enum cq_rc rc = execute(pg,
                            "SET lock_timeout = '10s'; SELECT pg_advisory_lock(" LOCK_KEY "); SET lock_timeout = '3s';"
                            "CREATE SCHEMA IF NOT EXISTS mail;"
                            "CREATE TABLE IF NOT EXISTS mail.schema_migrations (version integer PRIMARY KEY, "
                            "name text NOT NULL, checksum text NOT NULL, works_with integer NOT NULL, "
                            "applied_at timestamptz NOT NULL DEFAULT now())",
                            err);
    if (rc == CQ_OK)
        rc = look(pg, schema, err);
    for (int version = schema->version + 1; rc == CQ_OK && version <= NEWEST; version++)
        rc = apply(pg, version, err);
    return rc == CQ_OK ? look(pg, schema, err) : rc;
}

enum cq_rc dir_pg_schema_migrate(const struct dir_pg_config *config, struct dir_pg_schema *schema_r, struct cq_err *err)
{
    PGconn *pg = NULL;
    enum cq_rc rc = open_admin(config, &pg, err);
    if (rc == CQ_OK)
        rc = migrate(pg, schema_r, err);
    PQfinish(pg); /* the lock goes with the connection */
    return rc;
}

/* ---- Checking ---- */

static enum cq_rc expect(PGconn *pg, const char *sql, const char *what, struct cq_err *err)
{
    PGresult *result;
    enum cq_rc rc = select_row(pg, sql, &result, err);
    if (rc == CQ_OK && (PQntuples(result) != 1 || PQgetvalue(result, 0, 0)[0] != 't'))
        rc = CQ_FAIL(err, CQ_E_CONFIG, "PostgreSQL: %s", what);
    PQclear(result);
    return rc;
}

/* The server parses each of our statements: views, columns, functions, their types and our rights. */
static enum cq_rc try_statement(PGconn *pg, int id, struct cq_err *err)
{
    char sql[2048];
    snprintf(sql, sizeof sql, "PREPARE chasqui_check AS %s", pg_statements[id].sql);
    enum cq_rc rc = execute(pg, sql, err);
    if (rc != CQ_OK) {
        cq_err_context(err, "%.60s", pg_statements[id].sql);
        return CQ_E_CONFIG;
    }
    return execute(pg, "DEALLOCATE chasqui_check", err);
}

enum cq_rc dir_pg_schema_check(const struct dir_pg_config *config, struct cq_err *err)
{
    PGconn *pg = NULL;
    struct dir_pg_schema schema;
    enum cq_rc rc = open_admin(config, &pg, err);
    if (rc == CQ_OK)
        rc = look(pg, &schema, err);
    if (rc == CQ_OK)
        rc = misfit(schema.version, schema.oldest, err);
    if (rc == CQ_OK)
        rc = expect(pg, "SELECT current_setting('server_encoding') = 'UTF8'",
                    "the database's encoding is not UTF8; make one with: createdb -E UTF8 -T template0", err);
    if (rc == CQ_OK)
        rc = expect(pg, "SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'",
                    "the server is read-only: name the primary in directory.postgresql.dsn", err);
    if (rc == CQ_OK)
        rc = expect(pg, "SELECT count(*) = 1 FROM mail.feed", "mail.feed must have exactly one row", err);
    if (rc == CQ_OK)
        rc = expect(
            pg,
            "SELECT prosrc NOT LIKE '%run postfixadmin.sql%' FROM pg_proc WHERE "
            "oid = 'mail.bind_new(bigint)'::regprocedure",
            "postfixadmin's tables are read as an older Chasqui did; run postfixadmin.sql of this one with psql", err);
    for (int id = 0; rc == CQ_OK && id < PG_STATEMENT_COUNT; id++)
        rc = try_statement(pg, id, err);
    PQfinish(pg);
    return rc;
}
