/* A real PostgreSQL server for tests, by tests/support/postgres. */
#ifndef PG_SERVER_H
#define PG_SERVER_H

#include "directory/dir_pg.h"

extern char pg_server_folder[64];
extern char pg_server_dsn[128];

void pg_server_new(void); /* started, with an empty database; removed when the program ends */
void pg_server_remove(void);
void pg_server_bounce(void); /* PgBouncer in transaction mode stands between from now on */
void pg_server_with(const char *folder, const char *verb, const char *argument); /* of any server: support/postgres */
void pg_server_do(const char *verb); /* "stop", "start", ...: it must work */
void pg_server_sql(const char *sql); /* as the operator */
void pg_server_file(const char *path);

/* TLS from now on, too, with client certificates; the address that it listens on ("127.1.2.3"), files in FOLDER/tls. */
const char *pg_server_tls(void);
void pg_server_show(const char *which); /* the server's certificate: "good", "expired", "other"; ends our connections */

struct dir_pg_config pg_server_config(void);
void pg_server_schema(void); /* the newest schema without rows */

#endif
