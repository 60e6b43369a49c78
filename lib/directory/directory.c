#include "directory/directory.h"

#include "directory/dir_cache.h"
#include "directory/dir_keeper.h"
#include "directory/dir_pg.h"
#include "directory/dir_resolve.h"
#include "directory/directory_backend.h"

#include "base/cq_assert.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_metrics.h"
#include "base/cq_rand.h"
#include "base/cq_text.h"
#include "base/cq_time.h"
#include "io/io_pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define LIST_MAX 1000
#define QUEUE_WAIT_MS 10000 /* a call that waited so long for a thread is answered CQ_E_TIMEOUT */
#define ID_TRIES 16
#define PLAN_NAME(name, ...) " " name
#define PENDING_AGE_MAX_US (UINT64_C(86400) * 365 * 1000000) /* so that no clock reading is smaller */

struct directory {
    struct dir_backend *backend;
    struct io_pool *threads;   /* NULL: calls run where they are made */
    struct dir_keeper *keeper; /* NULL: what is known is not kept */
    atomic_bool healthy;
    pthread_mutex_t lock; /* guards trouble */
    char trouble[DIRECTORY_TROUBLE_SIZE];
};

/* ---- Settings and metrics ---- */

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

enum { M_CALLS, M_DURATION };
enum { RESULT_OK, RESULT_REFUSED, RESULT_FAILED };
static const char *const result_names[] = {"ok", "refused", "failed"};

static const struct cq_metric metric_rows[] = {
    [M_CALLS] = CQ_COUNTER("chasqui_directory_calls_total",
                           "Calls to the directory; refused is a definite answer like \"no such account\"",
                           CQ_LABEL("result", result_names)),
    [M_DURATION] = CQ_HISTOGRAM("chasqui_directory_call_duration_seconds",
                                "Time of a call to the directory, waiting for a thread included", CQ_BUCKETS_IO),
};

struct cq_metrics directory_metrics = CQ_METRICS_OF(metric_rows);

/* ---- One call: on a pool thread while the fiber sleeps, or here ---- */

struct call;
typedef enum cq_rc call_fn(struct call *call);

/* What the calls take and give; each uses its part. `tmp` is the call's own memory, `pool` the caller's. */
struct call {
    struct dir_backend *backend;
    struct cq_err *err;
    struct cq_pool *tmp;
    struct cq_pool *pool;
    struct cq_slice text, other;
    uint64_t id, id2, number;
    size_t max;
    const void *in;
    void *out;
    size_t *count_r;
    uint64_t *number_r;
    enum dir_state to;
    unsigned from;
    call_fn *fn;
    enum cq_rc rc;
};

static void run_call(void *arg)
{
    struct call *call = arg;
    call->tmp = cq_pool_new(1024);
    call->rc = call->fn(call);
    cq_pool_free(&call->tmp);
}

static bool is_definite(enum cq_rc rc)
{
    return rc == CQ_E_INVALID || rc == CQ_E_NOT_FOUND || rc == CQ_E_EXISTS || rc == CQ_E_CONFLICT ||
           rc == CQ_E_DENIED || rc == CQ_E_LIMIT || rc == CQ_E_STALE || rc == CQ_E_BEHIND || rc == CQ_E_UNSUPPORTED;
}

static void note_trouble(struct directory *directory, const char *text)
{
    pthread_mutex_lock(&directory->lock);
    snprintf(directory->trouble, sizeof directory->trouble, "%s", text);
    pthread_mutex_unlock(&directory->lock);
}

void directory_trouble(struct directory *directory, char text_r[static DIRECTORY_TROUBLE_SIZE])
{
    struct dir_backend *backend = directory->backend;
    text_r[0] = '\0';
    if (backend->ops->trouble) {
        backend->ops->trouble(backend, text_r);
        return;
    }
    pthread_mutex_lock(&directory->lock);
    if (!atomic_load_explicit(&directory->healthy, memory_order_relaxed))
        snprintf(text_r, DIRECTORY_TROUBLE_SIZE, "%s", directory->trouble);
    pthread_mutex_unlock(&directory->lock);
}

