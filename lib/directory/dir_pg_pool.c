/* Connections. A loop has its own, touched by its thread alone, each shared by many fibers. Threads without a fiber
 * (tools, tests, what follows a log-in) share one more set under a lock, one call a connection.
 *
 * Connecting happens on a thread: libpq resolves names with blocking calls. After a failure nobody tries again for a
 * while; all get the same answer at once, so that an outage does not pile up fibers. */
#include "directory/dir_pg_private.h"

#include "base/cq_assert.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"

#include <stdlib.h>

#define CONNECT_THREADS 2
#define CONNECT_QUEUE 256
#define IN_FLIGHT_MAX 256 /* calls of one connection; one more is CQ_E_OVERLOADED */
#define RETRY_MIN_US UINT64_C(50000)
#define RETRY_MAX_US UINT64_C(1000000)

struct pg_set {
    struct cq_list node;
    struct io_loop *loop;      /* NULL: of the threads */
    struct cq_list conns;      /* struct pg_conn */
    size_t count;              /* connected and connecting */
    struct io_waiters waiters; /* fibers that want a connection which others open */
};

struct pg_pools {
    const struct dir_pg_config *config;
    struct io_pool *connectors;
    struct io_pool *operators; /* what may block for long */
    pthread_mutex_t lock;      /* of the list of sets, and of all in the threads' set */
    pthread_cond_t given;
    struct cq_list sets;
    struct pg_set threads;
    pthread_mutex_t failure_lock;
    uint64_t retry_at_us; /* monotonic; no connecting before */
    uint64_t retry_in_us;
    struct cq_err failure;
};

struct pg_pools *pg_pools_new(const struct dir_pg_config *config)
{
    struct pg_pools *pools = cq_new(struct pg_pools);
    pthread_condattr_t attr;
    pools->config = config;
    pools->connectors = io_pool_new("directory-connect", CONNECT_THREADS, CONNECT_QUEUE);
    pools->operators = io_pool_new("directory-schema", 1, CONNECT_QUEUE);
    pthread_mutex_init(&pools->lock, NULL);
    pthread_mutex_init(&pools->failure_lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&pools->given, &attr);
    pthread_condattr_destroy(&attr);
    cq_list_init(&pools->sets);
    cq_list_init(&pools->threads.conns);
    return pools;
}

static void close_conns(struct pg_set *set)
{
    while (!cq_list_empty(&set->conns)) {
        struct pg_conn *conn = cq_list_entry(cq_list_first(&set->conns), struct pg_conn, node);
        cq_list_remove(&conn->node);
        pg_conn_free(&conn);
    }
}

void pg_pools_free(struct pg_pools **pools_p)
{
    struct pg_pools *pools = *pools_p;
    if (!pools)
        return;
    io_pool_free(&pools->connectors);
    io_pool_free(&pools->operators);
    while (!cq_list_empty(&pools->sets)) {
        struct pg_set *set = cq_list_entry(cq_list_first(&pools->sets), struct pg_set, node);
        cq_list_remove(&set->node);
        close_conns(set);
        free(set);
    }
    close_conns(&pools->threads);
    pthread_cond_destroy(&pools->given);
    pthread_mutex_destroy(&pools->lock);
    pthread_mutex_destroy(&pools->failure_lock);
    free(pools);
    *pools_p = NULL;
}

/* ---- Failures ---- */

static bool may_connect(struct pg_pools *pools, struct cq_err *err)
{
    pthread_mutex_lock(&pools->failure_lock);
    bool may = cq_time_mono_us() >= pools->retry_at_us;
    if (!may && err)
        *err = pools->failure;
    pthread_mutex_unlock(&pools->failure_lock);
    return may;
}

static enum cq_rc failure_code(struct pg_pools *pools)
{
    pthread_mutex_lock(&pools->failure_lock);
    enum cq_rc rc = pools->failure.rc;
    pthread_mutex_unlock(&pools->failure_lock);
    return rc;
}

static void note_failure(struct pg_pools *pools, const struct cq_err *err)
{
    pthread_mutex_lock(&pools->failure_lock);
    bool first = pools->retry_in_us == 0;
    uint64_t next_us = first ? RETRY_MIN_US : pools->retry_in_us * 2;
    pools->retry_in_us = next_us < RETRY_MAX_US ? next_us : RETRY_MAX_US;
    pools->retry_at_us = cq_time_mono_us() + pools->retry_in_us;
    pools->failure = *err;
    pthread_mutex_unlock(&pools->failure_lock);
    if (first)
        cq_log(CQ_WARN, "directory.postgresql.unreachable", CQ_F_ERR(err));
}

