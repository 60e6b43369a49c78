/* Finding the master (directly or by Sentinels) and entering it. Straight-line code on a fiber. */
#include "redis/redis_private.h"

#include "io/io_resolve.h"

#include <stdlib.h>
#include <string.h>

/* ---- One command and its reply ---- */

char *redis_format_command(const struct cq_slice *args, size_t count, size_t *len_r)
{
    const char *argv[REDIS_ARGS_MAX];
    size_t lens[REDIS_ARGS_MAX], total = 0;
    if (count > REDIS_ARGS_MAX)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        argv[i] = (const char *)args[i].data;
        lens[i] = args[i].len;
        if ((total += args[i].len) > REDIS_COMMAND_MAX)
            return NULL;
    }
    char *text = NULL;
    int len = redisFormatCommandArgv(&text, (int)count, argv, lens);
    *len_r = len < 0 ? 0 : (size_t)len;
    return len < 0 ? NULL : text;
}

bool redis_write_command(struct io_conn *conn, const struct cq_slice *args, size_t count)
{
    size_t len;
    char *text = redis_format_command(args, count, &len);
    if (!text)
        return false;
    io_conn_write(conn, cq_slice_of(text, len));
    redisFreeCommand(text);
    return true;
}

static enum cq_rc read_reply(struct io_conn *conn, uint64_t deadline_us, redisReply **reply_r, struct cq_err *err)
{
    struct redis_reader reader;
    const char *why = NULL;
    enum cq_rc rc = CQ_OK;
    *reply_r = NULL;
    redis_reader_init(&reader);
    while (rc == CQ_OK && !*reply_r) {
        struct cq_slice input = io_conn_input(conn);
        if (input.len) {
            why = redis_reader_feed(&reader, input);
            io_conn_consume(conn, input.len);
            if (!why)
                why = redis_reader_next(&reader, reply_r);
            if (why)
                rc = CQ_FAIL(err, CQ_E_PROTO, "%s (is TLS set on one side only?)", why);
        } else {
            rc = io_conn_read_more(conn, deadline_us);
            if (rc != CQ_OK)
                rc = CQ_FAIL(err, rc, "no answer: %s (is TLS set on one side only?)", cq_rc_text(rc));
        }
    }
    redis_reader_fini(&reader);
    return rc;
}

#define CLUSTER_ADVICE                                                                                                 \
    "it is a node of a Redis Cluster, which is not supported: name a Redis without cluster-enabled, or "               \
    "redis.sentinels"

/* What an operator does about it, by how the error begins. */
static const struct {
    const char *code, *advice;
} advices[] = {
    {"WRONGPASS", "look at redis.user and redis.password_file"},
    {"NOAUTH", "it wants a password: set redis.password_file"},
    {"NOPERM", "the ACL of redis.user is too narrow: see quota-service/README.md"},
    {"READONLY", "it is a read-only replica: name the master, or use redis.sentinels"},
    {"NOREPLICAS", "it has too few replicas to write (min-replicas-to-write)"},
    {"MISCONF", "it cannot save to its disk and refuses writes: look at its log"},
    {"OOM", "it is out of memory: raise maxmemory, or set maxmemory-policy volatile-ttl"},
    {"LOADING", "it is starting"},
    {"MOVED", CLUSTER_ADVICE},
    {"ASK", CLUSTER_ADVICE},
    {"CLUSTERDOWN", CLUSTER_ADVICE},
    {"TRYAGAIN", CLUSTER_ADVICE},
};

const char *redis_advice(const char *error)
{
    for (size_t i = 0; i < sizeof advices / sizeof *advices; i++)
        if (strncmp(error, advices[i].code, strlen(advices[i].code)) == 0)
            return advices[i].advice;
    bool in_script = strstr(error, "ACL failure in script") || strstr(error, "user executing the script can't");
    return in_script ? redis_advice("NOPERM") : "";
}

void redis_said(const char *error, char out[static REDIS_SAID_SIZE])
{
    size_t n = 0;
    for (; error[n] && n < REDIS_SAID_SIZE - 1; n++)
        out[n] = error[n] >= ' ' && error[n] < 127 ? error[n] : '?';
    out[n] = '\0';
}

static enum cq_rc fail_with(const char *what, const char *error, struct cq_err *err)
{
    char said[REDIS_SAID_SIZE];
    const char *advice = redis_advice(error);
    redis_said(error, said);
    return CQ_FAIL(err, CQ_E_DENIED, "%s: %s%s%s%s", what, said, *advice ? " (" : "", advice, *advice ? ")" : "");
}

