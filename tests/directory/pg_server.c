#include "pg_server.h"

#include "unit/cq_cmocka.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

char pg_server_folder[64];
char pg_server_dsn[128];
static char through[128]; /* PgBouncer; "": straight */

void pg_server_with(const char *folder, const char *verb, const char *argument)
{
    char command[512];
    snprintf(command, sizeof command, "%s/support/postgres %s %s %s", CHASQUI_TESTS, verb, folder, argument);
    if (system(command) != 0)
        fail_msg("%s", command);
}

static void call(const char *verb, const char *argument)
{
    pg_server_with(pg_server_folder, verb, argument);
}

void pg_server_remove(void)
{
    char command[512];
    if (!pg_server_folder[0])
        return;
    snprintf(command, sizeof command, "%s/support/postgres remove %s", CHASQUI_TESTS, pg_server_folder);
    pg_server_folder[0] = '\0';
    if (system(command) != 0)
        fprintf(stderr, "%s failed\n", command);
}

void pg_server_new(void)
{
    snprintf(pg_server_folder, sizeof pg_server_folder, "/tmp/chasqui-pg-XXXXXX");
    assert_non_null(mkdtemp(pg_server_folder));
    snprintf(pg_server_dsn, sizeof pg_server_dsn, "host=%s/run user=chasqui dbname=mail", pg_server_folder);
    atexit(pg_server_remove);
    call("new", "");
}

void pg_server_bounce(void)
{
    call("bouncer", "");
    snprintf(through, sizeof through, "host=%s/bouncer port=6432 user=chasqui dbname=mail", pg_server_folder);
}

void pg_server_do(const char *verb)
{
    call(verb, "");
}

void pg_server_file(const char *path)
{
    call("file", path);
}

void pg_server_sql(const char *sql)
{
    char dsn[256];
    snprintf(dsn, sizeof dsn, "%s options='-c default_transaction_read_only=off -c client_min_messages=warning'",
             pg_server_dsn);
    PGconn *pg = PQconnectdb(dsn);
    PGresult *result = PQexec(pg, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(pg));
    PQclear(result);
    PQfinish(pg);
}

const char *pg_server_tls(void)
{
    static char address[64];
    char command[512];
    snprintf(command, sizeof command, "%s/support/postgres tls %s", CHASQUI_TESTS, pg_server_folder);
    FILE *out = popen(command, "r");
    if (!out || !fgets(address, sizeof address, out) || pclose(out) != 0)
        fail_msg("%s", command);
    return address;
}

void pg_server_show(const char *which)
{
    call("show", which);
    pg_server_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'chasqui'");
}

struct dir_pg_config pg_server_config(void)
{
    return (struct dir_pg_config){.dsn = through[0] ? through : pg_server_dsn,
                                  .admin_dsn = pg_server_dsn,
                                  .password_file = "",
                                  .connections = 4,
                                  .timeout_us = 10000000,
                                  .vanished_keep_us = UINT64_C(7) * 86400 * 1000000};
}

void pg_server_schema(void)
{
    const struct dir_pg_config config = pg_server_config();
    struct dir_pg_schema schema;
    struct cq_err err = {0};
    pg_server_sql("DROP SCHEMA IF EXISTS mail CASCADE");
    if (dir_pg_schema_migrate(&config, &schema, &err) != CQ_OK)
        fail_msg("%s", err.text);
}
