/* The settings of chasqui-frontend. */
#ifndef FRONTEND_CONFIG_H
#define FRONTEND_CONFIG_H

#include "admin/admin_reconcile.h"
#include "base/cq_config.h"
#include "directory/auth.h"
#include "directory/directory.h"
#include "events/event_config.h"
#include "imap/imap_service.h"
#include "io/admin_http.h"
#include "limits/quota_kinds.h"
#include "rpc/rpc_client.h"
#include "rpc/rpc_server.h"

enum frontend_listener_protocol {
    LISTEN_IMAP,
    LISTEN_POP3,
    LISTEN_SMTP,
    LISTEN_SUBMISSION,
    LISTEN_LMTP,
    LISTEN_PROTOCOL_COUNT
};

struct frontend_listener {
    int protocol; /* enum frontend_listener_protocol */
    const char *listen;
    bool tls; /* from the first octet; else STARTTLS or STLS is offered */
    struct cq_strings proxy_from;
};

struct frontend_certificate {
    const char *cert, *key;
};

struct frontend_settings {
    const char *cluster, *node, *dc, *hostname;
    struct cq_strings routers;
    struct cq_strings quota; /* host:port of the quota-service */
    int64_t quota_shares;
    const char *tls_ca, *tls_cert, *tls_key; /* of the links to the other parts */
    struct cq_maps certificates;             /* struct frontend_certificate: what clients see */
    const char *ticket_keys;
    uint64_t tls_reload_us;
    struct cq_maps listeners; /* struct frontend_listener */
    int64_t workers;
    int64_t connections_max; /* of one listener and worker */
    uint64_t request_timeout_us;
    const char *spool;
    uint64_t message_max;
    uint64_t body_cache;
    int64_t recipients_max;
    uint64_t smtp_idle_us, pop3_idle_us;
    const char *admin_listen; /* RPC of the role admin; "": not this front-end */
    uint64_t drain_propagation_us, drain_window_us;
};

struct frontend_config {
    struct frontend_settings frontend;
    struct imap_config imap;
    struct directory_config directory;
    struct auth_config auth;
    struct quota_limits limits;
    struct admin_reconcile_settings reconcile;
    struct rpc_client_limits client;
    struct rpc_server_limits server;
    struct event_config events;
    struct admin_config admin;
    struct cq_log_config log;
};

#define FRONTEND_CONFIG_PARTS (10 + EVENT_CONFIG_PARTS)
void frontend_config_parts(struct frontend_config *config, struct cq_config_part parts_r[static FRONTEND_CONFIG_PARTS]);

#endif
