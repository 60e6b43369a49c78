/* The admin port by its own sockets on loopback; no other network. */
#include "io/admin_http.h"

#include "base/cq_metrics.h"
#include "base/cq_time.h"
#include "io/admin_checks.h"
#include "unit/cq_log_expect.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct admin_http *admin;
static struct admin_check *listeners;
static struct admin_heartbeat *heartbeat;
static char reply[1u << 20];
static int drains;

static bool always_ok(void *ctx, char text[static ADMIN_TEXT_MAX])
{
    snprintf(text, ADMIN_TEXT_MAX, "%s", (const char *)ctx);
    return true;
}

static void on_drain(void *ctx)
{
    ++*(int *)ctx;
}

static unsigned hello_page(struct cq_buf *out, const char **type, void *ctx)
{
    *type = "text/x-hello";
    cq_buf_cstr(out, ctx);
    return 200;
}

static int setup(void **state)
{
    const struct admin_config config = {.listen = "127.0.0.1:0", .heartbeat_max_us = 10 * CQ_US_PER_S};
    struct cq_err err = {0};
    cq_log_expect_setup(state);
    drains = 0;
    admin_metrics_register();
    admin = admin_http_new(&config);
    listeners = admin_check_add(admin, "listeners", ADMIN_READY | ADMIN_STARTUP);
    admin_check_add_fn(admin, "router_map", ADMIN_READY, always_ok, "epoch \"7\"");
    heartbeat = admin_heartbeat_add(admin, "worker-0");
    admin_http_on_drain(admin, on_drain, &drains);
    admin_page_add(admin, "/hello", hello_page, "hi\n");
    if (admin_http_start(admin, &err) != CQ_OK)
        fail_msg("%s", err.text);
    return 0;
}

static int teardown(void **state)
{
    admin_http_free(&admin);
    return cq_log_expect_teardown(state);
}

/* Sends it and reads until the end of the connection; returns the status. */
static int talk(const char *request)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)admin_http_port(admin))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_true(write(fd, request, strlen(request)) > 0);
    size_t n = 0;
    for (ssize_t got; n < sizeof reply - 1 && (got = read(fd, reply + n, sizeof reply - 1 - n)) > 0;)
        n += (size_t)got;
    reply[n] = '\0';
    close(fd);
    return n > 12 ? (int)strtol(reply + 9, NULL, 10) : 0;
}

static int get(const char *target)
{
    char request[256];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", target);
    return talk(request);
}

static const char *body(void)
{
    const char *at = strstr(reply, "\r\n\r\n");
    return at ? at + 4 : "";
}

static void a_check_fails_until_its_owner_reports(void **state)
{
    (void)state;
    assert_int_equal(get("/livez"), 200);
    assert_string_equal(body(), "ok\n");
    assert_int_equal(get("/readyz"), 503);
    assert_non_null(strstr(body(), "[-]listeners failed: not reported yet\n"));
    assert_int_equal(get("/startupz"), 503);
    admin_check_set(listeners, true, "3 listen");
    assert_int_equal(get("/readyz"), 200);
    assert_string_equal(body(), "ok\n");
    assert_int_equal(get("/startupz"), 200);
}

static void verbose_and_json_tell_each_check(void **state)
{
    (void)state;
    admin_check_set(listeners, false, "port 25 is taken");
    assert_int_equal(get("/readyz?verbose"), 503);
    assert_non_null(
        strstr(body(), "[-]listeners failed: port 25 is taken\n[+]router_map ok: epoch \"7\"\n[+]loop worker-0 ok: "));
    assert_non_null(strstr(body(), "readyz check failed\n"));
    assert_int_equal(get("/readyz?format=json"), 503);
    assert_non_null(strstr(reply, "Content-Type: application/json\r\n"));
    assert_non_null(
        strstr(body(), "{\"status\":\"failed\",\"checks\":[{\"name\":\"listeners\",\"ok\":false,\"text\":\"port 25 is "
                       "taken\"},{\"name\":\"router_map\",\"ok\":true,\"text\":\"epoch \\\"7\\\"\"},"));
    assert_int_equal(talk("GET /livez HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\nConnection: close\r\n\r\n"),
                     200);
    assert_non_null(strstr(body(), "{\"status\":\"ok\",\"checks\":[{\"name\":\"loop worker-0\",\"ok\":true"));
}

