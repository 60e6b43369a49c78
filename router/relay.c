/* Streams: items go to the front in the order in which they come from the replica, as far as the front takes them. The
 * replica gets credit only for what the front has taken, so that no more than a window is ever kept here. */
#include "base/cq_list.h"
#include "base/cq_mem.h"
#include "router/forward.h"
#include "router/router_methods.h"

#include <stdlib.h>

#define RELAY_WINDOW_MAX (1u << 20) /* bytes that one stream may have on the way */
#define RELAY_PAUSE_MIN_US UINT64_C(20000)
#define RELAY_PAUSE_MAX_US UINT64_C(5000000) /* there may be very many streams, and they live long */

/* An item that the front does not take yet. */
struct item {
    struct cq_list link;
    struct rpc_payload *payload;
    uint32_t message_len;
};

struct relay {
    struct router_worker *worker;
    struct rpc_request *front;
    struct rpc_pending *stream;
    struct io_timer pause;
    struct cq_list items;
    uint64_t pause_us;
    uint64_t replica;
    uint64_t started_us;
    uint32_t group;
    uint32_t tried;
    bool begun;            /* the first item has come */
    bool ended;            /* the replica has ended it; items are left */
    struct rpc_answer end; /* then: how */
};

static void relay_attempt(struct relay *r);

/* ---- Ends ---- */

static void item_free(struct item *item)
{
    cq_list_remove(&item->link);
    rpc_payload_unref(&item->payload);
    free(item);
}

static struct item *relay_first(struct relay *r)
{
    struct cq_list *node = cq_list_first(&r->items);
    return node ? cq_list_entry(node, struct item, link) : NULL;
}

static void relay_end(struct relay *r, enum router_result result, struct rpc_answer answer)
{
    struct rpc_request *front = r->front;
    struct item *item;
    router_count(rpc_request_frame(front)->method, result, io_loop_now_us(r->worker->loop) - r->started_us);
    while ((item = relay_first(r)))
        item_free(item);
    rpc_call_cancel(&r->stream);
    io_timer_stop(&r->pause);
    free(r);
    rpc_reply(front, &answer);
}

static void on_gone(void *ctx, enum cq_rc why)
{
    relay_end(ctx, ROUTER_GONE, (struct rpc_answer){.rc = why});
}

/* ---- Items ---- */

/* False: it is kept for later. */
static bool relay_try(struct relay *r, struct rpc_payload *payload, uint32_t message_len)
{
    enum cq_rc rc = payload ? rpc_stream_try_payload(r->front, payload, message_len)
                            : rpc_stream_try(r->front, CQ_SLICE_NONE, NULL, 0);
    return rc != CQ_E_AGAIN; /* when the front has gone, on_gone is on its way */
}

static void relay_consumed(struct relay *r, const struct rpc_payload *payload)
{
    if (r->stream)
        rpc_stream_consumed(r->stream, payload ? payload->len : 0);
}

static void on_item(void *ctx, const struct rpc_frame *frame, struct rpc_payload *payload)
{
    struct relay *r = ctx;
    r->begun = true;
    if (cq_list_empty(&r->items) && relay_try(r, payload, frame->message_len)) {
        relay_consumed(r, payload);
        return;
    }
    struct item *item = cq_new(struct item);
    item->payload = rpc_payload_ref(payload);
    item->message_len = frame->message_len;
    cq_list_init(&item->link);
    cq_list_push_back(&r->items, &item->link);
}

static void on_writable(void *ctx)
{
    struct relay *r = ctx;
    struct item *item;
    while ((item = relay_first(r)) && relay_try(r, item->payload, item->message_len)) {
        relay_consumed(r, item->payload);
        item_free(item);
    }
    if (r->ended && cq_list_empty(&r->items))
        relay_end(r, ROUTER_ANSWERED, r->end);
}

/* ---- Attempts ---- */

