/* The settings of chasqui-router. */
#ifndef ROUTER_CONFIG_H
#define ROUTER_CONFIG_H

#include "base/cq_config.h"
#include "base/cq_log.h"
#include "io/admin_http.h"
#include "rpc/rpc_client.h"
#include "rpc/rpc_server.h"

struct router_settings {
    const char *cluster;
    const char *node;
    const char *listen;
    const char *dc;
    struct cq_strings seeds;
    const char *tls_ca, *tls_cert, *tls_key;
    uint64_t tls_reload_us;
    int64_t workers;
    uint64_t attempt_us;  /* one replica may take so long at first; then twice as long */
    uint64_t deadline_us; /* of requests that bring none */
    uint64_t drain_propagation_us, drain_window_us;
};

struct router_config {
    struct router_settings router;
    struct rpc_server_limits server;
    struct rpc_client_limits client;
    struct admin_config admin;
    struct cq_log_config log;
};

#define ROUTER_CONFIG_PARTS 5
void router_config_parts(struct router_config *config, struct cq_config_part parts_r[static ROUTER_CONFIG_PARTS]);

#endif