static void note_success(struct pg_pools *pools)
{
    pthread_mutex_lock(&pools->failure_lock);
    bool was_down = pools->retry_in_us != 0;
    pools->retry_in_us = pools->retry_at_us = 0;
    pthread_mutex_unlock(&pools->failure_lock);
    if (was_down)
        cq_log(CQ_INFO, "directory.postgresql.connected");
}

void pg_pools_hope(struct pg_pools *pools)
{
    pthread_mutex_lock(&pools->failure_lock);
    pools->retry_at_us = 0;
    pthread_mutex_unlock(&pools->failure_lock);
}

/* ---- Connecting ---- */

enum cq_rc pg_pools_run(struct pg_pools *pools, io_pool_fn *fn, void *arg)
{
    if (io_fiber_running())
        return io_pool_run(pools->operators, fn, arg, IO_NO_DEADLINE);
    fn(arg);
    return CQ_OK;
}

struct opening {
    struct pg_pools *pools;
    struct pg_conn *conn;
    enum cq_rc rc;
    struct cq_err err;
};

static void run_opening(void *arg)
{
    struct opening *o = arg;
    const struct dir_pg_config *config = o->pools->config;
    uint64_t deadline_us = cq_time_mono_us() + config->timeout_us;
    PGconn *pg;
    o->rc = pg_connect(config, config->dsn, deadline_us, &pg, &o->err);
    if (o->rc == CQ_OK) {
        o->conn = pg_conn_new(pg);
        o->rc = pg_schema_fits(o->conn, deadline_us, &o->err);
    }
    if (o->rc != CQ_OK)
        pg_conn_free(&o->conn);
}

static enum cq_rc open_one(struct pg_pools *pools, uint64_t deadline_us, struct pg_conn **conn_r, struct cq_err *err)
{
    struct opening *o = cq_new(struct opening); /* not on a fiber's stack: it carries a text */
    o->pools = pools;
    enum cq_rc rc = CQ_OK;
    if (io_fiber_running())
        rc = io_pool_run(pools->connectors, run_opening, o, deadline_us);
    else
        run_opening(o);
    if (rc == CQ_OK) {
        rc = o->rc;
        *conn_r = o->conn;
        if (rc == CQ_OK)
            note_success(pools);
        else
            note_failure(pools, &o->err);
        if (rc != CQ_OK && err)
            *err = o->err;
    } else {
        CQ_FAIL(err, rc, "PostgreSQL: connecting: %s", cq_rc_text(rc));
    }
    free(o);
    return rc;
}

/* ---- A loop's ---- */

static struct pg_set *set_of_loop(struct pg_pools *pools)
{
    struct io_loop *loop = io_loop_self();
    struct pg_set *set = NULL;
    pthread_mutex_lock(&pools->lock);
    cq_list_each (&pools->sets, node) {
        struct pg_set *one = cq_list_entry(node, struct pg_set, node);
        if (one->loop == loop)
            set = one;
    }
    if (!set) {
        set = cq_new(struct pg_set);
        set->loop = loop;
        cq_list_init(&set->conns);
        cq_list_push_back(&pools->sets, &set->node);
    }
    pthread_mutex_unlock(&pools->lock);
    return set;
}

static void drop(struct pg_set *set, struct pg_conn *conn)
{
    cq_list_remove(&conn->node);
    set->count--;
    pg_conn_free(&conn);
}

/* The connection with the fewest calls; dead ones go. */
static struct pg_conn *least_busy(struct pg_set *set)
{
    struct pg_conn *best = NULL;
    struct cq_list *next;
    for (struct cq_list *node = set->conns.next; node != &set->conns; node = next) {
        struct pg_conn *conn = cq_list_entry(node, struct pg_conn, node);
        next = node->next;
        if (!pg_conn_alive(conn)) {
            conn->broken = true;
            if (conn->users == 0)
                drop(set, conn);
        } else if (!best || conn->users < best->users) {
            best = conn;
        }
    }
    return best;
}

