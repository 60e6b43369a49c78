/* The directory's life: settings, the backend that they name, and what keeps what is known over a restart. */
#include "directory/directory_private.h"

#include "directory/dir_cache.h"
#include "directory/dir_pg.h"

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"

#include <stdlib.h>

/* ---- Settings ---- */

static const char *const backends[] = {[DIRECTORY_SQLITE] = "sqlite", [DIRECTORY_POSTGRESQL] = "postgresql", NULL};

static const struct cq_setting setting_rows[] = {
    CQ_SET_CHOICE(
        struct directory_config, backend, "directory.backend", "sqlite", backends,
        "Where domains, accounts and credentials are: one file, or a PostgreSQL server (docs/postgresql.md)."),
    CQ_SET_STRING(struct directory_config, postgresql.dsn, "directory.postgresql.dsn", "",
                  "libpq connection string: \"host=db1,db2 dbname=mail user=chasqui target_session_attrs=read-write "
                  "sslmode=verify-full sslrootcert=...\"; PgBouncer in transaction mode may stand between."),
    CQ_SET_STRING(struct directory_config, postgresql.listen_dsn, "directory.postgresql.listen_dsn", "",
                  "Straight to the server, never through PgBouncer: told of changes at once; empty: seen within 2 s."),
    CQ_SET_STRING(struct directory_config, postgresql.admin_dsn, "directory.postgresql.admin_dsn", "",
                  "For chasquictl db: straight to the server, as the owner of the schema; empty: the same."),
    CQ_SET_PATH(struct directory_config, postgresql.password_file, "directory.postgresql.password_file", "",
                "Its first line is the password; read again at each connect."),
    CQ_SET_INT(struct directory_config, postgresql.connections, "directory.postgresql.connections", "2", 1, 64,
               "connections", "Of each worker; many calls are in flight on each."),
    CQ_SET_DURATION(struct directory_config, postgresql.timeout_us, "directory.postgresql.timeout", "3s", "100ms", "1m",
                    "How long one call may take, connecting included; then the answer is \"try later\"."),
    CQ_SET_DURATION(struct directory_config, postgresql.vanished_keep_us, "directory.postgresql.vanished_keep", "7d",
                    "1h", "3650d",
                    "With the tables of another program (postfixadmin): how long an account whose row vanished is kept "
                    "with its mail, without log-in; role admin only, the same at all front-ends."),
    CQ_SET_DURATION(struct directory_config, cache_fresh_us, "directory.cache.fresh", "10s", "0", "30s",
                    "With postgresql: how long a row is used without asking again; a change that the feed tells counts "
                    "at once."),
    CQ_SET_DURATION(struct directory_config, cache_stale_us, "directory.cache.stale", "24h", "0", "30d",
                    "With postgresql: how long a known row is good while the database gives no answer."),
    CQ_SET_INT(struct directory_config, cache_max, "directory.cache.max", "200000", 0, 100000000, "rows",
               "With postgresql: rows that are remembered; an account takes about four."),
    CQ_SET_PATH(
        struct directory_config, known_file, "directory.known.file", "/var/lib/chasqui/directory-known",
        "With postgresql: what the cache knows is kept here, encrypted, so that a front-end that starts while the "
        "database is away knows it; of this front-end alone. Empty: nowhere."),
    CQ_SET_PATH(struct directory_config, known_key_file, "directory.known.key_file", "",
                "The first line is the secret that directory.known.file is encrypted with, 32 characters or more "
                "(openssl rand -base64 32); without it the file is not used."),
    CQ_SET_DURATION(struct directory_config, known_interval_us, "directory.known.interval", "1m", "1s", "1h",
                    "How often that file is written when something was learnt; also when the front-end stops."),
    CQ_SET_PATH(struct directory_config, sqlite_path, "directory.sqlite.path", "/var/lib/chasqui/directory.db",
                "File of the embedded directory (SQLite): domains, accounts, credentials."),
    CQ_SET_INT(struct directory_config, threads, "directory.threads", "2", 0, 64, "threads",
               "Threads that read and write the directory while sessions wait."),
    CQ_SET_INT(struct directory_config, queue_max, "directory.queue_max", "1000", 1, 100000, "calls",
               "Calls that may wait for a thread; one more is answered \"try later\"."),
    CQ_SET_DURATION(struct directory_config, busy_timeout_us, "directory.sqlite.busy_timeout", "5s", "0", "1m",
                    "How long a write waits for another process that writes."),
};

