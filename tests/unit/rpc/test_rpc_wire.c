/* Peers that do not behave, made by hand: byte by byte, out of order, too big, silent, slow, rogue servers. */
#include "unit/rpc/rpc_fixture.h"

#include "io/io_listener.h"

enum { ECHO = 1, FLOOD, NOTE };

static size_t flooded;

static void on_echo(struct rpc_request *request, void *ctx)
{
    (void)ctx;
    rpc_reply(request, &(struct rpc_answer){.message = rpc_request_message(request)});
}

static void on_flood(struct rpc_request *request, void *ctx)
{
    (void)ctx;
    static const uint8_t bytes[65536];
    const struct cq_slice raw[] = {cq_slice_of(bytes, sizeof bytes)};
    flooded = 0;
    while (rpc_stream_send(request, CQ_SLICE_NONE, raw, 1, NULL) == CQ_OK)
        flooded++;
    rpc_reply_rc(request, CQ_OK);
}

static void on_note(struct rpc_request *request, void *ctx)
{
    (void)ctx;
    rpc_reply_rc(request, CQ_OK);
}

static const struct rpc_method methods[] = {
    {ECHO, "ECHO", RPC_ROLE_ALL, RPC_METHOD_READ, 4096, 0, on_echo},
    {FLOOD, "FLOOD", RPC_ROLE_ALL, RPC_METHOD_READ | RPC_METHOD_STREAM, 4096, 0, on_flood},
    {NOTE, "NOTE", RPC_ROLE_ALL, RPC_METHOD_ONEWAY | RPC_METHOD_INLINE, 4096, 0, on_note},
};
#define METHODS (sizeof methods / sizeof *methods)

struct raw {
    struct fx_server *server;
    struct io_tls *tls;
    struct io_conn *conn;
    struct rpc_frame_reader reader;
    struct cq_buf out;
};

static void raw_open(struct raw *raw, const struct rpc_server_config *like)
{
    raw->server = fx_server_new(methods, METHODS, NULL, like, NULL);
    raw->tls = fx_tls_client("frontend");
    raw->conn = fx_raw_connect(raw->server->address, raw->tls);
    rpc_frame_reader_init(&raw->reader, RPC_PAYLOAD_MAX);
    cq_buf_init(&raw->out, RPC_FRAME_MAX * 2);
}

static void raw_close(struct raw *raw)
{
    rpc_frame_reader_fini(&raw->reader);
    cq_buf_fini(&raw->out);
    io_conn_free(&raw->conn);
    io_tls_free(&raw->tls);
    fx_server_free(&raw->server);
}

static void raw_send(struct raw *raw)
{
    io_conn_write(raw->conn, cq_buf_slice(&raw->out));
    cq_buf_reset(&raw->out, 0);
}

/* The next frame's type, its payload thrown away; 0 when the connection has ended. */
static uint8_t raw_next_type(struct raw *raw, struct rpc_frame *frame_r)
{
    struct rpc_payload *payload = NULL;
    enum cq_rc rc = fx_raw_next(raw->conn, &raw->reader, frame_r, &payload);
    rpc_payload_unref(&payload);
    assert_int_not_equal(rc, CQ_E_TIMEOUT);
    return rc == CQ_OK ? frame_r->type : 0;
}

static void requests_may_come_byte_by_byte(void *arg)
{
    (void)arg;
    struct raw raw;
    struct rpc_frame frame;
    raw_open(&raw, NULL);
    fx_put_hello(&raw.out, "c1");
    for (uint32_t stream = 1; stream <= 3; stream++)
        fx_put_frame(&raw.out, (struct rpc_frame){.type = RPC_REQUEST, .method = ECHO, .stream = stream},
                     CQ_SLICE("hello"), CQ_SLICE_NONE);
    for (size_t i = 0; i < raw.out.len; i++) {
        io_conn_write(raw.conn, cq_slice_of(raw.out.data + i, 1));
        io_conn_drain(raw.conn, IO_NO_DEADLINE);
        io_fiber_yield();
    }
    assert_int_equal(raw_next_type(&raw, &frame), RPC_HELLO);
    for (uint32_t stream = 1; stream <= 3; stream++) {
        assert_int_equal(raw_next_type(&raw, &frame), RPC_RESPONSE);
        assert_int_equal(frame.stream, stream);
        assert_int_equal(frame.result, CQ_OK);
        assert_int_equal(frame.message_len, 5);
    }
    raw_close(&raw);
}