static void note_result(struct directory *directory, enum cq_rc rc, uint64_t start_us, const struct cq_err *err)
{
    unsigned result = rc == CQ_OK ? RESULT_OK : is_definite(rc) ? RESULT_REFUSED : RESULT_FAILED;
    cq_metric_add(&directory_metrics, M_CALLS, 1, result);
    cq_metric_observe(&directory_metrics, M_DURATION, cq_time_mono_us() - start_us);
    if (result == RESULT_FAILED)
        note_trouble(directory, err ? err->text : cq_rc_text(rc));
    if (rc != CQ_E_CANCELLED && rc != CQ_E_OVERLOADED)
        atomic_store_explicit(&directory->healthy, result != RESULT_FAILED, memory_order_relaxed);
}

static enum cq_rc run(struct directory *directory, call_fn *fn, struct call *call, struct cq_err *err)
{
    uint64_t start_us = cq_time_mono_us();
    enum cq_rc rc = CQ_OK;
    struct cq_err own = {0}; /* for callers that want no text: /readyz?verbose does */
    err = err ? err : &own;
    call->backend = directory->backend;
    call->err = err;
    call->fn = fn;
    if (directory->threads && io_fiber_running()) {
        rc = io_pool_run(directory->threads, run_call, call, io_loop_deadline(io_loop_self(), QUEUE_WAIT_MS));
    } else {
        run_call(call);
    }
    rc = rc == CQ_OK ? call->rc : rc;
    if (rc != CQ_OK && err->rc != rc) /* nobody said it in words */
        cq_err_set(err, rc, "directory: %s", cq_rc_text(rc));
    note_result(directory, rc, start_us, err);
    return rc == CQ_E_BEHIND ? cq_err_set(err, CQ_E_UNAVAILABLE, "the account is not ready yet") : rc;
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

/* ---- Looking up ---- */

static enum cq_rc do_resolve(struct call *c)
{
    return dir_resolve_accounts(c->backend, c->text, c->pool, c->out, c->err);
}

enum cq_rc directory_resolve(struct directory *directory, struct cq_slice address, struct cq_pool *pool,
                             struct dir_resolution *resolution_r, struct cq_err *err)
{
    struct call call = {.text = address, .pool = pool, .out = resolution_r};
    return run(directory, do_resolve, &call, err);
}

static enum cq_rc do_may_send_as(struct call *c)
{
    struct dir_targets targets;
    enum cq_rc rc = dir_resolve_targets(c->backend, c->text, c->tmp, &targets, c->err);
    if (rc != CQ_OK)
        return rc;
    for (size_t i = 0; i < targets.count && targets.answer == DIR_FOUND && targets.via != DIR_VIA_CATCH_ALL; i++)
        if (targets.ids[i] == c->id)
            return CQ_OK;
    return CQ_FAIL(c->err, CQ_E_DENIED, "the address is not one of the account's");
}

enum cq_rc directory_may_send_as(struct directory *directory, uint64_t account_id, struct cq_slice address,
                                 struct cq_err *err)
{
    struct call call = {.text = address, .id = account_id};
    return run(directory, do_may_send_as, &call, err);
}

static enum cq_rc do_account(struct call *c)
{
    return c->backend->ops->account_get(c->backend, c->id, c->pool, c->out, c->err);
}

enum cq_rc directory_account(struct directory *directory, uint64_t account_id, struct cq_pool *pool,
                             struct dir_account *account_r, struct cq_err *err)
{
    struct call call = {.id = account_id, .pool = pool, .out = account_r};
    return run(directory, do_account, &call, err);
}

static enum cq_rc do_account_by_login(struct call *c)
{
    struct dir_address address;
    struct dir_domain domain;
    struct dir_address_row row;
    if (dir_address_parse(c->text, c->tmp, &address, NULL) != CQ_OK || address.local.len == 0)
        return CQ_FAIL(c->err, CQ_E_NOT_FOUND, "no such login name");
    enum cq_rc rc = dir_resolve_domain(c->backend, address.domain, c->tmp, &domain, c->err);
    if (rc == CQ_OK)
        rc = c->backend->ops->address_get(c->backend, domain.id, address.local, c->tmp, &row, c->err);
    if (rc != CQ_OK)
        return rc;
    if (row.kind != DIR_PRIMARY || row.target_count != 1)
        return CQ_FAIL(c->err, CQ_E_NOT_FOUND, "no such login name");
    return c->backend->ops->account_get(c->backend, row.targets[0], c->pool, c->out, c->err);
}

enum cq_rc directory_account_by_login(struct directory *directory, struct cq_slice login, struct cq_pool *pool,
                                      struct dir_account *account_r, struct cq_err *err)
{
    struct call call = {.text = login, .pool = pool, .out = account_r};
    return run(directory, do_account_by_login, &call, err);
}

/* ---- Domains ---- */

static enum cq_rc parse_domain(struct call *c, struct cq_slice text, struct cq_slice *name_r)
{
    return dir_domain_parse(text, c->tmp, name_r, c->err);
}

/* By its canonical name, in `pool`. */
static enum cq_rc find_domain(struct call *c, struct cq_slice name, struct cq_pool *pool, struct dir_domain *domain_r)
{
    enum cq_rc rc = c->backend->ops->domain_get(c->backend, name, pool, domain_r, c->err);
    if (rc == CQ_E_NOT_FOUND)
        return CQ_FAIL(c->err, rc, "%.*s is no domain of ours", CQ_SLICE_ARG(name));
    return rc;
}

static enum cq_rc get_domain(struct call *c, struct cq_slice text, struct dir_domain *domain_r)
{
    struct cq_slice name;
    enum cq_rc rc = parse_domain(c, text, &name);
    return rc == CQ_OK ? find_domain(c, name, c->tmp, domain_r) : rc;
}

static enum cq_rc do_domain_add(struct call *c)
{
    struct cq_slice name;
    struct dir_domain target = {0};
    enum cq_rc rc = parse_domain(c, c->text, &name);
    if (rc == CQ_OK && c->other.len)
        rc = get_domain(c, c->other, &target);
    if (rc != CQ_OK)
        return rc;
    if (target.alias_of)
        return CQ_FAIL(c->err, CQ_E_INVALID, "the target is an alias domain itself");
    return c->backend->ops->domain_add(c->backend, name, target.id, cq_time_wall_us(), c->err);
}

enum cq_rc directory_domain_add(struct directory *directory, struct cq_slice name, struct cq_err *err)
{
    struct call call = {.text = name};
    return run(directory, do_domain_add, &call, err);
}

enum cq_rc directory_domain_alias_add(struct directory *directory, struct cq_slice alias, struct cq_slice target,
                                      struct cq_err *err)
{
    struct call call = {.text = alias, .other = target};
    if (target.len == 0)
        return CQ_FAIL(err, CQ_E_INVALID, "an alias domain needs a target");
    return run(directory, do_domain_add, &call, err);
}

static enum cq_rc do_domain_postmaster(struct call *c)
{
    struct dir_domain domain;
    struct dir_account account;
    enum cq_rc rc = get_domain(c, c->text, &domain);
    if (rc == CQ_OK && domain.alias_of)
        return CQ_FAIL(c->err, CQ_E_INVALID, "an alias domain has its target's postmaster");
    if (rc == CQ_OK && c->id)
        rc = c->backend->ops->account_get(c->backend, c->id, c->tmp, &account, c->err);
    return rc == CQ_OK ? c->backend->ops->domain_set_postmaster(c->backend, domain.id, c->id, c->err) : rc;
}

enum cq_rc directory_domain_postmaster(struct directory *directory, struct cq_slice name, uint64_t account_id,
                                       struct cq_err *err)
{
    struct call call = {.text = name, .id = account_id};
    return run(directory, do_domain_postmaster, &call, err);
}

static enum cq_rc do_domain_remove(struct call *c)
{
    struct dir_domain domain;
    enum cq_rc rc = get_domain(c, c->text, &domain);
    return rc == CQ_OK ? c->backend->ops->domain_remove(c->backend, domain.id, c->err) : rc;
}

enum cq_rc directory_domain_remove(struct directory *directory, struct cq_slice name, struct cq_err *err)
{
    struct call call = {.text = name};
    return run(directory, do_domain_remove, &call, err);
}

static enum cq_rc do_domain(struct call *c)
{
    struct cq_slice name;
    enum cq_rc rc = parse_domain(c, c->text, &name);
    return rc == CQ_OK ? find_domain(c, name, c->pool, c->out) : rc;
}

enum cq_rc directory_domain(struct directory *directory, struct cq_slice name, struct cq_pool *pool,
                            struct dir_domain *domain_r, struct cq_err *err)
{
    struct call call = {.text = name, .pool = pool, .out = domain_r};
    return run(directory, do_domain, &call, err);
}

static enum cq_rc do_domain_list(struct call *c)
{
    return c->backend->ops->domain_list(c->backend, c->text, c->max, c->pool, c->out, c->count_r, c->err);
}

static size_t page_size(size_t max)
{
    return max < LIST_MAX ? max : LIST_MAX;
}

enum cq_rc directory_domain_list(struct directory *directory, struct cq_slice after, size_t max, struct cq_pool *pool,
                                 struct dir_domain **domains_r, size_t *count_r, struct cq_err *err)
{
    struct call call = {.text = after, .max = page_size(max), .pool = pool, .out = domains_r, .count_r = count_r};
    return run(directory, do_domain_list, &call, err);
}

/* ---- Accounts ---- */

static enum cq_rc check_quota(uint64_t bytes, uint64_t messages, struct cq_err *err)
{
    if (bytes > INT64_MAX || messages > INT64_MAX)
        return CQ_FAIL(err, CQ_E_INVALID, "quota is over 2^63 - 1");
    return CQ_OK;
}

static enum cq_rc check_home_dc(struct cq_slice name, struct cq_err *err)
{
    if (name.len > DIR_LABEL_MAX || !cq_utf8_valid(name) || cq_slice_find(name, '\0') < name.len)
        return CQ_FAIL(err, CQ_E_INVALID, "name of a data centre is over %d bytes or no text", DIR_LABEL_MAX);
    return CQ_OK;
}

static enum cq_rc check_services(unsigned services, struct cq_err *err)
{
    if (services & ~(unsigned)DIR_ALL_SERVICES)
        return CQ_FAIL(err, CQ_E_INVALID, "unknown service");
    return CQ_OK;
}

/* The low 48 bits are random, not counted: after a restore of an old copy of the database no new account can get the
 * id, and with it the mailboxes, of an account that the copy does not know. */
static uint64_t make_account_id(uint16_t slot)
{
    uint64_t low;
    do
        low = cq_rand_u64() >> 16;
    while (low == 0);
    return (uint64_t)slot << DIR_SLOT_SHIFT | low;
}

static enum cq_rc check_new_account(const struct dir_account_new *new, const struct dir_plan *plan,
                                    const struct dir_address *address, struct cq_err *err)
{
    enum cq_rc rc;
    if (!plan)
        return CQ_FAIL(err, CQ_E_INVALID, "there is no such plan, but" DIR_PLANS(PLAN_NAME));
    if (!dir_local_creatable(address->local) || address->base.len < address->local.len)
        return CQ_FAIL(err, CQ_E_INVALID,
                       "no account can have this local part: letters, digits, dots in between, no tag");
    if ((rc = check_home_dc(new->home_dc, err)) != CQ_OK || (rc = check_services(new->services, err)) != CQ_OK)
        return rc;
    return check_quota(new->quota_bytes, new->quota_messages, err);
}

/* The address is taken: by whom? An id of 0 when it is an alias. */
static enum cq_rc tell_holder(struct call *c, uint64_t domain_id, struct cq_slice local)
{
    struct dir_account *account = c->out;
    struct dir_address_row row;
    *account = (struct dir_account){0};
    enum cq_rc rc = c->backend->ops->address_get(c->backend, domain_id, local, c->tmp, &row, c->err);
    if (rc == CQ_OK && row.kind == DIR_PRIMARY && row.target_count == 1)
        rc = c->backend->ops->account_get(c->backend, row.targets[0], c->pool, account, c->err);
    return rc == CQ_OK ? CQ_FAIL(c->err, CQ_E_EXISTS, "the address is taken") : rc;
}

static enum cq_rc add_with_new_id(struct call *c, struct dir_account_row *row, uint16_t slot)
{
    enum cq_rc rc = CQ_E_CONFLICT;
    for (int i = 0; i < ID_TRIES && rc == CQ_E_CONFLICT; i++) {
        row->id = make_account_id(slot);
        rc = c->backend->ops->account_add(c->backend, row, c->err);
    }
    return rc;
}

static enum cq_rc do_account_create(struct call *c)
{
    const struct dir_account_new *new = c->in;
    struct dir_address address;
    struct dir_domain domain;
    const struct dir_plan *plan = dir_plan_find(new->plan.len ? new->plan : CQ_SLICE(DIR_PLAN_DEFAULT));
    enum cq_rc rc = dir_address_parse(new->address, c->tmp, &address, c->err);
    if (rc == CQ_OK)
        rc = check_new_account(new, plan, &address, c->err);
    if (rc == CQ_OK)
        rc = find_domain(c, address.domain, c->tmp, &domain);
    if (rc != CQ_OK)
        return rc;
    if (domain.alias_of)
        return CQ_FAIL(c->err, CQ_E_INVALID, "an alias domain has no accounts of its own");
    struct dir_account_row row = {
        .domain_id = domain.id,
        .local = address.local,
        .home_dc = new->home_dc,
        .plan = plan,
        .services = new->services,
        .admin = new->admin,
        .quota_bytes = new->quota_bytes,
        .quota_messages = new->quota_messages,
        .password_hash = new->password_hash,
        .now_us = cq_time_wall_us(),
    };
    rc = add_with_new_id(c, &row, new->slot);
    if (rc == CQ_E_EXISTS)
        return tell_holder(c, domain.id, address.local);
    return rc == CQ_OK ? c->backend->ops->account_get(c->backend, row.id, c->pool, c->out, c->err) : rc;
}

enum cq_rc directory_account_create(struct directory *directory, const struct dir_account_new *account,
                                    struct cq_pool *pool, struct dir_account *account_r, struct cq_err *err)
{
    struct call call = {.in = account, .pool = pool, .out = account_r};
    *account_r = (struct dir_account){0};
    return run(directory, do_account_create, &call, err);
}

static enum cq_rc do_set_state(struct call *c)
{
    return c->backend->ops->account_set_state(c->backend, c->id, c->from, c->to, c->err);
}

static enum cq_rc set_state(struct directory *directory, uint64_t account_id, unsigned from, enum dir_state to,
                            struct cq_err *err)
{
    struct call call = {.id = account_id, .from = from, .to = to};
    return run(directory, do_set_state, &call, err);
}

enum cq_rc directory_account_activate(struct directory *directory, uint64_t account_id, struct cq_err *err)
{
    return set_state(directory, account_id, 1u << DIR_CREATING, DIR_ACTIVE, err);
}

enum cq_rc directory_account_disable(struct directory *directory, uint64_t account_id, struct cq_err *err)
{
    return set_state(directory, account_id, 1u << DIR_ACTIVE, DIR_DISABLED, err);
}

enum cq_rc directory_account_enable(struct directory *directory, uint64_t account_id, struct cq_err *err)
{
    return set_state(directory, account_id, 1u << DIR_DISABLED, DIR_ACTIVE, err);
}

enum cq_rc directory_account_delete(struct directory *directory, uint64_t account_id, struct cq_err *err)
{
    return set_state(directory, account_id, 1u << DIR_CREATING | 1u << DIR_ACTIVE | 1u << DIR_DISABLED, DIR_DELETING,
                     err);
}

static enum cq_rc do_account_remove(struct call *c)
{
    enum cq_rc rc = c->backend->ops->account_remove(c->backend, c->id, c->err);
    return rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
}

enum cq_rc directory_account_remove(struct directory *directory, uint64_t account_id, struct cq_err *err)
{
    struct call call = {.id = account_id};
    return run(directory, do_account_remove, &call, err);
}

static enum cq_rc do_account_update(struct call *c)
{
    const struct dir_account_update *update = c->in;
    const struct dir_plan *plan = NULL;
    enum cq_rc rc = CQ_OK;
    if (update->what & DIR_SET_PLAN && !(plan = dir_plan_find(update->plan)))
        return CQ_FAIL(c->err, CQ_E_INVALID, "there is no such plan, but" DIR_PLANS(PLAN_NAME));
    if (update->what & DIR_SET_SERVICES)
        rc = check_services(update->services, c->err);
    if (rc == CQ_OK && update->what & DIR_SET_QUOTA)
        rc = check_quota(update->quota_bytes, update->quota_messages, c->err);
    if (rc == CQ_OK && update->what & DIR_SET_HOME_DC)
        rc = check_home_dc(update->home_dc, c->err);
    return rc == CQ_OK ? c->backend->ops->account_update(c->backend, c->id, update, plan, c->err) : rc;
}

enum cq_rc directory_account_update(struct directory *directory, uint64_t account_id,
                                    const struct dir_account_update *update, struct cq_err *err)
{
    struct call call = {.id = account_id, .in = update};
    return run(directory, do_account_update, &call, err);
}

static enum cq_rc do_account_list(struct call *c)
{
    const struct dir_account_filter *filter = c->in;
    struct dir_account_query query = {
        .states = filter->states ? filter->states : (1u << DIR_STATE_COUNT) - 1,
        .after_id = filter->after_id,
        .max = page_size(filter->max),
    };
    struct dir_domain domain;
    enum cq_rc rc = filter->domain.len ? get_domain(c, filter->domain, &domain) : CQ_OK;
    if (rc != CQ_OK)
        return rc;
    query.domain_id = filter->domain.len ? domain.id : 0;
    return c->backend->ops->account_list(c->backend, &query, c->pool, c->out, c->count_r, c->err);
}

enum cq_rc directory_account_list(struct directory *directory, const struct dir_account_filter *filter,
                                  struct cq_pool *pool, struct dir_account **accounts_r, size_t *count_r,
                                  struct cq_err *err)
{
    struct call call = {.in = filter, .pool = pool, .out = accounts_r, .count_r = count_r};
    return run(directory, do_account_list, &call, err);
}

/* ---- Half done ---- */

static enum cq_rc do_pending_list(struct call *c)
{
    struct dir_pending_query query = *(const struct dir_pending_query *)c->in;
    query.max = page_size(query.max);
    if (query.age_min_us > PENDING_AGE_MAX_US)
        query.age_min_us = PENDING_AGE_MAX_US;
    return c->backend->ops->pending_list(c->backend, &query, c->pool, c->out, c->count_r, c->err);
}

enum cq_rc directory_pending_list(struct directory *directory, const struct dir_pending_query *query,
                                  struct cq_pool *pool, struct dir_account **accounts_r, size_t *count_r,
                                  struct cq_err *err)
{
    struct call call = {.in = query, .pool = pool, .out = accounts_r, .count_r = count_r};
    return run(directory, do_pending_list, &call, err);
}

static enum cq_rc do_pending_count(struct call *c)
{
    return c->backend->ops->pending_count(c->backend, c->out, c->err);
}

enum cq_rc directory_pending_count(struct directory *directory, struct dir_pending *pending_r, struct cq_err *err)
{
    struct call call = {.out = pending_r};
    *pending_r = (struct dir_pending){0};
    return run(directory, do_pending_count, &call, err);
}

/* ---- Aliases ---- */

static enum cq_rc find_alias(struct call *c, struct dir_address *address_r, struct dir_domain *domain_r)
{
    enum cq_rc rc = dir_address_parse(c->text, c->tmp, address_r, c->err);
    return rc == CQ_OK ? find_domain(c, address_r->domain, c->tmp, domain_r) : rc;
}

static enum cq_rc do_alias_add(struct call *c)
{
    struct dir_address address;
    struct dir_domain domain;
    struct dir_account account;
    enum cq_rc rc = find_alias(c, &address, &domain);
    if (rc == CQ_OK)
        rc = c->backend->ops->account_get(c->backend, c->id, c->tmp, &account, c->err);
    if (rc != CQ_OK)
        return rc;
    if (domain.alias_of)
        return CQ_FAIL(c->err, CQ_E_INVALID, "an alias domain has no addresses of its own");
    if (address.local.len && !dir_local_creatable(address.local))
        return CQ_FAIL(c->err, CQ_E_INVALID, "no alias can have this local part: letters, digits, dots in between");
    return c->backend->ops->target_add(c->backend, domain.id, address.local,
                                       address.local.len ? DIR_ALIAS : DIR_CATCH_ALL, c->id, c->err);
}

enum cq_rc directory_alias_add(struct directory *directory, struct cq_slice address, uint64_t account_id,
                               struct cq_err *err)
{
    struct call call = {.text = address, .id = account_id};
    return run(directory, do_alias_add, &call, err);
}

static enum cq_rc do_alias_remove(struct call *c)
{
    struct dir_address address;
    struct dir_domain domain;
    enum cq_rc rc = find_alias(c, &address, &domain);
    if (rc != CQ_OK)
        return rc;
    rc = c->backend->ops->target_remove(c->backend, domain.id, address.local, c->id, c->err);
    if (rc == CQ_E_NOT_FOUND)
        return CQ_FAIL(c->err, rc, "%.*s is no alias%s", CQ_SLICE_ARG(address.text), c->id ? " of that account" : "");
    return rc;
}

enum cq_rc directory_alias_remove(struct directory *directory, struct cq_slice address, uint64_t account_id,
                                  struct cq_err *err)
{
    struct call call = {.text = address, .id = account_id};
    return run(directory, do_alias_remove, &call, err);
}

static enum cq_rc do_address_list(struct call *c)
{
    struct dir_domain domain = {0};
    enum cq_rc rc = c->id ? CQ_OK : get_domain(c, c->text, &domain);
    if (rc != CQ_OK)
        return rc;
    return c->backend->ops->address_list(c->backend, c->id, domain.id, c->max, c->pool, c->out, c->count_r, c->err);
}

enum cq_rc directory_address_list(struct directory *directory, uint64_t account_id, struct cq_slice domain, size_t max,
                                  struct cq_pool *pool, struct dir_address_row **rows_r, size_t *count_r,
                                  struct cq_err *err)
{
    struct call call = {
        .id = account_id, .text = domain, .max = page_size(max), .pool = pool, .out = rows_r, .count_r = count_r};
    return run(directory, do_address_list, &call, err);
}

/* ---- Credentials ---- */

static enum cq_rc do_credential_list(struct call *c)
{
    return c->backend->ops->credential_list(c->backend, c->id, c->pool, c->out, c->count_r, c->err);
}

enum cq_rc directory_credential_list(struct directory *directory, uint64_t account_id, struct cq_pool *pool,
                                     struct dir_credential **rows_r, size_t *count_r, struct cq_err *err)
{
    struct call call = {.id = account_id, .pool = pool, .out = rows_r, .count_r = count_r};
    return run(directory, do_credential_list, &call, err);
}

static enum cq_rc do_credential_put(struct call *c)
{
    const struct dir_credential *row = c->in;
    if (row->label.len > DIR_LABEL_MAX || !cq_utf8_valid(row->label) ||
        cq_slice_find(row->label, '\0') < row->label.len)
        return CQ_FAIL(c->err, CQ_E_INVALID, "a label is over %d bytes or no text", DIR_LABEL_MAX);
    if (row->scopes == 0 || check_services(row->scopes, NULL) != CQ_OK)
        return CQ_FAIL(c->err, CQ_E_INVALID, "a credential is for some of imap, pop, smtp");
    if ((row->kind == DIR_APP_PASSWORD) != (row->prefix.len > 0))
        return CQ_FAIL(c->err, CQ_E_INVALID, "an app password has a prefix, a password has none");
    return c->backend->ops->credential_put(c->backend, row, cq_time_wall_us(), c->number_r, c->err);
}

enum cq_rc directory_credential_put(struct directory *directory, const struct dir_credential *credential,
                                    uint64_t *id_r, struct cq_err *err)
{
    struct call call = {.in = credential, .number_r = id_r};
    return run(directory, do_credential_put, &call, err);
}

static enum cq_rc do_credential_rehash(struct call *c)
{
    return c->backend->ops->credential_rehash(c->backend, c->id, c->number, c->text, c->err);
}

enum cq_rc directory_credential_rehash(struct directory *directory, uint64_t credential_id, uint64_t old_version,
                                       struct cq_slice hash, struct cq_err *err)
{
    struct call call = {.id = credential_id, .number = old_version, .text = hash};
    return run(directory, do_credential_rehash, &call, err);
}

static enum cq_rc do_credential_used(struct call *c)
{
    return c->backend->ops->credential_used(c->backend, c->id, c->number, c->err);
}

enum cq_rc directory_credential_used(struct directory *directory, uint64_t credential_id, uint64_t now_us,
                                     struct cq_err *err)
{
    struct call call = {.id = credential_id, .number = now_us};
    return run(directory, do_credential_used, &call, err);
}

static enum cq_rc do_credential_remove(struct call *c)
{
    return c->backend->ops->credential_remove(c->backend, c->id, c->id2, c->err);
}

enum cq_rc directory_credential_remove(struct directory *directory, uint64_t account_id, uint64_t credential_id,
                                       struct cq_err *err)
{
    struct call call = {.id = account_id, .id2 = credential_id};
    return run(directory, do_credential_remove, &call, err);
}

/* ---- Changes ---- */

static enum cq_rc do_changes(struct call *c)
{
    return c->backend->ops->changes(c->backend, c->number, c->max, c->pool, c->out, c->count_r, c->number_r, c->err);
}

enum cq_rc directory_changes(struct directory *directory, uint64_t since, size_t max, struct cq_pool *pool,
                             struct dir_change **changes_r, size_t *count_r, uint64_t *head_r, struct cq_err *err)
{
    struct call call = {
        .number = since, .max = page_size(max), .pool = pool, .out = changes_r, .count_r = count_r, .number_r = head_r};
    return run(directory, do_changes, &call, err);
}

/* One page. *more_r: there may be another. */
static enum cq_rc poll_page(struct directory_watch *watch, struct cq_pool *pool, bool *more_r, struct cq_err *err)
{
    struct dir_change *changes;
    size_t count = 0;
    uint64_t head = 0;
    enum cq_rc rc = directory_changes(watch->directory, watch->seen, LIST_MAX, pool, &changes, &count, &head, err);
    *more_r = rc == CQ_OK && count == LIST_MAX;
    if (rc == CQ_E_STALE) {
        watch->seen = head;
        if (watch->started || watch->late)
            watch->changed(NULL, true, watch->ctx);
        watch->started = true;
        return CQ_OK;
    }
    if (rc != CQ_OK)
        return rc;
    for (size_t i = 0; i < count && watch->started; i++)
        watch->changed(&changes[i], false, watch->ctx);
    watch->seen = *more_r && watch->started ? changes[count - 1].version : head;
    *more_r = *more_r && watch->started;
    if (!watch->started && watch->late)
        watch->changed(NULL, true, watch->ctx);
    watch->started = true;
    return CQ_OK;
}

enum cq_rc directory_watch_wait(struct directory_watch *watch, uint64_t most_ms)
{
    struct dir_backend *backend = watch->directory->backend;
    return backend->ops->wait_for_change ? backend->ops->wait_for_change(backend, most_ms) : io_fiber_sleep(most_ms);
}

enum cq_rc directory_watch_poll(struct directory_watch *watch, struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    for (bool more = true; more && rc == CQ_OK;) {
        struct cq_pool *pool = cq_pool_new(4096);
        rc = poll_page(watch, pool, &more, err);
        cq_pool_free(&pool);
    }
    watch->late = watch->late || (rc != CQ_OK && !watch->started);
    return rc;
}
