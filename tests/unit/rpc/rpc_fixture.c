#include "unit/rpc/rpc_fixture.h"

#include "base/cq_log.h"
#include "base/cq_mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct io_loop *fx_loop;
struct io_pool *fx_pool;
struct cq_pool *fx_reply_pool;
struct rpc_hello fx_hello;

static char folder[64];
static bool running; /* a test body, on its fiber */

static int shell(const char *command)
{
    int rc = system(command);
    if (rc)
        print_error("failed: %s\n", command);
    return rc;
}

int fx_group_setup(void **state)
{
    (void)state;
    char command[1024];
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.40s/cq-rpc-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return 1;
    snprintf(command, sizeof command,
             "set -e; cd '%s'; make='%s/deploy/make-certs'; $make --cluster c1 --node " FX_NODE
             " . >/dev/null; mkdir other;"
             " cp cluster-ca.pem cluster-ca.key other; $make --cluster c2 other >/dev/null;"
             " $make --cluster c1 foreign >/dev/null",
             folder, CHASQUI_SOURCE_DIR);
    RPC_HELLO_SET(fx_hello.cluster, "c1");
    RPC_HELLO_SET(fx_hello.program, "test");
    cq_log_init(&(struct cq_log_options){.level = CQ_ERROR});
    return shell(command);
}

int fx_group_teardown(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return shell(command);
}

int fx_setup(void **state)
{
    (void)state;
    if (running)
        exit(1);
    fx_loop = io_loop_new(NULL);
    fx_pool = io_pool_new("test", 1, 16);
    fx_reply_pool = cq_pool_new(4096);
    return 0;
}

bool fx_broken(void)
{
    return running;
}

int fx_teardown(void **state)
{
    (void)state;
    if (running) /* the body failed in the middle: its fiber is lost, and so is the loop; fx_setup ends the program */
        return 0;
    for (int i = 0; i < 20; i++)
        io_loop_turn(fx_loop, false);
    io_loop_free(&fx_loop);
    io_pool_free(&fx_pool);
    cq_pool_free(&fx_reply_pool);
    return 0;
}

/* "frontend" is folder/frontend.pem; "other/frontend" is folder/other/frontend.pem. */
static void role_file(char out[static 256], const char *role, const char *suffix)
{
    snprintf(out, 256, "%s/%s%s", folder, role, suffix);
}

struct io_tls *fx_tls_server(const char *role)
{
    char cert[256], key[256], ca[256];
    struct io_tls *tls = NULL;
    struct cq_err err = {0};
    role_file(cert, role, ".pem");
    role_file(key, role, ".key");
    role_file(ca, "cluster-ca", ".pem");
    const struct io_tls_cert certs[] = {{cert, key}};
    const struct io_tls_server_options options = {
        .service = "rpc", .certs = certs, .cert_count = 1, .client_ca_file = ca};
    if (io_tls_server_new(&options, &tls, &err) != CQ_OK)
        fail_msg("%s", err.text);
    return tls;
}

struct io_tls *fx_tls_client(const char *role)
{
    char cert[256], key[256], ca[256];
    struct io_tls *tls = NULL;
    struct cq_err err = {0};
    role_file(cert, role ? role : "", ".pem");
    role_file(key, role ? role : "", ".key");
    role_file(ca, "cluster-ca", ".pem");
    const struct io_tls_client_options options = {
        .ca_file = ca, .cert_file = role ? cert : NULL, .key_file = role ? key : NULL};
    if (io_tls_client_new(&options, &tls, &err) != CQ_OK)
        fail_msg("%s", err.text);
    return tls;
}

struct run {
    void (*fn)(void *arg);
    void *arg;
    bool done;
};

static void run_fiber(void *arg)
{
    struct run *run = arg;
    run->fn(run->arg);
    run->done = true;
}

void fx_run(void (*fn)(void *arg), void *arg)
{
    struct run run = {.fn = fn, .arg = arg};
    assert_int_equal(io_fiber_spawn(fx_loop, run_fiber, &run, NULL), CQ_OK);
    running = true;
    while (!run.done)
        io_loop_turn(fx_loop, true);
    running = false;
}

