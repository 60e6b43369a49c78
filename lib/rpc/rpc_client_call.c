/* Calls, streams and one-way messages on the lines of a client. */
#include "rpc/rpc_client_private.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "io/io_sync.h"

#include <stdlib.h>

/* ---- Ends ---- */

/* Takes it out of everything; the caller frees it. */
static void pending_unlink(struct rpc_pending *pending)
{
    struct rpc_client *client = pending->client;
    cq_list_remove(&pending->link);
    cq_list_remove(&pending->hash);
    io_timer_stop(&pending->deadline);
    client->inflight--;
    cq_gauge_add(&rpc_client_metrics, RPC_CLIENT_M_INFLIGHT, -1, client->role);
}

static void pending_free(struct rpc_pending *pending)
{
    rpc_payload_unref(&pending->payload);
    free(pending);
}

/* The one place that calls `done`. The callback may do anything, free the client too. */
static void pending_finish(struct rpc_pending *pending, enum rpc_fate fate, const struct rpc_reply_in *reply)
{
    struct rpc_client *client = pending->client;
    struct rpc_line *line = pending->line;
    rpc_done_fn *done = pending->stream.done;
    void *ctx = pending->stream.ctx;
    pending_unlink(pending);
    pending_free(pending);
    cq_metric_add(&rpc_client_metrics, RPC_CLIENT_M_CALLS, 1, client->role, (unsigned)fate);
    rpc_client_ref(client);
    done(ctx, fate, reply);
    if (line && !client->closed)
        rpc_line_leave_if_done(line);
    rpc_client_unref(client);
}

static void pending_fail(struct rpc_pending *pending, enum rpc_fate fate, enum cq_rc rc, const char *text)
{
    pending_finish(pending, fate, &(struct rpc_reply_in){.rc = rc, .text = text});
}

static struct rpc_pending *pending_of(struct cq_list *node)
{
    return node ? cq_list_entry(node, struct rpc_pending, link) : NULL;
}

void rpc_pending_fail_waiting(struct rpc_client *client, enum cq_rc rc, const char *text)
{
    struct rpc_pending *pending;
    while ((pending = pending_of(cq_list_first(&client->waiting))))
        pending_fail(pending, RPC_NOT_SENT, rc, text);
}

void rpc_pending_fail_deferred(struct rpc_client *client)
{
    struct rpc_pending *pending;
    rpc_client_ref(client);
    while ((pending = pending_of(cq_list_first(&client->failed))))
        pending_fail(pending, RPC_NOT_SENT, pending->fail_rc, pending->fail_text);
    rpc_client_unref(client);
}

/* The last opened first: so the list can be walked while callbacks take others out of it. */
static struct rpc_pending *line_last_above(struct rpc_line *line, uint64_t above_stream)
{
    struct rpc_pending *pending = pending_of(cq_list_last(&line->open));
    return pending && pending->frame.stream > above_stream ? pending : NULL;
}

void rpc_pending_fail_line(struct rpc_line *line, uint64_t above_stream, enum rpc_fate fate, enum cq_rc rc,
                           const char *text)
{
    struct rpc_pending *pending;
    while ((pending = line_last_above(line, above_stream)))
        pending_fail(pending, fate, rc, text);
}

/* ---- Beginnings ---- */

static uint32_t deadline_ms(const struct rpc_pending *pending)
{
    if (pending->deadline_us == IO_NO_DEADLINE)
        return 0;
    uint64_t now = io_loop_now_us(pending->client->config.loop);
    uint64_t left = pending->deadline_us > now ? (pending->deadline_us - now + 999) / 1000 : 1;
    return left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
}

static void pending_send(struct rpc_pending *pending, struct rpc_line *line)
{
    pending->line = line;
    pending->frame.stream = ++line->stream;
    pending->frame.deadline_ms = deadline_ms(pending);
    cq_list_remove(&pending->link);
    cq_list_push_back(&line->open, &pending->link);
    cq_list_push_back(&line->table[pending->frame.stream % RPC_LINE_BUCKETS], &pending->hash);
    rpc_link_send(&line->link, &pending->frame, pending->payload);
    rpc_payload_unref(&pending->payload);
    if (line->stream == RPC_STREAM_ID_LAST)
        line->state = LINE_LEAVING;
}

/* Told at the end of the turn: `done` is never called from inside the start. */
static void pending_fail_later(struct rpc_pending *pending, enum cq_rc rc, const char *text)
{
    struct rpc_client *client = pending->client;
    pending->fail_rc = rc;
    pending->fail_text = text;
    cq_list_remove(&pending->link);
    cq_list_push_back(&client->failed, &pending->link);
    io_loop_defer(client->config.loop, &client->failer);
}

/* One payload is always let through, however large: else it could never be sent. */
static bool line_has_room(const struct rpc_line *line, size_t bytes)
{
    size_t queued = rpc_link_queued(&line->link);
    return queued == 0 || queued + bytes <= line->client->config.limits.queue_bytes;
}

