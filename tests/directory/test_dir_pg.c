#include "directory/dir_pg.h"

#include "pg_server.h"
#include "unit/cq_cmocka.h"
#include "unit/directory/suite.h"

#include <stdlib.h>

static struct directory *open_again(void *ctx)
{
    (void)ctx;
    const struct dir_pg_config config = pg_server_config();
    const struct directory_config plain = {.threads = 0};
    struct dir_backend *backend;
    struct cq_err err = {0};
    if (dir_pg_open(&config, &backend, &err) != CQ_OK)
        fail_msg("%s", err.text);
    return directory_new(backend, &plain);
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

int main(void)
{
    const struct dir_suite suite = {.name = "postgresql", .create = create, .again = open_again, .destroy = destroy};
    pg_server_new();
    int failed = dir_suite_run(&suite);
    pg_server_remove();
    return failed;
}