struct fx_server *fx_server_new(const struct rpc_method *methods, size_t count, void *ctx,
                                const struct rpc_server_config *like, const char *role)
{
    struct fx_server *fx = cq_new(struct fx_server);
    struct rpc_server_config config = like ? *like : (struct rpc_server_config){.limits = rpc_server_limits_default()};
    struct cq_err err = {0};
    uint16_t port = 0;
    fx->service = (struct rpc_service){methods, count, ctx};
    fx->tls = fx_tls_server(role ? role : "storage");
    config.loop = fx_loop;
    config.tls = fx->tls;
    config.hello = &fx_hello;
    config.services = &fx->service;
    config.service_count = 1;
    fx->server = rpc_server_new(&config);
    if (rpc_server_listen(fx->server, "127.0.0.1:0", &port, &err) != CQ_OK)
        fail_msg("%s", err.text);
    snprintf(fx->address, sizeof fx->address, "127.0.0.1:%u", port);
    return fx;
}

void fx_server_free(struct fx_server **server)
{
    rpc_server_free(&(*server)->server);
    for (int i = 0; i < 10; i++)
        io_fiber_running() ? (void)io_fiber_yield() : io_loop_turn(fx_loop, false);
    io_tls_free(&(*server)->tls);
    free(*server);
    *server = NULL;
}

struct fx_client *fx_client_new(const char *address, const char *role, const struct rpc_client_config *like)
{
    struct fx_client *fx = cq_new(struct fx_client);
    struct rpc_client_config config = like ? *like : (struct rpc_client_config){.limits = rpc_client_limits_default()};
    fx->tls = fx_tls_client(role);
    config.loop = fx_loop;
    config.resolver = fx_pool;
    config.tls = fx->tls;
    config.address = address;
    config.hello = config.hello ? config.hello : &fx_hello;
    config.peer_roles = config.peer_roles ? config.peer_roles : RPC_ROLE_STORAGE;
    fx->client = rpc_client_new(&config);
    return fx;
}

void fx_client_free(struct fx_client **client)
{
    rpc_client_free(&(*client)->client);
    for (int i = 0; i < 10; i++)
        io_fiber_running() ? (void)io_fiber_yield() : io_loop_turn(fx_loop, false);
    io_tls_free(&(*client)->tls);
    free(*client);
    *client = NULL;
}

struct io_conn *fx_raw_connect(const char *address, struct io_tls *tls)
{
    struct io_connect what = {.tls = tls};
    struct io_conn *conn = NULL;
    struct cq_err err = {0};
    assert_int_equal(io_addr_parse(cq_slice_cstr(address), 0, &what.addr, NULL), CQ_OK);
    if (io_conn_connect(fx_loop, &what, io_loop_deadline(fx_loop, 5000), &conn, &err) != CQ_OK)
        fail_msg("%s", err.text);
    return conn;
}

void fx_put_frame(struct cq_buf *buf, struct rpc_frame frame, struct cq_slice message, struct cq_slice raw)
{
    uint8_t header[RPC_FRAME_HEADER_SIZE];
    frame.message_len = (uint32_t)message.len;
    frame.payload_len = (uint32_t)(message.len + raw.len);
    rpc_frame_encode(&frame, header);
    cq_buf_add(buf, header, sizeof header);
    cq_buf_slice_add(buf, message);
    cq_buf_slice_add(buf, raw);
}

void fx_put_hello(struct cq_buf *buf, const char *cluster)
{
    struct rpc_hello hello = fx_hello;
    struct cq_buf message;
    cq_buf_init(&message, 4096);
    RPC_HELLO_SET(hello.cluster, cluster);
    rpc_hello_encode(&message, &hello);
    fx_put_frame(buf, (struct rpc_frame){.type = RPC_HELLO}, cq_buf_slice(&message), CQ_SLICE_NONE);
    cq_buf_fini(&message);
}

enum cq_rc fx_raw_next(struct io_conn *conn, struct rpc_frame_reader *reader, struct rpc_frame *frame_r,
                       struct rpc_payload **payload_r)
{
    for (;;) {
        struct cq_slice input = io_conn_input(conn);
        size_t len = input.len;
        enum cq_rc rc = rpc_frame_reader_next(reader, &input, frame_r, payload_r, NULL);
        io_conn_consume(conn, len - input.len);
        if (rc == CQ_E_AGAIN)
            rc = io_conn_read_more(conn, io_loop_deadline(fx_loop, 5000));
        else
            return rc;
        if (rc != CQ_OK)
            return rc;
    }
}

enum rpc_fate fx_call(struct rpc_client *client, uint16_t method, const char *message, struct rpc_reply_in *reply_r)
{
    struct cq_err err = {0};
    const struct rpc_call call = {
        .method = method, .message = cq_slice_cstr(message), .deadline_us = io_loop_deadline(fx_loop, 5000)};
    return rpc_call(client, &call, fx_reply_pool, reply_r, &err);
}
