#include "router/router_methods.h"

#include "base/cq_assert.h"
#include "proto/mail.pb-c.h"
#include "proto/system.pb-c.h"
#include "router/forward.h"
#include "router/router_worker.h"

#define MESSAGE_MAX (1u << 20) /* bytes of an encoded Call */
#define RAW_MAX (1u << 20)     /* bytes of bodies behind it */

#define ADMIN RPC_ROLE_ADMIN
#define BOTH (RPC_ROLE_FRONTEND | RPC_ROLE_ADMIN)

/* X(method, roles, kind, raw bytes) */
#define ROUTER_METHODS(X)                                                                                              \
    X(CREATE_ACCOUNT, ADMIN, COMMAND, 0)                                                                               \
    X(DELETE_ACCOUNT, ADMIN, COMMAND, 0)                                                                               \
    X(SET_LIMITS, ADMIN, COMMAND, 0)                                                                                   \
    X(CREATE_MAILBOX, BOTH, COMMAND, 0)                                                                                \
    X(DELETE_MAILBOX, BOTH, COMMAND, 0)                                                                                \
    X(RENAME_MAILBOX, BOTH, COMMAND, 0)                                                                                \
    X(SET_SUBSCRIBED, BOTH, COMMAND, 0)                                                                                \
    X(APPEND, BOTH, COMMAND, RAW_MAX)                                                                                  \
    X(DELIVER, BOTH, COMMAND, RAW_MAX)                                                                                 \
    X(STAGE, BOTH, COMMAND, RAW_MAX)                                                                                   \
    X(STORE, BOTH, COMMAND, 0)                                                                                         \
    X(COPY, BOTH, COMMAND, 0)                                                                                          \
    X(MOVE, BOTH, COMMAND, 0)                                                                                          \
    X(EXPUNGE, BOTH, COMMAND, 0)                                                                                       \
    X(CLAIM_RECENT, BOTH, COMMAND, 0)                                                                                  \
    X(CHARGE_SENDING, BOTH, COMMAND, 0)                                                                                \
    X(KEEP_DELIVERY_KEY, BOTH, COMMAND, 0)                                                                             \
    X(GET_ACCOUNT, BOTH, READ, 0)                                                                                      \
    X(LIST_MAILBOXES, BOTH, READ, 0)                                                                                   \
    X(OPEN_MAILBOX, BOTH, READ, 0)                                                                                     \
    X(FETCH, BOTH, READ, 0)                                                                                            \
    X(CHANGES, BOTH, READ, 0)                                                                                          \
    X(READ_BODY, BOTH, READ, 0)

static void on_forward(struct rpc_request *request, void *ctx)
{
    forward_start(ctx, request);
}

static void on_watch(struct rpc_request *request, void *ctx)
{
    relay_start(ctx, request);
}

static void on_get_topology(struct rpc_request *request, void *ctx)
{
    router_worker_answer_topology(ctx, request);
}

#define FORWARD_ROW(name, roles, kind, raw)                                                                            \
    {CHASQUI__MAIL__METHOD__##name, #name, roles, RPC_METHOD_##kind | RPC_METHOD_INLINE, MESSAGE_MAX, raw, on_forward},

const struct rpc_method router_methods[] = {
    ROUTER_METHODS(FORWARD_ROW) /* */
    {CHASQUI__MAIL__METHOD__WATCH, "WATCH", BOTH, RPC_METHOD_READ | RPC_METHOD_STREAM | RPC_METHOD_INLINE, MESSAGE_MAX,
     0, on_watch},
    /* Answered from this router's own copy: which homes and slots there are (placing of new accounts). */
    {CHASQUI__SYSTEM__METHOD__GET_TOPOLOGY, "GET_TOPOLOGY", BOTH | RPC_ROLE_OPERATOR,
     RPC_METHOD_READ | RPC_METHOD_INLINE, 4096, 0, on_get_topology},
};
const size_t router_method_count = sizeof router_methods / sizeof *router_methods;

unsigned router_method_index(uint16_t method)
{
    for (unsigned i = 0; i < router_method_count; i++)
        if (router_methods[i].method == method)
            return i;
    CQ_ASSERT(false && "a method without a row was forwarded");
    return 0;
}

bool router_method_is_local(uint16_t method)
{
    return method == CHASQUI__MAIL__METHOD__READ_BODY;
}

/* ---- Metrics ---- */

#define NAME(name, roles, kind, raw) #name,
static const char *const method_names[] = {ROUTER_METHODS(NAME) "WATCH", "GET_TOPOLOGY"};
_Static_assert(sizeof method_names / sizeof *method_names == sizeof router_methods / sizeof *router_methods,
               "one name for each row");
static const char *const result_names[] = {"answered", "unavailable", "unknown_outcome", "gone"};
static const char *const attempt_names[] = {"answered", "not_leader", "wrong_owner", "refused", "not_sent", "lost"};

static const struct cq_metric metric_rows[] = {
    [ROUTER_M_REQUESTS] = CQ_COUNTER("chasqui_router_requests_total", "Requests by how they ended",
                                     CQ_LABEL("method", method_names), CQ_LABEL("result", result_names)),
    [ROUTER_M_DURATION] = CQ_HISTOGRAM("chasqui_router_request_duration_seconds",
                                       "From a request's arrival to its answer, attempts and pauses included",
                                       CQ_BUCKETS_LATENCY, CQ_LABEL("method", method_names)),
    [ROUTER_M_ATTEMPTS] = CQ_COUNTER("chasqui_router_attempts_total", "Requests sent to a replica, by what came of it",
                                     CQ_LABEL("result", attempt_names)),
    [ROUTER_M_MISROUTES] = CQ_COUNTER("chasqui_router_misroutes_total",
                                      "Requests that reached a replica which does not own the account's slot"),
    [ROUTER_M_RING] = CQ_GAUGE("chasqui_router_ring_version", "Epoch of the topology in use"),
    [ROUTER_M_BACKEND] =
        CQ_GAUGE("chasqui_router_backend_up", "Is a storage node connected to any worker? By its address",
                 CQ_LABEL_DYNAMIC("node")),
};
struct cq_metrics router_metrics = CQ_METRICS_OF(metric_rows);

void router_count(uint16_t method, enum router_result result, uint64_t duration_us)
{
    unsigned index = router_method_index(method);
    cq_metric_add(&router_metrics, ROUTER_M_REQUESTS, 1, index, (unsigned)result);
    cq_metric_observe(&router_metrics, ROUTER_M_DURATION, duration_us, index);
}
