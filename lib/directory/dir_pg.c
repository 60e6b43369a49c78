#include "directory/dir_pg.h"

#include "directory/dir_pg_statements.h"

#include "base/cq_mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct pg_statement pg_statements[PG_STATEMENT_COUNT] = {
#define PG_STATEMENT_ROW(name, repeat, sql) [name] = {repeat, sql},
    PG_STATEMENTS(PG_STATEMENT_ROW)
#undef PG_STATEMENT_ROW
};

enum cq_rc pg_ask(struct dir_backend *base, enum pg_statement_id id, const struct pg_params *params,
                  PGresult **result_r, struct cq_err *err)
{
    return pg_query(pg_backend_of(base), &pg_statements[id], params, result_r, err);
}

enum cq_rc pg_do(struct dir_backend *base, enum pg_statement_id id, const struct pg_params *params, uint64_t *number_r,
                 struct cq_err *err)
{
    PGresult *result;
    enum cq_rc rc = pg_ask(base, id, params, &result, err);
    if (rc == CQ_OK && number_r && PQntuples(result) == 1)
        *number_r = pg_int(result, 0, 0);
    PQclear(result);
    return rc;
}

/* ---- The feed ---- */

static enum cq_rc read_changes(const PGresult *result, uint64_t since, struct cq_pool *pool, struct dir_change **rows_r,
                               size_t *count_r, uint64_t *head_r, struct cq_err *err)
{
    int lines = PQntuples(result);
    *count_r = 0;
    if (lines == 0)
        return CQ_FAIL(err, CQ_E_UNAVAILABLE, "PostgreSQL: mail.feed has no row; run: chasquictl db check");
    *head_r = pg_int(result, 0, 0);
    uint64_t trimmed = pg_int(result, 0, 1);
    if (since < trimmed || since > *head_r) /* trimmed, or an older copy of the database came back */
        return CQ_FAIL(err, CQ_E_STALE, "the feed has versions %llu to %llu", (unsigned long long)trimmed + 1,
                       (unsigned long long)*head_r);
    *rows_r = cq_pool_calloc(pool, (size_t)lines, sizeof **rows_r);
    for (int i = 0; i < lines && !pg_null(result, i, 2); i++)
        (*rows_r)[(*count_r)++] = (struct dir_change){
            .version = pg_int(result, i, 2),
            .kind = (enum dir_change_kind)pg_int(result, i, 3),
            .account_id = pg_int(result, i, 4),
            .credential_id = pg_int(result, i, 5),
        };
    return CQ_OK;
}

static enum cq_rc changes(struct dir_backend *self, uint64_t since, size_t max, struct cq_pool *pool,
                          struct dir_change **rows_r, size_t *count_r, uint64_t *head_r, struct cq_err *err)
{
    struct pg_params params = {0};
    PGresult *result;
    pg_param_int(&params, since);
    pg_param_int(&params, max);
    enum cq_rc rc = pg_ask(self, PG_CHANGES, &params, &result, err);
    if (rc == CQ_OK)
        rc = read_changes(result, since, pool, rows_r, count_r, head_r, err);
    PQclear(result);
    return rc;
}

/* ---- The schema ---- */

struct schema_job {
    const struct dir_pg_config *config;
    enum directory_schema_action action;
    struct dir_pg_schema schema;
    struct cq_err err;
    enum cq_rc rc;
};

static void run_schema_job(void *arg)
{
    struct schema_job *job = arg;
    job->rc = job->action == DIRECTORY_SCHEMA_MIGRATE ? dir_pg_schema_migrate(job->config, &job->schema, &job->err)
                                                      : dir_pg_schema_look(job->config, &job->schema, &job->err);
    if (job->rc == CQ_OK && job->action == DIRECTORY_SCHEMA_CHECK)
        job->rc = dir_pg_schema_check(job->config, &job->err);
}

