#include "core/front_pump.h"

#include "base/cq_line.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "io/io_fiber.h"

uint64_t front_pump_deadline(const struct front_pump *pump)
{
    return io_loop_deadline(pump->front.worker->loop, pump->idle_ms);
}

enum cq_rc front_pump_read_line(struct front_pump *pump, size_t max, struct cq_pool *pool, struct cq_slice *line_r)
{
    struct io_conn *conn = pump->front.conn;
    uint64_t deadline = front_pump_deadline(pump);
    for (;;) {
        size_t used = 0;
        struct cq_slice line;
        enum cq_rc rc = cq_line_take(io_conn_input(conn), max, &line, &used);
        if (rc == CQ_OK)
            *line_r = cq_pool_slice(pool, line);
        if (rc == CQ_OK || rc == CQ_E_PROTO)
            io_conn_consume(conn, used);
        if (rc != CQ_E_AGAIN)
            return rc;
        rc = io_conn_read_more(conn, deadline);
        if (rc != CQ_OK)
            return rc;
    }
}

static void release(struct front_pump *pump)
{
    front_session_fini(&pump->front);
    io_conn_free(&pump->front.conn);
    pump->ops->release(pump);
}

static void say_goodbye(struct front_pump *pump, enum front_farewell why)
{
    if (why == FRONT_FAREWELL_IDLE)
        pump->front.ended_by = "idle";
    pump->ops->farewell(pump, why);
    pump->closing = true;
}

static void say_end(struct front_pump *pump)
{
    static const enum front_farewell words[] = {
        [FRONT_END_DRAIN] = FRONT_FAREWELL_DRAIN,
        [FRONT_END_KICKED] = FRONT_FAREWELL_KICKED,
        [FRONT_END_ACCOUNT] = FRONT_FAREWELL_ACCOUNT,
    };
    say_goodbye(pump, words[pump->why]);
}

static bool must_end(const struct front_pump *pump)
{
    return pump->ending && (pump->why != FRONT_END_DRAIN || pump->ops->between(pump));
}

/* Handles all commands that have arrived. */
static void run(void *arg)
{
    struct front_pump *pump = arg;
    while (!pump->closing && !pump->closed && !pump->handshake && !must_end(pump) && pump->ops->step(pump)) {
        pump->front.commands++;
        if (io_conn_flush(pump->front.conn, front_pump_deadline(pump)) != CQ_OK)
            break;
    }
    pump->running = false;
    if (pump->closed) {
        release(pump);
        return;
    }
    if (must_end(pump) && !pump->closing && !pump->handshake)
        say_end(pump);
    if (pump->closing)
        io_conn_close(pump->front.conn);
    else if (!pump->handshake)
        io_conn_resume(pump->front.conn);
}

static void on_input(struct io_conn *conn, void *ctx)
{
    struct front_pump *pump = ctx;
    if (pump->running || pump->closing)
        return;
    io_conn_pause(conn);
    pump->running = true;
    if (io_fiber_spawn_queued(pump->front.worker->loop, run, pump, NULL) == CQ_OK)
        return;
    pump->running = false;
    say_goodbye(pump, FRONT_FAREWELL_BUSY);
    io_conn_close(conn);
}

static void on_tls(struct io_conn *conn, void *ctx)
{
    struct front_pump *pump = ctx;
    pump->handshake = false;
    if (!must_end(pump)) {
        io_conn_resume(conn);
        return;
    }
    say_end(pump);
    io_conn_close(conn);
}

static void on_idle(struct io_conn *conn, void *ctx)
{
    struct front_pump *pump = ctx;
    if (pump->running)
        return; /* a command has its own deadlines */
    say_goodbye(pump, FRONT_FAREWELL_IDLE);
    io_conn_close(conn);
}

static void on_closed(struct io_conn *conn, const struct cq_err *why, void *ctx)
{
    struct front_pump *pump = ctx;
    (void)conn;
    (void)why;
    pump->closed = true;
    if (!pump->running)
        release(pump);
}

static const struct io_conn_ops conn_ops = {
    .on_input = on_input,
    .on_tls = on_tls,
    .on_idle = on_idle,
    .on_closed = on_closed,
};

static void on_end(struct front_session *front, enum front_end why)
{
    struct front_pump *pump = cq_containerof(front, struct front_pump, front);
    pump->ending = true;
    pump->why = why;
    if (pump->running || pump->closing || pump->handshake || !must_end(pump))
        return;
    say_end(pump);
    io_conn_close(pump->front.conn);
}

void front_pump_start(struct front_pump *pump, struct front_worker *worker, enum front_protocol protocol,
                      struct io_conn *conn, const struct front_pump_ops *ops, uint64_t idle_ms, size_t input_max)
{
    *pump = (struct front_pump){.ops = ops, .idle_ms = idle_ms};
    front_session_init(&pump->front, worker, protocol, conn, on_end);
    io_conn_set_input_max(conn, input_max);
    io_conn_set_ops(conn, &conn_ops, pump);
    io_conn_set_idle(conn, idle_ms);
}

bool front_pump_start_tls(struct front_pump *pump, struct io_tls *tls)
{
    pump->handshake = true;
    /* What came in clear behind the command would be read as if TLS had brought it (CVE-2011-0411). */
    if (!io_conn_start_tls(pump->front.conn, tls))
        return true;
    cq_log(CQ_WARN, "tls.injection", CQ_F_STR("session", pump->front.id), CQ_F_STR("remote_ip", pump->front.peer),
           CQ_F_STR("protocol", front_protocol_name(pump->front.protocol)));
    pump->handshake = false;
    pump->closing = true;
    return false;
}
