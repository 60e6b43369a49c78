/* The RPC methods of the quota-service (proto/quota.proto) over its state. One loop. */
#ifndef CHASQUI_QUOTA_SERVICE_H
#define CHASQUI_QUOTA_SERVICE_H

#include "quota-service/quota_rates.h"
#include "rpc/rpc_server.h"

struct quota_service {
    struct quota_state *state; /* counts */
    struct quota_rates *rates;
    uint64_t lease_us;
    struct quota_call *idle; /* memory of questions that are answered */
    size_t idle_count;
};

/* When no question is open any more. */
void quota_service_fini(struct quota_service *service);

/* The method table for rpc_server_new; `service` is the handlers' context. */
struct rpc_service quota_rpc_service(struct quota_service *service);

#endif