static void on_pause_over(struct io_timer *timer)
{
    struct relay *r = cq_containerof(timer, struct relay, pause);
    r->tried = 0;
    relay_attempt(r);
}

static void relay_pause(struct relay *r)
{
    uint64_t pause = r->pause_us - cq_prng_below(&r->worker->jitter, (uint32_t)(r->pause_us / 2));
    r->pause_us = r->pause_us * 2 < RELAY_PAUSE_MAX_US ? r->pause_us * 2 : RELAY_PAUSE_MAX_US;
    io_timer_start_at(&r->pause, io_loop_now_us(r->worker->loop) + pause);
}

/* It did not begin: is it worth another try? */
static bool try_again(enum rpc_fate fate, const struct rpc_reply_in *reply)
{
    return fate != RPC_ANSWERED || reply->rc == CQ_E_NOT_LEADER || reply->rc == CQ_E_WRONG_OWNER ||
           reply->rc == CQ_E_UNAVAILABLE || reply->rc == CQ_E_OVERLOADED;
}

static void on_done(void *ctx, enum rpc_fate fate, const struct rpc_reply_in *reply)
{
    struct relay *r = ctx;
    r->stream = NULL;
    if (fate == RPC_ANSWERED && reply->rc == CQ_E_NOT_LEADER)
        routes_not_leader(r->worker->routes, r->group, r->replica, reply->aux);
    else if (fate != RPC_ANSWERED)
        routes_not_leader(r->worker->routes, r->group, r->replica, 0);
    if (!r->begun && try_again(fate, reply)) {
        relay_attempt(r);
        return;
    }
    r->end = (struct rpc_answer){.rc = fate == RPC_ANSWERED ? reply->rc : CQ_E_UNAVAILABLE};
    r->ended = true;
    if (cq_list_empty(&r->items))
        relay_end(r, ROUTER_ANSWERED, r->end);
}

static void relay_send(struct relay *r, const struct topology_replica *replica, struct rpc_client *client)
{
    const struct rpc_frame *frame = rpc_request_frame(r->front);
    const struct rpc_call call = {.method = frame->method,
                                  .flags = frame->flags,
                                  .group = r->group,
                                  .account = frame->account,
                                  .epoch = routes_epoch(r->worker->routes),
                                  .deadline_us = rpc_request_deadline_us(r->front),
                                  .payload = rpc_request_payload_peek(r->front),
                                  .message_len = frame->message_len};
    const struct rpc_stream_config config = {.window = frame->aux < RELAY_WINDOW_MAX ? (uint32_t)frame->aux
                                                                                     : RELAY_WINDOW_MAX,
                                             .data = on_item,
                                             .done = on_done,
                                             .ctx = r};
    r->replica = replica->id;
    r->stream = rpc_stream_start(client, &call, &config);
}

static void relay_attempt(struct relay *r)
{
    struct router_worker *worker = r->worker;
    const struct topology *t = routes_topology(worker->routes);
    const struct topology_replica *replica;
    struct rpc_client *client = NULL;
    uint32_t group = t ? topology_group_of(t, rpc_request_frame(r->front)->account) : 0;
    r->tried = group == r->group ? r->tried : 0;
    r->group = group;
    while (r->group && !client && (replica = routes_pick(worker->routes, r->group, ROUTES_LEADER, &r->tried)))
        client = backends_find(worker->backends, t->nodes[replica->node].uuid);
    if (client)
        relay_send(r, replica, client);
    else
        relay_pause(r);
}

void relay_start(struct router_worker *worker, struct rpc_request *request)
{
    struct relay *r = cq_new(struct relay);
    r->worker = worker;
    r->front = request;
    r->started_us = io_loop_now_us(worker->loop);
    r->pause_us = RELAY_PAUSE_MIN_US;
    cq_list_init(&r->items);
    io_timer_init(&r->pause, worker->loop, on_pause_over);
    rpc_request_on_gone(request, on_gone, r);
    rpc_request_on_writable(request, on_writable, r);
    relay_attempt(r);
}
