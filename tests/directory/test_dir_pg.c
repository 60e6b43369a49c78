#include "directory/dir_pg.h"

#include "pg_server.h"
#include "unit/cq_cmocka.h"
#include "unit/directory/suite.h"

#include <stdlib.h>
#include <string.h>

static struct directory *open_again(void *ctx)
{
    (void)ctx;
    const struct directory_config config = {.backend = DIRECTORY_POSTGRESQL,
                                            .postgresql = pg_server_config(),
                                            .cache_max = 1000,
                                            .cache_fresh_us = 30000000,
                                            .cache_stale_us = 30000000};
    struct directory *directory = NULL;
    struct cq_err err = {0};
    if (directory_open(&config, &directory, &err) != CQ_OK)
        fail_msg("%s", err.text);
    return directory;
}

static struct directory *create(void *ctx)
{
    pg_server_schema();
    return open_again(ctx);
}

static void destroy(void *ctx)
{
    (void)ctx;
}

/* "bouncer": through PgBouncer. */
int main(int argc, char **argv)
{
    struct dir_suite suite = {.name = "postgresql", .create = create, .again = open_again, .destroy = destroy};
    pg_server_new();
    if (argc > 1 && strcmp(argv[1], "bouncer") == 0) {
        pg_server_bounce();
        suite.name = "postgresql through PgBouncer";
    }
    int failed = dir_suite_run(&suite);
    pg_server_remove();
    return failed;
}
