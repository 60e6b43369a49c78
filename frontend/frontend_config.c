#include "frontend_config.h"

#define S struct frontend_settings

static const char *const protocols[] = {
    [LISTEN_IMAP] = "imap", [LISTEN_POP3] = "pop3",
    [LISTEN_SMTP] = "smtp", [LISTEN_SUBMISSION] = "submission",
    [LISTEN_LMTP] = "lmtp", NULL,
};

static const struct cq_setting listener_rows[] = {
    CQ_SET_CHOICE(struct frontend_listener, protocol, "protocol", NULL, protocols, "What is spoken there."),
    CQ_SET_STRING(struct frontend_listener, listen, "listen", NULL, "host:port; [::1]:143 for IPv6."),
    CQ_SET_BOOL(struct frontend_listener, tls, "tls", "false",
                "TLS from the first octet; otherwise STARTTLS or STLS is offered."),
    CQ_SET_STRINGS(struct frontend_listener, proxy_from, "proxy_from", "", 64,
                   "Networks of load balancers: from them a PROXY header (v1 or v2) is required, from nobody else is "
                   "one honoured."),
};

static const struct cq_setting certificate_rows[] = {
    CQ_SET_PATH(struct frontend_certificate, cert, "cert", NULL, "Certificate and chain (PEM)."),
    CQ_SET_PATH(struct frontend_certificate, key, "key", NULL, "Its key (PEM)."),
};

static const struct cq_setting rows[] = {
    CQ_SET_STRING(S, cluster, "cluster", NULL, "Id of the cluster; part of the names in its certificates."),
    CQ_SET_STRING(S, node, "node", "frontend", "Name of this front-end in logs and lists."),
    CQ_SET_STRING(S, dc, "labels.dc", "", "Data centre of this front-end; told in events."),
    CQ_SET_STRING(S, hostname, "hostname", "localhost", "Our name in greetings and trace fields."),
    CQ_SET_STRINGS(S, routers, "routers", NULL, 64, "host:port of the routers."),
    CQ_SET_STRINGS(S, quota, "quota", "", 1,
                   "host:port of the quota-service; without one each worker applies its share of limits.*."),
    CQ_SET_INT(S, quota_shares, "quota_shares", "4", 1, 100000, "workers",
               "Workers of all front-ends together: without an answer of the quota-service, each allows that part."),
    CQ_SET_PATH(S, tls_ca, "tls.ca", NULL, "The cluster's CA (PEM)."),
    CQ_SET_PATH(S, tls_cert, "tls.cert", NULL, "This front-end's certificate, role frontend (PEM)."),
    CQ_SET_PATH(S, tls_key, "tls.key", NULL, "Its key (PEM)."),
    CQ_SET_MAPS(S, certificates, "certificates", NULL, 64, struct frontend_certificate, certificate_rows,
                "What clients see, chosen by SNI; the first is the default. Read again when a file changes."),
    CQ_SET_PATH(S, ticket_keys, "ticket_keys", "",
                "Three 80-byte keys for TLS session tickets, the same at all front-ends; empty: keys of this process."),
    CQ_SET_DURATION(S, tls_reload_us, "tls.reload_interval", "60s", "1s", "1d", "How often those files are looked at."),
    CQ_SET_MAPS(S, listeners, "listeners", NULL, 64, struct frontend_listener, listener_rows, "Where clients connect."),
    CQ_SET_INT(S, workers, "workers", "2", 1, 256, "threads", "Threads that each serve connections."),
    CQ_SET_INT(S, connections_max, "connections_max", "20000", 1, 1000000, "connections",
               "Of one listener and worker; more wait in the kernel."),
    CQ_SET_DURATION(S, request_timeout_us, "request_timeout", "10s", "100ms", "10m",
                    "How long a shard may take before the client is told that it is unavailable."),
    CQ_SET_PATH(S, spool, "spool", "/tmp", "Folder for large messages on their way in; nothing in it outlives us."),
    CQ_SET_SIZE(S, message_max, "message_max", "50MiB", "64KiB", "2GiB", "The largest message."),
    CQ_SET_SIZE(S, body_cache, "body_cache", "64MiB", "0", "1TiB",
                "Memory for bodies that were read a short while ago, of all threads together; 0: none are kept."),
    CQ_SET_INT(S, recipients_max, "smtp.recipients_max", "100", 1, 10000, "recipients", "Of one message."),
    CQ_SET_DURATION(S, smtp_idle_us, "smtp.idle_timeout", "5m", "10s", "1h", "A client that says nothing."),
    CQ_SET_DURATION(S, pop3_idle_us, "pop3.idle_timeout", "10m", "10s", "1h", "A client that says nothing."),
    CQ_SET_STRING(S, admin_listen, "admin_rpc.listen", "",
                  "host:port of the role admin, for chasquictl; empty: this front-end does not have the role."),
    CQ_SET_DURATION(S, drain_propagation_us, "drain.propagation", "0", "0", "5m",
                    "After SIGTERM: how long new connections are still taken, while load balancers learn of it."),
    CQ_SET_DURATION(S, drain_window_us, "drain.window", "2s", "0", "1h",
                    "Then: how long the sessions' farewells are spread out."),
};

void frontend_config_parts(struct frontend_config *config, struct cq_config_part parts_r[static FRONTEND_CONFIG_PARTS])
{
    const struct cq_config_part parts[] = {
        CQ_CONFIG_PART("Front-end", rows, &config->frontend),
        imap_config_part(&config->imap),
        directory_config_part(&config->directory),
        auth_config_part(&config->auth),
        quota_limits_config_part(&config->limits),
        admin_reconcile_config_part(&config->reconcile),
        rpc_client_config_part(&config->client),
        rpc_server_config_part(&config->server),
        admin_config_part(&config->admin),
        cq_log_config_part(&config->log),
    };
    size_t count = sizeof parts / sizeof *parts;
    for (size_t i = 0; i < count; i++)
        parts_r[i] = parts[i];
    event_config_parts(&config->events, parts_r + count);
}
