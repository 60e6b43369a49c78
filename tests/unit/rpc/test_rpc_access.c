/* Nobody calls what his certificate does not allow: every role against every row, no certificate, another cluster's,
 * another CA's, and servers that are not what they should be. */
#include "unit/rpc/rpc_fixture.h"

static const char *const files[] = {"frontend", "admin", "router", "storage", "quota", "operator"};
#define ROLES 6

static size_t ran;

static void on_call(struct rpc_request *request, void *ctx)
{
    (void)ctx;
    ran++;
    rpc_reply_rc(request, CQ_OK);
}

/* Row i + 1 is for role i alone; row 10 for front-end and router; row 20 + i takes one-way messages of role i. */
static const struct rpc_method methods[] = {
    {1, "FRONTEND", RPC_ROLE_FRONTEND, RPC_METHOD_READ, 10, 0, on_call},
    {2, "ADMIN", RPC_ROLE_ADMIN, RPC_METHOD_COMMAND, 10, 0, on_call},
    {3, "ROUTER", RPC_ROLE_ROUTER, RPC_METHOD_READ | RPC_METHOD_INLINE, 10, 0, on_call},
    {4, "STORAGE", RPC_ROLE_STORAGE, RPC_METHOD_READ, 10, 0, on_call},
    {5, "QUOTA", RPC_ROLE_QUOTA, RPC_METHOD_COMMAND | RPC_METHOD_INLINE, 10, 0, on_call},
    {6, "OPERATOR", RPC_ROLE_OPERATOR, RPC_METHOD_COMMAND, 10, 0, on_call},
    {10, "TWO", RPC_ROLE_FRONTEND | RPC_ROLE_ROUTER, RPC_METHOD_READ, 10, 0, on_call},
    {20, "NOTE", RPC_ROLE_STORAGE, RPC_METHOD_ONEWAY | RPC_METHOD_INLINE, 10, 0, on_call},
};
#define METHODS (sizeof methods / sizeof *methods)

static void each_role_reaches_its_own_rows_and_no_other(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    for (size_t role = 0; role < ROLES; role++) {
        struct fx_client *client = fx_client_new(server->address, files[role], NULL);
        for (size_t m = 0; m < METHODS; m++) {
            if (methods[m].flags & RPC_METHOD_ONEWAY)
                continue;
            bool allowed = methods[m].roles >> role & 1;
            struct rpc_reply_in reply;
            size_t before = ran;
            assert_int_equal(fx_call(client->client, methods[m].method, "", &reply), RPC_ANSWERED);
            if (reply.rc != (allowed ? CQ_OK : CQ_E_DENIED) || ran - before != allowed)
                fail_msg("%s on %s: %s", files[role], methods[m].name, cq_rc_name(reply.rc));
            assert_int_equal(reply.flags, allowed ? 0 : RPC_FLAG_NOT_RUN);
        }
        fx_client_free(&client);
    }
    fx_server_free(&server);
}

static void a_certificate_with_two_roles_has_both(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct fx_client *client = fx_client_new(server->address, "frontend-admin", NULL);
    struct rpc_reply_in reply;
    for (uint16_t method = 1; method <= 6; method++) {
        assert_int_equal(fx_call(client->client, method, "", &reply), RPC_ANSWERED);
        assert_int_equal(reply.rc, method <= 2 ? CQ_OK : CQ_E_DENIED);
    }
    fx_client_free(&client);
    fx_server_free(&server);
}

static void down(void *ctx, struct rpc_client *client, bool up, bool clean, const struct rpc_hello *peer)
{
    (void)client;
    (void)clean;
    (void)peer;
    *(int *)ctx += up ? 1 : 100;
}

static void a_one_way_message_of_a_wrong_role_is_not_heard_and_ends_the_connection(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    for (size_t role = 0; role < ROLES; role++) {
        int seen = 0;
        struct rpc_client_config like = {
            .limits = rpc_client_limits_default(), .eager = true, .on_state = down, .on_state_ctx = &seen};
        struct fx_client *client = fx_client_new(server->address, files[role], &like);
        const struct rpc_call call = {.method = 20};
        size_t before = ran;
        while (seen == 0)
            io_fiber_yield();
        assert_int_equal(rpc_oneway(client->client, &call), CQ_OK);
        bool allowed = methods[7].roles >> role & 1;
        while (allowed ? ran == before : seen < 100)
            io_fiber_yield();
        assert_int_equal(ran - before, allowed);
        fx_client_free(&client);
    }
    fx_server_free(&server);
}

static void strangers_get_no_connection(void *arg)
{
    (void)arg;
    static const char *const strangers[] = {NULL /* no certificate */,
                                            "other/frontend" /* of cluster c2, by the same CA */,
                                            "foreign/frontend" /* other CA */};
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    for (size_t i = 0; i < 3; i++) {
        struct rpc_reply_in reply;
        size_t before = ran;
        struct fx_client *client = fx_client_new(server->address, strangers[i], NULL);
        enum rpc_fate fate = fx_call(client->client, 1, "", &reply);
        if (fate != RPC_NOT_SENT || ran != before)
            fail_msg("stranger %zu: fate %d", i, (int)fate);
        assert_false(rpc_client_up(client->client));
        fx_client_free(&client);
    }
    fx_server_free(&server);
}

