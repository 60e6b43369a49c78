/* What the router forwards: one row per method, with the roles that may ask for it. */
#ifndef ROUTER_METHODS_H
#define ROUTER_METHODS_H

#include "rpc/rpc_server.h"

/* All rows; the handlers' context is a struct router_worker. */
extern const struct rpc_method router_methods[];
extern const size_t router_method_count;

/* The row's place in the table: the index of its metrics. */
unsigned router_method_index(uint16_t method);

/* May any replica answer it, the nearest first? */
bool router_method_is_local(uint16_t method);

extern struct cq_metrics router_metrics;
enum { ROUTER_M_REQUESTS, ROUTER_M_DURATION, ROUTER_M_ATTEMPTS, ROUTER_M_MISROUTES, ROUTER_M_RING, ROUTER_M_BACKEND };
enum router_result { ROUTER_ANSWERED, ROUTER_UNAVAILABLE, ROUTER_UNKNOWN_OUTCOME, ROUTER_GONE };

/* Counts a request that has ended. */
void router_count(uint16_t method, enum router_result result, uint64_t duration_us);

#endif