/* The reply to what was written, which is no error; the caller frees it. `what` is for messages. */
static enum cq_rc hear(struct io_conn *conn, uint64_t deadline_us, const char *what, redisReply **reply_r,
                       struct cq_err *err)
{
    enum cq_rc rc = read_reply(conn, deadline_us, reply_r, err);
    if (rc == CQ_OK && (*reply_r)->type == REDIS_REPLY_ERROR) {
        rc = fail_with(what, (*reply_r)->str, err);
        freeReplyObject(*reply_r);
        *reply_r = NULL;
    }
    return rc;
}

static enum cq_rc ask(struct io_conn *conn, uint64_t deadline_us, const char *what, const struct cq_slice *args,
                      size_t count, redisReply **reply_r, struct cq_err *err)
{
    *reply_r = NULL;
    if (!redis_write_command(conn, args, count))
        return CQ_FAIL(err, CQ_E_CONFIG, "%s: too long", what);
    return hear(conn, deadline_us, what, reply_r, err);
}

static enum cq_rc tell(struct io_conn *conn, uint64_t deadline_us, const char *what, const struct cq_slice *args,
                       size_t count, struct cq_err *err)
{
    redisReply *reply;
    enum cq_rc rc = ask(conn, deadline_us, what, args, count, &reply, err);
    if (reply)
        freeReplyObject(reply);
    return rc;
}

/* ---- Connecting ---- */

static struct cq_slice host_of(struct cq_slice host_port)
{
    size_t colon = host_port.len;
    while (colon > 0 && host_port.data[colon - 1] != ':')
        colon--;
    struct cq_slice host = colon ? cq_slice_sub(host_port, 0, colon - 1) : host_port;
    bool bracketed = host.len > 1 && host.data[0] == '[';
    return bracketed ? cq_slice_sub(host, 1, host.len - 2) : host;
}

static enum cq_rc login(const struct redis_dial *dial, struct io_conn *conn, uint64_t deadline_us, struct cq_err *err)
{
    const struct cq_slice args[] = {cq_slice_cstr("AUTH"), cq_slice_cstr(dial->settings->user), dial->password};
    if (!dial->password.len)
        return CQ_OK;
    enum cq_rc rc = tell(conn, deadline_us, "AUTH", args, 3, err);
    return rc == CQ_E_DENIED ? CQ_E_AUTH : rc;
}

/* Connected, TLS done and logged in. */
static enum cq_rc enter(const struct redis_dial *dial, struct cq_slice host_port, uint64_t deadline_us,
                        struct io_conn **conn_r, struct cq_err *err)
{
    char name[IO_RESOLVE_NAME_MAX + 1];
    struct cq_slice host = host_of(host_port);
    const struct io_conn_options options = {
        .input_max = REDIS_REPLY_MAX, .output_high = SIZE_MAX, .output_low = SIZE_MAX / 2};
    struct io_connect what = {.options = &options, .tls = dial->tls, .server_name = name};
    size_t count = 0;
    snprintf(name, sizeof name, "%.*s", (int)(host.len < IO_RESOLVE_NAME_MAX ? host.len : IO_RESOLVE_NAME_MAX),
             (const char *)host.data);
    enum cq_rc rc = io_resolve(dial->resolver, host_port, &what.addr, 1, &count, deadline_us, err);
    if (rc != CQ_OK)
        return rc;
    if (!dial->tls && !io_addr_is_loopback(&what.addr))
        return CQ_FAIL(err, CQ_E_CONFIG, "not a loopback address: set redis.tls, so that nothing goes in clear");
    rc = io_conn_connect(dial->loop, &what, deadline_us, conn_r, err);
    if (rc == CQ_E_AUTH)
        return cq_err_context(err, "its certificate is refused: renew it, or look at redis.tls.ca");
    if (rc == CQ_E_PROTO)
        return cq_err_context(err, "TLS failed (does it speak TLS, and want our certificate, redis.tls.cert?)");
    if (rc != CQ_OK)
        return rc;
    rc = login(dial, *conn_r, deadline_us, err);
    if (rc != CQ_OK)
        io_conn_free(conn_r);
    return rc;
}

static bool is_text(const redisReply *reply, size_t i, const char *text)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements > i && reply->element[i]->type == REDIS_REPLY_STRING &&
           strcmp(reply->element[i]->str, text) == 0;
}

static enum cq_rc check_role(struct io_conn *conn, uint64_t deadline_us, struct cq_err *err)
{
    const struct cq_slice args[] = {cq_slice_cstr("ROLE")};
    redisReply *reply;
    enum cq_rc rc = ask(conn, deadline_us, "ROLE", args, 1, &reply, err);
    if (rc == CQ_OK && !is_text(reply, 0, "master"))
        rc = CQ_FAIL(err, CQ_E_UNAVAILABLE, "it is a replica, not the master");
    if (reply)
        freeReplyObject(reply);
    return rc;
}