/* The peer's HELLO says another cluster than its certificate. */
static void a_hello_of_another_cluster_is_refused(void *arg)
{
    (void)arg;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    struct io_tls *tls = fx_tls_client("frontend");
    struct io_conn *conn = fx_raw_connect(server->address, tls);
    struct rpc_frame_reader reader;
    struct rpc_frame frame;
    struct rpc_payload *payload = NULL;
    struct cq_buf buf;
    cq_buf_init(&buf, 4096);
    fx_put_hello(&buf, "c2");
    fx_put_frame(&buf, (struct rpc_frame){.type = RPC_REQUEST, .method = 1, .stream = 1}, CQ_SLICE_NONE, CQ_SLICE_NONE);
    io_conn_write(conn, cq_buf_slice(&buf));
    rpc_frame_reader_init(&reader, RPC_PAYLOAD_MAX);
    size_t before = ran;
    enum cq_rc rc;
    while ((rc = fx_raw_next(conn, &reader, &frame, &payload)) == CQ_OK) {
        assert_int_equal(frame.type, RPC_HELLO);
        rpc_payload_unref(&payload);
    }
    assert_int_not_equal(rc, CQ_E_TIMEOUT);
    assert_int_equal(ran, before);
    rpc_frame_reader_fini(&reader);
    cq_buf_fini(&buf);
    io_conn_free(&conn);
    io_tls_free(&tls);
    fx_server_free(&server);
}

static bool connects_as(const char *role, bool has_node, const uint8_t node[static 16])
{
    struct rpc_hello ours = fx_hello;
    struct rpc_reply_in reply;
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, NULL);
    fx_hello.has_node = has_node;
    memcpy(fx_hello.node, node, sizeof fx_hello.node);
    struct fx_client *client = fx_client_new(server->address, role, NULL);
    bool answered = fx_call(client->client, 1, "", &reply) == RPC_ANSWERED;
    fx_client_free(&client);
    fx_server_free(&server);
    fx_hello = ours;
    return answered;
}

/* And so does a server: both sides say HELLO. */
static void a_certificate_that_names_a_node_speaks_for_that_node_alone(void *arg)
{
    (void)arg;
    static const uint8_t named[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0x4c, 0xde, 0x8f, 0, 1, 2, 3, 4, 5, 6};
    static const uint8_t another[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0x4c, 0xde, 0x8f, 0, 1, 2, 3, 4, 5, 7};
    assert_true(connects_as(FX_NODE_ROLE, true, named));
    assert_true(connects_as(FX_NODE_ROLE, false, another)); /* it speaks for no node */
    assert_false(connects_as(FX_NODE_ROLE, true, another));
    assert_true(connects_as("storage", true, another)); /* shared by all nodes */
}

static void a_client_talks_only_to_servers_of_the_wanted_role_and_cluster(void *arg)
{
    (void)arg;
    static const char *const roles[] = {"frontend", "router", "operator"};
    for (size_t i = 0; i < 3; i++) {
        struct rpc_reply_in reply;
        struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, roles[i]);
        struct fx_client *client = fx_client_new(server->address, "frontend", NULL); /* wants storage */
        size_t before = ran;
        assert_int_equal(fx_call(client->client, 1, "", &reply), RPC_NOT_SENT);
        assert_int_equal(reply.rc, CQ_E_UNAVAILABLE);
        assert_int_equal(ran, before);
        fx_client_free(&client);
        fx_server_free(&server);
    }
    struct rpc_client_config like = {.limits = rpc_client_limits_default(),
                                     .peer_roles = RPC_ROLE_ROUTER | RPC_ROLE_STORAGE};
    struct fx_server *server = fx_server_new(methods, METHODS, NULL, NULL, "router");
    struct fx_client *client = fx_client_new(server->address, "frontend", &like);
    struct rpc_reply_in reply;
    assert_int_equal(fx_call(client->client, 1, "", &reply), RPC_ANSWERED);
    fx_client_free(&client);
    fx_server_free(&server);
}

#define CONVERSATION(fn)                                                                                               \
    static void test_##fn(void **state)                                                                                \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        fx_run(fn, NULL);                                                                                              \
    }
#define CONVERSATIONS(X)                                                                                               \
    X(each_role_reaches_its_own_rows_and_no_other)                                                                     \
    X(a_certificate_with_two_roles_has_both)                                                                           \
    X(a_one_way_message_of_a_wrong_role_is_not_heard_and_ends_the_connection)                                          \
    X(strangers_get_no_connection)                                                                                     \
    X(a_hello_of_another_cluster_is_refused)                                                                           \
    X(a_certificate_that_names_a_node_speaks_for_that_node_alone)                                                      \
    X(a_client_talks_only_to_servers_of_the_wanted_role_and_cluster)

CONVERSATIONS(CONVERSATION)

#define ROW(fn) {#fn, test_##fn, fx_setup, fx_teardown, NULL},
int main(void)
{
    const struct CMUnitTest tests[] = {CONVERSATIONS(ROW)};
    return cmocka_run_group_tests(tests, fx_group_setup, fx_group_teardown);
}
