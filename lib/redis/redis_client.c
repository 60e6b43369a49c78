#include "redis/redis_private.h"

#include "base/cq_assert.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_metrics.h"
#include "base/cq_rand.h"
#include "base/cq_secret.h"

#include <stdlib.h>
#include <string.h>

#define BACKOFF_MIN_US 50000
#define MISFIT_PAUSE_US UINT64_C(60000000) /* what no reconnect mends, and no trial finds */

/* ---- Settings ---- */

static const struct cq_setting rows[] = {
    CQ_SET_STRINGS(struct redis_settings, servers, "redis.servers", "", REDIS_SERVERS_MAX,
                   "Redis servers (host:port), not of a Redis Cluster; the first that is a master is used. None: rates "
                   "are kept in "
                   "memory."),
    CQ_SET_STRINGS(struct redis_settings, sentinels, "redis.sentinels", "", REDIS_SERVERS_MAX,
                   "Sentinels (host:port) that know the master; instead of redis.servers."),
    CQ_SET_STRING(struct redis_settings, sentinel_master, "redis.sentinel_master", "mymaster",
                  "The master's name at the Sentinels."),
    CQ_SET_STRING(struct redis_settings, user, "redis.user", "default", "ACL user."),
    CQ_SET_PATH(struct redis_settings, password_file, "redis.password_file", "",
                "File with the user's password; empty: no AUTH."),
    CQ_SET_BOOL(struct redis_settings, tls, "redis.tls.enabled", "false",
                "TLS to servers and Sentinels. Without it only loopback addresses are used."),
    CQ_SET_PATH(struct redis_settings, tls_ca, "redis.tls.ca", "",
                "CA of the servers' certificates (PEM); empty: the system's."),
    CQ_SET_PATH(struct redis_settings, tls_cert, "redis.tls.cert", "", "Client certificate (PEM); empty: none."),
    CQ_SET_PATH(struct redis_settings, tls_key, "redis.tls.key", "", "Its key (PEM)."),
    CQ_SET_DURATION(struct redis_settings, timeout_us, "redis.timeout", "20ms", "1ms", "10s",
                    "A reply that takes longer ends the connection; meanwhile limits are decided without Redis."),
    CQ_SET_DURATION(struct redis_settings, connect_timeout_us, "redis.connect_timeout", "1s", "10ms", "1m",
                    "For one server: name, TCP, TLS, AUTH."),
    CQ_SET_DURATION(struct redis_settings, backoff_max_us, "redis.backoff_max", "1s", "50ms", "5m",
                    "Longest pause between two attempts to connect."),
};

struct cq_config_part redis_config_part(struct redis_settings *values)
{
    return (struct cq_config_part)CQ_CONFIG_PART("Redis", rows, values);
}

bool redis_is_configured(const struct redis_settings *settings)
{
    return settings->servers.count || settings->sentinels.count;
}

/* ---- Metrics ---- */

enum { M_UP, M_COMMANDS, M_CONNECTS };
enum { COMMAND_OK, COMMAND_ERROR, COMMAND_LOST, COMMAND_REFUSED };
static const char *const command_names[] = {"ok", "error", "lost", "refused"};
static const char *const connect_names[] = {"ok", "failed"};

static const struct cq_metric metric_rows[] = {
    [M_UP] = CQ_GAUGE("chasqui_redis_up", "1 while there is a connection to the master"),
    [M_COMMANDS] = CQ_COUNTER("chasqui_redis_commands_total",
                              "Commands: ok, answered with an error, lost with their connection, refused unsent",
                              CQ_LABEL("result", command_names)),
    [M_CONNECTS] = CQ_COUNTER("chasqui_redis_connects_total", "Attempts to connect", CQ_LABEL("result", connect_names)),
};

struct cq_metrics redis_metrics = CQ_METRICS_OF(metric_rows);

/* ---- The client ---- */

struct pending {
    redis_reply_fn *fn;
    void *ctx;
    uint64_t sent_us;
};

