#include "io/admin_http.h"

#include "io/admin_checks.h"
#include "io/io_net.h"

#include "base/cq_assert.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_metrics.h"
#include "base/cq_time.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGES_MAX 16
#define PAGE_BYTES_MAX (8u << 20)
#define UPLOAD_MAX 4096 /* bytes of a request's body: nobody needs one */
#define CONNECTION_TIMEOUT_S 10u
#define CONNECTION_MEMORY 16384u

struct page {
    const char *path;
    admin_page_fn *fn;
    void *ctx;
};

struct admin_http {
    struct admin_config config;
    struct admin_checks checks;
    struct page pages[PAGES_MAX];
    size_t page_count;
    admin_drain_fn *drain_fn;
    void *drain_ctx;
    struct MHD_Daemon *daemon;
};

/* ---- Settings and metrics ---- */

static const struct cq_setting setting_rows[] = {
    CQ_SET_STRING(struct admin_config, listen, "admin.listen", "127.0.0.1:9090",
                  "Address of the admin port (health, metrics, drain); it has no authentication. Empty: none."),
    CQ_SET_DURATION(struct admin_config, heartbeat_max_us, "admin.heartbeat_max", "10s", "1s", "10m",
                    "A loop that has not turned for this long fails /livez."),
};

struct cq_config_part admin_config_part(struct admin_config *values)
{
    return (struct cq_config_part)CQ_CONFIG_PART("Admin port", setting_rows, values);
}

enum { M_READY, M_DRAIN, M_HEARTBEAT };

static const struct cq_metric metric_rows[] = {
    [M_READY] = CQ_GAUGE("chasqui_ready", "1: this check of /readyz is well", CQ_LABEL_DYNAMIC("check")),
    [M_DRAIN] = CQ_GAUGE("chasqui_drain_active", "1: the process is draining"),
    [M_HEARTBEAT] =
        CQ_GAUGE_US("chasqui_event_loop_heartbeat_age_seconds", "Time since the slowest loop of the process turned"),
};

static struct cq_metrics metrics = CQ_METRICS_OF(metric_rows);
static struct admin_http *_Atomic current; /* the one whose metrics are shown */

static void collect_ready(struct cq_metric_out *out, void *ctx)
{
    (void)ctx;
    struct admin_http *admin = current;
    if (!admin)
        return;
    struct admin_result results[ADMIN_RESULTS_MAX];
    size_t n = admin_checks_ask(&admin->checks, ADMIN_READY, cq_time_mono_us(), results);
    for (size_t i = 0; i < n; i++)
        cq_metric_out_sample(out, &results[i].name, results[i].ok);
}

static void set_gauges(void *ctx)
{
    (void)ctx;
    struct admin_http *admin = current;
    if (!admin)
        return;
    cq_gauge_set(&metrics, M_DRAIN, atomic_load(&admin->checks.draining));
    cq_gauge_set(&metrics, M_HEARTBEAT, (int64_t)admin_checks_heartbeat_age(&admin->checks, cq_time_mono_us()));
}

void admin_metrics_register(void)
{
    if (metrics.state)
        return;
    cq_metrics_register(&metrics);
    cq_metrics_collect(&metrics, M_READY, collect_ready, NULL);
    cq_metrics_before_scrape(set_gauges, NULL);
}

/* ---- Answers ---- */

struct answer {
    struct cq_buf body;
    unsigned status;
    const char *type;
    const char *allow;
};

static enum MHD_Result send_answer(struct MHD_Connection *connection, struct answer *answer)
{
    size_t len;
    uint8_t *body = cq_buf_take(&answer->body, &len);
    struct MHD_Response *response = MHD_create_response_from_buffer(len, body, MHD_RESPMEM_MUST_FREE);
    if (!response) {
        free(body);
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (answer->allow)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, answer->allow);
    enum MHD_Result result = MHD_queue_response(connection, answer->status, response);
    MHD_destroy_response(response);
    return result;
}

static const char *argument(struct MHD_Connection *connection, enum MHD_ValueKind kind, const char *name)
{
    return MHD_lookup_connection_value(connection, kind, name);
}