void rpc_pending_send_waiting(struct rpc_line *line)
{
    struct rpc_pending *pending;
    while (line->state == LINE_UP && (pending = pending_of(cq_list_first(&line->client->waiting)))) {
        if (line_has_room(line, pending->frame.payload_len))
            pending_send(pending, line);
        else
            pending_fail_later(pending, CQ_E_OVERLOADED, "too much waits to be written to the peer");
    }
}

static void pending_deadline(struct io_timer *timer)
{
    struct rpc_pending *pending = cq_containerof(timer, struct rpc_pending, deadline);
    bool sent = pending->line != NULL;
    if (sent)
        rpc_link_send(&pending->line->link, &(struct rpc_frame){.type = RPC_CANCEL, .stream = pending->frame.stream},
                      NULL);
    pending_fail(pending, sent ? RPC_SENT : RPC_NOT_SENT, CQ_E_TIMEOUT,
                 sent ? "no answer before the deadline" : "no connection before the deadline");
}

static bool frame_fill(struct rpc_pending *pending, const struct rpc_call *call, uint8_t type)
{
    struct rpc_frame *frame = &pending->frame;
    *frame = (struct rpc_frame){.type = type,
                                .flags = call->flags,
                                .method = call->method,
                                .group = call->group,
                                .account = call->account,
                                .epoch = call->epoch};
    if (call->payload) {
        frame->message_len = call->message_len;
        frame->payload_len = call->payload->len;
        pending->payload = rpc_payload_ref(call->payload);
        return true;
    }
    pending->payload = rpc_payload_join(frame, call->message, call->raw, call->raw_count);
    return pending->payload != NULL;
}

/* On a line, waiting for one, or failed: what a new pending becomes. */
static void pending_place(struct rpc_pending *pending)
{
    struct rpc_client *client = pending->client;
    bool wait = false;
    struct rpc_line *line = rpc_client_line(client, &wait);
    if (line && line_has_room(line, pending->frame.payload_len))
        pending_send(pending, line);
    else if (line)
        pending_fail_later(pending, CQ_E_OVERLOADED, "too much waits to be written to the peer");
    else if (wait)
        cq_list_push_back(&client->waiting, &pending->link);
    else
        pending_fail_later(pending, CQ_E_UNAVAILABLE, "no connection");
}

static struct rpc_pending *pending_new(struct rpc_client *client, const struct rpc_call *call,
                                       const struct rpc_stream_config *stream)
{
    struct rpc_pending *pending = cq_new(struct rpc_pending);
    CQ_ASSERT(!client->closed);
    pending->client = client;
    pending->stream = *stream;
    pending->deadline_us = call->deadline_us;
    cq_list_init(&pending->link);
    cq_list_init(&pending->hash);
    io_timer_init(&pending->deadline, client->config.loop, pending_deadline);
    client->inflight++;
    cq_gauge_add(&rpc_client_metrics, RPC_CLIENT_M_INFLIGHT, 1, client->role);
    return pending;
}

struct rpc_pending *rpc_stream_start(struct rpc_client *client, const struct rpc_call *call,
                                     const struct rpc_stream_config *config)
{
    struct rpc_pending *pending = pending_new(client, call, config);
    bool fits = frame_fill(pending, call, RPC_REQUEST);
    if (config->data) {
        pending->frame.flags |= RPC_FLAG_STREAM;
        pending->frame.aux = config->window;
    }
    if (!fits)
        pending_fail_later(pending, CQ_E_TOO_BIG, "request over the frame limit");
    else if (call->deadline_us <= io_loop_now_us(client->config.loop))
        pending_fail_later(pending, CQ_E_TIMEOUT, "the deadline has passed before the call");
    else if (client->inflight > (size_t)client->config.limits.calls_max)
        pending_fail_later(pending, CQ_E_OVERLOADED, "too many unanswered calls");
    else
        pending_place(pending);
    if (pending->deadline_us != IO_NO_DEADLINE)
        io_timer_start_at(&pending->deadline, pending->deadline_us);
    return pending;
}

struct rpc_pending *rpc_call_start(struct rpc_client *client, const struct rpc_call *call, rpc_done_fn *done, void *ctx)
{
    const struct rpc_stream_config config = {.done = done, .ctx = ctx};
    return rpc_stream_start(client, call, &config);
}

bool rpc_call_cancel(struct rpc_pending **pending_p)
{
    struct rpc_pending *pending = *pending_p;
    if (!pending)
        return false;
    struct rpc_line *line = pending->line;
    *pending_p = NULL;
    if (line)
        rpc_link_send(&line->link, &(struct rpc_frame){.type = RPC_CANCEL, .stream = pending->frame.stream}, NULL);
    pending_unlink(pending);
    pending_free(pending);
    if (line)
        rpc_line_leave_if_done(line);
    return line != NULL;
}

/* ---- Answers ---- */