static void a_ping_is_answered_with_its_number(void *arg)
{
    (void)arg;
    struct raw raw;
    struct rpc_frame frame;
    raw_open(&raw, NULL);
    fx_put_hello(&raw.out, "c1");
    fx_put_frame(&raw.out, (struct rpc_frame){.type = RPC_PING, .aux = 4711}, CQ_SLICE_NONE, CQ_SLICE_NONE);
    fx_put_frame(&raw.out, (struct rpc_frame){.type = 200}, CQ_SLICE("newer"), CQ_SLICE_NONE); /* skipped */
    fx_put_frame(&raw.out, (struct rpc_frame){.type = RPC_PING, .aux = 4712}, CQ_SLICE_NONE, CQ_SLICE_NONE);
    raw_send(&raw);
    assert_int_equal(raw_next_type(&raw, &frame), RPC_HELLO);
    for (uint64_t n = 4711; n <= 4712; n++) {
        assert_int_equal(raw_next_type(&raw, &frame), RPC_PONG);
        assert_int_equal(frame.aux, n);
    }
    raw_close(&raw);
}

/* ---- What ends a connection ---- */

static struct cq_slice nothing;

static void before_hello(struct cq_buf *out)
{
    fx_put_frame(out, (struct rpc_frame){.type = RPC_REQUEST, .method = ECHO, .stream = 1}, nothing, nothing);
}
static void ping_before_hello(struct cq_buf *out)
{
    fx_put_frame(out, (struct rpc_frame){.type = RPC_PING}, nothing, nothing);
}
static void garbage(struct cq_buf *out)
{
    cq_buf_cstr(out, "GET / HTTP/1.1\r\nHost: example.test\r\nUser-Agent: something that is long enough\r\n\r\n");
}
static void big_hello(struct cq_buf *out)
{
    static const uint8_t bytes[RPC_HELLO_MAX + 1];
    fx_put_frame(out, (struct rpc_frame){.type = RPC_HELLO}, cq_slice_of(bytes, sizeof bytes), nothing);
}
static void bad_hello(struct cq_buf *out)
{
    fx_put_frame(out, (struct rpc_frame){.type = RPC_HELLO}, CQ_SLICE("\xff\xff\xff"), nothing);
}
static void second_hello(struct cq_buf *out)
{
    fx_put_hello(out, "c1");
    fx_put_hello(out, "c1");
}
static void same_stream_twice(struct cq_buf *out)
{
    fx_put_hello(out, "c1");
    before_hello(out);
    before_hello(out);
}
static void streams_backwards(struct cq_buf *out)
{
    fx_put_hello(out, "c1");
    fx_put_frame(out, (struct rpc_frame){.type = RPC_REQUEST, .method = ECHO, .stream = 7}, nothing, nothing);
    fx_put_frame(out, (struct rpc_frame){.type = RPC_REQUEST, .method = ECHO, .stream = 6}, nothing, nothing);
}
static void response_from_client(struct cq_buf *out)
{
    fx_put_hello(out, "c1");
    fx_put_frame(out, (struct rpc_frame){.type = RPC_RESPONSE, .stream = 1}, nothing, nothing);
}
static void data_from_client(struct cq_buf *out)
{
    fx_put_hello(out, "c1");
    fx_put_frame(out, (struct rpc_frame){.type = RPC_DATA, .stream = 1}, nothing, nothing);
}
static void unknown_type(struct cq_buf *out)
{
    fx_put_hello(out, "c1");
    fx_put_frame(out, (struct rpc_frame){.type = 99, .stream = 1}, nothing, nothing);
}
static void oversized(struct cq_buf *out)
{
    static const uint8_t length[] = {1, 0, 0, 1}; /* 16 MiB and one */
    fx_put_hello(out, "c1");
    size_t at = out->len;
    fx_put_frame(out, (struct rpc_frame){.type = RPC_REQUEST, .method = ECHO, .stream = 1}, nothing, nothing);
    memcpy(out->data + at, length, 4);
}
static void unknown_oneway(struct cq_buf *out)
{
    fx_put_hello(out, "c1");
    fx_put_frame(out, (struct rpc_frame){.type = RPC_ONEWAY, .method = 500}, nothing, nothing);
}
static void oneway_too_big(struct cq_buf *out)
{
    static const uint8_t bytes[4097];
    fx_put_hello(out, "c1");
    fx_put_frame(out, (struct rpc_frame){.type = RPC_ONEWAY, .method = NOTE}, cq_slice_of(bytes, sizeof bytes),
                 nothing);
}