static enum cq_rc open_for_loop(struct pg_pools *pools, struct pg_set *set, uint64_t deadline_us,
                                struct pg_conn **conn_r, struct cq_err *err)
{
    set->count++;
    enum cq_rc rc = open_one(pools, deadline_us, conn_r, err);
    if (rc == CQ_OK)
        cq_list_push_back(&set->conns, &(*conn_r)->node);
    else
        set->count--;
    io_wake_all(&set->waiters);
    return rc;
}

static enum cq_rc take_on_loop(struct pg_pools *pools, uint64_t deadline_us, struct pg_conn **conn_r,
                               struct cq_err *err)
{
    struct pg_set *set = set_of_loop(pools);
    for (;;) {
        struct pg_conn *conn = least_busy(set);
        bool room = set->count < (size_t)pools->config->connections;
        *conn_r = conn;
        if (conn && (conn->users == 0 || !room || !may_connect(pools, NULL)))
            return conn->users < IN_FLIGHT_MAX
                       ? CQ_OK
                       : CQ_FAIL(err, CQ_E_OVERLOADED, "PostgreSQL: %d calls wait already", IN_FLIGHT_MAX);
        if (!conn && !may_connect(pools, err))
            return failure_code(pools);
        if (room)
            return open_for_loop(pools, set, deadline_us, conn_r, err);
        enum cq_rc rc = io_wait(&set->waiters, deadline_us); /* others are connecting, or leaving a dead one */
        if (rc != CQ_OK)
            return CQ_FAIL(err, rc, "PostgreSQL: waiting for a connection: %s", cq_rc_text(rc));
    }
}

/* ---- The threads' ---- */

static enum cq_rc open_for_thread(struct pg_pools *pools, uint64_t deadline_us, struct pg_conn **conn_r,
                                  struct cq_err *err)
{
    pools->threads.count++;
    pthread_mutex_unlock(&pools->lock);
    enum cq_rc rc = may_connect(pools, err) ? open_one(pools, deadline_us, conn_r, err) : failure_code(pools);
    pthread_mutex_lock(&pools->lock);
    if (rc != CQ_OK)
        pools->threads.count--;
    pthread_cond_signal(&pools->given);
    return rc;
}

static enum cq_rc take_under_lock(struct pg_pools *pools, uint64_t deadline_us, struct pg_conn **conn_r,
                                  struct cq_err *err)
{
    struct pg_set *set = &pools->threads;
    const struct timespec until = {.tv_sec = (time_t)(deadline_us / 1000000),
                                   .tv_nsec = (long)(deadline_us % 1000000) * 1000};
    for (;;) {
        while (!cq_list_empty(&set->conns)) {
            struct pg_conn *conn = cq_list_entry(cq_list_first(&set->conns), struct pg_conn, node);
            if (pg_conn_alive(conn)) {
                cq_list_remove(&conn->node);
                *conn_r = conn;
                return CQ_OK;
            }
            drop(set, conn);
        }
        if (set->count < (size_t)pools->config->connections)
            return open_for_thread(pools, deadline_us, conn_r, err);
        if (pthread_cond_timedwait(&pools->given, &pools->lock, &until) != 0)
            return CQ_FAIL(err, CQ_E_OVERLOADED, "PostgreSQL: all connections are busy");
    }
}

/* ---- Either ---- */

enum cq_rc pg_pools_take(struct pg_pools *pools, uint64_t deadline_us, struct pg_conn **conn_r, struct cq_err *err)
{
    *conn_r = NULL;
    if (io_fiber_running())
        return take_on_loop(pools, deadline_us, conn_r, err);
    pthread_mutex_lock(&pools->lock);
    enum cq_rc rc = take_under_lock(pools, deadline_us, conn_r, err);
    pthread_mutex_unlock(&pools->lock);
    return rc;
}

void pg_pools_give(struct pg_pools *pools, struct pg_conn *conn)
{
    if (io_fiber_running()) {
        struct pg_set *set = set_of_loop(pools);
        if (conn->broken && conn->users == 0)
            drop(set, conn);
        if (io_somebody_waits(&set->waiters))
            io_wake_one(&set->waiters);
        return;
    }
    pthread_mutex_lock(&pools->lock);
    cq_list_push_front(&pools->threads.conns, &conn->node);
    if (conn->broken)
        drop(&pools->threads, conn);
    pthread_cond_signal(&pools->given);
    pthread_mutex_unlock(&pools->lock);
}
