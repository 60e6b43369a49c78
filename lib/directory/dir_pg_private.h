/* What the files of the PostgreSQL backend share. */
#ifndef CHASQUI_DIR_PG_PRIVATE_H
#define CHASQUI_DIR_PG_PRIVATE_H

#include "directory/dir_pg.h"

#include "io/io_pool.h"
#include "io/io_sync.h"
#include "io/io_watch.h"

#include <libpq-fe.h>
#include <pthread.h>

/* ---- dir_pg_wait.c: on a fiber its loop goes on; elsewhere the thread waits ---- */

uint64_t pg_deadline(uint64_t in_us); /* absolute, for the two below */
uint64_t pg_now_us(void);
enum cq_rc pg_wait(int fd, unsigned events, uint64_t deadline_us, unsigned *events_r);

/* ---- dir_pg_connect.c ---- */

/* Blocks the thread (libpq resolves names with blocking calls). CQ_E_UNAVAILABLE, CQ_E_CONFIG. */
enum cq_rc pg_connect(const struct dir_pg_config *config, const char *dsn, uint64_t deadline_us, PGconn **pg_r,
                      struct cq_err *err);
/* libpq's message as one line. */
void pg_one_line(const char *message, char *out, size_t size);

/* ---- dir_pg_params.c: values of a statement, in binary: nothing is quoted, nothing ends at a NUL ---- */

#define PG_PARAMS_MAX 12

struct pg_params {
    int count;
    Oid types[PG_PARAMS_MAX];
    const char *values[PG_PARAMS_MAX];
    int lengths[PG_PARAMS_MAX];
    int formats[PG_PARAMS_MAX];
    uint8_t numbers[PG_PARAMS_MAX][8];
    bool no_text; /* a NUL or bytes that are not UTF-8: no such value can be in the database */
};

void pg_param_text(struct pg_params *params, struct cq_slice text); /* borrowed */
void pg_param_int(struct pg_params *params, uint64_t value);        /* bigint, two's complement */
void pg_param_bool(struct pg_params *params, bool value);

/* Columns of a binary result; NULL is 0, "" and false. */
uint64_t pg_int(const PGresult *result, int row, int column);
bool pg_bool(const PGresult *result, int row, int column);
bool pg_null(const PGresult *result, int row, int column);
struct cq_slice pg_peek(const PGresult *result, int row, int column); /* valid until PQclear */
struct cq_slice pg_text(const PGresult *result, int row, int column, struct cq_pool *pool);

/* ---- dir_pg_conn.c: one connection, many calls in flight ---- */

struct pg_conn {
    struct cq_list node; /* the pool's */
    PGconn *pg;
    struct cq_list pending; /* struct pg_request, in the order of sending */
    size_t users;           /* calls inside of pg_conn_exchange */
    bool reading;           /* somebody waits on the socket for all: */
    struct io_fiber_ref reader;
    struct io_watch *watch;
    unsigned ready; /* what the watch saw */
    bool broken;    /* no new calls; closed when the last user has left */
    bool lost;      /* broken, and nobody gets an answer any more */
};

struct pg_conn *pg_conn_new(PGconn *pg); /* connected; owned from now on */
void pg_conn_free(struct pg_conn **conn);
bool pg_conn_alive(struct pg_conn *conn); /* an idle one: has the server closed it meanwhile? */

/* One statement, one transaction. CQ_OK: the server's result, rows or an error, which the caller clears; it is final
 * (committed, when it says so). CQ_E_IO: the connection was lost, the outcome is not known. CQ_E_TIMEOUT (not known
 * either), CQ_E_CANCELLED. */
enum cq_rc pg_conn_exchange(struct pg_conn *conn, const char *sql, const struct pg_params *params, uint64_t deadline_us,
                            PGresult **result_r, struct cq_err *err);

/* ---- dir_pg_pool.c: connections of a loop; those of threads ---- */

struct pg_pools;

struct pg_pools *pg_pools_new(const struct dir_pg_config *config);
void pg_pools_free(struct pg_pools **pools);
/* CQ_E_UNAVAILABLE, CQ_E_OVERLOADED, CQ_E_TIMEOUT, CQ_E_CANCELLED, CQ_E_VERSION. */
enum cq_rc pg_pools_take(struct pg_pools *pools, uint64_t deadline_us, struct pg_conn **conn_r, struct cq_err *err);
void pg_pools_give(struct pg_pools *pools, struct pg_conn *conn);
/* fn(arg) on a thread for what blocks; the fiber sleeps meanwhile. Without a fiber: here. */
enum cq_rc pg_pools_run(struct pg_pools *pools, io_pool_fn *fn, void *arg);
/* The next call tries to connect at once, whatever failed before. */
void pg_pools_hope(struct pg_pools *pools);

/* ---- dir_pg_query.c: the statements ---- */

enum pg_repeat {
    PG_READ,       /* may be asked again */
    PG_IDEMPOTENT, /* writes; the second time changes nothing more */
    PG_ONCE        /* writes; a lost answer is CQ_E_UNKNOWN_OUTCOME */
};

struct pg_statement {
    enum pg_repeat repeat;
    const char *sql;
};

struct pg_backend {
    struct dir_backend base;
    struct dir_pg_config config; /* strings owned */
    struct pg_pools *pools;
    PGconn *listener; /* of the one fiber that waits for changes; NULL: none */
    uint64_t listen_at_us;
};

/* Runs it, again when that is safe and may help. Refusals of the schema's functions become codes. */
enum cq_rc pg_query(struct pg_backend *backend, const struct pg_statement *statement, const struct pg_params *params,
                    PGresult **result_r, struct cq_err *err);

/* An error result as a code and one line. *again_r: the server says that repeating may help. */
enum cq_rc pg_result_error(const PGresult *result, bool *again_r, struct cq_err *err);

/* ---- dir_pg_listen.c ---- */

enum cq_rc pg_wait_for_change(struct dir_backend *base, uint64_t most_ms);
void pg_listen_end(struct pg_backend *backend);

/* ---- dir_pg_schema.c ---- */

/* A new connection (pipeline mode): does its schema fit? CQ_E_UNAVAILABLE: too old, missing; CQ_E_VERSION: too new. */
enum cq_rc pg_schema_fits(struct pg_conn *conn, uint64_t deadline_us, struct cq_err *err);

#endif