struct redis_client {
    struct redis_client_config config;
    struct redis_dial dial;
    char password[CQ_SECRET_SIZE];
    struct io_conn *conn; /* NULL: down */
    struct redis_reader reader;
    struct pending *ring; /* REDIS_PENDING_MAX, in order of sending */
    size_t head, count;
    struct io_timer redial;
    struct io_timer late;
    uint64_t backoff_us;
    struct cq_prng jitter;
    struct io_fiber_ref dialler;
    bool dialling; /* the fiber holds the client: it frees it when `closing` */
    bool closing;
    char told[CQ_ERR_TEXT_SIZE]; /* the last trouble that was logged */
    char refused[CQ_ERR_TEXT_SIZE];
    bool misfit; /* the last connection ended because of what the server is */
};

static void schedule_redial(struct redis_client *client)
{
    if (client->misfit) {
        client->misfit = false;
        io_timer_start_at(&client->redial, io_loop_now_us(client->config.loop) + MISFIT_PAUSE_US);
        return;
    }
    uint64_t pause = client->backoff_us ? client->backoff_us : BACKOFF_MIN_US;
    uint64_t most = client->config.settings->backoff_max_us;
    pause = pause < most ? pause : most;
    client->backoff_us = pause * 2;
    pause -= cq_prng_below(&client->jitter, (uint32_t)(pause / 2 + 1));
    io_timer_start_at(&client->redial, io_loop_now_us(client->config.loop) + pause);
}

static void tell_state(struct redis_client *client, bool up, const char *why)
{
    cq_gauge_set(&redis_metrics, M_UP, up);
    if (up)
        cq_log(CQ_INFO, "redis.up");
    else if (strcmp(client->told, why) != 0)
        cq_log(CQ_WARN, "redis.down", CQ_F_STR("error", why));
    snprintf(client->told, sizeof client->told, "%s", up ? "" : why);
    if (client->config.on_state && !client->closing)
        client->config.on_state(client->config.ctx, up, up ? NULL : why);
}

/* ---- Pending commands ---- */

static void arm_late(struct redis_client *client)
{
    if (!client->count)
        io_timer_stop(&client->late);
    else if (!io_timer_active(&client->late))
        io_timer_start_at(&client->late, client->ring[client->head].sent_us + client->config.settings->timeout_us);
}

static void settle_first(struct redis_client *client, const redisReply *reply)
{
    struct pending first = client->ring[client->head];
    client->head = (client->head + 1) % REDIS_PENDING_MAX;
    client->count--;
    cq_metric_add(&redis_metrics, M_COMMANDS, 1,
                  !reply                             ? COMMAND_LOST
                  : reply->type == REDIS_REPLY_ERROR ? COMMAND_ERROR
                                                     : COMMAND_OK);
    first.fn(first.ctx, reply);
}

/* Ends the connection; what is pending stays without a reply. */
static void go_down(struct redis_client *client, const char *why)
{
    if (!client->conn)
        return;
    io_conn_free(&client->conn);
    redis_reader_fini(&client->reader);
    io_timer_stop(&client->late);
    tell_state(client, false, why);
    for (size_t n = client->count; n > 0; n--) /* not those that a callback might add: it cannot, we are down */
        settle_first(client, NULL);
    if (!client->closing)
        schedule_redial(client);
}

static void on_late(struct io_timer *timer)
{
    struct redis_client *client = cq_containerof(timer, struct redis_client, late);
    uint64_t limit = client->config.settings->timeout_us, now = io_loop_now_us(client->config.loop);
    if (client->count && now >= client->ring[client->head].sent_us + limit)
        go_down(client, "a reply took longer than redis.timeout");
    else
        arm_late(client);
}

/* ---- Input ---- */

static bool begins_with(const redisReply *reply, const char *const *codes, size_t count)
{
    for (size_t i = 0; reply->type == REDIS_REPLY_ERROR && i < count; i++)
        if (strncmp(reply->str, codes[i], strlen(codes[i])) == 0)
            return true;
    return false;
}

