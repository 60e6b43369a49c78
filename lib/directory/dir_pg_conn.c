/* Pipeline mode: each call sends its statement and a sync, so that it is a transaction of its own and an error ends
 * with it. Results come in the order of sending. Of the fibers that wait, one reads the socket and hands out what
 * comes; when it has its own result, the next one takes over: nothing is registered with the loop while nobody waits.
 */
#include "directory/dir_pg_private.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "io/io_watch.h"

#include <poll.h>
#include <stdlib.h>

struct pg_request {
    struct cq_list node;
    struct io_waiters waiters; /* its fiber, while another one reads */
    PGresult *result;          /* the first rows, or the first error */
    bool done;
    bool lost;      /* the connection went before the end was seen */
    bool abandoned; /* its fiber has left: freed when its result has come */
};

struct pg_conn *pg_conn_new(PGconn *pg)
{
    struct pg_conn *conn = cq_new(struct pg_conn);
    conn->pg = pg;
    cq_list_init(&conn->pending);
    cq_list_init(&conn->node);
    CQ_ASSERT(PQsetnonblocking(pg, 1) == 0 && PQenterPipelineMode(pg) == 1);
    return conn;
}

static void request_free(struct pg_request *request)
{
    PQclear(request->result);
    free(request);
}

void pg_conn_free(struct pg_conn **conn_p)
{
    struct pg_conn *conn = *conn_p;
    if (!conn)
        return;
    CQ_ASSERT(conn->users == 0);
    while (!cq_list_empty(&conn->pending)) {
        struct pg_request *request = cq_list_entry(cq_list_first(&conn->pending), struct pg_request, node);
        cq_list_remove(&request->node);
        request_free(request);
    }
    PQfinish(conn->pg);
    free(conn);
    *conn_p = NULL;
}

bool pg_conn_alive(struct pg_conn *conn)
{
    struct pollfd p = {.fd = PQsocket(conn->pg), .events = POLLIN};
    if (conn->broken || PQstatus(conn->pg) != CONNECTION_OK)
        return false;
    if (conn->users || !cq_list_empty(&conn->pending) || poll(&p, 1, 0) == 0)
        return true;
    return PQconsumeInput(conn->pg) == 1 && PQstatus(conn->pg) == CONNECTION_OK;
}

/* ---- Results ---- */

/* The oldest request is answered; whoever waited for it goes on. */
static void finish_head(struct pg_conn *conn, bool lost)
{
    struct pg_request *request = cq_list_entry(cq_list_first(&conn->pending), struct pg_request, node);
    cq_list_remove(&request->node);
    request->done = true;
    request->lost = lost;
    if (request->abandoned)
        request_free(request);
    else
        io_wake_all(&request->waiters);
}

static void lose(struct pg_conn *conn)
{
    conn->broken = conn->lost = true;
    while (!cq_list_empty(&conn->pending))
        finish_head(conn, true);
}

static bool is_error(const PGresult *result)
{
    return PQresultStatus(result) == PGRES_FATAL_ERROR || PQresultStatus(result) == PGRES_PIPELINE_ABORTED;
}

static void keep(struct pg_request *request, PGresult *result)
{
    if (!request->result || (is_error(result) && !is_error(request->result))) {
        PQclear(request->result);
        request->result = result;
    } else {
        PQclear(result);
    }
}

/* A result is final only with its sync: the transaction is committed before it, and may fail until then. */
static void hand_out(struct pg_conn *conn)
{
    unsigned empty = 0;
    while (!cq_list_empty(&conn->pending) && !PQisBusy(conn->pg)) {
        PGresult *result = PQgetResult(conn->pg);
        if (PQstatus(conn->pg) == CONNECTION_BAD || (!result && ++empty > 1)) {
            PQclear(result);
            lose(conn);
            return;
        }
        if (!result)
            continue;
        empty = 0;
        if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
            PQclear(result);
            finish_head(conn, false);
        } else {
            keep(cq_list_entry(cq_list_first(&conn->pending), struct pg_request, node), result);
        }
    }
}

/* ---- Waiting ---- */

static void socket_ready(struct io_watch *watch, unsigned events, void *arg)
{
    struct pg_conn *conn = arg;
    conn->ready = events;
    io_watch_set(watch, 0);
    io_fiber_wake(conn->reader);
}