static struct rpc_pending *line_find(struct rpc_line *line, uint32_t stream)
{
    cq_list_each (&line->table[stream % RPC_LINE_BUCKETS], node) {
        struct rpc_pending *pending = cq_list_entry(node, struct rpc_pending, hash);
        if (pending->frame.stream == stream)
            return pending;
    }
    return NULL;
}

void rpc_stream_consumed(struct rpc_pending *stream, uint64_t bytes)
{
    stream->owed += RPC_DATA_COST + bytes;
    if (!stream->line || stream->owed < stream->stream.window / 4)
        return;
    struct rpc_frame credit = {.type = RPC_CREDIT, .stream = stream->frame.stream, .aux = stream->owed};
    stream->owed = 0;
    rpc_link_send(&stream->line->link, &credit, NULL);
}

static void pending_data(struct rpc_pending *pending, const struct rpc_frame *frame, struct rpc_payload *payload)
{
    if (pending->stream.auto_credit)
        rpc_stream_consumed(pending, frame->payload_len);
    pending->stream.data(pending->stream.ctx, frame, payload);
}

static void pending_response(struct rpc_pending *pending, const struct rpc_frame *frame, struct rpc_payload *payload)
{
    const struct rpc_reply_in reply = {
        .rc = frame->result,
        .flags = frame->flags,
        .epoch = frame->epoch,
        .aux = frame->aux,
        .message = rpc_frame_message(frame, payload),
        .raw = rpc_frame_raw(frame, payload),
        .payload = payload,
        .message_len = frame->message_len,
        .text = "",
    };
    pending_finish(pending, RPC_ANSWERED, &reply);
}

enum cq_rc rpc_pending_frame(struct rpc_line *line, const struct rpc_frame *frame, struct rpc_payload *payload,
                             struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    struct rpc_pending *pending = frame->stream ? line_find(line, frame->stream) : NULL;
    if (frame->type != RPC_RESPONSE && frame->type != RPC_DATA)
        rc = CQ_FAIL(err, CQ_E_PROTO, "%s from a server", rpc_frame_type_name(frame->type));
    else if (frame->stream > line->stream)
        rc = CQ_FAIL(err, CQ_E_PROTO, "an answer to a request that was not sent");
    else if (pending && frame->type == RPC_DATA && !pending->stream.data)
        rc = CQ_FAIL(err, CQ_E_PROTO, "DATA for a call that is no stream");
    else if (pending && frame->type == RPC_DATA)
        pending_data(pending, frame, payload);
    else if (pending) /* without one: it was cancelled meanwhile */
        pending_response(pending, frame, payload);
    rpc_payload_unref(&payload);
    return rc;
}

/* ---- On a fiber ---- */

struct call_wait {
    struct io_event done;
    struct cq_pool *pool;
    struct rpc_reply_in *reply;
    enum rpc_fate fate;
    struct cq_err *err;
};

static void call_done(void *ctx, enum rpc_fate fate, const struct rpc_reply_in *reply)
{
    struct call_wait *wait = ctx;
    wait->fate = fate;
    *wait->reply = *reply;
    wait->reply->payload = NULL;
    wait->reply->message = cq_pool_slice(wait->pool, reply->message);
    wait->reply->raw = cq_pool_slice(wait->pool, reply->raw);
    wait->reply->text = "";
    if (fate != RPC_ANSWERED)
        CQ_FAIL(wait->err, reply->rc, "%s", reply->text);
    io_event_set(&wait->done);
}

enum rpc_fate rpc_call(struct rpc_client *client, const struct rpc_call *call, struct cq_pool *pool,
                       struct rpc_reply_in *reply_r, struct cq_err *err)
{
    struct call_wait wait = {.pool = pool, .reply = reply_r, .err = err};
    struct rpc_pending *pending = rpc_call_start(client, call, call_done, &wait);
    enum cq_rc rc;
    do
        rc = io_event_wait(&wait.done, IO_NO_DEADLINE);
    while (rc == CQ_OK && !wait.done.set);
    if (wait.done.set) /* also when it was cancelled at the same time: the answer is here */
        return wait.fate;
    CQ_FAIL(err, CQ_E_CANCELLED, "cancelled while waiting for the answer");
    *reply_r = (struct rpc_reply_in){.rc = CQ_E_CANCELLED, .text = ""};
    return rpc_call_cancel(&pending) ? RPC_SENT : RPC_NOT_SENT;
}

/* ---- One-way ---- */

enum cq_rc rpc_oneway(struct rpc_client *client, const struct rpc_call *call)
{
    struct rpc_line *line = &client->lines[0];
    struct rpc_pending message = {.client = client};
    if (line->state != LINE_UP)
        return CQ_E_UNAVAILABLE;
    if (!frame_fill(&message, call, RPC_ONEWAY))
        return CQ_E_TOO_BIG;
    enum cq_rc rc = line_has_room(line, message.frame.payload_len) ? CQ_OK : CQ_E_OVERLOADED;
    if (rc == CQ_OK)
        rpc_link_send(&line->link, &message.frame, message.payload);
    rpc_payload_unref(&message.payload);
    return rc;
}