static void what_breaks_the_protocol_ends_the_connection_and_nothing_else(void *arg)
{
    (void)arg;
    static const struct {
        const char *name;
        void (*put)(struct cq_buf *out);
    } cases[] = {
#define CASE(fn) {#fn, fn}
        CASE(before_hello),      CASE(ping_before_hello), CASE(garbage),
        CASE(big_hello),         CASE(bad_hello),         CASE(second_hello),
        CASE(same_stream_twice), CASE(streams_backwards), CASE(response_from_client),
        CASE(data_from_client),  CASE(unknown_type),      CASE(oversized),
        CASE(unknown_oneway),    CASE(oneway_too_big),
#undef CASE
    };
    struct raw raw;
    raw_open(&raw, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rpc_frame frame;
        struct io_conn *conn = raw.conn;
        raw.conn = fx_raw_connect(raw.server->address, raw.tls);
        rpc_frame_reader_init(&raw.reader, RPC_PAYLOAD_MAX);
        cases[i].put(&raw.out);
        raw_send(&raw);
        uint8_t type;
        size_t frames = 0;
        while ((type = raw_next_type(&raw, &frame)) != 0)
            if (++frames > 3 || (type != RPC_HELLO && type != RPC_RESPONSE))
                fail_msg("%s: not closed", cases[i].name);
        rpc_frame_reader_fini(&raw.reader);
        io_conn_free(&raw.conn);
        raw.conn = conn;
    }
    /* The first connection still works. */
    struct rpc_frame frame;
    rpc_frame_reader_init(&raw.reader, RPC_PAYLOAD_MAX);
    fx_put_hello(&raw.out, "c1");
    before_hello(&raw.out);
    raw_send(&raw);
    assert_int_equal(raw_next_type(&raw, &frame), RPC_HELLO);
    assert_int_equal(raw_next_type(&raw, &frame), RPC_RESPONSE);
    raw_close(&raw);
}

/* ---- Slow and silent ---- */

static void a_peer_that_reads_nothing_costs_bounded_memory_and_holds_up_nobody(void *arg)
{
    (void)arg;
    struct rpc_server_config like = {.limits = rpc_server_limits_default()};
    like.limits.output_bytes = 256 << 10;
    struct raw raw;
    raw_open(&raw, &like);
    fx_put_hello(&raw.out, "c1");
    fx_put_frame(&raw.out,
                 (struct rpc_frame){
                     .type = RPC_REQUEST, .method = FLOOD, .stream = 1, .flags = RPC_FLAG_STREAM, .aux = UINT64_MAX},
                 nothing, nothing);
    raw_send(&raw); /* and never reads: input stays paused */
    struct fx_client *other = fx_client_new(raw.server->address, "frontend", NULL);
    size_t before;
    do { /* until the flood stands still */
        before = flooded;
        for (int i = 0; i < 50; i++) {
            struct rpc_reply_in reply;
            assert_int_equal(fx_call(other->client, ECHO, "x", &reply), RPC_ANSWERED);
        }
    } while (flooded != before);
    assert_in_range(flooded, 1, 400); /* what the kernel's buffers take, and 256 KiB */
    fx_client_free(&other);
    raw_close(&raw);
}