static enum admin_form wanted_form(struct MHD_Connection *connection)
{
    const char *format = argument(connection, MHD_GET_ARGUMENT_KIND, "format");
    const char *accept = argument(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
    if ((format && strcmp(format, "json") == 0) || (accept && strstr(accept, "application/json")))
        return ADMIN_JSON;
    const char *value = NULL;
    size_t len = 0;
    bool verbose =
        MHD_lookup_connection_value_n(connection, MHD_GET_ARGUMENT_KIND, "verbose", 7, &value, &len) == MHD_YES;
    return verbose ? ADMIN_VERBOSE : ADMIN_BRIEF;
}

static void answer_checks(struct admin_http *admin, struct MHD_Connection *connection, enum admin_kind kind,
                          const char *page, struct answer *answer)
{
    struct admin_result results[ADMIN_RESULTS_MAX];
    size_t n = admin_checks_ask(&admin->checks, kind, cq_time_mono_us(), results);
    enum admin_form form = wanted_form(connection);
    bool ok = admin_checks_render(&answer->body, page, form, results, n);
    answer->status = ok ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
    if (form == ADMIN_JSON)
        answer->type = "application/json";
}

static void get_livez(struct admin_http *admin, struct MHD_Connection *connection, struct answer *answer)
{
    answer_checks(admin, connection, ADMIN_LIVE, "livez", answer);
}

static void get_readyz(struct admin_http *admin, struct MHD_Connection *connection, struct answer *answer)
{
    answer_checks(admin, connection, ADMIN_READY, "readyz", answer);
}

static void get_startupz(struct admin_http *admin, struct MHD_Connection *connection, struct answer *answer)
{
    answer_checks(admin, connection, ADMIN_STARTUP, "startupz", answer);
}

static void get_metrics(struct admin_http *admin, struct MHD_Connection *connection, struct answer *answer)
{
    (void)admin;
    (void)connection;
    answer->type = "text/plain; version=0.0.4; charset=utf-8";
    if (cq_metrics_scrape(&answer->body))
        return;
    cq_log(CQ_ERROR, "admin.metrics_too_big", CQ_F_U64("limit_bytes", CQ_METRICS_TEXT_MAX));
    cq_buf_reset(&answer->body, 0);
    answer->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
}

static void get_drain(struct admin_http *admin, struct MHD_Connection *connection, struct answer *answer)
{
    (void)connection;
    cq_buf_cstr(&answer->body, atomic_load(&admin->checks.draining) ? "draining\n" : "not draining\n");
}

static void post_drain(struct admin_http *admin, struct MHD_Connection *connection, struct answer *answer)
{
    (void)connection;
    bool already = atomic_exchange(&admin->checks.draining, true);
    if (!already) {
        cq_log(CQ_INFO, "admin.drain");
        if (admin->drain_fn)
            admin->drain_fn(admin->drain_ctx);
    }
    answer->status = MHD_HTTP_ACCEPTED;
    cq_buf_cstr(&answer->body, "draining\n");
}

static const struct route {
    const char *path;
    const char *method;
    void (*fn)(struct admin_http *, struct MHD_Connection *, struct answer *);
} routes[] = {
    {"/livez", "GET", get_livez},     {"/readyz", "GET", get_readyz}, {"/startupz", "GET", get_startupz},
    {"/metrics", "GET", get_metrics}, {"/drain", "GET", get_drain},   {"/drain", "POST", post_drain},
};
#define ROUTES (sizeof routes / sizeof *routes)

static void answer_unknown(const struct admin_http *admin, const char *path, struct answer *answer)
{
    for (size_t i = 0; i < ROUTES; i++)
        if (strcmp(routes[i].path, path) == 0) {
            answer->status = MHD_HTTP_METHOD_NOT_ALLOWED;
            answer->allow = strcmp(path, "/drain") == 0 ? "GET, POST" : "GET";
            cq_buf_printf(&answer->body, "allowed: %s\n", answer->allow);
            return;
        }
    answer->status = MHD_HTTP_NOT_FOUND;
    cq_buf_cstr(&answer->body, "no such page; there are: /livez /readyz /startupz /metrics /drain");
    for (size_t i = 0; i < admin->page_count; i++)
        cq_buf_printf(&answer->body, " %s", admin->pages[i].path);
    cq_buf_byte(&answer->body, '\n');
}

static void answer_request(struct admin_http *admin, struct MHD_Connection *connection, const char *path,
                           const char *method, struct answer *answer)
{
    if (strcmp(method, "HEAD") == 0)
        method = "GET"; /* libmicrohttpd leaves the body out */
    for (size_t i = 0; i < ROUTES; i++)
        if (strcmp(routes[i].path, path) == 0 && strcmp(routes[i].method, method) == 0) {
            routes[i].fn(admin, connection, answer);
            return;
        }
    for (size_t i = 0; i < admin->page_count; i++)
        if (strcmp(admin->pages[i].path, path) == 0 && strcmp(method, "GET") == 0) {
            answer->status = admin->pages[i].fn(&answer->body, &answer->type, admin->pages[i].ctx);
            return;
        }
    answer_unknown(admin, path, answer);
}

/* libmicrohttpd calls this once for the head, then for each piece of a body, then once more at its end. *state counts
 * the calls and bytes. */
static enum MHD_Result handle(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *upload, size_t *upload_size, void **state)
{
    (void)version;
    (void)upload;
    uintptr_t seen = (uintptr_t)*state;
    if (seen == 0 || *upload_size) {
        seen += 1 + *upload_size;
        *upload_size = 0;
        *state = (void *)seen;
        return seen <= UPLOAD_MAX ? MHD_YES : MHD_NO;
    }
    struct answer answer = {.status = MHD_HTTP_OK, .type = "text/plain; charset=utf-8"};
    cq_buf_init(&answer.body, PAGE_BYTES_MAX);
    answer_request(ctx, connection, url, method, &answer);
    return send_answer(connection, &answer);
}

/* ---- Life ---- */

struct admin_http *admin_http_new(const struct admin_config *config)
{
    struct admin_http *admin = cq_new(struct admin_http);
    admin->config = *config;
    admin->config.listen = cq_strndup(config->listen, strlen(config->listen));
    admin_checks_init(&admin->checks, config->heartbeat_max_us);
    return admin;
}

enum cq_rc admin_http_start(struct admin_http *admin, struct cq_err *err)
{
    struct io_addr addr;
    struct sockaddr_storage ss;
    if (!*admin->config.listen)
        return CQ_OK;
    enum cq_rc rc = io_addr_parse(cq_slice_cstr(admin->config.listen), 9090, &addr, err);
    if (rc != CQ_OK)
        return CQ_FAIL(err, CQ_E_CONFIG, "admin.listen: \"%s\" is no address", admin->config.listen);
    io_addr_to_sockaddr(&addr, &ss);
    unsigned flags = MHD_USE_AUTO_INTERNAL_THREAD | (addr.family == IO_IPV6 ? MHD_USE_IPv6 : 0u);
    current = admin;
    admin->daemon = MHD_start_daemon(flags, addr.port, NULL, NULL, handle, admin, MHD_OPTION_SOCK_ADDR, &ss,
                                     MHD_OPTION_CONNECTION_LIMIT, (unsigned)ADMIN_CONNECTIONS_MAX,
                                     MHD_OPTION_CONNECTION_TIMEOUT, CONNECTION_TIMEOUT_S,
                                     MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_END);
    if (admin->daemon)
        return CQ_OK;
    current = NULL;
    return CQ_FAIL(err, CQ_E_IO, "admin port %s: %s", admin->config.listen, strerror(errno));
}

void admin_http_free(struct admin_http **admin)
{
    if (!*admin)
        return;
    if ((*admin)->daemon)
        MHD_stop_daemon((*admin)->daemon);
    if (current == *admin)
        current = NULL;
    admin_checks_fini(&(*admin)->checks);
    free((char *)(*admin)->config.listen);
    free(*admin);
    *admin = NULL;
}

unsigned admin_http_port(const struct admin_http *admin)
{
    if (!admin->daemon)
        return 0;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(admin->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}

void admin_http_on_drain(struct admin_http *admin, admin_drain_fn *fn, void *ctx)
{
    admin->drain_fn = fn;
    admin->drain_ctx = ctx;
}

bool admin_http_draining(const struct admin_http *admin)
{
    return atomic_load(&admin->checks.draining);
}

struct admin_check *admin_check_add(struct admin_http *admin, const char *name, unsigned kinds)
{
    CQ_ASSERT(!admin->daemon);
    return admin_checks_add(&admin->checks, name, kinds);
}

void admin_check_add_fn(struct admin_http *admin, const char *name, unsigned kinds, admin_check_fn *fn, void *ctx)
{
    struct admin_check *check = admin_check_add(admin, name, kinds);
    check->fn = fn;
    check->ctx = ctx;
}

struct admin_heartbeat *admin_heartbeat_add(struct admin_http *admin, const char *loop_name)
{
    struct admin_checks *all = &admin->checks;
    CQ_ASSERT(!admin->daemon && all->heartbeat_count < ADMIN_CHECKS_MAX);
    struct admin_heartbeat *heartbeat = &all->heartbeats[all->heartbeat_count++];
    snprintf(heartbeat->name, sizeof heartbeat->name, "loop %s", loop_name);
    admin_heartbeat_beat(heartbeat);
    return heartbeat;
}

void admin_page_add(struct admin_http *admin, const char *path, admin_page_fn *fn, void *ctx)
{
    CQ_ASSERT(!admin->daemon && admin->page_count < PAGES_MAX);
    admin->pages[admin->page_count++] = (struct page){path, fn, ctx};
}
