/* Shared by redis_client.c (commands) and redis_dial.c (finding and entering a master). */
#ifndef CHASQUI_REDIS_PRIVATE_H
#define CHASQUI_REDIS_PRIVATE_H

#include "redis/redis_client.h"

#include "io/io_conn.h"

struct redis_dial {
    struct io_loop *loop;
    struct io_pool *resolver;
    const struct redis_settings *settings;
    struct cq_slice password; /* empty: none */
    struct io_tls *tls;       /* NULL: plain, to loopback addresses alone */
    const char *load_script;
    struct cq_slice probe; /* a whole command in Redis' protocol; empty: none */
};

/* On a fiber: a connection to the master, authenticated, the script loaded, input paused. The error's text says which
 * server and what to do. */
enum cq_rc redis_dial_master(const struct redis_dial *dial, struct io_conn **conn_r, struct cq_err *err);

/* The command in Redis' protocol; freed by redisFreeCommand. NULL: too long or too many arguments. */
char *redis_format_command(const struct cq_slice *args, size_t count, size_t *len_r);

/* What a server says, cut, without control characters. */
#define REDIS_SAID_SIZE 121
void redis_said(const char *error, char out[static REDIS_SAID_SIZE]);

/* What an operator does about an error of Redis; "" when there is nothing to say. */
const char *redis_advice(const char *error);

/* The command in Redis' protocol, appended to the connection's output. False: too long or too many arguments. */
bool redis_write_command(struct io_conn *conn, const struct cq_slice *args, size_t count);

#endif
