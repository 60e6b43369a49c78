/* The directory in PostgreSQL: libpq without waiting, many calls in flight on each connection (pipeline mode), no named
 * prepared statements (so PgBouncer in transaction mode may stand between). Tables, views and functions are in
 * pg/0001_accounts.sql; a site may replace them.
 *
 * Opening does not connect: a server that is down, or whose schema is not ours, is trouble of the calls
 * (CQ_E_UNAVAILABLE with one line that says what to do), never an answer about a user. */
#ifndef CHASQUI_DIR_PG_H
#define CHASQUI_DIR_PG_H

#include "directory/directory_backend.h"

/* CQ_E_CONFIG: the DSN is malformed. */
enum cq_rc dir_pg_open(const struct dir_pg_config *config, struct dir_backend **backend_r, struct cq_err *err);

#define DIR_PG_DATABASE_SIZE 256
/* The database that the DSN names, by libpq's rules without the environment; "" when it names none. */
void dir_pg_database(const struct dir_pg_config *config, char name_r[static DIR_PG_DATABASE_SIZE]);

/* ---- The schema: blocking calls, over a connection of their own ---- */

enum dir_pg_schema_state { DIR_PG_UNKNOWN, DIR_PG_CURRENT, DIR_PG_EMPTY, DIR_PG_OLDER, DIR_PG_NEWER };

struct dir_pg_schema {
    enum dir_pg_schema_state state;
    int version; /* of the database; 0: none */
    int newest;  /* that this program has */
    int oldest;  /* program version that the database still works with */
    char server[64];
};

/* CQ_E_CORRUPT: a migration that was applied is not this program's. */
enum cq_rc dir_pg_schema_look(const struct dir_pg_config *config, struct dir_pg_schema *schema_r, struct cq_err *err);
/* Applies what is missing, each in a transaction, one process at a time. */
enum cq_rc dir_pg_schema_migrate(const struct dir_pg_config *config, struct dir_pg_schema *schema_r,
                                 struct cq_err *err);
/* Is everything there that the program reads and calls: views with their columns, functions, the encoding? */
enum cq_rc dir_pg_schema_check(const struct dir_pg_config *config, struct cq_err *err);

#endif
