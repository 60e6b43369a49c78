/* Connections of the embedded directory, and the transaction around each call. */
#include "directory/dir_sqlite_private.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"

#include <stdlib.h>

#define WAL_RETRY_MS 20

enum cq_rc sq_fail(struct sq *c)
{
    static const struct {
        int code;
        enum cq_rc rc;
    } rows[] = {
        {SQLITE_BUSY, CQ_E_UNAVAILABLE}, {SQLITE_LOCKED, CQ_E_UNAVAILABLE}, {SQLITE_CORRUPT, CQ_E_CORRUPT},
        {SQLITE_NOTADB, CQ_E_CORRUPT},   {SQLITE_FULL, CQ_E_NO_SPACE},      {SQLITE_CONSTRAINT, CQ_E_CONFLICT},
    };
    int code = sqlite3_errcode(c->db) & 0xff;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].code == code)
            return CQ_FAIL(c->err, rows[i].rc, "directory: %s", sqlite3_errmsg(c->db));
    return CQ_FAIL(c->err, CQ_E_IO, "directory: %s", sqlite3_errmsg(c->db));
}

bool sq_violates(const struct sq *c, int extended_code)
{
    return sqlite3_extended_errcode(c->db) == extended_code;
}

/* ---- Connections ---- */

static void connection_free(struct sq *c)
{
    for (int i = 0; i < S_COUNT; i++)
        sqlite3_finalize(c->statements[i]);
    sqlite3_close(c->db);
    free(c);
}

/* synchronous=FULL: an account that was answered "created" survives a power cut. */
static enum cq_rc set_up(struct sq *c, int busy_timeout_ms)
{
    static const char pragmas[] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; "
                                  "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;";
    int rc = SQLITE_BUSY;
    sqlite3_busy_timeout(c->db, busy_timeout_ms);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    /* Two processes that turn a new file to WAL at the same time: the busy handler is not asked there. */
    for (int waited_ms = 0; rc == SQLITE_BUSY && waited_ms <= busy_timeout_ms; waited_ms += WAL_RETRY_MS) {
        rc = sqlite3_exec(c->db, pragmas, NULL, NULL, NULL) & 0xff;
        if (rc == SQLITE_BUSY)
            sqlite3_sleep(WAL_RETRY_MS);
    }
    return rc == SQLITE_OK ? CQ_OK : sq_fail(c);
}

static enum cq_rc connection_new(struct sq_backend *self, struct sq **c_r, struct cq_err *err)
{
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    struct sq *c = cq_new(struct sq);
    c->backend = &self->base;
    c->err = err;
    if (sqlite3_open_v2(self->path, &c->db, flags, NULL) != SQLITE_OK) {
        CQ_FAIL(err, CQ_E_IO, "%s: %s", self->path, c->db ? sqlite3_errmsg(c->db) : "cannot be opened");
        connection_free(c);
        return CQ_E_IO;
    }
    enum cq_rc rc = set_up(c, self->busy_timeout_ms);
    if (rc != CQ_OK)
        connection_free(c);
    else
        *c_r = c;
    return rc;
}

static enum cq_rc take(struct sq_backend *self, struct sq **c_r, struct cq_err *err)
{
    pthread_mutex_lock(&self->lock);
    struct sq *c = self->free;
    if (c)
        self->free = c->next;
    pthread_mutex_unlock(&self->lock);
    if (!c)
        return connection_new(self, c_r, err);
    c->err = err;
    *c_r = c;
    return CQ_OK;
}

static void give(struct sq_backend *self, struct sq *c)
{
    CQ_ASSERT(sqlite3_get_autocommit(c->db));
    c->err = NULL;
    pthread_mutex_lock(&self->lock);
    c->next = self->free;
    self->free = c;
    pthread_mutex_unlock(&self->lock);
}

void sq_free_all(struct sq_backend *self)
{
    while (self->free) {
        struct sq *c = self->free;
        self->free = c->next;
        connection_free(c);
    }
}

/* ---- Transactions ---- */

enum cq_rc sq_begin(struct dir_backend *base, enum sq_mode mode, struct sq **c_r, struct cq_err *err)
{
    static const enum sq_statement begin[] = {[SQ_SNAPSHOT] = S_BEGIN_READ, [SQ_WRITE] = S_BEGIN};
    struct sq_backend *self = cq_containerof(base, struct sq_backend, base);
    *c_r = NULL;
    enum cq_rc rc = take(self, c_r, err);
    if (rc != CQ_OK || mode == SQ_READ)
        return rc;
    (*c_r)->writes = mode == SQ_WRITE;
    return sq_run(*c_r, begin[mode], SQ_NO_VALUES);
}

enum cq_rc sq_end(struct sq *c, enum cq_rc rc)
{
    if (!c)
        return rc;
    if (rc == CQ_OK && c->writes)
        rc = sq_run(c, S_COMMIT, SQ_NO_VALUES);
    if (!sqlite3_get_autocommit(
            c->db)) { /* a snapshot, or the work or the commit failed: keep the first error's text */
        c->err = NULL;
        sq_run(c, S_ROLLBACK, SQ_NO_VALUES);
    }
    c->writes = false;
    give(cq_containerof(c->backend, struct sq_backend, base), c);
    return rc;
}