static void silence_is_asked_about_and_then_ends_the_connection(void *arg)
{
    (void)arg;
    struct rpc_server_config like = {.limits = rpc_server_limits_default()};
    like.limits.ping_interval_us = 20000;
    struct raw raw;
    struct rpc_frame frame;
    raw_open(&raw, &like);
    fx_put_hello(&raw.out, "c1");
    raw_send(&raw);
    assert_int_equal(raw_next_type(&raw, &frame), RPC_HELLO);
    uint8_t type;
    size_t pings = 0;
    while ((type = raw_next_type(&raw, &frame)) == RPC_PING)
        pings++;
    assert_int_equal(type, 0);
    assert_int_equal(pings, 3);
    raw_close(&raw);
}

static void who_answers_pings_stays(void *arg)
{
    (void)arg;
    struct rpc_server_config like = {.limits = rpc_server_limits_default()};
    like.limits.ping_interval_us = 5000;
    struct rpc_client_config eager = {.limits = rpc_client_limits_default(), .eager = true};
    struct raw raw;
    raw_open(&raw, &like);
    struct fx_client *client = fx_client_new(raw.server->address, "frontend", &eager);
    while (!rpc_client_up(client->client))
        io_fiber_yield();
    uint64_t until = io_loop_now_us(fx_loop) + 60000;
    while (io_loop_now_us(fx_loop) < until) {
        io_fiber_yield();
        assert_true(rpc_client_up(client->client));
    }
    fx_client_free(&client);
    raw_close(&raw);
}

static void without_a_hello_the_connection_ends(void *arg)
{
    (void)arg;
    struct rpc_server_config like = {.limits = rpc_server_limits_default()};
    like.limits.hello_timeout_us = 1500000; /* the TLS handshake counts, and the machine may be busy */
    struct raw raw;
    struct rpc_frame frame;
    raw_open(&raw, &like);
    uint8_t type = raw_next_type(&raw, &frame);
    if (type == RPC_HELLO)
        type = raw_next_type(&raw, &frame);
    assert_int_equal(type, 0);
    raw_close(&raw);
}

/* ---- Rogue servers ---- */

struct rogue {
    struct io_conn *conn;
    void (*put)(struct cq_buf *out);
};

static void rogue_input(struct io_conn *conn, void *ctx)
{
    struct rogue *rogue = ctx;
    struct cq_buf out;
    io_conn_consume(conn, io_conn_input(conn).len);
    if (!rogue->put)
        return;
    cq_buf_init(&out, 1 << 20);
    rogue->put(&out);
    rogue->put = NULL;
    io_conn_write(conn, cq_buf_slice(&out));
    cq_buf_fini(&out);
}

static void rogue_closed(struct io_conn *conn, const struct cq_err *why, void *ctx)
{
    struct rogue *rogue = ctx;
    (void)why;
    io_conn_free(&conn);
    rogue->conn = NULL;
}

static void rogue_accept(struct io_conn *conn, void *ctx)
{
    static const struct io_conn_ops ops = {.on_input = rogue_input, .on_closed = rogue_closed};
    struct rogue *rogue = ctx;
    if (rogue->conn) {
        io_conn_free(&conn);
        return;
    }
    rogue->conn = conn;
    io_conn_set_ops(conn, &ops, rogue);
}

static void answer_to_nothing(struct cq_buf *out)
{
    fx_put_hello(out, "c1");
    fx_put_frame(out, (struct rpc_frame){.type = RPC_RESPONSE, .stream = 99}, nothing, nothing);
}
static void request_from_server(struct cq_buf *out)
{
    fx_put_hello(out, "c1");
    fx_put_frame(out, (struct rpc_frame){.type = RPC_REQUEST, .stream = 1}, nothing, nothing);
}
static void no_hello(struct cq_buf *out)
{
    fx_put_frame(out, (struct rpc_frame){.type = RPC_RESPONSE, .stream = 1}, nothing, nothing);
}
static void oneway_from_server(struct cq_buf *out)
{
    fx_put_hello(out, "c1");
    fx_put_frame(out, (struct rpc_frame){.type = RPC_ONEWAY, .method = 1}, nothing, nothing);
}

