#include "unit/rpc/rpc_methods.h"

struct io_event released;
size_t holding;
enum cq_rc hold_rc;
struct cq_buf notes;
struct rpc_request *watched;
enum cq_rc watch_gone;
size_t writable_calls;
struct rpc_request *later;

static void on_echo(struct rpc_request *request, void *ctx)
{
    (void)ctx;
    const struct cq_slice raw[] = {rpc_request_raw(request)};
    rpc_reply(request, &(struct rpc_answer){.message = rpc_request_message(request), .raw = raw, .raw_count = 1});
}

static void on_hold(struct rpc_request *request, void *ctx)
{
    (void)ctx;
    holding++;
    hold_rc = io_event_wait(&released, IO_NO_DEADLINE);
    holding--;
    rpc_reply_rc(request, hold_rc);
}

static void on_silent(struct rpc_request *request, void *ctx)
{
    (void)request;
    (void)ctx;
}

static void on_note(struct rpc_request *request, void *ctx)
{
    (void)ctx;
    cq_buf_slice_add(&notes, rpc_request_message(request));
    rpc_reply_rc(request, CQ_OK);
}

static void watch_went(void *ctx, enum cq_rc why)
{
    (void)ctx;
    struct rpc_request *request = watched;
    watch_gone = why;
    watched = NULL;
    rpc_reply_rc(request, why);
}

static void watch_writable(void *ctx)
{
    (void)ctx;
    writable_calls++;
}

static void on_watch(struct rpc_request *request, void *ctx)
{
    (void)ctx;
    watched = request;
    rpc_request_on_gone(request, watch_went, NULL);
    rpc_request_on_writable(request, watch_writable, NULL);
}

/* Sends as many items as its message says, each of 100 bytes. */
static void on_count(struct rpc_request *request, void *ctx)
{
    (void)ctx;
    uint64_t n = 0;
    uint8_t item[100] = {0};
    cq_slice_u64(rpc_request_message(request), 1000000, &n);
    const struct cq_slice raw[] = {cq_slice_of(item, sizeof item)};
    enum cq_rc rc = CQ_OK;
    for (uint64_t i = 0; i < n && rc == CQ_OK; i++)
        rc = rpc_stream_send(request, CQ_SLICE_NONE, raw, 1, NULL);
    hold_rc = rc;
    rpc_reply_rc(request, rc);
}

static void on_wrong_owner(struct rpc_request *request, void *ctx)
{
    (void)ctx;
    rpc_reply(request, &(struct rpc_answer){.rc = CQ_E_WRONG_OWNER, .epoch = 77, .aux = 5});
}

static void on_big_answer(struct rpc_request *request, void *ctx)
{
    (void)ctx;
    static uint8_t big[RPC_PAYLOAD_MAX];
    const struct cq_slice raw[] = {cq_slice_of(big, sizeof big), CQ_SLICE("x")};
    uint64_t parts = 0;
    cq_slice_u64(rpc_request_message(request), 2, &parts);
    rpc_reply(request, &(struct rpc_answer){.raw = raw, .raw_count = (size_t)parts});
}

static void later_gone(void *ctx, enum cq_rc why)
{
    (void)ctx;
    hold_rc = why;
}

static void on_later(struct rpc_request *request, void *ctx)
{
    (void)ctx;
    later = request;
    rpc_request_on_gone(request, later_gone, NULL);
}

const struct rpc_method methods[METHODS] = {
    {ECHO, "ECHO", RPC_ROLE_ALL, RPC_METHOD_READ, 4096, 9 << 20, on_echo},
    {HOLD, "HOLD", RPC_ROLE_ALL, RPC_METHOD_COMMAND, 4096, 0, on_hold},
    {SILENT, "SILENT", RPC_ROLE_ALL, RPC_METHOD_COMMAND, 4096, 0, on_silent},
    {COUNT, "COUNT", RPC_ROLE_ALL, RPC_METHOD_READ | RPC_METHOD_STREAM, 4096, 0, on_count},
    {NOTE, "NOTE", RPC_ROLE_ALL, RPC_METHOD_ONEWAY | RPC_METHOD_INLINE, 4096, 0, on_note},
    {WATCH, "WATCH", RPC_ROLE_ALL, RPC_METHOD_READ | RPC_METHOD_STREAM | RPC_METHOD_INLINE, 4096, 0, on_watch},
    {INLINE_ECHO, "INLINE_ECHO", RPC_ROLE_ALL, RPC_METHOD_READ | RPC_METHOD_INLINE, 4096, 4096, on_echo},
    {WRONG_OWNER, "WRONG_OWNER", RPC_ROLE_ALL, RPC_METHOD_READ, 4096, 0, on_wrong_owner},
    {BIG_ANSWER, "BIG_ANSWER", RPC_ROLE_ALL, RPC_METHOD_READ, 4096, 0, on_big_answer},
    {LATER, "LATER", RPC_ROLE_ALL, RPC_METHOD_READ | RPC_METHOD_INLINE, 4096, 0, on_later},
};

int methods_setup(void **state)
{
    released = (struct io_event){0};
    holding = 0;
    hold_rc = CQ_OK;
    cq_buf_init(&notes, 1 << 20);
    watched = NULL;
    later = NULL;
    watch_gone = CQ_OK;
    writable_calls = 0;
    return fx_setup(state);
}

int methods_teardown(void **state)
{
    cq_buf_fini(&notes);
    return fx_teardown(state);
}

/* ---- Calls and clients ---- */

static void one_call_fiber(void *arg)
{
    struct one_call *one = arg;
    const struct rpc_call call = {.method = one->method,
                                  .deadline_us = io_loop_deadline(fx_loop, one->deadline_ms ? one->deadline_ms : 5000)};
    one->fate = rpc_call(one->client, &call, fx_reply_pool, &one->reply, NULL);
    one->done = true;
}

void start_call(struct one_call *one, struct rpc_client *client, uint16_t method)
{
    *one = (struct one_call){.client = client, .method = method, .deadline_ms = one->deadline_ms};
    assert_int_equal(io_fiber_spawn(fx_loop, one_call_fiber, one, &one->fiber), CQ_OK);
}

void on_state(void *ctx, struct rpc_client *client, bool up, bool clean, const struct rpc_hello *peer)
{
    struct states *states = ctx;
    (void)client;
    assert_string_equal(peer->cluster, "c1");
    states->ups += up;
    states->downs += !up;
    states->clean += !up && clean;
}

static void stream_data(void *ctx, const struct rpc_frame *frame, struct rpc_payload *payload)
{
    struct stream *stream = ctx;
    (void)payload;
    stream->items++;
    stream->bytes += frame->payload_len;
}

static void stream_done(void *ctx, enum rpc_fate fate, const struct rpc_reply_in *reply)
{
    struct stream *stream = ctx;
    stream->done = true;
    stream->fate = fate;
    stream->rc = reply->rc;
    stream->pending = NULL;
}

void stream_start(struct stream *stream, struct rpc_client *client, uint16_t method, const char *message,
                  uint32_t window, bool auto_credit)
{
    const struct rpc_call call = {.method = method, .message = cq_slice_cstr(message), .deadline_us = IO_NO_DEADLINE};
    const struct rpc_stream_config config = {
        .window = window, .auto_credit = auto_credit, .data = stream_data, .done = stream_done, .ctx = stream};
    *stream = (struct stream){0};
    stream->pending = rpc_stream_start(client, &call, &config);
}
