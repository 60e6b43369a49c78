/* The admin port of every process: liveness, readiness, start, metrics, drain. One thread of its own (libmicrohttpd),
 * so that a blocked loop can still be seen to be blocked; it knows nothing of libev.
 *
 *   GET  /livez /readyz /startupz   200 "ok" or 503 "failed"; with ?verbose one line per check; JSON with ?format=json
 *                                   or "Accept: application/json"
 *   GET  /metrics                   Prometheus text
 *   POST /drain                     starts the drain (once; again is harmless): 202; GET tells whether it runs
 *
 * Liveness is only "the loops still turn" (heartbeats); readiness is "may I get new connections", never "is PostgreSQL
 * up" (OPERATIONS "Pods"). No authentication: loopback by default. */
#ifndef CHASQUI_IO_ADMIN_HTTP_H
#define CHASQUI_IO_ADMIN_HTTP_H

#include "base/cq_config.h"
#include "base/cq_err.h"

struct admin_http;
struct admin_check;
struct admin_heartbeat;

#define ADMIN_CHECKS_MAX 64
#define ADMIN_TEXT_MAX 256 /* bytes of a check's explanation; cut */
#define ADMIN_CONNECTIONS_MAX 64

enum admin_kind { ADMIN_LIVE = 1, ADMIN_READY = 2, ADMIN_STARTUP = 4 };

struct admin_config {
    const char *listen; /* "127.0.0.1:9090", "[::1]:9090"; port 0: any (tests); "" : no admin port */
    uint64_t heartbeat_max_us;
};

struct cq_config_part admin_config_part(struct admin_config *values); /* admin.listen, admin.heartbeat_max */

/* Registers chasqui_ready{check}, chasqui_drain_active and chasqui_event_loop_heartbeat_age_seconds: by the program,
 * before its settings are read (--print-docs needs them). They tell about the admin port that was started last. */
void admin_metrics_register(void);

/* Called in the admin thread at the first POST /drain: only tell the loops (ev_async), never wait. */
typedef void admin_drain_fn(void *ctx);

/* Not listening yet: add checks and heartbeats first. */
struct admin_http *admin_http_new(const struct admin_config *config);

/* Binds and starts the thread. CQ_E_IO names the address. */
enum cq_rc admin_http_start(struct admin_http *admin, struct cq_err *err);

/* Stops the thread and frees everything, checks and heartbeats included. */
void admin_http_free(struct admin_http **admin);

/* The port in use after start (the answer to port 0). */
unsigned admin_http_port(const struct admin_http *admin);

void admin_http_on_drain(struct admin_http *admin, admin_drain_fn *fn, void *ctx);
bool admin_http_draining(const struct admin_http *admin);

/* ---- Checks. `kinds` is a sum of admin_kind. Add before start; they live as long as the admin. ---- */

/* A check whose owner pushes its state, from any thread: failed at first, with the text "not reported yet". */
struct admin_check *admin_check_add(struct admin_http *admin, const char *name, unsigned kinds);
void admin_check_set(struct admin_check *check, bool ok, const char *text);

/* A check that is computed at each request in the admin thread: quick, thread-safe, never waiting.
 * Writes an explanation to text (NUL-terminated). */
typedef bool admin_check_fn(void *ctx, char text[static ADMIN_TEXT_MAX]);
void admin_check_add_fn(struct admin_http *admin, const char *name, unsigned kinds, admin_check_fn *fn, void *ctx);

/* A loop calls admin_heartbeat_beat from a timer about once a second; older than heartbeat_max fails /livez (and
 * /readyz). The age is the metric chasqui_event_loop_heartbeat_age_seconds (the largest). */
struct admin_heartbeat *admin_heartbeat_add(struct admin_http *admin, const char *loop_name);
void admin_heartbeat_beat(struct admin_heartbeat *heartbeat);

/* ---- Further pages (GET) of a process; fn runs in the admin thread. Returns the HTTP status. ---- */
typedef unsigned admin_page_fn(struct cq_buf *out, const char **content_type, void *ctx);
void admin_page_add(struct admin_http *admin, const char *path, admin_page_fn *fn, void *ctx);

#endif