/* These say that the server is not, or not yet, the master that we need, or does not do what we need. */
static bool means_wrong_server(const redisReply *reply)
{
    static const char *const codes[] = {"READONLY ", "LOADING ",    "MASTERDOWN ",  "NOAUTH ",
                                        "NOPERM ",   "NOREPLICAS ", "MISCONF ",     "OOM ",
                                        "MOVED ",    "ASK ",        "CLUSTERDOWN ", "TRYAGAIN "};
    return begins_with(reply, codes, sizeof codes / sizeof *codes);
}

/* A node of a Redis Cluster that has the slot of our trial and not those of others: it would be up and down for ever.
 */
static bool has_part_of_the_slots(const redisReply *reply)
{
    static const char *const codes[] = {"MOVED ", "ASK "};
    return begins_with(reply, codes, sizeof codes / sizeof *codes);
}

static void say_refused(struct redis_client *client, const redisReply *reply)
{
    char said[REDIS_SAID_SIZE];
    redis_said(reply->str, said);
    snprintf(client->refused, sizeof client->refused, "%s: %s", said, redis_advice(reply->str));
}

/* NULL: go on; else why the connection must end. */
static const char *take_reply(struct redis_client *client, redisReply *reply)
{
    bool expected = client->count > 0, wrong = means_wrong_server(reply);
    if (wrong)
        say_refused(client, reply);
    client->misfit = client->misfit || has_part_of_the_slots(reply);
    if (expected)
        settle_first(client, reply);
    freeReplyObject(reply);
    if (!expected)
        return "a reply to no command";
    return wrong ? client->refused : NULL;
}

static const char *take_replies(struct redis_client *client)
{
    redisReply *reply = NULL;
    const char *why = redis_reader_next(&client->reader, &reply);
    while (!why && reply) {
        why = take_reply(client, reply);
        if (why || !client->conn)
            return why;
        why = redis_reader_next(&client->reader, &reply);
    }
    return why;
}

static void on_input(struct io_conn *conn, void *ctx)
{
    struct redis_client *client = ctx;
    struct cq_slice input = io_conn_input(conn);
    const char *why = redis_reader_feed(&client->reader, input);
    io_conn_consume(conn, input.len);
    if (!why)
        why = take_replies(client);
    if (why)
        go_down(client, why);
    else
        arm_late(client);
}

static void on_closed(struct io_conn *conn, const struct cq_err *why, void *ctx)
{
    char text[CQ_ERR_TEXT_SIZE];
    (void)conn;
    snprintf(text, sizeof text, "the connection ended: %s", why->text[0] ? why->text : cq_rc_text(why->rc));
    go_down(ctx, text);
}

static const struct io_conn_ops conn_ops = {.on_input = on_input, .on_closed = on_closed};

/* ---- Dialling ---- */

static void go_up(struct redis_client *client, struct io_conn *conn)
{
    client->conn = conn;
    redis_reader_init(&client->reader);
    client->backoff_us = 0;
    io_conn_set_input_max(conn, 4 * IO_READ_SIZE);
    io_conn_set_ops(conn, &conn_ops, client);
    io_conn_resume(conn);
    tell_state(client, true, NULL);
}

static void free_memory(struct redis_client *client)
{
    redisFreeCommand((char *)(uintptr_t)client->dial.probe.data);
    io_tls_free(&client->dial.tls);
    cq_wipe(client->password, sizeof client->password);
    free(client->ring);
    free(client);
}

static void dial_fiber(void *arg)
{
    struct redis_client *client = arg;
    struct io_conn *conn = NULL;
    struct cq_err err = {0};
    enum cq_rc rc = redis_dial_master(&client->dial, &conn, &err);
    client->dialling = false;
    if (client->closing) {
        io_conn_free(&conn);
        free_memory(client);
        return;
    }
    cq_metric_add(&redis_metrics, M_CONNECTS, 1, rc != CQ_OK);
    if (rc == CQ_OK) {
        go_up(client, conn);
    } else {
        tell_state(client, false, err.text);
        schedule_redial(client);
    }
}

