/* The migrations as the build embeds them (cmake/EmbedSql.cmake). */
#ifndef CHASQUI_DIR_PG_SCHEMA_H
#define CHASQUI_DIR_PG_SCHEMA_H

#include <stddef.h>

struct dir_pg_migration {
    const char *name;         /* "0001_accounts" */
    const unsigned char *sql; /* NUL-terminated */
    size_t len;               /* without the NUL */
};

extern const struct dir_pg_migration dir_pg_migrations[]; /* [0] is version 1 */
extern const size_t dir_pg_migration_count;

#endif
