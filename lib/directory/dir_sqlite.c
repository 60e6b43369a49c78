/* The embedded directory: SQLite in WAL mode. Several processes may have the file open; writers take turns, readers
 * wait for nobody. What it asks is in dir_sqlite_statements.h, how a call is written in dir_sqlite_private.h. Values
 * reach SQL by binding only. */
#include "directory/dir_sqlite_private.h"

#include "base/cq_mem.h"
#include "directory/dir_sqlite_schema.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static void sqlite_close(struct dir_backend *base)
{
    struct sq_backend *self = cq_containerof(base, struct sq_backend, base);
    sq_free_all(self);
    pthread_mutex_destroy(&self->lock);
    free(self->path);
    free(self);
}

/* The file holds password hashes: nobody else reads it. SQLite gives -wal and -shm the same rights. */
static enum cq_rc make_file(const char *path, struct cq_err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno != EEXIST) /* one that exists is left alone: closing it would drop SQLite's locks on it */
        return CQ_FAIL(err, CQ_E_IO, "%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return CQ_OK;
}

static struct sq_backend *make_backend(const char *path, uint64_t busy_timeout_us)
{
    struct sq_backend *self = cq_new(struct sq_backend);
    self->base.ops = &self->ops;
    self->ops = (struct dir_backend_ops){.name = "sqlite", .close = sqlite_close};
    dir_sqlite_add_domain_ops(&self->ops);
    dir_sqlite_add_address_ops(&self->ops);
    dir_sqlite_add_account_ops(&self->ops);
    dir_sqlite_add_credential_ops(&self->ops);
    dir_sqlite_add_change_ops(&self->ops);
    self->path = cq_strndup(path, strlen(path));
    self->busy_timeout_ms = (int)(busy_timeout_us / 1000);
    pthread_mutex_init(&self->lock, NULL);
    return self;
}

static enum cq_rc migrate(struct sq_backend *self, struct cq_err *err)
{
    struct sq *c;
    enum cq_rc rc = sq_begin(&self->base, SQ_READ, &c, err); /* it makes its own transaction */
    if (rc == CQ_OK)
        rc = dir_sqlite_migrate(c->db, err);
    return sq_end(c, rc);
}

enum cq_rc dir_sqlite_open(const char *path, uint64_t busy_timeout_us, struct dir_backend **backend_r,
                           struct cq_err *err)
{
    enum cq_rc rc = make_file(path, err);
    if (rc != CQ_OK)
        return rc;
    struct sq_backend *self = make_backend(path, busy_timeout_us);
    rc = migrate(self, err);
    if (rc != CQ_OK)
        sqlite_close(&self->base);
    else
        *backend_r = &self->base;
    return rc;
}