static enum cq_rc load_script(const struct redis_dial *dial, struct io_conn *conn, uint64_t deadline_us,
                              struct cq_err *err)
{
    const struct cq_slice args[] = {cq_slice_cstr("SCRIPT"), cq_slice_cstr("LOAD"),
                                    cq_slice_cstr(dial->load_script ? dial->load_script : "")};
    return dial->load_script ? tell(conn, deadline_us, "SCRIPT LOAD", args, 3, err) : CQ_OK;
}

static enum cq_rc probe(const struct redis_dial *dial, struct io_conn *conn, uint64_t deadline_us, struct cq_err *err)
{
    redisReply *reply = NULL;
    if (!dial->probe.len)
        return CQ_OK;
    io_conn_write(conn, dial->probe);
    enum cq_rc rc = hear(conn, deadline_us, "a trial", &reply, err);
    if (reply)
        freeReplyObject(reply);
    return rc;
}

static enum cq_rc dial_server(const struct redis_dial *dial, struct cq_slice host_port, struct io_conn **conn_r,
                              struct cq_err *err)
{
    uint64_t deadline = io_loop_now_us(dial->loop) + dial->settings->connect_timeout_us;
    enum cq_rc rc = enter(dial, host_port, deadline, conn_r, err);
    if (rc == CQ_OK) {
        rc = check_role(*conn_r, deadline, err);
        if (rc == CQ_OK)
            rc = load_script(dial, *conn_r, deadline, err);
        if (rc == CQ_OK)
            rc = probe(dial, *conn_r, deadline, err);
        if (rc != CQ_OK)
            io_conn_free(conn_r);
    }
    if (rc != CQ_OK)
        cq_err_context(err, "redis %.*s", (int)host_port.len, (const char *)host_port.data);
    return rc;
}

/* ---- Sentinels ---- */

/* Redis writes "host" and "port" apart. */
static bool join_host_port(const redisReply *reply, char *out, size_t size)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 || reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_STRING)
        return false;
    const char *host = reply->element[0]->str, *port = reply->element[1]->str;
    int len = snprintf(out, size, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
    return len > 0 && (size_t)len < size;
}

static enum cq_rc ask_sentinel(const struct redis_dial *dial, struct cq_slice sentinel, char *master_r, size_t size,
                               struct cq_err *err)
{
    uint64_t deadline = io_loop_now_us(dial->loop) + dial->settings->connect_timeout_us;
    struct redis_dial plain = *dial;
    const struct cq_slice args[] = {cq_slice_cstr("SENTINEL"), cq_slice_cstr("get-master-addr-by-name"),
                                    cq_slice_cstr(dial->settings->sentinel_master)};
    struct io_conn *conn = NULL;
    redisReply *reply = NULL;
    plain.password = (struct cq_slice){0}; /* Sentinels have users of their own; reading needs none as a rule */
    enum cq_rc rc = enter(&plain, sentinel, deadline, &conn, err);
    if (rc == CQ_OK)
        rc = ask(conn, deadline, "SENTINEL get-master-addr-by-name", args, 3, &reply, err);
    if (rc == CQ_OK && !join_host_port(reply, master_r, size))
        rc = CQ_FAIL(err, CQ_E_NOT_FOUND, "it knows no master \"%s\": look at redis.sentinel_master",
                     dial->settings->sentinel_master);
    if (rc != CQ_OK)
        cq_err_context(err, "sentinel %.*s", (int)sentinel.len, (const char *)sentinel.data);
    if (reply)
        freeReplyObject(reply);
    io_conn_free(&conn);
    return rc;
}

static enum cq_rc dial_by_sentinel(const struct redis_dial *dial, struct cq_slice sentinel, struct io_conn **conn_r,
                                   struct cq_err *err)
{
    char master[IO_RESOLVE_NAME_MAX + 16];
    enum cq_rc rc = ask_sentinel(dial, sentinel, master, sizeof master, err);
    return rc == CQ_OK ? dial_server(dial, cq_slice_cstr(master), conn_r, err) : rc;
}

enum cq_rc redis_dial_master(const struct redis_dial *dial, struct io_conn **conn_r, struct cq_err *err)
{
    const struct cq_strings *sentinels = &dial->settings->sentinels;
    const struct cq_strings *names = sentinels->count ? sentinels : &dial->settings->servers;
    enum cq_rc rc = CQ_E_UNAVAILABLE;
    for (size_t i = 0; i < names->count && rc != CQ_OK && rc != CQ_E_CANCELLED; i++) {
        struct cq_slice name = cq_slice_cstr(names->items[i]);
        *err = (struct cq_err){0};
        rc = sentinels->count ? dial_by_sentinel(dial, name, conn_r, err) : dial_server(dial, name, conn_r, err);
    }
    return rc;
}