static void a_client_drops_a_server_that_breaks_the_protocol(void *arg)
{
    (void)arg;
    static void (*const cases[])(struct cq_buf * out) = {
        answer_to_nothing, request_from_server, no_hello, oneway_from_server, garbage, big_hello};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rogue rogue = {.put = cases[i]};
        struct io_tls *tls = fx_tls_server("storage");
        struct io_listener *listener = NULL;
        struct io_listener_options options = {.name = "rogue", .tls = tls};
        char address[IO_ADDR_TEXT_SIZE];
        assert_int_equal(io_addr_parse(CQ_SLICE("127.0.0.1:0"), 0, &options.addr, NULL), CQ_OK);
        assert_int_equal(io_listener_new(fx_loop, &options, rogue_accept, &rogue, &listener, NULL), CQ_OK);
        io_addr_format(io_listener_addr(listener), address);
        struct fx_client *client = fx_client_new(address, "frontend", NULL);
        struct rpc_reply_in reply;
        enum rpc_fate fate = fx_call(client->client, ECHO, "", &reply);
        assert_int_not_equal(fate, RPC_ANSWERED);
        assert_int_equal(reply.rc, CQ_E_UNAVAILABLE);
        fx_client_free(&client);
        if (rogue.conn)
            io_conn_free(&rogue.conn);
        io_listener_free(&listener);
        io_tls_free(&tls);
    }
}

/* A server that takes the TLS connection and then says nothing at all. */
static void a_silent_server_fails_the_dial(void *arg)
{
    (void)arg;
    struct rogue rogue = {0};
    struct io_tls *tls = fx_tls_server("storage");
    struct io_listener *listener = NULL;
    struct io_listener_options options = {.name = "rogue", .tls = tls};
    char address[IO_ADDR_TEXT_SIZE];
    struct rpc_client_config like = {.limits = rpc_client_limits_default()};
    like.limits.connect_timeout_us = 100000;
    assert_int_equal(io_addr_parse(CQ_SLICE("127.0.0.1:0"), 0, &options.addr, NULL), CQ_OK);
    assert_int_equal(io_listener_new(fx_loop, &options, rogue_accept, &rogue, &listener, NULL), CQ_OK);
    io_addr_format(io_listener_addr(listener), address);
    struct fx_client *client = fx_client_new(address, "frontend", &like);
    struct rpc_reply_in reply;
    assert_int_equal(fx_call(client->client, ECHO, "", &reply), RPC_NOT_SENT);
    assert_int_equal(reply.rc, CQ_E_UNAVAILABLE);
    fx_client_free(&client);
    if (rogue.conn)
        io_conn_free(&rogue.conn);
    io_listener_free(&listener);
    io_tls_free(&tls);
}

#define CONVERSATION(fn)                                                                                               \
    static void test_##fn(void **state)                                                                                \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        fx_run(fn, NULL);                                                                                              \
    }
#define CONVERSATIONS(X)                                                                                               \
    X(requests_may_come_byte_by_byte)                                                                                  \
    X(a_ping_is_answered_with_its_number)                                                                              \
    X(what_breaks_the_protocol_ends_the_connection_and_nothing_else)                                                   \
    X(a_peer_that_reads_nothing_costs_bounded_memory_and_holds_up_nobody)                                              \
    X(silence_is_asked_about_and_then_ends_the_connection)                                                             \
    X(who_answers_pings_stays)                                                                                         \
    X(without_a_hello_the_connection_ends)                                                                             \
    X(a_client_drops_a_server_that_breaks_the_protocol)                                                                \
    X(a_silent_server_fails_the_dial)

CONVERSATIONS(CONVERSATION)

#define ROW(fn) {#fn, test_##fn, fx_setup, fx_teardown, NULL},
int main(void)
{
    const struct CMUnitTest tests[] = {CONVERSATIONS(ROW)};
    return cmocka_run_group_tests(tests, fx_group_setup, fx_group_teardown);
}
