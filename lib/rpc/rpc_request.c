/* One request from its arrival to its answer. */
#include "base/cq_assert.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "rpc/rpc_server_private.h"

#include <stdlib.h>

static struct io_loop *request_loop(const struct rpc_request *request)
{
    return request->peer->server->config.loop;
}

struct rpc_request *rpc_peer_find(struct rpc_peer *peer, uint32_t stream)
{
    cq_list_each (&peer->table[stream % RPC_PEER_BUCKETS], node) {
        struct rpc_request *request = cq_list_entry(node, struct rpc_request, hash);
        if (request->frame.stream == stream)
            return request;
    }
    return NULL;
}

/* ---- Fibers ---- */

static void request_fiber(void *arg);

/* Gives the request a fiber, or lets it wait. False: no room. */
static bool request_get_fiber(struct rpc_request *request)
{
    struct rpc_server *server = request->peer->server;
    const struct rpc_server_limits *limits = &server->config.limits;
    if (server->fibers < (size_t)limits->fibers_max &&
        io_fiber_spawn(server->config.loop, request_fiber, request, &request->fiber) == CQ_OK) {
        server->fibers++;
        return true;
    }
    if (server->fibers == 0 || server->waiting_count >= (size_t)limits->waiting_max)
        return false;
    server->waiting_count++;
    cq_list_push_back(&server->waiting, &request->waiting);
    return true;
}

static void request_stop_waiting(struct rpc_request *request)
{
    if (cq_list_empty(&request->waiting))
        return;
    cq_list_remove(&request->waiting);
    request->peer->server->waiting_count--;
}

static void request_not_run(struct rpc_request *request, enum cq_rc rc)
{
    rpc_reply(request, &(struct rpc_answer){.rc = rc, .flags = RPC_FLAG_NOT_RUN});
}

/* A fiber has become free: the request that has waited longest gets it. */
static void server_next(struct rpc_server *server)
{
    struct cq_list *node = cq_list_first(&server->waiting);
    if (!node)
        return;
    struct rpc_request *request = cq_list_entry(node, struct rpc_request, waiting);
    request_stop_waiting(request);
    if (!request_get_fiber(request)) {
        rpc_server_count_refusal(RPC_REFUSED_LOAD);
        request_not_run(request, CQ_E_OVERLOADED);
    }
}

static void request_fiber(void *arg)
{
    struct rpc_request *request = arg;
    struct rpc_peer *peer = request->peer;
    bool replied = false;
    rpc_peer_ref(peer); /* the request may be gone when the handler returns */
    request->replied = &replied;
    request->row->handler(request, request->ctx);
    if (!replied) {
        if (!request->is_gone)
            cq_log_limited(1, CQ_ERROR, "rpc.no_reply", CQ_F_STR("method", request->row->name));
        rpc_reply_rc(request, CQ_E_INTERNAL);
    }
    peer->server->fibers--;
    server_next(peer->server);
    rpc_peer_unref(peer);
}

/* ---- Beginning ---- */

static void request_deadline(struct io_timer *timer)
{
    rpc_request_go(cq_containerof(timer, struct rpc_request, deadline), CQ_E_TIMEOUT);
}

static bool request_is_stream(const struct rpc_request *request)
{
    return (request->row->flags & RPC_METHOD_STREAM) != 0;
}

/* Streams do not count: they live long, and their credit has to be read while others wait. */
static void peer_hold(struct rpc_peer *peer, const struct rpc_request *request)
{
    if (request_is_stream(request))
        return;
    peer->open++;
    peer->held_bytes += request->frame.payload_len;
    if (peer->held_bytes > peer->server->config.limits.connection_bytes)
        io_conn_pause(peer->link.conn);
}

static void peer_release(struct rpc_peer *peer, const struct rpc_request *request)
{
    if (request_is_stream(request))
        return;
    peer->open--;
    peer->held_bytes -= request->frame.payload_len;
    if (peer->alive && io_conn_paused(peer->link.conn) &&
        peer->held_bytes <= peer->server->config.limits.connection_bytes / 2)
        io_conn_resume(peer->link.conn);
}

