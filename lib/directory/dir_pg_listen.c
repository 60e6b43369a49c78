/* LISTEN: a hint that something has changed, so that the feed is read now instead of at the end of the wait. What
 * changed is only ever learnt from the feed: a hint that is lost costs seconds, no more. */
#include "directory/dir_pg_statements.h"

#include "base/cq_log.h"

#define RETRY_MS 5000 /* between attempts to listen */
#define GATHER_MS 50  /* a burst of changes is one look at the feed */

struct opening {
    struct pg_backend *backend;
    PGconn *pg;
};

static bool start_listening(PGconn *pg, uint64_t deadline_us)
{
    unsigned events;
    bool ok = PQsendQuery(pg, "LISTEN mail_account") == 1;
    while (ok && PQisBusy(pg))
        ok = pg_wait(PQsocket(pg), IO_READABLE, deadline_us, &events) == CQ_OK && PQconsumeInput(pg) == 1;
    PGresult *result = ok ? PQgetResult(pg) : NULL;
    ok = PQresultStatus(result) == PGRES_COMMAND_OK && PQsetnonblocking(pg, 1) == 0;
    PQclear(result);
    return ok;
}

static void run_opening(void *arg)
{
    struct opening *o = arg;
    const struct dir_pg_config *config = &o->backend->config;
    struct cq_err err = {0};
    if (pg_connect(config, config->listen_dsn, pg_deadline(config->timeout_us), &o->pg, &err) != CQ_OK) {
        o->pg = NULL; /* the calls of the backend tell the operator what is wrong */
        return;
    }
    if (!start_listening(o->pg, pg_deadline(config->timeout_us))) {
        PQfinish(o->pg);
        o->pg = NULL;
    }
}

static void try_to_listen(struct pg_backend *self)
{
    struct opening o = {.backend = self};
    if (pg_now_us() < self->listen_at_us || pg_pools_run(self->pools, run_opening, &o) != CQ_OK)
        return;
    self->listener = o.pg;
    self->listen_at_us = pg_now_us() + RETRY_MS * UINT64_C(1000);
    if (o.pg)
        cq_log(CQ_INFO, "directory.postgresql.listening");
}

/* Everything that has come is one hint. False: the connection is gone. */
static bool take_hints(struct pg_backend *self)
{
    PGnotify *notify;
    if (PQconsumeInput(self->listener) != 1 || PQstatus(self->listener) != CONNECTION_OK) {
        PQfinish(self->listener);
        self->listener = NULL;
        return false;
    }
    while ((notify = PQnotifies(self->listener)))
        PQfreemem(notify);
    return true;
}

enum cq_rc pg_wait_for_change(struct dir_backend *base, uint64_t most_ms)
{
    struct pg_backend *self = pg_backend_of(base);
    uint64_t deadline_us = io_loop_deadline(io_loop_self(), most_ms);
    unsigned events;
    if (!self->config.listen_dsn[0])
        return io_fiber_sleep(most_ms);
    if (!self->listener)
        try_to_listen(self);
    if (!self->listener)
        return io_fiber_sleep(most_ms);
    enum cq_rc rc = io_wait_fd(PQsocket(self->listener), IO_READABLE, deadline_us, &events);
    if (rc != CQ_OK)
        return rc == CQ_E_TIMEOUT ? CQ_OK : rc;
    return io_fiber_sleep(take_hints(self) ? GATHER_MS : most_ms);
}

void pg_listen_end(struct pg_backend *self)
{
    PQfinish(self->listener);
    self->listener = NULL;
}
