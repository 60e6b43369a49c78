#include "router/router_config.h"

#define S struct router_settings

static const struct cq_setting rows[] = {
    CQ_SET_STRING(S, cluster, "cluster", NULL, "Id of the cluster; part of the names in its certificates."),
    CQ_SET_STRING(S, node, "node", "router", "Name of this router in logs."),
    CQ_SET_STRING(S, listen, "rpc.listen", "127.0.0.1:7200", "Address for front-ends (mutual TLS)."),
    CQ_SET_STRING(S, dc, "labels.dc", "", "Data centre of this router: bodies are read from a replica there."),
    CQ_SET_STRINGS(S, seeds, "seeds", NULL, 64,
                   "Addresses (host:port) of some storage nodes: where the topology is asked for at the start. The "
                   "others are learnt."),
    CQ_SET_PATH(S, tls_ca, "tls.ca", NULL, "The cluster's CA (PEM)."),
    CQ_SET_PATH(S, tls_cert, "tls.cert", NULL, "This router's certificate, role router (PEM)."),
    CQ_SET_PATH(S, tls_key, "tls.key", NULL, "Its key (PEM)."),
    CQ_SET_DURATION(S, tls_reload_us, "tls.reload_interval", "60s", "1s", "1d", "How often those files are looked at."),
    CQ_SET_INT(S, workers, "workers", "2", 1, 64, "threads", "Threads that each forward requests."),
    CQ_SET_DURATION(S, attempt_us, "attempt_timeout", "2s", "10ms", "1m",
                    "How long one replica may take before another is asked; the next attempt has twice as long."),
    CQ_SET_DURATION(S, deadline_us, "default_deadline", "30s", "100ms", "10m", "Of requests that bring none."),
    CQ_SET_DURATION(S, drain_propagation_us, "drain.propagation", "0", "0", "5m",
                    "After SIGTERM: how long new connections are still taken, while load balancers learn of it."),
    CQ_SET_DURATION(S, drain_window_us, "drain.window", "5s", "0", "10m",
                    "Then: how long requests that run may take to finish."),
};

void router_config_parts(struct router_config *config, struct cq_config_part parts_r[static ROUTER_CONFIG_PARTS])
{
    const struct cq_config_part parts[ROUTER_CONFIG_PARTS] = {
        CQ_CONFIG_PART("Router", rows, &config->router),
        rpc_server_config_part(&config->server),
        rpc_client_config_part(&config->client),
        admin_config_part(&config->admin),
        cq_log_config_part(&config->log),
    };
    for (size_t i = 0; i < ROUTER_CONFIG_PARTS; i++)
        parts_r[i] = parts[i];
}
