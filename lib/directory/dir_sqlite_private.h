/* What the files of the embedded directory share. A call is a straight line:
 *
 *     struct sq *c;
 *     enum cq_rc rc = sq_begin(self, SQ_WRITE, &c, err);
 *     if (rc == CQ_OK)
 *         rc = SQ_RUN(c, S_DOMAIN_REMOVE, SQ_N(id));
 *     if (rc == CQ_OK)
 *         rc = sq_note(c, DIR_CHANGED_DOMAIN, 0, 0, &version);
 *     return sq_end(c, rc);
 *
 * Everything between begin and end is one transaction. CQ_E_NOT_FOUND without a text: there is no such row. */
#ifndef CHASQUI_DIR_SQLITE_PRIVATE_H
#define CHASQUI_DIR_SQLITE_PRIVATE_H

#include "directory/dir_sqlite_statements.h"
#include "directory/directory_backend.h"

#include <pthread.h>
#include <sqlite3.h>

/* ---- dir_sqlite_conn.c: connections, each taken by one call at a time ---- */

struct sq {
    struct sq *next;
    struct dir_backend *backend;
    sqlite3 *db;
    sqlite3_stmt *statements[S_COUNT]; /* prepared at first use */
    struct cq_err *err;                /* of the present call */
    bool writes;                       /* in a transaction that sq_end commits */
};

struct sq_backend {
    struct dir_backend base;
    struct dir_backend_ops ops;
    char *path;
    int busy_timeout_ms;
    pthread_mutex_t lock;
    struct sq *free; /* under the lock */
};

enum sq_mode {
    SQ_READ,     /* no transaction: one statement sees one moment */
    SQ_SNAPSHOT, /* several statements see one moment */
    SQ_WRITE     /* durable when sq_end gives CQ_OK, nothing of it otherwise */
};

enum cq_rc sq_begin(struct dir_backend *self, enum sq_mode mode, struct sq **c_r, struct cq_err *err);
/* Gives what came of it; the first error's text stays. c NULL: sq_begin has failed. */
enum cq_rc sq_end(struct sq *c, enum cq_rc rc);
void sq_free_all(struct sq_backend *backend);

/* SQLite's present error as a code and a text. */
enum cq_rc sq_fail(struct sq *c);
bool sq_violates(const struct sq *c, int extended_code); /* SQLITE_CONSTRAINT_... was the last error */

/* ---- dir_sqlite_query.c: statements, values, rows ---- */

struct sq_value {
    bool is_text;
    uint64_t number; /* two's complement in the database */
    struct cq_slice text;
};
#define SQ_N(n) ((struct sq_value){.number = (uint64_t)(n)})
#define SQ_T(s) ((struct sq_value){.is_text = true, .text = (s)})
#define SQ_TEXT(cstr) SQ_T(cq_slice_cstr(cstr))
#define SQ_NO_VALUES NULL, 0
#define SQ_VALUES(...)                                                                                                 \
    (const struct sq_value[]){__VA_ARGS__}, sizeof((const struct sq_value[]){__VA_ARGS__}) / sizeof(struct sq_value)

/* Reads the present row into the caller's; texts go to the pool. */
typedef enum cq_rc sq_read_fn(struct sq *c, sqlite3_stmt *stmt, struct cq_pool *pool, void *row_r);

/* Rows that grow in a pool. */
struct sq_rows {
    struct cq_pool *pool;
    size_t size; /* of one row */
    void *data;
    size_t count, room;
};

/* A statement without rows; without any row changed by it: sq_expect. */
#define SQ_RUN(c, which, ...) sq_run((c), (which), SQ_VALUES(__VA_ARGS__))
enum cq_rc sq_run(struct sq *c, enum sq_statement which, const struct sq_value *values, size_t count);
enum cq_rc sq_expect(struct sq *c, const char *what); /* CQ_E_NOT_FOUND: the last statement changed nothing */
uint64_t sq_last_id(const struct sq *c);

/* The first row. CQ_E_NOT_FOUND; what the reader says. */
#define SQ_GET(c, read, pool, row_r, which, ...) sq_get((c), (read), (pool), (row_r), (which), SQ_VALUES(__VA_ARGS__))
enum cq_rc sq_get(struct sq *c, sq_read_fn *read, struct cq_pool *pool, void *row_r, enum sq_statement which,
                  const struct sq_value *values, size_t count);

/* All rows; none is CQ_OK. */
#define SQ_LIST(c, read, rows, which, ...) sq_list((c), (read), (rows), (which), SQ_VALUES(__VA_ARGS__))
enum cq_rc sq_list(struct sq *c, sq_read_fn *read, struct sq_rows *rows, enum sq_statement which,
                   const struct sq_value *values, size_t count);

uint64_t sq_int(sqlite3_stmt *stmt, int column);
struct cq_slice sq_text(sqlite3_stmt *stmt, int column, struct cq_pool *pool);
struct cq_slice sq_peek(sqlite3_stmt *stmt, int column); /* until the next row */
sq_read_fn sq_read_int;                                  /* one uint64_t */

/* ---- dir_sqlite_change.c: the feed ---- */

/* Adds a line and tells its version. */
enum cq_rc sq_note(struct sq *c, enum dir_change_kind kind, uint64_t account_id, uint64_t credential_id,
                   uint64_t *version_r);
/* The same for what belongs to an account, whose version rises with it. version_r may be NULL. */
enum cq_rc sq_touch_account(struct sq *c, enum dir_change_kind kind, uint64_t account_id, uint64_t credential_id,
                            uint64_t *version_r);

/* ---- The operations, by file ---- */

void dir_sqlite_add_domain_ops(struct dir_backend_ops *ops);
void dir_sqlite_add_address_ops(struct dir_backend_ops *ops);
void dir_sqlite_add_account_ops(struct dir_backend_ops *ops);
void dir_sqlite_add_credential_ops(struct dir_backend_ops *ops);
void dir_sqlite_add_change_ops(struct dir_backend_ops *ops);

/* What several of them need, inside of a transaction. */
enum cq_rc sq_account_get(struct sq *c, uint64_t id, struct cq_pool *pool, struct dir_account *account_r);
enum cq_rc sq_address_add(struct sq *c, uint64_t domain_id, struct cq_slice local, enum dir_address_kind kind);
/* *id_r. CQ_E_EXISTS: the prefix is in use. */
enum cq_rc sq_credential_add(struct sq *c, const struct dir_credential *row, uint64_t now_us, uint64_t *id_r);

#endif