static void a_loop_that_stands_still_fails_liveness(void **state)
{
    (void)state;
    struct admin_result results[ADMIN_RESULTS_MAX];
    struct admin_checks checks;
    admin_checks_init(&checks, 10 * CQ_US_PER_S);
    checks.heartbeat_count = 1;
    checks.heartbeats[0].beat_us = 100 * CQ_US_PER_S;
    assert_int_equal(admin_checks_ask(&checks, ADMIN_LIVE, 110 * CQ_US_PER_S, results), 1);
    assert_true(results[0].ok);
    admin_checks_ask(&checks, ADMIN_LIVE, 110 * CQ_US_PER_S + 1, results);
    assert_false(results[0].ok);
    assert_int_equal(admin_checks_heartbeat_age(&checks, 101 * CQ_US_PER_S), CQ_US_PER_S);
    assert_int_equal(admin_checks_heartbeat_age(&checks, 0), 0);
    assert_int_equal(admin_checks_ask(&checks, ADMIN_STARTUP, 0, results), 0);
    admin_checks_fini(&checks);
}

static void drain_starts_once_and_makes_the_process_unready(void **state)
{
    (void)state;
    admin_check_set(listeners, true, "");
    assert_int_equal(get("/drain"), 200);
    assert_string_equal(body(), "not draining\n");
    assert_int_equal(drains, 0);
    assert_int_equal(talk("POST /drain HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), 202);
    assert_int_equal(talk("POST /drain HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\na=b"), 202);
    assert_int_equal(drains, 1);
    assert_true(admin_http_draining(admin));
    assert_int_equal(get("/readyz"), 503);
    assert_non_null(strstr(body(), "[-]draining failed"));
    assert_int_equal(get("/livez"), 200);
}

static void metrics_are_served(void **state)
{
    (void)state;
    admin_heartbeat_beat(heartbeat);
    assert_int_equal(get("/metrics"), 200);
    assert_non_null(strstr(reply, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert_non_null(strstr(body(), "chasqui_ready{check=\"listeners\"} 0\n"));
    assert_non_null(strstr(body(), "chasqui_drain_active 0\n"));
    assert_non_null(strstr(body(), "chasqui_event_loop_heartbeat_age_seconds 0"));
}

static void other_requests_are_refused_with_a_reason(void **state)
{
    (void)state;
    assert_int_equal(get("/"), 404);
    assert_non_null(strstr(body(), "/hello"));
    assert_int_equal(get("/hello"), 200);
    assert_non_null(strstr(reply, "Content-Type: text/x-hello\r\n"));
    assert_int_equal(talk("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), 405);
    assert_non_null(strstr(reply, "Allow: GET\r\n"));
    assert_int_equal(talk("DELETE /drain HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 405);
    assert_int_equal(drains, 0);
    assert_int_equal(talk("HEAD /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 200);
    assert_string_equal(body(), "");
    assert_int_not_equal(talk("nonsense\r\n\r\n"), 200);
}

static void a_large_body_is_not_taken(void **state)
{
    (void)state;
    static char request[20000];
    int n = snprintf(request, sizeof request, "POST /drain HTTP/1.1\r\nHost: x\r\nContent-Length: 15000\r\n\r\n");
    memset(request + n, 'x', 15000);
    assert_int_not_equal(talk(request), 202);
    assert_int_equal(drains, 0);
}

static void a_wrong_address_is_named(void **state)
{
    (void)state;
    const struct admin_config bad = {.listen = "localhost/9090"}, none = {.listen = ""};
    struct cq_err err = {0};
    struct admin_http *other = admin_http_new(&bad);
    assert_int_equal(admin_http_start(other, &err), CQ_E_CONFIG);
    assert_non_null(strstr(err.text, "localhost/9090"));
    admin_http_free(&other);
    other = admin_http_new(&none);
    assert_int_equal(admin_http_start(other, &err), CQ_OK);
    assert_int_equal(admin_http_port(other), 0);
    admin_http_free(&other);

    char taken[32];
    snprintf(taken, sizeof taken, "127.0.0.1:%u", admin_http_port(admin));
    const struct admin_config same = {.listen = taken};
    other = admin_http_new(&same);
    assert_int_equal(admin_http_start(other, &err), CQ_E_IO);
    assert_non_null(strstr(err.text, taken));
    admin_http_free(&other);
    admin_http_free(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_check_fails_until_its_owner_reports, setup, teardown),
        cmocka_unit_test_setup_teardown(verbose_and_json_tell_each_check, setup, teardown),
        cmocka_unit_test(a_loop_that_stands_still_fails_liveness),
        cmocka_unit_test_setup_teardown(drain_starts_once_and_makes_the_process_unready, setup, teardown),
        cmocka_unit_test_setup_teardown(metrics_are_served, setup, teardown),
        cmocka_unit_test_setup_teardown(other_requests_are_refused_with_a_reason, setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_body_is_not_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wrong_address_is_named, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