static enum cq_rc schema(struct dir_backend *base, enum directory_schema_action action,
                         struct directory_schema *schema_r, struct cq_err *err)
{
    static const char *const states[] = {[DIR_PG_UNKNOWN] = "unknown",
                                         [DIR_PG_CURRENT] = "current",
                                         [DIR_PG_EMPTY] = "empty",
                                         [DIR_PG_OLDER] = "older",
                                         [DIR_PG_NEWER] = "newer"};
    struct pg_backend *self = pg_backend_of(base);
    struct schema_job *job = cq_new(struct schema_job);
    job->config = &self->config;
    job->action = action;
    enum cq_rc rc = pg_pools_run(self->pools, run_schema_job, job);
    if (rc == CQ_OK)
        rc = job->rc;
    if (rc != CQ_OK && err)
        *err = job->err;
    schema_r->state = states[job->schema.state];
    schema_r->version = (uint64_t)job->schema.version;
    schema_r->newest = (uint64_t)job->schema.newest;
    memcpy(schema_r->server, job->schema.server, sizeof schema_r->server);
    if (rc == CQ_OK)
        pg_pools_hope(self->pools);
    free(job);
    return rc;
}

/* ---- Life ---- */

static void pg_close(struct dir_backend *base)
{
    struct pg_backend *self = pg_backend_of(base);
    pg_listen_end(self);
    pg_pools_free(&self->pools);
    free((char *)(uintptr_t)self->config.dsn);
    free((char *)(uintptr_t)self->config.admin_dsn);
    free((char *)(uintptr_t)self->config.listen_dsn);
    free((char *)(uintptr_t)self->config.password_file);
    free((struct dir_backend_ops *)(uintptr_t)base->ops);
    free(self);
}

static char *copy(const char *text)
{
    return cq_strndup(text ? text : "", text ? strlen(text) : 0);
}

static const struct dir_backend_ops *make_ops(void)
{
    struct dir_backend_ops *ops = cq_new(struct dir_backend_ops);
    ops->name = "postgresql";
    ops->close = pg_close;
    ops->changes = changes;
    ops->schema = schema;
    ops->wait_for_change = pg_wait_for_change;
    dir_pg_add_domain_ops(ops);
    dir_pg_add_address_ops(ops);
    dir_pg_add_account_ops(ops);
    dir_pg_add_credential_ops(ops);
    return ops;
}

static enum cq_rc check_dsn(const char *key, const char *dsn, struct cq_err *err)
{
    char *why = NULL;
    PQconninfoOption *options = PQconninfoParse(dsn, &why);
    enum cq_rc rc = CQ_OK;
    bool secret = strstr(dsn, "password") || strchr(dsn, '@'); /* password=..., postgresql://user:...@host */
    if (!options) { /* libpq's text may quote the DSN: not when a password may be in it */
        char text[200];
        pg_one_line(why ? why : "malformed", text, sizeof text);
        rc = CQ_FAIL(err, CQ_E_CONFIG, "%s: %s", key, secret ? "it is malformed" : text);
    }
    PQconninfoFree(options);
    PQfreemem(why);
    return rc;
}

static const char *option_of(const PQconninfoOption *options, const char *keyword)
{
    for (const PQconninfoOption *o = options; o && o->keyword; o++)
        if (strcmp(o->keyword, keyword) == 0)
            return o->val;
    return NULL;
}

void dir_pg_database(const struct dir_pg_config *config, char name_r[static DIR_PG_DATABASE_SIZE])
{
    PQconninfoOption *options = PQconninfoParse(config->dsn, NULL);
    const char *name = option_of(options, "dbname");
    name = name ? name : option_of(options, "user");
    snprintf(name_r, DIR_PG_DATABASE_SIZE, "%s", name ? name : "");
    PQconninfoFree(options);
}

enum cq_rc dir_pg_open(const struct dir_pg_config *config, struct dir_backend **backend_r, struct cq_err *err)
{
    enum cq_rc rc = check_dsn("directory.postgresql.dsn", config->dsn, err);
    if (rc == CQ_OK)
        rc = check_dsn("directory.postgresql.admin_dsn", config->admin_dsn, err);
    if (rc == CQ_OK && config->listen_dsn)
        rc = check_dsn("directory.postgresql.listen_dsn", config->listen_dsn, err);
    if (rc != CQ_OK)
        return rc;
    struct pg_backend *self = cq_new(struct pg_backend);
    self->base.ops = make_ops();
    self->config = *config;
    self->config.dsn = copy(config->dsn);
    self->config.admin_dsn = copy(config->admin_dsn);
    self->config.listen_dsn = copy(config->listen_dsn);
    self->config.password_file = copy(config->password_file);
    self->pools = pg_pools_new(&self->config);
    *backend_r = &self->base;
    return CQ_OK;
}
