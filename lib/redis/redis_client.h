/* A connection to Redis: commands go out pipelined on one connection of lib/io (TLS, ACL user, reconnect with a pause
 * that grows), hiredis writes commands and reads replies. Where Sentinels are named they say who is master; a server
 * that is not one is not used. One client belongs to one loop.
 *
 * Redis is never waited for: when it is away or too slow, redis_send refuses or the callback gets no reply, and the
 * caller decides by itself. One reply that is late (config.timeout_us) ends the connection: those behind it would be
 * late too. */
#ifndef CHASQUI_REDIS_CLIENT_H
#define CHASQUI_REDIS_CLIENT_H

#include "base/cq_config.h"
#include "base/cq_err.h"
#include "base/cq_slice.h"
#include "io/io_pool.h"
#include "io/io_tls.h"
#include "redis/redis_reader.h"

struct redis_client;

#define REDIS_SERVERS_MAX 8
#define REDIS_PENDING_MAX 32768       /* commands without a reply; more are refused */
#define REDIS_ARGS_MAX 160            /* of one command */
#define REDIS_COMMAND_MAX (16u << 10) /* bytes of one command */

/* Settings redis.*; no servers and no Sentinels: Redis is not used. */
struct redis_settings {
    struct cq_strings servers;
    struct cq_strings sentinels;
    const char *sentinel_master;
    const char *user;
    const char *password_file;
    bool tls;
    const char *tls_ca;
    const char *tls_cert;
    const char *tls_key;
    uint64_t timeout_us;
    uint64_t connect_timeout_us;
    uint64_t backoff_max_us;
};
struct cq_config_part redis_config_part(struct redis_settings *values);
bool redis_is_configured(const struct redis_settings *settings);

/* `why` is NULL when it came up, else what went wrong, with what to do. From the loop; redis_send may be called. */
typedef void redis_state_fn(void *ctx, bool up, const char *why);

struct redis_client_config {
    struct io_loop *loop;
    struct io_pool *resolver;              /* for names of servers */
    const struct redis_settings *settings; /* borrowed */
    const char *load_script;               /* SCRIPT LOADed on each connection before it is up; may be NULL */
    const struct cq_slice *probe;          /* then this command, which has to succeed: is the user allowed to do what */
    size_t probe_count;                    /* will be done? Copied; 0: none */
    redis_state_fn *on_state;              /* may be NULL */
    void *ctx;
};

/* Begins to connect at once. CQ_E_CONFIG: an address, the password's file or the TLS files are wrong. */
enum cq_rc redis_client_new(const struct redis_client_config *config, struct redis_client **client_r,
                            struct cq_err *err);
/* What is pending gets its callback without a reply. */
void redis_client_free(struct redis_client **client);

bool redis_client_up(const struct redis_client *client);

/* Exactly once for each command that was taken, in their order, from the loop. NULL: there will be no reply, and the
 * command may have been done or not. An error of Redis is a reply of type REDIS_REPLY_ERROR. The reply is freed after.
 */
typedef void redis_reply_fn(void *ctx, const redisReply *reply);

/* Queues a command; never suspends. False: not connected, too many pending, or too long: nothing is called. */
bool redis_send(struct redis_client *client, const struct cq_slice *args, size_t count, redis_reply_fn *fn, void *ctx);

/* chasqui_redis_up, chasqui_redis_commands_total{result}, chasqui_redis_connects_total{result}. */
extern struct cq_metrics redis_metrics;

#endif