static struct rpc_request *request_new(struct rpc_peer *peer, const struct rpc_method *row,
                                       const struct rpc_frame *frame, struct rpc_payload *payload)
{
    struct rpc_request *request = cq_new(struct rpc_request);
    struct io_loop *loop = peer->server->config.loop;
    uint64_t now = io_loop_now_us(loop);
    rpc_peer_ref(peer);
    request->peer = peer;
    request->row = row;
    request->ctx = peer->server->ctxs[row->method];
    request->frame = *frame;
    request->payload = payload;
    request->credit = frame->aux < (uint64_t)RPC_CREDIT_MAX ? (int64_t)frame->aux : RPC_CREDIT_MAX;
    request->started_us = now;
    request->deadline_us = frame->deadline_ms ? now + frame->deadline_ms * UINT64_C(1000) : IO_NO_DEADLINE;
    cq_list_init(&request->hash);
    cq_list_init(&request->waiting);
    cq_list_init(&request->link);
    cq_list_push_back(&peer->requests, &request->link);
    if (frame->stream)
        cq_list_push_back(&peer->table[frame->stream % RPC_PEER_BUCKETS], &request->hash);
    io_timer_init(&request->deadline, loop, request_deadline);
    if (request->deadline_us != IO_NO_DEADLINE)
        io_timer_start_at(&request->deadline, request->deadline_us);
    peer->server->requests++;
    rpc_server_count_running(1);
    peer_hold(peer, request);
    return request;
}

void rpc_request_start(struct rpc_peer *peer, const struct rpc_method *row, const struct rpc_frame *frame,
                       struct rpc_payload *payload)
{
    struct rpc_request *request = request_new(peer, row, frame, payload);
    if (row->flags & RPC_METHOD_INLINE) {
        row->handler(request, request->ctx);
    } else if (!request_get_fiber(request)) {
        rpc_server_count_refusal(RPC_REFUSED_LOAD);
        request_not_run(request, CQ_E_OVERLOADED);
    }
}

/* ---- Gone ---- */

void rpc_request_go(struct rpc_request *request, enum cq_rc why)
{
    if (request->is_gone)
        return;
    request->is_gone = true;
    cq_list_remove(&request->link);
    cq_list_push_back(&request->peer->gone, &request->link);
    if (!cq_list_empty(&request->waiting)) {
        request_not_run(request, why);
        return;
    }
    io_fiber_cancel(request->fiber);
    io_wake_all(&request->writers);
    if (request->on_gone)
        request->on_gone(request->on_gone_ctx, why);
}

bool rpc_request_gone(const struct rpc_request *request)
{
    return request->is_gone;
}

void rpc_request_on_gone(struct rpc_request *request, void (*gone)(void *ctx, enum cq_rc why), void *ctx)
{
    request->on_gone = gone;
    request->on_gone_ctx = ctx;
}

/* ---- Looking at it ---- */

const struct rpc_frame *rpc_request_frame(const struct rpc_request *request)
{
    return &request->frame;
}

struct cq_slice rpc_request_message(const struct rpc_request *request)
{
    return rpc_frame_message(&request->frame, request->payload);
}

struct cq_slice rpc_request_raw(const struct rpc_request *request)
{
    return rpc_frame_raw(&request->frame, request->payload);
}

struct rpc_payload *rpc_request_payload_peek(const struct rpc_request *request)
{
    return request->payload;
}

uint64_t rpc_request_deadline_us(const struct rpc_request *request)
{
    return request->deadline_us;
}

struct rpc_peer *rpc_request_peer(const struct rpc_request *request)
{
    return request->peer;
}

/* ---- Answer ---- */

/* The payload of an answer or item, one reference for the caller; sets the frame's lengths. NULL with len 0 is fine. */
static bool fill_payload(struct rpc_frame *frame, const struct rpc_answer *answer, struct rpc_payload **payload_r)
{
    if (answer->payload) {
        frame->message_len = answer->message_len;
        frame->payload_len = answer->payload->len;
        *payload_r = rpc_payload_ref(answer->payload);
        return true;
    }
    *payload_r = rpc_payload_join(frame, answer->message, answer->raw, answer->raw_count);
    return *payload_r != NULL;
}