static void redial(struct io_timer *timer)
{
    struct redis_client *client = cq_containerof(timer, struct redis_client, redial);
    client->dialling = io_fiber_spawn(client->config.loop, dial_fiber, client, &client->dialler) == CQ_OK;
    if (!client->dialling)
        schedule_redial(client);
}

/* ---- Public ---- */

static enum cq_rc read_password(struct redis_client *client, struct cq_err *err)
{
    const char *path = client->config.settings->password_file;
    enum cq_rc rc = path[0] ? cq_secret_read(path, client->password, err) : CQ_OK;
    client->dial.password = cq_slice_cstr(client->password);
    return rc == CQ_OK ? CQ_OK : cq_err_context(err, "redis.password_file");
}

static enum cq_rc open_tls(struct redis_client *client, struct cq_err *err)
{
    const struct redis_settings *s = client->config.settings;
    const struct io_tls_client_options options = {.ca_file = s->tls_ca[0] ? s->tls_ca : NULL,
                                                  .cert_file = s->tls_cert[0] ? s->tls_cert : NULL,
                                                  .key_file = s->tls_key[0] ? s->tls_key : NULL};
    return s->tls ? io_tls_client_new(&options, &client->dial.tls, err) : CQ_OK;
}

static enum cq_rc format_probe(struct redis_client *client, struct cq_err *err)
{
    size_t len = 0, count = client->config.probe_count;
    char *text = count ? redis_format_command(client->config.probe, count, &len) : NULL;
    client->dial.probe = cq_slice_of(text, len);
    client->config.probe = NULL; /* it was the caller's */
    return text || !count ? CQ_OK : CQ_FAIL(err, CQ_E_CONFIG, "redis: the probe is too long");
}

enum cq_rc redis_client_new(const struct redis_client_config *config, struct redis_client **client_r,
                            struct cq_err *err)
{
    struct redis_client *client = cq_new(struct redis_client);
    client->config = *config;
    client->dial = (struct redis_dial){.loop = config->loop,
                                       .resolver = config->resolver,
                                       .settings = config->settings,
                                       .load_script = config->load_script};
    client->ring = cq_calloc(REDIS_PENDING_MAX, sizeof *client->ring);
    client->jitter.state = cq_rand_u64();
    io_timer_init(&client->redial, config->loop, redial);
    io_timer_init(&client->late, config->loop, on_late);
    enum cq_rc rc = read_password(client, err);
    if (rc == CQ_OK)
        rc = format_probe(client, err);
    if (rc == CQ_OK)
        rc = open_tls(client, err);
    if (rc != CQ_OK) {
        redis_client_free(&client);
        return rc;
    }
    io_timer_start(&client->redial, 0);
    *client_r = client;
    return CQ_OK;
}

void redis_client_free(struct redis_client **client)
{
    struct redis_client *c = *client;
    if (!c)
        return;
    c->closing = true;
    io_timer_stop(&c->redial);
    *client = NULL;
    go_down(c, "closed");
    if (c->dialling)
        io_fiber_cancel(c->dialler);
    else
        free_memory(c);
}

bool redis_client_up(const struct redis_client *client)
{
    return client->conn;
}

bool redis_send(struct redis_client *client, const struct cq_slice *args, size_t count, redis_reply_fn *fn, void *ctx)
{
    if (!client->conn || client->count == REDIS_PENDING_MAX || !redis_write_command(client->conn, args, count)) {
        cq_metric_add(&redis_metrics, M_COMMANDS, 1, COMMAND_REFUSED);
        return false;
    }
    client->ring[(client->head + client->count++) % REDIS_PENDING_MAX] =
        (struct pending){fn, ctx, io_loop_now_us(client->config.loop)};
    arm_late(client);
    return true;
}