/* CQ_OK: there is something to do, or somebody else found the connection dead. */
static enum cq_rc wait_for_socket(struct pg_conn *conn, unsigned events, uint64_t deadline_us)
{
    enum cq_rc rc = CQ_OK;
    if (!io_fiber_running())
        return pg_wait(PQsocket(conn->pg), events, deadline_us, &conn->ready);
    conn->ready = 0;
    conn->reader = io_fiber_self();
    conn->watch = io_watch_new(io_loop_self(), PQsocket(conn->pg), events, socket_ready, conn);
    while (!conn->ready && !conn->lost && rc == CQ_OK)
        rc = io_fiber_park(deadline_us);
    io_watch_free(&conn->watch);
    return conn->ready || conn->lost ? CQ_OK : rc;
}

static enum cq_rc read_once(struct pg_conn *conn, uint64_t deadline_us)
{
    int unsent = PQflush(conn->pg);
    conn->reading = true;
    enum cq_rc rc = unsent < 0 ? CQ_OK : wait_for_socket(conn, IO_READABLE | (unsent ? IO_WRITABLE : 0u), deadline_us);
    conn->reading = false;
    if (rc != CQ_OK)
        return rc;
    if (unsent < 0 || PQconsumeInput(conn->pg) != 1)
        lose(conn);
    else
        hand_out(conn);
    return CQ_OK;
}

static void let_next_read(struct pg_conn *conn)
{
    if (conn->reading)
        return;
    cq_list_each (&conn->pending, node) {
        struct pg_request *request = cq_list_entry(node, struct pg_request, node);
        if (!request->abandoned && io_wake_one(&request->waiters))
            return;
    }
}

static enum cq_rc await(struct pg_conn *conn, struct pg_request *request, uint64_t deadline_us)
{
    enum cq_rc rc = CQ_OK;
    while (!request->done && rc == CQ_OK)
        rc = conn->reading ? io_wait(&request->waiters, deadline_us) : read_once(conn, deadline_us);
    let_next_read(conn);
    return request->done ? CQ_OK : rc;
}

static bool put(struct pg_conn *conn, const char *sql, const struct pg_params *params)
{
    return PQsendQueryParams(conn->pg, sql, params->count, params->types, params->values, params->lengths,
                             params->formats, 1) == 1 &&
           PQpipelineSync(conn->pg) == 1;
}

/* libpq closes the socket when writing fails: the reader must not be watching it at that moment. */
static void send(struct pg_conn *conn, const char *sql, const struct pg_params *params)
{
    if (conn->watch)
        io_watch_set(conn->watch, 0);
    bool ok = put(conn, sql, params);
    int unsent = ok ? PQflush(conn->pg) : -1;
    if (unsent < 0 || PQstatus(conn->pg) != CONNECTION_OK) {
        lose(conn);
        if (conn->reading)
            io_fiber_wake(conn->reader);
    } else if (conn->watch) {
        io_watch_set(conn->watch, IO_READABLE | (unsent ? IO_WRITABLE : 0u));
    }
}

enum cq_rc pg_conn_exchange(struct pg_conn *conn, const char *sql, const struct pg_params *params, uint64_t deadline_us,
                            PGresult **result_r, struct cq_err *err)
{
    struct pg_request *request = cq_new(struct pg_request);
    *result_r = NULL;
    conn->users++;
    cq_list_push_back(&conn->pending, &request->node);
    send(conn, sql, params);
    enum cq_rc rc = await(conn, request, deadline_us);
    conn->users--;
    if (rc != CQ_OK) { /* its result, when it comes, is nobody's; a server that is silent gets no new calls */
        request->abandoned = true;
        conn->broken = conn->broken || rc == CQ_E_TIMEOUT;
        return CQ_FAIL(err, rc, "PostgreSQL: %s", rc == CQ_E_TIMEOUT ? "no answer in time" : cq_rc_text(rc));
    }
    if (request->lost || !request->result) {
        char text[300];
        pg_one_line(PQerrorMessage(conn->pg), text, sizeof text);
        conn->broken = true;
        request_free(request);
        return CQ_FAIL(err, CQ_E_IO, "PostgreSQL: the connection was lost: %s", text[0] ? text : "closed");
    }
    *result_r = request->result;
    free(request);
    return CQ_OK;
}