struct cq_config_part directory_config_part(struct directory_config *values)
{
    return (struct cq_config_part)CQ_CONFIG_PART("Directory", setting_rows, values);
}

/* ---- Life ---- */

struct directory *directory_new(struct dir_backend *backend, const struct directory_config *config)
{
    struct directory *directory = cq_new(struct directory);
    directory->backend = backend;
    atomic_store(&directory->healthy, true);
    pthread_mutex_init(&directory->lock, NULL);
    if (config->threads > 0)
        directory->threads = io_pool_new("directory", (size_t)config->threads, (size_t)config->queue_max);
    return directory;
}

/* NULL: it is off, and the log says why. */
static struct dir_keeper *open_keeper(struct dir_backend *cache, const struct directory_config *config)
{
    char database[DIR_PG_DATABASE_SIZE];
    struct dir_keeper_config keeper = {
        .path = config->known_file,
        .interval_us = config->known_interval_us,
        .stale_us = config->cache_stale_us,
        .mono_us = cq_time_mono_us,
        .wall_us = cq_time_wall_us,
    };
    struct cq_err err = {0};
    struct dir_keeper *kept = NULL;
    if (!config->known_file || !config->known_file[0])
        return NULL;
    dir_pg_database(&config->postgresql, database);
    keeper.origin = cq_slice_cstr(database);
    if (!config->known_key_file[0])
        CQ_FAIL(
            &err, CQ_E_CONFIG,
            "without directory.known.key_file this front-end knows nobody after a restart while PostgreSQL is down");
    else if (dir_known_key(config->known_key_file, keeper.key, &err) == CQ_OK)
        kept = dir_keeper_new(cache, &keeper);
    if (!kept)
        cq_log(CQ_WARN, "directory.known.off", CQ_F_ERR(&err));
    cq_wipe(keeper.key, sizeof keeper.key);
    return kept;
}

static enum cq_rc open_pg(const struct directory_config *config, struct directory **directory_r, struct cq_err *err)
{
    struct directory_config on_fibers = *config;
    struct dir_backend *backend;
    if (!config->postgresql.dsn[0])
        return CQ_FAIL(err, CQ_E_CONFIG, "directory.backend is postgresql: set directory.postgresql.dsn too");
    enum cq_rc rc = dir_pg_open(&config->postgresql, &backend, err);
    if (rc != CQ_OK)
        return rc;
    const struct dir_cache_config cache = {
        .fresh_us = config->cache_fresh_us,
        .stale_us = config->cache_stale_us,
        .max = config->cache_max,
        .now_us = cq_time_mono_us,
    };
    if (config->cache_max)
        backend = dir_cache_new(backend, &cache);
    on_fibers.threads = 0; /* it never holds up a thread */
    *directory_r = directory_new(backend, &on_fibers);
    if (config->cache_max)
        (*directory_r)->keeper = open_keeper(backend, config);
    return CQ_OK;
}

enum cq_rc directory_open(const struct directory_config *config, struct directory **directory_r, struct cq_err *err)
{
    struct dir_backend *backend;
    *directory_r = NULL;
    if (config->backend == DIRECTORY_POSTGRESQL)
        return open_pg(config, directory_r, err);
    enum cq_rc rc = dir_sqlite_open(config->sqlite_path, config->busy_timeout_us, &backend, err);
    *directory_r = rc == CQ_OK ? directory_new(backend, config) : NULL;
    return rc;
}

void directory_close(struct directory **directory)
{
    if (!*directory)
        return;
    io_pool_free(&(*directory)->threads);
    dir_keeper_free(&(*directory)->keeper);
    (*directory)->backend->ops->close((*directory)->backend);
    pthread_mutex_destroy(&(*directory)->lock);
    free(*directory);
    *directory = NULL;
}

bool directory_healthy(const struct directory *directory)
{
    char text[DIRECTORY_TROUBLE_SIZE];
    struct dir_backend *backend = directory->backend;
    if (backend->ops->trouble)
        return !backend->ops->trouble(backend, text);
    return atomic_load_explicit(&directory->healthy, memory_order_relaxed);
}

enum cq_rc directory_schema(struct directory *directory, enum directory_schema_action action,
                            struct directory_schema *schema_r, struct cq_err *err)
{
    const struct dir_backend_ops *ops = directory->backend->ops;
    *schema_r = (struct directory_schema){.backend = ops->name, .state = "current"};
    return ops->schema ? ops->schema(directory->backend, action, schema_r, err) : CQ_OK;
}