static void send_response(struct rpc_request *request, const struct rpc_answer *answer)
{
    struct rpc_payload *payload = NULL;
    struct rpc_frame frame = {.type = RPC_RESPONSE,
                              .stream = request->frame.stream,
                              .method = request->frame.method,
                              .flags = answer->flags,
                              .result = (uint16_t)answer->rc,
                              .epoch = answer->epoch,
                              .aux = answer->aux};
    if (!fill_payload(&frame, answer, &payload)) {
        cq_log_limited(1, CQ_ERROR, "rpc.answer_too_big", CQ_F_STR("method", request->row->name));
        frame.result = CQ_E_TOO_BIG;
        frame.message_len = frame.payload_len = 0;
    }
    rpc_link_send(&request->peer->link, &frame, payload);
    rpc_payload_unref(&payload);
}

void rpc_reply(struct rpc_request *request, const struct rpc_answer *answer)
{
    struct rpc_peer *peer = request->peer;
    if (peer->alive && !request->cancelled && request->frame.stream)
        send_response(request, answer);
    rpc_server_count(request->row, answer->rc, io_loop_now_us(request_loop(request)) - request->started_us);
    rpc_server_count_running(-1);
    request_stop_waiting(request);
    io_timer_stop(&request->deadline);
    cq_list_remove(&request->link);
    cq_list_remove(&request->hash);
    peer->server->requests--;
    peer_release(peer, request);
    if (request->replied)
        *request->replied = true;
    rpc_payload_unref(&request->payload);
    free(request);
    rpc_peer_settled(peer);
    rpc_peer_unref(peer);
}

void rpc_reply_rc(struct rpc_request *request, enum cq_rc rc)
{
    rpc_reply(request, &(struct rpc_answer){.rc = rc});
}

/* ---- Streams ---- */

static enum cq_rc stream_try(struct rpc_request *request, const struct rpc_answer *item)
{
    struct rpc_peer *peer = request->peer;
    CQ_ASSERT(request_is_stream(request));
    if (!peer->alive || request->is_gone)
        return CQ_E_CANCELLED;
    if (request->credit <= 0 || io_conn_output_full(peer->link.conn)) {
        request->blocked = true;
        return CQ_E_AGAIN;
    }
    struct rpc_payload *payload = NULL;
    struct rpc_frame frame = {.type = RPC_DATA, .stream = request->frame.stream, .method = request->frame.method};
    if (!fill_payload(&frame, item, &payload))
        return CQ_E_TOO_BIG;
    request->credit -= (int64_t)frame.payload_len + RPC_DATA_COST;
    rpc_link_send(&peer->link, &frame, payload);
    rpc_payload_unref(&payload);
    return CQ_OK;
}

enum cq_rc rpc_stream_try(struct rpc_request *request, struct cq_slice message, const struct cq_slice *raw,
                          size_t raw_count)
{
    return stream_try(request, &(struct rpc_answer){.message = message, .raw = raw, .raw_count = raw_count});
}

enum cq_rc rpc_stream_try_payload(struct rpc_request *request, struct rpc_payload *payload, uint32_t message_len)
{
    return stream_try(request, &(struct rpc_answer){.payload = payload, .message_len = message_len});
}

enum cq_rc rpc_stream_send(struct rpc_request *request, struct cq_slice message, const struct cq_slice *raw,
                           size_t raw_count, struct cq_err *err)
{
    enum cq_rc rc;
    while ((rc = rpc_stream_try(request, message, raw, raw_count)) == CQ_E_AGAIN) {
        rc = io_wait(&request->writers, request->deadline_us);
        if (rc != CQ_OK)
            return CQ_FAIL(err, rc, "the caller takes no more");
    }
    return rc == CQ_OK ? rc : CQ_FAIL(err, rc, "the caller takes no more");
}

void rpc_request_writable(struct rpc_request *request)
{
    if (!request->blocked || request->credit <= 0)
        return;
    request->blocked = false;
    io_wake_all(&request->writers);
    if (request->on_writable && !request->is_gone)
        request->on_writable(request->on_writable_ctx);
}

void rpc_request_credit(struct rpc_request *request, uint64_t bytes)
{
    int64_t more = bytes < (uint64_t)RPC_CREDIT_MAX ? (int64_t)bytes : RPC_CREDIT_MAX;
    request->credit = request->credit < RPC_CREDIT_MAX - more ? request->credit + more : RPC_CREDIT_MAX;
    rpc_request_writable(request);
}

void rpc_request_on_writable(struct rpc_request *request, void (*writable)(void *ctx), void *ctx)
{
    request->on_writable = writable;
    request->on_writable_ctx = ctx;
}
